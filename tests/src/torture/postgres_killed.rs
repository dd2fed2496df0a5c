//! PostgreSQL, as the store, is killed under load: `kill -9` of its postmaster.

use std::time::{Duration, Instant};

use proto::Transport;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rig::{Database, Verdict};

use super::{
    Report, Tried,
    figures::Spread,
    load::{self, Load},
};
use crate::{rabbitmq::VirtualHost, stack::Stack};

/// Callers at work.
const CALLERS: usize = 64;

/// Kills it so often. Every kill comes after a random while under load, and so does its restart; `seed` makes the
/// whiles and the entries the same again.
pub async fn run(rounds: u32, seed: u64, progress: impl FnMut(u32)) -> Tried {
    let database = Database::start().await?;
    let (verdict, resumed) = kill_often(database, &[], rounds, seed, progress).await?;
    let mut report = Report::of(&verdict, rounds);
    report.figures = format!("accepted after the server served again by {resumed}; {verdict}");
    Ok(report)
}

/// Kills a server that commits before it syncs, where the logger was made to take it: something is expected to be
/// missing.
pub(super) async fn run_expecting_violations(rounds: u32, seed: u64) -> anyhow::Result<Verdict> {
    let database = Database::start().await?;
    let settings = [("LOGGER_FAULT", "synchronous-off")];
    Ok(kill_often(database, &settings, rounds, seed, |_| {}).await?.0)
}

async fn kill_often(
    mut database: Database,
    settings: &[(&'static str, &str)],
    rounds: u32,
    seed: u64,
    mut progress: impl FnMut(u32),
) -> anyhow::Result<(Verdict, Spread)> {
    let mut random = StdRng::seed_from_u64(seed);
    let url = database.url().to_owned();
    let all = [settings, &[("LOGGER_STORE", url.as_str())]].concat();
    let stack = Stack::start_on(VirtualHost::create().await, &all).await;
    let load = load::start(&stack, &Transport::ALL, CALLERS, seed);
    load.goes_on(1).await?;
    let mut resumed = Spread::default();
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(random.random_range(50..1_000))).await;
        database.kill().await?;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..500))).await;
        database.launch("").await?;
        database.serves().await?;
        resumed.add(stored_again(&stack, &load).await?);
        progress(round + 1);
    }
    let verdict = if settings.is_empty() {
        load::stop(load, &stack).await?
    } else {
        load::stop_and_rest(load, &stack).await?
    };
    Ok((verdict, resumed))
}

/// Waits until entries are stored again, and not only queued; says how long that took.
async fn stored_again(stack: &Stack, load: &Load) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let client = stack.logger_client();
    let ready = async || client.get("/readyz").await.is_ok_and(|(status, _)| status == 200).then_some(());
    crate::soon("the logger stores again", ready).await?;
    load.goes_on(1).await?;
    Ok(begun.elapsed())
}
