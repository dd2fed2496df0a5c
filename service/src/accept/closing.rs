//! Closes a port without breaking a connection. What is in the backlog of a socket that is closed, Linux resets, and its
//! client may have sent a request by then: it took the connection for open.

use std::{io, time::Duration};

use tokio::{net::TcpListener, time::Instant};

use super::BACKLOG;

/// How long a connection that was half open may take: its client's last segment is on its way.
const ROUND_TRIP: Duration = Duration::from_millis(20);

/// What is still accepted of a port that closes.
#[derive(Debug)]
pub(super) struct Closing {
    /// Until then, and then what is in the backlog.
    pub(super) until: Instant,
    left: u32,
}

impl Closing {
    pub(super) fn begin() -> Self {
        Closing { until: Instant::now() + ROUND_TRIP, left: BACKLOG }
    }

    /// Takes one more. Returns whether it may: no more can have been waiting.
    pub(super) fn takes(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }
}

/// Lets no connection begin any more, while those that have begun still open: segments with SYN are dropped. Their clients
/// send them again after a second, or connect to another address before.
///
/// # Errors
/// If the kernel knows no such filter: a connection that begins in the very moment in which the port is closed is reset
/// then.
#[cfg(target_os = "linux")]
pub(super) fn drop_new(listener: &TcpListener) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};

    // Instructions of BPF, as in linux/bpf_common.h. What is accepted has the filter too, and no use for such segments.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    // Where TCP's header has its flags, and which of them it is.
    const FLAGS: u32 = 13;
    const SYN: u32 = 2;
    const DROP: u32 = 0;
    const PASS: u32 = u32::MAX;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, DROP),
        SockFilter::new(RETURN, 0, 0, PASS),
    ])
}

#[cfg(not(target_os = "linux"))]
pub(super) fn drop_new(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
