//! The shop of the first lecture: a check beside a hold, two ways to follow an order, and how soon a change is told.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures_util::{future::join_all, stream};
use jiff::Timestamp;
use rig::{Direction, Launch, Process, Relay};
use shop::{
    calls::{answer, channel, within},
    money::euro,
    pb::{
        GetAccountRequest, Item, Order, OrderEvent, PlaceOrderRequest, Product, State, TopUpRequest,
        UpdatesRequest, WatchRequest, orders_client::OrdersClient, payments_client::PaymentsClient,
        products_client::ProductsClient, updates_request::What,
    },
};
use tempfile::TempDir;
use tokio::{net::TcpSocket, sync::mpsc, task::JoinSet};
use tonic::{
    Request, Status,
    transport::{Channel, Uri},
};
use uuid::Uuid;

use super::Bench;
use crate::{cell::Latencies, claims::figures};

/// Who takes part in an order. Users and the front are not asked.
const SERVICES: [&str; 3] = ["product", "payment", "order"];

/// How long a call may take, and an order.
const DEADLINE: Duration = Duration::from_secs(5);

/// Pairs of orders with money for one, and orders that are followed: a p99 takes a thousand events.
const PAIRS: u64 = 64;
const FOLLOWED: usize = 400;

const PRICE: i64 = 1_000;
const SKU: &str = "mug";

/// Its events, one after the other: PLACED, RESERVED, HELD, ACCEPTED, PAID.
const UNTIL_PAID: usize = 5;

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<figures::Shop> {
    let shop = Shop::start(bench.binaries.join("shop")).await?;
    shop.stock(100_000).await?;
    let (passed_the_check, paid, rejected) = pairs(&shop).await?;
    let (events, client_bytes) = both_ways(&shop).await?;
    let told = told(&shop).await?;
    let part = |part: f64| told.percentile(part).unwrap_or_default();
    Ok(figures::Shop {
        pairs: PAIRS,
        passed_the_check,
        paid,
        rejected,
        events,
        client_bytes,
        timed: told.len(),
        event_us: [part(0.5), part(0.99)],
    })
}

/// The services of one run.
struct Shop {
    urls: BTreeMap<&'static str, String>,
    _processes: Vec<Process>,
    _dir: TempDir,
    _ports: Vec<TcpSocket>,
}

