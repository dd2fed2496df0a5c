//! The body of a call, within limits of time and memory.

mod messages;

use std::time::Duration;

use axum::{
    BoxError,
    body::{Body, Bytes},
};
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use proto::{Code, Failure, grpc::status};
use service::{BODY_TIMEOUT, BodyError, Part};
use tokio::time::Instant;

use self::messages::{Messages, Unread};

/// How long a sender of a stream may be silent between two messages.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// About what a call takes in memory before its message is there, besides its metadata.
const CALL_BYTES: usize = 8 * 1024;

/// How much a call sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sends {
    /// One message: it must be there in time, with the end of the body.
    One,
    /// Any number, each of which must be there in time once it has begun.
    Many,
}

impl Sends {
    /// What a call of this path does.
    pub(super) fn by(path: &str) -> Self {
        match path {
            "/logs.LogService/WriteLogs" | "/logs.LogService/SyncLogs" => Sends::Many,
            _ if path.starts_with("/grpc.reflection.") => Sends::Many,
            _ => Sends::One,
        }
    }
}

/// Bounds a body. The call takes room in `part`, with its metadata, until its body has ended, and a message while it
/// comes in; that is given back when it is decoded: from there on its entries count, in the writer's queue.
pub(super) fn bounded(body: Body, metadata: &HeaderMap, part: Part, sends: Sends) -> Body {
    let first = match sends {
        Sends::One => BODY_TIMEOUT,
        Sends::Many => IDLE_TIMEOUT,
    };
    let call_bytes =
        CALL_BYTES + metadata.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    let mut state = Bounded {
        part,
        call_bytes,
        sends,
        messages: Messages::default(),
        whole_messages: 0,
        deadline: Instant::now() + first,
        refusal: None,
    };
    if let Err(failure) = state.hold(0) {
        return Body::from_stream(stream::iter([Err::<Bytes, _>(status(&failure))]));
    }
    let frames = stream::unfold(Some((body.into_data_stream(), state)), |reading| async {
        let (mut frames, mut state) = reading?;
        if let Some(refusal) = state.refusal.take() {
            return Some((Err(BoxError::from(status(&refusal))), None));
        }
        let next = tokio::select! {
            biased;
            next = tokio::time::timeout_at(state.deadline, frames.next()) => next,
            () = state.part.gave_way() => Ok(Some(Err(axum::Error::new(status(&no_room()))))),
        };
        let frame = match next {
            Ok(None) => Err(BoxError::from(status(&state.end()?))),
            Ok(Some(Ok(data))) => state.take(data).map_err(|failure| BoxError::from(status(&failure))),
            Ok(Some(Err(error))) => Err(BoxError::from(error)),
            Err(_) => Err(status(&Failure::new(Code::SlowRequest, BodyError::TooSlow.to_string())).into()),
        };
        // After an error there is nothing more.
        let reading = frame.is_ok().then_some((frames, state));
        Some((frame, reading))
    });
    Body::from_stream(frames)
}

fn no_room() -> Failure {
    Failure::overloaded("the logger")
}

struct Bounded {
    part: Part,
    /// What the call itself takes.
    call_bytes: usize,
    sends: Sends,
    messages: Messages,
    whole_messages: usize,
    /// When the next bytes must be there.
    deadline: Instant,
    /// Of the message that comes next, once those before it are handed on.
    refusal: Option<Failure>,
}

impl Bounded {
    /// Takes room for the call, and for so much of its messages.
    fn hold(&mut self, bytes: usize) -> Result<(), Failure> {
        self.part.resize(self.call_bytes + bytes).map_err(|_| no_room())
    }

    fn take(&mut self, data: Bytes) -> Result<Bytes, Failure> {
        // What the decoder keeps: the message that is not yet whole, and these bytes.
        self.hold(self.messages.half_bytes() + data.len())?;
        let begins = self.messages.half_bytes() == 0;
        let ended = match self.messages.pass(&data) {
            Ok(ended) => ended,
            Err(Unread { failure, whole_bytes }) if self.sends == Sends::Many && whole_bytes > 0 => {
                self.refusal = Some(failure);
                return Ok(data.slice(..whole_bytes));
            }
            Err(Unread { failure, .. }) => return Err(failure),
        };
        self.whole_messages += ended;
        match self.sends {
            // tonic would drop what comes after the first.
            Sends::One if self.whole_messages > 1 || (self.whole_messages == 1 && self.is_in_message()) => {
                return Err(Failure::new(Code::BadField, "this call takes one message, but received more"));
            }
            // The whole body has one deadline.
            Sends::One => {}
            Sends::Many if !self.is_in_message() => self.deadline = Instant::now() + IDLE_TIMEOUT,
            Sends::Many if begins || ended > 0 => self.deadline = Instant::now() + BODY_TIMEOUT,
            Sends::Many => {}
        }
        Ok(data)
    }

