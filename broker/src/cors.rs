//! Which pages of other origins may call the broker from a browser.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, uri::Authority};
use proto::{Code, Failure};
use service::{
    http::{follows_a_link, is_from_elsewhere},
    network,
};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::answer::Refusal;

/// Where a stream is to go on.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How long a browser need not ask again before it posts; as long as in the course.
const PREFLIGHT_AGE: Duration = Duration::from_secs(300);

/// The origins whose pages may call: those of this machine, on any port, as the course's front end has it, and
/// those of a setting.
#[derive(Debug, Clone)]
pub(crate) struct Origins {
    others: Arc<[String]>,
    hosts: Arc<[String]>,
    own_hosts_only: bool,
    protected: bool,
}

impl Origins {
    /// `hosts` are the names that a port may be called by. A page of a name that was made to lead here (DNS rebinding)
    /// reads without naming its origin; `protected`: it would get nowhere, for it has no key, or the broker no
    /// certificate of its name. Else the host that a request is for counts as well, if there are names to go by.
    pub(crate) fn new(others: Vec<String>, hosts: Vec<String>, protected: bool) -> Self {
        let own_hosts_only = !protected && !hosts.is_empty();
        Origins { others: others.into(), hosts: hosts.into(), own_hosts_only, protected }
    }

    /// The same for a port that listens there: on loopback there are always names to go by.
    pub(crate) fn at(&self, listen: SocketAddr) -> Self {
        let own_hosts_only = self.own_hosts_only || (!self.protected && network::is_loopback(listen));
        Origins { own_hosts_only, ..self.clone() }
    }

    /// Puts the check before a router.
    pub(crate) fn guard(self, router: Router) -> Router {
        let cors = self.layer();
        router.layer(middleware::from_fn_with_state(self, refuse_others)).layer(cors)
    }

    /// CORS only keeps an answer from a page. A body of plain text is posted without asking first, and here it would
    /// be read as JSON: so what comes from elsewhere is refused.
    ///
    /// # Errors
    /// [`Code::ForbiddenOrigin`].
    pub(crate) fn check(&self, request: &Request) -> Result<(), Failure> {
        let headers = request.headers();
        let allowed = match headers.get(header::ORIGIN) {
            Some(origin) => self.allow(origin) || self.is_own_page(origin, headers),
            // Only a page of elsewhere that reads no answer, as an image does, asks without naming its origin.
            None => !is_from_elsewhere(headers) || follows_a_link(request),
        };
        if !allowed {
            return Err(refusal("origin not allowed: list it in BROKER_CORS_ORIGINS"));
        }
        let host = self.own_hosts_only.then(|| network::asked_host(headers)).flatten();
        if host.is_some_and(|host| !self.allow_host(&host)) {
            let message =
                "host name not allowed: use 127.0.0.1 or localhost, or list the name in BROKER_HTTP_HOSTS";
            return Err(refusal(message));
        }
        Ok(())
    }

    fn allow(&self, origin: &HeaderValue) -> bool {
        origin
            .to_str()
            .is_ok_and(|origin| is_local(origin) || self.others.iter().any(|other| other == origin))
    }

    /// Whether it is the broker's own page that asks: it came from the host that the request is for.
    fn is_own_page(&self, origin: &HeaderValue, headers: &HeaderMap) -> bool {
        let authority =
            origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest);
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let same = authority.is_some_and(|own| host.is_some_and(|host| host.eq_ignore_ascii_case(own)));
        let trusted = || network::asked_host(headers).is_some_and(|host| network::is_own_host(&host));
        same && (self.protected || trusted())
    }

    fn allow_host(&self, host: &str) -> bool {
        let mut others = self.others.iter().filter_map(|other| other.parse::<Uri>().ok());
        network::is_own_host(host)
            || self.hosts.iter().any(|name| name == host)
            || others.any(|other| other.host() == Some(host))
    }

    /// What answers a browser that asks before it sends.
    pub(crate) fn layer(&self) -> CorsLayer {
        let origins = self.clone();
        CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(move |origin, _| origins.allow(origin)))
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([
                header::ACCEPT,
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                LAST_EVENT_ID,
                HeaderName::from_static("traceparent"),
                HeaderName::from_static("tracestate"),
            ])
            .max_age(PREFLIGHT_AGE)
            .expose_headers([HeaderName::from_static("server-timing"), header::RETRY_AFTER])
    }
}

