//! What bad input gets: the same clear answer over all four transports, and nothing stored.

mod protobuf;
mod table;

use proto::{Failure, Transport, grpc, rpc::LogRpcClient};
use serde_json::json;
use tests::{
    client, eventually,
    raw::post_chunked,
    stack::{Answer, Stack},
};
use tokio::net::TcpStream;

use table::{Bad, bad_drafts, body_for, good, too_large};

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
    for bad in table::all() {
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
async fn a_body_with_an_encoding_is_answered_415_that_names_it() {
    let stack = Stack::start_without_listener(&[]).await;
    let entry = r#"{"name":"event","data":""}"#;
    let handle = format!(r#"{{"action":"log","log":{entry}}}"#);
    for (port, path, body) in [
        (stack.broker_at, "/handle", handle.as_str()),
        (stack.broker_at, "/log-grpc", &handle),
        (stack.logger_at.http, "/log", entry),
        (stack.logger_at.http, "/logs", r#"{"entries":[]}"#),
    ] {
        let ask = |encoding: &str| {
            let request = client().post(format!("http://{port}{path}")).header("Content-Encoding", encoding);
            stack.ask(request.body(body.to_owned()))
        };
        let answer = ask("gzip").await;
        assert_eq!((answer.status.as_u16(), answer.code()), (415, "unsupported_encoding"), "{path}");
        assert!(answer.message().contains("\"gzip\""), "{}", answer.message());
        assert_ne!(ask("identity").await.status, 415, "{path}");
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
        let answer = post_chunked(stack.broker_at, "/handle", &body_for(transport, &bad.body)).await;
        chunked.push((format!("{transport}, chunked"), answer));
    }
    assert_eq!(complaint(&bad, 413, &chunked), None);
    nothing_was_stored_or_queued(&stack).await;
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
        ("", "bad_json", "empty body: send"),
        (r#"{"name":"event","data":"text""#, "bad_json", "EOF while parsing"),
        (r#"{"data":"text"}"#, "bad_field", "`name`"),
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
        (format!(r#"{{"entries":[{}]}}"#, vec![good; 1_001].join(",")), "bad_batch", "more than 1000"),
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
