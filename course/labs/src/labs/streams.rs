//! Lab 7: a bulk load, and a mirror of one logger in another, by streams.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use proto::StoredEntry;
use rig::{Direction, Fault, Relay, Services, eventually};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    bench::{Bench, Random},
    probe::CallCounter,
    program::Running,
    run::Run,
    verdict::{Failed, Trouble, expect_all, expect_at_most, expect_count},
    words::{Text, seconds, text},
};

/// How long a mirror may take to catch up.
const CATCHES_UP: Duration = Duration::from_secs(10);

/// Most entries that may be sent again after a kill: what SyncLogs may have in flight, and some.
const AGAIN: usize = 1_100;

/// Most bytes that may be taken from the source while the target takes none.
const TAKEN: u64 = 24 * 1024 * 1024;

/// Most memory that a program may grow by meanwhile, in KiB.
const GROWTH_KIB: u64 = 96 * 1024;

/// The check.
///
/// # Errors
/// As [`crate::labs::check`].
pub(super) async fn check(bench: &mut Bench<'_>, run: &mut Run<'_>) -> anyhow::Result<()> {
    run.property(1, async || load(bench).await).await?;

    run.property(2, async || {
        let pair = Pair::start(bench, "same").await?;
        pair.write(&entries(&mut bench.random(2), 2_000)).await?;
        let _mirror = pair.mirror()?;
        pair.expect_same(2_000).await
    })
    .await?;

    run.property(3, async || {
        let pair = Pair::start(bench, "soon").await?;
        let mut random = bench.random(3);
        let _mirror = pair.mirror()?;
        pair.write(&entries(&mut random, 1)).await?;
        pair.expect_same_within(1, bench.patient(Duration::from_secs(5))).await?;
        for entry in entries(&mut random, 100) {
            let begun = Instant::now();
            pair.write(&[entry]).await?;
            tokio::time::sleep(Duration::from_millis(20).saturating_sub(begun.elapsed())).await;
        }
        pair.expect_same(101).await?;
        let (source, target) = pair.rows().await?;
        let at: HashMap<Uuid, i64> = target.iter().map(|row| (row.id, micros(row))).collect();
        let mut late: Vec<i64> =
            source.iter().filter_map(|row| Some(at.get(&row.id)? - micros(row))).collect();
        late.sort_unstable();
        let p95 = Duration::from_micros(late[late.len() * 95 / 100].max(0).unsigned_abs());
        expect_at_most(
            text!(
                "p95 from the source's store to the target's",
                "p95 от записи в источник до записи в приёмник"
            ),
            bench.patient(Duration::from_millis(500)),
            p95,
            seconds,
        )?;
        Ok(())
    })
    .await?;

    run.property(4, async || {
        let pair = Pair::start(bench, "killed").await?;
        pair.write(&entries(&mut bench.random(4), 4_000)).await?;
        // 4,000 take some seconds: however busy the machine is, each kill finds the mirror at work.
        pair.to.set(Direction::ToServer, Fault::Bandwidth(300_000));
        for _ in 0..5 {
            let goal = (pair.position().await.unwrap_or_default() + 500).min(4_000);
            let mut mirror = pair.mirror()?;
            let at_work = async || (pair.position().await? >= goal).then_some(());
            let worked = eventually("the mirror works", CATCHES_UP, at_work).await;
            mirror.still_runs()?;
            worked.map_err(|_| {
                Failed::new(
                    text!("{goal} rows in the target", "записей в приёмнике: {goal}"),
                    text!("fewer", "меньше"),
                )
            })?;
            mirror.kill().await?;
        }
        let _mirror = pair.mirror()?;
        pair.expect_same(4_000).await?;
        let (_, target) = pair.rows().await?;
        let again: u32 = target.iter().map(|row| row.attempts - 1).sum();
        let what =
            text!("entries sent again after five kills", "записей, отправленных повторно после пяти kill");
        expect_at_most(what, 5 * AGAIN, again as usize, Text::same)?;
        Ok(())
    })
    .await?;

    run.property(5, async || {
        let mut pair = Pair::start(bench, "restarted").await?;
        let mut random = bench.random(5);
        let _mirror = pair.mirror()?;
        let mut count = 0;
        for round in 0..4 {
            pair.write(&entries(&mut random, 500)).await?;
            count += 500;
            let killed = if round % 2 == 0 { &mut pair.source } else { &mut pair.target };
            killed.logger.kill().await?;
            killed.start_logger().await?;
            pair.write(&entries(&mut random, 10)).await?;
            count += 10;
            pair.expect_same_within(count, bench.patient(Duration::from_secs(5))).await?;
        }
        Ok(())
    })
    .await?;

    run.property(6, async || {
        let pair = Pair::start(bench, "held-back").await?;
        let mut random = bench.random(6);
        let mirror = pair.mirror()?;
        pair.write(&entries(&mut random, 1)).await?;
        pair.expect_same_within(1, bench.patient(Duration::from_secs(5))).await?;
        pair.to.set(Direction::ToServer, Fault::Freeze);
        let (before, memory_kib) = (pair.from.passed(Direction::ToClient), mirror.memory_kib()?);
        let large: Vec<Value> = entries(&mut random, 256)
            .into_iter()
            .map(|mut entry| {
                entry["data"] = format!("{} {}", entry["data"], "x".repeat(255 * 1024)).into();
                entry
            })
            .collect();
        for part in large.chunks(64) {
            pair.write(part).await?;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let taken = pair.from.passed(Direction::ToClient) - before;
        let grown = mirror.peak_memory_kib().saturating_sub(memory_kib);
        pair.to.admit();
        if taken == 0 {
            Err(Trouble(text!(
                "nothing was taken from the source: the fault met nothing",
                "из источника ничего не взято: сбой ничего не застал"
            )))?;
        }
        let what = text!("bytes taken from the source in 5 s", "байт, взятых из источника за 5 с");
        expect_at_most(what, TAKEN, taken, Text::same)?;
        expect_at_most(text!("KiB of memory more", "прирост памяти, КиБ"), GROWTH_KIB, grown, Text::same)?;
        pair.expect_same(257).await
    })
    .await
}

/// Property 1: a load in one call.
async fn load(bench: &Bench<'_>) -> anyhow::Result<()> {
    let mut services = bench.services("load", "", &[])?;
    services.start_logger().await?;
    let counter = CallCounter::open(services.logger_at.grpc).await?;
    let mut random = bench.random(1);
    let mut lines = entries(&mut random, 5_000);
    let bad = [usize::try_from(bench.seed % 1_000)? + 7, usize::try_from(bench.seed % 2_000)? + 2_500];
    for at in bad {
        lines[at]["name"] = "".into();
    }
    let settings = [("MODE", "load".to_owned()), ("TO_GRPC_URL", format!("http://{}", counter.address))];
    let mut program = bench.program.start(&settings)?;
    for (n, line) in lines.iter_mut().enumerate() {
        line["n"] = n.into();
    }
    let many = async || (counter.calls() > 10).then_some(());
    let limit = bench.patient(Duration::from_secs(20));
    let loaded = async {
        program.tell(&lines, limit).await?;
        program.finish(limit).await
    };
    let summary = tokio::select! {
        summary = loaded => summary?,
        // It need not be awaited to the end.
        Ok(()) = eventually("more than one call", CATCHES_UP, many) => Vec::new(),
    };
    if counter.calls() != 1 {
        Err(Failed::new(
            text!("one call for 5,000 lines", "один вызов на 5000 строк"),
            text!("{} of them at least", "не меньше {}", counter.calls()),
        ))?;
    }
    let text = summary.last().map(|line| line.text.clone()).unwrap_or_default();
    let summary: Value = serde_json::from_str(&text).unwrap_or_default();
    let expected = json!({ "stored": 4_998, "refused": bad });
    if summary["stored"] != expected["stored"] || summary["refused"] != expected["refused"] {
        Err(Failed::new(Text::same(expected), Text::same(text)))?;
    }
    let stored = services.logger_client().all_stored().await?.len();
    expect_count(text!("rows in the store", "записей в хранилище"), 4_998, stored)?;
    Ok(())
}

fn micros(row: &StoredEntry) -> i64 {
    row.stored_at.as_microsecond()
}

fn entries(random: &mut Random, count: usize) -> Vec<Value> {
    let mut entry = || json!({ "id": random.id(), "name": random.name(), "data": random.data() });
    (0..count).map(|_| entry()).collect()
}

/// Two loggers with a relay before each, and a place for the mirror's state.
struct Pair<'a, 'b> {
    bench: &'a Bench<'b>,
    source: Services,
    target: Services,
    from: Relay,
    to: Relay,
    state: PathBuf,
}

impl<'a, 'b> Pair<'a, 'b> {
    async fn start(bench: &'a Bench<'b>, name: &str) -> anyhow::Result<Self> {
        let mut source = bench.services(&format!("{name}/source"), "", &[])?;
        let mut target = bench.services(&format!("{name}/target"), "", &[])?;
        source.start_logger().await?;
        target.start_logger().await?;
        let (from, to) =
            (Relay::open(source.logger_at.grpc).await?, Relay::open(target.logger_at.grpc).await?);
        Ok(Pair { bench, source, target, from, to, state: bench.directory(&format!("{name}/state"))? })
    }

    /// Starts the program.
    fn mirror(&self) -> anyhow::Result<Running> {
        self.bench.program.start(&[
            ("MODE", "mirror".to_owned()),
            ("FROM_GRPC_URL", format!("http://{}", self.from.address())),
            ("TO_GRPC_URL", format!("http://{}", self.to.address())),
            ("STATE_DIR", self.state.display().to_string()),
        ])
    }

    /// Stores entries in the source.
    async fn write(&self, entries: &[Value]) -> anyhow::Result<()> {
        let http = rig::http()?;
        for part in entries.chunks(1_000) {
            let url = format!("http://{}/logs", self.source.logger_at.http);
            http.post(url).body(serde_json::to_vec(part)?).send().await?.error_for_status()?;
        }
        Ok(())
    }

    /// How many rows the target has, about: the position of the newest.
    async fn position(&self) -> Option<u64> {
        let (_, page) = self.target.logger_client().get("/logs?limit=1").await.ok()?;
        page["data"]["next"].as_str().map_or(Some(0), |position| position.parse().ok())
    }

    /// The rows of both, newest first.
    async fn rows(&self) -> anyhow::Result<(Vec<StoredEntry>, Vec<StoredEntry>)> {
        Ok((self.source.logger_client().all_stored().await?, self.target.logger_client().all_stored().await?))
    }

    async fn expect_same(&self, count: usize) -> anyhow::Result<()> {
        self.expect_same_within(count, self.bench.patient(CATCHES_UP)).await
    }

    /// Expects that the target comes to hold what the source holds, in the same order.
    async fn expect_same_within(&self, count: usize, within: Duration) -> anyhow::Result<()> {
        let client = self.target.logger_client();
        // For as long as there are more: how fast a busy machine is says nothing of the program.
        let (mut most, mut grown) = (0, Instant::now());
        while most < count && grown.elapsed() < within {
            let there = client.all_stored().await.map_or(0, |rows| rows.len());
            if there > most {
                (most, grown) = (there, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (source, target) = self.rows().await?;
        if source.len() != count {
            Err(Trouble(text!(
                "the source holds {} entries, not {count}",
                "в источнике записей: {}, а не {count}",
                source.len()
            )))?;
        }
        let ids: HashSet<Uuid> = target.iter().map(|row| row.id).collect();
        let what = text!(
            "entries of the source that are in the target",
            "записи источника, которые есть в приёмнике"
        );
        expect_all(what, &source, |row| {
            (!ids.contains(&row.id)).then(|| text!("id {} is not there", "нет id {}", row.id))
        })?;
        expect_count(text!("rows in the target", "записей в приёмнике"), count, target.len())?;
        expect_all(
            text!("rows that are the same, in the same order", "одинаковые записи в том же порядке"),
            source.iter().zip(&target),
            |(one, other)| {
                let same = (one.id, &one.name, &one.data, one.level)
                    == (other.id, &other.name, &other.data, other.level);
                (!same).then(|| {
                    text!(
                        "{} of {}, and {} of {}",
                        "{} ({}) и {} ({})",
                        one.id,
                        one.name,
                        other.id,
                        other.name
                    )
                })
            },
        )?;
        Ok(())
    }
}
