//! `fourwire explain`: every byte of an entry on its way, from a real connection.

mod calls;
mod tap;

use std::{fs::File, io::Read, path::Path};

use anyhow::Context;
use explain::{Explained, FILE_BYTES, Recording, Show};
use jiff::Timestamp;
use proto::{EntryDraft, LogEntry};

use self::{calls::make, tap::Tap};
use crate::{
    Ending,
    config::{Explain, Stack},
    problem::Problem,
    text::put,
};

/// Sends entries through a relay and explains what has passed, or explains what was recorded before.
pub(crate) async fn explain(arguments: &Explain, stack: &Stack) -> Result<Ending, Problem> {
    if let Some(file) = &arguments.read {
        let explained = explain::explain(read(file).map_err(Problem::Usage)?);
        let recorded = explained.recorded();
        return show(arguments, &explained, recorded);
    }
    arguments.check()?;
    let entries = entries(arguments)?;
    let mut tap = Tap::open(arguments.transport, stack).await?;
    let made = make(arguments, &mut tap, entries, stack.deadline()).await;
    let (recording, passed) = tap.close().await;
    if recording.chunks.is_empty() {
        // Nothing to explain: why it failed is all there is to say.
        return made.map(|()| Ending::Done);
    }
    let explained = explain::explain(recording);
    if let Some(file) = &arguments.save {
        save(file, &explained.recording).map_err(Problem::Usage)?;
    }
    let ending = show(arguments, &explained, passed)?;
    made.map(|()| ending)
}

/// The entries that are sent.
fn entries(arguments: &Explain) -> Result<Vec<LogEntry>, Problem> {
    let draft =
        EntryDraft { name: arguments.name.clone(), data: arguments.data.clone(), ..EntryDraft::default() };
    let check = |_| draft.clone().check(Timestamp::now());
    let entries: Result<_, _> = (0..arguments.entries).map(check).collect();
    entries.map_err(|failure| Problem::usage(failure.into_message()))
}

/// Prints it, and holds it against what has passed.
fn show(arguments: &Explain, explained: &Explained, passed: [u64; 2]) -> Result<Ending, Problem> {
    let show = Show { all: arguments.all, bytes: arguments.bytes };
    let shown = if arguments.json { explain::json(explained, show) } else { explain::text(explained, show) };
    put(shown.trim_end())?;
    match explained.check(passed) {
        Ok(()) => Ok(Ending::Done),
        Err(unaccounted) => {
            say!("error: {unaccounted}");
            Ok(Ending::Refused)
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Recording> {
    let name = || file.display().to_string();
    let mut text = String::new();
    // One byte more than there may be; what is no file has no length to ask for.
    let mut open = File::open(file).with_context(name)?.take(FILE_BYTES as u64 + 1);
    open.read_to_string(&mut text).with_context(name)?;
    Recording::from_ndjson(&text).with_context(name)
}

fn save(file: &Path, recording: &Recording) -> anyhow::Result<()> {
    std::fs::write(file, recording.to_ndjson()).with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{Config, config::Command};

    fn arguments(line: &str) -> Explain {
        let config = Config::try_parse_from(line.split(' ')).expect("each by itself is well");
        let Command::Explain(arguments) = config.command else { panic!("it is `explain`") };
        arguments
    }

    #[test]
    fn a_stream_needs_the_transport_that_has_it() {
        for call in ["write-logs", "sync-logs", "tail-logs"] {
            let line = format!("fourwire explain --call {call}");
            let Err(Problem::Usage(error)) = arguments(&line).check() else { panic!("{line}") };
            assert!(error.to_string().contains("--transport grpc"), "{error}");
            assert!(arguments(&format!("{line} --transport grpc")).check().is_ok());
        }
        assert!(arguments("fourwire explain --call write-batch --transport rabbitmq").check().is_ok());
    }

    #[test]
    fn an_entry_that_is_none_is_refused_before_anything_is_sent() {
        let Err(Problem::Usage(error)) = entries(&arguments("fourwire explain --name=")) else {
            panic!("no name")
        };
        assert!(error.to_string().contains("name"), "{error}");
        assert_eq!(entries(&arguments("fourwire explain --entries 3")).expect("sound").len(), 3);
    }

    #[test]
    fn a_file_that_is_no_recording_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("no.ndjson");
        std::fs::write(&file, "hello\n").expect("room");
        let error = format!("{:#}", read(&file).expect_err("no recording"));
        assert!(error.contains("no.ndjson") && error.contains("--save"), "{error}");
        assert!(
            format!("{:#}", read(&directory.path().join("nowhere")).expect_err("none")).contains("nowhere")
        );
    }
}
