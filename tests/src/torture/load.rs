//! Callers that send entries as fast as they are answered, and note down both.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use proto::{
    Level, LogEntry, Transport,
    json::{Accepted, Envelope, FailureData},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Client;
use rig::{Answer, Journal, Verdict};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};
use uuid::Uuid;

use super::entry;
use crate::stack::Stack;

/// How often a caller tries an entry again that was not accepted. Every other caller does not, so that answers
/// which nothing followed are tried as well.
const ATTEMPTS: u32 = 8;

/// How long a caller waits before it tries again. Far less than `Retry-After`: this is no polite caller.
const PAUSE: Duration = Duration::from_millis(50);

/// One entry of so many is large, and has up to so many times 32 bytes.
const LARGE_ONE_OF: u32 = 100;
const LARGE_REPEATS: usize = 512;

/// How long what is queued may take to reach the store, once the load has ended.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the store must not have grown, with nothing queued, to be taken for at rest.
const REST: Duration = Duration::from_secs(3);

/// Some callers at work.
#[derive(Debug)]
pub struct Load {
    stopping: watch::Sender<bool>,
    callers: JoinSet<Journal>,
    /// For what is sent besides, one by one.
    extra: Caller,
    accepted: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
}

impl Load {
    /// Sets `callers` to work, the first over the first of `transports`, and so on around.
    ///
    /// # Panics
    /// If there is no transport.
    pub fn start(broker: SocketAddr, transports: &[Transport], callers: usize, seed: u64) -> Self {
        Self::start_paced(broker, transports, callers, seed, Duration::ZERO)
    }

