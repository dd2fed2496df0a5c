//! Who may call: bearer keys, of which the broker knows only the SHA-256.
//!
//! `file` reads what `BROKER_KEYS_FILE` names, `guard` stands before the router, and [`new`] makes a key. A key
//! has 256 random bits, so its plain hash is as good as a slow one would be for a password, and costs next to
//! nothing. Without the setting nobody is asked for a key.

pub mod new;

mod file;
mod guard;
mod key;

pub use guard::Caller;
pub(crate) use guard::{CHALLENGE, Guard, begin_counting, describe};

use std::{fmt, iter, num::NonZeroU32, path::PathBuf, sync::Arc};

use governor::{DefaultDirectRateLimiter, Quota};
use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use tokio::sync::watch;

use key::{Digest, KnownKey, Scope};

/// Longest key that is looked up, in bytes: ours have 67, and what is longer is not worth its hash.
const KEY_BYTES: usize = 256;

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It has no key.
    Missing,
    /// It has several headers, another scheme, or no key after the scheme.
    Malformed,
    /// Nobody's key.
    Unknown,
    /// A key that has not this scope.
    Scope(Scope),
    /// A key that is used more often than the limit allows.
    Rate,
}

/// The keys of the file, as it was when it was last read.
struct Keys {
    path: PathBuf,
    quota: Option<Quota>,
    current: watch::Sender<Arc<[Key]>>,
}

struct Key {
    known: KnownKey,
    /// Both keys of a name share it: who rotates gets no more.
    limiter: Option<Arc<DefaultDirectRateLimiter>>,
}

impl Keys {
    /// Reads the file. Each name may make `rate` requests per second, and as many at once; 0 is no limit.
    fn read(path: PathBuf, rate: u32) -> anyhow::Result<Self> {
        let quota = NonZeroU32::new(rate).map(Quota::per_second);
        let keys = limited(file::read(&path)?, quota, &[]);
        Ok(Keys { path, quota, current: watch::Sender::new(keys) })
    }

    /// Reads the file again; says how many keys there are now. After an error the keys are as they were.
    fn reload(&self) -> anyhow::Result<usize> {
        let known = file::read(&self.path)?;
        let keys = limited(known, self.quota, &self.current.borrow());
        let count = keys.len();
        self.current.send_replace(keys);
        Ok(count)
    }

    fn count(&self) -> usize {
        self.current.borrow().len()
    }

    /// The name of the key that a request has, if it may be let in.
    fn check(&self, headers: &HeaderMap, scope: Scope) -> Result<String, Reason> {
        let digest: Digest = Sha256::digest(bearer(headers)?).into();
        let keys = self.current.borrow().clone();
        let found = position(keys.iter().map(|key| &key.known.digest), &digest);
        let key = found.and_then(|index| keys.get(index)).ok_or(Reason::Unknown)?;
        if !key.known.scopes.contains(&scope) {
            return Err(Reason::Scope(scope));
        }
        if key.limiter.as_ref().is_some_and(|limiter| limiter.check().is_err()) {
            return Err(Reason::Rate);
        }
        Ok(key.known.name.clone())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Gives each name its limiter: the one that it had `before`, so that a reload forgives nothing.
fn limited(known: Vec<KnownKey>, quota: Option<Quota>, before: &[Key]) -> Arc<[Key]> {
    let mut keys: Vec<Key> = Vec::with_capacity(known.len());
    for known in known {
        let same = before.iter().chain(&keys).find(|key| key.known.name == known.name);
        let limiter = match same {
            Some(key) => key.limiter.clone(),
            None => quota.map(|quota| Arc::new(DefaultDirectRateLimiter::direct(quota))),
        };
        keys.push(Key { known, limiter });
    }
    keys.into()
}

/// The key of the one `Authorization` header. The name of the scheme may be written in either case.
fn bearer(headers: &HeaderMap) -> Result<&[u8], Reason> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let value = given.next().ok_or(Reason::Missing)?;
    let (scheme, key) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(Reason::Malformed)?;
    let key = key.trim_matches(' ').as_bytes();
    let sound = given.next().is_none() && scheme.eq_ignore_ascii_case("bearer") && !key.is_empty();
    if !sound {
        return Err(Reason::Malformed);
    }
    if key.len() > KEY_BYTES { Err(Reason::Unknown) } else { Ok(key) }
}

/// Where `wanted` stands. It looks at all of them, and at every byte, so that the time tells nothing.
fn position<'a>(known: impl Iterator<Item = &'a Digest>, wanted: &Digest) -> Option<usize> {
    const NOWHERE: u64 = u64::MAX;
    let found = iter::zip(0.., known).fold(NOWHERE, |found, (index, digest)| {
        u64::conditional_select(&found, &index, digest.ct_eq(wanted))
    });
    usize::try_from(found).ok().filter(|_| found != NOWHERE)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_is_compared_with_all_that_are_known() {
        let known: Vec<Digest> = (0..5).map(|byte| [byte; 32]).collect();
        let mut last_byte_differs = known[3];
        last_byte_differs[31] ^= 1;
        let wanted = [known[0], known[2], known[4], last_byte_differs];
        for (wanted, expected) in iter::zip(wanted, [Some(0), Some(2), Some(4), None]) {
            let mut seen = 0;
            let found = position(known.iter().inspect(|_| seen += 1), &wanted);
            assert_eq!((found, seen), (expected, known.len()));
        }
        assert_eq!(position(iter::empty(), &known[0]), None);
    }

    #[test]
    fn a_key_is_taken_from_one_header_of_the_scheme_bearer() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).expect("a header"));
            }
            bearer(&headers).map(<[u8]>::to_vec)
        };
        for value in ["Bearer fw_1", "bearer fw_1", "BEARER   fw_1 "] {
            assert_eq!(read(&[value]), Ok(b"fw_1".to_vec()), "{value}");
        }
        for values in [
            &["Bearer"][..],
            &["Bearer "],
            &["fw_1"],
            &["Basic fw_1"],
            &["Bearer\tfw_1"],
            &["Bearer ключ"],
            &["Bearer fw_1", "Bearer fw_1"],
            &["Bearer fw_1", "Basic x"],
        ] {
            assert_eq!(read(values), Err(Reason::Malformed), "{values:?}");
        }
        assert_eq!(read(&[]), Err(Reason::Missing));
        assert_eq!(read(&[&format!("Bearer {}", "a".repeat(KEY_BYTES + 1))]), Err(Reason::Unknown));
    }
}
