//! What an operator sees: the text of `/metrics`, the numbers in it, and the names in what we give to Prometheus and
//! Grafana.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use futures_util::stream;
use lapin::BasicProperties;
use proto::{Code, Transport};
use serde_json::{Value, json};
use tests::{
    DIRECT, client, eventually,
    prometheus::{Family, Labels, Query, Scrape, Selector},
    stack::Stack,
    tls,
};

const SERVICES: [&str; 3] = ["broker", "logger", "listener"];

/// How many entries are sent by each transport.
const SENT: usize = 3;

#[tokio::test]
async fn the_numbers_say_what_was_done() {
    let stack = Stack::start().await;
    send_by_each(&stack).await;
    let id = stack.log(Transport::Grpc, &entry()).await.id();
    let other = json!({ "id": id, "name": "event", "data": "other" });
    assert_eq!(stack.log(Transport::Grpc, &other).await.code(), "conflict");
    assert_eq!(stack.log(Transport::Http, &json!([entry(), entry()])).await.status, 202);
    assert_eq!(stack.post("/handle", "no JSON").await.code(), "bad_json");
    let echo = json!({ "action": "echo", "transport": "rpc", "log": entry() });
    assert_eq!(stack.post("/handle", echo.to_string()).await.status, 202);

    let broker = scrape(&stack, "broker").await;
    let expected = [
        ("http", "stored", SENT + 1),
        ("rpc", "stored", SENT),
        ("rabbitmq", "queued", SENT),
        ("grpc", "stored", SENT + 1),
        ("grpc", "conflict", 1),
        ("rpc", "echoed", 1),
        ("none", "bad_json", 1),
    ];
    for (transport, outcome, count) in expected {
        let labels = [("transport", transport), ("outcome", outcome)];
        assert_eq!(broker.value("broker_requests_total", &labels), Some(count as f64), "{labels:?}");
    }
    let requests: usize = expected.iter().map(|(_, _, count)| count).sum();
    assert_eq!(broker.sum("broker_requests_total"), requests as f64, "and nothing besides");
    assert_eq!(
        broker.sum("broker_request_seconds_count"),
        (requests - 1) as f64,
        "all that name a transport"
    );
    assert_eq!(broker.sum("transport_seconds_count"), (requests - 2) as f64, "all that were delivered");
    assert_eq!(broker.sum("transport_in_flight_calls") + broker.sum("transport_waiting_calls"), 0.0);
    assert_eq!(broker.sum("transport_reachable"), Transport::ALL.len() as f64);
    assert_eq!(broker.sum("transport_reconnects_total"), 0.0);

    await_number(&stack, "listener", "listener_stored_total", SENT as f64).await;
    // The place in the queue is given back after the answer.
    await_number(&stack, "logger", "logger_queue_entries", 0.0).await;
    let logger = scrape(&stack, "logger").await;
    for (transport, outcome, count) in [
        ("http", "stored", SENT + 2),
        ("rpc", "stored", SENT),
        ("rabbitmq", "stored", SENT),
        ("grpc", "stored", SENT + 1),
        ("grpc", "conflict", 1),
    ] {
        let labels = [("transport", transport), ("outcome", outcome)];
        assert_eq!(logger.value("logger_entries_total", &labels), Some(count as f64), "{labels:?}");
    }
    assert_eq!(logger.sum("logger_commit_entries_sum"), logger.sum("logger_entries_total"));
    assert_eq!(logger.sum("logger_commit_entries_count"), logger.sum("logger_commit_seconds_count"));
    assert_eq!(logger.sum("logger_store_healthy"), 1.0);
    assert!(logger.sum("logger_store_bytes") > 4_096.0, "a page at least");
}

