//! One SQLite file per service: opened by it alone, and written by one thread, in groups with one sync each.

use std::{
    fs::{self, File},
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::{calls::trace_id, refusal::Refusal};

/// Most jobs that wait for the thread, and how long a caller waits for a place among them.
const QUEUE: usize = 256;
const QUEUE_WAIT: Duration = Duration::from_millis(500);

/// Most jobs of one transaction.
const GROUP: usize = 64;

/// Most snapshots at a time.
const LOOKS: usize = 4;

/// How long a write waits for a reader that locks the file, such as `sqlite3` that copies it.
const BUSY: Duration = Duration::from_secs(5);

/// WAL: readers hold up no writer. FULL: a commit is on the disk before it is answered.
const SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";

/// The store of one service.
#[derive(Debug, Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    written: watch::Receiver<u64>,
    path: PathBuf,
    looks: Arc<Semaphore>,
}

/// What a job that writes works on: the tables, and the trace in which it was asked for.
#[derive(Debug)]
pub struct Tx<'a> {
    /// Within the transaction.
    pub connection: &'a Connection,
    /// As the log has it; `None` without a trace.
    pub trace_id: Option<&'a str>,
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

struct Job {
    /// Whether somebody may wait for what it changes.
    writes: bool,
    run: Box<dyn FnOnce(&Connection) -> Answer + Send>,
}

/// Is told whether the transaction was committed.
type Answer = Box<dyn FnOnce(bool) + Send>;

impl Store {
    /// Opens `<service>.db` in a directory, and makes its tables where they are missing.
    ///
    /// # Errors
    /// If it cannot be opened, or another process has.
    pub fn open(directory: &Path, service: &str, schemas: &[&str]) -> anyhow::Result<Self> {
        let path = directory.join(format!("{service}.db"));
        let opened = open(&path, schemas);
        let (connection, lock) = opened.with_context(|| format!("SHOP_DATA_DIR: {}", path.display()))?;
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let (tell, written) = watch::channel(0);
        let thread = thread::Builder::new().name("store".to_owned());
        thread.spawn(move || {
            work(connection, waiting, &tell);
            drop(lock);
        })?;
        Ok(Store { jobs, written, path, looks: Arc::new(Semaphore::new(LOOKS)) })
    }

    /// Runs `work` in a transaction; it is on the disk when this returns. What `work` refuses changes nothing.
    ///
    /// # Errors
    /// What `work` refuses; or that the store failed, or has too much to do.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.run(true, work).await
    }

    /// Runs `work`, which only reads.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.run(false, |tx| work(tx.connection)).await
    }

    /// Runs `work` on a snapshot of what is committed, beside the thread: for what takes long.
    ///
    /// # Errors
    /// What `work` refuses, or that the store failed.
    pub async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let failed = || Refusal::Unavailable("the store cannot be read: retry");
        let place = Arc::clone(&self.looks).acquire_owned().await.map_err(|_| failed())?;
        let store = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let reader = store.reader()?;
            reader.execute_batch("BEGIN")?;
            let looked = work(&reader);
            drop(place);
            looked
        });
        looked.await.map_err(|_| failed())?
    }

    /// A connection of its own that only reads.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn reader(&self) -> Result<Connection, Refusal> {
        let reader = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        reader.busy_timeout(BUSY)?;
        Ok(reader)
    }

    /// Changes after each commit of something that was written.
    pub fn written(&self) -> watch::Receiver<u64> {
        self.written.clone()
    }

    async fn run<T: Send + 'static>(
        &self,
        writes: bool,
        work: impl FnOnce(&Tx<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (tell, told) = oneshot::channel();
        let trace_id = trace_id();
        let run = move |connection: &Connection| -> Answer {
            let result = apart(&Tx { connection, trace_id: trace_id.as_deref() }, work);
            Box::new(move |committed| {
                let failed = Err(Refusal::Unavailable("the store failed: retry"));
                // A caller that has gone is told nothing.
                let _ = tell.send(if committed { result } else { failed });
            })
        };
        let job = Job { writes, run: Box::new(run) };
        let queued = self.jobs.send_timeout(job, QUEUE_WAIT).await;
        queued.map_err(|_| Refusal::Unavailable("the store has too much to do: retry"))?;
        told.await.unwrap_or(Err(Refusal::Unavailable("the store did nothing: retry")))
    }
}

fn open(path: &Path, schemas: &[&str]) -> anyhow::Result<(Connection, File)> {
    let directory = path.parent().context("a directory")?;
    fs::create_dir_all(directory)?;
    let lock = File::create(path.with_extension("db.lock"))?;
    if lock.try_lock().is_err() {
        bail!("another process has it open: stop that, or set SHOP_DATA_DIR to another directory");
    }
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(SETTINGS)?;
    schemas.iter().try_for_each(|schema| connection.execute_batch(schema))?;
    Ok((connection, lock))
}

/// What the thread does: takes what has gathered, and commits it with one sync.
fn work(connection: Connection, mut waiting: mpsc::Receiver<Job>, written: &watch::Sender<u64>) {
    while let Some(first) = waiting.blocking_recv() {
        // Without a transaction nothing is run: what waited is told that the store did nothing.
        if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
            tracing::error!(%error, "no transaction could be begun");
            continue;
        }
        let (mut next, mut answers, mut writes) = (Some(first), Vec::new(), false);
        while let Some(job) = next {
            writes |= job.writes;
            answers.push((job.run)(&connection));
            next = if answers.len() < GROUP { waiting.try_recv().ok() } else { None };
        }
        let ended = connection.execute_batch("COMMIT");
        if let Err(error) = &ended {
            tracing::error!(%error, "a transaction could not be committed");
            if !connection.is_autocommit() {
                let _ = connection.execute_batch("ROLLBACK");
            }
        }
        answers.into_iter().for_each(|answer| answer(ended.is_ok()));
        if writes && ended.is_ok() {
            written.send_modify(|count| *count += 1);
        }
    }
}

/// Runs one job of a group so that its refusal undoes nothing of the others.
fn apart<T>(tx: &Tx<'_>, work: impl FnOnce(&Tx<'_>) -> Result<T, Refusal>) -> Result<T, Refusal> {
    tx.execute_batch("SAVEPOINT job")?;
    let result = work(tx);
    let end = if result.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
    tx.execute_batch(end)?;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS thing (name TEXT PRIMARY KEY) STRICT;";

    async fn add(store: &Store, name: &'static str, well: bool) -> Result<(), Refusal> {
        let add = move |tx: &Tx<'_>| {
            tx.execute("INSERT INTO thing VALUES (?1)", [name])?;
            if well { Ok(()) } else { Err(Refusal::NotFound("no")) }
        };
        store.write(add).await
    }

    #[tokio::test]
    async fn a_refused_job_undoes_nothing_of_its_neighbours() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path(), "x", &[SCHEMA]).expect("it opens");
        let (one, two, three) =
            tokio::join!(add(&store, "one", true), add(&store, "two", false), add(&store, "three", true));
        assert!(one.is_ok() && two.is_err() && three.is_ok());
        let count = |connection: &Connection| {
            Ok(connection.query_row("SELECT count(*) FROM thing", [], |row| row.get::<_, i64>(0))?)
        };
        assert_eq!(store.read(count).await.ok(), Some(2));
    }

    #[tokio::test]
    async fn a_file_is_opened_by_one_process_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let _store = Store::open(dir.path(), "x", &[SCHEMA]).expect("it opens");
        let error = Store::open(dir.path(), "x", &[SCHEMA]).expect_err("it is open");
        assert!(format!("{error:#}").contains("another process"), "{error:#}");
    }
}
