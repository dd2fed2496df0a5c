//! The read end: a few read-only connections, each used for one short read at a time.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use proto::{Code, Failure, Page, Query, StoredEntry};
use rusqlite::Connection;
use tokio::{sync::Semaphore, time::timeout};
use uuid::Uuid;

use super::{Damage, page, schema};

/// Reads that run at once. Each holds a thread, and a page of up to 2 MiB.
const CONNECTIONS: usize = 4;

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
    /// Connections that nobody uses now; opened when they are first needed.
    idle: Mutex<Vec<Connection>>,
    damage: Damage,
}

impl SqliteReader {
    pub(super) fn new(path: PathBuf, damage: Damage) -> Self {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        SqliteReader { pool: Arc::new(Pool { path, permits, idle: Mutex::default(), damage }) }
    }

    pub(in crate::store) async fn get(&self, id: Uuid) -> Result<Option<StoredEntry>, Failure> {
        self.read(move |connection| page::get(connection, id)).await
    }

    pub(in crate::store) async fn page(&self, query: Query) -> Result<Page, Failure> {
        self.read(move |connection| page::page(connection, &query, page::Budget::DEFAULT)).await
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

fn unreadable() -> Failure {
    Failure::new(Code::Unavailable, "the store cannot be read now: try again")
}
