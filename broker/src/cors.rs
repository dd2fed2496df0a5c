//! Which pages of other origins may call the broker from a browser.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, Method, Uri, header};
use proto::{Code, Failure};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::answer::Refusal;

/// The origins whose pages may call: those of this machine, on any port, as the course's front end has it, and
/// those of a setting.
#[derive(Debug, Clone)]
pub(crate) struct Origins(Arc<[String]>);

impl Origins {
    pub(crate) fn new(others: Vec<String>) -> Self {
        Origins(others.into())
    }

    /// Puts the check before a router.
    pub(crate) fn guard(self, router: Router) -> Router {
        let cors = self.layer();
        router.layer(middleware::from_fn_with_state(self, refuse_others)).layer(cors)
    }

    fn allow(&self, origin: &HeaderValue) -> bool {
        origin.to_str().is_ok_and(|origin| is_local(origin) || self.0.iter().any(|other| other == origin))
    }

    fn layer(&self) -> CorsLayer {
        let origins = self.clone();
        CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(move |origin, _| origins.allow(origin)))
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([header::ACCEPT, header::AUTHORIZATION, header::CONTENT_TYPE])
            .expose_headers([HeaderName::from_static("server-timing"), header::RETRY_AFTER])
    }
}

/// CORS only keeps an answer from a page. A body of plain text is posted without asking first, and here it would
/// be read as JSON: so what comes from elsewhere is refused.
async fn refuse_others(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    match request.headers().get(header::ORIGIN) {
        Some(origin) if !origins.allow(origin) => {
            let message = "pages of this origin may not call: list it in BROKER_CORS_ORIGINS";
            Refusal::from(Failure::new(Code::ForbiddenOrigin, message)).into_response()
        }
        Some(_) | None => next.run(request).await,
    }
}

fn is_local(origin: &str) -> bool {
    let uri: Option<Uri> = origin.parse().ok();
    uri.as_ref().and_then(Uri::host).is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_told_from_others() {
        for origin in
            ["http://localhost", "http://localhost:8081", "http://127.0.0.1:3000", "http://[::1]:80"]
        {
            assert!(is_local(origin), "{origin}");
        }
        for origin in
            ["null", "http://localhost.example.org", "http://example.org", "http://127.0.0.1.nip.io"]
        {
            assert!(!is_local(origin), "{origin}");
        }
    }
}
