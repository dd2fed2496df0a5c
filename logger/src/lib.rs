//! Accepts entries over HTTP, rpc (tarpc, and Go's net/rpc) and gRPC, stores them, and responds after the commit.
//!
//! An entry arrives at one of the [`server`]s, which all hand it to the [`intake`]; that validates it and hands it
//! to the [`writer`], which commits everything that is queued in one transaction. Only [`store`] knows where
//! entries are kept. It does not deliver, forward or retry.

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

use std::{io, net::SocketAddr, path::Path, pin::pin, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use axum::Router;
use service::{
    Acceptor, Probe, Reloads, Shutdown, Telemetry,
    health::{self, Readiness},
    network,
    telemetry::LogFormat,
    tls::{Callers, Certificates},
};
use tokio::task::JoinSet;

use crate::{
    intake::Intake,
    metrics::Gauges,
    server::{DOORS, Inside},
    store::{BackedUp, OpenError, Reader, ResetTimes, Vitals},
    writer::{Drained, Writer, WriterThread},
};

/// How long the store may take to close, after the servers have drained.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// The exit code of a logger whose store is damaged: starting it again will not help.
const DAMAGED: u8 = 3;

/// A logger whose store and ports are open, but which does not answer yet.
#[derive(Debug)]
pub struct Logger {
    /// As [`DOORS`] has them.
    doors: Vec<Acceptor>,
    /// The word for the kind of store.
    kind: &'static str,
    reader: Reader,
    writer: Writer,
    thread: WriterThread,
    reloads: Reloads,
    telemetry: Telemetry,
    own_hosts_only: bool,
    hosts: Vec<String>,
    serving: service::http::Settings,
}

/// Opens the store and the ports.
///
/// # Errors
/// If one of them cannot be opened; the message says which, and what to do.
pub fn bind(config: Config, telemetry: Telemetry) -> anyhow::Result<Logger> {
    #[cfg(feature = "faults")]
    faults::choose(config.logger_fault);
    let mut certificates = config.certificates()?;
    server::check_exposure(&config, certificates.is_some())?;
    let place = config.store(certificates.as_ref().map(Certificates::identity))?;
    let named = !config.logger_http_hosts.is_empty();
    let own_hosts_only = certificates.is_none() && (named || network::is_loopback(config.logger_http_listen));
    let tls = DOORS.iter().map(|door| {
        let clients = Callers::Named(config.logger_tls_clients.clone());
        certificates.as_mut().map(|own| own.serve(clients, door.protocol)).transpose()
    });
    let tls = tls.collect::<anyhow::Result<Vec<_>>>()?;
    let mut reloads = Reloads::on_hangup()?;
    telemetry.reload_with(&mut reloads);
    if let Some(own) = certificates {
        // It has no clients of its own.
        reloads.add("the certificates", move || own.reload(|_| Ok(())));
    }
    let (store, kind) = (place.open()?, place.url.kind());
    let reader = store.reader();
    let (writer, thread) = Writer::start(store, config.retention())?;
    let doors = DOORS.iter().zip(tls).map(|(door, tls)| {
        Ok(Acceptor::bind(door.setting, (door.listen)(&config), door.protocol)?.with_tls(tls))
    });
    let doors = doors.collect::<anyhow::Result<_>>()?;
    let (hosts, serving) = (config.logger_http_hosts, config.http);
    Ok(Logger { doors, kind, reader, writer, thread, reloads, telemetry, own_hosts_only, hosts, serving })
}

/// Sets the `stored_at` of entries that lies ahead of the clock to now, and logs which. No logger may use the store
/// meanwhile.
///
/// # Errors
/// If the store cannot be opened or changed; the message says what to do.
pub fn reset_times(config: &Config) -> anyhow::Result<()> {
    let certificates = config.certificates()?;
    let mut store = config.store(certificates.as_ref().map(Certificates::identity))?.open()?;
    let ResetTimes { entries, before, now, unreadable } = store.reset_times().context("--reset-times")?;
    store.close();
    let (first, last) = before.unzip();
    tracing::info!(
        entries,
        from = first.map(tracing::field::display),
        to = last.map(tracing::field::display),
        now = now.map(tracing::field::display),
        unreadable,
        "stored_at of entries ahead of the clock was set to now; their order is unchanged"
    );
    Ok(())
}

/// Copies the store to `file` while a logger may use it, and logs what the copy holds. Ends early at `shutdown`.
///
/// # Errors
/// If there is no verified copy then; the message says why.
pub async fn backup(config: &Config, file: &Path, shutdown: Shutdown) -> anyhow::Result<()> {
    let url = config.store_url()?;
    let to = file.to_owned();
    let copied = tokio::task::spawn_blocking(move || store::backup(&url, &to, &|| shutdown.has_begun()));
    let copied = copied.await.context("the backup panicked").and_then(|copied| copied);
    let BackedUp { entries, unreadable, bytes } = copied.context("--backup")?;
    tracing::info!(file = %file.display(), entries, unreadable, bytes, "the store is backed up and verified");
    Ok(())
}

/// Asks the logger that runs with the same settings whether it is live or ready.
///
/// # Errors
/// If it is not, or a setting cannot be used.
pub async fn health(config: &Config, probe: Probe) -> anyhow::Result<()> {
    let certificates = config.certificates()?;
    probe.ask(config.logger_http_listen, certificates.as_ref().map(Certificates::identity)).await
}

impl Logger {
    /// Where it listens, door by door, with the ports that port 0 has become.
    ///
    /// # Errors
    /// If a socket is closed.
    pub fn addresses(&self) -> io::Result<[SocketAddr; DOORS.len()]> {
        let addresses = self.doors.iter().map(Acceptor::local_addr).collect::<io::Result<Vec<_>>>()?;
        Ok(addresses.try_into().expect("there is an acceptor for each door"))
    }

    /// Serves until `shutdown`; then answers what is in flight, commits what is queued, and closes the store. One that does
    /// not close in time is left as it is, since nothing is lost by that.
    ///
    /// # Errors
    /// If a server could not be set up, or an accepted entry could not be committed in time.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let [http, rpc, grpc, netrpc] = self.addresses()?;
        tracing::info!(%http, %rpc, %grpc, %netrpc, "logger ready");
        let telemetry = reading_off(self.telemetry, self.kind, self.writer.clone(), self.reader.clone());
        let health =
            health_routes(self.kind, self.writer.clone(), self.reader.vitals(), telemetry, shutdown.clone());
        let inside = Inside {
            intake: Intake::new(self.writer, shutdown.clone()),
            reader: self.reader,
            health,
            own_hosts_only: self.own_hosts_only,
            hosts: self.hosts,
            http: self.serving,
            shutdown: shutdown.clone(),
        };
        let mut servers = JoinSet::new();
        for (door, acceptor) in DOORS.iter().zip(self.doors) {
            servers.spawn((door.serve)(acceptor, inside.clone()));
        }
        drop(inside);
        let mut thread = self.thread;
        let mut reloaded = pin!(self.reloads.run());
        let mut result = Ok(());
        loop {
            let ended = tokio::select! {
                ended = servers.join_next() => ended,
                never = &mut reloaded => match never {},
                () = thread.ended(), if !shutdown.has_begun() => {
                    result = Err(anyhow::anyhow!("the writer stopped unexpectedly"));
                    shutdown.begin();
                    continue;
                }
            };
            let Some(ended) = ended else { break };
            // One server that ends before its time stops the others: half a logger helps nobody.
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
                "the store did not close in time; nothing is lost: all accepted entries are committed, and the next start \
                 finishes closing"
            );
            Ok(())
        }
        Drained::Committing { entries } => bail!(
            "the disk is too slow: {entries} accepted entries were not committed in time, and their clients have no \
             response; everything that was acknowledged as stored is stored"
        ),
        Drained::Panicked => {
            bail!(
                "the writer panicked: its clients have no response; everything that was acknowledged as stored is stored"
            )
        }
    }
}

