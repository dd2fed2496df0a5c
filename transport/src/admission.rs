//! How much may be in flight over one transport, and how long the rest waits for room.
//!
//! A client that is refused immediately retries immediately, and each refusal takes CPU time from what could be accepted:
//! measured, at five times the capacity a tenth of the goodput was left. So a call first waits, which costs nothing and
//! slows such clients down. The memory of waiting calls is limited too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proto::{
    Code, Failure, LogEntry,
    limits::{BODY_BYTES, ENTRY_BYTES, HELD_BYTES, IN_FLIGHT_CALLS, IN_FLIGHT_ENTRIES, WAITING_CALLS},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts what is in flight over one transport, in calls, in entries and in bytes.
#[derive(Debug)]
pub(crate) struct Admission {
    /// For the calls in flight and those that wait.
    places: Arc<Semaphore>,
    /// For the bytes of both.
    held: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    entries: Arc<Semaphore>,
    /// Those that wait for room just now.
    waiting: AtomicUsize,
}

/// Who makes the call that takes the entries along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The caller itself: its entries go in a call of their own.
    Itself,
    /// The stage, which takes room for a call when it has a group.
    Stage,
}

/// Room for some entries; given back when dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    _place: OwnedSemaphorePermit,
    _held: OwnedSemaphorePermit,
    _call: Option<OwnedSemaphorePermit>,
    _entries: OwnedSemaphorePermit,
}

impl Default for Admission {
    fn default() -> Self {
        let room = |permits| Arc::new(Semaphore::new(permits));
        Admission {
            places: room(IN_FLIGHT_CALLS + WAITING_CALLS),
            held: room(HELD_BYTES),
            calls: room(IN_FLIGHT_CALLS),
            entries: room(IN_FLIGHT_ENTRIES),
            waiting: AtomicUsize::new(0),
        }
    }
}

impl Admission {
    /// How many calls are in flight, and how many wait for room.
    pub(crate) fn calls(&self) -> (usize, usize) {
        let in_flight = IN_FLIGHT_CALLS - self.calls.available_permits();
        (in_flight, self.waiting.load(Ordering::Relaxed))
    }

    /// How many entries have room, those that wait in the stage among them.
    pub(crate) fn entries(&self) -> usize {
        IN_FLIGHT_ENTRIES - self.entries.available_permits()
    }

    /// The room for calls, for those that the stage makes.
    pub(crate) fn room_for_calls(&self) -> Arc<Semaphore> {
        Arc::clone(&self.calls)
    }

    /// Takes room for a call with `entries`, in the order of the calls, within `patience`. A ping has none.
    ///
    /// # Errors
    /// `overloaded` if there is none by then, or at once if too much waits already; `too_large` for more than ever fits.
    pub(crate) async fn admit(
        &self,
        entries: &[LogEntry],
        caller: Caller,
        patience: Duration,
    ) -> Result<Admitted, Failure> {
        let bytes: usize = entries.iter().map(LogEntry::payload_bytes).sum();
        if bytes > BODY_BYTES {
            let message = format!("the entries have {bytes} bytes: the limit of a batch is {BODY_BYTES}");
            return Err(Failure::new(Code::TooLarge, message));
        }
        let full = || Failure::overloaded("this transport");
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| full())?;
        let held = permits(bytes + entries.len() * ENTRY_BYTES);
        let held = Arc::clone(&self.held).try_acquire_many_owned(held).map_err(|_| full())?;
        let _waiting = Waiting::among(&self.waiting);
        let room = async {
            Admitted {
                _place: place,
                _held: held,
                _call: match caller {
                    Caller::Itself => Some(take(&self.calls, 1).await),
                    Caller::Stage => None,
                },
                _entries: take(&self.entries, entries.len()).await,
            }
        };
        tokio::time::timeout(patience, room).await.map_err(|_| full())
    }
}

/// Counts one who waits for as long as it is kept.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn take(room: &Arc<Semaphore>, amount: usize) -> OwnedSemaphorePermit {
    Arc::clone(room).acquire_many_owned(permits(amount)).await.expect("the semaphore is never closed")
}

