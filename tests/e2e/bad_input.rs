//! What bad input gets: the same clear answer over all four transports, and nothing stored.

use proto::{EntryDraft, Failure, Transport, grpc, rpc::LogRpcClient};
use serde_json::{Value, json};
use tests::{
    eventually,
    stack::{Answer, Stack},
};
use tokio::net::TcpStream;

/// One bad request and what it must get.
struct Bad {
    what: &'static str,
    body: Vec<u8>,
    code: &'static str,
    /// What the message must hold, so that it says what is wrong.
    word: &'static str,
}

/// Where a body has this, the transport's name goes. It is padded with spaces to one length, so that the
/// columns that messages count are the same over all four.
const TRANSPORT: &[u8] = b"@TRANSPORT";

fn bad(what: &'static str, body: impl Into<Vec<u8>>, code: &'static str, word: &'static str) -> Bad {
    Bad { what, body: body.into(), code, word }
}

/// A bad request of which only `log` is bad.
fn bad_log(what: &'static str, log: &str, code: &'static str, word: &'static str) -> Bad {
    bad(what, with_log(log), code, word)
}

/// A bad request of which only one field of the entry is bad.
fn bad_field(what: &'static str, field: &str, value: &str, code: &'static str, word: &'static str) -> Bad {
    let name = if field == "name" { String::new() } else { r#""name":"event","#.to_owned() };
    let data = if field == "data" { String::new() } else { r#""data":"text","#.to_owned() };
    bad_log(what, &format!(r#"{{{name}{data}"{field}":{value}}}"#), code, word)
}

fn with_log(log: &str) -> String {
    format!(r#"{{"action":"log","transport":@TRANSPORT,"log":{log}}}"#)
}

fn good() -> String {
    with_log(r#"{"name":"event","data":"text"}"#)
}

fn nested(open: &str, close: &str) -> String {
    open.repeat(10_000) + "0" + &close.repeat(10_000)
}

fn table() -> Vec<Bad> {
    let mut table = broken_json();
    table.extend(not_utf8());
    table.extend(too_deep());
    table.extend(no_object());
    table.extend(wrong_fields_of_the_body());
    table.extend(wrong_fields_of_the_entry());
    table.extend(out_of_limits());
    table.extend(bad_batches());
    table
}

fn broken_json() -> Vec<Bad> {
    vec![
        bad("an empty body", "", "bad_json", "EOF"),
        bad("white space", " \r\n\t", "bad_json", "EOF"),
        bad("a body that breaks off", &with_log(r#"{"name":"event""#)[..60], "bad_json", "EOF"),
        bad("keys without quotes", "{action:log}", "bad_json", "line 1 column 2"),
        bad("single quotes", "{'action':'log'}", "bad_json", "line 1 column 2"),
        bad("a form", "action=log&transport=grpc", "bad_json", "expected value"),
        bad("XML", "<log><name>event</name></log>", "bad_json", "expected value"),
        bad("a trailing comma", good().replace("}}", "},}"), "bad_json", "trailing comma"),
        bad("a comment", good().replace(r#""log":{"#, r#"/* */"log":{"#), "bad_json", "key must be a string"),
        bad("garbage behind it", good() + "x", "bad_json", "trailing characters"),
        bad("two values", good() + &good(), "bad_json", "trailing characters"),
        bad("a byte order mark", format!("\u{feff}{}", good()), "bad_json", "expected value"),
        bad_field("NaN", "data", "NaN", "bad_json", "expected value"),
        bad_field("a leading zero", "data", "01", "bad_json", "column"),
        bad_field("a raw control character in name", "name", "\"a\nb\"", "bad_json", "control character"),
        bad_field("a raw control character in data", "data", "\"a\tb\"", "bad_json", "control character"),
        bad_field("an escape that there is not", "data", r#""\x41""#, "bad_json", "escape"),
        bad_field("half a surrogate pair in name", "name", r#""\ud800""#, "bad_json", "hex escape"),
        bad_field("half a surrogate pair in data", "data", r#""\udc00 text""#, "bad_json", "surrogate"),
        bad_field(
            "half a surrogate pair deep in data",
            "data",
            r#"{"a":["\ud800"]}"#,
            "bad_json",
            "hex escape",
        ),
    ]
}

fn not_utf8() -> Vec<Bad> {
    let with = |bytes: &[u8]| {
        let (before, after) = (&good().into_bytes(), b"");
        let at = before.windows(4).position(|window| window == b"text").expect("the data");
        [&before[..at], bytes, &before[at..], after].concat()
    };
    let in_auth = |bytes: &[u8]| {
        let before = good();
        let before = before.strip_suffix('}').expect("an object").as_bytes();
        [before, b",\"auth\":{\"email\":\"", bytes, b"\"}}"].concat()
    };
    let utf16: Vec<u8> = good().encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        bad("a byte that UTF-8 never has", with(b"\xff"), "bad_json", "not UTF-8 at byte"),
        bad("Latin-1", with(b"caf\xe9 "), "bad_json", "not UTF-8 at byte"),
        bad("a surrogate as UTF-8", with(b"\xed\xa0\x80"), "bad_json", "not UTF-8 at byte"),
        bad("an overlong slash", with(b"\xc0\xaf"), "bad_json", "not UTF-8 at byte"),
        bad(
            "bytes that are not UTF-8 where they are ignored",
            in_auth(b"\xff"),
            "bad_json",
            "not UTF-8 at byte",
        ),
        bad("UTF-16", utf16, "bad_json", "column 2"),
    ]
}

fn too_deep() -> Vec<Bad> {
    let deep_auth = format!(r#","auth":{}}}"#, nested("[", "]"));
    let in_auth = good().strip_suffix('}').expect("an object").to_owned() + &deep_auth;
    vec![
        bad_field(
            "arrays nested 10,000 deep in data",
            "data",
            &nested("[", "]"),
            "bad_json",
            "recursion limit",
        ),
        bad_field(
            "objects nested 10,000 deep in data",
            "data",
            &nested("{\"a\":", "}"),
            "bad_json",
            "recursion limit",
        ),
        bad_log("a batch nested 10,000 deep", &nested("[", "]"), "bad_field", "entry 0"),
        bad("a body of arrays nested 10,000 deep", nested("[", "]"), "bad_field", "object"),
        bad("10,000 brackets that nobody closes", "[".repeat(10_000), "bad_field", "object"),
        bad("nested 10,000 deep where it is ignored", in_auth, "bad_json", "recursion limit"),
    ]
}

fn no_object() -> Vec<Bad> {
    let in_order = r#"["log",@TRANSPORT,{"name":"event","data":"text"},null,null]"#;
    let entry_in_order = r#"[["event","text",null,null,null,null]]"#;
    vec![
        bad("an empty array as the body", "[]", "bad_field", "object"),
        bad("the fields as an array, without their names", in_order, "bad_field", "object"),
        bad("a string as the body", r#""log""#, "bad_field", "object"),
        bad("a number as the body", "5", "bad_field", "object"),
        bad("null as the body", "null", "bad_field", "object"),
        bad_log("a string as the entry", r#""event""#, "bad_field", "object"),
        bad_log("a number as the entry", "5", "bad_field", "object"),
        bad_log("an entry as an array, without the names", entry_in_order, "bad_field", "object"),
    ]
}

fn wrong_fields_of_the_body() -> Vec<Bad> {
    let good = good();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replace(from, to)
    };
    let action = r#""action":"log""#;
    let transport = r#""transport":@TRANSPORT"#;
    let log = r#","log":{"name":"event","data":"text"}"#;
    vec![
        bad("no action", with(&format!("{action},"), ""), "bad_field", "missing field `action`"),
        bad("a number as the action", with(action, r#""action":5"#), "bad_field", "`action`"),
        bad("null as the action", with(action, r#""action":null"#), "bad_field", "`action`"),
        bad("an unknown action", with(action, r#""action":"mail""#), "unknown_action", r#""log" or "echo""#),
        bad(
            "an action in capitals",
            with(action, r#""action":"LOG""#),
            "unknown_action",
            r#""log" or "echo""#,
        ),
        bad("an empty action", with(action, r#""action":"""#), "unknown_action", r#""log" or "echo""#),
        bad("an action twice", with(action, r#""action":"log","action":"log""#), "bad_field", "`action`"),
        bad(
            "an unknown transport",
            with(transport, r#""transport":"amqp""#),
            "unknown_transport",
            r#""http", "rpc", "rabbitmq" or "grpc""#,
        ),
        bad(
            "a transport in capitals",
            with(transport, r#""transport":"GRPC""#),
            "unknown_transport",
            r#""http", "rpc", "rabbitmq" or "grpc""#,
        ),
        bad(
            "a transport with a space",
            with(transport, r#""transport":"grpc ""#),
            "unknown_transport",
            r#""http", "rpc", "rabbitmq" or "grpc""#,
        ),
        bad("a number as the transport", with(transport, r#""transport":1"#), "bad_field", "`transport`"),
        bad("two transports", with(transport, r#""transport":["http","rpc"]"#), "bad_field", "`transport`"),
        bad(
            "a transport twice",
            with(transport, &format!("{transport},{transport}")),
            "bad_field",
            "`transport`",
        ),
        bad("a misspelt transport", with("\"transport\"", "\"transprot\""), "bad_field", "`transprot`"),
        bad("a field of no meaning", with(action, r#""action":"log","retry":3"#), "bad_field", "`retry`"),
        bad("no log", with(log, ""), "bad_field", "missing field `log`"),
        bad("null as log", with_log("null"), "bad_field", "missing field `log`"),
        bad("log twice", with(log, &log.repeat(2)), "bad_field", "`log`"),
    ]
}

fn wrong_fields_of_the_entry() -> Vec<Bad> {
    vec![
        bad_log("no name", r#"{"data":"text"}"#, "bad_field", "missing field `name`"),
        bad_log("no data", r#"{"name":"event"}"#, "bad_field", "missing field `data`"),
        bad_log("an empty entry", "{}", "bad_field", "missing field"),
        bad_field("a number as the name", "name", "5", "bad_field", "`name`"),
        bad_field("null as the name", "name", "null", "bad_field", "`name`"),
        bad_field("a number as the id", "id", "7", "bad_field", "`id`"),
        bad_field("a number as the level", "level", "1", "bad_field", "`level`"),
        bad_field("a number as the time", "created_at", "1767225600", "bad_field", "`created_at`"),
        bad_field("a transport inside log", "transport", "@TRANSPORT", "bad_field", "beside `action`"),
        bad_field("an unknown field of the entry", "nmae", r#""event""#, "bad_field", "`nmae`"),
        bad_log("a name twice", r#"{"name":"a","name":"b","data":""}"#, "bad_field", "`name`"),
        bad_log("data twice", r#"{"name":"a","data":"","data":""}"#, "bad_field", "`data`"),
    ]
}

fn out_of_limits() -> Vec<Bad> {
    let quoted = |text: &str| format!("\"{text}\"");
    let invalid = |what, field, value: &str, word| bad_field(what, field, value, "invalid_entry", word);
    vec![
        invalid("an empty name", "name", r#""""#, "name is empty"),
        invalid(
            "a name of 257 bytes",
            "name",
            &quoted(&"n".repeat(257)),
            "name has 257 bytes: the limit is 256",
        ),
        invalid(
            "a name of 129 letters in 258 bytes",
            "name",
            &quoted(&"ж".repeat(129)),
            "name has 258 bytes",
        ),
        invalid("U+0000 in the name", "name", r#""a\u0000b""#, "name holds U+0000"),
        invalid("U+0000 in the data", "data", r#""\u0000""#, "data holds U+0000"),
        invalid("data of 262,145 bytes", "data", &quoted(&"d".repeat(262_145)), "data has 262145 bytes"),
        invalid("data of 131,073 letters", "data", &quoted(&"ж".repeat(131_073)), "data has 262146 bytes"),
        invalid(
            "an object of 262,150 bytes as data",
            "data",
            &format!(r#"{{"a":"{}"}}"#, "d".repeat(262_142)),
            "data has 262150 bytes",
        ),
        invalid("an id that is no UUID", "id", r#""42""#, "id is not a UUID"),
        invalid(
            "an id one digit short",
            "id",
            r#""0197f5c1-5d3a-7c6e-8a54-2f1b6c0d9e7""#,
            "id is not a UUID",
        ),
        invalid("an empty id", "id", r#""""#, "id is not a UUID"),
        invalid("the nil id", "id", r#""00000000-0000-0000-0000-000000000000""#, "nil"),
        invalid("an unknown level", "level", r#""debug""#, r#""info", "warning" or "error""#),
        invalid("a level in capitals", "level", r#""INFO""#, r#""info", "warning" or "error""#),
        invalid("a time in words", "created_at", r#""yesterday""#, "created_at is not an RFC 3339 time"),
        invalid(
            "a date without a time",
            "created_at",
            r#""2026-01-31""#,
            "created_at is not an RFC 3339 time",
        ),
        invalid("a time without its offset", "created_at", r#""2026-01-31T12:00:00""#, "RFC 3339"),
        invalid("an empty time", "created_at", r#""""#, "created_at is not an RFC 3339 time"),
    ]
}

fn bad_batches() -> Vec<Bad> {
    let entry = r#"{"name":"event","data":"text"}"#;
    let with = |bad: &str| format!("[{entry},{bad},{entry}]");
    let too_many = format!("[{}]", vec![entry; 1_001].join(","));
    let too_large = format!(r#"{{"name":"event","data":"{}"}}"#, "d".repeat(262_145));
    vec![
        bad_log("an empty batch", "[]", "bad_batch", "empty"),
        bad_log("a batch of 1,001", &too_many, "bad_batch", "1001 entries: the limit is 1000"),
        bad_log("an entry without a name", &with(r#"{"name":"","data":""}"#), "invalid_entry", "entry 1"),
        bad_log("an entry that is too large", &with(&too_large), "invalid_entry", "entry 1"),
        bad_log("an entry of another type", &with("5"), "bad_field", "entry 1"),
        bad_log("an entry with an unknown field", &with(r#"{"text":"event"}"#), "bad_field", "entry 1"),
        bad_log("a batch that breaks off", &format!("[{entry},"), "bad_json", "expected value"),
        bad_log("a batch in a batch", &format!("[[{entry}]]"), "bad_field", "entry 0"),
    ]
}

fn body_for(transport: Transport, body: &[u8]) -> Vec<u8> {
    let Some(at) = body.windows(TRANSPORT.len()).position(|window| window == TRANSPORT) else {
        return body.to_vec();
    };
    let word = format!("{:<10}", format!("\"{transport}\""));
    let rest = body_for(transport, &body[at + TRANSPORT.len()..]);
    [&body[..at], word.as_bytes(), &rest].concat()
}

/// What is wrong with the answers to a bad request: the first of it.
fn complaint(bad: &Bad, status: u16, answers: &[(String, Answer)]) -> Option<String> {
    let Bad { what, code, word, .. } = bad;
    let about = |(way, answer): &(String, Answer)| {
        let rules = [
            (answer.status == status, format!("the status must be {status}")),
            (answer.code() == *code, format!("the code must be {code}")),
            (answer.message().contains(word), format!("the message must hold {word:?}")),
            (!answer.message().contains("struct "), "the message must not speak of our source".to_owned()),
            (answer.message().chars().count() <= 301, "the message must not echo the body".to_owned()),
            (answer.body["error"] == true, "`error` must be true".to_owned()),
            (answer.body["data"]["retryable"] == false, "`retryable` must be false".to_owned()),
            (answer.body == answers[0].1.body, "it must be the same over all transports".to_owned()),
        ];
        let (_, broken) = rules.into_iter().find(|(holds, _)| !holds)?;
        Some(format!("{what}, {way}: {broken}: {} {:.400}", answer.status, answer.body.to_string()))
    };
    answers.iter().find_map(about)
}

/// The answers to a body over the four transports, and to the course's own address for gRPC.
async fn all_answers(stack: &Stack, body: &[u8]) -> Vec<(String, Answer)> {
    let mut answers = Vec::new();
    for transport in Transport::ALL {
        answers.push((transport.to_string(), stack.post("/handle", body_for(transport, body)).await));
    }
    let answer = stack.post("/log-grpc", body_for(Transport::Grpc, body)).await;
    answers.push(("/log-grpc".to_owned(), answer));
    answers
}

/// Fails unless the store holds what is sent now and nothing else, and the queue too. Messages keep their
/// order, so whatever was queued before would be counted with it.
async fn nothing_was_stored_or_queued(stack: &Stack) {
    let mark = json!({ "name": "mark", "data": "" });
    assert_eq!(stack.log(Transport::Http, &mark).await.outcome(), "stored");
    assert_eq!(stack.log(Transport::Rabbitmq, &mark).await.outcome(), "queued");
    let depth = eventually("the mark is counted", async || {
        Some(stack.rabbitmq.depth("logs.entries").await).filter(|depth| *depth > 0)
    });
    assert_eq!(depth.await, 1);
    assert_eq!(stack.rabbitmq.depth("logs.dead").await, 0);
    let stored = stack.all_stored().await;
    assert_eq!(stored.len(), 1, "{stored:?}");
}

#[tokio::test]
async fn bad_input_gets_the_same_answer_over_all_transports_and_nothing_is_stored() {
    let stack = Stack::start_without_listener(&[]).await;
    let mut wrong = Vec::new();
    for bad in table() {
        wrong.extend(complaint(&bad, 400, &all_answers(&stack, &bad.body).await));
    }
    assert!(wrong.is_empty(), "{} complaints:\n{}", wrong.len(), wrong.join("\n"));
    nothing_was_stored_or_queued(&stack).await;
}

#[tokio::test]
async fn the_address_for_grpc_refuses_another_transport() {
    let stack = Stack::start_without_listener(&[]).await;
    for transport in Transport::ALL.into_iter().filter(|transport| *transport != Transport::Grpc) {
        let answer = stack.post("/log-grpc", body_for(transport, good().as_bytes())).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "unknown_transport"), "{transport}");
        assert!(answer.message().contains("/handle"), "{}", answer.message());
    }
    nothing_was_stored_or_queued(&stack).await;
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_method_are_answered_in_the_envelope() {
    let stack = Stack::start_without_listener(&[]).await;
    for (answer, status, code) in [
        (stack.get("/nowhere").await, 404, "not_found"),
        (stack.get("/handle").await, 405, "method_not_allowed"),
        (stack.post("/logs", "{}").await, 405, "method_not_allowed"),
        (stack.post_to_logger("/nowhere", "{}").await, 404, "not_found"),
        (stack.post_to_logger("/healthz", "{}").await, 405, "method_not_allowed"),
    ] {
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{}", answer.body);
        assert_eq!((&answer.body["error"], &answer.body["data"]["retryable"]), (&json!(true), &json!(false)));
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_answered_413_over_all_transports() {
    let stack = Stack::start_without_listener(&[]).await;
    let bad = too_large();
    assert_eq!(complaint(&bad, 413, &all_answers(&stack, &bad.body).await), None);
    nothing_was_stored_or_queued(&stack).await;
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_answered_413_over_all_transports() {
    let stack = Stack::start_without_listener(&[]).await;
    let bad = too_large();
    let mut chunked = Vec::new();
    for transport in Transport::ALL {
        let answer = post_chunked(&stack, &body_for(transport, &bad.body)).await;
        chunked.push((format!("{transport}, chunked"), answer));
    }
    assert_eq!(complaint(&bad, 413, &chunked), None);
    nothing_was_stored_or_queued(&stack).await;
}

fn too_large() -> Bad {
    let data = "d".repeat(17 * 1024 * 1024);
    bad_field("17 MiB", "data", &format!("\"{data}\""), "too_large", "the limit is 16777216 bytes")
}

/// Posts a body without saying beforehand how long it is.
async fn post_chunked(stack: &Stack, body: &[u8]) -> Answer {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let begun = std::time::Instant::now();
    let (mut reader, mut writer) =
        TcpStream::connect(stack.broker_at).await.expect("the broker is there").into_split();
    let write = async {
        let head = "POST /handle HTTP/1.1\r\nHost: broker\r\nTransfer-Encoding: chunked\r\n\r\n";
        writer.write_all(head.as_bytes()).await?;
        for chunk in body.chunks(1024 * 1024) {
            writer.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
            writer.write_all(chunk).await?;
            writer.write_all(b"\r\n").await?;
        }
        writer.write_all(b"0\r\n\r\n").await
    };
    let read = async {
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        // The broker may close in mid-body: what counts is that it has answered before.
        while !String::from_utf8_lossy(&answer).ends_with("}}") {
            match reader.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(bytes) => answer.extend_from_slice(&buffer[..bytes]),
            }
        }
        String::from_utf8(answer).expect("text")
    };
    let (_, answer) = tokio::join!(write, tokio::time::timeout(tests::SOON, read));
    let answer = answer.expect("an answer in time");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status: u16 = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer {
        status: status.try_into().expect("a status"),
        headers: reqwest::header::HeaderMap::new(),
        body: serde_json::from_str(body).unwrap_or(Value::Null),
        took: begun.elapsed(),
    }
}

#[tokio::test]
async fn an_entry_that_just_keeps_the_limits_is_stored_over_all_transports() {
    let stack = Stack::start().await;
    for transport in Transport::ALL {
        for (name, data) in [
            ("n".repeat(256), "d".repeat(262_144)),
            ("ж".repeat(128), "ж".repeat(131_072)),
            ("n".to_owned(), String::new()),
            // Every character takes six bytes in JSON.
            ("\u{1}".repeat(256), "\u{1}".repeat(262_144)),
        ] {
            let answer = stack.log(transport, &json!({ "name": name, "data": data })).await;
            assert_eq!(answer.status, 202, "{transport}: {}", answer.body);
            let entry = stack.eventually_stored(answer.id()).await;
            assert!(entry.name == name && entry.data == data, "{transport} changed it");
        }
    }
}

#[tokio::test]
async fn the_loggers_own_address_names_the_bad_field() {
    let stack = Stack::start_without_listener(&[]).await;
    for (body, code, word) in [
        ("", "bad_json", "EOF"),
        (r#"{"name":"event","data":"text""#, "bad_json", "EOF"),
        (r#"{"data":"text"}"#, "bad_field", "`name`"),
        (r#"{"name":"event"}"#, "bad_field", "`data`"),
        (r#"{"name":5,"data":"text"}"#, "bad_field", "`name`"),
        (r#"{"name":"event","data":"text","nmae":""}"#, "bad_field", "`nmae`"),
        (r#"["event","text",null,null,null,null]"#, "bad_field", "object"),
        (r#"{"name":"","data":"text"}"#, "invalid_entry", "name"),
        (r#"{"name":"event","data":"\u0000"}"#, "invalid_entry", "data"),
        (r#"{"name":"event","data":"text","id":"7"}"#, "invalid_entry", "id"),
        (r#"{"name":"event","data":"text","level":"loud"}"#, "invalid_entry", "level"),
        (r#"{"name":"event","data":"text","created_at":"now"}"#, "invalid_entry", "created_at"),
        (r#"{"name":"event","data":"text","transport":"amqp"}"#, "unknown_transport", "transport"),
    ] {
        let answer = stack.post_to_logger("/log", body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, code), "{body}: {}", answer.body);
        assert_eq!(answer.body["error"], true);
        assert!(answer.message().contains(word), "{body}: {}", answer.message());
    }
    assert_eq!(stack.all_stored().await, []);
}

#[tokio::test]
async fn the_loggers_own_address_for_batches_names_the_bad_entry() {
    let stack = Stack::start_without_listener(&[]).await;
    let good = r#"{"name":"event","data":"text"}"#;
    for (body, code, word) in [
        (r#"{"entries":[]}"#.to_owned(), "bad_batch", "empty"),
        (format!(r#"{{"entries":[{}]}}"#, vec![good; 1_001].join(",")), "bad_batch", "1001"),
        (r#"{"mode":"each"}"#.to_owned(), "bad_field", "`entries`"),
        (format!(r#"{{"mode":"some","entries":[{good}]}}"#), "bad_field", "`mode`"),
        (format!(r#"{{"entries":[{good},{{"name":"","data":""}}]}}"#), "invalid_entry", "entry 1"),
        (format!(r#"{{"entries":[{good},{{"name":7,"data":""}}]}}"#), "bad_field", "entry 1"),
    ] {
        let answer = stack.post_to_logger("/logs", body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, code), "{body:.80}: {}", answer.body);
        assert!(answer.message().contains(word), "{body:.80}: {}", answer.message());
    }
    assert_eq!(stack.all_stored().await, []);

    let each = format!(r#"{{"mode":"each","entries":[{good},{{"name":7,"data":""}},{good}]}}"#);
    let answer = stack.post_to_logger("/logs", each).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let results = &answer.body["data"]["results"];
    assert_eq!((&results[0]["outcome"], &results[2]["outcome"]), (&json!("stored"), &json!("stored")));
    assert_eq!(results[1]["code"], "bad_field");
    assert_eq!(stack.all_stored().await.len(), 2);
}

#[tokio::test]
async fn the_loggers_three_ports_refuse_a_bad_entry_in_the_same_words() {
    let stack = Stack::start_without_listener(&[]).await;
    let stream = TcpStream::connect(stack.logger_at.rpc).await.expect("the rpc port");
    let rpc = LogRpcClient::new(tarpc::client::Config::default(), proto::rpc::frame(stream)).spawn();
    let at = format!("http://{}", stack.logger_at.grpc);
    let mut grpc = grpc::log_service_client::LogServiceClient::connect(at).await.expect("the gRPC port");
    for (what, draft) in bad_drafts() {
        let refused = rpc.write(tarpc::context::current(), draft.clone()).await.expect("an answer");
        let over_rpc = refused.expect_err(what);

        let log = grpc::Log {
            name: draft.name.clone(),
            data: draft.data.clone(),
            id: draft.id.clone(),
            level: draft.level.clone(),
            created_at: draft.created_at.clone(),
            transport: draft.transport.clone(),
        };
        let status = grpc.write_log(grpc::LogRequest { log_entry: Some(log) }).await.expect_err(what);
        assert_eq!(grpc::failure(&status), Some(over_rpc.clone()), "{what}");

        let body = serde_json::to_string(&draft).expect("text");
        let answer = stack.post_to_logger("/log", body).await;
        let over_http = Failure::new(answer.code().parse().expect("a code"), answer.message());
        assert_eq!(over_http, over_rpc, "{what}");
    }
    assert_eq!(stack.all_stored().await, []);
}

fn bad_drafts() -> Vec<(&'static str, EntryDraft)> {
    let good = EntryDraft { name: "event".to_owned(), data: "text".to_owned(), ..EntryDraft::default() };
    let text = |text: &str| Some(text.to_owned());
    vec![
        ("no name", EntryDraft { name: String::new(), ..good.clone() }),
        ("a long name", EntryDraft { name: "n".repeat(257), ..good.clone() }),
        ("U+0000", EntryDraft { data: "\0".to_owned(), ..good.clone() }),
        ("long data", EntryDraft { data: "d".repeat(262_145), ..good.clone() }),
        ("the nil id", EntryDraft { id: text("00000000-0000-0000-0000-000000000000"), ..good.clone() }),
        ("no id", EntryDraft { id: text(""), ..good.clone() }),
        ("a bad level", EntryDraft { level: text("INFO"), ..good.clone() }),
        ("a bad time", EntryDraft { created_at: text("noon"), ..good.clone() }),
        ("an unknown transport", EntryDraft { transport: text("amqp"), ..good }),
    ]
}
