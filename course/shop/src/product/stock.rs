//! The tables of the product service: what there is, what is reserved for whom, and what has left.

use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    check::{self, Line},
    outbox::{self, Change},
    pb::Reservation,
    refusal::Refusal,
    store::Tx,
};

/// `imported` counts every piece that ever came, so that sold, reserved and free ones can be compared with it.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS product (
        sku TEXT PRIMARY KEY, name TEXT NOT NULL, price INTEGER NOT NULL,
        stock INTEGER NOT NULL CHECK (stock >= 0),
        reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved BETWEEN 0 AND stock),
        imported INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS reservation (
        order_id TEXT PRIMARY KEY, hash TEXT, reason TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '',
        state TEXT NOT NULL CHECK (state IN ('reserved', 'released', 'shipped', 'refused'))
    ) STRICT;
    CREATE TABLE IF NOT EXISTS reserved_item (
        order_id TEXT NOT NULL REFERENCES reservation, sku TEXT NOT NULL, quantity INTEGER NOT NULL,
        PRIMARY KEY (order_id, sku)
    ) STRICT;
";

/// A product that is imported.
#[derive(Debug)]
pub(super) struct Imported {
    pub(super) sku: String,
    pub(super) name: String,
    pub(super) price: i64,
    pub(super) stock: i64,
}

/// Where the pieces are. `sold` and `promised` are counted by orders, `reserved` and `free` by products: if
/// sold + reserved + free is not what was imported, or promised is not reserved, pieces were lost or made.
pub(super) fn figures(connection: &Connection) -> Result<Vec<(&'static str, i64)>, Refusal> {
    let of_orders = |state: &str| {
        let sum = "SELECT coalesce(sum(quantity), 0) FROM reserved_item JOIN reservation USING (order_id) WHERE state = ?1";
        connection.query_row(sum, [state], |row| row.get::<_, i64>(0))
    };
    let of_products = |what: &str| {
        let sum = format!("SELECT coalesce(sum({what}), 0) FROM product");
        connection.query_row(&sum, [], |row| row.get::<_, i64>(0))
    };
    Ok(vec![
        ("imported", of_products("imported")?),
        ("sold", of_orders("shipped")?),
        ("promised", of_orders("reserved")?),
        ("reserved", of_products("reserved")?),
        ("free", of_products("stock - reserved")?),
    ])
}

/// Sets what there is of each product; returns those that are refused.
pub(super) fn import(
    connection: &Connection,
    products: Vec<(u64, Imported)>,
) -> Result<Vec<(u64, String, String)>, Refusal> {
    let mut refused = Vec::new();
    let mut upsert = connection.prepare_cached(
        "INSERT INTO product (sku, name, price, stock, imported) VALUES (?1, ?2, ?3, ?4, ?4)
         ON CONFLICT (sku) DO UPDATE SET name = excluded.name, price = excluded.price, stock = excluded.stock,
             imported = imported + excluded.stock - stock
         WHERE reserved <= excluded.stock",
    )?;
    for (position, Imported { sku, name, price, stock }) in products {
        if upsert.execute(params![sku, name, price, stock])? == 0 {
            refused.push((position, sku, "`stock`: more pieces than that are reserved".to_owned()));
        }
    }
    Ok(refused)
}

struct Row {
    state: String,
    reason: String,
    detail: String,
    /// A tombstone has none.
    hash: Option<String>,
}

impl Row {
    fn new(state: &str) -> Self {
        Row { state: state.to_owned(), reason: String::new(), detail: String::new(), hash: None }
    }

    fn find(connection: &Connection, order: &str) -> Result<Option<Row>, Refusal> {
        let mut select = connection
            .prepare_cached("SELECT state, reason, detail, hash FROM reservation WHERE order_id = ?1")?;
        let row = select.query_row([order], |row| {
            Ok(Row { state: row.get(0)?, reason: row.get(1)?, detail: row.get(2)?, hash: row.get(3)? })
        });
        Ok(row.optional()?)
    }

    /// Writes it, and tells the log.
    fn keep(&self, tx: &Tx<'_>, order: &str) -> Result<(), Refusal> {
        let mut keep = tx.prepare_cached(
            "INSERT INTO reservation (order_id, state, reason, detail, hash) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (order_id) DO UPDATE SET state = excluded.state",
        )?;
        keep.execute(params![order, self.state, self.reason, self.detail, self.hash])?;
        let change = Change { reason: &self.reason, ..Change::of_order("product", order, &self.state) };
        outbox::record(tx, &change)
    }

