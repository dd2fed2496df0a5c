//! The description at `/openapi.json` is what the running broker does.

use std::collections::{BTreeMap, BTreeSet};

use proto::Transport;
use serde_json::{Value, json};
use tests::{
    SOON, client, eventually,
    stack::{Answer, Stack},
};
use tokio::{process::Command, time::timeout};
use uuid::Uuid;

#[tokio::test]
async fn the_description_has_exactly_the_routes_of_the_broker() {
    let stack = Stack::start_without_listener(&[]).await;
    let description = stack.get("/openapi.json").await;
    assert_eq!(description.status, 200);
    let version = description.body["openapi"].as_str().expect("a version");
    assert!(version.starts_with("3."), "{version}");
    let paths = description.body["paths"].as_object().expect("paths");
    let described: BTreeMap<&str, BTreeSet<&str>> = paths
        .iter()
        .map(|(path, item)| {
            let methods = item.as_object().expect("an item").keys().map(String::as_str);
            (path.as_str(), methods.filter(|key| *key != "summary" && *key != "description").collect())
        })
        .collect();
    let expected = [
        ("/", "get"),
        ("/", "post"),
        ("/burst", "post"),
        ("/handle", "post"),
        ("/log-grpc", "post"),
        ("/logs", "get"),
        ("/logs/stream", "get"),
        ("/logs/{id}", "get"),
        ("/ping", "get"),
        ("/status", "get"),
    ];
    let mut routes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, method) in expected {
        routes.entry(path).or_default().insert(method);
    }
    assert_eq!(described, routes);
    let text = serde_json::to_string_pretty(&description.body).expect("JSON");
    let phrases: Vec<String> = tests::voice::found_in(&text).iter().map(ToString::to_string).collect();
    assert!(phrases.is_empty(), "{}", phrases.join("\n"));
}

