//! `kill -9` of payment, product and order, again and again under load: money is conserved.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rig::eventually;
use shop::pb::State;
use uuid::Uuid;

use crate::{
    Shop,
    rig_up::{PRICE, insist, order},
    tables,
};

const BUYERS: usize = 16;

#[tokio::test]
async fn money_is_conserved_over_6_kills_under_16_buyers() {
    survives(6).await;
}

/// `make torture` runs it.
#[tokio::test]
#[ignore = "it takes minutes: make torture"]
async fn money_is_conserved_over_30_kills_under_16_buyers() {
    survives(30).await;
}

async fn survives(kills: usize) {
    let mut shop = Shop::start().await;
    // Not enough for all: some are rejected for want of pieces, others for want of money.
    shop.pieces("mug", 10_000).await;
    shop.pieces("rare", 5).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut buyers = Vec::new();
    for number in 0..BUYERS {
        let purse = shop.buyer(if number % 4 == 0 { 3 * PRICE } else { 100_000 * PRICE }).await;
        let (orders, done) = (shop.orders(), Arc::clone(&done));
        buyers.push(tokio::spawn(async move {
            let (mut paid, mut retried) = (0, 0);
            for round in 0.. {
                if round >= 6 && done.load(Ordering::Relaxed) {
                    break;
                }
                let sku = if round % 8 == 7 { "rare" } else { "mug" };
                let (state, _, attempts) = insist(&orders, order(Uuid::now_v7(), purse, sku, 1)).await;
                paid += usize::from(state == State::Paid);
                retried += usize::from(attempts > 1);
            }
            (paid, retried)
        }));
    }
    for kill in 0..kills {
        // By a rule that hits every phase of a step sooner or later; the load has its own pace.
        tokio::time::sleep(Duration::from_millis(20 + (kill as u64 * 97) % 280)).await;
        let service = ["payment", "product", "order"][kill % 3];
        shop.kill(service).await;
        shop.begin(service).await;
    }
    done.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    let (mut paid, mut retried) = (0, 0);
    for buyer in buyers {
        let (own_paid, own_retried) = buyer.await.expect("each order is decided");
        (paid, retried) = (paid + own_paid, retried + own_retried);
    }
    // A busy machine may need longer than the ten seconds of an idle one, but not for ever.
    let settled = async || (shop.figures("order").await["open"] == 0).then_some(());
    eventually("no order is open", 3 * Duration::from_secs(10), settled).await.expect("all are settled");
    let took = begun.elapsed();
    shop.is_sound().await;
    let counts = tables::judge(shop.dir());
    println!("{kills} kills: {counts:?}, {retried} orders sent again; none open {took:.1?} after the last");
    assert!(paid > 0 && retried > 0, "the kills met orders: {counts:?}, {retried}");
    assert!(counts["REJECTED"] > 0, "{counts:?}");
    assert_eq!(shop.figures("payment").await["held"], 0);
}
