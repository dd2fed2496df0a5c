//! `http`: JSON over HTTP/1.1, one request per entry or batch, on kept connections.

mod probe;

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error, ResponseFuture},
    rt::{TokioExecutor, TokioTimer},
};
use proto::{
    Batch, BatchMode, BatchReceipt, Certainty, Code, Failure, LogEntry, Outcome, Receipt, Transport,
    json::{self, Envelope, FailureData, Written, WrittenBatch},
    limits::{FRAME_BYTES, IN_FLIGHT_CALLS},
};
use serde::Deserialize;
use tokio::task::JoinSet;

pub use self::probe::Probe;
pub use crate::address::HttpUrl;
use crate::{
    LOGGER, Receipts, Settings,
    address::at,
    backoff::Gate,
    dial::Dialer,
    endpoints::LoggerAddress,
    metrics::reconnects,
    receipts::{NoBatchCall, pong},
    tls::{Protocol, refused_by_alert},
    traced,
    wire::Wire,
};

/// Most connections that are kept for the next call. HTTP/1.1 carries one request at a time on each, and admission
/// bounds the calls.
const KEPT_CONNECTIONS: usize = IN_FLIGHT_CALLS;

/// How long a connection may idle in the pool: shorter than a server keeps it, so that none is used that the
/// server is just closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// The client.
#[derive(Debug)]
pub struct Http {
    client: Client<Dialer, Full<Bytes>>,
    base: Uri,
    gate: Arc<Gate>,
    came_by: Option<Transport>,
    _healer: JoinSet<Infallible>,
}

impl Http {
    /// Makes the client; it dials when there is something to send, and after a dial that failed until one does not.
    pub fn new(settings: &Settings) -> Self {
        Self::to(&settings.endpoints.first(), settings, &Arc::default())
    }

    /// The same for a logger of several, whose bytes are counted together.
    pub(crate) fn to(logger: &LoggerAddress, settings: &Settings, wire: &Arc<Wire>) -> Self {
        let dialer = Dialer::new(settings.tls.as_ref(), Protocol::Http).counting(wire).to(logger.ip);
        let client = client(dialer, KEPT_CONNECTIONS);
        let base = logger.http.uri().clone();
        let gate = Arc::new(Gate::new(reconnects(Transport::Http)));
        let healthz = at(&base, "/healthz").expect("a sound URL with another path is sound");
        let (healed, prober) = (Arc::clone(&gate), client.clone());
        let mut healer = JoinSet::new();
        healer.spawn(async move { healed.heal(LOGGER, || answers(prober.get(healthz.clone()))).await });
        Http { client, base, gate, came_by: settings.came_by, _healer: healer }
    }

    /// Delivers entries: one alone by `POST /log`, which every logger has, more by `POST /logs`.
    ///
    /// # Errors
    /// What is certain of all of them.
    pub async fn write(&self, batch: &Batch<LogEntry>, mode: BatchMode) -> Result<Receipts, Failure> {
        match batch.as_one() {
            Some(entry) => Receipts::of_one(self.write_one(entry).await, mode),
            None => Receipts::of_many(self.write_many(batch, mode).await?, batch, LOGGER),
        }
    }

    /// Asks the logger whether it could store an entry now.
    ///
    /// # Errors
    /// What an entry would be refused with.
    pub async fn ping(&self) -> Result<(), Failure> {
        pong(self.write_many(&[], BatchMode::Each).await)
    }

