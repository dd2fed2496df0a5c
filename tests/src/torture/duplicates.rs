//! Every id is sent once to five times, over transports at random, in random order and many at a time: it is
//! stored once, and every delivery of it is counted.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use proto::{
    Outcome, Transport,
    json::{Accepted, Envelope},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Report, Tried};
use crate::{client, stack::Stack};

/// Ids for each round.
const IDS: usize = 1_000;

/// Callers at work.
const CALLERS: usize = 64;

/// How long what is queued may take to reach the store.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Sends `rounds` times a thousand ids. `seed` makes the deliveries and their order again.
pub async fn run(rounds: u32, seed: u64, mut progress: impl FnMut(u32)) -> Tried {
    let stack = Stack::start().await;
    let plan = Arc::new(plan(rounds as usize * IDS, &mut StdRng::seed_from_u64(seed)));
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let url = format!("http://{}/handle", stack.broker_at);
        callers.spawn(call(url, Arc::clone(&plan), Arc::clone(&next)));
    }
    while !callers.is_empty() && next.load(Ordering::Relaxed) < plan.len() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let done = next.load(Ordering::Relaxed).min(plan.len());
        progress(u32::try_from(done * rounds as usize / plan.len()).expect("no more than the rounds"));
    }
    let mut answers: HashMap<Uuid, Answers> = HashMap::new();
    for own in callers.join_all().await {
        for (id, outcome) in own? {
            answers.entry(id).or_default().note(outcome);
        }
    }
    Ok(judge(&stack, rounds, &plan, &answers).await)
}

/// What was answered to the deliveries of an id.
#[derive(Debug, Clone, Copy, Default)]
struct Answers {
    stored: u32,
    queued: u32,
    duplicate: u32,
    refused: u32,
}

impl Answers {
    fn note(&mut self, outcome: Option<Outcome>) {
        match outcome {
            Some(Outcome::Stored) => self.stored += 1,
            Some(Outcome::Queued) => self.queued += 1,
            Some(Outcome::Duplicate) => self.duplicate += 1,
            None => self.refused += 1,
        }
    }

    /// One delivery is told `stored`, unless the first that arrived came through the queue.
    fn agree(&self) -> bool {
        self.refused == 0 && (self.stored == 1 || (self.stored == 0 && self.queued > 0))
    }

    fn sum(&self) -> u32 {
        self.stored + self.queued + self.duplicate + self.refused
    }
}

/// The deliveries, in the order in which they are sent.
fn plan(ids: usize, random: &mut StdRng) -> Vec<(Uuid, Transport)> {
    let mut plan = Vec::new();
    for _ in 0..ids {
        let id = Uuid::from_u128(random.random::<u128>() | 1);
        for _ in 0..random.random_range(1..=5) {
            plan.push((id, Transport::ALL[random.random_range(0..Transport::ALL.len())]));
        }
    }
    plan.shuffle(random);
    plan
}

async fn call(
    url: String,
    plan: Arc<Vec<(Uuid, Transport)>>,
    next: Arc<AtomicUsize>,
) -> reqwest::Result<Vec<(Uuid, Option<Outcome>)>> {
    let client = client();
    let mut answers = Vec::new();
    while let Some((id, transport)) = plan.get(next.fetch_add(1, Ordering::Relaxed)) {
        let log = json!({ "id": id, "name": "duplicate", "data": id.to_string() });
        let body = json!({ "action": "log", "transport": transport, "log": log }).to_string();
        let answer = client.post(&url).body(body).send().await?;
        let outcome = if answer.status() == 202 {
            let envelope: Envelope<Accepted> = answer.json().await?;
            envelope.data.and_then(|data| data.outcome)
        } else {
            None
        };
        answers.push((*id, outcome));
    }
    Ok(answers)
}

async fn judge(
    stack: &Stack,
    rounds: u32,
    plan: &[(Uuid, Transport)],
    answers: &HashMap<Uuid, Answers>,
) -> Report {
    let begun = Instant::now();
    let (mut rows, mut attempts, mut exact) = (0, 0_u64, 0);
    while begun.elapsed() < SETTLE_TIMEOUT {
        (rows, attempts, exact) = (0, 0, 0);
        let page = |page: Vec<proto::StoredEntry>| {
            for row in page {
                let sent = answers.get(&row.id).map_or(0, Answers::sum);
                rows += 1;
                attempts += u64::from(row.attempts);
                exact += usize::from(row.attempts == sent);
            }
        };
        stack.each_page(page).await;
        if attempts >= plan.len() as u64 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let ids = answers.len();
    let agreeing = answers.values().filter(|answers| answers.agree()).count();
    let sum = |count: fn(&Answers) -> u32| answers.values().map(count).sum::<u32>();
    let figures = format!(
        "{ids} ids in {} deliveries: {rows} rows, {attempts} attempts, exact for {exact} ids; answers: {} stored, \
         {} queued, {} duplicate, {} refused; consistent for {agreeing} ids",
        plan.len(),
        sum(|own| own.stored),
        sum(|own| own.queued),
        sum(|own| own.duplicate),
        sum(|own| own.refused),
    );
    let sound = rows == ids && attempts == plan.len() as u64 && exact == ids && agreeing == ids;
    let broken = if sound { Vec::new() } else { vec![figures.clone()] };
    Report { rounds, entries: ids, accepted: rows, figures, broken }
}
