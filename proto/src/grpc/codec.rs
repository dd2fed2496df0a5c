//! The codec of the generated service: Protocol Buffers, and a bound on what a batch may grow to.
//!
//! An entry without fields takes two bytes on the wire and 144 in memory. So the fields of a batch are counted
//! before any of it is decoded.

use std::marker::PhantomData;

use prost::{DecodeError, Message, bytes::Buf};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstEncoder};

use super::{
    BatchRequest, BatchResponse, LogRequest, LogResponse, SyncResponse, TailRequest, TailResponse,
    WriteLogsResponse, status,
};
use crate::{Code, Failure, batch::too_many, limits::BATCH_ENTRIES};

/// What a message may hold.
pub(super) trait FieldBound: Message + Default + 'static {
    /// Most fields of a message, those of repeated fields counted each; `None`: as many as there are.
    const FIELDS: Option<usize> = None;

    /// Whether a caller sends it. One that cannot be read is refused then, and was not stored; of an answer that cannot
    /// be read nothing certain follows.
    const ASKS: bool = false;
}

impl FieldBound for BatchRequest {
    /// The entries, and room for the mode and for what a later version may add.
    const FIELDS: Option<usize> = Some(BATCH_ENTRIES + 16);
    const ASKS: bool = true;
}

/// A field that is given twice is merged or overwritten: it takes no more memory.
impl FieldBound for LogRequest {
    const ASKS: bool = true;
}
impl FieldBound for TailRequest {
    const ASKS: bool = true;
}

/// The logger's answers are as long as what was asked.
impl FieldBound for LogResponse {}
impl FieldBound for BatchResponse {}
impl FieldBound for WriteLogsResponse {}
impl FieldBound for SyncResponse {}
impl FieldBound for TailResponse {}

/// Encodes as [`ProstCodec`] does, and decodes what keeps within its bounds.
#[derive(Debug, Clone)]
pub(super) struct BoundedCodec<Out, In>(PhantomData<(Out, In)>);

impl<Out, In> Default for BoundedCodec<Out, In> {
    fn default() -> Self {
        BoundedCodec(PhantomData)
    }
}

impl<Out: Message + 'static, In: FieldBound> Codec for BoundedCodec<Out, In> {
    type Encode = Out;
    type Decode = In;
    type Encoder = ProstEncoder<Out>;
    type Decoder = BoundedDecoder<In>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<Out, In>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

#[derive(Debug, Clone)]
pub(super) struct BoundedDecoder<In>(PhantomData<In>);

impl<In: FieldBound> Decoder for BoundedDecoder<In> {
    type Item = In;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<In>, Status> {
        // Counting must not use the message up. This takes the bytes over and copies none.
        let message = buf.copy_to_bytes(buf.remaining());
        if In::FIELDS.is_some_and(|limit| has_more_fields(message.clone(), limit)) {
            return Err(status(&too_many()));
        }
        In::decode(message).map(Some).map_err(|error| {
            if In::ASKS { status(&unreadable(&error)) } else { Status::internal(error.to_string()) }
        })
    }
}

fn unreadable(error: &DecodeError) -> Failure {
    let text = error.to_string();
    let (_, what) = text.split_once(": ").unwrap_or(("", &text));
    Failure::new(Code::BadField, format!("the message does not match logs.proto: {what}"))
}

/// Whether a message has more than `limit` fields. Those within a group count too. It looks no further than to
/// the first byte that is no Protocol Buffers: there prost stops too, and refuses the message.
fn has_more_fields(mut message: impl Buf, limit: usize) -> bool {
    (0..=limit).all(|_| skip_field(&mut message).is_some())
}

fn skip_field(message: &mut impl Buf) -> Option<()> {
    let key = varint(message)?;
    let bytes = match key & 7 {
        0 => varint(message).map(|_| 0),
        1 => Some(8),
        2 => varint(message)?.try_into().ok(),
        // A group begins or ends: no bytes of its own.
        3 | 4 => Some(0),
        5 => Some(4),
        _ => None,
    }?;
    (bytes <= message.remaining()).then(|| message.advance(bytes))
}