    /// Reads from the logger: the status and the body that it answers.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn read(&self, path_and_query: &str) -> Result<(u16, Bytes), Failure> {
        let (head, body) = self.exchange(Method::GET, path_and_query, String::new()).await?;
        Ok((head.as_u16(), body))
    }

    /// Whether the last call found the logger.
    pub fn reachable(&self) -> bool {
        self.gate.is_open()
    }

    async fn write_one(&self, entry: &LogEntry) -> Result<Receipt, Failure> {
        let body = json::entry_json(entry, self.came_by);
        let (status, body) = self.exchange(Method::POST, "/log", body).await?;
        let written: Option<Written> = read_answer(status, &body)?;
        // The course's logger says no more than 202.
        Ok(written.map_or(Receipt { outcome: Outcome::Stored, store_us: None }, |written| Receipt {
            outcome: written.outcome,
            store_us: written.store_us,
        }))
    }

    async fn write_many(&self, entries: &[LogEntry], mode: BatchMode) -> Result<BatchReceipt, Failure> {
        let body = json::batch_json(entries, mode, self.came_by);
        let (status, body) = self.exchange(Method::POST, "/logs", body).await?;
        if is_no_batch_call(status, &body) {
            return Err(NoBatchCall::of(LOGGER));
        }
        let written: Option<WrittenBatch> = read_answer(status, &body)?;
        let written = written.ok_or_else(|| Failure::unknown(LOGGER).because("an answer without data"))?;
        let results = written.results.into_iter().map(Into::into).collect();
        Ok(BatchReceipt { results, store_us: written.store_us })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<(StatusCode, Bytes), Failure> {
        self.gate.check()?;
        let request = self.request(method, path, body)?;
        let response = self.client.request(request).await.map_err(|error| self.failure(error))?;
        self.gate.reopen();
        let (status, body) = (response.status(), whole(response, FRAME_BYTES).await?);
        Ok((status, body))
    }

    fn request(&self, method: Method, path: &str, body: String) -> Result<Request<Full<Bytes>>, Failure> {
        let bad = |error: http::Error| {
            Failure::new(Code::BadQuery, "the address cannot be sent on: percent-encode it").because(error)
        };
        let mut request = Request::builder()
            .method(method)
            .uri(at(&self.base, path).map_err(bad)?)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(bad)?;
        traced::inject(request.headers_mut());
        Ok(request)
    }

    /// What an error of the protocol says of the entry: without a connection nothing was sent.
    fn failure(&self, error: Error) -> Failure {
        if error.is_connect() || refused_by_alert(&error) {
            let failure = Failure::unreachable(LOGGER).because(error);
            self.gate.close(&failure);
            return failure;
        }
        Failure::unknown(LOGGER).because(error)
    }
}

/// Whether the logger is there: whatever it answers, it is.
async fn answers(answer: ResponseFuture) -> Result<(), Failure> {
    let response = answer.await.map_err(|error| Failure::unreachable(LOGGER).because(error))?;
    // Read to its end, the connection is kept for the next call.
    let _ = whole(response, FRAME_BYTES).await;
    Ok(())
}

/// A client that keeps so many connections for the next calls.
fn client(dialer: Dialer, kept_connections: usize) -> Client<Dialer, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(kept_connections)
        // Sent again is only what had not begun to be sent when the pool's connection turned out dead.
        .retry_canceled_requests(true)
        .build(dialer)
}

async fn whole(response: Response<Incoming>, limit_bytes: usize) -> Result<Bytes, Failure> {
    let body = Limited::new(response.into_body(), limit_bytes).collect().await;
    Ok(body.map_err(|error| Failure::unknown(LOGGER).because(error))?.to_bytes())
}

/// What the logger has answered to entries, or why it took none.
fn read_answer<T: for<'de> Deserialize<'de>>(status: StatusCode, body: &[u8]) -> Result<Option<T>, Failure> {
    if status == StatusCode::ACCEPTED {
        let envelope: Envelope<T> = read_json(body)?;
        return Ok(envelope.data);
    }
    Err(refusal(status, body))
}

/// Whether a logger that is not ours says that it has no such call. Ours has, and one of our services marks what it
/// refuses with a code.
fn is_no_batch_call(status: StatusCode, body: &[u8]) -> bool {
    let has_code = || {
        let envelope: Result<Envelope<FailureData>, _> = read_json(body);
        envelope.is_ok_and(|envelope| envelope.data.is_some())
    };
    is_no_address(status) && !has_code()
}

fn is_no_address(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
}

fn read_json<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::unknown(LOGGER).because(error))
}

