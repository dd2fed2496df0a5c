use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    gob::{Fields, STRING, UINT, put_definition, put_int, put_message, put_text},
    *,
};
use crate::{EntryDraft, LogEntry, Transport};

/// What Go's own clients and servers have sent, by release of Go, case, and direction.
fn golden() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let lines = include_str!("golden.txt").lines().filter(|line| !line.starts_with('#'));
    let captured = lines.map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let [case, direction, length, hex] = words[..] else { panic!("{line}") };
        let bytes = unhex(hex);
        assert_eq!(length.parse(), Ok(bytes.len()), "{case} {direction}");
        (case, direction, bytes)
    });
    captured.collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

/// The conversations of one direction, each with all that was sent on its connection.
fn conversations(direction: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut all: Vec<(&str, Vec<u8>)> = Vec::new();
    for (case, of, bytes) in golden() {
        if of != direction {
            continue;
        }
        // What goes on defines no header again.
        match all.last_mut() {
            Some((last, sent)) if *last == case && bytes[0] == 0x18 => sent.extend(bytes),
            _ => all.push((case, bytes)),
        }
    }
    all
}

/// Gives the bytes in pieces, and takes what comes out until they are used up.
fn read<T>(
    bytes: &[u8],
    piece: usize,
    mut next: impl FnMut(&mut BytesMut) -> Result<Option<T>, NotGob>,
) -> Result<Vec<T>, NotGob> {
    let (mut received, mut read) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        received.extend_from_slice(piece);
        while let Some(one) = next(&mut received)? {
            read.push(one);
        }
    }
    Ok(read)
}

fn calls(bytes: &[u8], piece: usize) -> Result<Vec<Call>, NotGob> {
    let mut requests = Requests::default();
    let calls = read(bytes, piece, |received| requests.next(received));
    assert!(calls.is_err() || !requests.is_within_a_call());
    calls
}

/// The name and data of an entry that is asked to be stored, or the error.
fn asked(call: &Call) -> Result<(&str, &str), &str> {
    match &call.request {
        Ok(Request::Write(draft)) => Ok((&draft.name, &draft.data)),
        Ok(Request::Ping) => panic!("no ping was sent"),
        Err(text) => Err(text),
    }
}

#[test]
fn what_gos_own_clients_send_is_understood_however_it_is_cut() {
    let expected = [
        ("1", 0, 1, Ok(("event", "Some kind of data"))),
        ("2", 0, 2, Ok(("event", "1"))),
        ("3", 0, 1, Ok(("event", "x"))),
        ("4", 0, 1, Ok(("event", "x"))),
        ("5", 0, 1, Ok(("", "x"))),
        ("6", 0, 1, Ok(("event", ""))),
        ("7", 0, 1, Ok(("", ""))),
        ("8", 0, 2, Err("rpc: can't find method RPCServer.Nothing")),
        ("9", 0, 2, Err("a struct is expected")),
        ("10", 0, 1, Err("a struct is expected")),
        ("11", 0, 1, Ok(("event", "x"))),
        ("13", 0, 5, Ok(("n4", "x"))),
        ("14", 0, 2, Ok(("event", "x"))),
        ("1", 1, 1, Ok(("event", "Some kind of data"))),
        ("2", 1, 1, Ok(("event", "x"))),
        ("3", 1, 2, Err("rpc: can't find method RPCServer.Nothing")),
    ];
    let mut seen = BTreeMap::<&str, usize>::new();
    for (case, bytes) in conversations(">") {
        let again = seen.entry(case).or_default();
        let found = expected.iter().find(|(of, time, ..)| (of, time) == (&case, again));
        let (_, _, count, first) = found.unwrap_or_else(|| panic!("case {case}"));
        *again += 1;
        let whole = calls(&bytes, bytes.len()).unwrap_or_else(|error| panic!("case {case}: {error}"));
        assert_eq!(whole.len(), *count, "case {case}");
        match (asked(&whole[0]), first) {
            (Err(text), Err(part)) => assert!(text.contains(part), "case {case}: {text}"),
            (asked, first) => assert_eq!(asked, *first, "case {case}"),
        }
        for piece in [1, 2, 3, 7, 50] {
            assert_eq!(calls(&bytes, piece).as_ref(), Ok(&whole), "case {case} in pieces of {piece}");
        }
    }
    assert_eq!(seen.values().sum::<usize>(), expected.len());
}

