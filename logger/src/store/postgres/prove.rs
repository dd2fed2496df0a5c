//! Whether a server can keep our promise: what it has committed is synced, and stays as it was written.

use tokio_postgres::Client;

use super::cause::{Cause, Unproved};

/// The oldest server whose settings are known here.
const OLDEST: i32 = 140_000;

/// What is asked of a server.
const ASK: &str = "
    SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(),
        current_setting('fsync'), current_setting('synchronous_commit'), current_setting('server_encoding'),
        current_setting('synchronous_standby_names'),
        (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum'))";

/// Asks the server of a connection, and tells the log whether a standby has what is committed.
///
/// # Errors
/// [`Unproved`] names the setting.
pub(super) async fn prove(client: &Client) -> Result<(), Cause> {
    let row = client.query_one(ASK, &[]).await?;
    let (number, version): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
    let (is_standby, encoding): (bool, String) = (row.try_get(2)?, row.try_get(5)?);
    let (named, standbys): (String, i64) = (row.try_get(6)?, row.try_get(7)?);
    if number < OLDEST {
        return Err(Unproved::TooOld(version).into());
    }
    if is_standby {
        return Err(Unproved::Standby.into());
    }
    for (column, setting) in [(3, "fsync"), (4, "synchronous_commit")] {
        check(setting, row.try_get(column)?)?;
    }
    if encoding != "UTF8" {
        return Err(Unproved::Encoding(encoding).into());
    }
    if named.is_empty() {
        tracing::info!(%version, "the database has no synchronous standby: what is stored is on its own disk alone");
    } else {
        tracing::info!(%version, standbys, synchronous_standby_names = %named, "the database has synchronous standbys");
    }
    Ok(())
}

/// Whether a setting that may be on or off, or more, is not off.
pub(super) fn check(setting: &'static str, value: String) -> Result<(), Unproved> {
    if value == "off" { Err(Unproved::NotDurable { setting, value }) } else { Ok(()) }
}
