//! The tables of the payment service: accounts, what was paid for each order, and the ledger of every movement.

use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    check,
    faults::{self, Broken},
    money::{MOST_MINOR, euro},
    outbox::{self, Change},
    pb::{Account, Charges, Payment},
    refusal::Refusal,
    store::Tx,
};

/// Money comes from `world`, which may owe; nobody else may.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS account (
        id TEXT PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0 OR id = 'world')
    ) STRICT;
    CREATE TABLE IF NOT EXISTS payment (
        order_id TEXT PRIMARY KEY, user_id TEXT, minor INTEGER, reason TEXT NOT NULL DEFAULT '',
        state TEXT NOT NULL CHECK (state IN ('held', 'captured', 'cancelled', 'refused')), hash TEXT
    ) STRICT;
    CREATE TABLE IF NOT EXISTS ledger (
        seq INTEGER PRIMARY KEY, order_id TEXT NOT NULL, account TEXT NOT NULL, delta INTEGER NOT NULL,
        kind TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS ledger_account ON ledger (account, delta);
    CREATE INDEX IF NOT EXISTS ledger_order ON ledger (order_id);
    CREATE TABLE IF NOT EXISTS top_up (top_up_id TEXT PRIMARY KEY, hash TEXT NOT NULL) STRICT;
";

/// What must be 0: the ledger, and what accounts and ledger differ by; and how much there is of the rest.
pub(super) fn figures(connection: &Connection) -> Result<Vec<(&'static str, i64)>, Refusal> {
    let sum = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let differing = "SELECT count(*) FROM account WHERE balance != (
        SELECT coalesce(sum(delta), 0) FROM ledger WHERE ledger.account = account.id)";
    Ok(vec![
        ("ledger_sum", sum("SELECT coalesce(sum(delta), 0) FROM ledger")?),
        ("accounts_off", sum(differing)?),
        ("held", sum("SELECT count(*) FROM payment WHERE state = 'held'")?),
        ("captured", sum("SELECT count(*) FROM payment WHERE state = 'captured'")?),
        ("captures", sum("SELECT count(*) FROM ledger WHERE kind = 'capture' AND account = 'shop'")?),
    ])
}

/// A row of `payment`. A tombstone has no hash, user or amount.
#[derive(Debug, Clone)]
struct Row {
    user: Option<String>,
    minor: i64,
    state: String,
    reason: String,
    hash: Option<String>,
}

impl Row {
    fn find(connection: &Connection, order: &str) -> Result<Option<Row>, Refusal> {
        let mut select = connection
            .prepare_cached("SELECT user_id, minor, state, reason, hash FROM payment WHERE order_id = ?1")?;
        let row = select.query_row([order], |row| {
            Ok(Row {
                user: row.get(0)?,
                minor: row.get::<_, Option<i64>>(1)?.unwrap_or_default(),
                state: row.get(2)?,
                reason: row.get(3)?,
                hash: row.get(4)?,
            })
        });
        Ok(row.optional()?)
    }

    /// Writes it, and tells the log.
    fn keep(&self, tx: &Tx<'_>, order: &str) -> Result<(), Refusal> {
        let mut keep = tx.prepare_cached(
            "INSERT INTO payment (order_id, user_id, minor, state, reason, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (order_id) DO UPDATE SET state = excluded.state",
        )?;
        keep.execute(params![order, self.user, self.minor, self.state, self.reason, self.hash])?;
        let (user, minor) = (self.user.as_deref(), (self.minor > 0).then_some(self.minor));
        let change = Change::of_order("payment", order, &self.state);
        let change = Change { user, reason: &self.reason, minor, ..change };
        outbox::record(tx, &change)
    }

    fn answer(self, order: String) -> Payment {
        Payment { order_id: order, state: self.state, reason: self.reason, amount: Some(euro(self.minor)) }
    }
}

