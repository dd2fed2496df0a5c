//! What the database contains: by what it is known as ours, and how it comes to the version of today.

use tokio_postgres::Client;

use super::{
    cause::{Cause, Unfit},
    counter,
};
use crate::store::migrations::{self, VERSION};

/// Of the advisory lock under which tables are made and changed: "fourwire" in ASCII.
const LOCK: i64 = 0x666f_7572_7769_7265;

/// What is done about an older version of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schema {
    /// It is brought up to date, at start.
    BringUpToDate,
    /// It is refused: somebody has replaced the database while the logger runs.
    MustBeThere,
}

/// Looks at the version of the tables, and whether they fit each other. Loggers that start together take turns.
///
/// # Errors
/// [`Unfit`], or what the server says.
pub(super) async fn look(client: &mut Client, schema: Schema) -> Result<(), Cause> {
    match (version(client).await?, schema) {
        (found, _) if found == VERSION => return counter::look(client).await,
        (found, _) if found > VERSION => return Err(Unfit::Newer { found }.into()),
        (_, Schema::MustBeThere) => return Err(Unfit::Changed.into()),
        (_, Schema::BringUpToDate) => {}
    }
    let transaction = client.transaction().await?;
    // Another logger may be at it, and a large table takes its time.
    transaction.batch_execute("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0").await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let found = version(transaction.client()).await?;
    let missing = migrations::after(found).ok_or(Unfit::Newer { found })?;
    for migration in missing {
        transaction.batch_execute(migration.postgres).await?;
    }
    transaction.execute("UPDATE counter SET version = $1", &[&VERSION]).await?;
    transaction.commit().await?;
    if let Some(last) = missing.last() {
        tracing::info!(version = VERSION, with = last.what, "the database is brought up to date");
    }
    Ok(())
}

/// The version of the tables; 0 where there are none.
async fn version(client: &Client) -> Result<i32, Cause> {
    let ours = "
        SELECT to_regclass('counter') IS NOT NULL, to_regclass('entries') IS NOT NULL,
            EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('counter') AND attname = 'version')";
    let row = client.query_one(ours, &[]).await?;
    match (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?) {
        (true, true, true) => {
            Ok(counter::only(client.query("SELECT version FROM counter", &[]).await?)?.try_get(0)?)
        }
        (false, false, _) => Ok(0),
        (_, _, _) => Err(Unfit::Foreign.into()),
    }
}
