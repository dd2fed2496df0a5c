//! One of our services as a process: started, frozen, killed, and looked at from outside.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use procfs::process::ClearRefs;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::{LogTo, READY, Tap};

/// How often something is looked at that is awaited.
const POLL: Duration = Duration::from_millis(5);

/// How a service is started.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// Where the binaries are.
    pub binaries: PathBuf,
    /// A command that becomes the service, such as `taskset --cpu-list 0`.
    pub wrapper: Vec<String>,
    /// Where its log goes. One that logs to a full disk must listen on ports that are named in its settings.
    pub log_to: LogTo,
    /// Is shown the process, and its whole log, when that is no longer needed.
    pub at_end: Option<fn(&Process)>,
}

impl Launch {
    /// Starts `name` with `settings` as its whole environment; its log goes to a file in `dir`.
    pub fn start<K: AsRef<str>>(
        &self,
        name: &str,
        settings: &BTreeMap<K, String>,
        dir: &Path,
    ) -> anyhow::Result<Process> {
        let binary = self.binaries.join(name);
        let mut words = self.wrapper.iter().map(OsStr::new).chain([binary.as_os_str()]);
        let mut command = Command::new(words.next().context("a command")?);
        command.args(words);
        self.spawn(command, name, settings, dir)
    }

    /// As [`Launch::start`], by a command of one's own.
    pub fn spawn<K: AsRef<str>>(
        &self,
        mut command: Command,
        name: &str,
        settings: &BTreeMap<K, String>,
        dir: &Path,
    ) -> anyhow::Result<Process> {
        let log = dir.join(format!("{name}-{}.log", uuid::Uuid::now_v7()));
        let (tap, stderr) = match self.log_to {
            LogTo::File => (None, fs::File::create(&log)?.into()),
            LogTo::Pipe => Tap::open(&log).map(|(tap, writer)| (Some(tap), writer))?,
            LogTo::Full => (None, fs::File::options().write(true).open("/dev/full")?.into()),
        };
        let child = command
            .env_clear()
            .envs(settings.iter().map(|(name, value)| (name.as_ref(), value)))
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn();
        let child = Some(child.with_context(|| format!("starting {command:?}"))?);
        let silent_at = if self.log_to == LogTo::Full { listens(name, settings) } else { BTreeMap::new() };
        Ok(Process { child, name: name.to_owned(), log, tap, silent_at, at_end: self.at_end })
    }
}

/// Where the settings tell a service to listen, by the names that it has for its ports in its log.
fn listens<K: AsRef<str>>(service: &str, settings: &BTreeMap<K, String>) -> BTreeMap<String, SocketAddr> {
    let prefix = format!("{}_", service.to_uppercase());
    let ports = settings.iter().filter_map(|(setting, value)| {
        let port = setting.as_ref().strip_prefix(&prefix)?.strip_suffix("_LISTEN")?;
        Some((port.to_lowercase(), value.parse().ok()?))
    });
    ports.collect()
}

/// A service. It is killed when dropped. By default it was never started.
#[derive(Debug, Default)]
pub struct Process {
    child: Option<Child>,
    name: String,
    log: PathBuf,
    tap: Option<Tap>,
    /// Where it listens, if its log will not say.
    silent_at: BTreeMap<String, SocketAddr>,
    at_end: Option<fn(&Process)>,
}

/// A service that has ended, instead of being ready.
#[derive(Debug)]
pub struct Refused {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said.
    pub log: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it ended with {}:\n{}", self.status, self.log)
    }
}

impl std::error::Error for Refused {}

impl Process {
    /// Which service it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it was started, and has not been seen to end.
    pub fn is_running(&self) -> bool {
        self.id().is_some()
    }

