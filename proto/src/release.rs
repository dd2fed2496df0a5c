//! Which release this is, and how it was compiled.
//!
//! `make run` builds with a profile that compiles fast, so that a first entry is stored within minutes. What such a build
//! takes for an entry says nothing of the system, so it says so wherever somebody might measure it.

/// The Cargo profile: `release`, `quick` (what `make run` builds), or `debug`.
pub const PROFILE: &str = env!("FOURWIRE_PROFILE");

/// The version, for `--version`: `0.1.0`, or with what the profile means where it is not `release`.
pub const VERSION: &str = env!("FOURWIRE_VERSION");

/// What [`VERSION`] has in it where a build is not for measuring.
pub const NOT_FOR_MEASURING: &str = "not for measuring";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_is_no_release_says_so() {
        assert!(VERSION.starts_with(env!("CARGO_PKG_VERSION")));
        assert_eq!(VERSION.contains(NOT_FOR_MEASURING), PROFILE != "release");
        assert_eq!(VERSION.contains(PROFILE), PROFILE != "release");
    }
}
