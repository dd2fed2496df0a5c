//! Makes a key for a caller of the broker: `make key NAME=alice SCOPES=write,read`.

use std::{
    io::{Write, stderr, stdout},
    process::ExitCode,
};

use anyhow::Context;
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
    // Who does not read it needs none of it.
    let _ = write!(
        stderr(),
        "Added to {file}:\n\n    {line}\n\n\
         Start the broker with BROKER_KEYS_FILE={file}, or send SIGHUP to one that runs with it.\n\
         The key follows on standard output, and is not shown again:\n\n",
    );
    let shown = writeln!(stdout(), "{key}");
    shown.with_context(|| {
        format!("the key could not be printed, and is lost: remove its line from {file} and run this again")
    })
}
