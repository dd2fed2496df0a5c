//! The server side: takes entries over HTTP, rpc and gRPC at once, stores them, and answers after the commit.
//!
//! An entry comes to one of the three [`server`]s, which all hand it to the [`intake`]; that checks it and
//! hands it to the [`writer`], which commits what has gathered in one transaction; [`store`] alone knows where
//! entries are kept. What it does not do: deliver, forward, retry.

#[cfg(feature = "faults")]
pub mod faults;
pub mod intake;
pub mod server;
pub mod store;
pub mod writer;

mod clock;
mod config;
mod metrics;

pub use config::Config;

use std::{net::SocketAddr, pin::pin, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use axum::Router;
use futures_util::FutureExt;
use service::{
    Acceptor, Reloads, Shutdown, Telemetry,
    health::{self, Readiness},
    network,
    telemetry::LogFormat,
    tls::{Callers, Protocol},
};
use tokio::task::JoinSet;

use crate::{
    intake::Intake,
    metrics::Gauges,
    store::{OpenError, Reader, ResetTimes, Store, Vitals},
    writer::{Drained, Writer, WriterThread},
};

/// How long the store may take to close, after the servers have drained.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// The exit code of a logger whose store is damaged: starting it again will not help.
const DAMAGED: u8 = 3;

/// A logger whose store and ports are open, but which does not answer yet.
#[derive(Debug)]
pub struct Logger {
    http: Acceptor,
    rpc: Acceptor,
    grpc: Acceptor,
    reader: Reader,
    writer: Writer,
    thread: WriterThread,
    reloads: Reloads,
    telemetry: Telemetry,
    own_hosts_only: bool,
    serving: service::http::Settings,
}

/// Where a logger listens, with the ports that port 0 has become.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// HTTP.
    pub http: SocketAddr,
    /// rpc.
    pub rpc: SocketAddr,
    /// gRPC.
    pub grpc: SocketAddr,
}

/// Opens the store and the ports.
///
/// # Errors
/// If one of them cannot be opened; the message says which, and what to do.
pub fn bind(config: Config, telemetry: Telemetry) -> anyhow::Result<Logger> {
    #[cfg(feature = "faults")]
    faults::choose(config.logger_fault);
    let mut certificates = config.certificates()?;
    let own_hosts_only = certificates.is_none() && network::is_loopback(config.logger_http_listen);
    let mut tls = |protocol| {
        let clients = Callers::Named(config.logger_tls_clients.clone());
        certificates.as_mut().map(|own| own.serve(clients, protocol)).transpose()
    };
    let (http, rpc, grpc) = (tls(Protocol::Http1)?, tls(Protocol::Unnamed)?, tls(Protocol::Http2)?);
    let mut reloads = Reloads::on_hangup()?;
    telemetry.reload_with(&mut reloads);
    if let Some(own) = certificates {
        // It calls nobody.
        reloads.add("the certificates", move || own.reload(|_| Ok(())));
    }
    let store = Store::open(&config.logger_store).context("LOGGER_STORE")?;
    let reader = store.reader();
    let (writer, thread) = Writer::start(store, config.retention())?;
    Ok(Logger {
        http: Acceptor::bind("LOGGER_HTTP_LISTEN", config.logger_http_listen, Protocol::Http1)?
            .with_tls(http),
        rpc: Acceptor::bind("LOGGER_RPC_LISTEN", config.logger_rpc_listen, Protocol::Unnamed)?.with_tls(rpc),
        grpc: Acceptor::bind("LOGGER_GRPC_LISTEN", config.logger_grpc_listen, Protocol::Http2)?
            .with_tls(grpc),
        reader,
        writer,
        thread,
        reloads,
        telemetry,
        own_hosts_only,
        serving: config.http,
    })
}

/// Gives the entries whose times of storing lie ahead of the clock the present time, and says which. No logger may use the
/// store meanwhile.
///
/// # Errors
/// If the store cannot be opened or changed; the message says what to do.
pub fn reset_times(config: &Config) -> anyhow::Result<()> {
    let mut store = Store::open(&config.logger_store).context("LOGGER_STORE")?;
    let ResetTimes { entries, before, now, unreadable } = store.reset_times().context("--reset-times")?;
    store.close();
    let (first, last) = before.unzip();
    tracing::info!(
        entries,
        from = first.map(tracing::field::display),
        to = last.map(tracing::field::display),
        now = now.map(tracing::field::display),
        unreadable,
        "times of storing ahead of the clock are set to now, in the order in which they were"
    );
    Ok(())
}

