//! A real user of the log front: every change is logged once, over the transport of its service, whatever is killed.

use std::collections::{BTreeMap, BTreeSet};

use proto::{StoredEntry, Transport};
use serde_json::Value;
use shop::pb::State;
use tests::{SOON, collector::Collector, node, rabbitmq::VirtualHost, stack::Stack};
use uuid::Uuid;

use crate::{
    Shop,
    rig_up::{PRICE, advance, basket, browserless},
    tables,
};

/// Orders between two kills.
const ORDERS: usize = 5;

/// A shop that logs to a stack.
pub(crate) async fn shop_on(stack: &Stack) -> Shop {
    Shop::start_with(&[("BROKER_URL", &format!("http://{}", stack.broker_at))]).await
}

#[tokio::test]
async fn every_change_is_logged_once_after_kills_of_broker_logger_listener_and_rabbitmq() {
    let mut node = node::start().await.expect("RabbitMQ starts");
    let mut stack = Stack::start_on(VirtualHost::of(&node), &[]).await;
    let declared = tokio::time::Instant::now();
    let shop = shop_on(&stack).await;
    shop.pieces("mug", 60).await;
    shop.pieces("rare", 1).await;
    let buyer = shop.buyer(1_000 * PRICE).await;
    buy(&shop, buyer).await;
    stack.broker.kill().await.expect("it runs");
    buy(&shop, buyer).await;
    stack.start_broker().await.expect("it starts");
    stack.logger.kill().await.expect("it runs");
    buy(&shop, buyer).await;
    stack.start_logger().await.expect("it starts");
    stack.listener.kill().await.expect("it runs");
    tokio::time::sleep_until(declared + rig::QUEUE_IS_ON_DISK).await;
    node.kill().await.expect("it runs");
    buy(&shop, buyer).await;
    node.launch().await.expect("it starts");
    node.serves().await.expect("it serves");
    stack.start_listener().await.expect("it starts");
    buy(&shop, buyer).await;
    shop.settles().await;
    tables::judge(shop.dir());

    for service in ["product", "payment", "order"] {
        rig::eventually(&format!("the log of {service} is sent"), 3 * SOON, async || {
            (shop.figures(service).await["log_waiting"] == 0).then_some(())
        })
        .await
        .expect("it is sent");
        assert_eq!(shop.figures(service).await["log_refused"], 0);
    }
    let expected = expected(&shop);
    let stored = rig::eventually("every change is stored", 3 * SOON, async || {
        let stored = changes(stack.all_stored().await);
        (stored.len() >= expected.len()).then_some(stored)
    });
    let stored = stored.await.unwrap_or_else(|error| panic!("{error}: {} expected", expected.len()));
    let different: BTreeSet<_> = stored.iter().cloned().collect();
    assert_eq!(stored.len(), different.len(), "none is stored twice");
    assert_eq!(different, expected, "none is lost, and none made up");
    println!("{} changes of {} orders, each logged once", expected.len(), tables::orders(shop.dir()).len());
}

/// Buys a few times through the front: one order is delivered, one is too large for the stock.
async fn buy(shop: &Shop, buyer: Uuid) {
    let front = browserless();
    for number in 0..ORDERS {
        let (id, sku) = (Uuid::now_v7(), if number == 1 { "rare" } else { "mug" });
        let quantity = if number == 1 { 2 } else { 1 };
        tests::eventually("the order is decided", async || {
            let request = front.post(format!("http://{}/api/orders", shop.address("front")));
            let request = request.header("Idempotency-Key", id.to_string());
            let answer = request.body(basket(buyer, sku, quantity).to_string()).send().await.ok()?;
            (answer.status() == 200).then_some(())
        })
        .await;
        if number == 0 {
            advance(&shop.orders(), id, State::Shipped).await;
            advance(&shop.orders(), id, State::Delivered).await;
        }
    }
}

/// A change: the name of its entry, its order, and its transport.
type Change = (String, String, Transport);

