//! `fourwire get`: stored entries, one by its id, or page by page.

use form_urlencoded::Serializer;
use proto::{
    Certainty, Code, Cursor, Failure, Page, StoredEntry, Transport,
    json::{Envelope, FailureData},
    limits::PAGE_ENTRIES,
    parse_entry_id,
};
use serde::de::DeserializeOwned;
use transport::Transports;

use crate::{
    Ending,
    again::again,
    config::{Filter, Get, Stack, place},
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
        .map_err(|_| Problem::Usage(anyhow::anyhow!("{id:?} is not the id of an entry")))?;
    let entry: StoredEntry = read(transports, &format!("/logs/{id}")).await.map_err(failed)?;
    if json {
        put(&json_line(&entry))?;
        return Ok(());
    }
    let StoredEntry { id, name, data, level, created_at, stored_at, transport, attempts } = &entry;
    let rows = [
        ("id", id.to_string()),
        ("name", escape(name).to_string()),
        ("level", level.to_string()),
        ("created at", created_at.to_string()),
        ("stored at", stored_at.to_string()),
        ("came by", transport.to_string()),
        ("written", if *attempts == 1 { "once".to_owned() } else { format!("{attempts} times") }),
        ("data", escape(data).to_string()),
    ];
    for (name, value) in rows {
        put(&format!("{name:<11} {value}"))?;
    }
    Ok(())
}

async fn many(transports: &Transports, arguments: &Get) -> Result<(), Problem> {
    let filter = &arguments.filter;
    filter.check()?;
    let most = if arguments.all { u64::MAX } else { arguments.limit };
    let (mut told, mut cursor) = (0, arguments.cursor);
    while told < most {
        let page = page(transports, filter, most - told, cursor).await.map_err(|failure| {
            if let (Some(cursor), true) = (cursor, failure.certainty() != Certainty::Rejected) {
                say!("broken off; go on with: {}", goes_on(arguments, cursor, most - told));
            }
            failed(failure)
        })?;
        for entry in &page.entries {
            put(&if arguments.json { json_line(entry) } else { entry_line(entry) })?;
        }
        told += page.entries.len() as u64;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    match cursor {
        None if told == 0 => say!("{}", why_none(arguments)),
        None => {}
        Some(cursor) => tell_of_more(transports, filter, cursor).await,
    }
    Ok(())
}

/// The command that goes on after `cursor`, with what is left to be told.
fn goes_on(arguments: &Get, cursor: Cursor, left: u64) -> String {
    let mut added = vec!["--cursor".to_owned(), cursor.into()];
    if !arguments.all {
        added.extend(["--limit".to_owned(), left.to_string()]);
    }
    again(&[("--cursor", true), ("--limit", true)], &added)
}

fn why_none(arguments: &Get) -> &'static str {
    match (arguments.cursor, arguments.filter.is_empty()) {
        (Some(_), _) => "there are no more entries",
        (None, true) => "no entry is stored yet",
        (None, false) => "no entry meets the conditions",
    }
}

/// Says that there are more than were asked for, if there are.
async fn tell_of_more(transports: &Transports, filter: &Filter, cursor: Cursor) {
    // What comes after may be entries that meet no condition.
    let are = match page(transports, filter, 1, Some(cursor)).await {
        Ok(page) if page.entries.is_empty() && page.next.is_none() => return,
        Ok(page) if !page.entries.is_empty() => "are",
        // It was searched for a while, or could not be.
        Ok(_) | Err(_) => "may be",
    };
    let cursor = String::from(cursor);
    say!("there {are} more: --all in place of --limit prints all, and --cursor {cursor} goes on after these");
}

async fn page(
    transports: &Transports,
    filter: &Filter,
    most: u64,
    cursor: Option<Cursor>,
) -> Result<Page, Failure> {
    read(transports, &path(filter, most, cursor)).await
}

fn path(filter: &Filter, most: u64, cursor: Option<Cursor>) -> String {
    let Filter { name, level, transport, since, until, contains } = filter;
    let mut query = Serializer::new(String::new());
    query.append_pair("limit", &most.min(PAGE_ENTRIES as u64).to_string());
    let (since, until) = (since.map(|time| time.to_string()), until.map(|time| time.to_string()));
    let cursor = cursor.map(String::from);
    let pairs = [
        ("name", name.as_deref()),
        ("level", level.map(|level| level.as_str())),
        ("transport", transport.map(|transport| transport.as_str())),
        ("since", since.as_deref()),
        ("until", until.as_deref()),
        ("contains", contains.as_deref()),
        ("cursor", cursor.as_deref()),
    ];
    for (parameter, value) in pairs {
        query.extend_pairs(value.map(|value| (parameter, value)));
    }
    format!("/logs?{}", query.finish())
}

async fn read<T: DeserializeOwned>(transports: &Transports, path_and_query: &str) -> Result<T, Failure> {
    let (status, body) = transports.read(path_and_query).await?;
    let foreign = || {
        let message =
            format!("what answers there is not Fourwire's logger: status {status} with another body");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_encoded_for_an_address() {
        let filter = Filter {
            name: Some("a b&c=d".into()),
            level: None,
            transport: Some(Transport::Rpc),
            since: Some("2026-01-31T12:00:00+01:00".parse().expect("a time")),
            until: None,
            contains: Some("ж%".into()),
        };
        let expected = "/logs?limit=1000&name=a+b%26c%3Dd&transport=rpc&since=2026-01-31T11%3A00%3A00Z\
                        &contains=%D0%B6%25&cursor=7";
        assert_eq!(path(&filter, 5_000, Some(Cursor::after(7))), expected);
    }
}
