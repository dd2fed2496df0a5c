//! Following what is stored, over losses of the connection too.

use std::{collections::VecDeque, time::Duration};

use proto::{
    Certainty, Code, Cursor, Failure, TailEvent, TailQuery, Time,
    grpc::{TailResponse, tail_event},
};
use tokio::time::Instant;
use tonic::Streaming;

use super::streams::{Streams, failure};
use crate::{LOGGER, backoff::Attempts};

/// The logger says something every 10 s: a tail that is silent for so long is lost.
const SILENCE: Duration = Duration::from_secs(25);

/// A server that accepts this many connections in a row without a word of gRPC is no logger. One that dies or starts ends
/// a few at most.
const WORDLESS: u32 = 8;

/// After an outage a tail is there again when it has said something twice, or nothing else for so long: one that begins and
/// fails at once is still lost, and is waited for longer each time.
const CALM: Duration = Duration::from_millis(500);

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
    /// What came and is not told yet.
    held: VecDeque<TailResponse>,
    attempts: Attempts,
    /// When the next attempt to connect is due.
    dial_at: Instant,
    start: Start,
    ended: bool,
}

/// How far a tail has come with its beginning.
enum Start {
    /// It was made at that moment. So many connections in a row were taken, and ended without a word.
    Pending { made_at: Time, wordless: u32 },
    /// The logger was not there at first: what is asked for is what was stored since that moment.
    Late { wordless: u32 },
    /// It knows a cursor.
    Begun,
}

impl Streams {
    /// Follows what is stored, over losses of the connection too.
    pub fn tail(&self, query: proto::TailQuery) -> Tail {
        Tail::new(self.clone(), query)
    }
}

impl Tail {
    fn new(streams: Streams, query: TailQuery) -> Self {
        // A tail is no transport: those count and log their own.
        let attempts = Attempts::quiet("the logger, for a tail");
        Tail {
            streams,
            query,
            responses: None,
            held: VecDeque::new(),
            attempts,
            dial_at: Instant::now(),
            start: Start::Pending { made_at: Time::now(), wordless: 0 },
            ended: false,
        }
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
                    self.held.clear();
                    let known = self.attempts.is_failing();
                    self.dial_at = Instant::now() + self.attempts.failed(&failure.cause());
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
            self.held.clear();
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

    /// Connects, or waits for the next response. It can be dropped at any time: the next call goes on where it was.
    async fn step(&mut self) -> Result<Option<(TailEvent, Cursor)>, Failure> {
        let Some(responses) = &mut self.responses else {
            tokio::time::sleep_until(self.dial_at).await;
            self.responses = Some(self.streams.tail_logs(&self.query).await?);
            return Ok(None);
        };
        if self.attempts.is_failing() && !self.held.is_empty() {
            if let Ok(next) = tokio::time::timeout(CALM, responses.message()).await {
                self.held.extend(next.map_err(failure)?);
            }
            self.attempts.succeeded();
        }
        if !self.attempts.is_failing()
            && let Some(response) = self.held.pop_front()
        {
            return tail_event(response).map(Some);
        }
        let response = tokio::time::timeout(SILENCE, responses.message()).await;
        let response = response.map_err(|_| Failure::unreachable(LOGGER).because("silent for too long"))?;
        match response.map_err(failure)? {
            Some(response) => self.held.push_back(response),
            None => self.ended = true,
        }
        Ok(None)
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

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use futures_util::{StreamExt, stream};
    use proto::grpc::{
        BatchRequest, BatchResponse, LogRequest, LogResponse, SyncResponse, TailRequest, WriteLogsResponse,
        log_service_server::{LogService, LogServiceServer},
        tail_response,
    };
    use tonic::{Request, Response, Status, codegen::BoxStream, transport::Server};

    use super::*;
    use crate::{Endpoints, Settings};

    /// A logger whose tails begin and fail at once, as one does that cannot read its store.
    #[derive(Debug, Clone, Default)]
    struct Failing {
        tails: Arc<AtomicU32>,
    }

    #[tonic::async_trait]
    impl LogService for Failing {
        async fn tail_logs(
            &self,
            _: Request<TailRequest>,
        ) -> Result<Response<BoxStream<TailResponse>>, Status> {
            self.tails.fetch_add(1, Ordering::Relaxed);
            let begun = tail_response(TailEvent::Reached, Cursor::after(0));
            let failure = Failure::unreachable("the store");
            Ok(Response::new(stream::iter([Ok(begun), Err(proto::grpc::status(&failure))]).boxed()))
        }

        async fn write_log(&self, _: Request<LogRequest>) -> Result<Response<LogResponse>, Status> {
            Err(Status::unimplemented("a tail alone"))
        }

        async fn write_batch(&self, _: Request<BatchRequest>) -> Result<Response<BatchResponse>, Status> {
            Err(Status::unimplemented("a tail alone"))
        }

        async fn write_logs(
            &self,
            _: Request<Streaming<LogRequest>>,
        ) -> Result<Response<WriteLogsResponse>, Status> {
            Err(Status::unimplemented("a tail alone"))
        }

        async fn sync_logs(
            &self,
            _: Request<Streaming<LogRequest>>,
        ) -> Result<Response<BoxStream<SyncResponse>>, Status> {
            Err(Status::unimplemented("a tail alone"))
        }
    }

    #[tokio::test]
    async fn a_logger_that_fails_after_it_has_begun_is_dialled_less_and_less_often() {
        /// What nine waits come to at the least.
        const WAITS: Duration = Duration::from_millis(20 + 40 + 80 + 160 + 320 + 400 + 400 + 400 + 400);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("its address");
        let incoming = stream::unfold(listener, |listener| async {
            let accepted = listener.accept().await.map(|(stream, _)| stream);
            Some((accepted, listener))
        });
        let logger = Failing::default();
        let server = Server::builder().add_service(LogServiceServer::new(logger.clone()));
        let server = tokio::spawn(server.serve_with_incoming(incoming));
        let settings = Settings {
            endpoints: Endpoints {
                logger_http_url: "http://127.0.0.1:1".parse().expect("a URL"),
                logger_rpc_addr: "127.0.0.1:1".parse().expect("an address"),
                logger_grpc_url: format!("http://{at}").parse().expect("a URL"),
            },
            amqp_url: None,
            tls: None,
            coalesce: false,
            deadline: Duration::from_secs(5),
            came_by: None,
        };
        let begun = Instant::now();
        let mut tail = Tail::new(Streams::new(&settings), TailQuery::default());
        let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
        let follows = tokio::spawn(async move {
            while let Some(next) = tail.next().await {
                sender.send(next).expect("it is listened to");
            }
        });
        let mut poll = tokio::time::interval(Duration::from_millis(10));
        while logger.tails.load(Ordering::Relaxed) < 10 {
            poll.tick().await;
        }
        follows.abort();
        server.abort();
        let (mut events, mut losses) = (0, 0);
        while let Ok(next) = told.try_recv() {
            match next {
                Ok(Tailed::Event(..)) => events += 1,
                Ok(Tailed::Lost(_)) => losses += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(begun.elapsed() >= WAITS, "{:?}", begun.elapsed());
        assert_eq!((events, losses), (1, 1), "of an outage one is told once");
    }
}
