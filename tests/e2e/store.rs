//! What a logger says of a store that takes no entries: in answer to a ping, and at `/readyz`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proto::{Code, EntryDraft};
use rig::{Answer, Ledger};
use tests::{DIRECT, disk::Disk, torture::lone::Lone};

#[tokio::test]
async fn a_logger_whose_disk_is_full_could_store_no_entry_and_says_so_before_one_comes() -> anyhow::Result<()>
{
    let dir = tempfile::tempdir()?;
    let disk = Disk::new(dir.path());
    let lone = Lone::start(&BTreeMap::from(disk.settings()), dir.path()).await?;
    lone.says(Ok(())).await?;
    disk.set_space(Some(100_000));
    lone.says(Err(Code::StorageFull)).await?;
    let (_, body) = lone.get("/readyz").await?;
    assert_eq!(body["detail"]["store"], false, "{body}");
    assert!(body["detail"]["store_trouble"].as_str().is_some_and(|why| why.contains("full")), "{body}");
    assert_eq!(lone.get("/logs").await?.0, 200, "reading goes on");
    disk.set_space(None);
    lone.says(Ok(())).await
}

#[tokio::test]
async fn every_time_that_is_accepted_can_be_read_back() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let store = format!("sqlite:{}", dir.path().join("logs.db").display());
    let lone = Lone::start(&BTreeMap::from([("LOGGER_STORE", store)]), dir.path()).await?;
    let times = [
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59.9999999999999Z",
        "9999-12-30T22:00:00.000001Z",
        "9999-12-31T23:59:59.999999999Z",
    ];
    let mut sent = Vec::new();
    for transport in DIRECT {
        lone.connects(transport).await?;
        for created_at in times {
            let draft =
                EntryDraft { name: "n".into(), created_at: Some(created_at.into()), ..EntryDraft::default() };
            let entry = draft.check(Timestamp::now())?;
            let answer = lone.send(transport, &entry, &mut Ledger::default()).await;
            assert!(matches!(answer, Answer::Accepted(_)), "{transport}, {created_at}: {answer:?}");
            sent.push((entry.id(), entry.created_at()));
        }
    }
    let mut stored: Vec<_> =
        lone.all_stored().await?.into_iter().map(|entry| (entry.id, entry.created_at)).collect();
    stored.reverse();
    assert_eq!(stored, sent);
    Ok(())
}
