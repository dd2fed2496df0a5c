//! `fourwire explain`.

use base64::{Engine, engine::general_purpose::STANDARD};
use proto::Transport;
use tests::eventually;

use super::*;

for_each_transport!(every_byte_of_an_entry_is_explained);

/// What it has printed as JSON.
struct Explained {
    units: Vec<Value>,
    sums: Value,
}

impl From<&Ran> for Explained {
    fn from(ran: &Ran) -> Self {
        let lines = ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let mut units: Vec<Value> = lines.collect();
        let sums = units.pop().expect("the sums are last")["sums"].clone();
        Explained { units, sums }
    }
}

impl Explained {
    /// The bytes of a purpose, both ways.
    fn bytes(&self, part: &str, purpose: &str) -> u64 {
        let ways = ["to_server", "to_client"].map(|to| self.sums[part][to][purpose].as_u64());
        ways.into_iter().flatten().sum()
    }

    /// Where a unit is that goes one way and has these words anywhere in it.
    fn position(&self, to: &str, words: &str) -> usize {
        let is_it = |unit: &Value| unit["to"] == to && unit.to_string().contains(words);
        self.units
            .iter()
            .position(is_it)
            .unwrap_or_else(|| panic!("no {words} to the {to}: {:#?}", self.units))
    }
}

