//! OpenTelemetry's own SDK for Python exports, while what it exports to is killed.

use std::{collections::BTreeMap, path::Path, process::Stdio};

use serde_json::Value;
use tests::SOON;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::{Otlp, body};

/// As the script has it: so many pairs of equal records are a round, which is one request.
const PAIRS: usize = 100;

#[tokio::test]
async fn whatever_python_reports_exported_over_http_is_stored_once_while_all_is_killed() {
    killed_in_mid_export("http", "gzip").await;
}

#[tokio::test]
async fn whatever_python_reports_exported_over_grpc_is_stored_once_while_all_is_killed() {
    killed_in_mid_export("grpc", "gzip").await;
}

async fn killed_in_mid_export(protocol: &str, compression: &str) {
    if tests::tls::directory().is_some() {
        return; // the script has neither certificate nor key
    }
    let mut otlp = Otlp::start(&[]).await;
    let endpoint = format!("http://{}", if protocol == "grpc" { otlp.grpc } else { otlp.http });
    let mut python = Python::start(protocol, &endpoint, compression);
    python.exports_a_round().await;
    for round in 0..3 {
        otlp.stack.logger.kill().await.expect("it runs");
        python.retries().await;
        otlp.stack.start_logger_unasked().await.expect("it starts");
        python.exports_a_round().await;

        otlp.stack.broker.kill().await.expect("it runs");
        python.retries().await;
        if round == 2 {
            otlp.stack.logger.kill().await.expect("it runs");
            otlp.stack.start_logger_unasked().await.expect("it starts");
        }
        otlp.stack.start_broker().await.expect("it starts");
        python.exports_a_round().await;
    }
    let told = python.ends().await;
    assert!(told.exported.len() >= 7, "{told:?}");

    let mut stored: BTreeMap<String, usize> = BTreeMap::new();
    for entry in otlp.stack.all_stored().await {
        *stored.entry(body(&entry)).or_default() += 1;
    }
    for round in &told.exported {
        for pair in 0..PAIRS {
            let name = format!("{round} {pair}");
            assert_eq!(stored.remove(&name), Some(2), "{name}: two equal records were exported");
        }
    }
    // Of what was not exported in the end a part may be stored, and nothing twice.
    let failed = told.failed.len() * PAIRS;
    assert!(stored.len() <= failed && stored.values().all(|count| *count <= 2), "{stored:?} of {failed}");
}

/// The script, and what it tells.
struct Python {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    told: Told,
}

/// The rounds that were reported exported, and failed.
#[derive(Debug, Default)]
struct Told {
    exported: Vec<u64>,
    failed: Vec<u64>,
}

impl Python {
    fn start(protocol: &str, endpoint: &str, compression: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut process = Command::new(root.join("../.run/otlp/bin/python"))
            .arg(root.join("python/otlp.py"))
            .args([protocol, endpoint, compression])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("`deploy/tools.sh` installs OpenTelemetry's SDK for Python in .run/otlp");
        let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        Python { process, lines, told: Told::default() }
    }

    /// The next thing that it tells; `None` at its end.
    async fn next(&mut self) -> Option<Value> {
        let line = timeout(3 * SOON, self.lines.next_line()).await.expect("it goes on").expect("text")?;
        let event: Value = serde_json::from_str(&line).expect("JSON");
        assert!(event["odd"].is_null(), "a round is not one request: {event}");
        self.told.exported.extend(event["exported"].as_u64());
        self.told.failed.extend(event["failed"].as_u64());
        Some(event)
    }

    /// Waits until a round is exported that ended after now.
    async fn exports_a_round(&mut self) {
        while self.next().await.expect("it runs")["exported"].is_null() {}
    }

    /// Waits until it has to send a request again.
    async fn retries(&mut self) {
        loop {
            let event = self.next().await.expect("it runs");
            if event["retrying"].as_str().is_some_and(|text| text.contains("retrying in")) {
                return;
            }
        }
    }

    /// Lets it finish its round.
    async fn ends(mut self) -> Told {
        drop(self.process.stdin.take());
        while self.next().await.is_some() {}
        let ended = timeout(SOON, self.process.wait()).await.expect("it ends").expect("it was started");
        assert!(ended.success(), "{ended}");
        self.told
    }
}
