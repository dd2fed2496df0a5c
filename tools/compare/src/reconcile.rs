//! Reads back what the store holds, over the logger's HTTP, and holds every entry that was sent against it.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, bail, ensure};
use proto::{Page, StoredEntry, json::Envelope};
use uuid::Uuid;

use crate::{
    cell::{Kept, Latencies},
    load::{Ending, Load, Seen},
};

/// How long a page may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The store's order is that of its commits, which its stamps follow as closely as this.
const SLACK: Duration = Duration::from_millis(50);

/// How long what was queued may take to be stored, and how often it is looked for.
pub(crate) const DRAIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// What the store says of a load.
#[derive(Debug, Default)]
pub struct Found {
    /// Every entry held against it.
    pub kept: Kept,
    /// From due to stored, of what is stored.
    pub stored: Latencies,
    /// From the begin of the load to the last entry stored.
    pub storing: Duration,
}

/// Where the entries of a load are to be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// They are among the newest: one that was stored before the load began is the end.
    Newest,
    /// Others were stored meanwhile.
    Anywhere,
}

/// Hands over all entries that have this name, newest first; with `since`, until the first that was stored before.
///
/// # Errors
/// If the logger does not answer.
pub fn each_entry(
    logger: SocketAddr,
    name: &str,
    since: Option<SystemTime>,
    mut entry_of: impl FnMut(StoredEntry),
) -> anyhow::Result<()> {
    let mut path = "/logs?limit=1000".to_owned();
    loop {
        let body = get(logger, &path).with_context(|| format!("reading back from {logger}"))?;
        let envelope: Envelope<Page> = serde_json::from_slice(&body).context("the logger's page")?;
        let page = envelope.data.context("a page without data")?;
        for entry in page.entries {
            if entry.name == name {
                entry_of(entry);
            } else if since.is_some_and(|since| SystemTime::from(entry.stored_at) + SLACK < since) {
                return Ok(());
            }
        }
        let Some(next) = page.next else { return Ok(()) };
        path = format!("/logs?limit=1000&cursor={}", String::from(next));
    }
}

/// Holds a load against the store once all that was accepted is there, or a minute is over.
///
/// # Errors
/// As [`each_entry`].
pub async fn settled(logger: SocketAddr, load: &Load, place: Place, seen: &Seen) -> anyhow::Result<Found> {
    let deadline = Instant::now() + DRAIN;
    loop {
        let found = reconcile(logger, &load.name, place, seen)?;
        if found.kept.lost == 0 || Instant::now() > deadline {
            return Ok(found);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Holds a load against the store.
///
/// # Errors
/// As [`each_entry`].
pub fn reconcile(logger: SocketAddr, name: &str, place: Place, seen: &Seen) -> anyhow::Result<Found> {
    let begun_at = seen.begun_at.context("a load that never began")?;
    // Where an id stands among all of them, and whether it was found.
    let mut sent: HashMap<Uuid, (usize, bool)> = HashMap::with_capacity(seen.ids.len());
    for (position, id) in seen.ids.iter().enumerate() {
        if seen.samples[position / seen.batch()].ending != Ending::Unsent {
            sent.insert(*id, (position, false));
        }
    }
    let mut found = Found::default();
    let since = match place {
        Place::Newest => Some(begun_at),
        Place::Anywhere => None,
    };
    each_entry(logger, name, since, |entry| {
        let Some((position, there)) = sent.get_mut(&entry.id) else {
            found.kept.phantom += 1;
            return;
        };
        let sample = &seen.samples[*position / seen.batch()];
        let altered = entry.data != seen.texts[*position % seen.batch()];
        if *there || altered || Some(entry.transport) != seen.transport {
            found.kept.wrong += 1;
            return;
        }
        *there = true;
        if !sample.ending.may_be_stored() {
            found.kept.phantom += 1;
        } else if sample.ending == Ending::Accepted {
            found.kept.stored += 1;
        } else {
            found.kept.unknown_but_stored += 1;
        }
        let stored_at = SystemTime::from(entry.stored_at).duration_since(begun_at).unwrap_or_default();
        found.stored.add(stored_at.saturating_sub(sample.due));
        found.storing = found.storing.max(stored_at);
    })?;
    let accepted = |position: usize| seen.samples[position / seen.batch()].ending == Ending::Accepted;
    let lost = sent.values().filter(|(position, there)| !there && accepted(*position));
    found.kept.lost = lost.count() as u64;
    Ok(found)
}

/// `GET`, on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(begin) = head.parse(&answer)? else { bail!("half an answer") };
    ensure!(head.code == Some(200), "{path} was answered {}", head.code.unwrap_or_default());
    answer.drain(..begin);
    Ok(answer)
}
