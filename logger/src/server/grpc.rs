//! `grpc`: Protocol Buffers over HTTP/2, with health and reflection.

mod bounds;
mod tail;
mod upload;

use std::pin::pin;

use futures_util::{FutureExt, StreamExt, stream};
use gathered::Gathered;
use proto::{
    Code, EntryDraft, Failure, Outcome, Receipt, TailQuery, Transport,
    grpc::{
        BatchRequest, BatchResponse, EntryResult, FILE_DESCRIPTOR_SET, LogRequest, LogResponse, Refusal,
        SyncResponse, TailRequest, TailResponse, WriteLogsResponse,
        log_service_server::{LogService, LogServiceServer},
        status,
    },
    limits::FRAME_BYTES,
};
use service::{Acceptor, GRACE, Shutdown, tls::Protocol};
use spans::{KeyValue, Span, SpanKind};
use tonic::{
    Request, Response, Status, Streaming, codegen::BoxStream, metadata::MetadataMap, service::Routes,
};
use uuid::Uuid;

use self::{
    bounds::{
        QUESTION_BYTES, deadline,
        slots::{Slots, given_up},
        stall::{self, Watched},
    },
    tail::Tail,
    upload::{Settled, Uploads},
};
use super::{Door, Inside};
use crate::{intake::Intake, metrics::StreamCall, store::Reader};

/// Maximum refusals that `WriteLogs` names; the others it only counts.
const REFUSALS: usize = 100;

/// Its row.
pub(super) const DOOR: Door = Door {
    setting: "LOGGER_GRPC_LISTEN",
    listen: |config| config.logger_grpc_listen,
    protocol: Protocol::Http2,
    serve: |acceptor, inside| serve(acceptor, inside).boxed(),
};

/// # Errors
/// If reflection cannot be set up.
async fn serve(acceptor: Acceptor, inside: Inside) -> anyhow::Result<()> {
    let Inside { intake, reader, shutdown, .. } = inside;
    let (health, health_service) = tonic_health::server::health_reporter();
    let health_service = health_service.max_decoding_message_size(QUESTION_BYTES);
    health.set_serving::<LogServiceServer<Server>>().await;
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let reflection = described().build_v1()?.max_decoding_message_size(QUESTION_BYTES);
    // Many clients ask by its older name alone.
    let reflection_v1alpha = described().build_v1alpha()?.max_decoding_message_size(QUESTION_BYTES);
    let server = Server {
        uploads: Uploads::new(intake.clone(), shutdown.clone()),
        slots: Slots::new(),
        shutdown: shutdown.clone(),
        intake,
        reader,
    };
    let logs = LogServiceServer::new(server)
        .max_decoding_message_size(FRAME_BYTES)
        .max_encoding_message_size(FRAME_BYTES);
    let routes = Routes::new(logs).add_service(health_service).add_service(reflection);
    let routes = bounds::bound_calls(routes.add_service(reflection_v1alpha));
    let connections = acceptor.with_room(bounds::room()).connections(shutdown.clone());
    let connections = connections.map(|connection| Ok::<_, std::io::Error>(Gathered::new(connection)));
    let served =
        bounds::server().add_routes(routes).serve_with_incoming_shutdown(connections, shutdown.begun());
    let too_late = async {
        shutdown.begun().await;
        health.set_not_serving::<LogServiceServer<Server>>().await;
        // tonic waits forever on a connection that never sent a request (hyper#4170): the wait has a bound.
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = served => result?,
        () = too_late => tracing::warn!("dropping gRPC connections that did not finish in time"),
    }
    Ok(())
}

#[derive(Debug)]
struct Server {
    intake: Intake,
    uploads: Uploads,
    slots: Slots,
    reader: Reader,
    shutdown: Shutdown,
}

impl Server {
    async fn write(&self, request: LogRequest) -> Result<(Uuid, Receipt), Failure> {
        let log = request.log_entry.ok_or_else(missing_entry)?;
        self.intake.write(EntryDraft::from(log), Transport::Grpc).await
    }
}

/// Answers a call within a span of its own in the trace of its caller. Not an `async fn`, which would hold the answer
/// once more.
fn traced<T>(
    name: &'static str,
    metadata: &MetadataMap,
    answer: impl Future<Output = Result<T, Failure>>,
) -> impl Future<Output = Result<T, Status>> {
    let caller = spans::extract(|name| metadata.get(name).and_then(|value| value.to_str().ok()));
    let span = Span::entering(name, SpanKind::Server, caller);
    span.note(|| [KeyValue::new("rpc.system", "grpc"), KeyValue::new("rpc.service", "logs.LogService")]);
    span.around(answer).map(move |answer| {
        answer.map_err(|failure| {
            span.fail(failure.code.as_str());
            status(&failure)
        })
    })
}

