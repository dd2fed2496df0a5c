//! What stands in the tables of the services, read from their files: what an order came to, in each of them.

use std::{collections::BTreeMap, path::Path};

use rusqlite::{Connection, OpenFlags};
use shop::pb::State;

/// An order in the tables of all three.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Traces {
    pub(crate) state: String,
    pub(crate) settled: bool,
    /// Its payment and its reservation; empty if there is none.
    pub(crate) payment: String,
    pub(crate) reservation: String,
    /// How often money was held and captured for it.
    pub(crate) holds: i64,
    pub(crate) captures: i64,
    /// The states that it has had, in their order.
    pub(crate) events: Vec<String>,
}

/// All orders of a shop, by id.
pub(crate) fn orders(dir: &Path) -> BTreeMap<String, Traces> {
    let mut orders = BTreeMap::new();
    for [id, state, settled] in rows(dir, "order", "SELECT order_id, state, settled FROM orders") {
        orders.insert(id, Traces { state, settled: settled == "1", ..Traces::default() });
    }
    for [id, state] in
        rows(dir, "order", "SELECT order_id, state FROM event ORDER BY order_id, order_position")
    {
        orders.get_mut(&id).expect("its order").events.push(state);
    }
    for [id, state] in rows(dir, "payment", "SELECT order_id, state FROM payment") {
        orders.entry(id).or_default().payment = state;
    }
    for [id, state] in rows(dir, "product", "SELECT order_id, state FROM reservation") {
        orders.entry(id).or_default().reservation = state;
    }
    let movements = "SELECT order_id, kind FROM ledger WHERE delta > 0 AND kind != 'top_up'";
    for [id, kind] in rows(dir, "payment", movements) {
        let order = orders.entry(id).or_default();
        match kind.as_str() {
            "hold" => order.holds += 1,
            "capture" => order.captures += 1,
            _ => {}
        }
    }
    orders
}

/// How often each state was come to; fails where an order does not fit together: a paid one has one capture and its
/// pieces, any other has none of either, and nothing is held.
pub(crate) fn judge(dir: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (id, traces) in orders(dir) {
        *counts.entry(traces.state.clone()).or_default() += 1;
        assert!(traces.settled, "{id} is open: {traces:?}");
        let state = State::from_str_name(&traces.state).unwrap_or_default();
        let fits = match state {
            State::Paid => traces.payment == "captured" && traces.reservation == "reserved",
            State::Shipped | State::Delivered => {
                traces.payment == "captured" && traces.reservation == "shipped"
            }
            State::Rejected | State::Cancelled => {
                ["cancelled", "refused"].contains(&traces.payment.as_str())
                    && ["released", "refused"].contains(&traces.reservation.as_str())
            }
            State::Unspecified | State::Placed | State::Reserved | State::Held | State::Accepted => false,
        };
        assert!(fits, "{id}: {traces:?}");
        let paid = matches!(state, State::Paid | State::Shipped | State::Delivered);
        assert_eq!(traces.captures, i64::from(paid), "{id}: {traces:?}");
        assert!(traces.holds <= 1, "{id}: {traces:?}");
    }
    counts
}

fn rows<const N: usize>(dir: &Path, service: &str, query: &str) -> Vec<[String; N]> {
    let file = dir.join(format!("{service}.db"));
    let connection =
        Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("it is there");
    connection.busy_timeout(tests::SOON).expect("a timeout");
    let mut select = connection.prepare(query).expect("a query");
    let text = |row: &rusqlite::Row<'_>, column| {
        let value = row.get_ref(column)?;
        Ok(value
            .as_i64()
            .map_or_else(|_| value.as_str().map(str::to_owned), |number| Ok(number.to_string()))?)
    };
    let rows = select.query_map([], |row| {
        (0..N).map(|column| text(row, column)).collect::<rusqlite::Result<Vec<String>>>()
    });
    let rows = rows.expect("rows").map(|row| row.expect("a row").try_into().expect("so many columns"));
    rows.collect()
}
