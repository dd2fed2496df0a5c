//! The native RPC: a tarpc service over length-delimited TCP, encoded as MessagePack.
//!
//! MessagePack is positional here: a field may be added to a body only together with [`VERSION`], which both
//! ends compare when a connection opens.
//!
//! The trace that a call is made in travels in tarpc's own context. But tarpc draws another span for it at each end,
//! one that nobody exports, unless its own spans go to a layer of OpenTelemetry's. So it goes along with the request
//! within each process, as [`Traced`], and takes its place in the context when the request is sent.

use std::{
    future::{Future, ready},
    io,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, TryStreamExt};
use serde::Deserialize;
use tarpc::{
    ChannelError, ClientMessage, Request, RequestName, Response,
    client::{self, Channel, NewClient, RpcError, stub::Stub},
    context,
    serde_transport::{self, Transport as Framed},
    tokio_serde::formats::MessagePack,
    trace,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::LengthDelimitedCodec;

use crate::{BatchMode, BatchReceipt, Bounded, EntryDraft, Failure, Receipt, limits::FRAME_BYTES};

/// The version of the bodies below.
pub const VERSION: u32 = 1;

/// The rpc service of the logger.
#[tarpc::service]
pub trait LogRpc {
    /// The version that the logger speaks. Asked once, when a connection opens.
    async fn version() -> u32;

    /// Stores one entry. Answers after the commit.
    async fn write(entry: EntryDraft) -> Result<Receipt, Failure>;

    /// Stores 1 to 1,000 entries in one transaction. Answers after the commit.
    async fn write_batch(entries: Bounded<EntryDraft>, mode: BatchMode) -> Result<BatchReceipt, Failure>;
}

/// Puts the service's frames and encoding on a byte stream. The same on both sides: `In` is what this side
/// receives, `Out` what it sends. A frame of more than [`FRAME_BYTES`] ends the connection.
pub fn frame<Io, In, Out>(io: Io) -> Framed<Io, In, Out, MessagePack<In, Out>>
where
    Io: AsyncRead + AsyncWrite + Unpin,
    In: for<'de> serde::Deserialize<'de>,
    Out: serde::Serialize,
{
    let frames = LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES).new_framed(io);
    serde_transport::new(frames, MessagePack::default())
}

/// A request, and the trace that it is made in.
#[derive(Debug)]
pub struct Traced<T> {
    /// In which span it was made; all zeros if in none.
    pub trace: trace::Context,
    /// The request.
    pub request: T,
}

impl<T: RequestName> RequestName for Traced<T> {
    fn name(&self) -> &str {
        self.request.name()
    }
}

/// The client's end of a connection: what it is called with stays in the trace of its context.
#[derive(Debug, Clone)]
pub struct Calls(Channel<Traced<LogRpcRequest>, LogRpcResponse>);

impl Stub for Calls {
    type Req = LogRpcRequest;
    type Resp = LogRpcResponse;

    // Not an `async fn`, which would hold the request once more.
    fn call(
        &self,
        context: context::Context,
        request: Self::Req,
    ) -> impl Future<Output = Result<Self::Resp, RpcError>> {
        self.0.call(context, Traced { trace: context.trace_context, request })
    }
}

/// Puts the client on a byte stream. What comes with it must be polled, and ends when the connection does.
pub fn connect<Io>(
    config: client::Config,
    io: Io,
) -> (LogRpcClient<Calls>, impl Future<Output = Result<(), ChannelError<io::Error>>>)
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let frames = frame::<Io, Response<LogRpcResponse>, ClientMessage<LogRpcRequest>>(io);
    let NewClient { client, dispatch } =
        client::new(config, frames.with(|message| ready(Ok::<_, io::Error>(in_its_trace(message)))));
    (Calls(client).into(), dispatch)
}

/// The message as it is sent.
fn in_its_trace<T>(message: ClientMessage<Traced<T>>) -> ClientMessage<T> {
    match message {
        ClientMessage::Request(Request { mut context, id, message: Traced { trace, request } }) => {
            context.trace_context = trace;
            ClientMessage::Request(Request { context, id, message: request })
        }
        ClientMessage::Cancel { trace_context, request_id } => {
            ClientMessage::Cancel { trace_context, request_id }
        }
        _ => unreachable!("this release of tarpc sends nothing else"),
    }
}

/// The furthest deadline that a server keeps in mind. No caller waits for so long.
pub const MAX_DEADLINE: Duration = Duration::from_secs(3_600);

