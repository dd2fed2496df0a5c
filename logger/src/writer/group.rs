//! The loop of the writer's thread: gather, commit, respond, and maintain the store in between.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use proto::BatchReceipt;

use spans::{Past, attribute};

use super::{Request, Shared, Waiting};
use crate::{
    metrics::Commits,
    store::{Answer, Batch, Retention, Store},
};

/// Maximum entries in one group, unless a single request has more. Beyond it a larger group is hardly cheaper,
/// and the first in it would wait longer.
const GROUP_ENTRIES: usize = 512;

/// Maximum bytes of name and data in one group, unless a single request has more, for the same reason.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// How often the store is tended while there is nothing special to do.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// Runs until every sender is gone and the queue is empty.
pub(super) fn run(
    mut store: Box<dyn Store>,
    retention: &Retention,
    queue: Receiver<Request>,
    shared: &Shared,
) {
    let commits = Commits::new();
    let mut queue = Queue { receiver: queue, held: None };
    let mut tend_at = Instant::now();
    loop {
        match queue.next_group(tend_at) {
            Next::Group(group) => serve(&mut *store, group, &commits),
            Next::Nothing => {}
            Next::End => break,
        }
        if Instant::now() >= tend_at {
            // While there is more to delete, a step follows each group: it never waits for a quiet moment
            // that may not come, and a write never waits for more than one step.
            let more = store.tend(retention);
            store.look();
            tend_at = Instant::now() + if more { Duration::ZERO } else { TEND_EVERY };
        }
        shared.set_standing(store.standing());
    }
    store.close();
}

/// The queue, and the request that was too large for the group before.
struct Queue {
    receiver: Receiver<Request>,
    held: Option<Request>,
}

enum Next {
    Group(Vec<Request>),
    Nothing,
    End,
}

impl Queue {
    /// Waits for a request until `deadline`, and takes along what else has gathered.
    fn next_group(&mut self, deadline: Instant) -> Next {
        let first = match self.held.take() {
            Some(request) => request,
            None => match self.receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(request) => request,
                Err(RecvTimeoutError::Timeout) => return Next::Nothing,
                Err(RecvTimeoutError::Disconnected) => return Next::End,
            },
        };
        // A question without entries counts as one, so that those of one group have a bound too.
        let count = |request: &Request| request.batch.arrivals.len().max(1);
        let (mut entries, mut bytes) = (count(&first), first.payload_bytes);
        let mut group = vec![first];
        while let Ok(request) = self.receiver.try_recv() {
            entries += count(&request);
            bytes += request.payload_bytes;
            if entries > GROUP_ENTRIES || bytes > GROUP_BYTES {
                self.held = Some(request);
                break;
            }
            group.push(request);
        }
        Next::Group(group)
    }
}

/// One transaction of the store.
#[derive(Debug, Clone, Copy)]
struct Commit {
    entries: usize,
    started_at: Instant,
    ended_at: Instant,
}

/// Commits and answers a group.
fn serve(store: &mut dyn Store, group: Vec<Request>, commits: &Commits) {
    let (batches, waiting): (Vec<_>, Vec<_>) =
        group.into_iter().map(|request| (request.batch, request.waiting)).unzip();
    let entries: usize = batches.iter().map(|batch| batch.arrivals.len()).sum();
    #[cfg(feature = "faults")]
    let waiting = answer_before_commit(&batches, waiting);
    let started_at = Instant::now();
    let mut answers = match entries {
        0 => Ok(vec![Ok(Vec::new()); batches.len()]),
        _ => store.commit(&batches),
    };
    let commit = Commit { entries, started_at, ended_at: Instant::now() };
    if entries > 0 {
        commits.took(entries, commit.ended_at - started_at);
    }
    if let Ok(answers) = &mut answers {
        answer_questions(store, &batches, answers);
    }
    let answers = answers.unwrap_or_else(|failure| vec![Err(failure); batches.len()]);
    for (batch, answer) in batches.iter().zip(&answers) {
        count(commits, batch, answer);
    }
    waiting.into_iter().zip(answers).for_each(|(waiting, answer)| waiting.answer(answer, commit));
}

/// Counts what happened to the entries of a batch.
fn count(commits: &Commits, batch: &Batch, answer: &Answer) {
    for (position, arrival) in batch.arrivals.iter().enumerate() {
        match answer.as_ref().map(|results| results.get(position)) {
            Ok(Some(Ok(outcome))) => commits.answered(arrival.came_by, Ok(*outcome)),
            Ok(Some(Err(failure))) | Err(failure) => commits.answered(arrival.came_by, Err(failure.code)),
            Ok(None) => {}
        }
    }
}

/// Answers the pings. A group that failed has answered them too.
fn answer_questions(store: &mut dyn Store, batches: &[Batch], answers: &mut [Answer]) {
    let questions = batches.iter().zip(answers).filter(|(batch, _)| batch.arrivals.is_empty());
    let mut answer = None;
    for (_, own) in questions {
        let answer = answer.get_or_insert_with(|| store.ping());
        *own = answer.clone().map(|()| Vec::new());
    }
}

/// Says of everything that it is stored, and commits a while later, as a store that writes behind does. Without the
/// while only a few milliseconds would be left to die in: what SQLite has given to the system, a kill does not undo.
#[cfg(feature = "faults")]
fn answer_before_commit(batches: &[Batch], waiting: Vec<Waiting>) -> Vec<Waiting> {
    if !crate::faults::Fault::AckBeforeCommit.is_on() {
        return waiting;
    }
    for (batch, waiting) in batches.iter().zip(waiting) {
        let (entries, now) = (batch.arrivals.len(), Instant::now());
        let commit = Commit { entries, started_at: now, ended_at: now };
        waiting.answer(Ok(vec![Ok(proto::Outcome::Stored); entries]), commit);
    }
    std::thread::sleep(Duration::from_millis(500));
    Vec::new()
}

impl Waiting {
    fn answer(self, answer: Answer, commit: Commit) {
        let Commit { entries, started_at, ended_at } = commit;
        let store_us = u64::try_from((ended_at - self.queued_at).as_micros()).ok();
        // A client that has disconnected does not matter: its entry is stored anyway.
        let _ = self.answer.send(answer.map(|results| BatchReceipt { results, store_us }));
        if let Some(span) = self.span {
            let event = ("the commit begins", started_at);
            let store = Past { name: "store", begun: self.queued_at, ended: ended_at, event };
            store.tell(&span, [attribute::number(attribute::COMMIT_ENTRIES, entries)]);
        }
    }
}
