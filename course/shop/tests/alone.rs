//! What is about time: `make test` runs these one by one.

use std::time::{Duration, Instant};

use shop::{
    calls::{answer, within},
    money::euro,
    pb::{HoldRequest, State},
    refusal,
};
use tests::SOON;
use uuid::Uuid;

use crate::{
    Shop,
    rig_up::{DEADLINE, PRICE, insist, order, place},
    tables,
};

/// How soon an order of a payment service that is down is answered as pending, and how soon it is decided when that is
/// back.
const PENDING_WITHIN: Duration = Duration::from_millis(2_200);
const DECIDED_WITHIN: Duration = Duration::from_secs(3);

#[tokio::test]
async fn while_payment_is_down_an_order_is_pending_and_decided_when_it_is_back() {
    let mut shop = Shop::start().await;
    shop.pieces("mug", 10).await;
    let buyer = shop.buyer(10 * PRICE).await;
    let (mut pending, mut decided) = (Vec::new(), Vec::new());
    // Of three times the middle one: others may use the machine too.
    for _ in 0..3 {
        shop.kill("payment").await;
        let request = order(Uuid::now_v7(), buyer, "mug", 1);
        let begun = Instant::now();
        let placed = place(&shop.orders(), request.clone()).await.expect("an answer within the deadline");
        pending.push(begun.elapsed());
        assert!(placed.pending && placed.state() == State::Reserved, "{placed:?}");
        shop.begin("payment").await;
        let back = Instant::now();
        assert_eq!(insist(&shop.orders(), request).await.0, State::Paid);
        decided.push(back.elapsed());
    }
    pending.sort();
    decided.sort();
    println!("pending after {pending:.2?}, decided {decided:.2?} after payment was back");
    assert!(pending[1] <= PENDING_WITHIN && decided[1] <= DECIDED_WITHIN, "{pending:.2?} {decided:.2?}");
    assert!(pending[1] <= DEADLINE, "the deadline was the caller's");
    shop.settles().await;
    tables::judge(shop.dir());
}

#[tokio::test]
async fn payment_down_for_long_cancels_the_order_and_a_late_hold_is_refused() {
    let mut shop = Shop::start().await;
    let (order_id, buyer) = cancelled_while_payment_is_down(&mut shop).await;
    assert_eq!(shop.figures("product").await["free"], 10, "the stock is free while payment is still down");
    shop.begin("payment").await;
    shop.settles().await;
    assert!(late_hold(&shop, order_id, buyer).await.is_err_and(|word| word == "cancelled"));
    assert_eq!(tables::judge(shop.dir())["CANCELLED"], 1);
    assert_eq!(shop.figures("payment").await["held"], 0);
}

/// Places an order while payment is down, and waits until it is cancelled, as it must be before payment is back.
pub(crate) async fn cancelled_while_payment_is_down(shop: &mut Shop) -> (Uuid, Uuid) {
    assert!(
        is_cancelled_while_payment_is_down(shop, 2 * SOON).await.is_some(),
        "it is decided without payment"
    );
    let orders = tables::orders(shop.dir());
    let (id, traces) =
        orders.iter().find(|(_, traces)| traces.state == "CANCELLED").expect("it is cancelled");
    assert_eq!(traces.events, ["PLACED", "RESERVED", "CANCELLED"]);
    let buyer = shop.buyer_of(id).await;
    (id.parse().expect("an id"), buyer)
}

/// The same; `None` if it is not within a time.
pub(crate) async fn is_cancelled_while_payment_is_down(
    shop: &mut Shop,
    within: Duration,
) -> Option<Duration> {
    shop.pieces("mug", 10).await;
    let buyer = shop.buyer(10 * PRICE).await;
    shop.kill("payment").await;
    let request = order(Uuid::now_v7(), buyer, "mug", 1);
    let begun = Instant::now();
    assert!(place(&shop.orders(), request.clone()).await.is_ok_and(|order| order.pending));
    let cancelled = async || {
        let placed = place(&shop.orders(), request.clone()).await.ok()?;
        (placed.state() == State::Cancelled && placed.reason == "timeout").then_some(())
    };
    rig::eventually("it is cancelled", within, cancelled).await.ok()?;
    println!("cancelled {:.1?} after it was placed", begun.elapsed());
    // Released too, while payment is still down.
    let released = async || (shop.figures("product").await["free"] == 10).then_some(());
    rig::eventually("the stock is free", SOON, released).await.ok()?;
    Some(begun.elapsed())
}

/// A hold that was on its way while its order was cancelled: the word of its refusal.
pub(crate) async fn late_hold(shop: &Shop, order_id: Uuid, user: Uuid) -> Result<String, String> {
    let (order_id, user_id) = (order_id.to_string(), user.to_string());
    let hold = within(SOON, HoldRequest { order_id, user_id, amount: Some(euro(PRICE)) });
    let held = answer(SOON, shop.payments().hold(hold)).await;
    held.map(|payment| payment.state).map_err(|status| refusal::word(&status).to_owned())
}
