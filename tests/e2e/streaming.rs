//! The calls of `logs.proto` that stream: a bulk load, entries with acknowledgements, a tail.

mod python;
mod sse;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt, stream};
use jiff::Timestamp;
use nix::sys::signal::Signal;
use proto::{
    Code, Cursor, EntryDraft, Filter, Level, LogEntry, Outcome, TailEvent, TailQuery, Transport,
    grpc::{LogRequest, TailRequest, log_service_client::LogServiceClient},
};
use serde_json::json;
use tests::{SOON, eventually, stack::Stack};
use tokio::{task::JoinSet, time::timeout};
use transport::grpc::{Loaded, Tail, Tailed};
use uuid::Uuid;

/// Entries that were sent.
type Sent = Arc<Mutex<Vec<LogEntry>>>;

/// What `logs.proto` says that a stream has under way at most.
const IN_FLIGHT: usize = 1_024;

fn entry(name: &str, data: &str) -> LogEntry {
    let draft = EntryDraft { name: name.into(), data: data.into(), ..EntryDraft::default() };
    draft.check(Timestamp::now()).expect("within the limits")
}

fn entries(count: usize) -> Vec<LogEntry> {
    (0..count).map(|number| entry("event", &format!("number {number}"))).collect()
}

fn ids(entries: &[LogEntry]) -> BTreeSet<Uuid> {
    entries.iter().map(LogEntry::id).collect()
}

/// An entry that the generated client sends as it is, however wrong.
fn request(id: &str, name: &str) -> LogRequest {
    let log = proto::grpc::Log { name: name.into(), id: Some(id.into()), ..proto::grpc::Log::default() };
    LogRequest { log_entry: Some(log) }
}

async fn raw_client(stack: &Stack) -> LogServiceClient<tonic::transport::Channel> {
    let url = format!("http://{}", stack.logger_at.grpc);
    LogServiceClient::connect(url).await.expect("the logger is there")
}

/// The next event of a tail that is no mere place.
async fn next(tail: &mut Tail) -> (TailEvent, Cursor) {
    loop {
        match timeout(SOON, tail.next()).await.expect("something to tell").expect("it goes on") {
            Ok(Tailed::Event(TailEvent::Reached, _) | Tailed::Lost(_)) => {}
            Ok(Tailed::Event(event, cursor)) => return (event, cursor),
            Err(failure) => panic!("refused: {failure}"),
        }
    }
}

/// The ids of the next entries of a tail, which misses none.
async fn next_ids(tail: &mut Tail, count: usize) -> Vec<Uuid> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let event = next(tail).await.0;
        let TailEvent::Entry(entry) = event else { panic!("{event:?}") };
        ids.push(entry.id);
    }
    ids
}

/// A tail that has told where it begins.
async fn begun(stack: &Stack, query: TailQuery) -> (Tail, Cursor) {
    let mut tail = stack.streams().tail(query);
    match timeout(SOON, tail.next()).await.expect("in time") {
        Some(Ok(Tailed::Event(TailEvent::Reached, cursor))) => (tail, cursor),
        other => panic!("{other:?}"),
    }
}

fn from(cursor: i64) -> TailQuery {
    TailQuery { after: Some(Cursor::after(cursor)), ..TailQuery::default() }
}

#[tokio::test]
async fn a_bulk_load_is_stored_and_summed_up() {
    let stack = Stack::start_direct(&[]).await;
    let sent = entries(5_000);
    let streams = stack.streams();
    let loaded = streams.write_logs(stream::iter(sent.clone())).await.expect("an answer");
    assert_eq!(loaded, Loaded { settled: 5_000, stored: 5_000, ..Loaded::default() });
    let stored = stack.all_stored().await;
    assert_eq!(stored.iter().map(|entry| entry.id).collect::<BTreeSet<_>>(), ids(&sent));
    assert!(stored.iter().all(|entry| entry.transport == Transport::Grpc));
    let again = streams.write_logs(stream::iter(sent)).await.expect("an answer");
    assert_eq!(again, Loaded { settled: 5_000, duplicate: 5_000, ..Loaded::default() });
    let nothing = streams.write_logs(stream::empty()).await.expect("an answer");
    assert_eq!(nothing, Loaded::default());
}

