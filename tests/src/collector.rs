//! A collector of traces for tests: it takes OTLP over gRPC, and keeps the spans.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use certs::{Authority, Pair, Validity};
use futures_util::StreamExt;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use service::{
    Acceptor, Shutdown,
    tls::{Callers, Identity, Protocol},
};
use tokio::task::JoinSet;
use tonic::{Request, Response, Status, transport::Server};

use crate::eventually;

/// The collector. It is gone when dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    spans: Spans,
    _server: JoinSet<()>,
}

type Spans = Arc<Mutex<Vec<Exported>>>;

/// A span that was exported, with its ids in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The service that exported it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// What it is, such as `Server`.
    pub kind: SpanKind,
    /// The trace that it belongs to.
    pub trace_id: String,
    /// Its id.
    pub id: String,
    /// The id of the span that it is a part of; empty for the first.
    pub parent_id: String,
    /// The traces and ids of the spans that it is linked to.
    pub links: Vec<(String, String)>,
    /// What it says.
    pub attributes: BTreeMap<String, String>,
    /// Whether it failed.
    pub failed: bool,
}

impl Collector {
    /// Opens one on a free port.
    ///
    /// # Panics
    /// If there is none.
    pub fn start() -> Self {
        Self::start_on(acceptor())
    }

    /// Opens one that shows a certificate.
    ///
    /// # Panics
    /// If there is no port, or the certificate cannot be used.
    pub fn start_encrypted(authority: &Authority) -> Self {
        let Pair { cert, key } = authority.issue("collector", Validity::Current).expect("a certificate");
        let identity = Identity::from_pem(cert, key, authority.pem()).expect("it belongs to its key");
        let tls = identity.server(&Callers::Anyone, Protocol::Http2).expect("it can be served with");
        Self::start_on(acceptor().with_tls(Some(tls.into())))
    }

    fn start_on(acceptor: Acceptor) -> Self {
        let address = acceptor.local_addr().expect("its address");
        let spans = Spans::default();
        let service = TraceServiceServer::new(Keeper(Arc::clone(&spans)));
        let connections = acceptor.connections(Shutdown::default()).map(Ok::<_, std::io::Error>);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let served = Server::builder().add_service(service).serve_with_incoming(connections);
            served.await.expect("it serves for as long as the test runs");
        });
        Collector { address, spans, _server: server }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The setting by which a service finds it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that was exported so far.
    pub fn spans(&self) -> Vec<Exported> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for at least so many spans.
    ///
    /// # Panics
    /// If they do not come soon.
    pub async fn at_least(&self, count: usize) -> Vec<Exported> {
        let what = format!("{count} spans are exported");
        eventually(&what, async || Some(self.spans()).filter(|spans| spans.len() >= count)).await
    }
}

fn acceptor() -> Acceptor {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Acceptor::bind("the collector", address, Protocol::Http2).expect("a port")
}

struct Keeper(Spans);

#[tonic::async_trait]
impl TraceService for Keeper {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for of_service in request.into_inner().resource_spans {
            let resource =
                attributes(of_service.resource.map(|resource| resource.attributes).unwrap_or_default());
            let service = resource.get("service.name").cloned().unwrap_or_default();
            let of_scopes = of_service.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(of_scopes.map(|span| exported(&service, span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn exported(service: &str, span: Span) -> Exported {
    let kind = span.kind();
    let failed = span.status.is_some_and(|status| status.code() == StatusCode::Error);
    Exported {
        service: service.to_owned(),
        kind,
        trace_id: hexadecimal(&span.trace_id),
        id: hexadecimal(&span.span_id),
        parent_id: hexadecimal(&span.parent_span_id),
        links: span
            .links
            .iter()
            .map(|link| (hexadecimal(&link.trace_id), hexadecimal(&link.span_id)))
            .collect(),
        attributes: attributes(span.attributes),
        name: span.name,
        failed,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the protocol's own, of which spans have these two")]
    let text = |value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = pairs.into_iter().map(|pair| {
        let value = pair.value.and_then(|value| value.value);
        (pair.key, value.map(text).unwrap_or_default())
    });
    pairs.collect()
}
