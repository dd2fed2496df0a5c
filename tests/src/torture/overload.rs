//! More entries than the system can take: it goes on taking what it can, refuses the rest, and is itself again
//! as soon as the overload ends.
//!
//! The services share one core, and the generator has another: on the same one, the load would take from
//! the services what it is to bring them, and what fell would be the machine, not the system. So the capacity is
//! that of one core, and five times as much can truly be offered. RabbitMQ is not ours to pin.

mod connection;
mod generator;

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use proto::{StoredEntry, Transport};

use self::generator::{Generator, Stage, Tally};
use super::{Report, Tried};
use crate::stack::Stack;

/// From so many seconds for each factor on, speed is judged. A short run, beside other tests, says nothing of it.
const JUDGED_FROM: u32 = 10;

/// The callers of the closed loops by which the peak is found.
const CALLERS: [usize; 2] = [64, 512];

/// Least part of the peak that an overload must leave.
const LEAST_GOODPUT: f64 = 0.8;

/// Least part of the peak before an overload that must be left after it.
const LEAST_PEAK_AFTER: f64 = 0.7;

/// Most memory of each process.
const MOST_KIB: u64 = 256 * 1024;

/// How soon answers must be normal after an overload.
const RECOVERY: Duration = Duration::from_secs(2);

/// The broker's deadline, and what the way to it and back may add.
const LONGEST: Duration = Duration::from_millis(5_500);

/// How many times its usual p99 an answer may take to count as normal.
const NORMAL: u32 = 3;

/// How long what is queued may take to reach the store.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1_200);

/// Measures the capacity, and then overloads one transport: by 1, 2, 3 and 5 times for `seconds` each.
pub async fn run(transport: Transport, seconds: u32, mut progress: impl FnMut(u32)) -> Tried {
    let judged = seconds >= JUDGED_FROM;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (wrapper, core): (&[&str], _) =
        if cores > 1 { (&["taskset", "--cpu-list", "0"], Some(1)) } else { (&[], None) };
    let stack = Stack::start_under(wrapper, &[]).await;
    let generator = Generator::start(stack.broker_at, transport, core);
    let brief = Duration::from_secs(if judged { 5 } else { 1 });
    let normal = generator.run(Stage::Closed { callers: 1, lasting: brief }).await.percentile(99);
    let mut report = Report { rounds: seconds, ..Report::default() };
    // Not counted: an empty store, and a queue that nobody has used, are faster than they will ever be again.
    peak(&generator, brief).await;
    let mut before = peak(&generator, brief).await;
    let factors: &[u32] = if judged { &[1, 2, 3, 5] } else { &[3] };
    for factor in factors {
        let lasting = Duration::from_secs(u64::from(seconds));
        let per_second = before * f64::from(*factor);
        let stage = Stage::Open { per_second, lasting, normal: normal * NORMAL };
        let tally = generator.run(stage).await;
        drained(&stack).await;
        // A machine that is shared has fast and slow minutes: only neighbours can be compared.
        let after = peak(&generator, brief).await;
        judge(&mut report, *factor, tally, f64::midpoint(before, after), lasting, judged);
        if judged && after < before * LEAST_PEAK_AFTER {
            report
                .broken
                .push(format!("the peak was {before:.0}/s before {factor}x, and {after:.0}/s after"));
        }
        before = after;
        progress(*factor);
    }
    memory(&mut report, &stack)?;
    reconcile(&mut report, &stack, generator).await;
    Ok(report)
}

/// How many entries a second the closed loops bring in.
async fn peak(generator: &Generator, lasting: Duration) -> f64 {
    let mut peak = 0.0_f64;
    for callers in CALLERS {
        let tally = generator.run(Stage::Closed { callers, lasting }).await;
        peak = peak.max(per_second(tally.in_time, lasting));
    }
    peak
}

fn judge(report: &mut Report, factor: u32, mut tally: Tally, peak: f64, lasting: Duration, judged: bool) {
    let goodput = per_second(tally.in_time, lasting) / peak;
    let p99 = tally.percentile(99);
    let recovered = tally.recovered;
    let figures = format!(
        "{factor}x: due {:.0}/s, sent {:.0}/s, goodput {:.0} % of the peak of {peak:.0}/s, accepted p99 {:.2} s, \
         refused {}, others {:?}, normal after {}",
        per_second(tally.sent + tally.unsent, lasting),
        per_second(tally.sent, lasting),
        goodput * 100.0,
        p99.as_secs_f64(),
        tally.refused,
        tally.others,
        recovered.map_or("never".to_owned(), |time| format!("{:.2} s", time.as_secs_f64())),
    );
    let separator = if report.figures.is_empty() { "" } else { "; " };
    write!(report.figures, "{separator}{figures}").expect("a string takes all");
    if judged && (goodput < LEAST_GOODPUT || recovered.is_none_or(|time| time > RECOVERY)) {
        report.broken.push(figures.clone());
    }
    // A machine that stalls longer than the deadline makes an answer unknown, which the store is asked about in the end.
    let unexpected = tally.others.keys().any(|kind| judged || kind != "504");
    if (judged && p99 > LONGEST) || unexpected {
        report.broken.push(figures);
    }
}

fn memory(report: &mut Report, stack: &Stack) -> anyhow::Result<()> {
    for (name, process) in stack.processes() {
        let peak = process.usage()?.peak_memory_kib;
        write!(report.figures, "; {name} at most {} MiB", peak / 1024).expect("a string takes all");
        if peak > MOST_KIB {
            report.broken.push(format!("the {name} took {peak} KiB"));
        }
    }
    Ok(())
}

/// Waits until nothing is queued. What the listener still works off would be missing from the next peak.
async fn drained(stack: &Stack) {
    let begun = Instant::now();
    while stack.rabbitmq.depth("logs.entries").await > 0 && begun.elapsed() < DRAIN_TIMEOUT {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until what is queued is stored, and verifies every entry against the store.
async fn reconcile(report: &mut Report, stack: &Stack, generator: Generator) {
    let ledger = generator.finish();
    let begun = Instant::now();
    let verdict = loop {
        drained(stack).await;
        let mut reconciliation = ledger.reconcile();
        let page_of = |page: Vec<StoredEntry>| {
            for row in &page {
                reconciliation.found(row);
            }
        };
        stack.each_page(page_of).await;
        let verdict = reconciliation.verdict();
        // An empty queue may have left its last batch in the listener's hands.
        if verdict.lost == 0 || begun.elapsed() > DRAIN_TIMEOUT {
            break verdict;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    report.entries = verdict.sent;
    report.accepted = verdict.accepted;
    write!(report.figures, "; {verdict}").expect("a string takes all");
    if !verdict.is_sound() {
        report.broken.push(verdict.to_string());
    }
}

fn per_second(count: u64, lasting: Duration) -> f64 {
    count as f64 / lasting.as_secs_f64()
}
