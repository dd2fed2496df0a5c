//! Clients that send entries as fast as they are answered, and note down both. Where it counts how fast, and not what
//! becomes of each under failures, `compare` has a generator of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use proto::{LogEntry, Transport};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{sync::watch, task::JoinSet};

use crate::{Answer, Ledger, READY, eventually, ledger::Content};

/// How an entry is sent.
pub trait Sender: Clone + Send + Sync + 'static {
    /// Sends it once, and says what was answered; `None` if nothing came for so long that it hangs.
    fn send(&self, transport: Transport, entry: &LogEntry) -> impl Future<Output = Option<Answer>> + Send;
}

/// How often a client sends an entry that was not accepted. Every other client sends each once, so that answers which
/// nothing followed are tried as well.
const ATTEMPTS: u32 = 8;

/// What the clients do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The first client sends over the first of them, and so on around.
    pub transports: Vec<Transport>,
    /// How many clients there are.
    pub clients: usize,
    /// How long a client waits before it retries.
    pub pause: Duration,
    /// How long a client rests after each entry.
    pub rest: Duration,
    /// Makes the entries.
    pub entry: fn(&mut StdRng) -> LogEntry,
    /// Makes the same entries in every run.
    pub seed: u64,
}

/// Some clients at work. They go on, refused or not, until they are stopped.
#[derive(Debug)]
pub struct Load<S> {
    stopping: watch::Sender<bool>,
    running: JoinSet<Ledger>,
    /// For what is sent besides, one by one.
    extra: Caller<S>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    answered: AtomicU64,
}

impl<S: Sender> Load<S> {
    /// Sets the clients of a plan to work.
    pub fn start(sender: &S, plan: Plan) -> Self {
        let (stopping, _) = watch::channel(false);
        let (plan, counts) = (Arc::new(plan), Arc::new(Counts::default()));
        let caller = |number: usize| Caller {
            sender: sender.clone(),
            transport: plan.transports[number % plan.transports.len()],
            attempts: if (number / plan.transports.len()).is_multiple_of(2) { ATTEMPTS } else { 1 },
            random: StdRng::seed_from_u64(plan.seed.wrapping_add(number as u64)),
            plan: Arc::clone(&plan),
            counts: Arc::clone(&counts),
            ledger: Ledger::default(),
        };
        let mut running = JoinSet::new();
        for number in 0..plan.clients {
            running.spawn(caller(number).run(stopping.subscribe()));
        }
        Load { extra: caller(plan.clients), stopping, running, counts }
    }

    /// Sends one more entry, over any transport; says what was answered, and how soon. It is judged with the others.
    pub async fn one(&mut self, transport: Transport) -> (Answer, Duration) {
        self.extra.transport = transport;
        let entry = (self.extra.plan.entry)(&mut self.extra.random);
        let begun = Instant::now();
        (self.extra.send(&entry).await, begun.elapsed())
    }

    /// How many entries have been accepted so far.
    pub fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// How many requests have been answered so far, in whatever way.
    pub fn answered(&self) -> u64 {
        self.counts.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more entries are accepted; says how long that took.
    pub async fn goes_on(&self, entries: u64) -> anyhow::Result<Duration> {
        let (goal, begun) = (self.accepted() + entries, Instant::now());
        let reached = async || (self.accepted() >= goal).then_some(());
        eventually("entries are accepted", READY, reached).await?;
        Ok(begun.elapsed())
    }

    /// Lets every client finish the attempt in hand; returns what was noted.
    pub async fn stop(mut self) -> anyhow::Result<Ledger> {
        self.stopping.send_replace(true);
        let mut ledger = self.extra.ledger;
        while let Some(noted) = self.running.join_next().await {
            ledger.merge(noted?);
        }
        Ok(ledger)
    }
}

#[derive(Debug)]
struct Caller<S> {
    sender: S,
    transport: Transport,
    attempts: u32,
    random: StdRng,
    plan: Arc<Plan>,
    counts: Arc<Counts>,
    ledger: Ledger,
}

impl<S: Sender> Caller<S> {
    async fn run(mut self, stopping: watch::Receiver<bool>) -> Ledger {
        loop {
            let entry = (self.plan.entry)(&mut self.random);
            for _ in 0..self.attempts {
                if *stopping.borrow() {
                    return self.ledger;
                }
                if matches!(self.send(&entry).await, Answer::Accepted(_)) {
                    break;
                }
                tokio::time::sleep(self.plan.pause).await;
            }
            if !self.plan.rest.is_zero() {
                tokio::time::sleep(self.plan.rest).await;
            }
        }
    }

    async fn send(&mut self, entry: &LogEntry) -> Answer {
        let answer = send(&self.sender, self.transport, entry, &mut self.ledger).await;
        let accepted = matches!(answer, Some(Answer::Accepted(_)));
        self.counts.accepted.fetch_add(u64::from(accepted), Ordering::Relaxed);
        self.counts.answered.fetch_add(u64::from(answer.is_some()), Ordering::Relaxed);
        answer.unwrap_or(Answer::Nothing)
    }
}

/// Sends an entry once, and notes it and its answer.
pub async fn send(
    sender: &impl Sender,
    transport: Transport,
    entry: &LogEntry,
    ledger: &mut Ledger,
) -> Option<Answer> {
    let place = ledger.sending(entry.id(), Content::from(entry), transport);
    let begun = Instant::now();
    let answer = sender.send(transport, entry).await;
    if let Some(answer) = answer {
        ledger.answered(place, answer.into(), begun.elapsed());
    }
    answer
}
