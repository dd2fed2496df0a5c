//! The address of RabbitMQ.

use std::{fmt, net::SocketAddr, str::FromStr};

use lapin::uri::{AMQPScheme, AMQPUri};
use proto::rabbitmq::Queues;
use url::{Host, Url};

use crate::{AddressError, Tls};

/// How often RabbitMQ and we show each other that we live; twice that without a sign, and the peer is dead.
const HEARTBEAT_SECONDS: u16 = 5;

/// Longest name of a virtual host, in bytes: that of AMQP's short strings.
const VHOST_BYTES: usize = 255;

/// Where RabbitMQ is, as whom to log in, and which queues there are ours.
#[derive(Clone)]
pub struct AmqpUrl {
    pub(super) uri: AMQPUri,
    pub(super) tls: Option<Tls>,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Option<String> {
        text.parse::<AmqpUrl>().ok().map(|url| format!("{url:?}"))
    }

    #[test]
    fn a_url_may_lead_through_a_relay() {
        let url: AmqpUrl = "amqp://guest:secret@rabbitmq/logs".parse().expect("sound");
        assert_eq!(url.authority(), ("rabbitmq".to_owned(), 5672));
        let through = url.through("127.0.0.1:7".parse().expect("an address"));
        assert_eq!(format!("{through:?}"), "127.0.0.1:7/logs");
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
    fn a_url_that_could_not_be_connected_with_is_refused() {
        let vhost = |len: usize| format!("amqp://rabbitmq/{}", "v".repeat(len));
        assert!(place(&vhost(255)).is_some());
        for text in [&vhost(256), "amqp:///", "amqp://rabbit%2Fmq", "amqp://rabbitmq:0", "http://rabbitmq"] {
            assert_eq!(place(text), None, "{text}");
        }
    }
}
