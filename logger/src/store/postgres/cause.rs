//! What went wrong with the database, and what it means for a group.

use proto::{Code, Failure};
use tokio_postgres::error::{DbError, Severity, SqlState};

use super::row::ROW_BYTES;
use crate::store::{decide, migrations::VERSION};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    /// The driver, or the server, says so.
    #[error("{}", in_words(.0))]
    Driver(#[from] tokio_postgres::Error),
    /// The server has not answered in time.
    #[error("the database does not respond {0}")]
    Silent(&'static str),
    /// A commit was warned of.
    #[error("the database has warned of the commit: it may not be replicated")]
    Warned,
    /// The server cannot promise what we do.
    #[error(transparent)]
    Unproved(#[from] Unproved),
    /// The tables are not ours, or of another version.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// Why a server cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unproved {
    /// It may forget what it has committed.
    #[error(
        "the database has {setting}={value}: an entry that is stored would not be synced. Set {setting}=on"
    )]
    NotDurable {
        /// The setting.
        setting: &'static str,
        /// What it is.
        value: String,
    },
    /// It is a standby.
    #[error("the database is a standby (pg_is_in_recovery), and takes no entries: name the primary as well")]
    Standby,
    /// It would take bytes that are no text, or refuse letters.
    #[error("the database has server_encoding={0}: create one with ENCODING 'UTF8' from template0")]
    Encoding(String),
    /// It is too old.
    #[error("the database is PostgreSQL {0}: 14 or a later one is needed (server_version)")]
    TooOld(String),
}

/// Why the tables of a database cannot be used. Nothing is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// Tables of these names are somebody else's, or one of ours is missing.
    #[error(
        "the database has tables named entries or counter that are not of this logger, or only one of its two: use a \
         database of its own, or restore both from one backup"
    )]
    Foreign,
    /// The table `counter` has not one row.
    #[error("the table counter has {rows} rows instead of one, {}", count_again())]
    Rows {
        /// How many.
        rows: usize,
    },
    /// The number that would be given next is an entry's already.
    #[error(
        "the table counter is behind the table entries (last is {last}, the newest seq {newest}), {}",
        count_again()
    )]
    Behind {
        /// The number that was given last, as it says.
        last: i64,
        /// That of the newest entry.
        newest: i64,
    },
    /// A later version has written them.
    #[error(
        "the database has schema version {found}, and this logger supports up to {VERSION}: use a newer logger"
    )]
    Newer {
        /// Its version.
        found: i32,
    },
    /// It was there, and is no more.
    #[error("the tables of the database are not what they were when this logger was started: restart it")]
    Changed,
}

impl Cause {
    /// Whether the server has refused a statement, and has said so over a connection that goes on. What it belongs to
    /// is then certainly not committed.
    pub(super) fn is_refusal(&self) -> bool {
        let severity = self.database().and_then(|error| error.parsed_severity());
        severity == Some(Severity::Error)
    }

    /// Whether the connection is lost. One that is only silent is not.
    pub(super) fn is_loss(&self) -> bool {
        matches!(self, Cause::Driver(_)) && !self.is_refusal()
    }

    /// Whether a number or an id is there already, though we have looked.
    pub(super) fn is_taken(&self) -> bool {
        self.database().is_some_and(|error| *error.code() == SqlState::UNIQUE_VIOLATION)
    }

    /// Whether the server refuses the rows themselves: their data, a constraint, a trigger. A number or an id that is
    /// there, though we have looked, is not their fault.
    fn is_of_an_entry(&self) -> bool {
        let Some(code) = self.database().map(DbError::code) else { return false };
        let class = code.code().get(..2).unwrap_or_default();
        matches!(class, "22" | "23" | "54" | "P0") && !self.is_taken()
    }

    /// What a group is told that is certainly not stored.
    pub(super) fn not_stored(self) -> Failure {
        if self.is_of_an_entry() {
            return decide::unfit().because(self);
        }
        let code = self.database().map(|error| error.code().clone());
        let unavailable = |message| Failure::new(Code::Unavailable, message);
        let failure = match (&self, code) {
            (Cause::Unproved(_) | Cause::Unfit(_), _) => {
                unavailable("the database cannot be used safely; nothing was stored: see the logger's log")
            }
            (_, Some(code)) if code == SqlState::DISK_FULL => Failure::new(
                Code::StorageFull,
                "the database's disk is full; nothing was stored: free space there, then retry",
            ),
            (_, Some(code)) if code == SqlState::READ_ONLY_SQL_TRANSACTION => {
                unavailable("the database is read-only; nothing was stored: retry")
            }
            (_, Some(code)) if code == SqlState::LOCK_NOT_AVAILABLE => {
                unavailable("others write to the database and give no turn; nothing was stored: retry")
            }
            (Cause::Driver(_) | Cause::Silent(_) | Cause::Warned, _) => Failure::unreachable("the store"),
        };
        failure.because(self)
    }

    /// What a group is told that may be stored.
    pub(super) fn unknown(self) -> Failure {
        Failure::unknown("the store").because(self)
    }

    fn database(&self) -> Option<&DbError> {
        match self {
            Cause::Driver(error) => error.as_db_error(),
            Cause::Silent(_) | Cause::Warned | Cause::Unproved(_) | Cause::Unfit(_) => None,
        }
    }
}

/// How a counter that does not fit the entries came about, and what to do.
fn count_again() -> String {
    format!(
        "as after a restore of a part: restore both tables from one backup, or count again: BEGIN; \
         DELETE FROM counter; INSERT INTO counter SELECT {VERSION}, coalesce(max(seq), 0), \
         coalesce(max(stored_at), 0), coalesce(sum(octet_length(name) + octet_length(data) + {ROW_BYTES}), 0) \
         FROM entries; COMMIT"
    )
}

/// The driver's words and those of what it stands on: its own name only a kind.
fn in_words(error: &tokio_postgres::Error) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}
