//! `fourwire send --transport all`: some entries over each transport, one after the other, and what they took as a table.

use jiff::Timestamp;
use proto::{
    BatchMode, EntryDraft, Failure, LogEntry, Outcome, Promise, StoredEntry, Transport,
    json::{Envelope, WireBytes},
};
use serde::Serialize;
use tokio::time::{Duration, Instant, sleep};
use transport::Transports;
use uuid::Uuid;

use crate::{
    Ending,
    config::{Send, Stack, place},
    problem::{Problem, describe},
    send::{connected, data, micros},
    text::{json_line, put},
};

/// Entries over each transport, unless it is said how many.
const COUNT: u64 = 20;

/// How often it is looked whether what was queued is stored.
const LOOKING: Duration = Duration::from_millis(2);

/// What became of the entries over one transport. Times are medians.
#[derive(Debug, Serialize)]
struct Row {
    transport: Transport,
    entries: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_us: Option<u64>,
    /// By the clocks of this machine and the logger's, where the answer does not wait for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wire_bytes: Option<WireBytes>,
    /// Why it has failed, or what is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Sends them, and prints a line for each transport. A transport that fails is told, and the others go on.
pub(crate) async fn race(arguments: &Send, stack: &Stack) -> Result<Ending, Problem> {
    if arguments.id.is_some() {
        let why = "--id names one entry: over all transports each entry gets an id of its own";
        return Err(Problem::usage(why));
    }
    let draft = EntryDraft {
        name: arguments.name.clone(),
        data: data(&arguments.data).await.map_err(Problem::Usage)?,
        id: None,
        level: Some(arguments.level.to_string()),
        created_at: arguments.created_at.clone(),
        transport: None,
    };
    // What is wrong with the entry is wrong with it everywhere.
    let checked = draft.clone().check(Timestamp::now());
    checked.map_err(|failure| Problem::usage(failure.into_message()))?;
    let transports = Transports::new(&stack.settings(Some(Transport::Rabbitmq))?);
    if !arguments.json {
        put("transport  outcome    answered ms  stored ms  bytes there + back")?;
    }
    let mut ending = Ending::Done;
    for transport in Transport::ALL {
        connected(&transports, transport, stack.deadline()).await;
        let mut sent = Sent::default();
        let failure = sent
            .send(&transports, transport, &draft, arguments.count.unwrap_or(COUNT), stack.deadline())
            .await
            .err();
        let row = sent.row(transport, failure.as_ref());
        put(&if arguments.json { json_line(&row) } else { row.in_words() })?;
        if let Some(failure) = failure {
            ending = ending.max(failure.certainty().into());
        }
    }
    Ok(ending)
}

#[derive(Debug, Default)]
struct Sent {
    outcome: Option<Outcome>,
    answered: Vec<u64>,
    stored: Vec<u64>,
    bytes: Option<WireBytes>,
    /// What was queued was not stored by the deadline.
    stays_queued: bool,
}

impl Sent {
    async fn send(
        &mut self,
        transports: &Transports,
        transport: Transport,
        draft: &EntryDraft,
        count: u64,
        deadline: Duration,
    ) -> Result<(), Failure> {
        let entry = || draft.clone().check(Timestamp::now());
        // The first opens connections, and is not counted.
        transports.write(transport, entry()?.into(), BatchMode::AllOrNone).await?.outcomes()?;
        for _ in 0..count {
            let entry: LogEntry = entry()?;
            let (id, begun) = (entry.id(), Instant::now());
            let delivered = transports.write(transport, entry.into(), BatchMode::AllOrNone).await?;
            let took = micros(begun.elapsed());
            self.bytes = delivered.bytes.or(self.bytes);
            self.outcome = Some(*delivered.outcomes()?.first());
            self.answered.push(took);
            match transport.promise() {
                Promise::Stored => self.stored.push(took),
                // Once something stays in the queue, nothing behind it is waited for.
                Promise::Queued if self.stays_queued => {}
                Promise::Queued => match stored_after(transports, id, begun, deadline).await {
                    Some(took) => self.stored.push(took),
                    None => self.stays_queued = true,
                },
            }
        }
        Ok(())
    }

