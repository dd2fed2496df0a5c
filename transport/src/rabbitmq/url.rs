//! The address of RabbitMQ.

use std::{fmt, net::SocketAddr, str::FromStr};

use lapin::uri::{AMQPScheme, AMQPUri};
use proto::rabbitmq::Queues;
use url::{Host, Url};

use crate::{AddressError, Tls, address::parse_list};

/// How often RabbitMQ and we show each other that we live; twice that without a sign, and the peer is dead.
const HEARTBEAT_SECONDS: u16 = 5;

/// Longest name of a virtual host, in bytes: that of AMQP's short strings.
const VHOST_BYTES: usize = 255;

/// Where RabbitMQ is, as whom to log in, and which queues there are ours: a node, or some nodes of one cluster, each of
/// which may be called.
#[derive(Clone)]
pub struct AmqpUrl {
    /// One at least.
    nodes: Vec<AMQPUri>,
    pub(super) tls: Option<Tls>,
    queues: Queues,
}

impl FromStr for AmqpUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let nodes: Vec<Node> = parse_list(&split(text))?;
        let nodes = nodes.into_iter().map(|Node(uri)| uri).collect();
        Ok(AmqpUrl { nodes, tls: None, queues: Queues::default() })
    }
}

/// One of the URLs.
struct Node(AMQPUri);

impl FromStr for Node {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let expected =
            AddressError::Unsound("a URL such as amqp://user:password@127.0.0.1:5672/%2f, or amqps://…");
        parse_uri(text).map(Node).ok_or(expected)
    }
}

impl AmqpUrl {
    /// For each node whether it asks for TLS, with the setting: for [`crate::check_encryption`].
    pub fn encryption(&self) -> Vec<(&'static str, bool)> {
        let is_encrypted = |uri: &AMQPUri| match uri.scheme {
            AMQPScheme::AMQP => false,
            AMQPScheme::AMQPS => true,
        };
        self.nodes.iter().map(|uri| ("AMQP_URL", is_encrypted(uri))).collect()
    }

    /// The host and port of the first node.
    pub fn authority(&self) -> (String, u16) {
        let authority = &self.nodes[0].authority;
        (authority.host.clone(), authority.port)
    }

    /// The first node alone, but it leads elsewhere: through a relay. A certificate must be for that address, too.
    #[must_use]
    pub fn through(mut self, address: SocketAddr) -> Self {
        self.nodes.truncate(1);
        self.nodes[0].authority.host = address.ip().to_string();
        self.nodes[0].authority.port = address.port();
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

    /// The virtual host; those of some nodes, if they differ.
    pub fn virtual_host(&self) -> String {
        let mut vhosts: Vec<&str> = self.nodes.iter().map(|uri| uri.vhost.as_str()).collect();
        vhosts.sort_unstable();
        vhosts.dedup();
        vhosts.join(" or ")
    }

    /// With what an encrypted connection is opened. Without it nobody is believed.
    #[must_use]
    pub fn with_tls(self, tls: Option<&Tls>) -> Self {
        AmqpUrl { tls: tls.cloned(), ..self }
    }

    /// Each node alone, in their order from one that is drawn.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = AmqpUrl> {
        let count = self.nodes.len();
        let first = fastrand::usize(..count);
        (0..count)
            .map(move |at| AmqpUrl { nodes: vec![self.nodes[(first + at) % count].clone()], ..self.clone() })
    }

    /// The first node.
    pub(super) fn uri(&self) -> &AMQPUri {
        &self.nodes[0]
    }
}

/// The URLs of a list. A comma that no scheme follows belongs to a URL, to its password for example.
fn split(text: &str) -> Vec<&str> {
    let mut urls = Vec::new();
    let mut rest = text;
    let begins_one =
        |text: &str| ["amqp:", "amqps:"].iter().any(|scheme| text.trim_start().starts_with(scheme));
    while let Some((at, _)) = rest.match_indices(',').find(|(at, _)| begins_one(&rest[at + 1..])) {
        urls.push(&rest[..at]);
        rest = &rest[at + 1..];
    }
    urls.push(rest);
    urls
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

/// Without the passwords.
impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, AMQPUri { authority, vhost, .. }) in self.nodes.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}:{}/{vhost}", authority.host, authority.port)?;
        }
        Ok(())
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
    fn a_list_leads_to_each_node_in_turn_with_its_own_virtual_host_and_shows_no_password() {
        let text = "amqp://u:se,cret@one/a,amqps://v:secret@two:5671/b, amqp://w:secret@three/a";
        let url: AmqpUrl = text.parse().expect("sound");
        assert_eq!(format!("{url:?}"), "one:5672/a,two:5671/b,three:5672/a");
        assert_eq!((url.virtual_host(), url.authority().0), ("a or b".to_owned(), "one".to_owned()));
        let encrypted: Vec<bool> = url.encryption().into_iter().map(|(_, encrypted)| encrypted).collect();
        assert_eq!(encrypted, [false, true, false]);
        let mut first = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let hosts: Vec<String> = url.in_turn().map(|node| node.authority().0).collect();
            let at = ["one", "two", "three"].iter().position(|host| *host == hosts[0]).expect("a node");
            let mut expected = ["one", "two", "three"];
            expected.rotate_left(at);
            assert_eq!(hosts, expected);
            first.insert(at);
        }
        assert_eq!(first.len(), 3, "it begins with any");
        let through = url.through("127.0.0.1:7".parse().expect("an address"));
        assert_eq!(format!("{through:?}"), "127.0.0.1:7/a");
    }

    #[test]
    fn a_list_with_a_url_that_is_none_is_refused_and_not_repeated() {
        for (text, words) in [
            (
                "amqp://u:secret@one,amqp://u:secret@two:0",
                "address 2 of 2 in the list: expected a URL such as",
            ),
            ("amqp://u:secret@one,two", "expected a URL such as"),
            (&vec!["amqp://u:secret@one"; 17].join(","), "17 addresses: give at most 16"),
        ] {
            let told = text.parse::<AmqpUrl>().expect_err(text).to_string();
            assert!(told.starts_with(words) && !told.contains("secret"), "{told}");
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
