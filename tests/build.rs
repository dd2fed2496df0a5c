//! Compiles the course's two-field proto, so that a client generated from it can be tried on our logger.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/course.proto");
    let descriptors = protox::compile(["proto/course.proto"], ["proto"])?;
    tonic_prost_build::configure().build_server(false).compile_fds(descriptors)?;
    Ok(())
}