    fn is_in_message(&self) -> bool {
        self.messages.half_bytes() > 0
    }

    /// What is wrong with a body that ends here.
    fn end(&self) -> Option<Failure> {
        let what = match self.sends {
            _ if self.is_in_message() => "the message is incomplete",
            Sends::One if self.whole_messages == 0 => "missing message: this call takes one",
            Sends::One | Sends::Many => return None,
        };
        Some(Failure::new(Code::BadField, what))
    }
}

#[cfg(test)]
mod tests {
    use proto::limits::FRAME_BYTES;

    use super::*;

    fn message(bytes: u8) -> Vec<u8> {
        [vec![0, 0, 0, 0, bytes], vec![7; bytes.into()]].concat()
    }

    #[test]
    fn the_ends_of_messages_are_found_however_they_are_cut() {
        let body = [message(3), message(0), message(200), message(1)].concat();
        let ends = [8, 13, 218, 224];
        for step in [1, 2, 3, 5, 7, 100, body.len()] {
            let mut messages = Messages::default();
            let mut passed = 0;
            for piece in body.chunks(step) {
                let last_end =
                    ends.iter().rev().find(|end| **end <= passed + piece.len()).copied().unwrap_or(0);
                let ended = messages.pass(piece).expect("small and plain");
                let expected = ends.iter().filter(|end| (passed + 1..=passed + piece.len()).contains(end));
                assert_eq!(ended, expected.count(), "{step} {passed}");
                passed += piece.len();
                assert_eq!(messages.half_bytes(), passed - last_end, "{step} {passed}");
            }
        }
    }

    /// For one call, with so much of its messages.
    fn share(bytes: usize) -> service::Share {
        service::Room::new(CALL_BYTES + bytes, CALL_BYTES + bytes).share(None)
    }

    fn in_share(body: Body, share: &service::Share, sends: Sends) -> axum::body::BodyDataStream {
        bounded(body, &HeaderMap::new(), share.part(), sends).into_data_stream()
    }

    #[tokio::test]
    async fn what_is_not_as_the_call_takes_it_is_refused_with_a_code_however_it_is_cut() {
        let large = [&[0][..], &u32::try_from(FRAME_BYTES + 1).expect("small").to_be_bytes(), b"d"].concat();
        let packed = [&[1][..], &message(3)[1..]].concat();
        let two = [message(3), message(0)].concat();
        let cases: [(&[u8], Option<Code>, Option<Code>); 7] = [
            (&message(3), None, None),
            (&message(3)[..7], Some(Code::BadField), Some(Code::BadField)),
            (&message(3)[..2], Some(Code::BadField), Some(Code::BadField)),
            (&[], Some(Code::BadField), None),
            (&two, Some(Code::BadField), None),
            (&large, Some(Code::TooLarge), Some(Code::TooLarge)),
            (&packed, Some(Code::BadField), Some(Code::BadField)),
        ];
        for (body, one, many) in cases {
            for (sends, code) in [(Sends::One, one), (Sends::Many, many)] {
                for step in [1, 2, 5, 8, 100] {
                    let share = share(1_000);
                    let pieces: Vec<_> =
                        body.chunks(step).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
                    let pieces = Body::from_stream(stream::iter(pieces));
                    let frames: Vec<_> = in_share(pieces, &share, sends).collect().await;
                    let refusal = frames.into_iter().find_map(Result::err).map(|error| {
                        let status = tonic::Status::from_error(error.into());
                        proto::grpc::failure(&status).expect("it is marked").code
                    });
                    assert_eq!(refusal, code, "{body:?} {sends:?} {step}");
                }
            }
        }
    }

