//! Makes a key for a caller of the broker: `make key NAME=alice SCOPES=write,read`.

use std::process::ExitCode;

use broker::keys::new::NewKey;
use clap::Parser;
use service::telemetry::LogFormat;

fn main() -> ExitCode {
    service::exit_code(run(&NewKey::parse()), LogFormat::Text)
}

/// The key alone goes to standard output, so that `KEY=$(make key …)` holds it and nothing else.
fn run(new: &NewKey) -> anyhow::Result<()> {
    let (key, line) = new.make()?;
    let file = new.file.display();
    eprintln!("Added to {file}:\n\n    {line}\n");
    eprintln!("Start the broker with BROKER_KEYS_FILE={file}, or send SIGHUP to one that runs with it.");
    eprintln!("The key, which is shown only now:\n");
    println!("{key}");
    Ok(())
}
