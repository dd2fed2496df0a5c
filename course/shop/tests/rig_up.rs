//! The five services as processes, and clients of them.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use rig::{Launch, Process};
use serde_json::{Value, json};
use shop::{
    calls::{answer, channel, within},
    money::euro,
    pb::{
        AdvanceRequest, CheckRequest, FaultRequest, Item, ListProductsRequest, Order, OrderId,
        PlaceOrderRequest, Product, State, TopUpRequest, checks_client::ChecksClient,
        faults_client::FaultsClient, orders_client::OrdersClient, payments_client::PaymentsClient,
        products_client::ProductsClient,
    },
};
use tempfile::TempDir;
use tests::SOON;
use tokio::net::TcpSocket;
use tonic::{Status, transport::Channel};
use uuid::Uuid;

/// How long a buyer waits for one answer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);

/// What one piece costs, unless a test says otherwise.
pub(crate) const PRICE: i64 = 1_000;

pub(crate) const SERVICES: [&str; 5] = ["user", "product", "payment", "order", "front"];

/// The shop of one test.
pub(crate) struct Shop {
    processes: BTreeMap<&'static str, Process>,
    settings: BTreeMap<String, String>,
    binary: String,
    dir: TempDir,
    _ports: Vec<TcpSocket>,
}

impl Shop {
    /// Starts all five, with no Fourwire to log to: what they have to tell waits.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts all five with settings of their own.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let mut shop = Self::of(env!("CARGO_BIN_EXE_shop"), settings);
        for service in SERVICES {
            shop.begin(service).await;
        }
        shop
    }

    /// One of which nothing is started yet.
    pub(crate) fn of(binary: &str, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let ports: Vec<TcpSocket> = (0..6).map(|_| rig::reserve().expect("a free port")).collect();
        let at: Vec<String> =
            ports.iter().map(|port| port.local_addr().expect("bound").to_string()).collect();
        let mut all = BTreeMap::new();
        for (service, at) in SERVICES.iter().zip(&at) {
            let name = service.to_uppercase();
            all.insert(format!("SHOP_{name}_LISTEN"), at.clone());
            all.insert(format!("SHOP_{name}_URL"), format!("http://{at}"));
        }
        all.insert("BROKER_URL".to_owned(), format!("http://{}", at[5]));
        all.insert("SHOP_DATA_DIR".to_owned(), dir.path().display().to_string());
        all.insert("SHOP_FAULTS".to_owned(), "on".to_owned());
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Shop { processes: BTreeMap::new(), settings: all, binary: binary.to_owned(), dir, _ports: ports }
    }

    /// Starts a service, and waits until it is ready.
    pub(crate) async fn begin(&mut self, service: &'static str) {
        let mut command = tokio::process::Command::new(&self.binary);
        command.arg(service);
        let launch = Launch { at_end: Some(show_log), ..Launch::default() };
        let process = launch.spawn(command, service, &self.settings, self.dir.path());
        let mut process = process.expect("it can be started");
        process.ready().await.unwrap_or_else(|error| panic!("{service}: {error}"));
        self.processes.insert(service, process);
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self, service: &'static str) {
        self.process_mut(service).kill().await.expect("it runs");
    }

    pub(crate) fn process(&self, service: &str) -> &Process {
        &self.processes[service]
    }

    pub(crate) fn process_mut(&mut self, service: &str) -> &mut Process {
        self.processes.get_mut(service).expect("it was started")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The address of a service itself, whatever stands in front of it.
    pub(crate) fn address(&self, service: &str) -> &str {
        &self.settings[&format!("SHOP_{}_LISTEN", service.to_uppercase())]
    }

    fn channel(&self, service: &str) -> Channel {
        channel(&format!("http://{}", self.address(service)).parse().expect("a URL"))
    }

    pub(crate) fn products(&self) -> ProductsClient<Channel> {
        ProductsClient::new(self.channel("product"))
    }

    pub(crate) fn payments(&self) -> PaymentsClient<Channel> {
        PaymentsClient::new(self.channel("payment"))
    }

    pub(crate) fn orders(&self) -> OrdersClient<Channel> {
        OrdersClient::new(self.channel("order"))
    }

    /// A user with so much money.
    pub(crate) async fn buyer(&self, minor: i64) -> Uuid {
        let user = Uuid::now_v7();
        let top_up = TopUpRequest {
            top_up_id: user.to_string(),
            user_id: user.to_string(),
            amount: Some(euro(minor)),
        };
        answer(SOON, self.payments().top_up(within(SOON, top_up))).await.expect("paid in");
        user
    }

    /// Whose order it is.
    pub(crate) async fn buyer_of(&self, order_id: &str) -> Uuid {
        let order = within(SOON, OrderId { order_id: order_id.to_owned() });
        let order = answer(SOON, self.orders().get_order(order)).await.expect("it is there");
        order.user_id.parse().expect("an id")
    }

    /// So many pieces of a product.
    pub(crate) async fn pieces(&self, sku: &str, stock: i64) {
        let product = Product {
            sku: sku.to_owned(),
            name: sku.to_owned(),
            price: Some(euro(PRICE)),
            stock,
            reserved: 0,
        };
        let import = within(SOON, futures_util::stream::iter([product]));
        let summary = answer(SOON, self.products().import(import)).await.expect("imported");
        assert_eq!(summary.accepted, 1, "{summary:?}");
    }

    /// The whole catalogue.
    pub(crate) async fn catalogue(&self) -> Vec<Product> {
        let mut stream =
            self.products().list_products(ListProductsRequest {}).await.expect("a list").into_inner();
        let mut products = Vec::new();
        while let Some(product) = stream.message().await.expect("a product") {
            products.push(product);
        }
        products
    }

    /// What a service says must hold.
    pub(crate) async fn figures(&self, service: &str) -> BTreeMap<String, i64> {
        let mut checks = ChecksClient::new(self.channel(service));
        let reply = answer(SOON, checks.check(within(SOON, CheckRequest {}))).await.expect("figures");
        reply.figures.into_iter().map(|figure| (figure.name, figure.value)).collect()
    }

    /// Sets a fault of a service.
    pub(crate) async fn fault(&self, service: &str, fault: &str, percent: u32, delay_ms: u32) {
        let request = FaultRequest { fault: fault.to_owned(), percent, delay_ms };
        let mut faults = FaultsClient::new(self.channel(service));
        answer(SOON, faults.set(within(SOON, request))).await.expect("it is set");
    }

    /// Waits until the services hold what they must: nothing open, and every invariant.
    pub(crate) async fn settles(&self) {
        tests::eventually("no order is open", async || {
            (self.figures("order").await["open"] == 0).then_some(())
        })
        .await;
        self.is_sound().await;
    }

    /// Fails if an invariant does not hold.
    pub(crate) async fn is_sound(&self) {
        let payment = self.figures("payment").await;
        assert_eq!((payment["ledger_sum"], payment["accounts_off"]), (0, 0), "{payment:?}");
        let product = self.figures("product").await;
        assert_eq!(
            product["sold"] + product["reserved"] + product["free"],
            product["imported"],
            "{product:?}"
        );
        assert_eq!(product["promised"], product["reserved"], "{product:?}");
    }
}

