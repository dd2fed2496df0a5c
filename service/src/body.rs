//! Reads the bodies of requests, within limits of size, time and memory.

use std::time::Duration;

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
};
use bytes::BytesMut;
use http::{HeaderMap, header};
use http_body_util::BodyExt;

use crate::{
    Client,
    room::{NoRoom, Part, Share},
};

/// How long a client may take to send a body, and a message of gRPC or rpc once it has begun.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a body that is too large is taken and dropped, and for how long.
const DRAIN_BYTES: usize = 64 * 1024 * 1024;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum characters that are repeated of an encoding that is not known.
const ENCODING_CHARS: usize = 40;

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than the limit.
    #[error("the body is too large")]
    TooLarge,
    /// It did not arrive in time.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The connection ended before it did.
    #[error("the body is incomplete: resend it")]
    Broken,
    /// The limit of buffered bytes is reached, and its connection holds the most.
    #[error("too many bytes of half-sent bodies")]
    NoRoom,
    /// It is compressed, or otherwise encoded.
    #[error("unsupported Content-Encoding {0:?}: send the body without one")]
    Encoded(String),
}

/// A body, and its room until it is dropped.
#[derive(Debug)]
pub struct Held {
    bytes: Bytes,
    _part: Part,
}

impl std::ops::Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Held {
    /// Reads the body of a request that [`crate::http::serve`] has taken. Its room is taken as its bytes arrive: what is
    /// only announced takes none.
    ///
    /// # Errors
    /// If it is too large, is not there within 10 s, finds no room or has to give way, or is encoded.
    ///
    /// # Panics
    /// If the request came another way.
    pub async fn read(request: Request) -> Result<Self, BodyError> {
        let (head, mut body) = request.into_parts();
        let client: &Client = head.extensions.get().expect("http::serve adds it to every request");
        let waiting = client.wait();
        let read = match encoding(&head.headers) {
            Some(encoding) => Err(BodyError::Encoded(encoding)),
            None => read(&mut body, client.half_sent()).await,
        };
        if let Err(BodyError::TooLarge | BodyError::NoRoom | BodyError::Encoded(_)) = &read {
            drain(&mut body).await;
        }
        drop(waiting);
        read
    }
}

/// How the body is encoded, if it is.
fn encoding(headers: &HeaderMap) -> Option<String> {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let encodings = encodings.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let mut encodings = encodings.filter(|encoding| {
        let encoding = encoding.trim();
        !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity")
    });
    encodings.next().map(|encoding| encoding.trim().chars().take(ENCODING_CHARS).collect())
}

async fn read(body: &mut Body, share: &Share) -> Result<Held, BodyError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > share.most_bytes() {
        return Err(BodyError::TooLarge);
    }
    let mut part = share.part();
    let collected =
        tokio::time::timeout(BODY_TIMEOUT, collect_body(body, &mut part, share.most_bytes())).await;
    let bytes = collected.unwrap_or(Err(BodyError::TooSlow))?;
    part.settle();
    Ok(Held { bytes: bytes.freeze(), _part: part })
}

/// Reads a body of at most `limit` bytes, which count in `part` as they arrive. The caller sets the time limit.
///
/// # Errors
/// If it is too large, breaks off, finds no room or has to give way.
pub async fn collect_body(body: &mut Body, part: &mut Part, limit: usize) -> Result<BytesMut, BodyError> {
    let mut bytes = BytesMut::new();
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = part.gave_way() => return Err(BodyError::NoRoom),
        };
        let Some(frame) = frame else { return Ok(bytes) };
        // Trailers are none of ours.
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(BodyError::TooLarge);
        }
        part.grow(data.len()).map_err(|NoRoom| BodyError::NoRoom)?;
        // Copied: a frame is a piece of a buffer of 8 KiB or more, and one of a single byte would keep all of it.
        bytes.extend_from_slice(&data);
    }
}

/// Takes what is left of a refused body, within limits: most clients read no answer before they have sent all,
/// and would find a closed connection instead.
async fn drain(body: &mut Body) {
    let drained = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DRAIN_BYTES {
                break;
            }
        }
    };
    // Slower clients do find a closed connection.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, drained).await;
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;
    use crate::room::Room;

    async fn whole(text: &'static str, share: &Share) -> Result<Held, BodyError> {
        read(&mut Body::from(text), share).await
    }

    #[tokio::test]
    async fn room_is_taken_by_bytes_that_are_there_and_given_back() {
        let room = Room::new(6, 10);
        let (first, second) = (room.share(None), room.share(None));
        let held = whole("123456", &first).await.expect("it fits");
        assert_eq!(&*held, b"123456");
        assert_eq!(whole("12345", &second).await.err(), Some(BodyError::NoRoom));
        assert!(whole("1234", &second).await.is_ok());
        drop(held);
        assert!(whole("123456", &second).await.is_ok());
        assert_eq!(whole("1234567", &second).await.err(), Some(BodyError::TooLarge));
    }

    #[tokio::test]
    async fn half_sent_bodies_give_way_to_a_small_one() {
        let room = Room::new(100, 200);
        let shares = [(); 2].map(|()| room.share(None));
        let halves = shares.each_ref().map(|share| async {
            let pieces = stream::iter([Ok::<_, std::io::Error>("x".repeat(99))]).chain(stream::pending());
            read(&mut Body::from_stream(pieces), share).await.err()
        });
        let [first, second] = halves;
        let (mut first, mut second) = (Box::pin(first), Box::pin(second));
        for half in [&mut first, &mut second] {
            assert!(futures_util::poll!(half).is_pending());
        }
        let newcomer = room.share(None);
        assert!(whole("0123456789", &newcomer).await.is_ok());
        let ends = [futures_util::poll!(&mut first), futures_util::poll!(&mut second)];
        let ended = ends.iter().filter(|end| end.is_ready()).count();
        assert_eq!(ended, 1, "{ends:?}");
    }

    #[test]
    fn an_encoding_is_named_and_identity_is_none() {
        let encoding = |values: &[&'static str]| {
            let name = header::CONTENT_ENCODING;
            encoding(
                &values.iter().map(|value| (name.clone(), http::HeaderValue::from_static(value))).collect(),
            )
        };
        assert_eq!(encoding(&[]), None);
        assert_eq!(encoding(&["identity"]), None);
        assert_eq!(encoding(&["", "Identity "]), None);
        assert_eq!(encoding(&["gzip"]).as_deref(), Some("gzip"));
        assert_eq!(encoding(&["identity", "br"]).as_deref(), Some("br"));
        assert_eq!(encoding(&["gzip, identity"]).as_deref(), Some("gzip, identity"));
    }
}
