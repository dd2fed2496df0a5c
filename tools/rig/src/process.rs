//! One of our services as a process: started on free ports, frozen, killed, and looked at from outside.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, Command};

use crate::{LogTo, Tap};

/// How often something is looked at that is awaited.
const POLL: Duration = Duration::from_millis(5);

/// A running service. It is killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    tap: Option<Tap>,
}

/// Why a service is not ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// It ended.
    #[error("it ended with {0}")]
    Ended(ExitStatus),
    /// It does not say so in time.
    #[error("it was not ready in time")]
    Late,
}

impl Process {
    /// Starts `command` with `settings` as its whole environment, in the directory `dir`; its log goes to a file there
    /// whose name begins with `name`.
    ///
    /// # Errors
    /// If the log cannot be made or the command not be started.
    pub fn start<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        command: Command,
        settings: &BTreeMap<K, V>,
        dir: &Path,
        name: &str,
    ) -> io::Result<Self> {
        Self::start_logging(LogTo::File, command, settings, dir, name)
    }

    /// As [`Process::start`], with its log somewhere else. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// As there.
    pub fn start_logging<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        to: LogTo,
        mut command: Command,
        settings: &BTreeMap<K, V>,
        dir: &Path,
        name: &str,
    ) -> io::Result<Self> {
        let log = dir.join(format!("{name}-{}.log", uuid::Uuid::now_v7()));
        let (tap, stderr) = match to {
            LogTo::File => (None, fs::File::create(&log)?.into()),
            LogTo::Pipe => Tap::open(&log).map(|(tap, writer)| (Some(tap), writer))?,
            LogTo::Full => (None, fs::File::options().write(true).open("/dev/full")?.into()),
        };
        let child = command
            .env_clear()
            .envs(settings)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Process { child, log, tap })
    }

    /// The file of its log.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The reader of its log, if that goes through a pipe.
    pub fn tap(&self) -> Option<&Tap> {
        self.tap.as_ref()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it says that it is ready, and reads the addresses from that line: `http=127.0.0.1:4711`, or
    /// `"http":"127.0.0.1:4711"`.
    ///
    /// # Errors
    /// [`NotReady`].
    pub async fn ready(&mut self, within: Duration) -> Result<BTreeMap<String, SocketAddr>, NotReady> {
        let deadline = Instant::now() + within;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(NotReady::Ended(status));
            }
            if let Some(line) = self.log().lines().find(|line| line.contains(" ready")) {
                return Ok(addresses(line));
            }
            if Instant::now() >= deadline {
                return Err(NotReady::Late);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Its process id; `None` once it has been waited for.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill(Pid::from_raw(self.pid()?), signal)?)
    }

    /// Freezes it, and waits until every thread has stopped: the signal alone returns before they have.
    ///
    /// # Errors
    /// If the process is gone, or this is not Linux.
    pub async fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let tasks = format!("/proc/{}/task", self.pid()?);
        loop {
            let mut stopped = true;
            for task in fs::read_dir(&tasks)? {
                let stat = fs::read_to_string(task?.path().join("stat"))?;
                stopped &= stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
            }
            if stopped {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// If it does not within that time.
    pub async fn ended(&mut self, within: Duration) -> io::Result<ExitStatus> {
        tokio::time::timeout(within, self.child.wait()).await?
    }

    /// Kills it without a chance to say goodbye, and waits until it is gone.
    ///
    /// # Errors
    /// If it was gone before.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.child.wait().await?;
        Ok(())
    }

    /// What it has used of the machine so far.
    ///
    /// # Errors
    /// If it is gone, or this is not Linux.
    pub fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.pid()?)
    }

    /// Lets the peak of its memory begin anew.
    ///
    /// # Errors
    /// As [`Process::usage`].
    pub fn forget_peak_memory(&self) -> io::Result<()> {
        forget_peak_memory(self.pid()?)
    }

    /// How many file descriptors it has open.
    ///
    /// # Errors
    /// As [`Process::usage`].
    pub fn descriptors(&self) -> io::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid()?))?.count())
    }

    fn pid(&self) -> io::Result<i32> {
        let id = self.child.id().and_then(|id| id.try_into().ok());
        id.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the process is gone"))
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
    /// The time that it has had on processors, in steps of 10 ms.
    pub processor: Duration,
    /// The memory that it has now, in KiB.
    pub memory_kib: u64,
    /// The most memory that it has had, in KiB.
    pub peak_memory_kib: u64,
}

impl Usage {
    /// That of a process.
    ///
    /// # Errors
    /// If it is gone, or this is not Linux.
    pub fn of(pid: i32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |key| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(Usage {
            processor: processor_time(&stat).ok_or(io::ErrorKind::InvalidData)?,
            memory_kib: kib("VmRSS:").ok_or(io::ErrorKind::InvalidData)?,
            peak_memory_kib: kib("VmHWM:").ok_or(io::ErrorKind::InvalidData)?,
        })
    }
}

/// The time of user and system in a line of `/proc/PID/stat`.
fn processor_time(stat: &str) -> Option<Duration> {
    // The name may hold spaces; behind its bracket come the state and then numbers.
    let (_, numbers) = stat.rsplit_once(") ")?;
    let ticks = numbers.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().ok());
    // Linux counts in hundredths of a second for whoever asks, whatever it counts in itself.
    Some(Duration::from_millis(10 * ticks.sum::<Option<u64>>()?))
}

/// Lets the peak of a process's memory begin anew.
///
/// # Errors
/// If it is gone, not ours, or this is not Linux.
pub fn forget_peak_memory(pid: i32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_ready_when_it_says_where_it_listens() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo 'INFO x ready http=127.0.0.1:7 word' >&2; exec sleep 60"]);
        let mut process =
            Process::start(command, &BTreeMap::<&str, &str>::new(), dir.path(), "sh").expect("it starts");
        let addresses = process.ready(Duration::from_secs(10)).await.expect("ready");
        assert_eq!(addresses, BTreeMap::from([("http".to_owned(), "127.0.0.1:7".parse().expect("one"))]));
        assert!(process.usage().expect("it runs").peak_memory_kib > 0);
        process.freeze().await.expect("it stops");
        process.kill().await.expect("it was there");
        assert!(process.usage().is_err());
    }

    #[tokio::test]
    async fn one_that_ends_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exit 3"]);
        let mut process =
            Process::start(command, &BTreeMap::<&str, &str>::new(), dir.path(), "sh").expect("it starts");
        let error = process.ready(Duration::from_secs(10)).await.expect_err("it has ended");
        assert!(matches!(error, NotReady::Ended(status) if status.code() == Some(3)), "{error}");
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

    #[test]
    fn the_name_of_a_process_may_hold_anything() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 11 22 0 0";
        assert_eq!(processor_time(stat), Some(Duration::from_millis(330)));
    }
}
