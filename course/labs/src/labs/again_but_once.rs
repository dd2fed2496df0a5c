//! Lab 2: a client that retries, and still has each entry stored once.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rig::{Direction, Fault, READY, Relay, eventually};
use serde_json::{Value, json};

use crate::{
    bench::{Bench, Random},
    probe::{HttpProbe, Reply, Seen},
    run::Run,
    talk::{Answers, expect_outcomes},
    verdict::{Failed, Trouble, expect_all, expect_at_most, expect_count},
    words::{Text, seconds, text},
};

/// Lines that are sent together, so that every fault meets some.
const BATCH: u64 = 8;

/// How long a line may take in all, as the task says, and a second for the rest.
const LINE: Duration = Duration::from_secs(6);

/// What the middle half of the first pauses spans at least: 100 ms with equal jitter over 400 ms, 200 ms with full jitter.
const SPREAD: Duration = Duration::from_millis(75);

/// Most requests for a line.
const ATTEMPTS: usize = 4;

/// The check.
///
/// # Errors
/// As [`crate::labs::check`].
pub(super) async fn check(bench: &mut Bench<'_>, run: &mut Run<'_>) -> anyhow::Result<()> {
    if run.wants(&[1, 2]) {
        against_broker(bench, run).await?;
    }
    let probe = HttpProbe::open(|_| async { Reply::now(202, accepted()) }).await?;
    bench.program.set("BROKER_URL", format!("http://{}", probe.address));
    let within = bench.patient(LINE);

    run.property(3, async || {
        let lines = lines(&mut bench.random(3), 1..=30);
        probe.script(|seen: Seen| async move {
            let (status, code) =
                [(400, "invalid_entry"), (409, "conflict"), (413, "too_large")][seen.number % 3];
            Reply::now(status, refused(code))
        });
        let answers = bench.program.start(&[])?.ask(&lines, within).await?;
        expect_outcomes(&lines, &answers, &["rejected"])?;
        let by_name = by_name(&probe);
        let what = text!("lines with exactly one request", "строки ровно с одним запросом");
        expect_all(what, &lines, |line| {
            let count = by_name.get(name(line)).map_or(0, Vec::len);
            (count != 1).then(|| requests_of(line, count))
        })?;
        Ok(())
    })
    .await?;

    run.property(4, async || {
        probe.forget();
        let lines = lines(&mut bench.random(4), 1..=16);
        first_of_each_line(
            &probe,
            || Reply::now(503, refused("unavailable")).with("retry-after", "1"),
            || Reply::now(202, accepted()),
        );
        let answers = bench.program.start(&[])?.ask(&lines, within).await?;
        expect_outcomes(&lines, &answers, &["stored"])?;
        let by_name = by_name(&probe);
        let what = text!(
            "second requests at least 0.95 s after the first",
            "вторые запросы не раньше чем через 0,95 с после первых"
        );
        expect_all(what, &lines, |line| {
            let times = by_name.get(name(line)).map_or(&[][..], Vec::as_slice);
            match times {
                [first, second, ..] if *second - *first >= Duration::from_millis(950) => None,
                [first, second, ..] => {
                    let (n, Text { en, ru }) = (&line["n"], seconds(*second - *first));
                    Some(text!("line {n}: after {en}", "строка {n}: через {ru}"))
                }
                _ => Some(requests_of(line, times.len())),
            }
        })?;
        Ok(())
    })
    .await?;

    // One run of 64 lines that are always refused serves three properties.
    let mut down: Option<Down> = None;

    run.property(5, async || {
        let down = Down::once(&mut down, bench, &probe).await?;
        let gaps: Vec<_> = down.times.values().filter(|times| times.len() >= ATTEMPTS).collect();
        if gaps.len() < 48 {
            Err(Failed::new(
                text!(
                    "four requests for at least 48 of 64 lines within 5 s",
                    "по четыре запроса за 5 с хотя бы у 48 строк из 64"
                ),
                Text::same(gaps.len()),
            ))?;
        }
        let mean = |at: usize| {
            gaps.iter().map(|times| (times[at + 1] - times[at]).as_secs_f64()).sum::<f64>()
                / gaps.len() as f64
        };
        let (first, third) = (mean(0), mean(2));
        if third < 2.0 * first {
            Err(Failed::new(
                text!(
                    "the mean of the third pauses is at least twice that of the first",
                    "третьи паузы в среднем хотя бы вдвое длиннее первых"
                ),
                text!("{:.0} ms and {:.0} ms", "{:.0} мс и {:.0} мс", third * 1e3, first * 1e3),
            ))?;
        }
        Ok(())
    })
    .await?;

    run.property(6, async || {
        let down = Down::once(&mut down, bench, &probe).await?;
        let mut pauses: Vec<Duration> =
            down.times.values().filter_map(|times| Some(*times.get(1)? - *times.first()?)).collect();
        expect_count(text!("lines with a second request", "строк со вторым запросом"), 64, pauses.len())?;
        pauses.sort();
        // Of the pauses, not of the moments: a busy machine delays a first request and its second alike.
        let spread = pauses[48] - pauses[16];
        if spread < SPREAD {
            let Text { en, ru } = seconds(SPREAD);
            Err(Failed::new(
                text!(
                    "the middle half of 64 first pauses spans at least {en}",
                    "центральные 50 % из 64 первых пауз разбросаны не меньше чем на {ru}"
                ),
                seconds(spread),
            ))?;
        }
        Ok(())
    })
    .await?;

    run.property(7, async || {
        let refused_only = Down::once(&mut down, bench, &probe).await?;
        let requests: usize = refused_only.times.values().map(Vec::len).sum();
        expect_at_most(
            text!("requests for 64 lines", "запросов на 64 строки"),
            64 * ATTEMPTS,
            requests,
            Text::same,
        )?;
        expect_outcomes(&refused_only.lines, &refused_only.answers, &["not_stored"])?;
        probe.forget();
        let lines = lines(&mut bench.random(70), 1..=8);
        // It is read, and the connection closed.
        first_of_each_line(&probe, || Reply::Cut, || Reply::now(503, refused("unavailable")));
        let answers = bench.program.start(&[])?.ask(&lines, within).await?;
        if probe.count() < 8 {
            Err(Trouble(text!("the cut met no request", "обрыв не застал ни одного запроса")))?;
        }
        expect_outcomes(&lines, &answers, &["unknown"])?;
        Ok(())
    })
    .await
}

