//! The span of a call that came in over HTTP or gRPC.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::{
    Router,
    extract::Request,
    http::{Method, StatusCode},
    response::Response,
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Either},
};
use tower_layer::layer_fn;
use tower_service::Service;
use trace::{KeyValue, Span, SpanKind};

/// The calls that are traced: the path of each, and the name of its span.
pub type Calls = &'static [(&'static str, &'static str)];

/// The header of a gRPC answer that has no body, because the call failed.
const GRPC_STATUS: &str = "grpc-status";

/// Puts a span around each of `calls`, all of them `POST`, in the trace of its caller; `begins`: a trace begins with a
/// call that has none. While traces are off the router stays as it is.
pub fn traced(router: Router, calls: Calls, begins: bool) -> Router {
    if !trace::is_on() {
        return router;
    }
    router.layer(layer_fn(move |inner| Traced { inner, calls, begins }))
}

/// Not `axum::middleware::from_fn`, which copies the router for each request: most requests are not recorded.
#[derive(Debug, Clone)]
struct Traced<S> {
    inner: S,
    calls: Calls,
    begins: bool,
}

impl<S> Service<Request> for Traced<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let span = self.span(&request).filter(|(_, span)| !span.is_nothing());
        let answered = self.inner.call(request);
        match span {
            Some((path, span)) => Either::Right(around(path, span, answered).boxed()),
            None => Either::Left(answered),
        }
    }
}

impl<S> Traced<S> {
    /// The path of a call, and its span; `None` for what is not traced.
    fn span(&self, request: &Request) -> Option<(&'static str, Span)> {
        let called = self.calls.iter().find(|(path, _)| *path == request.uri().path());
        let (path, name) = called.filter(|_| request.method() == Method::POST)?;
        let headers = request.headers();
        let caller = trace::extract(|name| headers.get(name).and_then(|value| value.to_str().ok()));
        let span = match self.begins {
            true => Span::beginning(*name, SpanKind::Server, caller),
            false => Span::entering(*name, SpanKind::Server, caller),
        };
        Some((path, span))
    }
}

async fn around(
    path: &'static str,
    span: Span,
    answered: impl Future<Output = Result<Response, Infallible>>,
) -> Result<Response, Infallible> {
    let response = span.around(answered).await?;
    let (status, grpc_status) = (response.status(), response.headers().get(GRPC_STATUS));
    match grpc_status.and_then(|status| status.to_str().ok()) {
        Some(status) => span.fail(status.to_owned()),
        None if status.is_server_error() => span.fail(status.as_str().to_owned()),
        None => {}
    }
    span.note(|| about(path, status));
    Ok(response)
}

fn about(path: &'static str, status: StatusCode) -> [KeyValue; 3] {
    [
        KeyValue::new("http.request.method", "POST"),
        KeyValue::new("http.route", path),
        KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
    ]
}
