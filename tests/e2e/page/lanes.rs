//! The lanes: one entry over each transport, and what becomes of it.

use std::net::SocketAddr;

use proto::Transport;
use serde_json::{Value, json};
use tests::{eventually, stack::Stack};
use tokio::net::TcpSocket;

use super::{Page, burst::IDLE};

const DONE: &str = "document.querySelector('#lanes').dataset.runs === 'false'";

/// The states of a lane since the button was pressed, in order.
async fn states(page: &Page, transport: Transport) -> String {
    let states = format!("document.querySelector('.lane[data-transport={transport}]').dataset.states ?? ''");
    page.value(&states).await.as_str().expect("text").to_owned()
}

/// The sign before the words of a lane, and their colour.
async fn word(page: &Page, transport: Transport) -> (String, Value) {
    let word = format!("document.querySelector('.lane[data-transport={transport}] .word')");
    let sign = page.value(&format!("getComputedStyle({word}, '::before').content")).await;
    (sign.as_str().expect("text").to_owned(), page.value(&format!("getComputedStyle({word}).color")).await)
}

/// The colour of what is neither good nor bad.
async fn word_colour_at_rest(page: &Page) -> Value {
    page.value("getComputedStyle(document.querySelector('.lane-name small')).color").await
}

async fn text(page: &Page, transport: Transport) -> String {
    page.text(&format!(".lane[data-transport={transport}] .lane-result")).await
}

/// Whether the disk of a lane is full.
async fn is_stored(page: &Page, transport: Transport) -> bool {
    let disk = format!(
        "document.querySelector('.lane[data-transport={transport}] .disk').classList.contains('hit')"
    );
    page.value(&disk).await == true
}

async fn send(page: &Page) {
    page.click("#lanes-send").await;
    page.eventually(DONE).await;
}

#[tokio::test]
async fn over_three_the_answer_comes_after_the_disk_and_over_rabbitmq_before() {
    let stack = Stack::start().await;
    let page = Page::open(&stack).await;
    // So that it is the listener, and no chance, that has not stored it.
    stack.listener.freeze().await.expect("it runs");
    send(&page).await;
    for transport in tests::DIRECT {
        assert_eq!(states(&page, transport).await, "sending stored answered", "{transport}");
        assert!(text(&page, transport).await.contains("202 stored"), "{transport}");
        assert!(is_stored(&page, transport).await);
    }
    let rabbitmq = Transport::Rabbitmq;
    assert_eq!(states(&page, rabbitmq).await, "sending answered");
    assert!(text(&page, rabbitmq).await.contains("202 queued: safe in RabbitMQ"));
    assert!(!is_stored(&page, rabbitmq).await);
    // It waits, which is no failure, and is seen without colours.
    let failed = page.value("getComputedStyle(document.documentElement).getPropertyValue('--bad')").await;
    let (sign, colour) = word(&page, rabbitmq).await;
    assert_eq!(sign, "\"… \"");
    assert!(colour != failed && colour == word_colour_at_rest(&page).await, "{colour}");
    assert_eq!(word(&page, Transport::Http).await.0, "\"✓ \"");
    assert!(page.texts(".lane[data-transport=rabbitmq] .wire").await.concat().contains("queue: 1"));
    stack.listener.thaw().expect("it is there");
    eventually("it is stored", async || {
        (states(&page, rabbitmq).await == "sending answered stored").then_some(())
    })
    .await;
    assert!(text(&page, rabbitmq).await.contains("on the disk after"));
    assert_eq!(word(&page, rabbitmq).await.0, "\"✓ \"");
    assert!(is_stored(&page, rabbitmq).await);
    // A keepalive may have been on the wire meanwhile: then it is nobody's.
    eventually("the bytes of each are counted", async || {
        send(&page).await;
        let shown = page.texts(".lane .bytes").await;
        (shown.iter().filter(|text| text.contains(" B there, ")).count() == 4).then_some(())
    })
    .await;
    assert!(page.text("#lanes-slow").await.contains("Slowed down"));
    page.is_sound().await;
}

#[tokio::test]
async fn without_the_logger_three_are_refused_one_waits_and_is_stored_when_it_is_back() {
    let mut stack = Stack::start().await;
    let page = Page::open(&stack).await;
    stack.logger.kill().await.expect("it runs");
    let mut sent = 0;
    // The first may meet a connection that nobody knows to be dead.
    eventually("three are refused", async || {
        send(&page).await;
        sent += 1;
        let mut refused = 0;
        for transport in tests::DIRECT {
            let text = text(&page, transport).await;
            refused += usize::from(text.contains("503") && text.contains("not stored"));
        }
        (refused == tests::DIRECT.len()).then_some(())
    })
    .await;
    for transport in tests::DIRECT {
        assert_eq!(states(&page, transport).await, "sending refused", "{transport}");
        assert!(!is_stored(&page, transport).await);
    }
    assert_eq!(states(&page, Transport::Rabbitmq).await, "sending answered");
    page.eventually("document.querySelector('#part-listener').className === 'bad'").await;
    stack.start_logger().await.expect("it starts");
    eventually("the queue is drained", async || {
        (states(&page, Transport::Rabbitmq).await == "sending answered stored").then_some(())
    })
    .await;
    // Each with its warm-up, and nothing of what was refused.
    eventually("all that waited is stored", async || {
        (stack.all_stored().await.len() == 2 * sent).then_some(())
    })
    .await;
    assert!(stack.all_stored().await.iter().all(|entry| entry.transport == Transport::Rabbitmq));
    page.is_sound().await;
}

