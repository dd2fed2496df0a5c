//! The `fourwire` command: sends entries, reads them back, follows what is stored, loads files of entries, puts dead
//! letters back, says what is up, and explains what passes, straight to the logger or RabbitMQ over any of the transports.
//! It holds no server but a relay to explain with, and knows no store.
//!
//! Standard output has what was asked for, standard error what is said about it. How it ends is an [`Ending`].

/// As `eprintln!`, which ends the process in a panic where nobody can read it.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($argument)*);
    }};
}

pub mod config;

mod again;
mod dead;
mod explain;
mod get;
mod interrupt;
mod load;
mod pages;
mod problem;
mod race;
mod send;
mod status;
mod tail;
mod text;
mod unread;

pub use config::Config;
pub use problem::Ending;

use config::{Command, SendOver};
use unread::while_read;

/// Begins the program anew with larger stacks, where the command needs them. To be called first in `main`.
pub fn make_room(config: &Config) {
    if matches!(config.command, Command::Dead(_)) {
        // Other applications' messages may have headers nested as deeply as they like.
        transport::rabbitmq::make_room_for_nesting();
    }
}

/// Says on standard error that the system gives no threads to run in.
pub fn cannot_start(error: &std::io::Error) -> Ending {
    say!("error: cannot start: {error}");
    Ending::NotStored
}

/// Runs the command that was asked for, and says on standard error why it could not.
pub async fn run(config: Config) -> Ending {
    let result = match &config.command {
        Command::Send(arguments) => match arguments.transport {
            SendOver::One(transport) => send::send(arguments, transport, &config.stack).await,
            SendOver::All => while_read(race::race(arguments, &config.stack)).await,
        },
        Command::Get(arguments) => while_read(get::get(arguments, &config.stack)).await,
        Command::Tail(arguments) => while_read(tail::tail(arguments, &config.stack)).await,
        Command::Load(arguments) => load::load(arguments, &config.stack).await,
        Command::Dead(arguments) => dead::dead(arguments, &config.stack).await,
        Command::Status(arguments) => while_read(status::status(arguments, &config.stack)).await,
        Command::Completions { shell } => pages::completions(*shell),
        Command::Man { command } => pages::manual(command.as_deref()),
        Command::Explain(arguments) => explain::explain(arguments, &config.stack).await,
    };
    result.unwrap_or_else(|problem| problem.tell())
}