#[test]
fn answers_are_byte_for_byte_those_of_gos_own_server() {
    // The answers in the order in which Go has given them.
    let answers = |of: &[(&str, u64, Result<&str, &str>)]| {
        let (mut answers, mut out) = (Answers::default(), Vec::new());
        for (method, seq, result) in of {
            answers.put(&Header { method: (*method).to_owned(), seq: *seq }, *result, &mut out);
        }
        out
    };
    let event = reply("event");
    let golden = conversations("<");
    let of = |case| &golden.iter().find(|(found, _)| *found == case).expect("it was captured").1;
    assert_eq!(&answers(&[(LOG_INFO, 0, Ok(&event))]), of("1"));
    assert_eq!(&answers(&[(LOG_INFO, 0, Ok(&event)), (LOG_INFO, 1, Ok(&event))]), of("2"));
    assert_eq!(&answers(&[(LOG_INFO, 0, Ok(&reply("")))]), of("5"));
    let nothing = "RPCServer.Nothing";
    let missing = format!("{NO_METHOD}{nothing}");
    assert_eq!(&answers(&[(nothing, 0, Err(&missing)), (LOG_INFO, 1, Ok(&event))]), of("8"));
}

#[test]
fn what_gos_own_servers_answer_is_understood_however_it_is_cut() {
    for (case, bytes) in conversations("<") {
        let answers = |piece| {
            let mut responses = Responses::default();
            read(&bytes, piece, |received| responses.next(received)).unwrap_or_else(|error| panic!("{error}"))
        };
        let whole = answers(bytes.len());
        for piece in [1, 2, 5, 60] {
            assert_eq!(answers(piece), whole, "case {case}");
        }
        match case {
            "3" | "8" if whole.len() == 2 => {
                let text = "rpc: can't find method RPCServer.Nothing".to_owned();
                assert_eq!(whole[0], Answer { seq: 0, result: Err(text) });
                assert_eq!(whole[1], Answer { seq: 1, result: Ok(()) });
            }
            "9" | "10" => {
                assert!(
                    whole[0].result.as_ref().is_err_and(|text| text.contains("got non-struct")),
                    "{whole:?}"
                );
            }
            "13" => {
                let mut answered: Vec<_> = whole.iter().map(|answer| answer.seq).collect();
                assert_eq!(answered[..2], [4, 0], "in the order of their own");
                answered.sort_unstable();
                assert_eq!(answered, (0..5).collect::<Vec<_>>());
            }
            _ => assert!(whole.iter().all(|answer| answer.result.is_ok()), "case {case}: {whole:?}"),
        }
    }
}

fn entry() -> LogEntry {
    let draft = EntryDraft {
        name: "event".to_owned(),
        data: "some data".to_owned(),
        id: Some("0197f5c1-5d3a-7c6e-8a54-2f1b6c0d9e7a".to_owned()),
        created_at: Some("2026-01-31T12:00:00Z".to_owned()),
        ..EntryDraft::default()
    };
    draft.check(jiff::Timestamp::UNIX_EPOCH).expect("within the limits")
}

#[test]
fn calls_are_byte_for_byte_those_of_gos_own_encoder() {
    // gob.Encoder of Go 1.19.8, given the header and a struct of these six strings.
    let golden = "2fff81030101075265717565737401ff82000102010d536572766963654d6574686f64010c000103536571010600000016ff8201\
        115250435365727665722e4c6f67496e666f0077ff830301010a5250435061796c6f616401ff8400010601044e616d65010c0001044461\
        7461010c00010a466f7572776972654944010c00010d466f7572776972654c6576656c010c000111466f75727769726543726561746564\
        4174010c000111466f7572776972655472616e73706f7274010c00000061ff8401056576656e740109736f6d6520646174610124303139\
        37663563312d356433612d376336652d386135342d3266316236633064396537610104696e666f0114323032362d30312d33315431323a\
        30303a30305a01087261626269746d7100";
    let mut out = Vec::new();
    Calls::default().put(0, Ask::Write(&entry(), Some(Transport::Rabbitmq)), &mut out);
    assert_eq!(out, unhex(golden));
}

