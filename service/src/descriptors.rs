//! File descriptors: how many there are, and how many connections that allows.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What a process has at least, if the system does not tell.
const FEWEST: u64 = 256;

/// How many connections one port may hold open, at most `wanted`: a quarter of the descriptors that the process
/// may have. The logger has three ports, and the broker needs for the logger what its callers need.
/// The first call asks the system for as many as it gives: 1,024, the usual start, are few for a server.
pub(crate) fn connections_per_port(wanted: usize) -> usize {
    let descriptors = raise_limit().unwrap_or(FEWEST);
    usize::try_from(descriptors / 4).map_or(wanted, |quarter| quarter.clamp(1, wanted))
}

fn raise_limit() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Refused, the lower limit stays, and is the one that counts.
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_ports_never_take_more_descriptors_than_there_are() {
        let descriptors = raise_limit().expect("there is a limit");
        let most = connections_per_port(usize::MAX);
        assert!(most >= 1 && most as u64 <= descriptors / 4, "{most} of {descriptors}");
        assert_eq!(connections_per_port(1), 1);
    }
}
