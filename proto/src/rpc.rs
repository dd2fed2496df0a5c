//! The native RPC: a tarpc service over length-delimited TCP, encoded as MessagePack.
//!
//! MessagePack is positional here: a field may be added to a body only together with [`VERSION`], which both
//! ends hold against each other when a connection opens.

use tarpc::{
    serde_transport::{self, Transport as Framed},
    tokio_serde::formats::MessagePack,
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
    Io: AsyncRead + AsyncWrite,
    In: for<'de> serde::Deserialize<'de>,
    Out: serde::Serialize,
{
    let frames = LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES).new_framed(io);
    serde_transport::new(frames, MessagePack::default())
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};

    use super::*;
    use crate::limits::BATCH_ENTRIES;

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
