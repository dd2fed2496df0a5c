//! The timeout for the head of a request, from its first byte on.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Sleep;

use crate::client::Client;

/// How long that is.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The head of the next request, while it comes in.
#[derive(Debug, Default)]
pub(super) struct Head {
    turn: u64,
    has_begun: bool,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Head {
    /// Something was read.
    pub(super) fn read(&mut self, client: &Client) {
        self.has_begun = self.is_awaited(client);
    }

    /// Is ready when the time is over. To be asked while nothing can be read.
    pub(super) fn poll_timeout(&mut self, client: &Client, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_awaited(client) || !self.has_begun {
            return Poll::Pending;
        }
        self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(TIMEOUT))).as_mut().poll(cx)
    }

    /// Whether nothing has come of the next request, and there is none.
    pub(super) fn is_between(&mut self, client: &Client) -> bool {
        self.is_awaited(client) && !self.has_begun
    }

    /// Whether what comes next is of a head; a body belongs to a request that is there.
    fn is_awaited(&mut self, client: &Client) -> bool {
        let turn = client.turn();
        if turn != self.turn {
            *self = Head { turn, ..Head::default() };
        }
        !client.is_asking()
    }
}
