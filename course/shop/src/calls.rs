//! Calls between the services: connections, deadlines that are passed on, the trace, and waits before a retry.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use spans::{Span, SpanKind};
use tonic::{
    Request, Response, Status,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};

use crate::refusal::{self, Refusal};

/// How long a connection may take to be there.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// How often a connection is tried, and how long the answer may take.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that is made when it is needed, and made again when it is lost.
pub fn channel(url: &Uri) -> Channel {
    Endpoint::from(url.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_lazy()
}

/// A call that has so long, and says in which span it is made.
pub fn within<T>(timeout: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    in_trace(request.metadata_mut());
    request
}

/// Writes the current span into the metadata of a call.
pub fn in_trace(metadata: &mut MetadataMap) {
    let headers: &mut HeaderMap = metadata.as_mut();
    spans::inject(|name, value| {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    });
}

/// Waits for the answer to a call, and no longer than `timeout`: the server is told the same, but may be frozen.
///
/// # Errors
/// What the server answers, or that it did not.
pub async fn answer<T>(
    timeout: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(timeout, call).await {
        Ok(answered) => answered.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("there was no answer in time")),
    }
}

/// How long the caller waits, by the metadata of its call.
pub fn deadline(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.checked_mul(3_600)?),
        "M" => Duration::from_secs(number.checked_mul(60)?),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Answers a call within a span of its own in the trace of its caller.
///
/// # Errors
/// What `answer` refuses, as its status.
pub async fn traced<R, T, W>(
    name: &'static str,
    request: Request<R>,
    answer: impl FnOnce(R) -> W,
) -> Result<Response<T>, Status>
where
    W: Future<Output = Result<T, Refusal>>,
{
    let (metadata, _, message) = request.into_parts();
    let caller = spans::extract(|name| metadata.get(name).and_then(|value| value.to_str().ok()));
    let span = Span::entering(name, SpanKind::Server, caller);
    let answered = span.around(answer(message)).await;
    answered.map(Response::new).map_err(|refusal| {
        let status = Status::from(refusal);
        span.fail(refusal::word(&status).to_owned());
        status
    })
}

/// The trace that the current span belongs to, as the log has it.
pub fn trace_id() -> Option<String> {
    spans::current_id().map(|id| id.to_string())
}

/// Waits that double, with jitter, for ever.
#[derive(Debug)]
pub struct Waits {
    waits: ExponentialBackoff,
    longest: Duration,
}

impl Waits {
    /// From the beginning: the first, and the longest before jitter of up to as much again.
    pub fn new(first: Duration, longest: Duration) -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(first)
            .with_max_delay(longest)
            .with_factor(2.0)
            .with_jitter()
            .without_max_times()
            .build();
        Waits { waits, longest }
    }

    /// The next one.
    pub fn next_wait(&mut self) -> Duration {
        self.waits.next().unwrap_or(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_of_a_call_is_read_in_every_unit() {
        let read = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().expect("ASCII"));
            deadline(&metadata)
        };
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("1500m"), Some(Duration::from_millis(1_500)));
        assert_eq!(read("7000000n"), Some(Duration::from_millis(7)));
        for wrong in ["", "S", "2", "2x", "99999999999999999999H"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        let request = within(Duration::from_millis(500), ());
        assert_eq!(deadline(request.metadata()), Some(Duration::from_millis(500)));
    }
}
