//! Copies the pages of a store, in steps.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;
use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};

use super::{Source, target::Target};
use crate::store::sqlite::open::is_full;

/// What ends a backup that is told to stop.
pub(super) const STOPPED: &str = "the backup was stopped: no file is left";

/// A step: 1 MiB, far less than the 2 s after which a logger no longer waits for its log.
const STEP_PAGES: i32 = 256;

/// The copy is synced after so many steps: all of it at once would hold up the syncs of the logger.
const STEPS_PER_SYNC: u32 = 16;

/// The longest rest between two steps.
const REST: Duration = Duration::from_millis(500);

/// How copying has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// All is copied.
    Done,
    /// The logger needs its log.
    GaveWay,
}

/// Copies one state of the source.
pub(super) fn copy(
    source: &Source,
    target: &Target,
    stop: &(dyn Fn() -> bool + Sync),
) -> anyhow::Result<Ended> {
    // Its end gives the log back, however this ends.
    let state = source.connection.unchecked_transaction()?;
    state.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(target.path(), flags)?;
    // It is synced from here, and nobody reads it before it is whole.
    copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
    let ended = pages(source, &state, &mut copy, target, stop).map_err(|error| on_disk(error, target))?;
    drop(state);
    if ended == Ended::Done {
        one_file(&copy).map_err(|error| on_disk(error.into(), target))?;
    }
    copy.close().map_err(|(_, error)| error)?;
    Ok(ended)
}

fn pages(
    source: &Source,
    state: &Connection,
    copy: &mut Connection,
    target: &Target,
    stop: &(dyn Fn() -> bool + Sync),
) -> anyhow::Result<Ended> {
    let backup = Backup::new(state, copy)?;
    for step in 1.. {
        let begun = Instant::now();
        match backup.step(STEP_PAGES)? {
            StepResult::Done => return Ok(Ended::Done),
            StepResult::More => {}
            // Nobody else has the copy open, and a reader of the store waits for nobody. More may come with a later SQLite.
            unexpected @ (StepResult::Busy | StepResult::Locked | _) => {
                bail!("SQLite says {unexpected:?}: retry")
            }
        }
        if step % STEPS_PER_SYNC == 0 {
            target.sync_some()?;
        }
        if stop() {
            bail!(STOPPED);
        }
        if source.log_is_wanted() {
            return Ok(Ended::GaveWay);
        }
        // Half of the disk's time is left to the logger.
        thread::sleep(begun.elapsed().min(REST));
    }
    unreachable!("the steps are not bounded")
}

/// Makes it a single file, of which nothing is beside it in a log: it can be read where nothing may be written.
fn one_file(copy: &Connection) -> rusqlite::Result<()> {
    copy.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    copy.pragma_update(None, "journal_mode", "DELETE")
}

fn on_disk(error: anyhow::Error, target: &Target) -> anyhow::Error {
    if error.downcast_ref().is_some_and(is_full) {
        return anyhow::anyhow!(
            "the disk of {} is full: free space there, or name a file on another disk",
            target.path().display()
        );
    }
    error.context(format!("copying to {}", target.path().display()))
}
