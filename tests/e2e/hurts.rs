//! The nine hurts of the course's users, each with a test that shows it gone.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use lapin::BasicProperties;
use nix::sys::signal::Signal;
use proto::Transport;
use rig::{Process, Services, Verdict};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    DIRECT, client, eventually, process,
    rabbitmq::VirtualHost,
    stack::Stack,
    torture::{
        load::{self, Load},
        under_load::kill_listener_in_mid_batch,
    },
};
use uuid::Uuid;

// ---- Hurt 1: queued is read as done ----------------------------------------------------------------------

#[tokio::test]
async fn queued_is_not_read_as_done() {
    let mut stack = Stack::start_without_listener(&[]).await;
    let answer = stack.log(Transport::Rabbitmq, &json!({ "name": "event", "data": "text" })).await;
    assert_eq!((answer.status.as_u16(), answer.outcome()), (202, "queued"));
    assert!(
        answer.message().contains("queued") && !answer.message().contains("stored"),
        "{}",
        answer.message()
    );
    assert_eq!(stack.stored(answer.id()).await, None);
    // Nobody listens, and it is there.
    eventually("the message is in the queue", async || {
        (stack.rabbitmq.depth("logs.entries").await == 1).then_some(())
    })
    .await;
    stack.start_listener().await.expect("it starts");
    stack.eventually_stored(answer.id()).await;
}

// ---- Hurt 2: entries die with the listener ---------------------------------------------------------------

#[tokio::test]
async fn kill_9_of_the_listener_under_load_loses_nothing() {
    let mut stack = Stack::start().await;
    let load = load_over_rabbitmq(&stack);
    for _ in 0..3 {
        load.goes_on(100).await.expect("it goes on");
        kill_listener_in_mid_batch(&mut stack, &load).await.expect("it comes back");
        load.goes_on(100).await.expect("it goes on");
        stack.start_listener().await.expect("it starts");
    }
    load.goes_on(100).await.expect("it goes on");
    all_are_stored_once(&stack, load).await;
}

#[tokio::test]
async fn what_is_queued_while_the_logger_is_down_is_stored_when_it_is_back() {
    let mut stack = Stack::start().await;
    stack.logger.kill().await.expect("it runs");
    let load = load_over_rabbitmq(&stack);
    load.goes_on(100).await.expect("it goes on");
    stack.start_logger().await.expect("it starts");
    load.goes_on(100).await.expect("it goes on");
    all_are_stored_once(&stack, load).await;
}

// ---- Hurt 3: two listeners store every entry twice -------------------------------------------------------

#[tokio::test]
async fn two_listeners_store_every_entry_once() {
    let mut stack = Stack::start().await;
    let mut first = std::mem::take(&mut stack.listener);
    // Beside the first, which has the stack's own port.
    stack.set("LISTENER_HTTP_LISTEN", "127.0.0.1:0".to_owned());
    stack.start_listener().await.expect("it starts");
    let load = load_over_rabbitmq(&stack);
    load.goes_on(100).await.expect("it goes on");
    let stored = all_are_stored_once(&stack, load).await;
    let entries = stack.all_stored().await;
    assert!(entries.iter().all(|entry| entry.attempts == 1), "no entry is handed over twice");
    let second = &mut stack.listener;
    // They count once RabbitMQ has been told, which may come after what the store shows.
    let counted = async || {
        let both = (stored_by(&mut first).await, stored_by(second).await);
        (both.0 + both.1 == stored).then_some(both)
    };
    let (first, second) = eventually("both have counted all", counted).await;
    assert!(first > 0 && second > 0, "they share the work: {first} and {second}");
}

/// How many entries a listener has stored, by its own count.
async fn stored_by(listener: &mut Process) -> usize {
    let address = listener.ready().await.expect("it is ready")["http"];
    let metrics = client().get(format!("http://{address}/metrics")).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    let count = metrics.lines().find_map(|line| line.strip_prefix("listener_stored_total "));
    count.and_then(|count| count.parse().ok()).unwrap_or_default()
}

// ---- Hurt 4: nobody comes back after a restart of RabbitMQ -----------------------------------------------

