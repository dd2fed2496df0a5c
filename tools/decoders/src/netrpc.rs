//! What a client in Go sends to the logger's net/rpc port, and what a logger in Go answers to our clients.

use bytes::BytesMut;
use proto::netrpc::{Answer, Answers, Call, NotGob, Request, Requests, Responses};

use crate::entry::check_draft;

/// Most that may be kept of the types that a stream defines.
const HELD_BYTES: usize = 1024 * 1024;

/// The first byte says into how long pieces the rest is cut, which is any bytes as what arrives on a connection.
///
/// # Panics
/// If what is read depends on how the bytes are cut, if more is kept than was sent, if an accepted entry is out of its
/// limits or does not stay the same on its way, or if an answer is not what its caller reads.
pub fn netrpc(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let (calls, ended) = requests(bytes, bytes.len());
    assert_eq!(requests(bytes, (*piece).into()), (calls.clone(), ended));
    assert_eq!(responses(bytes, (*piece).into()), responses(bytes, bytes.len()));
    let (mut answers, mut out) = (Answers::default(), Vec::new());
    for call in &calls {
        let answer = call.request.as_ref().map(|_| "stored").map_err(String::as_str);
        answers.put(&call.header, answer, &mut out);
    }
    let told: Vec<Answer> = calls
        .iter()
        .map(|call| Answer {
            seq: call.header.seq,
            result: call.request.as_ref().map(drop).map_err(Clone::clone),
        })
        .collect();
    assert_eq!(responses(&out, 7), (told, None));
    let mut left_bytes = bytes.len();
    for call in calls {
        let Ok(Request::Write(draft)) = call.request else { continue };
        let kept_bytes = draft.name.len() + draft.data.len();
        left_bytes = left_bytes.checked_sub(kept_bytes).expect("no more is kept than was sent");
        check_draft(draft);
    }
}

fn requests(bytes: &[u8], piece: usize) -> (Vec<Call>, Option<NotGob>) {
    let mut requests = Requests::default();
    let read = read(bytes, piece, |received| requests.next(received));
    assert!(requests.held_bytes() <= HELD_BYTES, "{} bytes", requests.held_bytes());
    read
}

fn responses(bytes: &[u8], piece: usize) -> (Vec<Answer>, Option<NotGob>) {
    let mut responses = Responses::default();
    read(bytes, piece, |received| responses.next(received))
}

/// What is read until the bytes end, or cannot be read on.
fn read<T>(
    bytes: &[u8],
    piece: usize,
    mut next: impl FnMut(&mut BytesMut) -> Result<Option<T>, NotGob>,
) -> (Vec<T>, Option<NotGob>) {
    let (mut received, mut read) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        received.extend_from_slice(piece);
        loop {
            match next(&mut received) {
                Ok(Some(one)) => read.push(one),
                Ok(None) => break,
                Err(error) => return (read, Some(error)),
            }
        }
    }
    (read, None)
}
