//! Logger, listener and broker, wired together: started from binaries on ports of their own, or where they run already.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use proto::Transport;
use tokio::net::TcpSocket;

use crate::{Client, Launch, LogTo, Process, READY, Relay, eventually};

/// The three services.
#[derive(Debug)]
pub struct Services {
    /// The store's process.
    pub logger: Process,
    /// The broker's process.
    pub broker: Process,
    /// The listener's process.
    pub listener: Process,
    /// Where the logger listens; it keeps its ports over a restart, as the others do.
    pub logger_at: LoggerAddresses,
    /// Where the broker listens.
    pub broker_at: SocketAddr,
    /// Where the listener listens.
    pub listener_at: SocketAddr,
    launch: Launch,
    settings: BTreeMap<String, String>,
    dir: PathBuf,
    http: reqwest::Client,
    /// Keep the ports for the three: the broker asks the listener's before that is there, and who is started again must
    /// get its own.
    _ports: Vec<TcpSocket>,
}

/// Where a logger listens.
#[derive(Debug, Clone, Copy)]
pub struct LoggerAddresses {
    /// HTTP.
    pub http: SocketAddr,
    /// rpc.
    pub rpc: SocketAddr,
    /// gRPC.
    pub grpc: SocketAddr,
    /// Go's net/rpc.
    pub netrpc: SocketAddr,
}

