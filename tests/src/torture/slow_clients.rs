//! Clients that take up connections and give nothing for them: everybody else is served as before. And where they take
//! all the connections that a service has descriptors for, it waits for them to be cut off, and does not spin.
//!
//! At each port there are idle connections, and slow clients of three kinds: a header by one byte a second, a body
//! by one byte a second, and questions whose answers are not read. Whoever is cut off comes back.

use std::{
    fmt::Write,
    net::SocketAddr,
    time::{Duration, Instant},
};

use proto::Transport;
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use super::Report;
use crate::{eventually, process::Process, stack::Stack};

/// Leaves each service far fewer file descriptors than there are hostile connections.
const FEW_DESCRIPTORS: &[&str] = &["prlimit", "--nofile=256"];

/// Hostile clients at each port, for each round: ten rounds are five hundred slow ones and two thousand idle.
const SLOW: u32 = 50;
const IDLE: u32 = 200;

/// The time between the bytes of a slow client.
const PER_BYTE: Duration = Duration::from_secs(1);

/// How long a client that was cut off waits before it comes back.
const COMES_BACK: Duration = Duration::from_secs(5);

/// How long processor time is measured while nothing but hostile clients is there, and no descriptor for most of them.
const IDLE_FOR: Duration = Duration::from_secs(3);

/// Largest part of one processor that a service may take meanwhile.
const MOST_PROCESSOR: f64 = 0.2;

/// How long a question for health may take, on a connection of its own, while hostile clients are served as well.
const MOST_HEALTH: Duration = Duration::from_millis(50);

/// How often it is measured, until it is so: what else the machine does adds to it for a while, a service that is held up
/// is slow each time.
const HEALTH_TRIES: u32 = 8;

/// Entries, and questions for health, of which the slowest hundredth is judged.
const PROBES: u32 = 200;

/// Lets `rounds` times 50 slow clients and 200 idle connections loose on each of four ports.
///
/// # Panics
/// If the stack does not work.
pub async fn run(rounds: u32, mut progress: impl FnMut(u32)) -> Report {
    service::descriptors::raise();
    let mut report = Report { rounds, ..Report::default() };
    with_room_for_all(&mut report, rounds).await;
    progress(rounds / 2);
    with_few_descriptors(&mut report, rounds).await;
    progress(rounds);
    report
}

async fn with_room_for_all(report: &mut Report, rounds: u32) {
    let stack = Stack::start().await;
    let before = entries_p99(&stack, report).await;
    let base = descriptors(&stack);
    let hostile = unleash(&stack, rounds);
    tokio::time::sleep(IDLE_FOR).await;
    for (name, address) in [("broker", stack.broker_at), ("logger", stack.logger_at.http)] {
        let mut p99 = Duration::MAX;
        for _ in 0..HEALTH_TRIES {
            p99 = p99.min(health_p99(address).await);
            if p99 <= MOST_HEALTH {
                break;
            }
        }
        note(report, format!("{name}'s /healthz p99 {p99:.1?}"), p99 <= MOST_HEALTH);
    }
    let during = entries_p99(&stack, report).await;
    note(report, format!("entries' p99 {before:.1?} without them, {during:.1?} with them"), true);
    drop(hostile);
    settle(report, &stack, base).await;
}

async fn with_few_descriptors(report: &mut Report, rounds: u32) {
    let stack = Stack::start_under(FEW_DESCRIPTORS, &[]).await;
    entries_p99(&stack, report).await;
    let base = descriptors(&stack);
    let hostile = unleash(&stack, rounds);
    tokio::time::sleep(IDLE_FOR).await;
    let busy = services(&stack).map(|(_, process)| process.processor_time());
    tokio::time::sleep(IDLE_FOR).await;
    for ((name, process), busy) in services(&stack).into_iter().zip(busy) {
        let part = (process.processor_time() - busy).as_secs_f64() / IDLE_FOR.as_secs_f64();
        let figure = format!("{name} out of descriptors at {:.0} % of a processor", part * 100.0);
        note(report, figure, part <= MOST_PROCESSOR);
    }
    drop(hostile);
    settle(report, &stack, base).await;
    entries_p99(&stack, report).await;
}

