use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use proto::{
    BatchMode, Code, Outcome, Query,
    limits::{DATA_BYTES, IN_FLIGHT_ENTRIES},
};
use rusqlite::Connection;
use tokio::task::JoinSet;

use super::{thread::Watch, *};
use crate::store::{self, Reader, StoreUrl, fixtures::*};

/// Far above what a drain takes.
const LONG: Duration = Duration::from_secs(60);

struct Running {
    _directory: tempfile::TempDir,
    url: StoreUrl,
    reader: Reader,
    writer: Writer,
    thread: WriterThread,
}

fn start() -> Running {
    let (directory, url, store) = new_store();
    let reader = store.reader();
    let (writer, thread) = Writer::start(store, Retention::default()).expect("a thread");
    Running { _directory: directory, url, reader, writer, thread }
}

/// Holds every commit back, for less than the store's patience, until it is dropped.
fn hold_commits(url: &StoreUrl) -> Connection {
    let path = file(url);
    let lock = Connection::open(path).expect("opened by another");
    lock.execute_batch("BEGIN IMMEDIATE").expect("locked");
    lock
}

/// Queues without waiting for the answer; the answers come out of the set.
fn spawn_writes(writer: &Writer, numbers: std::ops::Range<u128>) -> JoinSet<Result<Receipt, Failure>> {
    let mut writes = JoinSet::new();
    for number in numbers {
        let writer = writer.clone();
        writes.spawn(async move { writer.write(arrival(number, "text")).await });
    }
    writes
}

async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come to pass in time");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn one_entry_is_stored_when_it_is_answered() {
    let it = start();
    let receipt = it.writer.write(arrival(1, "text")).await.expect("stored");
    assert_eq!(receipt.outcome, Outcome::Stored);
    assert!(receipt.store_us.is_some_and(|us| us > 0));
    assert!(it.reader.get(id(1)).await.expect("readable").is_some());
    let again = it.writer.write(arrival(1, "text")).await.expect("a duplicate is accepted");
    assert_eq!(again.outcome, Outcome::Duplicate);
    let failure = it.writer.write(arrival(1, "other")).await.expect_err("a conflict");
    assert_eq!((failure.code, failure.position), (Code::Conflict, None));
}

#[tokio::test]
async fn a_batch_is_answered_by_entry_and_out_of_its_limits_refused() {
    let it = start();
    let batch = |numbers: std::ops::Range<u128>| numbers.map(|number| arrival(number, "text")).collect();
    let receipt = it.writer.write_batch(batch(0..1_000), BatchMode::AllOrNone).await.expect("stored");
    assert_eq!(receipt.results, vec![Ok(Outcome::Stored); 1_000]);
    for wrong in [0..0, 0..1_001] {
        let failure = it.writer.write_batch(batch(wrong), BatchMode::Each).await.expect_err("refused");
        assert_eq!(failure.code, Code::BadBatch);
    }
    let large = "x".repeat(DATA_BYTES);
    let huge = (2_000..2_300).map(|number| arrival(number, &large)).collect();
    let failure =
        it.writer.write_batch(huge, BatchMode::Each).await.expect_err("more than is ever in flight");
    assert_eq!(failure.code, Code::TooLarge);
}

#[tokio::test]
async fn what_gathers_during_a_commit_is_committed_together() {
    let it = start();
    let lock = hold_commits(&it.url);
    let writes = spawn_writes(&it.writer, 0..500);
    until(|| it.writer.shared.queued_entries() == 500).await;
    drop(lock);
    assert!(writes.join_all().await.iter().all(Result::is_ok));
    let page = it.reader.page(Query { limit: 1_000, ..Query::default() }).await.expect("readable");
    assert_eq!(page.entries.len(), 500);
    // Entries of one group have one `stored_at`: the first group is what came first, the second is the rest.
    let groups: HashSet<_> = page.entries.iter().map(|entry| entry.stored_at).collect();
    assert!(groups.len() <= 2, "{} groups", groups.len());
}

