//! A recording relay between the clients of this process and what a transport leads to.

use std::{net::SocketAddr, time::Duration};

use explain::{Chunk, Recording, To, Wire};
use proto::{Direct, Failure, Indirect, Transport};
use relay::{Direction, Relay};
use tokio::{net::TcpStream, time::timeout};
use transport::Settings;

use crate::{
    config::{Stack, place},
    problem::Problem,
};

/// How long connecting may take, to find out whether anything listens.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the clients may take to close what they have opened.
const CLOSING: Duration = Duration::from_millis(500);

/// The relay, and what leads through it.
#[derive(Debug)]
pub(super) struct Tap {
    relay: Relay,
    recorded: relay::Recording,
    wire: Wire,
    parts: Vec<(String, usize)>,
    /// Leads through the relay.
    pub(super) through: Settings,
    /// Leads past it.
    pub(super) past: Settings,
}

impl Tap {
    /// Opens it, if anything listens at the other end.
    pub(super) async fn open(transport: Transport, stack: &Stack) -> Result<Self, Problem> {
        let past = stack.settings(Some(transport))?;
        let server = server(transport, &past).await?;
        let opened = Relay::recording(server).await;
        let (relay, recorded) =
            opened.map_err(|error| Problem::Usage(anyhow::Error::from(error).context("a port")))?;
        let mut through = past.clone();
        let address = relay.address();
        match Direct::try_from(transport) {
            Ok(direct) => through.endpoints = through.endpoints.through(direct, address),
            Err(Indirect::Rabbitmq) => through.amqp_url = through.amqp_url.map(|url| url.through(address)),
        }
        let wire = match transport {
            Transport::Http => Wire::Http,
            Transport::Rpc if past.endpoints.speaks_net_rpc() => Wire::Netrpc,
            Transport::Rpc => Wire::Rpc,
            Transport::Rabbitmq => Wire::Rabbitmq,
            Transport::Grpc => Wire::Grpc,
        };
        say!("recording between fourwire and {server}");
        Ok(Tap { relay, recorded, wire, parts: vec![("opening".to_owned(), 0)], through, past })
    }

    /// What passes from now on is another part.
    pub(super) fn begin(&mut self, part: impl Into<String>) {
        self.parts.push((part.into(), self.recorded.len()));
    }

    /// What has passed, and how many bytes of it to the server and to the client. The clients are dropped already, and may
    /// still say good-bye.
    pub(super) async fn close(mut self) -> (Recording, [u64; 2]) {
        self.begin("closing");
        let _ = timeout(CLOSING, self.relay.idle()).await;
        // Connections that are still open are cut off: then nothing passes any more, and all is counted.
        self.relay.refuse();
        let _ = timeout(CLOSING, self.relay.idle()).await;
        let passed = [Direction::ToServer, Direction::ToClient].map(|direction| self.relay.passed(direction));
        if self.recorded.is_cut() {
            say!("the recording is cut after 8 MiB");
        }
        let chunks = self.recorded.chunks().into_iter().map(chunk).collect();
        (Recording { wire: self.wire, parts: self.parts, chunks }, passed)
    }
}

fn chunk(chunk: relay::Chunk) -> Chunk {
    let relay::Chunk { at, connection, direction, bytes } = chunk;
    let to = match direction {
        Direction::ToServer => To::Server,
        Direction::ToClient => To::Client,
    };
    Chunk { at_us: u64::try_from(at.as_micros()).unwrap_or(u64::MAX), connection, to, bytes }
}

/// What a transport leads to. The relay itself accepts before it knows whether there is anything.
async fn server(transport: Transport, settings: &Settings) -> Result<SocketAddr, Problem> {
    let (peer, (host, port)) = match (Direct::try_from(transport), &settings.amqp_url) {
        (Ok(direct), _) => ("the logger", settings.endpoints.authority(direct)),
        (Err(Indirect::Rabbitmq), Some(url)) => ("RabbitMQ", url.authority()),
        (Err(Indirect::Rabbitmq), None) => return Err(Problem::usage("AMQP_URL")),
    };
    let failed = |failure: Failure| Problem::Failed(failure, place(transport));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => {
            stream.peer_addr().map_err(|error| failed(Failure::unreachable(peer).because(error)))
        }
        Ok(Err(error)) => Err(failed(Failure::unreachable(peer).because(error))),
        Err(_) => Err(failed(Failure::unreachable(peer).because("no connection in time"))),
    }
}
