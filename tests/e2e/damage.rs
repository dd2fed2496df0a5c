//! A store whose file is broken: nothing is written to it any more, and a start says what to do.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

use nix::sys::signal::Signal;
use proto::{Code, Transport};
use rand::{SeedableRng, rngs::StdRng};
use rig::{Answer, Ledger, Refused};
use tempfile::TempDir;
use tests::torture::{lone::Lone, random_entry};

/// So many entries.
const ENTRIES: usize = 50;

/// A closed store with some entries, and the settings of a logger for it.
async fn store() -> anyhow::Result<(TempDir, BTreeMap<&'static str, String>)> {
    let dir = tempfile::tempdir()?;
    let store = format!("sqlite:{}", dir.path().join("logs.db").display());
    let settings = BTreeMap::from([("LOGGER_STORE", store)]);
    let mut lone = Lone::start(&settings, dir.path()).await?;
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..ENTRIES {
        let answer = lone.send(Transport::Http, &random_entry(&mut random), &mut Ledger::default()).await;
        assert!(matches!(answer, Answer::Accepted(_)), "{answer:?}");
    }
    lone.logger.stop().await?;
    Ok((dir, settings))
}

fn is_refused_with_3(started: anyhow::Result<Lone>) {
    let error = started.expect_err("refused");
    assert_eq!(error.downcast_ref::<Refused>().expect("it ended").status.code(), Some(3));
}

/// Overwrites every page but the first, which says what the file is.
fn overwrite(store: &Path) {
    let file = File::options().write(true).open(store).expect("writable");
    for page in 1..file.metadata().expect("it is there").len() / 4096 {
        file.write_all_at(&[0xa5; 4096], page * 4096).expect("overwritten");
    }
}

#[tokio::test]
async fn a_damaged_store_is_refused_with_3_and_left_as_it_is() -> anyhow::Result<()> {
    let (dir, settings) = store().await?;
    let store = dir.path().join("logs.db");
    overwrite(&store);
    let before = fs::read(&store)?;
    is_refused_with_3(Lone::start(&settings, dir.path()).await);
    assert_eq!(fs::read(&store)?, before);
    let logs = fs::read_dir(dir.path()).expect("listed").filter_map(|entry| {
        let path = entry.expect("listed").path();
        path.extension()
            .is_some_and(|extension| extension == "log")
            .then(|| fs::read_to_string(path).expect("text"))
    });
    let refusal = logs.filter(|log| log.contains("is damaged")).collect::<String>();
    assert!(refusal.contains("restore a backup"), "{refusal}");
    Ok(())
}

#[tokio::test]
async fn damage_at_run_time_stops_writing_and_shows_in_readyz() -> anyhow::Result<()> {
    let (dir, settings) = store().await?;
    let mut lone = Lone::start(&settings, dir.path()).await?;
    assert_eq!(lone.get("/readyz").await?.0, 200);
    overwrite(&dir.path().join("logs.db"));
    let (status, body) = lone.get("/logs").await?;
    assert_eq!((status.as_u16(), body["data"]["code"].as_str()), (503, Some("unavailable")), "{body}");
    let entry = random_entry(&mut StdRng::seed_from_u64(2));
    for transport in tests::DIRECT {
        lone.connects(transport).await?;
        let answer = lone.send(transport, &entry, &mut Ledger::default()).await;
        assert_eq!(answer, Answer::Refused(Code::Unavailable), "{transport}");
    }
    let damaged = async || lone.get("/readyz").await.is_ok_and(|(status, _)| status == 503).then_some(());
    tests::soon("/readyz says 503", damaged).await?;
    lone.logger.signal(Signal::SIGTERM)?;
    lone.logger.ended().await?;
    is_refused_with_3(Lone::start(&settings, dir.path()).await);
    Ok(())
}

#[tokio::test]
async fn every_row_that_was_altered_is_named_in_the_log() -> anyhow::Result<()> {
    let (dir, settings) = store().await?;
    let path = dir.path().join("logs.db");
    let mut bytes = fs::read(&path)?;
    // Some of them are of rows that have moved.
    let names: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"torture")).collect();
    names.iter().for_each(|at| bytes[*at] = b'T');
    fs::write(&path, bytes)?;
    let mut lone = Lone::start(&settings, dir.path()).await?;
    assert!(lone.all_stored().await?.is_empty());
    lone.logger.stop().await?;
    let log = lone.logger.log();
    assert_eq!(log.matches("an unreadable row is skipped").count(), ENTRIES, "{log}");
    Ok(())
}