#[tonic::async_trait]
impl LogService for Server {
    async fn write_log(&self, request: Request<LogRequest>) -> Result<Response<LogResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let written = self.write(request);
        let (id, receipt) = traced("logs.LogService/WriteLog", &metadata, written).await?;
        Ok(Response::new(LogResponse {
            // The course's own wording.
            result: "logged!".to_owned(),
            id: id.to_string(),
            outcome: receipt.outcome.as_str().to_owned(),
            store_us: receipt.store_us.unwrap_or_default(),
        }))
    }

    async fn write_batch(&self, request: Request<BatchRequest>) -> Result<Response<BatchResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mode = request.mode().into();
        let drafts = request.log_entries.into_iter().map(|log| Ok(EntryDraft::from(log))).collect();
        let written = self.intake.write_batch(drafts, mode, Transport::Grpc);
        let receipt = traced("logs.LogService/WriteBatch", &metadata, written).await?;
        Ok(Response::new(BatchResponse {
            results: receipt.results.into_iter().map(Into::into).collect(),
            store_us: receipt.store_us.unwrap_or_default(),
        }))
    }

    async fn write_logs(
        &self,
        request: Request<Streaming<LogRequest>>,
    ) -> Result<Response<WriteLogsResponse>, Status> {
        let slot = self.slots.take(StreamCall::Write, request.extensions())?;
        let mut settled = pin!(self.uploads.settle(request.into_inner()));
        let mut response = WriteLogsResponse::default();
        loop {
            let settled = tokio::select! {
                biased;
                settled = settled.next() => settled,
                () = slot.given_up.cancelled() => Some(Err(given_up(StreamCall::Write))),
            };
            match settled {
                Some(Ok(settled)) => count(&mut response, settled),
                Some(Err(failure)) => {
                    response.code = failure.code.as_str().to_owned();
                    response.message = failure.into_message();
                    break;
                }
                None => break,
            }
        }
        Ok(Response::new(response))
    }

    async fn tail_logs(
        &self,
        request: Request<TailRequest>,
    ) -> Result<Response<BoxStream<TailResponse>>, Status> {
        let slot = self.slots.take(StreamCall::Tail, request.extensions())?;
        let deadline = deadline::of(request.metadata());
        let query = TailQuery::try_from(request.into_inner());
        let begun = async { Tail::begin(self.reader.clone(), query?, self.shutdown.clone()).await };
        let tail = begun.await.map_err(|failure| status(&failure))?;
        let given_up = slot.given_up.clone();
        let responses = deadline::within(deadline, tail.responses(), slot);
        Ok(Response::new(Watched::new(responses, stall::tail(), given_up).boxed()))
    }

    async fn sync_logs(
        &self,
        request: Request<Streaming<LogRequest>>,
    ) -> Result<Response<BoxStream<SyncResponse>>, Status> {
        let slot = self.slots.take(StreamCall::Sync, request.extensions())?;
        let deadline = deadline::of(request.metadata());
        let settled = self.uploads.settle(request.into_inner());
        let responses = settled.flat_map(|settled| stream::iter(acknowledgements(settled)));
        let given_up = slot.given_up.clone();
        let responses = deadline::within(deadline, responses, slot);
        Ok(Response::new(Watched::new(responses, stall::acknowledgements(), given_up).boxed()))
    }
}

/// Adds what happened to some entries to the summary.
fn count(response: &mut WriteLogsResponse, settled: Settled) {
    for (position, (id, result)) in (settled.first..).zip(settled.entries) {
        response.settled += 1;
        match result {
            Ok(Outcome::Duplicate) => response.duplicate += 1,
            Ok(Outcome::Stored | Outcome::Queued) => response.stored += 1,
            Err(failure) => {
                response.refused += 1;
                if response.refusals.len() < REFUSALS {
                    response.refusals.push(Refusal {
                        position,
                        id: id.map(|id| id.to_string()).unwrap_or_default(),
                        code: failure.code.as_str().to_owned(),
                        message: failure.into_message(),
                    });
                }
            }
        }
    }
}

/// What is answered to some entries; the failure that ended the stream early is its status.
fn acknowledgements(settled: Result<Settled, Failure>) -> Vec<Result<SyncResponse, Status>> {
    let Settled { first, entries, store_us } = match settled {
        Ok(settled) => settled,
        Err(failure) => return vec![Err(status(&failure))],
    };
    let responses = (first..).zip(entries).map(|(position, (id, result))| {
        let EntryResult { outcome, code, message, .. } = result.into();
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        Ok(SyncResponse { position, id, outcome, code, message, store_us })
    });
    responses.collect()
}

fn missing_entry() -> Failure {
    Failure::new(Code::BadField, "missing field `log_entry`")
}
