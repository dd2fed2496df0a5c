//! What a run has measured, as the rules read it and claims.json keeps it.

use std::collections::BTreeMap;

use proto::Transport;
use serde::{Deserialize, Serialize};

use crate::{
    stats::{Estimate, has_interval, paired_ratio},
    workload::Subject,
};

/// The figures of all experiments that were run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each is named after its experiment")]
pub struct Figures {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid: Option<Grid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<Streams>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wires: Option<Wires>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<Calls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formats: Option<Formats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<Queues>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub languages: Option<Languages>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<Lines>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shop: Option<Shop>,
}

/// A ratio, and which side of 1 it is on for certain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Side {
    /// Its interval lies above the noise.
    Above(Estimate),
    /// Its interval lies below the noise.
    Below(Estimate),
    /// Neither, or there are too few repetitions.
    Unclear(Option<Estimate>),
}

/// On which side the ratio of two things is that were measured in the same repetitions.
pub(crate) fn side(of: &[f64], to: &[f64], noise: f64) -> Side {
    match paired_ratio(of, to) {
        Some(by) if !has_interval(of.len()) => Side::Unclear(Some(by)),
        Some(by) if by.low > noise => Side::Above(by),
        Some(by) if by.high < 1.0 / noise => Side::Below(by),
        by => Side::Unclear(by),
    }
}

/// Throughput and cost by transport, payload and concurrency.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Grid {
    /// The ratio by which the same cell differs from itself, 1.03 at the least.
    pub noise: f64,
    /// What it takes to write a page of the store's size and sync it, p50.
    pub sync_us: u64,
    /// The cells.
    pub rows: Vec<GridRow>,
}

/// A cell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GridRow {
    /// The transport, or the baseline.
    pub subject: Subject,
    /// Bytes of `data` of each entry.
    pub payload_bytes: usize,
    /// Clients, each with a connection.
    pub clients: usize,
    /// Entries stored per second (of the baseline: answered), once for each repetition.
    pub per_second: Vec<f64>,
    /// The CPU time of the system for an entry, in microseconds, once for each repetition.
    pub cpu_us: Vec<f64>,
    /// The response time that half of the requests did not exceed.
    pub p50_us: u64,
}

impl Grid {
    /// A cell.
    pub fn row(&self, subject: Subject, payload_bytes: usize, clients: usize) -> Option<&GridRow> {
        self.rows
            .iter()
            .find(|row| (row.subject, row.payload_bytes, row.clients) == (subject, payload_bytes, clients))
    }

    /// A cell of a transport.
    pub fn of(&self, transport: Transport, payload_bytes: usize, clients: usize) -> Option<&GridRow> {
        self.row(Subject::Transport(transport), payload_bytes, clients)
    }

    /// Payload and clients of all places where transports are compared.
    pub fn places(&self) -> Vec<(usize, usize)> {
        let rows = self.rows.iter().filter(|row| row.subject != Subject::Echo);
        let mut places: Vec<_> = rows.map(|row| (row.payload_bytes, row.clients)).collect();
        places.sort_unstable();
        places.dedup();
        places
    }
}

/// Entries stored per second by the calls of gRPC, once for each round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Streams {
    pub write_log: Vec<f64>,
    pub write_batch: Vec<f64>,
    pub write_logs: Vec<f64>,
}

/// What passed between a client and a server, every byte of it accounted for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wires {
    /// Bytes to the server with an entry on a kept connection, by transport.
    pub sent: BTreeMap<Transport, u64>,
    /// `Content-Type` of the request and of the response over http.
    pub http_content_types: Vec<String>,
    /// gRPC messages of the large entry that were flagged as compressed, and all of them.
    pub compressed: [u64; 2],
    /// Headers `grpc-encoding` that were sent.
    pub encodings: u64,
    /// Bytes of the text of the large entry, one letter throughout, and bytes to the server with it.
    pub large: [u64; 2],
    /// Acknowledgements that came before the last entry was sent on the same stream, and entries.
    pub acknowledged_before_the_last: [u64; 2],
    /// Messages to the server and to the client, by call.
    pub messages: BTreeMap<String, [u64; 2]>,
    /// What the publisher named in `basic.publish`.
    pub published_to: String,
}