    fn answer(self, order: String) -> Reservation {
        Reservation { order_id: order, state: self.state, reason: self.reason, detail: self.detail }
    }
}

/// All lines or none.
pub(super) fn reserve(tx: &Tx<'_>, order: String, lines: &[Line]) -> Result<Reservation, Refusal> {
    let hash = check::hash_of("", lines);
    match Row::find(tx, &order)? {
        Some(row) if row.hash.is_none() || row.state == "released" => {
            return Err(Refusal::Precondition(
                "cancelled",
                "this order's reservation was released before".into(),
            ));
        }
        Some(row) if row.hash.as_ref() == Some(&hash) => return Ok(row.answer(order)),
        Some(_) => return Err(Refusal::Conflict("this order_id has a reservation of other items")),
        None => {}
    }
    let mut row = Row { hash: Some(hash), ..Row::new("reserved") };
    if let Some((reason, detail)) = obstacle(tx, lines)? {
        row = Row { state: "refused".to_owned(), reason: reason.to_owned(), detail, ..row };
        row.keep(tx, &order)?;
        return Ok(row.answer(order));
    }
    row.keep(tx, &order)?;
    let mut take = tx.prepare_cached("UPDATE product SET reserved = reserved + ?2 WHERE sku = ?1")?;
    let mut note = tx.prepare_cached("INSERT INTO reserved_item VALUES (?1, ?2, ?3)")?;
    for line in lines {
        take.execute(params![line.sku, line.quantity])?;
        note.execute(params![order, line.sku, line.quantity])?;
    }
    Ok(row.answer(order))
}

