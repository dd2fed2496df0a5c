//! How far a load has come: a bar on a terminal, else a line now and then.

use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinSet;

use crate::text::thousands;

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
    lines: AtomicU64,
    settled: AtomicU64,
}

impl Meter {
    /// How many bytes there are, where that is known.
    pub(super) fn set_total(&self, bytes: Option<u64>) {
        self.total_bytes.store(bytes.unwrap_or_default(), Ordering::Relaxed);
    }

    /// So many lines are passed over.
    pub(super) fn skip(&self, lines: u64) {
        self.skipped.store(lines, Ordering::Relaxed);
    }

    /// The line of that number was read; behind it the file has come to that offset.
    pub(super) fn read(&self, offset: u64, number: u64) {
        self.offset.store(offset, Ordering::Relaxed);
        self.lines.store(number, Ordering::Relaxed);
    }

    /// So many lines are settled.
    pub(super) fn settle(&self, lines: u64) {
        self.settled.store(lines, Ordering::Relaxed);
    }

    fn tell(&self, begun: Instant) -> String {
        let (line, settled) = (self.lines.load(Ordering::Relaxed), self.settled.load(Ordering::Relaxed));
        let lines = line.saturating_sub(self.skipped.load(Ordering::Relaxed));
        let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = thousands(lines.saturating_mul(1_000) / elapsed_ms);
        format!("line {}, {rate}/s, {} settled", thousands(line), thousands(settled))
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
        self.bar.suspend(|| eprintln!("{text}"));
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
        let now = meter.tell(begun);
        if on_terminal {
            bar.set_position(meter.offset.load(Ordering::Relaxed));
            bar.set_message(now);
        } else if now != told {
            eprintln!("{now}");
            told = now;
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is sound")
}
