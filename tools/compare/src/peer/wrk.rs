//! The load of a comparison with the peer: wrk, which both sides see as the same client, and which takes less of the
//! machine than a thread for each connection.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

const SCRIPT: &str = include_str!("wrk.lua");

/// Above the deadline of both brokers.
const TIMEOUT: &str = "10s";

/// What wrk says of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Requests that were answered.
    pub requests: u64,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// Answers with a status of 400 or above.
    pub rejected: u64,
    /// Connections that could not be opened or broke, and requests without an answer.
    pub broken: u64,
    /// Half of the answers took no longer, in microseconds.
    pub p50_us: u64,
    /// 99 of 100 took no longer.
    pub p99_us: u64,
}

impl Seen {
    /// Entries that were accepted.
    pub const fn accepted(&self) -> u64 {
        self.requests.saturating_sub(self.rejected)
    }

    /// Answers per second.
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / Duration::from_micros(self.micros.max(1)).as_secs_f64()
    }

    /// Reads it from what wrk has written.
    fn read(said: &str) -> anyhow::Result<Self> {
        let line = said.lines().find_map(|line| line.strip_prefix("JSON "));
        serde_json::from_str(line.with_context(|| format!("wrk said: {said}"))?).context("what wrk said")
    }
}

/// Sends a body to a URL over some connections, for whole seconds; the script goes to the directory.
///
/// # Errors
/// If wrk is missing, or fails.
pub async fn run(
    url: &str,
    body: &str,
    connections: usize,
    seconds: u64,
    dir: &Path,
) -> anyhow::Result<Seen> {
    let script = dir.join("wrk.lua");
    std::fs::write(&script, SCRIPT)?;
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--timeout", TIMEOUT, "-s"])
        .arg(&script)
        .arg(url)
        .env("BODY", body)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output()
        .await
        .context("wrk is missing: `sudo deploy/tools.sh` installs it")?;
    ensure!(output.status.success(), "wrk: {}", String::from_utf8_lossy(&output.stderr));
    Seen::read(&String::from_utf8_lossy(&output.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_read() {
        let said = "Running 1s test\nJSON {\"requests\":10,\"micros\":500000,\"rejected\":2,\"broken\":0,\"p50_us\":7,\
                    \"p99_us\":9}\n";
        let seen = Seen::read(said).expect("it is there");
        assert_eq!((seen.accepted(), seen.per_second()), (8, 20.0));
        assert!(Seen::read("nothing").is_err());
    }
}
