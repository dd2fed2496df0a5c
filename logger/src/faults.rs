//! Promises that a build with the feature `faults` breaks on purpose, to show that the checker notices.

use service::faults::Choice;

static CHOICE: Choice<Fault> = Choice::new();

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// Entries are answered as stored before their commit.
    AckBeforeCommit,
    /// An id is stored as often as it is sent.
    NoDedup,
    /// One entry of a thousand is answered as stored, and forgotten.
    DropSome,
    /// The store syncs before a checkpoint alone, and not at a commit.
    SynchronousNormal,
    /// The store never syncs.
    SynchronousOff,
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
