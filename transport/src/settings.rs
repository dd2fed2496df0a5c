//! What the clients need to know.

use std::time::Duration;

use proto::Transport;

use crate::{Endpoints, Tls, rabbitmq::AmqpUrl};

/// Where the logger and RabbitMQ are, and how long a call may take.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the logger is.
    pub endpoints: Endpoints,
    /// RabbitMQ; `None`: nothing is sent over `rabbitmq`.
    pub amqp_url: Option<AmqpUrl>,
    /// With what the encrypted addresses are called.
    pub tls: Option<Tls>,
    /// Whether single entries that wait for a call go along in one; off is one call per entry.
    pub coalesce: bool,
    /// No call takes longer; past it the outcome is unknown.
    pub deadline: Duration,
    /// The transport over which the entries came, where it is not the one that hands them over: the listener's case.
    pub came_by: Option<Transport>,
}
