//! The limit on the metadata of a call.

use http::HeaderMap;
use proto::{Code, Failure};

/// Maximum bytes of it, counted as HTTP/2 does: what most clients of gRPC take by default. It is half of what HTTP/2 lets
/// through, which refuses the rest in words that no client of gRPC knows.
const BYTES: usize = 8 * 1024;

/// What HTTP/2 counts for each header besides its name and value.
const EACH: usize = 32;

/// # Errors
/// [`Code::TooLarge`].
pub(super) fn check(headers: &HeaderMap) -> Result<(), Failure> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + EACH).sum();
    if bytes > BYTES {
        let message = format!("the metadata has {bytes} bytes: the limit is {BYTES} bytes");
        return Err(Failure::new(Code::TooLarge, message));
    }
    Ok(())
}
