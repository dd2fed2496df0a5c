//! `grpc`: Protocol Buffers over HTTP/2, with health and reflection.

use std::time::Duration;

use axum::{BoxError, body::Body, middleware};
use futures_util::{StreamExt, stream};
use proto::{
    Code, EntryDraft, Failure, Gathered, Transport,
    grpc::{
        BatchRequest, BatchResponse, FILE_DESCRIPTOR_SET, LogRequest, LogResponse,
        log_service_server::{LogService, LogServiceServer},
        status,
    },
    limits::{FRAME_BYTES, HELD_BYTES},
};
use service::{Acceptor, BODY_TIMEOUT, BodyError, GRACE, Part, Room, Shutdown};
use tokio::time::Instant;
use tonic::{Request, Response, Status, service::Routes, transport::server::Server as TonicServer};

use crate::intake::Intake;

/// Most calls at a time on one connection.
const STREAMS: u32 = 1_024;

/// Most bytes of headers of a call.
const HEADER_BYTES: u32 = 16 * 1024;

/// Most bytes of a question for health or reflection, which names a service. tonic would take 4 MiB; so all the calls
/// of one connection hold as much together, if each is half sent.
const QUESTION_BYTES: usize = 4 * 1024;

/// How often a silent connection is tried, and how long the answer may take.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves gRPC until `shutdown`. Then it takes no new connection, answers the calls in flight, and closes.
///
/// # Errors
/// If reflection cannot be set up.
pub async fn serve(acceptor: Acceptor, intake: Intake, shutdown: Shutdown) -> anyhow::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let health_service = health_service.max_decoding_message_size(QUESTION_BYTES);
    health.set_serving::<LogServiceServer<Server>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?
        .max_decoding_message_size(QUESTION_BYTES);
    let logs = LogServiceServer::new(Server { intake })
        .max_decoding_message_size(FRAME_BYTES)
        .max_encoding_message_size(FRAME_BYTES);
    let connections = stream::unfold(acceptor, |acceptor| async {
        let connection = acceptor.accept().await;
        Some((Ok::<_, std::io::Error>(Gathered::new(connection)), acceptor))
    });
    let room = Room::new(FRAME_BYTES, HELD_BYTES);
    let bounded = middleware::map_request(move |request: http::Request<Body>| {
        let part = room.part();
        async { request.map(|body| bounded(body, part)) }
    });
    let logs = Routes::new(logs).prepare().into_axum_router().layer(bounded);
    let routes = Routes::from(logs).add_service(health_service).add_service(reflection);
    let served = TonicServer::builder()
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADER_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(routes)
        .serve_with_incoming_shutdown(connections, shutdown.begun());
    let too_late = async {
        shutdown.begun().await;
        health.set_not_serving::<LogServiceServer<Server>>().await;
        // tonic waits for ever on a connection that never sent a request (hyper#4170): the wait has a bound.
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = served => result?,
        () = too_late => tracing::warn!("dropping gRPC connections that did not finish in time"),
    }
    Ok(())
}

/// The body of a call, within the limits of time and memory of every body. It gives its room back when it is decoded:
/// from there on the entries count, in the writer's queue.
fn bounded(body: Body, part: Part) -> Body {
    let deadline = Instant::now() + BODY_TIMEOUT;
    let frames = stream::unfold((body.into_data_stream(), part), move |(mut frames, mut part)| async move {
        let frame = match tokio::time::timeout_at(deadline, frames.next()).await {
            Ok(None) => return None,
            Ok(Some(Ok(data))) => match part.grow(data.len()) {
                Ok(()) => Ok(data),
                Err(_) => Err(status(&Failure::overloaded("the logger")).into()),
            },
            Ok(Some(Err(error))) => Err(BoxError::from(error)),
            Err(_) => Err(status(&Failure::new(Code::SlowRequest, BodyError::TooSlow.to_string())).into()),
        };
        Some((frame, (frames, part)))
    });
    Body::from_stream(frames)
}

#[derive(Debug)]
struct Server {
    intake: Intake,
}

#[tonic::async_trait]
impl LogService for Server {
    async fn write_log(&self, request: Request<LogRequest>) -> Result<Response<LogResponse>, Status> {
        let log = request.into_inner().log_entry.ok_or_else(missing_entry)?;
        let (id, receipt) = self
            .intake
            .write(EntryDraft::from(log), Transport::Grpc)
            .await
            .map_err(|failure| status(&failure))?;
        Ok(Response::new(LogResponse {
            // The course's own word.
            result: "logged!".to_owned(),
            id: id.to_string(),
            outcome: receipt.outcome.as_str().to_owned(),
            store_us: receipt.store_us.unwrap_or_default(),
        }))
    }

    async fn write_batch(&self, request: Request<BatchRequest>) -> Result<Response<BatchResponse>, Status> {
        let mode = request.get_ref().mode().into();
        let drafts =
            request.into_inner().log_entries.into_iter().map(|log| Ok(EntryDraft::from(log))).collect();
        let receipt = self
            .intake
            .write_batch(drafts, mode, Transport::Grpc)
            .await
            .map_err(|failure| status(&failure))?;
        Ok(Response::new(BatchResponse {
            results: receipt.results.into_iter().map(Into::into).collect(),
            store_us: receipt.store_us.unwrap_or_default(),
        }))
    }
}

fn missing_entry() -> Status {
    status(&Failure::new(Code::BadField, "missing field `log_entry`: give it an entry"))
}