#[tokio::test]
async fn a_bulk_load_names_the_first_refusals_by_their_positions_and_stores_the_others() {
    let stack = Stack::start_direct(&[]).await;
    let taken = entry("event", "first");
    let stored = stack.streams().write_logs(stream::iter([taken.clone()])).await.expect("an answer");
    assert_eq!(stored.stored, 1);
    let mut requests: Vec<_> = (0..500).map(|_| request(&Uuid::now_v7().to_string(), "")).collect();
    requests.extend((0..10).map(|_| request(&Uuid::now_v7().to_string(), "event")));
    requests.push(request(&taken.id().to_string(), "other content"));
    requests.push(request("no uuid", "event"));
    requests.push(LogRequest { log_entry: None });
    let answer = raw_client(&stack).await.write_logs(stream::iter(requests)).await.expect("an answer");
    let summary = answer.into_inner();
    assert_eq!((summary.settled, summary.stored, summary.refused), (513, 10, 503));
    assert_eq!((summary.refusals.len(), summary.code.as_str()), (100, ""));
    for (position, refusal) in (0..).zip(&summary.refusals) {
        assert_eq!((refusal.position, refusal.code.as_str()), (position, "invalid_entry"));
        assert!(refusal.id.parse::<Uuid>().is_ok() && refusal.message.contains("name"), "{refusal:?}");
    }
    assert_eq!(stack.all_stored().await.len(), 11);
}

#[tokio::test]
async fn each_entry_is_acknowledged_by_its_id() {
    let stack = Stack::start_direct(&[]).await;
    let sent = entries(3_000);
    let streams = stack.streams();
    let again = [sent.clone(), sent[..10].to_vec()].concat();
    let acknowledgements = streams.sync_logs(stream::iter(again.clone())).await.expect("it begins");
    let acknowledgements: Vec<_> = acknowledgements.map(|told| told.expect("acknowledged")).collect().await;
    assert_eq!(acknowledgements.len(), again.len());
    for told in &acknowledgements {
        let position = usize::try_from(told.position).expect("a position");
        assert_eq!(told.id, Some(again[position].id()));
        let expected = if position < sent.len() { Outcome::Stored } else { Outcome::Duplicate };
        assert_eq!(told.result, Ok(expected));
    }
    assert_eq!(stack.all_stored().await.len(), sent.len());
}

#[tokio::test]
async fn an_entry_is_acknowledged_before_the_next_is_sent() {
    let stack = Stack::start_direct(&[]).await;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let entries = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    let acknowledgements = stack.streams().sync_logs(entries).await.expect("it begins");
    let mut acknowledgements = std::pin::pin!(acknowledgements);
    for number in 0..3 {
        let entry = entry("event", &number.to_string());
        sender.send(entry.clone()).expect("it is read");
        let told =
            timeout(SOON, acknowledgements.next()).await.expect("in time").expect("one").expect("stored");
        assert_eq!((told.position, told.id, told.result), (number, Some(entry.id()), Ok(Outcome::Stored)));
        assert!(stack.stored(entry.id()).await.is_some());
    }
    drop(sender);
    assert!(timeout(SOON, acknowledgements.next()).await.expect("it ends").is_none());
}

#[tokio::test]
async fn who_takes_no_acknowledgements_is_read_no_further() {
    let stack = Stack::start_direct(&[]).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    // Each of 16 KiB: so the windows of the connection hold few.
    let data = "d".repeat(16 * 1024);
    let entries = stream::iter(0..20_000).map(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        entry("event", &data)
    });
    let acknowledgements = stack.streams().sync_logs(entries).await.expect("it begins");
    eventually("it is read", async || (taken.load(Ordering::Relaxed) > 0).then_some(())).await;
    // It stands still when nothing more is taken for a while.
    let mut before = 0;
    let mut still_since = Instant::now();
    while still_since.elapsed() < Duration::from_secs(2) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = taken.load(Ordering::Relaxed);
        if now != before {
            (before, still_since) = (now, Instant::now());
        }
    }
    let stored = stack.all_stored().await.len();
    // Acknowledgements take some 80 bytes each, and 256 KiB of them may be on the way.
    assert!(stored <= IN_FLIGHT + 256 * 1024 / 60 + 2_000, "{stored} are stored, {before} were taken");
    assert!(before < 20_000, "all were read though nobody took an acknowledgement");
    drop(acknowledgements);
}

