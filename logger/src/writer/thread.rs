//! The writer's thread: its start, and its end.

use std::{
    io,
    sync::{Arc, PoisonError, mpsc::Receiver},
    thread::{self, JoinHandle},
    time::Duration,
};

use proto::Failure;
use tokio::sync::oneshot;

use super::{Request, Shared, group};
use crate::store::{Retention, Store};

/// The writer's thread. Dropped without [`WriterThread::drain`], it runs until the last [`super::Writer`] is dropped.
#[derive(Debug)]
pub struct WriterThread {
    pub(super) shared: Arc<Shared>,
    pub(super) thread: JoinHandle<()>,
    pub(super) ended: oneshot::Receiver<()>,
}

/// How far a drain has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All is committed, and the store is closed.
    Closed,
    /// Everything accepted is committed and answered, but the store is not closed yet: nothing is lost by ending now.
    Closing,
    /// So many accepted entries are not committed yet. None was acknowledged as stored.
    Committing {
        /// How many.
        entries: usize,
    },
    /// The thread has panicked. What happened to the entries that it had taken and not answered is not known.
    Panicked,
}

impl WriterThread {
    /// # Errors
    /// What the system says if it gives no thread.
    pub(super) fn start(
        shared: Arc<Shared>,
        store: Box<dyn Store>,
        retention: Retention,
        queue: Receiver<Request>,
    ) -> io::Result<Self> {
        let (ending, ended) = oneshot::channel();
        let watch = Watch { shared: Arc::clone(&shared), _ending: ending };
        let thread = thread::Builder::new()
            .name("writer".into())
            .spawn(move || group::run(store, &retention, queue, &watch.shared))?;
        Ok(WriterThread { shared, thread, ended })
    }

    /// Waits until the thread ends. Without [`WriterThread::drain`] it does so only by a panic.
    pub async fn ended(&mut self) {
        // Both an answer and a dropped sender mean the end.
        let _ = (&mut self.ended).await;
    }

    /// Accepts no more, and waits until everything accepted is committed and answered, and the store is closed; for so
    /// long at most. New writes are refused from the first poll on. Giving up loses no entry that was answered.
    pub async fn drain(mut self, within: Duration) -> Drained {
        drop(self.shared.queue.write().unwrap_or_else(PoisonError::into_inner).take());
        if !self.ended.is_terminated() && tokio::time::timeout(within, self.ended()).await.is_err() {
            return match self.shared.queued_entries() {
                0 => Drained::Closing,
                entries => Drained::Committing { entries },
            };
        }
        match self.thread.join() {
            Ok(()) => Drained::Closed,
            Err(_) => Drained::Panicked,
        }
    }
}

/// Lives as long as the thread: however it ends, the writer is unhealthy from then on, and a drain that waits is told.
pub(super) struct Watch {
    pub(super) shared: Arc<Shared>,
    pub(super) _ending: oneshot::Sender<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.set_standing(Err(&Failure::draining("the writer")));
        if thread::panicking() {
            tracing::error!("the writer thread panicked: no entries can be stored until a restart");
        }
    }
}
