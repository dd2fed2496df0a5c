//! Ends streams that nobody reads, to free their slots.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::Stream;
use proto::{Code, Failure, grpc::status};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::Status;

use super::slots::given_up;
use crate::metrics::StreamCall;

/// How long a stream that has given something may not be asked for more. One that is waited for may take its time.
const STALL_TIMEOUT: Duration = Duration::from_secs(330);

/// Why a stream ended early, for its client.
pub(in crate::server::grpc) struct Reasons {
    /// It was not read.
    stalled: Failure,
    /// Others needed its place.
    given_up: Failure,
}

/// Responses that are dropped, with all that they hold, when they are not read for too long. A client that reads on after
/// that gets the reason, and the end.
pub(in crate::server::grpc) struct Watched<S> {
    /// What a client that reads on gets.
    reasons: Reasons,
    /// Others need its place.
    given_up: CancellationToken,
    shared: Arc<Mutex<Shared<S>>>,
    ended: bool,
    _watch: AbortOnDropHandle<()>,
}

struct Shared<S> {
    /// `None` once they are dropped.
    responses: Option<Pin<Box<S>>>,
    /// Since when a response is unread; `None` while the client waits for more.
    unread_since: Option<Instant>,
    /// The client's task that waits for more.
    waits: Option<Waker>,
}

impl<S: Send + 'static> Watched<S> {
    /// Must be called within a tokio runtime.
    pub(in crate::server::grpc) fn new(responses: S, reasons: Reasons, given_up: CancellationToken) -> Self {
        let unread_since = Some(Instant::now());
        let shared = Shared { responses: Some(Box::pin(responses)), unread_since, waits: None };
        let shared = Arc::new(Mutex::new(shared));
        let watch = tokio::spawn(watch(Arc::downgrade(&shared), given_up.clone()));
        Watched { reasons, given_up, shared, ended: false, _watch: AbortOnDropHandle::new(watch) }
    }
}

impl<S: Stream<Item = Result<T, Status>>, T> Stream for Watched<S> {
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Watched { reasons, given_up, shared, ended, .. } = self.get_mut();
        let mut shared = lock(shared);
        let Some(responses) = &mut shared.responses else {
            let told = std::mem::replace(ended, true);
            let reason = if given_up.is_cancelled() { &reasons.given_up } else { &reasons.stalled };
            return Poll::Ready((!told).then(|| Err(status(reason))));
        };
        let polled = responses.as_mut().poll_next(cx);
        shared.unread_since = polled.is_ready().then(Instant::now);
        if polled.is_pending() && shared.waits.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            shared.waits = Some(cx.waker().clone());
        }
        polled
    }
}

/// Drops the responses when the time has come, or their place was given up.
async fn watch<S>(shared: Weak<Mutex<Shared<S>>>, given_up: CancellationToken) {
    let mut next_look = Instant::now() + STALL_TIMEOUT;
    loop {
        let given_up = tokio::time::timeout_at(next_look, given_up.cancelled()).await.is_ok();
        let Some(shared) = shared.upgrade() else { return };
        if given_up {
            let mut shared = lock(&shared);
            shared.responses = None;
            if let Some(waker) = shared.waits.take() {
                waker.wake();
            }
            return tracing::debug!("a stream was ended in favour of another connection");
        }
        match look(&shared) {
            Some(later) => next_look = later,
            None => return tracing::debug!("a stream that was not read was ended"),
        }
    }
}

/// When to look again; `None`: the responses are dropped.
fn look<S>(shared: &Mutex<Shared<S>>) -> Option<Instant> {
    let mut shared = lock(shared);
    let now = Instant::now();
    let limit = shared.unread_since.unwrap_or(now) + STALL_TIMEOUT;
    if now < limit {
        return Some(limit);
    }
    shared.responses = None;
    None
}

