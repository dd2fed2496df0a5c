//! The buttons that break things, only with `SHOP_FAULTS=on`: what networks and processes do, and two crowds.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use futures_util::{future::join_all, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::{Code, Status};
use uuid::Uuid;

use super::{
    App,
    answer::{Failure, answer, body},
    checks,
};
use crate::{
    calls::{self, within},
    money::euro,
    pb::{FaultRequest, Item, Order, PlaceOrderRequest, Product, TopUpRequest, faults_client::FaultsClient},
};

/// How long a call of these may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A crowd, and what there is for it.
const BUYERS: usize = 64;
const PIECES: i64 = 10;
const RETRIES: usize = 20;
const PRICE: i64 = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pressed {
    /// `crowd`, `retries`, or a fault of the service.
    fault: String,
    /// product, payment or order.
    service: Option<String>,
    #[serde(default)]
    percent: u32,
    #[serde(default)]
    delay_ms: u32,
}

/// `POST /api/faults`.
pub(super) async fn press(State(app): State<Arc<App>>, request: Request) -> Result<Response, Failure> {
    if !app.faults {
        let message = "the buttons are off: start the shop with SHOP_FAULTS=on";
        return Err(Failure::forbidden("forbidden", message));
    }
    let pressed: Pressed = body(request).await?;
    let done = match pressed.fault.as_str() {
        "crowd" => crowd(&app).await?,
        "retries" => retries(&app).await?,
        _ => set(&app, pressed).await?,
    };
    Ok(answer(StatusCode::OK, "done", done))
}

async fn set(app: &App, pressed: Pressed) -> Result<Value, Failure> {
    let Pressed { fault, service, percent, delay_ms } = pressed;
    let found = app.channels.iter().find(|(name, _)| service.as_deref() == Some(*name));
    let (_, channel) =
        found.ok_or_else(|| Failure::bad_field("`service`: expected user, product, payment or order"))?;
    let request = within(TIMEOUT, FaultRequest { fault: fault.clone(), percent, delay_ms });
    match calls::answer(TIMEOUT, FaultsClient::new(channel.clone()).set(request)).await {
        Ok(_) => {}
        // The dead do not answer.
        Err(status) if fault == "kill" && status.code() != Code::InvalidArgument => {}
        Err(status) => return Err(status.into()),
    }
    Ok(json!({ "service": service, "fault": fault }))
}

/// 64 buyers for 10 pieces: says how many were paid and how many rejected.
async fn crowd(app: &App) -> Result<Value, Failure> {
    let sku = rare(app).await?;
    let buyers = (0..BUYERS).map(|_| async {
        let user = rich(app).await?;
        place(app, Uuid::now_v7(), user, &sku).await
    });
    let mut states = BTreeMap::<&str, usize>::new();
    for order in join_all(buyers).await {
        let state = order.as_ref().map_or("UNKNOWN", |order| order.state().as_str_name());
        *states.entry(state).or_default() += 1;
    }
    Ok(json!({ "sku": sku, "buyers": BUYERS, "pieces": PIECES, "states": states }))
}

/// One order, sent 20 times at once: says how many captures there were.
async fn retries(app: &App) -> Result<Value, Failure> {
    let sku = rare(app).await?;
    let user = rich(app).await?;
    let order_id = Uuid::now_v7();
    let captures = async || {
        let figures = checks::figures(app.channels[2].1.clone()).await;
        figures.map(|own| own["captures"])
    };
    let before = captures().await;
    let sent = join_all((0..RETRIES).map(|_| place(app, order_id, user, &sku))).await;
    let answered = sent.iter().filter(|order| order.is_ok()).count();
    let captures = captures().await.zip(before).map(|(after, before)| after - before);
    Ok(json!({ "order_id": order_id, "sent": RETRIES, "answered": answered, "captures": captures }))
}

/// A product of which there are ten.
async fn rare(app: &App) -> Result<String, Status> {
    let sku = format!("rare-{}", Uuid::now_v7().simple());
    let name = "Rare thing".to_owned();
    let product = Product { sku: sku.clone(), name, price: Some(euro(PRICE)), stock: PIECES, reserved: 0 };
    let import = within(TIMEOUT, stream::iter([product]));
    calls::answer(TIMEOUT, app.products.clone().import(import)).await?;
    Ok(sku)
}

/// A user who can pay for one.
async fn rich(app: &App) -> Result<Uuid, Status> {
    let user = Uuid::now_v7();
    let top_up =
        TopUpRequest { top_up_id: user.to_string(), user_id: user.to_string(), amount: Some(euro(PRICE)) };
    calls::answer(TIMEOUT, app.payments.clone().top_up(within(TIMEOUT, top_up))).await?;
    Ok(user)
}

async fn place(app: &App, order_id: Uuid, user: Uuid, sku: &str) -> Result<Order, Status> {
    let item = Item { sku: sku.to_owned(), quantity: 1, unit_price: Some(euro(PRICE)) };
    let order =
        PlaceOrderRequest { order_id: order_id.to_string(), user_id: user.to_string(), items: vec![item] };
    calls::answer(TIMEOUT, app.orders.clone().place_order(within(TIMEOUT, order))).await
}
