//! When to stop, and how long that may take.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// How long a service may finish what is in flight before it drops it. Shorter than the ten seconds that
/// container engines wait between SIGTERM and SIGKILL.
pub const GRACE: Duration = Duration::from_secs(8);

/// How long after its beginning a port stays open where a shutdown lingers: a load balancer that looks at `/readyz` every
/// half second knows by then, and so does every client that has had a response, since each says `Connection: close`.
pub const LINGER: Duration = Duration::from_secs(1);

/// How long after its beginning work is still taken: a client that has connected while the port was open could not know.
pub const LAST_CALL: Duration = Duration::from_secs(2);

/// Tells every part of a service when to stop. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    told: Arc<Told>,
    /// How long after that it begins.
    after: Duration,
}

/// Whether it was asked for.
#[derive(Debug, Default)]
struct Told {
    told: CancellationToken,
    at: OnceLock<Instant>,
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

    /// The same for a port that stays open for [`LINGER`] more: to its users it begins later.
    #[must_use]
    pub fn lingering(&self) -> Self {
        Shutdown { after: LINGER, ..self.clone() }
    }

    /// Begins it.
    pub fn begin(&self) {
        self.told.at.get_or_init(Instant::now);
        self.told.told.cancel();
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.told.at.get().is_some_and(|at| at.elapsed() >= self.after)
    }

    /// Whether it has begun, or lingers.
    pub(crate) fn is_told(&self) -> bool {
        self.told.at.get().is_some()
    }

    /// Whether it begins later than it was asked for.
    pub(crate) fn lingers(&self) -> bool {
        !self.after.is_zero()
    }

    /// Whether it is too late for new work: [`LAST_CALL`] has passed since it was asked for.
    pub fn refuses_work(&self) -> bool {
        self.told.at.get().is_some_and(|at| at.elapsed() > LAST_CALL)
    }

    /// How much is left of [`GRACE`]; all of it if it was not asked for.
    pub fn left(&self) -> Duration {
        self.told.at.get().map_or(GRACE, |at| GRACE.saturating_sub(at.elapsed()))
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        self.told.told.cancelled().await;
        if let Some(at) = self.told.at.get()
            && self.lingers()
        {
            tokio::time::sleep_until(*at + self.after).await;
        }
    }
}