#[tokio::test]
async fn those_who_take_no_acknowledgements_hold_up_no_other_load() {
    let stack = Stack::start_direct(&[]).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let mut standing = Vec::new();
    for _ in 0..12 {
        let counted = Arc::clone(&taken);
        let entries = stream::iter(0..1_000_000).map(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            entry("event", "standing")
        });
        standing.push(stack.streams().sync_logs(entries).await.expect("it begins"));
    }
    let mut before = 0;
    eventually("all of them stand still", async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = taken.load(Ordering::Relaxed);
        let stands = std::mem::replace(&mut before, now) == now;
        (stands && now > 0).then_some(())
    })
    .await;
    let loading = stack.streams();
    let loaded = timeout(SOON, loading.write_logs(stream::iter(entries(2)))).await.expect("in time");
    assert_eq!(loaded.map(|loaded| loaded.stored), Ok(2));
}

#[tokio::test]
async fn a_tail_has_no_gap_between_what_was_stored_and_what_comes() {
    let stack = Arc::new(Stack::start().await);
    let early = entries(2_000);
    stack.streams().write_logs(stream::iter(early.clone())).await.expect("an answer");
    let writing = tokio::spawn({
        let stack = Arc::clone(&stack);
        async move {
            let late = entries(2_000);
            stack.streams().write_logs(stream::iter(late.clone())).await.expect("an answer");
            late
        }
    });
    // It begins in the middle of the writing.
    let mut all = stack.streams().tail(from(0));
    let told = next_ids(&mut all, 4_000).await;
    let late = writing.await.expect("written");
    let in_order: Vec<_> = stack.all_stored().await.iter().rev().map(|entry| entry.id).collect();
    assert_eq!(told, in_order, "each once, in the order of storing");
    assert_eq!(in_order.len(), early.len() + late.len());
    for transport in Transport::ALL {
        let sent =
            stack.log(transport, &json!({ "name": "event", "data": "live", "level": "warning" })).await;
        let (event, _) = next(&mut all).await;
        assert_eq!(event, TailEvent::Entry(stack.eventually_stored(sent.id()).await));
    }
}

#[tokio::test]
async fn a_tail_from_now_tells_nothing_of_before_and_one_since_a_time_does() {
    let stack = Stack::start_direct(&[]).await;
    let early = entries(3);
    stack.streams().write_logs(stream::iter(early.clone())).await.expect("an answer");
    let newest = stack.all_stored().await[0].stored_at;
    let (mut now, _) = begun(&stack, TailQuery::default()).await;
    let filter = Filter { since: Some(newest), ..Filter::default() };
    let (mut since, _) = begun(&stack, TailQuery { filter, ..TailQuery::default() }).await;
    let late = entries(1);
    stack.streams().write_logs(stream::iter(late.clone())).await.expect("an answer");
    assert_eq!(next_ids(&mut now, 1).await, [late[0].id()]);
    let told: BTreeSet<_> = next_ids(&mut since, 4).await.into_iter().collect();
    assert_eq!(told, ids(&[early, late].concat()), "the three were stored at one time");
}

#[tokio::test]
async fn a_tail_tells_what_meets_its_filters_and_ends_at_its_time() {
    let stack = Stack::start_direct(&[]).await;
    let drafts =
        [("a", "one", "info"), ("b", "one", "error"), ("b", "two", "error"), ("b", "one more", "info")];
    let mut stored = Vec::new();
    for (name, data, level) in drafts {
        let sent = stack.log(Transport::Rpc, &json!({ "name": name, "data": data, "level": level })).await;
        stored.push(sent.id());
    }
    let until = Some((Timestamp::now() + Duration::from_secs(1)).into());
    let cases: [(Filter, &[usize]); 6] = [
        (Filter::default(), &[0, 1, 2, 3]),
        (Filter { name: Some("b".into()), ..Filter::default() }, &[1, 2, 3]),
        (Filter { level: Some(Level::Error), ..Filter::default() }, &[1, 2]),
        (Filter { contains: Some("one".into()), ..Filter::default() }, &[0, 1, 3]),
        (Filter { transport: Some(Transport::Http), ..Filter::default() }, &[]),
        (Filter { transport: Some(Transport::Rpc), ..Filter::default() }, &[0, 1, 2, 3]),
    ];
    for (filter, positions) in cases {
        let query = TailQuery { filter: Filter { until, ..filter }, ..from(0) };
        let mut tail = stack.streams().tail(query.clone());
        let mut told = Vec::new();
        let ended = async {
            while let Some(tailed) = tail.next().await {
                if let Tailed::Event(TailEvent::Entry(entry), _) = tailed.expect("not refused") {
                    told.push(entry.id);
                }
            }
        };
        timeout(SOON, ended).await.expect("it ends at its time");
        let expected: Vec<_> = positions.iter().map(|position| stored[*position]).collect();
        assert_eq!(told, expected, "{query:?}");
    }
}

