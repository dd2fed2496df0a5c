//! Products: the catalogue and the stock. Pieces are reserved for an order, and then shipped or released.

mod stock;

use std::{sync::Arc, time::Duration};

use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use rusqlite::Connection;
use service::Shutdown;
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tonic::{Request, Response, Status, Streaming, service::Routes};

use crate::{
    calls::traced,
    check::{self, Line},
    config::Config,
    faults::Faults,
    grpc,
    money::{self, euro},
    outbox,
    pb::{
        ImportSummary, ListProductsRequest, OrderId, Product, Refused, Reservation, ReserveRequest,
        products_server::{Products, ProductsServer},
    },
    refusal::Refusal,
    store::{Store, Tx},
};

/// Most readers of the catalogue at a time, how long one may take, and how many products are ready for it.
const READERS: usize = 32;
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const READY: usize = 64;

/// Products of an import that are committed together.
const IMPORTED_TOGETHER: usize = 200;

/// Most refusals that an import names; the others it only counts.
const NAMED: usize = 100;

/// Most pieces of a product.
const PIECES: i64 = 1_000_000_000;

/// Serves until `shutdown`.
///
/// # Errors
/// If the store or the port cannot be opened.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let store = Store::open(&config.shop_data_dir, "product", &[outbox::SCHEMA, stock::SCHEMA])?;
    let faults = Faults::default();
    let readers = Arc::new(Semaphore::new(READERS));
    let own = Warehouse { store: store.clone(), faults: faults.clone(), readers };
    let own = ProductsServer::new(own).max_decoding_message_size(grpc::MESSAGE_BYTES);
    grpc::serve(&config, store, Routes::new(own), stock::figures, faults, shutdown).await
}

struct Warehouse {
    store: Store,
    faults: Faults,
    readers: Arc<Semaphore>,
}

impl Warehouse {
    async fn reserve(&self, request: ReserveRequest) -> Result<Reservation, Refusal> {
        let order = check::id(&request.order_id, "order_id")?.to_string();
        let lines: Vec<Line> = check::lines(&request.items)?;
        self.store.write(move |tx| stock::reserve(tx, order, &lines)).await
    }

    async fn change(
        &self,
        request: OrderId,
        change: fn(&Tx<'_>, String) -> Result<Reservation, Refusal>,
    ) -> Result<Reservation, Refusal> {
        let order = check::id(&request.order_id, "order_id")?.to_string();
        self.store.write(move |tx| change(tx, order)).await
    }

    /// Takes products as they come, and commits many at a time: nothing grows with the length of the catalogue.
    async fn import(&self, products: Streaming<Product>) -> Result<ImportSummary, Status> {
        let mut summary = ImportSummary::default();
        let mut groups = products.try_chunks(IMPORTED_TOGETHER);
        let mut position = 0;
        while let Some(group) = groups.try_next().await.map_err(|error| error.1)? {
            let mut together = Vec::with_capacity(group.len());
            for product in group {
                match valid(&product) {
                    Ok(product) => together.push((position, product)),
                    Err(refusal) => refuse(&mut summary, position, product.sku, refusal.to_string()),
                }
                position += 1;
            }
            let count = together.len() as u64;
            let refused = self.store.write(move |tx| stock::import(tx, together)).await?;
            summary.accepted += count - refused.len() as u64;
            for (position, sku, reason) in refused {
                refuse(&mut summary, position, sku, reason);
            }
        }
        Ok(summary)
    }

    fn list(&self) -> Result<BoxStream<'static, Result<Product, Status>>, Status> {
        let full = || Status::from(Refusal::Unavailable("too many readers of the catalogue: retry"));
        let place = Arc::clone(&self.readers).try_acquire_owned().map_err(|_| full())?;
        let reader = self.store.reader()?;
        let (ready, products) = mpsc::channel(READY);
        // It ends with its reader: a place in the channel is only waited for while that is there.
        tokio::task::spawn_blocking(move || {
            read_all(&reader, &ready);
            drop(place);
        });
        let deadline = Instant::now() + READ_TIMEOUT;
        let products = stream::unfold(Some(products), move |products| async move {
            let mut products = products?;
            tokio::select! {
                // First: a slow reader always has a product that is ready.
                biased;
                () = tokio::time::sleep_until(deadline) => {
                    Some((Err(Status::deadline_exceeded("the catalogue was not read in 30 s")), None))
                }
                product = products.recv() => product.map(|product| (product, Some(products))),
            }
        });
        Ok(products.boxed())
    }
}

fn read_all(reader: &Connection, ready: &mpsc::Sender<Result<Product, Status>>) {
    // One statement is one snapshot.
    let read = || -> Result<(), Refusal> {
        let mut select =
            reader.prepare("SELECT sku, name, price, stock, reserved FROM product ORDER BY sku")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let product = Product {
                sku: row.get(0)?,
                name: row.get(1)?,
                price: Some(euro(row.get(2)?)),
                stock: row.get(3)?,
                reserved: row.get(4)?,
            };
            if ready.blocking_send(Ok(product)).is_err() {
                break;
            }
        }
        Ok(())
    };
    if let Err(refusal) = read() {
        let _ = ready.blocking_send(Err(refusal.into()));
    }
}

fn valid(product: &Product) -> Result<stock::Imported, Refusal> {
    let sku = check::sku(&product.sku)?.to_owned();
    let price = money::minor(product.price.as_ref(), "price")?;
    if !(0..=PIECES).contains(&product.stock) {
        return Err(Refusal::Invalid(format!("`stock`: expected 0 to {PIECES}")));
    }
    let name = check::text(product.name.clone(), check::PRODUCT_NAME_BYTES, "name")?;
    Ok(stock::Imported { sku, name, price, stock: product.stock })
}

fn refuse(summary: &mut ImportSummary, position: u64, sku: String, reason: String) {
    summary.refused_count += 1;
    if summary.refused.len() < NAMED {
        // No more of it is repeated than a valid one could have.
        summary.refused.push(Refused { position, sku: sku.chars().take(64).collect(), reason });
    }
}

#[tonic::async_trait]
impl Products for Warehouse {
    type ListProductsStream = BoxStream<'static, Result<Product, Status>>;

    async fn list_products(
        &self,
        _: Request<ListProductsRequest>,
    ) -> Result<Response<Self::ListProductsStream>, Status> {
        self.list().map(Response::new)
    }

    async fn import(&self, request: Request<Streaming<Product>>) -> Result<Response<ImportSummary>, Status> {
        Warehouse::import(self, request.into_inner()).await.map(Response::new)
    }

    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<Reservation>, Status> {
        let reserve = |request| self.faults.around(Warehouse::reserve(self, request));
        traced("shop.v1.Products/Reserve", request, reserve).await
    }

    async fn release(&self, request: Request<OrderId>) -> Result<Response<Reservation>, Status> {
        let release = |request| self.faults.around(self.change(request, stock::release));
        traced("shop.v1.Products/Release", request, release).await
    }

    async fn ship(&self, request: Request<OrderId>) -> Result<Response<Reservation>, Status> {
        let ship = |request| self.faults.around(self.change(request, stock::ship));
        traced("shop.v1.Products/Ship", request, ship).await
    }
}
