//! `fourwire send`: one entry.

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use anyhow::Context;
use jiff::Timestamp;
use proto::{
    BatchMode, Certainty, EntryDraft, Failure, Transport,
    json::{Accepted, Envelope, FailureData, Timing},
    limits::DATA_BYTES,
};
use serde::Serialize;
use tokio::io::AsyncReadExt;
use transport::Transports;
use uuid::Uuid;

use crate::{
    Ending,
    config::{Send, Stack, place},
    problem::Problem,
    text::{json_line, put, put_or_tell},
};

/// Sends one entry, and prints what became of it.
pub(crate) async fn send(arguments: &Send, transport: Transport, stack: &Stack) -> Result<Ending, Problem> {
    if arguments.count.is_some() {
        let why = "--count is for --transport all; over one transport one entry is sent";
        return Err(Problem::usage(why));
    }
    let draft = EntryDraft {
        name: arguments.name.clone(),
        data: data(&arguments.data).await.map_err(Problem::Usage)?,
        id: arguments.id.clone(),
        level: Some(arguments.level.to_string()),
        created_at: arguments.created_at.clone(),
        transport: None,
    };
    let id = draft.id.as_deref().and_then(|id| id.parse().ok());
    let told = |failure: &Failure, id| {
        if arguments.json {
            // Where it cannot be written, standard error has it, and the code says more than that would.
            let _ = put(&json_line(&Failed::new(failure, transport, id)));
        }
    };
    let entry = draft.check(Timestamp::now()).map_err(|failure| {
        told(&failure, id);
        Problem::usage(failure.into_message())
    })?;
    let transports = Transports::new(&stack.settings(Some(transport))?);
    connected(&transports, transport, stack.deadline()).await;
    let (id, begun) = (entry.id(), Instant::now());
    let failed = |failure: Failure| {
        told(&failure, Some(id));
        if failure.certainty() != Certainty::Rejected {
            say!("the entry's id is {id}: retry with --id {id}");
        }
        Problem::Failed(failure, place(transport))
    };
    let delivered = transports.write(transport, entry.into(), BatchMode::AllOrNone).await.map_err(failed)?;
    let timing_us = Timing {
        total: micros(begun.elapsed()),
        transport: Some(micros(delivered.took)),
        store: delivered.store_us,
    };
    let wire_bytes = delivered.bytes;
    let outcome = *delivered.outcomes().map_err(failed)?.first();
    let became = if arguments.json {
        json_line(&Accepted { id, transport, outcome: Some(outcome), timing_us, wire_bytes })
    } else {
        let store =
            timing_us.store.map(|us| format!(" ({} ms in the store)", millis(us))).unwrap_or_default();
        format!("{outcome} via {transport} in {} ms{store}: {id}", millis(timing_us.total))
    };
    put_or_tell(&became)?;
    Ok(Ending::Done)
}

/// What `--json` prints of an entry that was not accepted: `data` as the broker answers it, and its message.
#[derive(Serialize)]
struct Failed<'a> {
    message: Cow<'a, str>,
    #[serde(flatten)]
    data: Option<FailureData>,
}

impl<'a> Failed<'a> {
    fn new(failure: &'a Failure, transport: Transport, id: Option<Uuid>) -> Self {
        let data = Envelope::failure(failure, Some(transport), id.as_slice()).data;
        Failed { message: failure.message(), data }
    }
}

/// Waits until a transport that connects by itself has done so, or could not, for as long as a delivery may take: so
/// that who is refused is told why.
pub(crate) async fn connected(transports: &Transports, transport: Transport, deadline: Duration) {
    // If it has not, the delivery says so.
    let _ = tokio::time::timeout(deadline, transports.tried(transport)).await;
}

/// The text that an argument stands for.
pub(crate) async fn data(argument: &str) -> anyhow::Result<String> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut bytes = Vec::new();
    // One byte more than there may be, and a line feed: then the entry is refused with its limit.
    let most = DATA_BYTES as u64 + 2;
    let read = tokio::io::stdin().take(most).read_to_end(&mut bytes).await;
    read.context("cannot read standard input")?;
    let mut text = match String::from_utf8(bytes) {
        Ok(text) => text,
        // Cut within a character: it is too long, as the check of the entry says.
        Err(error) if error.as_bytes().len() as u64 == most && error.utf8_error().error_len().is_none() => {
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        }
        Err(_) => anyhow::bail!("standard input is not UTF-8"),
    };
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(us: u64) -> String {
    format!("{}.{}", us / 1_000, us % 1_000 / 100)
}
