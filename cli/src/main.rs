//! Runs one command, and ends with the code that says what became of it.

use std::process::ExitCode;

use cli::Config;

fn main() -> ExitCode {
    let config = Config::read();
    cli::make_room(&config);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            return cli::cannot_start(&error).into();
        }
    };
    // On a thread of the runtime, whose stack is as large as was asked for.
    let ending = runtime.block_on(runtime.spawn(cli::run(config)));
    let ending = ending.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    // A read of standard input cannot be called off: nobody waits for it.
    runtime.shutdown_background();
    ending.into()
}
