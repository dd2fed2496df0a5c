//! Reads the bodies of requests, within limits of size, time and memory.

use std::{sync::Arc, time::Duration};

use axum::body::{Body, Bytes, HttpBody};
use bytes::BytesMut;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a client may take to send a body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a body that is too large is taken and dropped, and for how long.
const DRAIN_BYTES: usize = 64 * 1024 * 1024;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than the limit.
    #[error("the body is too large")]
    TooLarge,
    /// It did not arrive in time.
    #[error("the body did not arrive in time: send it faster")]
    TooSlow,
    /// The connection ended before it did.
    #[error("the body broke off: send it again")]
    Broken,
    /// The bodies that are held already take all the room.
    #[error("no room for the body")]
    NoRoom,
}

/// Room for the bodies that a service holds at a time, in bytes. Clones share it.
#[derive(Debug, Clone)]
pub struct Room {
    bytes: Arc<Semaphore>,
    /// Most bytes of one body.
    limit_bytes: usize,
}

/// A body, and its room until it is dropped.
#[derive(Debug)]
pub struct Held {
    bytes: Bytes,
    _part: Part,
}

/// A part of a room, as large as what its holder keeps at the moment; given back when dropped.
#[derive(Debug)]
pub struct Part {
    bytes: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

impl Part {
    /// Takes room for so many bytes more.
    ///
    /// # Errors
    /// If there is none.
    pub fn grow(&mut self, bytes: usize) -> Result<(), BodyError> {
        let bytes = u32::try_from(bytes).map_err(|_| BodyError::TooLarge)?;
        let more = Arc::clone(&self.bytes).try_acquire_many_owned(bytes).map_err(|_| BodyError::NoRoom)?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }

    /// Takes more room, or gives some back, so that it is for exactly so many bytes.
    ///
    /// # Errors
    /// If there is not so much.
    pub fn resize(&mut self, bytes: usize) -> Result<(), BodyError> {
        let taken = self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        match bytes.checked_sub(taken) {
            Some(more) => self.grow(more),
            None => {
                // Dropped at once: so its room is free.
                let _ = self.taken.as_mut().and_then(|held| held.split(taken - bytes));
                Ok(())
            }
        }
    }

    /// Gives all of it back.
    pub fn empty(&mut self) {
        self.taken = None;
    }
}

impl std::ops::Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Room {
    /// Room for bodies of at most `limit_bytes` each, and `total_bytes` together.
    pub fn new(limit_bytes: usize, total_bytes: usize) -> Self {
        Room { bytes: Arc::new(Semaphore::new(total_bytes)), limit_bytes }
    }

    /// A part of it, with nothing in it yet.
    pub fn part(&self) -> Part {
        Part { bytes: Arc::clone(&self.bytes), taken: None }
    }

    /// Reads a body. Its room is taken as its bytes arrive: what is only announced takes none.
    ///
    /// # Errors
    /// If it is too large, is not there within 10 s, or finds no room.
    pub async fn read(&self, mut body: Body) -> Result<Held, BodyError> {
        let read = async {
            let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
            if announced > self.limit_bytes {
                Err(BodyError::TooLarge)
            } else {
                self.collect(&mut body).await
            }
        };
        let read = tokio::time::timeout(BODY_TIMEOUT, read).await.unwrap_or(Err(BodyError::TooSlow));
        if read.as_ref().is_err_and(|error| matches!(error, BodyError::TooLarge | BodyError::NoRoom)) {
            drain(&mut body).await;
        }
        read
    }

    async fn collect(&self, body: &mut Body) -> Result<Held, BodyError> {
        let (mut bytes, mut part) = (BytesMut::new(), self.part());
        while let Some(frame) = body.frame().await {
            // Trailers are none of ours.
            let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
            if bytes.len() + data.len() > self.limit_bytes {
                return Err(BodyError::TooLarge);
            }
            part.grow(data.len())?;
            // Copied: a frame is a piece of a buffer of 8 KiB or more, and one of a single byte would keep all of it.
            bytes.extend_from_slice(&data);
        }
        Ok(Held { bytes: bytes.freeze(), _part: part })
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
    // Whoever takes longer does find a closed connection.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, drained).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_taken_by_bytes_that_are_there_and_given_back() {
        let room = Room::new(6, 10);
        let first = room.read(Body::from("123456")).await.expect("it fits");
        assert_eq!(&*first, b"123456");
        assert_eq!(room.read(Body::from("12345")).await.err(), Some(BodyError::NoRoom));
        assert!(room.read(Body::from("1234")).await.is_ok());
        drop(first);
        assert!(room.read(Body::from("123456")).await.is_ok());
        assert_eq!(room.read(Body::from("1234567")).await.err(), Some(BodyError::TooLarge));
    }
}
