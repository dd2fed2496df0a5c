//! The reference of the API, which the page renders from `/openapi.json`.

use std::process::Command;

use serde_json::{Value, json};
use tests::{stack::Stack, tls};

use super::{Page, url};

#[tokio::test]
async fn every_request_is_described_with_an_example_that_works() {
    let stack = Stack::start().await;
    let page = Page::open(&stack).await;
    page.0.open(&format!("{}page/reference.html", url(&stack))).await;
    page.eventually("document.querySelectorAll('[data-operation]').length > 5").await;
    let description = stack.get("/openapi.json").await.body;
    let paths = description["paths"].as_object().expect("paths");
    let methods = |item: &Value| {
        item.as_object().expect("methods").keys().map(|name| name.to_uppercase()).collect::<Vec<_>>()
    };
    let mut all: Vec<String> = paths
        .iter()
        .flat_map(|(path, item)| methods(item).into_iter().map(move |method| format!("{method} {path}")))
        .collect();
    let shown = "[...document.querySelectorAll('[data-operation]')].map((node) => node.dataset.operation)";
    let mut shown: Vec<String> = serde_json::from_value(page.value(shown).await).expect("names");
    all.sort();
    shown.sort();
    assert_eq!(all, shown);
    // curl has neither the key nor the CA of such a run.
    if tls::directory().is_some() || description["components"]["securitySchemes"].is_object() {
        return;
    }
    for operation in all.iter().filter(|operation| !operation.ends_with("/stream")) {
        let script = "return [...document.querySelectorAll('[data-operation]')].find((node) => \
            node.dataset.operation === arguments[0]).querySelector('pre').textContent";
        let example = page.run(script, json!([operation])).await;
        let example = example.as_str().expect("text").to_owned();
        let status = tokio::task::spawn_blocking(move || {
            let script =
                format!("curl() {{ command curl -s -o /dev/null -w '%{{http_code}}' \"$@\"; }}\n{example}");
            Command::new("sh").args(["-c", &script]).output().expect("a shell")
        });
        let output = status.await.expect("it ends");
        let status = String::from_utf8_lossy(&output.stdout).into_owned();
        // The example of an id is nobody's.
        let expected = if operation.ends_with("{id}") { "404" } else { "20" };
        assert!(status.starts_with(expected), "{operation}: {status} {output:?}");
    }
    page.is_sound().await;
}

#[tokio::test]
async fn it_speaks_both_languages_and_fits_on_a_phone() {
    let stack = Stack::start_direct(&[]).await;
    let page = Page::open(&stack).await;
    page.0.open(&format!("{}page/reference.html", url(&stack))).await;
    page.eventually("document.querySelectorAll('[data-operation]').length > 5").await;
    page.click("[data-language=ru]").await;
    assert_eq!(page.text("h1").await, "Справочник API");
    for width in [1280, 768, 390] {
        page.see(tests::browser::Screen { width, height: 900, dark: false }).await;
        let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(page.value(overflow).await, 0, "{width}");
    }
    page.is_sound().await;
}
