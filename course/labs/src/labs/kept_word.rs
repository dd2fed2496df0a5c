//! Lab 8: a logger whose 202 survives a kill, a restart and a power cut.

mod logger;
mod power;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rand::RngExt;
use rig::eventually;
use serde_json::{Value, json};
use uuid::Uuid;

use self::{
    logger::{Answer, Logger, entries, entry},
    power::Power,
};
use crate::{
    bench::{Bench, Random},
    run::Run,
    talk::shortened,
    verdict::{Failed, NotTried, expect_all, expect_at_most, expect_count},
};

/// How it is told where to listen.
const LISTEN: &str = "LOGGER_HTTP_LISTEN";

/// How often it is killed.
const KILLS: usize = 20;

/// How often the power is cut.
const CUTS: usize = 5;

/// How long it may take to answer again after a kill.
const BACK: Duration = Duration::from_secs(3);

/// The check.
///
/// # Errors
/// As [`crate::labs::check`].
pub(super) async fn check(bench: &mut Bench<'_>, run: &mut Run<'_>) -> anyhow::Result<()> {
    run.property(1, async || {
        let mut logger = Logger::start(bench, "kept").await?;
        let entries = entries(&mut bench.random(1), 200);
        let answers = logger.write(&entries, 32).await?;
        expect_all("entries answered with 202 and `stored`", &answers, |answer| {
            answer.is_not(202, "stored")
        })?;
        logger.expect_kept("could be read back immediately", &answers).await?;
        // That SIGTERM ends it well is property 6.
        logger.running.end().await?;
        logger.start_again().await?;
        logger.expect_kept("could be read back after a restart", &answers).await
    })
    .await?;

    run.property(2, async || {
        let logger = Logger::start(bench, "bad").await?;
        let mut random = bench.random(2);
        let good = logger.post(&random.id(), entry(&random.id(), &mut random).to_string().into_bytes()).await;
        expect_count("status of a good entry", 202, good.status.into())?;
        let bad = bad_bodies(&mut random);
        let mut answers = Vec::new();
        for (what, id, body) in bad {
            let sent = shortened(&String::from_utf8_lossy(&body));
            answers.push((what, sent, logger.post(&id, body).await, logger.get(&id).await?));
        }
        expect_all(
            "bad bodies that are answered with 400, and not stored",
            &answers,
            |(what, sent, answer, stored)| {
                let kept = if stored.is_some() { ", and it is stored" } else { "" };
                (answer.status != 400 || stored.is_some())
                    .then(|| format!("{what}, sent as {sent:?}: {}{kept}", answer.said()))
            },
        )?;
        Ok(())
    })
    .await?;

    run.property(3, async || killed(bench).await).await?;

    run.property(4, async || {
        let mut logger = Logger::start(bench, "again").await?;
        let mut random = bench.random(4);
        let entries = entries(&mut random, 20);
        logger.write(&entries, 4).await?;
        let other: Vec<Value> = entries
            .iter()
            .map(|entry| json!({ "id": entry["id"], "name": entry["name"], "data": random.data() }))
            .collect();
        for when in ["before a restart", "after a restart"] {
            let same = logger.write(&entries, 4).await?;
            expect_all(&format!("entries sent again {when}: 202 and `duplicate`"), &same, |answer| {
                answer.is_not(202, "duplicate")
            })?;
            let changed = logger.write(&other, 4).await?;
            expect_all(&format!("other content under the same id {when}: 409"), &changed, |answer| {
                (answer.status != 409).then(|| answer.said())
            })?;
            if when == "before a restart" {
                logger.running.end().await?;
                logger.start_again().await?;
            }
        }
        Ok(())
    })
    .await?;

    run.property(5, async || torn(bench).await).await?;

    run.property(6, async || {
        let mut logger = Logger::start(bench, "term").await?;
        let load = logger.load(bench.random(6), 16);
        let answered = async || (load.sent().len() >= 100).then_some(());
        if eventually("100 answers", bench.patient(Duration::from_secs(10)), answered).await.is_err() {
            Err(Failed::new("100 answers to 16 clients within 10 s", load.sent().len()))?;
        }
        let stopped = logger.running.stop().await;
        let answers = load.stop().await;
        stopped?;
        expect_some(&answers)?;
        logger.start_again().await?;
        logger.expect_kept("are there after SIGTERM under load", &answers).await
    })
    .await?;

    run.property(7, async || {
        let files = bench.directory("power/files")?;
        let power = Power::watch(&files, &bench.directory("power")?).await?;
        let mut logger = Logger::start_in(bench, files, power.settings().to_vec()).await?;
        let mut random = bench.random(7);
        let mut answers = Vec::new();
        for _ in 0..CUTS {
            answers.extend(logger.write(&entries(&mut random, 10), 4).await?);
            let load = logger.load(Random(rand::SeedableRng::from_seed(random.0.random())), 4);
            tokio::time::sleep(Duration::from_millis(random.0.random_range(50..150))).await;
            logger.running.kill().await?;
            answers.extend(load.stop().await);
            if !power.sees() {
                return Err(NotTried(
                    "the shim sees no writes of this program: is it statically linked?".to_owned(),
                )
                .into());
            }
            power.cut()?;
            logger.start_again().await?;
            logger.expect_kept("are there after a power cut", &answers).await?;
        }
        Ok(())
    })
    .await
}

