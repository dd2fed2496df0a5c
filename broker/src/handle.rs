//! `POST /handle`: an entry, or a batch, on its way to the logger. Here the way of an entry begins.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    response::Response,
};
use futures_util::FutureExt;
use jiff::Timestamp;
use proto::{
    BatchMode, Code, Failure, Outcome, Transport,
    json::{
        Accepted, AcceptedBatch, AcceptedEntry, Action, Entries, Envelope, FailureData, GrpcHandleBody,
        Handle, HandleBody, Timing,
    },
    limits::BODY_BYTES,
};
use serde::Serialize;
use service::{BodyError, Held, traced};
use spans::attribute;
use utoipa::{IntoResponses, ToSchema};

use crate::{
    App,
    answer::{Refusal, accepted, microseconds},
};

/// What both addresses answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it only describes")]
enum Answers {
    /// Stored, queued, or stored before
    #[response(status = 202)]
    Accepted(Envelope<AcceptedOneOrMany>),
    /// Never stored: mend the request
    #[response(status = 400)]
    Bad(Envelope<FailureData>),
    /// No key, or none that is known, where keys are asked for
    #[response(status = 401)]
    Unauthorized(Envelope<FailureData>),
    /// The key may not write, or a page of this origin may not call
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
    /// The body has a Content-Encoding, such as gzip: send it without one
    #[response(status = 415)]
    Encoded(Envelope<FailureData>),
    /// The key is used too often: try again
    #[response(status = 429)]
    TooOften(Envelope<FailureData>),
    /// Certainly not stored: try again
    #[response(status = 503)]
    NotStored(Envelope<FailureData>),
    /// It may be stored: try again with the same id
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

/// The course's own address for gRPC: as `/handle`, with the transport `grpc`.
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
            let message = "this address is for the transport grpc: leave `transport` out, or post to /handle";
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

fn about_body(error: BodyError) -> Failure {
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

async fn carry_out(
    app: &App,
    handle: Handle,
    transport: Transport,
    begun: Instant,
) -> Result<Response, Refusal> {
    let entries = handle.entries.as_slice();
    if let Some(first) = entries.first() {
        spans::note(|| attribute::entries(first.id(), entries.len()));
    }
    let delivered = match handle.action {
        Action::Log => deliver(app, &handle.entries, transport).await,
        Action::Echo => Ok(Delivered::nothing(entries.len())),
    };
    let took = begun.elapsed();
    app.requests.took(transport, took);
    let delivered = delivered.map_err(|failure| Refusal::of(failure, transport, entries))?;
    app.requests.accepted(transport, Outcome::best(delivered.outcomes.iter().copied().flatten()));
    let timing = Timing { total: microseconds(took), ..delivered.timing };
    Ok(answer(&handle.entries, transport, &delivered.outcomes, timing))
}

/// What became of the entries, in their order; `None` for those that were only echoed.
struct Delivered {
    outcomes: Vec<Option<Outcome>>,
    timing: Timing,
}

impl Delivered {
    fn nothing(entries: usize) -> Self {
        Delivered { outcomes: vec![None; entries], timing: Timing::default() }
    }
}

async fn deliver(app: &App, entries: &Entries, transport: Transport) -> Result<Delivered, Failure> {
    if app.shutdown.has_begun() {
        return Err(Failure::draining("the broker"));
    }
    let (outcomes, took, store) = match entries {
        Entries::One(entry) => {
            let ::transport::Delivered { receipt, took } = app.transports.write(transport, entry).await?;
            (vec![Some(receipt.outcome)], took, receipt.store_us)
        }
        Entries::Batch(entries) => {
            let delivered = app.transports.write_batch(transport, entries, BatchMode::AllOrNone).await?;
            let ::transport::Delivered { receipt, took } = delivered;
            let outcomes = receipt.results.into_iter().map(|result| result.map(Some));
            (outcomes.collect::<Result<_, _>>()?, took, receipt.store_us)
        }
    };
    let timing = Timing { total: 0, transport: Some(microseconds(took)), store };
    Ok(Delivered { outcomes, timing })
}

fn answer(
    entries: &Entries,
    transport: Transport,
    outcomes: &[Option<Outcome>],
    timing_us: Timing,
) -> Response {
    let data = match entries {
        Entries::One(entry) => {
            let outcome = outcomes.first().copied().flatten();
            AcceptedOneOrMany::One(Accepted { id: entry.id(), transport, outcome, timing_us })
        }
        Entries::Batch(entries) => {
            let entries = entries.iter().zip(outcomes);
            let entries = entries.map(|(entry, outcome)| AcceptedEntry { id: entry.id(), outcome: *outcome });
            AcceptedOneOrMany::Many(AcceptedBatch { transport, entries: entries.collect(), timing_us })
        }
    };
    accepted(message(transport, outcomes), data, timing_us)
}

/// A sentence such as `998 stored, 2 duplicate by grpc`.
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
    format!("{} by {transport}", told.collect::<Vec<_>>().join(", "))
}
