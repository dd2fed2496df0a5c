//! Entries that RabbitMQ takes and entries that it returns, all mixed, through our publishers: each caller must get
//! the answer to its own.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all};
use lapin::{options::BasicConsumeOptions, types::FieldTable};
use proto::{
    Batch, BatchMode, Code, Failure, Level, LogEntry, Outcome,
    rabbitmq::{QUEUE, routing_key},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;
use transport::{Endpoints, Settings, rabbitmq::Rabbitmq};
use uuid::Uuid;

use super::{Report, Tried, entry};
use crate::{SOON, rabbitmq::VirtualHost, soon};

/// Tasks that publish.
const TASKS: usize = 8;

/// Entries of a task in a round: of all tasks together 1,000.
const ENTRIES: usize = 125;

/// Most entries that a call publishes. The calls of a task are in flight together, so that a publisher takes
/// several at a time.
const CALL_ENTRIES: usize = 9;

/// The level that the queue is bound by in this trial; the other is returned.
const ROUTABLE: Level = Level::Info;
const UNROUTABLE: Level = Level::Error;

/// How often the queue is counted again where too few messages are in it.
const COUNTS: u32 = 20;

/// Publishes so many times 1,000 entries.
pub async fn run(rounds: u32, seed: u64, mut progress: impl FnMut(u32)) -> Tried {
    let rabbitmq = VirtualHost::create().await;
    let publisher = Arc::new(Rabbitmq::bound_by(&settings(&rabbitmq), routing_key(ROUTABLE)));
    soon("the publisher is connected", async || publisher.reachable().then_some(())).await?;
    let begun = Instant::now();
    let mut told = Told::default();
    for round in 0..rounds {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let random =
                StdRng::seed_from_u64(seed.wrapping_add(u64::from(round) * TASKS as u64 + task as u64));
            tasks.spawn(publish(Arc::clone(&publisher), random));
        }
        told.merge(tasks.join_all().await);
        progress(round + 1);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let queued = all_queued(&rabbitmq, told.routable.len()).await;
    Ok(told.judge(rounds, &queued, seconds))
}

fn settings(rabbitmq: &VirtualHost) -> Settings {
    // Nobody listens on port 1: nothing goes to the logger.
    Settings {
        endpoints: Endpoints {
            logger_http_url: "http://127.0.0.1:1".parse().expect("a URL"),
            logger_rpc_addr: "127.0.0.1:1".parse().expect("an address"),
            logger_grpc_url: "http://127.0.0.1:1".parse().expect("a URL"),
        },
        amqp_url: Some(rabbitmq.url().parse().expect("a URL")),
        tls: None,
        coalesce: true,
        deadline: SOON,
        came_by: None,
    }
}

/// What the callers were told.
#[derive(Debug, Default)]
struct Told {
    published: usize,
    accepted: usize,
    routable: HashSet<Uuid>,
    wrong: usize,
    first_wrong: Option<String>,
}

impl Told {
    fn note(&mut self, entry: &LogEntry, result: &Result<Outcome, Failure>) {
        self.published += 1;
        self.accepted += usize::from(result.is_ok());
        let right = if entry.level() == ROUTABLE {
            self.routable.insert(entry.id());
            *result == Ok(Outcome::Queued)
        } else {
            result.as_ref().is_err_and(|failure| failure.code == Code::Unavailable)
        };
        if !right {
            self.wrong += 1;
            self.first_wrong
                .get_or_insert_with(|| format!("an entry of level {:?}: {result:?}", entry.level()));
        }
    }

    fn merge(&mut self, others: Vec<Told>) {
        for other in others {
            self.published += other.published;
            self.accepted += other.accepted;
            self.routable.extend(other.routable);
            self.wrong += other.wrong;
            self.first_wrong = self.first_wrong.take().or(other.first_wrong);
        }
    }

    fn judge(self, rounds: u32, queued: &[Uuid], seconds: f64) -> Report {
        let distinct: HashSet<Uuid> = queued.iter().copied().collect();
        let (missing, duplicated) =
            (self.routable.difference(&distinct).count(), queued.len() - distinct.len());
        let foreign = distinct.difference(&self.routable).count();
        let Told { published, accepted, routable, wrong, first_wrong } = self;
        let figures = format!(
            "published {published} ({:.0}/s), of which unroutable {}, wrong answers {wrong} | in the queue {}, missing \
             {missing}, foreign {foreign}, duplicated {duplicated}",
            published as f64 / seconds,
            published - routable.len(),
            queued.len(),
        );
        let sound = [wrong, missing, foreign, duplicated].iter().all(|count| *count == 0);
        let broken = if sound { Vec::new() } else { vec![format!("{figures}; {first_wrong:?}")] };
        Report { rounds, entries: published, accepted, figures, broken }
    }
}

/// Publishes the entries of a task, in calls of one and of several.
async fn publish(publisher: Arc<Rabbitmq>, mut random: StdRng) -> Told {
    let entries: Vec<LogEntry> = (0..ENTRIES)
        .map(|_| entry(if random.random() { ROUTABLE } else { UNROUTABLE }, String::new()))
        .collect();
    let mut left = entries.as_slice();
    let mut batches: Vec<Batch<LogEntry>> = Vec::new();
    while !left.is_empty() {
        let (call, rest) = left.split_at(random.random_range(1..=CALL_ENTRIES.min(left.len())));
        batches.push(call.to_vec().try_into().expect("within the limits"));
        left = rest;
    }
    let calls = batches.iter().map(|batch| publisher.write(batch, BatchMode::Each));
    let mut told = Told::default();
    let mut entries = entries.iter();
    for result in join_all(calls).await {
        let results = result.expect("RabbitMQ answers").results;
        for (result, entry) in results.iter().zip(entries.by_ref()) {
            told.note(entry, result);
        }
    }
    told
}

/// Takes all that is in the queue. It should hold `expected`, and RabbitMQ that is busy may count none at first.
async fn all_queued(rabbitmq: &VirtualHost, expected: usize) -> Vec<Uuid> {
    let mut depth = rabbitmq.depth(QUEUE).await as usize;
    for _ in 0..COUNTS {
        if depth < expected {
            tokio::time::sleep(Duration::from_millis(500)).await;
            depth = depth.max(rabbitmq.depth(QUEUE).await as usize);
        }
    }
    let (_connection, channel) = rabbitmq.channel().await;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let consumer = channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default()).await;
    let mut consumer = consumer.expect("the queue is there");
    let mut ids = Vec::with_capacity(depth);
    while ids.len() < depth {
        let delivery = tokio::time::timeout(SOON, consumer.next()).await.expect("as many as were counted");
        let delivery = delivery.expect("the queue stays").expect("RabbitMQ stays");
        let id = delivery.properties.message_id().as_ref().expect("our messages have one");
        ids.push(id.as_str().parse().expect("a UUID"));
    }
    assert_eq!(rabbitmq.depth(QUEUE).await, 0, "no more than were counted");
    ids
}
