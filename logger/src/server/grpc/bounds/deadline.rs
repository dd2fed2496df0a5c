//! The deadline that a client sets for a call with a streaming response. For the others tonic enforces it.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tokio::time::Instant;
use tonic::{Status, metadata::MetadataMap};

/// When the call is to end; `None` if its caller does not say, or says what cannot be read.
pub(in crate::server::grpc) fn of(metadata: &MetadataMap) -> Option<Instant> {
    let timeout = parse(metadata.get("grpc-timeout")?.to_str().ok()?)?;
    Instant::now().checked_add(timeout)
}

/// Up to eight digits and a unit, as the protocol of gRPC has it.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// The responses, until the deadline. `held` is dropped with them.
pub(in crate::server::grpc) fn within<T, Held: Send>(
    deadline: Option<Instant>,
    responses: impl Stream<Item = Result<T, Status>> + Send,
    held: Held,
) -> impl Stream<Item = Result<T, Status>> + Send {
    stream::unfold(Some((Box::pin(responses), held)), move |state| async move {
        let (mut responses, held) = state?;
        let next = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, responses.next()).await,
            None => Ok(responses.next().await),
        };
        match next {
            Ok(response) => Some((response?, Some((responses, held)))),
            Err(_) => Some((Err(Status::deadline_exceeded("the deadline of the call has expired")), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_as_the_protocol_has_it() {
        for (text, timeout) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("100000000m", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("1s", None),
            ("+1S", None),
            ("1\u{e4}", None),
        ] {
            assert_eq!(parse(text), timeout, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_its_deadline() {
        let numbers = || stream::iter([Ok(1), Ok(2)]).chain(stream::pending::<Result<i32, Status>>());
        let in_time = Instant::now() + Duration::from_secs(1);
        let told: Vec<_> = within(Some(in_time), numbers(), ()).collect().await;
        let codes: Vec<_> = told.into_iter().map(|told| told.map_err(|status| status.code())).collect();
        assert_eq!(codes, [Ok(1), Ok(2), Err(tonic::Code::DeadlineExceeded)]);
        let unbounded: Vec<_> = within(None, stream::iter([Ok(1)]), ()).map(|told| told.ok()).collect().await;
        assert_eq!(unbounded, [Some(1)]);
    }
}
