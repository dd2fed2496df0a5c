//! Where the messages of a body begin and end.

use proto::{Code, Failure, limits::FRAME_BYTES};

/// Passes over the messages of a body: each has a byte of flags and four of its length before it.
#[derive(Debug, Default)]
pub(super) struct Messages {
    prefix: [u8; 5],
    prefix_bytes: usize,
    /// Of the message whose prefix is whole.
    message_bytes: usize,
    left_bytes: usize,
}

impl Messages {
    /// How much has come of the message that is not yet whole, its prefix included.
    pub(super) fn half_bytes(&self) -> usize {
        self.prefix_bytes + self.message_bytes - self.left_bytes
    }

    /// Passes over some bytes. Returns how many messages have ended in them.
    ///
    /// # Errors
    /// `too_large` or `bad_field` for a message whose prefix says that it will not be read.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> Result<usize, Unread> {
        let (all_bytes, mut whole_bytes) = (bytes.len(), 0);
        let mut ended = 0;
        while !bytes.is_empty() {
            if self.prefix_bytes < self.prefix.len() {
                let (head, rest) = bytes.split_at(bytes.len().min(self.prefix.len() - self.prefix_bytes));
                self.prefix[self.prefix_bytes..][..head.len()].copy_from_slice(head);
                self.prefix_bytes += head.len();
                bytes = rest;
                if self.prefix_bytes == self.prefix.len() {
                    let [flags, length @ ..] = self.prefix;
                    self.message_bytes = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                    check_prefix(flags, self.message_bytes)
                        .map_err(|failure| Unread { failure, whole_bytes })?;
                    self.left_bytes = self.message_bytes;
                }
            } else {
                let passed = bytes.len().min(self.left_bytes);
                self.left_bytes -= passed;
                bytes = &bytes[passed..];
            }
            if self.prefix_bytes == self.prefix.len() && self.left_bytes == 0 {
                *self = Messages::default();
                ended += 1;
                whole_bytes = all_bytes - bytes.len();
            }
        }
        Ok(ended)
    }
}

/// A message that is refused for its prefix.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) failure: Failure,
    /// So many of the bytes that were passed belong to whole messages before it.
    pub(super) whole_bytes: usize,
}

/// tonic would refuse the same, in words that say nothing of what was stored.
fn check_prefix(flags: u8, message_bytes: usize) -> Result<(), Failure> {
    if message_bytes > FRAME_BYTES {
        let message = format!("the message has {message_bytes} bytes: the limit is {FRAME_BYTES} bytes");
        return Err(Failure::new(Code::TooLarge, message));
    }
    match flags {
        0 => Ok(()),
        _ => Err(Failure::new(Code::BadField, "the message is compressed: send it uncompressed")),
    }
}
