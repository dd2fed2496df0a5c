//! Traces: where they go, and which are recorded. The settings are OpenTelemetry's own.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use http::Uri;
use opentelemetry::global;
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    propagation::TraceContextPropagator,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler as SdkSampler, SdkTracerProvider, SpanData,
        SpanExporter,
    },
};
use tokio::runtime::Handle;
use tonic::transport::{Channel, Endpoint};

use super::collector::{self, Connector};
use crate::network;

/// Most spans that wait to be sent: some MiB. What comes then is left out, and no request waits.
const QUEUE_SPANS: usize = 2_048;

/// Most spans that are sent at a time, so that a message stays far below the 4 MiB that a collector takes.
const EXPORT_SPANS: usize = 512;

/// How long a span may wait for others.
const EXPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How long sending to the collector may take, with connecting and its answer.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long sending what is left may take when the process ends: what its drain, with the logger's closing of its
/// store, leaves of the ten seconds that container engines wait.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(400);

/// Most links of a span: a batch has so many messages.
const LINKS: u32 = 1_000;

/// Traces for a collector that speaks OpenTelemetry's protocol (OTLP over gRPC).
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// Where traces are sent: a collector of OpenTelemetry's that takes OTLP over gRPC, such as http://127.0.0.1:4317.
    /// Without it there are none
    #[arg(long, env, default_value = "", hide_default_value = true)]
    pub otel_exporter_otlp_endpoint: String,

    /// The same; it wins
    #[arg(long, env, default_value = "", hide_default_value = true)]
    pub otel_exporter_otlp_traces_endpoint: String,

    /// The protocol; there is no other
    #[arg(long, env, value_enum, default_value_t = Protocol::Grpc)]
    pub otel_exporter_otlp_protocol: Protocol,

    /// The authority of the collector's certificate, in PEM, for an endpoint of https://
    #[arg(long, env)]
    pub otel_exporter_otlp_certificate: Option<PathBuf>,

    /// Which traces are recorded; parentbased: where the caller has not decided it
    #[arg(long, env, value_enum, default_value_t = Sampler::ParentbasedAlwaysOn)]
    pub otel_traces_sampler: Sampler,

    /// The part of them, from 0 to 1, for a sampler whose name ends in traceidratio
    #[arg(long, env, default_value_t = 1.0, value_parser = parse_part)]
    pub otel_traces_sampler_arg: f64,

    /// The name of this service in traces; by default that of its program
    #[arg(long, env, default_value = "", hide_default_value = true)]
    pub otel_service_name: String,

    /// No traces, whatever else is set
    #[arg(long, env)]
    pub otel_sdk_disabled: bool,
}

/// How traces are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// OTLP over gRPC.
    Grpc,
}

/// OpenTelemetry's samplers, by its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Sampler {
    /// All.
    AlwaysOn,
    /// None.
    AlwaysOff,
    /// A part.
    Traceidratio,
    /// As the caller has decided, else all.
    ParentbasedAlwaysOn,
    /// As the caller has decided, else none.
    ParentbasedAlwaysOff,
    /// As the caller has decided, else a part.
    ParentbasedTraceidratio,
}

/// A handle on the traces of the process, if they are on.
#[derive(Debug, Clone, Default)]
pub(super) struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Turns traces on for the whole process, if `settings` name a collector. It is not waited for.
    /// `allowed` is the word of `ALLOW_INSECURE_NETWORK`.
    ///
    /// # Errors
    /// If the collector cannot be called so; the message names the setting.
    pub(super) fn init(settings: &Settings, service: &'static str, allowed: bool) -> anyhow::Result<Self> {
        let Some(channel) = settings.collector(allowed)? else { return Ok(Traces(None)) };
        let exporter = OtlpExporter::builder().with_tonic().with_channel(channel).build();
        let exporter = exporter.context("the settings OTEL_EXPORTER_OTLP_… cannot be used")?;
        let exporter =
            Exporter { otlp: Arc::new(exporter), runtime: Handle::current(), lost: AtomicUsize::new(0) };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_SPANS)
            .with_max_export_batch_size(EXPORT_SPANS)
            .with_scheduled_delay(EXPORT_INTERVAL)
            .build();
        let name = match settings.otel_service_name.as_str() {
            "" => service,
            name => name,
        };
        let provider = SdkTracerProvider::builder()
            .with_resource(Resource::builder().with_service_name(name.to_owned()).build())
            .with_sampler(settings.sampler())
            .with_max_links_per_span(LINKS)
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .build();
        global::set_tracer_provider(provider.clone());
        global::set_text_map_propagator(TraceContextPropagator::new());
        Ok(Traces(Some(provider)))
    }

    /// Sends what is left, for at most [`FLUSH_TIMEOUT`].
    pub(super) async fn flush(&self) {
        let Some(provider) = self.0.clone() else { return };
        let flushed =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("the last spans could not be sent to the collector of traces");
        }
    }
}

