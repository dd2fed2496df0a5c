//! The promise that a build with the feature `faults` breaks on purpose, to show that the checker notices.

use service::faults::Choice;

static CHOICE: Choice<Fault> = Choice::new();

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// Deliveries are acknowledged when they come, and not when they are stored.
    AckOnReceipt,
}

impl Fault {
    /// Whether it is the one that was chosen.
    pub(crate) fn is_on(self) -> bool {
        CHOICE.is(&self)
    }
}

/// Breaks it for the life of the process, from now on.
pub(crate) fn choose(fault: Option<Fault>) {
    CHOICE.make(fault);
}
