//! The streaming calls of the logger, which no other transport has: a bulk load, entries with acknowledgements, a tail.
//!
//! Each call has a connection of its own: who reads slowly holds up nobody else's.

use std::time::Duration;

use futures_util::{Stream, StreamExt, future::join_all, stream::BoxStream};
use proto::{
    Code, Failure, LogEntry, Outcome,
    grpc::{
        self, EntryResult, LogRequest, SyncResponse, WriteLogsResponse, log_service_client::LogServiceClient,
        log_service_server,
    },
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use uuid::Uuid;

use super::{Reason, client, endpoint, entry_result, is_connect};
use crate::{
    LOGGER, Settings,
    dial::Dialer,
    endpoints::LoggerAddress,
    lookup::addresses_of,
    tls::{Protocol, refused_by_alert},
};

/// Most bytes that the other end may send and that are not taken yet.
const WINDOW_BYTES: u32 = 256 * 1024;

/// The same for the connection, which carries one call: more, since h2 takes half of it for the measure of how many small
/// messages may wait, and ends the connection with more.
const CONNECTION_WINDOW_BYTES: u32 = 8 * WINDOW_BYTES;

/// How long the logger may take to begin an answer that is a stream.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one of several loggers may take to say that it is there, before another is asked.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes the calls, each to any logger that is there.
#[derive(Debug, Clone)]
pub struct Streams {
    loggers: Vec<LoggerAddress>,
    dialer: Dialer,
}

/// What became of the entries of a bulk load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// So many, from the first on, are settled. What became of later ones is not known; sending them again is safe.
    pub settled: u64,
    /// Of these so many are new.
    pub stored: u64,
    /// So many were stored before.
    pub duplicate: u64,
    /// So many can never be stored.
    pub refused: u64,
    /// The first 100 of these: their positions, counted from 0, and why.
    pub refusals: Vec<(u64, Failure)>,
    /// Why the logger stopped before the end; `None`: it took all.
    pub stopped: Option<Failure>,
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its position in the stream, counted from 0.
    pub position: u64,
    /// Its id; `None` if it could not be read.
    pub id: Option<Uuid>,
    /// Stored or duplicate, or why it can never be stored.
    pub result: Result<Outcome, Failure>,
}

impl Streams {
    /// Connects when there is something to call.
    pub fn new(settings: &Settings) -> Self {
        let dialer = Dialer::new(settings.tls.as_ref(), Protocol::Grpc).gathering();
        Streams { loggers: settings.endpoints.loggers(), dialer }
    }

    /// Stores any number of entries, each for itself. Takes them as fast as the logger stores them.
    ///
    /// # Errors
    /// If the connection is not there, or is lost before the answer: what became of the entries is not known then.
    pub async fn write_logs(
        &self,
        entries: impl Stream<Item = LogEntry> + Send + 'static,
    ) -> Result<Loaded, Failure> {
        let answer = self.client().await?.write_logs(entries.map(request)).await;
        loaded(answer.map_err(failure)?.into_inner())
    }

