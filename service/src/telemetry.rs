//! Logs to standard error, metrics for Prometheus, and traces for a collector.

pub mod traces;

mod collector;
mod export;
mod filter;
mod log;

use std::{io, time::Duration};

use anyhow::Context;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

pub(crate) use self::log::Log;
pub use self::log::LogFormat;
use self::traces::Traces;
use crate::{
    Reloads,
    metrics::{Recorded, Recording},
    process,
};

/// Logs, metrics and traces: what is recorded, and where it goes.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// Record metrics for /metrics: on or off
    #[arg(long, env, default_value = "on")]
    pub metrics: Recording,

    /// Log filter: a level (off, error, warn, info, debug, trace) or TARGET=LEVEL, comma-separated; without a bare level the default applies to other targets
    #[arg(long, env, default_value = filter::DEFAULT)]
    pub rust_log: String,

    /// Log format
    #[arg(long, env, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Traces.
    #[command(flatten)]
    pub traces: traces::Settings,
}

/// How often the number of suppressed lines is logged.
const TELL_HIDDEN_EVERY: Duration = Duration::from_secs(1);

/// A handle on the telemetry of the process.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// If they are recorded.
    metrics: Option<Recorded>,
    traces: Traces,
}

impl Telemetry {
    /// Sets up logs, metrics and traces for the whole process: call it once, first, within a tokio runtime. `service` is
    /// its name in traces; `allowed` is the word of `ALLOW_INSECURE_NETWORK`.
    ///
    /// # Errors
    /// If a setting cannot be used, which the message names; or it was called before.
    pub fn init(settings: &Settings, service: &'static str, allowed: bool) -> anyhow::Result<Self> {
        let filter = filter::parse(&settings.rust_log)?;
        let log = settings.log_format.log();
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(log)
            // It would report them on standard error, by what panics there.
            .log_internal_errors(false)
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()));
        match settings.log_format {
            LogFormat::Text => lines.finish().with(log.limit()).try_init()?,
            LogFormat::Json => lines.json().flatten_event(true).finish().with(log.limit()).try_init()?,
        }
        // Not awaited: it lives as long as the process, and holds nothing.
        tokio::spawn(async move {
            let mut interval = tokio::time::interval(TELL_HIDDEN_EVERY);
            loop {
                interval.tick().await;
                log.tell_hidden();
            }
        });
        let metrics = match settings.metrics {
            Recording::On => Some(Recorded::begin(log)?),
            Recording::Off => None,
        };
        let traces = Traces::init(&settings.traces, service, allowed, process::lost_spans())?;
        Ok(Telemetry { metrics, traces })
    }

    /// Sends the last spans. Call it last; it takes half a second at most.
    pub async fn flush(&self) {
        self.traces.flush().await;
    }

    /// Reads what belongs to it again at each SIGHUP.
    pub fn reload_with(&self, reloads: &mut Reloads) {
        if let Some(believed) = self.traces.believed().cloned() {
            reloads.add("the CA certificates of the trace collector", move || {
                believed.reload().context("OTEL_EXPORTER_OTLP_CERTIFICATE")?;
                tracing::info!("SIGHUP: the CA of the trace collector is reloaded, for new connections");
                Ok(())
            });
        }
    }

    /// Whether metrics are recorded.
    pub fn records(&self) -> bool {
        self.metrics.is_some()
    }

    /// Has `read_off` set gauges each time before they are shown.
    #[must_use]
    pub fn reading_off(self, read_off: impl Fn() + Send + Sync + 'static) -> Self {
        let metrics = self.metrics.map(|recorded| recorded.reading_off(read_off));
        Telemetry { metrics, ..self }
    }

    /// All metrics in Prometheus' text format, if they are recorded.
    pub fn metrics(&self) -> Option<String> {
        self.metrics.as_ref().map(Recorded::text)
    }
}
