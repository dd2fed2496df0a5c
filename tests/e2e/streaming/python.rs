//! A client in another language, which has nothing but `logs.proto`.

use std::{path::Path, process::Stdio};

use serde_json::{Value, json};
use tests::{SOON, stack::Stack};

#[tokio::test]
async fn a_client_in_python_uses_all_calls() {
    let stack = Stack::start_direct(&[]).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Debian's own, which has Debian's packages.
    let run = tokio::process::Command::new("/usr/bin/python3")
        .arg(root.join("python/calls.py"))
        .arg(root.join("../proto/proto/logs.proto"))
        .arg(stack.logger_at.grpc.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(3 * SOON, run).await.expect("in time").expect("python3 is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n`sudo deploy/tools.sh` installs what it needs");
    let answers: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answers["write_log"]["id"], answers["write_log"]["sent"]);
    assert_eq!(answers["write_log"]["outcome"], "stored");
    assert_eq!(answers["write_batch"], json!(vec!["stored"; 10]));
    let summary = json!({
        "settled": 5_002, "stored": 5_000, "duplicate": 1, "refused": 1,
        "refusals": [[5_000, "invalid_entry"]], "code": "",
    });
    assert_eq!(answers["write_logs"], summary);
    assert_eq!(
        answers["sync_logs"],
        json!({ "acknowledged": 1_000, "each_once": true, "outcomes": ["stored"] })
    );
    // 1 + 10 + 5,000 + 1,000, and the one that came while it was read.
    assert_eq!(answers["tail_logs"], json!({ "told": 6_012, "different": 6_012, "unknown": 0 }));
    assert_eq!(answers["deadline"], "DEADLINE_EXCEEDED");
    assert_eq!(stack.all_stored().await.len(), 6_012);
}