#[tokio::test]
async fn every_answer_is_as_it_is_described() {
    let mut stack = Stack::start().await;
    let description = Description(stack.get("/openapi.json").await.body);
    let mut answers = answers_in_order(&stack).await;
    // So that nobody waits long in the outage.
    stack.set("BROKER_DEADLINE_MS", "500".to_owned());
    stack.broker.kill().await.expect("it runs");
    stack.start_broker().await.expect("it starts");
    for transport in [Transport::Http, Transport::Grpc] {
        eventually("the new broker delivers", async || {
            let answer = stack.log(transport, &json!({ "name": "event", "data": "" })).await;
            (answer.status == 202).then_some(())
        })
        .await;
    }
    answers.extend(answers_in_an_outage(&mut stack).await);
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (method, path, answer) in &answers {
        seen.insert((*path, answer.status.as_u16()));
        for complaint in description.complaints(method, path, answer) {
            wrong.push(format!(
                "{method} {path}: {complaint}: {} {:.300}",
                answer.status,
                answer.body.to_string()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let statuses = |path| seen.range((path, 0)..=(path, 999)).map(|(_, status)| *status).collect::<Vec<_>>();
    assert_eq!(statuses("/handle"), [202, 400, 409, 503, 504], "the test has tried them all");
    assert_eq!(statuses("/log-grpc"), [202, 400, 409, 503, 504]);
    assert_eq!(statuses("/logs"), [200, 400, 503]);
    assert_eq!(statuses("/logs/{id}"), [200, 400, 404, 503]);
}

#[tokio::test]
async fn what_every_address_refuses_beforehand_is_described_there() {
    let stack = Stack::start_without_listener(&[]).await;
    let description = Description(stack.get("/openapi.json").await.body);
    let mut wrong = Vec::new();
    for (path, item) in description.0["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("an item").keys() {
            let at =
                format!("http://{}{}", stack.broker_at, path.replace("{id}", &Uuid::now_v7().to_string()));
            let asked = |at: &str| {
                let method = method.to_uppercase().parse().expect("a method");
                client().request(method, at)
            };
            for (request, status) in [
                (asked(&at).header("origin", "http://evil.example"), 403),
                (asked(&at).header("x-long", "x".repeat(40_000)), 431),
                (asked(&format!("{at}?name={}", "x".repeat(40_000))), 431),
            ] {
                let answer = stack.ask(request).await;
                assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
                let complaints = description.complaints(method, path, &answer);
                wrong.extend(
                    complaints.into_iter().map(|complaint| format!("{method} {path}: {complaint}: {status}")),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_described_form_of_an_answer_is_checked_here() {
    // The check itself: were it blind, the test above could not fail.
    let stack = Stack::start_without_listener(&[]).await;
    let description = Description(stack.get("/openapi.json").await.body);
    let sound = stack.log(Transport::Http, &json!({ "name": "event", "data": "" })).await;
    assert_eq!(description.complaints("post", "/handle", &sound), Vec::<String>::new());
    let change = |pointer: &str, value: Value| {
        let mut answer = sound.clone();
        *answer.body.pointer_mut(pointer).expect(pointer) = value;
        answer
    };
    for broken in [
        change("/error", json!("no")),
        change("/data/transport", json!("amqp")),
        change("/data/timing_us", json!({})),
        change("/data", json!({})),
        Answer { status: 201.try_into().expect("a status"), ..sound.clone() },
    ] {
        let complaints = description.complaints("post", "/handle", &broken);
        assert!(!complaints.is_empty(), "{} {}", broken.status, broken.body);
    }
}

#[tokio::test]
async fn every_limit_that_is_enforced_stands_in_the_description() {
    let stack = Stack::start_direct(&[]).await;
    let description = stack.get("/openapi.json").await.body;
    for (place, limit) in [
        ("/components/schemas/Batch/minItems", json!(1)),
        ("/components/schemas/Batch/maxItems", json!(1_000)),
        ("/components/schemas/Entry/additionalProperties", json!(false)),
        ("/components/schemas/Entry/properties/name/minLength", json!(1)),
        ("/components/schemas/Entry/properties/name/maxLength", json!(256)),
        ("/components/schemas/Entry/properties/name/pattern", json!("^[^\\u0000]*$")),
        ("/components/schemas/Entry/properties/data/maxLength", json!(262_144)),
        ("/components/schemas/Entry/properties/data/pattern", json!("^[^\\u0000]*$")),
        ("/components/schemas/Entry/properties/id/format", json!("uuid")),
        ("/components/schemas/Entry/properties/id/pattern", json!("[1-9a-fA-F]")),
        ("/components/schemas/Entry/properties/created_at/format", json!("date-time")),
        ("/components/schemas/HandleBody/additionalProperties", json!(false)),
        ("/components/schemas/HandleBody/required", json!(["action", "log"])),
        ("/components/schemas/GrpcTransport/enum", json!(["grpc"])),
        ("/components/schemas/Level/enum", json!(["info", "warning", "error"])),
        ("/components/schemas/BurstBody/additionalProperties", json!(false)),
        ("/components/schemas/BurstBody/properties/entries/maximum", json!(2_000)),
        ("/components/schemas/BurstBody/properties/concurrency/maximum", json!(64)),
    ] {
        assert_eq!(description.pointer(place), Some(&limit), "{place}");
    }
    let parameter = |path: &str, name: &str| {
        let all = description["paths"][path]["get"]["parameters"].as_array().expect("parameters");
        all.iter().find(|parameter| parameter["name"] == name).expect(name)["schema"].clone()
    };
    for path in ["/logs", "/logs/stream"] {
        assert_eq!(parameter(path, "name")["maxLength"], 256);
        assert_eq!(parameter(path, "contains")["maxLength"], 4_096);
        assert_eq!(parameter(path, "level")["$ref"], "#/components/schemas/Level");
        assert_eq!(parameter(path, "transport")["$ref"], "#/components/schemas/Transport");
    }
    assert_eq!(parameter("/logs", "limit")["maximum"], 1_000);
    assert_eq!(parameter("/logs", "cursor")["pattern"], "^[1-9][0-9]{0,17}$");
    assert_eq!(parameter("/logs/stream", "after")["pattern"], "^(0|[1-9][0-9]{0,17})$");

    // What is just within them is taken, and what is just beyond is not.
    let entry = |field: &str, value: Value| {
        let mut entry = json!({ "name": "event", "data": "" });
        entry[field] = value;
        entry
    };
    let id = |id: &str| entry("id", json!(id));
    for (log, taken) in [
        (json!([]), false),
        (json!(vec![entry("data", json!(1)); 1_000]), true),
        (json!(vec![entry("data", json!(1)); 1_001]), false),
        (entry("name", json!("")), false),
        (entry("name", json!("n".repeat(256))), true),
        (entry("name", json!("n".repeat(257))), false),
        (entry("name", json!("a\u{0}")), false),
        (entry("data", json!("d".repeat(262_144))), true),
        (entry("data", json!("d".repeat(262_145))), false),
        (entry("data", json!("\u{0}")), false),
        (entry("data", json!({ "\u{0}": [null, "\u{0}"] })), true),
        (id("00000000-0000-0000-0000-000000000001"), true),
        (id("00000000-0000-0000-0000-000000000000"), false),
        (entry("colour", json!("red")), false),
    ] {
        let body = json!({ "action": "echo", "log": log }).to_string();
        for path in ["/handle", "/log-grpc"] {
            let answer = stack.post(path, body.clone()).await;
            let status = if taken { 202 } else { 400 };
            assert_eq!(answer.status, status, "{path}: {body:.200}: {}", answer.body);
        }
    }
    let repeated = |count: usize| "%D0%B6".repeat(count);
    for (query, taken) in [
        (format!("name={}", repeated(256)), true),
        (format!("name={}", repeated(257)), false),
        (format!("contains={}", repeated(4_096)), true),
        (format!("contains={}", repeated(4_097)), false),
        ("limit=1000".to_owned(), true),
        ("limit=1001".to_owned(), false),
        ("cursor=999999999999999999".to_owned(), true),
        ("cursor=1000000000000000000".to_owned(), false),
        ("cursor=0".to_owned(), false),
        // Each is within its limits: no entry meets both.
        ("since=2026-01-31T12:00:01Z&until=2026-01-31T12:00:00Z".to_owned(), true),
    ] {
        let answer = stack.get(&format!("/logs?{query}")).await;
        assert_eq!(answer.status, if taken { 200 } else { 400 }, "{query:.80}: {}", answer.body);
    }
}

/// A test suite of others makes requests of the description: those that keep to it must be accepted, those that do not
/// refused, and no answer may be another than is described.
#[tokio::test]
#[ignore = "needs schemathesis, which `make schemathesis` installs"]
async fn a_foreign_test_suite_finds_no_difference_between_the_description_and_the_broker() {
    let program = std::env::var_os("SCHEMATHESIS").expect("`make schemathesis` says where it is");
    let stack = Stack::start().await;
    let run = Command::new(program)
        .args(["run", &format!("http://{}/openapi.json", stack.broker_at), "--max-examples", "60"])
        .args(["--exclude-path", "/logs/stream", "--exclude-path", "/burst", "--no-color"])
        .current_dir(stack.dir())
        .kill_on_drop(true)
        .output();
    let output = timeout(20 * SOON, run).await.expect("it ends").expect("it can be run");
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

type Answered = (&'static str, &'static str, Answer);

/// What every address answers while all is well.
async fn answers_in_order(stack: &Stack) -> Vec<Answered> {
    let entry = json!({ "id": Uuid::now_v7(), "name": "event", "data": "text" });
    let other = json!({ "id": entry["id"], "name": "event", "data": "other" });
    let batch = json!([{ "name": "event", "data": "" }, { "name": "event", "data": "" }]);
    let echo = json!({ "action": "echo", "log": entry });
    let grpc = |log: &Value| json!({ "action": "log", "log": log }).to_string();
    let stored = stack.log(Transport::Http, &entry).await;
    let id = stored.id();
    let mut answers = vec![("post", "/handle", stored)];
    for transport in Transport::ALL {
        answers.push(("post", "/handle", stack.log(transport, &entry).await));
        answers.push(("post", "/handle", stack.log(transport, &batch).await));
    }
    answers.push(("post", "/handle", stack.post("/handle", echo.to_string()).await));
    answers.push(("post", "/handle", stack.log(Transport::Rpc, &other).await));
    answers.push(("post", "/handle", stack.log(Transport::Http, &json!([entry, { "name": "" }])).await));
    answers.push(("post", "/handle", stack.post("/handle", "{").await));
    answers.push(("post", "/log-grpc", stack.post("/log-grpc", grpc(&entry)).await));
    answers.push(("post", "/log-grpc", stack.post("/log-grpc", grpc(&other)).await));
    answers.push(("post", "/log-grpc", stack.post("/log-grpc", "{").await));
    answers.push(("get", "/logs", stack.get("/logs?limit=1").await));
    answers.push(("get", "/logs", stack.get("/logs?name=none").await));
    answers.push(("get", "/logs", stack.get("/logs?limit=0").await));
    answers.push(("get", "/logs", stack.get("/logs?page=2").await));
    answers.push(("get", "/logs/{id}", stack.get(&format!("/logs/{id}")).await));
    answers.push(("get", "/logs/{id}", stack.get(&format!("/logs/{}", Uuid::now_v7())).await));
    answers.push(("get", "/logs/{id}", stack.get("/logs/7").await));
    answers.push(("post", "/", stack.post("/", "").await));
    answers.push(("get", "/", stack.get("/").await));
    answers.push(("get", "/ping", stack.get("/ping").await));
    answers.push(("get", "/status", stack.get("/status").await));
    answers
}

/// What the addresses answer while the logger is frozen, and then dead.
async fn answers_in_an_outage(stack: &mut Stack) -> Vec<Answered> {
    let entry = json!({ "name": "event", "data": "text" });
    let grpc = json!({ "action": "log", "log": entry }).to_string();
    stack.logger.freeze().await.expect("it runs");
    let mut answers = vec![("post", "/handle", stack.log(Transport::Http, &entry).await)];
    answers.push(("post", "/log-grpc", stack.post("/log-grpc", grpc.clone()).await));
    answers.push(("get", "/logs", stack.get("/logs").await));
    stack.logger.kill().await.expect("it runs");
    let refused = eventually("the broker knows that the logger is gone", async || {
        Some(stack.post("/log-grpc", grpc.clone()).await).filter(|answer| answer.status == 503)
    });
    answers.push(("post", "/log-grpc", refused.await));
    let refused = eventually("the broker knows that the logger is gone", async || {
        Some(stack.log(Transport::Http, &entry).await).filter(|answer| answer.status == 503)
    });
    answers.push(("post", "/handle", refused.await));
    answers.push(("post", "/handle", stack.log(Transport::Http, &json!([entry, entry])).await));
    answers.push(("get", "/logs", stack.get("/logs").await));
    answers.push(("get", "/logs/{id}", stack.get(&format!("/logs/{}", Uuid::now_v7())).await));
    answers.push(("get", "/status", stack.get("/status").await));
    answers
}

/// The document at `/openapi.json`.
pub(crate) struct Description(pub(crate) Value);

impl Description {
    /// What about an answer is not as described.
    pub(crate) fn complaints(&self, method: &str, path: &str, answer: &Answer) -> Vec<String> {
        let responses = &self.0["paths"][path][method]["responses"];
        let Some(response) = responses.get(answer.status.as_str()) else {
            return vec!["its status is not described".to_owned()];
        };
        let content = &response["content"];
        let mut complaints = Vec::new();
        let media_type = answer.headers["content-type"].to_str().expect("text");
        match content.as_object().and_then(|types| types.keys().find(|own| media_type.starts_with(*own))) {
            None => complaints.push(format!("its content type {media_type} is not described")),
            Some(media_type) if media_type == "application/json" => {
                complaints.extend(self.deviations(&content[media_type]["schema"], &answer.body, "body"));
            }
            Some(_) => {}
        }
        complaints
    }

    /// Where a value is not of a schema. It knows as much of JSON Schema as the description uses.
    fn deviations(&self, schema: &Value, value: &Value, place: &str) -> Vec<String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.0.pointer(reference.trim_start_matches('#'));
            let target = target.unwrap_or_else(|| panic!("{reference} leads nowhere"));
            return self.deviations(target, value, place);
        }
        let mut deviations = Vec::new();
        for choice in ["oneOf", "anyOf"].iter().filter_map(|word| schema[*word].as_array()) {
            if !choice.iter().any(|schema| self.deviations(schema, value, place).is_empty()) {
                deviations.push(format!("{place} has none of its forms"));
            }
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            deviations.extend(self.deviations(part, value, place));
        }
        if !is_of_type(&schema["type"], value) {
            deviations.push(format!("{place} is no {}", schema["type"]));
        }
        if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
            deviations.push(format!("{place} is none of {}", schema["enum"]));
        }
        if let Some(items) = value.as_array().filter(|_| schema["items"].is_object()) {
            let own = |(index, item)| self.deviations(&schema["items"], item, &format!("{place}[{index}]"));
            deviations.extend(items.iter().enumerate().flat_map(own));
        }
        if let Some(object) = value.as_object().filter(|_| schema["properties"].is_object()) {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            deviations.extend(
                required
                    .filter(|name| !object.contains_key(*name))
                    .map(|name| format!("{place} has no {name}")),
            );
            for (name, value) in object {
                match schema["properties"].get(name) {
                    Some(schema) => {
                        deviations.extend(self.deviations(schema, value, &format!("{place}.{name}")))
                    }
                    None => deviations.push(format!("{place}.{name} is not described")),
                }
            }
        }
        deviations
    }
}

/// `type` is one word or several.
fn is_of_type(types: &Value, value: &Value) -> bool {
    let is = |word: &Value| match word.as_str().unwrap_or_default() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("unknown type {other:?}"),
    };
    types.is_null() || types.as_array().map_or_else(|| is(types), |words| words.iter().any(is))
}