#[test]
fn what_our_client_sends_is_what_our_logger_reads() {
    let (mut sent, mut out) = (Calls::default(), Vec::new());
    sent.put(0, Ask::Alive, &mut out);
    sent.put(1, Ask::Ping, &mut out);
    sent.put(2, Ask::Write(&entry(), None), &mut out);
    sent.put(u64::MAX, Ask::Write(&entry(), Some(Transport::Rabbitmq)), &mut out);
    let calls = calls(&out, 11).expect("our own calls");
    assert_eq!(calls.iter().map(|call| call.header.seq).collect::<Vec<_>>(), [0, 1, 2, u64::MAX]);
    let text = calls[0].request.as_ref().expect_err("no such call");
    assert!(is_no_such_call(text) && text.ends_with("Fourwire.Alive"), "{text}");
    assert_eq!(calls[1].request, Ok(Request::Ping));
    for (call, transport) in [(&calls[2], None), (&calls[3], Some("rabbitmq"))] {
        let Ok(Request::Write(draft)) = &call.request else { panic!("{call:?}") };
        assert_eq!(draft.transport.as_deref(), transport);
        assert_eq!(draft.clone().check(jiff::Timestamp::UNIX_EPOCH), Ok(entry()));
    }
}

#[test]
fn an_error_says_what_it_says_where_it_is_ours_and_is_unknown_where_it_is_not() {
    for code in Code::ALL {
        for told in [Failure::new(code, "what [happened]"), Failure::advising(code, "what happened")] {
            assert_eq!(failure(&error_text(&told), "the logger", "LOGGER_RPC_ADDR"), told);
        }
    }
    let certain = failure("rpc: can't find service RPCServer.LogInfo", "the logger", "LOGGER_RPC_ADDR");
    assert_eq!((certain.code, certain.certainty()), (Code::NoSuchCall, crate::Certainty::NotStored));
    for text in ["mongo is down", "server selection error [unknown]", "can't find service", "]", "[]"] {
        let foreign = failure(text, "the logger", "LOGGER_RPC_ADDR");
        assert_eq!(
            (foreign.code, foreign.message().contains(text)),
            (Code::OutcomeUnknown, true),
            "{text:?}"
        );
    }
}

/// A call with this body, which is the content of its message.
fn call_with(body: &[u8]) -> Vec<u8> {
    let mut sent = call_prefix();
    put_message(&mut sent, |out| out.extend_from_slice(body));
    sent
}

#[test]
fn a_body_that_is_wrong_is_an_error_of_its_call_alone() {
    let good = {
        let mut out = Vec::new();
        let mut calls = Calls { header_is_defined: true, payload_is_defined: false };
        calls.put(1, Ask::Write(&entry(), None), &mut out);
        out
    };
    let string = |text: &str| {
        let mut body = vec![0x0c, 0];
        put_text(&mut body, text);
        body
    };
    let too_long = "x".repeat(BODY_BYTES + 1);
    for (what, body, expected) in [
        ("a string", string("text"), "a struct is expected"),
        ("a type that was not defined", vec![0xff, 0xf0, 0], "a struct is expected"),
        ("a body that is too long", string(&too_long), "too_large"),
        ("nothing but a type", vec![0x0c], "a struct is expected"),
    ] {
        let sent = [call_with(&body), good.clone()].concat();
        for piece in [1_000, sent.len()] {
            let calls = calls(&sent, piece).unwrap_or_else(|error| panic!("{what}: {error}"));
            let text = calls[0].request.as_ref().expect_err(what);
            assert!(text.contains(expected), "{what}: {text}");
            assert!(matches!(calls[1].request, Ok(Request::Write(_))), "{what}");
        }
    }
}

/// A call whose payload has these fields, and its value in bytes.
fn call_of(fields: &[(&str, i64)], value: &[u8]) -> Result<Call, NotGob> {
    let mut sent = call_prefix();
    put_definition(&mut sent, BODY, "Payload", fields);
    put_message(&mut sent, |out| {
        put_int(out, BODY);
        out.extend_from_slice(value);
    });
    Ok(calls(&sent, 64)?.remove(0))
}