/// How the process ends: as every service's, but with 3 if the store is damaged.
pub fn exit_code(result: anyhow::Result<()>, format: LogFormat) -> ExitCode {
    let reason = result.as_ref().err().and_then(|error| error.downcast_ref());
    let damaged = matches!(reason, Some(OpenError::Damaged(_)));
    let code = service::exit_code(result, format);
    if damaged { ExitCode::from(DAMAGED) } else { code }
}

fn reading_off(telemetry: Telemetry, kind: &'static str, writer: Writer, reader: Reader) -> Telemetry {
    let (gauges, vitals) = (Gauges::new(kind), reader.vitals());
    telemetry.reading_off(move || {
        gauges.set(writer.queued_entries(), reader.disk_bytes(), writer.healthy(), &vitals);
    })
}

fn health_routes(
    kind: &'static str,
    writer: Writer,
    vitals: Vitals,
    telemetry: Telemetry,
    shutdown: Shutdown,
) -> Router {
    let readiness = move || {
        let (trouble, draining) = (writer.trouble(), shutdown.has_begun());
        Readiness {
            ready: trouble.is_none() && !draining,
            detail: serde_json::json!({
                "store": trouble.is_none(),
                "store_kind": kind,
                "store_trouble": trouble,
                "store_links": vitals.other_links(),
                "clock_trouble": vitals.clock_trouble(),
                "draining": draining,
            }),
        }
    };
    health::routes(readiness, telemetry)
}
