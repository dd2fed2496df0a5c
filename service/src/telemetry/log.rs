//! The log, on standard error, best effort.
//!
//! Nobody who logs waits for it. A line goes into a queue, and a thread of its own writes it: a pipe that nobody
//! reads blocks that thread alone. Lines that do not fit into the queue or cannot be written (closed pipe, full
//! disk) are dropped and counted, and the count is logged once writing works again. No error of the log reaches its
//! callers.

mod limit;
mod sink;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt::{self, Write as _},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Map, Value};
use tracing::Level;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder};
use tracing_subscriber::fmt::{
    MakeWriter,
    format::Writer,
    time::{FormatTime, SystemTime},
};

pub(super) use limit::Limit;

use self::{
    limit::Hidden,
    sink::{Sink, Stderr},
};

/// Maximum lines that wait to be written: some seconds of a service that logs each request.
const QUEUE_LINES: usize = 8_192;

/// Maximum bytes of them: a cause that a peer has worded may be long.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// How long a process that ends or panics waits for its last lines. A write that has taken so long already is not
/// waited for at all, so a log that has stood still for a while costs a shutdown nothing.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(1);

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Human-readable
    Text,
    /// One JSON object per line
    Json,
}

impl LogFormat {
    /// The log of this process, as there is one standard error. The first call opens it, in this format; from then
    /// on panics are told in it too.
    pub(crate) fn log(self) -> &'static Log {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Log::begin(self, Stderr);
            // It writes to standard error too, and would wait for its reader.
            std::panic::set_hook(Box::new(move |panic| self.log().tell_panic(panic)));
            log
        })
    }

    /// Says on standard error why the process ends, whatever `RUST_LOG` leaves out.
    pub(crate) fn last_word(self, reason: &str) {
        let log = self.log();
        match self {
            LogFormat::Text => log.put(format!("error: {reason}\n").as_bytes()),
            LogFormat::Json => log.tell(Level::ERROR, module_path!(), reason, &[]),
        }
        log.flush();
    }
}

/// The queue before standard error.
pub(crate) struct Log {
    format: LogFormat,
    queue: NonBlocking,
    state: Arc<State>,
    limit: Limit,
}

impl Log {
    fn begin(format: LogFormat, out: impl io::Write + Send + 'static) -> Log {
        let state = Arc::<State>::default();
        let (queue, worker) = NonBlockingBuilder::default()
            .lossy(true)
            // `State::admit` lets no more in.
            .buffered_lines_limit(QUEUE_LINES)
            .thread_name("log")
            .finish(Sink::new(out, format, Arc::clone(&state)));
        // Dropped, it would wait for a thread that may stand still, and say so on standard error. `flush` waits instead.
        std::mem::forget(worker);
        Log { format, queue, state, limit: Limit::default() }
    }

    /// Which lines there are too many of.
    pub(super) fn limit(&self) -> Limit {
        self.limit.clone()
    }

    /// Queues a whole line, or counts it as lost.
    fn put(&self, line: &[u8]) {
        if self.state.admit(line.len()) {
            // It takes every line, and has no errors.
            let _ = io::Write::write_all(&mut self.queue.clone(), line);
        }
    }

    /// Queues a line, whatever `RUST_LOG` leaves out.
    fn tell(&self, level: Level, target: &str, message: &str, fields: &[(&str, Value)]) {
        self.put(self.format.line(level, target, message, fields).as_bytes());
    }

    /// Says how many lines the limit has left out since that was said last, of the kinds that it is time for.
    pub(super) fn tell_hidden(&self) {
        self.tell_of(self.limit.take_hidden(false));
    }

    fn tell_of(&self, hidden: Vec<Hidden>) {
        for hidden in hidden {
            let message = format!("{} more lines like this were not shown: {}", hidden.lines, hidden.message);
            self.tell(hidden.level, hidden.target, &message, &[("hidden_lines", hidden.lines.into())]);
        }
    }

