//! What publisher and listener have in common: connecting, and publishing one message for sure.

use std::{fmt, future::Future, net::SocketAddr, str::FromStr, time::Duration};

use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    tcp::OwnedTLSConfig,
    uri::{AMQPScheme, AMQPUri},
};
use proto::{Failure, rabbitmq::Queues};
use url::{Host, Url};

use super::{RABBITMQ, topology::refusal};
use crate::{AddressError, Tls};

/// How often RabbitMQ and we show each other that we live; twice that without a sign, and the peer is dead.
const HEARTBEAT_SECONDS: u16 = 5;

/// How long connecting may take. Longer than elsewhere: RabbitMQ checks the user's password.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long declaring may take, and opening channels. A node that has just come back works off its log before it
/// answers; whoever hung up on it and asked anew would only add to its work.
pub const DECLARE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest name of a virtual host, in bytes: that of AMQP's short strings.
const VHOST_BYTES: usize = 255;

/// RabbitMQ's mark of a message that is to survive a restart.
pub(super) const PERSISTENT: u8 = 2;

/// Where RabbitMQ is, as whom to log in, and which queues there are ours.
#[derive(Clone)]
pub struct AmqpUrl {
    uri: AMQPUri,
    tls: Option<Tls>,
    queues: Queues,
}

impl FromStr for AmqpUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let expected = AddressError("a URL such as amqp://user:password@127.0.0.1:5672/%2f, or amqps://…");
        let uri = parse_uri(text).ok_or(expected)?;
        Ok(AmqpUrl { uri, tls: None, queues: Queues::default() })
    }
}

impl AmqpUrl {
    /// Whether it asks for TLS.
    pub fn is_encrypted(&self) -> bool {
        match self.uri.scheme {
            AMQPScheme::AMQP => false,
            AMQPScheme::AMQPS => true,
        }
    }

    /// Its host and port.
    pub fn authority(&self) -> (String, u16) {
        (self.uri.authority.host.clone(), self.uri.authority.port)
    }

    /// The same, but it leads elsewhere: through a relay. A certificate must be for that address, too.
    #[must_use]
    pub fn through(mut self, address: SocketAddr) -> Self {
        self.uri.authority.host = address.ip().to_string();
        self.uri.authority.port = address.port();
        self
    }

    /// With queues of other names than the default ones.
    #[must_use]
    pub fn with_queues(self, queues: Queues) -> Self {
        AmqpUrl { queues, ..self }
    }

    /// The names of our queues there.
    pub fn queues(&self) -> &Queues {
        &self.queues
    }

    /// The virtual host.
    pub fn virtual_host(&self) -> &str {
        &self.uri.vhost
    }

    /// With what an encrypted connection is opened. Without it nobody is believed.
    #[must_use]
    pub fn with_tls(self, tls: Option<&Tls>) -> Self {
        AmqpUrl { tls: tls.cloned(), ..self }
    }
}

/// `None` for what lapin reads, but could not use: it would connect elsewhere, or panic.
fn parse_uri(text: &str) -> Option<AMQPUri> {
    let mut uri: AMQPUri = text.parse().ok()?;
    // lapin takes localhost for an address of IPv6.
    if let Host::Ipv6(address) = Url::parse(text).ok()?.host()? {
        uri.authority.host = address.to_string();
    }
    uri.query.heartbeat = Some(HEARTBEAT_SECONDS);
    // Percent signs are decoded: what no host's name has would lead nobody knows where.
    let of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    let sound = !uri.authority.host.is_empty()
        && uri.authority.host.bytes().all(of_a_host)
        && uri.authority.port > 0
        && uri.vhost.len() <= VHOST_BYTES;
    sound.then_some(uri)
}

/// Without the password.
impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = &self.uri.authority;
        write!(f, "{}:{}/{}", authority.host, authority.port, self.uri.vhost)
    }
}

/// Opens a connection to RabbitMQ. lapin's I/O stops for publishes and acknowledgements alike while RabbitMQ
/// is short of memory, so whoever consumes must have one of its own.
///
/// # Errors
/// If RabbitMQ refuses, or does not answer in time.
pub async fn connect(url: &AmqpUrl, name: &str) -> Result<Connection, Failure> {
    in_time(
        url,
        CONNECT_TIMEOUT,
        Connection::connect_uri_with_config(
            url.uri.clone(),
            ConnectionProperties::default().with_connection_name(name.into()),
            // As they are now: they may have been read again.
            url.tls.as_ref().map_or_else(OwnedTLSConfig::default, Tls::amqp),
            lapin::runtime::default_runtime()
                .map_err(|error| Failure::unreachable(RABBITMQ).because(error))?,
        ),
    )
    .await
}

/// Publishes one message, and waits until RabbitMQ has confirmed it. The caller owns the channel, which is in
/// confirm mode, and has nothing else in flight on it.
///
/// # Errors
/// If it was not confirmed, or there was no queue for it.
pub async fn publish_confirmed(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<(), Failure> {
    let lost = |error| Failure::unknown(RABBITMQ).because(error);
    let properties = properties.with_delivery_mode(PERSISTENT);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirm = channel.basic_publish(exchange.into(), key.into(), options, body, properties).await;
    match confirm.map_err(lost)?.await.map_err(lost)? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => Err(unroutable()),
        Confirmation::Nack(_) => Err(refused()),
        Confirmation::NotRequested => Err(Failure::unknown(RABBITMQ).because("no confirm mode")),
    }
}

/// A nack.
pub(super) fn refused() -> Failure {
    Failure::overloaded(RABBITMQ).because("a nack: the queue is full, or was just deleted")
}

pub(super) fn unroutable() -> Failure {
    Failure::unreachable("the queue in RabbitMQ").because("the message was returned")
}

pub(super) async fn confirming_channel(connection: &Connection) -> Result<Channel, lapin::Error> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// lapin has no timeout of its own for connecting: a silent peer would hold it for ever.
pub(super) async fn in_time<T>(
    url: &AmqpUrl,
    limit: Duration,
    work: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(|error| refusal(url, error)),
        Err(_) => Err(Failure::unreachable(RABBITMQ).because("no answer in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Option<String> {
        text.parse::<AmqpUrl>().ok().map(|url| format!("{url:?}"))
    }

    #[test]
    fn a_url_leads_where_it_says() {
        for (text, expected) in [
            ("amqp://guest:secret@127.0.0.1:5673/%2f", "127.0.0.1:5673//"),
            ("amqp://rabbitmq", "rabbitmq:5672//"),
            ("amqp://u:p@[2001:db8::7]:5672/logs", "2001:db8::7:5672/logs"),
        ] {
            assert_eq!(place(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_url_may_lead_through_a_relay() {
        let url: AmqpUrl = "amqp://guest:secret@rabbitmq/logs".parse().expect("sound");
        assert_eq!(url.authority(), ("rabbitmq".to_owned(), 5672));
        let through = url.through("127.0.0.1:7".parse().expect("an address"));
        assert_eq!(format!("{through:?}"), "127.0.0.1:7/logs");
    }

    #[test]
    fn a_url_that_could_not_be_connected_with_is_refused() {
        let vhost = |len: usize| format!("amqp://rabbitmq/{}", "v".repeat(len));
        assert!(place(&vhost(255)).is_some());
        for text in [&vhost(256), "amqp:///", "amqp://rabbit%2Fmq", "amqp://rabbitmq:0", "http://rabbitmq"] {
            assert_eq!(place(text), None, "{text}");
        }
    }
}
