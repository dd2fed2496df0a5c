//! Response bodies: large ones count against a limit until the client has read them.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use http::{HeaderName, HeaderValue};
use hyper::body::{Frame, SizeHint};

use super::overloaded;
use crate::{
    Client,
    client::Working,
    room::{Part, Share},
};

/// An answer that is no longer finds a place in the system's own buffers, and is not counted.
const SMALL_BYTES: u64 = 16 * 1024;

/// Size of the pieces of a large response, which show whether its client reads.
const PIECE_BYTES: usize = 64 * 1024;

/// No page of another origin may embed what is answered here, or load it as something else than it is.
const RESOURCE_POLICY: (HeaderName, HeaderValue) =
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    large: Option<Large>,
    /// One without a known end is a stream, which goes on until its client has enough.
    _stream: Option<Working>,
}

/// What a large answer has besides.
#[derive(Debug)]
struct Large {
    share: Share,
    /// Until there are bytes that it goes with.
    held: Option<Held>,
    /// What is still to be handed over.
    rest: Bytes,
}

/// What is held until the last piece of a large answer is written.
#[derive(Debug)]
struct Held {
    /// `None`: it is not counted.
    _part: Option<Part>,
    /// A client that reads is not idle.
    _working: Working,
}

/// Bytes that count until the last piece of them is written.
struct Counted {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Takes room for an answer until it is read. If there is none, that is the answer to one who `only_reads`. Others must learn
/// what happened to what they sent: theirs goes out uncounted, and is no larger than a result for each entry of a batch.
pub(super) fn bounded(
    response: Response,
    client: &Client,
    working: Working,
    only_reads: bool,
) -> Response<Answer> {
    let (mut response, large, stream) = match response.body().size_hint().exact() {
        None => (response, None, Some(working)),
        Some(bytes) if bytes > SMALL_BYTES => {
            let mut part = client.unread().part();
            let room = part.grow(usize::try_from(bytes).unwrap_or(usize::MAX));
            if room.is_err() && only_reads {
                (overloaded("too many unread responses: retry"), None, None)
            } else {
                let held = Held { _part: room.is_ok().then_some(part), _working: working };
                let share = client.unread().clone();
                (response, Some(Large { share, held: Some(held), rest: Bytes::new() }), None)
            }
        }
        Some(_) => (response, None, None),
    };
    let (name, value) = RESOURCE_POLICY;
    response.headers_mut().insert(name, value);
    response.map(|body| Answer { body, large, _stream: stream })
}

impl Large {
    /// The next piece of what is there.
    fn piece(&mut self) -> Option<Frame<Bytes>> {
        let bytes = self.rest.len().min(PIECE_BYTES);
        self.share.moved();
        (bytes > 0).then(|| Frame::data(self.rest.split_to(bytes)))
    }