    /// Waits until all lines so far are written or lost, but not for longer than [`LAST_LINES_TIMEOUT`].
    pub(crate) fn flush(&self) {
        self.tell_of(self.limit.take_hidden(true));
        self.state.wait_for_all(LAST_LINES_TIMEOUT);
    }

    /// How many lines were lost.
    pub(crate) fn lost_lines(&self) -> u64 {
        self.state.lock().lost
    }

    fn tell_panic(&self, panic: &std::panic::PanicHookInfo<'_>) {
        let message = panic.payload_as_str().unwrap_or("a panic that is no text");
        let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
        let thread = thread::current();
        let thread = thread.name().unwrap_or("without a name");
        let backtrace = Backtrace::capture();
        let mut text = format!("thread {thread:?} panicked{place}: {message}");
        if backtrace.status() == BacktraceStatus::Captured {
            let _ = write!(text, "\n{backtrace}");
        }
        self.tell(Level::ERROR, module_path!(), &text, &[]);
        // What comes next may be the end.
        self.flush();
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("format", &self.format).finish_non_exhaustive()
    }
}

impl LogFormat {
    /// A line as tracing-subscriber would write it, with its line feed.
    fn line(self, level: Level, target: &str, message: &str, fields: &[(&str, Value)]) -> String {
        let mut time = String::new();
        // It fails as a `String` does: never.
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        match self {
            LogFormat::Text => {
                let fields = fields.iter().map(|(name, value)| format!(" {name}={value}"));
                format!("{time} {level:>5} {target}: {message}{}\n", fields.collect::<String>())
            }
            LogFormat::Json => {
                let mut line = Map::new();
                let words = [
                    ("timestamp", time.as_str()),
                    ("level", level.as_str()),
                    ("message", message),
                    ("target", target),
                ];
                line.extend(words.map(|(name, word)| (name.to_owned(), word.into())));
                line.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
                format!("{}\n", Value::Object(line))
            }
        }
    }
}

/// As tracing-subscriber asks for it: each line is one write.
impl<'a> MakeWriter<'a> for &'static Log {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        Lines(self)
    }
}

/// Takes lines.
pub(crate) struct Lines(&'static Log);

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How far the lines have come.
#[derive(Debug, Default)]
struct State {
    counts: Mutex<Counts>,
    /// A line was written or lost.
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Counts {
    /// Lines that were let into the queue, and those of them that are written or lost.
    queued: u64,
    done: u64,
    waiting_bytes: usize,
    lost: u64,
    /// Those of them that the log has told of.
    told: u64,
    /// When the write began that is not done yet.
    writing_since: Option<Instant>,
}

impl State {
    /// Whether there is room for a line of so many bytes.
    fn admit(&self, bytes: usize) -> bool {
        let mut counts = self.lock();
        let waiting_lines = counts.queued - counts.done;
        let fits = waiting_lines < QUEUE_LINES as u64 && counts.waiting_bytes + bytes <= QUEUE_BYTES;
        if fits {
            counts.queued += 1;
            counts.waiting_bytes += bytes;
        } else {
            counts.lost += 1;
        }
        fits
    }

    fn begin_write(&self) {
        self.lock().writing_since = Some(Instant::now());
    }

    /// A line of so many bytes was written, or is lost.
    fn end_write(&self, bytes: usize, written: bool) {
        let mut counts = self.lock();
        counts.done += 1;
        counts.waiting_bytes -= bytes;
        counts.lost += u64::from(!written);
        counts.writing_since = None;
        self.moved.notify_all();
    }

    fn wait_for_all(&self, most: Duration) {
        let deadline = Instant::now() + most;
        let mut counts = self.lock();
        let goal = counts.queued;
        while counts.done < goal {
            let given_up_at = counts.writing_since.map_or(deadline, |since| deadline.min(since + most));
            let left = given_up_at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            (counts, _) = self.moved.wait_timeout(counts, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nothing in here can panic half-way, so a poisoned lock still holds a sound state.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
