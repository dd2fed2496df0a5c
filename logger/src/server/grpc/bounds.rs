//! What bounds a client of gRPC, in one place. Each bound has a trial that fails without it:
//!
//! | bound | on | trial, in `tests/e2e/` |
//! |---|---|---|
//! | [`STREAMS`], [`slots`] | calls and streams at a time | `streaming.rs`: `two_connections_that_have_all_streams_…` |
//! | [`HALF_SENT_BYTES`], [`body`] | memory of calls that are half sent, and their time | `limits.rs`: `half_sent_messages_…` |
//! | the windows | memory of what is sent and not taken | `streaming.rs`: `large_entries_are_loaded_within_…` |
//! | [`HEADER_BYTES`], [`metadata`] | the metadata of a call | `bad_input/protobuf.rs`: `metadata_has_a_limit_…` |
//! | [`QUESTION_BYTES`], `FRAME_BYTES` | a message | `ports.rs`: `a_grpc_message_that_is_too_large_…` |
//! | the keepalive | connections whose client is gone | |
//! | [`stall`] | streams that nobody reads | `streaming.rs`: `those_who_take_no_acknowledgements_…` |
//! | [`deadline`] | streams whose caller has set one | `streaming.rs`: `a_deadline_ends_a_stream_…` |

pub(super) mod deadline;
pub(super) mod slots;
pub(super) mod stall;

mod body;
mod metadata;

use std::time::Duration;

use axum::{body::Body, middleware};
use proto::{
    grpc::status,
    limits::{HELD_BYTES, IN_FLIGHT_CALLS},
};
use service::{Client, Room};
use tonic::{service::Routes, transport::server::Server};

use self::body::{Sends, bounded};

/// Maximum calls at a time on one connection: twice as many as our clients have in flight, so that one who opens more streams
/// than there are is told. What is beyond that waits for its turn at the client.
const STREAMS: u32 = 2 * IN_FLIGHT_CALLS as u32;

/// Maximum bytes of calls and messages that have not come as a whole yet, with the calls' metadata: so many of one
/// connection, which is what one of our clients may have in flight, and half as many again.
const HALF_SENT_SHARE_BYTES: usize = HELD_BYTES;
const HALF_SENT_BYTES: usize = HELD_BYTES + HELD_BYTES / 2;

/// Maximum bytes that a call has sent and that are not taken yet, and all calls of a connection. While the store is slow a
/// stream of small entries waits here, many to a window. h2 charges each DATA frame what it lacks of 256 bytes, and ends a
/// connection on which the charges of those that wait exceed half of its window. A stream that fills 256 KiB gets there with
/// messages of less than 15 bytes; with 1 MiB it would with 50 already, which are common. The price is paid by large
/// batches: one of 16 MiB takes 64 round trips.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Maximum bytes of headers of a call, beyond which HTTP/2 itself refuses it, and says nothing of gRPC.
const HEADER_BYTES: u32 = 16 * 1024;

/// Maximum bytes of a question for health or reflection, which names a service. tonic would take 4 MiB; so all the calls
/// of one connection hold as much together, if each is half sent.
pub(super) const QUESTION_BYTES: usize = 4 * 1024;

/// How often a silent connection is tried, and how long the answer may take.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// tonic's server, with the bounds of HTTP/2.
pub(super) fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

/// The room for what connections have half sent.
pub(super) fn room() -> Room {
    Room::new(HALF_SENT_SHARE_BYTES, HALF_SENT_BYTES)
}

/// Bounds the metadata and the body of each call, before tonic reads them.
pub(super) fn bound_calls(routes: Routes) -> Routes {
    let bounded = middleware::map_request(|request: http::Request<Body>| async {
        let (head, body) = request.into_parts();
        metadata::check(&head.headers).map_err(|failure| status(&failure).into_http::<Body>())?;
        let (part, sends) = (client(&head.extensions).half_sent().part(), Sends::by(head.uri.path()));
        let body = bounded(body, &head.headers, part, sends);
        Ok::<_, http::Response<Body>>(http::Request::from_parts(head, body))
    });
    Routes::from(routes.prepare().into_axum_router().layer(bounded))
}

/// The account of the connection that a call came by.
fn client(extensions: &http::Extensions) -> &Client {
    extensions.get().expect("tonic adds the account of the connection to every call")
}
