//! The tests are seen to notice: builds that break a promise on purpose, one each, and what finds it.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tests::binaries::faulty_shop;
use uuid::Uuid;

use crate::{
    Shop,
    alone::{cancelled_while_payment_is_down, is_cancelled_while_payment_is_down, late_hold},
    retries::pairs_paid_twice,
    rig_up::{PRICE, insist, order},
};

/// Longer than an order may be undecided.
const UNDECIDED: Duration = Duration::from_secs(14);

async fn broken(fault: &str) -> Shop {
    let binary = faulty_shop();
    let mut shop = Shop::of(&binary.display().to_string(), &[("SHOP_FAULT", fault)]);
    for service in ["product", "payment", "order"] {
        shop.begin(service).await;
        assert!(shop.process(service).log().contains("BREAKS A PROMISE"), "it is broken");
    }
    shop
}

#[tokio::test]
async fn money_that_is_looked_at_before_it_is_taken_pays_twice() {
    let shop = broken("check-then-pay").await;
    let twice = pairs_paid_twice(&shop).await;
    println!("check-then-pay: of 64 pairs {twice} are paid twice");
    assert!(twice > 0, "a check that is no hold is found");
}

#[tokio::test]
async fn without_a_tombstone_a_late_hold_stays() {
    let mut shop = broken("no-tombstone").await;
    let (order_id, buyer) = cancelled_while_payment_is_down(&mut shop).await;
    shop.begin("payment").await;
    shop.settles().await;
    assert_eq!(late_hold(&shop, order_id, buyer).await, Ok("held".to_owned()));
    assert_eq!(shop.figures("payment").await["held"], 1, "money of a cancelled order is held for ever");
}

#[tokio::test]
async fn an_order_that_is_decided_last_stays_undecided() {
    let mut shop = broken("decide-last").await;
    assert_eq!(is_cancelled_while_payment_is_down(&mut shop, UNDECIDED).await, None);
}

#[tokio::test]
async fn a_capture_that_is_made_again_takes_money_again() {
    let shop = broken("capture-twice").await;
    shop.pieces("mug", 1_000).await;
    let buyer = shop.buyer(1_000 * PRICE).await;
    shop.fault("payment", "lose", 20, 0).await;
    let orders = shop.orders();
    let sent = (0..40).map(|_| insist(&orders, order(Uuid::now_v7(), buyer, "mug", 1)));
    stream::iter(sent).buffer_unordered(20).collect::<Vec<_>>().await;
    let captures = shop.figures("payment").await["captures"];
    println!("capture-twice: {captures} captures of 40 orders");
    assert!(captures > 40, "a second capture is found");
}