/// Properties 1 and 2, against the real broker.
async fn against_broker(bench: &mut Bench<'_>, run: &mut Run<'_>) -> anyhow::Result<()> {
    // Without RabbitMQ: this is about http alone.
    let mut services = bench.services("services", "amqp://guest:guest@127.0.0.1:9/none", &[])?;
    services.start_logger().await?;
    services.start_broker().await?;
    let relay = Relay::open(services.broker_at).await?;
    bench.program.set("BROKER_URL", format!("http://{}", relay.address()));

    run.property(1, async || {
        let mut random = bench.random(1);
        let mut program = bench.program.start(&[])?;
        let mut names = HashSet::new();
        let swallowed = [3, 8, 13, 18, 23];
        for batch in 0..25 {
            let lines = lines(&mut random, batch * BATCH + 1..=(batch + 1) * BATCH);
            names.extend(lines.iter().map(|line| name(line).to_owned()));
            let before = relay.passed(Direction::ToServer);
            let swallow = swallowed.contains(&batch);
            relay.set(Direction::ToClient, if swallow { Fault::BlackHole } else { Fault::Freeze });
            let faults = async {
                // A request has reached the broker, and its answer does not come through.
                let arrived = async || (relay.passed(Direction::ToServer) > before + 100).then_some(());
                let met = eventually("a request meets the fault", Duration::from_secs(10), arrived).await;
                if swallow {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                } else {
                    relay.reset();
                }
                relay.set_both(Fault::None);
                met
            };
            let (answers, met) = tokio::join!(program.ask(&lines, bench.patient(LINE)), faults);
            let answers = answers?;
            met.map_err(|_| Trouble(text!("the fault met no request", "сбой не застал ни одного запроса")))?;
            expect_outcomes(&lines, &answers, &["stored", "duplicate"])?;
        }
        let rows = services.logger_client().all_stored().await?;
        expect_count(text!("rows in the store", "записей в хранилище"), names.len(), rows.len())?;
        let found: HashSet<String> = rows.iter().map(|row| row.name.clone()).collect();
        let what = text!("different entries in the store", "разных записей в хранилище");
        expect_count(what, names.len(), found.intersection(&names).count())?;
        let attempts: u32 = rows.iter().map(|row| row.attempts).sum();
        if attempts as usize <= names.len() {
            Err(Trouble(text!(
                "no entry was written twice: the faults met nothing",
                "ни одна запись не сохранена дважды: сбои ничего не застали"
            )))?;
        }
        Ok(())
    })
    .await?;

    run.property(2, async || {
        let mut program = bench.program.start(&[])?;
        services.broker.freeze().await?;
        let lines = lines(&mut bench.random(2), 1001..=1020);
        let answers = program.ask(&lines, bench.patient(LINE)).await;
        services.broker.thaw()?;
        expect_outcomes(&lines, &answers?, &["unknown"])?;
        Ok(())
    })
    .await?;
    let client = services.broker_client();
    let again = async || client.get("/healthz").await.is_ok().then_some(());
    let goes_on = eventually("the broker goes on", READY, again).await;
    goes_on.map_err(|_| Trouble(text!("the broker did not resume", "broker не возобновил работу")).into())
}

