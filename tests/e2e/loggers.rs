//! Several loggers on one store, and several nodes of RabbitMQ: one of them may be down, and nobody is refused.

mod name;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use proto::{Direct, Transport};
use rig::{Database, Services};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    DIRECT, client, eventually, process,
    rabbitmq::VirtualHost,
    stack::Stack,
    tls,
    torture::load::{self, Load},
};
use transport::Endpoints;

use crate::{cli, coalescing::scrape};

const LOGGERS: usize = 3;
const CLIENTS: usize = 16;

/// The same entries in every run.
const SEED: u64 = 1;

/// From the loss of a logger on so much time may pass before nobody notices it.
const NOTICED: Duration = Duration::from_secs(1);

/// Some loggers on one PostgreSQL, and a stack that has them. Its own logger stores nothing.
struct Several {
    loggers: Vec<Services>,
    stack: Stack,
    _dirs: Vec<TempDir>,
    _database: Database,
}

impl Several {
    async fn start() -> anyhow::Result<Self> {
        let database = Database::start().await?;
        let mut settings = BTreeMap::from([("LOGGER_STORE", database.url().to_owned())]);
        settings.extend(tls::directory().map(tls::settings).unwrap_or_default());
        let (mut loggers, mut dirs) = (Vec::new(), Vec::new());
        for _ in 0..LOGGERS {
            let dir = tempfile::tempdir()?;
            let mut logger =
                Services::new(process::launch(&settings), settings.clone(), dir.path(), client())?;
            logger.start_logger_unasked().await?;
            loggers.push(logger);
            dirs.push(dir);
        }
        let lists = Direct::ALL.map(Endpoints::setting).map(|setting| (setting, list(&loggers, setting)));
        let given = lists.each_ref().map(|(setting, list)| (*setting, list.as_str()));
        let stack = Stack::start_with(&given).await;
        Ok(Several { loggers, stack, _dirs: dirs, _database: database })
    }

    fn load(&self, transports: &[Transport]) -> Load {
        load::start(&self.stack, transports, CLIENTS, SEED)
    }

    /// What the broker says of a logger.
    async fn says(&self, logger: usize) -> Value {
        self.stack.get("/status").await.body["data"]["loggers"][logger].clone()
    }

    /// Waits until the broker gives a logger calls over each direct transport, or over none.
    async fn until_all(&self, logger: usize, get_calls: bool) {
        let all = json!({ "http": get_calls, "rpc": get_calls, "grpc": get_calls });
        let noticed = async || (self.says(logger).await["transports"] == all).then_some(());
        eventually(&format!("logger {logger} gets calls: {get_calls}"), noticed).await;
    }

    /// How many calls a logger has been given over each direct transport.
    async fn calls(&self, logger: usize) -> Vec<f64> {
        let at = self.loggers[logger].logger_at.http.to_string();
        let shown = scrape(self.stack.broker_at).await;
        let of = |transport: &Transport| {
            let labels = [("transport", transport.as_str()), ("logger", &at)];
            shown.value("transport_logger_calls_total", &labels).unwrap_or_default()
        };
        DIRECT.iter().map(of).collect()
    }
}

/// The list of a setting.
fn list(loggers: &[Services], setting: &str) -> String {
    let urls = loggers.iter().flat_map(Services::logger_urls);
    urls.filter(|(name, _)| *name == setting).map(|(_, url)| url).collect::<Vec<_>>().join(",")
}

/// Whether a load has had no refusal so far, and nothing unknown.
fn is_undisturbed(load: &Load) -> bool {
    // What is accepted is counted first.
    let answered = load.answered();
    load.accepted() >= answered
}

