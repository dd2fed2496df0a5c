//! Commits of which nothing is heard: unknown, until they are looked up.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use proto::{Code, Failure, Outcome};
use relay::{Direction, Fault, Relay};

use super::*;
use crate::store::fixtures::*;

/// What a session of the database waits for, once its second round trip has arrived.
const SLEEPS: &str = "wait_event = 'PgSleep'";

/// What it waits for while others have the turn.
const WAITS_FOR_ITS_TURN: &str = "wait_event_type = 'Lock'";

/// A store behind a relay.
struct Cut {
    store: Postgres,
    relay: Relay,
    place: Watched,
    /// Drives the relay on a thread of its own.
    _runtime: Runtime,
}

/// A database, and a connection that is there before it is needed: logging in takes longer than some states last.
struct Watched {
    place: Place,
    client: tokio_postgres::Client,
    runtime: Runtime,
}

impl Cut {
    fn start() -> Self {
        let place = Place::made("");
        let url = server();
        let (login, rest) = url.rsplit_once('@').expect("a login");
        let (address, _) = rest.split_once('/').expect("a database");
        let address: SocketAddr = address.parse().expect("an address");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let relay = runtime.block_on(Relay::open(address)).expect("a relay");
        let url = format!("{login}@{}/{}", relay.address(), place.name);
        let store = Postgres::open(&url.parse().expect("a URL"), None).expect("opened");
        Cut { store, relay, place: Watched::new(place), _runtime: runtime }
    }

    /// Stores an entry while `meanwhile` happens on another thread.
    fn store_while(
        &mut self,
        number: u128,
        meanwhile: impl FnOnce(&Relay, &Watched) + Send,
    ) -> Result<Outcome, Failure> {
        let Cut { store, relay, place, .. } = self;
        let (relay, place) = (&*relay, &*place);
        thread::scope(|scope| {
            scope.spawn(move || meanwhile(relay, place));
            store_one(store, arrival(number, "text"))
        })
    }
}

impl Watched {
    fn new(place: Place) -> Self {
        let server = server();
        let (server, _) = server.rsplit_once('/').expect("a database");
        let url = format!("{server}/{}", place.name);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let client = runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("connected");
            tokio::spawn(connection);
            client
        });
        Watched { place, client, runtime }
    }

    fn ask(&self, question: &str) -> i64 {
        self.runtime.block_on(self.client.query_one(question, &[])).expect("an answer").get(0)
    }

    /// Waits until one of its sessions is in this state.
    fn until(&self, state: &str) {
        let name = &self.place.name;
        let asked = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND {state}");
        until(|| self.ask(&asked) > 0);
    }

    /// Makes its inserts take a while.
    fn slow_down(&self) {
        self.place.sql(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;
             CREATE TRIGGER slow AFTER INSERT ON entries EXECUTE FUNCTION slow()",
        );
    }

    fn entries(&self) -> i64 {
        self.ask("SELECT count(*) FROM entries")
    }
}

fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "it did not come to pass in time");
        thread::sleep(Duration::from_millis(5));
    }
}

fn ask(url: &str, question: &str) -> i64 {
    runtime().block_on(async {
        let (client, connection) =
            tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connected");
        tokio::spawn(connection);
        client.query_one(question, &[]).await.expect("an answer").get(0)
    })
}

/// Lets what the server answers vanish from its second round trip on, and waits until it has committed.
fn lose_the_answer(relay: &Relay, place: &Watched) {
    let before = place.entries();
    place.until(SLEEPS);
    relay.set(Direction::ToClient, Fault::BlackHole);
    until(|| place.entries() > before);
}

