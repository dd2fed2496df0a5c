//! The promise that a build with the feature `faults` breaks on purpose, to show that the checker notices.
//!
//! The choice belongs to the process and is not a parameter: so a normal build has no trace of it.

use std::{fmt, sync::OnceLock};

/// What a service breaks. Each has its own kinds of faults, and one of these as a static.
#[derive(Debug)]
pub struct Choice<Fault>(OnceLock<Fault>);

impl<Fault: fmt::Debug + PartialEq> Choice<Fault> {
    /// Nothing is chosen yet.
    #[expect(clippy::new_without_default, reason = "a static needs a const fn")]
    pub const fn new() -> Self {
        Choice(OnceLock::new())
    }

    /// Breaks it for the life of the process, from now on.
    pub fn make(&self, fault: Option<Fault>) {
        if let Some(fault) = fault {
            tracing::error!(?fault, "THIS BUILD BREAKS A PROMISE ON PURPOSE: use it for nothing but tests");
            // The first choice stays.
            let _ = self.0.set(fault);
        }
    }

    /// Whether it is the one that was chosen.
    pub fn is(&self, fault: &Fault) -> bool {
        self.0.get() == Some(fault)
    }
}
