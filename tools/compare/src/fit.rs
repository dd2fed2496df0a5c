//! Whether the machine and the binaries are fit for a measurement, and where its report goes.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use proto::release::NOT_FOR_MEASURING;

use crate::{config::Measure, record::Circumstances, stack::Site};

/// The services, by the names of their binaries.
const SERVICES: [&str; 3] = ["broker", "logger", "listener"];

/// The share of the cores in use above which a machine is busy with something else.
pub(crate) const MOST_BUSY: f64 = 0.15;

/// What makes this no evidence, for the report.
///
/// # Errors
/// A refusal, where it takes --force.
pub(crate) async fn unfit(
    arguments: &Measure,
    circumstances: &Circumstances,
    binaries: Option<&Path>,
) -> anyhow::Result<Vec<String>> {
    let mut warnings = Vec::new();
    if arguments.quick {
        warnings.push("a quick run: too short to be evidence".to_owned());
    }
    if !circumstances.release {
        ensure!(
            arguments.force,
            "this is a debug build: use `make compare`, or --force to measure all the same"
        );
        warnings.push("a debug build was measured (--force)".to_owned());
    }
    let unfit = match (binaries, arguments.target) {
        (Some(binaries), _) => built_to_be_tried(binaries)?,
        (None, Some(broker)) => profile_of(broker).await?,
        (None, None) => None,
    };
    // What compare itself was built with, in the same directory, is told above.
    if let Some(unfit) = unfit.filter(|_| circumstances.release) {
        ensure!(
            arguments.force,
            "{unfit}: measure a release build (`make run PROFILE=release`), or use --force"
        );
        warnings.push(format!("{unfit} (--force)"));
    }
    if circumstances.busy > MOST_BUSY {
        let busy = circumstances.busy * 100.0;
        ensure!(
            arguments.force || arguments.quick,
            "the machine is busy ({busy:.0} % CPU in use in the last seconds): wait, or use --force"
        );
        warnings.push(format!("the machine was busy: {busy:.0} % CPU in use at the start"));
    }
    let places = std::env::temp_dir();
    if arguments.target.is_none() && statfs(&places)?.filesystem_type() == TMPFS_MAGIC {
        let memory = format!("{} is memory, and nothing is synced there", places.display());
        ensure!(arguments.force, "{memory}: set TMPDIR to a directory on a disk, or use --force");
        warnings.push(memory);
    }
    Ok(warnings)
}

/// A directory for a report.
///
/// # Errors
/// If it cannot be made.
pub fn out(wanted: Option<&Path>, kind: &str) -> anyhow::Result<PathBuf> {
    let dated = || PathBuf::from(format!("{kind}-{}", Timestamp::now().strftime("%Y%m%d-%H%M%S")));
    let directory = wanted.map_or_else(dated, Path::to_owned);
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

/// Where the services are.
///
/// # Errors
/// If they are not there.
pub fn binaries(wanted: Option<&Path>) -> anyhow::Result<PathBuf> {
    binaries_with(wanted, &[])
}

/// The same, if others are there as well.
///
/// # Errors
/// If one of them is not.
pub(crate) fn binaries_with(wanted: Option<&Path>, others: &[&str]) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let directory = wanted.or_else(|| own.parent()).context("a directory")?;
    // The services run in directories of their own.
    let directory = std::path::absolute(directory)?;
    for name in SERVICES.iter().chain(others) {
        let path = directory.join(name);
        ensure!(
            path.is_file(),
            "{} is missing: `cargo build --release --workspace --bins` makes it",
            path.display()
        );
    }
    Ok(directory)
}

/// Which of the services, if any, was built with a profile that is not for measuring.
///
/// # Errors
/// If one does not tell its version.
pub fn built_to_be_tried(binaries: &Path) -> anyhow::Result<Option<String>> {
    for service in SERVICES {
        let path = binaries.join(service);
        let said = Command::new(&path).arg("--version").output();
        let said = said.with_context(|| format!("{} does not tell its version", path.display()))?;
        let said = String::from_utf8_lossy(&said.stdout);
        if said.contains(NOT_FOR_MEASURING) {
            return Ok(Some(format!("{}: {}", path.display(), said.trim())));
        }
    }
    Ok(None)
}

/// The same of a broker that runs already; nothing if it is of a version that does not say, or does not answer.
async fn profile_of(broker: SocketAddr) -> anyhow::Result<Option<String>> {
    let (_, status) = Site::foreign(broker, broker)?.broker_client().get("/status").await?;
    let profile = status.pointer("/data/broker/profile").and_then(serde_json::Value::as_str);
    let unfit = profile.filter(|profile| *profile != "release");
    Ok(unfit.map(|profile| format!("the broker at {broker} is a {profile} build, {NOT_FOR_MEASURING}")))
}

/// Refuses a build that is not for measuring and a busy machine, unless it is forced.
///
/// # Errors
/// The refusal; or if a service does not tell its version.
pub(crate) fn ensure_fit(binaries: &Path, busy: f64, force: bool) -> anyhow::Result<()> {
    if let Some(unfit) = built_to_be_tried(binaries)? {
        ensure!(force, "{unfit}: use a release build, or --force");
        say!("warning: {unfit} (--force)");
    }
    ensure_quiet(busy, force)
}

/// Refuses a machine of which more than a part is busy, unless it is forced.
///
/// # Errors
/// The refusal.
pub(crate) fn ensure_quiet(busy: f64, force: bool) -> anyhow::Result<()> {
    if busy > MOST_BUSY {
        let busy = format!("the machine is busy: {:.0} % CPU in use", busy * 100.0);
        ensure!(force, "{busy}: wait, or use --force");
        say!("warning: {busy} (--force)");
    }
    Ok(())
}