    #[tokio::test]
    async fn what_comes_whole_before_a_message_that_is_refused_is_handed_on() {
        let packed = [&[1][..], &message(3)[1..]].concat();
        let body = [message(3), message(0), packed].concat();
        for step in [1, 7, 14, 15, 100] {
            let share = share(1_000);
            let pieces: Vec<_> =
                body.chunks(step).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
            let pieces = Body::from_stream(stream::iter(pieces));
            let mut frames = in_share(pieces, &share, Sends::Many);
            let mut passed = Vec::new();
            let refused = loop {
                match frames.next().await.expect("a refusal before the end") {
                    Ok(bytes) => passed.extend_from_slice(&bytes),
                    Err(_) => break frames.next().await.is_none(),
                }
            };
            assert!(refused && passed.starts_with(&body[..13]) && passed.len() < 18, "{step}: {passed:?}");
        }
    }

    #[tokio::test]
    async fn a_stream_takes_no_more_room_than_its_half_message() {
        let share = share(300);
        let body = Body::from_stream(stream::iter(
            [message(250), [message(250), message(200)].concat()].map(Ok::<_, std::io::Error>),
        ));
        let mut frames = in_share(body, &share, Sends::Many);
        assert!(frames.next().await.is_some_and(|frame| frame.is_ok()), "the first finds room");
        assert!(frames.next().await.is_some_and(|frame| frame.is_err()), "the second is more than there is");
        drop(frames);
        let small = std::iter::repeat_n(message(100), 50).flatten().collect::<Vec<u8>>();
        let pieces: Vec<_> = small.chunks(64).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
        let body = Body::from_stream(stream::iter(pieces));
        let mut frames = in_share(body, &share, Sends::Many);
        while let Some(frame) = frames.next().await {
            assert!(frame.is_ok(), "what was decoded has given its room back");
        }
    }

    #[tokio::test]
    async fn calls_with_much_metadata_and_no_message_give_way_to_one_with_little() {
        const CALLS: usize = 10;
        let room = service::Room::new(CALLS * 2 * CALL_BYTES, CALLS * 2 * CALL_BYTES);
        let (large, small) = (room.share(None), room.share(None));
        let metadata: HeaderMap = [("x", "y".repeat(CALL_BYTES - 1))]
            .into_iter()
            .map(|(name, value)| {
                let value = http::HeaderValue::try_from(value).expect("a value");
                (http::HeaderName::from_static(name), value)
            })
            .collect();
        let silent = || Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let call = |share: &service::Share| {
            bounded(silent(), &metadata, share.part(), Sends::One).into_data_stream()
        };
        let mut held: Vec<_> = (0..CALLS).map(|_| call(&large)).collect();
        for call in &mut held {
            assert!(futures_util::poll!(call.next()).is_pending());
        }
        assert!(futures_util::poll!(call(&large).next()).is_ready(), "one more of the same is refused");
        let whole = Body::from(message(9));
        let frames: Vec<_> = in_share(whole, &small, Sends::One).collect().await;
        assert!(frames.iter().all(|frame| frame.is_ok()));
        for call in &mut held {
            assert!(call.next().await.is_some_and(|frame| frame.is_err()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_has_begun_must_be_there_in_time_and_a_pause_between_two_may_be_longer() {
        let pause = async |seconds, bytes: Vec<u8>| {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok::<_, std::io::Error>(bytes)
        };
        let read = async |pieces: Vec<(u64, Vec<u8>)>, sends| {
            let pieces = stream::iter(pieces).then(move |(seconds, bytes)| pause(seconds, bytes));
            let body = Body::from_stream(Box::pin(pieces));
            let share = service::Room::new(2 * CALL_BYTES, 2 * CALL_BYTES).share(None);
            let frames: Vec<_> = in_share(body, &share, sends).collect().await;
            frames.last().is_some_and(|frame| frame.is_ok())
        };
        let (whole, half) = (message(9), message(9)[..7].to_vec());
        let rest = message(9)[7..].to_vec();
        assert!(read(vec![(9, whole.clone()), (200, whole.clone())], Sends::Many).await);
        assert!(!read(vec![(1, whole.clone()), (301, whole.clone())], Sends::Many).await);
        assert!(
            read(
                vec![(1, half.clone()), (9, rest.clone()), (9, half.clone()), (9, rest.clone())],
                Sends::Many
            )
            .await
        );
        assert!(!read(vec![(1, half.clone()), (11, rest.clone())], Sends::Many).await);
        assert!(!read(vec![(5, half), (6, rest)], Sends::One).await);
        assert!(read(vec![(11, whole.clone())], Sends::Many).await);
        assert!(!read(vec![(11, whole)], Sends::One).await);
    }
}
