//! Lab 3: a caller with many calls in flight on one connection.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesOrdered};
use rand::seq::SliceRandom;
use rig::eventually;
use serde_json::{Value, json};

use crate::{
    bench::{Bench, Random},
    probe::{Call, FrameProbe, result_of},
    run::Run,
    talk::Answers,
    verdict::{Failed, Trouble, expect_all, expect_at_most, expect_count},
    words::{Text, seconds, text},
};

/// How long calls are awaited that the program must have sent.
const ARRIVE: Duration = Duration::from_secs(5);

/// The deadline of calls that are not about deadlines.
const LONG_MS: u64 = 10_000;

/// Most calls that may be in flight.
const IN_FLIGHT: usize = 64;

/// The check.
///
/// # Errors
/// As [`crate::labs::check`].
pub(super) async fn check(bench: &mut Bench<'_>, run: &mut Run<'_>) -> anyhow::Result<()> {
    let mut probe = FrameProbe::open()?;
    let address = probe.address;
    bench.program.set("RPC_ADDR", address.to_string());
    let within = bench.patient(Duration::from_secs(10));

    run.property(1, async || {
        let lines = lines(&mut bench.random(1), 1..=60, LONG_MS);
        let mut program = bench.program.start(&[])?;
        let serve = async {
            // One after the other byte by byte, then in groups of which each is one segment.
            for _ in 0..10 {
                probe.next().await.iter().for_each(Call::reply_slowly);
            }
            loop {
                let group = probe.calls(10, Duration::from_millis(50)).await;
                let mut at = BTreeMap::<u64, (Vec<u8>, &Call)>::new();
                for call in &group {
                    at.entry(call.connection).or_insert((Vec::new(), call)).0.extend(call.answer());
                }
                at.into_values().for_each(|(bytes, call)| call.send(bytes));
            }
        };
        let answers = alongside(serve, program.ask(&lines, within)).await?;
        expect_results(&lines, &answers)?;
        Ok(())
    })
    .await?;

    run.property(2, async || {
        let lines = lines(&mut bench.random(2), 1..=64, LONG_MS);
        let before = probe.accepted();
        let mut program = bench.program.start(&[])?;
        let mut arrived = Vec::new();
        let serve = async {
            // In the order of the calls: whose answer it is, where the order is another, is property 3.
            let mut due = FuturesOrdered::new();
            loop {
                tokio::select! {
                    Some(call) = probe.next() => {
                        arrived.push(call.at);
                        due.push_back(async move {
                            tokio::time::sleep(Duration::from_millis(200)).await;
                            call
                        });
                    }
                    Some(call) = due.next() => call.reply(),
                    else => break,
                }
            }
        };
        let answers = alongside(serve, program.ask(&lines, bench.patient(Duration::from_secs(5)))).await?;
        expect_results(&lines, &answers)?;
        let at_once = arrived.iter().map(|end| {
            arrived.iter().filter(|at| **at <= *end && **at + Duration::from_millis(200) > *end).count()
        });
        let at_once = at_once.max().unwrap_or_default();
        if at_once < 48 {
            Err(Failed::new(
                text!(
                    "at least 48 of 64 calls in flight at the same time",
                    "хотя бы 48 вызовов из 64 в пути одновременно"
                ),
                Text::same(at_once),
            ))?;
        }
        let span = arrived.iter().max().zip(arrived.iter().min()).map(|(last, first)| *last - *first);
        expect_at_most(
            text!("time between the first call and the last", "время между первым вызовом и последним"),
            bench.patient(Duration::from_millis(1_300)),
            span.unwrap_or_default(),
            seconds,
        )?;
        expect_count(text!("connections", "соединений"), 1, usize::try_from(probe.accepted() - before)?)?;
        Ok(())
    })
    .await?;

    run.property(3, async || {
        let mut random = bench.random(3);
        let lines = lines(&mut random, 1..=64, LONG_MS);
        let mut program = bench.program.start(&[])?;
        let serve = async {
            loop {
                let mut calls = probe.calls(64, Duration::from_secs(1)).await;
                calls.shuffle(&mut random.0);
                calls.iter().for_each(Call::reply);
            }
        };
        let answers = alongside(serve, program.ask(&lines, within)).await?;
        expect_results(&lines, &answers)?;
        Ok(())
    })
    .await?;

    run.property(4, async || late(bench, &mut probe).await).await?;

    run.property(5, async || {
        let mut random = bench.random(5);
        let mut program = bench.program.start(&[])?;
        let in_flight = lines(&mut random, 1..=10, LONG_MS);
        program.tell(&in_flight, within).await?;
        let calls = probe.calls(10, ARRIVE).await;
        expect_count(text!("calls that were sent", "отправленных вызовов"), 10, calls.len())?;
        // The port is closed first: whoever reconnects at once is refused.
        drop(std::mem::replace(&mut probe, FrameProbe::open()?));
        let answers =
            program.listen(bench.patient(Duration::from_secs(2)), |answers| answers.len() == 10).await?;
        let which = text!(
            "calls in flight when the connection was cut",
            "вызовы, бывшие в пути, когда соединение оборвалось"
        );
        expect_words(which, &in_flight, &answers, &["unknown"])?;
        let down = lines(&mut random, 11..=15, 3_000);
        program.tell(&down, within).await?;
        let mut answers = program.listen(Duration::from_millis(500), |answers| answers.len() == 5).await?;
        probe = FrameProbe::open_at(address)?;
        let mut reached = BTreeSet::new();
        let after = lines(&mut random, 16..=20, 3_000);
        let serve = async {
            while let Some(call) = probe.next().await {
                reached.insert(call.params["name"].to_string());
                call.reply();
            }
        };
        let rest = async {
            let missing = 5 - answers.len();
            answers.extend(
                program
                    .listen(bench.patient(Duration::from_secs(4)), |answers| answers.len() == missing)
                    .await?,
            );
            eventually_answered(&mut program, &after, bench.patient(Duration::from_secs(2))).await
        };
        alongside(serve, rest).await?;
        let which = text!("calls while the server was down", "вызовы, пока сервер был недоступен");
        expect_words(which, &down, &answers, &["not_sent", "result"])?;
        let what = text!(
            "calls said to be not sent that never arrived",
            "вызовы с ответом `not_sent`, которые так и не пришли"
        );
        expect_all(what, &down, |line| {
            let not_sent = answers.get(&n(line)).is_some_and(|answer| answer.value.get("not_sent").is_some());
            (not_sent && reached.contains(&line["params"]["name"].to_string()))
                .then(|| text!("line {} arrived", "строка {} пришла", line["n"]))
        })?;
        Ok(())
    })
    .await?;

    run.property(6, async || {
        let lines = lines(&mut bench.random(6), 1..=500, LONG_MS);
        let mut program = bench.program.start(&[])?;
        let mut most = 0;
        let serve = async {
            loop {
                // All that come are held until no more do: whoever has no limit shows all 500.
                let held = probe.calls(500, Duration::from_millis(150)).await;
                most = most.max(held.len());
                held.iter().for_each(Call::reply);
            }
        };
        let answers = alongside(serve, program.ask(&lines, bench.patient(Duration::from_secs(5)))).await?;
        expect_results(&lines, &answers)?;
        expect_at_most(text!("calls in flight", "вызовов в пути"), IN_FLIGHT, most, Text::same)?;
        program.finish(within).await?;
        Ok(())
    })
    .await?;

    run.property(7, async || {
        let mut random = bench.random(7);
        let mut program = bench.program.start(&[])?;
        let first = lines(&mut random, 1..=1, LONG_MS);
        program.tell(&first, within).await?;
        let calls = probe.calls(1, ARRIVE).await;
        let call =
            calls.first().ok_or_else(|| Failed::new(text!("a call", "вызов"), text!("none", "ни одного")))?;
        let (memory_kib, closed) = (program.memory_kib()?, probe.closed());
        let mut announced = (1_u32 << 30).to_be_bytes().to_vec();
        announced.resize(1024 * 1024, b' ');
        call.send(announced);
        let limit = bench.patient(Duration::from_secs(1));
        let gone =
            eventually("the connection is closed", limit, async || (probe.closed() > closed).then_some(()));
        if gone.await.is_err() {
            let Text { en, ru } = seconds(limit);
            Err(Failed::new(
                text!("the connection is closed within {en}", "соединение закрыто не позже чем через {ru}"),
                text!("it is open", "оно открыто"),
            ))?;
        }
        let answers =
            program.listen(bench.patient(Duration::from_secs(2)), |answers| !answers.is_empty()).await?;
        let which = text!("the call on that connection", "вызов по этому соединению");
        expect_words(which, &first, &answers, &["unknown"])?;
        let grown = program.peak_memory_kib().saturating_sub(memory_kib) / 1024;
        expect_at_most(text!("MiB of memory more", "прирост памяти, МиБ"), 64, grown, Text::same)?;
        let next = lines(&mut random, 2..=2, LONG_MS);
        let serve = async {
            while let Some(call) = probe.next().await {
                call.reply();
            }
        };
        let answers = alongside(serve, program.ask(&next, within)).await?;
        expect_results(&next, &answers)?;
        Ok(())
    })
    .await
}

