//! Why a store cannot be opened, for any kind of store.

use std::error::Error;

/// Why a store could not be opened. Nothing that was found is changed, let alone deleted. The cause, in the words of its
/// kind, says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What is stored is damaged: opening it again will not help.
    #[error(transparent)]
    Damaged(Cause),
    /// Another logger uses it, and it is for one alone.
    #[error(transparent)]
    InUse(Cause),
    /// A later version of the logger has written it.
    #[error(transparent)]
    Newer(Cause),
    /// It cannot promise that a stored entry is synced.
    #[error(transparent)]
    NotDurable(Cause),
    /// It cannot be reached, read or written, or is something else.
    #[error(transparent)]
    Unusable(Cause),
}

/// What the kind of store says.
pub type Cause = Box<dyn Error + Send + Sync>;
