//! Lab 1: a client that sends an entry over each of the four transports, and says what became of it.

use std::time::Duration;

use proto::{StoredEntry, Transport};
use rig::{Direction, Fault, READY, Relay, Services, eventually};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    bench::{Bench, Random},
    probe::{HttpProbe, Seen},
    run::Run,
    talk::{Answers, shortened, shortened_to},
    verdict::{Failed, Trouble, expect_all, expect_at_most, expect_count},
    words::{Text, text},
};

/// How long the client waits for an answer, as it is told.
const TIMEOUT_MS: u64 = 1_500;

/// Enough of a line, and of the body that was made of it, to see each field.
const LINE_CHARS: usize = 400;

/// How long an entry may take from RabbitMQ to the store.
const STORED: Duration = Duration::from_secs(10);

/// The check.
///
/// # Errors
/// As [`crate::labs::check`].
pub(super) async fn check(bench: &mut Bench<'_>, run: &mut Run<'_>) -> anyhow::Result<()> {
    let rabbitmq = bench.rabbitmq.virtual_host().await?;
    let amqp_url = rabbitmq.url();
    let mut services = bench.services("services", amqp_url, &[])?;
    services.start().await?;
    bench.program.set("TIMEOUT_MS", TIMEOUT_MS.to_string());
    bench.program.set("BROKER_URL", format!("http://{}", services.broker_at));

    run.property(1, async || {
        let lines = forty(&mut bench.random(1));
        let answers = bench.program.start(&[])?.ask(&lines, bench.patient(Duration::from_secs(10))).await?;
        let ids = ids(&lines, &answers)?;
        let stored = stored(&services, &ids).await?;
        expect_count(
            text!("entries in the store", "записей в хранилище"),
            40,
            stored.iter().flatten().count(),
        )?;
        expect_all(
            text!(
                "entries that came by the transport that was asked for",
                "записи, пришедшие по запрошенному транспорту"
            ),
            lines.iter().zip(stored),
            |(line, row)| {
                let row = row.as_ref()?;
                let same = line["transport"] == row.transport.as_str() && line["name"] == row.name;
                (!same).then(|| {
                    text!(
                        "line {} asked for {}, and came by {}",
                        "строка {}: запрошен {}, пришла по {}",
                        line["n"],
                        line["transport"],
                        row.transport
                    )
                })
            },
        )?;
        Ok(())
    })
    .await?;

    run.property(2, async || {
        let mut random = bench.random(2);
        let lines = forty(&mut random);
        let mut program = bench.program.start(&[])?;
        let within = bench.patient(Duration::from_secs(10));
        let answers = program.ask(&lines, within).await?;
        outcomes(
            text!("sent for the first time", "отправлены впервые"),
            &lines,
            &answers,
            |line| {
                if line["transport"] == "rabbitmq" { "queued" } else { "stored" }
            },
        )?;
        let ids = ids(&lines, &answers)?;
        let direct = || lines.iter().zip(&ids).filter(|(line, _)| line["transport"] != "rabbitmq");
        let again: Vec<Value> = direct().map(|(line, id)| with(line, 100, &[("id", json!(id))])).collect();
        let answers = program.ask(&again, within).await?;
        outcomes(text!("sent again", "отправлены ещё раз"), &again, &answers, |_| "duplicate")?;
        let other: Vec<Value> = direct()
            .take(3)
            .map(|(line, id)| with(line, 200, &[("id", json!(id)), ("data", json!(random.data()))]))
            .collect();
        let answers = program.ask(&other, within).await?;
        outcomes(
            text!("sent with the same id and other data", "отправлены с тем же id и другими данными"),
            &other,
            &answers,
            |_| "rejected",
        )?;
        codes(&other, &answers, &vec!["conflict".to_owned(); other.len()])?;
        Ok(())
    })
    .await?;

    run.property(3, async || {
        let mut random = bench.random(3);
        let lines: Vec<Value> = (1..)
            .zip(texts(&mut random))
            .map(|(n, text)| line(n, &direct(&mut random), &random.name(), &text))
            .collect();
        let answers = bench.program.start(&[])?.ask(&lines, bench.patient(Duration::from_secs(10))).await?;
        let stored = stored(&services, &ids(&lines, &answers)?).await?;
        let what = text!("texts that are stored as they were sent", "тексты, сохранённые без изменений");
        expect_all(what, lines.iter().zip(stored), |(line, row)| {
            let sent = line["data"].as_str().unwrap_or_default();
            let kept = row.as_ref().map(|row| row.data.as_str());
            let Text { en, ru } = kept.map_or_else(
                || text!("it is not stored", "не сохранено"),
                |kept| text!("stored {:?}", "сохранено {:?}", shortened(kept)),
            );
            let (n, text) = (&line["n"], shortened(sent));
            (kept != Some(sent))
                .then(|| text!("line {n}: sent {text:?}, {en}", "строка {n}: отправлено {text:?}, {ru}"))
        })?;
        Ok(())
    })
    .await?;

    run.property(4, async || {
        let mut random = bench.random(4);
        let good = |n, random: &mut Random| line(n, &direct(random), &random.name(), &random.data());
        let mut bad = [
            with(&good(1, &mut random), 0, &[("name", json!(""))]),
            with(&good(3, &mut random), 0, &[("transport", json!("amqp"))]),
            with(&good(5, &mut random), 0, &[("level", json!("INFO"))]),
            with(&good(7, &mut random), 0, &[("data", json!("a\u{0}b"))]),
        ];
        let rotation = usize::try_from(bench.seed % 4)?;
        bad.rotate_left(rotation);
        let mut lines = Vec::new();
        // The code of each that is to be rejected.
        let mut expected = Vec::new();
        for (n, bad) in (1..).step_by(2).zip(&bad) {
            let bad = with(bad, 0, &[("n", json!(n))]);
            expected.extend([Some(refusal(&services, &bad).await?), None]);
            lines.extend([bad, good(n + 1, &mut random)]);
        }
        let (http, broker) = (rig::http()?, services.broker_at);
        let recording = HttpProbe::open(move |seen| {
            let http = http.clone();
            async move { seen.forwarded(&http, broker).await }
        });
        let recording = recording.await?;
        let through = ("BROKER_URL", format!("http://{}", recording.address));
        let mut program = bench.program.start(&[through])?;
        let answers = program.ask(&lines, bench.patient(Duration::from_secs(10))).await?;
        let seen = recording.seen();
        let what = text!(
            "lines, good and bad in turn, with the right outcome and code",
            "строки, хорошие и негодные по очереди, с верными `outcome` и `code`"
        );
        expect_all(what, (0..).zip(lines.iter().zip(&expected)), |(at, (line, code))| {
            let answer = &answers[&line["n"].as_u64().unwrap_or_default()];
            let right = match code {
                Some(code) => answer.text("outcome") == "rejected" && answer.text("code") == code,
                None => answer.text("outcome") == "stored",
            };
            let Text { en, ru } = code.as_ref().map_or_else(
                || Text::same("stored"),
                |code| text!("rejected with {code:?}", "rejected с кодом {code:?}"),
            );
            (!right).then(|| {
                let line_said = shortened_to(LINE_CHARS, &line.to_string());
                let said = shortened(&answer.value.to_string());
                let Text { en: came, ru: came_ru } = received(&seen, line, *at);
                text!(
                    "{line_said} should be {en}, and was answered {said}; the broker received {came}",
                    "{line_said}: должно быть {ru}, ответ — {said}; broker получил {came_ru}"
                )
            })
        })?;
        Ok(())
    })
    .await?;

    run.property(5, async || {
        let mut random = bench.random(5);
        let mut program = bench.program.start(&[])?;
        services.logger.kill().await?;
        // Over the connections that were open a first call may have an unknown outcome. The outage is noticed by then.
        for transport in ["http", "rpc", "grpc"] {
            let probe = line(0, transport, "probe", "");
            let refused = async || (refused(&services, &probe).await.ok()?.0 == 503).then_some(());
            let noticed = eventually("the broker notices that the logger is down", READY, refused).await;
            noticed.map_err(|_| {
                Trouble(text!(
                    "the broker did not notice that the logger is down",
                    "broker не заметил, что logger остановлен"
                ))
            })?;
        }
        let lines: Vec<Value> = (1..)
            .zip(["http", "rabbitmq", "rpc", "grpc"])
            .map(|(n, transport)| line(n, transport, &random.name(), &random.data()))
            .collect();
        let mut answers = Answers::new();
        for line in &lines {
            answers.extend(
                program.ask(std::slice::from_ref(line), bench.patient(Duration::from_secs(2))).await?,
            );
        }
        outcomes(
            text!("sent while the logger is down", "отправлены, пока logger недоступен"),
            &lines,
            &answers,
            |line| {
                if line["transport"] == "rabbitmq" { "queued" } else { "not_stored" }
            },
        )?;
        services.start_logger().await?;
        let queued: Uuid = ids(&lines, &answers)?[1];
        expect_count(
            text!(
                "the queued entry in the store after the restart",
                "запись из очереди в хранилище после перезапуска"
            ),
            1,
            stored(&services, &[queued]).await?.iter().flatten().count(),
        )?;
        Ok(())
    })
    .await?;

    let relay = Relay::open(services.broker_at).await?;
    let through = ("BROKER_URL", format!("http://{}", relay.address()));

    run.property(6, async || {
        let mut random = bench.random(6);
        let mut program = bench.program.start(std::slice::from_ref(&through))?;
        let first = line(1, "http", &random.name(), &random.data());
        program.ask(&[first], bench.patient(Duration::from_secs(5))).await?;
        relay.set(Direction::ToClient, Fault::BlackHole);
        let passed = relay.passed(Direction::ToServer);
        let mut answers = Answers::new();
        let lines: Vec<Value> =
            (2..5).map(|n| line(n, &direct(&mut random), &random.name(), &random.data())).collect();
        for line in &lines {
            answers.extend(
                program.ask(std::slice::from_ref(line), bench.patient(Duration::from_secs(3))).await?,
            );
        }
        relay.admit();
        if relay.passed(Direction::ToServer) == passed {
            Err(Trouble(text!(
                "no request went through the relay",
                "через посредника не прошёл ни один запрос"
            )))?;
        }
        outcomes(
            text!("whose answer was dropped", "ответ на которые потерян"),
            &lines,
            &answers,
            |_| "unknown",
        )?;
        Ok(())
    })
    .await?;

    run.property(7, async || {
        let before = relay.accepted();
        let lines = forty(&mut bench.random(7));
        let mut program = bench.program.start(std::slice::from_ref(&through))?;
        program.ask(&lines, bench.patient(Duration::from_secs(10))).await?;
        let connections = relay.accepted() - before;
        if connections == 0 {
            Err(Trouble(text!(
                "no connection went through the relay",
                "через посредника не прошло ни одно соединение"
            )))?;
        }
        expect_at_most(
            text!("connections for 40 lines", "соединений на 40 строк"),
            4,
            connections,
            Text::same,
        )?;
        program.finish(bench.patient(Duration::from_secs(5))).await?;
        Ok(())
    })
    .await
}

