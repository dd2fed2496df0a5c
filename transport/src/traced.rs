//! The spans of deliveries, named as OpenTelemetry's conventions name those of each protocol.

use http::{HeaderMap, HeaderName, HeaderValue};
use proto::{LogEntry, Transport};
use spans::{KeyValue, Span, SpanKind, attribute};

/// That of a delivery by a transport, a part of the current one.
pub(crate) fn delivery(transport: Transport, form: Form, entries: &[LogEntry]) -> Span {
    let (name, kind) = match (transport, form) {
        (Transport::Http, Form::One) => ("POST /log", SpanKind::Client),
        (Transport::Http, Form::Batch) => ("POST /logs", SpanKind::Client),
        (Transport::Rpc, Form::One) => ("LogRpc/write", SpanKind::Client),
        (Transport::Rpc, Form::Batch) => ("LogRpc/write_batch", SpanKind::Client),
        (Transport::Grpc, Form::One) => ("logs.LogService/WriteLog", SpanKind::Client),
        (Transport::Grpc, Form::Batch) => ("logs.LogService/WriteBatch", SpanKind::Client),
        (Transport::Rabbitmq, Form::One | Form::Batch) => ("publish logs_topic", SpanKind::Producer),
    };
    let span = Span::within(name, kind);
    if let Some(first) = entries.first() {
        span.note(|| attribute::entries(first.id(), entries.len()));
    }
    span.note(|| protocol(transport));
    span
}

/// How entries are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    One,
    Batch,
}

/// Says in the headers of a call in which span it is made.
pub(crate) fn inject(headers: &mut HeaderMap) {
    spans::inject(|name, value| {
        // Both are made of what may stand in a header.
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    });
}

fn protocol(transport: Transport) -> [KeyValue; 2] {
    match transport {
        Transport::Http => {
            [KeyValue::new("http.request.method", "POST"), KeyValue::new("network.protocol.name", "http")]
        }
        Transport::Rpc => [KeyValue::new("rpc.system", "tarpc"), KeyValue::new("rpc.service", "LogRpc")],
        Transport::Grpc => {
            [KeyValue::new("rpc.system", "grpc"), KeyValue::new("rpc.service", "logs.LogService")]
        }
        Transport::Rabbitmq => [
            KeyValue::new("messaging.system", "rabbitmq"),
            KeyValue::new("messaging.destination.name", "logs_topic"),
        ],
    }
}
