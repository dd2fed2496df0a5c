//! Spans, and the trace that a call belongs to: OpenTelemetry, behind a few functions that do nothing while traces
//! are off. It depends on no crate of ours, exports nothing itself, and knows nothing of log entries.
//!
//! Traces are on in a process that has installed a propagator and a provider of tracers before the first call of
//! anything here; `service::Telemetry` does, if the settings say so. [`extract`] reads who calls, [`Span::entering`]
//! is the span of a call that came in, [`Span::beginning`] that of one with which a trace may begin, [`Span::within`]
//! that of a part of it, and [`inject`] writes into a call that goes out which span it is made in. What
//! [`Span::around`] runs has that span as its current one.
//!
//! Whether a trace is recorded is decided once, where it begins: by the caller, or by the process that callers from
//! outside come to. Of one that the caller does not record no span is made: it is only passed on. Of one that is not
//! recorded here nothing is left at all, since the other processes begin none.

mod span;

pub mod attribute;

pub use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, SpanKind, SpanRef},
};
pub use span::{Past, Span};

use std::{marker::PhantomData, sync::LazyLock};

use opentelemetry::{
    global::{self, BoxedTracer},
    propagation::{Extractor, Injector},
    trace::{TraceContextExt, TraceState},
};

/// Who makes the spans; `None` while traces are off. Without a propagator installed, that has no fields.
static TRACER: LazyLock<Option<BoxedTracer>> = LazyLock::new(|| {
    let on = global::get_text_map_propagator(|propagator| propagator.fields().next().is_some());
    on.then(|| global::tracer("fourwire"))
});

/// Longest header that is read. W3C asks for no longer `tracestate`, and what goes on to the next process must leave
/// room for the other headers there.
const HEADER_BYTES: usize = 512;

/// Whether traces are on.
pub fn is_on() -> bool {
    TRACER.is_some()
}

/// In which span a call was made, from what `get` finds under a name in its headers. What cannot be read is taken
/// for a call without one.
pub fn extract<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Context {
    struct Headers<'a, F>(F, PhantomData<&'a str>);
    impl<'a, F: Fn(&str) -> Option<&'a str>> Extractor for Headers<'a, F> {
        fn get(&self, name: &str) -> Option<&str> {
            (self.0)(name).filter(|value| value.len() <= HEADER_BYTES)
        }

        fn keys(&self) -> Vec<&str> {
            Vec::new()
        }
    }
    if !is_on() {
        return Context::new();
    }
    global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &Headers(&get, PhantomData))
    })
}

/// In which span a call was made, where that is told in numbers.
pub fn caller(trace: TraceId, span: SpanId, flags: TraceFlags) -> Context {
    let caller = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    if is_on() && caller.is_valid() {
        Context::new().with_remote_span_context(caller)
    } else {
        Context::new()
    }
}

/// Tells `set` the name and value of each header that says in which span a call is made: the current one.
pub fn inject(set: impl FnMut(&str, String)) {
    struct Headers<F>(F);
    impl<F: FnMut(&str, String)> Injector for Headers<F> {
        fn set(&mut self, name: &str, value: String) {
            // A state that is empty need not be told.
            if !value.is_empty() {
                (self.0)(name, value);
            }
        }
    }
    if is_on() {
        let mut headers = Headers(set);
        Context::map_current(|current| {
            if !current.has_active_span() {
                return;
            }
            global::get_text_map_propagator(|propagator| propagator.inject_context(current, &mut headers));
        });
    }
}

/// What `look` sees in the current span.
pub fn with_current<T>(look: impl FnOnce(SpanRef<'_>) -> T) -> T {
    Context::map_current(|current| look(current.span()))
}

/// The trace that the current span belongs to, recorded or not.
pub fn current_id() -> Option<TraceId> {
    if !is_on() {
        return None;
    }
    let id = Context::map_current(|current| current.span().span_context().trace_id());
    (id != TraceId::INVALID).then_some(id)
}

/// The current span, if it is recorded: for what is told of it later, by [`Past`].
pub fn current_recorded() -> Option<Context> {
    if !is_on() {
        return None;
    }
    Context::map_current(|current| current.span().span_context().is_sampled().then(|| current.clone()))
}

/// Adds to the current span, if it is recorded.
pub fn note<const N: usize>(attributes: impl FnOnce() -> [KeyValue; N]) {
    if is_on() {
        Context::map_current(|current| span::note(current, attributes));
    }
}
