//! The closed set of transports, and what a 202 over each promises.

use serde::{Deserialize, Serialize};
use strum::{EnumCount, VariantArray};
use utoipa::ToSchema;

use crate::{Code, Failure, Outcome, words::choice};

/// How an entry gets from the broker to the logger.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    EnumCount,
    VariantArray,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
#[strum(parse_err_ty = Failure, parse_err_fn = unknown)]
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

/// What a 202 promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Promise {
    /// The logger has committed and synced the entry.
    Stored,
    /// RabbitMQ has confirmed the entry in a durable quorum queue; the listener will have it stored.
    Queued,
}

/// The transports that reach the logger in one hop. Their 202 promises [`Promise::Stored`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumCount, VariantArray)]
pub enum Direct {
    /// As [`Transport::Http`].
    Http,
    /// As [`Transport::Rpc`].
    Rpc,
    /// As [`Transport::Grpc`].
    Grpc,
}

/// The transports that do not reach the logger in one hop. A closed set too: where these go another way, each is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Indirect {
    /// As [`Transport::Rabbitmq`].
    #[error("{} does not reach the logger in one hop", Transport::Rabbitmq)]
    Rabbitmq,
}

impl Transport {
    /// All of them, in the order of the documentation.
    pub const ALL: [Transport; Transport::COUNT] =
        *Transport::VARIANTS.as_array().expect("both are derived from the same variants");

    /// The word for it: in JSON, in settings, as a metric's label.
    pub const fn as_str(self) -> &'static str {
        <Transport as strum::VariantNames>::VARIANTS[self as usize]
    }

    /// What a 202 over it promises.
    pub const fn promise(self) -> Promise {
        match self {
            Transport::Http | Transport::Rpc | Transport::Grpc => Promise::Stored,
            Transport::Rabbitmq => Promise::Queued,
        }
    }
}

impl Promise {
    /// The outcome of an entry that is new.
    pub const fn outcome(self) -> Outcome {
        match self {
            Promise::Stored => Outcome::Stored,
            Promise::Queued => Outcome::Queued,
        }
    }

    /// The outcome of an entry that was stored before: RabbitMQ does not know.
    pub const fn repeated(self) -> Outcome {
        match self {
            Promise::Stored => Outcome::Duplicate,
            Promise::Queued => Outcome::Queued,
        }
    }
}

impl Direct {
    /// All of them, in the order of the documentation.
    pub const ALL: [Direct; Direct::COUNT] =
        *Direct::VARIANTS.as_array().expect("both are derived from the same variants");

    /// The transport that it is.
    pub const fn transport(self) -> Transport {
        match self {
            Direct::Http => Transport::Http,
            Direct::Rpc => Transport::Rpc,
            Direct::Grpc => Transport::Grpc,
        }
    }

    /// The word for it, which is the transport's.
    pub const fn as_str(self) -> &'static str {
        self.transport().as_str()
    }
}

impl From<Direct> for Transport {
    fn from(direct: Direct) -> Transport {
        direct.transport()
    }
}

impl TryFrom<Transport> for Direct {
    type Error = Indirect;

    fn try_from(transport: Transport) -> Result<Direct, Indirect> {
        match transport {
            Transport::Http => Ok(Direct::Http),
            Transport::Rpc => Ok(Direct::Rpc),
            Transport::Grpc => Ok(Direct::Grpc),
            Transport::Rabbitmq => Err(Indirect::Rabbitmq),
        }
    }
}

impl std::fmt::Display for Direct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

fn unknown(word: &str) -> Failure {
    let choice = choice(Transport::ALL.map(Transport::as_str));
    Failure::new(Code::UnknownTransport, format!("unknown transport {word:?}: use {choice}"))
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
        assert_eq!(failure.message(), r#"unknown transport "GRPC": use "http", "rpc", "rabbitmq" or "grpc""#);
    }

    #[test]
    fn a_direct_transport_is_one_whose_202_promises_that_the_entry_is_stored() {
        for transport in Transport::ALL {
            let direct = Direct::try_from(transport);
            assert_eq!(direct.is_ok(), transport.promise() == Promise::Stored, "{transport}");
            assert!(direct.is_err() || direct.map(Transport::from) == Ok(transport), "{transport}");
        }
        assert_eq!(Direct::ALL.map(|direct| direct.to_string()), ["http", "rpc", "grpc"]);
    }
}
