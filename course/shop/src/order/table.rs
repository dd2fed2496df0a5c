//! The tables of the order service: orders, and every state that each has had.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    check::Line,
    money::euro,
    outbox::{self, Change},
    pb::{Order, OrderEvent, State},
    refusal::Refusal,
    store::Tx,
};

/// `settled`: no task has anything left to do for it. Until then it is open.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS orders (
        order_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, items TEXT NOT NULL, total INTEGER NOT NULL,
        state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '', hash TEXT NOT NULL,
        placed_ms INTEGER NOT NULL, settled INTEGER NOT NULL DEFAULT 0, trace_id TEXT
    ) STRICT;
    CREATE INDEX IF NOT EXISTS orders_open ON orders (placed_ms) WHERE settled = 0;
    CREATE TABLE IF NOT EXISTS event (
        position INTEGER PRIMARY KEY AUTOINCREMENT, order_id TEXT NOT NULL REFERENCES orders,
        order_position INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL,
        UNIQUE (order_id, order_position), UNIQUE (order_id, state)
    ) STRICT;
";

/// After so long an order that is still open is late.
const LATE_MS: i64 = 15_000;

/// How many are late, which should be none, and how many there are.
pub(super) fn figures(connection: &Connection) -> Result<Vec<(&'static str, i64)>, Refusal> {
    let late = "SELECT count(*) FROM orders WHERE settled = 0 AND placed_ms < ?1";
    let late = connection.query_row(late, [now_ms() - LATE_MS], |row| row.get(0))?;
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    Ok(vec![
        ("open_late", late),
        ("open", count("SELECT count(*) FROM orders WHERE settled = 0")?),
        ("orders", count("SELECT count(*) FROM orders")?),
    ])
}

pub(super) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// An order: what was asked for, checked, and what became of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) order_id: String,
    pub(super) user_id: String,
    pub(super) lines: Vec<Line>,
    pub(super) total: i64,
    pub(super) hash: String,
    pub(super) state: State,
    pub(super) reason: String,
    pub(super) detail: String,
    pub(super) placed_ms: i64,
    pub(super) settled: bool,
    pub(super) trace_id: Option<String>,
}

impl Row {
    /// Whether the buyer has his answer: the money is taken, or will never be.
    pub(super) fn is_answered(&self) -> bool {
        match self.state {
            State::Unspecified | State::Placed | State::Reserved | State::Held | State::Accepted => false,
            State::Paid | State::Shipped | State::Delivered | State::Rejected | State::Cancelled => true,
        }
    }

    pub(super) fn answer(self) -> Order {
        Order {
            pending: !self.is_answered() && self.state != State::Accepted,
            items: self.lines.iter().map(Into::into).collect(),
            order_id: self.order_id,
            user_id: self.user_id,
            total: Some(euro(self.total)),
            state: self.state.into(),
            reason: self.reason,
        }
    }
}

/// Keeps what is asked for as a new order; one that is known stays as it is.
pub(super) fn place(tx: &Tx<'_>, asked: Row) -> Result<(), Refusal> {
    match find(tx, &asked.order_id)? {
        Some(row) if row.hash == asked.hash => return Ok(()),
        Some(_) => {
            return Err(Refusal::Conflict("this order_id has another user or other items: make a new one"));
        }
        None => {}
    }
    let trace_id = tx.trace_id.map(str::to_owned);
    let row = Row { state: State::Placed, placed_ms: now_ms(), trace_id, ..asked };
    let items = serde_json::to_string(&row.lines).expect("items have a JSON form");
    let mut insert = tx.prepare_cached(
        "INSERT INTO orders (order_id, user_id, items, total, state, hash, placed_ms, trace_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let Row { order_id, user_id, total, state, hash, placed_ms, trace_id, .. } = &row;
    let state = state.as_str_name();
    insert.execute(params![order_id, user_id, items, total, state, hash, placed_ms, trace_id])?;
    tell(tx, &row)
}

pub(super) fn find(connection: &Connection, order_id: &str) -> Result<Option<Row>, Refusal> {
    let mut select = connection.prepare_cached(
        "SELECT user_id, items, total, state, reason, detail, placed_ms, settled, trace_id, hash FROM orders
         WHERE order_id = ?1",
    )?;
    let row = select.query_row([order_id], |row| {
        let (items, state): (String, String) = (row.get(1)?, row.get(3)?);
        let unreadable = |column| {
            rusqlite::Error::InvalidColumnType(column, "orders".to_owned(), rusqlite::types::Type::Text)
        };
        Ok(Row {
            order_id: order_id.to_owned(),
            user_id: row.get(0)?,
            lines: serde_json::from_str(&items).map_err(|_| unreadable(1))?,
            total: row.get(2)?,
            state: State::from_str_name(&state).ok_or_else(|| unreadable(3))?,
            reason: row.get(4)?,
            detail: row.get(5)?,
            placed_ms: row.get(6)?,
            settled: row.get(7)?,
            trace_id: row.get(8)?,
            hash: row.get(9)?,
        })
    });
    Ok(row.optional()?)
}

/// Moves an order from the state in which `row` has it; `false` if it is in another one by now.
pub(super) fn step(
    tx: &Tx<'_>,
    mut row: Row,
    to: State,
    reason: &str,
    detail: &str,
) -> Result<bool, Refusal> {
    let mut update = tx.prepare_cached(
        "UPDATE orders SET state = ?3, reason = ?4, detail = ?5, settled = ?6 WHERE order_id = ?1 AND state = ?2",
    )?;
    // A paid one waits for the courier, and one that is shipped for the buyer: no task does.
    let settled = matches!(to, State::Paid | State::Shipped | State::Delivered);
    let (from, name) = (row.state.as_str_name(), to.as_str_name());
    if update.execute(params![row.order_id, from, name, reason, detail, settled])? == 0 {
        return Ok(false);
    }
    row.state = to;
    reason.clone_into(&mut row.reason);
    tell(tx, &row)?;
    Ok(true)
}

/// The state that an order has come to: as an event, and as an entry of the log.
fn tell(tx: &Tx<'_>, row: &Row) -> Result<(), Refusal> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO event (order_id, order_position, state, reason, at) VALUES (?1,
             (SELECT coalesce(max(order_position), 0) + 1 FROM event WHERE order_id = ?1), ?2, ?3, ?4)",
    )?;
    let name = row.state.as_str_name();
    insert.execute(params![row.order_id, name, row.reason, Timestamp::now().to_string()])?;
    let state = name.to_ascii_lowercase();
    let change = Change {
        user: Some(&row.user_id),
        reason: &row.reason,
        minor: Some(row.total),
        trace_id: row.trace_id.as_deref(),
        ..Change::of_order("order", &row.order_id, &state)
    };
    outbox::record(tx, &change)
}