#[tokio::test]
async fn after_a_restart_of_rabbitmq_broker_and_listener_go_on() {
    /// One that is as long as a restart, and short ones, since what breaks depends on the moment.
    const OUTAGES_MS: [u64; 8] = [1_000, 50, 50, 50, 50, 50, 50, 50];
    let mut stack = Stack::start_direct(&[]).await;
    let relay = stack.relay(Transport::Rabbitmq).await.expect("a relay");
    stack.broker.kill().await.expect("it runs");
    stack.start_broker().await.expect("it starts");
    stack.reaches(&[Transport::Rabbitmq]).await.expect("it is ready");
    stack.start_listener().await.expect("it starts");
    let load = load_over_rabbitmq(&stack);
    for outage_ms in OUTAGES_MS {
        load.goes_on(100).await.expect("it goes on");
        relay.refuse();
        eventually("the broker says that RabbitMQ is gone", async || {
            let answer = stack.log(Transport::Rabbitmq, &json!({ "name": "event", "data": "" })).await;
            (answer.status == 503).then(|| assert_eq!(answer.code(), "unavailable"))
        })
        .await;
        for transport in DIRECT {
            let answer = stack.log(transport, &json!({ "name": "event", "data": "" })).await;
            assert_eq!(answer.outcome(), "stored", "{transport} does without RabbitMQ");
        }
        // Not a wait for something: so long is the outage.
        tokio::time::sleep(Duration::from_millis(outage_ms)).await;
        relay.admit();
    }
    load.goes_on(100).await.expect("it goes on");
    let verdict = load::stop(load, &stack).await.expect("it can be judged");
    // To the journal, the entries that were sent besides are phantoms.
    assert!(Verdict { phantom: 0, ..verdict }.is_sound(), "{verdict}");
    assert!(verdict.stored - verdict.phantom >= verdict.accepted, "none is a dead letter: {verdict}");
}

// ---- Hurt 5: every entry dials anew ----------------------------------------------------------------------

#[tokio::test]
async fn a_kept_connection_is_used() {
    const ENTRIES: usize = 200;
    let mut stack = Stack::start_direct(&[]).await;
    let mut relays = Vec::new();
    for transport in Transport::ALL {
        relays.push((transport, stack.relay(transport).await.expect("a relay")));
    }
    stack.broker.kill().await.expect("it runs");
    stack.start_broker().await.expect("it starts");
    for (transport, relay) in relays {
        stack.reaches(&[transport]).await.expect("it is ready");
        for _ in 0..ENTRIES {
            let answer = stack.log(transport, &json!({ "name": "event", "data": "text" })).await;
            assert_eq!(answer.status, 202, "{}", answer.body);
        }
        // A socket that leaks with each entry is a connection for each entry.
        let dialled = relay.accepted();
        assert!((1..=3).contains(&dialled), "{transport} has dialled {dialled} times for {ENTRIES} entries");
    }
}

// ---- Hurt 6: a logger that is down hangs the caller ------------------------------------------------------

#[tokio::test]
async fn a_logger_that_is_down_is_answered_at_once() {
    let mut stack = Stack::start_without_listener(&[]).await;
    stack.logger.kill().await.expect("it runs");
    let entry = json!({ "name": "event", "data": "text" });
    for transport in DIRECT {
        eventually("the broker has seen that the logger is gone", async || {
            (stack.log(transport, &entry).await.status == 503).then_some(())
        })
        .await;
        let mut took = Vec::new();
        for _ in 0..20 {
            let answer = stack.log(transport, &entry).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (503, "unavailable"), "{transport}");
            assert!(answer.headers.contains_key("retry-after"));
            took.push(answer.took);
        }
        // The machine may stall now and then.
        took.sort_unstable();
        assert!(took[took.len() / 2] < Duration::from_secs(1), "{transport}: {took:?}");
    }
    let answer = stack.log(Transport::Rabbitmq, &entry).await;
    assert_eq!((answer.status.as_u16(), answer.outcome()), (202, "queued"));
}

