//! Who watches sees every state once and in order, over restarts; and who does not read holds back nobody.

use std::{collections::BTreeMap, time::Duration};

use futures_util::stream;
use rig::eventually;
use shop::{
    calls::{Waits, within},
    pb::{
        OrderEvent, State, UpdatesRequest, WatchRequest, orders_client::OrdersClient, updates_request::What,
    },
};
use tests::SOON;
use tokio::{sync::mpsc, task::JoinHandle};
use tonic::{Request, transport::Channel};
use uuid::Uuid;

use crate::{
    Shop,
    rig_up::{PRICE, advance, insist, order, place},
};

const ORDERS: usize = 12;

/// The states of an order that goes well.
const WELL: [State; 7] = [
    State::Placed,
    State::Reserved,
    State::Held,
    State::Accepted,
    State::Paid,
    State::Shipped,
    State::Delivered,
];

fn watch(order_id: Uuid, after: u64) -> WatchRequest {
    WatchRequest { order_id: order_id.to_string(), after }
}

fn request(what: What) -> UpdatesRequest {
    UpdatesRequest { what: Some(what) }
}

fn waits() -> Waits {
    Waits::new(Duration::from_millis(20), Duration::from_millis(200))
}

/// All events of one order by `WatchOrder`, resumed where the stream has ended before its time.
fn watched(orders: OrdersClient<Channel>, order_id: Uuid) -> JoinHandle<Vec<OrderEvent>> {
    tokio::spawn(async move {
        let (mut events, mut waits) = (Vec::<OrderEvent>::new(), waits());
        loop {
            let after = events.last().map_or(0, |event| event.order_position);
            if let Ok(stream) = orders.clone().watch_order(within(2 * SOON, watch(order_id, after))).await {
                let mut stream = stream.into_inner();
                while let Ok(Some(event)) = stream.message().await {
                    events.push(event);
                }
            }
            if events.last().is_some_and(|event| event.state() == State::Delivered) {
                return events;
            }
            tokio::time::sleep(waits.next_wait()).await;
        }
    })
}

/// The same of many orders by one stream of `OrderUpdates`, with little credit at a time.
fn updated(orders: OrdersClient<Channel>, ids: Vec<Uuid>) -> JoinHandle<BTreeMap<String, Vec<OrderEvent>>> {
    tokio::spawn(async move {
        let mut events: BTreeMap<String, Vec<OrderEvent>> =
            ids.iter().map(|id| (id.to_string(), Vec::new())).collect();
        let mut waits = waits();
        loop {
            let (requests, mut outgoing) = mpsc::channel(64);
            let outgoing = stream::poll_fn(move |cx| outgoing.poll_recv(cx));
            if let Ok(stream) = orders.clone().order_updates(Request::new(outgoing)).await {
                let mut stream = stream.into_inner();
                for (id, seen) in &events {
                    let after = seen.last().map_or(0, |event| event.order_position);
                    let id = id.parse().expect("an id");
                    let _ = requests.send(request(What::Watch(watch(id, after)))).await;
                }
                loop {
                    let _ = requests.send(request(What::Credit(1))).await;
                    let Ok(Some(event)) = stream.message().await else { break };
                    events.get_mut(&event.order_id).expect("it is watched").push(event);
                    if events.values().all(|seen| seen.len() >= WELL.len()) {
                        return events;
                    }
                }
            }
            tokio::time::sleep(waits.next_wait()).await;
        }
    })
}

