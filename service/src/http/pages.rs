//! What web pages may ask of a port.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use super::refusal;
use crate::network;

/// By which a browser says what the page that asks has to do with the address that is asked. It says it for addresses
/// that it trusts, by TLS or on this machine.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a browser asks on behalf of a page of elsewhere, on another port of this machine for instance. Such a page
/// reads no answer, but how long one takes tells it what is stored, and what it posts would be taken.
pub fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get(FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none")
}

/// By which it says how it asks: `navigate` for a link that is followed.
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What may be opened in a browser by a link from anywhere: nothing is searched there, so that the response time reveals
/// nothing to the linking page.
const OPENED_BY_LINKS: [&str; 5] = ["/", "/healthz", "/readyz", "/metrics", "/openapi.json"];

/// Whether a request follows a link to one of these.
pub fn follows_a_link(request: &Request) -> bool {
    let is_navigation = request.headers().get(FETCH_MODE).is_some_and(|mode| mode == "navigate");
    is_navigation && request.method() == Method::GET && OPENED_BY_LINKS.contains(&request.uri().path())
}

/// Keeps pages in a browser from a port that serves none. A page of anybody could post text to it, which would be read as
/// JSON, and ask for what it cannot read: a browser says so by `Origin` or `Sec-Fetch-Site`. It does not where a name was
/// made to lead here (DNS rebinding): the page reads from what it takes for its own origin. So with `own_hosts_only`,
/// where no certificate is asked for, the host that a request is for counts as well.
pub fn refuse_pages(router: Router, own_hosts_only: bool) -> Router {
    refuse_pages_but_hosts(router, own_hosts_only, Vec::new())
}

/// As [`refuse_pages`], where a request may be for one of these hosts too.
pub fn refuse_pages_but_hosts(router: Router, own_hosts_only: bool, hosts: Vec<String>) -> Router {
    router.layer(middleware::from_fn_with_state((own_hosts_only, Arc::<[String]>::from(hosts)), refuse))
}

type Hosts = (bool, Arc<[String]>);

async fn refuse(State((own_hosts_only, hosts)): State<Hosts>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let own_host = || {
        network::asked_host(headers).is_none_or(|host| network::is_own_host(&host) || hosts.contains(&host))
    };
    let of_a_page =
        headers.contains_key(header::ORIGIN) || (is_from_elsewhere(headers) && !follows_a_link(&request));
    if of_a_page || (own_hosts_only && !own_host()) {
        let message = "web pages, and clients that call by a name other than localhost, must use the broker instead of \
            this port";
        return refusal(StatusCode::FORBIDDEN, "forbidden_origin", message);
    }
    next.run(request).await
}
