//! Where to publish, and how RabbitMQ is waited for there.

use std::{future::Future, sync::Arc, time::Duration};

use proto::Failure;
use tokio::sync::watch;

use super::{AmqpUrl, RABBITMQ, topology::refusal};
use crate::{connection::Connection, wire::Wire};

/// How long RabbitMQ may take to confirm or declare, unless it takes no messages at all.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Where to publish: RabbitMQ, and by which key our queue is bound there.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) url: AmqpUrl,
    pub(super) binding_key: &'static str,
    pub(super) wire: Arc<Wire>,
}

/// Whether RabbitMQ takes messages on an open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Open,
    /// It has an alarm: it is short of memory or disk.
    Blocked,
}

/// Waits for RabbitMQ to do its part: not too long, but as long as it must while it takes no messages.
pub(super) async fn patiently<T>(
    place: &Place,
    state: &watch::Sender<Connection<Flow>>,
    work: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, Failure> {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(REPLY_TIMEOUT, &mut work).await {
            Ok(result) => return result.map_err(|error| refusal(&place.url, error)),
            Err(_) if *state.borrow() == Connection::Up(Flow::Blocked) => {}
            Err(_) => return Err(Failure::unreachable(RABBITMQ).because("no reply in time")),
        }
    }
}
