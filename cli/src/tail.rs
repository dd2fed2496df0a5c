//! `fourwire tail`: follows what is stored.

use std::io;

use proto::{Code, Cursor, Failure, Filter, StoredEntry, TailEvent, Transport};
use serde::Serialize;
use transport::grpc::{Streams, Tailed};

use crate::{
    Ending,
    again::again,
    config::{Look, Stack, Tail, place},
    get::limits_in_time,
    interrupt::Interrupt,
    problem::{Problem, root, what_to_look_at},
    text::{counted, entry_line, escape, json_line, put},
};

/// An entry, and where to go on after it.
#[derive(Serialize)]
struct Told<'a> {
    cursor: Cursor,
    #[serde(flatten)]
    entry: &'a StoredEntry,
}

/// Prints entries as they are stored, until the end of the times that were asked for, or until it is interrupted.
pub(crate) async fn tail(arguments: &Tail, stack: &Stack) -> Result<Ending, Problem> {
    let query = arguments.query()?;
    let interrupt = Interrupt::on_signal().map_err(Problem::Usage)?;
    let mut reader = Reader { json: arguments.json, short: arguments.look.short, cursor: None, lost: false };
    let mut tail = Streams::new(&stack.settings(None)?).tail(query);
    let ended = loop {
        let tailed = tokio::select! {
            biased;
            () = interrupt.begun() => break Ok(Ending::Done),
            tailed = tail.next() => tailed,
        };
        match tailed {
            None => return Ok(Ending::Done),
            Some(Err(failure)) => return Err(failed(failure)),
            Some(Ok(Tailed::Event(event, cursor))) => match reader.tell(&event, cursor) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(error.into()),
                Err(error) => break Err(error.into()),
            },
            Some(Ok(Tailed::Lost(failure))) => reader.lose(&failure),
        }
    };
    if let Some(command) = reader.goes_on_with(arguments) {
        say!("resume with: {command}");
    }
    ended
}

/// Who reads.
struct Reader {
    json: bool,
    short: bool,
    /// Up to where all is told; `None`: the logger was not up yet.
    cursor: Option<Cursor>,
    lost: bool,
}

impl Reader {
    fn tell(&mut self, event: &TailEvent, cursor: Cursor) -> io::Result<()> {
        match (self.cursor, std::mem::take(&mut self.lost)) {
            (None, _) => say!("following; press Ctrl-C to stop"),
            (Some(_), true) => say!("the logger is back"),
            (Some(_), false) => {}
        }
        match event {
            TailEvent::Entry(entry) if self.json => put(&json_line(&Told { cursor, entry }))?,
            TailEvent::Entry(entry) => put(&entry_line(entry, self.short, Look::colours()))?,
            TailEvent::Missed(missed) => say!("missed: {}", counted(*missed, "entry", "entries")),
            TailEvent::Reached => {}
        }
        self.cursor = Some(cursor);
        Ok(())
    }

    fn lose(&mut self, failure: &Failure) {
        self.lost = true;
        let because = root(failure);
        let because = escape(&because);
        match self.cursor {
            None if failure.code == Code::Unavailable => say!(
                "waiting for the logger, which is down\n  because: {because}\n  {}",
                what_to_look_at(place(Transport::Grpc))
            ),
            None => say!("waiting for the logger\n  because: {because}"),
            Some(_) => say!("lost the logger; waiting for it\n  because: {because}"),
        }
    }

    /// The command that resumes where this one ends; `None` if nothing is missed by any.
    fn goes_on_with(&self, arguments: &Tail) -> Option<String> {
        let Filter { since, until, .. } = arguments.filter;
        // An age counts from now: the command may be run much later.
        match self.cursor {
            Some(cursor) => {
                let dropped =
                    [("--after", true), ("--since", true), ("--until", true), ("--from-start", false)];
                let mut added = vec!["--after".to_owned(), cursor.into()];
                added.extend(limits_in_time(None, until));
                Some(again(&dropped, &added))
            }
            None => arguments.begins_in_the_past().then(|| {
                let limits: Vec<String> = limits_in_time(since, until).collect();
                again(&[("--since", true), ("--until", true)], &limits)
            }),
        }
    }
}

fn failed(failure: Failure) -> Problem {
    Problem::Failed(failure, place(Transport::Grpc))
}