#[tokio::test]
async fn a_hundred_over_each_are_a_stream_and_then_a_row_of_the_table() {
    let stack = Stack::start().await;
    let page = Page::open(&stack).await;
    page.click("#lanes-burst").await;
    page.eventually("document.querySelector('.lane[data-state=streams] .wire.streams')").await;
    page.eventually(&format!("document.querySelector('#burst-said').textContent && {IDLE}")).await;
    for transport in Transport::ALL {
        assert!(states(&page, transport).await.ends_with("streams measured"), "{transport}");
        assert!(text(&page, transport).await.contains("entries/s"), "{transport}");
    }
    assert_eq!(page.value("document.querySelectorAll('.wire.streams').length").await, 0);
    assert_eq!(stack.all_stored().await.len(), 400);
    page.is_sound().await;
}

#[tokio::test]
async fn what_a_burst_has_left_in_the_queue_is_followed_until_that_is_empty() {
    const COUNT: usize = 20;
    let mut stack = Stack::start().await;
    let page = Page::open(&stack).await;
    stack.logger.kill().await.expect("it runs");
    page.set("#burst-count", &COUNT.to_string()).await;
    page.click("#burst-start").await;
    page.eventually(&format!("document.querySelector('#burst-said').textContent && {IDLE}")).await;
    let rabbitmq = Transport::Rabbitmq;
    let wire = async || page.texts(".lane[data-transport=rabbitmq] .wire").await.concat();
    let waits = "document.querySelector('.lane[data-transport=rabbitmq] .waits.there')";
    assert_eq!(page.text("#burst-said").await, "Done.");
    let told = text(&page, rabbitmq).await;
    assert!(told.contains("still queued"), "{told}, {}", states(&page, rabbitmq).await);
    assert!(wire().await.contains(&format!("queue: {COUNT}")), "{}", wire().await);
    page.eventually(&format!("{waits} !== null")).await;
    assert_eq!(word(&page, rabbitmq).await.0, "\"… \"");
    assert!(!is_stored(&page, rabbitmq).await);
    stack.start_logger().await.expect("it starts");
    eventually("the queue is drained", async || {
        states(&page, rabbitmq).await.ends_with("streams measured drained").then_some(())
    })
    .await;
    assert!(text(&page, rabbitmq).await.contains("the queue is empty"));
    assert!(wire().await.contains("queue: 0"));
    assert_eq!(page.value(waits).await, Value::Null);
    assert_eq!(word(&page, rabbitmq).await.0, "\"✓ \"");
    assert!(is_stored(&page, rabbitmq).await);
    assert_eq!(stack.all_stored().await.len(), COUNT);
    page.is_sound().await;
}

#[tokio::test]
async fn the_bytes_of_one_entry_and_of_a_burst_can_be_compared() {
    let stack = Stack::start().await;
    let page = Page::open(&stack).await;
    let bytes = "Object.fromEntries([...document.querySelectorAll('.lane')].map((lane) => \
        [lane.dataset.transport, (lane.querySelector('.wire > .bytes').textContent.match(/\\d+/g) ?? []).map(Number)]))";
    page.click("#lanes-burst").await;
    page.eventually(&format!("document.querySelector('#burst-said').textContent && {IDLE}")).await;
    let many = page.value(bytes).await;
    // What keeps a connection may have been on the wire beside an entry, and is in the average of a burst.
    eventually("both are as long", async || {
        send(&page).await;
        let one = page.value(bytes).await;
        let is_near = |transport: &str, way: usize| {
            let [one, many] = [&one, &many].map(|bytes| bytes[transport][way].as_i64());
            one.zip(many).is_some_and(|(one, many)| (one - many).abs() <= 12)
        };
        Transport::ALL.iter().all(|each| is_near(each.as_str(), 0) && is_near(each.as_str(), 1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_wants_no_motion_sees_the_end() {
    let stack = Stack::start().await;
    let page = Page::open(&stack).await;
    page.prefers_still().await;
    page.run("window.moves = 0; const own = Element.prototype.animate; \
        Element.prototype.animate = function (...given) { window.moves += 1; return own.apply(this, given); }", json!([]))
        .await;
    send(&page).await;
    for transport in tests::DIRECT {
        assert_eq!(states(&page, transport).await, "sending stored answered", "{transport}");
    }
    eventually("the fourth is stored", async || {
        (states(&page, Transport::Rabbitmq).await == "sending answered stored").then_some(())
    })
    .await;
    assert_eq!(page.value("window.moves").await, 0);
}

#[tokio::test]
async fn without_the_broker_the_lanes_say_so_in_red() {
    let mut stack = Stack::start_direct(&[]).await;
    let page = Page::open(&stack).await;
    stack.broker.kill().await.expect("it runs");
    let _nobody = hold_port(stack.broker_at);
    send(&page).await;
    for transport in Transport::ALL {
        let text = text(&page, transport).await;
        assert!(text.contains('✕') && text.contains("no response"), "{transport}: {text}");
    }
    page.click("#send-button").await;
    page.eventually("document.querySelectorAll('#answers .bad b').length === 4").await;
    assert!(page.text("#answers").await.contains("✕"));
}

/// Reserves a port, so that connections to it are refused: another test's process that got it might accept them.
fn hold_port(at: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(at).expect("the process that had it is gone");
    socket
}

#[tokio::test]
async fn what_accepts_and_says_nothing_is_given_up_on() {
    let mut stack = Stack::start_direct(&[]).await;
    let page = Page::open(&stack).await;
    stack.broker.kill().await.expect("it runs");
    // The kernel accepts, and nobody reads.
    let _silent = hold_port(stack.broker_at).listen(64).expect("a queue");
    page.click("#send-button").await;
    page.eventually("document.querySelector('#answers .bad b') !== null").await;
    assert!(page.text("#answers").await.contains("no response"));
}
