//! Compiles `logs.proto` in Rust alone, so that nobody has to install `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto/logs.proto");
    let descriptors = protox::compile(["proto/logs.proto"], ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
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
