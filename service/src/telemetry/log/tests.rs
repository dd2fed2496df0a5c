use std::{
    io::Write,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use tracing_subscriber::{fmt::layer, layer::SubscriberExt, registry};

use super::*;

/// Keeps what is written, but fails while it is told to.
#[derive(Clone, Default)]
struct Disk {
    full: Arc<AtomicBool>,
    /// How many bytes it takes of a write while it is full.
    takes: usize,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Disk {
    fn text(&self) -> String {
        String::from_utf8(self.written.lock().expect("sound").clone()).expect("text")
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = if self.full.load(Ordering::Relaxed) {
            if self.takes == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            std::mem::take(&mut self.takes).min(bytes.len())
        } else {
            bytes.len()
        };
        self.written.lock().expect("sound").extend(&bytes[..most]);
        Ok(most)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes a line when there is a permit for it, as a pipe takes one when the one before is read.
struct Pipe {
    permits: mpsc::Receiver<()>,
    disk: Disk,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.permits.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        self.disk.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_that_cannot_be_written_are_counted_and_told_once_there_is_room() {
    let disk = Disk { takes: 3, ..Disk::default() };
    let log = Log::begin(LogFormat::Text, disk.clone());
    log.put(b"first\n");
    log.flush();
    disk.full.store(true, Ordering::Relaxed);
    for _ in 0..5 {
        log.put(b"second\n");
    }
    log.flush();
    assert_eq!(log.lost_lines(), 5);
    disk.full.store(false, Ordering::Relaxed);
    log.put(b"third\n");
    log.flush();
    // What is told comes after the line that could be written.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !disk.text().contains("lost_lines=5") && Instant::now() < deadline {
        thread::yield_now();
    }
    let text = disk.text();
    assert!(text.starts_with("first\nsec\nthird\n"), "a torn line has an end of its own: {text}");
    assert_eq!(text.matches("lines of the log are lost").count(), 1, "{text}");
    assert!(text.contains(" WARN ") && text.contains("lost_lines=5"), "{text}");
}

#[test]
fn nobody_waits_for_a_log_that_stands_still_and_what_finds_no_room_is_lost() {
    const MORE: u64 = 100;
    let (permit, permits) = mpsc::channel();
    let disk = Disk::default();
    let log = Log::begin(LogFormat::Json, Pipe { permits, disk: disk.clone() });
    for _ in 0..QUEUE_LINES as u64 + MORE {
        log.put(b"line\n");
    }
    assert_eq!(log.lost_lines(), MORE);
    log.state.wait_for_all(Duration::from_millis(1));
    (0..QUEUE_LINES + 1).for_each(|_| permit.send(()).expect("it waits"));
    let deadline = Instant::now() + Duration::from_secs(60);
    let whole = |text: &str| text.matches("line\n").count() == QUEUE_LINES && text.contains("lost_lines");
    while !whole(&disk.text()) && Instant::now() < deadline {
        thread::yield_now();
    }
    let text = disk.text();
    assert!(whole(&text), "{} lines", text.matches("line\n").count());
    let told = text.lines().find(|line| line.starts_with('{')).expect("it is told");
    let told: Value = serde_json::from_str(told).expect("JSON");
    assert_eq!((&told["level"], &told["lost_lines"]), (&"WARN".into(), &MORE.into()), "{told}");
}

#[test]
fn a_write_that_has_taken_too_long_is_not_waited_for_again() {
    let state = State::default();
    assert!(state.admit(1));
    state.lock().writing_since = Instant::now().checked_sub(Duration::from_secs(120));
    let begun = Instant::now();
    state.wait_for_all(Duration::from_secs(60));
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn bytes_that_wait_are_bounded_too() {
    let state = State::default();
    assert!(state.admit(QUEUE_BYTES - 1) && !state.admit(2) && state.admit(1));
    state.end_write(QUEUE_BYTES - 1, true);
    assert!(state.admit(2));
    assert_eq!(state.lock().lost, 1);
}

/// Logs to it as a service does.
fn subscriber(log: &'static Log) -> impl tracing::Subscriber + Send + Sync {
    registry().with(layer().with_writer(log).with_ansi(false)).with(log.limit())
}

#[test]
fn lines_that_each_name_another_thing_are_shown_up_to_a_thousand() {
    const MANY: u64 = 5_000;
    let disk = Disk::default();
    let log: &'static Log = Box::leak(Box::new(Log::begin(LogFormat::Text, disk.clone())));
    tracing::subscriber::with_default(subscriber(log), || {
        for number in 0..MANY {
            tracing::warn!(target: concat!(module_path!(), "::named"), number, "a row");
        }
    });
    log.flush();
    let text = disk.text();
    let shown = text.lines().filter(|line| line.contains("a row number=")).count() as u64;
    assert!((1_000..MANY).contains(&shown), "{shown}");
    assert!(
        text.contains(&format!("{} more lines like this were not shown: a row", MANY - shown)),
        "{shown}"
    );
}

#[test]
fn what_logs_while_it_is_formatted_or_panics_holds_up_nobody() {
    struct Logs;
    impl fmt::Display for Logs {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            tracing::warn!("from within");
            f.write_str("told")
        }
    }
    struct Panics;
    impl fmt::Display for Panics {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("while it is formatted")
        }
    }
    let log: &'static Log = Box::leak(Box::new(Log::begin(LogFormat::Text, Disk::default())));
    tracing::subscriber::with_default(subscriber(log), || {
        for _ in 0..100 {
            tracing::warn!("{Logs}");
        }
        for number in 0..100 {
            let logged = std::panic::catch_unwind(|| match number {
                0..50 => tracing::warn!("{}", "plain"),
                _ => tracing::warn!("{Panics}"),
            });
            assert_eq!(logged.is_ok(), number < 50);
            log.tell_hidden();
        }
    });
}

#[test]
fn of_many_lines_of_one_kind_few_are_shown_and_the_others_are_counted() {
    const MANY: u64 = 10_000;
    let disk = Disk::default();
    let log = Log::begin(LogFormat::Text, disk.clone());
    let log: &'static Log = Box::leak(Box::new(log));
    tracing::subscriber::with_default(subscriber(log), || {
        for number in 0..MANY {
            tracing::warn!(number, "refused");
            if number < 100 {
                tracing::debug!(number, "asked for");
            }
        }
        tracing::warn!("of another kind");
    });
    log.flush();
    let text = disk.text();
    let shown = text.lines().filter(|line| line.contains("refused number=")).count() as u64;
    assert!((10..MANY / 2).contains(&shown), "{shown}");
    let hidden = format!("{} more lines like this were not shown: refused hidden_lines", MANY - shown);
    assert!(text.contains(&hidden), "{hidden} is not in {}", text.lines().last().unwrap_or_default());
    assert_eq!(text.matches("asked for").count(), 100, "what was asked for is shown");
    assert!(text.contains("of another kind"));
    log.flush();
    assert_eq!(disk.text().matches("not shown").count(), 1, "it is told once");
}

#[test]
fn what_an_outage_repeats_is_shown_on_change_and_then_counted_once_in_a_while() {
    let disk = Disk::default();
    let log: &'static Log = Box::leak(Box::new(Log::begin(LogFormat::Text, disk.clone())));
    let refuse = |transport: &str, code: &str, times: usize| {
        for number in 0..times {
            let (transport, code) = (tracing::field::display(transport), tracing::field::display(code));
            tracing::warn!(target: concat!(module_path!(), "::repeated"), number, transport, code, "not stored");
        }
    };
    let shown = |transport: &str, code: &str| {
        log.state.wait_for_all(Duration::from_secs(60));
        let fields = format!("transport={transport} code={code}");
        disk.text().lines().filter(|line| line.contains(&fields) && line.contains("number=")).count()
    };
    let told = || {
        log.state.wait_for_all(Duration::from_secs(60));
        disk.text().lines().filter(|line| line.contains("were not shown")).count()
    };
    tracing::subscriber::with_default(subscriber(log), || {
        refuse("http", "unavailable", 100);
        assert_eq!(shown("http", "unavailable"), 3);
        refuse("rpc", "unavailable", 1);
        refuse("http", "outcome_unknown", 1);
        assert_eq!(
            (shown("rpc", "unavailable"), shown("http", "outcome_unknown")),
            (1, 1),
            "each is a change"
        );
        log.tell_hidden();
        assert_eq!(told(), 1, "the first count does not wait");
        refuse("http", "unavailable", 5);
        log.tell_hidden();
        assert_eq!(told(), 1, "it was told just now");
        log.flush();
        assert_eq!(told(), 2, "what comes last is told too");
    });
    let text = disk.text();
    for (lines, more) in [("97", ""), ("5", "hidden_lines=5")] {
        let line = format!(
            "{lines} more lines like this were not shown: not stored, transport=http, code=unavailable"
        );
        assert!(text.lines().any(|told| told.contains(&line) && told.contains(more)), "{line}: {text}");
    }
}
