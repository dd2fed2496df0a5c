//! One logger at a time on a store, and no waiting after a kill.

use std::collections::BTreeMap;

use proto::Transport;
use rand::{SeedableRng, rngs::StdRng};
use rig::{Answer, Ledger};
use tests::{
    process,
    torture::{lone::Lone, random_entry},
};

#[tokio::test]
async fn a_second_logger_on_a_store_is_refused_and_one_that_follows_a_kill_is_not() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let store = format!("sqlite:{}", dir.path().join("logs.db").display());
    let settings = BTreeMap::from([("LOGGER_STORE", store)]);
    let mut first = Lone::start(&settings, dir.path()).await?;
    let mut second = process::start("logger", &settings, dir.path());
    assert_eq!(second.ended().await?.code(), Some(1), "{}", second.log());
    let log = second.log();
    assert!(log.contains("LOGGER_STORE") && log.contains("another logger uses"), "{log}");
    // The one that was there noticed nothing.
    let entry = random_entry(&mut StdRng::seed_from_u64(1));
    let answer = first.send(Transport::Http, &entry, &mut Ledger::default()).await;
    assert!(matches!(answer, Answer::Accepted(_)), "{answer:?}");
    first.logger.kill().await?;
    let third = Lone::start(&settings, dir.path()).await?;
    assert_eq!(third.all_stored().await?.len(), 1);
    Ok(())
}
