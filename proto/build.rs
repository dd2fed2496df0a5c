//! Compiles `logs.proto` in Rust alone, so that nobody has to install `protoc`, and tells `release.rs` the profile and the
//! commit.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto/logs.proto");
    let descriptors = protox::compile(["proto/logs.proto"], ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    describe_the_build(&out)?;
    // Reflection serves this set to clients such as grpcurl.
    fs::write(out.join("logs.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // It bounds a batch before it is decoded.
        .codec_path("crate::grpc::codec::BoundedCodec")
        // What a server does not have it answers as unimplemented: the course's has one call.
        .generate_default_stubs(true)
        .compile_fds(descriptors)?;
    Ok(())
}

/// Cargo names a profile of one's own nowhere but in the path of its output: `<target>/<profile>/build/<package>/out`.
fn describe_the_build(out: &Path) -> Result<(), Box<dyn Error>> {
    let directory = out.ancestors().nth(3).and_then(Path::file_name).ok_or("the directory of the profile")?;
    let profile = directory.to_string_lossy();
    let version = env::var("CARGO_PKG_VERSION")?;
    // With the commit, each commit would compile the workspace anew: a debug build is none that anybody has to tell apart.
    let commit = if profile == "debug" { None } else { commit() };
    let version = match (profile.as_ref(), commit) {
        ("release", None) => version,
        ("release", Some(commit)) => format!("{version} ({commit})"),
        (other, None) => format!("{version} ({other} build, not for measuring)"),
        (other, Some(commit)) => format!("{version} ({commit}, {other} build, not for measuring)"),
    };
    println!("cargo::rustc-env=FOURWIRE_PROFILE={profile}");
    println!("cargo::rustc-env=FOURWIRE_VERSION={version}");
    Ok(())
}

/// The commit and its day, `0123456789 of 2026-11-21`: from the environment where there is no repository, as in the build
/// of an image. Without either there is none.
fn commit() -> Option<String> {
    println!("cargo::rerun-if-env-changed=FOURWIRE_COMMIT");
    if let Some(given) = env::var("FOURWIRE_COMMIT").ok().filter(|given| !given.is_empty()) {
        return Some(given);
    }
    let head = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"])?;
    println!("cargo::rerun-if-changed={head}");
    let commit = git(&["describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"])?;
    let day = git(&["show", "--no-patch", "--format=%cs", "HEAD"])?;
    Some(format!("{commit} of {day}"))
}

fn git(arguments: &[&str]) -> Option<String> {
    let said = Command::new("git").args(arguments).output().ok().filter(|said| said.status.success())?;
    Some(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}
