//! The page, and a reference of the API: plain files in `broker/page/`, compiled in, so that they need no build step, no network and no directory.
//!
//! What they show was written by strangers. The policy below lets a browser run our own files and nothing else, even if
//! a text became markup by mistake.

use axum::{
    extract::{Path, rejection::PathRejection},
    http::header,
    response::{IntoResponse, Response},
};
use proto::{Code, Failure};

use crate::answer::Refusal;

/// Where the files are routed.
pub(crate) const FILE_PATH: &str = "/page/{file}";

/// No script and no style but our files, no address but the broker's, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

struct File {
    name: &'static str,
    media_type: &'static str,
    text: &'static str,
}

macro_rules! file {
    ($name:literal, $media_type:expr) => {
        File { name: $name, media_type: $media_type, text: include_str!(concat!("../page/", $name)) }
    };
}

const INDEX: File = file!("index.html", HTML);

const FILES: [File; 21] = [
    file!("page.css", CSS),
    file!("icon.svg", SVG),
    file!("reference.html", HTML),
    file!("api.js", SCRIPT),
    file!("burst.js", SCRIPT),
    file!("commands.js", SCRIPT),
    file!("difference.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("health.js", SCRIPT),
    file!("i18n.js", SCRIPT),
    file!("lanes.js", SCRIPT),
    file!("main.js", SCRIPT),
    file!("marks.js", SCRIPT),
    file!("reference.js", SCRIPT),
    file!("results.js", SCRIPT),
    file!("send.js", SCRIPT),
    file!("stream.js", SCRIPT),
    file!("strings.js", SCRIPT),
    file!("tail.js", SCRIPT),
    file!("waterfall.js", SCRIPT),
    file!("wire.js", SCRIPT),
];

/// The page: send entries, watch them arrive, see how each part is.
#[utoipa::path(get, path = "/", responses((status = 200, body = String, content_type = "text/html", description = "The web page")))]
pub async fn index() -> Response {
    INDEX.into_response()
}

/// One of its files.
pub(crate) async fn file(name: Result<Path<String>, PathRejection>) -> Result<Response, Refusal> {
    // What is not UTF-8 names none of them.
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let no_such = || Failure::new(Code::NotFound, "no such file: the page is at /");
    let file = FILES.into_iter().find(|file| file.name == name).ok_or_else(no_such)?;
    Ok(file.into_response())
}

impl IntoResponse for File {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, self.media_type),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            // Files of two versions of the broker do not fit together, and all of them are small.
            (header::CACHE_CONTROL, "no-cache"),
        ];
        (headers, self.text).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_small() {
        let bytes: usize = FILES.iter().chain([&INDEX]).map(|file| file.text.len()).sum();
        assert!(bytes < 150 * 1024, "{bytes} bytes");
    }

    #[test]
    fn every_file_of_the_directory_is_served_and_none_besides() {
        let directory = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/page")).expect("it is there");
        let there = directory.map(|file| file.expect("a file").file_name().into_string().expect("UTF-8"));
        let served = FILES.iter().chain([&INDEX]).map(|file| file.name.to_owned());
        assert_eq!(served.collect::<BTreeSet<_>>(), there.collect::<BTreeSet<_>>());
    }

    #[test]
    fn nothing_turns_a_text_into_markup_or_code() {
        let ways = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "createContextualFragment",
            "DOMParser",
            "srcdoc",
            "setHTML",
            "document.write",
            "eval(",
            "new Function",
            "javascript:",
        ];
        // What the policy forbids would fail in silence.
        let inline =
            [" style=", "<style", " onclick=", " onload=", " onerror=", "'style'", "\"style\"", "cssText"];
        for File { name, text, .. } in FILES.iter().chain([&INDEX]) {
            for word in ways.iter().chain(&inline) {
                assert!(!text.contains(word), "{name} has {word}");
            }
        }
    }

    #[test]
    fn it_asks_nobody_but_the_broker() {
        for File { name, text, .. } in FILES.iter().chain([&INDEX]) {
            // The name of SVG's language is no address.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http://") && !text.contains("https://"), "{name}");
        }
    }
}
