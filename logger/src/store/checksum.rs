//! A checksum for each row. SQLite has checksums for its write-ahead log, but none for its main file; PostgreSQL has
//! them where its administrator has turned them on: a flipped bit in the text of an entry would be returned as if it
//! had been sent.

use super::Arrival;

/// What must be read back as it was written: all but the number, which the order of the table gives, and the attempts,
/// which grow.
pub(super) struct Checked<'a> {
    pub(super) id: [u8; 16],
    pub(super) name: &'a str,
    pub(super) level: &'a str,
    pub(super) transport: &'a str,
    pub(super) created_at_us: i64,
    pub(super) stored_at_us: i64,
    pub(super) data: &'a str,
}

impl Checked<'_> {
    /// CRC-32, which finds every flipped bit of a row, and every burst of up to 32 bits.
    pub(super) fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.id);
        hasher.update(&self.created_at_us.to_le_bytes());
        hasher.update(&self.stored_at_us.to_le_bytes());
        for text in [self.name, self.level, self.transport, self.data] {
            // With its length: what moves from one column to the next is a change.
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finalize()
    }
}

/// Of a row that is to be written.
pub(super) fn of_arrival(arrival: &Arrival, stored_at_us: i64) -> u32 {
    let entry = &arrival.entry;
    Checked {
        id: *entry.id().as_bytes(),
        name: entry.name(),
        level: entry.level().as_str(),
        transport: arrival.came_by.as_str(),
        created_at_us: entry.created_at().as_microsecond(),
        stored_at_us,
        data: entry.data(),
    }
    .checksum()
}
