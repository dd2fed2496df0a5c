//! A program that runs.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStdin, ChildStdout},
    sync::mpsc,
    task::JoinSet,
};

use super::{Program, Signs};
use crate::{
    verdict::{Failed, Unusable},
    words::{Text, text},
};

/// How long a program may take to end after SIGTERM.
const ENDS: Duration = Duration::from_secs(5);

/// Most memory that it may take, in KiB.
const MEMORY_KIB: u64 = 512 * 1024;

/// Longest line of its standard output, in bytes.
const LINE_BYTES: u64 = 1024 * 1024;

/// How long a program that is given no input may take to end.
const IDLE: Duration = Duration::from_secs(10);

/// How often its memory is looked at.
const SAMPLE: Duration = Duration::from_millis(50);

pub(super) async fn read_lines(stdout: ChildStdout, lines: mpsc::Sender<Line>, signs: Arc<Signs>) {
    let mut reader = BufReader::new(stdout);
    loop {
        let mut bytes = Vec::new();
        match (&mut reader).take(LINE_BYTES).read_until(b'\n', &mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => signs.spoke(),
        }
        let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        if lines.send(Line { at: Instant::now(), text }).await.is_err() {
            return;
        }
    }
}

/// Ends a program that takes more memory than it may.
pub(super) async fn watch_memory(pid: i32, peak_kib: Arc<AtomicU64>) {
    while let Some(kib) = memory_kib(pid) {
        peak_kib.fetch_max(kib, Ordering::Relaxed);
        if kib > MEMORY_KIB {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            return;
        }
        tokio::time::sleep(SAMPLE).await;
    }
}

/// Resident memory of a process; `None` once it has ended.
fn memory_kib(pid: i32) -> Option<u64> {
    procfs::process::Process::new(pid).ok()?.status().ok()?.vmrss
}

/// A line of its standard output.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it was read.
    pub at: Instant,
    /// What it says.
    pub text: String,
}

/// The process group of a child that leads one: the child, and what it has started. It is killed when this is dropped;
/// `kill_on_drop` would reach the child alone.
#[derive(Debug)]
pub(super) struct Group(Pid);

impl Group {
    /// That of a child that was started in a group of its own.
    pub(super) fn of(child: &Child) -> anyhow::Result<Self> {
        Ok(Group(Pid::from_raw(i32::try_from(child.id().context("it has an id")?)?)))
    }

    /// The id of the child.
    pub(super) const fn pid(&self) -> i32 {
        self.0.as_raw()
    }

    fn signal(&self, signal: Signal) -> nix::Result<()> {
        killpg(self.0, signal)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.signal(Signal::SIGKILL);
    }
}

/// A program that runs. Its whole group is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    pub(super) group: Group,
    pub(super) child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) lines: mpsc::Receiver<Line>,
    /// What was asked, by `n`, and whether it was answered.
    pub(crate) asked: BTreeMap<u64, bool>,
    pub(super) peak_kib: Arc<AtomicU64>,
    pub(super) log: PathBuf,
    /// The program, with the settings that it was started with.
    pub(crate) program: Program,
    pub(super) _tasks: JoinSet<()>,
}

