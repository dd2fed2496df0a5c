//! Gathers the entries that wait for a call into groups.
//!
//! The tasks that make the calls take the groups: those of the stage, and RabbitMQ's publishers. A group is what has
//! gathered when one of them is free, so there is no timer, and nobody waits for neighbours. It opens no connection and
//! knows no protocol.

mod group;

use std::{
    convert::Infallible,
    sync::{Arc, atomic::AtomicBool},
};

use ::metrics::Histogram;
use proto::{Batch, Failure, LogEntry, Transport, limits::IN_FLIGHT_ENTRIES};
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, timeout_at},
};

pub(crate) use self::group::{ALONE_BYTES, Group, Parcel, TraceHeaders};
use self::group::{Answer, Job, Waiting, settle};
use crate::{admission::Admitted, metrics};

/// Most entries in a group. Larger ones save next to nothing more, and are longer on their way.
const GROUP_ENTRIES: usize = 256;

/// Where entries wait to be taken along, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Queue {
    transport: Transport,
    peer: &'static str,
    jobs: mpsc::Sender<Job>,
    groups: Arc<Groups>,
}

/// The other end of the queue, shared by the tasks that make the calls.
#[derive(Debug)]
pub(crate) struct Groups {
    head: Mutex<Head>,
    most_entries: usize,
    /// Room for calls, where the callers have taken none.
    calls: Option<Arc<Semaphore>>,
    sizes: Histogram,
}

/// The next that waits, and the others behind it.
#[derive(Debug)]
struct Head {
    next: Option<Job>,
    jobs: mpsc::Receiver<Job>,
}

/// How long a caller waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Until when its entries must be on their way.
    pub(crate) to_be_sent: Instant,
    /// Until when it waits for the answer.
    pub(crate) until: Instant,
}

impl Queue {
    /// An empty one. Without `coalesce` each caller's entries are a group. `calls` is the room for calls, where the
    /// callers take none.
    pub(crate) fn new(
        transport: Transport,
        peer: &'static str,
        coalesce: bool,
        calls: Option<Arc<Semaphore>>,
    ) -> Self {
        let (jobs, waiting) = mpsc::channel(IN_FLIGHT_ENTRIES);
        let groups = Groups {
            head: Mutex::new(Head { next: None, jobs: waiting }),
            most_entries: if coalesce { GROUP_ENTRIES } else { 1 },
            calls,
            sizes: metrics::group_entries(transport),
        };
        Queue { transport, peer, jobs, groups: Arc::new(groups) }
    }

    /// The other end.
    pub(crate) fn groups(&self) -> Arc<Groups> {
        Arc::clone(&self.groups)
    }

    /// Hands entries over, and waits for what becomes of them. Who stops waiting leaves them out of what is sent; what
    /// is on its way already goes on.
    ///
    /// # Errors
    /// `overloaded` if they were not on their way in time, so that they are certainly not stored; what is certain of all
    /// of them.
    pub(crate) async fn deliver(
        &self,
        entries: Batch<LogEntry>,
        room: Option<Admitted>,
        patience: Patience,
    ) -> Answer {
        let (reply, mut answer) = oneshot::channel();
        let settled = Arc::new(AtomicBool::new(false));
        let caller = Waiting { reply, entries: entries.len(), _room: room };
        let parcel = Parcel { entries, trace: trace_headers() };
        let job = Job { parcel, caller, settled: Arc::clone(&settled), until: patience.until };
        if self.jobs.try_send(job).is_err() {
            return Err(Failure::overloaded(self.peer));
        }
        let answered = match timeout_at(patience.to_be_sent, &mut answer).await {
            Ok(answered) => answered,
            Err(_) if settle(&settled) => {
                tracing::debug!(transport = %self.transport, "not sent in time");
                return Err(Failure::overloaded("this transport"));
            }
            Err(_) => match timeout_at(patience.until, answer).await {
                Ok(answered) => answered,
                Err(_) => return Err(past_the_deadline(self.peer)),
            },
        };
        // The task that had it in hand has ended, with the connection for instance.
        answered.unwrap_or_else(|_| Err(Failure::unknown(self.peer).because("the connection was lost")))
    }
}

/// The deadline came, and no answer.
pub(crate) fn past_the_deadline(peer: &str) -> Failure {
    Failure::unknown(peer).because("past the deadline")
}

fn trace_headers() -> TraceHeaders {
    let mut headers = Vec::new();
    spans::inject(|name, value| headers.push((name.to_owned(), value)));
    headers
}

impl Groups {
    /// Waits for the next group. It never ends once the client is gone; nor will who takes groups be there then.
    pub(crate) async fn next(&self) -> Group {
        let mut head = self.head.lock().await;
        loop {
            head.wait().await;
            let room = match &self.calls {
                Some(calls) => {
                    Some(Arc::clone(calls).acquire_owned().await.expect("the semaphore is never closed"))
                }
                None => None,
            };
            if let Some(group) = head.take(self.most_entries, room) {
                self.sizes.record(group.entries as f64);
                return group;
            }
        }
    }