fn services(stack: &Stack) -> [(&'static str, &Process); 2] {
    [("broker", &stack.broker), ("logger", &stack.logger)]
}

fn descriptors(stack: &Stack) -> [usize; 2] {
    services(stack).map(|(_, process)| process.descriptors())
}

/// Waits until no more descriptors are open than before.
async fn settle(report: &mut Report, stack: &Stack, base: [usize; 2]) {
    for ((name, process), base) in services(stack).into_iter().zip(base) {
        let closed = async || (process.descriptors() <= base).then(|| process.descriptors());
        let after = eventually("the descriptors are closed", closed).await;
        note(report, format!("{name}'s descriptors {base} before, {after} after"), true);
    }
}

fn note(report: &mut Report, figure: String, holds: bool) {
    if !report.figures.is_empty() {
        report.figures.push_str("; ");
    }
    write!(report.figures, "{figure}").expect("a string takes all");
    if !holds {
        report.broken.push(figure);
    }
}

/// Logs over the three direct transports in turn, on kept connections. Every entry must be stored.
async fn entries_p99(stack: &Stack, report: &mut Report) -> Duration {
    let mut took = Vec::new();
    for number in 0..PROBES {
        let transport = crate::DIRECT[number as usize % crate::DIRECT.len()];
        let answer = log(stack, transport).await;
        report.entries += 1;
        match answer {
            Ok(time) => {
                report.accepted += 1;
                took.push(time);
            }
            Err(refusal) => report.broken.push(refusal),
        }
    }
    p99(took)
}

async fn log(stack: &Stack, transport: Transport) -> Result<Duration, String> {
    let answer = stack.log(transport, &json!({ "name": "bystander", "data": "" })).await;
    if answer.status == 202 { Ok(answer.took) } else { Err(format!("{transport}: {}", answer.body)) }
}

/// Each question has a connection of its own, as those of an orchestrator have.
async fn health_p99(address: SocketAddr) -> Duration {
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(crate::SOON);
    let client = client.build().expect("a client");
    let mut took = Vec::new();
    for _ in 0..PROBES {
        let begun = Instant::now();
        let answer = client.get(format!("http://{address}/healthz")).send().await;
        assert_eq!(answer.expect("an answer").status(), 200);
        took.push(begun.elapsed());
    }
    p99(took)
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took.get(took.len() * 99 / 100).copied().unwrap_or(Duration::MAX)
}

/// Sets the hostile clients loose. They end when the set is dropped.
fn unleash(stack: &Stack, rounds: u32) -> JoinSet<()> {
    let at = stack.logger_at;
    let mut hostile = JoinSet::new();
    for port in [stack.broker_at, at.http, at.rpc, at.grpc] {
        for _ in 0..IDLE * rounds {
            hostile.spawn(come_back(port, Kind::Idle));
        }
        for number in 0..SLOW * rounds {
            let kind = [Kind::SlowHeader, Kind::SlowBody, Kind::NotReading][number as usize % 3];
            hostile.spawn(come_back(port, kind));
        }
    }
    hostile
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Idle,
    SlowHeader,
    SlowBody,
    NotReading,
}

async fn come_back(port: SocketAddr, kind: Kind) {
    loop {
        // Cut off or refused: that is what is tried.
        let _ = annoy(port, kind).await;
        tokio::time::sleep(COMES_BACK).await;
    }
}

async fn annoy(port: SocketAddr, kind: Kind) -> std::io::Result<()> {
    /// Their answers are more than the buffers on the way hold.
    const QUESTIONS: usize = 50;
    let socket = TcpSocket::new_v4()?;
    // The smallest that there is: what is not read stays with the server.
    socket.set_recv_buffer_size(1)?;
    let mut stream = socket.connect(port).await?;
    let head = b"POST /handle HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";
    match kind {
        Kind::Idle => closed(&stream).await,
        Kind::SlowHeader => byte_by_byte(&mut stream, head).await,
        Kind::SlowBody => {
            stream.write_all(head).await?;
            byte_by_byte(&mut stream, &[b' '; 1_000]).await
        }
        Kind::NotReading => {
            let question = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
            stream.write_all(question.repeat(QUESTIONS).as_bytes()).await?;
            // It notices by its own writing that it was cut off.
            byte_by_byte(&mut stream, question.as_bytes()).await
        }
    }
}

async fn closed(stream: &TcpStream) -> std::io::Result<()> {
    stream.readable().await
}

async fn byte_by_byte(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        tokio::time::sleep(PER_BYTE).await;
    }
    Ok(())
}
