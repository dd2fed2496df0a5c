//! Traces: where they are exported, and which are sampled. The settings are OpenTelemetry's own.

use std::{convert::Infallible, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context, bail, ensure};
use http::Uri;
use metrics::Counter;
use opentelemetry::global;
use opentelemetry_otlp::{SpanExporter, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use tonic::transport::{Channel, Endpoint};

use super::{
    collector::{Believed, Connector},
    export::{EXPORT_TIMEOUT, Queue},
};
use crate::network;

/// How long sending what is left may take when the process ends: what its drain, with the logger's closing of its
/// store, leaves of the ten seconds that container engines wait.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(400);

/// Maximum links of a span: a batch has so many messages.
const LINKS: u32 = 1_000;

/// Traces for a collector that speaks OpenTelemetry's protocol (OTLP over gRPC).
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// OpenTelemetry collector to export traces to (OTLP over gRPC), such as http://127.0.0.1:4317; without it traces are off
    #[arg(long, env, default_value = "", hide_default_value = true)]
    pub otel_exporter_otlp_endpoint: String,

    /// Overrides OTEL_EXPORTER_OTLP_ENDPOINT for traces
    #[arg(long, env, default_value = "", hide_default_value = true)]
    pub otel_exporter_otlp_traces_endpoint: String,

    // What follows is read once traces are on: other programs may have other values in the same environment.
    /// Trace exporter: otlp, or none for no traces
    #[arg(long, env, default_value = "otlp")]
    pub otel_traces_exporter: String,

    /// OTLP protocol: only grpc is supported
    #[arg(long, env, default_value = "grpc")]
    pub otel_exporter_otlp_protocol: String,

    /// CA certificate of the collector (PEM), for an https:// endpoint; reloaded on SIGHUP
    #[arg(long, env)]
    pub otel_exporter_otlp_certificate: Option<PathBuf>,

    /// Trace sampler: always_on, always_off, traceidratio, or one of them prefixed with parentbased_ to follow the caller's decision
    #[arg(long, env, default_value = "parentbased_always_on")]
    pub otel_traces_sampler: String,

    /// Sampling ratio from 0 to 1, for the traceidratio samplers
    #[arg(long, env, default_value = "1")]
    pub otel_traces_sampler_arg: String,

    /// Service name in traces; the program's by default
    #[arg(long, env, default_value = "", hide_default_value = true)]
    pub otel_service_name: String,

    /// Disable traces: true; any other value counts as false
    #[arg(
        long, env, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "",
        hide_default_value = true
    )]
    pub otel_sdk_disabled: Disabled,
}

/// The word of `OTEL_SDK_DISABLED`. As OpenTelemetry has it, none is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disabled(String);

impl Disabled {
    /// Whether it is `true`, in letters of any case.
    fn is_true(&self) -> bool {
        self.0.eq_ignore_ascii_case("true")
    }

    /// Tells the log of what is neither that nor `false`.
    fn warn_if_unknown(&self) {
        let value = self.0.as_str();
        if !["", "true", "false"].iter().any(|known| value.eq_ignore_ascii_case(known)) {
            tracing::warn!(value, "OTEL_SDK_DISABLED counts as false: only true disables traces");
        }
    }
}

impl FromStr for Disabled {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(Disabled(word.to_owned()))
    }
}

/// A handle on the traces of the process, if they are on.
#[derive(Debug, Clone, Default)]
pub(super) struct Traces {
    provider: Option<SdkTracerProvider>,
    believed: Option<Believed>,
}

impl Traces {
    /// Turns traces on for the whole process, if `settings` name a collector. It is not waited for.
    /// `allowed` is the word of `ALLOW_INSECURE_NETWORK`; `lost` counts the spans that are not sent.
    ///
    /// # Errors
    /// If the collector cannot be called so; the message names the setting.
    pub(super) fn init(
        settings: &Settings,
        service: &'static str,
        allowed: bool,
        lost: Counter,
    ) -> anyhow::Result<Self> {
        settings.otel_sdk_disabled.warn_if_unknown();
        let Some((channel, believed)) = settings.collector(allowed)? else { return Ok(Traces::default()) };
        let exporter = SpanExporter::builder().with_tonic().with_channel(channel).build();
        let exporter = exporter.context("the settings OTEL_EXPORTER_OTLP_… cannot be used")?;
        let name = match settings.otel_service_name.as_str() {
            "" => service,
            name => name,
        };
        let provider = SdkTracerProvider::builder()
            .with_resource(Resource::builder().with_service_name(name.to_owned()).build())
            .with_sampler(settings.sampler()?)
            .with_max_links_per_span(LINKS)
            .with_span_processor(Queue::new(exporter, lost))
            .build();
        global::set_tracer_provider(provider.clone());
        global::set_text_map_propagator(TraceContextPropagator::new());
        Ok(Traces { provider: Some(provider), believed })
    }

