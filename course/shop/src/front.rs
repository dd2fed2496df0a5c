//! The front: HTTP for browsers and scripts, and the page. It keeps no state but its own part of the log.
//!
//! `api` buys and asks, `events` tells a browser what becomes of its order, `story` shows what the log says of it,
//! `checks` what must hold, `buttons` breaks things on purpose, and `page` has the files of the page.

mod answer;
mod api;
mod buttons;
mod checks;
mod events;
mod page;
mod story;

use std::sync::Arc;

use anyhow::Context;
use axum::{
    Router,
    routing::{get, post},
};
use service::{
    Acceptor, Room, Shutdown, Telemetry,
    health::{self, Readiness},
    tls::Protocol,
};
use tokio::sync::Semaphore;
use tonic::transport::Channel;

use self::{answer::Failure, events::Hub};
use crate::{
    broker::Broker,
    calls,
    config::Config,
    outbox::{self, Sender},
    pb::{
        orders_client::OrdersClient, payments_client::PaymentsClient, products_client::ProductsClient,
        users_client::UsersClient,
    },
    store::Store,
};

/// Most bytes of a body, and of half-sent ones together.
const BODY_BYTES: usize = 64 * 1024;
const HALF_SENT_BYTES: usize = 4 * 1024 * 1024;

/// What a handler needs.
#[derive(Debug)]
struct App {
    users: UsersClient<Channel>,
    products: ProductsClient<Channel>,
    payments: PaymentsClient<Channel>,
    orders: OrdersClient<Channel>,
    /// The connections by the services' names, for what every service has.
    channels: [(&'static str, Channel); 4],
    broker: Broker,
    store: Store,
    hub: Hub,
    /// How many browsers may follow an order.
    followers: Arc<Semaphore>,
    faults: bool,
    shutdown: Shutdown,
}

/// Serves until `shutdown`.
///
/// # Errors
/// If the store or the port cannot be opened.
pub async fn run(config: Config, telemetry: Telemetry, shutdown: Shutdown) -> anyhow::Result<()> {
    let store = Store::open(&config.shop_data_dir, "front", &[outbox::SCHEMA, api::SCHEMA])?;
    let (setting, listen) = config.listen();
    let acceptor = Acceptor::bind(setting, listen, Protocol::Http1)?;
    let acceptor = acceptor.with_room(Room::new(BODY_BYTES, HALF_SENT_BYTES));
    let at = acceptor.local_addr().context("the port is gone")?;
    let broker = Broker::new(config.broker_url.clone(), config.broker_key.clone());
    let sender = Sender::new(store.clone(), broker.clone(), config.log_transport());
    let sender = tokio::spawn(sender.run(shutdown.clone()));
    let channels = [
        ("user", calls::channel(&config.shop_user_url)),
        ("product", calls::channel(&config.shop_product_url)),
        ("payment", calls::channel(&config.shop_payment_url)),
        ("order", calls::channel(&config.shop_order_url)),
    ];
    let [user, product, payment, order] = channels.clone().map(|(_, channel)| channel);
    let (hub, hub_task) = Hub::start(OrdersClient::new(order.clone()), shutdown.clone());
    let app = App {
        users: UsersClient::new(user),
        products: ProductsClient::new(product),
        payments: PaymentsClient::new(payment),
        orders: OrdersClient::new(order),
        channels,
        broker,
        store,
        hub,
        followers: Arc::new(Semaphore::new(events::FOLLOWERS)),
        faults: config.shop_faults,
        shutdown: shutdown.clone(),
    };
    tracing::info!(service = config.service.as_str(), http = %at, "shop ready");
    let router = routes(Arc::new(app)).merge(health_routes(telemetry, shutdown.clone()));
    let router = service::http::catch_panics(page::guard(router));
    service::http::serve(acceptor, router, &config.http, shutdown).await;
    hub_task.await.context("the hub panicked")?;
    sender.await.context("the outbox panicked")?;
    tracing::info!("shop stopped");
    Ok(())
}

fn routes(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/page/{file}", get(page::file))
        .route("/api/users", post(api::register))
        .route("/api/users/{id}", get(api::user))
        .route("/api/products", get(api::products))
        .route("/api/products/sample", post(api::import_sample))
        .route("/api/orders", post(api::place))
        .route("/api/orders/{id}", get(api::order))
        .route("/api/orders/{id}/advance", post(api::advance))
        .route("/api/orders/{id}/charges", get(api::charges))
        .route("/api/orders/{id}/events", get(events::follow))
        .route("/api/orders/{id}/story", get(story::story))
        .route("/api/invariants", get(checks::invariants))
        .route("/api/faults", post(buttons::press))
        .fallback(|| async { Failure::not_found("no such endpoint: see course/shop/README.md") })
        .method_not_allowed_fallback(|| async { Failure::method_not_allowed() })
        .with_state(app)
}

fn health_routes(telemetry: Telemetry, shutdown: Shutdown) -> Router {
    let readiness = move || Readiness {
        ready: !shutdown.has_begun(),
        detail: serde_json::json!({ "draining": shutdown.has_begun() }),
    };
    health::routes(readiness, telemetry)
}
