//! How it looks and reads: languages, widths, schemes, the keyboard.

use std::{collections::BTreeSet, path::Path};

use proto::Transport;
use serde_json::{Value, json};
use tests::{
    browser::{Screen, key},
    stack::Stack,
};

use super::Page;

const SCREENS: [Screen; 7] = [
    Screen { width: 1280, height: 900, dark: false },
    Screen { width: 1280, height: 900, dark: true },
    Screen { width: 768, height: 900, dark: false },
    Screen { width: 390, height: 844, dark: false },
    Screen { width: 390, height: 844, dark: true },
    Screen { width: 360, height: 740, dark: false },
    Screen { width: 360, height: 740, dark: true },
];

#[tokio::test]
async fn it_speaks_the_language_of_its_reader_and_remembers_another_choice() {
    let stack = Stack::start_direct(&[]).await;
    let page = Page::open_in(&stack, "ru-RU").await;
    assert_eq!(page.value("document.documentElement.lang").await, "ru");
    assert_eq!(page.text("#send-button").await, "Отправить");
    assert_eq!(page.value("document.querySelector('#tail-rows').ariaLabel").await, "Живая лента");
    page.click("[data-language=en]").await;
    assert_eq!(page.value("document.documentElement.lang").await, "en");
    assert_eq!(page.text("#send-button").await, "Send");
    assert_eq!(page.value("document.querySelector('[data-language=en]').ariaPressed").await, "true");
    page.0.open(&super::url(&stack)).await;
    page.eventually("document.querySelector('#parts li')").await;
    assert_eq!(page.text("#send-button").await, "Send", "it was remembered");
    page.is_sound().await;
}

#[tokio::test]
async fn a_link_chooses_the_language_until_a_button_does() {
    let stack = Stack::start_direct(&[]).await;
    let page = Page::open(&stack).await;
    let language = async |address: &str| {
        page.0.open(&format!("{}{address}", super::url(&stack))).await;
        page.eventually("document.querySelector('[data-language][aria-pressed=true]')").await;
        page.value("document.documentElement.lang").await
    };
    assert_eq!(language("?lang=ru").await, "ru");
    assert_eq!(language("page/reference.html").await, "ru", "it holds on the next page");
    assert_eq!(language("?lang=constructor").await, "ru", "no language of the page");
    assert_eq!(language("?lang=en-GB").await, "en");
    page.click("[data-language=ru]").await;
    assert_eq!(page.value("location.search").await, "", "nothing chooses otherwise when it is reloaded");
    assert_eq!(language("").await, "ru");
    page.is_sound().await;
}

#[tokio::test]
async fn every_text_is_there_in_each_language_and_none_is_left_over() {
    let stack = Stack::start_direct(&[]).await;
    let page = Page::open_in(&stack, "de-DE").await;
    assert_eq!(page.value("document.documentElement.lang").await, "en", "one who reads neither");
    let script = "return import('/page/strings.js').then(({ strings }) => strings)";
    let strings = page.run(script, json!([])).await;
    let keys = |language: &str| strings[language].as_object().expect("texts").keys().collect::<BTreeSet<_>>();
    assert_eq!(keys("en"), keys("ru"));
    let holes = |text: &Value| -> BTreeSet<String> {
        let parts = text.as_str().expect("a text").split('{').skip(1);
        parts.filter_map(|part| Some(part.split_once('}')?.0.to_owned())).collect()
    };
    for key in keys("en") {
        assert_eq!(holes(&strings["en"][key]), holes(&strings["ru"][key]), "{key}");
    }
    let mut files = String::new();
    for file in
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../broker/page")).expect("the files")
    {
        let path = file.expect("a file").path();
        if !path.ends_with("strings.js") {
            files += &std::fs::read_to_string(path).expect("text");
        }
    }
    // Some are put together: a part's role, a bar's part, what the tail says of itself.
    let made = [
        "broker",
        "logger",
        "rabbitmq",
        "listener",
        "part.",
        "tail.",
        "take.",
        "results.",
        "differ.",
        "need.",
        "commands.",
    ];
    for key in keys("en") {
        let named = files.contains(&format!("'{key}'")) || files.contains(&format!("\"{key}\""));
        let known = ["ready", "stored", "queued", "duplicate"].contains(&key.as_str());
        assert!(named || known || made.iter().any(|part| key.starts_with(part)), "{key} is said nowhere");
    }
    let untold = "[...document.querySelectorAll('[data-t]')].map((node) => node.dataset.t) \
        .concat([...document.querySelectorAll('[data-label]')].map((node) => node.dataset.label))";
    let used: BTreeSet<String> = serde_json::from_value(page.value(untold).await).expect("keys");
    for key in &used {
        assert!(keys("en").contains(key), "{key}");
    }
}

