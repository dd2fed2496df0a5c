//! `rabbitmq`: persistent messages through RabbitMQ, each confirmed before the answer.
//!
//! Several publishers share one connection, and each owns a channel: two tasks on one lapin channel get each
//! other's confirms. A publisher takes what has gathered, publishes it, and waits for all its confirms before
//! it judges any of them, since lapin hands a returned message to whichever confirm comes first.

mod connection;
mod dead;
mod frames;
mod nesting;
mod place;
mod properties;
mod publisher;
mod session;
mod topology;
mod url;

use std::{sync::Arc, time::Duration};

use proto::{Batch, BatchMode, Code, Failure, LogEntry, Transport, rabbitmq::BINDING_KEY};
use tokio::{sync::watch, task::JoinSet, time::Instant};

pub use self::{
    connection::{DECLARE_TIMEOUT, connect, publish_confirmed},
    dead::{DeadLetter, DeadLetters},
    nesting::make_room_for_nesting,
    properties::kept,
    topology::{Depths, declare_topology},
    url::AmqpUrl,
};
use self::{
    place::{Flow, Place},
    session::{Counted, keep_connected, refusing},
};
use crate::{
    Receipts, Settings,
    admission::{Admission, Admitted},
    connection::Connection,
    gather::{Patience, Queue},
    wire::Wire,
};

/// How old a count may be: a reply or two may be late.
const COUNT_AGE: Duration = Duration::from_secs(3);

/// Who is at the other end, in messages.
pub(crate) const RABBITMQ: &str = "RabbitMQ";

/// The client.
#[derive(Debug)]
pub struct Rabbitmq {
    queue: Queue,
    deadline: Duration,
    state: watch::Receiver<Connection<Flow>>,
    counted: watch::Receiver<Option<Counted>>,
    wire: Arc<Wire>,
    _supervisor: JoinSet<()>,
}

impl Rabbitmq {
    /// Makes the client; it connects in the background, again and again.
    pub fn new(settings: &Settings) -> Self {
        Self::bound_by(settings, BINDING_KEY)
    }

    /// Makes a client whose publishers take room for their calls, if they take along what has gathered; otherwise the
    /// callers do.
    pub(crate) fn admitted_by(settings: &Settings, admission: &Admission) -> Self {
        let calls = settings.coalesce.then(|| admission.room_for_calls());
        let queue = Queue::new(Transport::Rabbitmq, RABBITMQ, settings.coalesce, calls);
        Self::fed_by(queue, settings, BINDING_KEY)
    }

    /// Makes a client that binds the queue by another key than ours. Entries of a level outside of it are returned
    /// by RabbitMQ: so a test can show that each caller gets its own answer.
    pub fn bound_by(settings: &Settings, binding_key: &'static str) -> Self {
        let queue = Queue::new(Transport::Rabbitmq, RABBITMQ, settings.coalesce, None);
        Self::fed_by(queue, settings, binding_key)
    }

    fn fed_by(queue: Queue, settings: &Settings, binding_key: &'static str) -> Self {
        let (publish, state) = watch::channel(Connection::Connecting);
        let (count, counted) = watch::channel(None);
        let mut supervisor = JoinSet::new();
        let groups = queue.groups();
        let wire = Arc::default();
        match settings.amqp_url.clone() {
            Some(url) => {
                let place = Place { url, binding_key, wire: Arc::clone(&wire) };
                supervisor.spawn(keep_connected(place, groups, publish, count))
            }
            None => supervisor.spawn(async move {
                let why = Failure::unreachable(RABBITMQ).because("no address is set");
                refusing(&groups, &why, std::future::pending()).await
            }),
        };
        Rabbitmq { queue, deadline: settings.deadline, state, counted, wire, _supervisor: supervisor }
    }

    /// Delivers entries, each as a message.
    ///
    /// # Errors
    /// What is certain of all of them. RabbitMQ has no transaction over messages: if some of an all-or-none batch are
    /// queued and some are not, the outcome is unknown.
    pub async fn write(&self, batch: &Batch<LogEntry>, mode: BatchMode) -> Result<Receipts, Failure> {
        let until = Instant::now() + self.deadline;
        let receipts = self.publish(batch.clone(), None, Patience { to_be_sent: until, until }).await?;
        receipts.in_mode(mode, RABBITMQ)
    }

    /// Hands entries to the publishers; each has its own result.
    ///
    /// # Errors
    /// What is certain of all of them.
    pub(crate) async fn publish(
        &self,
        batch: Batch<LogEntry>,
        room: Option<Admitted>,
        patience: Patience,
    ) -> Result<Receipts, Failure> {
        if *self.state.borrow() == Connection::Up(Flow::Blocked) {
            return Err(blocked());
        }
        self.queue.deliver(batch, room, patience).await
    }

    /// Whether there is a connection to RabbitMQ, and it takes messages.
    pub fn reachable(&self) -> bool {
        *self.state.borrow() == Connection::Up(Flow::Open)
    }

    /// The frames of what is published and of its confirms.
    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
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
}

/// RabbitMQ has an alarm, and nothing was sent to it.
fn blocked() -> Failure {
    Failure::advising(Code::Blocked, "RabbitMQ takes no messages, it is short of memory or disk")
}
