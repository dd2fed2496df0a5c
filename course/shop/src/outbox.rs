//! What a service has done, on its way to Fourwire. A change and its log entry are one transaction: an order never
//! waits for its log, and the log misses no order.
//!
//! An entry's id is made of what it tells, so it may be sent again over and over and is stored once.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};
use service::Shutdown;
use uuid::Uuid;

use crate::{
    broker::Broker,
    calls::Waits,
    refusal::Refusal,
    store::{Store, Tx},
};

/// Its table. `refused` has the reason of an entry that the broker will never take.
pub const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS outbox (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL, body TEXT NOT NULL, refused TEXT
    ) STRICT;
    CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (seq) WHERE refused IS NULL;
";

/// Most entries of one request.
const BATCH: usize = 100;

/// Waits after a failure: the first, and the longest before jitter.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Most bytes that are kept of a refusal.
const REASON_CHARS: usize = 300;

/// What has changed. It has no secret and no name of a person.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// Which service it is of: `order`.
    pub service: &'a str,
    /// What it is about: the id of the order, of the user, of the top-up.
    pub key: &'a str,
    /// The id of the order, if it is about one.
    pub order: Option<&'a str>,
    /// The id of the user, where it is known.
    pub user: Option<&'a str>,
    /// What it is now: `paid`.
    pub state: &'a str,
    /// Why, of a no.
    pub reason: &'a str,
    /// How much, in minor units.
    pub minor: Option<i64>,
    /// The trace that it belongs to, if that is not the one in which it is written.
    pub trace_id: Option<&'a str>,
}

impl<'a> Change<'a> {
    /// What an order has come to at a service.
    pub fn of_order(service: &'a str, order: &'a str, state: &'a str) -> Self {
        Change { service, key: order, order: Some(order), state, ..Change::default() }
    }

    fn id(&self) -> Uuid {
        let name = format!("shop/{}/{}/{}", self.service, self.key, self.state);
        Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
    }

    fn entry(&self, id: Uuid) -> String {
        let failed = matches!(self.state, "rejected" | "cancelled" | "refused");
        let entry = serde_json::json!({
            "id": id,
            "name": format!("shop.{}.{}", self.service, self.state),
            "level": if failed { "warning" } else { "info" },
            "created_at": Timestamp::now().to_string(),
            "data": {
                "order": self.order, "user": self.user, "state": self.state,
                "reason": (!self.reason.is_empty()).then_some(self.reason),
                "minor": self.minor, "trace_id": self.trace_id,
            },
        });
        entry.to_string()
    }
}

/// Writes an entry into the transaction of the change.
///
/// # Errors
/// If the store fails.
pub fn record(tx: &Tx<'_>, change: &Change<'_>) -> Result<(), Refusal> {
    let change = Change { trace_id: change.trace_id.or(tx.trace_id), ..*change };
    let id = change.id();
    let mut insert = tx.prepare_cached("INSERT INTO outbox (id, body) VALUES (?1, ?2)")?;
    insert.execute(params![id.to_string(), change.entry(id)])?;
    Ok(())
}