pub(super) fn hold(
    tx: &Tx<'_>,
    order: String,
    user: String,
    minor: i64,
    declines: bool,
) -> Result<Payment, Refusal> {
    let hash = check::hash([user.as_str(), &minor.to_string()]);
    match Row::find(tx, &order)? {
        Some(row) if row.state == "cancelled" => {
            return Err(Refusal::Precondition(
                "cancelled",
                "this order's payment was cancelled before".into(),
            ));
        }
        Some(row) if row.hash.as_ref() == Some(&hash) => return Ok(row.answer(order)),
        Some(_) => return Err(Refusal::Conflict("this order_id has a payment of another user or amount")),
        None => {}
    }
    let (from, to) = (format!("user:{user}"), format!("held:{user}"));
    let balance = balance(tx, &from)?;
    let (state, reason) = if declines {
        ("refused", "declined")
    } else if balance < minor {
        ("refused", "insufficient_funds")
    } else {
        ("held", "")
    };
    let row =
        Row { user: Some(user), minor, state: state.to_owned(), reason: reason.to_owned(), hash: Some(hash) };
    if state == "held" && !faults::is(Broken::CheckThenPay) {
        move_money(tx, &order, &from, &to, minor, "hold")?;
    }
    row.keep(tx, &order)?;
    Ok(row.answer(order))
}

pub(super) fn capture(tx: &Tx<'_>, order: String) -> Result<Payment, Refusal> {
    let mut row = Row::find(tx, &order)?.ok_or(Refusal::NotFound("no payment is held for this order"))?;
    let user = row.user.clone().unwrap_or_default();
    match row.state.as_str() {
        "held" => {
            if faults::is(Broken::CheckThenPay) {
                // What was enough when it was looked at may not be there any more: somebody else pays.
                let own = format!("user:{user}");
                let payer = if balance(tx, &own)? < row.minor { "world" } else { &own };
                move_money(tx, &order, payer, "shop", row.minor, "capture")?;
            } else {
                move_money(tx, &order, &format!("held:{user}"), "shop", row.minor, "capture")?;
            }
            row.state = "captured".to_owned();
            row.keep(tx, &order)?;
        }
        "captured" => {
            if faults::is(Broken::CaptureTwice) {
                move_money(tx, &order, "world", "shop", row.minor, "capture")?;
            }
        }
        other => {
            let message = format!("this order's payment is {other}: nothing is held that could be captured");
            return Err(Refusal::Precondition("not_held", message));
        }
    }
    Ok(row.answer(order))
}

pub(super) fn cancel(tx: &Tx<'_>, order: String) -> Result<Payment, Refusal> {
    let Some(mut row) = Row::find(tx, &order)? else {
        let state = "cancelled".to_owned();
        let row = Row { user: None, minor: 0, state, reason: String::new(), hash: None };
        if !faults::is(Broken::NoTombstone) {
            row.keep(tx, &order)?;
        }
        return Ok(row.answer(order));
    };
    match row.state.as_str() {
        "held" => {
            let user = row.user.clone().unwrap_or_default();
            let (from, to) = (format!("held:{user}"), format!("user:{user}"));
            move_money(tx, &order, &from, &to, row.minor, "cancel")?;
            row.state = "cancelled".to_owned();
            row.keep(tx, &order)?;
        }
        "captured" => {
            return Err(Refusal::Precondition("captured", "this order's money is captured already".into()));
        }
        _ => {}
    }
    Ok(row.answer(order))
}

pub(super) fn pay_in(tx: &Tx<'_>, top_up: String, user: String, minor: i64) -> Result<Account, Refusal> {
    let hash = check::hash([user.as_str(), &minor.to_string()]);
    let known = "SELECT hash FROM top_up WHERE top_up_id = ?1";
    let known: Option<String> = tx.query_row(known, [&top_up], |row| row.get(0)).optional()?;
    match known {
        Some(known) if known == hash => return account(tx, user),
        Some(_) => return Err(Refusal::Conflict("this top_up_id has another user or amount")),
        None => {}
    }
    let own = format!("user:{user}");
    if balance(tx, &own)? + minor > MOST_MINOR {
        return Err(Refusal::Invalid(format!("`amount`: an account takes at most {MOST_MINOR} minor units")));
    }
    tx.execute("INSERT INTO top_up VALUES (?1, ?2)", params![top_up, hash])?;
    move_money(tx, &top_up, "world", &own, minor, "top_up")?;
    let change = Change {
        service: "payment",
        key: &top_up,
        user: Some(&user),
        state: "topped_up",
        minor: Some(minor),
        ..Change::default()
    };
    outbox::record(tx, &change)?;
    account(tx, user)
}

pub(super) fn account(connection: &Connection, user: String) -> Result<Account, Refusal> {
    let own = balance(connection, &format!("user:{user}"))?;
    let held = balance(connection, &format!("held:{user}"))?;
    Ok(Account { user_id: user, balance: Some(euro(own)), held: Some(euro(held)) })
}