/// Why not all of it can be reserved, in a word and a sentence.
fn obstacle(connection: &Connection, lines: &[Line]) -> Result<Option<(&'static str, String)>, Refusal> {
    let mut select =
        connection.prepare_cached("SELECT price, stock - reserved FROM product WHERE sku = ?1")?;
    for Line { sku, quantity, unit } in lines {
        let found: Option<(i64, i64)> =
            select.query_row([sku], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((price, free)) = found else {
            return Ok(Some(("no_such_product", format!("there is no product {sku}"))));
        };
        if price != *unit {
            let now = format!("the price of {sku} is now {}.{:02}", price / 100, price % 100);
            return Ok(Some(("price_changed", now)));
        }
        if free < i64::from(*quantity) {
            return Ok(Some(("out_of_stock", format!("of {sku} there are {free}"))));
        }
    }
    Ok(None)
}

/// Gives the pieces back. What is not known becomes a tombstone: a Reserve that was on its way comes too late then.
pub(super) fn release(tx: &Tx<'_>, order: String) -> Result<Reservation, Refusal> {
    let Some(row) = Row::find(tx, &order)? else {
        let row = Row::new("released");
        row.keep(tx, &order)?;
        return Ok(row.answer(order));
    };
    match row.state.as_str() {
        "reserved" => settle(tx, order, row, "released"),
        "shipped" => Err(Refusal::Precondition("shipped", "this order's pieces are shipped already".into())),
        _ => Ok(row.answer(order)),
    }
}

/// Lets the pieces leave.
pub(super) fn ship(tx: &Tx<'_>, order: String) -> Result<Reservation, Refusal> {
    let row = Row::find(tx, &order)?.ok_or(Refusal::NotFound("nothing is reserved for this order"))?;
    match row.state.as_str() {
        "reserved" => settle(tx, order, row, "shipped"),
        "shipped" => Ok(row.answer(order)),
        other => Err(Refusal::Precondition("not_reserved", format!("this order's reservation is {other}"))),
    }
}

fn settle(tx: &Tx<'_>, order: String, row: Row, state: &str) -> Result<Reservation, Refusal> {
    let leaves = state == "shipped";
    let mut update = tx.prepare_cached(
        "UPDATE product SET reserved = reserved - item.quantity, stock = stock - iif(?2, item.quantity, 0)
         FROM reserved_item AS item WHERE item.order_id = ?1 AND item.sku = product.sku",
    )?;
    update.execute(params![order, leaves])?;
    let row = Row { state: state.to_owned(), ..row };
    row.keep(tx, &order)?;
    Ok(row.answer(order))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warehouse() -> Connection {
        let connection = Connection::open_in_memory().expect("memory");
        connection.execute_batch(outbox::SCHEMA).expect("tables");
        connection.execute_batch(SCHEMA).expect("tables");
        arrive(&connection, "a", 3);
        arrive(&connection, "b", 1);
        connection
    }

    fn arrive(connection: &Connection, sku: &str, stock: i64) {
        let product = Imported { sku: sku.to_owned(), name: sku.to_owned(), price: 100, stock };
        assert!(import(connection, vec![(0, product)]).expect("imported").is_empty());
    }

    fn line(sku: &str, quantity: u32) -> Line {
        Line { sku: sku.to_owned(), quantity, unit: 100 }
    }

    fn reserved(tx: &Tx<'_>, order: &str, lines: &[Line]) -> String {
        let answer = reserve(tx, order.to_owned(), lines);
        answer.map_or_else(
            |refusal| refusal.to_string(),
            |answer| format!("{} {}", answer.state, answer.reason),
        )
    }

    fn figure(connection: &Connection, name: &str) -> i64 {
        let figures = figures(connection).expect("they can be read");
        figures.into_iter().find(|(own, _)| *own == name).expect("it is there").1
    }

    fn is_balanced(connection: &Connection) -> bool {
        let [imported, sold, promised, reserved, free] =
            ["imported", "sold", "promised", "reserved", "free"].map(|name| figure(connection, name));
        sold + reserved + free == imported && promised == reserved
    }

    #[test]
    fn all_items_are_reserved_or_none() {
        let warehouse = &warehouse();
        let warehouse = Tx { connection: warehouse, trace_id: None };
        assert_eq!(reserved(&warehouse, "1", &[line("a", 2), line("b", 2)]), "refused out_of_stock");
        assert_eq!(figure(&warehouse, "reserved"), 0);
        assert_eq!(reserved(&warehouse, "2", &[line("a", 2), line("b", 1)]), "reserved ");
        assert_eq!(reserved(&warehouse, "2", &[line("a", 2), line("b", 1)]), "reserved ", "again");
        assert_eq!(
            reserved(&warehouse, "1", &[line("a", 2), line("b", 2)]),
            "refused out_of_stock",
            "as answered"
        );
        assert_eq!((figure(&warehouse, "reserved"), figure(&warehouse, "free")), (3, 1));
        ship(&warehouse, "2".to_owned()).expect("shipped");
        ship(&warehouse, "2".to_owned()).expect("shipped before");
        assert!(release(&warehouse, "2".to_owned()).is_err());
        assert_eq!((figure(&warehouse, "sold"), figure(&warehouse, "free")), (3, 1));
        assert!(is_balanced(&warehouse));
    }

    #[test]
    fn a_reservation_that_comes_after_its_release_is_refused() {
        let warehouse = &warehouse();
        let warehouse = Tx { connection: warehouse, trace_id: None };
        release(&warehouse, "1".to_owned()).expect("a tombstone");
        assert!(reserved(&warehouse, "1", &[line("a", 1)]).contains("released before"));
        assert_eq!(reserved(&warehouse, "2", &[line("a", 1)]), "reserved ");
        release(&warehouse, "2".to_owned()).expect("released");
        assert!(reserved(&warehouse, "2", &[line("a", 1)]).contains("released before"));
        assert_eq!(figure(&warehouse, "free"), 4);
    }

    #[test]
    fn a_price_of_yesterday_is_refused_with_that_of_today() {
        let warehouse = &warehouse();
        let warehouse = Tx { connection: warehouse, trace_id: None };
        let answer = reserve(&warehouse, "1".to_owned(), &[Line { unit: 99, ..line("a", 1) }]);
        let answer = answer.expect("an answer");
        assert_eq!(
            (answer.reason.as_str(), answer.detail.as_str()),
            ("price_changed", "the price of a is now 1.00")
        );
    }

    #[test]
    fn an_import_sets_what_there_is_and_cannot_take_what_is_reserved() {
        let warehouse = &warehouse();
        let warehouse = Tx { connection: warehouse, trace_id: None };
        assert_eq!(reserved(&warehouse, "1", &[line("a", 2)]), "reserved ");
        let fewer = Imported { sku: "a".to_owned(), name: "a".to_owned(), price: 100, stock: 1 };
        assert_eq!(import(&warehouse, vec![(7, fewer)]).expect("answered").len(), 1);
        arrive(&warehouse, "a", 2);
        assert!(is_balanced(&warehouse));
        assert_eq!(figure(&warehouse, "imported"), 3);
    }
}
