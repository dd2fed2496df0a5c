//! What a logger says of a store that takes no entries: to whoever asks whether it could store one, and at `/readyz`.

use std::collections::BTreeMap;

use proto::Code;
use tests::{DIRECT, disk::Disk, eventually, torture::lone::Lone};

/// Waits until the logger answers a question without entries, and `/readyz`, in this way.
async fn says(lone: &Lone, answer: Result<(), Code>) {
    for transport in DIRECT {
        let said = async || (lone.ping(transport).await == answer).then_some(());
        eventually(&format!("{transport} says {answer:?}"), said).await;
    }
    let ready = if answer.is_ok() { 200 } else { 503 };
    let said = async || (lone.get("/readyz").await.0 == ready).then_some(());
    eventually(&format!("/readyz says {ready}"), said).await;
}

#[tokio::test]
async fn a_logger_whose_disk_is_full_could_store_no_entry_and_says_so_before_one_comes() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Disk::new(dir.path());
    let lone = Lone::start(&BTreeMap::from(disk.settings()), dir.path()).await.expect("it starts");
    says(&lone, Ok(())).await;
    disk.set_space(Some(100_000));
    says(&lone, Err(Code::StorageFull)).await;
    let (_, body) = lone.get("/readyz").await;
    assert_eq!(body["detail"]["store"], false, "{body}");
    assert!(body["detail"]["store_trouble"].as_str().is_some_and(|why| why.contains("full")), "{body}");
    assert_eq!(lone.get("/logs").await.0, 200, "reading goes on");
    disk.set_space(None);
    says(&lone, Ok(())).await;
}
