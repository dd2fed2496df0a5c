//! `fourwire tail`: follows what is stored.

use proto::{Cursor, Failure, StoredEntry, TailEvent, Transport};
use serde::Serialize;
use transport::grpc::{Streams, Tailed};

use crate::{
    Ending,
    again::again,
    config::{Stack, Tail, place},
    interrupt::Interrupt,
    problem::{Problem, describe},
    text::{entry_line, json_line, put, thousands},
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
    let mut reader = Reader { json: arguments.json, cursor: None, lost: false };
    let mut tail = Streams::new(&stack.settings(None)?).tail(query);
    loop {
        let tailed = tokio::select! {
            biased;
            () = interrupt.begun() => break,
            tailed = tail.next() => tailed,
        };
        match tailed {
            None => return Ok(Ending::Done),
            Some(Err(failure)) => return Err(failed(failure)),
            Some(Ok(Tailed::Event(event, cursor))) => reader.tell(&event, cursor)?,
            Some(Ok(Tailed::Lost(failure))) => reader.lose(&failure),
        }
    }
    if let Some(cursor) = reader.cursor {
        let dropped = [("--after", true), ("--since", true), ("--from-start", false)];
        eprintln!("go on with: {}", again(&dropped, &["--after".to_owned(), cursor.into()]));
    }
    Ok(Ending::Done)
}

/// Who reads.
struct Reader {
    json: bool,
    /// Up to where all is told.
    cursor: Option<Cursor>,
    lost: bool,
}

impl Reader {
    fn tell(&mut self, event: &TailEvent, cursor: Cursor) -> Result<(), Problem> {
        if std::mem::take(&mut self.lost) {
            eprintln!("the logger is back");
        } else if self.cursor.is_none() {
            eprintln!("following; Ctrl-C ends it");
        }
        match event {
            TailEvent::Entry(entry) if self.json => put(&json_line(&Told { cursor, entry }))?,
            TailEvent::Entry(entry) => put(&entry_line(entry))?,
            TailEvent::Missed(missed) => eprintln!("missed: {} entries", thousands(*missed)),
            TailEvent::Reached => {}
        }
        self.cursor = Some(cursor);
        Ok(())
    }

    fn lose(&mut self, failure: &Failure) {
        self.lost = true;
        eprintln!("the logger is lost; waiting for it\n  {}", describe(failure, place(Transport::Grpc)));
    }
}

fn failed(failure: Failure) -> Problem {
    Problem::Failed(failure, place(Transport::Grpc))
}