impl Running {
    /// Expects that it runs.
    ///
    /// # Errors
    /// [`Failed`] if it has ended, with the last line that it wrote to standard error.
    pub fn still_runs(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(self.ended_as(status))?,
        }
    }

    /// As [`Running::still_runs`], of one that is to listen, or to consume.
    ///
    /// # Errors
    /// [`Unusable`] if it has ended, and was never seen to work.
    pub fn still_starts(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) if !self.program.signs().has_worked() => Err(self.unusable(status))?,
            Some(status) => Err(self.ended_as(status))?,
            None => Ok(()),
        }
    }

    /// Why a client has ended while it was expected to answer. If it has never answered, it is started once more with no
    /// input at all, and must end with 0 then: one that does not cannot start, whatever it is asked.
    pub(crate) async fn why_ended(&self, status: ExitStatus) -> anyhow::Error {
        if self.program.signs().has_worked() || self.peak_memory_kib() > MEMORY_KIB || self.idles().await {
            self.ended_as(status).into()
        } else {
            self.unusable(status).into()
        }
    }

    /// Whether the program does not fail when it is given no input.
    async fn idles(&self) -> bool {
        let Ok(mut running) = self.program.start(&[]) else { return false };
        running.stdin = None;
        let ended = running.wait(IDLE).await;
        ended.is_ok_and(|status| status.is_none_or(|status| status.success()))
    }

    /// That it has ended before it did anything.
    pub(crate) fn unusable(&self, status: ExitStatus) -> Unusable {
        let words = self.last_words().map_or_else(String::new, |words| format!(": {words}"));
        let Text { en, ru } = ended_how(status);
        Unusable(text!(
            "it ended before it did anything ({en}){words}",
            "она завершилась, ничего не сделав ({ru}){words}"
        ))
    }

    /// That it has ended, as a failure.
    pub(crate) fn ended_as(&self, status: ExitStatus) -> Failed {
        self.program.signs().ended();
        if self.peak_kib.load(Ordering::Relaxed) > MEMORY_KIB {
            let limit = MEMORY_KIB / 1024;
            return Failed::new(
                text!("at most {limit} MiB of memory", "не больше {limit} МиБ памяти"),
                text!("more: it was killed", "больше: программа убита"),
            );
        }
        let Text { en, ru } = ended_how(status);
        let failed = Failed::new(
            text!("the program keeps running", "программа продолжает работать"),
            text!("it ended: {en}", "завершилась: {ru}"),
        );
        match self.last_words() {
            Some(words) => failed.first(Text::same(words)),
            None => failed,
        }
    }

    /// The last line of its standard error.
    fn last_words(&self) -> Option<String> {
        let text = std::fs::read(&self.log).ok()?;
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(4_096)..]).into_owned();
        text.lines().rev().find(|line| !line.trim().is_empty()).map(|line| line.chars().take(200).collect())
    }

    /// Waits until it has ended.
    pub(crate) async fn wait(&mut self, within: Duration) -> anyhow::Result<Option<ExitStatus>> {
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(status) => Ok(Some(status?)),
            Err(_) => Ok(None),
        }
    }

    /// Sends SIGTERM, and expects that it ends with 0 in time.
    ///
    /// # Errors
    /// [`Failed`] if it does not.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let expected = text!(
            "exit status 0 within {} s of SIGTERM",
            "код 0 не позже чем через {} с после SIGTERM",
            ENDS.as_secs()
        );
        match self.terminated().await? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Failed::new(expected, ended_how(status)))?,
            None => Err(Failed::new(expected, text!("it still runs", "ещё работает")))?,
        }
    }

    /// Ends it for a restart: by SIGTERM, and otherwise by a kill. How it ends is not judged.
    ///
    /// # Errors
    /// [`Failed`] if it had ended before.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        if self.terminated().await?.is_none() {
            self.kill().await?;
        }
        Ok(())
    }

    /// Tells it to end by SIGTERM; how it has ended, if it has in time.
    async fn terminated(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.still_runs()?;
        self.group.signal(Signal::SIGTERM)?;
        self.wait(ENDS).await
    }

    /// `kill -9` of the whole group; waits until the program is gone.
    ///
    /// # Errors
    /// [`Failed`] if it had ended before.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.still_runs()?;
        self.group.signal(Signal::SIGKILL)?;
        self.child.wait().await?;
        Ok(())
    }

    /// Its resident memory, in KiB.
    ///
    /// # Errors
    /// If it has ended.
    pub fn memory_kib(&self) -> anyhow::Result<u64> {
        memory_kib(self.group.pid()).context("the program has ended")
    }

    /// The most resident memory that was seen, in KiB. It is looked at every 50 ms.
    pub fn peak_memory_kib(&self) -> u64 {
        self.peak_kib.load(Ordering::Relaxed)
    }
}

/// How a process ended, in words.
pub fn ended_how(status: ExitStatus) -> Text {
    match (status.code(), status.signal()) {
        (Some(code), _) => text!("exit status {code}", "код завершения {code}"),
        (None, Some(signal)) => text!("it died of signal {signal}", "убита сигналом {signal}"),
        (None, None) => Text::same(status),
    }
}
