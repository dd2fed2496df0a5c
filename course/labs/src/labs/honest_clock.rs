//! Lab 10: a load generator whose percentiles hold what a stall cost.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    bench::Bench,
    probe::{HttpProbe, Reply, Seen},
    run::Run,
    talk::shortened,
    verdict::{Failed, expect_at_most},
    words::{Text, text},
};

/// Requests per second.
const RATE: f64 = 200.0;

/// How long the server answers nothing.
const STALL: Duration = Duration::from_millis(600);

/// How long what is slow takes.
const SLOW: Duration = Duration::from_millis(800);

/// The report of a program.
struct Report(Value);

/// How a load is set.
#[derive(Clone, Copy)]
struct Load {
    seconds: f64,
    warmup: f64,
    timeout_ms: u64,
}

impl Load {
    const fn of(seconds: f64) -> Self {
        Load { seconds, warmup: 0.5, timeout_ms: 2_000 }
    }

    fn due(self) -> f64 {
        self.seconds * RATE
    }

    /// The number of the first request that counts.
    fn first(self) -> usize {
        (self.warmup * RATE) as usize
    }
}

/// The check.
///
/// # Errors
/// As [`crate::labs::check`].
pub(super) async fn check(bench: &mut Bench<'_>, run: &mut Run<'_>) -> anyhow::Result<()> {
    let quick = || Reply::now(200, "{}").later(Duration::from_millis(1));
    let probe = HttpProbe::open(move |_| async move { quick() }).await?;
    let limit_ms = 200.0 * bench.patience;

    run.property(1, async || {
        let load = Load::of(2.0);
        let report = report(bench, &probe, load).await?;
        report.expect_near("due", load.due(), load.due() * 0.01)?;
        report.expect_near("answered", load.due(), load.due() * 0.01)?;
        report.expect_below("p99_ms", limit_ms)?;
        Ok(())
    })
    .await?;

    run.property(2, async || {
        let load = Load::of(3.0);
        probe
            .script(stalled(load.first() + usize::try_from(bench.seed % 200)?, |_| Duration::from_millis(1)));
        let report = report(bench, &probe, load).await?;
        report.expect_near("due", load.due(), load.due() * 0.01)?;
        let expected = with_stall(load, |_| 1.0);
        for (field, share) in [("p90_ms", 0.9), ("p99_ms", 0.99), ("max_ms", 1.0)] {
            report.expect_time(field, percentile(&expected, share), bench.patience)?;
        }
        Ok(())
    })
    .await?;

    run.property(3, async || {
        let load = Load::of(2.0);
        probe.script(move |seen: Seen| async move {
            if seen.number % 50 == 7 { Reply::now(503, "{}").later(SLOW) } else { quick() }
        });
        let report = report(bench, &probe, load).await?;
        report.expect_near("errors", load.due() / 50.0, 1.0)?;
        report.expect_near("answered", load.due() * 0.98, load.due() * 0.01)?;
        report.expect_below("p99_ms", limit_ms)?;
        report.expect_below("max_ms", SLOW.as_secs_f64() * 1_000.0 * 0.95)?;
        Ok(())
    })
    .await?;

    run.property(4, async || {
        let load = Load { timeout_ms: 500, ..Load::of(1.5) };
        let first = load.first();
        probe.script(move |seen: Seen| async move {
            if seen.number > first + 10
                && seen.number <= first + 260
                && (seen.number - first).is_multiple_of(50)
            {
                Reply::Hang
            } else {
                quick()
            }
        });
        let report = report(bench, &probe, load).await?;
        report.expect_near("timeouts", 5.0, 0.0)?;
        report.expect_near("answered", load.due() - 5.0, load.due() * 0.01)?;
        Ok(())
    })
    .await?;

    run.property(5, async || {
        let load = Load { warmup: 1.0, ..Load::of(1.5) };
        let first = load.first();
        probe.script(move |seen: Seen| async move {
            // The last ones of the warm-up are as quick as the rest: at the border a request may fall on either side.
            let slow = seen.number < first.saturating_sub(10);
            if slow { Reply::now(200, "{}").later(SLOW) } else { quick() }
        });
        let report = report(bench, &probe, load).await?;
        report.expect_near("due", load.due(), load.due() * 0.02)?;
        report.expect_below("p99_ms", limit_ms)?;
        Ok(())
    })
    .await?;

    run.property(6, async || {
        let load = Load::of(3.0);
        let mode_ms = |number: usize| if number.is_multiple_of(2) { 1.0 } else { 40.0 };
        let mode = move |number: usize| Duration::from_secs_f64(mode_ms(number) / 1_000.0);
        probe.script(stalled(load.first() + usize::try_from(bench.seed % 200)?, mode));
        let report = report(bench, &probe, load).await?;
        let expected = with_stall(load, mode_ms);
        report.expect_time("p99_ms", percentile(&expected, 0.99), bench.patience)?;
        report.expect_below("p50_ms", 80.0)?;
        Ok(())
    })
    .await
}

