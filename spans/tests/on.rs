//! Which spans are made, and what goes on to the next process.

use std::{
    pin::pin,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    task::{Context as TaskContext, Poll, Waker},
    time::{Duration, Instant},
};

use opentelemetry::{global, trace::Status};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use spans::{Past, Span, SpanKind, attribute};

#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(batch);
        Ok(())
    }
}

/// Turns traces on for this process.
static KEPT: LazyLock<Kept> = LazyLock::new(|| {
    let kept = Kept::default();
    global::set_tracer_provider(SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build());
    global::set_text_map_propagator(TraceContextPropagator::new());
    kept
});

/// The spans of a trace, in the order of their ends.
fn spans(trace: &str) -> Vec<SpanData> {
    let kept = KEPT.0.lock().unwrap_or_else(PoisonError::into_inner);
    kept.iter().filter(|span| span.span_context.trace_id().to_string() == trace).cloned().collect()
}

fn entering(traceparent: &str) -> Span {
    LazyLock::force(&KEPT);
    let caller = spans::extract(|name| (name == "traceparent").then_some(traceparent));
    Span::entering("call", SpanKind::Server, caller)
}

/// What is told to the next process from within a span.
fn told(span: &Span) -> Vec<(String, String)> {
    let mut told = Vec::new();
    now(span.around(async { spans::inject(|name, value| told.push((name.to_owned(), value))) }));
    told
}

fn now<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it waits for nothing"),
    }
}

#[test]
fn a_recorded_call_has_a_span_and_so_has_each_part_of_it() {
    let trace = "0000000000000000000000000000a001";
    let call = entering(&format!("00-{trace}-00000000000000b1-01"));
    now(call.around(async {
        spans::note(|| attribute::entries("id", 3));
        assert_eq!(spans::current_id().map(|id| id.to_string()).as_deref(), Some(trace));
        Span::within("part", SpanKind::Client).fail("conflict");
        let begun = Instant::now() - Duration::from_secs(2);
        let ended = begun + Duration::from_secs(1);
        let past = Past { name: "past", begun, ended, event: ("turn", begun) };
        past.tell(&spans::current_recorded().expect("recorded"), [attribute::number("n", 7)]);
    }));
    drop(call);
    let [part, past, call] = spans(trace).try_into().expect("three spans");
    assert_eq!(call.parent_span_id.to_string(), "00000000000000b1");
    for of_call in [&part, &past] {
        assert_eq!(of_call.parent_span_id, call.span_context.span_id());
    }
    assert_eq!(part.status, Status::error("conflict"));
    assert_eq!(call.attributes.len(), 2);
    let took = past.end_time.duration_since(past.start_time).expect("forward");
    assert_eq!((took, past.events.len()), (Duration::from_secs(1), 1));
}

#[test]
fn a_call_that_is_not_recorded_makes_no_span_and_passes_its_trace_on() {
    let trace = "0000000000000000000000000000a002";
    let traceparent = format!("00-{trace}-00000000000000b2-00");
    let call = entering(&traceparent);
    assert!(!call.is_recorded());
    let part = call.part("part", SpanKind::Client, &[]);
    now(part.around(async { assert!(!Span::within("part", SpanKind::Client).is_recorded()) }));
    for span in [&call, &part] {
        assert_eq!(told(span), [("traceparent".to_owned(), traceparent.clone())]);
    }
    drop((part, call));
    assert!(spans(trace).is_empty());
}

#[test]
fn a_state_goes_on_unless_it_is_too_long() {
    LazyLock::force(&KEPT);
    let caller = |state: &str| {
        let traceparent = "00-0000000000000000000000000000a006-00000000000000b6-01";
        let headers = [("traceparent", traceparent.to_owned()), ("tracestate", format!("vendor={state}"))];
        let caller = spans::extract(|name| Some(headers.iter().find(|(own, _)| *own == name)?.1.as_str()));
        Span::entering("call", SpanKind::Server, caller)
    };
    let state = told(&caller("value"));
    assert_eq!(state[1], ("tracestate".to_owned(), "vendor=value".to_owned()));
    let state = told(&caller(&"x".repeat(512)));
    assert_eq!(state.len(), 1, "{state:?}");
    assert!(state[0].1.starts_with("00-0000000000000000000000000000a006-"));
}

#[test]
fn a_call_without_a_caller_begins_a_trace_where_one_may_begin_and_nowhere_else() {
    for traceparent in ["", "00-0-0-01", "ff-0000000000000000000000000000a003-00000000000000b3-01"] {
        let elsewhere = entering(traceparent);
        assert!(elsewhere.is_nothing() && told(&elsewhere).is_empty());
        let caller = spans::extract(|name| (name == "traceparent").then_some(traceparent));
        let call = Span::beginning("call", SpanKind::Server, caller);
        assert!(call.is_recorded(), "{traceparent}");
        let trace = call.trace_id().expect("a trace").to_string();
        assert!(told(&call)[0].1.starts_with(&format!("00-{trace}-")));
        drop(call);
        assert_eq!(spans(&trace).len(), 1);
    }
    let nobody = spans::caller(0.into(), 7.into(), spans::TraceFlags::SAMPLED);
    assert!(Span::entering("call", SpanKind::Server, nobody).is_nothing());
}

#[test]
fn spans_of_several_traces_are_linked() {
    let calls = ["a004", "a005"].map(|id| entering(&format!("00-{id:0>32}-00000000000000b4-01")));
    let part = calls[0].part("hand over", SpanKind::Internal, &[&calls[1]]);
    calls[1].link(&part);
    drop((part, calls));
    let first = spans(&format!("{:0>32}", "a004"));
    let second = spans(&format!("{:0>32}", "a005"));
    assert_eq!(first[0].links.links[0].span_context, second[0].span_context);
    assert_eq!(second[0].links.links[0].span_context, first[0].span_context);
    assert_eq!(first[0].parent_span_id, first[1].span_context.span_id());
}
