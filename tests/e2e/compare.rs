//! `compare` against a system of which it is known what is wrong with it.

use std::{path::Path, time::Duration};

use ::compare::{
    cell::Keeping,
    config::{Common, Measure},
    load::{Load, Seen, Shape, Subject},
    plan::{BASE_PAYLOAD, Plan},
    reconcile::{self, Found, Place},
    record::Record,
    run::run_plan,
    stack::Site,
};
use chaos::{Fault, Relay};
use proto::Transport;
use tests::{
    process::{binary, faulty_binary},
    rabbitmq::VirtualHost,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long a load takes.
const LOAD: Duration = Duration::from_secs(3);

fn load(site: &Site, transport: Transport, callers: usize) -> Load {
    Load::new(site.broker_at, Subject::Transport(transport), Shape::Closed { callers }, LOAD)
}

fn directory(of: &Path) -> &Path {
    of.parent().expect("a directory")
}

fn held_against_the_store(site: &Site, load: &Load, seen: &Seen) -> Found {
    let found = reconcile::reconcile(site.logger_at, &load.name, Place::Anywhere, seen);
    found.expect("the logger answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousandth_that_is_lost_is_found() {
    let rabbitmq = VirtualHost::create().await;
    let binaries = faulty_binary("logger");
    for (fault, loses) in [(Some("drop-some"), true), (None, false)] {
        let mut site =
            Site::empty(directory(&binaries), &rabbitmq.url(), Keeping::Synced).expect("a directory");
        if let Some(fault) = fault {
            site.set("LOGGER_FAULT", fault.to_owned());
        }
        site.start_logger().await.expect("a logger");
        site.start_broker().await.expect("a broker");
        let load = load(&site, Transport::Grpc, 64);
        let seen = load.run_beside().await.expect("it does not panic");
        let found = held_against_the_store(&site, &load, &seen);
        let dropped = seen.ids.iter().filter(|id| id.as_u128().is_multiple_of(1_000)).count() as u64;
        assert!(seen.ids.len() > 1_000, "{} entries", seen.ids.len());
        assert!(!loses || dropped > 0, "none of {} ids was one to drop", seen.ids.len());
        assert_eq!(found.kept.lost, if loses { dropped } else { 0 }, "{:?}", found.kept);
        assert_eq!(found.kept.is_sound(), found.kept.lost == 0);
        assert_eq!(found.kept.stored + found.kept.lost, seen.ids.len() as u64);
        // The same entries, held against a text of the same length that nobody has sent.
        let other = Seen { texts: seen.texts.iter().map(|text| "~".repeat(text.len())).collect(), ..seen };
        let wrong = held_against_the_store(&site, &load, &other).kept.wrong;
        assert_eq!(wrong, found.kept.stored, "altered entries are found");
    }
}

/// As small as a run can be.
fn plan() -> Plan {
    Plan {
        payloads: vec![BASE_PAYLOAD],
        callers: vec![1],
        batches: Vec::new(),
        rates: Vec::new(),
        repetitions: 2,
        closed: Duration::from_millis(200),
        warm_up: Duration::from_millis(100),
        ..Plan::quick()
    }
}

/// Measures a system that runs already, and reads the report that this leaves.
async fn report_of(site: &Site) -> Record {
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = Measure {
        quick: true,
        full: false,
        common: Common { seed: 1, out: Some(directory.path().to_owned()), binaries: None },
        settings: Vec::new(),
        target: Some(site.broker_at),
        logger: Some(site.logger_at),
        force: true,
    };
    run_plan(&arguments, plan()).await.expect("it can be measured");
    let record = Record::read(directory.path()).expect("a report");
    assert!(record.is_sound(), "{:?}", record.warnings);
    record
}

/// What the report has for one caller, in milliseconds.
fn median_ms(record: &Record, transport: Transport) -> f64 {
    let row = record.grid(Subject::Transport(transport), BASE_PAYLOAD, 1).expect("it was measured");
    let answered = row.latencies(|measured| &measured.answered);
    answered.percentile(0.5).expect("hundreds of requests") as f64 / 1e3
}

#[tokio::test(flavor = "multi_thread")]
async fn milliseconds_on_the_hop_of_one_transport_are_found_in_the_report_as_what_they_are() {
    let rabbitmq = VirtualHost::create().await;
    let binaries = binary("logger");
    let mut site = Site::empty(directory(&binaries), &rabbitmq.url(), Keeping::Synced).expect("a directory");
    site.start_logger().await.expect("a logger");
    let rpc = site.settings().get("LOGGER_RPC_ADDR").and_then(|address| address.parse().ok());
    let relay = Relay::open(rpc.expect("an address")).await.expect("a relay");
    site.set("LOGGER_RPC_ADDR", relay.address().to_string());
    site.start_broker().await.expect("a broker");
    site.start_listener().await.expect("a listener");
    let mut differences = Vec::new();
    // What else this machine does may add to one of the two, and does not each time.
    for _ in 0..4 {
        relay.set_both(Fault::None);
        let before = report_of(&site).await;
        relay.set_both(SLOW);
        let after = report_of(&site).await;
        let by = |transport| median_ms(&after, transport) - median_ms(&before, transport);
        let (slowed, others) = (by(Transport::Rpc), [by(Transport::Http), by(Transport::Grpc)]);
        let known = latency_ms(SLOW).await - latency_ms(Fault::None).await;
        if (slowed / known - 1.0).abs() < 0.25 && others.iter().all(|other| other.abs() < 0.25 * known) {
            return;
        }
        differences.push((known, slowed, others));
    }
    panic!("milliseconds that the hop, rpc, and the others became slower by: {differences:?}");
}

/// A runtime's timer rounds up to whole milliseconds: both ways together, this adds two or more.
const SLOW: Fault = Fault::Latency(Duration::from_micros(500));

/// What a round trip through a relay takes that does so, by a clock that is none of compare's; the median.
async fn latency_ms(fault: Fault) -> f64 {
    const TRIPS: usize = 101;
    let echo = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let relay = Relay::open(echo.local_addr().expect("its address")).await.expect("a relay");
    relay.set_both(fault);
    tokio::spawn(async move {
        let (mut stream, _) = echo.accept().await.expect("a caller");
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    let mut stream = tokio::net::TcpStream::connect(relay.address()).await.expect("a connection");
    let mut trips = Vec::new();
    for _ in 0..TRIPS {
        let begun = std::time::Instant::now();
        stream.write_all(b"?").await.expect("the other end is there");
        stream.read_exact(&mut [0]).await.expect("the other end is there");
        trips.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    ::compare::stats::median(&trips)
}
