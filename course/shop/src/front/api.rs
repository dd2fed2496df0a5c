//! Registering, the catalogue, buying, the courier.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use service::traced;
use tokio::time::Instant;
use tonic::Request as Call;
use uuid::Uuid;

use super::{
    App,
    answer::{Failure, answer, body},
};
use crate::{
    calls::{self, within},
    check,
    money::{CURRENCY, euro},
    outbox::{self, Change},
    pb::{
        Account, AdvanceRequest, GetAccountRequest, GetUserRequest, Item, ListProductsRequest, Order,
        OrderId, PlaceOrderRequest, Product, RegisterRequest, State as OrderState, TopUpRequest, User,
    },
    refusal::Refusal,
    store::Tx,
};

/// How long a call may take in all, with those that it makes.
const DEADLINE: Duration = Duration::from_secs(2);

/// What a new user finds in his account, in minor units.
const WELCOME: i64 = 100_000;

/// The header with the id of an order.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Which orders the front has told the log of.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS ordered (order_id TEXT PRIMARY KEY) STRICT;
";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registered {
    user_id: Option<String>,
    name: String,
}

/// `POST /api/users`: registers, and gives a new user something to spend. Again, it is the same user and the same money.
pub(super) async fn register(State(app): State<Arc<App>>, request: Request) -> Response {
    let caller = traced::caller(request.headers());
    traced::beginning("POST /api/users", caller, async move {
        let Registered { user_id, name } = body(request).await?;
        let user_id = user_id.unwrap_or_else(|| Uuid::now_v7().to_string());
        let user = RegisterRequest { user_id: user_id.clone(), name };
        let user = calls::answer(DEADLINE, app.users.clone().register(within(DEADLINE, user))).await?;
        let welcome = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("shop/welcome/{user_id}").as_bytes());
        let top_up = TopUpRequest { top_up_id: welcome.to_string(), user_id, amount: Some(euro(WELCOME)) };
        let account = calls::answer(DEADLINE, app.payments.clone().top_up(within(DEADLINE, top_up))).await?;
        Ok::<_, Failure>(answer(StatusCode::OK, "registered", about_user(user, account)))
    })
    .await
}