#[tokio::test]
async fn everything_is_reached_by_the_keyboard_and_shows_that_it_is() {
    let stack = Stack::start_direct(&[]).await;
    let page = Page::open(&stack).await;
    let mut reached = BTreeSet::new();
    page.run("document.activeElement.blur()", json!([])).await;
    for step in 0.. {
        page.press(&[key::TAB]).await;
        let here = "(() => { const node = document.activeElement; const shown = node.closest('.choice') ?? node; \
            return [node.id || node.name || node.dataset.language || node.dataset.kind && 'tab-' + node.dataset.kind || node.className || node.parentElement?.parentElement?.id || node.getAttribute('href'), \
                getComputedStyle(shown).outlineStyle, node === document.body] })()";
        let here = page.value(here).await;
        let name = here[0].as_str().unwrap_or_default().to_owned();
        if here[2] == true || !reached.insert(name.clone()) {
            break;
        }
        assert_eq!(here[1], "solid", "the focus is seen on {name}");
        assert!(step < 100, "{reached:?}");
    }
    for name in [
        "skip",
        "en",
        "ru",
        "transport",
        "send-name",
        "send-level",
        "send-data",
        "send-id",
        "send-button",
        "lanes-send",
        "lanes-burst",
        "curl-copy",
        "burst-count",
        "burst-concurrency",
        "burst-start",
        "tail-transport",
        "tail-level",
        "tail-name",
        "tail-contains",
        "tail-pause",
        "tail-clear",
        "tail-rows",
        "/page/reference.html",
        "/openapi.json",
    ] {
        assert!(reached.contains(name), "{name} is not among {reached:?}");
    }
    // Whatever takes an input says what it is for.
    let unnamed = "[...document.querySelectorAll('input, select, textarea, button')] \
        .filter((node) => !node.labels?.length && !node.textContent.trim() && !node.ariaLabel).map((node) => node.id)";
    assert_eq!(page.value(unnamed).await, json!([]));
}

#[tokio::test]
async fn it_fits_on_each_screen_and_is_read_on_each_ground() {
    let stack = Stack::start().await;
    let page = Page::open_live(&stack).await;
    fill(&stack, &page).await;
    for language in ["en", "ru"] {
        page.click(&format!("[data-language={language}]")).await;
        for screen in SCREENS {
            page.see(screen).await;
            let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(page.value(overflow).await, 0, "{screen:?} {language}");
            let squeezed = page.value(SQUEEZED).await;
            assert_eq!(squeezed, json!([]), "{screen:?} {language}");
            let pale = page.run(PALE, json!([])).await;
            assert_eq!(pale, json!([]), "{screen:?} {language}");
        }
    }
    page.is_sound().await;
}

/// What is wider than its place.
const SQUEEZED: &str = "[...document.querySelectorAll('.parts li, .depth, .field, .choice, button, label, .answer, figure, .lane, .results td')] \
    .filter((node) => node.scrollWidth > node.clientWidth + 1 && node.clientWidth).map((node) => node.textContent)";

/// The texts whose contrast with their ground is below WCAG's level AA.
const PALE: &str = "
    const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    const ground = (node) => {
        for (; node; node = node.parentElement) {
            const colour = parse(getComputedStyle(node).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    const pale = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest(':disabled, noscript')) continue;
        const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) pale.push(`${walker.currentNode.data.trim()} ${ratio.toFixed(2)}`);
    }
    return pale";

/// Has something of everything on the page.
async fn fill(stack: &Stack, page: &Page) {
    for (number, transport) in Transport::ALL.into_iter().enumerate() {
        let level = ["info", "warning", "error"][number % 3];
        let data = ["a short text", "<b>no markup</b>", "a-long-word-".repeat(20).as_str(), "два\nслова"]
            [number]
            .to_owned();
        stack.log(transport, &json!({ "name": "payments.settled", "level": level, "data": data })).await;
    }
    page.send().await;
    page.eventually("document.querySelector('.waterfall .part-queue')").await;
    page.set("#burst-count", "40").await;
    page.click("#burst-start").await;
    page.eventually("document.querySelector('#burst').dataset.runs === 'false'").await;
    page.eventually("document.querySelectorAll('#tail-rows li').length === 168").await;
    stack.log(Transport::Rabbitmq, &json!({ "name": "payments.settled", "data": "the last one" })).await;
    page.eventually("document.querySelector('#tail-rows li').innerText.includes('the last one')").await;
}

/// Takes pictures of it, for people: `cargo test -p tests --test e2e -- --ignored pictures`.
#[tokio::test]
#[ignore = "its pictures are looked at by people: FOURWIRE_PICTURES names the directory"]
async fn pictures() {
    let directory = std::env::var("FOURWIRE_PICTURES").expect("FOURWIRE_PICTURES names a directory");
    let mut stack = Stack::start_with(&[("LISTENER_PREFETCH", "2")]).await;
    let page = Page::open_live(&stack).await;
    let take = async |moment: &str| {
        for language in ["en", "ru"] {
            page.click(&format!("[data-language={language}]")).await;
            for screen in SCREENS {
                page.see(screen).await;
                let scheme = if screen.dark { "dark" } else { "light" };
                let name = format!("{moment}-{language}-{}-{scheme}.png", screen.width);
                let picture = page.picture().await;
                std::fs::write(Path::new(&directory).join(name), picture).expect("the directory is there");
            }
        }
        page.see(SCREENS[0]).await;
    };
    fill(&stack, &page).await;
    take("well").await;
    stack.logger.kill().await.expect("it runs");
    page.eventually("document.querySelector('#part-logger').className === 'bad'").await;
    for _ in 0..5 {
        page.send().await;
    }
    page.eventually("Number(document.querySelector('#queue-depth').textContent) >= 4").await;
    take("outage").await;
}