/// A run against a server that always refuses.
struct Down {
    lines: Vec<Value>,
    answers: Answers,
    /// When the requests of each line came.
    times: BTreeMap<String, Vec<Instant>>,
}

impl Down {
    async fn once<'a>(
        made: &'a mut Option<Down>,
        bench: &Bench<'_>,
        probe: &HttpProbe,
    ) -> anyhow::Result<&'a Down> {
        if made.is_none() {
            probe.forget();
            probe.script(|_| async { Reply::now(503, refused("unavailable")) });
            let lines = lines(&mut bench.random(5), 1..=64);
            let answers = bench.program.start(&[])?.ask_some(&lines, bench.patient(LINE)).await?;
            *made = Some(Down { lines, answers, times: by_name(probe) });
        }
        made.as_ref().ok_or_else(|| anyhow::anyhow!("it was made"))
    }
}

fn lines(random: &mut Random, numbers: std::ops::RangeInclusive<u64>) -> Vec<Value> {
    numbers
        .map(|n| json!({ "n": n, "name": format!("{}-{n}", random.name()), "data": random.data() }))
        .collect()
}

fn name(line: &Value) -> &str {
    line["name"].as_str().unwrap_or_default()
}

fn requests_of(line: &Value, count: usize) -> Text {
    let n = &line["n"];
    text!("line {n}: {count} requests", "строка {n}: запросов {count}")
}

fn accepted() -> String {
    json!({ "error": false, "message": "stored", "data": { "outcome": "stored" } }).to_string()
}

fn refused(code: &str) -> String {
    json!({ "error": true, "message": code, "data": { "code": code } }).to_string()
}

/// Answers the first request of each line otherwise than all that come after it. They are told apart by the line and not
/// by their number: with full jitter a line may be sent again before another is sent at all.
fn first_of_each_line(probe: &HttpProbe, first: fn() -> Reply, later: fn() -> Reply) {
    let met = Mutex::new(HashSet::new());
    probe.script(move |seen: Seen| {
        let is_first = met.lock().unwrap_or_else(PoisonError::into_inner).insert(name_in(&seen));
        async move { if is_first { first() } else { later() } }
    });
}

/// When the requests of each entry came, by its name.
fn by_name(probe: &HttpProbe) -> BTreeMap<String, Vec<Instant>> {
    let mut times = BTreeMap::<String, Vec<Instant>>::new();
    for seen in probe.seen() {
        times.entry(name_in(&seen)).or_default().push(seen.at);
    }
    times
}

/// The name of the entry in a request: an id may be a new one each time.
fn name_in(seen: &Seen) -> String {
    seen.json()["log"]["name"].as_str().unwrap_or_default().to_owned()
}
