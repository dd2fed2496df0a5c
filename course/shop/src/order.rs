//! Orders: placed once, driven through their steps by a task each, and followed by any client.
//!
//! `saga` drives, `table` keeps, `watch` tells. A caller that goes does not stop its order, and neither does a
//! `kill -9`: after a start whatever is open goes on.

mod saga;
mod table;
mod watch;

use std::{sync::Arc, time::Duration};

use service::Shutdown;
use tonic::{Request, Response, Status, Streaming, service::Routes};

use self::{
    saga::Saga,
    table::Row,
    watch::{EventStream, Watchers},
};
use crate::{
    calls::{self, traced},
    check,
    config::Config,
    faults::Faults,
    grpc, money, outbox,
    pb::{
        AdvanceRequest, Order, OrderId, PlaceOrderRequest, State, UpdatesRequest, WatchRequest,
        orders_server::{Orders, OrdersServer},
    },
    refusal::Refusal,
    store::Store,
};

/// How long an order is waited for if the caller does not say, and what is left of its time for the answer.
const PATIENCE: Duration = Duration::from_secs(2);
const FOR_THE_ANSWER: Duration = Duration::from_millis(200);

/// Serves until `shutdown`.
///
/// # Errors
/// If the store or the port cannot be opened.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let store = Store::open(&config.shop_data_dir, "order", &[outbox::SCHEMA, table::SCHEMA])?;
    let products = calls::channel(&config.shop_product_url);
    let payments = calls::channel(&config.shop_payment_url);
    let saga = Saga::new(store.clone(), products, payments, shutdown.clone());
    let resumed = saga.resume().await?;
    tracing::info!(resumed, "open orders go on");
    let watchers = Watchers::new(store.clone(), saga.news(), shutdown.clone());
    let own = OrdersServer::new(Desk { store: store.clone(), saga: Arc::clone(&saga), watchers })
        .max_decoding_message_size(grpc::MESSAGE_BYTES);
    let served =
        grpc::serve(&config, store, Routes::new(own), table::figures, Faults::default(), shutdown).await;
    saga.ended().await;
    served
}

struct Desk {
    store: Store,
    saga: Arc<Saga>,
    watchers: Watchers,
}

impl Desk {
    async fn place(&self, request: PlaceOrderRequest, deadline: Duration) -> Result<Order, Refusal> {
        let order_id = check::id(&request.order_id, "order_id")?.to_string();
        let user_id = check::id(&request.user_id, "user_id")?.to_string();
        let lines = check::lines(&request.items)?;
        let total = money::total(lines.iter().map(|line| (line.quantity, line.unit)))?;
        let hash = check::hash_of(&user_id, &lines);
        let asked = Row { order_id: order_id.clone(), user_id, lines, total, hash, ..Row::default() };
        // Before it is placed, so that no change is missed.
        let mut news = self.saga.news();
        self.saga.has_place(&order_id)?;
        self.store.write(move |tx| table::place(tx, asked)).await?;
        self.saga.start(&order_id, true);
        let decided = async {
            loop {
                let row = self.row(&order_id).await?;
                if row.is_answered() {
                    return Ok::<_, Refusal>(row);
                }
                watch::about(&mut news, &order_id).await;
            }
        };
        let row = match tokio::time::timeout(deadline.saturating_sub(FOR_THE_ANSWER), decided).await {
            Ok(decided) => decided?,
            Err(_) => self.row(&order_id).await?,
        };
        if row.reason == "price_changed" {
            return Err(Refusal::Precondition("price_changed", row.detail));
        }
        Ok(row.answer())
    }

    async fn row(&self, order_id: &str) -> Result<Row, Refusal> {
        let order_id = order_id.to_owned();
        let row = self.store.read(move |connection| table::find(connection, &order_id)).await?;
        row.ok_or(Refusal::NotFound("no order has this id"))
    }

    async fn get(&self, request: OrderId) -> Result<Order, Refusal> {
        let order_id = check::id(&request.order_id, "order_id")?.to_string();
        self.row(&order_id).await.map(Row::answer)
    }

    async fn advance(&self, request: AdvanceRequest) -> Result<Order, Refusal> {
        let order_id = check::id(&request.order_id, "order_id")?.to_string();
        let to = request.to();
        if !matches!(to, State::Shipped | State::Delivered) {
            return Err(Refusal::Invalid("`to`: the courier makes it SHIPPED or DELIVERED".to_owned()));
        }
        let from = if to == State::Shipped { State::Paid } else { State::Shipped };
        let row = self.row(&order_id).await?;
        if row.state == to || (to == State::Shipped && row.state == State::Delivered) {
            return Ok(row.answer());
        }
        if row.state != from {
            let [own, from, to] = [row.state, from, to].map(|state| state.as_str_name());
            let message = format!("it is {own}: only one that is {from} becomes {to}");
            return Err(Refusal::Precondition("wrong_state", message));
        }
        self.saga.carry(&row, to).await?;
        self.row(&order_id).await.map(Row::answer)
    }
}

#[tonic::async_trait]
impl Orders for Desk {
    type WatchOrderStream = EventStream;
    type OrderUpdatesStream = EventStream;

    async fn place_order(&self, request: Request<PlaceOrderRequest>) -> Result<Response<Order>, Status> {
        let deadline = calls::deadline(request.metadata()).unwrap_or(PATIENCE);
        traced("shop.v1.Orders/PlaceOrder", request, |request| self.place(request, deadline)).await
    }

    async fn get_order(&self, request: Request<OrderId>) -> Result<Response<Order>, Status> {
        traced("shop.v1.Orders/GetOrder", request, |request| self.get(request)).await
    }

    async fn watch_order(&self, request: Request<WatchRequest>) -> Result<Response<EventStream>, Status> {
        let WatchRequest { order_id, after } = request.into_inner();
        let order_id = check::id(&order_id, "order_id")?.to_string();
        self.row(&order_id).await?;
        Ok(Response::new(self.watchers.one(order_id, after)?))
    }

    async fn order_updates(
        &self,
        request: Request<Streaming<UpdatesRequest>>,
    ) -> Result<Response<EventStream>, Status> {
        Ok(Response::new(self.watchers.many(request.into_inner())?))
    }

    async fn advance(&self, request: Request<AdvanceRequest>) -> Result<Response<Order>, Status> {
        traced("shop.v1.Orders/Advance", request, |request| Desk::advance(self, request)).await
    }
}
