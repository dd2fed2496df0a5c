//! What the spans of one request cost a process, ours beside those of `tracing-opentelemetry`: that of a call that came
//! in, one of a call that goes out with its header, and two attributes each. Nothing is exported. `TRACES=off` measures
//! a process without a collector.

use std::{env, future::ready, hint::black_box, io::sink, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use opentelemetry::{
    Context, global,
    propagation::{Extractor, Injector},
    trace::TracerProvider as _,
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, SpanData, SpanProcessor},
};
use spans::{KeyValue, Span, SpanKind};
use tracing::{Instrument, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    prelude::*,
};

/// The `traceparent` of a request, by who decides whether its trace is recorded.
const REQUESTS: [(&str, Option<&str>); 3] = [
    ("no caller's trace", None),
    ("recorded", Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
    ("only passed on", Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")),
];

/// Where the spans of `tracing` are told from what is logged.
const TARGET: &str = "traces";

/// Takes the spans, and drops them.
#[derive(Debug)]
struct Drain;

impl SpanProcessor for Drain {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        black_box(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

struct Headers<'a>(Option<&'a str>);

impl Extractor for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.filter(|_| name == "traceparent")
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

impl Injector for Headers<'_> {
    fn set(&mut self, name: &str, value: String) {
        black_box((name, value));
    }
}

async fn ours(header: Option<&str>) {
    let caller = spans::extract(|name| header.filter(|_| name == "traceparent"));
    let span = Span::beginning("POST /handle", SpanKind::Server, caller);
    let request = async {
        let call = Span::within("LogRpc/write", SpanKind::Client);
        let sent = async {
            spans::inject(|name, value| drop(black_box((name.to_owned(), value))));
            ready(()).await;
        };
        call.around(sent).await;
        call.note(|| [KeyValue::new("fourwire.entries", 1), KeyValue::new("fourwire.outcome", "stored")]);
    };
    span.around(request).await;
    span.note(|| [KeyValue::new("fourwire.entry.id", "id"), KeyValue::new("http.response.status_code", 202)]);
}

async fn theirs(header: Option<&str>) {
    let span = info_span!(
        target: TARGET, "request", otel.name = "POST /handle", otel.kind = "server", fourwire.entry.id = Empty,
        http.response.status_code = Empty
    );
    if !span.is_disabled() {
        let caller = global::get_text_map_propagator(|propagator| {
            propagator.extract_with_context(&Context::new(), &Headers(header))
        });
        span.set_parent(caller).expect("it has not begun");
    }
    let request = async {
        let call = info_span!(
            target: TARGET, "call", otel.name = "LogRpc/write", otel.kind = "client", fourwire.entries = Empty,
            fourwire.outcome = Empty
        );
        let sent = async {
            let current = tracing::Span::current();
            if !current.is_disabled() {
                global::get_text_map_propagator(|propagator| {
                    propagator.inject_context(&current.context(), &mut Headers(None));
                });
            }
            ready(()).await;
        };
        sent.instrument(call.clone()).await;
        call.record("fourwire.entries", 1);
        call.record("fourwire.outcome", "stored");
    };
    request.instrument(span.clone()).await;
    span.record("fourwire.entry.id", "id");
    span.record("http.response.status_code", 202);
}

/// As a service has it: its log at `info`, and a layer for traces only if there is a collector.
fn install(on: bool) {
    let log = tracing_subscriber::fmt::layer()
        .with_writer(sink)
        .with_filter(Targets::new().with_default(LevelFilter::INFO).with_target(TARGET, LevelFilter::OFF));
    if !on {
        return tracing_subscriber::registry().with(log).init();
    }
    let provider = SdkTracerProvider::builder().with_span_processor(Drain).build();
    global::set_text_map_propagator(TraceContextPropagator::new());
    global::set_tracer_provider(provider.clone());
    let traces = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("fourwire"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO));
    tracing_subscriber::registry().with(log).with(traces).init();
}

fn spans_of_a_request(criterion: &mut Criterion) {
    let on = env::var("TRACES").as_deref() != Ok("off");
    install(on);
    for (name, header) in REQUESTS {
        let mut group =
            criterion.benchmark_group(format!("traces {}, {name}", if on { "on" } else { "off" }));
        group.bench_function("spans", |bench| bench.iter(|| ours(black_box(header)).now_or_never()));
        group.bench_function("tracing-opentelemetry", |bench| {
            bench.iter(|| theirs(black_box(header)).now_or_never());
        });
        group.finish();
    }
}

criterion_group!(benches, spans_of_a_request);
criterion_main!(benches);