/// What the tables say has happened.
fn expected(shop: &Shop) -> BTreeSet<Change> {
    let mut expected = BTreeSet::new();
    for (id, traces) in tables::orders(shop.dir()) {
        let mut add = |name: String, transport| expected.insert((name, id.clone(), transport));
        add("shop.front.ordered".to_owned(), Transport::Http);
        for state in &traces.events {
            add(format!("shop.order.{}", state.to_lowercase()), Transport::Grpc);
        }
        if traces.holds > 0 && traces.payment != "held" {
            add("shop.payment.held".to_owned(), Transport::Rabbitmq);
        }
        add(format!("shop.payment.{}", traces.payment), Transport::Rabbitmq);
        if traces.reservation == "shipped" {
            add("shop.product.reserved".to_owned(), Transport::Rpc);
        }
        add(format!("shop.product.{}", traces.reservation), Transport::Rpc);
    }
    expected
}

/// What the log says has happened to orders.
fn changes(stored: Vec<StoredEntry>) -> Vec<Change> {
    let change = |entry: StoredEntry| {
        let data: BTreeMap<String, Value> = serde_json::from_str(&entry.data).ok()?;
        let order = data.get("order")?.as_str()?.to_owned();
        Some((entry.name, order, entry.transport))
    };
    stored.into_iter().filter_map(change).collect()
}

#[tokio::test]
async fn an_entry_that_the_log_refuses_is_set_aside_and_counted() {
    let stack = Stack::start_direct(&[]).await;
    let shop = shop_on(&stack).await;
    shop.pieces("mug", 10).await;
    let buyer = shop.buyer(10 * PRICE).await;
    // Another program has taken the id of an entry to come.
    let id = Uuid::now_v7();
    let taken = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("shop/order/{id}/paid").as_bytes());
    let entry = serde_json::json!({ "id": taken, "name": "other", "data": "something else" });
    assert_eq!(stack.log(Transport::Http, &entry).await.status, 202);
    let decided = crate::rig_up::insist(&shop.orders(), crate::rig_up::order(id, buyer, "mug", 1)).await;
    assert_eq!(decided.0, State::Paid, "an order does not wait for its log");
    tests::eventually("all but one are stored", async || {
        let order = shop.figures("order").await;
        (order["log_waiting"] == 0 && order["log_refused"] == 1).then_some(())
    })
    .await;
    let stored: BTreeSet<String> =
        changes(stack.all_stored().await).into_iter().map(|(name, ..)| name).collect();
    for name in ["placed", "reserved", "held", "accepted"] {
        assert!(stored.contains(&format!("shop.order.{name}")), "{stored:?}");
    }
    assert!(!stored.contains("shop.order.paid"));
}

#[tokio::test]
async fn one_order_is_one_trace_from_the_page_to_every_commit() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let collector = Collector::start();
    let stack = Stack::start_direct(&[]).await;
    let broker = format!("http://{}", stack.broker_at);
    let settings = [
        ("BROKER_URL", broker.as_str()),
        ("SHOP_LOG_TRANSPORT", "http"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()),
    ];
    let shop = Shop::start_with(&settings).await;
    shop.pieces("mug", 10).await;
    let (id, buyer) = (Uuid::now_v7(), shop.buyer(10 * PRICE).await);
    let request = browserless().post(format!("http://{}/api/orders", shop.address("front")));
    let request = request.header("Idempotency-Key", id.to_string());
    let request = request.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let answer = request.body(basket(buyer, "mug", 1).to_string()).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let stored = tests::eventually("its nine entries are stored", async || {
        let stored = stack.all_stored().await;
        let own: Vec<_> = stored.into_iter().filter(|entry| entry.data.contains(&id.to_string())).collect();
        (own.len() == 9).then_some(own)
    })
    .await;
    for entry in stored {
        assert!(entry.data.contains(TRACE), "{}: {}", entry.name, entry.data);
    }
    tests::eventually("each service has told the collector", async || {
        let spans = collector.spans().into_iter().filter(|span| span.trace_id == TRACE);
        let services: BTreeSet<String> = spans.map(|span| span.service).collect();
        ["front", "order", "payment", "product"].iter().all(|own| services.contains(*own)).then_some(())
    })
    .await;
}