async fn every_byte_of_an_entry_is_explained(transport: Transport) {
    let stack = Stack::start().await;
    let name = format!("explained over {transport}");
    let transport = transport.as_str();
    let arguments = [
        "explain",
        "--transport",
        transport,
        "--name",
        &name,
        "--data",
        "a byte",
        "--json",
        "--save",
        "saved.ndjson",
    ];
    let ran = run(&stack, &arguments).await.ended_with(0);
    let explained = Explained::from(&ran);
    assert_eq!(explained.bytes("all", "unread"), 0, "{ran:?}");
    if tls::directory().is_some() {
        assert!(explained.bytes("all", "encrypted") > 0 && !ran.out.contains("a byte"), "{ran:?}");
    } else {
        let own = (name.len() + "a byte".len()) as u64;
        for part in ["entry 1", "entry 2"] {
            assert_eq!(explained.bytes(part, "entry"), own, "{part}: {ran:?}");
        }
        assert!(explained.bytes("entry 1", "framing") > 0, "{ran:?}");
        for unit in explained.units.iter().map(ToString::to_string) {
            assert!(!unit.contains("declare") || unit.contains(r#""part":"opening""#), "of no entry: {unit}");
        }
    }
    // The entries are real ones.
    let stored = async || {
        let entries = stack.all_stored().await;
        (entries.iter().filter(|entry| entry.name == name).count() == 2).then_some(())
    };
    eventually("both are stored", stored).await;
    // And the recording says the same.
    let again = run(&stack, &["explain", "--read", "saved.ndjson", "--json"]).await.ended_with(0);
    assert_eq!(Explained::from(&again).sums, explained.sums);
    let text =
        run(&stack, &["explain", "--read", "saved.ndjson", "--all", "--bytes"]).await.ended_with(0).out;
    assert!(
        text.contains("bytes by purpose") && text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
}

#[tokio::test]
async fn every_byte_of_net_rpc_is_explained() {
    if tls::directory().is_some() {
        return;
    }
    let stack = Stack::start_direct(&[]).await;
    let address = format!("netrpc://{}", stack.logger_at.netrpc);
    let arguments =
        ["explain", "--transport", "rpc", "--logger-rpc-addr", &address, "--entries", "2", "--json"];
    let named = ["--name", "event", "--data", "hello", "--save", "saved.ndjson"];
    let ran = run(&stack, &[&arguments[..], &named[..]].concat()).await.ended_with(0);
    let explained = Explained::from(&ran);
    assert_eq!(explained.bytes("all", "unread"), 0, "{ran:?}");
    for to in ["to_server", "to_client"] {
        for part in ["entry 1", "entry 2"] {
            assert!(
                explained.sums[part][to].as_object().is_some_and(|sums| !sums.is_empty()),
                "{part} {to}: {ran:?}"
            );
        }
    }
    assert_eq!(explained.bytes("entry 2", "entry"), ("event".len() + "hello".len()) as u64, "{ran:?}");
    // A call, and its response: the method's name goes both ways.
    explained.position("server", "RPCServer.LogInfo");
    explained.position("client", "RPCServer.LogInfo");
    let saved = std::fs::read_to_string(stack.dir().join("saved.ndjson")).expect("it was saved");
    assert!(saved.contains(r#""wire":"netrpc""#), "{saved}");
    let again = run(&stack, &["explain", "--read", "saved.ndjson", "--json"]).await.ended_with(0);
    assert_eq!(Explained::from(&again).sums, explained.sums);
}

#[tokio::test]
async fn every_call_of_grpc_is_explained() {
    if tls::directory().is_some() {
        // Only records can be seen.
        return;
    }
    let stack = Stack::start_direct(&[]).await;
    for (call, entries) in [("write-batch", 1), ("write-logs", 1), ("sync-logs", 2), ("tail-logs", 2)] {
        let arguments = ["explain", "--transport", "grpc", "--call", call, "--entries", "3", "--json"];
        let ran = run(&stack, &[&arguments[..], &["--name", "event", "--data", "hello"]].concat()).await;
        let ran = ran.ended_with(0);
        let explained = Explained::from(&ran);
        assert_eq!(explained.bytes("all", "unread"), 0, "{call}: {ran:?}");
        // A tail asks for the name, and gets entries.
        let own = 3 * ("event".len() + "hello".len()) as u64 + if call == "tail-logs" { 5 } else { 0 };
        assert_eq!(explained.bytes("all", "entry"), own, "{call}: {ran:?}");
        assert!(explained.units.len() > entries, "{call}");
        if call == "sync-logs" {
            let first_answer = explained.position("client", "SyncResponse");
            let last_entry = explained.units.iter().rposition(|unit| unit.to_string().contains("LogRequest"));
            assert!(first_answer < last_entry.expect("entries were sent"), "both ways at once: {ran:?}");
        }
    }
}

#[tokio::test]
async fn no_password_is_shown_or_saved() {
    const PASSWORD: &str = "correct-horse-9f27";
    if tls::directory().is_some() {
        return;
    }
    let stack = Stack::start_without_listener(&[]).await;
    let url = stack.rabbitmq.url_of_user("explained", PASSWORD).await;
    let saved = stack.dir().join("saved.ndjson");
    for form in [&["--all"][..], &["--all", "--bytes"], &["--json", "--bytes"]] {
        let arguments = ["explain", "--transport", "rabbitmq", "--amqp-url", &url, "--save", "saved.ndjson"];
        let ran = run(&stack, &[&arguments[..], form].concat()).await.ended_with(0);
        let saved = std::fs::read_to_string(&saved).expect("it was saved");
        let all = format!("{}{}{saved}", ran.out, ran.err);
        // It has gone this way: the user is told.
        assert!(all.contains("explained") && all.contains("PLAIN as"), "{all}");
        let hexadecimal: String = PASSWORD.bytes().map(|byte| format!("{byte:02x}")).collect();
        let spaced: Vec<_> = PASSWORD.bytes().map(|byte| format!("{byte:02x}")).collect();
        for secret in [PASSWORD.to_owned(), hexadecimal, spaced.join(" "), STANDARD.encode(PASSWORD)] {
            assert!(!all.contains(&secret), "{secret} in {all}");
        }
    }
}

#[tokio::test]
async fn where_nothing_listens_it_says_what_to_do() {
    let mut stack = Stack::start_direct(&[]).await;
    stack.logger.kill().await.expect("it runs");
    for transport in ["http", "rpc", "grpc"] {
        let ran = run(&stack, &["explain", "--transport", transport]).await.ended_with(3);
        assert!(ran.err.contains("make run") && ran.err.contains("Connection refused"), "{ran:?}");
        assert_eq!(ran.out, "", "{ran:?}");
    }
    let nowhere = ["explain", "--transport", "rabbitmq", "--amqp-url", "amqp://guest:secret@127.0.0.1:1"];
    let ran = run(&stack, &nowhere).await.ended_with(3);
    assert!(ran.err.contains("AMQP_URL") && !ran.err.contains("secret"), "{ran:?}");
}
