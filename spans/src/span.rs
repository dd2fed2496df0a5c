//! A span, from its start to its drop.

use std::{
    borrow::Cow,
    future::Future,
    time::{Duration, Instant, SystemTime},
};

use futures_util::future::Either;
use opentelemetry::{
    Context, KeyValue, TraceId,
    context::{FutureExt, WithContext},
    trace::{Event, Link, Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};

use crate::{TRACER, attribute};

/// A span that ends when it is dropped. It is nothing while traces are off, and only passes the trace on where that
/// is not recorded.
#[derive(Debug, Default)]
pub struct Span(Option<Context>);

impl Span {
    /// That of a call that came in from `caller`, whose decision holds; nothing without one.
    pub fn entering(name: impl Into<Cow<'static, str>>, kind: SpanKind, caller: Context) -> Self {
        if caller.has_active_span() { Span::beginning(name, kind, caller) } else { Span(None) }
    }

    /// As [`Span::entering`], but without a caller a trace begins, and the sampler decides whether it is recorded. If it
    /// is not, this is nothing, and nothing is passed on: the service that is called then has no caller, and begins none.
    pub fn beginning(name: impl Into<Cow<'static, str>>, kind: SpanKind, caller: Context) -> Self {
        let Some(tracer) = &*TRACER else { return Span(None) };
        let decided = caller.has_active_span();
        if decided && !caller.span().span_context().is_sampled() {
            return Span(Some(caller));
        }
        let span = tracer.build_with_context(SpanBuilder::from_name(name).with_kind(kind), &caller);
        match (span.is_recording(), decided) {
            (true, _) => Span(Some(caller.with_span(span))),
            (false, true) => Span(Some(caller.with_remote_span_context(span.span_context().clone()))),
            (false, false) => Span(None),
        }
    }

    /// Whether there is nothing to record and nothing to pass on.
    pub fn is_nothing(&self) -> bool {
        self.0.is_none()
    }

    /// That of a part of the current span; nothing if that is not recorded.
    pub fn within(name: &'static str, kind: SpanKind) -> Self {
        Span(crate::current_recorded().map(|current| part(&current, name, kind, Vec::new())))
    }

    /// A span of a part of this one, with links to others. If this is not recorded, it only passes the trace on.
    #[must_use]
    pub fn part(&self, name: &'static str, kind: SpanKind, links: &[&Span]) -> Self {
        let link = |context: &Context| Link::with_context(context.span().span_context().clone());
        let links = || links.iter().filter_map(|span| span.recorded()).map(link).collect();
        match self.recorded() {
            Some(context) => Span(Some(part(context, name, kind, links()))),
            None => Span(self.0.clone()),
        }
    }

    /// Runs something with this as the current span.
    pub fn around<F: Future>(&self, work: F) -> Either<WithContext<F>, F> {
        match &self.0 {
            Some(context) => Either::Left(work.with_context(context.clone())),
            None => Either::Right(work),
        }
    }

    /// Whether it is exported.
    pub fn is_recorded(&self) -> bool {
        self.recorded().is_some()
    }

    /// The trace that it belongs to, recorded or not.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.0.as_ref().map(|context| context.span().span_context().trace_id())
    }

    /// Adds to it, if it is recorded.
    pub fn note<const N: usize>(&self, attributes: impl FnOnce() -> [KeyValue; N]) {
        if let Some(context) = self.recorded() {
            note(context, attributes);
        }
    }

    /// Marks it as failed, with the word for the case.
    pub fn fail(&self, code: impl Into<Cow<'static, str>>) {
        if let Some(context) = self.recorded() {
            let code = code.into();
            context.span().set_attribute(KeyValue::new(attribute::ERROR_TYPE, code.clone()));
            context.span().set_status(Status::error(code));
        }
    }

    /// Links it to another.
    pub fn link(&self, other: &Span) {
        if let (Some(context), Some(other)) = (self.recorded(), other.recorded()) {
            context.span().add_link(other.span().span_context().clone(), Vec::new());
        }
    }

    fn recorded(&self) -> Option<&Context> {
        self.0.as_ref().filter(|context| context.span().span_context().is_sampled())
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // A context that is still held elsewhere does not delay its end.
        if let Some(context) = self.recorded() {
            context.span().end();
        }
    }
}

/// A part of the work that is over when it is told of.
#[derive(Debug)]
pub struct Past {
    /// Its name.
    pub name: &'static str,
    /// When it began.
    pub begun: Instant,
    /// When it ended.
    pub ended: Instant,
    /// Something that happened between, and when.
    pub event: (&'static str, Instant),
}

impl Past {
    /// Makes a span of it, within a recorded one.
    pub fn tell<const N: usize>(self, within: &Context, attributes: [KeyValue; N]) {
        let Some(tracer) = &*TRACER else { return };
        let (now, clock) = (Instant::now(), SystemTime::now());
        let at = |instant: Instant| {
            let ago: Duration = now.saturating_duration_since(instant);
            clock.checked_sub(ago).unwrap_or(clock)
        };
        let (event, happened) = self.event;
        let builder = SpanBuilder::from_name(self.name)
            .with_kind(SpanKind::Internal)
            .with_start_time(at(self.begun))
            .with_attributes(attributes)
            .with_events(vec![Event::new(event, at(happened), Vec::new(), 0)]);
        tracer.build_with_context(builder, within).end_with_timestamp(at(self.ended));
    }
}

fn part(context: &Context, name: &'static str, kind: SpanKind, links: Vec<Link>) -> Context {
    match &*TRACER {
        Some(tracer) => {
            let builder = SpanBuilder::from_name(name).with_kind(kind).with_links(links);
            context.with_span(tracer.build_with_context(builder, context))
        }
        None => Context::new(),
    }
}

pub(crate) fn note<const N: usize>(context: &Context, attributes: impl FnOnce() -> [KeyValue; N]) {
    if context.span().is_recording() {
        context.span().set_attributes(attributes());
    }
}