#[tokio::test]
async fn a_logger_that_is_frozen_is_answered_within_the_deadline() {
    const DEADLINE: Duration = Duration::from_millis(1_000);
    /// What a busy machine adds; without the setting it would be four seconds at least.
    const SLACK: Duration = Duration::from_millis(2_500);
    let stack = Stack::start_without_listener(&[("BROKER_DEADLINE_MS", "1000")]).await;
    stack.logger.freeze().await.expect("it runs");
    let ids = DIRECT.map(|transport| (transport, Uuid::now_v7()));
    let entry = |id| json!({ "id": id, "name": "event", "data": "text" });
    join_all(ids.map(async |(transport, id)| {
        // The machine may stall now and then: the fastest of some counts.
        let mut fastest = Duration::MAX;
        for _ in 0..3 {
            let answer = stack.log(transport, &entry(id)).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (504, "outcome_unknown"), "{transport}");
            assert_eq!(answer.id(), id);
            fastest = fastest.min(answer.took);
        }
        assert!(fastest < DEADLINE + SLACK, "{transport}: {fastest:?}");
    }))
    .await;
    stack.logger.signal(Signal::SIGCONT).expect("it runs");
    for (transport, id) in ids {
        // The same id again is safe, whatever became of the first.
        let outcome = eventually("the logger answers again", async || {
            let answer = stack.log(transport, &entry(id)).await;
            (answer.status == 202).then(|| answer.outcome().to_owned())
        });
        assert!(["stored", "duplicate"].contains(&outcome.await.as_str()), "{transport}");
    }
    assert_eq!(stack.all_stored().await.len(), DIRECT.len());
}

// ---- Hurt 7: malformed JSON is stored as an empty entry --------------------------------------------------