#[tokio::test]
async fn a_tail_over_restarts_of_the_logger_misses_nothing_and_repeats_nothing() {
    let mut stack = Stack::start_direct(&[]).await;
    let mut tail = stack.streams().tail(from(0));
    let mut told = Vec::new();
    for round in 0..3 {
        let before = entries(300);
        let loaded = stack.streams().write_logs(stream::iter(before)).await.expect("an answer");
        assert_eq!(loaded.stored, 300);
        // In the first round all is read before the end, in the others only a part.
        told.extend(next_ids(&mut tail, if round == 0 { 300 } else { 100 }).await);
        match round {
            1 => stack.logger.kill().await.expect("it runs"),
            _ => {
                stack.logger.stop().await.expect("it ends");
            }
        }
        stack.start_logger().await.expect("it starts");
    }
    let after = entries(10);
    stack.streams().write_logs(stream::iter(after)).await.expect("an answer");
    told.extend(next_ids(&mut tail, 910 - told.len()).await);
    let in_order: Vec<_> = stack.all_stored().await.iter().rev().map(|entry| entry.id).collect();
    assert_eq!(told, in_order);
}

#[tokio::test]
async fn a_slow_reader_is_told_how_many_it_misses() {
    let stack = Stack::start_direct(&[]).await;
    let query = TailQuery { max_lag: Some(100), ..from(0) };
    let sent = entries(5_000);
    stack.streams().write_logs(stream::iter(sent)).await.expect("an answer");
    let mut tail = stack.streams().tail(query);
    let (missed, cursor) = next(&mut tail).await;
    assert_eq!(missed, TailEvent::Missed(4_900));
    let told = next_ids(&mut tail, 100).await;
    let newest: Vec<_> = stack.all_stored().await.iter().take(100).rev().map(|entry| entry.id).collect();
    assert_eq!(told, newest);
    // It goes on where it was told.
    let mut again = stack.streams().tail(from(cursor.sequence()));
    assert_eq!(next_ids(&mut again, 100).await, newest);
}

#[tokio::test]
async fn what_retention_has_deleted_is_told_as_missed() {
    let stack = Stack::start_direct(&[("LOGGER_RETENTION_BYTES", "1048576")]).await;
    let data = "d".repeat(10_000);
    let sent: Vec<_> = (0..600).map(|_| entry("event", &data)).collect();
    stack.streams().write_logs(stream::iter(sent)).await.expect("an answer");
    eventually("the oldest are deleted", async || (stack.all_stored().await.len() < 200).then_some(())).await;
    let mut tail = stack.streams().tail(from(0));
    let (missed, _) = next(&mut tail).await;
    let TailEvent::Missed(missed) = missed else { panic!("{missed:?}") };
    let left = stack.all_stored().await.len();
    assert!((400..=600).contains(&missed), "{missed} are missed, {left} are left");
    let told = next_ids(&mut tail, left.min(5)).await;
    assert!(!told.is_empty());
}

#[tokio::test]
async fn a_cursor_of_another_store_is_refused() {
    let stack = Stack::start_direct(&[]).await;
    let mut tail = stack.streams().tail(from(7));
    let refused = timeout(SOON, tail.next()).await.expect("in time");
    let Some(Err(failure)) = refused else { panic!("{refused:?}") };
    assert_eq!(failure.code, Code::BadQuery);
    assert!(tail.next().await.is_none(), "it is over");
}

