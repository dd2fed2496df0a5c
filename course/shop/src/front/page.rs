//! The page: plain files in `page/`, compiled in; and which pages may ask the front anything.

use axum::{
    Router,
    extract::{Path, Request},
    http::{HeaderMap, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use service::{
    http::{PageFile, follows_a_link, is_from_elsewhere},
    network,
};

use super::answer::Failure;

macro_rules! file {
    ($name:literal) => {
        PageFile { name: $name, text: include_str!(concat!("../../page/", $name)) }
    };
}

const INDEX: PageFile = file!("index.html");

const FILES: [PageFile; 10] = [
    file!("shop.css"),
    file!("main.js"),
    file!("api.js"),
    file!("catalogue.js"),
    file!("checks.js"),
    file!("dom.js"),
    file!("i18n.js"),
    file!("order.js"),
    file!("story.js"),
    file!("strings.js"),
];

pub(super) async fn index() -> Response {
    INDEX.into_response()
}

pub(super) async fn file(Path(name): Path<String>) -> Result<Response, Failure> {
    let file = FILES.into_iter().find(|file| file.name == name);
    file.map(PageFile::into_response).ok_or_else(|| Failure::not_found("no such file: the page is at /"))
}

/// Lets the shop's own page ask, and clients that are no pages. The page of anybody else could buy with the money of a
/// user of this machine.
pub(super) fn guard(router: Router) -> Router {
    router.layer(middleware::from_fn(refuse_others))
}

async fn refuse_others(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let own_host = network::asked_host(headers).is_none_or(|host| network::is_own_host(&host));
    let allowed = match headers.get(header::ORIGIN) {
        Some(_) => is_own_page(headers),
        None => !is_from_elsewhere(headers) || follows_a_link(&request),
    };
    if allowed && own_host {
        return next.run(request).await;
    }
    let message =
        "only the shop's own page may ask, at an address of this machine such as http://127.0.0.1:8090";
    Failure::forbidden("forbidden_origin", message).into_response()
}

/// Whether the page came from the host that the request is for.
fn is_own_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN).and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, own)| text(header::HOST).is_some_and(|host| host.eq_ignore_ascii_case(own)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_directory_is_served_and_none_besides() {
        let directory = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/page")).expect("it is there");
        let there = directory.map(|file| file.expect("a file").file_name().into_string().expect("UTF-8"));
        let served = FILES.iter().chain([&INDEX]).map(|file| file.name.to_owned());
        assert_eq!(served.collect::<BTreeSet<_>>(), there.collect::<BTreeSet<_>>());
    }

    #[test]
    fn nothing_turns_a_text_into_markup_and_nobody_else_is_asked() {
        let ways = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "DOMParser",
            "document.write",
            "eval(",
            " style=",
            " onclick=",
            "http://",
            "https://",
        ];
        for PageFile { name, text, .. } in FILES.iter().chain([&INDEX]) {
            for word in ways {
                assert!(!text.contains(word), "{name} has {word}");
            }
        }
    }

    #[test]
    fn an_own_page_is_of_the_host_that_is_asked() {
        let headers = |origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:8090".parse().expect("a value"));
            headers.insert(header::ORIGIN, origin.parse().expect("a value"));
            headers
        };
        assert!(is_own_page(&headers("http://127.0.0.1:8090")));
        for other in ["http://127.0.0.1:8080", "http://evil.example", "null"] {
            assert!(!is_own_page(&headers(other)), "{other}");
        }
    }
}