#[tokio::test]
async fn while_the_logger_is_down_one_sees_what_waits_and_then_who_is_back() {
    const PREFETCH: usize = 4;
    const QUEUED: usize = 10;
    let mut stack = Stack::start_with(&[("LISTENER_PREFETCH", "4")]).await;
    send_by_each(&stack).await;
    stack.rabbitmq.publish("logs_topic", "log.INFO", b"no JSON", BasicProperties::default()).await;
    await_number(&stack, "listener", "listener_stored_total", SENT as f64).await;
    eventually("a dead letter", async || {
        let listener = scrape(&stack, "listener").await;
        let dead = listener.value("listener_dead_letters_total", &[("code", "bad_json")]);
        (dead == Some(1.0)).then_some(())
    })
    .await;

    stack.logger.kill().await.expect("it runs");
    for _ in 0..QUEUED {
        assert_eq!(stack.log(Transport::Rabbitmq, &entry()).await.outcome(), "queued");
    }
    refused_by_all(&stack).await;
    await_number(&stack, "listener", "listener_consuming", 0.0).await;
    eventually("each is held or waits", async || {
        let listener = scrape(&stack, "listener").await;
        let waiting = listener.value("rabbitmq_queue_messages", &[("queue", "logs.entries")])?;
        let held = listener.sum("listener_unacked_deliveries");
        (held <= PREFETCH as f64 && held + waiting == QUEUED as f64).then_some(())
    })
    .await;
    let broker = scrape(&stack, "broker").await;
    assert_eq!(broker.sum("transport_reachable"), 1.0, "RabbitMQ alone");

    stack.start_logger().await.expect("it starts");
    for direct in DIRECT {
        eventually("it is accepted again", async || {
            (stack.log(direct, &entry()).await.status == 202).then_some(())
        })
        .await;
    }
    await_number(&stack, "listener", "listener_stored_total", (SENT + QUEUED) as f64).await;
    await_number(&stack, "listener", "listener_unacked_deliveries", 0.0).await;
    await_depths(&stack, [("logs.entries", 0.0), ("logs.dead", 1.0)]).await;
    let both = "both connections of rpc are back";
    let counts = [("http", 1.0), ("rpc", 2.0), ("rabbitmq", 0.0), ("grpc", 1.0)];
    eventually(both, async || {
        let broker = scrape(&stack, "broker").await;
        let reconnects = |transport| broker.value("transport_reconnects_total", &[("transport", transport)]);
        counts.iter().all(|(transport, count)| reconnects(transport) == Some(*count)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_counts_once_rabbitmq_has_it() {
    const QUEUE_BYTES: usize = 1_000;
    let stack = Stack::start().await;
    stack.rabbitmq.limit_queues(QUEUE_BYTES).await;
    let publish = async |bytes| {
        let body = vec![b'x'; bytes];
        stack.rabbitmq.publish("logs_topic", "log.INFO", &body, BasicProperties::default()).await;
    };
    let counted = async || scrape(&stack, "listener").await.sum("listener_dead_letters_total");
    publish(2 * QUEUE_BYTES).await;
    eventually("the first fills the queue", async || (counted().await == 1.0).then_some(())).await;
    publish(1).await;
    let listener = &stack.listener;
    eventually("the second finds no room", async || {
        listener.log().contains("cannot publish a dead letter").then_some(())
    })
    .await;
    assert_eq!(counted().await, 1.0);
    stack.rabbitmq.get("logs.dead").await.expect("the first");
    eventually("there is room again", async || (counted().await == 2.0).then_some(())).await;
}

#[tokio::test]
async fn streams_are_counted_for_as_long_as_they_are_open() {
    let stack = Stack::start_direct(&[]).await;
    let calls = ["WriteLogs", "SyncLogs", "TailLogs"].map(|call| ("call", call));
    for label in calls {
        await_streams(&stack, label, 0.0).await;
    }
    let [write, sync, tail] = calls;

    let url = format!("{}://{}/logs/stream", tls::scheme(), stack.broker_at);
    let reader = client().get(url).send().await.expect("an answer");
    assert_eq!(reader.status(), 200);
    await_number(&stack, "broker", "broker_open_streams", 1.0).await;
    await_streams(&stack, tail, 1.0).await;
    drop(reader);
    await_number(&stack, "broker", "broker_open_streams", 0.0).await;
    await_streams(&stack, tail, 0.0).await;

    let streams = stack.streams();
    let load = tokio::spawn(async move { streams.write_logs(stream::pending()).await });
    await_streams(&stack, write, 1.0).await;
    load.abort();
    await_streams(&stack, write, 0.0).await;

    let acknowledgements = stack.streams().sync_logs(stream::pending()).await.expect("it begins");
    await_streams(&stack, sync, 1.0).await;
    drop(acknowledgements);
    await_streams(&stack, sync, 0.0).await;
}

async fn await_streams(stack: &Stack, label: (&str, &str), number: f64) {
    eventually(&format!("{} has {number} streams", label.1), async || {
        let open = scrape(stack, "logger").await.value("logger_open_streams", &[label]);
        (open == Some(number)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_name_on_the_page_the_dashboard_and_the_alerts_is_shown_and_every_one_shown_is_on_the_page() {
    let shown = shown_by_a_used_stack().await;
    let mut complaints = Vec::new();
    for (service, scrape) in &shown {
        let described = described(service);
        let found = shown_by(scrape);
        complaints
            .extend(described.difference(&found).map(|wrong| format!("{service}, docs/metrics.md: {wrong}")));
        complaints.extend(found.difference(&described).map(|missing| format!("{service} shows: {missing}")));
    }
    let series = series(&shown);
    for (place, expression, shows) in expressions() {
        match Query::parse(&expression) {
            Ok(query) => complaints.extend(
                unknown_names(&query, &shows, &series).into_iter().map(|name| format!("{place}: {name}")),
            ),
            Err(error) => complaints.push(format!("{place}: {error}: {expression}")),
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[tokio::test]
async fn with_several_loggers_what_the_page_has_of_each_is_shown_besides() {
    let (scheme, tls) = (tls::scheme(), if tls::directory().is_some() { "tls://" } else { "" });
    let lists = [
        ("LOGGER_HTTP_URL", format!("{scheme}://127.0.0.1:1,{scheme}://127.0.0.1:2")),
        ("LOGGER_RPC_ADDR", format!("{tls}127.0.0.1:1,{tls}127.0.0.1:2")),
        ("LOGGER_GRPC_URL", format!("{scheme}://127.0.0.1:1,{scheme}://127.0.0.1:2")),
    ];
    let mut stack = Stack::start_without_listener(&[]).await;
    stack.broker.kill().await.expect("it runs");
    lists.into_iter().for_each(|(setting, list)| stack.set(setting, list));
    stack.start_broker().await.expect("it starts");
    for direct in DIRECT {
        // The first is refused by both.
        assert_eq!(stack.log(direct, &entry()).await.code(), Code::Unavailable.as_str());
    }
    let scrape = scrape(&stack, "broker").await;
    let shown = shown_by(&scrape);
    let described = described_under("### Of broker and listener, with several loggers");
    assert_eq!(described.len(), 4, "{described:?}");
    assert!(described.is_subset(&shown), "{:?}", described.difference(&shown).collect::<Vec<_>>());
    for direct in DIRECT {
        let transport = ("transport", direct.as_str());
        let of = |at| scrape.value("transport_logger_up", &[transport, ("logger", at)]);
        assert_eq!((of("127.0.0.1:1"), of("127.0.0.1:2")), (Some(0.0), Some(0.0)), "{direct}");
        assert_eq!(scrape.value("transport_failovers_total", &[transport]), Some(1.0), "{direct}");
    }
}

#[test]
fn a_name_that_does_not_exist_is_found_out() {
    let shown =
        Scrape::parse("# HELP a_total A\n# TYPE a_total counter\na_total{b=\"c\"} 1\n").expect("sound");
    let series = series(&[("broker", shown)].into());
    let complaints = |expression: &str| {
        let query = Query::parse(expression).expect("an expression");
        unknown_names(&query, &[], &series).len()
    };
    for right in
        ["a_total", "a_total{b=\"c\"}", "sum by (b) (a_total{job=\"broker\",b=~\"c\"})", "up{job=\"logger\"}"]
    {
        assert_eq!(complaints(right), 0, "{right}");
    }
    for wrong in [
        "a",
        "a_total{b=\"d\"}",
        "a_total{d=\"c\"}",
        "a_total{b=~\"c|d\"}",
        "a_total{job=\"logger\"}",
        "up{job=\"RabbitMQ\"}",
        "sum by (d) (a_total)",
    ] {
        assert_eq!(complaints(wrong), 1, "{wrong}");
    }
}

#[test]
fn each_alert_says_what_it_means_and_what_to_do_and_stands_on_the_page() {
    let page = read("docs/metrics.md");
    let alerts = read("deploy/prometheus/alerts.yml");
    let alerts: Vec<&str> = alerts.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 10, "all of them are found");
    for alert in &alerts {
        let name = alert.lines().next().unwrap_or_default();
        for part in ["expr: ", "severity: ", "summary: ", "meaning: ", "action: "] {
            assert_eq!(alert.matches(part).count(), 1, "{name}: {part}");
        }
        assert!(page.contains(&format!("| `{name}` |")), "{name} is on the page");
    }
    assert_eq!(page.matches("| page |").count() + page.matches("| ticket |").count(), alerts.len());
}

/// Prometheus' own word on our rules.
#[tokio::test]
async fn prometheus_takes_the_rules_the_configuration_and_what_is_shown() {
    promtool(&["check", "rules", "deploy/prometheus/alerts.yml"], "");
    promtool(&["check", "config", "deploy/prometheus/prometheus.yml"], "");
    let stack = Stack::start().await;
    send_by_each(&stack).await;
    for service in SERVICES {
        promtool(&["check", "metrics"], &text(&stack, service).await);
    }
}

#[tokio::test]
async fn with_metrics_off_nothing_is_shown_and_entries_go_their_way() {
    let stack = Stack::start_with(&[("METRICS", "off")]).await;
    send_by_each(&stack).await;
    for service in SERVICES {
        let answer = client().get(url(&stack, service)).send().await.expect("an answer");
        assert_eq!(answer.status(), 404, "{service}");
        assert!(answer.text().await.expect("text").contains("METRICS=on"), "{service}");
    }
}

fn entry() -> Value {
    json!({ "name": "event", "data": "" })
}

async fn send_by_each(stack: &Stack) {
    for transport in Transport::ALL {
        for _ in 0..SENT {
            assert_eq!(stack.log(transport, &entry()).await.status, 202);
        }
    }
}

/// Sends by each direct transport until it has noticed that the logger is gone.
async fn refused_by_all(stack: &Stack) {
    for direct in DIRECT {
        eventually("the loss is noticed", async || {
            (stack.log(direct, &entry()).await.code() == Code::Unavailable.as_str()).then_some(())
        })
        .await;
    }
}

fn url(stack: &Stack, service: &str) -> String {
    let address = match service {
        "broker" => stack.broker_at,
        "logger" => stack.logger_at.http,
        _ => stack.listener_at,
    };
    format!("{}://{address}/metrics", tls::scheme())
}

async fn text(stack: &Stack, service: &str) -> String {
    let answer = client().get(url(stack, service)).send().await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4");
    answer.text().await.expect("text")
}

/// What a service shows, which must be in Prometheus' format each time.
async fn scrape(stack: &Stack, service: &str) -> Scrape {
    let text = text(stack, service).await;
    Scrape::parse(&text).unwrap_or_else(|error| panic!("{service}: {error}\n{text}"))
}

async fn await_number(stack: &Stack, service: &str, name: &str, number: f64) {
    let what = format!("{name} is {number}");
    eventually(&what, async || (scrape(stack, service).await.value(name, &[]) == Some(number)).then_some(()))
        .await;
}

async fn await_depths(stack: &Stack, depths: [(&str, f64); 2]) {
    eventually(&format!("the queues have {depths:?}"), async || {
        let listener = scrape(stack, "listener").await;
        let depth = |queue| listener.value("rabbitmq_queue_messages", &[("queue", queue)]);
        depths.iter().all(|(queue, messages)| depth(queue) == Some(*messages)).then_some(())
    })
    .await;
}

/// What the three show after entries over all four transports, a refusal, a dead letter and a restart of the logger.
async fn shown_by_a_used_stack() -> BTreeMap<&'static str, Scrape> {
    let mut stack = Stack::start().await;
    stack.logger.kill().await.expect("it runs");
    refused_by_all(&stack).await;
    stack.start_logger().await.expect("it starts");
    for direct in DIRECT {
        eventually("it is accepted again", async || {
            (stack.log(direct, &entry()).await.status == 202).then_some(())
        })
        .await;
    }
    send_by_each(&stack).await;
    stack.rabbitmq.publish("logs_topic", "log.INFO", b"no JSON", BasicProperties::default()).await;
    await_number(&stack, "listener", "listener_stored_total", SENT as f64).await;
    await_depths(&stack, [("logs.entries", 0.0), ("logs.dead", 1.0)]).await;
    let mut shown = BTreeMap::new();
    for service in SERVICES {
        shown.insert(service, scrape(&stack, service).await);
    }
    shown
}

/// What `docs/metrics.md` says that a service shows with one logger, in the words of the test.
fn described(service: &str) -> BTreeSet<String> {
    const PARTS: [(&str, &[&str]); 5] = [
        ("### Of the broker", &["broker"]),
        ("### Of broker and listener", &["broker", "listener"]),
        ("### Of the logger", &["logger"]),
        ("### Of the listener", &["listener"]),
        ("### Of every service", &SERVICES),
    ];
    let own = PARTS.iter().filter(|(_, services)| services.contains(&service));
    own.flat_map(|(heading, _)| described_under(heading)).collect()
}

/// What stands under a heading of that page.
fn described_under(heading: &str) -> BTreeSet<String> {
    let page = read("docs/metrics.md");
    let (_, part) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{heading}"));
    let part = part.split("\n#").next().unwrap_or(part);
    let rows = part.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let labels: BTreeSet<&str> = cells[3].split('`').skip(1).step_by(2).collect();
        let labels: Vec<&str> = labels.into_iter().collect();
        format!("{} is a {} with the labels {labels:?}", cells[1].trim_matches('`'), cells[2])
    })
    .collect()
}

/// What a service shows, in the same words.
fn shown_by(scrape: &Scrape) -> BTreeSet<String> {
    let in_words = |family: &Family| {
        let labels: Vec<&str> = family.label_names().into_iter().collect();
        format!("{} is a {} with the labels {labels:?}", family.name, family.kind.as_str())
    };
    scrape.families.iter().map(in_words).collect()
}

/// Each expression that we give away: where it stands, it, and the labels that are shown of its result.
fn expressions() -> Vec<(String, String, Vec<String>)> {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/fourwire.json")).expect("JSON");
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let place = format!("the dashboard, {}", panel["title"]);
            let expression = target["expr"].as_str().expect("an expression").to_owned();
            let legend = target["legendFormat"].as_str().expect("a legend");
            let labels = legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}"));
            expressions.push((place, expression, labels.map(|(label, _)| label.to_owned()).collect()));
        }
    }
    assert!(expressions.len() > 40, "all panels are found");
    for alert in read("deploy/prometheus/alerts.yml").split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap_or_default();
        let expression =
            alert.lines().find_map(|line| line.trim().strip_prefix("expr: ")).expect("in one line");
        let labels = alert.split("$labels.").skip(1).filter_map(|rest| rest.split_once(' '));
        let labels = labels.map(|(label, _)| label.to_owned()).collect();
        expressions.push((format!("the alert {name}"), expression.to_owned(), labels));
    }
    expressions
}

/// The labels of every series by the name of its metric, as Prometheus has them: with the job of our configuration.
fn series(shown: &BTreeMap<&str, Scrape>) -> BTreeMap<String, Vec<Labels>> {
    let mut series: BTreeMap<String, Vec<Labels>> = BTreeMap::new();
    let configuration = read("deploy/prometheus/prometheus.yml");
    let own = |job: &str| {
        assert!(configuration.contains(&format!("- job_name: {job}\n")), "{job} is scraped");
        let instance = ("instance".to_owned(), String::new());
        Labels::from([("job".to_owned(), job.to_owned()), instance])
    };
    for service in SERVICES {
        series.entry("up".to_owned()).or_default().push(own(service));
    }
    for (service, scrape) in shown {
        for sample in scrape.samples() {
            let mut labels = own(service);
            labels.extend(sample.labels.clone());
            series.entry(sample.name.clone()).or_default().push(labels);
        }
    }
    series
}

/// What a query names that there is not.
fn unknown_names(query: &Query, shows: &[String], series: &BTreeMap<String, Vec<Labels>>) -> Vec<String> {
    let mut unknown = Vec::new();
    for selector in &query.selectors {
        match series.get(&selector.metric) {
            None => unknown.push(format!("no service shows {}", selector.metric)),
            Some(series) => unknown.extend(unknown_values(selector, series)),
        }
    }
    let of_query = |selector: &Selector| series.get(&selector.metric).into_iter().flatten();
    let known: BTreeSet<&String> = query.selectors.iter().flat_map(of_query).flat_map(Labels::keys).collect();
    let labels = query.labels.iter().chain(shows).filter(|label| !known.contains(label));
    unknown.extend(labels.map(|label| format!("no label {label}")));
    unknown
}

/// The conditions of a selector that no series meets, each word of an alternative for itself.
fn unknown_values(selector: &Selector, series: &[Labels]) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut left: Vec<&Labels> = series.iter().collect();
    for matcher in &selector.matchers {
        let words: Vec<&str> = matcher.value.split('|').collect();
        for word in &words {
            if !left.iter().any(|labels| labels.get(&matcher.label).is_some_and(|value| value == word)) {
                unknown.push(format!("{}{{{}={word:?}}}", selector.metric, matcher.label));
            }
        }
        left.retain(|labels| labels.get(&matcher.label).is_some_and(|value| words.contains(&value.as_str())));
    }
    unknown
}

/// Runs Prometheus' tool in the repository.
fn promtool(arguments: &[&str], input: &str) {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(root()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let tool = command.stderr(Stdio::piped()).spawn();
    let mut tool = tool.expect("promtool is not installed: `sudo deploy/tools.sh` does it");
    tool.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = tool.wait_with_output().expect("it ends");
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}: {told}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
