//! Go's net/rpc at the logger: by the client of Go's standard library, and by hand for what that would not send.

use std::{collections::BTreeSet, process::Output, time::Duration};

use bytes::BytesMut;
use futures_util::future::join_all;
use proto::{
    EntryDraft, LogEntry, Transport,
    limits::{DATA_BYTES, NAME_BYTES},
    netrpc::{Answer, Ask, BODY_BYTES, Calls, Responses},
};
use serde_json::json;
use tests::{SOON, client, eventually, golang, prometheus::Scrape, raw::until_closed, stack::Stack};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

#[tokio::test]
async fn gos_own_client_stores_ten_thousand_entries_over_one_connection_with_64_in_flight() {
    let stack = Stack::start_direct(&[]).await;
    let arguments = ["-entries", "10000", "-in-flight", "64"];
    let answered = answered(golang::calls(stack.logger_at.netrpc, &arguments).wait_with_output().await);
    assert_eq!(answered.len(), 10_000);
    assert_eq!(stored_by_rpc(&stack).await, answered);
    // The door is told apart in the metrics, and is none of tarpc.
    let metrics = client().get(format!("http://{}/metrics", stack.logger_at.http)).send().await;
    let metrics = metrics.expect("an answer").text().await.expect("text");
    let metrics = Scrape::parse(&metrics).expect("metrics");
    let by_door =
        |door| metrics.value("logger_request_seconds_count", &[("transport", "rpc"), ("door", door)]);
    assert_eq!((by_door("netrpc"), by_door("rpc")), (Some(10_000.0), None));
}

#[tokio::test]
async fn gos_own_client_stores_an_entry_over_each_of_a_thousand_connections() {
    let stack = Stack::start_direct(&[]).await;
    // All are open at the same time, and none is closed by the client before its end.
    let arguments = ["-entries", "1000", "-connections", "1000"];
    let answered = answered(golang::calls(stack.logger_at.netrpc, &arguments).wait_with_output().await);
    assert_eq!(answered.len(), 1_000);
    assert_eq!(stored_by_rpc(&stack).await, answered);
}

#[tokio::test]
async fn nothing_that_was_answered_is_lost_when_the_logger_is_killed_under_load() {
    const ROUNDS: usize = 3;
    let mut stack = Stack::start_direct(&[]).await;
    let mut answered = BTreeSet::new();
    for round in 0..ROUNDS {
        let prefix = format!("round-{round}");
        let arguments = ["-entries", "1000000", "-in-flight", "64", "-prefix", &prefix];
        let mut calls = golang::calls(stack.logger_at.netrpc, &arguments);
        let mut lines = BufReader::new(calls.stdout.take().expect("a pipe")).lines();
        let mut names = Vec::new();
        let enough = async {
            while names.len() < 500 {
                names.push(lines.next_line().await.expect("it can be read").expect("it goes on"));
            }
        };
        tokio::time::timeout(SOON, enough).await.expect("it stores");
        stack.logger.kill().await.expect("it runs");
        // What was answered before its end and is not read yet; every other call fails at once.
        calls.start_kill().expect("it runs");
        while let Some(line) = lines.next_line().await.expect("it can be read") {
            names.push(line);
        }
        answered.extend(names);
        stack.start_logger().await.expect("it starts");
    }
    assert!(answered.len() >= 500 * ROUNDS);
    let stored = stored_by_rpc(&stack).await;
    let lost = answered.difference(&stored).count();
    assert_eq!(lost, 0, "of {} that were answered", answered.len());
}

#[tokio::test]
async fn a_method_that_is_not_there_is_named_in_gos_own_words() {
    let stack = Stack::start_direct(&[]).await;
    for (method, text) in [
        ("RPCServer.Nothing", "rpc: can't find method RPCServer.Nothing"),
        ("Nobody.LogInfo", "rpc: can't find service Nobody.LogInfo"),
        ("LogInfo", "rpc: service/method request ill-formed: LogInfo"),
    ] {
        let output = golang::calls(stack.logger_at.netrpc, &["-method", method]).wait_with_output().await;
        let output = output.expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.stdout.is_empty() && said.contains(text), "{said}");
    }
}

