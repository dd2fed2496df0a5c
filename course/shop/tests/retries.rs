//! Retries, lost answers and crowds: nothing is done twice, and nothing is sold that is not there.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, future::join_all, stream};
use rig::{Direction, Fault};
use shop::pb::State;
use uuid::Uuid;

use crate::{
    Shop,
    rig_up::{PRICE, advance, basket, browserless, insist, order, place},
    tables,
};

#[tokio::test]
async fn an_order_whose_answers_are_cut_is_charged_once() {
    const ORDERS: usize = 40;
    const CUT: usize = 5;
    let shop = Shop::start().await;
    shop.pieces("mug", 100).await;
    let buyer = shop.buyer(100 * PRICE).await;
    let (relay, through) = rig::relay(&format!("http://{}", shop.address("front"))).await.expect("a relay");
    let front = browserless();
    let send = async |id: Uuid, quantity: u32| {
        let request = front.post(format!("{through}/api/orders")).header("Idempotency-Key", id.to_string());
        request.body(basket(buyer, "mug", quantity).to_string()).send().await
    };
    let ids: Vec<Uuid> = (0..ORDERS).map(|_| Uuid::now_v7()).collect();
    // The request arrives; of the answer "HTTP/" is left.
    relay.set(Direction::ToClient, Fault::Truncate(5));
    let cut = stream::iter(&ids).map(|id| async {
        for _ in 0..CUT {
            assert!(send(*id, 1).await.is_err(), "its answer was cut");
        }
    });
    cut.buffer_unordered(8).collect::<()>().await;
    relay.set(Direction::ToClient, Fault::None);
    for id in &ids {
        let answer = send(*id, 1).await.expect("an answer");
        let (status, body) = (answer.status(), answer.json::<serde_json::Value>().await.expect("JSON"));
        assert_eq!((status.as_u16(), &body["data"]["state"]), (200, &"PAID".into()), "{body}");
    }
    let other = send(ids[0], 2).await.expect("an answer");
    assert_eq!(other.status(), 409);
    let other: serde_json::Value = other.json().await.expect("JSON");
    assert_eq!(other["data"]["code"], "conflict", "{other}");
    shop.settles().await;
    assert_eq!(tables::judge(shop.dir()).into_iter().collect::<Vec<_>>(), [("PAID".to_owned(), ORDERS)]);
    let (payment, product) = (shop.figures("payment").await, shop.figures("product").await);
    assert_eq!((payment["captures"], product["free"]), (40, 60));
    advance(&shop.orders(), ids[0], State::Shipped).await;
    assert_eq!(shop.figures("product").await["sold"], 1);
    shop.is_sound().await;
    for service in crate::rig_up::SERVICES {
        let peak = shop.process(service).usage().expect("it runs").peak_memory_kib;
        println!("{service}: {peak} KiB at most");
        assert!(peak <= 40 * 1024, "{service} took {peak} KiB");
    }
}

#[tokio::test]
async fn answers_that_payment_loses_hold_no_money_twice() {
    const ORDERS: usize = 200;
    let shop = Shop::start().await;
    shop.pieces("mug", 1_000).await;
    let buyer = shop.buyer(1_000 * PRICE).await;
    shop.fault("payment", "lose", 20, 0).await;
    let orders = shop.orders();
    let sent = (0..ORDERS).map(|_| insist(&orders, order(Uuid::now_v7(), buyer, "mug", 1)));
    let decided: Vec<_> = stream::iter(sent).buffer_unordered(50).collect().await;
    assert!(decided.iter().all(|(state, ..)| *state == State::Paid), "{decided:?}");
    shop.fault("payment", "none", 0, 0).await;
    shop.settles().await;
    let all = tables::orders(shop.dir());
    assert_eq!((all.len(), all.values().map(|traces| traces.holds).sum::<i64>()), (ORDERS, 200));
    tables::judge(shop.dir());
    let payment = shop.figures("payment").await;
    assert_eq!((payment["captures"], payment["held"]), (200, 0));
}

#[tokio::test]
async fn of_ten_pieces_64_buyers_get_exactly_ten() {
    let shop = Arc::new(Shop::start().await);
    shop.pieces("rare", 10).await;
    let buyers = join_all((0..64).map(|_| shop.buyer(PRICE))).await;
    let done = Arc::new(AtomicBool::new(false));
    let sampled = tokio::spawn({
        let (shop, done) = (Arc::clone(&shop), Arc::clone(&done));
        async move {
            let mut free = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                let rare = shop.catalogue().await.remove(0);
                free.insert(rare.stock - rare.reserved);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            free
        }
    });
    let orders = shop.orders();
    let decided =
        join_all(buyers.iter().map(|buyer| insist(&orders, order(Uuid::now_v7(), *buyer, "rare", 1)))).await;
    done.store(true, Ordering::Relaxed);
    let free = sampled.await.expect("samples");
    assert!(free.iter().all(|free| (0..=10).contains(free)), "{free:?}");
    let count = |wanted: State, why: &str| {
        decided.iter().filter(|(state, reason, _)| *state == wanted && reason == why).count()
    };
    assert_eq!((count(State::Paid, ""), count(State::Rejected, "out_of_stock")), (10, 54));
    shop.settles().await;
    tables::judge(shop.dir());
    let product = shop.figures("product").await;
    assert_eq!((product["free"], product["reserved"]), (0, 10));
    let paid = tables::orders(shop.dir()).into_iter().filter(|(_, traces)| traces.state == "PAID");
    for (id, _) in paid {
        advance(&orders, id.parse().expect("an id"), State::Shipped).await;
    }
    let product = shop.figures("product").await;
    assert_eq!((product["sold"], product["reserved"]), (10, 0));
}

#[tokio::test]
async fn one_purse_pays_one_of_two_orders() {
    let shop = Shop::start().await;
    assert_eq!(pairs_paid_twice(&shop).await, 0);
    tables::judge(shop.dir());
}

/// Places two orders at once with money for one, 64 times; says for how many both were paid.
pub(crate) async fn pairs_paid_twice(shop: &Shop) -> usize {
    shop.pieces("mug", 1_000).await;
    let orders = shop.orders();
    let pairs = stream::iter(0..64).map(|_| async {
        let purse = shop.buyer(PRICE).await;
        let one = || insist(&orders, order(Uuid::now_v7(), purse, "mug", 1));
        let (one, other) = tokio::join!(one(), one());
        let paid = [&one, &other].iter().filter(|(state, ..)| *state == State::Paid).count();
        assert!(paid > 0, "{one:?} {other:?}");
        paid
    });
    let paid: Vec<usize> = pairs.buffer_unordered(16).collect().await;
    shop.settles().await;
    paid.into_iter().filter(|paid| *paid == 2).count()
}

#[tokio::test]
async fn a_price_that_has_changed_is_refused_with_the_new_one() {
    let shop = Shop::start().await;
    shop.pieces("mug", 10).await;
    let buyer = shop.buyer(10 * PRICE).await;
    let mut request = order(Uuid::now_v7(), buyer, "mug", 1);
    request.items[0].unit_price = Some(shop::money::euro(PRICE - 1));
    for _ in 0..2 {
        let status = place(&shop.orders(), request.clone()).await.expect_err("refused");
        assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status}");
        assert_eq!(shop::refusal::word(&status), "price_changed");
        assert_eq!(status.message(), "the price of mug is now 10.00");
    }
    shop.settles().await;
    assert_eq!(tables::judge(shop.dir())["REJECTED"], 1);
}