/// A line for the program.
fn line(n: u64, transport: &str, name: &str, data: &str) -> Value {
    json!({ "n": n, "transport": transport, "name": name, "data": data })
}

/// The same line with other fields, and its number so much higher.
fn with(line: &Value, offset: u64, fields: &[(&str, Value)]) -> Value {
    let mut line = line.clone();
    line["n"] = json!(line["n"].as_u64().unwrap_or_default() + offset);
    for (name, value) in fields {
        line[*name] = value.clone();
    }
    line
}

/// Ten lines for each transport, in a random order.
fn forty(random: &mut Random) -> Vec<Value> {
    use rand::seq::SliceRandom;
    let mut transports = Transport::ALL.map(|transport| [transport.as_str(); 10]).concat();
    transports.shuffle(&mut random.0);
    (1..).zip(transports).map(|(n, transport)| line(n, transport, &random.name(), &random.data())).collect()
}

fn direct(random: &mut Random) -> String {
    (*random.pick(&["http", "rpc", "grpc"])).to_owned()
}

/// What breaks JSON that was put together by hand, and what breaks on the way.
fn texts(random: &mut Random) -> Vec<String> {
    let tail = random.data();
    let long = "0123456789abcdef".repeat(200 * 64);
    let texts = [
        r#"she said "no""#,
        r"C:\temp\new",
        "two\nlines",
        "a\ttab\r\n",
        "\u{2028}\u{7f}",
        "Привет, мир",
        "🦀🧪",
        "שלום עליכם",
        "</script><b>",
        "%s %n {} $HOME",
        r#"{"a":[1,"\u0041"]}"#,
        &long,
    ];
    texts.map(|text| format!("{text} {tail}")).to_vec()
}

