//! One of our binaries as a process.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::Duration,
};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::Child;

use crate::eventually;

/// A running service. It is killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `name` with `settings` as its whole environment; its log goes to a file in `dir`. With a setting such
    /// as `LOGGER_FAULT` for the logger it is of the build that can break promises.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(name: &str, settings: &BTreeMap<&str, String>, dir: &Path) -> Self {
        Self::start_under(&[], name, settings, dir)
    }

    /// As [`Process::start`], under a command that becomes it, such as `taskset --cpu-list 0`.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_under(wrapper: &[&str], name: &str, settings: &BTreeMap<&str, String>, dir: &Path) -> Self {
        let log = dir.join(format!("{name}-{}.log", uuid::Uuid::now_v7()));
        let file = std::fs::File::create(&log).expect("the test's directory is writable");
        let faulty = settings.contains_key(format!("{}_FAULT", name.to_uppercase()).as_str());
        let binary = if faulty { faulty_binary(name) } else { binary(name) };
        let mut words = wrapper.iter().map(OsStr::new).chain([binary.as_os_str()]);
        let mut command = tokio::process::Command::new(words.next().expect("at least the binary"));
        command.args(words);
        Self::spawn(command, settings, dir, log, file)
    }

    /// As [`Process::start`], with a trace of what it writes and syncs in the file `trace`.
    ///
    /// # Panics
    /// If strace is not installed, too.
    pub fn start_traced(name: &str, settings: &BTreeMap<&str, String>, dir: &Path, trace: &Path) -> Self {
        const CALLS: &str = "trace=fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg";
        let installed = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
        assert!(installed.is_ok(), "strace is not installed: `sudo deploy/strace.sh` does it");
        let log = dir.join(format!("{name}-{}.log", uuid::Uuid::now_v7()));
        let file = std::fs::File::create(&log).expect("the test's directory is writable");
        let mut strace = tokio::process::Command::new("strace");
        // With -D it is the service that is our child, and gets the signals. A page of the store is 4,096 bytes.
        strace.args(["-D", "-q", "-f", "-yy", "-s", "4200", "-e", CALLS, "-o"]).arg(trace).arg(binary(name));
        Self::spawn(strace, settings, dir, log, file)
    }

    fn spawn(
        mut command: tokio::process::Command,
        settings: &BTreeMap<&str, String>,
        dir: &Path,
        log: PathBuf,
        file: std::fs::File,
    ) -> Self {
        let child = command
            .env_clear()
            .envs(settings)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Process { child, log }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it says that it is ready, and reads the addresses from that line: `http=127.0.0.1:4711`.
    ///
    /// # Panics
    /// If it ends, or is not ready in time.
    pub async fn ready(&mut self) -> BTreeMap<String, SocketAddr> {
        self.ready_or_ended().await.unwrap_or_else(|status| panic!("it ended with {status}:\n{}", self.log()))
    }

    /// As [`Process::ready`], for one that may refuse to start.
    ///
    /// # Errors
    /// How it ended.
    pub async fn ready_or_ended(&mut self) -> Result<BTreeMap<String, SocketAddr>, ExitStatus> {
        let line = eventually("ready", async || {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(Err(status));
            }
            self.log().lines().find(|line| line.contains(" ready ")).map(|line| Ok(line.to_owned()))
        });
        let line = line.await?;
        let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
        Ok(pairs.filter_map(|(name, address)| Some((name.to_owned(), address.parse().ok()?))).collect())
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.id()).expect("a pid")), signal).expect("it is there");
    }

    /// Freezes it, and waits until every thread has stopped: the signal alone returns before they have.
    ///
    /// # Panics
    /// If the process is gone, or this is not Linux.
    pub async fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.id());
        let stopped = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.expect("procfs").path().join("stat"));
            stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
        };
        eventually("every thread has stopped", async || {
            std::fs::read_dir(&tasks).expect("procfs").all(stopped).then_some(())
        })
        .await;
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// If it does not end soon.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(crate::SOON, self.child.wait()).await;
        ended.expect("it ends").expect("its status can be read")
    }

    /// Kills it without a chance to say goodbye, and waits until it is gone.
    ///
    /// # Panics
    /// If it was gone before.
    pub async fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.ended().await;
    }

    /// The most memory that it has had, in KiB.
    ///
    /// # Panics
    /// As all that follow here, if it is gone, or this is not Linux.
    pub fn peak_memory_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    /// The memory that it has now, in KiB.
    pub fn memory_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// How many file descriptors it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).expect("procfs").count()
    }

    /// The time that it has had on processors.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("procfs");
        // The name may hold spaces; behind its bracket come the state and then numbers.
        let (_, numbers) = stat.rsplit_once(") ").expect("a name");
        let ticks = numbers.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
        // Linux counts in hundredths of a second for whoever asks, whatever it counts in itself.
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    fn status_kib(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("procfs");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the key");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    fn id(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.log.display(), tail(&self.log()));
        } else {
            crate::tls::assert_no_secret("a log", &self.log());
        }
    }
}

/// The path of one of our binaries. The first call builds them all, so that a test never runs an old one.
///
/// # Panics
/// If they cannot be built.
pub fn binary(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| build(&[], None).expect("the binaries can be built")).join(name)
}

/// The path of one of our binaries, of a build with the feature `faults`.
///
/// # Panics
/// If they cannot be built.
pub fn faulty_binary(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let build = || build(&["--features", "broker/faults,listener/faults,logger/faults"], Some("faults"));
    DIRECTORY.get_or_init(|| build().expect("the faulty binaries can be built")).join(name)
}

/// Builds the services into the directory of this build, or into one of that name beside it; says where they are.
fn build(arguments: &[&str], beside: Option<&str>) -> anyhow::Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    // A test stands in target/PROFILE/deps, a binary in target/PROFILE.
    let own = std::env::current_exe()?;
    let profile = own.ancestors().skip(1).find(|directory| !directory.ends_with("deps"));
    let profile = profile.context("the directory of the profile")?;
    let shared = profile.parent().context("the directory of the build")?;
    let target = beside.map_or_else(|| shared.to_owned(), |name| shared.join(name));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace).args(["build", "--quiet", "--locked", "--bins"]).args(arguments);
    cargo.args(["--package", "broker", "--package", "listener", "--package", "logger"]);
    // What is built on the way is shared: no dependency is built twice.
    cargo.env("CARGO_BUILD_BUILD_DIR", shared).env("CARGO_TARGET_DIR", &target);
    // What cargo tells this process of itself: ring's build script looks at it, and with another answer ring and all
    // that uses it, TLS and so nearly everything, would be built anew on each side.
    for (variable, _) in std::env::vars_os() {
        let own = variable.to_string_lossy();
        if own == "OUT_DIR" || own.starts_with("CARGO_PKG_") || own.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(variable);
        }
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    anyhow::ensure!(cargo.status()?.success(), "cargo build failed");
    Ok(target.join(profile.file_name().context("the name of the profile")?))
}

fn tail(log: &str) -> String {
    const LINES: usize = 40;
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
