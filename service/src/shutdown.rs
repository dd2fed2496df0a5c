//! When to stop, and how long that may take.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long a service may finish what is in flight before it drops it. Shorter than the ten seconds that
/// container engines wait between SIGTERM and SIGKILL.
pub const GRACE: Duration = Duration::from_secs(8);

/// How long after its beginning work is still taken that arrives on connections which are open: a client that had one
/// could not know. A moment later it does, since every response says `Connection: close`. With the longest deadline of
/// the broker, 7 s, it ends within [`GRACE`].
pub const LAST_CALL: Duration = Duration::from_millis(500);

/// Tells every part of a service when to stop. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    begun: CancellationToken,
    at: Arc<OnceLock<Instant>>,
}

impl Shutdown {
    /// Begins on SIGTERM or SIGINT. From now on SIGHUP does not end the process: see [`Reloads`](crate::Reloads).
    ///
    /// # Errors
    /// If the signal handlers cannot be installed.
    pub fn on_signal() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // Once it was asked for, it does nothing by itself any more.
        drop(signal(SignalKind::hangup())?);
        let shutdown = Shutdown::default();
        let begun = shutdown.clone();
        // Not awaited: it lives as long as the process, and holds nothing.
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            // First, whatever happens to the line.
            begun.begin();
            tracing::info!("{name}: shutting down gracefully");
        });
        Ok(shutdown)
    }

    /// Begins it.
    pub fn begin(&self) {
        self.at.get_or_init(Instant::now);
        self.begun.cancel();
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Whether it is too late for new work: [`LAST_CALL`] has passed since it began.
    pub fn refuses_work(&self) -> bool {
        self.at.get().is_some_and(|at| at.elapsed() > LAST_CALL)
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }
}
