//! What measures time, and so needs the machine for itself: `make test` runs these one after the other, beside nothing.

use std::time::Duration;

use ::compare::{
    cell::Keeping,
    config::{Common, Measure},
    peer::wrk,
    plan::Plan,
    record::Record,
    run::run_plan,
    stack::Site,
    stats::median,
    workload::{BASE_PAYLOAD, Subject},
};
use proto::Transport;
use rig::{Direction, Fault, Held, Relay};
use serde_json::json;
use tests::{binaries::binary, rabbitmq::VirtualHost, stack::Stack};

use crate::burst::{events, measured};

/// As small as a run can be.
fn plan() -> Plan {
    Plan {
        payloads: vec![BASE_PAYLOAD],
        callers: vec![1],
        batches: Vec::new(),
        rates: Vec::new(),
        repetitions: 2,
        closed: Duration::from_millis(600),
        warm_up: Duration::from_millis(100),
        ..Plan::quick()
    }
}

/// Measures a system that runs already, and reads the report that this leaves.
async fn report_of(site: &Site) -> anyhow::Result<Record> {
    let directory = tempfile::tempdir()?;
    let arguments = Measure {
        quick: true,
        full: false,
        common: Common { seed: 1, out: Some(directory.path().to_owned()), binaries: None },
        settings: Vec::new(),
        target: Some(site.broker_at),
        logger: Some(site.logger_at.http),
        force: true,
    };
    run_plan(&arguments, plan()).await?;
    let record = Record::read(directory.path())?;
    assert!(record.is_sound(), "{:?}", record.warnings);
    Ok(record)
}

/// What the report has for one caller, in milliseconds.
fn median_ms(record: &Record, transport: Transport) -> f64 {
    let row = record.grid(Subject::Transport(transport), BASE_PAYLOAD, 1).expect("it was measured");
    let answered = row.latencies(|measured| &measured.answered);
    answered.percentile(0.5).expect("dozens of requests at the least") as f64 / 1e3
}

#[tokio::test(flavor = "multi_thread")]
async fn milliseconds_on_the_hop_of_one_transport_are_found_in_the_report_as_what_they_are()
-> anyhow::Result<()> {
    let rabbitmq = VirtualHost::create().await;
    let binaries = binary("logger");
    let directory = binaries.parent().expect("a directory");
    let mut site = Site::new(directory, &rabbitmq.url(), Keeping::Synced, &[])?;
    let relay = site.relay(Transport::Rpc).await?;
    site.start().await?;
    let mut differences = Vec::new();
    // What else this machine does may add to one of the two, and does not each time.
    for _ in 0..3 {
        relay.set_both(Fault::None);
        let before = report_of(&site).await?;
        relay.set_both(SLOW);
        let held = DIRECTIONS.map(|direction| relay.held(direction));
        let after = report_of(&site).await?;
        let by = |transport| median_ms(&after, transport) - median_ms(&before, transport);
        let (slowed, others) = (by(Transport::Rpc), [by(Transport::Http), by(Transport::Grpc)]);
        let known = held_ms(&relay, held);
        if (slowed / known - 1.0).abs() < 0.2 && others.iter().all(|other| other.abs() < 0.2 * known) {
            return Ok(());
        }
        differences.push((known, slowed, others));
    }
    anyhow::bail!("milliseconds that the hop, rpc, and the others became slower by: {differences:?}")
}

/// Both ways together some 41 ms. It must be large beside what a busy machine adds by itself: each of the processes on the
/// way waits for a core, for some milliseconds in all beside compilers.
const SLOW: Fault = Fault::Latency(Duration::from_millis(20));

/// For how long the relay has held back a request and its response since then, in milliseconds: by a clock that is none of
/// compare's.
fn held_ms(relay: &Relay, since: [Held; 2]) -> f64 {
    let mean = |(direction, before): (Direction, Held)| {
        let Held { chunks, sum } = relay.held(direction);
        (sum - before.sum).as_secs_f64() * 1e3 / (chunks - before.chunks) as f64
    };
    DIRECTIONS.into_iter().zip(since).map(mean).sum()
}

const DIRECTIONS: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

/// What a burst says is what wrk measures from outside at the same broker: within a factor of two, and in the same order
/// where two transports differ by more than that.
#[tokio::test]
async fn the_medians_of_a_burst_agree_with_those_of_wrk() -> anyhow::Result<()> {
    const ATTEMPTS: usize = 3;
    let stack = Stack::start().await;
    // What runs first warms up.
    medians(&stack, 1).await?;
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let medians = medians(&stack, 3).await?;
        let agree = medians.iter().all(|(burst, wrk)| (0.5..=2.0).contains(&(wrk / burst)));
        let mut pairs = medians.iter().flat_map(|one| medians.iter().map(move |other| (one, other)));
        let ranked = pairs.all(|(one, other)| one.0 <= 2.0 * other.0 || one.1 > other.1);
        if agree && ranked {
            return Ok(());
        }
        seen.push(medians);
    }
    panic!("of a burst and of wrk, in microseconds, {:?}: {seen:?}", Transport::ALL)
}

/// The median of a burst over each transport, and that of wrk, in microseconds; the medians of so many rounds. They take
/// turns, so that what else the machine does meets both.
async fn medians(stack: &Stack, rounds: usize) -> anyhow::Result<Vec<(f64, f64)>> {
    let directory = tempfile::tempdir()?;
    let url = format!("http://{}/handle", stack.broker_at);
    let mut of_each = vec![(Vec::new(), Vec::new()); Transport::ALL.len()];
    for _ in 0..rounds {
        for (transport, (bursts, wrks)) in Transport::ALL.into_iter().zip(&mut of_each) {
            let burst = json!({ "entries": 300, "concurrency": 1, "transports": [transport] });
            let measured = measured(&events(stack, &burst).await);
            bursts.push(measured[&transport]["answered_us"]["median"].as_f64().expect("a time"));
            let log = json!({ "name": "event", "data": "one of wrk" });
            let body = json!({ "action": "log", "transport": transport, "log": log }).to_string();
            let seen = wrk::run(&url, &body, 1, 1, directory.path()).await?;
            assert_eq!((seen.rejected, seen.broken), (0, 0), "{transport}");
            wrks.push(seen.p50_us as f64);
        }
    }
    Ok(of_each.into_iter().map(|(bursts, wrks)| (median(&bursts), median(&wrks))).collect())
}
