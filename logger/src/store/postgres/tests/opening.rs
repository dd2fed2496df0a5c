//! What a database must be, and what is said where it is not.

use proto::Outcome;

use super::*;
use crate::store::{fixtures::*, migrations::VERSION};

#[test]
fn a_server_that_does_not_sync_is_refused_and_the_setting_named() {
    let runtime = runtime();
    let mut database = runtime.block_on(Database::make()).expect("a server");
    let start = async {
        database.launch("-c fsync=off").await?;
        database.serves().await
    };
    runtime.block_on(start).expect("it starts");
    let opened = Postgres::open(&database.url().parse().expect("a URL"), None);
    assert!(matches!(opened, Err(OpenError::NotDurable(_))), "{opened:?}");
    let refusal = refusal(opened);
    assert!(refusal.contains("fsync=off") && refusal.contains("fsync=on"), "{refusal}");
}

#[test]
fn a_database_that_commits_before_it_syncs_is_refused_wherever_that_was_set() {
    let place = Place::made("");
    let by_url = "?options=-c%20synchronous_commit%3Doff";
    let opened = Postgres::open(&place.url_with(by_url), None);
    assert!(refusal(opened).contains("synchronous_commit=off"));
    place.sql(&format!("ALTER DATABASE {} SET synchronous_commit = off", place.name));
    let opened = Postgres::open(&place.url(), None);
    assert!(matches!(opened, Err(OpenError::NotDurable(_))), "{opened:?}");
    assert!(refusal(opened).contains("synchronous_commit=off"));
}