#[tokio::test]
async fn a_request_is_never_split_between_groups() {
    let it = start();
    let lock = hold_commits(&it.url);
    let mut writes = JoinSet::new();
    for batch in 0..4_u128 {
        let writer = it.writer.clone();
        let arrivals = (0..300).map(|number| arrival(batch * 300 + number, "text")).collect();
        writes.spawn(async move { writer.write_batch(arrivals, BatchMode::AllOrNone).await });
    }
    until(|| it.writer.shared.queued_entries() == 1_200).await;
    drop(lock);
    assert!(writes.join_all().await.iter().all(Result::is_ok));
    for batch in 0..4 {
        let mut times = HashSet::new();
        for number in [0, 150, 299] {
            let entry = it.reader.get(id(batch * 300 + number)).await.expect("readable").expect("stored");
            times.insert(entry.stored_at);
        }
        assert_eq!(times.len(), 1);
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_answers_all_that_it_took() {
    let it = start();
    let lock = hold_commits(&it.url);
    let writes = spawn_writes(&it.writer, 0..IN_FLIGHT_ENTRIES as u128);
    until(|| it.writer.shared.queued_entries() == IN_FLIGHT_ENTRIES).await;
    let asked_at = Instant::now();
    let failure = it.writer.write(arrival(9_999, "text")).await.expect_err("overloaded");
    assert_eq!(failure.code, Code::Overloaded);
    assert!(asked_at.elapsed() < Duration::from_secs(2), "it waited for room");
    drop(lock);
    assert!(writes.join_all().await.iter().all(Result::is_ok));
    it.writer.write(arrival(9_999, "text")).await.expect("there is room again");
}

#[tokio::test]
async fn bytes_are_counted_too() {
    let it = start();
    let lock = hold_commits(&it.url);
    let large = "x".repeat(DATA_BYTES);
    // 255 entries of 256 KiB are all but 256 KiB of the limit, and their names are still to be added.
    let arrivals = (0..255).map(|number| arrival(number, &large)).collect();
    let writer = it.writer.clone();
    let batch = tokio::spawn(async move { writer.write_batch(arrivals, BatchMode::Each).await });
    until(|| it.writer.shared.queued_entries() == 255).await;
    let failure = it.writer.write(arrival(1_000, &large)).await.expect_err("overloaded");
    assert_eq!(failure.code, Code::Overloaded);
    assert_eq!(it.writer.shared.queued_entries(), 255, "a refusal gives back what it took");
    drop(lock);
    assert!(batch.await.expect("no panic").is_ok());
}

#[tokio::test]
async fn a_question_without_entries_waits_its_turn_as_an_entry_does() {
    let it = start();
    let lock = hold_commits(&it.url);
    let mut writes = spawn_writes(&it.writer, 0..1);
    until(|| it.writer.shared.queued_entries() == 1).await;
    let writer = it.writer.clone();
    let ping = tokio::spawn(async move { writer.ping().await });
    until(|| it.writer.shared.queued_entries() == 2).await;
    drop(lock);
    assert_eq!(ping.await.expect("no panic"), Ok(()));
    let entry = writes.try_join_next().expect("what came before it is answered before it");
    assert!(entry.expect("no panic").is_ok());
    it.thread.drain(LONG).await;
    assert_eq!(it.writer.ping().await.map_err(|failure| failure.code), Err(Code::Draining));
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_undo_its_write() {
    let it = start();
    let lock = hold_commits(&it.url);
    let writes = spawn_writes(&it.writer, 0..10);
    until(|| it.writer.shared.queued_entries() == 10).await;
    drop(writes);
    drop(lock);
    until(|| it.writer.shared.queued_entries() == 0).await;
    for number in 0..10 {
        assert!(it.reader.get(id(number)).await.expect("readable").is_some());
    }
}

#[tokio::test]
async fn a_drain_answers_all_that_was_let_in_and_lets_no_more_in() {
    let it = start();
    let lock = hold_commits(&it.url);
    let writes = spawn_writes(&it.writer, 0..100);
    until(|| it.writer.shared.queued_entries() == 100).await;
    let mut drain = Box::pin(it.thread.drain(LONG));
    tokio::select! {
        biased;
        _ = &mut drain => panic!("it does not wait for the queue"),
        () = std::future::ready(()) => {}
    }
    let failure = it.writer.write(arrival(1_000, "text")).await.expect_err("draining");
    assert_eq!(failure.code, Code::Draining);
    drop(lock);
    assert_eq!(drain.await, Drained::Closed);
    assert!(writes.join_all().await.iter().all(Result::is_ok));
    assert!(!it.writer.healthy());
    let path = file(&it.url);
    let wal = std::fs::metadata(path.with_file_name("logs.db-wal")).map_or(0, |file| file.len());
    assert_eq!(wal, 0, "everything is in the main file");
    let mut again = store::open(&it.url, None).expect("opened again");
    assert_eq!(store_one(&mut *again, arrival(99, "text")), Ok(Outcome::Duplicate));
}

#[tokio::test]
async fn a_drain_that_is_given_up_says_what_is_not_committed() {
    let it = start();
    let lock = hold_commits(&it.url);
    let writes = spawn_writes(&it.writer, 0..7);
    until(|| it.writer.shared.queued_entries() == 7).await;
    assert_eq!(it.thread.drain(Duration::ZERO).await, Drained::Committing { entries: 7 });
    drop(lock);
    assert!(writes.join_all().await.iter().all(Result::is_ok), "the thread goes on");
}

#[tokio::test]
async fn a_thread_that_died_is_seen_and_writes_are_refused() {
    let (sender, queue) = mpsc::channel();
    let shared = Arc::new(Shared {
        queue: RwLock::new(Some(sender)),
        entries: Arc::new(Semaphore::new(1)),
        bytes: Arc::new(Semaphore::new(100)),
        healthy: AtomicBool::new(true),
        trouble: Mutex::default(),
    });
    let (ending, ended) = oneshot::channel();
    let watch = Watch { shared: Arc::clone(&shared), _ending: ending };
    let writer = Writer { shared: Arc::clone(&shared) };
    assert!(writer.healthy());
    let thread = std::thread::spawn(move || {
        let _watch = watch;
        let _request: Request = queue.recv().expect("a request");
        panic!("on purpose: a test of what a panic leaves behind");
    });
    let failure = writer.write(arrival(1, "text")).await.expect_err("the thread died with it");
    assert_eq!(failure.code, Code::OutcomeUnknown);
    until(|| !writer.healthy()).await;
    // Until the end of the queue is gone with the thread, a request goes the way of the first.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let failure = writer.write(arrival(1, "text")).await.expect_err("nobody is there");
        if failure.code == Code::Unavailable {
            break;
        }
        assert_eq!(failure.code, Code::OutcomeUnknown);
        assert!(Instant::now() < deadline, "the queue has no end");
    }
    assert_eq!(WriterThread { shared, thread, ended }.drain(LONG).await, Drained::Panicked);
}

#[tokio::test]
async fn retention_works_while_writes_go_on() {
    let (_directory, _, store) = new_store();
    let reader = store.reader();
    let retention = Retention { max_age: None, max_bytes: Some(200_000) };
    let (writer, thread) = Writer::start(store, retention).expect("a thread");
    let data = "x".repeat(10_000);
    for batch in 0..10_u128 {
        let arrivals = (0..10).map(|number| arrival(batch * 10 + number, &data)).collect();
        writer.write_batch(arrivals, BatchMode::AllOrNone).await.expect("stored");
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while reader.get(id(0)).await.expect("readable").is_some() {
        assert!(Instant::now() < deadline, "the oldest was not deleted in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(reader.get(id(99)).await.expect("readable").is_some());
    assert_eq!(thread.drain(LONG).await, Drained::Closed);
}