#[tokio::test]
async fn malformed_json_is_refused_and_a_poison_message_goes_to_the_dead_letters() {
    let stack = Stack::start().await;
    let answer = stack.post("/handle", r#"{"action":"log","log":{"name":"event","data":"#).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, "bad_json"));
    let properties = BasicProperties::default;
    let good = |name: &str| format!(r#"{{"name":"{name}","data":"text"}}"#);
    for (at, (poison, code)) in [
        (&b"{\"name\":\"event\",\"data\":"[..], "bad_json"),
        (b"", "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (b"{\"data\":\"text\"}", "bad_field"),
        (b"{\"name\":\"\",\"data\":\"text\"}", "invalid_entry"),
    ]
    .into_iter()
    .enumerate()
    {
        let (before, after) = (format!("before {at}"), format!("after {at}"));
        stack.rabbitmq.publish("logs_topic", "log.INFO", good(&before).as_bytes(), properties()).await;
        stack.rabbitmq.publish("logs_topic", "log.ERROR", poison, properties()).await;
        stack.rabbitmq.publish("logs_topic", "log.INFO", good(&after).as_bytes(), properties()).await;
        let dead = eventually("a dead letter", async || stack.rabbitmq.get("logs.dead").await).await;
        assert_eq!(dead.delivery.data, poison, "it is kept as it came");
        let headers = dead.delivery.properties.headers().clone().expect("headers");
        let header = |name: &str| headers.inner()[name].as_long_string().expect("text").to_string();
        assert_eq!(header("x-code"), code);
        assert!(!header("x-reason").is_empty());
        eventually("its neighbours are stored", async || {
            let names: Vec<String> = stack.all_stored().await.into_iter().map(|entry| entry.name).collect();
            (names.contains(&before) && names.contains(&after)).then_some(())
        })
        .await;
    }
    assert_eq!(stack.all_stored().await.len(), 10, "and nothing else is");
}

// ---- Hurt 8: to change the transport, one rebuilds -------------------------------------------------------

#[tokio::test]
async fn the_transport_is_switched_by_one_word() {
    let stack = Stack::start_with(&[("BROKER_DEFAULT_TRANSPORT", "grpc")]).await;
    let body = r#"{"action":"log","transport":"WORD","log":{"name":"event","data":"text"}}"#;
    for transport in Transport::ALL {
        let answer = stack.post("/handle", body.replace("WORD", transport.as_str())).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert_eq!(stack.eventually_stored(answer.id()).await.transport, transport);
    }
    // Left out, it is the one of the setting.
    let answer = stack.post("/handle", body.replace(r#""transport":"WORD","#, "")).await;
    assert_eq!(stack.eventually_stored(answer.id()).await.transport, Transport::Grpc);
}

// ---- Hurt 9: services must be started in order -----------------------------------------------------------
// That a taken port is named with its setting: see settings.rs.

#[tokio::test]
async fn services_may_start_in_any_order() {
    for order in [
        ["logger", "listener", "broker"],
        ["logger", "broker", "listener"],
        ["listener", "logger", "broker"],
        ["listener", "broker", "logger"],
        ["broker", "logger", "listener"],
        ["broker", "listener", "logger"],
    ] {
        let mut services = Loose::new(VirtualHost::create().await.url());
        for service in order {
            services.start(service).await;
        }
        for transport in Transport::ALL {
            services.eventually_deliver(transport).await;
        }
    }
}

#[tokio::test]
async fn rabbitmq_may_be_there_last() {
    let rabbitmq = VirtualHost::create().await;
    let (relay, url) = rabbitmq.relay().await;
    relay.refuse();
    let mut services = Loose::new(url);
    for service in ["broker", "listener", "logger"] {
        services.start(service).await;
    }
    for transport in DIRECT {
        services.eventually_deliver(transport).await;
    }
    let (status, body) = services.log(Transport::Rabbitmq).await;
    assert_eq!((status, &body["data"]["code"]), (503, &json!("unavailable")));
    relay.admit();
    services.eventually_deliver(Transport::Rabbitmq).await;
}

/// Services that are started one by one.
struct Loose {
    services: Services,
    _dir: TempDir,
}

impl Loose {
    fn new(amqp_url: String) -> Self {
        let (dir, settings) = (tempfile::tempdir().expect("a directory"), [("AMQP_URL", amqp_url)]);
        let launch = process::launch(&BTreeMap::from(settings.clone()));
        let services = Services::new(launch, settings, dir.path(), client()).expect("free ports");
        Loose { services, _dir: dir }
    }

    async fn start(&mut self, service: &str) {
        let started = match service {
            "logger" => self.services.start_logger_unasked().await,
            "broker" => self.services.start_broker().await,
            _ => self.services.launch_listener().await,
        };
        started.expect("it starts");
    }

    async fn log(&self, transport: Transport) -> (u16, Value) {
        let body = json!({ "action": "log", "transport": transport, "log": { "name": "event", "data": "" } });
        self.ask(client().post(format!("http://{}/handle", self.services.broker_at)).json(&body)).await
    }

    async fn eventually_deliver(&self, transport: Transport) {
        let what = format!("{transport} delivers");
        let id = eventually(&what, async || {
            let (status, body) = self.log(transport).await;
            (status == 202).then(|| body["data"]["id"].as_str().expect("an id").to_owned())
        });
        let url = format!("http://{}/logs/{}", self.services.broker_at, id.await);
        eventually(&format!("what went by {transport} is stored"), async || {
            let (status, body) = self.ask(client().get(&url)).await;
            (status == 200).then(|| assert_eq!(body["data"]["transport"], transport.as_str()))
        })
        .await;
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }
}

// ---- What several of them need ---------------------------------------------------------------------------

/// Four callers that log over RabbitMQ, with the same entries in every run.
fn load_over_rabbitmq(stack: &Stack) -> Load {
    load::start(stack, &[Transport::Rabbitmq], 4, 1)
}

/// Fails unless every entry of a load was accepted or certainly not stored, and what was accepted is stored and
/// nothing else; says how many that are.
async fn all_are_stored_once(stack: &Stack, load: Load) -> usize {
    let verdict = load::stop(load, stack).await.expect("it can be judged");
    assert!(verdict.is_sound() && verdict.unknown == 0, "{verdict}");
    assert_eq!(verdict.stored, verdict.accepted, "none is a dead letter: {verdict}");
    verdict.stored
}
