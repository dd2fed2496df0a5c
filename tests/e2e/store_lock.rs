//! One logger at a time on a store, and no waiting after a kill.

use std::collections::BTreeMap;

use proto::Transport;
use rand::{SeedableRng, rngs::StdRng};
use rig::{Answer, Journal};
use tests::{
    process::Process,
    torture::lone::{Lone, random_entry},
};

#[tokio::test]
async fn a_second_logger_on_a_store_is_refused_and_one_that_follows_a_kill_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = format!("sqlite:{}", dir.path().join("logs.db").display());
    let settings = BTreeMap::from([("LOGGER_STORE", store)]);
    let mut first = Lone::start(&settings, dir.path()).await.expect("it starts");
    let mut second = Process::start("logger", &settings, dir.path());
    assert_eq!(second.ended().await.code(), Some(1), "{}", second.log());
    let log = second.log();
    assert!(log.contains("LOGGER_STORE") && log.contains("another logger uses"), "{log}");
    // The one that was there noticed nothing.
    let entry = random_entry(&mut StdRng::seed_from_u64(1));
    let answer = first.send(Transport::Http, &entry, &mut Journal::default()).await;
    assert!(matches!(answer, Answer::Accepted(_)), "{answer:?}");
    first.process.kill().await;
    let third = Lone::start(&settings, dir.path()).await.expect("it starts at once");
    assert_eq!(third.all_stored().await.len(), 1);
}
