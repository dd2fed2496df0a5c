//! The read end: a few read-only connections, each used for one short read at a time.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::{BoxFuture, FutureExt};
use proto::{Code, Cursor, Failure, Page, Query, StoredEntry, TailQuery};
use rusqlite::Connection;
use tokio::{sync::Semaphore, time::timeout};
use uuid::Uuid;

use super::{
    Damage,
    file::with_suffix,
    follow,
    lost::Lost,
    names::{Main, Names},
    open, page,
};
use crate::store::{
    Followed, Read, Vitals,
    reading::{Budget, CONNECTIONS, TAILS, WAIT},
    row::LeftOut,
};

/// The read end of a SQLite file.
#[derive(Debug, Clone)]
pub(super) struct SqliteReader {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    path: PathBuf,
    permits: Arc<Semaphore>,
    tails: Semaphore,
    /// Connections that nobody uses now; all but the first are opened when they are needed.
    idle: Mutex<Vec<Connection>>,
    /// Held by every read; one that has it exclusively knows that there is no other.
    reading: RwLock<()>,
    damage: Damage,
    vitals: Vitals,
    left_out: LeftOut,
    /// The last read failed, and that was logged.
    failing: AtomicBool,
    /// Its file must stay open as long as a connection is.
    main: Arc<Main>,
}

impl SqliteReader {
    /// Call it after the metrics recorder is installed.
    pub(super) fn new(path: &Path, names: &Names, damage: &Damage, vitals: &Vitals) -> Self {
        let pool = Pool {
            path: path.to_owned(),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
            tails: Semaphore::new(TAILS),
            idle: Mutex::default(),
            reading: RwLock::default(),
            damage: damage.clone(),
            vitals: vitals.clone(),
            left_out: LeftOut::new(),
            failing: AtomicBool::new(false),
            main: Arc::clone(names.main()),
        };
        // One connection has both files open from the start, so that what is deleted while it is in use can be read until
        // the logger ends. Where it cannot be opened, the first read says so.
        let _ = pool
            .read(|connection, _| connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())));
        SqliteReader { pool: Arc::new(pool) }
    }

    /// Closes all connections, and lets nobody open one until what this returns is dropped. Waits for those who read, which
    /// is at most as long as a page takes.
    pub(super) fn close_all(&self) -> RwLockWriteGuard<'_, ()> {
        let nobody_reads = self.pool.reading.write().unwrap_or_else(PoisonError::into_inner);
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        nobody_reads
    }

    async fn read<T, F>(&self, read: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &LeftOut) -> rusqlite::Result<T> + Send + 'static,
    {
        let Ok(Ok(permit)) = timeout(WAIT, Arc::clone(&self.pool.permits).acquire_owned()).await else {
            return Err(Failure::new(Code::Overloaded, "too many concurrent reads: retry"));
        };
        let pool = Arc::clone(&self.pool);
        let result = tokio::task::spawn_blocking(move || {
            // Held here and not by the caller: a client that disconnects must not admit one more.
            let _permit = permit;
            pool.read(read)
        });
        match result.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(unread)) => Err(unread.failure()),
            Err(panicked) => Err(unreadable().because(panicked)),
        }
    }
}

impl Read for SqliteReader {
    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Option<StoredEntry>, Failure>> {
        let found = async move {
            let found = self.read(move |connection, _| page::get(connection, id)).await?;
            let found = found.transpose().inspect_err(|unreadable| self.pool.left_out.note(unreadable));
            found.map_err(|unreadable| unreadable.failure())
        };
        found.boxed()
    }

    fn page(&self, query: Query) -> BoxFuture<'_, Result<Page, Failure>> {
        let budget = Budget::DEFAULT;
        self.read(move |connection, left_out| page::page(connection, &query, budget, left_out)).boxed()
    }

    fn begin(&self, query: TailQuery) -> BoxFuture<'_, Result<Option<Cursor>, Failure>> {
        self.read(move |connection, _| follow::begin(connection, &query)).boxed()
    }

    fn follow(&self, query: Arc<TailQuery>, after: Cursor) -> BoxFuture<'_, Result<Followed, Failure>> {
        let followed = async move {
            // Those who follow many old entries must leave room for pages.
            let _turn = self.pool.tails.acquire().await.map_err(|error| unreadable().because(error))?;
            let budget = Budget::FOLLOW;
            self.read(move |connection, left_out| follow::follow(connection, &query, after, budget, left_out))
                .await
        };
        followed.boxed()
    }

    fn vitals(&self) -> Vitals {
        self.pool.vitals.clone()
    }

    /// The bytes of the file and of its write-ahead log. It asks the file system, which takes some microseconds.
    fn disk_bytes(&self) -> Option<u64> {
        let bytes = |path: &Path| fs::metadata(path).map(|metadata| metadata.len());
        // The WAL exists while a store is open; the process that closed it last has deleted it.
        let log = bytes(&with_suffix(&self.pool.path, "-wal")).unwrap_or_default();
        Some(bytes(&self.pool.path).ok()? + log)
    }

    #[cfg(test)]
    fn read_by_others(&self) -> tokio::sync::OwnedSemaphorePermit {
        let all = u32::try_from(CONNECTIONS).expect("few");
        Arc::clone(&self.pool.permits).try_acquire_many_owned(all).expect("nobody reads")
    }
}

impl Pool {
    fn read<T>(&self, read: impl FnOnce(&Connection, &LeftOut) -> rusqlite::Result<T>) -> Result<T, Unread> {
        let _reading = self.reading.read().unwrap_or_else(PoisonError::into_inner);
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => Ok(connection),
            None => self.open(),
        };
        let result = connection.and_then(|connection| {
            let value = read(&connection, &self.left_out)?;
            // A connection that failed is closed: the next read begins with a new one.
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            Ok(value)
        });
        match &result {
            Ok(_) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the store can be read again");
                }
            }
            Err(Unread::Sqlite(error)) if open::is_damage(error) => self.damage.found(&self.path, error),
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "the store cannot be read");
                }
            }
        }
        result
    }

    /// Opens one more connection, to the file that the writer has.
    fn open(&self) -> Result<Connection, Unread> {
        self.main.look().map_err(Unread::Lost)?;
        Ok(open::open_read_only(&self.path)?)
    }
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("{}", .0.what())]
    Lost(Lost),
}

impl Unread {
    fn failure(self) -> Failure {
        match self {
            Unread::Sqlite(error) => unreadable().because(error),
            Unread::Lost(lost) => {
                let message = format!("{}: it cannot be read", lost.what());
                Failure::new(Code::Unavailable, message)
            }
        }
    }
}

fn unreadable() -> Failure {
    Failure::new(Code::Unavailable, "the store cannot be read now: retry")
}
