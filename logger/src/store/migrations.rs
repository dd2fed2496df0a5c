//! The schema versions: one list for all kinds of stores, each with the statements that lead to it.

/// A version, and how a store comes to it from the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Migration {
    /// What is new in it.
    pub(super) what: &'static str,
    /// The statements for SQLite, to be run in a transaction.
    pub(super) sqlite: &'static str,
    /// Those for PostgreSQL, to be run in a transaction.
    pub(super) postgres: &'static str,
}

/// All of them, the first of which makes version 1 of an empty store. What was released is not changed any more: a change
/// is one more at the end.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        what: "the entries",
        // `seq` is the rowid and never given twice, so that a cursor stays true after deletions. Ids are kept as bytes;
        // words and microseconds are kept so that `sqlite3` shows them readably. `data` and what is only read with it stand
        // last: what filters look at lies before it, and its overflow pages are not read for them.
        sqlite: "
            CREATE TABLE entries (
                seq        INTEGER PRIMARY KEY AUTOINCREMENT,
                id         BLOB    NOT NULL UNIQUE,
                name       TEXT    NOT NULL,
                level      TEXT    NOT NULL,
                transport  TEXT    NOT NULL,
                created_at INTEGER NOT NULL,
                stored_at  INTEGER NOT NULL,
                attempts   INTEGER NOT NULL,
                data       TEXT    NOT NULL
            ) STRICT;",
        // The numbers are given by the counter, the one row whose lock is the turn to write; `bytes` are those of names
        // and data, with what a row takes beside them. Words and microseconds are as in SQLite, as is their checksum.
        postgres: "
            CREATE TABLE entries (
                seq        bigint PRIMARY KEY,
                id         uuid   NOT NULL UNIQUE,
                name       text   NOT NULL,
                level      text   NOT NULL,
                transport  text   NOT NULL,
                created_at bigint NOT NULL,
                stored_at  bigint NOT NULL,
                attempts   bigint NOT NULL,
                data       text   NOT NULL
            );
            CREATE TABLE counter (
                version        int    NOT NULL,
                last           bigint NOT NULL,
                last_stored_at bigint NOT NULL,
                bytes          bigint NOT NULL
            ) WITH (fillfactor = 10);
            INSERT INTO counter VALUES (0, 0, 0, 0);",
    },
    Migration {
        what: "a checksum for each entry; those that are there get none",
        sqlite: "ALTER TABLE entries ADD COLUMN checksum INTEGER;",
        postgres: "ALTER TABLE entries ADD COLUMN checksum bigint;",
    },
];

/// The version that this logger writes.
pub(super) const VERSION: i32 = MIGRATIONS.len() as i32;

/// What a store of a version still needs, of which an empty one has 0; `None` for a version that is not known.
pub(super) fn after(version: i32) -> Option<&'static [Migration]> {
    MIGRATIONS.get(usize::try_from(version).ok()?..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_needs_what_came_after_its_version_and_a_later_one_is_not_known() {
        assert_eq!(after(0).map(<[_]>::len), Some(MIGRATIONS.len()));
        assert_eq!(after(VERSION).map(<[_]>::len), Some(0));
        assert!(after(VERSION + 1).is_none() && after(-1).is_none());
    }
}
