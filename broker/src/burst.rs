//! `POST /burst`: many entries over each transport, one transport after the other, sent and measured by the broker itself.
//!
//! A browser would measure itself: its timer is coarse, and it opens six connections at most.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Extension,
    extract::{Request, State},
    response::{IntoResponse, Response, Sse, sse::Event},
};
use futures_util::{Stream, stream};
use jiff::{SignedDuration, Timestamp};
use proto::{
    BatchMode, Code, EntryDraft, Failure, LogEntry, Page, Promise, Transport,
    json::{Envelope, FailureData, WireBytes},
    limits::PAGE_ENTRIES,
};
use serde::Serialize;
use service::{Client, Held};
use tokio::{
    sync::OwnedSemaphorePermit,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::{
    App,
    answer::Refusal,
    bursts::{Burst, BurstBody, DRAINING, SENDING, WHOLE},
    handle::about_body,
    tally::{Measured, Tally},
};

/// How often it is said how far a transport is.
const TELLING: Duration = Duration::from_millis(100);

/// How often it is looked whether what was queued is stored.
const LOOKING: Duration = Duration::from_millis(50);

/// How far the logger's clock may be behind the broker's: its entries are looked for from then on.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// The name of its entries.
const NAME: &str = "burst";

/// Sends many entries over each transport, one transport after the other in random order, and measures them in the broker.
///
/// Events: `begun`, with the `transports` in their order; `progress` of a transport, ten times a second; `measured`, what it
/// came to; `ended`, with `why`: `done`, or `draining` where the broker shuts down. One burst runs at a time, and entries
/// are sent for at most 10 s over each transport. A client that hangs up ends it. Without API keys it is for clients on the
/// broker's own machine, unless `BROKER_BURSTS=all`. The entries are stored like others, with the name `burst`.
#[utoipa::path(
    post, path = "/burst", request_body = BurstBody,
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "Events, until it is done"),
        (status = 400, body = Envelope<FailureData>, description = "Rejected: fix the request"),
        (status = 401, body = Envelope<FailureData>, description = "No API key, or an unknown one, where keys are required"),
        (status = 403, body = Envelope<FailureData>, description = "The key lacks the scope `write`; without keys, the client is on another machine; or the origin of the page is not allowed"),
        (status = 408, body = Envelope<FailureData>, description = "The body did not arrive in time"),
        (status = 413, body = Envelope<FailureData>, description = "The body is too large"),
        (status = 415, body = Envelope<FailureData>, description = "The body has a Content-Encoding such as gzip: send it without one"),
        (status = 429, body = Envelope<FailureData>, description = "Rate limit of the key exceeded: retry later"),
        (status = 503, body = Envelope<FailureData>, description = "Another burst is running, or the broker is shutting down: retry later"),
    )
)]
pub async fn burst(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Result<Response, Refusal> {
    if !app.asks_for_keys && !app.bursters.include(client.peer()) {
        let message = "without API keys a burst is for clients on the broker's own machine: set BROKER_KEYS_FILE, or \
            BROKER_BURSTS=all";
        return Err(Failure::new(Code::Forbidden, message).into());
    }
    let burst = Burst::parse(&Held::read(request).await.map_err(about_body)?)?;
    if app.shutdown.has_begun() {
        return Err(Failure::draining("the broker").into());
    }
    let runs = app.bursts.begin()?;
    let run = Run {
        order: shuffled(burst.transports.clone()),
        burst,
        app,
        step: Step::Begin,
        _cut_off: AbortOnDropHandle::new(tokio::spawn(cut_off(client))),
        _runs: runs,
    };
    Ok(Sse::new(run.events()).into_response())
}

/// For a reader that takes nothing, so that its burst cannot end by itself.
async fn cut_off(client: Client) {
    sleep(WHOLE).await;
    client.end();
}

/// What runs first has a colder machine: nobody shall always be it.
fn shuffled(mut transports: Vec<Transport>) -> Vec<Transport> {
    // The last bits of an id are as random as others.
    transports.sort_by_cached_key(|_| Uuid::now_v7().as_u128() as u32);
    transports
}

/// A burst under way. Dropped, it sends no more.
struct Run {
    app: Arc<App>,
    burst: Burst,
    /// What is left.
    order: Vec<Transport>,
    step: Step,
    _cut_off: AbortOnDropHandle<()>,
    _runs: OwnedSemaphorePermit,
}

enum Step {
    Begin,
    Next,
    Over(Box<Sending>),
    End,
}

impl Run {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        stream::unfold(self, |mut run| async {
            let event = run.next().await?;
            Some((Ok(event), run))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        match std::mem::replace(&mut self.step, Step::End) {
            Step::Begin => {
                self.step = Step::Next;
                let Burst { entries, concurrency, .. } = self.burst;
                let begun = serde_json::json!({
                    "transports": self.order, "entries": entries, "concurrency": concurrency,
                });
                Some(named("begun", &begun))
            }
            Step::Next if self.app.shutdown.has_begun() => Some(ended("draining")),
            Step::Next if self.order.is_empty() => Some(ended("done")),
            Step::Next => {
                let sending = Box::new(Sending::begin(&self.app, self.order.remove(0), &self.burst));
                let told = named("progress", &sending.progress());
                self.step = Step::Over(sending);
                Some(told)
            }
            Step::Over(mut sending) => {
                if !sending.is_done_within(TELLING).await {
                    let told = named("progress", &sending.progress());
                    self.step = Step::Over(sending);
                    return Some(told);
                }
                let measured = sending.measured(&self.app).await;
                self.step = Step::Next;
                Some(named("measured", &measured))
            }
            Step::End => None,
        }
    }
}

fn ended(why: &str) -> Event {
    named("ended", &serde_json::json!({ "why": why }))
}

fn named(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).json_data(data).unwrap_or_else(|_| unreachable!("it has a JSON form"))
}

/// The entries over one transport.
struct Sending {
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
    fn begin(app: &Arc<App>, transport: Transport, burst: &Burst) -> Self {
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

    fn progress(&self) -> impl Serialize + use<> {
        self.shared.tally().progress(self.transport, self.begun.elapsed())
    }

    /// Waits for a while; says whether all are answered.
    async fn is_done_within(&mut self, while_: Duration) -> bool {
        let done = async { while self.workers.join_next().await.is_some() {} };
        let done = timeout(while_, done).await.is_ok();
        if done {
            self.took.get_or_insert_with(|| self.begun.elapsed());
        }
        done
    }

    async fn measured(&self, app: &App) -> Measured {
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
