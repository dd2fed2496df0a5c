//! The generator against servers of which everything is known.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use proto::Transport;

use super::*;
use crate::cell::Latencies;

/// A server that answers 202 after what `delay` says of a request, by its bytes and when it came; its threads end with
/// the test.
fn server(delay: impl Fn(&[u8], Instant) -> Duration + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let delay = Arc::new(delay);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, delay) = (stream.expect("a caller"), Arc::clone(&delay));
            stream.set_nodelay(true).expect("a socket");
            thread::spawn(move || {
                let _ = nix::sys::prctl::set_timerslack(1);
                let mut buffer = [0; 64 * 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    thread::sleep(delay(&buffer[..read], Instant::now()));
                    if stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}").is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn load(broker: SocketAddr, shape: Shape, duration: Duration) -> Load {
    Load { seed: 7, ..Load::new(broker, Subject::Transport(Transport::Http), shape, duration) }
}

fn latencies(seen: &Seen) -> Latencies {
    let mut latencies = Latencies::default();
    seen.samples.iter().for_each(|sample| latencies.add(sample.latency()));
    latencies
}

/// Whether a measurement comes out as it must, at least once in a few times: a busy machine adds to latencies, and so
/// makes a right generator look wrong for a while; a wrong one is wrong each time. One test measures at a time.
fn measures(measure: impl Fn() -> Result<(), String>) {
    static TURN: Mutex<()> = Mutex::new(());
    const TIMES: usize = 8;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let seen: Vec<String> = (0..TIMES).map_while(|_| measure().err()).collect();
    assert!(seen.len() < TIMES, "{seen:#?}");
}

fn check(holds: bool, seen: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(seen()) }
}

#[test]
fn a_stall_is_seen_by_the_open_loop_and_missed_by_the_closed_one() {
    // For the second of four seconds nobody is answered.
    let stalls = || {
        let first = OnceLock::new();
        move |_: &[u8], now: Instant| {
            let at = now.duration_since(*first.get_or_init(|| now));
            let (from, to) = (Duration::from_secs(1), Duration::from_secs(2));
            if at >= from && at < to { to - at } else { Duration::ZERO }
        }
    };
    measures(|| {
        let open = load(server(stalls()), Shape::Open { rate: 3_000.0 }, Duration::from_secs(4)).run();
        let closed = load(server(stalls()), Shape::Closed { callers: 1 }, Duration::from_secs(4)).run();
        let (open, closed) = (latencies(&open), latencies(&closed));
        // A quarter of what was due waits, up to the whole second.
        let seen = open.percentile(0.999).ok_or("fewer than 10,000 requests")?;
        check((900_000..1_500_000).contains(&seen), || format!("p99.9 of the open loop: {seen} us"))?;
        let most = open.percentile(0.6).ok_or("hardly a request")?;
        check(most < 500_000, || format!("p60 of the open loop: {most} us"))?;
        let missed = closed.percentile(0.999).ok_or("fewer than 10,000 requests, one after the other")?;
        check(missed < 100_000, || format!("p99.9 of the closed loop: {missed} us"))?;
        let longest = closed.longest().unwrap_or_default();
        check(longest > 900_000, || format!("the longest of the closed loop: {longest} us"))
    });
}

#[test]
fn a_known_latency_is_measured_as_what_it_is() {
    let (slow, quick) = (server(|_, _| Duration::from_millis(100)), server(|_, _| Duration::ZERO));
    for shape in [Shape::Closed { callers: 8 }, Shape::Open { rate: 200.0 }] {
        measures(|| {
            // The middle, since a busy machine adds to the tail first.
            let middle = |server| {
                let latencies = latencies(&load(server, shape, Duration::from_secs(1)).run());
                latencies.percentile(0.5).ok_or("hardly a request")
            };
            let (with, without) = (middle(slow)?, middle(quick)?);
            let seen = || format!("{shape:?}: {with} us, and {without} us without the wait");
            check(with >= 100_000, seen)?;
            // What a busy machine adds is in both.
            check((95_000..105_000).contains(&(with - without)), seen)
        });
    }
}

#[test]
fn a_transport_that_is_two_milliseconds_slower_is_found_to_be_so() {
    const MORE: Duration = Duration::from_millis(2);
    let by_rpc = |request: &[u8]| request.windows(5).any(|word| word == b"\"rpc\"");
    let broker = server(move |request, _| if by_rpc(request) { MORE } else { Duration::ZERO });
    measures(|| {
        let mut medians = Transport::ALL.map(|_| Vec::new());
        // In turn, as in a run; the difference counts.
        for _ in 0..5 {
            for (transport, medians) in Transport::ALL.into_iter().zip(&mut medians) {
                let subject = Subject::Transport(transport);
                let shape = Shape::Closed { callers: 1 };
                let seen = Load { subject, ..load(broker, shape, Duration::from_millis(300)) }.run();
                medians.push(latencies(&seen).percentile(0.5).ok_or("hardly a request")? as f64);
            }
        }
        let [http, rpc, rabbitmq, grpc] = medians.map(|medians| crate::stats::median(&medians));
        let seen = || format!("{http} {rpc} {rabbitmq} {grpc} us");
        check([rabbitmq, grpc].iter().all(|same| (same - http).abs() < 100.0), seen)?;
        check((1_900.0..2_300.0).contains(&(rpc - http)), seen)
    });
}

#[test]
fn a_schedule_has_the_rate_and_the_gaps_of_independent_callers() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let shape = Shape::Open { rate: 1_000.0 };
    let schedule = load(nobody, shape, Duration::from_secs(20)).schedule().expect("an open loop");
    assert!((19_000..21_000).contains(&schedule.len()), "{}", schedule.len());
    assert!(schedule.is_sorted());
    let gaps: Vec<f64> = schedule.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let long = gaps.iter().filter(|gap| **gap > 2.0 * mean).count() as f64 / gaps.len() as f64;
    assert!((long - (-2.0_f64).exp()).abs() < 0.01, "{long}");
}

#[test]
fn nobody_there_is_counted_and_nothing_is_dropped() {
    // It does not listen, and nobody else gets its port.
    let reserved = tokio::net::TcpSocket::new_v4().expect("a socket");
    reserved.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let nobody = reserved.local_addr().expect("its address");
    let seen = load(nobody, Shape::Open { rate: 300.0 }, Duration::from_millis(500)).run();
    assert!(seen.samples.len() > 100);
    assert!(seen.samples.iter().all(|sample| sample.ending == Ending::Broken));
    assert_eq!(seen.ids.len(), seen.samples.len());
}

#[test]
fn what_could_not_be_sent_in_time_is_counted_too() {
    // Nobody is answered until long after the end: the callers are soon all busy.
    let stuck = Duration::from_secs(1) + LATE + Duration::from_millis(500);
    let first = OnceLock::new();
    let stuck = server(move |_, now| (*first.get_or_init(|| now) + stuck).saturating_duration_since(now));
    let load = load(stuck, Shape::Open { rate: 2_000.0 }, Duration::from_secs(1));
    let seen = load.run();
    let unsent = seen.samples.iter().filter(|sample| sample.ending == Ending::Unsent).count();
    let due = load.schedule().expect("an open loop").len();
    assert_eq!(seen.samples.len(), due, "each that was due is there");
    assert_eq!(unsent, due - MAX_CALLERS, "each caller was busy with one");
    assert!(seen.samples.iter().all(|sample| sample.latency() > LATE));
}
