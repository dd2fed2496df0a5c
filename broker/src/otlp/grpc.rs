//! OTLP over gRPC: the one call `Export`. Its message is kept as bytes, of which the ids are made, so it is read here and
//! not by generated code.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::{BodyExt, Full};
use prost::Message;
use proto::{
    Code, Failure,
    limits::{BODY_BYTES, HELD_BYTES, IN_FLIGHT_BYTES},
};
use service::{Acceptor, Client, Room, Shutdown, traced};
use tonic::{service::Routes, transport::Server};

use super::{
    answer,
    body::{Encoding, PREFIX_BYTES, read},
    deliver::Delivered,
    door::Door,
};

/// The setting of its address.
pub(super) const SETTING: &str = "BROKER_OTLP_GRPC_LISTEN";

const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The encodings that are taken.
const ACCEPTED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("grpc-accept-encoding"), HeaderValue::from_static("identity,gzip"));

/// Maximum calls at a time on one connection; an exporter has a handful.
const STREAMS: u32 = 64;

/// Maximum bytes of headers of a call.
const HEADER_BYTES: u32 = 16 * 1024;

/// Maximum bytes that a call has sent and that are not taken yet, and all calls of a connection.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// How often a silent connection is tried, and how long the answer may take.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The room for what connections have half sent: two of the largest requests of one.
pub(super) fn room() -> Room {
    Room::new(HELD_BYTES + 2 * PREFIX_BYTES, IN_FLIGHT_BYTES)
}

/// Serves until `shutdown`; then answers what is in flight.
///
/// # Errors
/// If the port is gone.
pub(super) async fn serve(acceptor: Acceptor, door: Arc<Door>, shutdown: Shutdown) -> anyhow::Result<()> {
    let unknown = || async {
        let message = format!("only logs are taken here, by {EXPORT}");
        answer::status(&Failure::new(Code::NotFound, message)).into_http::<Body>()
    };
    let router = Router::new().route(EXPORT, post(export)).fallback(unknown).with_state(door);
    let connections = acceptor.connections(shutdown.clone()).map(Ok::<_, std::io::Error>);
    let served = Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(Routes::from(service::http::catch_panics(router)))
        .serve_with_incoming_shutdown(connections, shutdown.begun());
    let too_late = async {
        shutdown.begun().await;
        // tonic waits forever on a connection that never sent a request (hyper#4170): the wait has a bound.
        tokio::time::sleep(shutdown.left()).await;
    };
    tokio::select! {
        result = served => result?,
        () = too_late => tracing::warn!("dropping OTLP connections that did not finish in time"),
    }
    Ok(())
}

async fn export(State(door): State<Arc<Door>>, request: Request) -> Response {
    let caller = traced::caller(request.headers());
    let answer = async {
        let answer = exported(&door, request).await;
        door.count("grpc", &answer);
        match answer {
            Ok(delivered) => success(&delivered),
            Err(failure) => {
                let mut response = answer::status(&failure).into_http::<Body>();
                let (name, value) = ACCEPTED;
                response.headers_mut().insert(name, value);
                response
            }
        }
    };
    traced::entering("POST /opentelemetry.proto.collector.logs.v1.LogsService/Export", caller, answer).await
}

async fn exported(door: &Door, request: Request) -> Result<Delivered, Failure> {
    let (head, body) = request.into_parts();
    let content_type = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !content_type.is_some_and(|is| is.starts_with(CONTENT_TYPE.as_bytes())) {
        return Err(Failure::new(Code::BadRequest, "the content type is not application/grpc"));
    }
    let admitted = door.admit(&head.headers)?;
    let client: &Client =
        head.extensions.get().expect("tonic adds the account of the connection to every call");
    let message = {
        let (bytes, _half_sent) = read(body, client).await?;
        let (encoding, message) = framed(&head.headers, &bytes)?;
        encoding.unpack(message, &door.memory)?
    };
    door.deliver(admitted, &message.bytes).await
}

/// The one message of a call, and how it is packed.
fn framed<'a>(headers: &HeaderMap, bytes: &'a [u8]) -> Result<(Encoding, &'a [u8]), Failure> {
    let bad = |what: &str| Failure::new(Code::BadField, format!("{what}; nothing was stored"));
    let (prefix, message) =
        bytes.split_first_chunk::<PREFIX_BYTES>().ok_or_else(|| bad("missing message: Export takes one"))?;
    let [flag, length @ ..] = *prefix;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > BODY_BYTES {
        let message = format!("the message has {length} bytes: the limit is {BODY_BYTES} bytes");
        return Err(Failure::new(Code::TooLarge, message));
    }
    if length != message.len() {
        return Err(bad("the call has not one whole message"));
    }
    match flag {
        0 => Ok((Encoding::Identity, message)),
        1 => match Encoding::of(headers, &ENCODING)? {
            Encoding::Identity => Err(bad("the message is compressed, and no grpc-encoding says how")),
            Encoding::Gzip => Ok((Encoding::Gzip, message)),
        },
        _ => Err(bad("the flag of the message is unknown")),
    }
}

fn success(delivered: &Delivered) -> Response {
    let message = answer::response(delivered).encode_to_vec();
    let length = u32::try_from(message.len()).expect("a count and a line");
    let frame = [&[0][..], &length.to_be_bytes(), &message].concat();
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(Bytes::from(frame)).with_trailers(std::future::ready(Some(Ok(trailers))));
    ([(header::CONTENT_TYPE, CONTENT_TYPE), ACCEPTED], Body::new(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_one_whole_message() {
        let packed = HeaderMap::from_iter([(ENCODING, HeaderValue::from_static("gzip"))]);
        let unknown = HeaderMap::from_iter([(ENCODING, HeaderValue::from_static("snappy"))]);
        let none = HeaderMap::new();
        let large = [&[0][..], &u32::MAX.to_be_bytes()].concat();
        for (headers, bytes, expected) in [
            (&none, &[0, 0, 0, 0, 2, 7, 8][..], Ok((Encoding::Identity, &[7, 8][..]))),
            (&packed, &[0, 0, 0, 0, 1, 7], Ok((Encoding::Identity, &[7]))),
            (&packed, &[1, 0, 0, 0, 1, 7], Ok((Encoding::Gzip, &[7]))),
            (&none, &[1, 0, 0, 0, 1, 7], Err(Code::BadField)),
            (&unknown, &[1, 0, 0, 0, 1, 7], Err(Code::UnsupportedEncoding)),
            (&none, &[2, 0, 0, 0, 1, 7], Err(Code::BadField)),
            (&none, &[0, 0, 0, 0, 2, 7], Err(Code::BadField)),
            (&none, &[0, 0, 0, 0, 0, 0], Err(Code::BadField)),
            (&none, &[0, 0, 0], Err(Code::BadField)),
            (&none, &[], Err(Code::BadField)),
            (&none, &large, Err(Code::TooLarge)),
        ] {
            assert_eq!(framed(headers, bytes).map_err(|failure| failure.code), expected, "{bytes:?}");
        }
    }
}
