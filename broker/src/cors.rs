//! Which pages of other origins may call the broker from a browser.

use http::{HeaderName, HeaderValue, Method, Uri, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Pages of this machine, on any port, as the course's front end; and those of `others`.
pub(crate) fn layer(others: Vec<String>) -> CorsLayer {
    let allowed = move |origin: &HeaderValue| {
        origin.to_str().is_ok_and(|origin| is_local(origin) || others.iter().any(|other| other == origin))
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| allowed(origin)))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::ACCEPT, header::AUTHORIZATION, header::CONTENT_TYPE])
        .expose_headers([HeaderName::from_static("server-timing"), header::RETRY_AFTER])
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