/// A number of up to ten bytes, seven bits in each, the lowest first. Bits beyond 64 are dropped.
fn varint(message: &mut impl Buf) -> Option<u64> {
    let mut number = 0;
    for shift in (0..70).step_by(7) {
        if !message.has_remaining() {
            return None;
        }
        let byte = message.get_u8();
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use prost::bytes::{BufMut, Bytes, BytesMut};
    use tonic::{
        Streaming,
        codegen::{Service, http},
    };

    use super::*;
    use crate::grpc::{
        Log, failure,
        log_service_server::{LogService, LogServiceServer},
    };

    const LIMIT: usize = BATCH_ENTRIES + 16;

    /// Field 1, a message without fields.
    const EMPTY_ENTRY: [u8; 2] = [0x0a, 0];

    fn framed(message: &[u8]) -> Full<Bytes> {
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(message.len().try_into().expect("the tests' messages are small"));
        frame.put_slice(message);
        Full::new(frame.freeze())
    }

    async fn decode(message: &[u8]) -> Result<BatchRequest, Status> {
        let decoder = BoundedCodec::<BatchResponse, BatchRequest>::default().decoder();
        let mut stream = Streaming::new_request(decoder, framed(message), None, None);
        Ok(stream.message().await?.expect("a message"))
    }

    struct Unreached;

    #[tonic::async_trait]
    impl LogService for Unreached {}

    #[tokio::test]
    async fn the_service_itself_refuses_it_in_our_own_words() {
        let request = http::Request::post("/logs.LogService/WriteBatch")
            .body(framed(&EMPTY_ENTRY.repeat(1_000_000)))
            .expect("a request");
        let response = LogServiceServer::new(Unreached).call(request).await.expect("a service answers");
        let refusal = Status::from_header_map(response.headers()).expect("the status is in the headers");
        assert_eq!(failure(&refusal), Some(too_many()));
    }

    #[tokio::test]
    async fn a_batch_of_too_many_fields_is_refused_before_it_is_decoded() {
        let at = decode(&EMPTY_ENTRY.repeat(LIMIT)).await.expect("the rest can count it");
        assert_eq!(at.log_entries.len(), LIMIT);
        // What comes after the count is not looked at.
        let over = [EMPTY_ENTRY.repeat(LIMIT + 1), vec![0xff; 20]].concat();
        let refusal = decode(&over).await.expect_err("too many");
        assert_eq!(failure(&refusal).map(|failure| failure.code), Some(Code::BadBatch));
    }

    #[tokio::test]
    async fn fields_that_are_no_entries_hide_none() {
        // A number, eight bytes, a group with text in it, and four bytes, in fields that the batch does not have.
        let others: [&[u8]; 4] = [
            &[0x18, 0xff, 0x01],
            &[0x21, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x2b, 0x0a, 2, b'a', b'b', 0x2c],
            &[0x35, 1, 2, 3, 4],
        ];
        for other in others {
            let sound = [other, &EMPTY_ENTRY.repeat(3)].concat();
            let batch = decode(&sound).await.expect("unknown fields are skipped");
            assert_eq!(batch.log_entries.len(), 3);
            let over = [other, &EMPTY_ENTRY.repeat(LIMIT)].concat();
            assert!(failure(&decode(&over).await.expect_err("too many")).is_some());
        }
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused_in_our_own_words() {
        let not_utf8 = [0x0a, 3, 0x0a, 1, 0xff];
        for broken in [&[0x0a, 200, 1][..], &[0x0f], &[0x80], &[0xff; 11], &[0x31, 1], &not_utf8] {
            let refusal = decode(broken).await.expect_err("broken");
            let failure = failure(&refusal).expect("it is marked");
            assert_eq!((refusal.code(), failure.code), (tonic::Code::InvalidArgument, Code::BadField));
            assert!(failure.message().starts_with("the message does not match logs.proto: "), "{failure}");
        }
        let refusal = decode(&not_utf8).await.expect_err("not UTF-8");
        assert!(refusal.message().contains("Log.name") && refusal.message().contains("UTF-8"), "{refusal}");
        let log = Log { name: "a".into(), ..Log::default() };
        let sound = BatchRequest { log_entries: vec![log; BATCH_ENTRIES], mode: 1 };
        assert_eq!(decode(&sound.encode_to_vec()).await.ok(), Some(sound));
    }

    #[tokio::test]
    async fn of_an_answer_that_cannot_be_read_nothing_is_certain() {
        let decoder = BoundedCodec::<LogRequest, LogResponse>::default().decoder();
        let status = http::StatusCode::OK;
        let mut stream = Streaming::new_response(decoder, framed(&[0x0f]), status, None, None);
        let error = stream.message().await.expect_err("broken");
        assert_eq!((error.code(), failure(&error)), (tonic::Code::Internal, None));
    }

    #[test]
    fn a_message_in_pieces_is_counted_whole() {
        let three = [&EMPTY_ENTRY[..], &[0x0a, 3, 1, 2, 3], &[0x18, 0x80, 0x01]].concat();
        for split in 0..=three.len() {
            let (head, tail) = three.split_at(split);
            assert!(has_more_fields(head.chain(tail), 2), "{split}");
            assert!(!has_more_fields(head.chain(tail), 3), "{split}");
        }
    }
}