/// The ids that the program names, in the order of the lines.
fn ids(lines: &[Value], answers: &Answers) -> Result<Vec<Uuid>, Failed> {
    let id = |line: &Value| {
        let answer = &answers[&line["n"].as_u64().unwrap_or_default()];
        answer.text("id").parse().map_err(|_| {
            Failed::new(
                text!("the entry's id in each answer", "id записи в каждом ответе"),
                Text::same(shortened(&answer.value.to_string())),
            )
        })
    };
    lines.iter().map(id).collect()
}

/// The rows of ids, as soon as all are there, or what is there when the time is over.
async fn stored(services: &Services, ids: &[Uuid]) -> anyhow::Result<Vec<Option<StoredEntry>>> {
    let client = services.logger_client();
    let look = async || {
        let mut rows = Vec::new();
        for id in ids {
            rows.push(client.stored(*id).await.ok()?);
        }
        Some(rows)
    };
    let complete = async || look().await.filter(|rows| rows.iter().all(Option::is_some));
    match eventually("all are stored", STORED, complete).await {
        Ok(rows) => Ok(rows),
        Err(_) => look()
            .await
            .ok_or_else(|| Trouble(text!("the logger does not answer", "logger не отвечает")).into()),
    }
}

/// The body that the broker received for a line: the one with its name and data, or else the one of its place.
fn received(seen: &[Seen], line: &Value, at: usize) -> Text {
    let is_it = |seen: &&Seen| {
        let log = &seen.json()["log"];
        log["name"] == line["name"] && log["data"] == line["data"]
    };
    let body = seen.iter().find(is_it).or_else(|| seen.get(at));
    body.map_or_else(
        || text!("nothing", "ничего"),
        |seen| Text::same(shortened_to(LINE_CHARS, &String::from_utf8_lossy(&seen.body))),
    )
}

