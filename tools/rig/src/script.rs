//! A script of `deploy/` that obeys: one order a line, each answered with a word. It ends what it has started when its
//! stdin ends, and so when this process is gone in whatever way.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// How long what it has started may take to be gone once nobody wants it any more.
const END_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Script {
    process: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Script {
    /// Starts `deploy/NAME obey`. Returns the first line that it says, if it says one.
    pub(crate) async fn start(name: &str) -> anyhow::Result<(Self, Option<String>)> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name);
        let mut process = Command::new(script)
            .arg("obey")
            // The mark of the node that all tests share: the script must outlive it, to end this one.
            .env_remove("FOURWIRE_NODE")
            // A Ctrl-C is for whoever called.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = process.stdin.take();
        let mut answers = BufReader::new(process.stdout.take().context("no pipe")?).lines();
        let first = answers.next_line().await?;
        Ok((Script { process, orders, answers }, first))
    }

    /// Whether it has obeyed: an order, and what belongs to it. Between them are tabs, since a path may have
    /// spaces.
    pub(crate) async fn order(&mut self, words: &[&str]) -> anyhow::Result<bool> {
        let orders = self.orders.as_mut().context("no pipe")?;
        orders.write_all(format!("{}\n", words.join("\t")).as_bytes()).await?;
        Ok(self.answers.next_line().await?.as_deref() == Some("ok"))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It finds its stdin at an end.
        self.orders = None;
        let deadline = Instant::now() + END_TIMEOUT;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
