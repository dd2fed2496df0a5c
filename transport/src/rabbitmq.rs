//! `rabbitmq`: persistent messages through RabbitMQ, each confirmed before the answer.
//!
//! Several publishers share one connection, and each owns a channel: two tasks on one lapin channel get each
//! other's confirms. A publisher takes what has gathered, publishes it, and waits for all its confirms before
//! it judges any of them, since lapin hands a returned message to whichever confirm comes first.

mod connection;
mod dead;
mod nesting;
mod properties;
mod publisher;
mod session;
mod topology;

use std::{sync::Arc, time::Duration};

use lapin::types::{AMQPValue, FieldTable};
use proto::{
    Batch, BatchMode, Code, Failure, LogEntry, Outcome, limits::IN_FLIGHT_ENTRIES, rabbitmq::BINDING_KEY,
};
use tokio::{
    sync::{
        Mutex,
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    task::JoinSet,
};

pub use self::{
    connection::{AmqpUrl, DECLARE_TIMEOUT, connect, publish_confirmed},
    dead::{DeadLetter, DeadLetters},
    nesting::make_room_for_nesting,
    properties::kept,
    topology::{Depths, declare_topology},
};
use self::{
    publisher::Job,
    session::{Counted, Flow, Place, keep_connected, refusing},
};
use crate::{Receipts, Settings, connection::Connection};

/// How old a count may be: a reply or two may be late.
const COUNT_AGE: Duration = Duration::from_secs(3);

/// Who is at the other end, in messages.
const RABBITMQ: &str = "RabbitMQ";

/// The client.
#[derive(Debug)]
pub struct Rabbitmq {
    jobs: mpsc::Sender<Job>,
    state: watch::Receiver<Connection<Flow>>,
    counted: watch::Receiver<Option<Counted>>,
    _supervisor: JoinSet<()>,
}

impl Rabbitmq {
    /// Makes the client; it connects in the background, again and again.
    pub fn new(settings: &Settings) -> Self {
        Self::bound_by(settings, BINDING_KEY)
    }

    /// Makes a client that binds the queue by another key than ours. Entries of a level outside of it are returned
    /// by RabbitMQ: so a test can show that each caller gets its own answer.
    pub fn bound_by(settings: &Settings, binding_key: &'static str) -> Self {
        let (jobs, queue) = mpsc::channel(IN_FLIGHT_ENTRIES);
        let (publish, state) = watch::channel(Connection::Connecting);
        let (count, counted) = watch::channel(None);
        let mut supervisor = JoinSet::new();
        let queue = Arc::new(Mutex::new(queue));
        match settings.amqp_url.clone() {
            Some(url) => supervisor.spawn(keep_connected(Place { url, binding_key }, queue, publish, count)),
            None => supervisor.spawn(async move {
                let why = Failure::unreachable(RABBITMQ).because("no address is set");
                refusing(&queue, &why, std::future::pending()).await
            }),
        };
        Rabbitmq { jobs, state, counted, _supervisor: supervisor }
    }

    /// Delivers entries, each as a message.
    ///
    /// # Errors
    /// What is certain of all of them. RabbitMQ has no transaction over messages: if some of an all-or-none batch are
    /// queued and some are not, the outcome is unknown.
    pub async fn write(&self, batch: &Batch<LogEntry>, mode: BatchMode) -> Result<Receipts, Failure> {
        let results = self.publish(batch).await?;
        let failed = results.iter().find_map(|result| result.as_ref().err());
        match (mode, failed) {
            (BatchMode::AllOrNone, Some(_)) if results.iter().any(Result::is_ok) => {
                Err(Failure::unknown(RABBITMQ).because("only a part of the batch was queued"))
            }
            (BatchMode::AllOrNone, Some(failure)) => Err(failure.clone()),
            (BatchMode::AllOrNone, None) | (BatchMode::Each, _) => Ok(Receipts { results, store_us: None }),
        }
    }

    /// Whether there is a connection to RabbitMQ, and it takes messages.
    pub fn reachable(&self) -> bool {
        *self.state.borrow() == Connection::Up(Flow::Open)
    }

    /// Waits until there is a connection, or none could be made at the first attempt.
    pub async fn tried(&self) {
        // Without its supervisor, which ends with this client alone, there would be no more attempts.
        let _ = self.state.clone().wait_for(Connection::was_tried).await;
    }

    /// How many messages wait, as RabbitMQ has said lately; `None` if it has not.
    pub fn depths(&self) -> Option<Depths> {
        let fresh = |counted: &Counted| counted.at.elapsed() < COUNT_AGE;
        self.counted.borrow().filter(fresh).map(|counted| counted.depths)
    }

    async fn publish(&self, batch: &Batch<LogEntry>) -> Result<Batch<Result<Outcome, Failure>>, Failure> {
        if *self.state.borrow() == Connection::Up(Flow::Blocked) {
            return Err(blocked());
        }
        let (reply, results) = oneshot::channel();
        let job = Job { entries: batch.clone(), headers: trace_headers(), reply };
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Failure::overloaded(RABBITMQ),
            TrySendError::Closed(_) => Failure::unreachable(RABBITMQ).because("the supervisor is gone"),
        })?;
        // The publisher is gone with the connection while the job was in its hands.
        results.await.unwrap_or_else(|_| Err(Failure::unknown(RABBITMQ).because("the connection was lost")))
    }
}

/// RabbitMQ has an alarm, and nothing was sent to it.
fn blocked() -> Failure {
    Failure::advising(Code::Blocked, "RabbitMQ takes no messages, it is short of memory or disk")
}

/// The headers that say in which span a message is sent.
fn trace_headers() -> Option<FieldTable> {
    let mut headers = None;
    spans::inject(|name, value| {
        let value = AMQPValue::LongString(value.into());
        headers.get_or_insert_with(FieldTable::default).insert(name.into(), value);
    });
    headers
}