fn lock<S>(shared: &Mutex<Shared<S>>) -> MutexGuard<'_, Shared<S>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The reasons for a tail.
pub(in crate::server::grpc) fn tail() -> Reasons {
    let seconds = STALL_TIMEOUT.as_secs();
    let message = format!("the stream was not read for {seconds} s: resume after the last received entry");
    Reasons { stalled: Failure::new(Code::Unavailable, message), given_up: given_up(StreamCall::Tail) }
}

/// The reasons for acknowledgements.
pub(in crate::server::grpc) fn acknowledgements() -> Reasons {
    let seconds = STALL_TIMEOUT.as_secs();
    let message = format!(
        "the acknowledgements were not read for {seconds} s: unacknowledged entries may be stored; resending them with \
         the same id is safe"
    );
    Reasons { stalled: Failure::new(Code::OutcomeUnknown, message), given_up: given_up(StreamCall::Sync) }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use tokio::sync::Semaphore;

    use super::{super::deadline::within, *};

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_not_read_gives_up_its_place_and_says_so_later() {
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).try_acquire_owned().expect("it is free");
        let numbers = stream::iter(0..).map(Ok::<i32, Status>);
        let mut watched = Watched::new(within(None, numbers, place), tail(), CancellationToken::new());
        for number in 0..3 {
            tokio::time::sleep(STALL_TIMEOUT - Duration::from_secs(1)).await;
            assert_eq!(watched.next().await.and_then(Result::ok), Some(number), "it is slow, and read");
            assert_eq!(places.available_permits(), 0);
        }
        tokio::time::sleep(STALL_TIMEOUT + Duration::from_secs(1)).await;
        assert_eq!(places.available_permits(), 1);
        let told = watched.next().await.expect("a last word").expect_err("the reason");
        assert_eq!(told.code(), tonic::Code::Unavailable);
        assert!(told.message().contains("not read"), "{told}");
        assert!(watched.next().await.is_none());
    }

    #[tokio::test]
    async fn a_stream_whose_place_others_need_ends_whether_it_is_read_or_not() {
        let places = Arc::new(Semaphore::new(2));
        let nothing = stream::pending::<Result<i32, Status>>;
        let given_up = CancellationToken::new();
        let [mut read, mut unread] = [tail(), acknowledgements()].map(|reasons| {
            let place = Arc::clone(&places).try_acquire_owned().expect("it is free");
            Watched::new(within(None, nothing(), place), reasons, given_up.clone())
        });
        let told = tokio::spawn(async move { read.next().await });
        given_up.cancel();
        let told = told.await.expect("no panic").expect("a last word").expect_err("the reason");
        assert_eq!(told.code(), tonic::Code::ResourceExhausted);
        let _all_free = places.acquire_many(2).await.expect("open");
        let told = unread.next().await.expect("a last word").expect_err("the reason");
        let told = proto::grpc::failure(&told).map(|failure| failure.code);
        assert_eq!(told, Some(Code::OutcomeUnknown), "chunks of it may be at the writer");
        assert!(unread.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_late_stream_keeps_it() {
        let late = stream::once(async {
            tokio::time::sleep(3 * STALL_TIMEOUT).await;
            Ok::<_, Status>(7)
        });
        let mut watched = Watched::new(late, acknowledgements(), CancellationToken::new());
        assert_eq!(watched.next().await.and_then(Result::ok), Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_ends_or_is_dropped_gives_up_its_place_at_once() {
        let places = Arc::new(Semaphore::new(1));
        for reads in [true, false] {
            let place = Arc::clone(&places).try_acquire_owned().expect("it is free");
            let nothing = stream::empty::<Result<i32, Status>>();
            let mut watched = Watched::new(within(None, nothing, place), tail(), CancellationToken::new());
            if reads {
                assert!(watched.next().await.is_none());
                assert_eq!(places.available_permits(), 1);
            }
        }
        assert_eq!(places.available_permits(), 1);
    }
}
