//! What became of a request, in OTLP's own words: a response with what was rejected, or a status that says whether
//! to export again.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use prost::Message;
use proto::{Certainty, Code, Failure, limits::RETRY_AFTER};
use serde_json::json;
use tonic_types::{ErrorDetails, StatusExt};

use super::deliver::Delivered;
use crate::keys::CHALLENGE;

/// The form of a request, and of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Protobuf,
    Json,
}

impl Form {
    /// That of the header `Content-Type`, whatever its parameters; `None` for another.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let essence = value.split(';').next().unwrap_or_default().trim();
        [Form::Protobuf, Form::Json].into_iter().find(|form| essence.eq_ignore_ascii_case(form.word()))
    }

    const fn word(self) -> &'static str {
        match self {
            Form::Protobuf => "application/x-protobuf",
            Form::Json => "application/json",
        }
    }

    const fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(self.word())
    }
}

/// The response to a request whose records are all certain.
pub(super) fn response(delivered: &Delivered) -> ExportLogsServiceResponse {
    let partial_success = delivered.first.as_ref().map(|(position, failure)| ExportLogsPartialSuccess {
        rejected_log_records: i64::try_from(delivered.refused).unwrap_or(i64::MAX),
        error_message: format!("record {position} (counted from 0): {}", failure.message()),
    });
    ExportLogsServiceResponse { partial_success }
}

/// The same over HTTP.
pub(super) fn success(form: Form, delivered: &Delivered) -> Response {
    let response = response(delivered);
    let body = match form {
        Form::Protobuf => response.encode_to_vec(),
        Form::Json => {
            let body = response.partial_success.map_or(json!({}), |partial| {
                json!({ "partialSuccess": {
                    // A number of 64 bits is text in OTLP's JSON.
                    "rejectedLogRecords": partial.rejected_log_records.to_string(),
                    "errorMessage": partial.error_message,
                } })
            });
            line(&body)
        }
    };
    ([(header::CONTENT_TYPE, form.content_type())], body).into_response()
}

/// The status of a failure in gRPC: exporters send again what is `UNAVAILABLE`, and nothing else that is said here.
pub(super) fn status(failure: &Failure) -> tonic::Status {
    let code = match (failure.certainty(), failure.code) {
        (Certainty::NotStored | Certainty::Unknown, _) => {
            let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
            return tonic::Status::with_error_details(tonic::Code::Unavailable, failure.message(), details);
        }
        (Certainty::Rejected, Code::Unauthorized) => tonic::Code::Unauthenticated,
        (Certainty::Rejected, Code::Forbidden | Code::ForbiddenOrigin) => tonic::Code::PermissionDenied,
        (Certainty::Rejected, Code::NotFound | Code::MethodNotAllowed | Code::UnsupportedEncoding) => {
            tonic::Code::Unimplemented
        }
        (Certainty::Rejected, _) => tonic::Code::InvalidArgument,
    };
    tonic::Status::with_error_details(code, failure.message(), ErrorDetails::new())
}

/// A failure over HTTP: a `google.rpc.Status`, and when to send the request again, if that may help.
pub(super) fn refusal(form: Form, failure: &Failure) -> Response {
    let status = status(failure);
    let body = match form {
        // The details of a status are a whole google.rpc.Status.
        Form::Protobuf => status.details().to_vec(),
        Form::Json => {
            let mut body = json!({ "code": i32::from(status.code()), "message": status.message() });
            if failure.certainty() != Certainty::Rejected {
                let delay = format!("{}s", RETRY_AFTER.as_secs());
                let kind = "type.googleapis.com/google.rpc.RetryInfo";
                body["details"] = json!([{ "@type": kind, "retryDelay": delay }]);
            }
            line(&body)
        }
    };
    let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, form.content_type())]);
    let http_status = http_status(failure);
    if matches!(http_status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
    }
    if http_status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
    }
    (http_status, headers, body).into_response()
}

/// As everywhere, but that what may be sent again is 429 or 503: exporters know no other that has a `Retry-After`.
fn http_status(failure: &Failure) -> StatusCode {
    match (failure.certainty(), failure.code.http_status()) {
        (Certainty::NotStored, 429) => StatusCode::TOO_MANY_REQUESTS,
        (Certainty::NotStored | Certainty::Unknown, _) => StatusCode::SERVICE_UNAVAILABLE,
        (Certainty::Rejected, status) => {
            StatusCode::from_u16(status).expect("the table holds valid statuses")
        }
    }
}

fn line(value: &serde_json::Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use tonic_types::pb;

    use super::*;

    #[test]
    fn whatever_may_be_stored_yet_is_to_be_sent_again_and_nothing_else_is() {
        for code in Code::ALL {
            let failure = Failure::new(code, "what to do");
            let again = code.certainty() != Certainty::Rejected;
            let status = status(&failure);
            assert_eq!(status.code() == tonic::Code::Unavailable, again, "{code}");
            // What the specification has exporters send again with a delay alone, or always.
            let others = [tonic::Code::ResourceExhausted, tonic::Code::OutOfRange, tonic::Code::Aborted];
            assert!(!others.contains(&status.code()), "{code}");
            let response = refusal(Form::Protobuf, &failure);
            assert_eq!(matches!(response.status().as_u16(), 429 | 502..=504), again, "{code}");
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), again, "{code}");
            let told = pb::Status::decode(status.details()).expect("a google.rpc.Status");
            assert_eq!((told.code, told.message.as_str()), (i32::from(status.code()), "what to do"));
            assert_eq!(status.get_details_retry_info().is_some(), again, "{code}");
        }
    }

    #[test]
    fn a_form_is_known_by_its_content_type() {
        let of = |value: &'static str| {
            Form::of(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]))
        };
        assert_eq!(of("application/x-protobuf"), Some(Form::Protobuf));
        assert_eq!(of("Application/JSON; charset=utf-8"), Some(Form::Json));
        for other in ["text/plain", "application/grpc", "application/json-seq", ""] {
            assert_eq!(of(other), None, "{other}");
        }
        assert_eq!(Form::of(&HeaderMap::new()), None);
    }
}
