//! How far a load has come: a bar on a terminal, else a line now and then.

use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinSet;

use crate::text::counted;

/// How often the bar moves.
const BAR_EVERY: Duration = Duration::from_millis(100);

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What is counted. Readers see numbers that may be a moment old.
#[derive(Debug, Default)]
pub(super) struct Meter {
    offset: AtomicU64,
    total_bytes: AtomicU64,
    /// Before the first that is loaded.
    skipped: AtomicU64,
    /// The number of the last that was read.
    line: AtomicU64,
    /// The number of the last up to which no answer is missing.
    done: AtomicU64,
}

impl Meter {
    /// How many bytes there are, where that is known.
    pub(super) fn set_total(&self, bytes: Option<u64>) {
        self.total_bytes.store(bytes.unwrap_or_default(), Ordering::Relaxed);
    }

    /// So many lines are passed over.
    pub(super) fn skip(&self, lines: u64) {
        for count in [&self.skipped, &self.line, &self.done] {
            count.store(lines, Ordering::Relaxed);
        }
    }

    /// The line of that number was read; behind it the file has come to that offset.
    pub(super) fn read(&self, offset: u64, number: u64) {
        self.offset.store(offset, Ordering::Relaxed);
        self.line.store(number, Ordering::Relaxed);
    }

    /// It is known what became of the lines up to that number.
    pub(super) fn reach(&self, number: u64) {
        self.done.store(number, Ordering::Relaxed);
    }

    fn tell(&self, elapsed: Duration) -> String {
        let [line, done, skipped] =
            [&self.line, &self.done, &self.skipped].map(|count| count.load(Ordering::Relaxed));
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = HumanCount(line.saturating_sub(skipped).saturating_mul(1_000) / elapsed_ms);
        let (waiting, done) = (line.saturating_sub(done), done.saturating_sub(skipped));
        let (done, waiting) = (counted(done, "line", "lines"), HumanCount(waiting));
        format!("line {} ({rate}/s): {done} done, {waiting} waiting for an answer", HumanCount(line))
    }
}

/// Shows how far it has come, until it is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    _shown: JoinSet<()>,
}

impl Progress {
    /// Begins to show a load that begins now.
    pub(super) fn show(meter: Arc<Meter>) -> Self {
        let on_terminal = std::io::stderr().is_terminal();
        let total_bytes = meter.total_bytes.load(Ordering::Relaxed);
        let bar = match total_bytes {
            0 => ProgressBar::no_length().with_style(style("{spinner} {msg}")),
            _ => {
                ProgressBar::new(total_bytes).with_style(style("{wide_bar} {percent:>3}%  {msg}, {eta} left"))
            }
        };
        bar.set_draw_target(if on_terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        });
        let mut shown = JoinSet::new();
        shown.spawn(follow(meter, bar.clone(), on_terminal));
        Progress { bar, _shown: shown }
    }

    /// Says something on standard error, beside the bar.
    pub(super) fn say(&self, text: &str) {
        self.bar.suspend(|| say!("{text}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

async fn follow(meter: Arc<Meter>, bar: ProgressBar, on_terminal: bool) {
    let begun = Instant::now();
    let every = if on_terminal { BAR_EVERY } else { LINE_EVERY };
    let mut told = String::new();
    loop {
        tokio::time::sleep(every).await;
        let now = meter.tell(begun.elapsed());
        if on_terminal {
            bar.set_position(meter.offset.load(Ordering::Relaxed));
            bar.set_message(now);
        } else if now != told {
            say!("{now}");
            told = now;
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is sound")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_and_not_answered_waits() {
        let meter = Meter::default();
        meter.skip(1_000);
        let second = Duration::from_secs(1);
        assert_eq!(meter.tell(second), "line 1,000 (0/s): 0 lines done, 0 waiting for an answer");
        meter.read(7, 6_000);
        assert_eq!(meter.tell(second), "line 6,000 (5,000/s): 0 lines done, 5,000 waiting for an answer");
        meter.reach(1_001);
        assert_eq!(meter.tell(second), "line 6,000 (5,000/s): 1 line done, 4,999 waiting for an answer");
    }
}
