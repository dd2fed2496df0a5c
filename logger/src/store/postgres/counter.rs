//! The table `counter`, of one row, which gives the entries their numbers: whether it fits them. After a restore of one
//! of the two tables, or of a dump's data into tables that were there, it does not, and nothing can be stored.

use tokio_postgres::{Client, Row};

use super::cause::{Cause, Unfit};

/// The number that was given last, and that of the newest entry, as of one moment.
const LOOK: &str = "SELECT last, (SELECT max(seq) FROM entries) FROM counter";

/// Looks at both tables.
///
/// # Errors
/// [`Unfit`] says what to do.
pub(super) async fn look(client: &Client) -> Result<(), Cause> {
    let row = only(client.query(LOOK, &[]).await?)?;
    Ok(fits(row.try_get(0)?, row.try_get(1)?)?)
}

/// Its one row.
pub(super) fn only(rows: Vec<Row>) -> Result<Row, Unfit> {
    <[Row; 1]>::try_from(rows).map(|[row]| row).map_err(|rows| Unfit::Rows { rows: rows.len() })
}

/// Whether the number after the `last` that was given is free, where the `newest` entry has this one.
pub(super) fn fits(last: i64, newest: Option<i64>) -> Result<(), Unfit> {
    match newest {
        Some(newest) if newest > last => Err(Unfit::Behind { last, newest }),
        Some(_) | None => Ok(()),
    }
}
