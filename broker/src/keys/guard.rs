//! Stands before the router: lets in requests whose key is valid for the endpoint, and refuses the others before their
//! body is read.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use proto::{Code, Failure};
use service::Reloads;
use tracing::Instrument;
use utoipa::openapi::{
    Components, OpenApi,
    security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
};

use super::{Keys, Reason, key::Scope};
use crate::{answer::Refusal, metrics::auth_refused, page};

/// What `WWW-Authenticate` says to a client without a key.
pub(crate) const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"fourwire\"");

/// The name of the scheme in the description.
const SCHEME: &str = "key";

/// The check of keys.
#[derive(Debug, Clone)]
pub(crate) struct Guard(Arc<Keys>);

impl Guard {
    /// Reads the file of keys, of which each name may make `rate` requests per second; 0 is no limit.
    ///
    /// # Errors
    /// If the file cannot be used, of which the message names the setting and the line.
    pub(crate) fn new(file: PathBuf, rate: u32) -> anyhow::Result<Self> {
        let keys = Arc::new(Keys::read(file, rate)?);
        tracing::info!(keys = keys.count(), rate, "API keys are required");
        Ok(Guard(keys))
    }

    /// Puts the check before a router.
    pub(crate) fn stand_before(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(Arc::clone(&self.0), admit))
    }

    /// Checks a request that is not of the router, before its body is read.
    ///
    /// # Errors
    /// If it has no key that may write.
    pub(crate) fn check_writer(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let name = self.0.check(headers, Scope::Write).map_err(counted)?;
        tracing::debug!(key = name, scope = Scope::Write.as_str(), "request accepted");
        Ok(())
    }

    /// Reads the file again at each SIGHUP.
    pub(crate) fn reload_with(&self, reloads: &mut Reloads) {
        let keys = Arc::clone(&self.0);
        reloads.add("the keys", move || {
            let keys = keys.reload()?;
            tracing::info!(keys, "SIGHUP: API keys reloaded");
            Ok(())
        });
    }
}

/// Begins to count, also where no key is required: there is a counter for each reason, which says that nobody was
/// kept out.
pub(crate) fn begin_counting() {
    for reason in Reason::OF_EACH_KIND {
        auth_refused(reason.as_str()).increment(0);
    }
}

fn counted(reason: Reason) -> Failure {
    auth_refused(reason.as_str()).increment(1);
    tracing::warn!(reason = reason.as_str(), "request rejected");
    reason.failure()
}

fn refuse(reason: Reason) -> Response {
    let mut response = Refusal::from(counted(reason)).into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
    }
    response
}

/// The name of the reader, as in the file of keys.
#[derive(Debug, Clone)]
pub struct Caller(pub(crate) String);

async fn admit(State(keys): State<Arc<Keys>>, mut request: Request, next: Next) -> Response {
    // Without a path there is no such endpoint, and that is no secret.
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let Some(scope) = path.and_then(needed) else {
        return next.run(request).await;
    };
    match keys.check(request.headers(), scope) {
        Ok(name) => {
            let span = tracing::debug_span!("caller", key = name);
            span.in_scope(|| tracing::debug!(scope = scope.as_str(), "request accepted"));
            if scope == Scope::Read {
                request.extensions_mut().insert(Caller(name));
            }
            next.run(request).instrument(span).await
        }
        Err(reason) => refuse(reason),
    }
}

/// What the key for an endpoint must allow; `None` if it needs no key.
fn needed(path: &str) -> Option<Scope> {
    match path {
        "/" | page::FILE_PATH | "/ping" | "/healthz" | "/readyz" | "/openapi.json" => None,
        "/handle" | "/log-grpc" | "/burst" => Some(Scope::Write),
        // /logs, /logs/{id}, /status, /metrics, and whatever is added and forgotten here.
        _ => Some(Scope::Read),
    }
}

/// Says in the description which endpoints need a key.
pub(crate) fn describe(description: &mut OpenApi) {
    for (path, item) in &mut description.paths.paths {
        let security = needed(path).map(|scope| vec![SecurityRequirement::new(SCHEME, [scope.as_str()])]);
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            operation.security.clone_from(&security);
        }
    }
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    description.components.get_or_insert_with(Components::new).add_security_scheme(SCHEME, scheme);
}

impl Reason {
    const OF_EACH_KIND: [Reason; 5] =
        [Reason::Missing, Reason::Malformed, Reason::Unknown, Reason::Scope(Scope::Read), Reason::Rate];

    /// The word for it in the metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Reason::Missing => "missing",
            Reason::Malformed => "malformed",
            Reason::Unknown => "unknown",
            Reason::Scope(_) => "scope",
            Reason::Rate => "rate",
        }
    }

    fn failure(self) -> Failure {
        let (code, message) = match self {
            Reason::Missing => {
                (Code::Unauthorized, "API key required: send the header `Authorization: Bearer KEY`")
            }
            Reason::Malformed => (
                Code::Unauthorized,
                "malformed Authorization header: send exactly one `Authorization: Bearer KEY`",
            ),
            Reason::Unknown => {
                (Code::Unauthorized, "unknown API key: ask the operator of this broker for one")
            }
            Reason::Scope(Scope::Write) => {
                (Code::Forbidden, "this key may not write: use one with the scope write")
            }
            Reason::Scope(Scope::Read) => {
                (Code::Forbidden, "this key may not read: use one with the scope read")
            }
            Reason::Rate => {
                (Code::RateLimited, "rate limit of this key exceeded; nothing was stored, retry in a second")
            }
        };
        Failure::new(code, message)
    }
}
