//! What the client side measures: the only place that has the names of its metrics.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use metrics::{Counter, Histogram, Unit, describe_counter, describe_gauge, describe_histogram};
use proto::{Code, Direct, Outcome, PerOutcome, PerTransport, Transport, json::WireBytes};

use crate::admission::Admission;

const SECONDS: &str = "transport_seconds";
const WAIT_SECONDS: &str = "transport_wait_seconds";
const IN_FLIGHT: &str = "transport_in_flight_calls";
const IN_FLIGHT_ENTRIES: &str = "transport_in_flight_entries";
const GROUP_ENTRIES: &str = "transport_group_entries";
const WITHOUT_BATCHES: &str = "transport_without_batches_total";
const WAITING: &str = "transport_waiting_calls";
const REACHABLE: &str = "transport_reachable";
const BYTES: &str = "transport_bytes_total";
const RECONNECTS: &str = "transport_reconnects_total";
const LOGGER_CALLS: &str = "transport_logger_calls_total";
const LOGGER_IN_FLIGHT: &str = "transport_logger_in_flight_calls";
const LOGGER_UP: &str = "transport_logger_up";
const FAILOVERS: &str = "transport_failovers_total";

/// Says of each what it is.
pub(crate) fn describe() {
    describe_histogram!(
        SECONDS,
        Unit::Seconds,
        "Duration of a call, without its wait for the concurrency limit"
    );
    describe_histogram!(WAIT_SECONDS, Unit::Seconds, "Time that a call waited for the concurrency limit");
    describe_gauge!(IN_FLIGHT, Unit::Count, "Calls in flight");
    describe_gauge!(IN_FLIGHT_ENTRIES, Unit::Count, "Entries in flight");
    describe_histogram!(
        GROUP_ENTRIES,
        Unit::Count,
        "Entries that the gathering stage took along in one call"
    );
    let help = "Calls for a batch that the other end did not know: what was in them is sent one by one";
    describe_counter!(WITHOUT_BATCHES, Unit::Count, help);
    describe_gauge!(WAITING, Unit::Count, "Calls waiting for the concurrency limit");
    describe_gauge!(REACHABLE, Unit::Count, "1 if the transport found its other end when it last looked");
    let help = "Bytes on the connections of a transport; for rabbitmq those of the frames of its messages and confirms";
    describe_counter!(BYTES, Unit::Bytes, help);
    let help = "Times that the other end was found again, each connection of rpc for itself";
    describe_counter!(RECONNECTS, Unit::Count, help);
    describe_counter!(LOGGER_CALLS, Unit::Count, "Calls to one of several loggers");
    describe_gauge!(LOGGER_IN_FLIGHT, Unit::Count, "Calls to one of several loggers that have no answer yet");
    describe_gauge!(LOGGER_UP, Unit::Count, "1 if one of several loggers gets calls");
    let help = "Calls of which one logger certainly stored nothing, or not all, and that went on to another";
    describe_counter!(FAILOVERS, Unit::Count, help);
}

/// What became of a call.
pub(crate) type Ending = Result<Outcome, Code>;

/// The times of all calls, by transport and outcome.
#[derive(Debug)]
pub(crate) struct CallTimes {
    seconds: Times,
    wait_seconds: Times,
}

/// The handles on one histogram, each made when it is first needed: few of all the outcomes ever come, and each is as
/// many lines of text as it has bounds.
type Times = PerTransport<PerOutcome<OnceLock<Histogram>>>;

impl CallTimes {
    pub(crate) fn new() -> Self {
        let unused = || PerTransport::new(|_| PerOutcome::new(|_| OnceLock::new()));
        CallTimes { seconds: unused(), wait_seconds: unused() }
    }

    /// Records a call that waited for so long, and then took so long if there was room for it.
    pub(crate) fn record(
        &self,
        transport: Transport,
        ending: Ending,
        wait: Duration,
        took: Option<Duration>,
    ) {
        handle(&self.wait_seconds, WAIT_SECONDS, transport, ending).record(wait);
        if let Some(took) = took {
            handle(&self.seconds, SECONDS, transport, ending).record(took);
        }
    }
}

fn handle<'a>(times: &'a Times, name: &'static str, transport: Transport, ending: Ending) -> &'a Histogram {
    times[transport].of(ending).get_or_init(|| {
        let outcome = ending.map_or_else(Code::as_str, Outcome::as_str);
        metrics::histogram!(name, "transport" => transport.as_str(), "outcome" => outcome)
    })
}

/// Counts how often a transport has found its peer again.
pub(crate) fn reconnects(transport: Transport) -> Counter {
    metrics::counter!(RECONNECTS, "transport" => transport.as_str())
}

/// Measures the groups of a transport, in entries.
pub(crate) fn group_entries(transport: Transport) -> Histogram {
    metrics::histogram!(GROUP_ENTRIES, "transport" => transport.as_str())
}

/// Counts how often a transport's peer turned out to have no call for a batch.
pub(crate) fn without_batches(transport: Transport) -> Counter {
    metrics::counter!(WITHOUT_BATCHES, "transport" => transport.as_str())
}

/// Counts the calls to one of several loggers.
pub(crate) fn logger_calls(direct: Direct, logger: &Arc<str>) -> Counter {
    metrics::counter!(LOGGER_CALLS, "transport" => direct.as_str(), "logger" => Arc::clone(logger))
}

/// Counts the calls that went on to another logger. They are rare: it is looked up each time.
pub(crate) fn failovers(direct: Direct) -> Counter {
    metrics::counter!(FAILOVERS, "transport" => direct.as_str())
}

/// Sets the gauges of one of several loggers: its calls in flight, and whether it gets any; `None` if it is there no longer.
pub(crate) fn set_logger_gauges(direct: Direct, logger: &Arc<str>, state: Option<(usize, bool)>) {
    let gauge = |name| metrics::gauge!(name, "transport" => direct.as_str(), "logger" => Arc::clone(logger));
    let (in_flight, up) =
        state.map_or((f64::NAN, f64::NAN), |(in_flight, up)| (in_flight as f64, f64::from(u8::from(up))));
    gauge(LOGGER_IN_FLIGHT).set(in_flight);
    gauge(LOGGER_UP).set(up);
}

/// Sets the gauges of a transport, and what it has counted by itself.
pub(crate) fn set_gauges(transport: Transport, admission: &Admission, bytes: WireBytes, reachable: bool) {
    let labels = [("transport", transport.as_str())];
    let (in_flight, waiting) = admission.calls();
    metrics::gauge!(IN_FLIGHT, &labels).set(in_flight as f64);
    metrics::gauge!(IN_FLIGHT_ENTRIES, &labels).set(admission.entries() as f64);
    metrics::gauge!(WAITING, &labels).set(waiting as f64);
    metrics::gauge!(REACHABLE, &labels).set(f64::from(u8::from(reachable)));
    for (direction, bytes) in [("sent", bytes.sent), ("received", bytes.received)] {
        let labels = [("transport", transport.as_str()), ("direction", direction)];
        metrics::counter!(BYTES, &labels).absolute(bytes);
    }
}
