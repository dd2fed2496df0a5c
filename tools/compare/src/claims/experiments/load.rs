//! A file by one client stream: `fourwire load`, and how much memory it takes.

use std::{
    fmt::Write,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rig::Usage;
use tokio::process::Command;

use super::Bench;
use crate::{claims::figures::Load, stack::Site};

/// Lines of the files.
const ENTRIES: [u64; 2] = [20_000, 200_000];

/// How often the memory is looked at.
const POLL: Duration = Duration::from_millis(10);

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<Load> {
    let site = bench.site("load").await?;
    let (mut took_ms, mut peak_kib) = ([0; 2], [0; 2]);
    for (at, entries) in ENTRIES.into_iter().enumerate() {
        let file = site.directory().join(format!("{entries}.ndjson"));
        write(&file, entries)?;
        (took_ms[at], peak_kib[at]) = load(bench, &site, &file, entries).await?;
    }
    Ok(Load { entries: ENTRIES, took_ms, peak_kib })
}

fn write(file: &Path, entries: u64) -> anyhow::Result<()> {
    let mut text = String::new();
    for number in 0..entries {
        writeln!(text, r#"{{"name":"load","data":"{number:064}"}}"#)?;
    }
    Ok(std::fs::write(file, text)?)
}

/// How long a file takes, and the most memory of the client.
async fn load(bench: &Bench, site: &Site, file: &Path, entries: u64) -> anyhow::Result<(u64, u64)> {
    let begun = Instant::now();
    let mut child = Command::new(bench.binaries.join("fourwire"))
        .arg("load")
        .arg(file)
        // All in one call, and so in one stream.
        .args(["--entries-per-call", "0", "--json"])
        .env_clear()
        .env("LOGGER_GRPC_URL", site.setting("LOGGER_GRPC_URL")?)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let pid = i32::try_from(child.id().context("it runs")?)?;
    let mut peak_kib = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        // One that has just ended has none.
        peak_kib = peak_kib.max(Usage::of(pid).map_or(0, |usage| usage.peak_memory_kib));
        tokio::time::sleep(POLL).await;
    };
    let took_ms = u64::try_from(begun.elapsed().as_millis())?;
    let output = child.wait_with_output().await?;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(status.success() && said["stored"] == entries, "fourwire load ended with {status}: {said}");
    Ok((took_ms, peak_kib))
}