/// A server that answers nothing for a while, from the arrival of a request on, and then all that have come.
fn stalled(
    from: usize,
    usual: impl Fn(usize) -> Duration + Send + Sync + Copy + 'static,
) -> impl Fn(Seen) -> futures_util::future::BoxFuture<'static, Reply> + Send + Sync + 'static {
    let begun = Arc::new(Mutex::new(None::<Instant>));
    move |seen: Seen| {
        let mut begun = begun.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.number >= from {
            begun.get_or_insert(seen.at);
        }
        let left = begun.map_or(Duration::ZERO, |begun| (begun + STALL).saturating_duration_since(seen.at));
        let reply = Reply::now(200, "{}").later(left + usual(seen.number));
        Box::pin(async move { reply })
    }
}

/// The times, in milliseconds, that a client sees who counts from when a request was due; sorted.
fn with_stall(load: Load, usual_ms: impl Fn(usize) -> f64) -> Vec<f64> {
    let stall_ms = STALL.as_secs_f64() * 1_000.0;
    let count = load.due() as usize;
    let mut times: Vec<f64> = (0..count)
        .map(|number| (stall_ms - number as f64 * 1_000.0 / RATE).max(0.0) + usual_ms(number))
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() as f64 * share) as usize).min(sorted.len() - 1)]
}

/// Runs the program, and reads its one line.
async fn report(bench: &Bench<'_>, probe: &HttpProbe, load: Load) -> anyhow::Result<Report> {
    probe.forget();
    let mut program = bench.program.start(&[
        ("TARGET_URL", format!("http://{}/", probe.address)),
        ("RATE", RATE.to_string()),
        ("SECONDS", load.seconds.to_string()),
        ("WARMUP_SECONDS", load.warmup.to_string()),
        ("TIMEOUT_MS", load.timeout_ms.to_string()),
    ])?;
    let lasts = load.warmup + load.seconds + load.timeout_ms as f64 / 1_000.0 + 3.0;
    let finished = program.finish(bench.patient(Duration::from_secs_f64(lasts))).await;
    if probe.count() > 0 {
        bench.program.signs().worked();
    } else if finished.is_err() {
        program.still_starts()?;
    }
    let lines = finished?;
    let text = lines.last().map(|line| line.text.clone()).unwrap_or_default();
    match serde_json::from_str::<Value>(&text) {
        Ok(value) if value.is_object() && lines.len() == 1 => Ok(Report(value)),
        Ok(_) | Err(_) => Err(Failed::new(
            text!("one JSON object on standard output", "один JSON-объект в стандартном выводе"),
            text!("{} lines, the last: {:?}", "строк: {}, последняя: {:?}", lines.len(), shortened(&text)),
        ))?,
    }
}

impl Report {
    fn number(&self, field: &str) -> Result<f64, Failed> {
        self.0[field].as_f64().ok_or_else(|| {
            Failed::new(text!("a number as {field:?}", "число в поле {field:?}"), Text::same(&self.0))
        })
    }

    fn expect_near(&self, field: &str, expected: f64, tolerance: f64) -> Result<(), Failed> {
        let saw = self.number(field)?;
        if (saw - expected).abs() <= tolerance {
            return Ok(());
        }
        let expected = Text::same(format_args!("{field}: {expected} ± {tolerance:.0}"));
        Err(Failed::new(expected, Text::same(saw)).first(Text::same(&self.0)))
    }

    /// A time within 15 % or 60 ms of the truth; of what lies above it, patience forgives more.
    fn expect_time(&self, field: &str, truth_ms: f64, patience: f64) -> Result<(), Failed> {
        let tolerance_ms = (truth_ms * 0.15).max(60.0);
        let saw = self.number(field)?;
        let range_ms = truth_ms - tolerance_ms..=truth_ms + tolerance_ms * patience;
        if range_ms.contains(&saw) {
            return Ok(());
        }
        let expected = format_args!("{field}: {:.0}–{:.0}", range_ms.start(), range_ms.end());
        Err(Failed::new(Text::same(expected), Text::same(saw)).first(Text::same(&self.0)))
    }

    fn expect_below(&self, field: &str, limit: f64) -> Result<(), Failed> {
        let found = expect_at_most(Text::same(field), limit, self.number(field)?, Text::same);
        found.map_err(|failed| failed.first(Text::same(&self.0)))
    }
}