#[test]
fn a_payload_is_judged_as_gos_server_does() {
    let error = |fields: &[(&str, i64)], value: &[u8]| {
        call_of(fields, value).expect("the stream goes on").request.expect_err("it is refused")
    };
    // No field matches; a field of another type; and bytes that are no text, which Go lets pass.
    assert!(error(&[("Nom", STRING)], &[1, 1, b'x', 0]).contains("no field matches"));
    assert!(error(&[("Name", UINT)], &[1, 7, 0]).contains("Name is not a string [bad_field]"));
    assert!(error(&[("Data", STRING)], &[1, 1, 0xff, 0]).contains("Data is not UTF-8 [bad_field]"));
    // The value: a field that the type does not have, a length beyond the end, a value that is cut, and bytes after it.
    let fields = [("Name", STRING), ("Data", STRING)];
    for value in [
        &[3, 1, b'x', 0][..],
        &[1, 0x7f, b'x', 0],
        &[1],
        &[1, 1, b'x', 0, 0],
        &[0xf8, 255, 255, 255, 255, 255, 255, 255, 255, 0],
    ] {
        assert!(error(&fields, value).contains("not readable as gob"), "{value:?}");
    }
    // In any order, and other fields are skipped.
    let fields = [("Extra", 2), ("Data", STRING), ("F", 4), ("C", 7), ("Name", STRING), ("B", 5)];
    let value = [1, 4, 1, 1, b'd', 1, 0xfe, 0xf0, 0x3f, 1, 1, 2, 1, 1, b'n', 1, 2, 0xff, 0xff, 0];
    let call = call_of(&fields, &value).expect("it is gob");
    assert_eq!(asked(&call), Ok(("n", "d")));
    // A struct without fields is one with empty ones.
    assert_eq!(asked(&call_of(&[], &[0]).expect("it is gob")), Ok(("", "")));
}

/// What a definition of a type of Go's `wireType` begins with: length, id, and kind.
fn definition(id: i64, rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, |out| {
        put_int(out, -id);
        out.extend_from_slice(rest);
    });
    out
}