    fn row(self, transport: Transport, failure: Option<&Failure>) -> Row {
        Row {
            transport,
            entries: self.answered.len(),
            outcome: self.outcome,
            answered_us: median(self.answered),
            stored_us: median(self.stored),
            wire_bytes: self.bytes,
            message: match failure {
                Some(failure) => Some(describe(failure, place(transport))),
                None => self.stays_queued.then(|| {
                    "not stored by the deadline: `fourwire status` says whether the logger is up and a listener consumes"
                        .to_owned()
                }),
            },
        }
    }
}

/// How long after it was created an entry was stored; `None` if it is not by the deadline.
async fn stored_after(transports: &Transports, id: Uuid, begun: Instant, deadline: Duration) -> Option<u64> {
    while begun.elapsed() < deadline {
        if let Ok((200, body)) = transports.read(&format!("/logs/{id}")).await {
            let entry = serde_json::from_slice::<Envelope<StoredEntry>>(&body).ok()?.data?;
            let took = entry.stored_at.as_microsecond() - entry.created_at.as_microsecond();
            return u64::try_from(took).ok();
        }
        sleep(LOOKING).await;
    }
    None
}

impl Row {
    fn in_words(&self) -> String {
        let Row { transport, outcome, answered_us, stored_us, wire_bytes, message, .. } = self;
        let under = |message: &str| message.replace("\n  ", "\n           ");
        if let (None, Some(message)) = (outcome, message) {
            return format!("{:<9}  {}", transport.as_str(), under(message));
        }
        let time = |us: &Option<u64>| us.map_or_else(|| "–".to_owned(), millis_fine);
        let bytes = wire_bytes.map(|bytes| format!("{} + {}", bytes.sent, bytes.received));
        let outcome = outcome.map(Outcome::as_str).unwrap_or_default();
        let (answered, stored) = (time(answered_us), time(stored_us));
        let bytes = bytes.unwrap_or_else(|| "–".to_owned());
        let what =
            message.as_deref().map(|message| format!("\n           {}", under(message))).unwrap_or_default();
        format!("{:<9}  {outcome:<9}  {answered:>11}  {stored:>9}  {bytes:>18}{what}", transport.as_str())
    }
}

/// In milliseconds, with two digits: the transports differ in them.
fn millis_fine(us: u64) -> String {
    format!("{}.{:02}", us / 1_000, us % 1_000 / 10)
}

fn median(mut us: Vec<u64>) -> Option<u64> {
    us.sort_unstable();
    us.get(us.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_one_of_them_and_of_nothing_there_is_none() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3, 1, 2]), Some(2));
        assert_eq!(median(vec![4, 1, 2, 3]), Some(2));
    }

    #[test]
    fn a_line_has_its_columns_under_the_head() {
        let sent = Sent {
            outcome: Some(Outcome::Queued),
            answered: vec![1_234],
            stored: vec![12_345],
            bytes: Some(WireBytes { sent: 347, received: 21 }),
            stays_queued: false,
        };
        let line = sent.row(Transport::Rabbitmq, None).in_words();
        assert_eq!(line, "rabbitmq   queued            1.23      12.34            347 + 21");
        let waits = Sent { outcome: Some(Outcome::Queued), stays_queued: true, ..Sent::default() };
        let lines = waits.row(Transport::Rabbitmq, None).in_words();
        assert!(lines.lines().count() == 2 && lines.ends_with("a listener consumes"), "{lines}");
        let line = Sent::default().row(Transport::Http, Some(&Failure::unreachable("the logger"))).in_words();
        assert!(line.starts_with("http       unavailable: the logger"), "{line}");
    }
}
