//! What is called while the relay records, with the clients that the broker, `load` and `tail` use.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use proto::{Batch, BatchMode, Failure, Filter, LogEntry, TailEvent, TailQuery, Transport};
use tokio::{sync::mpsc, time::timeout};
use transport::{
    Settings, Transports,
    grpc::{Streams, Tail, Tailed},
};

use super::tap::Tap;
use crate::{
    config::{Call, Explain, place},
    problem::Problem,
    send::connected,
};

/// Makes the call that was asked for, and drops the client.
pub(super) async fn make(
    arguments: &Explain,
    tap: &mut Tap,
    entries: Vec<LogEntry>,
    deadline: Duration,
) -> Result<(), Problem> {
    let transport = arguments.transport;
    let made = match arguments.call {
        Call::WriteLog => write_log(transport, tap, entries, deadline).await,
        Call::WriteBatch => write_batch(transport, tap, entries, deadline).await,
        Call::WriteLogs => write_logs(tap, entries).await,
        Call::SyncLogs => sync_logs(tap, entries, deadline).await,
        Call::TailLogs => tail_logs(tap, entries, deadline).await,
    };
    made.map_err(|failure| Problem::Failed(failure, place(transport)))
}

async fn write_log(
    transport: Transport,
    tap: &mut Tap,
    entries: Vec<LogEntry>,
    deadline: Duration,
) -> Result<(), Failure> {
    let transports = open(transport, &tap.through, deadline).await;
    for (number, entry) in (1..).zip(entries) {
        tap.begin(format!("entry {number}"));
        let id = entry.id();
        let delivered = transports.write(transport, entry.into(), BatchMode::AllOrNone).await?;
        say!("entry {number}: {} ({id})", delivered.outcomes()?.first());
    }
    Ok(())
}

async fn write_batch(
    transport: Transport,
    tap: &mut Tap,
    entries: Vec<LogEntry>,
    deadline: Duration,
) -> Result<(), Failure> {
    let transports = open(transport, &tap.through, deadline).await;
    let (count, batch) = (entries.len(), Batch::try_from(entries)?);
    tap.begin("batch");
    let outcomes = transports.write(transport, batch, BatchMode::AllOrNone).await?.outcomes()?;
    say!("a batch of {count}: {}, …", outcomes.first());
    Ok(())
}

async fn write_logs(tap: &mut Tap, entries: Vec<LogEntry>) -> Result<(), Failure> {
    let streams = Streams::new(&tap.through);
    tap.begin("stream");
    let loaded = streams.write_logs(stream::iter(entries)).await?;
    say!("{} stored, {} stored before, {} refused", loaded.stored, loaded.duplicate, loaded.refused);
    Ok(())
}

/// Sends an entry when the one before it is acknowledged, while the stream of entries is open: that both directions are in
/// use at the same time is what there is to see.
async fn sync_logs(tap: &mut Tap, entries: Vec<LogEntry>, deadline: Duration) -> Result<(), Failure> {
    let streams = Streams::new(&tap.through);
    let (sender, receiver) = mpsc::channel(1);
    let sent = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let count = entries.len();
    let mut entries = (1..).zip(entries);
    let mut sender = Some(sender);
    offer(tap, &mut sender, entries.next()).await;
    let mut acknowledged = streams.sync_logs(sent).await?;
    let mut settled = 0;
    // After the last one, the end of the stream is waited for.
    while let Some(told) = timeout(deadline, acknowledged.next()).await.map_err(|_| late())? {
        let told = told?;
        say!("entry {}: {}", told.position + 1, told.result?);
        settled += 1;
        offer(tap, &mut sender, entries.next()).await;
    }
    if settled < count {
        return Err(Failure::unknown("the logger").because("it has ended the stream early"));
    }
    Ok(())
}

/// Sends an entry, or ends the stream where there is none.
async fn offer(tap: &mut Tap, sender: &mut Option<mpsc::Sender<LogEntry>>, entry: Option<(usize, LogEntry)>) {
    let Some((number, entry)) = entry else {
        *sender = None;
        return;
    };
    tap.begin(format!("entry {number}"));
    if let Some(sender) = sender {
        // If nobody takes it, the acknowledgements have ended, too.
        let _ = sender.send(entry).await;
    }
}

/// Follows one name, and stores the entries past the relay.
async fn tail_logs(tap: &mut Tap, entries: Vec<LogEntry>, deadline: Duration) -> Result<(), Failure> {
    let name = entries.first().map(|entry| entry.name().to_owned());
    let query = TailQuery { filter: Filter { name, ..Filter::default() }, ..TailQuery::default() };
    let mut tail = Streams::new(&tap.through).tail(query);
    until(&mut tail, deadline, |event| matches!(event, TailEvent::Reached)).await?;
    let transports = open(Transport::Grpc, &tap.past, deadline).await;
    for (number, entry) in (1..).zip(entries) {
        tap.begin(format!("entry {number}"));
        let id = entry.id();
        transports.write(Transport::Grpc, entry.into(), BatchMode::AllOrNone).await?.outcomes()?;
        until(&mut tail, deadline, |event| matches!(event, TailEvent::Entry(stored) if stored.id == id))
            .await?;
        say!("entry {number}: stored past the relay, and read ({id})");
    }
    Ok(())
}

/// Waits until the tail says what is waited for.
async fn until(
    tail: &mut Tail,
    deadline: Duration,
    is_it: impl Fn(&TailEvent) -> bool,
) -> Result<(), Failure> {
    let told = async {
        while let Some(tailed) = tail.next().await {
            match tailed? {
                Tailed::Event(event, _) if is_it(&event) => return Ok(()),
                Tailed::Event(..) => {}
                Tailed::Lost(failure) => return Err(failure),
            }
        }
        Err(Failure::unknown("the logger").because("the tail has ended"))
    };
    timeout(deadline, told).await.unwrap_or_else(|_| Err(late()))
}

fn late() -> Failure {
    Failure::unknown("the logger").because("no answer in time")
}

/// The clients, of which the one that is looked at is connected if it does so by itself.
async fn open(transport: Transport, settings: &Settings, deadline: Duration) -> Transports {
    let transports = Transports::new(settings);
    connected(&transports, transport, deadline).await;
    transports
}