/// Expects an outcome for each line.
fn outcomes(
    which: Text,
    lines: &[Value],
    answers: &Answers,
    expected: impl Fn(&Value) -> &'static str,
) -> Result<(), Failed> {
    let Text { en, ru } = which;
    let what = text!("lines, {en}, with the right outcome", "строки ({ru}) с верным `outcome`");
    expect_all(what, lines, |line| {
        let said = answers[&line["n"].as_u64().unwrap_or_default()].text("outcome");
        let (n, transport, right) = (&line["n"], &line["transport"], expected(line));
        (said != right).then(|| {
            text!(
                "line {n} over {transport}: {said:?} instead of {right:?}",
                "строка {n} по {transport}: {said:?} вместо {right:?}"
            )
        })
    })
}

/// Expects a code for each line.
fn codes(lines: &[Value], answers: &Answers, expected: &[String]) -> Result<(), Failed> {
    let what = text!("refusals with the broker's `code`", "отказы с `code` от broker");
    expect_all(what, lines.iter().zip(expected), |(line, code)| {
        let said = answers[&line["n"].as_u64().unwrap_or_default()].text("code");
        let n = &line["n"];
        (said != code.as_str())
            .then(|| text!("line {n}: {said:?} instead of {code:?}", "строка {n}: {said:?} вместо {code:?}"))
    })
}

/// How the broker answers a line: status and code.
async fn refused(services: &Services, line: &Value) -> anyhow::Result<(u16, String)> {
    let mut log = json!({ "name": line["name"], "data": line["data"] });
    if line["level"].is_string() {
        log["level"] = line["level"].clone();
    }
    let body = json!({ "action": "log", "transport": line["transport"], "log": log }).to_string();
    let url = format!("http://{}/handle", services.broker_at);
    let response = rig::http()?.post(url).body(body).send().await?;
    let status = response.status().as_u16();
    let body: Value = response.json().await?;
    Ok((status, body["data"]["code"].as_str().unwrap_or_default().to_owned()))
}

/// The code by which the broker rejects a line.
async fn refusal(services: &Services, line: &Value) -> anyhow::Result<String> {
    let (status, code) = refused(services, line).await?;
    if !(400..500).contains(&status) {
        Err(Trouble(text!("the broker takes {line}", "broker принимает {line}")))?;
    }
    Ok(code)
}