/// What was reserved and held for a refused order has been given back.
pub(super) fn settle(connection: &Connection, order_id: &str) -> Result<(), Refusal> {
    connection.execute("UPDATE orders SET settled = 1 WHERE order_id = ?1", [order_id])?;
    Ok(())
}

/// The orders that a task is to go on with.
pub(super) fn open(connection: &Connection) -> Result<Vec<String>, Refusal> {
    let mut select =
        connection.prepare("SELECT order_id FROM orders WHERE settled = 0 ORDER BY placed_ms")?;
    let ids = select.query_map([], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// The events of an order after a position, at most so many, and whether none will come after these.
pub(super) fn events(
    connection: &Connection,
    order_id: &str,
    after: u64,
    most: usize,
) -> Result<(Vec<OrderEvent>, bool), Refusal> {
    let mut select = connection.prepare_cached(
        "SELECT position, order_position, state, reason, at FROM event
         WHERE order_id = ?1 AND order_position > ?2 ORDER BY order_position LIMIT ?3",
    )?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let events = select.query_map(params![order_id, after, most as i64], |row| {
        let state: String = row.get(2)?;
        Ok(OrderEvent {
            order_id: order_id.to_owned(),
            position: row.get::<_, i64>(0)?.unsigned_abs(),
            order_position: row.get::<_, i64>(1)?.unsigned_abs(),
            state: State::from_str_name(&state).unwrap_or_default().into(),
            reason: row.get(3)?,
            at: row.get(4)?,
        })
    })?;
    let events: Vec<OrderEvent> = events.collect::<Result<_, _>>()?;
    let ended = match events.last() {
        Some(last) => last.state().is_final(),
        None => find(connection, order_id)?.is_some_and(|row| row.state.is_final()),
    };
    Ok((events, ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_made_once_and_leaves_an_event_and_an_entry() {
        let connection = Connection::open_in_memory().expect("memory");
        connection.execute_batch(outbox::SCHEMA).expect("tables");
        connection.execute_batch(SCHEMA).expect("tables");
        let placed = |hash: &str| Row {
            order_id: "o".to_owned(),
            user_id: "u".to_owned(),
            lines: vec![Line { sku: "a".to_owned(), quantity: 2, unit: 150 }],
            total: 300,
            hash: hash.to_owned(),
            ..Row::default()
        };
        let tx = Tx { connection: &connection, trace_id: None };
        place(&tx, placed("h")).expect("placed");
        place(&tx, placed("h")).expect("known");
        assert!(matches!(place(&tx, placed("other")), Err(Refusal::Conflict(_))));
        let row = find(&connection, "o").expect("read").expect("there");
        assert!(step(&tx, row.clone(), State::Reserved, "", "").expect("written"));
        assert!(!step(&tx, row.clone(), State::Reserved, "", "").expect("another was first"));
        assert!(!step(&tx, row, State::Cancelled, "timeout", "").expect("another was first"));
        let (events, ended) = events(&connection, "o", 0, 10).expect("read");
        let told: Vec<_> = events.iter().map(|event| (event.order_position, event.state())).collect();
        assert_eq!(told, [(1, State::Placed), (2, State::Reserved)]);
        assert!(!ended);
        let entries = connection.query_row("SELECT count(*) FROM outbox", [], |row| row.get::<_, i64>(0));
        assert_eq!(entries.expect("read"), 2);
        assert_eq!(open(&connection).expect("read"), ["o"]);
    }
}
