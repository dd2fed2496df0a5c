//! What is known of a key: whose it is, what it may be used for, and its hash.

use std::fmt;

/// What every key of ours begins with, so that one that has got into a text can be found.
pub(super) const PREFIX: &str = "fw_";

/// The SHA-256 of a key.
pub(super) type Digest = [u8; 32];

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub(super) enum Scope {
    Write,
    Read,
}

impl Scope {
    pub(super) const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// A line of the file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct KnownKey {
    pub(super) name: String,
    pub(super) scopes: Vec<Scope>,
    pub(super) digest: Digest,
}

/// Without the digest: it is no secret, but it has no place in a log.
impl fmt::Debug for KnownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name, self.scopes)
    }
}
