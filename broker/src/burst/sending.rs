//! The entries of a burst over one transport: sent by several tasks, measured, and looked for where they are queued.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use proto::{
    BatchMode, EntryDraft, Failure, LogEntry, Page, Promise, Transport,
    json::{Envelope, WireBytes},
    limits::PAGE_ENTRIES,
};
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use crate::{
    App,
    bursts::{Burst, DRAINING, SENDING},
    tally::{Measured, Tally},
};

/// How often it is looked whether what was queued is stored.
const LOOKING: Duration = Duration::from_millis(50);

/// How far the logger's clock may be behind the broker's: its entries are looked for from then on.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// The name of its entries.
const NAME: &str = "burst";

/// The entries over one transport.
pub(super) struct Sending {
    transport: Transport,
    /// What its entries have in their text, and no others.
    tag: String,
    begun: Instant,
    since: Timestamp,
    bytes_before: WireBytes,
    shared: Arc<Shared>,
    workers: JoinSet<()>,
    took: Option<Duration>,
}

struct Shared {
    left: AtomicU32,
    tally: Mutex<Tally>,
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

impl Sending {
    pub(super) fn begin(app: &Arc<App>, transport: Transport, burst: &Burst) -> Self {
        let tag = Uuid::now_v7().simple().to_string();
        let bytes_before = app.transports.wire_bytes(transport);
        let shared = Arc::new(Shared { left: AtomicU32::new(burst.entries), tally: Mutex::default() });
        let mut workers = JoinSet::new();
        let since = Timestamp::now().checked_sub(SKEW).unwrap_or(Timestamp::UNIX_EPOCH);
        let begun = Instant::now();
        for _ in 0..burst.concurrency.min(burst.entries) {
            let (app, shared, tag) = (Arc::clone(app), Arc::clone(&shared), tag.clone());
            workers.spawn(async move {
                while begun.elapsed() < SENDING && !app.shutdown.has_begun() && shared.take() {
                    send_one(&app, transport, &shared, &tag).await;
                }
            });
        }
        Sending { transport, tag, begun, since, bytes_before, shared, workers, took: None }
    }

    pub(super) fn progress(&self) -> impl Serialize + use<> {
        self.shared.tally().progress(self.transport, self.begun.elapsed())
    }

    /// Waits for a while; says whether all are answered.
    pub(super) async fn is_done_within(&mut self, while_: Duration) -> bool {
        let done = async { while self.workers.join_next().await.is_some() {} };
        let done = timeout(while_, done).await.is_ok();
        if done {
            self.took.get_or_insert_with(|| self.begun.elapsed());
        }
        done
    }

    pub(super) async fn measured(&self, app: &App) -> Measured {
        let (before, now) = (self.bytes_before, app.transports.wire_bytes(self.transport));
        let bytes = WireBytes { sent: now.sent - before.sent, received: now.received - before.received };
        let tally = std::mem::take(&mut *self.shared.tally());
        let stored = match self.transport.promise() {
            Promise::Stored => None,
            Promise::Queued => Some(self.stored(app, tally.accepted()).await),
        };
        tally.measured(self.transport, self.took.unwrap_or_default(), bytes, stored)
    }

    /// Waits until as many are stored as were accepted, or for long enough; says how long each took from created to
    /// stored, by the clocks of broker and logger.
    async fn stored(&self, app: &App, accepted: usize) -> Vec<u64> {
        let begun = Instant::now();
        loop {
            let stored = self.look(app, accepted).await;
            let late = begun.elapsed() >= DRAINING || app.shutdown.has_begun();
            if stored.len() >= accepted || late {
                return stored.into_iter().map(|(_, us)| us).collect();
            }
            sleep(LOOKING).await;
        }
    }

    /// What is stored of them now, as far as the logger says. An entry is told once, on whichever page it was.
    async fn look(&self, app: &App, accepted: usize) -> BTreeSet<(Uuid, u64)> {
        let Sending { tag, since, .. } = self;
        let first = format!("/logs?name={NAME}&contains={tag}&since={since}&limit={PAGE_ENTRIES}");
        let (mut stored, mut path) = (BTreeSet::new(), first.clone());
        while stored.len() < accepted {
            let Ok((200, body)) = app.transports.read(&path).await else { break };
            let page: Option<Envelope<Page>> = serde_json::from_slice(&body).ok();
            let Some(page) = page.and_then(|page| page.data) else { break };
            stored.extend(page.entries.iter().map(|entry| {
                let (created, stored) = (entry.created_at.as_microsecond(), entry.stored_at.as_microsecond());
                (entry.id, u64::try_from(stored - created).unwrap_or_default())
            }));
            let Some(next) = page.next else { break };
            path = format!("{first}&cursor={}", String::from(next));
        }
        stored
    }
}

async fn send_one(app: &App, transport: Transport, shared: &Shared, tag: &str) {
    shared.tally().send();
    let begun = Instant::now();
    let answer = match entry(tag) {
        Ok(entry) => app.transports.write(transport, entry.into(), BatchMode::AllOrNone).await,
        Err(failure) => Err(failure),
    };
    let took = begun.elapsed();
    let answer = answer.and_then(transport::Delivered::outcomes).map(|outcomes| *outcomes.first());
    shared.tally().answer(answer.as_ref().copied(), took);
}

fn entry(tag: &str) -> Result<LogEntry, Failure> {
    let draft =
        EntryDraft { name: NAME.into(), data: format!("one of burst {tag}"), ..EntryDraft::default() };
    draft.check(Timestamp::now())
}
