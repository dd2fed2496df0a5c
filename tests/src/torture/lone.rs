//! A logger alone, without broker and RabbitMQ, and callers that send to it over the direct transports.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use proto::{Code, Level, LogEntry, Page, StoredEntry, Transport, json::Envelope};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::{Client, StatusCode};
use rig::{Answer, Journal};
use tokio::{sync::watch, task::JoinSet};
use transport::{Settings, Transports};

use super::entry;
use crate::{DIRECT, eventually, process::Process, stack::LoggerAddresses};

/// How often a caller that retries tries an entry that was not accepted. Every other one does not, so that answers
/// which nothing followed are tried as well.
const ATTEMPTS: u32 = 8;

/// How long a caller waits after a refusal.
const PAUSE: Duration = Duration::from_millis(5);

/// A logger, and clients of the three direct transports in this process.
#[derive(Debug)]
pub struct Lone {
    /// The logger.
    pub process: Process,
    /// Where it listens.
    pub at: LoggerAddresses,
    transports: Arc<Transports>,
    client: Client,
}

impl Lone {
    /// Starts a logger on free ports.
    ///
    /// # Errors
    /// How it ended, if it refuses to start; its log is the newest in `dir`.
    ///
    /// # Panics
    /// As everything here, if what the test stands on does not work.
    pub async fn start(settings: &BTreeMap<&str, String>, dir: &Path) -> Result<Self, ExitStatus> {
        Self::of(Process::start("logger", &on_free_ports(settings), dir)).await
    }

    /// As [`Lone::start`], under a command that becomes it.
    ///
    /// # Errors
    /// As [`Lone::start`], with its log.
    pub async fn start_under(
        wrapper: &[&str],
        settings: &BTreeMap<&str, String>,
        dir: &Path,
    ) -> Result<Self, (ExitStatus, String)> {
        let mut process = Process::start_under(wrapper, "logger", &on_free_ports(settings), dir);
        match process.ready_or_ended().await {
            Ok(ports) => Ok(Self::at(process, &ports)),
            Err(status) => Err((status, process.log())),
        }
    }

    /// Starts a logger whose writes and syncs are traced.
    ///
    /// # Panics
    /// If it refuses to start, too.
    pub async fn start_traced(settings: &BTreeMap<&str, String>, dir: &Path, trace: &Path) -> Self {
        let process = Process::start_traced("logger", &on_free_ports(settings), dir, trace);
        Self::of(process).await.expect("it starts")
    }

    async fn of(mut process: Process) -> Result<Self, ExitStatus> {
        let ports = process.ready_or_ended().await?;
        Ok(Self::at(process, &ports))
    }

    fn at(process: Process, ports: &BTreeMap<String, SocketAddr>) -> Self {
        let at = LoggerAddresses { http: ports["http"], rpc: ports["rpc"], grpc: ports["grpc"] };
        let transports = Arc::new(Transports::new(&Settings {
            logger_http_url: format!("http://{}", at.http).parse().expect("a URL"),
            logger_rpc_addr: at.rpc.to_string().parse().expect("an address"),
            logger_grpc_url: format!("http://{}", at.grpc).parse().expect("a URL"),
            amqp_url: None,
            tls: None,
            deadline: Duration::from_secs(5),
            came_by: None,
        }));
        Lone { process, at, transports, client: crate::client() }
    }

    /// Waits until the client of a transport has a connection, or dials on demand.
    pub async fn reaches(&self, transport: Transport) {
        let reaches = async || self.transports.reachable(transport).then_some(());
        eventually(&format!("{transport} reaches the logger"), reaches).await;
    }

    /// Asks it over HTTP: the status and the body.
    pub async fn get(&self, path: &str) -> (StatusCode, serde_json::Value) {
        let response =
            self.client.get(format!("http://{}{path}", self.at.http)).send().await.expect("an answer");
        let status = response.status();
        (status, response.json().await.unwrap_or_default())
    }

    /// All stored entries, newest first, page by page.
    pub async fn all_stored(&self) -> Vec<StoredEntry> {
        let mut entries = Vec::new();
        let mut path = "/logs?limit=1000".to_owned();
        loop {
            let (status, body) = self.get(&path).await;
            assert_eq!(status, 200, "{body}");
            let envelope: Envelope<Page> = serde_json::from_value(body).expect("a page");
            let page = envelope.data.expect("data");
            entries.extend(page.entries);
            let Some(next) = page.next else { return entries };
            path = format!("/logs?limit=1000&cursor={}", String::from(next));
        }
    }

