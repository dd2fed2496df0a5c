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
mod topology;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{
    StreamExt,
    future::{select_all, try_join_all},
};
use lapin::{
    Channel, Connection, Event,
    types::{AMQPValue, FieldTable},
};
use proto::{
    BatchMode, BatchReceipt, Code, Failure, LogEntry, Outcome, Receipt, Transport, limits::IN_FLIGHT_ENTRIES,
    rabbitmq::BINDING_KEY,
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
    connection::{confirming_channel, in_time},
    publisher::{Job, Jobs, publisher},
    topology::{declare_bound_by, refusal},
};
use crate::{Settings, backoff::Attempts, metrics::reconnects};

/// Publishers, each with a channel of its own.
const PUBLISHERS: usize = 8;

/// How often the topology is declared again, and its messages are counted.
const DECLARE_INTERVAL: Duration = Duration::from_secs(1);

/// How old a count may be: a reply or two may be late.
const COUNT_AGE: Duration = Duration::from_secs(3);

/// How long RabbitMQ may take to confirm or declare, unless it takes no messages at all.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Who is at the other end, in messages.
const RABBITMQ: &str = "RabbitMQ";

/// The client.
#[derive(Debug)]
pub struct Rabbitmq {
    jobs: mpsc::Sender<Job>,
    state: watch::Receiver<State>,
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
        let (publish, state) = watch::channel(State::Beginning);
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

    /// Delivers one entry.
    ///
    /// # Errors
    /// What is certain of the entry.
    pub async fn write(&self, entry: &LogEntry) -> Result<Receipt, Failure> {
        let results = self.publish(std::slice::from_ref(entry)).await?;
        let outcome = results.into_iter().next().unwrap_or_else(|| Err(Failure::unknown(RABBITMQ)))?;
        Ok(Receipt { outcome, store_us: None })
    }

    /// Delivers a batch.
    ///
    /// # Errors
    /// What is certain of all its entries. RabbitMQ has no transaction over messages: if some of an
    /// all-or-none batch are queued and some are not, the outcome is unknown.
    pub async fn write_batch(&self, entries: &[LogEntry], mode: BatchMode) -> Result<BatchReceipt, Failure> {
        let results = self.publish(entries).await?;
        let failed = results.iter().find_map(|result| result.as_ref().err());
        match (mode, failed) {
            (BatchMode::AllOrNone, Some(_)) if results.iter().any(Result::is_ok) => {
                Err(Failure::unknown(RABBITMQ).because("only a part of the batch was queued"))
            }
            (BatchMode::AllOrNone, Some(failure)) => Err(failure.clone()),
            (BatchMode::AllOrNone, None) | (BatchMode::Each, _) => {
                Ok(BatchReceipt { results, store_us: None })
            }
        }
    }

    /// Whether there is a connection to RabbitMQ, and it takes messages.
    pub fn reachable(&self) -> bool {
        *self.state.borrow() == State::Up
    }

    /// Waits until there is a connection, or none could be made at the first attempt.
    pub async fn tried(&self) {
        // Without its supervisor, which ends with this client alone, there would be no more attempts.
        let _ = self.state.clone().wait_for(|state| *state != State::Beginning).await;
    }

    /// How many messages wait, as RabbitMQ has said lately; `None` if it has not.
    pub fn depths(&self) -> Option<Depths> {
        let fresh = |counted: &Counted| counted.at.elapsed() < COUNT_AGE;
        self.counted.borrow().filter(fresh).map(|counted| counted.depths)
    }