impl Logger {
    /// Where it listens.
    ///
    /// # Errors
    /// If a socket is gone.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            http: self.http.local_addr()?,
            rpc: self.rpc.local_addr()?,
            grpc: self.grpc.local_addr()?,
        })
    }

    /// Serves until `shutdown`; then answers what is in flight, commits what is queued, and closes the store. One that does
    /// not close in time is left as it is, since nothing is lost by that.
    ///
    /// # Errors
    /// If a server could not be set up, or an entry that was let in could not be committed in time.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let Addresses { http, rpc, grpc } = self.addresses()?;
        tracing::info!(%http, %rpc, %grpc, "logger ready");
        let telemetry = reading_off(self.telemetry, self.writer.clone(), self.reader.clone());
        let health = health_routes(self.writer.clone(), self.reader.vitals(), telemetry, shutdown.clone());
        let commits = self.writer.commits();
        let intake = Intake::new(self.writer, shutdown.clone());
        let mut servers: JoinSet<anyhow::Result<()>> = JoinSet::new();
        let (reader, own, serving) = (self.reader, self.own_hosts_only, self.serving);
        let http = server::http::serve(
            self.http,
            intake.clone(),
            reader.clone(),
            health,
            own,
            serving,
            shutdown.clone(),
        );
        servers.spawn(http.map(Ok));
        let rpc = server::rpc::serve(self.rpc, intake.clone(), shutdown.clone());
        servers.spawn(rpc.map(Ok));
        servers.spawn(server::grpc::serve(self.grpc, intake, reader, commits, shutdown.clone()));
        let mut thread = self.thread;
        let mut reloaded = pin!(self.reloads.run());
        let mut result = Ok(());
        loop {
            let ended = tokio::select! {
                ended = servers.join_next() => ended,
                never = &mut reloaded => match never {},
                () = thread.ended(), if !shutdown.has_begun() => {
                    result = Err(anyhow::anyhow!("the writer ended by itself"));
                    shutdown.begin();
                    continue;
                }
            };
            let Some(ended) = ended else { break };
            // One server that ends before its time takes the others along: half a logger helps nobody.
            shutdown.begin();
            result = result.and(ended.context("a server panicked").and_then(|ended| ended));
        }
        let result = result.and(told(thread.drain(CLOSE_TIMEOUT).await));
        tracing::info!("logger stopped");
        result
    }
}

/// What a drain has come to, as an error only if a caller has lost something by it.
fn told(drained: Drained) -> anyhow::Result<()> {
    match drained {
        Drained::Closed => Ok(()),
        Drained::Closing => {
            tracing::warn!(
                "the store did not close in time; nothing is lost: all that was let in is committed, and the next start \
                 takes over what is still in the write-ahead log"
            );
            Ok(())
        }
        Drained::Committing { entries } => bail!(
            "the disk is too slow: {entries} entries that were let in were not committed in time, and their callers have \
             no answer; all that was answered as stored is"
        ),
        Drained::Panicked => {
            bail!("the writer had panicked: its callers have no answer; all that was answered as stored is")
        }
    }
}

/// How the process ends: as every service's, but with 3 if the store is damaged.
pub fn exit_code(result: anyhow::Result<()>, format: LogFormat) -> ExitCode {
    let reason = result.as_ref().err().and_then(|error| error.downcast_ref());
    let damaged = matches!(reason, Some(OpenError::Damaged { .. }));
    let code = service::exit_code(result, format);
    if damaged { ExitCode::from(DAMAGED) } else { code }
}

fn reading_off(telemetry: Telemetry, writer: Writer, reader: Reader) -> Telemetry {
    let (gauges, vitals) = (Gauges::new(), reader.vitals());
    telemetry.reading_off(move || {
        gauges.set(writer.queued_entries(), reader.disk_bytes(), writer.healthy(), &vitals);
    })
}

fn health_routes(writer: Writer, vitals: Vitals, telemetry: Telemetry, shutdown: Shutdown) -> Router {
    let readiness = move || {
        let (trouble, draining) = (writer.trouble(), shutdown.has_begun());
        Readiness {
            ready: trouble.is_none() && !draining,
            detail: serde_json::json!({
                "store": trouble.is_none(),
                "store_trouble": trouble,
                "store_links": vitals.other_links(),
                "clock_trouble": vitals.clock_trouble(),
                "draining": draining,
            }),
        }
    };
    health::routes(readiness, telemetry)
}
