//! Following what is stored, over losses of the connection too.

use std::time::Duration;

use jiff::Timestamp;
use proto::{
    Certainty, Code, Cursor, Failure, TailEvent, TailQuery,
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

/// Who takes so many connections in a row and never says a word of gRPC is no logger. One that dies or starts ends a few
/// at most.
const WORDLESS: u32 = 8;

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
    start: Start,
    ended: bool,
}

/// How far a tail has come with its beginning.
enum Start {
    /// It was made at that moment. So many connections in a row were taken, and ended without a word.
    Pending { made_at: Timestamp, wordless: u32 },
    /// The logger was not there at first: what is asked for is what was stored since that moment.
    Late { wordless: u32 },
    /// It knows a cursor.
    Begun,
}

impl Tail {
    pub(super) fn new(streams: Streams, query: TailQuery) -> Self {
        // A tail is no transport: those count and log their own.
        let attempts = Attempts::quiet("the logger, for a tail");
        let start = Start::Pending { made_at: Timestamp::now(), wordless: 0 };
        Tail { streams, query, responses: None, attempts, wait: Duration::ZERO, start, ended: false }
    }

    /// What there is to say next; `None` after the end of the times that were asked for, and after an error. Waits for as
    /// long as there is nothing.
    ///
    /// # Errors
    /// If the logger refuses the question, or what answers is none: asking again would not help.
    pub async fn next(&mut self) -> Option<Result<Tailed, Failure>> {
        while !self.ended {
            match self.step().await {
                Ok(Some((event, cursor))) => {
                    self.begin(cursor);
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
                Err(failure) if self.fails_to_begin(&failure) => {
                    self.ended = true;
                    return Some(Err(no_logger().because(failure)));
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

    /// It has come to `cursor`.
    fn begin(&mut self, cursor: Cursor) {
        self.query.after = Some(cursor);
        if matches!(std::mem::replace(&mut self.start, Start::Begun), Start::Late { .. }) {
            // The moment has led to a place. As a condition it would leave entries out, where the logger's clock is
            // behind ours.
            self.query.filter.since = None;
            self.responses = None;
        }
    }

    /// Takes note of a failure. Returns whether what answers is no logger.
    fn fails_to_begin(&mut self, failure: &Failure) -> bool {
        // Of a connection that was made and then ended, nothing certain is known.
        let more = |wordless| if failure.code == Code::OutcomeUnknown { wordless + 1 } else { 0 };
        self.start = match self.start {
            Start::Begun => return false,
            Start::Late { wordless } => Start::Late { wordless: more(wordless) },
            Start::Pending { made_at, wordless } => {
                let filter = &self.query.filter;
                let from_now = self.query.after.is_none() && filter.since.is_none();
                if from_now && filter.until.is_none_or(|until| made_at < until) {
                    self.query.filter.since = Some(made_at);
                    Start::Late { wordless: more(wordless) }
                } else {
                    Start::Pending { made_at, wordless: more(wordless) }
                }
            }
        };
        match self.start {
            Start::Pending { wordless, .. } | Start::Late { wordless } => wordless >= WORDLESS,
            Start::Begun => false,
        }
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

fn no_logger() -> Failure {
    let message = "what answers there is no Fourwire logger: it takes connections and speaks no gRPC";
    Failure::new(Code::Unavailable, message)
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("query", &self.query).finish_non_exhaustive()
    }
}