    /// Lets everybody who waits, and who comes, hear why nothing is sent.
    pub(crate) async fn refuse(&self, why: &Failure) -> Infallible {
        let mut head = self.head.lock().await;
        loop {
            head.wait().await;
            if let Some(group) = head.take(GROUP_ENTRIES, None) {
                group.callers.fail(why);
            }
        }
    }
}

impl Head {
    /// Waits until there is a next one. It can be left at any time: what has come is kept.
    async fn wait(&mut self) {
        if self.next.is_none() {
            match self.jobs.recv().await {
                Some(job) => self.next = Some(job),
                None => std::future::pending().await,
            }
        }
    }

    /// Takes what has gathered; `None` if nobody waits for it any more.
    fn take(&mut self, most_entries: usize, room: Option<OwnedSemaphorePermit>) -> Option<Group> {
        let mut group = Group::new(room);
        while let Some(job) = self.next.take().or_else(|| self.jobs.try_recv().ok()) {
            if !group.has_room_for(&job, most_entries) {
                self.next = Some(job);
                break;
            }
            group.add(job);
        }
        (group.entries > 0).then_some(group)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::{Code, EntryDraft, Outcome};
    use tokio::task::JoinHandle;

    use super::{group::GROUP_BYTES, *};
    use crate::Receipts;

    const PEER: &str = "the logger";

    fn entry(data_bytes: usize) -> LogEntry {
        let draft = EntryDraft { name: "n".into(), data: "x".repeat(data_bytes), ..EntryDraft::default() };
        draft.check("2026-01-31T12:00:00Z".parse().expect("a time")).expect("valid")
    }

    fn queue(coalesce: bool) -> Arc<Queue> {
        Arc::new(Queue::new(Transport::Http, PEER, coalesce, None))
    }

    fn patience() -> Patience {
        let until = Instant::now() + Duration::from_secs(10);
        Patience { to_be_sent: until, until }
    }

    /// Hands entries over, and returns once they wait.
    async fn enter(
        queue: &Arc<Queue>,
        entries: impl Into<Batch<LogEntry>>,
        patience: Patience,
    ) -> JoinHandle<Answer> {
        let (entries, before) = (entries.into(), queue.jobs.capacity());
        let inside = Arc::clone(queue);
        let caller = tokio::spawn(async move { inside.deliver(entries, None, patience).await });
        while queue.jobs.capacity() == before {
            tokio::task::yield_now().await;
        }
        caller
    }

    async fn entered(queue: &Arc<Queue>, sizes: &[usize]) -> Vec<JoinHandle<Answer>> {
        let mut callers = Vec::new();
        for size in sizes {
            callers.push(enter(queue, entry(*size), patience()).await);
        }
        callers
    }

    async fn lens(queue: &Queue, groups: usize) -> Vec<usize> {
        let mut lens = Vec::new();
        for _ in 0..groups {
            lens.push(queue.groups.next().await.parcels.len());
        }
        lens
    }

    #[tokio::test]
    async fn what_has_gathered_goes_along_up_to_the_limits_of_a_group() {
        let queue = queue(true);
        let _small = entered(&queue, &[1; GROUP_ENTRIES + 1]).await;
        assert_eq!(lens(&queue, 2).await, [GROUP_ENTRIES, 1]);
        let most = GROUP_BYTES / (ALONE_BYTES - 1 + "n".len());
        let _larger = entered(&queue, &vec![ALONE_BYTES - 1; most + 1]).await;
        assert_eq!(lens(&queue, 2).await, [most, 1]);
    }

    #[tokio::test]
    async fn a_large_entry_and_a_batch_go_alone() {
        let queue = queue(true);
        let _callers = entered(&queue, &[1, 1, ALONE_BYTES + 1, 1, 1]).await;
        assert_eq!(lens(&queue, 3).await, [2, 1, 2]);
        let _first = enter(&queue, entry(1), patience()).await;
        let batch = Batch::try_from(vec![entry(1), entry(1)]).expect("two");
        let _batch = enter(&queue, batch, patience()).await;
        let _last = enter(&queue, entry(1), patience()).await;
        assert_eq!(lens(&queue, 3).await, [1, 1, 1]);
    }

    #[tokio::test]
    async fn without_coalescing_every_caller_has_a_call_of_its_own() {
        let queue = queue(false);
        let _callers = entered(&queue, &[1; 3]).await;
        assert_eq!(lens(&queue, 3).await, [1, 1, 1]);
    }

    #[tokio::test]
    async fn each_caller_gets_the_results_of_its_own_entries_and_the_times_of_the_call() {
        let queue = queue(true);
        let callers = entered(&queue, &[1; 3]).await;
        let group = queue.groups.next().await;
        let conflict = Failure::new(Code::Conflict, "the id is stored with other content");
        let results = [Ok(Outcome::Stored), Err(conflict.clone()), Ok(Outcome::Duplicate)];
        group.callers.answer(results.clone(), Some(7), PEER);
        for (caller, result) in callers.into_iter().zip(results) {
            let own = caller.await.expect("it does not panic");
            assert_eq!(own, Ok(Receipts { results: result.into(), store_us: Some(7) }));
        }
    }

    #[tokio::test]
    async fn a_group_without_enough_results_leaves_the_last_unknown() {
        let queue = queue(true);
        let [first, second] = entered(&queue, &[1; 2]).await.try_into().expect("two");
        queue.groups.next().await.callers.answer([Ok(Outcome::Stored)], None, PEER);
        assert!(first.await.expect("it does not panic").is_ok());
        let own = second.await.expect("it does not panic").expect("the call went well");
        let failure = own.results.first().as_ref().expect_err("nothing is known of it");
        assert_eq!(failure.code, Code::OutcomeUnknown);
    }

    #[tokio::test]
    async fn who_hangs_up_before_it_was_sent_is_left_out_and_cancels_nobody() {
        let queue = queue(true);
        let [first, second, third] = entered(&queue, &[1; 3]).await.try_into().expect("three");
        second.abort();
        assert!(second.await.expect_err("it hung up").is_cancelled());
        let group = queue.groups.next().await;
        assert_eq!(group.parcels.len(), 2);
        // And after it was sent.
        first.abort();
        assert!(first.await.expect_err("it hung up").is_cancelled());
        group.callers.answer([Ok(Outcome::Stored), Ok(Outcome::Duplicate)], None, PEER);
        let own = third.await.expect("it does not panic").expect("the call went well");
        assert_eq!(own.results, Ok(Outcome::Duplicate).into());
    }

    #[tokio::test(start_paused = true)]
    async fn each_waits_by_its_own_deadline_and_the_call_by_the_latest() {
        let queue = queue(true);
        let begun = Instant::now();
        let after = |seconds| {
            let until = begun + Duration::from_secs(seconds);
            Patience { to_be_sent: until, until }
        };
        let short = enter(&queue, entry(1), after(1)).await;
        let long = enter(&queue, entry(1), after(3)).await;
        let group = queue.groups.next().await;
        assert_eq!(group.until, begun + Duration::from_secs(3));
        let told = short.await.expect("it does not panic").expect_err("no answer in time");
        assert_eq!((told.code, begun.elapsed().as_secs()), (Code::OutcomeUnknown, 1));
        group.callers.answer([Ok(Outcome::Stored), Ok(Outcome::Stored)], None, PEER);
        assert!(long.await.expect("it does not panic").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_sent_in_time_is_certainly_not_stored() {
        let queue = queue(true);
        let begun = Instant::now();
        let patience =
            Patience { to_be_sent: begun + Duration::from_secs(1), until: begun + Duration::from_secs(2) };
        let impatient = enter(&queue, entry(1), patience).await;
        let told = impatient.await.expect("it does not panic").expect_err("nobody took it along");
        assert_eq!((told.code, begun.elapsed().as_secs()), (Code::Overloaded, 1));
        let _another = enter(&queue, entry(1), self::patience()).await;
        assert_eq!(lens(&queue, 1).await, [1], "the first is not sent any more");
    }

    #[tokio::test]
    async fn who_takes_groups_waits_for_room_for_the_call_and_loses_nothing_if_it_is_ended_meanwhile() {
        let calls = Arc::new(Semaphore::new(1));
        let queue = Arc::new(Queue::new(Transport::Http, PEER, true, Some(Arc::clone(&calls))));
        let busy = Arc::clone(&calls).acquire_owned().await.expect("there is one");
        let _callers = entered(&queue, &[1; 2]).await;
        let groups = queue.groups();
        let ended = tokio::time::timeout(Duration::from_millis(20), groups.next()).await;
        assert!(ended.is_err(), "there is no room");
        drop(busy);
        let group = groups.next().await;
        assert_eq!((group.parcels.len(), calls.available_permits()), (2, 0));
        drop(group);
        assert_eq!(calls.available_permits(), 1);
    }

    #[tokio::test]
    async fn who_is_lost_with_the_group_hears_that_it_is_not_known() {
        let queue = queue(true);
        let [caller] = entered(&queue, &[1]).await.try_into().expect("one");
        drop(queue.groups.next().await);
        let told = caller.await.expect("it does not panic").expect_err("nobody can say");
        assert_eq!(told.code, Code::OutcomeUnknown);
    }

    #[tokio::test]
    async fn without_a_connection_everybody_hears_why_nothing_is_sent() {
        let queue = queue(true);
        let callers = entered(&queue, &[1; 3]).await;
        let why = Failure::unreachable(PEER);
        let groups = queue.groups();
        let _refusing = tokio::spawn(async move { groups.refuse(&Failure::unreachable(PEER)).await });
        for caller in callers {
            assert_eq!(caller.await.expect("it does not panic"), Err(why.clone()));
        }
    }
}