impl Shop {
    async fn start(binary: PathBuf) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        // One more is Fourwire's, which is not there: what the shop has to tell waits.
        let ports = (0..=SERVICES.len()).map(|_| rig::reserve()).collect::<Result<Vec<_>, _>>()?;
        let (mut settings, mut urls) = (BTreeMap::new(), BTreeMap::new());
        for (service, port) in SERVICES.into_iter().zip(&ports) {
            let (name, at) = (service.to_uppercase(), port.local_addr()?);
            settings.insert(format!("SHOP_{name}_LISTEN"), at.to_string());
            settings.insert(format!("SHOP_{name}_URL"), format!("http://{at}"));
            urls.insert(service, format!("http://{at}"));
        }
        let nobody = ports[SERVICES.len()].local_addr()?;
        settings.insert("BROKER_URL".to_owned(), format!("http://{nobody}"));
        settings.insert("SHOP_DATA_DIR".to_owned(), dir.path().display().to_string());
        let mut processes = Vec::new();
        for service in SERVICES {
            let mut command = tokio::process::Command::new(&binary);
            command.arg(service);
            let mut process = Launch::default().spawn(command, service, &settings, dir.path())?;
            process.ready().await.with_context(|| format!("the service {service} of the shop"))?;
            processes.push(process);
        }
        Ok(Shop { urls, _processes: processes, _dir: dir, _ports: ports })
    }

    fn channel(&self, service: &str) -> anyhow::Result<Channel> {
        Ok(channel(&self.urls[service].parse()?))
    }

    fn orders(&self) -> anyhow::Result<OrdersClient<Channel>> {
        Ok(OrdersClient::new(self.channel("order")?))
    }

    /// So many pieces of the one product.
    async fn stock(&self, pieces: i64) -> anyhow::Result<()> {
        let price = Some(euro(PRICE));
        let product = Product { sku: SKU.into(), name: SKU.into(), price, stock: pieces, reserved: 0 };
        let mut products = ProductsClient::new(self.channel("product")?);
        let imported = answer(DEADLINE, products.import(within(DEADLINE, stream::iter([product])))).await?;
        ensure!(imported.accepted == 1, "{imported:?}");
        Ok(())
    }

    /// A user with so much money.
    async fn buyer(&self, minor: i64) -> anyhow::Result<Uuid> {
        let (user, amount) = (Uuid::now_v7(), Some(euro(minor)));
        let top_up = TopUpRequest { top_up_id: user.to_string(), user_id: user.to_string(), amount };
        let mut payments = PaymentsClient::new(self.channel("payment")?);
        answer(DEADLINE, payments.top_up(within(DEADLINE, top_up))).await?;
        Ok(user)
    }

    /// What the lecture's order service asks: is there enough money on the account?
    async fn has_enough(&self, user: Uuid) -> anyhow::Result<bool> {
        let mut payments = PaymentsClient::new(self.channel("payment")?);
        let request = GetAccountRequest { user_id: user.to_string() };
        let account = answer(DEADLINE, payments.get_account(within(DEADLINE, request))).await?;
        let minor = |money: Option<shop::pb::Money>| money.map_or(0, |money| money.minor);
        Ok(minor(account.balance) - minor(account.held) >= PRICE)
    }
}

/// An order of one piece; asked for again with the same id until it is decided.
async fn buy(orders: OrdersClient<Channel>, id: Uuid, user: Uuid) -> anyhow::Result<Order> {
    let item = Item { sku: SKU.into(), quantity: 1, unit_price: Some(euro(PRICE)) };
    let request =
        PlaceOrderRequest { order_id: id.to_string(), user_id: user.to_string(), items: vec![item] };
    let begun = Instant::now();
    loop {
        let placed: Result<Order, Status> =
            answer(DEADLINE, orders.clone().place_order(within(DEADLINE, request.clone()))).await;
        match placed {
            Ok(order) if !order.pending && order.state() != State::Accepted => return Ok(order),
            Ok(_) | Err(_) if begun.elapsed() < 4 * DEADLINE => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(order) => anyhow::bail!("order {id} is not decided: {:?}", order.state()),
            Err(status) => return Err(status.into()),
        }
    }
}

/// Two orders at a time with money for one, each after a look at the account: looks that found enough, orders that were
/// paid, and orders that were refused.
async fn pairs(shop: &Shop) -> anyhow::Result<(u64, u64, u64)> {
    let (mut passed, mut paid, mut rejected) = (0, 0, 0);
    for _ in 0..PAIRS {
        let user = shop.buyer(PRICE).await?;
        for has_enough in join_all([shop.has_enough(user), shop.has_enough(user)]).await {
            passed += u64::from(has_enough?);
        }
        let orders = shop.orders()?;
        for order in
            join_all([buy(orders.clone(), Uuid::now_v7(), user), buy(orders, Uuid::now_v7(), user)]).await
        {
            let state = order?.state();
            ensure!(matches!(state, State::Paid | State::Rejected), "an order is {state:?}");
            paid += u64::from(state == State::Paid);
            rejected += u64::from(state == State::Rejected);
        }
    }
    Ok((passed, paid, rejected))
}

fn watch(id: Uuid) -> WatchRequest {
    WatchRequest { order_id: id.to_string(), after: 0 }
}

