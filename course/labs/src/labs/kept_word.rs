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
    words::{Text, seconds, text},
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
        let what = text!("entries answered with 202 and `stored`", "записи с ответом 202 и `stored`");
        expect_all(what, &answers, |answer| answer.is_not(202, "stored"))?;
        let when = text!("could be read back immediately", "читаются обратно сразу");
        logger.expect_kept(when, &answers).await?;
        // That SIGTERM ends it well is property 6.
        logger.running.end().await?;
        logger.start_again().await?;
        let when = text!("could be read back after a restart", "читаются обратно после перезапуска");
        logger.expect_kept(when, &answers).await
    })
    .await?;

    run.property(2, async || {
        let logger = Logger::start(bench, "bad").await?;
        let mut random = bench.random(2);
        let good = logger.post(&random.id(), entry(&random.id(), &mut random).to_string().into_bytes()).await;
        expect_count(
            text!("status of a good entry", "статус ответа на верную запись"),
            202,
            good.status.into(),
        )?;
        let bad = bad_bodies(&mut random);
        let mut answers = Vec::new();
        for (what, id, body) in bad {
            let sent = shortened(&String::from_utf8_lossy(&body));
            answers.push((what, sent, logger.post(&id, body).await, logger.get(&id).await?));
        }
        expect_all(
            text!(
                "bad bodies that are answered with 400, and not stored",
                "негодные тела с ответом 400, и ничего не сохранено"
            ),
            &answers,
            |(Text { en, ru }, sent, answer, stored)| {
                let is_kept = stored.is_some();
                let (kept, kept_ru) = if is_kept {
                    (", and it is stored", ", и запись сохранена")
                } else {
                    ("", "")
                };
                let Text { en: said, ru: said_ru } = answer.said();
                (answer.status != 400 || is_kept).then(|| {
                    text!(
                        "{en}, sent as {sent:?}: {said}{kept}",
                        "{ru}, отправлено {sent:?}: {said_ru}{kept_ru}"
                    )
                })
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
        for restarted in [false, true] {
            let (when, when_ru) = if restarted { ("after", "после") } else { ("before", "до") };
            let same = logger.write(&entries, 4).await?;
            let what = text!(
                "entries sent again {when} a restart: 202 and `duplicate`",
                "те же записи ещё раз {when_ru} перезапуска: 202 и `duplicate`"
            );
            expect_all(what, &same, |answer| answer.is_not(202, "duplicate"))?;
            let changed = logger.write(&other, 4).await?;
            let what = text!(
                "other content under the same id {when} a restart: 409",
                "другое содержимое под тем же id {when_ru} перезапуска: 409"
            );
            expect_all(what, &changed, |answer| (answer.status != 409).then(|| answer.said()))?;
            if !restarted {
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
            Err(Failed::new(
                text!("100 answers to 16 clients within 10 s", "100 ответов 16 клиентам за 10 с"),
                Text::same(load.sent().len()),
            ))?;
        }
        let stopped = logger.running.stop().await;
        let answers = load.stop().await;
        stopped?;
        expect_some(&answers)?;
        logger.start_again().await?;
        let when = text!("are there after SIGTERM under load", "на месте после SIGTERM под нагрузкой");
        logger.expect_kept(when, &answers).await
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
                return Err(NotTried(text!(
                    "the shim sees no writes of this program: is it statically linked?",
                    "shim не видит записей этой программы: она скомпонована статически?"
                ))
                .into());
            }
            power.cut()?;
            logger.start_again().await?;
            let when = text!("are there after a power cut", "на месте после отключения питания");
            logger.expect_kept(when, &answers).await?;
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
            let when =
                text!("are there after kill {round} of {KILLS}", "на месте после kill {round} из {KILLS}");
            logger.expect_kept(when, &answers).await?;
        }
    }
    expect_some(&answers)?;
    let what =
        text!("time until it listens again after a kill", "время после kill, пока снова не слушает порт");
    expect_at_most(what, bench.patient(BACK), slowest, seconds)?;
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
    let (growth, path, old) = grown.max().ok_or_else(|| {
        Failed::new(
            text!(
                "a file in DATA_DIR that grows with an entry",
                "файл в DATA_DIR, который растёт с новой записью"
            ),
            text!("none", "ни одного"),
        )
    })?;
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
    let when = text!(
        "are there after half a record was found in the file",
        "на месте, когда в конце файла обрывок записи"
    );
    logger.expect_kept(when, &answers).await?;
    answers.extend(logger.write(&entries(&mut random, 5), 1).await?);
    let what = text!("entries that are stored", "сохранённые записи");
    expect_all(what, &answers, |answer| answer.is_not(202, "stored"))?;
    logger.running.kill().await?;
    logger.start_again().await?;
    let when = text!("are there after the next restart", "на месте после следующего перезапуска");
    logger.expect_kept(when, &answers).await
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
        Err(Failed::new(
            text!("entries answered with 202 under load", "записи с ответом 202 под нагрузкой"),
            text!("none", "ни одной"),
        ))
    }
}

/// Twelve bodies that are no entry, each with the id that would be looked for.
fn bad_bodies(random: &mut Random) -> Vec<(Text, Uuid, Vec<u8>)> {
    let long = "n".repeat(257);
    let mut body = |what, make: &dyn Fn(&Uuid) -> Vec<u8>| {
        let id = random.id();
        (what, id, make(&id))
    };
    let text = |value: Value| value.to_string().into_bytes();
    vec![
        body(text!("an empty body", "пустое тело"), &|_| Vec::new()),
        body(text!("no JSON", "не JSON"), &|_| b"hello".to_vec()),
        body(text!("half an object", "половина объекта"), &|id| {
            format!("{{\"id\":\"{id}\",\"name\":\"a\",\"da").into_bytes()
        }),
        body(text!("a list", "список"), &|_| b"[]".to_vec()),
        body(text!("a string", "строка"), &|_| b"\"name\"".to_vec()),
        body(Text::same("null"), &|_| b"null".to_vec()),
        body(text!("no name", "без имени"), &|id| text(json!({ "id": id, "data": "x" }))),
        body(text!("an empty name", "пустое имя"), &|id| {
            text(json!({ "id": id, "name": "", "data": "x" }))
        }),
        body(text!("a name that is a number", "имя — число"), &|id| {
            text(json!({ "id": id, "name": 5, "data": "x" }))
        }),
        body(text!("a name of 257 bytes", "имя в 257 байт"), &|id| {
            text(json!({ "id": id, "name": long, "data": "x" }))
        }),
        body(text!("an id that is no UUID", "id — не UUID"), &|_| {
            text(json!({ "id": "seven", "name": "a", "data": "x" }))
        }),
        body(text!("an unknown level", "неизвестный уровень"), &|id| {
            text(json!({ "id": id, "name": "a", "data": "x", "level": "loud" }))
        }),
    ]
}
