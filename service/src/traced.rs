//! The span of an HTTP request. It is created in the handler: a layer would cost every request, and most are not
//! recorded.

use axum::{
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use spans::{Context, KeyValue, Span, SpanKind};

/// Answers a call in the trace of its caller, within a span of this name, `POST` and the path; without a caller there is
/// none.
pub fn entering<F>(name: &'static str, caller: Context, answer: F) -> impl Future<Output = Response>
where
    F: Future<Output: IntoResponse>,
{
    around(Span::entering(name, SpanKind::Server, caller), name, answer)
}

/// As [`entering`], but a trace begins with a call that has no caller.
pub fn beginning<F>(name: &'static str, caller: Context, answer: F) -> impl Future<Output = Response>
where
    F: Future<Output: IntoResponse>,
{
    around(Span::beginning(name, SpanKind::Server, caller), name, answer)
}

/// The trace context of a request, by its headers.
pub fn caller(headers: &HeaderMap) -> Context {
    spans::extract(|name| headers.get(name).and_then(|value| value.to_str().ok()))
}

/// Not an `async fn`, which would hold the answer once more.
fn around<F>(span: Span, name: &'static str, answer: F) -> impl Future<Output = Response>
where
    F: Future<Output: IntoResponse>,
{
    span.around(answer).map(move |answer| {
        let response = answer.into_response();
        let status = response.status();
        if status.is_server_error() {
            span.fail(status.as_str().to_owned());
        }
        span.note(|| about(name, status));
        response
    })
}

fn about(name: &'static str, status: StatusCode) -> [KeyValue; 3] {
    [
        KeyValue::new("http.request.method", "POST"),
        KeyValue::new("http.route", name.trim_start_matches("POST ")),
        KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
    ]
}
