//! The promise that a build with the feature `faults` can break on purpose, so that the checker is seen to notice.

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// By `rabbitmq`, two neighbours get each other's outcome.
    SwapConfirms,
}

/// Breaks it for the life of the process, from now on.
pub(crate) fn choose(fault: Option<Fault>) {
    if let Some(fault) = fault {
        tracing::error!(?fault, "THIS BUILD BREAKS A PROMISE ON PURPOSE: use it for nothing but tests");
        match fault {
            Fault::SwapConfirms => transport::faults::Fault::SwapConfirms.choose(),
        }
    }
}