#[test]
fn a_commit_whose_answer_is_lost_is_looked_up_and_its_entry_is_stored() {
    let mut it = Cut::start();
    it.place.slow_down();
    let stored = it.store_while(1, |relay, place| {
        lose_the_answer(relay, place);
        relay.set(Direction::ToClient, Fault::None);
        relay.reset();
    });
    assert_eq!(stored, Ok(Outcome::Stored));
    // The same for a group that stores nothing, and counts.
    it.place.place.sql("CREATE TRIGGER slow_again AFTER UPDATE ON entries EXECUTE FUNCTION slow()");
    let again = it.store_while(1, |relay, place| {
        place.until(SLEEPS);
        relay.set(Direction::ToClient, Fault::BlackHole);
        thread::sleep(Duration::from_secs(1));
        relay.set(Direction::ToClient, Fault::None);
        relay.reset();
    });
    assert_eq!(again, Ok(Outcome::Duplicate));
    let stored = runtime().block_on(it.store.reader().get(id(1))).expect("readable").expect("stored");
    assert_eq!(stored.attempts, 2);
}

#[test]
fn a_commit_that_has_not_arrived_is_looked_up_and_its_entry_is_not_stored() {
    let mut it = Cut::start();
    let holder = it.place.place.open();
    let session = holder.session.as_ref().expect("connected");
    holder.run(session.client.batch_execute("BEGIN; SELECT FROM counter FOR UPDATE")).expect("held");
    let refused = it.store_while(1, |relay, place| {
        place.until(WAITS_FOR_ITS_TURN);
        // The first round trip is at the server; the second will vanish.
        relay.set(Direction::ToServer, Fault::BlackHole);
        holder.run(session.client.batch_execute("ROLLBACK")).expect("given back");
        place.until("state = 'idle in transaction'");
        relay.set(Direction::ToServer, Fault::None);
        relay.reset();
    });
    assert_eq!(refused.map_err(|failure| failure.code), Err(Code::Unavailable));
    assert_eq!(it.place.entries(), 0);
    assert_eq!(store_one(&mut it.store, arrival(1, "text")), Ok(Outcome::Stored));
}

#[test]
fn a_commit_that_cannot_be_looked_up_in_time_stays_unknown() {
    let mut it = Cut::start();
    it.place.slow_down();
    let begun = Instant::now();
    let unknown = it.store_while(1, |relay, place| {
        lose_the_answer(relay, place);
        relay.refuse();
    });
    assert_eq!(unknown.map_err(|failure| failure.code), Err(Code::OutcomeUnknown));
    assert!(begun.elapsed() < Duration::from_secs(5), "clients wait no longer: {:?}", begun.elapsed());
    it.relay.admit();
    until(|| store_one(&mut it.store, arrival(1, "text")) == Ok(Outcome::Duplicate));
}

#[test]
fn a_commit_that_is_not_known_to_be_replicated_is_not_answered_as_stored() {
    let mut place = <OwnServer as suite::Place>::new();
    let mut store = suite::Place::open(&mut place);
    store_one(&mut store, arrival(0, "text")).expect("stored");
    let url = place.database.url().to_owned();
    let standby = |name: &str| {
        sql(&url, &format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"));
        sql(&url, "SELECT pg_reload_conf()");
        until(|| {
            ask(
                &url,
                &format!("SELECT (current_setting('synchronous_standby_names') = '{name}')::int::bigint"),
            ) == 1
        });
    };
    for (number, standby_comes_back) in [(1, true), (2, false)] {
        // No such standby is there: a commit waits for it, until it is cancelled.
        standby("nobody");
        let answer = thread::scope(|scope| {
            scope.spawn(|| {
                let waits = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
                until(|| ask(&url, &format!("SELECT count(*) {waits}")) > 0);
                sql(&url, &format!("SELECT pg_cancel_backend(pid) {waits}"));
                if standby_comes_back {
                    standby("");
                }
            });
            store_one(&mut store, arrival(number, "text"))
        });
        let expected = if standby_comes_back { Ok(Outcome::Stored) } else { Err(Code::OutcomeUnknown) };
        assert_eq!(answer.map_err(|failure| failure.code), expected);
    }
    standby("");
    until(|| store_one(&mut store, arrival(2, "text")) == Ok(Outcome::Duplicate));
}
