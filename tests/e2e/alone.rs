//! What measures time, and so needs the machine for itself: `make test` runs these one after the other, beside nothing.

use std::time::{Duration, Instant};

use ::compare::{
    cell::Keeping,
    config::{Common, Measure},
    plan::Plan,
    record::Record,
    run::run_plan,
    stack::Site,
    stats::median,
    workload::{BASE_PAYLOAD, Subject},
};
use proto::Transport;
use rig::{Fault, Relay};
use tests::{binaries::binary, rabbitmq::VirtualHost};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

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
    answered.percentile(0.5).expect("hundreds of requests") as f64 / 1e3
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
    for _ in 0..12 {
        relay.set_both(Fault::None);
        let before = report_of(&site).await?;
        relay.set_both(SLOW);
        let after = report_of(&site).await?;
        let by = |transport| median_ms(&after, transport) - median_ms(&before, transport);
        let (slowed, others) = (by(Transport::Rpc), [by(Transport::Http), by(Transport::Grpc)]);
        let known = latency_ms(SLOW).await - latency_ms(Fault::None).await;
        if (slowed / known - 1.0).abs() < 0.25 && others.iter().all(|other| other.abs() < 0.25 * known) {
            return Ok(());
        }
        differences.push((known, slowed, others));
    }
    anyhow::bail!("milliseconds that the hop, rpc, and the others became slower by: {differences:?}")
}

/// A runtime's timer rounds up to whole milliseconds: both ways together, this adds two or more.
const SLOW: Fault = Fault::Latency(Duration::from_micros(500));

/// What a round trip through a relay takes that does so, by a clock that is none of compare's; the median.
async fn latency_ms(fault: Fault) -> f64 {
    const TRIPS: usize = 101;
    let echo = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let relay = Relay::open(echo.local_addr().expect("its address")).await.expect("a relay");
    relay.set_both(fault);
    tokio::spawn(async move {
        let (mut stream, _) = echo.accept().await.expect("a caller");
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    let mut stream = TcpStream::connect(relay.address()).await.expect("a connection");
    let mut trips = Vec::new();
    for _ in 0..TRIPS {
        let begun = Instant::now();
        stream.write_all(b"?").await.expect("the other end is there");
        stream.read_exact(&mut [0]).await.expect("the other end is there");
        trips.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    median(&trips)
}