    /// Whom the way to the collector believes, if it is encrypted.
    pub(super) fn believed(&self) -> Option<&Believed> {
        self.believed.as_ref()
    }

    /// Sends what is left, for at most [`FLUSH_TIMEOUT`].
    pub(super) async fn flush(&self) {
        let Some(provider) = self.provider.clone() else { return };
        let flushed =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("the last spans could not be exported to the trace collector");
        }
    }
}

impl Settings {
    /// The way to the collector, and whom it believes if it is encrypted; `None` while traces are off.
    fn collector(&self, allowed: bool) -> anyhow::Result<Option<(Channel, Option<Believed>)>> {
        let (setting, endpoint) = match self.otel_exporter_otlp_traces_endpoint.as_str() {
            "" => ("OTEL_EXPORTER_OTLP_ENDPOINT", self.otel_exporter_otlp_endpoint.as_str()),
            endpoint => ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint),
        };
        let exporter = self.otel_traces_exporter.as_str();
        if self.otel_sdk_disabled.is_true() || endpoint.is_empty() || exporter.eq_ignore_ascii_case("none") {
            return Ok(None);
        }
        // As OpenTelemetry has it, an empty one is as unset, on a command line too.
        ensure!(
            exporter.is_empty() || exporter.eq_ignore_ascii_case("otlp"),
            "OTEL_TRACES_EXPORTER is {exporter:?}: expected otlp or none"
        );
        let protocol = self.otel_exporter_otlp_protocol.as_str();
        ensure!(protocol == "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL is {protocol:?}: only grpc is supported");
        let uri = parse_endpoint(endpoint).with_context(|| {
            format!("{setting}: expected a URL of scheme, host and port such as http://127.0.0.1:4317")
        })?;
        let encrypted = uri.scheme_str() == Some("https");
        if !encrypted && !allowed && !uri.host().is_some_and(network::is_this_machine) {
            bail!(
                "{setting} is another machine without TLS: use https:// with OTEL_EXPORTER_OTLP_CERTIFICATE, or \
                 ALLOW_INSECURE_NETWORK=true if anyone in that network may read which entries come when"
            );
        }
        let tls = match (&self.otel_exporter_otlp_certificate, encrypted) {
            (Some(ca), true) => Some(Believed::read(ca).context("OTEL_EXPORTER_OTLP_CERTIFICATE")?),
            (None, true) => {
                bail!("{setting} is https://: set OTEL_EXPORTER_OTLP_CERTIFICATE as well")
            }
            (_, false) => None,
        };
        let endpoint = Endpoint::from(uri).timeout(EXPORT_TIMEOUT);
        let channel = endpoint.connect_with_connector_lazy(Connector { tls: tls.clone() });
        Ok(Some((channel, tls)))
    }

    /// # Errors
    /// If it has no such name, or its part is none.
    fn sampler(&self) -> anyhow::Result<Sampler> {
        let part = || {
            let part = self.otel_traces_sampler_arg.parse().ok().filter(|part| (0.0..=1.0).contains(part));
            let part =
                part.context("OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1, such as 0.01")?;
            anyhow::Ok(Sampler::TraceIdRatioBased(part))
        };
        let name = self.otel_traces_sampler.as_str();
        let root = match name.strip_prefix("parentbased_").unwrap_or(name) {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => part()?,
            _ => bail!(
                "OTEL_TRACES_SAMPLER is {name:?}: expected always_on, always_off, traceidratio, parentbased_always_on, \
                 parentbased_always_off or parentbased_traceidratio"
            ),
        };
        Ok(if name.starts_with("parentbased_") { Sampler::ParentBased(Box::new(root)) } else { root })
    }
}

fn parse_endpoint(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let host = uri.authority()?.host();
    let sound = matches!(uri.scheme_str(), Some("http" | "https")) && !host.is_empty() && !text.contains('@');
    (sound && uri.path() == "/" && uri.query().is_none()).then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_true_disables_in_letters_of_any_case() {
        for (word, disabled) in [
            ("true", true),
            ("TRUE", true),
            ("True", true),
            ("", false),
            ("false", false),
            ("1", false),
            ("on", false),
        ] {
            assert_eq!(word.parse().map(|word: Disabled| word.is_true()), Ok(disabled), "{word}");
        }
    }
}
