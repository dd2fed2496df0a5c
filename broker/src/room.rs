//! How many bytes of request bodies the broker holds at a time.

use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody};
use proto::{
    Code, Failure,
    limits::{BODY_BYTES, IN_FLIGHT_BYTES},
};
use service::http::{BodyError, read_body};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room for bodies, counted before they are read: whatever arrives, memory stays bounded.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Room(Arc::new(Semaphore::new(IN_FLIGHT_BYTES)))
    }
}

impl Room {
    /// Reads a body. Its room is taken until the permit is dropped.
    ///
    /// # Errors
    /// [`Code::TooLarge`], [`Code::SlowRequest`], or [`Code::Overloaded`] if there is no room.
    pub(crate) async fn read(&self, body: Body) -> Result<(Bytes, OwnedSemaphorePermit), Failure> {
        // A body that does not say how long it is may become as long as any; a longer one is not kept.
        let announced = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
        let expected = announced.unwrap_or(BODY_BYTES).min(BODY_BYTES);
        let expected = u32::try_from(expected).expect("the limit of a body fits");
        let room = Arc::clone(&self.0)
            .try_acquire_many_owned(expected)
            .map_err(|error| Failure::overloaded("the broker").because(error))?;
        let bytes = read_body(body, BODY_BYTES).await.map_err(|error| failure(&error))?;
        Ok((bytes, room))
    }
}

fn failure(error: &BodyError) -> Failure {
    match error {
        BodyError::TooLarge => {
            Failure::new(Code::TooLarge, format!("the body is too large: the limit is {BODY_BYTES} bytes"))
        }
        BodyError::TooSlow | BodyError::Broken => Failure::new(Code::SlowRequest, error.to_string()),
    }
}