impl LoggerAddresses {
    /// The settings by which a logger listens there.
    pub fn listens(self) -> [(&'static str, String); 4] {
        [
            ("LOGGER_HTTP_LISTEN", self.http.to_string()),
            ("LOGGER_RPC_LISTEN", self.rpc.to_string()),
            ("LOGGER_GRPC_LISTEN", self.grpc.to_string()),
            ("LOGGER_NETRPC_LISTEN", self.netrpc.to_string()),
        ]
    }

    /// The settings by which it is found there.
    fn urls(self, encrypted: bool) -> [(&'static str, String); 3] {
        let (http, tls) = if encrypted { ("https", "tls://") } else { ("http", "") };
        [
            ("LOGGER_HTTP_URL", format!("{http}://{}", self.http)),
            ("LOGGER_RPC_ADDR", format!("{tls}{}", self.rpc)),
            ("LOGGER_GRPC_URL", format!("{http}://{}", self.grpc)),
        ]
    }
}

impl Services {
    /// Those that will be started in the directory `dir`, on free ports; `settings` go before the usual ones. With
    /// certificates among them, every hop is encrypted. `http` is how they are asked.
    pub fn new(
        launch: Launch,
        settings: impl IntoIterator<Item = (impl Into<String>, String)>,
        dir: &Path,
        http: reqwest::Client,
    ) -> anyhow::Result<Self> {
        let given: BTreeMap<String, String> =
            settings.into_iter().map(|(name, value)| (name.into(), value)).collect();
        let ports = [(); 6].map(|()| reserve());
        let ports = ports.into_iter().collect::<io::Result<Vec<_>>>()?;
        let at = ports.iter().map(TcpSocket::local_addr).collect::<io::Result<Vec<_>>>()?;
        let logger_at = LoggerAddresses { http: at[0], rpc: at[1], grpc: at[2], netrpc: at[5] };
        let mut services = Services { _ports: ports, ..Self::foreign(at[3], logger_at, http) };
        services.launch = launch;
        services.dir = dir.to_owned();
        services.listener_at = at[4];
        services.settings = given;
        let scheme = services.scheme();
        let usual = [
            ("BROKER_HTTP_LISTEN", at[3].to_string()),
            ("LISTENER_HTTP_LISTEN", at[4].to_string()),
            ("LISTENER_HTTP_URL", format!("{scheme}://{}", at[4])),
        ];
        for (name, value) in usual.into_iter().chain(logger_at.listens()).chain(services.logger_urls()) {
            services.settings.entry(name.to_owned()).or_insert(value);
        }
        Ok(services)
    }

    /// Those that somebody else has started: their processes are not known.
    pub fn foreign(broker_at: SocketAddr, logger_at: LoggerAddresses, http: reqwest::Client) -> Self {
        Services {
            logger: Process::default(),
            broker: Process::default(),
            listener: Process::default(),
            logger_at,
            broker_at,
            listener_at: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            launch: Launch::default(),
            settings: BTreeMap::new(),
            dir: PathBuf::new(),
            http,
            _ports: Vec::new(),
        }
    }

    /// Changes a setting for what is started from now on.
    pub fn set(&mut self, setting: &str, value: String) {
        self.settings.insert(setting.to_owned(), value);
    }

    /// A setting.
    pub fn setting(&self, name: &str) -> anyhow::Result<&str> {
        self.settings.get(name).map(String::as_str).with_context(|| format!("{name} is not set"))
    }

    /// Where the logs of what is started from now on go.
    pub const fn log_to(&mut self, to: LogTo) {
        self.launch.log_to = to;
    }

    /// What a URL of theirs begins with: `http`, or `https` if every hop is encrypted.
    pub fn scheme(&self) -> &'static str {
        if self.is_encrypted() { "https" } else { "http" }
    }

    fn is_encrypted(&self) -> bool {
        self.settings.contains_key("LOGGER_TLS_CERT")
    }

    /// The settings by which the logger is found, with nothing between.
    pub fn logger_urls(&self) -> [(&'static str, String); 3] {
        self.logger_at.urls(self.is_encrypted())
    }

    /// How the broker is asked.
    pub fn broker_client(&self) -> Client {
        self.client(self.broker_at)
    }

    /// How the logger is asked.
    pub fn logger_client(&self) -> Client {
        self.client(self.logger_at.http)
    }

    /// How the listener is asked.
    pub fn listener_client(&self) -> Client {
        self.client(self.listener_at)
    }

    fn client(&self, at: SocketAddr) -> Client {
        Client::new(self.http.clone(), format!("{}://{at}", self.scheme()))
    }

    /// Asks with this client from now on, one that sends a key for example.
    pub fn ask_with(&mut self, http: reqwest::Client) {
        self.http = http;
    }

    /// The three, by name; those that were never started too.
    pub const fn processes(&self) -> [(&'static str, &Process); 3] {
        [("broker", &self.broker), ("logger", &self.logger), ("listener", &self.listener)]
    }

    /// The three, to be acted on.
    pub const fn processes_mut(&mut self) -> [&mut Process; 3] {
        [&mut self.broker, &mut self.logger, &mut self.listener]
    }

    /// Starts all three, and waits until all reach each other.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        self.start_logger().await?;
        self.start_broker().await?;
        self.reaches(&Transport::ALL).await?;
        self.start_listener().await
    }

    /// Starts the logger, with the store that it had, and waits until the broker, if it runs, reads from it: one that has
    /// just failed to dial refuses for a moment.
    pub async fn start_logger(&mut self) -> anyhow::Result<()> {
        self.start_logger_unasked().await?;
        if !self.broker.is_running() {
            return Ok(());
        }
        let client = self.broker_client();
        let reads = async || client.get("/logs").await.is_ok_and(|(status, _)| status == 200).then_some(());
        eventually("the broker reads from the logger", READY, reads).await
    }

    /// As [`Services::start_logger`], and nobody calls it yet.
    pub async fn start_logger_unasked(&mut self) -> anyhow::Result<()> {
        self.logger = self.process("logger")?;
        self.logger.ready().await.context("the logger")?;
        Ok(())
    }

    /// Starts the broker.
    pub async fn start_broker(&mut self) -> anyhow::Result<()> {
        self.broker = self.process("broker")?;
        self.broker.ready().await.context("the broker")?;
        Ok(())
    }

    /// Starts the listener, whether it finds anything to take or not.
    pub async fn launch_listener(&mut self) -> anyhow::Result<()> {
        self.listener = self.process("listener")?;
        let at = self.listener.ready().await.context("the listener")?;
        self.listener_at = *at.get("http").context("the listener does not say where it listens")?;
        Ok(())
    }

    /// Starts the listener, and waits until it takes deliveries.
    pub async fn start_listener(&mut self) -> anyhow::Result<()> {
        self.launch_listener().await?;
        let client = self.listener_client();
        let consumes = async || {
            let (_, body) = client.get("/readyz").await.ok()?;
            (body["detail"]["consuming"] == true).then_some(())
        };
        let begun = eventually("the listener consumes", READY, consumes).await;
        begun.with_context(|| format!("its log:\n{}", self.listener.log()))
    }

    fn process(&self, name: &str) -> anyhow::Result<Process> {
        self.launch.start(name, &self.settings, &self.dir)
    }

    /// Waits until the broker reaches the other end of each of these transports.
    pub async fn reaches(&self, transports: &[Transport]) -> anyhow::Result<()> {
        let client = self.broker_client();
        let reaches = async || {
            let (_, body) = client.get("/readyz").await.ok()?;
            let reachable = &body["detail"]["reachable"];
            transports.iter().all(|transport| reachable[transport.as_str()] == true).then_some(())
        };
        eventually(&format!("the broker reaches its peers by {transports:?}"), READY, reaches).await
    }

    /// Puts a relay in front of the other end of a transport, for the services that are started from now on.
    pub async fn relay(&mut self, transport: Transport) -> anyhow::Result<Relay> {
        let setting = match transport {
            Transport::Http => "LOGGER_HTTP_URL",
            Transport::Rpc => "LOGGER_RPC_ADDR",
            Transport::Rabbitmq => "AMQP_URL",
            Transport::Grpc => "LOGGER_GRPC_URL",
        };
        let (relay, url) = relay(self.setting(setting)?).await?;
        self.set(setting, url);
        Ok(relay)
    }
}

/// A relay in front of what a URL names, or an address without a scheme, and the same URL through the relay.
pub async fn relay(url: &str) -> anyhow::Result<(Relay, String)> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    ensure!(!host.is_empty(), "{url} names no host");
    ensure!(!url.contains(','), "a relay stands in for one address, and {url} is a list");
    let server = tokio::net::lookup_host(host).await.with_context(|| host.to_owned())?.next();
    let relay = Relay::open(server.with_context(|| format!("{host} has no address"))?).await?;
    let through = url.replacen(host, &relay.address().to_string(), 1);
    Ok((relay, through))
}

/// A port that nobody gets by chance while the socket is there, and a service that asks for it does: a service's port
/// may be bound again, as this one, and this one does not listen.
pub fn reserve() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_relay_stands_in_for_the_host_of_any_address() {
        for (url, before, behind) in [
            ("127.0.0.1:5002", "", ""),
            ("tls://127.0.0.1:5002", "tls://", ""),
            ("http://localhost:8082", "http://", ""),
            ("amqp://guest:guest@127.0.0.1:5672/%2f", "amqp://guest:guest@", "/%2f"),
        ] {
            let (relay, through) = relay(url).await.expect("a relay");
            assert_eq!(through, format!("{before}{}{behind}", relay.address()));
        }
        assert!(relay("http://").await.is_err());
        let list = relay("http://localhost:1,http://localhost:2").await.expect_err("it is a list");
        assert!(list.to_string().contains("one address"), "{list}");
    }
}
