//! A row of a store: an entry, or why it is unreadable.
//!
//! An unreadable row does not affect the others. Every read skips it, and the log names it once.

use std::{
    collections::HashSet,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use proto::{Failure, StoredEntry, Time};
use uuid::Uuid;

use super::checksum::Checked;
use crate::metrics::Unreadables;

/// The columns of an entry, in the order in which each kind of store reads them.
pub(super) const COLUMNS: &str =
    "seq, id, name, level, transport, created_at, stored_at, attempts, data, checksum";

/// About what a row takes beside its name and data: its other columns and its indexes. The same for each kind, so that
/// retention by bytes means the same.
pub(super) const ROW_BYTES: i64 = 80;

/// Maximum rows that are remembered as named, and so most lines of log about them.
const NAMED: usize = 1_000;

/// The columns of a row that has its checksum, or has none.
pub(super) struct Raw<'a> {
    sequence: i64,
    attempts: i64,
    has_checksum: bool,
    checked: Checked<'a>,
}

impl<'a> Raw<'a> {
    /// Rows of the first version of the tables have no checksum.
    ///
    /// # Errors
    /// If the row has another checksum.
    pub(super) fn new(
        sequence: i64,
        attempts: i64,
        checksum: Option<i64>,
        checked: Checked<'a>,
    ) -> Result<Self, Unreadable> {
        let raw = Raw { sequence, attempts, has_checksum: checksum.is_some(), checked };
        if checksum.is_some_and(|checksum| checksum != i64::from(raw.checked.checksum())) {
            return Err(
                raw.unreadable("does not have its checksum: the file or the disk is damaged".to_owned())
            );
        }
        Ok(raw)
    }

    /// The entry.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn entry(&self) -> Result<StoredEntry, Unreadable> {
        let Checked { name, level, transport, created_at_us, stored_at_us, data, .. } = self.checked;
        let entry = || {
            Ok(StoredEntry {
                id: self.id(),
                level: word("level", level)?,
                created_at: time("created_at", created_at_us)?,
                stored_at: time("stored_at", stored_at_us)?,
                transport: word("transport", transport)?,
                attempts: u32::try_from(self.attempts).unwrap_or(u32::MAX),
                name: name.to_owned(),
                data: data.to_owned(),
            })
        };
        entry().map_err(|why| self.unreadable(why))
    }

    /// When the entry was stored, also if it is of a newer version and cannot be read.
    ///
    /// # Errors
    /// Why the row is not to be trusted.
    pub(super) fn stored_at(&self) -> Result<Time, Unreadable> {
        time("stored_at", self.checked.stored_at_us).map_err(|why| self.unreadable(why))
    }

    /// When the entry was stored, and the checksum that the row has with another time; `None` if it has none.
    ///
    /// # Errors
    /// Why the row is not to be trusted.
    pub(super) fn with_time(self, stored_at: Time) -> Result<(Time, Option<u32>), Unreadable> {
        let before = self.stored_at()?;
        let changed = Checked { stored_at_us: stored_at.as_microsecond(), ..self.checked };
        Ok((before, self.has_checksum.then(|| changed.checksum())))
    }

    fn id(&self) -> Uuid {
        Uuid::from_bytes(self.checked.id)
    }

    fn unreadable(&self, why: String) -> Unreadable {
        Unreadable { sequence: self.sequence, id: Some(self.id()), why }
    }
}

fn word<T: FromStr<Err = Failure>>(name: &str, word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("has a {name} that this version does not know: {word:?}"))
}

fn time(name: &str, us: i64) -> Result<Time, String> {
    Time::from_microsecond(us).ok_or_else(|| format!("has a {name} out of all range: {us}"))
}

/// A row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {sequence}{} {why}", of_entry(*id))]
pub(super) struct Unreadable {
    pub(super) sequence: i64,
    pub(super) id: Option<Uuid>,
    pub(super) why: String,
}

impl Unreadable {
    /// What a client is told that asks for this row's entry.
    pub(super) fn failure(self) -> Failure {
        let message = "the entry is stored but cannot be read: see the logger's log";
        Failure::new(proto::Code::Unavailable, message).because(self)
    }
}

fn of_entry(id: Option<Uuid>) -> String {
    id.map_or_else(String::new, |id| format!(", entry {id},"))
}

/// The unreadable rows that were skipped. Each is logged once, however often it is met.
#[derive(Debug, Clone)]
pub(super) struct LeftOut {
    named: Arc<Mutex<HashSet<i64>>>,
    counted: Unreadables,
}

impl LeftOut {
    /// Call it after the metrics recorder is installed.
    pub(super) fn new() -> Self {
        LeftOut { named: Arc::default(), counted: Unreadables::new() }
    }

    /// One more, or one that is known.
    pub(super) fn note(&self, row: &Unreadable) {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.len() >= NAMED || !named.insert(row.sequence) {
            return;
        }
        self.counted.one_more();
        // Each is named once: the limit of the log must not hide it.
        tracing::error!(target: concat!(module_path!(), "::named"), error = %row, "an unreadable row is skipped; the others can be read");
        if named.len() == NAMED {
            tracing::error!(rows = NAMED, "further unreadable rows are not logged");
        }
    }
}
