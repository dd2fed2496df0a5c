//! A gRPC logger that stores nothing, and records what came with each entry.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use proto::grpc::{
    LogRequest, LogResponse,
    log_service_server::{LogService, LogServiceServer},
};
use tokio::task::JoinSet;
use tonic::{Request, Response, Status, metadata::KeyAndValueRef, transport::server::TcpIncoming};

/// The metadata of each entry's call, by the entry's id. Of a name that is there twice the last counts.
type Calls = Arc<Mutex<HashMap<String, HashMap<String, String>>>>;

/// The server. It ends when it is dropped.
#[derive(Debug)]
pub struct GrpcProbe {
    /// Where it listens.
    pub address: SocketAddr,
    calls: Calls,
    _serving: JoinSet<()>,
}

struct Recorder(Calls);

#[tonic::async_trait]
impl LogService for Recorder {
    async fn write_log(&self, request: Request<LogRequest>) -> Result<Response<LogResponse>, Status> {
        let texts = request.metadata().iter().filter_map(|pair| match pair {
            KeyAndValueRef::Ascii(key, value) => {
                Some((key.as_str().to_owned(), value.to_str().ok()?.to_owned()))
            }
            KeyAndValueRef::Binary(..) => None,
        });
        let metadata = texts.collect();
        let id = request.into_inner().log_entry.and_then(|log| log.id).unwrap_or_default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), metadata);
        let outcome = "stored".to_owned();
        Ok(Response::new(LogResponse { result: outcome.clone(), id, outcome, store_us: 1 }))
    }
}

impl GrpcProbe {
    /// Opens it on a free port of loopback.
    ///
    /// # Errors
    /// If there is none.
    pub fn open() -> anyhow::Result<Self> {
        let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.with_nodelay(Some(true));
        let address = incoming.local_addr()?;
        let calls = Calls::default();
        let service = LogServiceServer::new(Recorder(Arc::clone(&calls)));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // A program that notices nothing of its end has nobody to call.
            let _ =
                tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await;
        });
        Ok(GrpcProbe { address, calls, _serving: serving })
    }

    /// The metadata of an entry's call.
    pub fn metadata(&self, id: &str) -> Option<HashMap<String, String>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}