/// Property 4: what is not answered in time is unknown, and what is answered too late changes nothing.
async fn late(bench: &Bench<'_>, probe: &mut FrameProbe) -> anyhow::Result<()> {
    let mut random = bench.random(4);
    let mut program = bench.program.start(&[])?;
    let lines = lines(&mut random, 1..=20, 300);
    let mut silent: Vec<u64> = (1..=20).collect();
    silent.shuffle(&mut random.0);
    silent.truncate(5);
    let is_silent = |call: &Call| {
        lines.iter().any(|line| line["params"]["name"] == call.params["name"] && silent.contains(&n(line)))
    };
    let mut held = Vec::new();
    let serve = async {
        while let Some(call) = probe.next().await {
            if is_silent(&call) {
                held.push(call);
            } else {
                call.reply();
            }
        }
    };
    let asked = program.ask(&lines, bench.patient(Duration::from_secs(2)));
    let answers = alongside(serve, asked).await?;
    let what = text!("calls that were left unanswered", "вызовов, оставленных без ответа");
    expect_count(what, 5, held.len())?;
    let (quiet, loud): (Vec<Value>, Vec<Value>) =
        lines.iter().cloned().partition(|line| silent.contains(&n(line)));
    expect_words(text!("calls without an answer", "вызовы без ответа"), &quiet, &answers, &["unknown"])?;
    expect_results(&loud, &answers)?;
    let limit = bench.patient(Duration::from_secs(1));
    let what =
        text!("calls given up between 0.3 and 1.0 s", "вызовы, ожидание которых прекращено через 0,3–1,0 с");
    expect_all(what, &quiet, |line| {
        let (n, after) = (n(line), answers[&n(line)].after);
        (after < Duration::from_millis(295) || after > limit).then(|| {
            let Text { en, ru } = seconds(after);
            text!("line {n} after {en}", "строка {n} через {ru}")
        })
    })?;
    // New calls are in flight when the late answers come.
    let next = self::lines(&mut random, 21..=30, LONG_MS);
    let serve = async {
        let calls = probe.calls(10, ARRIVE).await;
        held.iter().for_each(Call::reply);
        tokio::time::sleep(Duration::from_millis(20)).await;
        calls.iter().for_each(Call::reply);
        std::future::pending::<()>().await;
    };
    let answers = alongside(serve, program.ask(&next, bench.patient(Duration::from_secs(8)))).await?;
    expect_results(&next, &answers)?;
    Ok(())
}