#[test]
fn type_bombs_end_their_stream_before_they_take_memory() {
    let ends = |what: &str, bytes: &[u8]| {
        let mut requests = Requests::default();
        let read = read(bytes, 4_096, |received| requests.next(received));
        assert!(read.is_err(), "{what}: {read:?}");
        assert!(requests.held_bytes() < 1024 * 1024, "{what}: {} bytes", requests.held_bytes());
    };
    let mut many = Vec::new();
    for id in 64..64 + 65 {
        put_definition(&mut many, id, "T", &[("A", STRING)]);
    }
    ends("65 types", &many);
    let long: Vec<(String, i64)> = (0..4_000).map(|number| (format!("F{number}"), STRING)).collect();
    let fields: Vec<(&str, i64)> = long.iter().map(|(name, id)| (name.as_str(), *id)).collect();
    let mut large = Vec::new();
    put_definition(&mut large, 64, "T", &fields);
    ends("a definition of 40 KiB", &large);
    let mut twice = Vec::new();
    put_definition(&mut twice, 64, "T", &[]);
    ends("a type that is defined twice", &twice.repeat(2));
    let mut own = Vec::new();
    put_definition(&mut own, 23, "T", &[]);
    ends("a type of Go's own", &own);
    // A struct that announces 2^60 fields; a list of nothing; one of an unknown kind; one without end.
    ends("2^60 fields", &definition(64, &[3, 1, 0, 1, 0xf8, 16, 0, 0, 0, 0, 0, 0, 0, 0]));
    ends("a list of nothing", &definition(64, &[2, 1, 0, 0, 0]));
    ends("an unknown kind", &definition(64, &[9, 1, 0, 0, 0]));
    ends("nothing", &definition(64, &[0]));
    ends("a name without end", &definition(64, &[3, 1, 1, 0x7f, b'x']));
    ends("a message of no bytes", &[0]);
    ends("a length of 2^63", &[0xf8, 128, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    ends("a length of 9 bytes", &[0xf7, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    ends("a header of 32 MiB", &[0xfc, 2, 0, 0, 0, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn values_that_nest_without_end_and_counts_without_things_are_refused() {
    // A list of itself: [ [ [ ... ] ] ].
    let mut nested = call_prefix();
    nested.extend(definition(70, &[2, 1, 0, 1, 0xff, 140, 0, 0]));
    put_definition(&mut nested, BODY, "P", &[("Name", STRING), ("L", 70)]);
    let body = |value: &[u8]| {
        let mut sent = nested.clone();
        put_message(&mut sent, |out| {
            put_int(out, BODY);
            out.extend_from_slice(value);
        });
        calls(&sent, 1_000).expect("the stream goes on").remove(0).request
    };
    let deep = |levels: usize| {
        let mut value = vec![1, 1, b'n', 1];
        value.extend(std::iter::repeat_n(1, levels));
        value.extend([0, 0]);
        body(&value)
    };
    assert!(deep(20).is_ok());
    assert!(deep(40).expect_err("40 levels").contains("nests too deeply"));
    let huge = body(&[1, 1, b'n', 1, 0xf8, 16, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(huge.expect_err("2^60 things").contains("a count of more than there is"));
}

/// The definition and the header of a call that stores an entry.
fn call_prefix() -> Vec<u8> {
    let mut sent = Vec::new();
    put_definition(&mut sent, HEADER, "Request", &[("ServiceMethod", STRING), ("Seq", UINT)]);
    put_message(&mut sent, |out| {
        put_int(out, HEADER);
        Fields::new(out).text(0, LOG_INFO).end();
    });
    sent
}

#[test]
fn an_interface_is_skipped_with_the_types_that_it_defines() {
    let mut sent = call_prefix();
    put_definition(&mut sent, BODY, "P", &[("Any", 8), ("Name", STRING)]);
    put_message(&mut sent, |out| {
        put_int(out, BODY);
        // A name, a definition in place, the length of what follows, an id, and a value with its length.
        out.extend([1, 1, b'T']);
        let mut defined = Vec::new();
        put_definition(&mut defined, 90, "T", &[("A", STRING)]);
        out.extend_from_slice(&defined[1..]);
        out.extend([7, 0xff, 180, 4, 1, 1, b'a', 0]);
        out.extend([1, 1, b'n', 0]);
    });
    let call = calls(&sent, 5).expect("it is gob").remove(0);
    assert_eq!(asked(&call), Ok(("n", "")));
}

/// Two calls of Go's own client with a time, a struct in a struct, a slice, an array and a map of these, numbers of all kinds,
/// and an interface whose type is defined within the value of the first: there Go begins messages more.
fn calls_of_everything() -> Vec<u8> {
    golden().into_iter().find(|(case, ..)| *case == "14").expect("it was captured").2
}

#[test]
fn whatever_else_go_can_send_along_is_skipped() {
    let calls = calls(&calls_of_everything(), 9).expect("it is gob");
    assert_eq!(calls.iter().map(asked).collect::<Vec<_>>(), [Ok(("event", "x")), Ok(("again", "x"))]);
    assert_eq!(calls.iter().map(|call| call.header.seq).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_body_that_nobody_reads_is_of_as_many_messages_all_the_same() {
    let mut sent = calls_of_everything();
    let method = |at: &usize| sent[*at..].starts_with(LOG_INFO.as_bytes());
    let methods: Vec<usize> = (0..sent.len()).filter(method).collect();
    // The answer to the second names it, so nothing was taken for a header that is none.
    for (at, name) in methods.into_iter().zip(["RPCServer.Nothing", LOG_INFO]) {
        sent[at..at + name.len()].copy_from_slice(name.as_bytes());
    }
    let calls = calls(&sent, 30).expect("it is gob");
    assert!(calls[0].request.as_ref().is_err_and(|text| is_no_such_call(text)), "{calls:?}");
    assert_eq!((calls.len(), asked(&calls[1]), calls[1].header.seq), (2, Ok(("again", "x")), 1));
}

#[test]
fn a_value_that_never_ends_and_a_header_that_is_none_end_their_stream() {
    // Each message ends with the definition of a type, so that another must come.
    let endless = |filler: usize| {
        let mut sent = call_prefix();
        put_definition(&mut sent, BODY, "P", &[("Name", STRING), ("Any", 8)]);
        for id in 70..140 {
            put_message(&mut sent, |out| {
                if id == 70 {
                    put_int(out, BODY);
                    out.push(1);
                    put_text(out, &"n".repeat(filler));
                    // The second field: an interface of a type named T.
                    out.extend([1, 1, b'T']);
                }
                let mut definition = Vec::new();
                put_definition(&mut definition, id, "T", &[("A", STRING)]);
                // Without its length.
                out.extend_from_slice(&definition[1..]);
            });
        }
        let mut requests = Requests::default();
        let read = read(&sent, 1_000, |received| requests.next(received));
        assert!(requests.held_bytes() < 2 * BODY_BYTES, "{} bytes", requests.held_bytes());
        read
    };
    // Its last types are too many: the call has an error, and what follows is no header.
    assert!(endless(10).is_err(), "{:?}", endless(10));
    assert_eq!(endless(BODY_BYTES - 100), Err(NotGob("a value of several messages is too long")));
    let mut other = Vec::new();
    put_definition(&mut other, HEADER, "Response", &[("Nothing", STRING)]);
    put_message(&mut other, |out| {
        put_int(out, HEADER);
        out.push(0);
    });
    assert!(calls(&other, 9).is_err());
}

#[test]
fn a_number_may_be_longer_than_it_must_be() {
    let mut sent = Vec::new();
    put_definition(&mut sent, HEADER, "Request", &[("ServiceMethod", STRING), ("Seq", UINT)]);
    put_message(&mut sent, |out| {
        put_int(out, HEADER);
        out.push(1);
        put_text(out, LOG_INFO);
        // Five, in eight bytes.
        out.extend([1, 0xf8, 0, 0, 0, 0, 0, 0, 0, 5, 0]);
    });
    put_definition(&mut sent, BODY, "P", &[("Name", STRING)]);
    put_message(&mut sent, |out| {
        put_int(out, BODY);
        // A length of one, in two bytes.
        out.extend([1, 0xfe, 0, 1, b'n', 0]);
    });
    let calls = calls(&sent, 5).expect("it is gob");
    assert_eq!((calls[0].header.seq, asked(&calls[0])), (5, Ok(("n", ""))));
}

proptest! {
    #[test]
    fn an_entry_arrives_as_it_was_sent(name in "[^\0]{1,60}", data in "[^\0]{0,400}", seq: u64, piece in 1..200_usize) {
        let entry = EntryDraft { name, data, ..EntryDraft::default() };
        let entry = entry.check(jiff::Timestamp::now()).expect("within the limits");
        let mut out = Vec::new();
        Calls::default().put(seq, Ask::Write(&entry, None), &mut out);
        let call = calls(&out, piece).expect("our own").remove(0);
        prop_assert_eq!(call.header.seq, seq);
        let Ok(Request::Write(draft)) = call.request else { panic!("it was to be written") };
        prop_assert_eq!(draft.check(jiff::Timestamp::UNIX_EPOCH), Ok(entry));
    }

    #[test]
    fn an_answer_arrives_as_it_was_sent(text in ".{0,300}", seq: u64, failed: bool, piece in 1..200_usize) {
        let result = if failed && !text.is_empty() { Err(text.as_str()) } else { Ok(text.as_str()) };
        let (mut answers, mut out, mut responses) = (Answers::default(), Vec::new(), Responses::default());
        answers.put(&Header { method: LOG_INFO.to_owned(), seq }, result, &mut out);
        let read = read(&out, piece, |received| responses.next(received)).expect("our own");
        prop_assert_eq!(read, [Answer { seq, result: result.map(drop).map_err(str::to_owned) }]);
    }

    #[test]
    fn garbage_is_refused_or_waits_for_more(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut requests = Requests::default();
        let _ = read(&bytes, 7, |received| requests.next(received));
        let mut responses = Responses::default();
        let _ = read(&bytes, 7, |received| responses.next(received));
    }
}
