//! The promise that a build with the feature `faults` can break on purpose, so that the checker is seen to notice.
//!
//! The choice is the process's and not a setting of a client: so a normal build has no trace of it, not even the
//! way to it.

use std::sync::OnceLock;

static CHOSEN: OnceLock<Fault> = OnceLock::new();

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// By `rabbitmq`, two neighbours get each other's outcome.
    SwapConfirms,
}

impl Fault {
    /// Breaks it for the life of the process, from now on.
    pub fn choose(self) {
        // The first choice stays.
        let _ = CHOSEN.set(self);
    }

    /// Whether it is the one that was chosen.
    pub(crate) fn is_on(self) -> bool {
        CHOSEN.get() == Some(&self)
    }
}
