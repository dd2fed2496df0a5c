//! `fourwire get`: stored entries, one by its id, or page by page.

use bytes::Bytes;
use form_urlencoded::Serializer;
use proto::{
    Code, Cursor, Failure, Page, StoredEntry, Transport,
    json::{Envelope, FailureData},
    limits::PAGE_ENTRIES,
    parse_entry_id,
};
use serde::de::DeserializeOwned;
use transport::Transports;

use crate::{
    Ending,
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
    arguments.filter.check()?;
    let mut left = if arguments.all { u64::MAX } else { arguments.limit };
    let mut cursor = arguments.cursor.clone();
    while left > 0 {
        let page: Page = match read(transports, &path(&arguments.filter, left, cursor.as_deref())).await {
            Ok(page) => page,
            Err(failure) => {
                if let Some(cursor) = cursor {
                    eprintln!("broken off: add --cursor {} to the same command to go on", escape(&cursor));
                }
                return Err(failed(failure));
            }
        };
        for entry in &page.entries {
            put(&if arguments.json { json_line(entry) } else { entry_line(entry) })?;
        }
        left -= page.entries.len() as u64;
        let Some(next) = page.next else { break };
        cursor = Some(Cursor::into(next));
    }
    Ok(())
}

fn path(filter: &Filter, left: u64, cursor: Option<&str>) -> String {
    let Filter { name, level, transport, since, until, contains } = filter;
    let mut query = Serializer::new(String::new());
    query.append_pair("limit", &left.min(PAGE_ENTRIES as u64).to_string());
    let pairs = [
        ("name", name.as_deref()),
        ("level", level.map(|level| level.as_str())),
        ("transport", transport.map(|transport| transport.as_str())),
        ("since", since.as_deref()),
        ("until", until.as_deref()),
        ("contains", contains.as_deref()),
        ("cursor", cursor),
    ];
    for (parameter, value) in pairs {
        query.extend_pairs(value.map(|value| (parameter, value)));
    }
    format!("/logs?{}", query.finish())
}

async fn read<T: DeserializeOwned>(transports: &Transports, path_and_query: &str) -> Result<T, Failure> {
    let (status, body) = transports.read(path_and_query).await?;
    if status == 200 {
        return data(&body);
    }
    let envelope: Envelope<FailureData> = serde_json::from_slice(&body).map_err(foreign)?;
    let code = envelope.data.map_or(Code::Unavailable, |data| data.code);
    Err(Failure::new(code, envelope.message))
}

fn data<T: DeserializeOwned>(body: &Bytes) -> Result<T, Failure> {
    let envelope: Envelope<T> = serde_json::from_slice(body).map_err(foreign)?;
    envelope.data.ok_or_else(|| foreign("an answer without data"))
}

fn foreign(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(Code::Unavailable, "what answers there is not Fourwire's logger").because(cause)
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
            since: Some("2026-01-31T12:00:00+01:00".into()),
            until: None,
            contains: Some("ж%".into()),
        };
        let expected = "/logs?limit=1000&name=a+b%26c%3Dd&transport=rpc&since=2026-01-31T12%3A00%3A00%2B01%3A00\
                        &contains=%D0%B6%25&cursor=7";
        assert_eq!(path(&filter, 5_000, Some("7")), expected);
    }
}
