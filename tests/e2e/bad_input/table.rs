//! The bad requests.

use proto::{EntryDraft, Transport};

/// One bad request and what it must get.
pub(super) struct Bad {
    pub(super) what: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) code: &'static str,
    /// What the message must hold, so that it says what is wrong.
    pub(super) word: &'static str,
}

/// Where a body has this, the transport's name goes. It is padded with spaces to one length, so that the
/// columns that messages count are the same over all four.
const TRANSPORT: &[u8] = b"@TRANSPORT";

/// All that are answered 400.
pub(super) fn all() -> Vec<Bad> {
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

/// One that is larger than any body may be.
pub(super) fn too_large() -> Bad {
    let data = "d".repeat(17 * 1024 * 1024);
    bad_field("17 MiB", "data", &format!("\"{data}\""), "too_large", "the limit is 16777216 bytes")
}

/// Nothing is wrong with this one.
pub(super) fn good() -> String {
    with_log(r#"{"name":"event","data":"text"}"#)
}

/// A body for one of the transports.
pub(super) fn body_for(transport: Transport, body: &[u8]) -> Vec<u8> {
    let Some(at) = body.windows(TRANSPORT.len()).position(|window| window == TRANSPORT) else {
        return body.to_vec();
    };
    let word = format!("{:<10}", format!("\"{transport}\""));
    let rest = body_for(transport, &body[at + TRANSPORT.len()..]);
    [&body[..at], word.as_bytes(), &rest].concat()
}

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

fn nested(open: &str, close: &str) -> String {
    open.repeat(10_000) + "0" + &close.repeat(10_000)
}

fn broken_json() -> Vec<Bad> {
    vec![
        bad("an empty body", "", "bad_json", "empty body: send"),
        bad("white space", " \r\n\t", "bad_json", "empty body: send"),
        bad("a body that breaks off", &with_log(r#"{"name":"event""#)[..60], "bad_json", "EOF while parsing"),
        bad("keys without quotes", "{action:log}", "bad_json", "line 1 column 2"),
        bad("single quotes", "{'action':'log'}", "bad_json", "line 1 column 2"),
        bad("a form", "action=log&transport=grpc", "bad_json", "expected value"),
        bad("XML", "<log><name>event</name></log>", "bad_json", "expected value"),
        bad("a trailing comma", good().replace("}}", "},}"), "bad_json", "trailing comma"),
        bad("a comment", good().replace(r#""log":{"#, r#"/* */"log":{"#), "bad_json", "key must be a string"),
        bad("garbage behind it", good() + "x", "bad_json", "trailing characters"),
        bad("two values", good() + &good(), "bad_json", "trailing characters"),
        bad("a byte order mark", format!("\u{feff}{}", good()), "bad_json", "byte order mark"),
        bad_field("NaN", "data", "NaN", "bad_json", "expected value"),
        bad_field("a leading zero", "data", "01", "bad_json", "column"),
        bad_field("a raw control character in name", "name", "\"a\nb\"", "bad_json", "control character"),
        bad_field("a raw control character in data", "data", "\"a\tb\"", "bad_json", "control character"),
        bad_field("an escape that there is not", "data", r#""\x41""#, "bad_json", "invalid escape"),
        bad_field("half a surrogate pair in name", "name", r#""\ud800""#, "bad_json", "hex escape"),
        bad_field("half a surrogate pair in data", "data", r#""\udc00 text""#, "bad_json", "hex escape"),
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
            "recursion limit exceeded",
        ),
        bad_field(
            "objects nested 10,000 deep in data",
            "data",
            &nested("{\"a\":", "}"),
            "bad_json",
            "recursion limit exceeded",
        ),
        bad_log("a batch nested 10,000 deep", &nested("[", "]"), "bad_field", "entry 0"),
        bad("a body of arrays nested 10,000 deep", nested("[", "]"), "bad_field", "object"),
        bad("10,000 brackets that nobody closes", "[".repeat(10_000), "bad_field", "object"),
        bad("nested 10,000 deep where it is ignored", in_auth, "bad_json", "recursion limit exceeded"),
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
        bad_field("a transport inside log", "transport", "@TRANSPORT", "bad_field", "next to `action`"),
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
        invalid("a name of 257 bytes", "name", &quoted(&"n".repeat(257)), "name is longer than 256 bytes"),
        invalid(
            "a name of 129 letters in 258 bytes",
            "name",
            &quoted(&"ж".repeat(129)),
            "name is longer than 256 bytes",
        ),
        invalid("U+0000 in the name", "name", r#""a\u0000b""#, "name contains U+0000"),
        invalid("U+0000 in the data", "data", r#""\u0000""#, "data contains U+0000"),
        invalid(
            "data of 262,145 bytes",
            "data",
            &quoted(&"d".repeat(262_145)),
            "data is longer than 262144 bytes",
        ),
        invalid(
            "data of 131,073 letters",
            "data",
            &quoted(&"ж".repeat(131_073)),
            "data is longer than 262144 bytes",
        ),
        invalid(
            "an object of 262,150 bytes as data",
            "data",
            &format!(r#"{{"a":"{}"}}"#, "d".repeat(262_142)),
            "data is longer than 262144 bytes",
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
        invalid("a level that is called otherwise", "level", r#""warn""#, r#"did you mean "warning"?"#),
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
        bad_log("a batch of 1,001", &too_many, "bad_batch", "more than 1000 entries"),
        bad_log("an entry without a name", &with(r#"{"name":"","data":""}"#), "invalid_entry", "entry 1"),
        bad_log("an entry that is too large", &with(&too_large), "invalid_entry", "entry 1"),
        bad_log("an entry of another type", &with("5"), "bad_field", "entry 1"),
        bad_log("an entry with an unknown field", &with(r#"{"text":"event"}"#), "bad_field", "entry 1"),
        bad_log("a batch that breaks off", &format!("[{entry},"), "bad_json", "expected value"),
        bad_log("a batch in a batch", &format!("[[{entry}]]"), "bad_field", "entry 0"),
    ]
}

/// Entries that the logger must refuse, at whichever of its ports.
pub(super) fn bad_drafts() -> Vec<(&'static str, EntryDraft)> {
    let good = EntryDraft { name: "event".to_owned(), data: "text".to_owned(), ..EntryDraft::default() };
    let text = |text: &str| Some(text.to_owned());
    vec![
        ("no name", EntryDraft { name: String::new(), ..good.clone() }),
        ("a long name", EntryDraft { name: "n".repeat(257), ..good.clone() }),
        ("U+0000", EntryDraft { data: "\0".to_owned(), ..good.clone() }),
        ("long data", EntryDraft { data: "d".repeat(262_145), ..good.clone() }),
        ("the nil id", EntryDraft { id: text("00000000-0000-0000-0000-000000000000"), ..good.clone() }),
        ("no id", EntryDraft { id: text(""), ..good.clone() }),
        ("a bad level", EntryDraft { level: text("loud"), ..good.clone() }),
        ("a bad time", EntryDraft { created_at: text("noon"), ..good.clone() }),
        ("an unknown transport", EntryDraft { transport: text("amqp"), ..good }),
    ]
}