    fn counted(&mut self, bytes: Bytes) -> Bytes {
        match self.held.take() {
            Some(held) => Bytes::from_owner(Counted { bytes, _held: held }),
            None => bytes,
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Answer { body, large, .. } = &mut *self;
        let Some(large) = large else { return Pin::new(body).poll_frame(cx) };
        if let Some(piece) = large.piece() {
            return Poll::Ready(Some(Ok(piece)));
        }
        let frame = match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            ended => return Poll::Ready(ended),
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) => {
                large.rest = large.counted(data);
                large.piece().unwrap_or_else(|| Frame::data(Bytes::new()))
            }
            Err(trailers) => trailers,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.large.as_ref().is_none_or(|large| large.rest.is_empty()) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.large.as_ref().map_or(0, |large| large.rest.len() as u64);
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = body.upper() {
            hint.set_upper(rest + upper);
        }
        hint.set_lower(rest + body.lower());
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::time::Instant;

    use super::*;
    use crate::{cut::Cut, room::Room};

    fn client(half_sent: &Room, unread: &Room) -> Client {
        let cut = Cut::default();
        let (half_sent, unread) = (half_sent.share(None), unread.share(Some(cut.clone())));
        Client::new(0, [127, 0, 0, 1].into(), half_sent, unread, cut, Instant::now())
    }

    fn answer(client: &Client, bytes: usize) -> Response<Answer> {
        bounded(Response::new(Body::from(vec![7; bytes])), client, client.begin(), true)
    }

    #[tokio::test]
    async fn a_large_answer_comes_whole_in_pieces_and_counts_until_the_last_is_written() {
        const BYTES: usize = 3 * PIECE_BYTES + 5;
        let room = Room::new(BYTES, BYTES);
        let client = client(&Room::new(0, 0), &room);
        let mut body = answer(&client, BYTES).into_body();
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            pieces.push(frame.expect("no error").into_data().expect("bytes"));
            let left = BYTES - pieces.iter().map(Bytes::len).sum::<usize>();
            assert_eq!(body.size_hint().exact(), Some(left as u64));
        }
        assert!(body.is_end_stream());
        drop(body);
        assert_eq!(
            pieces.iter().map(Bytes::len).collect::<Vec<_>>(),
            [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 5]
        );
        let next = || answer(&client, BYTES).status();
        assert_eq!(next(), 503, "none of it is written");
        pieces.drain(..3);
        assert_eq!(next(), 503, "the last piece keeps all of it");
        pieces.clear();
        assert_eq!(next(), 200);
    }

    #[tokio::test]
    async fn what_became_of_what_was_sent_is_told_where_there_is_no_room_for_answers_too() {
        const BYTES: usize = 66_000;
        let client = client(&Room::new(0, 0), &Room::new(0, 0));
        let stored = || Response::builder().status(202).body(Body::from(vec![7; BYTES])).expect("an answer");
        assert_eq!(bounded(stored(), &client, client.begin(), true).status(), 503);
        let told = bounded(stored(), &client, client.begin(), false);
        assert_eq!(told.status(), 202);
        assert_eq!(told.into_body().collect().await.expect("whole").to_bytes().len(), BYTES);
    }

    #[tokio::test]
    async fn a_client_that_reads_a_large_answer_is_not_idle() {
        const BYTES: usize = 2 * PIECE_BYTES;
        let client = client(&Room::new(0, 0), &Room::new(BYTES, BYTES));
        let mut body = answer(&client, BYTES).into_body();
        assert_eq!(client.waits_since_ms(), None);
        let mut last = None;
        while let Some(frame) = body.frame().await {
            last = frame.expect("no error").into_data().ok();
        }
        drop(body);
        assert_eq!(client.waits_since_ms(), None, "its last piece is not written yet");
        drop(last);
        assert!(client.waits_since_ms().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_cut_off_for_who_does() {
        const BYTES: usize = 100_000;
        let room = Room::new(2 * BYTES, 2 * BYTES);
        let clients = [(); 3].map(|()| client(&Room::new(0, 0), &room));
        let mut slow = answer(&clients[0], BYTES);
        let reading = answer(&clients[1], BYTES);
        assert_eq!(answer(&clients[2], BYTES).status(), 503, "both may read yet");
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        // The other has room for more.
        let mut reading = reading.into_body();
        assert!(reading.frame().await.is_some_and(|frame| frame.is_ok()));
        assert_eq!(answer(&clients[2], BYTES).status(), 200);
        assert_eq!(clients.each_ref().map(|client| client.cut().is_made()), [true, false, false]);
        assert!(slow.body_mut().frame().await.is_some());
    }

    #[tokio::test]
    async fn small_answers_and_streams_take_no_room() {
        let client = client(&Room::new(0, 0), &Room::new(0, 0));
        assert_eq!(answer(&client, 16 * 1024).status(), 200);
        let stream = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let stream = bounded(Response::new(stream), &client, client.begin(), true);
        assert_eq!(stream.status(), 200);
        assert_eq!(client.waits_since_ms(), None, "it is worked on for as long as it lasts");
        drop(stream);
        assert!(client.waits_since_ms().is_some());
    }
}