    /// As [`Load::start`], but each caller rests for so long after each entry: a journal of hours must fit into
    /// memory.
    ///
    /// # Panics
    /// If there is no transport.
    pub fn start_paced(
        broker: SocketAddr,
        transports: &[Transport],
        callers: usize,
        seed: u64,
        rest: Duration,
    ) -> Self {
        let (stopping, _) = watch::channel(false);
        let (accepted, answered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let client = crate::client();
        let caller = |number: usize| Caller {
            client: client.clone(),
            url: format!("{}://{broker}/handle", crate::tls::scheme()),
            transport: transports[number % transports.len()],
            rest,
            attempts: if (number / transports.len()).is_multiple_of(2) { ATTEMPTS } else { 1 },
            random: StdRng::seed_from_u64(seed.wrapping_add(number as u64)),
            accepted: Arc::clone(&accepted),
            answered: Arc::clone(&answered),
            journal: Journal::default(),
        };
        let mut running = JoinSet::new();
        for number in 0..callers {
            running.spawn(caller(number).run(stopping.subscribe()));
        }
        Load { stopping, callers: running, extra: caller(callers), accepted, answered }
    }

    /// Sends one more entry, over any transport; says what was answered, and how soon. It is judged with the others.
    pub async fn one(&mut self, transport: Transport) -> (Answer, Duration) {
        self.extra.transport = transport;
        let entry = self.extra.entry();
        let begun = Instant::now();
        let answer = self.extra.send(&entry).await;
        (answer, begun.elapsed())
    }

    /// How many entries have been accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many requests have been answered so far, in whatever way.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more entries are accepted; says how long that took.
    pub async fn goes_on(&self, entries: u64) -> Duration {
        let (goal, begun) = (self.accepted() + entries, Instant::now());
        crate::eventually("entries are accepted", async || (self.accepted() >= goal).then_some(())).await;
        begun.elapsed()
    }

    /// Lets every caller finish the entry in hand, waits until all that was accepted is stored or a dead letter,
    /// for at most a minute, and judges.
    ///
    /// # Panics
    /// If a caller panicked.
    pub async fn stop(self, stack: &Stack) -> Verdict {
        let journal = self.finish().await;
        settle(stack, &journal, SETTLE_TIMEOUT).await
    }

    /// As [`Load::stop`], where entries are expected to be missing: judges once nothing more comes.
    ///
    /// # Panics
    /// If a caller panicked.
    pub async fn stop_and_rest(self, stack: &Stack) -> Verdict {
        let journal = self.finish().await;
        settle(stack, &journal, REST).await
    }

    async fn finish(mut self) -> Journal {
        self.stopping.send_replace(true);
        let mut journal = self.extra.journal;
        while let Some(noted) = self.callers.join_next().await {
            journal.merge(noted.expect("a caller does not panic"));
        }
        journal
    }
}

#[derive(Debug)]
struct Caller {
    client: Client,
    url: String,
    transport: Transport,
    attempts: u32,
    rest: Duration,
    random: StdRng,
    accepted: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
    journal: Journal,
}

impl Caller {
    async fn run(mut self, stopping: watch::Receiver<bool>) -> Journal {
        while !*stopping.borrow() {
            let entry = self.entry();
            for _ in 0..self.attempts {
                if matches!(self.send(&entry).await, Answer::Accepted(_)) {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
            if !self.rest.is_zero() {
                tokio::time::sleep(self.rest).await;
            }
        }
        self.journal
    }

    fn entry(&mut self) -> LogEntry {
        let level = Level::ALL[self.random.random_range(0..Level::ALL.len())];
        // Most are of the size of a line; a few are large.
        let most = if self.random.random_range(0..LARGE_ONE_OF) == 0 { LARGE_REPEATS } else { 8 };
        entry(
            level,
            format!("{:032x}", self.random.random::<u128>()).repeat(self.random.random_range(1..most)),
        )
    }

    /// Sends it once; says what was answered.
    async fn send(&mut self, entry: &LogEntry) -> Answer {
        let log = json!({
            "id": entry.id(), "name": entry.name(), "data": entry.data(), "level": entry.level(),
        });
        let body = json!({ "action": "log", "transport": self.transport, "log": log }).to_string();
        self.journal.sending(entry);
        let begun = Instant::now();
        let answer = match self.answer(body).await {
            Ok(answer) => answer,
            // What hangs stays unanswered, and the verdict says so.
            Err(error) if error.is_timeout() => return Answer::Nothing,
            Err(_) => Answer::Nothing,
        };
        self.journal.answered(entry.id(), answer, begun.elapsed());
        let accepted = matches!(answer, Answer::Accepted(_));
        self.accepted.fetch_add(u64::from(accepted), Ordering::Relaxed);
        self.answered.fetch_add(1, Ordering::Relaxed);
        answer
    }

    async fn answer(&self, body: String) -> reqwest::Result<Answer> {
        let response = self.client.post(&self.url).body(body).send().await?;
        if response.status() == 202 {
            let accepted = response.json::<Envelope<Accepted>>().await?.data;
            let outcome = accepted.and_then(|accepted| accepted.outcome);
            return Ok(Answer::Accepted(outcome.expect("an accepted entry has an outcome")));
        }
        let failure = response.json::<Envelope<FailureData>>().await?.data;
        Ok(Answer::Refused(failure.expect("a refusal has a code").code))
    }
}

/// Waits until all that was accepted is there, or nothing has come for `rest`; for at most [`SETTLE_TIMEOUT`].
async fn settle(stack: &Stack, journal: &Journal, rest: Duration) -> Verdict {
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    let accepted: Vec<Uuid> = journal.accepted().collect();
    let mut dead = HashSet::new();
    let (mut rows, mut grown_at) = (0, Instant::now());
    loop {
        while let Some(letter) = stack.rabbitmq.get("logs.dead").await {
            let id = letter
                .delivery
                .properties
                .message_id()
                .as_ref()
                .and_then(|id| id.as_str().parse::<Uuid>().ok());
            dead.extend(id);
        }
        let stored = stack.all_stored().await;
        let there: HashSet<Uuid> = stored.iter().map(|row| row.id).collect();
        let queued = stack.rabbitmq.depth("logs.entries").await;
        if queued > 0 || stored.len() > rows {
            (rows, grown_at) = (stored.len(), Instant::now());
        }
        let settled = queued == 0 && accepted.iter().all(|id| there.contains(id) || dead.contains(id));
        if settled || grown_at.elapsed() >= rest || Instant::now() > deadline {
            return journal.verdict(&stored, &dead);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
