//! When a lost connection is opened again.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use proto::Failure;

/// When the connection may be opened again, and what those are told who come before that.
#[derive(Debug, Default)]
pub(super) struct Reopening {
    backoff: Option<backon::ExponentialBackoff>,
    next: Option<(Instant, Failure)>,
}

impl Reopening {
    /// Why not yet; `None` if it may be tried.
    pub(super) fn too_early(&self) -> Option<Failure> {
        self.next.as_ref().filter(|(at, _)| Instant::now() < *at).map(|(_, why)| why.clone())
    }

    /// It was tried in vain.
    pub(super) fn failed(&mut self, why: &Failure) {
        /// Between the first two tries.
        const FIRST: Duration = Duration::from_millis(50);
        /// At most: a server that is back is used within a second.
        const MOST: Duration = Duration::from_secs(1);
        let backoff = self.backoff.get_or_insert_with(|| {
            ExponentialBuilder::new()
                .with_min_delay(FIRST)
                .with_max_delay(MOST)
                .with_jitter()
                .without_max_times()
                .build()
        });
        let delay = backoff.next().unwrap_or(MOST);
        self.next = Some((Instant::now() + delay, why.clone()));
    }
}
