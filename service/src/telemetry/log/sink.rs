//! The other end of the queue: writes lines to standard error, on the thread of the log.

use std::{
    io::{self, Write},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::{errno::Errno, unistd};
use tracing::Level;

use super::{LogFormat, State};

/// How often a write is tried that would have to wait, where somebody who shares standard error has made it so.
const RETRY: Duration = Duration::from_millis(10);

/// While lines are lost faster than they are written, that is told once in so long.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Standard error, without the lock of [`io::Stderr`]: a thread that stands still would keep it from everybody.
pub(super) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match unistd::write(io::stderr(), bytes) {
                Err(Errno::EAGAIN) => thread::sleep(RETRY),
                Err(Errno::EINTR) => {}
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what comes out of the queue, each line as a whole, and has no errors for the queue's thread.
pub(super) struct Sink<W> {
    out: W,
    format: LogFormat,
    state: Arc<State>,
    /// Whether the last line could not be written.
    failing: bool,
    /// Whether a part of it was: the next one must not be its end.
    torn: bool,
    told_at: Option<Instant>,
}

impl<W: Write> Sink<W> {
    pub(super) fn new(out: W, format: LogFormat, state: Arc<State>) -> Self {
        Sink { out, format, state, failing: false, torn: false, told_at: None }
    }

    fn put(&mut self, line: &[u8]) -> bool {
        self.state.begin_write();
        let (written, failed) =
            if self.torn { self.put_all(&[b"\n", line].concat()) } else { self.put_all(line) };
        // Of a torn line's end alone nothing new is torn.
        self.torn = failed && (self.torn || written > 0) && !(self.torn && written == 1);
        self.failing = failed;
        !failed
    }

    /// How many bytes it has written, and whether it failed before the last.
    fn put_all(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut written = 0;
        while written < bytes.len() {
            match self.out.write(&bytes[written..]) {
                Ok(0) | Err(_) => return (written, true),
                Ok(more) => written += more,
            }
        }
        (written, false)
    }

    /// Says how many lines were lost, if it can.
    fn tell_lost(&mut self) {
        let lost = {
            let counts = self.state.lock();
            counts.lost - counts.told
        };
        if lost == 0 {
            return;
        }
        let message = "lines of the log are lost: they could not be written, or not fast enough";
        let line = self.format.line(Level::WARN, module_path!(), message, &[("lost_lines", lost.into())]);
        if self.put(line.as_bytes()) {
            self.state.lock().told += lost;
            self.told_at = Some(Instant::now());
        }
        self.state.lock().writing_since = None;
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = self.put(line);
        self.state.end_write(line.len(), written);
        if written && self.told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            self.tell_lost();
        }
        Ok(line.len())
    }

    /// Called when the queue is empty.
    fn flush(&mut self) -> io::Result<()> {
        if !self.failing {
            self.tell_lost();
        }
        Ok(())
    }
}
