//! `POST /burst`: many entries over each transport, one transport after the other, sent and measured by the broker itself.
//!
//! A browser would measure itself: its timer is coarse, and it opens six connections at most.

mod sending;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Request, State},
    response::{IntoResponse, Response, Sse, sse::Event},
};
use futures_util::{Stream, stream};
use proto::{
    Code, Failure, Transport,
    json::{Envelope, FailureData},
};
use serde::Serialize;
use service::{Client, Held};
use tokio::{sync::OwnedSemaphorePermit, time::sleep};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use self::sending::Sending;
use crate::{
    App,
    answer::Refusal,
    bursts::{Burst, BurstBody, WHOLE},
    handle::about_body,
};

/// How often it is said how far a transport is.
const TELLING: Duration = Duration::from_millis(100);

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
