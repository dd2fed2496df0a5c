//! The metrics of the logger: the only place with their names, besides those of `service`.

use std::{sync::OnceLock, time::Duration};

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use proto::{Code, Outcome, PerOutcome, PerTransport, Transport};
use strum::{EnumCount, VariantArray};

use crate::store::Vitals;

const REQUEST_SECONDS: &str = "logger_request_seconds";
const ENTRIES: &str = "logger_entries_total";
const COMMIT_ENTRIES: &str = "logger_commit_entries";
const COMMIT_SECONDS: &str = "logger_commit_seconds";
const QUEUE_ENTRIES: &str = "logger_queue_entries";
const STORE_INFO: &str = "logger_store_info";
const STORE_BYTES: &str = "logger_store_bytes";
const STORE_HEALTHY: &str = "logger_store_healthy";
const STORE_LOST: &str = "logger_store_lost";
const STORE_AHEAD_SECONDS: &str = "logger_store_ahead_seconds";
const CLOCK_LEAPS: &str = "logger_clock_leaps_total";
const UNREADABLE_ROWS: &str = "logger_unreadable_rows_total";
const DELETED_ENTRIES: &str = "logger_deleted_entries_total";
const OPEN_STREAMS: &str = "logger_open_streams";

/// How long the requests of each server take. Made when the first comes: there is no server of `rabbitmq`.
#[derive(Debug)]
pub(crate) struct Requests {
    /// Where it is not the one of the transport.
    door: Option<&'static str>,
    by_transport: PerTransport<OnceLock<Histogram>>,
}

impl Requests {
    /// Call it after the metrics recorder is installed.
    pub(crate) fn new(door: Option<&'static str>) -> Self {
        let help = "Time from decoding a request to its response, by transport and door";
        describe_histogram!(REQUEST_SECONDS, Unit::Seconds, help);
        Requests { door, by_transport: PerTransport::new(|_| OnceLock::new()) }
    }

    /// One took so long.
    pub(crate) fn took(&self, server: Transport, took: Duration) {
        let door = self.door.unwrap_or(server.as_str());
        let of_server = || histogram!(REQUEST_SECONDS, "transport" => server.as_str(), "door" => door);
        self.by_transport[server].get_or_init(of_server).record(took);
    }
}

/// What the writer's thread counts.
#[derive(Debug)]
pub(crate) struct Commits {
    by_transport: PerTransport<PerOutcome<Counter>>,
    entries: Histogram,
    seconds: Histogram,
}

impl Commits {
    /// Call it after the metrics recorder is installed.
    pub(crate) fn new() -> Self {
        describe_counter!(ENTRIES, Unit::Count, "Entries handed to the store, by transport and outcome");
        describe_histogram!(COMMIT_ENTRIES, Unit::Count, "Entries per commit");
        describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "Duration of a commit, including fsync");
        let of_each = |transport: Transport| {
            PerOutcome::new(
                |outcome| counter!(ENTRIES, "transport" => transport.as_str(), "outcome" => outcome),
            )
        };
        Commits {
            by_transport: PerTransport::new(of_each),
            entries: histogram!(COMMIT_ENTRIES),
            seconds: histogram!(COMMIT_SECONDS),
        }
    }

    /// A group was committed, or was to be, in so much time.
    pub(crate) fn took(&self, entries: usize, took: Duration) {
        self.entries.record(entries as f64);
        self.seconds.record(took);
    }

    /// What happened to an entry.
    pub(crate) fn answered(&self, came_by: Transport, ending: Result<Outcome, Code>) {
        self.by_transport[came_by].of(ending).increment(1);
    }
}

/// The streaming calls.
#[derive(Debug, Clone, Copy, EnumCount, VariantArray)]
pub(crate) enum StreamCall {
    Write,
    Sync,
    Tail,
}

impl StreamCall {
    const ALL: [StreamCall; StreamCall::COUNT] =
        *StreamCall::VARIANTS.as_array().expect("both are derived from the same variants");

    const fn as_str(self) -> &'static str {
        match self {
            StreamCall::Write => "WriteLogs",
            StreamCall::Sync => "SyncLogs",
            StreamCall::Tail => "TailLogs",
        }
    }
}

/// How many streams of each call are open.
#[derive(Debug)]
pub(crate) struct OpenStreams([Gauge; StreamCall::COUNT]);

impl OpenStreams {
    /// Call it after the metrics recorder is installed.
    pub(crate) fn new() -> Self {
        describe_gauge!(OPEN_STREAMS, Unit::Count, "Open streams, by call");
        OpenStreams(StreamCall::ALL.map(|call| {
            let open = gauge!(OPEN_STREAMS, "call" => call.as_str());
            open.set(0.0);
            open
        }))
    }

