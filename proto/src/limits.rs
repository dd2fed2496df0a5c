//! Every limit that both ends of a wire must share, each with its unit and its reason.

use std::time::Duration;

/// Longest `name`, in bytes of UTF-8. Long enough for a dotted path, short enough for a label.
pub const NAME_BYTES: usize = 256;

/// Longest `data`, in bytes of UTF-8.
pub const DATA_BYTES: usize = 256 * 1024;

/// Most entries in one batch.
pub const BATCH_ENTRIES: usize = 1_000;

/// Largest HTTP body, in bytes. Holds a batch of 100 entries of 128 KiB, or one entry of the full
/// [`DATA_BYTES`] in which every character is escaped.
pub const BODY_BYTES: usize = 16 * 1024 * 1024;

/// Largest HTTP body that the logger takes, in bytes: what a body of [`BODY_BYTES`] may grow to on the way
/// through the broker. A value that is no string is kept as its JSON text, whose quotes and backslashes are then
/// escaped again; the rest is for what ids and times add.
pub const LOGGER_BODY_BYTES: usize = 2 * BODY_BYTES + 1024 * 1024;

/// Largest rpc frame and gRPC message, in bytes: a body of [`BODY_BYTES`], and what ids and times add.
pub const FRAME_BYTES: usize = BODY_BYTES + 1024 * 1024;

/// Most entries that may be in flight over one transport, and wait for the logger's writer.
/// The same on both sides, or the comparison would be between limits.
pub const IN_FLIGHT_ENTRIES: usize = 4_096;

/// Most calls, each of one entry or one batch, that may be in flight over one transport. Further ones wait, since more
/// make it slower: 4,000 clients over `http` brought in 0.81 of what 64 did with a limit of 128, and 0.76 with 512 (means
/// of three interleaved runs).
pub const IN_FLIGHT_CALLS: usize = 128;

/// Most calls that may wait for the concurrency limit of one transport: as many as a port takes connections.
pub const WAITING_CALLS: usize = 4_096;

/// Most bytes of entries that may be in flight or wait over one transport, each entry with [`ENTRY_BYTES`] besides its
/// `name` and `data`. Two of the largest batches; of the four transports together half of what a process may take.
pub const HELD_BYTES: usize = 32 * 1024 * 1024;

/// About what an entry takes in memory besides its `name` and `data`.
pub const ENTRY_BYTES: usize = 256;

/// Most bytes of the bodies that a service reads at a time, and of `name` and `data` that wait for the writer.
pub const IN_FLIGHT_BYTES: usize = 64 * 1024 * 1024;

/// Most entries on one page of `GET /logs`.
pub const PAGE_ENTRIES: usize = 1_000;

/// Longest text that `contains` of `GET /logs` looks for, in characters. A longer one hardly fits in a request line, and
/// every entry is searched for it.
pub const CONTAINS_CHARS: usize = 4 * 1024;

/// Longest `name` that `GET /logs` looks for, in characters: no entry has a longer one.
pub const NAME_CHARS: usize = NAME_BYTES;

/// Longest message to a caller, in characters: enough to say what to do, too short to echo a body.
pub const MESSAGE_CHARS: usize = 300;

/// What `Retry-After` says: RabbitMQ and the logger are back within a second of being reachable.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
