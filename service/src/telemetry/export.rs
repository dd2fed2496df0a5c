//! Exports spans to the collector. Those that are not exported are counted as dropped, except for what the last
//! flush leaves at exit, and what a collector accepts and then rejects (OTLP's `partial_success`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use metrics::Counter;
use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};
use tokio::runtime::Handle;

/// Maximum spans that wait to be sent: some MiB. What comes then is left out, and no request waits.
const QUEUE_SPANS: usize = 2_048;

/// Maximum spans that are sent at a time, so that a message stays far below the 4 MiB that a collector takes.
const EXPORT_SPANS: usize = 512;

/// How long a span may wait for others.
const EXPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How long sending to the collector may take, with connecting and its answer.
pub(super) const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// Bounds the spans that wait. The SDK's queue has the same bound, but does not report what it drops.
#[derive(Debug)]
pub(super) struct Queue {
    batches: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    lost: Counter,
}

impl Queue {
    /// A queue before `exporter`. What is lost, here or there, is counted in `lost`. Must be called within a tokio runtime.
    pub(super) fn new<E: SpanExporter + 'static>(exporter: E, lost: Counter) -> Self {
        let waiting = Arc::<AtomicUsize>::default();
        let exporter = Exporter {
            inner: Arc::new(exporter),
            runtime: Handle::current(),
            waiting: Arc::clone(&waiting),
            lost: lost.clone(),
            lost_now: AtomicUsize::new(0),
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_SPANS)
            .with_max_export_batch_size(EXPORT_SPANS)
            .with_scheduled_delay(EXPORT_INTERVAL)
            .build();
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        Queue { batches, waiting, lost }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        // The others are not for the collector.
        if !span.span_context.is_sampled() {
            return;
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) < QUEUE_SPANS {
            self.batches.on_end(span);
        } else {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.lost.increment(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Sends spans to the collector; an outage is logged once when it begins, and once when it ends.
#[derive(Debug)]
struct Exporter<E> {
    inner: Arc<E>,
    runtime: Handle,
    /// Spans that are in the queue.
    waiting: Arc<AtomicUsize>,
    lost: Counter,
    /// Spans that could not be sent since it last worked.
    lost_now: AtomicUsize,
}

impl<E: SpanExporter + 'static> SpanExporter for Exporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (inner, spans) = (Arc::clone(&self.inner), batch.len());
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        // The processor's own thread has no clock of tokio's, and no limit covers all of tonic's waits.
        let sent = self
            .runtime
            .spawn(async move { tokio::time::timeout(EXPORT_TIMEOUT, inner.export(batch)).await });
        let result = match sent.await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(OTelSdkError::Timeout(EXPORT_TIMEOUT)),
            Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
        };
        match &result {
            Ok(()) => match self.lost_now.swap(0, Ordering::Relaxed) {
                0 => {}
                lost => tracing::info!(lost_spans = lost, "the trace collector accepts spans again"),
            },
            Err(error) => {
                self.lost.increment(spans as u64);
                match self.lost_now.fetch_add(spans, Ordering::Relaxed) {
                    0 => {
                        tracing::warn!(%error, "the trace collector does not accept spans; they are dropped")
                    }
                    _ => tracing::debug!(%error, spans, "spans dropped"),
                }
            }
        }
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Nobody else has it yet.
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.set_resource(resource);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tokio::sync::Semaphore;

    use super::*;

    /// More than find room, in the queue and on their way.
    const ENDED: usize = 3 * QUEUE_SPANS;

    /// A collector that answers once its gate is open.
    #[derive(Debug)]
    struct Gated {
        gate: Arc<Semaphore>,
        takes: bool,
        taken: Arc<AtomicUsize>,
    }

    impl SpanExporter for Gated {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            let _open = self.gate.acquire().await;
            if !self.takes {
                return Err(OTelSdkError::InternalFailure("it takes nothing".to_owned()));
            }
            self.taken.fetch_add(batch.len(), Ordering::Relaxed);
            Ok(())
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_span_is_sent_or_counted_as_lost() {
        for takes in [true, false] {
            let (gate, taken) = (Arc::new(Semaphore::new(0)), Arc::<AtomicUsize>::default());
            let lost = Arc::<AtomicU64>::default();
            let collector = Gated { gate: Arc::clone(&gate), takes, taken: Arc::clone(&taken) };
            let queue = Queue::new(collector, Counter::from_arc(Arc::clone(&lost)));
            let provider = SdkTracerProvider::builder().with_span_processor(queue).build();
            let tracer = provider.tracer("test");
            (0..ENDED).for_each(|_| tracer.start("span").end());
            let lost = || usize::try_from(lost.load(Ordering::Relaxed)).expect("small");
            assert!(lost() >= ENDED - QUEUE_SPANS - EXPORT_SPANS, "no room for {}", lost());
            gate.add_permits(1);
            tokio::task::spawn_blocking(move || provider.shutdown()).await.expect("no panic").expect("ended");
            assert_eq!(lost() + taken.load(Ordering::Relaxed), ENDED);
            assert_eq!(taken.load(Ordering::Relaxed) > 0, takes);
        }
    }
}
