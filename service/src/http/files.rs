//! The files of a page that a service serves: compiled in, under a policy that lets a browser run these and nothing else.

use axum::response::{IntoResponse, Response};
use http::header;

/// No script and no style but our files, no address but the service's own, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of a page. Its media type is that of its suffix.
#[derive(Debug, Clone, Copy)]
pub struct PageFile {
    /// Its name, without directories.
    pub name: &'static str,
    /// What is in it.
    pub text: &'static str,
}

impl PageFile {
    fn media_type(&self) -> &'static str {
        match self.name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        }
    }
}

impl IntoResponse for PageFile {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, self.media_type()),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            // Files of two versions do not fit together, and all of them are small.
            (header::CACHE_CONTROL, "no-cache"),
        ];
        (headers, self.text).into_response()
    }
}