impl Settings {
    /// The way to the collector; `None` while traces are off.
    fn collector(&self, allowed: bool) -> anyhow::Result<Option<Channel>> {
        let (setting, endpoint) = match self.otel_exporter_otlp_traces_endpoint.as_str() {
            "" => ("OTEL_EXPORTER_OTLP_ENDPOINT", self.otel_exporter_otlp_endpoint.as_str()),
            endpoint => ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint),
        };
        if endpoint.is_empty() || self.otel_sdk_disabled {
            return Ok(None);
        }
        let uri = parse_endpoint(endpoint).with_context(|| {
            format!("{setting}: give a URL of scheme, host and port such as http://127.0.0.1:4317")
        })?;
        let encrypted = uri.scheme_str() == Some("https");
        if !encrypted && !allowed && !uri.host().is_some_and(network::is_this_machine) {
            bail!(
                "{setting} leads to another machine without TLS: give https:// with OTEL_EXPORTER_OTLP_CERTIFICATE, or \
                 ALLOW_INSECURE_NETWORK=true if everybody in that network may read which entries come when"
            );
        }
        let tls = match (&self.otel_exporter_otlp_certificate, encrypted) {
            (Some(authority), true) => {
                Some(collector::believing(authority).context("OTEL_EXPORTER_OTLP_CERTIFICATE")?)
            }
            (None, true) => {
                bail!("{setting} begins with https://: set OTEL_EXPORTER_OTLP_CERTIFICATE as well")
            }
            (_, false) => None,
        };
        let endpoint = Endpoint::from(uri).timeout(EXPORT_TIMEOUT);
        Ok(Some(endpoint.connect_with_connector_lazy(Connector { tls })))
    }

    fn sampler(&self) -> SdkSampler {
        let part = SdkSampler::TraceIdRatioBased(self.otel_traces_sampler_arg);
        match self.otel_traces_sampler {
            Sampler::AlwaysOn => SdkSampler::AlwaysOn,
            Sampler::AlwaysOff => SdkSampler::AlwaysOff,
            Sampler::Traceidratio => part,
            Sampler::ParentbasedAlwaysOn => SdkSampler::ParentBased(Box::new(SdkSampler::AlwaysOn)),
            Sampler::ParentbasedAlwaysOff => SdkSampler::ParentBased(Box::new(SdkSampler::AlwaysOff)),
            Sampler::ParentbasedTraceidratio => SdkSampler::ParentBased(Box::new(part)),
        }
    }
}

fn parse_endpoint(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let host = uri.authority()?.host();
    let sound = matches!(uri.scheme_str(), Some("http" | "https")) && !host.is_empty() && !text.contains('@');
    (sound && uri.path() == "/" && uri.query().is_none()).then_some(uri)
}

fn parse_part(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| "give a number from 0 to 1, such as 0.01".to_owned())
}

/// Sends spans to the collector; one that is away costs a line when it goes, and one when it is back.
#[derive(Debug)]
struct Exporter {
    otlp: Arc<OtlpExporter>,
    runtime: Handle,
    /// Spans that could not be sent since it last worked.
    lost: AtomicUsize,
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (otlp, spans) = (Arc::clone(&self.otlp), batch.len());
        // The processor's own thread has no clock of tokio's, and no limit covers all of tonic's waits.
        let sent =
            self.runtime.spawn(async move { tokio::time::timeout(EXPORT_TIMEOUT, otlp.export(batch)).await });
        let result = match sent.await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(OTelSdkError::Timeout(EXPORT_TIMEOUT)),
            Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
        };
        match &result {
            Ok(()) => match self.lost.swap(0, Ordering::Relaxed) {
                0 => {}
                lost => tracing::info!(lost_spans = lost, "the collector of traces takes spans again"),
            },
            Err(error) => match self.lost.fetch_add(spans, Ordering::Relaxed) {
                0 => tracing::warn!(%error, "the collector of traces takes no spans; they are lost"),
                _ => tracing::debug!(%error, spans, "spans are lost"),
            },
        }
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Nobody else has it yet.
        if let Some(otlp) = Arc::get_mut(&mut self.otlp) {
            otlp.set_resource(resource);
        }
    }
}