fn n(line: &Value) -> u64 {
    line["n"].as_u64().unwrap_or_default()
}

fn lines(random: &mut Random, numbers: std::ops::RangeInclusive<u64>, timeout_ms: u64) -> Vec<Value> {
    let mut line = |n| json!({ "n": n, "params": { "name": random.name(), "data": random.data() }, "timeout_ms": timeout_ms });
    numbers.map(&mut line).collect()
}

/// Serves for as long as the program is asked.
async fn alongside<T>(
    serve: impl Future<Output = ()>,
    asked: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        biased;
        result = asked => result,
        () = serve => anyhow::bail!("the probe has ended"),
    }
}

/// Expects its own result for each line.
fn expect_results(lines: &[Value], answers: &Answers) -> Result<(), Failed> {
    let what = text!("lines with their own `result`", "строки со своим `result`");
    expect_all(what, lines, |line| {
        let (n, expected) = (n(line), result_of(&line["params"]));
        let Some(answer) = answers.get(&n) else { return Some(no_answer(n)) };
        let said = &answer.value;
        (said["result"] != expected)
            .then(|| text!("line {n}: {said} instead of {expected}", "строка {n}: {said} вместо {expected}"))
    })
}

/// Expects one of these words for each line.
fn expect_words(which: Text, lines: &[Value], answers: &Answers, words: &[&str]) -> Result<(), Failed> {
    let Text { en, ru } = which;
    let (any, any_ru) = (words.join(" or "), words.join(" или "));
    expect_all(text!("{en}, answered with {any}", "{ru}, с ответом {any_ru}"), lines, |line| {
        let Some(answer) = answers.get(&n(line)) else { return Some(no_answer(n(line))) };
        let fits = words.iter().any(|word| answer.value.get(*word).is_some());
        (!fits).then(|| Text::same(&answer.value))
    })
}

fn no_answer(n: u64) -> Text {
    text!("line {n}: no answer", "строка {n}: нет ответа")
}

/// Sends calls to a server that is up again, one by one, until one is done: the first may meet a connection that is
/// only now found to be closed.
async fn eventually_answered(
    program: &mut crate::program::Running,
    lines: &[Value],
    within: Duration,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    for line in lines {
        let answers = program.ask(std::slice::from_ref(line), within).await?;
        if answers[&n(line)].value["result"] == result_of(&line["params"]) {
            return Ok(());
        }
        if begun.elapsed() >= within * 2 {
            Err(Trouble(text!("the calls took too long", "вызовы длились слишком долго")))?;
        }
    }
    Err(Failed::new(
        text!(
            "one of 5 calls is done once the server is up again",
            "хотя бы один вызов из 5 выполнен, когда сервер снова доступен"
        ),
        text!("none", "ни одного"),
    ))?
}
