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
use nix::sys::signal::Signal;
use rig::{LogTo, NotReady, Tap, Usage};
use tokio::net::TcpStream;

use crate::{SOON, eventually};

/// A running service: [`rig::Process`], with panics for errors. It is killed when dropped.
#[derive(Debug)]
pub struct Process {
    process: rig::Process,
    /// Where it listens, if its log will not say.
    silent_at: Option<BTreeMap<String, SocketAddr>>,
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

    /// As [`Process::start`], with arguments.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_with(name: &str, arguments: &[&str], settings: &BTreeMap<&str, String>, dir: &Path) -> Self {
        let mut command = tokio::process::Command::new(binary(name));
        command.args(arguments);
        Self::spawn(LogTo::File, command, name, settings, dir)
    }

    /// As [`Process::start`], under a command that becomes it, such as `taskset --cpu-list 0`.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_under(wrapper: &[&str], name: &str, settings: &BTreeMap<&str, String>, dir: &Path) -> Self {
        Self::start_logging(LogTo::File, wrapper, name, settings, dir)
    }

    /// As [`Process::start_under`], with its log somewhere else. One that logs to a full disk must listen on ports that
    /// are named in its settings.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_logging(
        to: LogTo,
        wrapper: &[&str],
        name: &str,
        settings: &BTreeMap<&str, String>,
        dir: &Path,
    ) -> Self {
        let faulty = settings.contains_key(format!("{}_FAULT", name.to_uppercase()).as_str());
        let binary = if faulty { faulty_binary(name) } else { binary(name) };
        let mut words = wrapper.iter().map(OsStr::new).chain([binary.as_os_str()]);
        let mut command = tokio::process::Command::new(words.next().expect("at least the binary"));
        command.args(words);
        let mut process = Self::spawn(to, command, name, settings, dir);
        process.silent_at = (to == LogTo::Full).then(|| listens(name, settings));
        process
    }

    /// As [`Process::start`], with a trace of what it writes and syncs in the file `trace`.
    ///
    /// # Panics
    /// If strace is not installed, too.
    pub fn start_traced(name: &str, settings: &BTreeMap<&str, String>, dir: &Path, trace: &Path) -> Self {
        const CALLS: &str = "trace=fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg";
        let installed = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
        assert!(installed.is_ok(), "strace is not installed: `sudo deploy/tools.sh` does it");
        let mut strace = tokio::process::Command::new("strace");
        // With -D it is the service that is our child, and gets the signals. A page of the store is 4,096 bytes.
        strace.args(["-D", "-q", "-f", "-yy", "-s", "4200", "-e", CALLS, "-o"]).arg(trace).arg(binary(name));
        Self::spawn(LogTo::File, strace, name, settings, dir)
    }

    fn spawn(
        to: LogTo,
        command: tokio::process::Command,
        name: &str,
        settings: &BTreeMap<&str, String>,
        dir: &Path,
    ) -> Self {
        let shown = format!("{command:?}");
        let process = rig::Process::start_logging(to, command, settings, dir, name);
        let process = process.unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
        Process { process, silent_at: None }
    }

    /// The reader of its log.
    ///
    /// # Panics
    /// If its log goes through no pipe.
    pub fn tap(&self) -> &Tap {
        self.process.tap().expect("its log goes through a pipe")
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.log()
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
        if let Some(addresses) = self.silent_at.clone() {
            for address in addresses.values() {
                let open = async || {
                    let ended = self.process.ended(Duration::ZERO).await.ok();
                    ended.map(Err).or(TcpStream::connect(address).await.ok().map(Ok))
                };
                eventually(&format!("{address} is open"), open).await?;
            }
            return Ok(addresses);
        }
        match self.process.ready(SOON).await {
            Ok(addresses) => Ok(addresses),
            Err(NotReady::Ended(status)) => Err(status),
            Err(late @ NotReady::Late) => panic!("{late}:\n{}", self.log()),
        }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal).expect("it is there");
    }

    /// Freezes it, and waits until every thread has stopped.
    ///
    /// # Panics
    /// If the process is gone, or this is not Linux.
    pub async fn freeze(&self) {
        self.process.freeze().await.expect("it is there");
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// If it does not end soon.
    pub async fn ended(&mut self) -> ExitStatus {
        self.process.ended(SOON).await.expect("it ends")
    }

    /// Waits until it ends in order.
    ///
    /// # Panics
    /// If it ends in another way, or not soon.
    pub async fn ends_well(&mut self) {
        let status = self.ended().await;
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Kills it without a chance to say goodbye, and waits until it is gone.
    ///
    /// # Panics
    /// If it was gone before.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("it is there");
    }

    /// The most memory that it has had, in KiB.
    ///
    /// # Panics
    /// As all that follow here, if it is gone, or this is not Linux.
    pub fn peak_memory_kib(&self) -> u64 {
        self.usage().peak_memory_kib
    }

    /// The memory that it has now, in KiB.
    pub fn memory_kib(&self) -> u64 {
        self.usage().memory_kib
    }

    /// How many file descriptors it has open.
    pub fn descriptors(&self) -> usize {
        self.process.descriptors().expect("it is there")
    }

    /// The time that it has had on processors.
    pub fn processor_time(&self) -> Duration {
        self.usage().processor
    }

    fn usage(&self) -> Usage {
        self.process.usage().expect("it is there")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.process.log_path().display(), tail(&self.log()));
        } else {
            crate::tls::assert_no_secret("a log", &self.log());
        }
    }
}

/// Where the settings tell a service to listen, by the names that it has for its ports in its log.
fn listens(service: &str, settings: &BTreeMap<&str, String>) -> BTreeMap<String, SocketAddr> {
    let prefix = format!("{}_", service.to_uppercase());
    let ports = settings.iter().filter_map(|(setting, value)| {
        let port = setting.strip_prefix(prefix.as_str())?.strip_suffix("_LISTEN")?;
        Some((port.to_lowercase(), value.parse().expect("an address")))
    });
    ports.collect()
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
    cargo.args(["--package", "broker", "--package", "cli", "--package", "listener", "--package", "logger"]);
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