/// How many entries wait, and how many were refused.
///
/// # Errors
/// If the store fails.
pub fn figures(connection: &Connection) -> Result<[(&'static str, i64); 2], Refusal> {
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    Ok([
        ("log_waiting", count("SELECT count(*) FROM outbox WHERE refused IS NULL")?),
        ("log_refused", count("SELECT count(*) FROM outbox WHERE refused IS NOT NULL")?),
    ])
}

/// Sends what is in the outbox, in its order.
#[derive(Debug)]
pub struct Sender {
    store: Store,
    broker: Broker,
    transport: String,
}

struct Row {
    seq: i64,
    body: String,
}

enum Answer {
    Taken,
    /// The same would be refused again.
    Refused(String),
    Later(String),
}

impl Sender {
    /// One that uses this transport.
    pub fn new(store: Store, broker: Broker, transport: &str) -> Self {
        Sender { store, broker, transport: transport.to_owned() }
    }

    /// Sends until `shutdown` begins; what is left then is sent after the next start.
    pub async fn run(self, shutdown: Shutdown) {
        tokio::select! {
            () = shutdown.begun() => {}
            () = self.send_all() => {}
        }
    }

    async fn send_all(&self) {
        let mut written = self.store.written();
        let mut waits = Waits::new(FIRST_WAIT, LONGEST_WAIT);
        let mut failing = false;
        loop {
            written.mark_unchanged();
            match self.send_some().await {
                Ok(0) => {
                    if written.changed().await.is_err() {
                        return;
                    }
                }
                Ok(_) => {
                    (waits, failing) = (Waits::new(FIRST_WAIT, LONGEST_WAIT), false);
                }
                Err(reason) => {
                    // Of an outage, the log is told once.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(
                            reason,
                            transport = self.transport,
                            "entries wait: the broker does not take them"
                        );
                    }
                    tokio::time::sleep(waits.next_wait()).await;
                }
            }
        }
    }

    /// Sends the next ones; says how many were settled.
    async fn send_some(&self) -> Result<usize, String> {
        let rows = self.store.read(waiting).await.map_err(|refusal| refusal.to_string())?;
        if rows.is_empty() {
            return Ok(0);
        }
        let mut groups = vec![rows.as_slice()];
        while let Some(group) = groups.pop() {
            match self.send(group).await {
                Answer::Taken => self.settle(group, None).await?,
                Answer::Later(reason) => return Err(reason),
                // One of them is why: each by itself, still in their order.
                Answer::Refused(_) if group.len() > 1 => groups.extend(group.chunks(1).rev()),
                Answer::Refused(reason) => self.settle(group, Some(reason)).await?,
            }
        }
        Ok(rows.len())
    }

    async fn send(&self, rows: &[Row]) -> Answer {
        let bodies: Vec<&str> = rows.iter().map(|row| row.body.as_str()).collect();
        match self.broker.log(&self.transport, &format!("[{}]", bodies.join(","))).await {
            Ok((status, _)) if status == 202 => Answer::Taken,
            // What it says of the entries; of the key, the rate and the broker itself others speak.
            Ok((status, body)) if [400, 409, 413].contains(&status.as_u16()) => {
                Answer::Refused(excerpt(&body))
            }
            Ok((status, body)) => Answer::Later(format!("{status}: {}", excerpt(&body))),
            Err(error) => Answer::Later(error.to_string()),
        }
    }

    async fn settle(&self, rows: &[Row], refused: Option<String>) -> Result<(), String> {
        if let Some(reason) = &refused {
            tracing::error!(reason, "an entry is refused and set aside: see the table outbox");
        }
        let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
        let settle = move |tx: &Tx<'_>| {
            for seq in seqs {
                match &refused {
                    None => tx.execute("DELETE FROM outbox WHERE seq = ?1", [seq])?,
                    Some(reason) => {
                        tx.execute("UPDATE outbox SET refused = ?2 WHERE seq = ?1", params![seq, reason])?
                    }
                };
            }
            Ok(())
        };
        self.store.write(settle).await.map_err(|refusal| refusal.to_string())
    }
}

fn waiting(connection: &Connection) -> Result<Vec<Row>, Refusal> {
    let mut select = connection
        .prepare_cached("SELECT seq, body FROM outbox WHERE refused IS NULL ORDER BY seq LIMIT ?1")?;
    let rows = select.query_map([BATCH as i64], |row| Ok(Row { seq: row.get(0)?, body: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().chars().take(REASON_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_same_id_whenever_it_is_made() {
        let change =
            Change { service: "order", key: "o", order: Some("o"), state: "paid", ..Change::default() };
        assert_eq!(change.id(), change.id());
        assert_ne!(change.id(), Change { state: "shipped", ..change }.id());
        assert_ne!(change.id(), Change { service: "payment", ..change }.id());
        let entry: serde_json::Value = serde_json::from_str(&change.entry(change.id())).expect("JSON");
        assert_eq!(entry["name"], "shop.order.paid");
        assert_eq!(entry["data"]["order"], "o");
    }
}
