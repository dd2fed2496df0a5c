//! Asks a service that runs how it is: `--health`, for container engines and orchestrators whose images have no curl.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, ensure};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{network, tls::Identity};

/// How long the whole of it may take; engines give their checks longer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Far above what a service says of itself.
const ANSWER_BYTES: usize = 64 * 1024;

/// What a service is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Probe {
    /// Whether its process serves: /healthz
    Live,
    /// Whether it accepts work: /readyz
    Ready,
}

impl Probe {
    /// Asks the service whose setting of where to listen is `listen`, with its own certificate where it has one: that
    /// must be for `localhost` (for the address, where only that is listened on), and of a name that the service
    /// accepts.
    ///
    /// # Errors
    /// If it says no, or nothing within 3 s.
    pub async fn ask(self, listen: SocketAddr, identity: Option<&Identity>) -> anyhow::Result<()> {
        let address = reached_at(listen);
        let asked = tokio::time::timeout(TIMEOUT, self.ask_at(address, identity)).await;
        let asked = asked.with_context(|| format!("no response within {} s", TIMEOUT.as_secs())).flatten();
        let (status, answer) = asked.with_context(|| format!("{address}{}", self.path()))?;
        ensure!(status.is_success(), "{address}{}: {status}: {}", self.path(), answer.trim_end());
        Ok(())
    }

    async fn ask_at(
        self,
        address: SocketAddr,
        identity: Option<&Identity>,
    ) -> anyhow::Result<(StatusCode, String)> {
        let stream = TcpStream::connect(address).await?;
        let Some(identity) = identity else { return self.exchange(stream).await };
        let name = if network::is_loopback(address) {
            ServerName::try_from("localhost")?
        } else {
            ServerName::IpAddress(address.ip().into())
        };
        let stream = TlsConnector::from(identity.client()?).connect(name, stream).await?;
        self.exchange(stream).await
    }

    async fn exchange(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> anyhow::Result<(StatusCode, String)> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // By the one name that every service answers to.
        let request =
            Request::get(self.path()).header(header::HOST, "localhost").body(Empty::<Bytes>::new())?;
        let answered = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body =
                Limited::new(body, ANSWER_BYTES).collect().await.map_err(|error| anyhow::anyhow!(error))?;
            Ok((head.status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
        };
        tokio::select! {
            answered = answered => answered,
            // It ends after the response, or with the reason why there is none.
            ended = connection => { ended?; anyhow::bail!("the connection was closed without a response") }
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Probe::Live => "/healthz",
            Probe::Ready => "/readyz",
        }
    }
}

/// Where a service that listens there is reached from this machine.
fn reached_at(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    (ip, listen.port()).into()
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};

    use super::*;

    #[test]
    fn a_service_on_every_interface_is_asked_on_loopback() {
        let reached = |listen: &str| reached_at(listen.parse().expect("an address")).to_string();
        assert_eq!(reached("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reached("[::]:80"), "[::1]:80");
        assert_eq!(reached("127.0.0.1:80"), "127.0.0.1:80");
        assert_eq!(reached("10.0.0.7:80"), "10.0.0.7:80");
    }

    #[tokio::test]
    async fn a_service_may_be_alive_and_not_ready_and_nobody_is_neither() {
        let routes = Router::new()
            .route("/healthz", get(|| async { "alive" }))
            .route("/readyz", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "the disk is full\n") }));
        let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = port.local_addr().expect("an address");
        let serving = tokio::spawn(async { axum::serve(port, routes).await });
        assert!(Probe::Live.ask(address, None).await.is_ok());
        let refused = Probe::Ready.ask(address, None).await.expect_err("not ready").to_string();
        assert!(refused.contains("503") && refused.ends_with("the disk is full"), "{refused}");
        serving.abort();
        assert!(serving.await.is_err_and(|error| error.is_cancelled()));
        assert!(Probe::Live.ask(address, None).await.is_err(), "its port is closed");
    }
}
