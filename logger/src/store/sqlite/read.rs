//! The read end: a few read-only connections, each used for one short read at a time.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use proto::{Code, Cursor, Failure, Page, Query, StoredEntry, TailQuery};
use rusqlite::Connection;
use tokio::{sync::Semaphore, time::timeout};
use uuid::Uuid;

use super::{Damage, follow, page, schema};
use crate::store::Followed;

/// Reads that run at once. Each holds a thread, and a page of up to 2 MiB.
const CONNECTIONS: usize = 4;

/// Tails that read at once, each for a tenth of a second.
const TAILS: usize = CONNECTIONS / 2;

/// How long a read waits for a free connection. A page takes at most half a second.
const WAIT: Duration = Duration::from_secs(1);

/// The read end of a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteReader {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    path: PathBuf,
    permits: Arc<Semaphore>,
    tails: Semaphore,
    /// Connections that nobody uses now; opened when they are first needed.
    idle: Mutex<Vec<Connection>>,
    damage: Damage,
}

impl SqliteReader {
    pub(super) fn new(path: PathBuf, damage: Damage) -> Self {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        SqliteReader {
            pool: Arc::new(Pool {
                path,
                permits,
                tails: Semaphore::new(TAILS),
                idle: Mutex::default(),
                damage,
            }),
        }
    }

    pub(in crate::store) async fn get(&self, id: Uuid) -> Result<Option<StoredEntry>, Failure> {
        self.read(move |connection| page::get(connection, id)).await
    }

    pub(in crate::store) async fn page(&self, query: Query) -> Result<Page, Failure> {
        self.read(move |connection| page::page(connection, &query, page::Budget::DEFAULT)).await
    }

    pub(in crate::store) async fn begin(&self, query: &TailQuery) -> Result<Option<Cursor>, Failure> {
        let query = query.clone();
        self.read(move |connection| follow::begin(connection, &query)).await
    }

    pub(in crate::store) async fn follow(
        &self,
        query: Arc<TailQuery>,
        after: Cursor,
    ) -> Result<Followed, Failure> {
        // Those who follow many old entries must leave room for pages.
        let _turn = self.pool.tails.acquire().await.map_err(|error| unreadable().because(error))?;
        self.read(move |connection| follow::follow(connection, &query, after, page::Budget::FOLLOW)).await
    }

    /// Takes every place of those that read at once, until what this returns is dropped.
    #[cfg(test)]
    pub(in crate::store) fn read_by_others(&self) -> tokio::sync::OwnedSemaphorePermit {
        let all = u32::try_from(CONNECTIONS).expect("few");
        Arc::clone(&self.pool.permits).try_acquire_many_owned(all).expect("nobody reads")
    }

    /// The bytes of the file and of its write-ahead log. It asks the file system, which takes some microseconds.
    pub(in crate::store) fn disk_bytes(&self) -> Option<u64> {
        let bytes = |path: &Path| fs::metadata(path).map(|metadata| metadata.len());
        // The log is there while a store is open, and whoever has just closed one took it away.
        let log = bytes(&log_of(&self.pool.path)).unwrap_or_default();
        Some(bytes(&self.pool.path).ok()? + log)
    }

    async fn read<T, F>(&self, read: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let Ok(Ok(permit)) = timeout(WAIT, Arc::clone(&self.pool.permits).acquire_owned()).await else {
            return Err(Failure::new(Code::Overloaded, "too many reads at once: try again"));
        };
        let pool = Arc::clone(&self.pool);
        let result = tokio::task::spawn_blocking(move || {
            // Held here and not by the caller: a caller who goes away must not let one more in.
            let _permit = permit;
            pool.read(read)
        });
        match result.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(unreadable().because(error)),
            Err(panicked) => Err(unreadable().because(panicked)),
        }
    }
}

impl Pool {
    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = idle.map_or_else(|| schema::open_read_only(&self.path), Ok)?;
        let result = read(&connection);
        match &result {
            Ok(_) => self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection),
            Err(error) if schema::is_damage(error) => self.damage.found(&self.path, error),
            // A connection that failed is closed: the next read begins with a new one.
            Err(_) => {}
        }
        result
    }
}

/// Where SQLite keeps the write-ahead log of a file.
fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn unreadable() -> Failure {
    Failure::new(Code::Unavailable, "the store cannot be read now: try again")
}