    /// One more, until what this returns is dropped.
    pub(crate) fn open(&self, call: StreamCall) -> OpenStream {
        let open = self.0[call as usize].clone();
        open.increment(1.0);
        OpenStream(open)
    }
}

/// Counts as long as it is there.
#[derive(Debug)]
pub(crate) struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Unreadable rows that reads have skipped.
#[derive(Debug, Clone)]
pub(crate) struct Unreadables(Counter);

impl Unreadables {
    /// Call it after the metrics recorder is installed.
    pub(crate) fn new() -> Self {
        describe_counter!(UNREADABLE_ROWS, Unit::Count, "Unreadable rows found in the store");
        Unreadables(begun(counter!(UNREADABLE_ROWS)))
    }

    pub(crate) fn one_more(&self) {
        self.0.increment(1);
    }
}

/// Entries that retention has deleted.
#[derive(Debug)]
pub(crate) struct DeletedEntries(Counter);

impl DeletedEntries {
    /// Call it after the metrics recorder is installed.
    pub(crate) fn new() -> Self {
        describe_counter!(DELETED_ENTRIES, Unit::Count, "Entries deleted by retention");
        DeletedEntries(begun(counter!(DELETED_ENTRIES)))
    }

    pub(crate) fn add(&self, entries: u64) {
        self.0.increment(entries);
    }
}

/// Leaps of the wall clock.
#[derive(Debug)]
pub(crate) struct ClockLeaps {
    forward: Counter,
    back: Counter,
}

impl ClockLeaps {
    /// Call it after the metrics recorder is installed.
    pub(crate) fn new() -> Self {
        describe_counter!(CLOCK_LEAPS, Unit::Count, "Jumps of the wall clock by more than a minute");
        let of = |direction| begun(counter!(CLOCK_LEAPS, "direction" => direction));
        ClockLeaps { forward: of("forward"), back: of("back") }
    }

    /// One more.
    pub(crate) fn leapt(&self, forward: bool) {
        if forward { &self.forward } else { &self.back }.increment(1);
    }
}

/// There from the start, so that the first is an increase too.
fn begun(counter: Counter) -> Counter {
    counter.increment(0);
    counter
}

/// What can be read off at any time.
#[derive(Debug)]
pub(crate) struct Gauges {
    queue_entries: Gauge,
    store_bytes: Gauge,
    store_healthy: Gauge,
    store_lost: Gauge,
    store_ahead_seconds: Gauge,
}

impl Gauges {
    /// Call it after the metrics recorder is installed. `kind` is the word for the kind of store.
    pub(crate) fn new(kind: &'static str) -> Self {
        describe_gauge!(STORE_INFO, Unit::Count, "1, with the kind of store as a label");
        gauge!(STORE_INFO, "kind" => kind).set(1.0);
        describe_gauge!(QUEUE_ENTRIES, Unit::Count, "Accepted entries waiting for their commit");
        describe_gauge!(STORE_BYTES, Unit::Bytes, "Size of the store on disk, including its write-ahead log");
        describe_gauge!(STORE_HEALTHY, Unit::Count, "1 if the store accepts entries");
        describe_gauge!(
            STORE_LOST,
            Unit::Count,
            "1 if a store file was deleted, moved or replaced while in use"
        );
        describe_gauge!(
            STORE_AHEAD_SECONDS,
            Unit::Seconds,
            "How far the newest stored_at lies ahead of the clock"
        );
        Gauges {
            queue_entries: gauge!(QUEUE_ENTRIES),
            store_bytes: gauge!(STORE_BYTES),
            store_healthy: gauge!(STORE_HEALTHY),
            store_lost: gauge!(STORE_LOST),
            store_ahead_seconds: gauge!(STORE_AHEAD_SECONDS),
        }
    }

    /// Sets them. The bytes are `None` for a store that is no file.
    pub(crate) fn set(
        &self,
        queue_entries: usize,
        store_bytes: Option<u64>,
        store_healthy: bool,
        vitals: &Vitals,
    ) {
        self.queue_entries.set(queue_entries as f64);
        self.store_bytes.set(store_bytes.map_or(f64::NAN, |bytes| bytes as f64));
        self.store_healthy.set(f64::from(u8::from(store_healthy)));
        self.store_lost.set(f64::from(u8::from(vitals.is_lost())));
        self.store_ahead_seconds.set(vitals.ahead_seconds() as f64);
    }
}