#[test]
fn a_database_of_bytes_that_are_no_text_is_refused() {
    let place = Place::made("ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    let refusal = refusal(Postgres::open(&place.url(), None));
    assert!(refusal.contains("server_encoding=SQL_ASCII") && refusal.contains("UTF8"), "{refusal}");
}

#[test]
fn a_server_that_is_read_only_is_refused() {
    let place = Place::made("");
    place.sql(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", place.name));
    let refusal = refusal(Postgres::open(&place.url(), None));
    assert!(refusal.contains("does not allow writes"), "{refusal}");
}

#[test]
fn tables_of_somebody_else_are_left_alone() {
    for table in ["entries (id int)", "counter (n int)"] {
        let place = Place::made("");
        place.sql(&format!("CREATE TABLE {table}"));
        let opened = Postgres::open(&place.url(), None);
        assert!(matches!(opened, Err(OpenError::Unusable(_))), "{opened:?}");
        assert!(refusal(opened).contains("a database of its own"));
    }
}

/// As restores of a part leave them: what is done to the tables, and what is said of it.
pub(super) const UNFIT: [(&str, &str); 3] = [
    ("UPDATE counter SET last = 1", "last is 1, the newest seq 3"),
    ("DELETE FROM counter", "has 0 rows"),
    ("INSERT INTO counter SELECT * FROM counter", "has 2 rows"),
];

/// The statements that an error gives as the remedy.
pub(super) fn remedy(error: &str) -> &str {
    error.split_once("count again: ").unwrap_or_else(|| panic!("no remedy: {error}")).1
}

#[test]
fn a_counter_that_does_not_fit_the_entries_is_refused_and_what_is_said_helps() {
    for (restored, words) in UNFIT {
        let place = Place::made("");
        let mut store = place.open();
        for number in 1..=3 {
            store_one(&mut store, arrival(number, "text")).expect("stored");
        }
        close(store);
        place.sql(restored);
        let refusal = refusal(Postgres::open(&place.url(), None));
        assert!(refusal.contains(words), "{refusal}");
        place.sql(remedy(&refusal));
        let mut store = place.open();
        assert_eq!(store_one(&mut store, arrival(3, "text")), Ok(Outcome::Duplicate));
        assert_eq!(store_one(&mut store, arrival(4, "text")), Ok(Outcome::Stored));
        close(store);
    }
    let place = Place::made("");
    close(place.open());
    place.sql("DROP TABLE counter");
    let refusal = refusal(Postgres::open(&place.url(), None));
    assert!(refusal.contains("restore both"), "{refusal}");
}

#[test]
fn an_older_database_is_brought_up_to_date_and_a_newer_one_refused() {
    let place = Place::made("");
    let mut store = place.open();
    store_one(&mut store, arrival(1, "text")).expect("stored");
    close(store);
    place.sql("ALTER TABLE entries DROP COLUMN checksum; UPDATE counter SET version = 1");
    let mut store = place.open();
    store_one(&mut store, arrival(2, "text")).expect("stored");
    let page = runtime().block_on(store.reader().page(proto::Query::default())).expect("readable");
    assert_eq!(page.entries.len(), 2, "the one without a checksum too");
    close(store);
    place.sql(&format!("UPDATE counter SET version = {}", VERSION + 1));
    let opened = Postgres::open(&place.url(), None);
    assert!(matches!(opened, Err(OpenError::Newer(_))), "{opened:?}");
    assert!(refusal(opened).contains("use a newer logger"));
}

#[test]
fn loggers_that_start_together_make_the_tables_once() {
    let place = Place::made("");
    std::thread::scope(|scope| {
        let starting: Vec<_> = (0..4).map(|_| scope.spawn(|| close(place.open()))).collect();
        for started in starting {
            started.join().expect("opened");
        }
    });
}

#[test]
fn the_first_server_of_several_that_takes_entries_is_used() {
    let place = Place::made("");
    let url = server();
    let (login, address) = url.rsplit_once('@').expect("a login");
    let (address, _) = address.split_once('/').expect("a database");
    // Nobody listens on the first port, and the second accepts connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().expect("its address");
    let url = format!("{login}@127.0.0.1:1,{silent},{address}/{}", place.name);
    let mut store = Postgres::open(&url.parse().expect("a URL"), None).expect("the third");
    store_one(&mut store, arrival(1, "text")).expect("stored");
}

#[test]
fn nothing_that_is_said_of_a_database_holds_its_password() {
    let place = Place::made("");
    let url = server();
    let password =
        url.split(':').nth(2).and_then(|rest| rest.split('@').next()).expect("a password").to_owned();
    assert!(password.len() > 16);
    let store = place.open();
    let mut said = format!("{store:?} {:?} {:?} {}", store.reader(), place.url(), place.url());
    close(store);
    let wrong = url.replace(&password, &format!("{password}x"));
    let missing = url.replace("/fourwire", "/nowhere");
    let unreachable = url.replace("127.0.0.1", "127.0.0.1:1,127.0.0.1");
    for url in [wrong, missing, unreachable] {
        if let Err(error) = Postgres::open(&url.parse().expect("a URL"), None) {
            said.push_str(&format!("{error} {error:?}"));
            said.push_str(&format!("{:#}", anyhow::Error::from(error)));
        }
    }
    assert!(said.contains("password authentication failed") && said.contains("nowhere"), "{said}");
    assert!(!said.contains(&password), "{said}");
}

#[test]
fn a_connection_is_encrypted_and_the_server_must_be_of_our_ca() {
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = runtime();
    let ca = certs::Authority::new().expect("a CA");
    let pair = ca.issue("postgres", certs::Validity::Current).expect("a certificate");
    let files = pair.write(directory.path(), "postgres").expect("written");
    let mut database = runtime.block_on(Database::make()).expect("a server");
    let start = async {
        database.certify(&files.cert.display().to_string(), &files.key.display().to_string()).await?;
        database.launch("").await?;
        database.serves().await
    };
    runtime.block_on(start).expect("it starts");
    let url: PostgresUrl = format!("{}?sslmode=require", database.url()).parse().expect("a URL");
    let tls = |ca: &certs::Authority| service::tls::client(&ca.pem(), None).expect("a CA");
    let mut store = Postgres::open(&url, Some(tls(&ca))).expect("opened");
    store_one(&mut store, arrival(1, "text")).expect("stored");
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let session = store.take_session().expect("connected");
    let row = store.run(session.client.query_one(encrypted, &[])).expect("asked");
    assert!(row.get::<_, bool>(0), "the connection is encrypted");
    drop((session, store));
    let other = certs::Authority::new().expect("another CA");
    assert!(refusal(Postgres::open(&url, Some(tls(&other)))).contains("certificate"));
}