async fn refuse_others(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    match origins.check(&request) {
        Ok(()) => next.run(request).await,
        Err(failure) => Refusal::from(failure).into_response(),
    }
}

fn refusal(message: &str) -> Failure {
    Failure::new(Code::ForbiddenOrigin, message)
}

/// Whether it is a page that some server of this machine serves; what an app or a file says of itself is none.
fn is_local(origin: &str) -> bool {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let authority = rest.and_then(|rest| rest.parse::<Authority>().ok());
    authority.is_some_and(|authority| {
        !authority.as_str().contains('@') && matches!(authority.host(), "localhost" | "127.0.0.1" | "[::1]")
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn the_own_page_may_call_by_any_name_that_nobody_can_borrow() {
        let own = |protected: bool, origin: &str, host: &str| {
            let value = |text: &str| HeaderValue::from_str(text).expect("a value");
            let headers = HeaderMap::from_iter([(header::HOST, value(host))]);
            Origins::new(Vec::new(), Vec::new(), protected).is_own_page(&value(origin), &headers)
        };
        for protected in [false, true] {
            assert!(own(protected, "http://192.168.1.7:8080", "192.168.1.7:8080"));
            assert!(own(protected, "http://[fd00::7]:8080", "[fd00::7]:8080"));
            assert!(
                !own(protected, "http://192.168.1.7:3000", "192.168.1.7:8080"),
                "another port is another's"
            );
            assert!(!own(protected, "http://logs.example.org", "evil.example"));
            assert!(!own(protected, "null", "null"));
            assert_eq!(own(protected, "https://logs.example.org", "logs.example.org"), protected);
        }
    }

    #[test]
    fn a_name_that_nobody_listed_is_refused_on_loopback_and_wherever_names_are_listed() {
        let asked = |hosts: &[&str], protected: bool, listen: &str, host: &str| {
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            let listen = listen.parse().expect("an address");
            let request = Request::get("/logs").header(header::HOST, host).body(Body::empty());
            let origins = Origins::new(Vec::new(), hosts, protected).at(listen);
            origins.check(&request.expect("a request")).is_ok()
        };
        let (narrow, wide) = ("127.0.0.1:8080", "0.0.0.0:8080");
        for (listen, hosts) in [(narrow, &[][..]), (narrow, &["broker"]), (wide, &["broker"])] {
            assert!(asked(hosts, false, listen, "localhost:8080"), "{listen} {hosts:?}");
            assert!(!asked(hosts, false, listen, "evil.example:8080"), "{listen} {hosts:?}");
            assert!(asked(hosts, true, listen, "logs.example.org"), "{listen} {hosts:?}: keys protect");
            assert_eq!(asked(hosts, false, listen, "broker:8080"), !hosts.is_empty(), "{listen}");
        }
        assert!(asked(&[], false, wide, "logs.example.org"), "no names to go by");
    }

    #[test]
    fn this_machine_is_told_from_others() {
        for origin in
            ["http://localhost", "http://localhost:8081", "http://127.0.0.1:3000", "http://[::1]:80"]
        {
            assert!(is_local(origin), "{origin}");
        }
        for origin in [
            "null",
            "http://localhost.example.org",
            "http://example.org",
            "http://127.0.0.1.nip.io",
            "capacitor://localhost",
            "ionic://localhost:8080",
            "file://localhost",
            "localhost",
            "localhost:8081",
            "http://u@localhost",
            "http://localhost/",
            "http://",
        ] {
            assert!(!is_local(origin), "{origin}");
        }
    }
}
