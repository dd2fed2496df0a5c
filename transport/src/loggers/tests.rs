//! What becomes of calls to several loggers, which answer as the test says.

use std::{
    net::SocketAddr,
    sync::{
        PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use proto::{Code, EntryDraft, Outcome};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::{
    Endpoints,
    fake::{Logger as Fake, as_ours, refusal, until},
};

/// What a logger answers that is shutting down, to entries and to pings.
fn draining(_: &str, _: &[String]) -> (u16, Value) {
    (503, refusal(Code::Draining))
}

/// As ours, but of a batch the entries named `full` do not fit.
fn nearly_full(path: &str, names: &[String]) -> (u16, Value) {
    let (status, mut body) = as_ours(path, names);
    for (name, result) in names.iter().zip(body["data"]["results"].as_array_mut().into_iter().flatten()) {
        if name == "full" {
            *result = json!({ "code": "storage_full", "message": "no" });
        }
    }
    (status, body)
}

async fn start(answers: impl Fn(&str, &[String]) -> (u16, Value) + Send + Sync + 'static) -> Fake {
    let fake = Fake::start(answers).await;
    fake.answers_all();
    fake
}

fn settings(http: &[String]) -> Settings {
    let of_each = |address: &str| vec![address; http.len()].join(",");
    Settings {
        endpoints: Endpoints {
            logger_http_url: http.join(",").parse().expect("URLs"),
            logger_rpc_addr: of_each("127.0.0.1:1").parse().expect("addresses"),
            logger_grpc_url: of_each("http://127.0.0.1:1").parse().expect("URLs"),
        },
        amqp_url: None,
        tls: None,
        coalesce: true,
        deadline: Duration::from_secs(5),
        came_by: None,
    }
}

fn loggers(fakes: &[Fake]) -> Loggers {
    Loggers::new(&settings(&fakes.iter().map(|fake| format!("http://{}", fake.at)).collect::<Vec<_>>()))
}

fn batch(names: &[&str]) -> Batch<LogEntry> {
    let entry = |name: &&str| {
        let draft = EntryDraft { name: (*name).into(), ..EntryDraft::default() };
        draft.check("2026-01-31T12:00:00Z".parse().expect("a time")).expect("valid")
    };
    Batch::try_from(names.iter().map(entry).collect::<Vec<_>>()).expect("some")
}

impl Loggers {
    async fn sends(&self, names: &[&str], mode: BatchMode) -> Result<Vec<Result<Outcome, Code>>, Code> {
        let until = Instant::now() + Duration::from_secs(5);
        let answer = self.write(Direct::Http, &batch(names), mode, until).await;
        let results = answer.map_err(|failure| failure.code)?.results.into_vec();
        Ok(results.into_iter().map(|result| result.map_err(|failure| failure.code)).collect())
    }

    async fn sends_one(&self, name: &str) -> Result<Outcome, Code> {
        self.sends(&[name], BatchMode::AllOrNone).await.map(|results| results[0].expect("it is Ok"))
    }
}

impl Fake {
    /// The names of the entries that it was sent, pings left out.
    fn got(&self) -> Vec<String> {
        self.asked().into_iter().flat_map(|(_, names)| names).collect()
    }
}

#[tokio::test]
async fn what_one_refuses_goes_on_to_another_and_to_one_alone() {
    let fakes = [start(draining).await, start(draining).await, start(draining).await];
    let loggers = loggers(&fakes);
    let got = || fakes.iter().map(|fake| fake.got().len()).sum::<usize>();
    assert_eq!(loggers.sends_one("first").await, Err(Code::Draining));
    assert_eq!(got(), 2, "two of three have refused it");
    assert_eq!(loggers.sends_one("second").await, Err(Code::Draining));
    assert_eq!(got(), 3, "the third was left");
    assert_eq!(loggers.sends_one("third").await, Err(Code::Draining));
    assert_eq!(got(), 4, "all are out: one of them says so at once");
}

#[tokio::test]
async fn one_that_refuses_is_called_once_and_again_when_it_has_answered_a_ping() {
    let is_draining = Arc::new(AtomicBool::new(true));
    let answers = {
        let is_draining = Arc::clone(&is_draining);
        move |path: &str, names: &[String]| {
            if is_draining.load(Ordering::Relaxed) { draining(path, names) } else { as_ours(path, names) }
        }
    };
    let fakes = [start(answers).await, start(as_ours).await];
    let loggers = loggers(&fakes);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(loggers.sends_one("entry").await, Ok(Outcome::Stored));
    }
    assert_eq!(fakes[0].got().len(), 1, "it got no more");
    let pings = fakes[0].asked().len() - 1;
    assert!((2..=4).contains(&pings), "{pings} in a second");
    assert_eq!(
        loggers.states().iter().map(|logger| logger.transports["http"]).collect::<Vec<_>>(),
        [false, true]
    );
    is_draining.store(false, Ordering::Relaxed);
    until("it gets calls", || loggers.states()[0].transports["http"]).await;
    for _ in 0..100 {
        assert_eq!(loggers.sends_one("entry").await, Ok(Outcome::Stored));
    }
    assert!(fakes[0].got().len() > 20, "{}", fakes[0].got().len());
}

#[tokio::test]
async fn one_that_cannot_be_reached_costs_no_call() {
    let well = start(as_ours).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("its address");
    let loggers = Loggers::new(&settings(&[format!("http://{gone}"), format!("http://{}", well.at)]));
    for _ in 0..50 {
        assert_eq!(loggers.sends_one("entry").await, Ok(Outcome::Stored));
    }
    assert_eq!(loggers.ping(Direct::Http).await, Ok(()));
    assert_eq!(loggers.ping(Direct::Rpc).await.map_err(|failure| failure.code), Err(Code::Unavailable));
}

#[tokio::test]
async fn with_one_logger_nothing_is_counted_and_nobody_is_taken_out() {
    let fakes = [start(draining).await];
    let loggers = loggers(&fakes);
    for _ in 0..20 {
        assert_eq!(loggers.sends_one("entry").await, Err(Code::Draining));
    }
    let now = loggers.now();
    assert!(
        matches!(now, Now::Fixed([only]) if !only.standing(Direct::Http).is_out() && only.calls_are_uncounted())
    );
    assert_eq!(fakes[0].asked().len(), 20, "it was sent no ping, and each call once");
}

#[tokio::test]
async fn what_is_unknown_stays_unknown() {
    // It reads, and closes the connection.
    let fakes = [start(|_, _| (0, Value::Null)).await, start(as_ours).await];
    let loggers = loggers(&fakes);
    let mut unknown = Vec::new();
    for number in 0..50 {
        let name = format!("entry-{number}");
        match loggers.sends_one(&name).await {
            Ok(outcome) => assert_eq!(outcome, Outcome::Stored),
            Err(code) => {
                assert_eq!(code, Code::OutcomeUnknown);
                unknown.push(name);
            }
        }
    }
    assert!(!unknown.is_empty(), "it got some");
    assert_eq!(fakes[0].got(), unknown);
    assert!(fakes[1].got().iter().all(|name| !unknown.contains(name)), "none was sent again");
}

#[tokio::test]
async fn of_a_batch_those_that_are_certainly_not_stored_go_on_together() {
    let fakes = [start(nearly_full).await, start(as_ours).await];
    let loggers = loggers(&fakes);
    // The one with fewer calls in flight gets it.
    let now = loggers.now();
    let _busy = now[1].standing(Direct::Http).begin();
    let sent = loggers.sends(&["good", "full", "conflict", "full", "good"], BatchMode::Each).await;
    let stored = Ok(Outcome::Stored);
    assert_eq!(sent, Ok(vec![stored, stored, Err(Code::Conflict), stored, stored]));
    assert_eq!(fakes[1].asked(), [("/logs".to_owned(), vec!["full".to_owned(); 2])]);
}

#[tokio::test]
async fn a_batch_that_shares_its_fate_goes_on_as_one() {
    let fakes = [start(draining).await, start(as_ours).await];
    let loggers = loggers(&fakes);
    let now = loggers.now();
    let _busy = now[1].standing(Direct::Http).begin();
    let stored = Ok(Outcome::Stored);
    assert_eq!(loggers.sends(&["one", "two"], BatchMode::AllOrNone).await, Ok(vec![stored, stored]));
    assert_eq!((fakes[0].got(), fakes[1].got()), (fakes[1].got(), vec!["one".to_owned(), "two".to_owned()]));
}

#[tokio::test]
async fn a_ping_is_answered_by_any_that_could_store() {
    let fakes = [start(draining).await, start(as_ours).await, start(draining).await];
    assert_eq!(loggers(&fakes).ping(Direct::Http).await, Ok(()));
    let fakes = [start(draining).await, start(draining).await];
    assert_eq!(loggers(&fakes).ping(Direct::Http).await.map_err(|failure| failure.code), Err(Code::Draining));
}

/// A name that leads where the test says.
#[derive(Debug, Clone, Default)]
struct Name(Arc<Mutex<Vec<IpAddr>>>);

impl Name {
    fn leads_to(&self, last: &[u8]) {
        let ips = last.iter().map(|last| IpAddr::from([127, 0, 0, *last])).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ips;
    }

    fn loggers(&self, port: u16) -> Loggers {
        let endpoints = Endpoints {
            logger_http_url: format!("http://loggers.test:{port}").parse().expect("a URL"),
            logger_rpc_addr: "loggers.test:1".parse().expect("an address"),
            logger_grpc_url: "http://loggers.test:1".parse().expect("a URL"),
        };
        let Name(ips) = self.clone();
        let look_up = move |name: String| {
            assert_eq!(name, "loggers.test");
            std::future::ready(Ok(ips.lock().unwrap_or_else(PoisonError::into_inner).clone()))
        };
        Loggers::looked_up_by(
            &Settings { endpoints, ..settings(&["http://127.0.0.1:1".to_owned()]) },
            look_up,
        )
    }
}

#[tokio::test]
async fn a_read_that_is_answered_does_not_put_back_one_that_cannot_store() {
    let reads_alone = |path: &str, names: &[String]| {
        if path.starts_with("/logs?") { (200, json!({})) } else { draining(path, names) }
    };
    let fakes = [start(reads_alone).await, start(reads_alone).await];
    let loggers = loggers(&fakes);
    let get_calls = || loggers.now().iter().filter(|one| one.standing(Direct::Http).takes_calls()).count();
    assert_eq!(loggers.sends_one("entry").await, Err(Code::Draining));
    assert_eq!(get_calls(), 0, "both have refused it");
    for _ in 0..10 {
        let (status, _) = loggers.read("/logs?limit=1").await.expect("it answers");
        assert_eq!((status, get_calls()), (200, 0));
    }
}

#[tokio::test]
async fn each_address_of_a_name_is_a_logger_for_as_long_as_the_name_has_it() {
    let first = start(as_ours).await;
    let port = first.at.port();
    let mut fakes = vec![first];
    for last in 2..=3 {
        let fake = Fake::start_at(&SocketAddr::from(([127, 0, 0, last], port)).to_string(), as_ours).await;
        fake.answers_all();
        fakes.push(fake);
    }
    let name = Name::default();
    name.leads_to(&[1, 2]);
    let loggers = name.loggers(port);
    let addresses = || loggers.states().into_iter().map(|state| state.address).collect::<Vec<_>>();
    let at = |last: u8| format!("127.0.0.{last}:{port}");
    until("both are known", || addresses() == [at(1), at(2)]).await;
    let send = async |count| {
        for _ in 0..count {
            assert_eq!(loggers.sends_one("entry").await, Ok(Outcome::Stored));
        }
        fakes.iter().map(|fake| fake.got().len()).collect::<Vec<_>>()
    };
    let before = send(100).await;
    assert!(before[0] > 20 && before[1] > 20 && before[2] == 0, "{before:?}");
    name.leads_to(&[1, 3]);
    until("another has its place", || addresses() == [at(1), at(3)]).await;
    let labels: Vec<String> = loggers.states().into_iter().map(|state| state.label).collect();
    assert_eq!(labels, [0, 1].map(|number| format!("loggers.test:{port}#{number}")));
    let after = send(100).await;
    assert!(after[1] == before[1] && after[2] > 20, "{after:?}");
}

#[tokio::test]
async fn a_name_with_more_addresses_than_there_may_be_loggers_has_as_many_as_may_be() {
    let name = Name::default();
    name.leads_to(&(1..=40).collect::<Vec<u8>>());
    let loggers = name.loggers(1);
    until("they are known", || loggers.states().len() > 1).await;
    assert_eq!(loggers.states().len(), crate::address::MOST_ADDRESSES);
}
