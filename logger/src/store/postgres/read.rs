//! The read end: a few connections of their own, each used for one short read at a time.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{
    Connect, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
    TimeoutType, Timeouts,
};
use futures_util::future::{BoxFuture, FutureExt};
use proto::{Code, Cursor, Failure, Page, Query, StoredEntry, TailQuery};
use tokio::{
    sync::Semaphore,
    task::JoinHandle,
    time::{error::Elapsed, timeout},
};
use tokio_postgres::{Client, Config, Error};
use uuid::Uuid;

use super::{cause::Cause, follow, page, servers::Servers, session};
use crate::store::{
    Followed, Read, Vitals,
    reading::{Budget, CONNECTIONS, TAILS, WAIT},
    row::LeftOut,
};

/// How long it may take to open one.
const OPEN: Duration = Duration::from_secs(3);

/// How long a read may take. The server ends it then, and a connection that does not respond is closed.
const READ: Duration = Duration::from_secs(4);

/// For the connections that read.
const READER_SETTINGS: &str = "SET statement_timeout = '3s'; SET default_transaction_read_only = on";

/// The read end of a database.
#[derive(Clone)]
pub(super) struct PostgresReader(Arc<Inner>);

struct Inner {
    pool: Pool,
    tails: Semaphore,
    vitals: Vitals,
    left_out: LeftOut,
    /// What the tables take, when the writer last asked.
    bytes: Arc<AtomicU64>,
    /// The last read failed, and that was logged.
    failing: AtomicBool,
}

impl PostgresReader {
    /// Call it after the metrics recorder is installed. Connections are opened when they are needed.
    pub(super) fn new(servers: Arc<Servers>, vitals: &Vitals, bytes: &Arc<AtomicU64>) -> Self {
        // A connection that is closed is noticed; one that is only silent, by the timeout of its read.
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        // Each server has a configuration of its own: this one is not used.
        let manager = Manager::from_connect(Config::new(), ToPrimary(servers), manager);
        let settings = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
            async move {
                let settings = [session::SETTINGS, READER_SETTINGS].concat();
                client.batch_execute(&settings).await.map_err(HookError::Backend)
            }
            .boxed()
        });
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait: Some(WAIT), create: Some(OPEN), recycle: Some(OPEN) })
            .post_create(settings)
            .build()
            .expect("timeouts have a runtime");
        PostgresReader(Arc::new(Inner {
            pool,
            tails: Semaphore::new(TAILS),
            vitals: vitals.clone(),
            left_out: LeftOut::new(),
            bytes: Arc::clone(bytes),
            failing: AtomicBool::new(false),
        }))
    }

    async fn client(&self) -> Result<Object, Failure> {
        self.0.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => {
                Failure::new(Code::Overloaded, "too many concurrent reads: retry")
            }
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => {
                self.unreadable(Cause::Silent("to one who reads"))
            }
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                self.unreadable(error.into())
            }
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Failure::unreachable("the store").because(error)
            }
        })
    }

    /// What was read over a connection, which is closed if it has not answered.
    fn read<T>(&self, client: Object, read: Result<Result<T, Error>, Elapsed>) -> Result<T, Failure> {
        match read {
            Ok(Ok(value)) => {
                if self.0.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the database can be read again");
                }
                Ok(value)
            }
            Ok(Err(error)) => Err(self.unreadable(error.into())),
            Err(_late) => {
                drop(Object::take(client));
                Err(self.unreadable(Cause::Silent("to one who reads")))
            }
        }
    }

    fn unreadable(&self, cause: Cause) -> Failure {
        if !self.0.failing.swap(true, Ordering::Relaxed) {
            tracing::error!(error = %cause, "the database cannot be read");
        }
        Failure::new(Code::Unavailable, "the store cannot be read now: retry").because(cause)
    }
}

impl Read for PostgresReader {
    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Option<StoredEntry>, Failure>> {
        let found = async move {
            let client = self.client().await?;
            let read = timeout(READ, page::get(&client, id)).await;
            let found = self.read(client, read)?.transpose();
            found.inspect_err(|row| self.0.left_out.note(row)).map_err(|row| row.failure())
        };
        found.boxed()
    }

    fn page(&self, query: Query) -> BoxFuture<'_, Result<Page, Failure>> {
        let page = async move {
            let client = self.client().await?;
            let page = page::page(&client, &query, Budget::DEFAULT, &self.0.left_out);
            let read = timeout(READ, page).await;
            self.read(client, read)
        };
        page.boxed()
    }

    fn begin(&self, query: TailQuery) -> BoxFuture<'_, Result<Option<Cursor>, Failure>> {
        let begin = async move {
            let client = self.client().await?;
            let read = timeout(READ, follow::begin(&client, &query)).await;
            self.read(client, read)
        };
        begin.boxed()
    }

    fn follow(&self, query: Arc<TailQuery>, after: Cursor) -> BoxFuture<'_, Result<Followed, Failure>> {
        let followed = async move {
            // Those who follow many old entries must leave room for pages.
            let _turn = self
                .0
                .tails
                .acquire()
                .await
                .map_err(|error| Failure::unreachable("the store").because(error))?;
            let client = self.client().await?;
            let followed = follow::follow(&client, &query, after, Budget::FOLLOW, &self.0.left_out);
            let read = timeout(READ, followed).await;
            self.read(client, read)
        };
        followed.boxed()
    }

    fn vitals(&self) -> Vitals {
        self.0.vitals.clone()
    }

    fn disk_bytes(&self) -> Option<u64> {
        Some(self.0.bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    #[cfg(test)]
    fn read_by_others(&self) -> tokio::sync::OwnedSemaphorePermit {
        panic!("what waits for those who read is tried with a file")
    }
}

impl fmt::Debug for PostgresReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresReader").field("pool", &self.0.pool.status()).finish_non_exhaustive()
    }
}

/// How the pool connects: as the writer does.
struct ToPrimary(Arc<Servers>);

impl Connect for ToPrimary {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        self.0.connect(|_message| {}).boxed()
    }
}
