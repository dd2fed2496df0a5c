//! The page, and a reference of the API: plain files in `broker/page/`, compiled in, so that they need no build step,
//! no network and no directory.
//!
//! What they show was written by strangers. The policy of a [`PageFile`] lets a browser run our own files and nothing
//! else, even if a text became markup by mistake.

use axum::{
    extract::{Path, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use proto::{Code, Failure};
use service::http::PageFile;

use crate::answer::Refusal;

/// Where the files are routed.
pub(crate) const FILE_PATH: &str = "/page/{file}";

macro_rules! file {
    ($name:literal) => {
        PageFile { name: $name, text: include_str!(concat!("../page/", $name)) }
    };
}

const INDEX: PageFile = file!("index.html");

const FILES: [PageFile; 21] = [
    file!("page.css"),
    file!("icon.svg"),
    file!("reference.html"),
    file!("api.js"),
    file!("burst.js"),
    file!("commands.js"),
    file!("difference.js"),
    file!("dom.js"),
    file!("health.js"),
    file!("i18n.js"),
    file!("lanes.js"),
    file!("main.js"),
    file!("marks.js"),
    file!("reference.js"),
    file!("results.js"),
    file!("send.js"),
    file!("stream.js"),
    file!("strings.js"),
    file!("tail.js"),
    file!("waterfall.js"),
    file!("wire.js"),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proto::Transport;

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
        for PageFile { name, text, .. } in FILES.iter().chain([&INDEX]) {
            for word in ways.iter().chain(&inline) {
                assert!(!text.contains(word), "{name} has {word}");
            }
        }
    }

    #[test]
    fn every_transport_has_a_shape_a_colour_and_words_in_both_languages() {
        let text = |name| FILES.iter().find(|file| file.name == name).expect("it is served").text;
        for transport in Transport::ALL {
            let shape = format!("\n  {transport}: () => svg(");
            let colour = format!("\n.of-{transport} {{");
            let words = format!("\n    'take.{transport}': '");
            for (name, part, times) in
                [("marks.js", shape, 1), ("page.css", colour, 1), ("strings.js", words, 2)]
            {
                assert_eq!(text(name).matches(&part).count(), times, "{transport} in {name}");
            }
        }
    }

    #[test]
    fn it_asks_nobody_but_the_broker() {
        for PageFile { name, text, .. } in FILES.iter().chain([&INDEX]) {
            // The name of SVG's language is no address.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http://") && !text.contains("https://"), "{name}");
        }
    }
}