#[tokio::test]
async fn a_question_out_of_its_limits_is_refused_by_name() {
    let stack = Stack::start_direct(&[]).await;
    let mut client = raw_client(&stack).await;
    for (request, field) in [
        (TailRequest { level: Some("INFO".into()), ..TailRequest::default() }, "level"),
        (TailRequest { after: Some("-1".into()), ..TailRequest::default() }, "after"),
        (TailRequest { max_lag: Some(0), ..TailRequest::default() }, "max_lag"),
        (TailRequest { since: Some("noon".into()), ..TailRequest::default() }, "since"),
    ] {
        let status = client.tail_logs(request).await.expect_err(field);
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().contains(field), "{}", status.message());
    }
}

#[tokio::test]
async fn a_load_that_a_draining_logger_ends_says_how_far_it_came() {
    let mut stack = Stack::start_direct(&[]).await;
    let sent = Sent::default();
    let (streams, entries) = (stack.streams(), slowly(Arc::clone(&sent)));
    let loading = tokio::spawn(async move { streams.write_logs(entries).await });
    eventually("some are stored", async || (stack.all_stored().await.len() >= 20).then_some(())).await;
    stack.logger.signal(Signal::SIGTERM).expect("it runs");
    let loaded = timeout(SOON, loading).await.expect("it ends").expect("no panic").expect("an answer");
    stack.logger.ends_well().await.expect("it ends");
    assert_eq!(loaded.stopped.as_ref().map(|failure| failure.code), Some(Code::Draining));
    assert_eq!((loaded.settled, loaded.refused), (loaded.stored, 0));
    stack.start_logger().await.expect("it starts");
    let settled = usize::try_from(loaded.settled).expect("a count");
    let stored: BTreeSet<_> = stack.all_stored().await.iter().map(|entry| entry.id).collect();
    assert!(ids(&sent.lock().expect("no panic")[..settled]).is_subset(&stored));
    assert!(settled >= 20);
}

/// Entries that come one after the other without end; what was sent is noted.
fn slowly(sent: Sent) -> impl Stream<Item = LogEntry> + Send + 'static {
    stream::iter(0..).then(move |number: u64| {
        let sent = Arc::clone(&sent);
        async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let entry = entry("event", &number.to_string());
            sent.lock().expect("no panic").push(entry.clone());
            entry
        }
    })
}

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_stored() {
    let mut stack = Stack::start_direct(&[]).await;
    let acknowledgements = stack.streams().sync_logs(slowly(Sent::default())).await.expect("it begins");
    let mut acknowledgements = std::pin::pin!(acknowledgements);
    let mut acknowledged = BTreeSet::new();
    while acknowledged.len() < 50 {
        let told =
            timeout(SOON, acknowledgements.next()).await.expect("in time").expect("more").expect("stored");
        acknowledged.extend(told.id);
    }
    stack.logger.kill().await.expect("it runs");
    let ended = async {
        while let Some(told) = acknowledgements.next().await {
            match told {
                Ok(told) => acknowledged.extend(told.id),
                Err(failure) => return failure,
            }
        }
        panic!("a stream that breaks does not end well");
    };
    let failure = timeout(SOON, ended).await.expect("it ends");
    assert_eq!(failure.code, Code::OutcomeUnknown);
    stack.start_logger().await.expect("it starts");
    let stored: HashMap<_, _> = stack.all_stored().await.into_iter().map(|entry| (entry.id, entry)).collect();
    assert!(acknowledged.iter().all(|id| stored.contains_key(id)));
}

#[tokio::test]
async fn a_deadline_ends_a_stream_and_who_goes_away_leaves_room() {
    let stack = Stack::start_direct(&[]).await;
    let mut client = raw_client(&stack).await;
    let mut request = tonic::Request::new(TailRequest::default());
    request.set_timeout(Duration::from_secs(3));
    let mut tail = client.tail_logs(request).await.expect("it begins").into_inner();
    let ended = async {
        loop {
            match tail.message().await {
                Ok(Some(_)) => {}
                other => return other.map(|_| ()),
            }
        }
    };
    let status = timeout(SOON, ended).await.expect("in time").expect_err("the deadline has passed");
    assert!(matches!(status.code(), tonic::Code::DeadlineExceeded | tonic::Code::Cancelled), "{status}");
    // More than are served at a time, one after the other: those that went away take no place.
    for _ in 0..150 {
        let tail = client.tail_logs(TailRequest::default()).await.expect("there is room");
        drop(tail);
    }
    let mut open = Vec::new();
    let refused = loop {
        match client.tail_logs(TailRequest::default()).await {
            Ok(tail) => open.push(tail),
            Err(status) => break status,
        }
        assert!(open.len() < 1_000, "there is no limit");
    };
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    assert!(open.len() >= 64, "{}", open.len());
}

