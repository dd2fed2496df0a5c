//! What the front answers: the broker's envelope, and a table from the services' statuses to HTTP's.

use std::error::Error;

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use service::{BodyError, Held, Json};
use tonic::{Code, ConnectError, Status};

use crate::refusal::{self, Refusal};

/// An answer with data.
pub(super) fn answer(status: StatusCode, message: &str, data: impl Serialize) -> Response {
    (status, Json(json!({ "error": false, "message": message, "data": data }))).into_response()
}

/// A refusal. `code` is a stable word for the case.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    code: String,
    message: String,
}

impl Failure {
    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Failure { status, code: code.to_owned(), message: message.into() }
    }

    pub(super) fn bad_field(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::BAD_REQUEST, "bad_field", message)
    }

    pub(super) fn not_found(message: &str) -> Self {
        Failure::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "method not allowed: see the header Allow";
        Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    pub(super) fn forbidden(code: &str, message: &str) -> Self {
        Failure::new(StatusCode::FORBIDDEN, code, message)
    }

    pub(super) fn unavailable(message: &str) -> Self {
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let word = refusal::word(&status);
        let (http, code) = match status.code() {
            Code::InvalidArgument => (StatusCode::BAD_REQUEST, "bad_field"),
            Code::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Code::AlreadyExists => (StatusCode::CONFLICT, "conflict"),
            Code::FailedPrecondition => (StatusCode::CONFLICT, word),
            Code::Unavailable if !word.is_empty() => (StatusCode::SERVICE_UNAVAILABLE, word),
            Code::Unavailable if is_unreachable(&status) => {
                return Failure::unavailable("a service of the shop is down: retry");
            }
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated => {
                tracing::debug!(%status, "a call has no certain outcome");
                let message = "no answer in time: it may have been done; retry with the same id";
                return Failure::new(StatusCode::GATEWAY_TIMEOUT, "outcome_unknown", message);
            }
        };
        Failure::new(http, code, status.message())
    }
}

/// Whether there was no connection, so that nothing was sent.
fn is_unreachable(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Status::from(refusal).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let data = json!({ "code": self.code, "retryable": self.status.is_server_error() });
        let envelope = json!({ "error": true, "message": self.message, "data": data });
        let mut response = (self.status, Json(envelope)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Reads the body of a request as JSON, whatever its content type.
pub(super) async fn body<T: DeserializeOwned>(request: Request) -> Result<T, Failure> {
    let body = Held::read(request).await.map_err(|error| {
        let (status, code) = match &error {
            BodyError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            BodyError::TooSlow | BodyError::Broken => (StatusCode::REQUEST_TIMEOUT, "slow_request"),
            BodyError::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            BodyError::Encoded(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding"),
        };
        Failure::new(status, code, error.to_string())
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        let code = if error.is_data() { "bad_field" } else { "bad_json" };
        Failure::new(StatusCode::BAD_REQUEST, code, error.to_string())
    })
}
