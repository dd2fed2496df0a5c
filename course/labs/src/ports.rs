//! Ports for a learner's program. They lie below those that the system hands out by itself, and no socket holds them
//! back: a program that does not set `SO_REUSEADDR` must be able to bind.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use rand::RngExt;

/// Where they lie. RabbitMQ nodes of tests take theirs from 20000 on.
const RANGE: std::ops::Range<u16> = 24_000..30_000;

/// How many are tried.
const ATTEMPTS: u32 = 200;

/// A free one on loopback.
///
/// # Errors
/// If none is found.
pub fn free() -> anyhow::Result<SocketAddr> {
    for _ in 0..ATTEMPTS {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::rng().random_range(RANGE)));
        // With SO_REUSEPORT an old process would share the port unseen, so it is called as well.
        if TcpStream::connect(address).is_err() && TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    anyhow::bail!("no free port was found from {} to {}", RANGE.start, RANGE.end)
}