#[tokio::test]
async fn one_of_three_loggers_is_killed_under_load_and_after_a_second_nobody_is_refused() -> anyhow::Result<()>
{
    let mut several = Several::start().await?;
    let load = several.load(&Transport::ALL);
    load.goes_on(200).await?;
    several.loggers[1].logger.kill().await?;
    tokio::time::sleep(NOTICED).await;
    let until_noticed = load.stop().await?;
    let load = several.load(&Transport::ALL);
    load.goes_on(800).await?;
    assert!(is_undisturbed(&load), "{} accepted of {}", load.accepted(), load.answered());
    let listener = several.stack.get_from_listener("/readyz").await;
    assert_eq!(listener.body["detail"]["consuming"], true, "{}", listener.body);
    let mut ledger = load.stop().await?;
    ledger.merge(until_noticed);
    let verdict = load::judge(&several.stack, &ledger).await?;
    assert!(verdict.is_sound(), "{verdict}");
    let status = several.stack.get("/status").await;
    let at = several.loggers[1].logger_at.http;
    assert_eq!(status.message(), format!("no answer: logger {at}"), "{}", status.body);
    assert_eq!(
        status.body["data"]["logger"],
        json!({ "reachable": true, "ready": true, "store": "postgres" })
    );
    several.loggers[1].start_logger_unasked().await?;
    let load = several.load(&DIRECT);
    several.until_all(1, true).await;
    load.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_logger_that_drains_costs_no_entry() -> anyhow::Result<()> {
    let mut several = Several::start().await?;
    let load = several.load(&DIRECT);
    load.goes_on(200).await?;
    several.loggers[0].logger.stop().await?;
    load.goes_on(500).await?;
    let verdict = load::stop(load, &several.stack).await?;
    println!("{verdict}");
    assert!(verdict.is_sound() && verdict.refused == 0, "{verdict}");
    Ok(())
}

#[tokio::test]
async fn a_frozen_logger_gets_no_calls_after_a_second() -> anyhow::Result<()> {
    let several = Several::start().await?;
    let load = several.load(&DIRECT);
    load.goes_on(200).await?;
    several.loggers[2].logger.freeze().await?;
    // Over each transport there is a call that is not answered.
    let begun = Instant::now();
    several.until_all(2, false).await;
    let noticed_after = begun.elapsed();
    let before = several.calls(2).await;
    let earlier = load.stop().await?;
    let load = several.load(&DIRECT);
    load.goes_on(800).await?;
    assert!(is_undisturbed(&load), "{} accepted of {}", load.accepted(), load.answered());
    assert_eq!(several.calls(2).await, before, "it was given calls");
    assert!(several.calls(1).await.iter().all(|calls| *calls > 0.0), "the others were");
    assert!(noticed_after < 5 * NOTICED, "{noticed_after:?}");
    let mut ledger = load.stop().await?;
    ledger.merge(earlier);
    several.loggers[2].logger.signal(Signal::SIGCONT)?;
    several.until_all(2, true).await;
    let verdict = load::judge(&several.stack, &ledger).await?;
    assert!(verdict.is_sound(), "{verdict}");
    Ok(())
}

#[tokio::test]
async fn the_command_takes_the_same_lists_and_any_logger_that_works() {
    let stack = Stack::start_direct(&[]).await;
    let urls = stack.logger_urls();
    let dead = ["http://127.0.0.1:1", "127.0.0.1:1", "http://127.0.0.1:1"];
    let flags = ["--logger-http-url", "--logger-rpc-addr", "--logger-grpc-url"];
    let mut given = Vec::new();
    for ((flag, dead), (_, url)) in flags.into_iter().zip(dead).zip(&urls) {
        let dead = if url.contains("https") { dead.replace("http", "https") } else { dead.to_owned() };
        let dead = if url.starts_with("tls") { format!("tls://{dead}") } else { dead };
        given.extend([flag.to_owned(), format!("{dead},{url}")]);
    }
    let with = |arguments: &[&str]| -> Vec<String> {
        arguments.iter().map(|word| (*word).to_owned()).chain(given.clone()).collect()
    };
    let run = async |arguments: &[&str]| {
        let arguments = with(arguments);
        cli::run(&stack, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    for transport in ["http", "rpc", "grpc"] {
        for _ in 0..3 {
            run(&["send", "--transport", transport, "hello"]).await.ended_with(0);
        }
    }
    std::fs::write(
        stack.dir().join("entries.ndjson"),
        "{\"name\":\"a\",\"data\":\"\"}\n{\"name\":\"b\",\"data\":\"\"}\n",
    )
    .expect("a file");
    for over in ["write-logs", "sync-logs", "http"] {
        run(&["load", "entries.ndjson", "--over", over]).await.ended_with(0);
    }
    for _ in 0..3 {
        let read = run(&["get", "--limit", "100", "--json"]).await.ended_with(0);
        assert_eq!(read.out.lines().count(), 9 + 2, "{}", read.out);
        let until = jiff::Timestamp::now().to_string();
        let told = run(&["tail", "--from-start", "--until", &until, "--json"]).await.ended_with(0);
        assert_eq!(told.out.lines().count(), 9 + 2, "{}", told.out);
    }
    let status = run(&["status"]).await;
    assert!(status.out.contains("1 of 2 loggers down: 127.0.0.1:1"), "{}", status.out);
    // Two of the lists have two, the third has one.
    let uneven = &given[..4];
    let uneven: Vec<&str> = ["get"].into_iter().chain(uneven.iter().map(String::as_str)).collect();
    let told = cli::run(&stack, &uneven).await.ended_with(2);
    assert!(told.err.contains("LOGGER_GRPC_URL 1"), "{}", told.err);
}

#[tokio::test]
async fn of_two_nodes_of_rabbitmq_one_may_be_down() {
    use std::os::unix::fs::PermissionsExt;
    let rabbitmq = VirtualHost::create().await;
    let scheme = if tls::directory().is_some() { "amqps" } else { "amqp" };
    let urls = format!("{scheme}://dead:hidden-word@127.0.0.1:1/elsewhere,{}", rabbitmq.service_url());
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("amqp_url");
    std::fs::write(&file, &urls).expect("a file");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("it is ours");
    let mut stack = Stack::start_on(rabbitmq, &[("AMQP_URL_FILE", &file.display().to_string())]).await;
    // It begins with any of them.
    for _ in 0..4 {
        stack.broker.kill().await.expect("it runs");
        stack.start_broker().await.expect("it starts");
        stack.reaches(&[Transport::Rabbitmq]).await.expect("it finds the one that is there");
        let answer = stack.log(Transport::Rabbitmq, &json!({ "name": "event", "data": "" })).await;
        assert_eq!(answer.outcome(), "queued", "{}", answer.body);
        stack.eventually_stored(answer.id()).await;
    }
    for arguments in [&["send", "--transport", "rabbitmq", "hello"][..], &["dead", "list"]] {
        let both = ["--amqp-url", &urls];
        let ran = cli::run(&stack, &[arguments, &both].concat()).await.ended_with(0);
        assert!(!format!("{ran:?}").contains("hidden-word"), "{ran:?}");
    }
    for log in [stack.broker.log(), stack.listener.log()] {
        assert!(!log.contains("hidden-word"), "{log}");
    }
}
