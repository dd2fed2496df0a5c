//! How a test starts one of our binaries.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use rig::{Launch, Process};

use crate::{
    binaries::{binary, faulty_binary},
    eventually, tls,
};

/// How services are started. With a setting such as `LOGGER_FAULT` they are of the build that can break promises.
///
/// # Panics
/// As everything here, if they cannot be built or started.
pub fn launch<K: AsRef<str>>(settings: &BTreeMap<K, String>) -> Launch {
    let is_faulty = settings.keys().any(|name| name.as_ref().ends_with("_FAULT"));
    let logger = if is_faulty { faulty_binary("logger") } else { binary("logger") };
    let binaries = logger.parent().expect("the directory of the build").to_owned();
    Launch { binaries, at_end: Some(look_at_its_log), ..Launch::default() }
}

/// Starts `name` with `settings` as its whole environment; its log goes to a file in `dir`.
pub fn start(name: &str, settings: &BTreeMap<&str, String>, dir: &Path) -> Process {
    launch(settings).start(name, settings, dir).expect("it can be started")
}

/// As [`start`], with arguments.
pub fn start_with(name: &str, arguments: &[&str], settings: &BTreeMap<&str, String>, dir: &Path) -> Process {
    let mut command = tokio::process::Command::new(binary(name));
    command.args(arguments);
    launch(settings).spawn(command, name, settings, dir).expect("it can be started")
}

/// All that a service has logged until now. A thread of its own writes the log, in order: so the service is
/// asked for one line more, by SIGHUP, and what it logged before is there once that is.
///
/// # Panics
/// If it does not run, or says nothing more.
pub async fn whole_log(process: &Process) -> String {
    let told = || process.log().matches("SIGHUP: ").count();
    let before = told();
    process.signal(Signal::SIGHUP).expect("it runs");
    eventually("the log is written", async || (told() > before).then(|| process.log())).await
}

/// What starts a service, and traces what it writes and syncs into a file.
///
/// # Panics
/// If strace is not installed.
pub fn tracing_into(trace: &Path) -> Vec<String> {
    const CALLS: &str = "trace=fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg";
    let installed = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    assert!(installed.is_ok(), "strace is not installed: `sudo deploy/tools.sh` does it");
    // With -D it is the service that is our child, and gets the signals. A page of the store is 4,096 bytes.
    let words = ["strace", "-D", "-q", "-f", "-yy", "-s", "4200", "-e", CALLS, "-o"].map(str::to_owned);
    words.into_iter().chain([trace.display().to_string()]).collect()
}

/// Its last lines are shown where a test fails; and no log holds a secret.
fn look_at_its_log(process: &Process) {
    if std::thread::panicking() {
        eprintln!("--- {} ---\n{}", process.log_path().display(), tail(&process.log()));
    } else {
        tls::assert_no_secret("a log", &process.log());
    }
}

fn tail(log: &str) -> String {
    const LINES: usize = 40;
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