/// The names that a client says were answered. It must have had no other answer.
fn answered(output: std::io::Result<Output>) -> BTreeSet<String> {
    let output = output.expect("it ends");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

async fn stored_by_rpc(stack: &Stack) -> BTreeSet<String> {
    let stored = stack.all_stored().await;
    assert!(stored.iter().all(|entry| entry.transport == Transport::Rpc && entry.data == "some data"));
    let names: BTreeSet<String> = stored.iter().map(|entry| entry.name.clone()).collect();
    assert_eq!(names.len(), stored.len(), "one is stored twice");
    names
}

// ---- By hand ---------------------------------------------------------------------------------------------

/// A connection, as our own client has it.
struct Line {
    stream: TcpStream,
    calls: Calls,
    responses: Responses,
    received: BytesMut,
}

impl Line {
    async fn open(stack: &Stack) -> Self {
        let stream = TcpStream::connect(stack.logger_at.netrpc).await.expect("the port is open");
        let (calls, responses, received) = (Calls::default(), Responses::default(), BytesMut::new());
        Line { stream, calls, responses, received }
    }

    async fn send(&mut self, number: u64, entry: &LogEntry) {
        let mut bytes = Vec::new();
        self.calls.put(number, Ask::Write(entry, None), &mut bytes);
        self.stream.write_all(&bytes).await.expect("it is open");
    }

    /// The next answer; `None` once the connection is closed.
    async fn answer(&mut self) -> Option<Answer> {
        let read = async {
            loop {
                if let Some(answer) = self.responses.next(&mut self.received).expect("it is gob") {
                    return Some(answer);
                }
                if !self.stream.read_buf(&mut self.received).await.is_ok_and(|read| read > 0) {
                    return None;
                }
            }
        };
        tokio::time::timeout(SOON, read).await.expect("an answer in time")
    }

    async fn stores(&mut self, number: u64) {
        self.send(number, &entry("bystander", "")).await;
        assert_eq!(self.answer().await, Some(Answer { seq: number, result: Ok(()) }));
    }
}

fn entry(name: &str, data: &str) -> LogEntry {
    let draft = EntryDraft { name: name.to_owned(), data: data.to_owned(), ..EntryDraft::default() };
    draft.check(jiff::Timestamp::now()).expect("within the limits")
}

#[tokio::test]
async fn an_entry_with_an_id_is_stored_once_and_one_without_as_often_as_it_is_sent() {
    let stack = Stack::start_direct(&[]).await;
    let entry = entry("event", "text");
    for _ in 0..2 {
        let mut line = Line::open(&stack).await;
        line.send(0, &entry).await;
        assert_eq!(line.answer().await.expect("an answer").result, Ok(()));
    }
    let stored = stack.all_stored().await;
    assert_eq!((stored.len(), stored[0].id, stored[0].attempts), (1, entry.id(), 2));
    for _ in 0..2 {
        answered(golang::calls(stack.logger_at.netrpc, &[]).wait_with_output().await);
    }
    assert_eq!(stack.all_stored().await.len(), 3);
}

#[tokio::test]
async fn what_is_refused_is_an_error_of_its_call_and_says_why() {
    let stack = Stack::start_direct(&[]).await;
    let mut line = Line::open(&stack).await;
    // What no `LogEntry` can hold, by hand: the payload of the course, with a name and data of these lengths.
    let mut expected = Vec::new();
    for (number, (name, data, part)) in [
        (0, 1, "name is empty: it must have 1 to 256 bytes [invalid_entry]"),
        (NAME_BYTES + 1, 1, "name is longer than 256 bytes [invalid_entry]"),
        (1, DATA_BYTES + 1, "data is longer than 262144 bytes [invalid_entry]"),
        (1, BODY_BYTES, "the arguments are longer than 278784 bytes [too_large]"),
    ]
    .into_iter()
    .enumerate()
    {
        let number = number as u64;
        line.stream.write_all(&raw_call(number, name, data)).await.expect("it is open");
        expected.push((number, part));
    }
    for _ in 0..expected.len() {
        let answer = line.answer().await.expect("the connection lives");
        let (_, part) = expected.iter().find(|(number, _)| *number == answer.seq).expect("it was asked");
        let text = answer.result.expect_err("it is refused");
        assert_eq!(text, *part);
    }
    let mut other = Line::open(&stack).await;
    other.stores(0).await;
}

/// A call of the course's payload, as Go encodes it; its types are defined by the first.
fn raw_call(number: u64, name: usize, data: usize) -> Vec<u8> {
    const REQUEST: &[u8] =
        b"\x2f\xff\x81\x03\x01\x01\x07Request\x01\xff\x82\x00\x01\x02\x01\x0dServiceMethod\x01\x0c\x00\x01\x03Seq\x01\x06\x00\x00\x00";
    const PAYLOAD: &[u8] =
        b"\x2a\xff\x83\x03\x01\x01\x0aRPCPayload\x01\xff\x84\x00\x01\x02\x01\x04Name\x01\x0c\x00\x01\x04Data\x01\x0c\x00\x00\x00";
    let uint = |value: usize| match u8::try_from(value) {
        Ok(small @ ..0x80) => vec![small],
        _ => [&[0xfc][..], &u32::try_from(value).expect("small").to_be_bytes()].concat(),
    };
    let message = |content: Vec<u8>| [uint(content.len()), content].concat();
    let text = |field: u8, length: usize| match length {
        0 => Vec::new(),
        _ => [vec![field], uint(length), vec![b'x'; length]].concat(),
    };
    let mut header = [&[0xff, 0x82, 1, 17][..], b"RPCServer.LogInfo"].concat();
    if number > 0 {
        header.extend([1, u8::try_from(number).expect("small")]);
    }
    header.push(0);
    let data_field = if name == 0 { 2 } else { 1 };
    let body = [vec![0xff, 0x84], text(1, name), text(data_field, data), vec![0]].concat();
    let defined = number == 0;
    let request = if defined { REQUEST } else { b"" };
    let payload = if defined { PAYLOAD } else { b"" };
    [request.to_vec(), message(header), payload.to_vec(), message(body)].concat()
}

#[tokio::test]
async fn hostile_streams_end_alone_and_take_little_memory() {
    /// What the process may take for all of them together, above what it has before.
    const MOST_KIB: u64 = 100 * 1024;
    const STREAMS: usize = 200;
    let stack = Stack::start_direct(&[]).await;
    let mut bystander = Line::open(&stack).await;
    bystander.stores(0).await;
    stack.logger.forget_peak_memory().expect("it runs");
    let before = stack.logger.usage().expect("it runs").memory_kib;
    // As many fields as all types may have, and no more to come; a message of 2^62 bytes; half a call; half of the longest.
    let mut fields = vec![3, 1, 0, 1, 0xfe, 0x09, 0xc4];
    fields.extend([1, 1, b'f', 1, 0x0c, 0].repeat(2_500));
    fields.extend([0, 0]);
    let length = u16::try_from(fields.len() + 2).expect("small").to_be_bytes();
    let bomb = [&[0xfe, length[0], length[1], 0xff, 0x85][..], &fields].concat();
    let whole = raw_call(0, 1, DATA_BYTES);
    for (what, bytes) in [
        ("a type bomb", [bomb, vec![0x20]].concat()),
        ("a message of 2^62 bytes", [&[0xf8, 0x40, 0, 0, 0, 0, 0, 0, 0][..], &[0; 64]].concat()),
        ("half a call", whole[..60].to_vec()),
        ("half of the longest call", whole[..whole.len() / 2].to_vec()),
    ] {
        let attacks = (0..STREAMS).map(|_| until_closed(what, stack.logger_at.netrpc, &bytes, SOON));
        let attacks = join_all(attacks);
        let others = async {
            for number in 1..=20 {
                bystander.stores(number).await;
            }
        };
        let (ended, ()) = tokio::join!(attacks, others);
        assert!(ended.iter().all(|(said, _)| said.is_empty()), "{what} is answered");
        bystander.stores(21).await;
        // Its numbers begin anew.
        bystander = Line::open(&stack).await;
        bystander.stores(0).await;
    }
    let peak = stack.logger.usage().expect("it runs").peak_memory_kib;
    assert!(peak < before + MOST_KIB, "{peak} KiB at most, {before} before");
    let answer = stack.log(Transport::Rpc, &json!({ "name": "event", "data": "" })).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
}

#[tokio::test]
async fn what_was_asked_before_a_shutdown_is_answered_and_what_comes_after_it_is_told() {
    let mut stack = Stack::start_direct(&[]).await;
    let mut line = Line::open(&stack).await;
    line.stores(0).await;
    for number in 1..=50 {
        line.send(number, &entry("event", "")).await;
    }
    tests::raw::is_read(&line.stream).await;
    let stopped = async { stack.logger.stop().await.expect("it ends well") };
    let answers = async {
        let mut ended = Vec::new();
        while let Some(answer) = line.answer().await {
            ended.push(answer);
        }
        ended
    };
    let (_, ended) = tokio::join!(stopped, answers);
    assert_eq!(ended.len(), 50, "each has an answer");
    let stored = ended.iter().filter(|answer| answer.result.is_ok()).count();
    assert!(
        ended
            .iter()
            .all(|answer| answer.result.as_ref().map_or_else(|text| text.ends_with("[draining]"), |()| true))
    );
    stack.start_logger().await.expect("it starts");
    assert_eq!(stack.all_stored().await.len(), 1 + stored);
}

#[tokio::test]
async fn a_client_of_net_rpc_at_the_port_of_tarpc_is_told_of_in_the_log() {
    let stack = Stack::start_direct(&[]).await;
    for _ in 0..3 {
        let ended = until_closed("net/rpc", stack.logger_at.rpc, &raw_call(0, 1, 1), SOON).await;
        assert!(ended.0.is_empty());
    }
    let told = || stack.logger.log().matches("send it to LOGGER_NETRPC_LISTEN").count();
    eventually("it is told", async || (told() > 0).then_some(())).await;
    assert_eq!(told(), 1, "once");
}

#[tokio::test]
async fn a_connection_that_asks_nothing_any_more_is_closed() {
    /// Thirty seconds, and what a busy machine adds.
    const IDLE: Duration = Duration::from_secs(60);
    let stack = Stack::start_direct(&[]).await;
    let mut idle = Line::open(&stack).await;
    idle.stores(0).await;
    let closed = tokio::time::timeout(IDLE, idle.stream.read_u8()).await.expect("it is closed in time");
    assert!(closed.is_err(), "nothing more is said");
}
