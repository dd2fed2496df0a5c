//! The live tail.

use std::collections::BTreeSet;

use proto::Transport;
use serde_json::json;
use tests::{eventually, stack::Stack};

use super::Page;
use crate::coalescing::scrape;

const COUNT: &str = "document.querySelectorAll('#tail-rows li').length";

#[tokio::test]
async fn what_is_stored_shows_up_with_its_transport_by_word_and_shape() {
    let stack = Stack::start().await;
    let page = Page::open_live(&stack).await;
    for transport in Transport::ALL {
        let log = json!({ "name": "event", "data": format!("by {transport}"), "level": "error" });
        let answer = stack.log(transport, &log).await;
        let row = format!("#tail-rows [data-id='{}']", answer.id());
        page.eventually(&format!("document.querySelector(\"{row}\")")).await;
        let text = page.text(&row).await;
        for word in [transport.as_str(), "event", &format!("by {transport}"), "error"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
    let shapes = "new Set([...document.querySelectorAll('#tail-rows .mark svg')].map((mark) => \
        [...mark.children].map((shape) => shape.tagName + shape.getAttribute('d')).join())).size";
    assert_eq!(page.value(shapes).await, 4);
    page.is_sound().await;
}

#[tokio::test]
async fn a_text_is_never_markup() {
    let stack = Stack::start().await;
    let page = Page::open_live(&stack).await;
    let texts = [
        "<script>window.hacked = 'script'</script>",
        "<img src=x onerror=\"window.hacked = 'img'\">",
        "<svg onload=\"window.hacked = 'svg'\"></svg>",
        "</bdi></li></ol><iframe srcdoc=\"<script>parent.hacked = 1</script>\"></iframe>",
        "&lt;b&gt; &amp; {count} $& \u{202e}",
    ];
    for text in texts {
        // As any caller sends it, and from the page itself.
        stack.log(Transport::Rpc, &json!({ "name": text, "data": text })).await;
        page.set("#send-name", text).await;
        page.set("#send-data", text).await;
        page.send().await;
        page.eventually("document.querySelector('#answers .queue')?.textContent.startsWith('stored')").await;
    }
    page.eventually(&format!("{COUNT} === {}", 5 * texts.len())).await;
    let shown = page.texts("#tail-rows .data").await;
    let names = page.texts("#tail-rows .name").await;
    for text in texts {
        assert_eq!(shown.iter().filter(|shown| *shown == text).count(), 5, "{text}: {shown:?}");
        assert_eq!(names.iter().filter(|shown| *shown == text).count(), 5, "{text}: {names:?}");
    }
    let foreign = "document.querySelectorAll('main script, main img, iframe, main b.hacked, [onerror], [onload]').length";
    assert_eq!(page.value(foreign).await, 0);
    assert!(page.value("window.hacked === undefined").await.as_bool().expect("a word"));
    page.is_sound().await;
}

#[tokio::test]
async fn filters_hold_and_a_pause_and_a_limit_too() {
    const LIMIT: usize = 200;
    let stack = Stack::start().await;
    let page = Page::open_live(&stack).await;
    page.set("#tail-name", "wanted").await;
    page.set("#tail-contains", "needle").await;
    page.run("document.querySelector('#tail-level').value = 'warning'", json!([])).await;
    page.set("#tail-transport", "grpc").await;
    let log = |name: &str, level: &str, data: &str| json!({ "name": name, "level": level, "data": data });
    let wanted = log("wanted", "warning", "a needle in it");
    // They are taken a moment after the last key: before that the others show up as well.
    eventually("the filters are taken", async || {
        stack.log(Transport::Grpc, &log("other", "warning", "a needle")).await;
        stack.log(Transport::Grpc, &wanted).await;
        let names: BTreeSet<String> = page.texts("#tail-rows .name").await.into_iter().collect();
        (names == BTreeSet::from(["wanted".to_owned()])).then_some(())
    })
    .await;
    for (transport, other) in [
        (Transport::Http, wanted.clone()),
        (Transport::Grpc, log("wanted", "info", "a needle")),
        (Transport::Grpc, log("wanted", "warning", "hay")),
    ] {
        stack.log(transport, &other).await;
    }
    let last = stack.log(Transport::Grpc, &wanted).await.id();
    page.eventually(&format!("document.querySelector(\"[data-id='{last}']\")")).await;
    assert!(page.texts("#tail-rows .data").await.iter().all(|text| text == "a needle in it"));
    assert!(page.texts("#tail-rows .mark").await.iter().all(|word| word == "grpc"));

    page.click("#tail-pause").await;
    page.click("#tail-clear").await;
    let batch = vec![wanted.clone(); LIMIT + 50];
    stack.log(Transport::Grpc, &json!(batch)).await;
    page.eventually("document.querySelector('#tail-new').textContent === '250 new'").await;
    assert_eq!(page.value(COUNT).await, 0);
    page.click("#tail-pause").await;
    page.eventually(&format!("{COUNT} === {LIMIT}")).await;
    stack.log(Transport::Grpc, &json!([wanted, wanted, wanted])).await;
    let newest = stack.log(Transport::Grpc, &wanted).await.id();
    page.eventually(&format!("document.querySelector('#tail-rows li').dataset.id === '{newest}'")).await;
    assert_eq!(page.value(COUNT).await, LIMIT);
    page.click("#tail-clear").await;
    assert_eq!(page.value(COUNT).await, 0);
    page.is_sound().await;
}

#[tokio::test]
async fn after_an_outage_of_the_broker_the_tail_goes_on_where_it_was() {
    let mut stack = Stack::start().await;
    let page = Page::open_live(&stack).await;
    let log = |data: &str| json!({ "name": "event", "data": data });
    stack.log(Transport::Http, &log("before")).await;
    page.eventually(&format!("{COUNT} === 1")).await;
    stack.broker.kill().await.expect("it runs");
    page.eventually("!document.querySelector('#notice').hidden").await;
    page.tail_is("again").await;
    page.eventually("document.querySelector('#part-broker').className === 'bad'").await;
    assert_eq!(page.text("#part-broker .state").await, "✕ unreachable");
    assert_eq!(page.text("#part-logger .state").await, "? unknown");
    // Stored while nobody could tell the page of it.
    let body = json!({ "name": "event", "data": "meanwhile" });
    stack.post_to_logger("/log", body.to_string()).await;
    stack.start_broker().await.expect("it starts");
    page.eventually("document.querySelector('#notice').hidden").await;
    page.tail_is("live").await;
    stack.log(Transport::Http, &log("after")).await;
    page.eventually(
        "[...document.querySelectorAll('#tail-rows .data')].some((text) => text.textContent === 'after')",
    )
    .await;
    assert_eq!(page.texts("#tail-rows .data").await, ["after", "meanwhile", "before"]);
    page.is_sound().await;
}

#[tokio::test]
async fn a_tab_that_nobody_sees_gives_its_connection_back_and_misses_nothing() {
    let stack = Stack::start_direct(&[]).await;
    let page = Page::open_live(&stack).await;
    let log = |data: &str| json!({ "name": "event", "data": data });
    let hide = "Object.defineProperty(document, 'hidden', { value: arguments[0], configurable: true }); \
        document.dispatchEvent(new Event('visibilitychange'))";
    stack.log(Transport::Http, &log("before")).await;
    page.eventually(&format!("{COUNT} === 1")).await;
    let open_streams = async || scrape(stack.broker_at).await.sum("broker_open_streams");
    assert_eq!(open_streams().await, 1.0);
    page.run(hide, json!([true])).await;
    page.tail_is("connecting").await;
    eventually("the connection is given back", async || (open_streams().await == 0.0).then_some(())).await;
    let unseen = stack.log(Transport::Http, &log("unseen")).await.id();
    eventually("it can be read", async || {
        (stack.get(&format!("/logs/{unseen}")).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(page.texts("#tail-rows .data").await, ["before"]);
    page.run(hide, json!([false])).await;
    page.tail_is("live").await;
    stack.log(Transport::Http, &log("after")).await;
    page.eventually(&format!("{COUNT} >= 3")).await;
    assert_eq!(page.texts("#tail-rows .data").await, ["after", "unseen", "before"]);
    page.is_sound().await;
}

#[tokio::test]
async fn a_stream_is_understood_wherever_it_is_cut() {
    let stack = Stack::start_direct(&[]).await;
    let page = Page::open(&stack).await;
    let stream = ": comment\n\nid: 7\nevent: entry\ndata: {\"a\":\ndata:1}\n\nevent:state\r\ndata: x: y\r\n\r\n\
        data\n\nid: 8\n\ndata: last\r\rdata: never ended\n";
    let script = "const [stream] = arguments; return import('/page/stream.js').then(({ parser }) => { \
        const read = (...pieces) => { const got = []; pieces.forEach(parser((one) => got.push(one))); \
            return JSON.stringify(got); }; \
        const whole = read(...stream); const cuts = [...stream].map((_, at) => read(stream.slice(0, at), stream.slice(at))); \
        return { whole, agree: cuts.every((cut) => cut === whole) }; })";
    let read = page.run(script, json!([stream])).await;
    let whole: serde_json::Value = serde_json::from_str(read["whole"].as_str().expect("text")).expect("JSON");
    assert_eq!(
        whole,
        json!([
            { "id": "7", "event": "entry", "data": "{\"a\":\n1}" },
            { "event": "state", "data": "x: y" },
            { "event": "message", "data": "" },
            { "id": "8", "event": "message", "data": "" },
            { "event": "message", "data": "last" },
        ])
    );
    assert_eq!(read["agree"], true);
}

#[tokio::test]
async fn what_was_missed_is_shown_where_it_is_missing() {
    let stack = Stack::start_direct(&[]).await;
    let page = Page::open(&stack).await;
    // A reader that is too slow for a real stream would be slow here too: the stream is played to the page instead.
    let script = "const answer = (text) => new Response(new Blob([text]).stream()); \
        const own = window.fetch; \
        window.fetch = (path, options) => path.startsWith('/logs/stream') \
            ? Promise.resolve(answer('id: 1\\nevent: missed\\ndata: {\"count\":12345}\\n\\n')) : own(path, options); \
        document.querySelector('#tail-name').dispatchEvent(new Event('input', { bubbles: true }))";
    page.run(script, json!([])).await;
    page.eventually("document.querySelector('#tail-rows .missed')?.innerText.includes('12,345')").await;
}
