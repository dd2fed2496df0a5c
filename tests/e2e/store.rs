//! What a logger says of a store that takes no entries: to whoever asks whether it could store one, and at `/readyz`.

use std::collections::BTreeMap;

use proto::Code;
use tests::{disk::Disk, torture::lone::Lone};

#[tokio::test]
async fn a_logger_whose_disk_is_full_could_store_no_entry_and_says_so_before_one_comes() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Disk::new(dir.path());
    let lone = Lone::start(&BTreeMap::from(disk.settings()), dir.path()).await.expect("it starts");
    lone.says(Ok(())).await;
    disk.set_space(Some(100_000));
    lone.says(Err(Code::StorageFull)).await;
    let (_, body) = lone.get("/readyz").await;
    assert_eq!(body["detail"]["store"], false, "{body}");
    assert!(body["detail"]["store_trouble"].as_str().is_some_and(|why| why.contains("full")), "{body}");
    assert_eq!(lone.get("/logs").await.0, 200, "reading goes on");
    disk.set_space(None);
    lone.says(Ok(())).await;
}
