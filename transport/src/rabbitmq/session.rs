//! A connection to RabbitMQ, from the attempt to make one to its loss, and what goes on while it is open.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{
    StreamExt,
    future::{select_all, try_join_all},
};
use lapin::{Channel, Event};
use proto::{Failure, Transport};
use tokio::sync::watch;

use super::{
    DECLARE_TIMEOUT, Depths, RABBITMQ, connect,
    connection::{confirming_channel, in_time},
    place::{Flow, Place, patiently},
    publisher::publisher,
    topology::declare_bound_by,
};
use crate::{
    backoff::Attempts,
    connection::{Connection, NOT_YET},
    gather::Groups,
    metrics::reconnects,
};

/// Publishers, each with a channel of its own.
const PUBLISHERS: usize = 8;

/// How often the topology is declared again, and its messages are counted.
const DECLARE_INTERVAL: Duration = Duration::from_secs(1);

/// How many messages there were, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) depths: Depths,
    pub(super) at: Instant,
}

/// Connects, publishes until the connection is lost, and begins again. lapin's own recovery is off: it keeps
/// calls waiting that should be refused.
pub(super) async fn keep_connected(
    place: Place,
    groups: Arc<Groups>,
    state: watch::Sender<Connection<Flow>>,
    counted: watch::Sender<Option<Counted>>,
) {
    let mut attempts = Attempts::new(RABBITMQ, reconnects(Transport::Rabbitmq));
    let mut why = Failure::unreachable(RABBITMQ).because(NOT_YET);
    loop {
        why = match refusing(&groups, &why, set_up(&place)).await {
            Ok(session) => {
                attempts.succeeded();
                state.send_replace(Connection::Up(Flow::Open));
                let why = publish_until_lost(session, &place, &groups, &state, &counted).await;
                counted.send_replace(None);
                why
            }
            Err(failure) => failure,
        };
        let reason = format!("{}: {}", why.happened(), why.cause());
        state.send_replace(Connection::Down(reason.clone()));
        refusing(&groups, &why, tokio::time::sleep(attempts.failed(&reason))).await;
    }
}

/// Refuses everything while `work` goes on, and says why there is no connection: without one nothing can have been
/// queued.
pub(super) async fn refusing<T>(groups: &Groups, why: &Failure, work: impl Future<Output = T>) -> T {
    tokio::select! {
        result = work => result,
        never = groups.refuse(why) => match never {},
    }
}

/// A connection that is ready for use.
struct Session {
    connection: lapin::Connection,
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
    groups: &Groups,
    state: &watch::Sender<Connection<Flow>>,
    counted: &watch::Sender<Option<Counted>>,
) -> Failure {
    let Session { connection, topology, publishers } = session;
    let publishers = publishers.into_iter().map(|channel| Box::pin(publisher(channel, place, groups, state)));
    tokio::select! {
        why = follow(&connection, state) => why,
        why = keep_declared(&topology, place, state, counted) => why,
        (why, ..) = select_all(publishers) => why,
    }
}

/// Follows what RabbitMQ says of the connection, until it is lost.
async fn follow(connection: &lapin::Connection, state: &watch::Sender<Connection<Flow>>) -> Failure {
    let mut events = std::pin::pin!(connection.events_listener());
    while let Some(event) = events.next().await {
        match event {
            Event::ConnectionBlocked(reason) => {
                tracing::warn!(reason, "RabbitMQ takes no messages");
                state.send_replace(Connection::Up(Flow::Blocked));
            }
            Event::ConnectionUnblocked => {
                state.send_replace(Connection::Up(Flow::Open));
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
    state: &watch::Sender<Connection<Flow>>,
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
