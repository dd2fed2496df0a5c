//! The health of the parts, and the queue: what one sees when the logger is stopped and started again.

use proto::Transport;
use serde_json::{Value, json};
use tests::{eventually, stack::Stack};

use super::Page;

#[tokio::test]
async fn without_the_logger_three_refuse_the_fourth_queues_and_all_of_it_drains_when_it_is_back() {
    const QUEUED: usize = 6;
    // Few are held, so that most wait in RabbitMQ.
    let mut stack = Stack::start_with(&[("LISTENER_PREFETCH", "2")]).await;
    let page = Page::open_live(&stack).await;
    let well = json!({ "broker": "✓ ready", "logger": "✓ ready", "rabbitmq": "✓ accepting", "listener": "✓ consuming" });
    eventually("all is well", async || (states(&page).await == well).then_some(())).await;
    assert_eq!(depth(&page).await, Some(0));
    assert!(page.text("#profile").await.contains("not for measuring"), "the tests run no release");

    stack.logger.kill().await.expect("it runs");
    page.eventually("document.querySelector('#part-logger').dataset.state === 'silent'").await;
    assert_eq!(page.text("#part-logger .state").await, "✕ unreachable");
    page.tail_is("outage").await;
    page.set("#send-name", "in the outage").await;
    let refused = json!({ "http": 503, "rpc": 503, "rabbitmq": 202, "grpc": 503 });
    // The first may meet a connection that nobody knows to be dead.
    let mut queued = 0;
    eventually("three refuse", async || {
        page.send().await;
        queued += 1;
        (page.statuses().await == refused).then_some(())
    })
    .await;
    assert!(page.text("#answers [data-transport=grpc] .outcome").await.contains("not stored"));
    assert!(page.text("#answers [data-transport=grpc] .message").await.contains("logger"), "it says why");
    assert!(page.text("#answers .queue").await.starts_with("queued"));
    while queued < QUEUED {
        page.send().await;
        queued += 1;
    }
    // What waits in RabbitMQ, and what the listener holds.
    eventually("the queue grows", async || depth(&page).await.filter(|depth| *depth == queued)).await;
    assert!(page.text("#queue-parts").await.contains("unacked"));
    let drawn = "[...document.querySelectorAll('.history rect')].some((bar) => parseFloat(bar.getAttribute('height')) > 50)";
    assert_eq!(page.texts("#queue-history .ends").await, ["1050"], "its axis says where it ends");
    page.eventually(drawn).await;

    stack.start_logger().await.expect("it starts");
    eventually("all is well again", async || (states(&page).await == well).then_some(())).await;
    eventually("the queue is drained", async || depth(&page).await.filter(|depth| *depth == 0)).await;
    page.eventually("document.querySelector('#answers .queue').textContent.startsWith('stored')").await;
    page.tail_is("live").await;
    let rows =
        format!("document.querySelectorAll('#tail-rows [data-transport=rabbitmq]').length === {queued}");
    page.eventually(&rows).await;
    assert_eq!(stack.all_stored().await.len(), queued, "what was refused is not stored");
    eventually("all four deliver again", async || {
        page.send().await;
        let all = Transport::ALL.map(|transport| (transport.as_str().to_owned(), json!(202)));
        (page.statuses().await == Value::Object(all.into_iter().collect())).then_some(())
    })
    .await;
    page.is_sound().await;
}

#[tokio::test]
async fn a_listener_that_is_gone_and_dead_letters_show() {
    let mut stack = Stack::start().await;
    let page = Page::open(&stack).await;
    let id = uuid::Uuid::now_v7();
    stack.log(Transport::Http, &json!({ "id": id, "name": "event", "data": "one" })).await;
    stack.log(Transport::Rabbitmq, &json!({ "id": id, "name": "event", "data": "other" })).await;
    page.eventually("document.querySelector('#dead-letters').textContent === '1'").await;
    stack.listener.kill().await.expect("it runs");
    page.eventually("document.querySelector('#part-listener').className === 'bad'").await;
    stack.log(Transport::Rabbitmq, &json!({ "name": "event", "data": "" })).await;
    page.eventually("document.querySelector('#queue-depth').textContent === '1'").await;
    assert!(page.text("#queue-parts").await.contains('?'), "nobody says what it holds");
    page.is_sound().await;
}

#[tokio::test]
async fn nobody_is_asked_while_nobody_looks() {
    let stack = Stack::start_direct(&[]).await;
    let page = Page::open(&stack).await;
    let script = "const asked = []; const own = window.fetch; window.asked = asked; \
        window.fetch = (path, options) => { asked.push(path); return own(path, options); }; \
        window.seen = true; Object.defineProperty(document, 'hidden', { get: () => !window.seen })";
    page.run(script, json!([])).await;
    let asked = "window.asked.filter((path) => path === '/status').length";
    page.eventually(&format!("{asked} > 1")).await;
    page.run("window.seen = false; window.asked.length = 0", json!([])).await;
    // One look may be under way. The tail goes on trying meanwhile, and shows that time passes.
    page.eventually("window.hiddenAt ??= performance.now(), performance.now() - window.hiddenAt > 2500")
        .await;
    let looks = page.value(asked).await.as_u64().expect("a number");
    assert!(looks <= 1, "{looks}");
    page.run("window.seen = true; document.dispatchEvent(new Event('visibilitychange'))", json!([])).await;
    page.eventually(&format!("{asked} > {looks}")).await;
}

#[tokio::test]
async fn of_several_loggers_each_is_shown() {
    let mut stack = Stack::start_without_listener(&[]).await;
    stack.broker.kill().await.expect("it runs");
    for (setting, url) in stack.logger_urls() {
        let (before, _port) = url.rsplit_once(':').expect("a port");
        stack.set(setting, format!("{url},{before}:1"));
    }
    stack.start_broker().await.expect("it starts");
    let page = Page::open_live(&stack).await;
    let more = "document.querySelector('#part-logger .more').textContent";
    page.eventually(&format!("{more}.startsWith('1 of 2 respond.')")).await;
    let told = page.value(more).await.to_string();
    let well = stack.logger_at.http;
    assert!(told.contains(&format!("✓ {well}")) && told.contains("✕ 127.0.0.1:1"), "{told}");
    assert_eq!(page.text("#part-logger .state").await, "✓ ready");
}

/// What each part is said to be.
async fn states(page: &Page) -> Value {
    let states = "Object.fromEntries([...document.querySelectorAll('#parts li')] \
        .map((part) => [part.id.replace('part-', ''), part.querySelector('.state').textContent]))";
    page.value(states).await
}

async fn depth(page: &Page) -> Option<usize> {
    page.text("#queue-depth").await.parse().ok()
}
