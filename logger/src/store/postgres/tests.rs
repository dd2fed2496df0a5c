//! What is PostgreSQL's own. What every store must do is in `store::suite`, which has two places here: a database on
//! the server of the run, and a server of its own that is killed.

mod clock;
mod cut;
mod failing;
mod opening;
mod sharing;
mod unreadable;

use std::sync::atomic::{AtomicU32, Ordering};

use proto::Time;
use rig::Database;
use tokio::runtime::Runtime;

use super::{Postgres, PostgresUrl, prune};
use crate::store::{OpenError, Store, suite};

/// A database of its own on the server of the run, for the suite.
pub(in crate::store) struct Place {
    name: String,
}

impl Place {
    fn url(&self) -> PostgresUrl {
        self.url_with("")
    }

    /// With parameters, such as `?options=…`.
    fn url_with(&self, parameters: &str) -> PostgresUrl {
        let server = server();
        let (server, _) = server.rsplit_once('/').expect("a database");
        format!("{server}/{}{parameters}", self.name).parse().expect("a URL")
    }

    /// One that is made with these words.
    fn made(words: &str) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        sql(&server(), &format!("CREATE DATABASE {name} {words}"));
        Place { name }
    }

    fn open(&self) -> Postgres {
        Postgres::open(&self.url(), None).expect("opened")
    }

    /// Runs statements in it.
    fn sql(&self, statements: &str) {
        let server = server();
        let (server, _) = server.rsplit_once('/').expect("a database");
        sql(&format!("{server}/{}", self.name), statements);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        sql(&server(), &format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

impl suite::Place for Place {
    type Store = Postgres;

    fn new() -> Self {
        Place::made("")
    }

    fn open(&mut self) -> Postgres {
        Place::open(self)
    }

    fn forget(&mut self, store: &mut Postgres, before: Time) {
        forget(store, before);
    }
}

/// A server of its own, for what the suite does to one that may die.
pub(in crate::store) struct OwnServer {
    /// Dropped before its runtime.
    database: Database,
    runtime: Runtime,
}

impl suite::Place for OwnServer {
    type Store = Postgres;

    fn new() -> Self {
        let runtime = runtime();
        let database = runtime.block_on(Database::start()).expect("a server");
        OwnServer { database, runtime }
    }

    fn open(&mut self) -> Postgres {
        Postgres::open(&self.database.url().parse().expect("a URL"), None).expect("opened")
    }

    fn forget(&mut self, store: &mut Postgres, before: Time) {
        forget(store, before);
    }
}

impl suite::Durable for OwnServer {
    /// Each opens a server and kills it time and again, which takes a second each time.
    const CASES: u32 = 2;

    /// `kill -9` of the postmaster, with a logger that finds it gone.
    fn crash(&mut self, store: Postgres) -> Postgres {
        let killed = async {
            self.database.kill().await?;
            self.database.launch("").await?;
            self.database.serves().await
        };
        self.runtime.block_on(killed).expect("it obeys");
        drop(store);
        suite::Place::open(self)
    }
}

fn forget(store: &mut Postgres, before: Time) {
    let session = store.take_session().expect("connected");
    while store.run(prune::step(&session, Some(before), None, None)).expect("deleted").more {}
    store.session = Some(session);
}

/// The server of the run.
fn server() -> String {
    std::env::var("FOURWIRE_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!(
            "FOURWIRE_TEST_POSTGRES is not set: run the tests by `make test`, or by `deploy/postgres.sh \
             with-test-server cargo test`; without PostgreSQL add `-- --skip postgres`"
        )
    })
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn sql(url: &str, statements: &str) {
    runtime().block_on(async {
        let (client, connection) =
            tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connected");
        tokio::spawn(connection);
        client.batch_execute(statements).await.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    });
}

/// Why a database cannot be opened, with its cause, as the log has it.
fn refusal(opened: Result<Postgres, OpenError>) -> String {
    format!("{:#}", anyhow::Error::from(opened.expect_err("refused")))
}

/// A store as the logger has it, so that it closes as it does there.
fn close(store: Postgres) {
    Box::new(store).close();
}
