//! `grpc`: Protocol Buffers over one kept HTTP/2 connection, many calls at a time.

mod streams;
mod tail;

pub use self::{
    streams::{Acknowledged, Loaded, Streams},
    tail::{Tail, Tailed},
};
pub use crate::address::GrpcUrl;

use std::{convert::Infallible, error::Error, fmt, sync::Arc};

use proto::{
    Batch, BatchMode, BatchReceipt, Failure, LogEntry, Outcome, Receipt, Transport,
    grpc::{
        self, BatchRequest, EntryResult, GrpcBatchMode, LogRequest, LogResponse,
        log_service_client::LogServiceClient,
    },
    limits::FRAME_BYTES,
};
use tokio::task::JoinSet;
use tonic::{
    ConnectError, Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, LOGGER, Receipts, Settings,
    backoff::Gate,
    dial::Dialer,
    endpoints::LoggerAddress,
    metrics::reconnects,
    receipts::{NoBatchCall, pong},
    tls::{Protocol, refused_by_alert},
    traced,
    wire::Wire,
};

/// The client.
#[derive(Debug)]
pub struct Grpc {
    client: LogServiceClient<Channel>,
    gate: Arc<Gate>,
    came_by: Option<Transport>,
    _healer: JoinSet<Infallible>,
}

impl Grpc {
    /// Makes the client; it dials when there is something to send, and after a dial that failed until one does not.
    pub fn new(settings: &Settings) -> Self {
        Self::to(&settings.endpoints.first(), settings, &Arc::default())
    }

    /// The same for a logger of several, whose bytes are counted together.
    pub(crate) fn to(logger: &LoggerAddress, settings: &Settings, wire: &Arc<Wire>) -> Self {
        let dialer = Dialer::new(settings.tls.as_ref(), Protocol::Grpc).gathering().counting(wire);
        let channel = endpoint(&logger.grpc).connect_with_connector_lazy(dialer.to(logger.ip));
        let gate = Arc::new(Gate::new(reconnects(Transport::Grpc)));
        let (healed, prober) = (Arc::clone(&gate), channel.clone());
        let mut healer = JoinSet::new();
        healer.spawn(async move { healed.heal(LOGGER, || answers(prober.clone())).await });
        Grpc { client: client(channel), gate, came_by: settings.came_by, _healer: healer }
    }

    /// Delivers entries: one alone by `WriteLog`, which every logger has, more by `WriteBatch`.
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

    /// Whether the last call found the logger.
    pub fn reachable(&self) -> bool {
        self.gate.is_open()
    }

    async fn write_one(&self, entry: &LogEntry) -> Result<Receipt, Failure> {
        self.gate.check()?;
        let request = LogRequest { log_entry: Some(grpc::log(entry, self.came_by)) };
        let response = self.client.clone().write_log(in_trace(request)).await;
        receipt(self.answered(response)?.into_inner())
    }

    async fn write_many(&self, entries: &[LogEntry], mode: BatchMode) -> Result<BatchReceipt, Failure> {
        self.gate.check()?;
        let log_entries = entries.iter().map(|entry| grpc::log(entry, self.came_by)).collect();
        let request = BatchRequest { log_entries, mode: GrpcBatchMode::from(mode).into() };
        let response = self.client.clone().write_batch(in_trace(request)).await;
        if response.as_ref().is_err_and(is_no_such_call) {
            self.gate.reopen();
            return Err(NoBatchCall::of(LOGGER));
        }
        let response = self.answered(response)?.into_inner();
        let results = response.results.into_iter().map(entry_result).collect::<Result<_, _>>()?;
        Ok(BatchReceipt { results, store_us: Some(response.store_us) })
    }

    fn answered<T>(&self, response: Result<T, Status>) -> Result<T, Failure> {
        response.inspect(|_| self.gate.reopen()).map_err(|status| self.failure(status))
    }

    /// What an error of the protocol says of the entry: without a connection nothing was sent.
    fn failure(&self, status: Status) -> Failure {
        if is_connect(&status) || refused_by_alert(&status) {
            let failure = Failure::unreachable(LOGGER).because(Reason(status));
            self.gate.close(&failure);
            return failure;
        }
        match grpc::failure(&status) {
            Some(refusal) => {
                self.gate.reopen();
                refusal
            }
            None if is_no_such_call(&status) => {
                self.gate.reopen();
                Failure::no_such_call(LOGGER, "LOGGER_GRPC_URL").because(Reason(status))
            }
            // What has a cause was made here; this was answered, so something is there.
            None if status.source().is_none() && !status.message().is_empty() => {
                self.gate.reopen();
                Failure::foreign(LOGGER, status.message()).because(Reason(status))
            }
            None => Failure::unknown(LOGGER).because(Reason(status)),
        }
    }
}

/// The logger's address, and how a connection to it is kept.
fn endpoint(url: &GrpcUrl) -> Endpoint {
    Endpoint::from(url.uri().clone())
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
}

fn client(channel: Channel) -> LogServiceClient<Channel> {
    LogServiceClient::new(channel)
        .max_decoding_message_size(FRAME_BYTES)
        .max_encoding_message_size(FRAME_BYTES)
}

/// Whether the logger is there. The course's does not know this call, and is there all the same.
async fn answers(channel: Channel) -> Result<(), Failure> {
    match HealthClient::new(channel).check(HealthCheckRequest::default()).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == tonic::Code::Unimplemented => Ok(()),
        Err(status) => Err(Failure::unreachable(LOGGER).because(Reason(status))),
    }
}

/// A call that says in which span it is made.
fn in_trace<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    traced::inject(request.metadata_mut().as_mut());
    request
}

/// Whether a logger that is not ours says that it has no such call.
fn is_no_such_call(status: &Status) -> bool {
    status.code() == tonic::Code::Unimplemented && grpc::failure(status).is_none()
}

fn is_connect(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Why a call failed, in words. The status itself would show what lies behind it in a form for debugging.
#[derive(Debug)]
struct Reason(Status);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reason(status) = self;
        let mut words = match status.message() {
            "" => status.code().description().to_owned(),
            message => message.to_owned(),
        };
        let mut cause = status.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !words.ends_with(&more) {
                words = format!("{words}: {more}");
            }
            cause = error.source();
        }
        f.write_str(&words)
    }
}

impl Error for Reason {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

fn receipt(response: LogResponse) -> Result<Receipt, Failure> {
    // The course's logger says no more than `result`.
    if response.outcome.is_empty() {
        return Ok(Receipt { outcome: Outcome::Stored, store_us: None });
    }
    Ok(Receipt { outcome: read_word(&response.outcome)?, store_us: Some(response.store_us) })
}

fn entry_result(result: EntryResult) -> Result<Result<Outcome, Failure>, Failure> {
    if result.code.is_empty() {
        return read_word(&result.outcome).map(Ok);
    }
    Ok(Err(Failure::heard(read_word(&result.code)?, result.message)))
}

fn read_word<T: std::str::FromStr<Err: Error + Send + Sync + 'static>>(word: &str) -> Result<T, Failure> {
    word.parse().map_err(|error| Failure::unknown(LOGGER).because(error))
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use super::*;

    #[test]
    fn a_reason_is_in_words() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens");
        let shown = |status: Status| Reason(status).to_string();
        assert_eq!(shown(Status::from_error(Box::new(refused))), "nobody listens");
        assert_eq!(shown(Status::unavailable("")), "The service is currently unavailable");
        let mut wrapped = Status::unavailable("tcp connect error");
        wrapped.set_source(Arc::new(io::Error::other("nobody listens")));
        assert_eq!(shown(wrapped), "tcp connect error: nobody listens");
    }
}
