//! Whether anybody still reads what is written to standard output.

use std::{
    io::{self, ErrorKind},
    os::fd::AsFd,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::{Ending, problem::Problem};

/// Does what tells on standard output and nothing else, for as long as somebody reads it. By writing alone one would
/// learn that nobody does with the next entry, which may be long in coming.
pub(crate) async fn while_read(
    work: impl Future<Output = Result<Ending, Problem>>,
) -> Result<Ending, Problem> {
    tokio::select! {
        biased;
        result = work => result,
        () = unread() => Err(io::Error::from(ErrorKind::BrokenPipe).into()),
    }
}

/// Waits until the other end of standard output is closed, be it a pipe, a socket or a terminal; for ever where there is
/// none, as with a file.
async fn unread() {
    if !matches!(tokio::task::spawn_blocking(closed).await, Ok(true)) {
        std::future::pending().await
    }
}

/// Waits for it in the kernel: the end of the process ends it. Returns whether it was that.
fn closed() -> bool {
    let output = io::stdout();
    // To hear of nothing but what cannot be left out: an error, and that the other end hangs up.
    let mut asked = [PollFd::new(output.as_fd(), PollFlags::empty())];
    loop {
        match poll(&mut asked, PollTimeout::NONE) {
            Ok(_) => {
                let told = asked[0].revents().unwrap_or(PollFlags::POLLNVAL);
                return told.intersects(PollFlags::POLLERR | PollFlags::POLLHUP);
            }
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}
