//! The page, in a real browser over real services.

use std::path::Path;

use serde_json::{Value, json};
use tests::{
    browser::{Browser, Screen},
    stack::Stack,
};

use crate::{Shop, log::shop_on, rig_up::DEADLINE};

const SCREENS: [Screen; 3] = [
    Screen { width: 1280, height: 900, dark: false },
    Screen { width: 1280, height: 900, dark: true },
    Screen { width: 360, height: 740, dark: false },
];

/// The states on the page, in their order.
const STATES: &str = "[...document.querySelectorAll('#states li')].map((row) => row.dataset.state).join(' ')";

/// The transports of the story, each once.
const TRANSPORTS: &str = "[...new Set([...document.querySelectorAll('#story li')].map((row) => row.dataset.transport))].sort().join(' ')";

/// The invariants that are shown to hold.
const HELD: &str = "document.querySelectorAll('#checks li[data-holds=true]').length === 4";

/// What stands in the place of the story while the log cannot be reached.
const UNREACHABLE: &str = "/^Fourwire is unreachable: entries wait to be sent \\([1-9][0-9]*\\)\\. The order does not need it\\.$/\
    .test(document.querySelector('#story-said').textContent)";

/// The faults that are shown to be set.
const PRESSED: &str = "[...document.querySelectorAll('[data-fault][aria-pressed=true]')].map((button) => button.dataset.fault).join(' ')";

async fn open(shop: &Shop, language: &str) -> Browser {
    let page = Browser::start(language).await;
    page.open(&format!("http://{}/", shop.address("front"))).await;
    page.eventually("document.querySelector('#balance').textContent.includes('000')").await;
    page
}

async fn import(page: &Browser) {
    page.eventually("!document.querySelector('#import').hidden").await;
    page.click("#import").await;
    page.eventually("document.querySelector('[data-sku=crab]')").await;
}

async fn buy(page: &Browser, sku: &str) {
    page.click(&format!("[data-sku={sku}]")).await;
    page.eventually("!document.querySelector('#buy').disabled").await;
    page.click("#buy").await;
}

async fn says(page: &Browser, selector: &str, text: &str) {
    page.eventually(&format!("document.querySelector('{selector}').textContent === '{text}'")).await;
}

