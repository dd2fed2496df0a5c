//! `GET /logs/stream`: entries as they are stored, as server-sent events.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use proto::{
    Code, Cursor, Failure, Filter, TailEvent, TailQuery,
    json::{Envelope, FailureData},
};
use serde_json::json;
use service::{Client, Place, Shutdown};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use transport::grpc::{Tail, Tailed};

use crate::{App, answer::Refusal, keys::Caller, tails::Reader};

/// How often a silent stream says that it is alive: within what proxies wait. A reader that has gone is noticed by it: the
/// first after that draws a reset, and the next fails.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// How long a stream that is given up may take to say so to its reader.
const LAST_WORD: Duration = Duration::from_secs(1);

/// When a browser should come again after the stream has ended.
const RETRY: Duration = Duration::from_secs(1);

/// Streams entries as they are stored, one event each. All filters must match. Without `after` the stream begins at
/// `since`, and it ends at `until`.
///
/// Events: `entry`, as in `/logs`; `missed`, with the `count` of entries that were deleted, or skipped for `max_lag`;
/// `state`, with `connected`: whether the logger is reachable (while it is not, the stream waits, and then resumes);
/// `refused`, the last one, if the stream cannot continue. The `id` of an event is the cursor to resume from, as
/// `Last-Event-ID` or `after`.
///
/// Once `until` has passed and nothing is left to send, the response is 204: a browser's `EventSource`, which reconnects
/// after the end of every stream, stops at it.
#[utoipa::path(
    get, path = "/logs/stream",
    params(
        Filter,
        TailQuery,
        (
            "Last-Event-ID" = Option<String>, Header, pattern = "^(0|[1-9][0-9]{0,17})?$",
            description = "As `after`, which it overrides: a browser sends it when it reconnects. Ignored if empty",
        ),
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "Events, endless unless `until` is given"),
        (status = 204, description = "`until` has passed, and nothing is left to send, now or later"),
        (status = 400, body = Envelope<FailureData>, description = "A parameter is unknown or out of its limits"),
        (status = 401, body = Envelope<FailureData>, description = "No API key, or an unknown one, where keys are required"),
        (status = 403, body = Envelope<FailureData>, description = "The key lacks the scope `read`, or the origin of the page is not allowed"),
        (status = 429, body = Envelope<FailureData>, description = "Rate limit of the key exceeded: retry later"),
        (status = 503, body = Envelope<FailureData>, description = "The logger is unreachable, or too many streams are open"),
    )
)]
pub async fn follow(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let mut query = TailQuery::parse(query.as_deref())?;
    // Empty, it says that no event was seen.
    if let Some(last) = headers.get("last-event-id").filter(|last| !last.is_empty()) {
        // What is no text is no cursor either.
        query.resume_after(last.to_str().unwrap_or("?"))?;
    }
    // While the port is open, others are taken like any request; they only end sooner.
    let shutdown = app.shutdown.lingering();
    if shutdown.has_begun() {
        return Err(Failure::draining("the broker").about_reading().into());
    }
    let reader = match caller {
        Some(Extension(Caller(name))) => Reader::Name(name),
        None => Reader::Address(client.peer()),
    };
    let place = app.tails.places.take(reader);
    let place = place.ok_or_else(|| Failure::new(Code::Overloaded, "too many open streams: retry later"))?;
    let is_over = query.filter.until.is_some_and(|until| until <= proto::Time::now());
    let mut tail = app.tails.streams.tail(query);
    let mut found = VecDeque::new();
    // A client that opens a stream while the logger is down gets 503, as from the other endpoints.
    match tail.next().await {
        Some(Ok(Tailed::Lost(failure)) | Err(failure)) => return Err(failure.into()),
        Some(told @ Ok(Tailed::Event(..))) => found.push_back(told),
        None => return Ok(StatusCode::NO_CONTENT.into_response()),
    }
    if is_over {
        // What follows is there already. A long search says every ten seconds how far it is.
        let next = tokio::select! {
            () = shutdown.begun() => return Err(Failure::draining("the broker").about_reading().into()),
            next = tail.next() => next,
        };
        let Some(told) = next else { return Ok(StatusCode::NO_CONTENT.into_response()) };
        found.push_back(told);
    }
    let given_up = place.given_up();
    let follower = Follower {
        tail,
        shutdown,
        begun: false,
        connected: false,
        found,
        ended: false,
        given_up: given_up.clone(),
        _cut_off: AbortOnDropHandle::new(tokio::spawn(cut_off(client, given_up))),
        _place: place,
    };
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(follower.events()).keep_alive(keep_alive).into_response())
}

/// One stream.
struct Follower {
    tail: Tail,
    shutdown: Shutdown,
    /// Whether anything was told.
    begun: bool,
    /// What was told last of the logger.
    connected: bool,
    /// What was found before the answer began.
    found: VecDeque<Result<Tailed, Failure>>,
    /// The last word was said.
    ended: bool,
    given_up: CancellationToken,
    /// For a reader that takes nothing, so that its stream cannot end by itself.
    _cut_off: AbortOnDropHandle<()>,
    _place: Place<Reader>,
}

async fn cut_off(client: Client, given_up: CancellationToken) {
    given_up.cancelled().await;
    tokio::time::sleep(LAST_WORD).await;
    client.end();
}

impl Follower {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        stream::unfold(self, |mut follower| async {
            let event = follower.next().await?;
            Some((Ok(event), follower))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        let tailed = match self.found.pop_front() {
            Some(tailed) => tailed,
            None if self.ended => return None,
            None => tokio::select! {
                // A browser comes again by itself, to the next broker.
                () = self.shutdown.begun() => return None,
                () = self.given_up.cancelled() => {
                    let message = "too many open streams, most of them yours: close some";
                    Err(Failure::new(Code::Overloaded, message))
                }
                tailed = self.tail.next() => tailed?,
            },
        };
        self.ended = tailed.is_err();
        let event = self.event(tailed);
        Some(if std::mem::replace(&mut self.begun, true) { event } else { event.retry(RETRY) })
    }

    fn event(&mut self, tailed: Result<Tailed, Failure>) -> Event {
        match tailed {
            Ok(Tailed::Event(event, cursor)) => self.told(event, cursor),
            Ok(Tailed::Lost(failure)) => {
                self.connected = false;
                let message = failure.into_message();
                named("state", &json!({ "connected": false, "message": message }))
            }
            Err(failure) => named("refused", &json!({ "code": failure.code, "message": failure.message() })),
        }
    }

    fn told(&mut self, event: TailEvent, cursor: Cursor) -> Event {
        let was_connected = std::mem::replace(&mut self.connected, true);
        let event = match event {
            TailEvent::Entry(entry) => Event::default()
                .event("entry")
                .json_data(entry)
                .unwrap_or_else(|_| unreachable!("an entry has a JSON form")),
            TailEvent::Missed(count) => named("missed", &json!({ "count": count })),
            TailEvent::Reached if was_connected => Event::default(),
            TailEvent::Reached => named("state", &json!({ "connected": true })),
        };
        event.id(String::from(cursor))
    }
}

fn named(name: &str, data: &serde_json::Value) -> Event {
    Event::default().event(name).data(data.to_string())
}