/// Whether a refusal says that the address leads to another server, a broker for instance, or that who calls may not:
/// what was sent has nothing to do with it.
fn is_of_another_server(code: Code) -> bool {
    let about_what_was_sent = code.is_about_the_entry() || code == Code::BadBatch;
    code.certainty() == Certainty::Rejected && !about_what_was_sent
}

/// Our logger marks its refusals with a code; without one, it is certain only that there is no such address.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let envelope = read_json::<Envelope<FailureData>>(body).ok();
    let told = envelope.as_ref().and_then(|envelope| envelope.data.as_ref());
    match (envelope.as_ref(), told) {
        (Some(envelope), Some(data)) if is_of_another_server(data.code) => {
            Failure::unreachable(LOGGER).because(format!("{}: {}", data.code, envelope.message))
        }
        (Some(envelope), Some(data)) => {
            let mut failure = Failure::heard(data.code, envelope.message.clone());
            failure.position = data.position;
            failure
        }
        _ if is_no_address(status) => {
            Failure::no_such_call(LOGGER, "LOGGER_HTTP_URL").because(status.to_string())
        }
        (Some(envelope), None) => Failure::foreign(LOGGER, &format!("{status}: {}", envelope.message)),
        (None, _) => Failure::foreign(LOGGER, &format!("{status}: {}", String::from_utf8_lossy(body))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: Code) -> Failure {
        let envelope = Envelope::failure(&Failure::new(code, "the server's own words"), None, &[]);
        let envelope = serde_json::to_vec(&envelope).expect("it serialises");
        refusal(StatusCode::BAD_REQUEST, &envelope)
    }

    #[test]
    fn another_logger_is_told_apart_from_one_that_does_not_answer() {
        for status in [404, 405, 501].map(|status| StatusCode::from_u16(status).expect("one")) {
            for body in [&b"404 page not found\n"[..], br#"{"error":true,"message":"no"}"#] {
                let failure = refusal(status, body);
                assert_eq!((failure.code, failure.certainty()), (Code::NoSuchCall, Certainty::NotStored));
                assert!(
                    !failure.code.is_retryable() && failure.message().contains("is LOGGER_HTTP_URL right?")
                );
            }
        }
        for (body, text) in [
            (&br#"{"error":true,"message":"server selection error"}"#[..], "server selection error"),
            (b"out of order\n", "out of order"),
        ] {
            let failure = refusal(StatusCode::INTERNAL_SERVER_ERROR, body);
            assert_eq!(failure.certainty(), Certainty::Unknown);
            assert!(failure.message().contains(text), "{failure}");
        }
    }

    #[test]
    fn a_logger_without_a_call_for_batches_is_known_by_its_status_unless_it_is_one_of_ours() {
        let none = |status| is_no_batch_call(status, b"404 page not found\n");
        assert!(
            [404, 405, 501]
                .map(|status| none(StatusCode::from_u16(status).expect("one")))
                .iter()
                .all(|is| *is)
        );
        for status in [StatusCode::ACCEPTED, StatusCode::BAD_REQUEST, StatusCode::INTERNAL_SERVER_ERROR] {
            assert!(!none(status), "{status}");
        }
        assert!(is_no_batch_call(StatusCode::NOT_FOUND, br#"{"error":true,"message":"no such page"}"#));
        let ours = Envelope::failure(&Failure::new(Code::NotFound, "no such address"), None, &[]);
        let ours = serde_json::to_vec(&ours).expect("it serialises");
        assert!(!is_no_batch_call(StatusCode::NOT_FOUND, &ours));
    }

    #[test]
    fn what_another_server_refuses_is_not_the_entrys_fault() {
        for code in [Code::NotFound, Code::Unauthorized, Code::ForbiddenOrigin, Code::UnknownAction] {
            let failure = refused(code);
            assert_eq!((failure.code, failure.certainty()), (Code::Unavailable, Certainty::NotStored));
            assert!(failure.cause().contains("the server's own words"), "{failure:?}");
        }
        for code in [Code::Conflict, Code::InvalidEntry, Code::BadBatch, Code::StorageFull] {
            assert_eq!((refused(code).code, &*refused(code).message()), (code, "the server's own words"));
        }
    }
}