    /// The file of its log.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The reader of its log.
    pub fn tap(&self) -> anyhow::Result<&Tap> {
        self.tap.as_ref().context("its log goes through no pipe")
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it says that it is ready, and reads the addresses from that line: `http=127.0.0.1:4711`, or
    /// `"http":"127.0.0.1:4711"`.
    ///
    /// # Errors
    /// [`Refused`] if it ends; another if it is not ready in time.
    pub async fn ready(&mut self) -> anyhow::Result<BTreeMap<String, SocketAddr>> {
        let deadline = Instant::now() + READY;
        loop {
            if let Some(status) = self.child()?.try_wait()? {
                return Err(Refused { status, log: self.log() }.into());
            }
            if let Some(addresses) = self.told().await {
                return Ok(addresses);
            }
            ensure!(Instant::now() < deadline, "the {} was not ready in time:\n{}", self.name, self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    async fn told(&self) -> Option<BTreeMap<String, SocketAddr>> {
        if self.silent_at.is_empty() {
            return self.log().lines().find(|line| line.contains(" ready")).map(addresses);
        }
        for address in self.silent_at.values() {
            TcpStream::connect(address).await.ok()?;
        }
        Some(self.silent_at.clone())
    }

    /// Its process id; `None` once it has been waited for.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref()?.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(self.pid()?), signal)?)
    }

    /// Freezes it, and waits until every thread has stopped: the signal alone returns before they have.
    pub async fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let process = procfs::process::Process::new(self.pid()?)?;
        loop {
            let mut stopped = true;
            for task in process.tasks()? {
                stopped &= task?.stat()?.state == 'T';
            }
            if stopped {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Waits until it ends.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let ended = tokio::time::timeout(READY, self.child()?.wait()).await;
        ended.with_context(|| format!("the {} does not end:\n{}", self.name, self.log()))?.map_err(Into::into)
    }

    /// Waits until it ends with 0.
    pub async fn ends_well(&mut self) -> anyhow::Result<()> {
        let status = self.ended().await?;
        ensure!(status.success(), "the {} ended with {status}:\n{}", self.name, self.log());
        Ok(())
    }

    /// Tells it to stop, and waits until it has ended with 0; says how long that took.
    pub async fn stop(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.signal(Signal::SIGTERM)?;
        self.ends_well().await?;
        Ok(begun.elapsed())
    }

    /// Kills it without a chance to say goodbye, and waits until it is gone.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.child()?.wait().await?;
        Ok(())
    }

    /// What it has used of the machine so far.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.pid()?)
    }

    /// Lets the peak of its memory begin anew.
    pub fn forget_peak_memory(&self) -> anyhow::Result<()> {
        forget_peak_memory(self.pid()?)
    }

    /// How many file descriptors it has open.
    pub fn descriptors(&self) -> anyhow::Result<usize> {
        Ok(procfs::process::Process::new(self.pid()?)?.fd_count()?)
    }

    fn child(&mut self) -> io::Result<&mut Child> {
        self.child.as_mut().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it was never started"))
    }

    fn pid(&self) -> anyhow::Result<i32> {
        let id = self.id().with_context(|| format!("the {} does not run:\n{}", self.name, self.log()))?;
        Ok(i32::try_from(id)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(look) = self.at_end.filter(|_| self.child.is_some()) {
            look(self);
        }
    }
}

fn addresses(line: &str) -> BTreeMap<String, SocketAddr> {
    let words = line.split([' ', ',', '{', '}']);
    let pairs = words.filter_map(|word| word.split_once("\":\"").or_else(|| word.split_once('=')));
    let addresses = pairs.filter_map(|(name, at)| {
        let (name, at) = (name.trim_matches('"'), at.trim_matches('"'));
        Some((name.to_owned(), at.parse().ok()?))
    });
    addresses.collect()
}

/// What a process has used of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Its CPU time, of user and system, in steps of 10 ms.
    pub cpu_time: Duration,
    /// The memory that it has now, in KiB.
    pub memory_kib: u64,
    /// The most memory that it has had, in KiB.
    pub peak_memory_kib: u64,
}

impl Usage {
    /// That of a process.
    pub fn of(pid: i32) -> anyhow::Result<Self> {
        let process = procfs::process::Process::new(pid)?;
        let (stat, status) = (process.stat()?, process.status()?);
        let ticks = (stat.utime + stat.stime) as f64;
        Ok(Usage {
            cpu_time: Duration::from_secs_f64(ticks / procfs::ticks_per_second() as f64),
            memory_kib: status.vmrss.context("a process that has ended")?,
            peak_memory_kib: status.vmhwm.context("a process that has ended")?,
        })
    }
}

/// Lets the peak of a process's memory begin anew.
pub fn forget_peak_memory(pid: i32) -> anyhow::Result<()> {
    Ok(procfs::process::Process::new(pid)?.clear_refs(ClearRefs::PeakRSS)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, dir: &Path) -> Process {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let settings = BTreeMap::<&str, String>::new();
        Launch::default().spawn(command, "sh", &settings, dir).expect("it starts")
    }

    #[tokio::test]
    async fn a_process_is_ready_when_it_says_where_it_listens() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut process = shell("echo 'INFO x ready http=127.0.0.1:7 word' >&2; exec sleep 60", dir.path());
        let addresses = process.ready().await.expect("ready");
        assert_eq!(addresses, BTreeMap::from([("http".to_owned(), "127.0.0.1:7".parse().expect("one"))]));
        assert!(process.usage().expect("it runs").peak_memory_kib > 0);
        process.forget_peak_memory().expect("it runs");
        process.freeze().await.expect("it stops");
        process.kill().await.expect("it was there");
        assert!(process.usage().is_err());
    }

    #[tokio::test]
    async fn one_that_ends_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = shell("exit 3", dir.path()).ready().await.expect_err("it has ended");
        assert_eq!(error.downcast_ref::<Refused>().expect("it says how").status.code(), Some(3));
    }

    #[test]
    fn addresses_are_read_from_both_forms_of_a_log() {
        let expected = [("http", "127.0.0.1:7"), ("rpc", "[::1]:8")];
        let expected = expected.map(|(name, at)| (name.to_owned(), at.parse().expect("an address")));
        let text = "2026-11-21T20:00:00.000000Z  INFO logger: logger ready http=127.0.0.1:7 rpc=[::1]:8";
        let json = r#"{"timestamp":"2026-11-21T20:00:00.000000Z","level":"INFO","message":"logger ready",
            "http":"127.0.0.1:7","rpc":"[::1]:8","target":"logger"}"#;
        for line in [text, json] {
            assert_eq!(addresses(line), BTreeMap::from(expected.clone()), "{line}");
        }
    }
}