#[tokio::test]
async fn two_connections_that_have_all_streams_give_some_up_for_others() {
    /// As many as there are of each kind.
    const UPLOADS: usize = 32;
    const TAILS: usize = 128;
    let stack = Stack::start_direct(&[]).await;
    let [first, second] = [raw_client(&stack).await, raw_client(&stack).await];
    let greedy = |number: usize| if number.is_multiple_of(2) { first.clone() } else { second.clone() };
    let mut uploads = JoinSet::new();
    for number in 0..UPLOADS {
        let mut client = greedy(number);
        let one_and_no_end = stream::iter([request(&Uuid::now_v7().to_string(), "greedy")]);
        uploads.spawn(async move { client.write_logs(one_and_no_end.chain(stream::pending())).await });
    }
    eventually("all are begun", async || (stack.all_stored().await.len() == UPLOADS).then_some(())).await;
    for round in 1..=3 {
        // Each has a connection of its own.
        let loaded = stack.streams().write_logs(stream::iter(entries(2))).await.expect("it is served");
        assert_eq!((loaded.settled, loaded.stopped), (2, None));
        // What gave way says how far it came.
        let ended = timeout(SOON, uploads.join_next()).await.expect("in time").expect("one");
        let summary = ended.expect("no panic").expect("an answer").into_inner();
        assert_eq!(summary.code, "outcome_unknown", "some may be at the writer: {summary:?}");
        assert!(summary.settled <= 1, "{summary:?}");
        // Another takes its place.
        let mut client = greedy(0);
        let again = stream::iter([request(&Uuid::now_v7().to_string(), "again")]);
        uploads.spawn(async move { client.write_logs(again.chain(stream::pending())).await });
        eventually("it has begun", async || {
            let stored = stack.all_stored().await;
            (stored.iter().filter(|entry| entry.name == "again").count() == round).then_some(())
        })
        .await;
    }
    let mut tails = Vec::new();
    for number in 0..TAILS {
        tails.push(
            greedy(number).tail_logs(TailRequest::default()).await.expect("there is room").into_inner(),
        );
    }
    let refused = greedy(0).tail_logs(TailRequest::default()).await.expect_err("it has most itself");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    let (_tail, _) = begun(&stack, from(0)).await;
    let mut ends = JoinSet::new();
    for mut tail in tails {
        ends.spawn(async move {
            while tail.message().await?.is_some() {}
            Ok::<_, tonic::Status>(())
        });
    }
    let ended = timeout(SOON, ends.join_next()).await.expect("in time").expect("one").expect("no panic");
    assert_eq!(ended.expect_err("the reason").code(), tonic::Code::ResourceExhausted);
}

#[tokio::test]
async fn a_stream_that_sends_what_is_no_entry_ends_with_the_reason() {
    let stack = Stack::start_direct(&[]).await;
    let data = "d".repeat(18 * 1024 * 1024);
    let log = proto::grpc::Log { name: "event".into(), data, ..proto::grpc::Log::default() };
    let requests = [request(&Uuid::now_v7().to_string(), "event"), LogRequest { log_entry: Some(log) }];
    let answer = raw_client(&stack).await.write_logs(stream::iter(requests)).await;
    let summary = answer.expect("an answer").into_inner();
    assert_eq!((summary.settled, summary.stored), (1, 1));
    assert!(!summary.code.is_empty() && summary.message.contains("message"), "{summary:?}");
}

#[tokio::test]
async fn large_entries_are_loaded_within_the_limits_of_memory() {
    let stack = Stack::start_direct(&[]).await;
    let data = "d".repeat(256 * 1024);
    let entries = stream::iter(0..400).map(move |_| entry("event", &data));
    let loaded = stack.streams().write_logs(entries).await.expect("an answer");
    assert_eq!((loaded.settled, loaded.stored), (400, 400));
    let peak = stack.logger.usage().expect("it runs").peak_memory_kib;
    assert!(peak < 100 * 1024, "{peak} KiB");
}