fn permits(amount: usize) -> u32 {
    u32::try_from(amount).expect("checked against far lower limits")
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::Pin, task::Poll, time::Instant};

    use proto::{EntryDraft, limits::BATCH_ENTRIES};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    fn entries(count: usize) -> Vec<LogEntry> {
        let draft = EntryDraft { name: "n".into(), ..EntryDraft::default() };
        let now = "2026-01-31T12:00:00Z".parse().expect("a time");
        (0..count).map(|_| draft.clone().check(now).expect("valid")).collect()
    }

    impl Admission {
        async fn admits(&self, count: usize) -> Admitted {
            self.admit(&entries(count), Caller::Itself, PATIENCE).await.expect("they fit")
        }

        async fn refuses(&self, count: usize) {
            let refusal =
                self.admit(&entries(count), Caller::Itself, PATIENCE).await.expect_err("one too many");
            assert_eq!(refusal.code, Code::Overloaded);
        }
    }

    async fn times<T>(count: usize, mut make: impl AsyncFnMut() -> T) -> Vec<T> {
        let mut made = Vec::new();
        for _ in 0..count {
            made.push(make().await);
        }
        made
    }

    #[tokio::test]
    async fn what_is_over_the_limit_is_refused_and_room_comes_back() {
        let admission = Admission::default();
        let batches = IN_FLIGHT_ENTRIES / BATCH_ENTRIES;
        let most = times(batches, async || admission.admits(BATCH_ENTRIES).await).await;
        let rest = admission.admits(IN_FLIGHT_ENTRIES % BATCH_ENTRIES).await;
        admission.refuses(1).await;
        drop((most, rest));
        admission.admits(1).await;
    }

    #[tokio::test]
    async fn single_entries_are_refused_long_before_they_are_as_many_as_those_of_batches_may_be() {
        let admission = Admission::default();
        let most = times(IN_FLIGHT_CALLS, async || admission.admits(1).await).await;
        admission.refuses(1).await;
        drop(most);
        admission.admits(1).await;
    }

    #[tokio::test]
    async fn what_the_stage_takes_along_is_bounded_as_entries_and_takes_no_room_for_a_call() {
        let admission = Admission::default();
        let one = entries(1);
        let most = times(IN_FLIGHT_ENTRIES, async || {
            admission.admit(&one, Caller::Stage, PATIENCE).await.expect("there is room")
        });
        let most = most.await;
        assert_eq!((admission.calls(), admission.entries()), ((0, 0), IN_FLIGHT_ENTRIES));
        let refusal = admission.admit(&one, Caller::Stage, PATIENCE).await.expect_err("one too many");
        assert_eq!(refusal.code, Code::Overloaded);
        drop(most);
        assert_eq!(admission.entries(), 0);
    }

    #[tokio::test]
    async fn a_call_waits_for_room_and_is_refused_when_its_patience_ends() {
        let admission = Admission::default();
        let mut most = times(IN_FLIGHT_CALLS, async || admission.admits(1).await).await;
        let begun = Instant::now();
        admission.refuses(1).await;
        assert!(begun.elapsed() >= PATIENCE);
        let one = entries(1);
        let mut waiting = Box::pin(admission.admit(&one, Caller::Itself, Duration::MAX));
        assert!(poll_once(waiting.as_mut()).await.is_pending());
        assert_eq!(admission.calls(), (IN_FLIGHT_CALLS, 1));
        most.pop();
        let _admitted = waiting.await.expect("there is room");
        assert_eq!(admission.calls(), (IN_FLIGHT_CALLS, 0));
    }

    #[tokio::test]
    async fn no_more_wait_than_may() {
        let admission = Admission::default();
        let _most = times(IN_FLIGHT_CALLS, async || admission.admits(1).await).await;
        let one = entries(1);
        let mut waiting: Vec<_> =
            (0..WAITING_CALLS).map(|_| Box::pin(admission.admit(&one, Caller::Itself, PATIENCE))).collect();
        for call in &mut waiting {
            assert!(poll_once(call.as_mut()).await.is_pending());
        }
        let mut one_more = Box::pin(admission.admit(&one, Caller::Itself, PATIENCE));
        assert!(matches!(poll_once(one_more.as_mut()).await, Poll::Ready(Err(_))), "refused at once");
    }

    async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
        std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
    }

    #[tokio::test]
    async fn what_would_take_too_much_memory_is_refused_at_once_and_gives_its_place_back() {
        let admission = Admission::default();
        let most = permits(HELD_BYTES - ENTRY_BYTES);
        let _held = Arc::clone(&admission.held).try_acquire_many_owned(most).expect("nearly all");
        let one = entries(1);
        let mut call = Box::pin(admission.admit(&one, Caller::Itself, PATIENCE));
        assert!(matches!(poll_once(call.as_mut()).await, Poll::Ready(Err(_))), "refused at once");
        drop(call);
        assert_eq!(admission.places.available_permits(), IN_FLIGHT_CALLS + WAITING_CALLS);
    }
}
