//! The spans of deliveries, named as OpenTelemetry's conventions name those of each protocol.

use http::{HeaderMap, HeaderName, HeaderValue};
use proto::{Batch, LogEntry, Transport};
use spans::{KeyValue, Span, SpanKind, attribute};

/// That of a delivery over a transport, a part of the current one. It is named after the call of the wire.
pub(crate) fn delivery(transport: Transport, batch: &Batch<LogEntry>) -> Span {
    let (name, kind) = match (transport, batch.as_one()) {
        (Transport::Http, Some(_)) => ("POST /log", SpanKind::Client),
        (Transport::Http, None) => ("POST /logs", SpanKind::Client),
        (Transport::Rpc, Some(_)) => ("LogRpc/write", SpanKind::Client),
        (Transport::Rpc, None) => ("LogRpc/write_batch", SpanKind::Client),
        (Transport::Grpc, Some(_)) => ("logs.LogService/WriteLog", SpanKind::Client),
        (Transport::Grpc, None) => ("logs.LogService/WriteBatch", SpanKind::Client),
        (Transport::Rabbitmq, _) => ("publish logs_topic", SpanKind::Producer),
    };
    let span = Span::within(name, kind);
    span.note(|| attribute::entries(batch.first().id(), batch.len()));
    span.note(|| protocol(transport));
    span
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
