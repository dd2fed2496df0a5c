//! Which release this is, and how it was compiled.
//!
//! `make run` builds with a profile that compiles fast, so that a first entry is stored within minutes. What such a build
//! takes for an entry says nothing of the system, so it says so wherever somebody might measure it.

/// The Cargo profile: `release`, `quick` (what `make run` builds), or `debug`.
pub const PROFILE: &str = env!("FOURWIRE_PROFILE");

/// The version, for `--version`: `0.1.0 (0123456789 of 2026-11-21)` with the commit, if it was known, and its day; with what
/// the profile means where it is not `release`.
pub const VERSION: &str = env!("FOURWIRE_VERSION");

/// What [`VERSION`] has in it where a build is not for measuring.
pub const NOT_FOR_MEASURING: &str = "not for measuring";

/// The commit in what a binary says of its version, with `-dirty` behind it if something was changed when that was
/// compiled.
pub fn commit_of(version: &str) -> Option<&str> {
    let (_, about) = version.split_once('(')?;
    let words = about.split([',', ')']);
    words.into_iter().find_map(|words| words.trim().split_once(" of ")).map(|(commit, _)| commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_is_no_release_says_so() {
        assert!(VERSION.starts_with(env!("CARGO_PKG_VERSION")));
        assert_eq!(VERSION.contains(NOT_FOR_MEASURING), PROFILE != "release");
        assert_eq!(VERSION.contains(PROFILE), PROFILE != "release");
    }

    #[test]
    fn the_commit_is_read_from_a_version() {
        let release = "broker 0.1.0 (0123456789-dirty of 2026-11-21)";
        assert_eq!(commit_of(release), Some("0123456789-dirty"));
        let quick = "broker 0.1.0 (0123456789 of 2026-11-21, quick build, not for measuring)";
        assert_eq!(commit_of(quick), Some("0123456789"));
        assert_eq!(commit_of("broker 0.1.0 (debug build, not for measuring)"), None);
        assert_eq!(commit_of("broker 0.1.0"), None);
    }
}
