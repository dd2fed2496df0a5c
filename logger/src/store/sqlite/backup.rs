//! A copy of the store, by a process of its own, while a logger writes.
//!
//! SQLite's online backup begins again whenever another process has written, unless the source is being read all the
//! while. So one read transaction lasts from the first page to the last, and the copy is one state of the store. The
//! writer waits for nobody; only its log cannot begin anew meanwhile, and grows by what is written. Where the logger
//! needs it to, the backup gives way, and begins again.

mod copy;
mod target;
mod verify;

use std::{
    fs::File,
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rusqlite::Connection;

use self::{copy::Ended, target::Target};
use super::{bytes, create, open, schema};
use crate::store::BackedUp;

/// How often it begins.
const ATTEMPTS: u32 = 3;

/// How long it waits for a logger that needs its log.
const WAIT: Duration = Duration::from_secs(30);

/// How often it looks meanwhile, and whether it is to end while SQLite is at work.
const POLL: Duration = Duration::from_millis(50);

/// Copies the store at `path` to a file that is not there yet, and verifies the copy.
///
/// # Errors
/// Why it could not; no file is left.
pub(in crate::store) fn backup(
    path: &Path,
    to: &Path,
    stop: &(dyn Fn() -> bool + Sync),
) -> anyhow::Result<BackedUp> {
    let path = &std::path::absolute(path)?;
    let source = Source::open(path)?;
    let target = Target::new(to, &source.main)?;
    copy_again(&source, &target, stop)?;
    target.sync()?;
    let found = verify::verify(&target, &source.connection, stop)?;
    let bytes = target.publish()?;
    Ok(BackedUp { bytes, ..found })
}

/// Copies, from the beginning where the logger needed its log.
fn copy_again(source: &Source, target: &Target, stop: &(dyn Fn() -> bool + Sync)) -> anyhow::Result<()> {
    for _ in 0..ATTEMPTS {
        source.wait(stop)?;
        match copy::copy(source, target, stop)? {
            Ended::Done => return Ok(()),
            Ended::GaveWay => tracing::info!("the logger opens or closes its store: the backup begins again"),
        }
        target.clear()?;
    }
    bail!(
        "the logger was starting, stopping or short of disk space {ATTEMPTS} times: look at its log, and retry"
    )
}

/// The store that is copied.
struct Source {
    connection: Connection,
    /// Closed after the connection: closing a file drops all the locks that its process has on it.
    main: File,
}

impl Source {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let main = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("there is no store at {}: set LOGGER_STORE as for the logger", path.display())
            }
            main => main.with_context(|| format!("cannot read {}", path.display()))?,
        };
        create::identify(path)?;
        let in_path = |error| open::open_error(path, error);
        let connection = open::open_read_only(path).map_err(in_path)?;
        // Its header may be older than its log.
        let version =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(in_path)?;
        schema::missing(path, version)?;
        Ok(Source { connection, main })
    }

    fn log_is_wanted(&self) -> bool {
        bytes::is_locked(&self.main, bytes::LOG_IS_WANTED).unwrap_or(false)
    }

    /// Waits until the logger does not need its log.
    fn wait(&self, stop: &(dyn Fn() -> bool + Sync)) -> anyhow::Result<()> {
        let deadline = Instant::now() + WAIT;
        while self.log_is_wanted() {
            ensure!(!stop(), copy::STOPPED);
            ensure!(
                Instant::now() < deadline,
                "the logger has been opening or closing its store for {WAIT:?}: look at its log, and retry"
            );
            thread::sleep(POLL);
        }
        Ok(())
    }
}