/// The same order by both calls, each on a connection of its own: events by `WatchOrder`, and how many of them
/// `OrderUpdates` told alike; bytes of each client after the opening.
async fn both_ways(shop: &Shop) -> anyhow::Result<([u64; 2], [u64; 2])> {
    let user = shop.buyer(PRICE).await?;
    let id = Uuid::now_v7();
    buy(shop.orders()?, id, user).await?;
    let relays = [Relay::open(authority(shop)?).await?, Relay::open(authority(shop)?).await?];
    let clients = relays.each_ref().map(|relay| format!("http://{}", relay.address()).parse::<Uri>());
    let [one, many] = clients.map(|url| url.map(|url| OrdersClient::new(channel(&url))));
    let (mut one, mut many) = (one?, many?);
    let mut watched = one.watch_order(within(DEADLINE, watch(id))).await?.into_inner();
    let (requests, mut outgoing) = mpsc::channel(8);
    requests.send(UpdatesRequest { what: Some(What::Watch(watch(id))) }).await?;
    // It grants credit for each event, as a front does that serves many browsers.
    requests.send(UpdatesRequest { what: Some(What::Credit(1)) }).await?;
    let outgoing = stream::poll_fn(move |cx| outgoing.poll_recv(cx));
    let mut updated = many.order_updates(Request::new(outgoing)).await?.into_inner();
    let (mut by_one, mut by_many) = (Vec::new(), Vec::new());
    by_one.push(next(&mut watched).await?);
    by_many.push(next(&mut updated).await?);
    let opened = relays.each_ref().map(|relay| relay.passed(Direction::ToServer));
    while by_one.len() < UNTIL_PAID {
        by_one.push(next(&mut watched).await?);
        requests.send(UpdatesRequest { what: Some(What::Credit(1)) }).await?;
        by_many.push(next(&mut updated).await?);
    }
    let sent = relays.each_ref().map(|relay| relay.passed(Direction::ToServer));
    let alike = by_one.iter().zip(&by_many).filter(|(one, other)| one == other).count();
    Ok(([by_one.len() as u64, alike as u64], [sent[0] - opened[0], sent[1] - opened[1]]))
}

fn authority(shop: &Shop) -> anyhow::Result<std::net::SocketAddr> {
    Ok(shop.urls["order"].trim_start_matches("http://").parse()?)
}

async fn next(stream: &mut tonic::Streaming<OrderEvent>) -> anyhow::Result<OrderEvent> {
    let event = tokio::time::timeout(DEADLINE, stream.message()).await.context("no event in time")??;
    event.context("the stream has ended")
}

/// From the stamp of a change to its event at a watcher, of orders that are bought while they are watched.
async fn told(shop: &Shop) -> anyhow::Result<Latencies> {
    let mut told = Latencies::default();
    let user = shop.buyer(PRICE * FOLLOWED as i64).await?;
    for _ in 0..FOLLOWED {
        let (id, orders) = (Uuid::now_v7(), shop.orders()?);
        let mut buying = JoinSet::new();
        buying.spawn(buy(orders.clone(), id, user));
        let mut watcher = watcher(orders, id).await?;
        let watching = Timestamp::now();
        for _ in 0..UNTIL_PAID {
            let event = next(&mut watcher).await?;
            let (stamped, now): (Timestamp, _) = (event.at.parse()?, Timestamp::now());
            // What happened before anybody watched was not told late.
            if stamped >= watching {
                told.add(now.duration_since(stamped).unsigned_abs());
            }
        }
        while let Some(bought) = buying.join_next().await {
            bought??;
        }
    }
    Ok(told)
}

/// The events of an order, as soon as there is such an order.
async fn watcher(
    mut orders: OrdersClient<Channel>,
    id: Uuid,
) -> anyhow::Result<tonic::Streaming<OrderEvent>> {
    let begun = Instant::now();
    loop {
        match orders.watch_order(within(DEADLINE, watch(id))).await {
            Ok(stream) => return Ok(stream.into_inner()),
            Err(status) if begun.elapsed() > DEADLINE => return Err(status.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}