/// `GET /api/users/{id}`: the name, and the account.
pub(super) async fn user(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Failure> {
    let user = GetUserRequest { user_id: id.clone() };
    let user = calls::answer(DEADLINE, app.users.clone().get_user(within(DEADLINE, user))).await?;
    let account = GetAccountRequest { user_id: id };
    let account =
        calls::answer(DEADLINE, app.payments.clone().get_account(within(DEADLINE, account))).await?;
    Ok(answer(StatusCode::OK, "user", about_user(user, account)))
}

fn about_user(user: User, account: Account) -> Value {
    json!({
        "user_id": user.user_id, "name": user.name, "currency": CURRENCY,
        "balance_minor": account.balance.unwrap_or_default().minor,
        "held_minor": account.held.unwrap_or_default().minor,
    })
}

/// `GET /api/products`: one line of JSON for each, as they come.
pub(super) async fn products(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let mut call = Call::new(ListProductsRequest {});
    calls::in_trace(call.metadata_mut());
    let products = calls::answer(DEADLINE, app.products.clone().list_products(call)).await?;
    let lines = stream::unfold(Some(products), |products| async {
        let mut products = products?;
        let (line, rest) = match products.message().await.transpose()? {
            Ok(product) => (about_product(product), Some(products)),
            // The answer has begun: the line says what is missing.
            Err(status) => (json!({ "error": true, "message": status.message() }), None),
        };
        Some((Ok::<_, Infallible>(format!("{line}\n")), rest))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// What the sample catalogue has: word, name, minor units, pieces.
const SAMPLE: [(&str, &str, i64, i64); 8] = [
    ("mug", "Enamel mug", 1_499, 40),
    ("teapot", "Teapot (418)", 3_990, 12),
    ("notebook", "Notebook, squared", 650, 200),
    ("pencil", "Pencil HB", 120, 500),
    ("crab", "Plush crab", 2_450, 25),
    ("gopher", "Plush gopher", 2_450, 25),
    ("rabbit", "Plush rabbit", 2_450, 3),
    ("lamp", "Desk lamp", 8_900, 1),
];

/// `POST /api/products/sample`: a catalogue to begin with, as one stream. Again, it sets the same stock.
pub(super) async fn import_sample(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let products = SAMPLE.map(|(sku, name, price, stock)| Product {
        sku: sku.to_owned(),
        name: name.to_owned(),
        price: Some(euro(price)),
        stock,
        reserved: 0,
    });
    let products = within(DEADLINE, stream::iter(products));
    let summary = calls::answer(DEADLINE, app.products.clone().import(products)).await?;
    let data = json!({ "accepted": summary.accepted, "refused": summary.refused_count });
    Ok(answer(StatusCode::OK, "imported", data))
}

fn about_product(product: Product) -> Value {
    let Product { sku, name, price, stock, reserved } = product;
    json!({
        "sku": sku, "name": name, "price_minor": price.unwrap_or_default().minor, "currency": CURRENCY,
        "stock": stock, "reserved": reserved, "free": stock - reserved,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Basket {
    user_id: String,
    items: Vec<Bought>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bought {
    sku: String,
    quantity: u32,
    /// What the buyer was shown.
    unit_minor: i64,
}

/// `POST /api/orders`, with the order's id in `Idempotency-Key`: 200 if it is decided, 202 if it is not yet.
pub(super) async fn place(State(app): State<Arc<App>>, request: Request) -> Response {
    let caller = traced::caller(request.headers());
    traced::beginning("POST /api/orders", caller, async move {
        let order_id = key(request.headers())?;
        let Basket { user_id, items } = body(request).await?;
        let item =
            |Bought { sku, quantity, unit_minor }| Item { sku, quantity, unit_price: Some(euro(unit_minor)) };
        let items: Vec<Item> = items.into_iter().map(item).collect();
        check::id(&user_id, "user_id")?;
        check::lines(&items)?;
        let begun = Instant::now();
        note(&app, &order_id, &user_id).await?;
        let order = PlaceOrderRequest { order_id, user_id, items };
        // What is left of the time is passed on.
        let left = DEADLINE.saturating_sub(begun.elapsed());
        let order = calls::answer(left, app.orders.clone().place_order(within(left, order))).await?;
        let (status, message) = if order.pending {
            (StatusCode::ACCEPTED, "pending: follow its events, or send the same again")
        } else {
            (StatusCode::OK, "decided")
        };
        Ok::<_, Failure>(answer(status, message, about_order(order)))
    })
    .await
}

fn key(headers: &HeaderMap) -> Result<String, Failure> {
    let key = headers.get(IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok());
    let key =
        key.ok_or_else(|| Failure::bad_field("missing header Idempotency-Key: a UUID, the id of the order"))?;
    Ok(check::id(key, "Idempotency-Key")?.to_string())
}

/// Tells the log that a buyer wants this, once.
async fn note(app: &App, order_id: &str, user_id: &str) -> Result<(), Refusal> {
    let (order_id, user_id) = (order_id.to_owned(), user_id.to_owned());
    let note = move |tx: &Tx<'_>| {
        if tx.execute("INSERT OR IGNORE INTO ordered VALUES (?1)", [&order_id])? == 1 {
            let change = Change { user: Some(&user_id), ..Change::of_order("front", &order_id, "ordered") };
            outbox::record(tx, &change)?;
        }
        Ok(())
    };
    app.store.write(note).await
}

/// `GET /api/orders/{id}`.
pub(super) async fn order(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Failure> {
    let order =
        calls::answer(DEADLINE, app.orders.clone().get_order(within(DEADLINE, OrderId { order_id: id })))
            .await?;
    Ok(answer(StatusCode::OK, "order", about_order(order)))
}

/// `GET /api/orders/{id}/charges`: how often it was charged, by the ledger.
pub(super) async fn charges(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let asked = within(DEADLINE, OrderId { order_id: id });
    let charges = calls::answer(DEADLINE, app.payments.clone().get_charges(asked)).await?;
    let data = json!({ "order_id": charges.order_id, "captures": charges.captures });
    Ok(answer(StatusCode::OK, "charges", data))
}

/// `POST /api/orders/{id}/advance`: the courier takes a paid order away, and delivers one that he has.
pub(super) async fn advance(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let asked = within(DEADLINE, OrderId { order_id: id.clone() });
    let order = calls::answer(DEADLINE, app.orders.clone().get_order(asked)).await?;
    let to = if order.state() == OrderState::Paid { OrderState::Shipped } else { OrderState::Delivered };
    let request = within(DEADLINE, AdvanceRequest { order_id: id, to: to.into() });
    let order = calls::answer(DEADLINE, app.orders.clone().advance(request)).await?;
    Ok(answer(StatusCode::OK, "advanced", about_order(order)))
}

fn about_order(order: Order) -> Value {
    let state = order.state().as_str_name();
    let items = order.items.into_iter().map(|item| {
        let minor = item.unit_price.unwrap_or_default().minor;
        json!({ "sku": item.sku, "quantity": item.quantity, "unit_minor": minor })
    });
    json!({
        "order_id": order.order_id, "user_id": order.user_id, "items": items.collect::<Vec<_>>(),
        "total_minor": order.total.unwrap_or_default().minor, "currency": CURRENCY, "state": state,
        "reason": (!order.reason.is_empty()).then_some(order.reason), "pending": order.pending,
    })
}
