//! The tails of the logger that streams come from, and how many there may be.

use std::net::IpAddr;

use service::Places;
use transport::{Settings, grpc::Streams};

/// Most streams at a time. Each has a connection to the logger. Where there are as many, the caller that has most gives
/// one up for one that has fewer.
const STREAMS: usize = 64;

/// What tails come from, and how many there may be.
#[derive(Debug)]
pub(crate) struct Tails {
    pub(crate) streams: Streams,
    pub(crate) places: Places<Reader>,
}

/// Whose streams are counted together: those of a name in the file of keys; without keys those of an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Reader {
    Name(String),
    Address(IpAddr),
}

impl Tails {
    pub(crate) fn new(settings: &Settings) -> Self {
        Tails { streams: Streams::new(settings), places: Places::new(STREAMS) }
    }

    /// How many there are now.
    pub(crate) fn open(&self) -> usize {
        self.places.taken_now()
    }
}
