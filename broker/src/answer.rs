//! What became of an entry, as an HTTP answer. The statuses of failures stand in one table, [`Code::http_status`].

use std::time::Duration;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use proto::{
    Code, Failure, Transport,
    json::{Envelope, FailureData, Timing},
    limits::RETRY_AFTER,
};
use serde::Serialize;
use service::Json;
use utoipa::{IntoResponses, openapi::OpenApi};
use uuid::Uuid;

/// The header that browsers show in their network view.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The answer to what was accepted: 202, as in the course, and where the time went.
pub(crate) fn accepted<T: Serialize>(message: String, data: T, timing: Timing) -> Response {
    let body = Json(Envelope::ok(message, data));
    (StatusCode::ACCEPTED, [(SERVER_TIMING, server_timing(timing))], body).into_response()
}

/// The answer to what was not accepted.
#[derive(Debug)]
pub struct Refusal {
    failure: Failure,
    transport: Option<Transport>,
    ids: Vec<Uuid>,
}

impl Refusal {
    /// The refusal of the entries with these `ids`, which were to go over `transport`.
    pub(crate) fn of(failure: Failure, transport: Transport, ids: Vec<Uuid>) -> Self {
        Refusal { failure, transport: Some(transport), ids }
    }

    /// The transport that it was to go by, if that was known, and the case.
    pub(crate) fn label(&self) -> (Option<Transport>, Code) {
        (self.transport, self.failure.code)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Refusal { failure, transport: None, ids: Vec::new() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code: Code = self.failure.code;
        let status = StatusCode::from_u16(code.http_status()).expect("the table holds valid statuses");
        let envelope: Envelope<FailureData> = Envelope::failure(&self.failure, self.transport, &self.ids);
        let mut response = (status, Json(envelope)).into_response();
        advise_retry(&mut response);
        response
    }
}

/// Adds `Retry-After` to answers that may be better later.
pub(crate) fn advise_retry(response: &mut Response) {
    if matches!(response.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
    }
}

/// A duration as `timing_us` has it.
pub(crate) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// As in the W3C's Server Timing: durations in milliseconds.
fn server_timing(timing: Timing) -> String {
    let part = |name: &str, us: u64| format!("{name};dur={}.{:03}", us / 1_000, us % 1_000);
    let parts = [("transport", timing.transport), ("store", timing.store)];
    let parts = parts.into_iter().filter_map(|(name, us)| Some(part(name, us?)));
    std::iter::once(part("total", timing.total)).chain(parts).collect::<Vec<_>>().join(", ")
}

/// What any request may be refused with before its handler sees it.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it only describes")]
enum Beforehand {
    /// The origin of the page, or the host name, is not allowed
    #[response(status = 403)]
    Forbidden(Envelope<FailureData>),
    /// URL and headers are too large: at most 32 KiB and 64 headers
    #[response(status = 431)]
    HeadersTooLarge(Envelope<FailureData>),
    /// The broker has too many connections, or no memory left for responses: retry later
    #[response(status = 503)]
    Overloaded(Envelope<FailureData>),
}

/// Adds those to each endpoint of the description, unless it already describes the same status.
pub(crate) fn describe(description: &mut OpenApi) {
    for item in description.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            for (status, response) in Beforehand::responses() {
                operation.responses.responses.entry(status).or_insert(response);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_timing_is_in_milliseconds_and_leaves_out_what_is_not_known() {
        let timing = Timing { total: 1_234, transport: Some(1_000), store: None };
        assert_eq!(server_timing(timing), "total;dur=1.234, transport;dur=1.000");
    }

    #[test]
    fn a_refusal_that_may_be_repeated_says_when() {
        for code in Code::ALL {
            let response = Refusal::from(Failure::new(code, "what to do")).into_response();
            assert_eq!(response.status().as_u16(), code.http_status());
            let may_be_repeated = matches!(code.http_status(), 429 | 503);
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), may_be_repeated);
        }
    }
}
