//! Compiles `logs.proto` in Rust alone, so that nobody has to install `protoc`, and tells `release.rs` the profile.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
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
    let version = match profile.as_ref() {
        "release" => version,
        other => format!("{version} ({other} build, not for measuring)"),
    };
    println!("cargo::rustc-env=FOURWIRE_PROFILE={profile}");
    println!("cargo::rustc-env=FOURWIRE_VERSION={version}");
    Ok(())
}
