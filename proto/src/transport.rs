//! The closed set of transports.

use serde::{Deserialize, Serialize};
use strum::{EnumCount, VariantArray};
use utoipa::ToSchema;

use crate::{Code, Failure, words::choice};

/// By which way an entry gets from the broker to the logger.
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

impl Transport {
    /// All of them, in the order of the documentation.
    pub const ALL: [Transport; Transport::COUNT] =
        *Transport::VARIANTS.as_array().expect("both are derived from the same variants");

    /// The word for it: in JSON, in settings, as a metric's label.
    pub const fn as_str(self) -> &'static str {
        <Transport as strum::VariantNames>::VARIANTS[self as usize]
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
}
