//! `POST /handle`: an entry, or a batch, on its way to the logger. Here the way of an entry begins.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    response::Response,
};
use futures_util::FutureExt;
use jiff::Timestamp;
use proto::{
    Batch, BatchMode, Code, Failure, LogEntry, Outcome, Transport,
    json::{
        Accepted, AcceptedBatch, AcceptedEntry, Action, Entries, Envelope, FailureData, GrpcHandleBody,
        Handle, HandleBody, Timing, WireBytes,
    },
    limits::BODY_BYTES,
};
use serde::Serialize;
use service::{BodyError, Held, traced};
use spans::attribute;
use tokio::time::timeout;
use utoipa::{IntoResponses, ToSchema};
use uuid::Uuid;

use crate::{
    App,
    answer::{Refusal, accepted, microseconds},
};

/// What both addresses answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it only describes")]
enum Answers {
    /// Stored, queued, or a duplicate
    #[response(status = 202)]
    Accepted(Envelope<AcceptedOneOrMany>),
    /// Rejected: fix the request
    #[response(status = 400)]
    Bad(Envelope<FailureData>),
    /// No API key, or an unknown one, where keys are required
    #[response(status = 401)]
    Unauthorized(Envelope<FailureData>),
    /// The key lacks the scope `write`, or the origin of the page is not allowed
    #[response(status = 403)]
    Forbidden(Envelope<FailureData>),
    /// The body did not arrive in time
    #[response(status = 408)]
    Slow(Envelope<FailureData>),
    /// The id is stored with other content
    #[response(status = 409)]
    Conflict(Envelope<FailureData>),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(Envelope<FailureData>),
    /// The body has a Content-Encoding such as gzip: send it without one
    #[response(status = 415)]
    Encoded(Envelope<FailureData>),
    /// Rate limit of the key exceeded: retry later
    #[response(status = 429)]
    TooOften(Envelope<FailureData>),
    /// Certainly not stored: another server is at the logger's address
    #[response(status = 502)]
    NoSuchCall(Envelope<FailureData>),
    /// Certainly not stored: retry
    #[response(status = 503)]
    NotStored(Envelope<FailureData>),
    /// It may or may not be stored: retry with the same id
    #[response(status = 504)]
    Unknown(Envelope<FailureData>),
}

/// Delivers an entry, or a batch, over the transport that the body names.
///
/// The body is read as JSON whatever its content type.
#[utoipa::path(
    post, path = "/handle", request_body = HandleBody,
    responses(Answers)
)]
pub async fn handle(State(app): State<Arc<App>>, request: Request) -> Response {
    let caller = traced::caller(request.headers());
    let answer = by_any(&app, request).map(|answer| counted(&app, answer));
    traced::beginning("POST /handle", caller, answer).await
}

async fn by_any(app: &App, request: Request) -> Result<Response, Refusal> {
    let (handle, begun) = read(request).await?;
    let transport = handle.transport.unwrap_or(app.default_transport);
    carry_out(app, handle, transport, begun).await
}

/// The course's endpoint for gRPC: as `/handle`, with the transport `grpc`.
#[utoipa::path(
    post, path = "/log-grpc", request_body = GrpcHandleBody,
    responses(Answers)
)]
pub async fn log_grpc(State(app): State<Arc<App>>, request: Request) -> Response {
    let caller = traced::caller(request.headers());
    let answer = by_grpc(&app, request).map(|answer| counted(&app, answer));
    traced::beginning("POST /log-grpc", caller, answer).await
}

async fn by_grpc(app: &App, request: Request) -> Result<Response, Refusal> {
    let (handle, begun) = read(request).await?;
    match handle.transport {
        None | Some(Transport::Grpc) => carry_out(app, handle, Transport::Grpc, begun).await,
        Some(Transport::Http | Transport::Rpc | Transport::Rabbitmq) => {
            let message = "this endpoint is for the transport grpc: omit `transport`, or post to /handle";
            Err(Failure::new(Code::UnknownTransport, message).into())
        }
    }
}

/// Counts a refusal, wherever it comes from; what is accepted is counted where its outcome is known.
fn counted(app: &App, answer: Result<Response, Refusal>) -> Result<Response, Refusal> {
    answer.inspect_err(|refusal| {
        let (transport, code) = refusal.label();
        app.requests.refused(transport, code);
    })
}

/// What the body says, and when it was there. Its room is given back: from here on the entries count.
async fn read(request: Request) -> Result<(Handle, Instant), Failure> {
    let body = Held::read(request).await.map_err(about_body)?;
    let begun = Instant::now();
    Ok((Handle::parse(&body, Timestamp::now())?, begun))
}

/// What a sender is told of a body that could not be read.
pub(crate) fn about_body(error: BodyError) -> Failure {
    match error {
        BodyError::TooLarge => {
            Failure::new(Code::TooLarge, format!("{error}: the limit is {BODY_BYTES} bytes"))
        }
        BodyError::TooSlow | BodyError::Broken => Failure::new(Code::SlowRequest, error.to_string()),
        BodyError::NoRoom => Failure::overloaded("the broker"),
        BodyError::Encoded(_) => Failure::new(Code::UnsupportedEncoding, error.to_string()),
    }
}