/// Property 3: killed again and again while it writes.
async fn killed(bench: &Bench<'_>) -> anyhow::Result<()> {
    let mut logger = Logger::start(bench, "killed").await?;
    let mut random = bench.random(3);
    let (mut answers, mut slowest) = (Vec::new(), Duration::ZERO);
    for round in 1..=KILLS {
        let load = logger.load(Random(rand::SeedableRng::from_seed(random.0.random())), 16);
        tokio::time::sleep(Duration::from_millis(random.0.random_range(10..150))).await;
        logger.running.kill().await?;
        answers.extend(load.stop().await);
        let begun = Instant::now();
        logger.start_again().await?;
        slowest = slowest.max(begun.elapsed());
        // Now and then, and not only at the end: what is lost once may be covered up by what follows.
        if round % 10 == 0 {
            logger.expect_kept(&format!("are there after kill {round} of {KILLS}"), &answers).await?;
        }
    }
    expect_some(&answers)?;
    expect_at_most("time until it listens again after a kill", bench.patient(BACK), slowest)?;
    Ok(())
}

/// Property 5: half a record stands at the end of the file that was written last.
async fn torn(bench: &Bench<'_>) -> anyhow::Result<()> {
    let mut logger = Logger::start(bench, "torn").await?;
    let mut random = bench.random(5);
    let mut answers = logger.write(&entries(&mut random, 19), 4).await?;
    let before = sizes(&logger.files)?;
    answers.extend(logger.write(&entries(&mut random, 1), 1).await?);
    logger.running.kill().await?;
    let grown = sizes(&logger.files)?.into_iter().filter_map(|(path, size)| {
        let old = before.get(&path).copied();
        (size > old.unwrap_or(0)).then_some((size - old.unwrap_or(0), path, old))
    });
    let (growth, path, old) =
        grown.max().ok_or_else(|| Failed::new("a file in DATA_DIR that grows with an entry", "none"))?;
    // The first half of the last record once more, at the end; of a file that holds this record alone, as a new file.
    let bytes = fs::read(&path)?;
    let record = &bytes[bytes.len() - usize::try_from(growth)?..];
    let half = &record[..record.len() / 2];
    let end = old.map_or(0, |_| bytes.len() as u64);
    let target = if old.is_some() {
        path.clone()
    } else {
        path.with_file_name(format!("{}{}", Uuid::now_v7(), extension(&path)))
    };
    fs::File::options().create(true).truncate(false).write(true).open(&target)?.write_all_at(half, end)?;
    logger.start_again().await?;
    logger.expect_kept("are there after half a record was found in the file", &answers).await?;
    answers.extend(logger.write(&entries(&mut random, 5), 1).await?);
    expect_all("entries that are stored", &answers, |answer| answer.is_not(202, "stored"))?;
    logger.running.kill().await?;
    logger.start_again().await?;
    logger.expect_kept("are there after the next restart", &answers).await
}

fn extension(path: &Path) -> String {
    path.extension().map_or_else(String::new, |extension| format!(".{}", extension.to_string_lossy()))
}

/// The files of a directory, but for those that hold no record.
fn sizes(dir: &Path) -> anyhow::Result<BTreeMap<PathBuf, u64>> {
    let mut sizes = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.to_string_lossy();
        if path.is_file() && !["-shm", ".lock", ".reserve"].iter().any(|end| name.ends_with(end)) {
            sizes.insert(path.clone(), fs::metadata(&path)?.len());
        }
    }
    Ok(sizes)
}

/// Without a 202 nothing was promised, and the property says nothing.
fn expect_some(answers: &[Answer]) -> Result<(), Failed> {
    if answers.iter().any(|answer| answer.status == 202) {
        Ok(())
    } else {
        Err(Failed::new("entries answered with 202 under load", "none"))
    }
}

/// Twelve bodies that are no entry, each with the id that would be looked for.
fn bad_bodies(random: &mut Random) -> Vec<(&'static str, Uuid, Vec<u8>)> {
    let long = "n".repeat(257);
    let mut body = |what, make: &dyn Fn(&Uuid) -> Vec<u8>| {
        let id = random.id();
        (what, id, make(&id))
    };
    let text = |value: Value| value.to_string().into_bytes();
    vec![
        body("an empty body", &|_| Vec::new()),
        body("no JSON", &|_| b"hello".to_vec()),
        body("half an object", &|id| format!("{{\"id\":\"{id}\",\"name\":\"a\",\"da").into_bytes()),
        body("a list", &|_| b"[]".to_vec()),
        body("a string", &|_| b"\"name\"".to_vec()),
        body("null", &|_| b"null".to_vec()),
        body("no name", &|id| text(json!({ "id": id, "data": "x" }))),
        body("an empty name", &|id| text(json!({ "id": id, "name": "", "data": "x" }))),
        body("a name that is a number", &|id| text(json!({ "id": id, "name": 5, "data": "x" }))),
        body("a name of 257 bytes", &|id| text(json!({ "id": id, "name": long, "data": "x" }))),
        body("an id that is no UUID", &|_| text(json!({ "id": "seven", "name": "a", "data": "x" }))),
        body("an unknown level", &|id| text(json!({ "id": id, "name": "a", "data": "x", "level": "loud" }))),
    ]
}