/// How often an order was charged.
pub(super) fn charges(connection: &Connection, order: String) -> Result<Charges, Refusal> {
    let mut count = connection.prepare_cached(
        "SELECT count(*) FROM ledger WHERE order_id = ?1 AND kind = 'capture' AND account = 'shop'",
    )?;
    let captures = count.query_row([&order], |row| row.get(0))?;
    Ok(Charges { order_id: order, captures })
}

fn balance(connection: &Connection, account: &str) -> Result<i64, Refusal> {
    let mut select = connection.prepare_cached("SELECT balance FROM account WHERE id = ?1")?;
    Ok(select.query_row([account], |row| row.get(0)).optional()?.unwrap_or_default())
}

/// The only way in which money moves.
fn move_money(
    connection: &Connection,
    order: &str,
    from: &str,
    to: &str,
    minor: i64,
    kind: &str,
) -> Result<(), Refusal> {
    let mut add = connection.prepare_cached(
        "INSERT INTO account VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET balance = balance + excluded.balance",
    )?;
    let mut tell = connection
        .prepare_cached("INSERT INTO ledger (order_id, account, delta, kind) VALUES (?1, ?2, ?3, ?4)")?;
    let mut take = connection.prepare_cached("UPDATE account SET balance = balance - ?2 WHERE id = ?1")?;
    // An account that never had anything has no row yet, and one of less than nothing is not let in.
    connection.prepare_cached("INSERT OR IGNORE INTO account VALUES (?1, 0)")?.execute([from])?;
    take.execute(params![from, minor])?;
    add.execute(params![to, minor])?;
    tell.execute(params![order, from, -minor, kind])?;
    tell.execute(params![order, to, minor, kind])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "u";

    fn bank(minor: i64) -> Connection {
        let connection = Connection::open_in_memory().expect("memory");
        connection.execute_batch(outbox::SCHEMA).expect("tables");
        connection.execute_batch(SCHEMA).expect("tables");
        let tx = Tx { connection: &connection, trace_id: None };
        pay_in(&tx, "t".to_owned(), USER.to_owned(), minor).expect("paid in");
        connection
    }

    fn held(tx: &Tx<'_>, order: &str, minor: i64) -> Result<String, Refusal> {
        let payment = hold(tx, order.to_owned(), USER.to_owned(), minor, false)?;
        Ok(format!("{} {}", payment.state, payment.reason))
    }

    fn figure(connection: &Connection, name: &str) -> i64 {
        let figures = figures(connection).expect("they can be read");
        figures.into_iter().find(|(own, _)| *own == name).expect("it is there").1
    }

    #[test]
    fn the_same_money_is_held_once_and_every_step_can_be_made_again() {
        let bank = &bank(100);
        let bank = Tx { connection: bank, trace_id: None };
        assert_eq!(held(&bank, "a", 70).expect("answered"), "held ");
        assert_eq!(held(&bank, "a", 70).expect("answered"), "held ");
        assert!(matches!(held(&bank, "a", 71), Err(Refusal::Conflict(_))));
        assert_eq!(held(&bank, "b", 31).expect("answered"), "refused insufficient_funds");
        for _ in 0..2 {
            assert_eq!(capture(&bank, "a".to_owned()).expect("captured").state, "captured");
        }
        assert!(cancel(&bank, "a".to_owned()).is_err());
        let account = account(&bank, USER.to_owned()).expect("there");
        assert_eq!((account.balance, account.held), (Some(euro(30)), Some(euro(0))));
        assert_eq!(
            (figure(&bank, "ledger_sum"), figure(&bank, "accounts_off"), figure(&bank, "captures")),
            (0, 0, 1)
        );
        let charged = |order: &str| charges(&bank, order.to_owned()).expect("counted").captures;
        assert_eq!((charged("a"), charged("b")), (1, 0));
    }

    #[test]
    fn a_hold_that_comes_after_its_cancellation_is_refused() {
        let bank = &bank(100);
        let bank = Tx { connection: bank, trace_id: None };
        assert_eq!(cancel(&bank, "a".to_owned()).expect("a tombstone").state, "cancelled");
        assert!(matches!(held(&bank, "a", 70), Err(Refusal::Precondition("cancelled", _))));
        assert_eq!(held(&bank, "b", 70).expect("answered"), "held ");
        cancel(&bank, "b".to_owned()).expect("cancelled");
        assert!(held(&bank, "b", 70).is_err());
        let account = account(&bank, USER.to_owned()).expect("there");
        assert_eq!((account.balance, account.held), (Some(euro(100)), Some(euro(0))));
    }
}
