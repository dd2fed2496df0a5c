//! A client in another language, which has nothing but `shop.proto`.

use std::{path::Path, process::Stdio};

use serde_json::{Value, json};
use tests::SOON;

use crate::Shop;

#[tokio::test]
async fn a_client_in_python_registers_imports_buys_and_watches() {
    let shop = Shop::start().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Debian's own, which has Debian's packages.
    let mut python = tokio::process::Command::new("/usr/bin/python3");
    python.arg(root.join("tests/python/buys.py")).arg(root.join("proto/shop.proto"));
    python.args(["user", "product", "payment", "order"].map(|service| shop.address(service)));
    let run = python.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).output();
    let output = tokio::time::timeout(3 * SOON, run).await.expect("in time").expect("python3 is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n`sudo deploy/tools.sh` installs what it needs");
    let answers: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let states = ["PLACED", "RESERVED", "HELD", "ACCEPTED", "PAID", "SHIPPED", "DELIVERED"];
    assert_eq!(
        answers,
        json!({
            "registered": "Ada", "imported": [1_000, 1], "listed": 1_000, "placed": "PAID",
            "again": "PAID", "other": "ALREADY_EXISTS conflict", "poor": "REJECTED insufficient_funds",
            "watched": states, "updates": states,
        })
    );
    shop.is_sound().await;
}
