//! OTLP logs in: what OpenTelemetry SDKs and Collectors export becomes entries, which go the way of all others.
//!
//! In reading order: `grpc` and `http` are the two doors, which are closed unless their address is set. `door` is
//! what they have in common; `body` is what they read within limits, `json` brings JSON into the one form that
//! `wire` takes apart into records. `entry` maps a record to an entry, with an id of `id`; `deliver` hands
//! them over in parts, and `answer` says what became of them in OTLP's own words. What it does not do: traces,
//! metrics, or retries.

mod answer;
mod body;
mod deliver;
mod door;
mod entry;
mod grpc;
mod http;
mod id;
mod json;
mod wire;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use proto::{Failure, LogEntry, Transport};
use service::{
    Acceptor, Shutdown,
    tls::{Callers, Certificates, Protocol},
};

use self::{door::Door, entry::Entries};
use crate::{app::App, cors::Origins, keys::Guard, metrics::Otlp};

/// Where OTLP is listened for, and how its records go on.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// Address to take OTLP logs over gRPC on, usually port 4317; without it the port is closed
    #[arg(long, env, value_parser = service::listen_address)]
    pub broker_otlp_grpc_listen: Option<SocketAddr>,

    /// Address to take OTLP logs over HTTP on, at /v1/logs, usually port 4318; without it the port is closed
    #[arg(long, env, value_parser = service::listen_address)]
    pub broker_otlp_http_listen: Option<SocketAddr>,

    /// Transport of OTLP logs whose request has no header x-transport; without it BROKER_DEFAULT_TRANSPORT
    #[arg(long, env)]
    pub broker_otlp_transport: Option<Transport>,
}

impl Settings {
    /// The addresses that are set, each with its setting.
    pub(crate) fn listens(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let grpc = self.broker_otlp_grpc_listen.map(|address| (grpc::SETTING, address));
        let http = self.broker_otlp_http_listen.map(|address| (http::SETTING, address));
        grpc.into_iter().chain(http)
    }
}

/// What a request in Protocol Buffers, or in JSON, becomes at this time: an entry for each record, or why it is none.
///
/// # Errors
/// If it cannot be read.
pub fn entries(
    request: &[u8],
    is_json: bool,
    now: Timestamp,
) -> Result<Vec<Result<LogEntry, Failure>>, Failure> {
    let written;
    let request = if is_json {
        written = json::to_protobuf(request)?;
        &written
    } else {
        request
    };
    let records = wire::records(request)?;
    let mut entries = Entries::of(request, now);
    Ok(records.iter().map(|record| entries.next(record)).collect())
}

/// The ports for OTLP that are open.
#[derive(Debug)]
pub(crate) struct Ports {
    grpc: Option<Acceptor>,
    http: Option<Acceptor>,
    transport: Option<Transport>,
    origins: Origins,
    deadline: Duration,
    metrics: Otlp,
}

impl Ports {
    /// Opens those that are set. `deadline`: for all records of a request. What is counted is there while they are closed
    /// too.
    ///
    /// # Errors
    /// If one cannot be opened; the message names the setting.
    pub(crate) fn bind(
        settings: &Settings,
        mut certificates: Option<&mut Certificates>,
        origins: &Origins,
        deadline: Duration,
    ) -> anyhow::Result<Self> {
        let mut open = |setting: &str, address: Option<SocketAddr>, protocol, room| -> anyhow::Result<_> {
            let Some(address) = address else { return Ok(None) };
            let serve = |own: &mut &mut Certificates| own.serve(Callers::Anyone, protocol);
            let tls = certificates.as_mut().map(serve).transpose()?;
            let acceptor = Acceptor::bind(setting, address, protocol)?.with_tls(tls).with_room(room);
            Ok(Some(acceptor))
        };
        Ok(Ports {
            grpc: open(grpc::SETTING, settings.broker_otlp_grpc_listen, Protocol::Http2, grpc::room())?,
            http: open(http::SETTING, settings.broker_otlp_http_listen, Protocol::Http1, http::room())?,
            transport: settings.broker_otlp_transport,
            origins: settings.broker_otlp_http_listen.map_or_else(|| origins.clone(), |at| origins.at(at)),
            deadline,
            metrics: Otlp::new(),
        })
    }

    /// Where gRPC is listened for.
    pub(crate) fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().and_then(|acceptor| acceptor.local_addr().ok())
    }

    /// Where HTTP is listened for.
    pub(crate) fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(|acceptor| acceptor.local_addr().ok())
    }

    /// Serves those that are open until `shutdown`; then answers what is in flight.
    ///
    /// # Errors
    /// If a port is gone.
    pub(crate) async fn run(
        self,
        app: Arc<App>,
        guard: Option<Guard>,
        serving: &service::http::Settings,
        shutdown: Shutdown,
    ) -> anyhow::Result<()> {
        let door = Arc::new(Door::new(app, guard, self.transport, self.deadline, self.metrics));
        let by_grpc = async {
            match self.grpc {
                Some(acceptor) => grpc::serve(acceptor, Arc::clone(&door), shutdown.clone()).await,
                None => Ok(()),
            }
        };
        let by_http = async {
            if let Some(acceptor) = self.http {
                http::serve(acceptor, Arc::clone(&door), self.origins, serving, shutdown.clone()).await;
            }
        };
        tokio::join!(by_grpc, by_http).0
    }
}
