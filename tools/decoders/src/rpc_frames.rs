//! What a client sends to the logger's rpc port.

use futures_util::{FutureExt, StreamExt};
use proto::{
    EntryDraft,
    limits::BATCH_ENTRIES,
    rpc::{LogRpcRequest, LogRpcResponse, MAX_DEADLINE, serve_frames},
};
use std::time::{Duration, Instant};
use tarpc::ClientMessage;

use crate::entry::check_draft;

/// Any bytes as what arrives on a connection until it is closed.
///
/// # Panics
/// If more is kept than was sent or than a batch may have, if a deadline is further off than any may be, or if
/// an accepted entry is out of its limits or does not stay the same on its way.
pub fn rpc_frames(bytes: &[u8]) {
    let stream = tokio::io::join(bytes, tokio::io::sink());
    let mut frames = Box::pin(serve_frames::<_, LogRpcRequest, LogRpcResponse>(stream));
    let mut left_bytes = bytes.len();
    // What is in memory is there at once. An error ends the connection.
    while let Some(Ok(message)) = frames.next().now_or_never().expect("nothing to wait for") {
        let ClientMessage::Request(request) = message else { continue };
        let latest = Instant::now() + MAX_DEADLINE + Duration::from_secs(1);
        assert!(request.context.deadline <= latest, "a deadline of {:?}", request.context.deadline);
        let drafts: Vec<EntryDraft> = match request.message.request {
            LogRpcRequest::Version {} => Vec::new(),
            LogRpcRequest::Write { entry } => vec![entry],
            LogRpcRequest::WriteBatch { entries, mode: _ } => entries.into_iter().collect(),
        };
        // One more than a batch may have, so that its length still tells.
        assert!(drafts.len() <= BATCH_ENTRIES + 1, "{} entries are kept", drafts.len());
        for draft in drafts {
            let kept_bytes = draft.name.len() + draft.data.len();
            left_bytes = left_bytes.checked_sub(kept_bytes).expect("no more is kept than was sent");
            check_draft(draft);
        }
    }
}
