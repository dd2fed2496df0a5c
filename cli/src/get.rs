//! `fourwire get`: stored entries, one by its id, or page by page.

use proto::{
    Certainty, Code, Cursor, Failure, Page, Query, StoredEntry, Time, Transport,
    json::{Envelope, FailureData},
    limits::PAGE_ENTRIES,
    parse_entry_id,
};
use serde::de::DeserializeOwned;
use transport::Transports;

use crate::{
    Ending,
    again::again,
    config::{Get, Look, Stack, place},
    problem::Problem,
    text::{entry_line, escape, json_line, put},
};

/// Prints one entry, or those that meet the conditions.
pub(crate) async fn get(arguments: &Get, stack: &Stack) -> Result<Ending, Problem> {
    let transports = Transports::new(&stack.settings(None)?);
    match &arguments.id {
        Some(id) => one(&transports, id, arguments.json).await?,
        None => many(&transports, arguments).await?,
    }
    Ok(Ending::Done)
}

async fn one(transports: &Transports, id: &str, json: bool) -> Result<(), Problem> {
    let id = parse_entry_id(id)
        .map_err(|_| Problem::usage(format!("{id:?} is not an entry id: expected a UUID")))?;
    let entry: StoredEntry = read(transports, &format!("/logs/{id}")).await.map_err(failed)?;
    if json {
        put(&json_line(&entry))?;
        return Ok(());
    }
    let StoredEntry { id, name, data, level, created_at, stored_at, transport, attempts } = &entry;
    let rows = [
        ("id", id.to_string()),
        ("name", escape(name)),
        ("level", level.to_string()),
        ("created at", created_at.to_string()),
        ("stored at", stored_at.to_string()),
        ("via", transport.to_string()),
        ("written", if *attempts == 1 { "once".to_owned() } else { format!("{attempts} times") }),
        ("data", escape(data)),
    ];
    for (name, value) in rows {
        put(&format!("{name:<11} {value}"))?;
    }
    Ok(())
}

async fn many(transports: &Transports, arguments: &Get) -> Result<(), Problem> {
    let mut query = arguments.query()?;
    let most = if arguments.all { u64::MAX } else { arguments.limit };
    let mut told = 0;
    while told < most {
        query.limit = usize::try_from(most - told).map_or(PAGE_ENTRIES, |left| left.min(PAGE_ENTRIES));
        let page = page(transports, &query).await.map_err(|failure| {
            if let (Some(cursor), true) = (query.cursor, failure.certainty() != Certainty::Rejected) {
                say!("interrupted; resume with: {}", goes_on(arguments, cursor, most - told));
            }
            failed(failure)
        })?;
        for entry in &page.entries {
            let (short, colours) = (arguments.look.short, Look::colours());
            put(&if arguments.json { json_line(entry) } else { entry_line(entry, short, colours) })?;
        }
        told += page.entries.len() as u64;
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    match query.cursor {
        None if told == 0 => say!("{}", why_none(arguments)),
        None => {}
        Some(cursor) => tell_of_more(transports, query, cursor).await,
    }
    Ok(())
}

/// The command that goes on after `cursor`, with what is left to be told.
fn goes_on(arguments: &Get, cursor: Cursor, left: u64) -> String {
    let mut added = vec!["--cursor".to_owned(), cursor.into()];
    if !arguments.all {
        added.extend(["--limit".to_owned(), left.to_string()]);
    }
    // An age counts from now: the command may be run much later.
    added.extend(limits_in_time(arguments.filter.since, arguments.filter.until));
    again(&[("--cursor", true), ("--limit", true), ("--since", true), ("--until", true)], &added)
}

/// Limits in time as options.
pub(crate) fn limits_in_time(since: Option<Time>, until: Option<Time>) -> impl Iterator<Item = String> {
    let limits = [("--since", since), ("--until", until)];
    limits.into_iter().filter_map(|(option, time)| Some([option.to_owned(), time?.to_string()])).flatten()
}

fn why_none(arguments: &Get) -> &'static str {
    match (arguments.cursor, arguments.filter.is_empty()) {
        (Some(_), _) => "no more entries",
        (None, true) => "the store is empty",
        (None, false) => "no entry matches the filters",
    }
}

/// Says that there are more than were asked for, if there are.
async fn tell_of_more(transports: &Transports, query: Query, cursor: Cursor) {
    // What comes after may be entries that meet no condition.
    let are = match page(transports, &Query { limit: 1, ..query }).await {
        Ok(page) if page.entries.is_empty() && page.next.is_none() => return,
        Ok(page) if !page.entries.is_empty() => "are",
        // It was searched for a while, or could not be.
        Ok(_) | Err(_) => "may be",
    };
    let cursor = String::from(cursor);
    say!("there {are} more: use --all for all of them, or --cursor {cursor} to resume after these");
}

async fn page(transports: &Transports, query: &Query) -> Result<Page, Failure> {
    read(transports, &format!("/logs?{}", query.to_query_string())).await
}

async fn read<T: DeserializeOwned>(transports: &Transports, path_and_query: &str) -> Result<T, Failure> {
    let (status, body) = transports.read(path_and_query).await?;
    let foreign = || {
        let message = format!("not a Fourwire logger: it responded with status {status} and an unknown body");
        Failure::new(Code::Unavailable, message)
    };
    if status == 200 {
        let envelope: Option<Envelope<T>> = serde_json::from_slice(&body).ok();
        return envelope.and_then(|envelope| envelope.data).ok_or_else(foreign);
    }
    let refusal: Option<Envelope<FailureData>> = serde_json::from_slice(&body).ok();
    let Some(Envelope { message, data: Some(data), .. }) = refusal else { return Err(foreign()) };
    Err(Failure::heard(data.code, message).about_reading())
}

fn failed(failure: Failure) -> Problem {
    Problem::Failed(failure, place(Transport::Http))
}
