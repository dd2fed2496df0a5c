//! What the broker counts: the only place that has the names of its metrics, besides what `transport` and `service` have.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use proto::{Certainty, Code, Outcome, PerOutcome, PerTransport, Transport};

const REQUESTS: &str = "broker_requests_total";
const REQUEST_SECONDS: &str = "broker_request_seconds";
const AUTH_REFUSED: &str = "broker_auth_refused_total";
const QUEUE_CONSUMERS: &str = "broker_queue_consumers";
const OPEN_STREAMS: &str = "broker_open_streams";
const OTLP_REQUESTS: &str = "broker_otlp_requests_total";
const OTLP_RECORDS: &str = "broker_otlp_records_total";

/// The label of a request that was refused before it was known which transport it names.
const NO_TRANSPORT: &str = "none";

/// The outcome of what was decoded and checked, and not delivered.
const ECHOED: &str = "echoed";

/// Counts the requests to deliver something. All counters are there from the start, so that the first refusal of its kind
/// is an increase too.
#[derive(Debug)]
pub(crate) struct Requests {
    by_transport: PerTransport<PerOutcome<Counter>>,
    echoed: PerTransport<Counter>,
    by_none: PerOutcome<Counter>,
    seconds: PerTransport<Histogram>,
}

impl Requests {
    /// Call it after the recorder of the metrics is installed.
    pub(crate) fn new() -> Self {
        describe_counter!(REQUESTS, Unit::Count, "Responses, a batch as one");
        describe_histogram!(
            REQUEST_SECONDS,
            Unit::Seconds,
            "Time from the complete request body to the response"
        );
        let requests = |transport: &'static str, outcome: &'static str| counter!(REQUESTS, "transport" => transport, "outcome" => outcome);
        let of_each = |transport: &'static str| PerOutcome::new(|outcome| requests(transport, outcome));
        Requests {
            by_transport: PerTransport::new(|transport| of_each(transport.as_str())),
            echoed: PerTransport::new(|transport| requests(transport.as_str(), ECHOED)),
            by_none: of_each(NO_TRANSPORT),
            seconds: PerTransport::new(
                |transport| histogram!(REQUEST_SECONDS, "transport" => transport.as_str()),
            ),
        }
    }

    /// One was accepted: its best outcome, or `None` for an echo.
    pub(crate) fn accepted(&self, transport: Transport, outcome: Option<Outcome>) {
        let echoed = &self.echoed[transport];
        outcome.map_or(echoed, |outcome| self.by_transport[transport].of(Ok(outcome))).increment(1);
    }

    /// One was refused, or its outcome is unknown.
    pub(crate) fn refused(&self, transport: Option<Transport>, code: Code) {
        let by_outcome = transport.map_or(&self.by_none, |transport| &self.by_transport[transport]);
        by_outcome.of(Err(code)).increment(1);
    }

    /// One that names a transport took so long.
    pub(crate) fn took(&self, transport: Transport, took: Duration) {
        self.seconds[transport].record(took);
    }
}

/// Counts what comes by OTLP. All counters are there from the start, whether its ports are open or not.
#[derive(Debug)]
pub(crate) struct Otlp(PerOutcome<Counter>);

impl Otlp {
    /// Call it after the recorder of the metrics is installed.
    pub(crate) fn new() -> Self {
        describe_counter!(OTLP_REQUESTS, Unit::Count, "OTLP export requests, by what they are answered");
        describe_counter!(OTLP_RECORDS, Unit::Count, "OTLP log records, by what became of each");
        for protocol in ["grpc", "http"] {
            for answer in [Ok(0), Ok(1), Err(Code::BadField), Err(Code::Unavailable), Err(Code::RateLimited)]
            {
                otlp_requests(protocol, answer).increment(0);
            }
        }
        Otlp(PerOutcome::new(|outcome| counter!(OTLP_RECORDS, "outcome" => outcome)))
    }

    /// A request was answered: how many of its records are rejected, or that it is refused or to be resent as a whole.
    pub(crate) fn answered(&self, protocol: &'static str, answer: Result<u64, Code>) {
        otlp_requests(protocol, answer).increment(1);
    }

    /// `count` records have ended like this.
    pub(crate) fn ended(&self, ending: Result<Outcome, Code>, count: usize) {
        self.0.of(ending).increment(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

fn otlp_requests(protocol: &'static str, answer: Result<u64, Code>) -> Counter {
    let outcome = match answer {
        Ok(0) => "accepted",
        Ok(_) => "partial",
        // The key's doing, and no outage.
        Err(Code::RateLimited) => "rate_limited",
        Err(code) => match code.certainty() {
            Certainty::Rejected => "refused",
            Certainty::NotStored | Certainty::Unknown => "retry",
        },
    };
    counter!(OTLP_REQUESTS, "protocol" => protocol, "outcome" => outcome)
}

/// How many readers of `/logs/stream` there are. Call it after the recorder of the metrics is installed.
pub(crate) fn open_streams() -> Gauge {
    describe_gauge!(OPEN_STREAMS, Unit::Count, "Open connections to /logs/stream");
    gauge!(OPEN_STREAMS)
}

/// The consumers of the queue of entries, as RabbitMQ has said lately. Call it after the recorder of the metrics is installed.
pub(crate) fn queue_consumers() -> Gauge {
    describe_gauge!(QUEUE_CONSUMERS, Unit::Count, "Consumers of the queue of entries in RabbitMQ");
    gauge!(QUEUE_CONSUMERS)
}

/// Counts those who are not let in for a reason.
pub(crate) fn auth_refused(reason: &'static str) -> Counter {
    describe_counter!(AUTH_REFUSED, Unit::Count, "Requests rejected by the check of API keys, by reason");
    counter!(AUTH_REFUSED, "reason" => reason)
}