/// `data` of what was accepted: as the request, one or many.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum AcceptedOneOrMany {
    One(Accepted),
    Many(AcceptedBatch),
}

/// How the entries were sent, which is how they are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    One,
    Many,
}

impl Form {
    const fn of(entries: &Entries) -> Self {
        match entries {
            Entries::One(_) => Form::One,
            Entries::Batch(_) => Form::Many,
        }
    }
}

async fn carry_out(
    app: &App,
    handle: Handle,
    transport: Transport,
    begun: Instant,
) -> Result<Response, Refusal> {
    let Handle { action, entries, .. } = handle;
    let form = Form::of(&entries);
    let batch = Batch::from(entries);
    let ids = batch.map_each(LogEntry::id);
    spans::note(|| attribute::entries(*ids.first(), ids.len()));
    let delivered = match action {
        Action::Log => deliver(app, batch, transport).await,
        Action::Echo => Ok(Delivered::nothing(&ids)),
    };
    let took = begun.elapsed();
    app.requests.took(transport, took);
    let Delivered { outcomes, timing, wire_bytes } =
        delivered.map_err(|failure| Refusal::of(placed(failure, form, &ids), transport, ids.to_vec()))?;
    app.requests.accepted(transport, Outcome::best(outcomes.iter().copied().flatten()));
    let timing = Timing { total: microseconds(took), ..timing };
    Ok(answer(form, &ids, transport, &outcomes, (timing, wire_bytes)))
}

/// Names the entry of an array that a failure speaks of. Where there is one, it was sent as one alone, and the other end
/// named none.
fn placed(failure: Failure, form: Form, ids: &Batch<Uuid>) -> Failure {
    let alone = form == Form::Many && ids.as_one().is_some();
    if alone && failure.code.is_about_the_entry() { failure.at(0) } else { failure }
}

/// What became of the entries, in their order; `None` for those that were only echoed.
struct Delivered {
    outcomes: Batch<Option<Outcome>>,
    timing: Timing,
    wire_bytes: Option<WireBytes>,
}

impl Delivered {
    fn nothing(ids: &Batch<Uuid>) -> Self {
        Delivered { outcomes: ids.map_each(|_| None), timing: Timing::default(), wire_bytes: None }
    }
}

async fn deliver(app: &App, batch: Batch<LogEntry>, transport: Transport) -> Result<Delivered, Failure> {
    if app.shutdown.refuses_work() {
        return Err(Failure::draining("the broker"));
    }
    let delivered = app.transports.write(transport, batch, BatchMode::AllOrNone);
    let delivered = match app.time_left() {
        None => delivered.await?,
        Some(left) => {
            let late = |_| Err(Failure::unknown("the next service").because("the broker ends"));
            timeout(left, delivered).await.unwrap_or_else(late)?
        }
    };
    let (took, store, wire_bytes) = (microseconds(delivered.took), delivered.store_us, delivered.bytes);
    let outcomes = delivered.outcomes()?.map(Some);
    Ok(Delivered { outcomes, timing: Timing { total: 0, transport: Some(took), store }, wire_bytes })
}

fn answer(
    form: Form,
    ids: &Batch<Uuid>,
    transport: Transport,
    outcomes: &Batch<Option<Outcome>>,
    (timing_us, wire_bytes): (Timing, Option<WireBytes>),
) -> Response {
    let data = match form {
        Form::One => {
            let (id, outcome) = (*ids.first(), *outcomes.first());
            AcceptedOneOrMany::One(Accepted { id, transport, outcome, timing_us, wire_bytes })
        }
        Form::Many => {
            let entries = ids.iter().zip(outcomes.iter());
            let entries = entries.map(|(id, outcome)| AcceptedEntry { id: *id, outcome: *outcome }).collect();
            AcceptedOneOrMany::Many(AcceptedBatch { transport, entries, timing_us })
        }
    };
    accepted(message(transport, outcomes), data, timing_us)
}

/// A sentence such as `998 stored, 2 duplicate via grpc`.
fn message(transport: Transport, outcomes: &[Option<Outcome>]) -> String {
    let count = |outcome| outcomes.iter().filter(|own| **own == outcome).count();
    let told = [
        (count(Some(Outcome::Stored)), "stored"),
        (count(Some(Outcome::Queued)), "queued"),
        (count(Some(Outcome::Duplicate)), "duplicate"),
        (count(None), "echoed, not delivered"),
    ];
    let one = outcomes.len() == 1;
    let told = told.into_iter().filter(|(count, _)| *count > 0);
    let told = told.map(|(count, word)| if one { word.to_owned() } else { format!("{count} {word}") });
    format!("{} via {transport}", told.collect::<Vec<_>>().join(", "))
}
