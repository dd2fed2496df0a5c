//! A backup that is made under load, and restored.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
    time::Duration,
};

use proto::{Outcome, Transport};
use rand::{SeedableRng, rngs::StdRng};
use rig::{Answer, Ledger};
use tests::{
    process,
    torture::{lone::Lone, random_entry},
};

const CALLERS: usize = 12;

fn settings(store: &Path) -> BTreeMap<&'static str, String> {
    BTreeMap::from([("LOGGER_STORE", format!("sqlite:{}", store.display()))])
}

/// All that a logger on a store has, by its ids.
async fn stored(lone: &Lone) -> anyhow::Result<HashSet<uuid::Uuid>> {
    Ok(lone.all_stored().await?.iter().map(|entry| entry.id).collect())
}

#[tokio::test]
async fn a_backup_under_load_has_all_that_was_answered_before_and_a_restored_logger_goes_on()
-> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut random = StdRng::seed_from_u64(5);
    let own = settings(&dir.path().join("logs.db"));
    let lone = Lone::start(&own, dir.path()).await?;
    for transport in tests::DIRECT {
        lone.connects(transport).await?;
    }
    let before = lone.load(CALLERS, &mut random);
    before.goes_on(2_000).await?;
    let mut ledger = before.stop().await?;
    let accepted_before = ledger.accepted();

    let during = lone.load(CALLERS, &mut random);
    during.goes_on(50).await?;
    let copy = dir.path().join("copy.db");
    let file = copy.display().to_string();
    let mut backup = process::start_with("logger", &["--backup", &file], &own, dir.path());
    assert_eq!(backup.ended().await?.code(), Some(0), "{}", backup.log());
    let log = backup.log();
    assert!(log.contains("the store is backed up and verified") && log.contains("unreadable=0"), "{log}");
    during.goes_on(50).await?;
    let during = during.stop().await?;
    ledger.merge(during);

    // The logger noticed nothing: nobody was refused, and all that was accepted is there.
    let verdict = ledger.verdict(&lone.all_stored().await?, &HashSet::new());
    assert!(verdict.is_sound() && verdict.refused == 0 && verdict.unknown == 0, "{verdict}");
    assert!(verdict.longest < Duration::from_secs(5), "{verdict}");
    drop(lone);

    let place = tempfile::tempdir()?;
    let restored = place.path().join("logs.db");
    fs::rename(&copy, &restored).or_else(|_| fs::copy(&copy, &restored).map(drop))?;
    let lone = Lone::start(&settings(&restored), place.path()).await?;
    let found = stored(&lone).await?;
    assert!(accepted_before.is_subset(&found), "{} of {}", found.len(), accepted_before.len());
    assert!(found.is_subset(&ledger.sent()), "it has nothing that was not sent");
    assert!(log.contains(&format!("entries={} ", found.len())), "{} {log}", found.len());

    // It knows what it has, and goes on.
    let entry = random_entry(&mut random);
    let mut own = Ledger::default();
    assert_eq!(lone.send(Transport::Http, &entry, &mut own).await, Answer::Accepted(Outcome::Stored));
    assert_eq!(lone.send(Transport::Http, &entry, &mut own).await, Answer::Accepted(Outcome::Duplicate));
    let after = lone.load(CALLERS, &mut random);
    after.goes_on(200).await?;
    own.merge(after.stop().await?);
    assert!(own.accepted().is_subset(&stored(&lone).await?));
    Ok(())
}

#[tokio::test]
async fn a_backup_is_refused_where_a_file_is_or_where_the_store_is_postgresql() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let own = settings(&dir.path().join("logs.db"));
    let _lone = Lone::start(&own, dir.path()).await?;
    let store = dir.path().join("logs.db").display().to_string();
    let mut backup = process::start_with("logger", &["--backup", &store], &own, dir.path());
    assert_eq!(backup.ended().await?.code(), Some(1), "{}", backup.log());
    assert!(backup.log().contains("name another file"), "{}", backup.log());
    let postgres =
        BTreeMap::from([("LOGGER_STORE", "postgres://fourwire:secret@127.0.0.1:1/logs".to_owned())]);
    let copy = dir.path().join("copy.db").display().to_string();
    let mut backup = process::start_with("logger", &["--backup", &copy], &postgres, dir.path());
    assert_eq!(backup.ended().await?.code(), Some(1), "{}", backup.log());
    let log = backup.log();
    assert!(log.contains("pg_basebackup") && !log.contains("secret"), "{log}");
    Ok(())
}
