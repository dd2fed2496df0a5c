//! Ending a connection from outside its task.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

/// Ends a connection from outside its task. Clones are of the same connection.
#[derive(Debug, Clone, Default)]
pub struct Cut(Arc<Line>);

#[derive(Debug, Default)]
struct Line {
    cut: AtomicBool,
    waker: AtomicWaker,
}

impl Cut {
    /// Ends it.
    pub(crate) fn now(&self) {
        self.0.cut.store(true, Ordering::Release);
        self.wake();
    }

    /// Lets its task look again whether it has ended for another reason.
    pub(crate) fn wake(&self) {
        self.0.waker.wake();
    }

    /// Whether it was ended.
    pub(crate) fn is_made(&self) -> bool {
        self.0.cut.load(Ordering::Acquire)
    }

    /// Is ready when it is ended; of several tasks that wait, the last is woken.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.waker.register(cx.waker());
        if self.is_made() { Poll::Ready(()) } else { Poll::Pending }
    }
}
