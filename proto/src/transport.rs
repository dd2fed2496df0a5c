//! The closed set of transports.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Code, Failure};

/// How an entry gets from the broker to the logger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// JSON over HTTP/1.1.
    Http,
    /// tarpc over TCP, encoded as MessagePack.
    Rpc,
    /// Through RabbitMQ and the listener.
    Rabbitmq,
    /// Protocol Buffers over HTTP/2.
    Grpc,
}

impl Transport {
    /// All four, in the order of the documentation. What must hold for each is looped over this.
    pub const ALL: [Transport; 4] = [Transport::Http, Transport::Rpc, Transport::Rabbitmq, Transport::Grpc];

    /// The word for it: in JSON, in settings, as a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Transport::Http => "http",
            Transport::Rpc => "rpc",
            Transport::Rabbitmq => "rabbitmq",
            Transport::Grpc => "grpc",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Transport {
    type Err = Failure;

    fn from_str(word: &str) -> Result<Self, Failure> {
        Transport::ALL.into_iter().find(|transport| transport.as_str() == word).ok_or_else(|| {
            Failure::new(
                Code::UnknownTransport,
                format!("unknown transport {word:?}: use \"http\", \"rpc\", \"rabbitmq\" or \"grpc\""),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transport_is_found_by_its_word() {
        for transport in Transport::ALL {
            assert_eq!(transport.as_str().parse(), Ok(transport));
            assert_eq!(
                serde_json::to_string(&transport).expect("a unit variant serialises"),
                format!("{:?}", transport.as_str()),
            );
        }
    }

    #[test]
    fn an_unknown_transport_is_told_the_four_words() {
        let failure = "GRPC".parse::<Transport>().expect_err("words are lower case");
        assert_eq!(failure.code, Code::UnknownTransport);
        for transport in Transport::ALL {
            assert!(failure.message.contains(transport.as_str()));
        }
    }
}