/// Its last lines, where a test fails.
fn show_log(process: &Process) {
    if std::thread::panicking() {
        let log = process.log();
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("--- {} ---\n{}", process.name(), lines[lines.len().saturating_sub(20)..].join("\n"));
    }
}

/// An order of some pieces.
pub(crate) fn order(order_id: Uuid, user: Uuid, sku: &str, quantity: u32) -> PlaceOrderRequest {
    let item = Item { sku: sku.to_owned(), quantity, unit_price: Some(euro(PRICE)) };
    PlaceOrderRequest { order_id: order_id.to_string(), user_id: user.to_string(), items: vec![item] }
}

/// Places an order once.
pub(crate) async fn place(
    orders: &OrdersClient<Channel>,
    request: PlaceOrderRequest,
) -> Result<Order, Status> {
    answer(DEADLINE, orders.clone().place_order(within(DEADLINE, request))).await
}

/// Places an order again and again with the same id, as a good client does, until it is decided and paid, or refused; says
/// how often that was.
pub(crate) async fn insist(
    orders: &OrdersClient<Channel>,
    request: PlaceOrderRequest,
) -> (State, String, u32) {
    let begun = Instant::now();
    for attempt in 1.. {
        match place(orders, request.clone()).await {
            Ok(order) if !order.pending && order.state() != State::Accepted => {
                return (order.state(), order.reason, attempt);
            }
            Ok(_) => {}
            Err(status) if shop::refusal::is_definite(&status) => panic!("{status}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        assert!(begun.elapsed() < 2 * SOON, "order {} is not decided", request.order_id);
    }
    unreachable!("there is no last attempt")
}

/// What the courier does, until it is done.
pub(crate) async fn advance(orders: &OrdersClient<Channel>, order_id: Uuid, to: State) {
    tests::eventually("the courier is served", async || {
        let request = AdvanceRequest { order_id: order_id.to_string(), to: to.into() };
        answer(DEADLINE, orders.clone().advance(within(DEADLINE, request))).await.ok()
    })
    .await;
}

/// A client of the front that makes a connection for each request.
pub(crate) fn browserless() -> reqwest::Client {
    let _ = rustls_is_there();
    reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(SOON).build().expect("a client")
}

/// The client is built without TLS's provider: the one of the tests has installed it.
fn rustls_is_there() -> reqwest::Client {
    tests::client()
}

/// The body of an order for the front.
pub(crate) fn basket(user: Uuid, sku: &str, quantity: u32) -> Value {
    json!({ "user_id": user, "items": [{ "sku": sku, "quantity": quantity, "unit_minor": PRICE }] })
}