    /// Asks it over a direct transport whether it could store an entry now.
    ///
    /// # Errors
    /// What an entry would be refused with.
    pub async fn ping(&self, transport: Transport) -> Result<(), Code> {
        self.transports.ping(transport).await.map_err(|failure| failure.code)
    }

    /// Waits until it answers a question without entries in this way over each direct transport, and `/readyz` likewise.
    pub async fn says(&self, answer: Result<(), Code>) {
        for transport in DIRECT {
            let said = async || (self.ping(transport).await == answer).then_some(());
            eventually(&format!("{transport} says {answer:?}"), said).await;
        }
        let ready = if answer.is_ok() { 200 } else { 503 };
        let said = async || (self.get("/readyz").await.0 == ready).then_some(());
        eventually(&format!("/readyz says {ready}"), said).await;
    }

    /// Sends one entry once, and notes both in the journal. Says what was answered.
    pub async fn send(&self, transport: Transport, entry: &LogEntry, journal: &mut Journal) -> Answer {
        send(&self.transports, transport, entry, journal).await
    }
}

fn on_free_ports<'a>(settings: &BTreeMap<&'a str, String>) -> BTreeMap<&'a str, String> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut all = settings.clone();
    all.extend(LoggerAddresses { http: any, rpc: any, grpc: any }.listens());
    all
}

/// Some callers at work, each over the next of the direct transports.
#[derive(Debug)]
pub struct Callers {
    stopping: watch::Sender<bool>,
    running: JoinSet<Journal>,
    accepted: Arc<AtomicU64>,
}

impl Callers {
    /// Sets so many to work. They go on, refused or not, until they are stopped.
    pub fn start(lone: &Lone, count: usize, random: &mut StdRng) -> Self {
        let (stopping, _) = watch::channel(false);
        let accepted = Arc::new(AtomicU64::new(0));
        let mut running = JoinSet::new();
        for number in 0..count {
            let caller = Caller {
                transports: Arc::clone(&lone.transports),
                transport: DIRECT[number % DIRECT.len()],
                attempts: if (number / DIRECT.len()).is_multiple_of(2) { ATTEMPTS } else { 1 },
                random: StdRng::seed_from_u64(random.random()),
                accepted: Arc::clone(&accepted),
                stopping: stopping.subscribe(),
                journal: Journal::default(),
            };
            running.spawn(caller.run());
        }
        Callers { stopping, running, accepted }
    }

    /// Waits until so many more entries are accepted; says how long that took.
    pub async fn goes_on(&self, entries: u64) -> Duration {
        let (goal, begun) = (self.accepted.load(Ordering::Relaxed) + entries, Instant::now());
        let reached = async || (self.accepted.load(Ordering::Relaxed) >= goal).then_some(());
        eventually("entries are accepted", reached).await;
        begun.elapsed()
    }

    /// Lets every caller finish the attempt in hand, and adds what they have noted.
    pub async fn stop(mut self, journal: &mut Journal) {
        self.stopping.send_replace(true);
        while let Some(noted) = self.running.join_next().await {
            journal.merge(noted.expect("a caller does not panic"));
        }
    }
}

struct Caller {
    transports: Arc<Transports>,
    transport: Transport,
    attempts: u32,
    random: StdRng,
    accepted: Arc<AtomicU64>,
    stopping: watch::Receiver<bool>,
    journal: Journal,
}

impl Caller {
    async fn run(mut self) -> Journal {
        loop {
            let entry = random_entry(&mut self.random);
            for _ in 0..self.attempts {
                if *self.stopping.borrow() {
                    return self.journal;
                }
                let answer = send(&self.transports, self.transport, &entry, &mut self.journal).await;
                if let Answer::Accepted(_) = answer {
                    self.accepted.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn send(
    transports: &Transports,
    transport: Transport,
    entry: &LogEntry,
    journal: &mut Journal,
) -> Answer {
    journal.sending(entry);
    let begun = Instant::now();
    let answer = match transports.write(transport, entry).await {
        Ok(delivered) => Answer::Accepted(delivered.receipt.outcome),
        Err(failure) => Answer::Refused(failure.code),
    };
    journal.answered(entry.id(), answer, begun.elapsed());
    answer
}

/// Mostly small; one in twenty has several pages of its own in the store.
pub fn random_entry(random: &mut StdRng) -> LogEntry {
    let repeats = if random.random_ratio(1, 20) { 300 } else { random.random_range(1..8) };
    entry(Level::Info, format!("{:032x}", random.random::<u128>()).repeat(repeats))
}