    async fn publish(&self, entries: &[LogEntry]) -> Result<Vec<Result<Outcome, Failure>>, Failure> {
        if *self.state.borrow() == State::Blocked {
            return Err(blocked());
        }
        let (reply, results) = oneshot::channel();
        let job = Job { entries: entries.to_vec(), headers: trace_headers(), reply };
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
    Failure::new(
        Code::Blocked,
        "RabbitMQ takes no messages, it is short of memory or disk; nothing was stored, try again",
    )
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

/// Where to publish: RabbitMQ, and by which key our queue is bound there.
#[derive(Debug)]
struct Place {
    url: AmqpUrl,
    binding_key: &'static str,
}

/// How many messages there were, and when.
#[derive(Debug, Clone, Copy)]
struct Counted {
    depths: Depths,
    at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the end of the first attempt to connect.
    Beginning,
    Down,
    Up,
    /// Connected, but RabbitMQ takes no messages.
    Blocked,
}

/// Connects, publishes until the connection is lost, and begins again. lapin's own recovery is off: it keeps
/// calls waiting that should be refused.
async fn keep_connected(
    place: Place,
    jobs: Jobs,
    state: watch::Sender<State>,
    counted: watch::Sender<Option<Counted>>,
) {
    let mut attempts = Attempts::new(RABBITMQ, reconnects(Transport::Rabbitmq));
    let mut why = Failure::unreachable(RABBITMQ).because("not connected yet");
    loop {
        why = match refusing(&jobs, &why, set_up(&place)).await {
            Ok(session) => {
                attempts.succeeded();
                state.send_replace(State::Up);
                let why = publish_until_lost(session, &place, &jobs, &state, &counted).await;
                state.send_replace(State::Down);
                counted.send_replace(None);
                why
            }
            Err(failure) => {
                state.send_replace(State::Down);
                failure
            }
        };
        let reason = format!("{}: {}", why.message, why.cause());
        refusing(&jobs, &why, tokio::time::sleep(attempts.failed(&reason))).await;
    }
}

/// Refuses every job while `work` goes on, and says why there is no connection: without one nothing can have been
/// queued.
async fn refusing<T>(jobs: &Jobs, why: &Failure, work: impl Future<Output = T>) -> T {
    let refuse = async {
        let mut jobs = jobs.lock().await;
        while let Some(job) = jobs.recv().await {
            // A caller that has given up needs no answer.
            let _ = job.reply.send(Err(why.clone()));
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = work => result,
        () = refuse => unreachable!("it never ends"),
    }
}

/// A connection that is ready for use.
struct Session {
    connection: Connection,
    topology: Channel,
    publishers: Vec<Channel>,
}

async fn set_up(place: &Place) -> Result<Session, Failure> {
    let connection = connect(&place.url, "fourwire publisher").await?;
    let declare = async {
        let topology = connection.create_channel().await?;
        declare_bound_by(&topology, place.url.queues(), place.binding_key).await?;
        let publishers = try_join_all((0..PUBLISHERS).map(|_| confirming_channel(&connection))).await?;
        Ok((topology, publishers))
    };
    let (topology, publishers) = in_time(&place.url, DECLARE_TIMEOUT, declare).await?;
    Ok(Session { connection, topology, publishers })
}

/// Runs the publishers, and follows what RabbitMQ says of the connection. Whatever goes wrong with one of them
/// ends the connection, for a fresh one is the only state that is certain; says what it was.
async fn publish_until_lost(
    session: Session,
    place: &Place,
    jobs: &Jobs,
    state: &watch::Sender<State>,
    counted: &watch::Sender<Option<Counted>>,
) -> Failure {
    let Session { connection, topology, publishers } = session;
    let publishers = publishers.into_iter().map(|channel| Box::pin(publisher(channel, place, jobs, state)));
    tokio::select! {
        why = follow(&connection, state) => why,
        why = keep_declared(&topology, place, state, counted) => why,
        (why, ..) = select_all(publishers) => why,
    }
}

/// Follows what RabbitMQ says of the connection, until it is lost.
async fn follow(connection: &Connection, state: &watch::Sender<State>) -> Failure {
    let mut events = std::pin::pin!(connection.events_listener());
    while let Some(event) = events.next().await {
        match event {
            Event::ConnectionBlocked(reason) => {
                tracing::warn!(reason, "RabbitMQ takes no messages");
                state.send_replace(State::Blocked);
            }
            Event::ConnectionUnblocked => {
                state.send_replace(State::Up);
            }
            Event::Error(error) if !connection.status().connected() => {
                return Failure::unreachable(RABBITMQ).because(error);
            }
            Event::Connected | Event::SendFlow(_) | Event::Error(_) | _ => {}
        }
    }
    Failure::unreachable(RABBITMQ).because("closed")
}

/// Declares the topology again and again: were the queue deleted, somebody else's queue at the same exchange
/// would take our messages, and nothing would be returned. RabbitMQ's reply says how many messages wait.
async fn keep_declared(
    channel: &Channel,
    place: &Place,
    state: &watch::Sender<State>,
    counted: &watch::Sender<Option<Counted>>,
) -> Failure {
    loop {
        match patiently(place, state, declare_bound_by(channel, place.url.queues(), place.binding_key)).await
        {
            Ok(depths) => counted.send_replace(Some(Counted { depths, at: Instant::now() })),
            Err(why) => return why,
        };
        tokio::time::sleep(DECLARE_INTERVAL).await;
    }
}

/// Waits for RabbitMQ to do its part: not too long, but as long as it must while it takes no messages.
async fn patiently<T>(
    place: &Place,
    state: &watch::Sender<State>,
    work: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, Failure> {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(REPLY_TIMEOUT, &mut work).await {
            Ok(result) => return result.map_err(|error| refusal(&place.url, error)),
            Err(_) if *state.borrow() == State::Blocked => {}
            Err(_) => return Err(Failure::unreachable(RABBITMQ).because("no reply in time")),
        }
    }
}
