//! What is read of a request, within limits of size, time and memory, before anything of it is decoded.

use std::{io::Read, sync::Arc};

use axum::body::Body;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, HeaderName};
use proto::{
    Code, Failure,
    limits::{BODY_BYTES, IN_FLIGHT_BYTES},
};
use service::{BODY_TIMEOUT, BodyError, Client, Part, collect_body};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::handle::about_body;

/// How much is decompressed at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// A flag and four bytes of length stand before a message of gRPC.
pub(super) const PREFIX_BYTES: usize = 5;

/// The memory that requests may take of both ports together, from their last byte to their answer.
#[derive(Debug, Clone)]
pub(super) struct Memory(Arc<Semaphore>);

impl Memory {
    pub(super) fn new() -> Self {
        Memory(Arc::new(Semaphore::new(IN_FLIGHT_BYTES)))
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
        let permits = u32::try_from(bytes).expect("checked against a far lower limit");
        Arc::clone(&self.0).try_acquire_many_owned(permits).map_err(|_| Failure::overloaded("the broker"))
    }
}

/// A request that has come as a whole, without compression.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    memory: OwnedSemaphorePermit,
}

/// How a request is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// What a header of this name says.
    ///
    /// # Errors
    /// [`Code::UnsupportedEncoding`] for another.
    pub(super) fn of(headers: &HeaderMap, name: &HeaderName) -> Result<Self, Failure> {
        let Some(value) = headers.get(name) else { return Ok(Encoding::Identity) };
        match value.as_bytes().trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => Ok(Encoding::Identity),
            b"gzip" => Ok(Encoding::Gzip),
            _ => {
                let message = format!("unsupported {name}: use gzip, or none");
                Err(Failure::new(Code::UnsupportedEncoding, message))
            }
        }
    }

    /// Takes memory for what was packed like this, and unpacks it.
    ///
    /// # Errors
    /// If it is too large, is not packed like this, or finds no room.
    pub(super) fn unpack(self, packed: &[u8], memory: &Memory) -> Result<Message, Failure> {
        match self {
            Encoding::Identity => Ok(Message { memory: memory.take(packed.len())?, bytes: packed.to_vec() }),
            Encoding::Gzip => unzip(packed, memory),
        }
    }
}

/// How large it becomes is known only on the way.
fn unzip(packed: &[u8], memory: &Memory) -> Result<Message, Failure> {
    let mut message = Message { bytes: Vec::new(), memory: memory.take(0)? };
    let (mut decoder, mut piece) = (MultiGzDecoder::new(packed), vec![0; PIECE_BYTES]);
    loop {
        let count = decoder.read(&mut piece).map_err(|error| {
            Failure::new(Code::BadField, "the body is not in gzip, or is cut short; nothing was stored")
                .because(error)
        })?;
        if count == 0 {
            return Ok(message);
        }
        if message.bytes.len() + count > BODY_BYTES {
            return Err(about_body(BodyError::TooLarge));
        }
        message.memory.merge(memory.take(count)?);
        message.bytes.extend_from_slice(&piece[..count]);
    }
}

/// Reads the body of a call over HTTP/2, which has one message with its prefix.
///
/// # Errors
/// If it is too large, does not come in time, finds no room, or has to give way.
pub(super) async fn read(mut body: Body, client: &Client) -> Result<(Vec<u8>, Part), Failure> {
    let mut part = client.half_sent().part();
    let read = timeout(BODY_TIMEOUT, collect_body(&mut body, &mut part, PREFIX_BYTES + BODY_BYTES)).await;
    let bytes = read.unwrap_or(Err(BodyError::TooSlow)).map_err(about_body)?;
    Ok((bytes.into(), part))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use http::{HeaderValue, header::CONTENT_ENCODING};

    use super::*;

    fn zipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("a vector grows");
        encoder.finish().expect("a vector grows")
    }

    fn code(unpacked: Result<Message, Failure>) -> Option<Code> {
        unpacked.err().map(|failure| failure.code)
    }

    #[test]
    fn what_is_packed_is_unpacked_up_to_the_limit_of_a_body() {
        let memory = Memory::new();
        let bytes = vec![7; BODY_BYTES];
        let message = Encoding::Gzip.unpack(&zipped(&bytes), &memory).expect("as large as allowed");
        assert!(message.bytes == bytes);
        assert_eq!(memory.0.available_permits(), IN_FLIGHT_BYTES - BODY_BYTES);
        drop(message);
        let bomb = zipped(&vec![0; BODY_BYTES + 1]);
        assert_eq!(code(Encoding::Gzip.unpack(&bomb, &memory)), Some(Code::TooLarge));
        assert_eq!(memory.0.available_permits(), IN_FLIGHT_BYTES, "what was refused is given back");
        let packed = zipped(b"some text");
        for broken in [&b"no gzip"[..], &packed[..packed.len() - 1], &[]] {
            assert_eq!(code(Encoding::Gzip.unpack(broken, &memory)), Some(Code::BadField), "{broken:?}");
        }
    }

    #[test]
    fn without_memory_a_request_is_to_come_later() {
        let memory = Memory(Arc::new(Semaphore::new(100)));
        let held = Encoding::Identity.unpack(&[7; 60], &memory).expect("there is room");
        for encoding in [Encoding::Identity, Encoding::Gzip] {
            let packed = if encoding == Encoding::Gzip { zipped(&[7; 60]) } else { vec![7; 60] };
            assert_eq!(code(encoding.unpack(&packed, &memory)), Some(Code::Overloaded), "{encoding:?}");
        }
        drop(held);
        assert!(Encoding::Gzip.unpack(&zipped(&[7; 60]), &memory).is_ok());
    }

    #[test]
    fn an_encoding_is_one_of_two() {
        let of = |value: &'static str| {
            let headers = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(value))]);
            Encoding::of(&headers, &CONTENT_ENCODING).map_err(|failure| failure.code)
        };
        assert_eq!(
            (of("GZIP"), of("identity"), of("")),
            (Ok(Encoding::Gzip), Ok(Encoding::Identity), Ok(Encoding::Identity))
        );
        assert_eq!(of("br"), Err(Code::UnsupportedEncoding));
        assert_eq!(Encoding::of(&HeaderMap::new(), &CONTENT_ENCODING), Ok(Encoding::Identity));
    }
}
