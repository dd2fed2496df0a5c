//! `make demo` as a newcomer runs it.

use std::process::Stdio;

use proto::Transport;
use tests::stack::Stack;
use tokio::process::Command;

#[tokio::test]
async fn it_sends_an_entry_over_each_transport_and_reads_each_back() {
    let stack = Stack::start().await;
    let output = Command::new(env!("CARGO_BIN_EXE_demo"))
        .env("BROKER_HTTP_LISTEN", stack.broker_at.to_string())
        .stdin(Stdio::null())
        .output()
        .await
        .expect("it can be run");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{table}\n{}", String::from_utf8_lossy(&output.stderr));
    for transport in Transport::ALL {
        let outcome = transport.promise().outcome().as_str();
        let line = table.lines().find(|line| line.starts_with(transport.as_str())).expect("a line for each");
        assert!(line.contains(outcome), "{line}");
    }
    assert_eq!(stack.all_stored().await.len(), Transport::ALL.len());
}
