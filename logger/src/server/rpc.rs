//! `rpc`: tarpc over TCP.

mod metered;

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use gathered::Gathered;
use proto::{
    BatchMode, BatchReceipt, Bounded, EntryDraft, Failure, Receipt, Transport,
    limits::{FRAME_BYTES, HELD_BYTES, IN_FLIGHT_ENTRIES},
    rpc::{LogRpc, LogRpcRequest, LogRpcResponse, Traced, VERSION, serve_frames},
};
use service::{Acceptor, Connection, Room, serve_each, tls::Protocol};
use spans::{KeyValue, Span, SpanKind};
use tarpc::{
    ServerError,
    context::Context,
    server::{BaseChannel, Channel, Config, Serve, serve as serve_fn},
};
use tokio_util::task::TaskTracker;

use self::metered::Metered;
use super::{Door, Inside, drain};
use crate::intake::Intake;

/// A connection without a call for so long is dropped. Our client sends a keepalive every 5 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Its row.
pub(super) const DOOR: Door = Door {
    setting: "LOGGER_RPC_LISTEN",
    listen: |config| config.logger_rpc_listen,
    protocol: Protocol::Unnamed,
    serve: |acceptor, inside| serve(acceptor, inside).map(Ok).boxed(),
};

async fn serve(acceptor: Acceptor, inside: Inside) {
    let Inside { intake, shutdown, .. } = inside;
    let acceptor = acceptor.with_room(Room::new(FRAME_BYTES, HELD_BYTES));
    let calls = TaskTracker::new();
    let connections = serve_each(acceptor, shutdown, |connection| {
        serve_connection(connection, intake.clone(), calls.clone())
    })
    .await;
    drain("rpc", calls, connections).await;
}

/// Serves one connection until its client closes it, sends an invalid frame, or is silent for too long.
/// Any error, even a panic in tarpc, ends only this connection.
async fn serve_connection(connection: Connection, intake: Intake, calls: TaskTracker) {
    let part = connection.client().half_sent().part();
    let connection = Metered::new(connection, part);
    let config = Config { pending_response_buffer: IN_FLIGHT_ENTRIES };
    let channel = BaseChannel::new(config, serve_frames(Gathered::new(connection)))
        .max_concurrent_requests(IN_FLIGHT_ENTRIES);
    let mut requests = std::pin::pin!(channel.requests());
    while let Ok(Some(request)) = tokio::time::timeout(IDLE_TIMEOUT, requests.next()).await {
        match request {
            Ok(request) => {
                let server = Server { intake: intake.clone() };
                calls.spawn(request.execute(serve_fn(|context, call| traced(server, context, call))));
            }
            Err(error) => {
                tracing::debug!(%error, "rpc connection ended");
                break;
            }
        }
    }
}

/// Answers a call, within a span of its own in the trace of its caller. Not an `async fn`, which would hold the call
/// once more.
fn traced(
    server: Server,
    context: Context,
    Traced { trace: caller, request }: Traced<LogRpcRequest>,
) -> impl Future<Output = Result<LogRpcResponse, ServerError>> {
    let span = match &request {
        LogRpcRequest::Version {} => Span::default(),
        LogRpcRequest::Write { .. } => span("LogRpc/write", caller),
        LogRpcRequest::WriteBatch { .. } => span("LogRpc/write_batch", caller),
    };
    let answered = span.around(server.serve().serve(context, request));
    answered.inspect(move |answer| {
        if let Ok(LogRpcResponse::Write(Err(failure)) | LogRpcResponse::WriteBatch(Err(failure))) = answer {
            span.fail(failure.code.as_str());
        }
    })
}

fn span(name: &'static str, caller: tarpc::trace::Context) -> Span {
    let tarpc::trace::Context { trace_id, span_id, sampling_decision } = caller;
    let caller = spans::caller(trace_id.into(), span_id.into(), sampling_decision.into());
    let span = Span::entering(name, SpanKind::Server, caller);
    span.note(|| [KeyValue::new("rpc.system", "tarpc"), KeyValue::new("rpc.service", "LogRpc")]);
    span
}

#[derive(Debug, Clone)]
struct Server {
    intake: Intake,
}

impl LogRpc for Server {
    async fn version(self, _: Context) -> u32 {
        VERSION
    }

    async fn write(self, _: Context, entry: EntryDraft) -> Result<Receipt, Failure> {
        let (_, receipt) = self.intake.write(entry, Transport::Rpc).await?;
        Ok(receipt)
    }

    async fn write_batch(
        self,
        _: Context,
        entries: Bounded<EntryDraft>,
        mode: BatchMode,
    ) -> Result<BatchReceipt, Failure> {
        let drafts = entries.into_iter().map(Ok).collect();
        self.intake.write_batch(drafts, mode, Transport::Rpc).await
    }
}
