//! The doors of the logger, one file each: it decodes, calls the [`Intake`], and encodes. Side by side, only the
//! protocol differs.
//!
//! Another door is a file with its [`Door`], a row in [`DOORS`], and the setting of its address.

pub mod grpc;
pub mod http;
pub mod netrpc;
pub mod rpc;

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use futures_util::future::BoxFuture;
use service::{Acceptor, GRACE, Shutdown, network, tls::Protocol};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::{Config, intake::Intake, store::Reader};

/// All doors, in the order in which they are opened.
pub const DOORS: [Door; 4] = [http::DOOR, rpc::DOOR, grpc::DOOR, netrpc::DOOR];

/// How long answers that are ready may take to leave, once the last call has ended.
const FLUSH: Duration = Duration::from_millis(100);

/// A way into the logger. All that there is to know of it stands here, so that no other list can miss one.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    /// The setting that says where it listens.
    pub setting: &'static str,
    /// Where that is.
    pub listen: fn(&Config) -> SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Serves it until a shutdown; then it takes no new connection, answers the calls in flight, and closes. It fails if
    /// it could not be set up.
    pub serve: fn(Acceptor, Inside) -> BoxFuture<'static, anyhow::Result<()>>,
}

/// Checks that no door is open to other machines without TLS, unless the settings allow it.
///
/// # Errors
/// If one is; the message names the setting.
pub(crate) fn check_exposure(config: &Config, encrypted: bool) -> anyhow::Result<()> {
    let missing: &[&str] = if encrypted { &[] } else { &["LOGGER_TLS_CERT"] };
    for door in &DOORS {
        network::check_exposure(door.setting, (door.listen)(config), missing, config.allow_insecure_network)?;
    }
    Ok(())
}

/// What the doors lead to.
#[derive(Debug, Clone)]
pub struct Inside {
    /// Where entries go.
    pub intake: Intake,
    /// Where they are read.
    pub reader: Reader,
    /// The addresses for operators, over HTTP.
    pub health: Router,
    /// No certificate is asked for, so over HTTP the host that a request is for counts.
    pub own_hosts_only: bool,
    /// Those that it may be for besides.
    pub hosts: Vec<String>,
    /// How HTTP is served.
    pub http: service::http::Settings,
    /// When to stop.
    pub shutdown: Shutdown,
}

/// Ends a door whose calls are tasks: waits for those in flight, lets their answers leave, and closes the connections.
async fn drain(door: &'static str, calls: TaskTracker, mut connections: JoinSet<()>) {
    calls.close();
    if tokio::time::timeout(GRACE, calls.wait()).await.is_err() {
        tracing::warn!(door, calls = calls.len(), "dropping calls that did not finish in time");
    }
    tokio::time::sleep(FLUSH).await;
    connections.shutdown().await;
}
