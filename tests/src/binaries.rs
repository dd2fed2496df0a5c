//! Our binaries, which the first that needs them builds.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::Context;

/// Those that are started.
const BINARIES: [&str; 5] = ["broker", "fourwire", "listener", "logger", "new-key"];

/// The path of one of our binaries. The first call builds them all, so that a test never runs an old one.
///
/// # Panics
/// If they cannot be built.
pub fn binary(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| build(&BINARIES, &[], None).expect("the binaries can be built")).join(name)
}

/// The path of one of our binaries, of a build with the feature `faults`.
///
/// # Panics
/// If they cannot be built.
pub fn faulty_binary(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let features = ["--features", "broker/faults,listener/faults,logger/faults"];
    let build = || build(&BINARIES, &features, Some("faults"));
    DIRECTORY.get_or_init(|| build().expect("the faulty binaries can be built")).join(name)
}

/// The path of the course's shop, of a build with the feature `faults`.
///
/// # Panics
/// If it cannot be built.
pub fn faulty_shop() -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let build = || build(&["shop"], &["--features", "shop/faults"], Some("shop-faults"));
    DIRECTORY.get_or_init(|| build().expect("the faulty shop can be built")).join("shop")
}

/// Builds binaries into the directory of this build, or into one of that name beside it; says where they are.
fn build(binaries: &[&str], features: &[&str], beside: Option<&str>) -> anyhow::Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    // A test stands in target/PROFILE/deps, a binary in target/PROFILE.
    let own = std::env::current_exe()?;
    let is_test = own.parent().is_some_and(|directory| directory.ends_with("deps"));
    let profile = own.ancestors().skip(1).find(|directory| !directory.ends_with("deps"));
    let profile = profile.context("the directory of the profile")?;
    let shared = profile.parent().context("the directory of the build")?;
    let target = beside.map_or_else(|| shared.to_owned(), |name| shared.join(name));
    let mut cargo = Command::new(env!("CARGO"));
    // With the features of the build that runs this, or nearly everything would be built again: those of the whole
    // workspace, and within a test those that tests alone ask for. So a test is built too: a small one of spans'.
    cargo.current_dir(workspace).args(["build", "--quiet", "--locked", "--workspace"]).args(features);
    cargo.args(binaries.iter().flat_map(|name| ["--bin", name]));
    if is_test {
        cargo.args(["--test", "off"]);
    }
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
