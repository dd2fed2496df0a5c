//! Following what is stored, over losses of the connection too.

use std::time::Duration;

use proto::{
    Certainty, Cursor, Failure, TailEvent, TailQuery,
    grpc::{TailResponse, tail_event},
};
use tonic::Streaming;

use super::{
    LOGGER,
    streams::{Streams, failure},
};
use crate::backoff::Attempts;

/// The logger says something every 10 s: a tail that is silent for so long is lost.
const SILENCE: Duration = Duration::from_secs(25);

/// What there is to say of a tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tailed {
    /// Something to tell, and where the tail has come by it.
    Event(TailEvent, Cursor),
    /// The logger was lost, or cannot be reached: why. The tail goes on by itself when it is back, and begins again with
    /// an event.
    Lost(Failure),
}

/// A tail that goes on where it was after the connection or the logger was lost: nothing is missed, nothing repeated.
pub struct Tail {
    streams: Streams,
    /// `after` is where the tail has come.
    query: TailQuery,
    responses: Option<Streaming<TailResponse>>,
    attempts: Attempts,
    /// Before the next attempt to connect.
    wait: Duration,
    ended: bool,
}

impl Tail {
    pub(super) fn new(streams: Streams, query: TailQuery) -> Self {
        // A tail is no transport: those count and log their own.
        let attempts = Attempts::quiet("the logger, for a tail");
        Tail { streams, query, responses: None, attempts, wait: Duration::ZERO, ended: false }
    }

    /// What there is to say next; `None` after the end of the times that were asked for, and after an error. Waits for as
    /// long as there is nothing.
    ///
    /// # Errors
    /// If the logger refuses the question: asking again would not help.
    pub async fn next(&mut self) -> Option<Result<Tailed, Failure>> {
        while !self.ended {
            match self.step().await {
                Ok(Some((event, cursor))) => {
                    self.query.after = Some(cursor);
                    if self.attempts.is_failing() {
                        self.attempts.succeeded();
                    }
                    return Some(Ok(Tailed::Event(event, cursor)));
                }
                Ok(None) => {}
                Err(failure) if failure.certainty() == Certainty::Rejected => {
                    self.ended = true;
                    return Some(Err(failure));
                }
                Err(failure) => {
                    self.responses = None;
                    let known = self.attempts.is_failing();
                    self.wait = self.attempts.failed(&failure.cause());
                    // Of an outage its reader is told once.
                    if !known {
                        return Some(Ok(Tailed::Lost(failure.about_reading())));
                    }
                }
            }
        }
        None
    }

    /// Connects, or waits for the next response.
    async fn step(&mut self) -> Result<Option<(TailEvent, Cursor)>, Failure> {
        let Some(responses) = &mut self.responses else {
            tokio::time::sleep(std::mem::take(&mut self.wait)).await;
            self.responses = Some(self.streams.tail_logs(&self.query).await?);
            return Ok(None);
        };
        let response = tokio::time::timeout(SILENCE, responses.message()).await;
        let response = response.map_err(|_| Failure::unreachable(LOGGER).because("silent for too long"))?;
        match response.map_err(failure)? {
            Some(response) => tail_event(response).map(Some),
            None => {
                self.ended = true;
                Ok(None)
            }
        }
    }
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("query", &self.query).finish_non_exhaustive()
    }
}
