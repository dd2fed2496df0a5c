//! `http`: JSON over HTTP/1.1. The course's `POST /log`, batches, and the reading of entries.

use std::{future::Future, time::Duration};

use axum::{
    Router,
    extract::{Path, RawQuery, Request, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::FutureExt;
use proto::{
    Code, Failure, Page, Query, StoredEntry, Transport,
    json::{self, Envelope, Written, WrittenBatch},
    limits::{IN_FLIGHT_BYTES, LOGGER_BODY_BYTES, RETRY_AFTER},
    parse_entry_id,
};
use serde::Serialize;
use service::{Acceptor, BodyError, GRACE, Held, Json, Room, tls::Protocol, traced};

use super::{Door, Inside};
use crate::{intake::Intake, store::Reader};

/// How long a client waits for the writer at most. A client that has gone is not noticed meanwhile, so while the disk stands
/// still each would keep its connection, until nobody could ask for `/readyz` any more. A shutdown gives what is in flight as
/// much time; our own clients wait for 5 s.
pub(super) const WRITE_TIMEOUT: Duration = GRACE;

/// Its row.
pub(super) const DOOR: Door = Door {
    setting: "LOGGER_HTTP_LISTEN",
    listen: |config| config.logger_http_listen,
    protocol: Protocol::Http1,
    serve: |acceptor, inside| serve(acceptor, inside).map(Ok).boxed(),
};

async fn serve(acceptor: Acceptor, inside: Inside) {
    let Inside { intake, reader, health, own_hosts_only, hosts, http, shutdown } = inside;
    let acceptor = acceptor.with_room(Room::new(LOGGER_BODY_BYTES, IN_FLIGHT_BYTES));
    let router = Router::new()
        .route("/log", post(write))
        .route("/logs", post(write_batch))
        .with_state(intake)
        .merge(Router::new().route("/logs", get(list)).route("/logs/{id}", get(entry)).with_state(reader))
        // The course's heartbeat.
        .route("/ping", get(async || "."))
        .merge(health)
        .fallback(|| async {
            let message =
                "no such endpoint: this is the logger, with /log, /logs and /ping; the broker has /handle";
            Refusal(Failure::new(Code::NotFound, message))
        })
        .method_not_allowed_fallback(|| async {
            Refusal(Failure::new(
                Code::MethodNotAllowed,
                "method not allowed: the header Allow says which are",
            ))
        });
    // Pages in a browser have the broker, which asks where they come from.
    let router = service::http::refuse_pages_but_hosts(router, own_hosts_only, hosts);
    service::http::serve(acceptor, service::http::catch_panics(router), &http, shutdown).await;
}

type Answer<T> = Result<(StatusCode, Json<Envelope<T>>), Refusal>;

async fn write(State(intake): State<Intake>, request: Request) -> Response {
    let caller = traced::caller(request.headers());
    traced::entering("POST /log", caller, write_one(&intake, request)).await
}

async fn write_one(intake: &Intake, request: Request) -> Answer<Written> {
    let draft = json::parse_entry(&Held::read(request).await.map_err(about_body)?)?;
    let (id, receipt) = in_time(intake.write(draft, Transport::Http)).await?;
    let written = Written { id, outcome: receipt.outcome, store_us: receipt.store_us };
    // The course's own wording.
    accepted("logged", written)
}

async fn write_batch(State(intake): State<Intake>, request: Request) -> Response {
    let caller = traced::caller(request.headers());
    traced::entering("POST /logs", caller, write_many(&intake, request)).await
}

async fn write_many(intake: &Intake, request: Request) -> Answer<WrittenBatch> {
    let batch = json::parse_batch(&Held::read(request).await.map_err(about_body)?)?;
    let receipt = in_time(intake.write_batch(batch.entries, batch.mode, Transport::Http)).await?;
    let results = receipt.results.into_iter().map(Into::into).collect();
    accepted("logged", WrittenBatch { results, store_us: receipt.store_us })
}

/// Waits for the writer, with a timeout. The writer finishes what it has queued even if nobody waits for it.
///
/// # Errors
/// That of the write, or `outcome_unknown` after [`WRITE_TIMEOUT`].
pub(super) async fn in_time<T>(written: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let in_time = tokio::time::timeout(WRITE_TIMEOUT, written).await;
    in_time.unwrap_or_else(|late| Err(Failure::unknown("the store").because(late)))
}

async fn list(State(reader): State<Reader>, RawQuery(query): RawQuery) -> Answer<Page> {
    let query = Query::parse(query.as_deref())?;
    let is_contradictory = query.filter.is_contradictory();
    let page = reader.page(query).await?;
    let message = match page.entries.len() {
        0 if is_contradictory => "0 entries: since is after until".to_owned(),
        1 => "1 entry".to_owned(),
        count => format!("{count} entries"),
    };
    Ok((StatusCode::OK, Json(Envelope::ok(message, page))))
}

async fn entry(State(reader): State<Reader>, id: Result<Path<String>, PathRejection>) -> Answer<StoredEntry> {
    // What is not UTF-8 is no id either.
    let id = id.map(|Path(id)| id).unwrap_or_default();
    let entry = reader.get(parse_entry_id(&id)?).await?;
    let entry = entry.ok_or_else(|| Failure::new(Code::NotFound, "no entry with this id is stored"))?;
    Ok((StatusCode::OK, Json(Envelope::ok("1 entry", entry))))
}

fn accepted<T: Serialize>(message: &str, data: T) -> Answer<T> {
    Ok((StatusCode::ACCEPTED, Json(Envelope::ok(message, data))))
}

fn about_body(error: BodyError) -> Failure {
    match error {
        BodyError::TooLarge => {
            Failure::new(Code::TooLarge, format!("{error}: the limit is {LOGGER_BODY_BYTES} bytes"))
        }
        BodyError::TooSlow | BodyError::Broken => Failure::new(Code::SlowRequest, error.to_string()),
        BodyError::NoRoom => Failure::overloaded("the logger"),
        BodyError::Encoded(_) => Failure::new(Code::UnsupportedEncoding, error.to_string()),
    }
}

/// A failure as an answer.
struct Refusal(Failure);

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Refusal(failure)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refusal(failure) = self;
        let status =
            StatusCode::from_u16(failure.code.http_status()).expect("the table holds valid statuses");
        let mut response = (status, Json(Envelope::failure(&failure, None, &[]))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = HeaderValue::from(RETRY_AFTER.as_secs());
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use service::Shutdown;

    use super::*;
    use crate::{
        store::{Retention, fixtures::*},
        writer::Writer,
    };

    #[tokio::test(start_paused = true)]
    async fn a_write_that_the_disk_keeps_waiting_is_answered_and_stored_later() {
        let (_directory, url, store) = new_store();
        let reader = store.reader();
        let (writer, _thread) = Writer::start(store, Retention::default()).expect("a thread");
        let intake = Intake::new(writer, Shutdown::default());
        let draft = |number: u128| {
            let body = format!(r#"{{"name":"n","data":"","id":"{}"}}"#, id(number));
            json::parse_entry(body.as_bytes()).expect("an entry")
        };
        // Nothing is committed while it is there.
        let disk = rusqlite::Connection::open(file(&url)).expect("opened by another");
        disk.execute_batch("BEGIN IMMEDIATE").expect("locked");
        let begun = tokio::time::Instant::now();
        let late = in_time(intake.write(draft(1), Transport::Http)).await.expect_err("nothing is committed");
        assert_eq!((late.code, begun.elapsed().as_secs()), (Code::OutcomeUnknown, WRITE_TIMEOUT.as_secs()));
        drop(disk);
        tokio::time::resume();
        intake.write(draft(2), Transport::Http).await.expect("stored");
        assert!(reader.get(id(1)).await.expect("read").is_some(), "what the writer took is stored first");
    }
}
