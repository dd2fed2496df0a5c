//! `rpc` as the course speaks it: Go's net/rpc over TCP, for services that are not ours.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use futures_util::FutureExt;
use proto::{
    BatchMode, Code, Failure, Transport,
    limits::HELD_BYTES,
    netrpc::{Answers, BODY_BYTES, Call, Header, Request, Requests, error_text, reply},
};
use service::{Acceptor, BODY_TIMEOUT, Client, Connection, Room, serve_each, tls::Protocol};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, timeout_at},
};
use tokio_util::task::TaskTracker;

use super::{Door, Inside, drain, http::in_time};
use crate::intake::Intake;

/// Most calls of a connection that have no answer yet. Further ones are not read before one has.
const CALLS: usize = 256;

/// A connection without a call for so long is closed: the course's clients never do. As long as over tarpc.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// What is read at a time.
const READ_BYTES: usize = 8 * 1024;

/// Answers that are ready go out together, up to about so many bytes.
const WRITE_BYTES: usize = 64 * 1024;

/// What one connection may hold: a call, what was read beyond it, and its types.
const CONNECTION_BYTES: usize = 2 * BODY_BYTES;

/// Its row.
pub(super) const DOOR: Door = Door {
    setting: "LOGGER_NETRPC_LISTEN",
    listen: |config| config.logger_netrpc_listen,
    protocol: Protocol::NetRpc,
    serve: |acceptor, inside| serve(acceptor, inside).map(Ok).boxed(),
};

async fn serve(acceptor: Acceptor, inside: Inside) {
    let Inside { intake, shutdown, .. } = inside;
    let intake = intake.behind("netrpc");
    let acceptor = acceptor.with_room(Room::new(CONNECTION_BYTES, HELD_BYTES));
    let calls = TaskTracker::new();
    let connections = serve_each(acceptor, shutdown, |connection| {
        serve_connection(connection, intake.clone(), calls.clone())
    })
    .await;
    drain("netrpc", calls, connections).await;
}

/// Serves one connection until its client closes it, sends what is no call, or is silent for too long.
async fn serve_connection(connection: Connection, intake: Intake, calls: TaskTracker) {
    let client = connection.client().clone();
    let (reader, writer) = tokio::io::split(connection);
    // As many as there are permits, so that no answer waits for room.
    let (answers, answered) = mpsc::channel(CALLS);
    let mut writing = Box::pin(write_answers(writer, answered));
    let ended = tokio::select! {
        ended = read_calls(reader, &client, &intake, &calls, answers) => ended,
        ended = &mut writing => return log_end(ended),
    };
    log_end(ended);
    // What was asked before is answered, whether or not more can be asked.
    log_end(writing.await);
}

fn log_end(ended: io::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "netrpc connection ended");
    }
}

/// What an answer needs, and the permit of its call.
type Answered = (Header, Result<String, String>, OwnedSemaphorePermit);

