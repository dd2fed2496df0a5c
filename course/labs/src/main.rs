//! The command `lab`.

use std::{
    io::{self, ErrorKind, Write, stderr},
    process::ExitCode,
};

use clap::Parser;
use labs::{
    config::{Arguments, Command},
    grade, learner,
    verdict::{Trouble, why},
    verify,
    words::{Locale, Text, say},
};
use tokio::signal::unix::{SignalKind, signal};

/// As a shell says of a program that SIGPIPE has ended: nobody reads on, and there is nobody to tell.
const UNREAD: u8 = 141;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let locale = arguments.locale.unwrap_or_else(Locale::of_environment);
    let ended = tokio::select! {
        ended = act(arguments.command, locale) => ended,
        // What was started is ended as it is dropped.
        stopped = stopped() => stopped.and_then(|()| {
            let (en, ru) = ("stopped by a signal".to_owned(), "остановлено сигналом".to_owned());
            Err(Trouble(Text { en, ru }).into())
        }),
    };
    ended.unwrap_or_else(|error| {
        let unread =
            error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe);
        if unread {
            return ExitCode::from(UNREAD);
        }
        let _ = writeln!(stderr(), "{}: {}", say(locale, "error", "ошибка"), why(&error).of(locale));
        ExitCode::from(2)
    })
}

/// Waits for SIGINT or SIGTERM.
async fn stopped() -> anyhow::Result<()> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    Ok(())
}

async fn act(command: Command, locale: Locale) -> anyhow::Result<ExitCode> {
    match command {
        Command::List => learner::list(locale)?,
        Command::Start(start) => learner::start(&start, locale)?,
        Command::Reset(start) => learner::reset(&start, locale)?,
        Command::Hint { number } => learner::hint(number, locale)?,
        Command::Solution { number, spoil } => learner::solution(number, spoil, locale)?,
        Command::Check(check) => return learner::check(&check, locale).await,
        Command::Verify(arguments) => return verify::verify(&arguments).await,
        Command::Grade(arguments) => return grade::grade(&arguments, locale).await,
    }
    Ok(ExitCode::SUCCESS)
}
