//! Prometheus metrics: how they are recorded, and the text of `/metrics`.
//!
//! What is counted per entry is recorded when it happens. What can be read at any time, such as the length of a
//! queue, is read when `/metrics` is requested: so it costs an entry nothing.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{process::Process, telemetry::Log};

/// How often measurements are folded into their histograms; in between they take memory.
const UPKEEP: Duration = Duration::from_secs(1);

/// Bounds of every histogram whose name ends in `seconds`: from a fast commit to a missed deadline.
const SECONDS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Bounds of every histogram whose name ends in `entries`: of a group commit or a batch.
const ENTRIES: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

/// Whether metrics are recorded, as the setting `METRICS` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// They are.
    On,
    /// They are not, so that one can measure what they cost; `/metrics` is answered 404.
    Off,
}

impl FromStr for Recording {
    type Err = UnknownRecording;

    fn from_str(word: &str) -> Result<Self, UnknownRecording> {
        match word {
            "on" => Ok(Recording::On),
            "off" => Ok(Recording::Off),
            _ => Err(UnknownRecording),
        }
    }
}

/// Neither on nor off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected on or off")]
pub struct UnknownRecording;

/// What has been recorded in this process.
#[derive(Clone)]
pub(crate) struct Recorded {
    recorder: PrometheusHandle,
    process: Process,
    log: &'static Log,
    read_off: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Recorded {
    /// Records from now on, for the whole process, whose log it reads off. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If it was called before.
    pub(crate) fn begin(log: &'static Log) -> anyhow::Result<Self> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("seconds".to_owned()), &SECONDS)?
            .set_buckets_for_metric(Matcher::Suffix("entries".to_owned()), &ENTRIES)?
            .install_recorder()?;
        let folded = recorder.clone();
        // Not awaited: it lives as long as the process, and holds nothing.
        tokio::spawn(async move {
            let mut interval = tokio::time::interval(UPKEEP);
            loop {
                interval.tick().await;
                folded.run_upkeep();
            }
        });
        Ok(Recorded { recorder, process: Process::begun_now(), log, read_off: Arc::new(|| {}) })
    }

    /// Has `read_off` set gauges each time before they are shown.
    pub(crate) fn reading_off(self, read_off: impl Fn() + Send + Sync + 'static) -> Self {
        Recorded { read_off: Arc::new(read_off), ..self }
    }

    /// All of it in Prometheus' text format.
    pub(crate) fn text(&self) -> String {
        (self.read_off)();
        let mut text = known(&self.recorder.render());
        self.process.describe(&mut text, self.log.lost_lines());
        text
    }
}

/// A gauge of which nothing is known just now is set to NaN, and left out here: Prometheus then has a gap, and no alert
/// and no sum goes by a number that was true once.
fn known(text: &str) -> String {
    text.lines().filter(|line| !line.ends_with(" NaN")).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_out() {
        assert_eq!(known("# TYPE a gauge\na{b=\"c\"} NaN\na 1\n"), "# TYPE a gauge\na 1\n");
    }

    #[test]
    fn recording_is_on_or_off() {
        assert_eq!("on".parse(), Ok(Recording::On));
        assert_eq!("off".parse(), Ok(Recording::Off));
        assert_eq!("yes".parse::<Recording>(), Err(UnknownRecording));
    }
}
