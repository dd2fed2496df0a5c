//! The limit of open file descriptors.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What is assumed where the limit cannot be asked for: what most systems start a process with.
const USUAL: u64 = 1_024;

/// Raises the process's soft limit to its hard one, and says what it is now. The soft one is low for the sake of
/// programs that use `select`; ours do not.
pub fn raise() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((USUAL, USUAL));
    let limit = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// How many the process may have open now.
pub(crate) fn limit() -> usize {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((USUAL, USUAL));
    usize::try_from(soft).unwrap_or(usize::MAX)
}