/// Calls of clients of ours.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Calls {
    /// A call in the process: an entry is checked.
    pub local_ns: u64,
    /// A remote call over rpc that does nothing, p50.
    pub remote_us: u64,
    /// Entries whose answers were swallowed.
    pub unanswered: u64,
    /// How many of them the client could only call unknown.
    pub unknown: u64,
    /// How many of them were stored all the same.
    pub unknown_but_stored: u64,
    /// Rows more after they were sent again with the same ids.
    pub again_same_id: u64,
    /// Rows more after they were sent again with new ids.
    pub again_new_id: u64,
    /// Calls at a time, and what each took with nothing else under way.
    pub parallel: BTreeMap<Transport, Parallel>,
    /// The p50 of an entry on a kept connection and on a new one, in microseconds.
    pub kept_and_anew_us: BTreeMap<Transport, [u64; 2]>,
    /// Entries that a client in Rust has sent over net/rpc, Go's own RPC, and how many were stored.
    pub netrpc: [u64; 2],
}

/// 64 calls at a time over a hop with latency.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Parallel {
    /// Calls.
    pub calls: u64,
    /// Those that were accepted.
    pub accepted: u64,
    /// How long all took together, in milliseconds.
    pub all_ms: u64,
    /// How long one took alone, in milliseconds.
    pub one_ms: u64,
    /// Connections that they took.
    pub connections: u64,
}

/// What the formats cost, take and refuse.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Formats {
    /// Encoding and decoding an entry of 64 B as JSON, in nanoseconds.
    pub json_ns: u64,
    /// The same as Protocol Buffers.
    pub protobuf_ns: u64,
    /// Whether an entry of the course's two fields is taken, by wire.
    pub two_fields: BTreeMap<String, bool>,
    /// Whether an entry with a field that the server does not know is taken, by wire.
    pub one_more: BTreeMap<String, bool>,
    /// Mistakes in an entry that were tried.
    pub mistakes: u64,
    /// How many of them decoding Protocol Buffers has refused.
    pub caught_by_types: u64,
    /// How many of the others the check has refused.
    pub caught_by_check: u64,
}

/// Queues, and services that are down.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Queues {
    /// Messages that were published to an exchange with no queue.
    pub unrouted: u64,
    /// Of those with `mandatory`, how many were returned.
    pub returned: u64,
    /// Of those without, how many were confirmed all the same, and are nowhere.
    pub confirmed: u64,
    /// Entries sent over each transport while the logger was down.
    pub sent_while_down: u64,
    /// How many of them were accepted.
    pub accepted_while_down: BTreeMap<Transport, u64>,
    /// How many of the accepted were stored once the logger was back.
    pub stored_after: u64,
    /// Messages that a consumer without acknowledgements had been sent when it died, and how many it had handled.
    pub auto_ack: [u64; 2],
    /// How many of them RabbitMQ still had.
    pub auto_ack_left: u64,
    /// The same with acknowledgements.
    pub manual_ack_left: u64,
    /// Entries that were accepted while our listener was killed, lost ones, and rows that are there twice.
    pub listener_killed: [u64; 3],
    /// Whether all four transports accepted after broker and listener had been started before the logger.
    pub any_order: bool,
    /// Entries stored per second over rabbitmq with one listener, once for each repetition.
    pub one_listener: Vec<f64>,
    /// The same with two.
    pub two_listeners: Vec<f64>,
}

/// Clients in Python.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Languages {
    /// Their Python.
    pub python: String,
    /// Entries of a client of JSON over HTTP, and how many were stored.
    pub http: [u64; 2],
    /// Messages of a publisher of AMQP, and how many were stored.
    pub amqp: [u64; 2],
    /// The calls of logs.proto that a client made of the .proto has made, and how many went as they should.
    pub grpc: [u64; 2],
}

/// Lines of code, without comments and tests.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lines {
    /// The client of each transport in `transport/src`.
    pub client: BTreeMap<Transport, u64>,
    /// logs.proto.
    pub proto: u64,
}

/// `fourwire load`, by one client stream: a file, and one ten times as large.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// Lines of the files.
    pub entries: [u64; 2],
    /// How long each took, in milliseconds.
    pub took_ms: [u64; 2],
    /// The most memory of the client, in KiB.
    pub peak_kib: [u64; 2],
}

/// The shop.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shop {
    /// Pairs of orders with money for one.
    pub pairs: u64,
    /// Orders for which a look at the account has shown enough money.
    pub passed_the_check: u64,
    /// Orders that were paid.
    pub paid: u64,
    /// Orders that were refused for want of money.
    pub rejected: u64,
    /// Events of an order by `WatchOrder`, and those of them that `OrderUpdates` told alike.
    pub events: [u64; 2],
    /// Bytes that the client sent after the opening, by `WatchOrder` and by `OrderUpdates`.
    pub client_bytes: [u64; 2],
    /// Events whose way was timed.
    pub timed: u64,
    /// From the stamp of a change, which is taken before its commit, to its event at a watcher: p50 and p99.
    pub event_us: [u64; 2],
}