async fn is_sound(page: &Browser) {
    page.eventually(HELD).await;
    let complaints = page.complaints().await;
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[tokio::test]
async fn a_browser_buys_sees_each_state_and_reads_the_story_over_four_transports() {
    let mut stack = Stack::start().await;
    let mut shop = shop_on(&stack).await;
    let page = open(&shop, "en-US").await;
    import(&page).await;
    buy(&page, "crab").await;
    page.eventually(&format!("{STATES} === 'PLACED RESERVED HELD ACCEPTED PAID'")).await;
    says(&page, "#order-said", "State: PAID").await;
    let times = "const at = [...document.querySelectorAll('#states li small:last-child')].map((node) => node.textContent); \
        const ms = (text) => { const [h, m, s] = text.split(':').map(Number); return ((h * 60 + m) * 60 + s) * 1000 }; \
        return ms(at.at(-1)) - ms(at[0])";
    let took = page.run(times, json!([])).await.as_f64().expect("milliseconds");
    println!("PLACED to PAID: {took:.0} ms");
    assert!(took <= DEADLINE.as_millis() as f64, "paid after {took} ms");
    page.eventually(&format!("{TRANSPORTS} === 'grpc http rabbitmq rpc'")).await;
    // The same id again is the same order.
    let balance = page.text("#balance").await;
    page.click("#again").await;
    says(&page, "#request-said", "The same order; still charged once. Charges in the ledger: 1.").await;
    says(&page, "#order-said", "State: PAID").await;
    page.eventually(&format!("{STATES} === 'PLACED RESERVED HELD ACCEPTED PAID'")).await;
    assert_eq!(page.text("#balance").await, balance);
    for state in ["SHIPPED", "DELIVERED"] {
        page.click("#advance").await;
        page.eventually(&format!("{STATES}.endsWith('{state}')")).await;
        says(&page, "#order-said", &format!("State: {state}")).await;
    }
    is_sound(&page).await;

    // Payment is killed: the order waits, says so, and is paid when it is back.
    shop.kill("payment").await;
    buy(&page, "mug").await;
    page.eventually("document.querySelector('#order-said').dataset.t === 'pending'").await;
    page.eventually(&format!("{STATES} === 'PLACED RESERVED'")).await;
    page.eventually("document.querySelector('#services [data-up=false]').textContent.startsWith('payment')")
        .await;
    shop.begin("payment").await;
    page.eventually(&format!("{STATES} === 'PLACED RESERVED HELD ACCEPTED PAID'")).await;
    says(&page, "#order-said", "State: PAID").await;
    is_sound(&page).await;

    // Fourwire is killed: the order is paid, the page says what the log waits for, and shows it when it is back.
    stack.broker.kill().await.expect("it runs");
    buy(&page, "mug").await;
    says(&page, "#order-said", "State: PAID").await;
    page.eventually(UNREACHABLE).await;
    page.eventually("document.querySelector('#services [data-up=false]').textContent.startsWith('Fourwire')")
        .await;
    stack.start_broker().await.expect("it starts");
    page.eventually("document.querySelector('#story-said').hidden").await;
    page.eventually(&format!("{TRANSPORTS} === 'grpc http rabbitmq rpc'")).await;
    is_sound(&page).await;
}

#[tokio::test]
async fn the_buttons_break_things_and_what_must_hold_holds() {
    let mut shop = Shop::start().await;
    let page = open(&shop, "en-US").await;
    page.eventually("!document.querySelector('#buttons').hidden").await;
    page.click("[data-fault=crowd]").await;
    page.eventually("document.querySelector('#fault-said').textContent.includes('10 PAID')").await;
    assert!(page.text("#fault-said").await.contains("54 REJECTED"));
    page.click("[data-fault=retries]").await;
    page.eventually("document.querySelector('#fault-said').textContent.includes('captures: 1')").await;
    import(&page).await;
    page.click("[data-fault=refuse]").await;
    page.eventually("document.querySelector('#fault-said').dataset.t === 'fault.done'").await;
    page.eventually(&format!("{PRESSED} === 'refuse'")).await;
    says(&page, "#fault-on", "Fault: declines all").await;
    buy(&page, "crab").await;
    page.eventually(&format!("{STATES} === 'PLACED RESERVED REJECTED'")).await;
    says(&page, "#order-said", "State: REJECTED").await;
    page.eventually(UNREACHABLE).await;
    assert!(page.text("#states").await.contains("the payment was declined"));
    page.click("[data-fault=none]").await;
    page.eventually(&format!("{PRESSED} === ''")).await;
    // A process that is started again has forgotten its fault, and the page says what is.
    page.click("[data-fault=slow]").await;
    page.eventually(&format!("{PRESSED} === 'slow'")).await;
    says(&page, "#fault-on", "Fault: 3\u{a0}s delay").await;
    shop.kill("payment").await;
    page.eventually("document.querySelector('#fault-on').dataset.t === 'fault.down'").await;
    shop.begin("payment").await;
    says(&page, "#fault-on", "Fault: none").await;
    assert_eq!(page.value(PRESSED).await, "");
    is_sound(&page).await;
    let front = format!("http://{}/api/faults", shop.address("front"));
    let foreign = tests::client().post(&front).header("Origin", "http://127.0.0.1:1").body("{}").send().await;
    assert_eq!(foreign.expect("an answer").status(), 403, "no other page may press them");
}

#[tokio::test]
async fn without_the_setting_there_are_no_buttons() {
    let shop = Shop::start_with(&[("SHOP_FAULTS", "off")]).await;
    let front = format!("http://{}", shop.address("front"));
    let pressed =
        tests::client().post(format!("{front}/api/faults")).body(r#"{"fault":"crowd"}"#).send().await;
    let pressed = pressed.expect("an answer");
    assert_eq!(pressed.status(), 403);
    let body: Value = pressed.json().await.expect("JSON");
    assert!(body["message"].as_str().is_some_and(|message| message.contains("SHOP_FAULTS=on")), "{body}");
}

#[tokio::test]
async fn the_page_speaks_both_languages_and_fits_on_each_screen() {
    let shop = Shop::start().await;
    let page = open(&shop, "ru-RU").await;
    assert_eq!(page.text("#buy").await, "Оформить заказ");
    import(&page).await;
    assert!(page.text("#user").await.starts_with("Гость "));
    assert!(page.text("#products").await.contains("Плюшевый краб"));
    for sku in ["crab", "lamp"] {
        page.click(&format!("[data-sku={sku}]")).await;
    }
    says(&page, "#total", "Итого 113,50\u{a0}€").await;
    page.click("[data-language=en]").await;
    says(&page, "#total", "Total €113.50").await;
    page.click("[data-language=ru]").await;
    page.click("#buy").await;
    page.eventually(&format!("{STATES}.endsWith('PAID')")).await;
    says(&page, "#order-said", "Состояние: PAID").await;
    let strings =
        page.run("return import('/page/strings.js').then(({ strings }) => strings)", json!([])).await;
    let keys =
        |language: &str| strings[language].as_object().expect("texts").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys("en"), keys("ru"));
    for language in ["en", "ru"] {
        page.click(&format!("[data-language={language}]")).await;
        let used = "[...new Set([...document.querySelectorAll('[data-t]')].map((node) => node.dataset.t))]";
        let used: Vec<String> = serde_json::from_value(page.value(used).await).expect("keys");
        assert!(used.iter().all(|key| strings[language][key].is_string()), "{used:?}");
        for screen in SCREENS {
            page.see(screen).await;
            let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(page.value(overflow).await, 0, "{screen:?} {language}");
        }
    }
}

/// Takes pictures of it, for people.
#[tokio::test]
#[ignore = "its pictures are looked at by people: FOURWIRE_PICTURES names the directory"]
async fn pictures() {
    let directory = std::env::var("FOURWIRE_PICTURES").expect("FOURWIRE_PICTURES names a directory");
    let stack = Stack::start().await;
    let mut shop = shop_on(&stack).await;
    let page = open(&shop, "en-US").await;
    import(&page).await;
    buy(&page, "crab").await;
    page.eventually(&format!("{STATES}.endsWith('PAID')")).await;
    page.eventually(&format!("{TRANSPORTS} === 'grpc http rabbitmq rpc'")).await;
    page.click("[data-sku=mug]").await;
    take(&page, &directory, "paid").await;
    shop.kill("payment").await;
    page.click("#buy").await;
    page.eventually("document.querySelector('#order-said').dataset.t === 'pending'").await;
    take(&page, &directory, "pending").await;
}

async fn take(page: &Browser, directory: &str, moment: &str) {
    for language in ["en", "ru"] {
        page.click(&format!("[data-language={language}]")).await;
        for screen in SCREENS {
            page.see(screen).await;
            let scheme = if screen.dark { "dark" } else { "light" };
            let name = format!("{moment}-{language}-{}-{scheme}.png", screen.width);
            std::fs::write(Path::new(directory).join(name), page.picture().await)
                .expect("the directory is there");
        }
    }
    page.see(SCREENS[0]).await;
}
