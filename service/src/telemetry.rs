//! Logs to standard error, and metrics for Prometheus.

use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// How often measurements are folded into their histograms; in between they take memory.
const UPKEEP: Duration = Duration::from_secs(1);

/// Bounds of every histogram whose name ends in `seconds`: from a fast commit to a missed deadline.
const SECONDS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Bounds of every histogram whose name ends in `entries`: of a group commit or a batch.
const ENTRIES: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

/// A handle on the process' metrics.
#[derive(Debug, Clone)]
pub struct Telemetry(PrometheusHandle);

impl Telemetry {
    /// Sets up logs and metrics for the whole process: call it once, first.
    /// `filter` is in the form of `RUST_LOG`, such as `info,broker=debug`.
    ///
    /// # Errors
    /// If the filter cannot be read, or it was called before.
    pub fn init(filter: &str) -> anyhow::Result<Self> {
        let filter = EnvFilter::builder()
            .parse(filter)
            .with_context(|| format!("RUST_LOG is {filter:?}: give a filter such as \"info\""))?;
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init()
            .map_err(anyhow::Error::from_boxed)?;
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(matcher("seconds"), &SECONDS)?
            .set_buckets_for_metric(matcher("entries"), &ENTRIES)?
            .install_recorder()?;
        let folded = handle.clone();
        // Not awaited: it lives as long as the process, and holds nothing.
        tokio::spawn(async move {
            let mut interval = tokio::time::interval(UPKEEP);
            loop {
                interval.tick().await;
                folded.run_upkeep();
            }
        });
        Ok(Telemetry(handle))
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

fn matcher(suffix: &str) -> metrics_exporter_prometheus::Matcher {
    metrics_exporter_prometheus::Matcher::Suffix(suffix.to_owned())
}
