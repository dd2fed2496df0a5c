//! Why an entry was not accepted, and what that says about the store.

use serde::{Deserialize, Serialize};
use strum::{EnumCount, VariantArray};
use utoipa::ToSchema;

use crate::words::UnknownWord;

/// Why an entry was not accepted: a stable error code.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
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
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[strum(parse_err_ty = UnknownWord, parse_err_fn = UnknownWord::new)]
pub enum Code {
    /// The body is no JSON: broken, not UTF-8, or nested too deeply.
    BadJson,
    /// A field is missing, unknown, given twice or of the wrong type.
    BadField,
    /// A batch without entries, or with too many.
    BadBatch,
    /// A query parameter is unknown or out of its limits.
    BadQuery,
    /// The action is none of those known.
    UnknownAction,
    /// The transport is none of the four.
    UnknownTransport,
    /// A field of the entry is out of its limits.
    InvalidEntry,
    /// The request has no key, or none that is known.
    Unauthorized,
    /// The key is known, but not for this endpoint.
    Forbidden,
    /// The request came from a page of an origin that is not allowed.
    ForbiddenOrigin,
    /// There is no such entry or endpoint.
    NotFound,
    /// The endpoint exists, but not for this method.
    MethodNotAllowed,
    /// What was sent is no HTTP request that can be read.
    BadRequest,
    /// The URL of the request and its headers are too large, or there are too many headers.
    HeadersTooLarge,
    /// The body has an encoding, such as gzip, and is to be sent without one.
    UnsupportedEncoding,
    /// The body did not arrive in time.
    SlowRequest,
    /// The id is stored with other content.
    Conflict,
    /// The body or the frame is larger than the limit.
    TooLarge,
    /// The key is used more often than its limit allows.
    RateLimited,
    /// More is in flight than the limit allows.
    Overloaded,
    /// The next hop cannot be reached.
    Unavailable,
    /// The next hop answers, and has no call for entries: another server is at its address.
    NoSuchCall,
    /// RabbitMQ takes no messages: it is short of memory or disk.
    Blocked,
    /// The service is shutting down.
    Draining,
    /// The store's disk is full.
    StorageFull,
    /// The entry may or may not be stored.
    OutcomeUnknown,
}

/// What a failure says about the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Certainty {
    /// Never stored; the same request will fail again. The statuses 400 to 499, but for 408 and 429.
    Rejected,
    /// Certainly not stored; the same request may succeed later. The statuses 408, 429, 502 and 503.
    NotStored,
    /// It may be stored. Sending it again with the same id is safe. The status 504.
    Unknown,
}

impl Code {
    /// All of them, in the order in which they are declared.
    pub const ALL: [Code; Code::COUNT] =
        *Code::VARIANTS.as_array().expect("both are derived from the same variants");

    /// The word for it: `data.code` in JSON, metadata in gRPC, a header on a dead letter.
    pub const fn as_str(self) -> &'static str {
        <Code as strum::VariantNames>::VARIANTS[self as usize]
    }

    /// The HTTP status for it: the one table, which both HTTP servers answer by.
    pub const fn http_status(self) -> u16 {
        match self {
            Code::BadJson
            | Code::BadField
            | Code::BadBatch
            | Code::BadQuery
            | Code::UnknownAction
            | Code::UnknownTransport
            | Code::InvalidEntry
            | Code::BadRequest => 400,
            Code::Unauthorized => 401,
            Code::Forbidden | Code::ForbiddenOrigin => 403,
            Code::NotFound => 404,
            Code::MethodNotAllowed => 405,
            Code::SlowRequest => 408,
            Code::Conflict => 409,
            Code::TooLarge => 413,
            Code::UnsupportedEncoding => 415,
            Code::HeadersTooLarge => 431,
            Code::RateLimited => 429,
            Code::NoSuchCall => 502,
            Code::Overloaded | Code::Unavailable | Code::Blocked | Code::Draining | Code::StorageFull => 503,
            Code::OutcomeUnknown => 504,
        }
    }

    /// Whether it speaks of the entry itself, so that this can never be stored.
    pub const fn is_about_the_entry(self) -> bool {
        match self {
            Code::BadJson
            | Code::BadField
            | Code::UnknownTransport
            | Code::InvalidEntry
            | Code::Conflict
            | Code::TooLarge => true,
            Code::BadBatch
            | Code::BadQuery
            | Code::UnknownAction
            | Code::Unauthorized
            | Code::Forbidden
            | Code::ForbiddenOrigin
            | Code::NotFound
            | Code::MethodNotAllowed
            | Code::BadRequest
            | Code::HeadersTooLarge
            | Code::UnsupportedEncoding
            | Code::SlowRequest
            | Code::RateLimited
            | Code::Overloaded
            | Code::Unavailable
            | Code::NoSuchCall
            | Code::Blocked
            | Code::Draining
            | Code::StorageFull
            | Code::OutcomeUnknown => false,
        }
    }

    /// What it says about the store.
    pub const fn certainty(self) -> Certainty {
        match self {
            Code::BadJson
            | Code::BadField
            | Code::BadBatch
            | Code::BadQuery
            | Code::UnknownAction
            | Code::UnknownTransport
            | Code::InvalidEntry
            | Code::Unauthorized
            | Code::Forbidden
            | Code::ForbiddenOrigin
            | Code::NotFound
            | Code::MethodNotAllowed
            | Code::BadRequest
            | Code::HeadersTooLarge
            | Code::UnsupportedEncoding
            | Code::Conflict
            | Code::TooLarge => Certainty::Rejected,
            Code::SlowRequest
            | Code::RateLimited
            | Code::Overloaded
            | Code::Unavailable
            | Code::NoSuchCall
            | Code::Blocked
            | Code::Draining
            | Code::StorageFull => Certainty::NotStored,
            Code::OutcomeUnknown => Certainty::Unknown,
        }
    }

    /// Whether the same request may succeed later, without anybody's doing.
    pub const fn is_retryable(self) -> bool {
        !matches!(self.certainty(), Certainty::Rejected) && !matches!(self, Code::NoSuchCall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_by_its_word_and_its_json_is_that_word() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(code));
            let json = serde_json::to_value(code).expect("a unit variant serialises");
            assert_eq!(json, code.as_str());
        }
        assert_eq!(
            "gone".parse::<Code>().map_err(|unknown| unknown.to_string()),
            Err(r#"unknown word "gone""#.into())
        );
    }

    #[test]
    fn status_and_certainty_agree() {
        for code in Code::ALL {
            let status = code.http_status();
            let agree = match code.certainty() {
                Certainty::Rejected => (400..500).contains(&status) && !matches!(status, 408 | 429),
                Certainty::NotStored => matches!(status, 408 | 429 | 502 | 503),
                Certainty::Unknown => status == 504,
            };
            assert!(agree, "{code}");
        }
        assert_eq!(Code::SlowRequest.certainty(), Certainty::NotStored);
        assert_eq!(
            (Code::ForbiddenOrigin.http_status(), Code::ForbiddenOrigin.as_str()),
            (403, "forbidden_origin")
        );
    }
}
