//! Clients in Python: the solutions of labs 1 and 4, which know HTTP and AMQP alone, and one that knows logs.proto
//! alone.

use std::{path::Path, process::Stdio};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    process::Command,
    time::{Duration, timeout},
};

use super::{Bench, stored};
use crate::{claims::figures::Languages, stack::Site};

/// Debian's own, which has Debian's packages.
const PYTHON: &str = "/usr/bin/python3";

/// What the clients import, and what makes modules of the .proto.
const NEEDS: &str =
    "import grpc, pika, shutil; assert shutil.which('protoc') and shutil.which('grpc_python_plugin')";

/// The programs.
const HTTP: &str = include_str!("../../../../../course/labs/01-four-wires/solution/python/main.py");
const AMQP: &str = include_str!("../../../../../course/labs/04-queued-not-done/solution/python/main.py");
const GRPC: &str = include_str!("../../../../../tests/python/calls.py");
const PROTO: &str = include_str!("../../../../../proto/proto/logs.proto");

/// Entries of the clients of HTTP and AMQP.
const ENTRIES: u64 = 20;

/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs all three; `None` if what they need is not installed.
pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<Option<Languages>> {
    let has = Command::new(PYTHON).args(["-c", NEEDS]).stderr(Stdio::null()).status().await;
    if !has.is_ok_and(|status| status.success()) {
        say!("warning: clients in Python are left out: `sudo deploy/tools.sh` installs what they need");
        return Ok(None);
    }
    let site = bench.site("languages").await?;
    let directory = site.directory();
    for (name, text) in
        [("http_client.py", HTTP), ("amqp_client.py", AMQP), ("grpc_calls.py", GRPC), ("logs.proto", PROTO)]
    {
        std::fs::write(directory.join(name), text)?;
    }
    let version = Command::new(PYTHON).arg("--version").output().await?;
    let broker = format!("http://{}", site.broker_at);
    let http = through(&site, "http_client.py", ("BROKER_URL", &broker), "http").await?;
    let amqp = through(&site, "amqp_client.py", ("AMQP_URL", site.setting("AMQP_URL")?), "rabbitmq").await?;
    Ok(Some(Languages {
        python: String::from_utf8_lossy(&version.stdout).trim().to_owned(),
        http: [ENTRIES, http],
        amqp: [ENTRIES, amqp],
        grpc: calls(&site, directory).await?,
    }))
}

/// Hands entries to a program on its standard input; says how many of them are stored.
async fn through(site: &Site, program: &str, setting: (&str, &str), way: &str) -> anyhow::Result<u64> {
    let name = format!("python-{way}");
    let lines = (0..ENTRIES).map(|n| {
        let id = uuid::Uuid::now_v7();
        let line = json!({
            "n": n, "transport": way, "id": id, "name": name, "data": "some data", "level": "info",
        });
        format!("{line}\n")
    });
    let lines: String = lines.collect();
    let mut child = Command::new(PYTHON)
        .arg(program)
        .current_dir(site.directory())
        .env(setting.0, setting.1)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    child.stdin.take().context("a pipe")?.write_all(lines.as_bytes()).await?;
    let output = timeout(PATIENCE, child.wait_with_output()).await.context("the client does not end")??;
    ensure!(output.status.success(), "{program} ended with {}", output.status);
    stored(site, &name, ENTRIES).await
}

/// All five calls of logs.proto: how many there are, and how many went as they should.
async fn calls(site: &Site, directory: &Path) -> anyhow::Result<[u64; 2]> {
    let address = site.logger_at.grpc.to_string();
    let run = Command::new(PYTHON)
        .args(["grpc_calls.py", "logs.proto", &address])
        .current_dir(directory)
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, run).await.context("the client does not end")??;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the client of gRPC ended with {}: {said}", output.status);
    let told: Value = serde_json::from_slice(&output.stdout)?;
    let went = [
        told["write_log"]["outcome"] == "stored",
        told["write_batch"].as_array().is_some_and(|all| all.iter().all(|outcome| outcome == "stored")),
        told["write_logs"]["stored"] == 5_000,
        told["sync_logs"] == json!({ "acknowledged": 1_000, "each_once": true, "outcomes": ["stored"] }),
        told["tail_logs"]["told"] == told["tail_logs"]["different"] && told["tail_logs"]["unknown"] == 0,
    ];
    Ok([went.len(), went.into_iter().filter(|went| *went).count()].map(|count| count as u64))
}