#[tokio::test]
async fn each_state_comes_once_and_in_order_over_restarts_of_the_order_service() {
    let mut shop = Shop::start().await;
    shop.pieces("mug", 1_000).await;
    let buyer = shop.buyer(1_000 * PRICE).await;
    // Slow enough that the restarts meet orders on their way.
    shop.fault("payment", "slow", 0, 150).await;
    let ids: Vec<Uuid> = (0..ORDERS).map(|_| Uuid::now_v7()).collect();
    let orders = shop.orders();
    let many = updated(orders.clone(), ids.clone());
    let mut buying = Vec::new();
    for id in &ids {
        let (orders, request) = (orders.clone(), order(*id, buyer, "mug", 1));
        buying.push(tokio::spawn(async move { insist(&orders, request).await }));
    }
    let one: Vec<_> = ids.iter().map(|id| watched(orders.clone(), *id)).collect();
    for _ in 0..2 {
        shop.kill("order").await;
        shop.begin("order").await;
    }
    for bought in buying {
        assert_eq!(bought.await.expect("bought").0, State::Paid);
    }
    shop.fault("payment", "none", 0, 0).await;
    for id in &ids {
        advance(&orders, *id, State::Shipped).await;
    }
    shop.kill("order").await;
    shop.begin("order").await;
    for id in &ids {
        advance(&orders, *id, State::Delivered).await;
    }
    let many = tokio::time::timeout(2 * SOON, many).await.expect("in time").expect("all events");
    for (id, one) in ids.iter().zip(one) {
        let one = tokio::time::timeout(2 * SOON, one).await.expect("in time").expect("all events");
        let positions: Vec<u64> = one.iter().map(|event| event.order_position).collect();
        assert_eq!(positions, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(one.iter().map(OrderEvent::state).collect::<Vec<_>>(), WELL);
        assert_eq!(many[&id.to_string()], one, "both ways tell the same");
    }
    shop.is_sound().await;
}

#[tokio::test]
async fn a_watcher_without_credit_holds_back_nobody() {
    const FORGETFUL: usize = 8;
    const MOST_KIB: u64 = 8 * 1024;
    let shop = Shop::start().await;
    shop.pieces("mug", 1_000).await;
    let buyer = shop.buyer(1_000 * PRICE).await;
    let orders = shop.orders();
    // The memory of a service that has worked before.
    for _ in 0..40 {
        insist(&orders, order(Uuid::now_v7(), buyer, "mug", 1)).await;
    }
    let ids: Vec<Uuid> = (0..200).map(|_| Uuid::now_v7()).collect();
    let mut forgetful = Vec::new();
    for _ in 0..FORGETFUL {
        let (requests, mut outgoing) = mpsc::channel(256);
        for id in &ids {
            requests.send(request(What::Watch(watch(*id, 0)))).await.expect("the channel is open");
        }
        let outgoing = stream::poll_fn(move |cx| outgoing.poll_recv(cx));
        let stream = orders.clone().order_updates(Request::new(outgoing)).await.expect("a stream");
        forgetful.push((requests, stream.into_inner()));
    }
    let before = shop.process("order").usage().expect("it runs").memory_kib;
    let live = updated_some(orders.clone(), &ids);
    for id in &ids {
        let placed = place(&orders, order(*id, buyer, "mug", 1)).await;
        assert!(placed.is_ok_and(|order| !order.pending), "nobody is held back");
    }
    assert_eq!(tokio::time::timeout(SOON, live).await.expect("in time").expect("events"), 5 * ids.len());
    let after = shop.process("order").usage().expect("it runs").memory_kib;
    println!(
        "{FORGETFUL} watchers without credit: {before} KiB before, {after} KiB after {} orders",
        ids.len()
    );
    assert!(after <= before + MOST_KIB, "{before} KiB, then {after} KiB");
    // With credit at last, it gets as much as it was granted, and no more.
    let (requests, stream) = &mut forgetful[0];
    requests.send(request(What::Credit(3))).await.expect("the stream is open");
    for _ in 0..3 {
        stream.message().await.expect("a stream").expect("an event");
    }
    let more = eventually("more than was granted", Duration::from_millis(300), async || {
        tokio::time::timeout(Duration::from_millis(50), stream.message()).await.ok()
    });
    assert!(more.await.is_err());
}

/// Counts the events of orders up to PAID, with credit enough.
fn updated_some(orders: OrdersClient<Channel>, ids: &[Uuid]) -> JoinHandle<usize> {
    let mut requests = vec![request(What::Credit(1 << 20))];
    requests.extend(ids.iter().map(|id| request(What::Watch(watch(*id, 0)))));
    let most = 5 * ids.len();
    tokio::spawn(async move {
        let (keep, mut outgoing) = mpsc::channel(requests.len());
        for request in requests {
            keep.send(request).await.expect("the channel is open");
        }
        let outgoing = stream::poll_fn(move |cx| outgoing.poll_recv(cx));
        let mut stream =
            orders.clone().order_updates(Request::new(outgoing)).await.expect("a stream").into_inner();
        let mut count = 0;
        while count < most && stream.message().await.is_ok_and(|event| event.is_some()) {
            count += 1;
        }
        drop(keep);
        count
    })
}
