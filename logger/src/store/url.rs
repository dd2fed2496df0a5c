//! The setting `LOGGER_STORE`.

use std::{ffi::OsStr, path::PathBuf, str::FromStr};

use clap::{Arg, Command, builder::TypedValueParser, error::ErrorKind};

use super::{BadUrl, PostgresUrl};

/// Where the setting `LOGGER_STORE` says that entries are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `sqlite:` and the path of a file, which is created if it is missing.
    Sqlite(PathBuf),
    /// `postgres:` and where a database is.
    Postgres(PostgresUrl),
    /// `nothing`: every entry is answered as stored, and forgotten. What is left is the price of everything but
    /// durability, which is what it is for.
    Nothing,
}

impl StoreUrl {
    /// The word for the kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            StoreUrl::Sqlite(_) => "sqlite",
            StoreUrl::Postgres(_) => "postgres",
            StoreUrl::Nothing => "nothing",
        }
    }
}

impl FromStr for StoreUrl {
    type Err = UnknownStore;

    fn from_str(text: &str) -> Result<Self, UnknownStore> {
        if text == "nothing" {
            return Ok(StoreUrl::Nothing);
        }
        if text.starts_with("postgres:") || text.starts_with("postgresql:") {
            return Ok(StoreUrl::Postgres(text.parse()?));
        }
        let path = text.strip_prefix("sqlite:").ok_or(UnknownStore::Kind)?;
        // Other tools write `sqlite://data/logs.db`; taken literally it would be a file in the root.
        let path = path.strip_prefix("//").unwrap_or(path);
        // SQLite would keep `:memory:` in memory, and lose what was answered as stored.
        if path.is_empty() || path.starts_with(':') || path.contains('\0') {
            return Err(UnknownStore::Kind);
        }
        Ok(StoreUrl::Sqlite(PathBuf::from(path)))
    }
}

/// The setting names no store that is known. Nothing of it is repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnknownStore {
    /// It begins with no word that is known.
    #[error(
        "unknown store: expected sqlite:PATH such as sqlite:data/logs.db, postgres://user:password@host/database, or \
         nothing for benchmarks"
    )]
    Kind,
    /// It is no URL of a database.
    #[error(transparent)]
    Url(#[from] BadUrl),
}

/// Reads the setting for clap, whose own errors repeat the value.
#[derive(Debug, Clone, Copy)]
pub struct StoreUrlParser;

impl TypedValueParser for StoreUrlParser {
    type Value = StoreUrl;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<StoreUrl, clap::Error> {
        let url = value.to_str().ok_or(UnknownStore::Kind).and_then(str::parse);
        url.map_err(|error| {
            clap::Error::raw(ErrorKind::ValueValidation, format!("LOGGER_STORE: {error}\n")).with_cmd(command)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_by_kind_and_place() {
        for (text, path) in [
            ("sqlite:data/logs.db", "data/logs.db"),
            ("sqlite:/var/lib/logs.db", "/var/lib/logs.db"),
            ("sqlite:///var/lib/logs.db", "/var/lib/logs.db"),
            ("sqlite://data/logs.db", "data/logs.db"),
        ] {
            assert_eq!(text.parse(), Ok(StoreUrl::Sqlite(path.into())), "{text}");
        }
    }

    #[test]
    fn the_store_that_keeps_nothing_has_to_be_named_as_such() {
        assert_eq!("nothing".parse(), Ok(StoreUrl::Nothing));
        for text in ["Nothing", "nothing:", "none"] {
            assert_eq!(text.parse::<StoreUrl>(), Err(UnknownStore::Kind), "{text}");
        }
    }

    #[test]
    fn an_unknown_store_is_told_the_known_forms() {
        for text in ["", "data/logs.db", "sqlite:", "sqlite::memory:", "mongodb://localhost/logs"] {
            let error = text.parse::<StoreUrl>().expect_err(text);
            assert!(error.to_string().contains("sqlite:data/logs.db"));
        }
    }
}
