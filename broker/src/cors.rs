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
use service::network;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::answer::Refusal;

/// The origins whose pages may call: those of this machine, on any port, as the course's front end has it, and
/// those of a setting.
#[derive(Debug, Clone)]
pub(crate) struct Origins {
    others: Arc<[String]>,
    own_hosts_only: bool,
}

impl Origins {
    /// `own_hosts_only`: nothing else stands between a page and the entries, so the host that a request is for counts
    /// as well. A page of a name that was made to lead here (DNS rebinding) reads without naming its origin.
    pub(crate) fn new(others: Vec<String>, own_hosts_only: bool) -> Self {
        Origins { others: others.into(), own_hosts_only }
    }

    /// Puts the check before a router.
    pub(crate) fn guard(self, router: Router) -> Router {
        let cors = self.layer();
        router.layer(middleware::from_fn_with_state(self, refuse_others)).layer(cors)
    }

    fn allow(&self, origin: &HeaderValue) -> bool {
        origin
            .to_str()
            .is_ok_and(|origin| is_local(origin) || self.others.iter().any(|other| other == origin))
    }

    fn allow_host(&self, host: &str) -> bool {
        let mut others = self.others.iter().filter_map(|other| other.parse::<Uri>().ok());
        network::is_own_host(host) || others.any(|other| other.host() == Some(host))
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
            return refusal(message);
        }
        Some(_) | None => {}
    }
    let host = origins.own_hosts_only.then(|| network::asked_host(request.headers())).flatten();
    if host.is_some_and(|host| !origins.allow_host(&host)) {
        let message = "the broker is not called by this name: use 127.0.0.1 or localhost, or list the origin in \
            BROKER_CORS_ORIGINS";
        return refusal(message);
    }
    next.run(request).await
}

fn refusal(message: &str) -> Response {
    Refusal::from(Failure::new(Code::ForbiddenOrigin, message)).into_response()
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
