//! Runs one command, and ends with the code that says what became of it.

use std::process::ExitCode;

use cli::Config;

fn main() -> ExitCode {
    let config = Config::read();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            return cli::cannot_start(&error).into();
        }
    };
    let ending = runtime.block_on(cli::run(config));
    // A read of standard input cannot be called off: nobody waits for it.
    runtime.shutdown_background();
    ending.into()
}
