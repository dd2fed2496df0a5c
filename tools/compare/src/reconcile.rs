//! Reads back what the store holds, over the logger's HTTP, and verifies every entry that was sent against it.
//!
//! The ledger is filled when a load has ended: while it runs, the generator notes what it needs for its own figures.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;
use proto::{Level, StoredEntry};
use rig::{
    Client, Ledger, Verdict,
    ledger::{Content, Reconciliation},
};

use crate::{
    cell::Latencies,
    load::{Load, Seen},
    workload::Ending,
};

/// The store's order is that of its commits, which its stamps follow as closely as this.
const SLACK: Duration = Duration::from_millis(50);

/// How long what was queued may take to be stored, and how often it is looked for.
pub(crate) const DRAIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// What the store says of a load.
#[derive(Debug, Default)]
pub struct Found {
    /// Every entry verified against it.
    pub kept: Verdict,
    /// From due to stored, of what is stored.
    pub stored: Latencies,
    /// From the start of the load to the last entry stored.
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

/// Verifies a load against the store once all that was accepted is there, or a minute is over.
///
/// # Errors
/// If the logger does not answer.
pub async fn settled(logger: &Client, load: &Load, place: Place, seen: &Seen) -> anyhow::Result<Found> {
    let deadline = Instant::now() + DRAIN;
    loop {
        let found = reconcile(logger, &load.name, place, seen).await?;
        if found.kept.lost == 0 || Instant::now() > deadline {
            return Ok(found);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Verifies a load against the store.
///
/// # Errors
/// As [`settled`].
pub async fn reconcile(logger: &Client, name: &str, place: Place, seen: &Seen) -> anyhow::Result<Found> {
    let begun_at = seen.begun_at.context("a load that never began")?;
    let since = match place {
        Place::Newest => Some(begun_at),
        Place::Anywhere => None,
    };
    let (ledger, positions) = ledger(name, seen);
    let mut reconciliation = ledger.reconcile();
    let mut found = Found::default();
    let page_of = |page: Vec<StoredEntry>| {
        for row in page {
            if row.name == name {
                found.row(
                    &row,
                    &mut reconciliation,
                    |at| seen.samples[positions[at] / seen.batch()].due,
                    begun_at,
                );
            } else if since.is_some_and(|since| SystemTime::from(row.stored_at) + SLACK < since) {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    };
    logger.each_page(page_of).await.context("reading back")?;
    found.kept = reconciliation.verdict();
    Ok(found)
}

impl Found {
    fn row(
        &mut self,
        row: &StoredEntry,
        reconciliation: &mut Reconciliation,
        due: impl Fn(usize) -> Duration,
        begun_at: SystemTime,
    ) {
        if let Some(at) = reconciliation.found(row) {
            let stored_at = SystemTime::from(row.stored_at).duration_since(begun_at).unwrap_or_default();
            self.stored.add(stored_at.saturating_sub(due(at)));
            self.storing = self.storing.max(stored_at);
        }
    }
}

/// What a load has sent, and the position of each attempt among all its ids.
fn ledger(name: &str, seen: &Seen) -> (Ledger, Vec<usize>) {
    let contents: Vec<Content> =
        seen.texts.iter().map(|text| Content::of(name, text, Level::default())).collect();
    let (mut ledger, mut positions) = (Ledger::default(), Vec::with_capacity(seen.ids.len()));
    // What was only echoed is never looked for.
    let Some(transport) = seen.transport else { return (ledger, positions) };
    for (position, id) in seen.ids.iter().enumerate() {
        let sample = &seen.samples[position / seen.batch()];
        if sample.ending != Ending::Unsent {
            let place = ledger.sending(*id, contents[position % seen.batch()], transport);
            ledger.answered(place, sample.ending.fate(), sample.latency());
            positions.push(position);
        }
    }
    (ledger, positions)
}
