//! A checksum for each row. SQLite has them for its log, but none for its main file: a bit that flips there in the text
//! of an entry would be read back as if it had been sent.

use proto::StoredEntry;

use crate::store::Arrival;

/// What must be read back as it was written: all but the number, which the order of the table gives, and the attempts,
/// which grow.
struct Row<'a> {
    id: &'a [u8; 16],
    name: &'a str,
    level: &'a str,
    transport: &'a str,
    created_at_us: i64,
    stored_at_us: i64,
    data: &'a str,
}

impl Row<'_> {
    /// CRC-32, which finds every flipped bit of a row, and every burst of up to 32 bits.
    fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.id);
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
    Row {
        id: entry.id().as_bytes(),
        name: entry.name(),
        level: entry.level().as_str(),
        transport: arrival.came_by.as_str(),
        created_at_us: entry.created_at().as_microsecond(),
        stored_at_us,
        data: entry.data(),
    }
    .checksum()
}

/// Whether a row that was read has its checksum. Rows of the first version of the tables have none.
pub(super) fn is_right(entry: &StoredEntry, checksum: Option<u32>) -> bool {
    let row = Row {
        id: entry.id.as_bytes(),
        name: &entry.name,
        level: entry.level.as_str(),
        transport: entry.transport.as_str(),
        created_at_us: entry.created_at.as_microsecond(),
        stored_at_us: entry.stored_at.as_microsecond(),
        data: &entry.data,
    };
    checksum.is_none_or(|checksum| checksum == row.checksum())
}