    /// Stores entries, and says of each when it is settled. At most 1,024 are under way: beyond that the entries are
    /// taken as the acknowledgements are. When the stream of acknowledgements is dropped, no more entries are taken.
    ///
    /// # Errors
    /// If the connection is not there. One that is lost later is the last item of the stream: what became of the entries
    /// without acknowledgement is not known then.
    pub async fn sync_logs(
        &self,
        entries: impl Stream<Item = LogEntry> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<Acknowledged, Failure>>, Failure> {
        let mut client = self.client().await?;
        // To HTTP/2 the call goes on until both ends have ended it.
        let dropped = CancellationToken::new();
        let requests = entries.map(request).take_until(dropped.clone().cancelled_owned());
        let read = dropped.drop_guard();
        // Without an answer in time, some may be sent already.
        let answer = in_time(client.sync_logs(requests), Failure::unknown).await?;
        let acknowledgements = answer.into_inner().map(move |response| {
            let _lasts = &read;
            acknowledged(response.map_err(failure)?)
        });
        Ok(acknowledgements.boxed())
    }

    pub(super) async fn tail_logs(
        &self,
        query: &proto::TailQuery,
    ) -> Result<tonic::Streaming<grpc::TailResponse>, Failure> {
        let request = grpc::TailRequest::from(query);
        let mut client = self.client().await?;
        Ok(in_time(client.tail_logs(request), Failure::unreachable).await?.into_inner())
    }

    /// A client of a logger that is there; of the only one whether it is or not: the call will find out.
    async fn client(&self) -> Result<LogServiceClient<Channel>, Failure> {
        let loggers = self.now().await;
        if let [only] = &*loggers {
            return Ok(client(self.channel(only)));
        }
        let first = fastrand::usize(..loggers.len());
        let mut failed = Failure::unreachable(LOGGER);
        for logger in loggers[first..].iter().chain(&loggers[..first]) {
            let channel = self.channel(logger);
            match tokio::time::timeout(HEALTH_TIMEOUT, serves(channel.clone())).await {
                Ok(Ok(())) => return Ok(client(channel)),
                Ok(Err(failure)) => failed = failure,
                Err(_) => failed = Failure::unreachable(LOGGER).because("no answer in time"),
            }
        }
        Err(failed)
    }

    /// The loggers of now: a name is looked up for each call.
    async fn now(&self) -> Vec<LoggerAddress> {
        let each = self.loggers.iter().map(async |logger| {
            let Some(name) = logger.name() else { return vec![logger.clone()] };
            let ips = addresses_of(name).await.unwrap_or_default();
            if ips.is_empty() {
                return vec![logger.clone()];
            }
            ips.into_iter().map(|ip| logger.at(ip)).collect()
        });
        join_all(each).await.concat()
    }

    fn channel(&self, logger: &LoggerAddress) -> Channel {
        endpoint(&logger.grpc)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .connect_with_connector_lazy(self.dialer.clone().to(logger.ip))
    }
}

/// Whether a logger is there and takes calls. The course's does not know this call, and is there all the same.
async fn serves(channel: Channel) -> Result<(), Failure> {
    let service = log_service_server::SERVICE_NAME.to_owned();
    let asked = HealthClient::new(channel).check(HealthCheckRequest { service }).await;
    match asked {
        Ok(answer) if answer.get_ref().status() == ServingStatus::NotServing => {
            Err(Failure::draining(LOGGER))
        }
        Ok(_) => Ok(()),
        Err(status) if matches!(status.code(), tonic::Code::Unimplemented | tonic::Code::NotFound) => Ok(()),
        // No entry has been sent.
        Err(status) => Err(Failure::unreachable(LOGGER).because(Reason(status))),
    }
}

fn request(entry: LogEntry) -> LogRequest {
    LogRequest { log_entry: Some(grpc::log(&entry, None)) }
}

async fn in_time<T>(
    answer: impl Future<Output = Result<T, Status>>,
    otherwise: fn(&str) -> Failure,
) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(failure),
        Err(_) => Err(otherwise(LOGGER).because("no answer in time")),
    }
}

/// What an error of the protocol says.
pub(super) fn failure(status: Status) -> Failure {
    if is_connect(&status) || refused_by_alert(&status) {
        return Failure::unreachable(LOGGER).because(Reason(status));
    }
    if status.code() == tonic::Code::Unimplemented {
        let message = "the logger does not have this call: it is of another release, or the course's";
        return Failure::new(Code::NotFound, message).because(Reason(status));
    }
    grpc::failure(&status).unwrap_or_else(|| Failure::unknown(LOGGER).because(Reason(status)))
}

fn loaded(response: WriteLogsResponse) -> Result<Loaded, Failure> {
    let refusals = response.refusals.into_iter().map(|refusal| {
        let failure = Failure::heard(super::read_word(&refusal.code)?, refusal.message);
        let failure = refusal.id.parse().into_iter().fold(failure, Failure::about);
        Ok((refusal.position, failure))
    });
    let refusals = refusals.collect::<Result<_, Failure>>()?;
    let stopped = match response.code.as_str() {
        "" => None,
        code => Some(Failure::heard(super::read_word(code)?, response.message)),
    };
    Ok(Loaded {
        settled: response.settled,
        stored: response.stored,
        duplicate: response.duplicate,
        refused: response.refused,
        refusals,
        stopped,
    })
}

fn acknowledged(response: SyncResponse) -> Result<Acknowledged, Failure> {
    let SyncResponse { position, id, outcome, code, message, .. } = response;
    let id: Option<Uuid> = id.parse().ok();
    let result = entry_result(EntryResult { outcome, code, message, ..EntryResult::default() })?;
    let result = result.map_err(|failure| id.into_iter().fold(failure, Failure::about));
    Ok(Acknowledged { position, id, result })
}
