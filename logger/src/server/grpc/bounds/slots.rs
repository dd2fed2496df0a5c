//! The slots for streaming calls.

use proto::{Code, Failure, grpc::status};
use service::{Place, Places};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::client;
use crate::metrics::{OpenStream, OpenStreams, StreamCall};

/// Maximum streams of entries that are read at a time, of all connections. Each may hold 4 MiB.
const UPLOADS: usize = 32;

/// Maximum tails at a time, of all connections. Each may hold 512 KiB.
const TAILS: usize = 128;

/// The concurrent streams: at the limit, the connection with the most gives one up for a connection with fewer.
#[derive(Debug)]
pub(in crate::server::grpc) struct Slots {
    uploads: Places<u64>,
    tails: Places<u64>,
    open: OpenStreams,
}

/// A place among them, for as long as it is held.
#[derive(Debug)]
pub(in crate::server::grpc) struct Slot {
    /// Cancelled when another connection needs the slot: the stream must end.
    pub(in crate::server::grpc) given_up: CancellationToken,
    _place: Place<u64>,
    _open: OpenStream,
}

impl Slots {
    pub(in crate::server::grpc) fn new() -> Self {
        Slots { uploads: Places::new(UPLOADS), tails: Places::new(TAILS), open: OpenStreams::new() }
    }

    pub(in crate::server::grpc) fn take(
        &self,
        call: StreamCall,
        extensions: &http::Extensions,
    ) -> Result<Slot, Status> {
        let full = Failure::overloaded("the logger");
        let (places, full) = match call {
            StreamCall::Write | StreamCall::Sync => (&self.uploads, full),
            StreamCall::Tail => (&self.tails, full.about_reading()),
        };
        let place = places.take(client(extensions).number());
        let place = place.ok_or_else(|| status(&full))?;
        Ok(Slot { given_up: place.given_up(), _place: place, _open: self.open.open(call) })
    }
}

/// What the stream of a connection that has many is told when others need its place. Of the entries of an upload some may be
/// at the writer, which stores them.
pub(in crate::server::grpc) fn given_up(call: StreamCall) -> Failure {
    const WHY: &str = "too many concurrent streams, most of them on this connection";
    match call {
        StreamCall::Write | StreamCall::Sync => {
            let message = format!(
                "{WHY}: entries after the last acknowledged one may be stored; resending them with the same id is safe"
            );
            Failure::new(Code::OutcomeUnknown, message)
        }
        StreamCall::Tail => {
            let message = format!("{WHY}: resume after the last received entry");
            Failure::new(Code::Overloaded, message)
        }
    }
}
