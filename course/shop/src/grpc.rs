//! One port of gRPC: its limits, and what every service answers besides its own calls.

use std::{io, time::Duration};

use anyhow::Context;
use futures_util::StreamExt;
use service::{Acceptor, GRACE, Shutdown, tls::Protocol};
use tonic::{Request, Response, Status, service::Routes, transport::Server};

use crate::{
    broker::Broker,
    calls,
    config::Config,
    faults::Faults,
    outbox::{self, Sender},
    pb::{
        CheckReply, CheckRequest, Figure,
        checks_server::{Checks, ChecksServer},
        faults_server::FaultsServer,
    },
    refusal::Refusal,
    store::Store,
};

/// Most calls at a time on one connection; more wait at the client.
const STREAMS: u32 = 512;

/// Most bytes of a message: the largest is an order of 20 items.
pub const MESSAGE_BYTES: usize = 64 * 1024;

/// Most bytes of metadata of a call.
const HEADER_BYTES: u32 = 16 * 1024;

/// How often a silent connection is tried, and how long the answer may take.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The figures of a service that must hold, read from its tables.
pub type Figures = fn(&rusqlite::Connection) -> Result<Vec<(&'static str, i64)>, Refusal>;

/// Serves `own` calls, and those that every service has, until `shutdown`; and sends the outbox meanwhile.
///
/// # Errors
/// If the port cannot be opened.
pub async fn serve(
    config: &Config,
    store: Store,
    own: Routes,
    figures: Figures,
    faults: Faults,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let (setting, listen) = config.listen();
    let acceptor = Acceptor::bind(setting, listen, Protocol::Http2)?;
    let at = acceptor.local_addr().context("the port is gone")?;
    let mut routes = own.add_service(ChecksServer::new(Checked { store: store.clone(), figures }));
    if config.shop_faults {
        routes = routes.add_service(FaultsServer::new(faults));
    }
    let broker = Broker::new(config.broker_url.clone(), config.broker_key.clone());
    let sender = tokio::spawn(Sender::new(store, broker, config.log_transport()).run(shutdown.clone()));
    tracing::info!(service = config.service.as_str(), grpc = %at, "shop ready");
    let connections = acceptor.connections(shutdown.clone()).map(Ok::<_, io::Error>);
    let served = Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADER_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(routes)
        .serve_with_incoming_shutdown(connections, shutdown.begun());
    let too_late = async {
        shutdown.begun().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = served => result?,
        () = too_late => tracing::warn!("dropping connections that did not finish in time"),
    }
    sender.await.context("the outbox panicked")?;
    tracing::info!("shop stopped");
    Ok(())
}

struct Checked {
    store: Store,
    figures: Figures,
}

#[tonic::async_trait]
impl Checks for Checked {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckReply>, Status> {
        let figures = self.figures;
        let check = move |connection: &rusqlite::Connection| {
            let all = figures(connection)?.into_iter().chain(outbox::figures(connection)?);
            let figures = all.map(|(name, value)| Figure { name: name.to_owned(), value }).collect();
            Ok(CheckReply { figures })
        };
        calls::traced("shop.v1.Checks/Check", request, |_| self.store.look(check)).await
    }
}