async fn read_calls(
    mut reader: impl AsyncRead + Unpin,
    client: &Client,
    intake: &Intake,
    calls: &TaskTracker,
    answers: mpsc::Sender<Answered>,
) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(CALLS));
    let (mut requests, mut received) = (Requests::default(), BytesMut::new());
    let mut held = client.half_sent().part();
    // When the call that is not there as a whole must be.
    let mut due = None;
    loop {
        while let Some(Call { header, request }) = requests.next(&mut received).map_err(io::Error::other)? {
            due = None;
            let permit = Arc::clone(&permits).acquire_owned().await.map_err(io::Error::other)?;
            let (intake, answers, working) = (intake.clone(), answers.clone(), client.working());
            calls.spawn(async move {
                let result = match request {
                    Ok(request) => answer(&intake, request).await.map_err(|failure| error_text(&failure)),
                    Err(text) => Err(text),
                };
                // A client that has gone gets none.
                let _ = answers.send((header, result, permit)).await;
                drop(working);
            });
        }
        held.resize(received.len() + requests.held_bytes()).map_err(io::Error::other)?;
        let is_within = !received.is_empty() || requests.is_within_a_call();
        let until = if is_within {
            *due.get_or_insert_with(|| Instant::now() + BODY_TIMEOUT)
        } else {
            Instant::now() + IDLE_TIMEOUT
        };
        if received.is_empty() {
            // One that was large keeps no memory.
            received = BytesMut::new();
        }
        received.reserve(READ_BYTES);
        match timeout_at(until, reader.read_buf(&mut received)).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
            // It waits for us.
            Err(_) if !is_within && permits.available_permits() < CALLS => {}
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

async fn write_answers(
    mut writer: impl AsyncWrite + Unpin,
    mut answered: mpsc::Receiver<Answered>,
) -> io::Result<()> {
    let (mut answers, mut out, mut permits) = (Answers::default(), Vec::new(), Vec::new());
    while let Some(first) = answered.recv().await {
        // Entries are stored in groups: after one turn of the others, the answers of a group are there together.
        tokio::task::yield_now().await;
        let mut next = Some(first);
        while let Some((header, result, permit)) = next {
            answers.put(&header, result.as_deref().map_err(String::as_str), &mut out);
            permits.push(permit);
            next = if out.len() < WRITE_BYTES { answered.try_recv().ok() } else { None };
        }
        writer.write_all(&out).await?;
        writer.flush().await?;
        out.clear();
        permits.clear();
    }
    writer.shutdown().await
}

/// Answers a call. It has no span: net/rpc does not tell in which trace a call is made.
async fn answer(intake: &Intake, request: Request) -> Result<String, Failure> {
    match request {
        Request::Write(draft) => {
            let reply = reply(&draft.name);
            // Its clients have no deadline of their own.
            in_time(intake.write(draft, Transport::Rpc)).await?;
            Ok(reply)
        }
        // Whether it could store: yes is the refusal of an empty batch, as behind the other doors.
        Request::Ping => match in_time(intake.write_batch(Vec::new(), BatchMode::Each, Transport::Rpc)).await
        {
            Err(failure) if failure.code != Code::BadBatch => Err(failure),
            Ok(_) | Err(_) => Ok("yes".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proto::netrpc::{Ask, Calls, Responses};
    use service::Shutdown;
    use tokio::net::TcpStream;

    use super::*;
    use crate::{
        server::http::WRITE_TIMEOUT,
        store::{Retention, fixtures::*},
        writer::Writer,
    };

    #[tokio::test(start_paused = true)]
    async fn a_ping_that_the_disk_keeps_waiting_is_answered() {
        let (_directory, url, store) = new_store();
        let (writer, _thread) = Writer::start(store, Retention::default()).expect("a thread");
        let intake = Intake::new(writer, Shutdown::default());
        // Nothing is committed while it is there, not even the commit of a ping.
        let disk = rusqlite::Connection::open(file(&url)).expect("opened by another");
        disk.execute_batch("BEGIN IMMEDIATE").expect("locked");
        let begun = Instant::now();
        let late = answer(&intake, Request::Ping).await.expect_err("nothing is committed");
        assert_eq!((late.code, begun.elapsed().as_secs()), (Code::OutcomeUnknown, WRITE_TIMEOUT.as_secs()));
    }

    #[tokio::test]
    async fn a_call_beyond_the_limit_is_begun_when_another_is_answered() {
        /// Others than are read with the last that is begun.
        const MORE: usize = 50;
        let (_directory, url, store) = new_store();
        let (writer, _thread) = Writer::start(store, Retention::default()).expect("a thread");
        let intake = Intake::new(writer, Shutdown::default());
        // Nothing is answered while it is there.
        let disk = rusqlite::Connection::open(file(&url)).expect("opened by another");
        disk.execute_batch("BEGIN IMMEDIATE").expect("locked");
        let acceptor =
            Acceptor::bind("X_LISTEN", ([127, 0, 0, 1], 0).into(), Protocol::NetRpc).expect("a port");
        let address = acceptor.local_addr().expect("its address");
        let acceptor = acceptor.with_room(Room::new(CONNECTION_BYTES, HELD_BYTES));
        let calls = TaskTracker::new();
        let serving = serve_each(acceptor, Shutdown::default(), |connection| {
            serve_connection(connection, intake.clone(), calls.clone())
        });
        let asking = async {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            let (mut asked, mut bytes) = (Calls::default(), Vec::new());
            let entry = arrival(1, "data").entry;
            for seq in 0..CALLS + MORE {
                asked.put(seq.try_into().expect("small"), Ask::Write(&entry, None), &mut bytes);
            }
            stream.write_all(&bytes).await.expect("it is read");
            while calls.len() < CALLS {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let one_more = async {
                while calls.len() == CALLS {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            let begun = tokio::time::timeout(Duration::from_millis(200), one_more).await;
            assert!(begun.is_err(), "{} are begun", calls.len());
            disk.execute_batch("ROLLBACK").expect("it was locked");
            let (mut responses, mut received, mut answered) =
                (Responses::default(), BytesMut::new(), BTreeSet::new());
            while answered.len() < CALLS + MORE {
                while let Some(answer) = responses.next(&mut received).expect("it is gob") {
                    assert_eq!(answer.result, Ok(()));
                    answered.insert(answer.seq);
                }
                if answered.len() < CALLS + MORE {
                    assert!(stream.read_buf(&mut received).await.expect("it lives") > 0);
                }
            }
        };
        tokio::select! {
            _ = serving => panic!("nobody has stopped it"),
            ended = tokio::time::timeout(Duration::from_secs(30), asking) => ended.expect("in time"),
        }
    }
}
