//! Sets the logger's wall clock forward and back under load, restarts it meanwhile, and has its times reset at the end.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use proto::Time;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rig::Ledger;

use super::{Report, Tried, lone::Lone};
use crate::{clock::WallClock, process, soon};

/// Callers at work.
const CALLERS: usize = 12;

const DAY: i64 = 86_400;

/// Sets it so often.
pub async fn run(rounds: u32, seed: u64, mut progress: impl FnMut(u32)) -> Tried {
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir()?;
    let clock = WallClock::new(dir.path());
    let store = format!("sqlite:{}", dir.path().join("logs.db").display());
    let mut settings = BTreeMap::from(clock.settings());
    settings.insert("LOGGER_STORE", store);
    // What is a week old is deleted, and nothing is.
    settings.insert("LOGGER_RETENTION_HOURS", "168".to_owned());
    let mut ledger = Ledger::default();
    let mut broken = Vec::new();
    for round in 0..rounds {
        let mut lone = Lone::start(&settings, dir.path()).await?;
        let callers = lone.load(CALLERS, &mut random);
        callers.goes_on(50).await?;
        // Back first: then nothing in the store is ahead of a clock that is right.
        let leap = random.random_range(8..4_000) * DAY * if round % 2 == 0 { -1 } else { 1 };
        clock.set(leap);
        let (there, and_back) =
            if leap > 0 { ("forward", "ahead of the clock") } else { ("back", "forward") };
        tells(&lone, there).await?;
        callers.goes_on(50).await?;
        if round % 4 < 2 {
            // It is started again by a wrong clock.
            lone.logger.kill().await?;
            ledger.merge(callers.stop().await?);
            lone = Lone::start(&settings, dir.path()).await?;
        } else {
            ledger.merge(callers.stop().await?);
        }
        let callers = lone.load(CALLERS, &mut random);
        callers.goes_on(50).await?;
        clock.set(0);
        tells(&lone, and_back).await?;
        // Retention looks every second.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        callers.goes_on(50).await?;
        ledger.merge(callers.stop().await?);
        if round == 0 {
            let (_, ready) = lone.get("/readyz").await?;
            if ready["detail"]["clock_trouble"].as_str().is_some_and(|told| told.contains("ahead of")) {
                broken.push(format!("a clock that was behind has left times ahead of it: {ready}"));
            }
        }
        lone.logger.stop().await?;
        progress(round + 1);
    }
    // By a clock that is right, and with nobody at work.
    let mut all = settings.clone();
    all.insert("RUST_LOG", "info".to_owned());
    let mut reset = process::start_with("logger", &["--reset-times"], &all, dir.path());
    if !reset.ended().await?.success() || !reset.log().contains("set to now") {
        broken.push(format!("--reset-times: {}", reset.log()));
    }
    let mut lone = Lone::start(&settings, dir.path()).await?;
    let stored = lone.all_stored().await?;
    let now = Time::now();
    let ahead = stored.iter().filter(|entry| entry.stored_at > now).count();
    if ahead > 0 {
        broken.push(format!("{ahead} entries are ahead of the clock after --reset-times"));
    }
    if !stored.is_sorted_by(|newer, older| newer.stored_at >= older.stored_at) {
        broken.push("the times of storing are not in the order of storing".to_owned());
    }
    let (_, ready) = lone.get("/readyz").await?;
    if !ready["detail"]["clock_trouble"].is_null() {
        broken.push(format!("after --reset-times: {ready}"));
    }
    lone.logger.stop().await?;
    let verdict = ledger.verdict(&stored, &HashSet::new());
    let report = Report::of(&verdict, rounds);
    broken.extend(report.broken);
    Ok(Report { broken, ..report })
}

/// Waits until `/readyz`, which stays 200, names what is wrong with the clock.
async fn tells(lone: &Lone, word: &str) -> anyhow::Result<()> {
    soon(&format!("/readyz, which is 200, names the clock: {word}"), async || {
        let (status, body) = lone.get("/readyz").await.ok()?;
        let told = body["detail"]["clock_trouble"].as_str()?;
        (status == 200 && told.contains(word)).then_some(())
    })
    .await
}