/// As [`frame`], for the side that serves: a deadline further off than [`MAX_DEADLINE`] is taken for that. tarpc
/// itself adds whatever was sent to its clock, and panics where that overflows.
pub fn serve_frames<Io, In, Out>(io: Io) -> impl tarpc::Transport<Response<Out>, ClientMessage<Traced<In>>>
where
    Io: AsyncRead + AsyncWrite + Unpin,
    In: for<'de> Deserialize<'de>,
    Out: serde::Serialize,
{
    frame::<Io, Sent<In>, Response<Out>>(io).map_ok(ClientMessage::from)
}

/// [`ClientMessage`] as it is sent.
#[derive(Deserialize)]
enum Sent<T> {
    Request(SentRequest<T>),
    Cancel { trace_context: trace::Context, request_id: u64 },
}

#[derive(Deserialize)]
struct SentRequest<T> {
    context: SentContext,
    id: u64,
    message: T,
}

#[derive(Deserialize)]
struct SentContext {
    deadline: Duration,
    trace_context: trace::Context,
}

impl<T> From<Sent<T>> for ClientMessage<Traced<T>> {
    fn from(sent: Sent<T>) -> Self {
        match sent {
            Sent::Request(SentRequest { context: sent, id, message }) => {
                // tarpc lets nobody else make one.
                let mut context = context::current();
                context.deadline = Instant::now() + sent.deadline.min(MAX_DEADLINE);
                context.trace_context = sent.trace_context;
                let message = Traced { trace: sent.trace_context, request: message };
                ClientMessage::Request(Request { context, id, message })
            }
            Sent::Cancel { trace_context, request_id } => ClientMessage::Cancel { trace_context, request_id },
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use serde_json::json;

    use super::*;
    use crate::limits::BATCH_ENTRIES;

    #[tokio::test]
    async fn a_deadline_beyond_all_clocks_is_taken_for_the_furthest() {
        let (near, far) = tokio::io::duplex(FRAME_BYTES);
        let mut client = frame::<_, (), serde_json::Value>(near);
        let mut server = Box::pin(serve_frames::<_, LogRpcRequest, LogRpcResponse>(far));
        for (seconds, expected) in [(5, 5), (4_000, 3_600), (i64::MAX as u64, 3_600), (u64::MAX, 3_600)] {
            let (deadline, trace) = (json!([seconds, 0]), json!([vec![0; 16], 0, "Unsampled"]));
            let begun = Instant::now();
            let request = json!({ "Request": [[deadline, trace], 1, { "Version": [] }] });
            client.send(request).await.expect("it fits into a frame");
            let read = server.next().await.expect("the connection is open").expect("a message");
            let ClientMessage::Request(request) = read else { panic!("a request was sent") };
            let left = Duration::from_secs(expected);
            assert!((begun + left..=Instant::now() + left).contains(&request.context.deadline), "{seconds}");
        }
    }

    #[tokio::test]
    async fn the_trace_of_a_call_is_the_same_at_both_ends() {
        let (near, far) = tokio::io::duplex(FRAME_BYTES);
        let (client, dispatch) = connect(client::Config::default(), near);
        let mut server = Box::pin(serve_frames::<_, LogRpcRequest, LogRpcResponse>(far));
        let mut context = context::current();
        context.trace_context = trace::Context {
            trace_id: (7 << 64).into(),
            span_id: 8.into(),
            sampling_decision: trace::SamplingDecision::Sampled,
        };
        let read = tokio::select! {
            read = server.next() => read.expect("the connection is open").expect("a message"),
            _ = dispatch => panic!("the connection is open"),
            _ = client.version(context) => panic!("nobody answers"),
        };
        let ClientMessage::Request(request) = read else { panic!("a request was sent") };
        assert_eq!(request.message.trace, context.trace_context);
    }

    #[tokio::test]
    async fn no_more_entries_are_kept_than_tell_that_the_batch_is_too_long_and_the_connection_lives() {
        let batch = |len: usize| {
            let entries = std::iter::repeat_n(EntryDraft::default(), len).collect();
            LogRpcRequest::WriteBatch { entries, mode: BatchMode::Each }
        };
        let (near, far) = tokio::io::duplex(FRAME_BYTES);
        let mut client = frame::<_, (), LogRpcRequest>(near);
        let mut server = frame::<_, LogRpcRequest, ()>(far);
        for (sent, kept) in [(5_000, BATCH_ENTRIES + 1), (1, 1)] {
            client.send(batch(sent)).await.expect("it fits into a frame");
            let read = server.next().await.expect("the connection is open").expect("a request");
            let LogRpcRequest::WriteBatch { entries, mode } = read else { panic!("a batch was sent") };
            assert_eq!((entries.len(), mode), (kept, BatchMode::Each));
        }
    }
}
