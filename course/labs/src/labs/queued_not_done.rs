//! Lab 4: a publisher that says `queued` when it is true.

use std::{collections::HashSet, time::Duration};

use lapin::{
    options::{QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use proto::rabbitmq::{BINDING_KEY, EXCHANGE, QUEUE};
use rig::{Direction, Fault, QUEUE_IS_ON_DISK, READY, Relay, eventually};
use serde_json::{Value, json};

use crate::{
    bench::{Bench, Random, default_host},
    probe::{Amqp, SMALL_QUEUE},
    run::Run,
    talk::expect_outcomes,
    verdict::{Failed, Trouble, expect_all, expect_count},
    words::{Text, held, text},
};

/// The check.
///
/// # Errors
/// As [`crate::labs::check`].
pub(super) async fn check(bench: &mut Bench<'_>, run: &mut Run<'_>) -> anyhow::Result<()> {
    if run.wants(&[1, 2, 3, 4]) {
        against_queues(bench, run).await?;
    }
    if run.wants(&[5]) {
        against_services(bench, run).await?;
    }

    if !run.wants(&[6]) {
        return Ok(());
    }
    // It is killed, so it must be nobody else's.
    let mut node = bench.rabbitmq.breakable().await?;
    let url = default_host(&node);

    run.property(6, async || {
        let amqp = Amqp::open(&url).await?;
        amqp.depths().await?;
        let declared = tokio::time::Instant::now();
        let mut random = bench.random(6);
        let mut program = bench.program.start(&[("AMQP_URL", url.clone())])?;
        let before = lines(&mut random, 1..=30);
        expect_outcomes(
            &before,
            &program.ask(&before, bench.patient(Duration::from_secs(10))).await?,
            &["queued"],
        )?;
        tokio::time::sleep_until(declared + QUEUE_IS_ON_DISK).await;
        node.kill().await?;
        let meanwhile = lines(&mut random, 31..=35);
        program.tell(&meanwhile, Duration::from_secs(1)).await?;
        // Long enough for one that gives up to give up.
        tokio::time::sleep(Duration::from_secs(3)).await;
        node.launch().await?;
        node.serves().await?;
        // A node that has started may still be reading its queues: it serves when it confirms.
        let confirms = async || {
            let id = random.id().to_string();
            let amqp = Amqp::open(&url).await.ok()?;
            // As Fourwire's own services do every second.
            amqp.depths().await.ok()?;
            amqp.publish("log.INFO", &id, b"{}").await.ok()
        };
        eventually("RabbitMQ takes messages again", READY, confirms).await.map_err(|_| {
            Trouble(text!(
                "RabbitMQ did not resume taking messages",
                "RabbitMQ не возобновил приём сообщений"
            ))
        })?;
        let after = lines(&mut random, 36..=40);
        program.tell(&after, Duration::from_secs(1)).await?;
        let limit = bench.patient(Duration::from_secs(5));
        let answers = program.listen(limit, |answers| answers.len() == meanwhile.len() + after.len()).await?;
        program.still_runs()?;
        expect_outcomes(&after, &answers, &["queued"])?;
        expect_outcomes(&meanwhile, &answers, &["queued", "not_stored", "unknown"])?;
        let taken = Amqp::open(&url).await?.take(QUEUE, 1_000).await?;
        let there: HashSet<String> = taken
            .iter()
            .filter_map(|message| message.properties.message_id().as_ref().map(|id| id.as_str().to_owned()))
            .collect();
        let queued = meanwhile.iter().filter(|line| answers[&n(line)].text("outcome") == "queued");
        expect_all(
            text!(
                "messages said to be queued that are in the queue",
                "сообщения с ответом `queued`, которые есть в очереди"
            ),
            before.iter().chain(queued).chain(&after),
            |line| {
                let id = line["id"].as_str().unwrap_or_default();
                (!there.contains(id)).then(|| text!("line {} is lost", "строка {} потеряна", line["n"]))
            },
        )?;
        Ok(())
    })
    .await
}

/// Properties 1 to 4: queues of the check's own, and no service.
async fn against_queues(bench: &mut Bench<'_>, run: &mut Run<'_>) -> anyhow::Result<()> {
    let rabbitmq = bench.rabbitmq.virtual_host().await?;
    let amqp_url = rabbitmq.url();
    let amqp = Amqp::open(amqp_url).await?;
    amqp.depths().await?;
    let (relay, through) = rig::relay(amqp_url).await?;
    bench.program.set("AMQP_URL", through);
    let within = bench.patient(Duration::from_secs(10));

    run.property(1, async || {
        let lines = lines(&mut bench.random(1), 1..=200);
        let mut program = bench.program.start(&[])?;
        expect_outcomes(&lines, &program.ask(&lines, within).await?, &["queued"])?;
        program.finish(within).await?;
        let mut taken = Vec::new();
        let all = async || {
            taken.extend(amqp.take(QUEUE, 1_000).await.ok()?);
            (taken.len() >= lines.len()).then_some(())
        };
        let _ = eventually("all are there", Duration::from_secs(3), all).await;
        expect_count(
            text!("messages in logs.entries", "сообщений в logs.entries"),
            lines.len(),
            taken.len(),
        )?;
        let what = text!("messages as they should be", "сообщения, у которых всё верно");
        expect_all(what, lines.iter().zip(&taken), |(line, message)| {
            let body: Value = serde_json::from_slice(&message.data).unwrap_or_default();
            let level = line["level"].as_str().unwrap_or_default();
            let id = message.properties.message_id().as_ref().map(|id| id.as_str().to_owned());
            let (mode, key) = (message.properties.delivery_mode(), message.routing_key.as_str());
            let Text { en, ru } = if *mode != Some(2) {
                let Text { en, ru } = held(*mode);
                text!("delivery_mode {en}", "delivery_mode {ru}")
            } else if id.as_deref() != line["id"].as_str() {
                let Text { en, ru } = held(id.map(|id| format!("{id:?}")));
                text!("message_id {en}", "message_id {ru}")
            } else if key != format!("log.{}", level.to_uppercase()) {
                text!("routing key {key}", "ключ маршрутизации {key}")
            } else if ["name", "data"].iter().any(|field| body[*field] != line[*field]) {
                text!("body {body}", "тело {body}")
            } else {
                return None;
            };
            let n = &line["n"];
            Some(text!("line {n}: {en}", "строка {n}: {ru}"))
        })?;
        Ok(())
    })
    .await?;

    run.property(2, async || {
        let mut random = bench.random(2);
        let mut program = bench.program.start(&[])?;
        let first = lines(&mut random, 1..=1);
        expect_outcomes(&first, &program.ask(&first, within).await?, &["queued"])?;
        let held = lines(&mut random, 2..=21);
        let before = relay.passed(Direction::ToServer);
        relay.set(Direction::ToClient, Fault::Freeze);
        program.tell(&held, within).await?;
        let early = program.listen(Duration::from_secs(1), |_| false).await;
        relay.admit();
        let sent = relay.passed(Direction::ToServer) - before;
        let what = text!("answers while RabbitMQ's are held back", "ответов, пока ответы RabbitMQ задержаны");
        expect_count(what, 0, early?.len())?;
        if sent == 0 {
            Err(Failed::new(
                text!("a message on its way to RabbitMQ", "сообщение отправлено в RabbitMQ"),
                text!("no bytes", "ни одного байта"),
            ))?;
        }
        let answers = program.listen(within, |answers| answers.len() == held.len()).await?;
        expect_outcomes(&held, &answers, &["queued"])?;
        amqp.take(QUEUE, 1_000).await?;
        Ok(())
    })
    .await?;

    run.property(3, async || {
        let (queue, exchange, key) = (QUEUE.into(), EXCHANGE.into(), BINDING_KEY.into());
        amqp.channel().queue_unbind(queue, exchange, key, FieldTable::default()).await?;
        let lines = lines(&mut bench.random(3), 1..=20);
        let answers = bench.program.start(&[])?.ask(&lines, bench.patient(Duration::from_secs(2))).await;
        amqp.depths().await?;
        expect_outcomes(&lines, &answers?, &["not_stored"])?;
        Ok(())
    })
    .await?;

    run.property(4, async || {
        let (queue, exchange, key) = (QUEUE.into(), EXCHANGE.into(), BINDING_KEY.into());
        amqp.channel().queue_unbind(queue, exchange, key, FieldTable::default()).await?;
        let mut arguments = FieldTable::default();
        // A quorum queue takes some more than its length.
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(10));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        amqp.channel().queue_declare(SMALL_QUEUE.into(), QueueDeclareOptions::durable(), arguments).await?;
        let bind = QueueBindOptions::default();
        amqp.channel()
            .queue_bind(SMALL_QUEUE.into(), EXCHANGE.into(), BINDING_KEY.into(), bind, FieldTable::default())
            .await?;
        let lines = lines(&mut bench.random(4), 1..=20);
        let answers = bench.program.start(&[])?.ask(&lines, within).await?;
        expect_outcomes(&lines, &answers, &["queued", "not_stored"])?;
        let queued: HashSet<&str> = lines
            .iter()
            .filter(|line| answers[&n(line)].text("outcome") == "queued")
            .filter_map(|line| line["id"].as_str())
            .collect();
        let taken = amqp.take(SMALL_QUEUE, 100).await?;
        expect_count(text!("messages in the queue of 10", "сообщений в очереди на 10"), 10, taken.len())?;
        expect_count(text!("lines that are `queued`", "строк с `queued`"), 10, queued.len())?;
        let what = text!(
            "messages in the queue that are said to be queued",
            "сообщения в очереди, на которые дан ответ `queued`"
        );
        expect_all(what, &taken, |message| {
            let id = message.properties.message_id().as_ref().map_or("", |id| id.as_str());
            (!queued.contains(id)).then(|| text!("message {id:?}", "сообщение {id:?}"))
        })?;
        Ok(())
    })
    .await
}

/// Property 5: the real listener and logger behind the queue.
async fn against_services(bench: &mut Bench<'_>, run: &mut Run<'_>) -> anyhow::Result<()> {
    let rabbitmq = bench.rabbitmq.virtual_host().await?;
    let amqp_url = rabbitmq.url();
    let mut services = bench.services("services", amqp_url, &[])?;
    services.start_logger().await?;
    services.start_listener().await?;
    let (relay, through): (Relay, String) = rig::relay(amqp_url).await?;

    run.property(5, async || {
        let mut random = bench.random(5);
        let mut program = bench.program.start(&[("AMQP_URL", through.clone())])?;
        let mut ids = HashSet::new();
        for batch in 0..10 {
            let lines = lines(&mut random, batch * 10 + 1..=batch * 10 + 10);
            ids.extend(lines.iter().map(|line| line["id"].as_str().unwrap_or_default().to_owned()));
            let before = relay.passed(Direction::ToServer);
            // Not the first: there the connection is opened.
            let breaks = batch % 2 == 1;
            if breaks {
                relay.set(Direction::ToClient, Fault::BlackHole);
            }
            let fault = async {
                if !breaks {
                    return Ok(());
                }
                let arrived = async || (relay.passed(Direction::ToServer) > before + 50).then_some(());
                let met = eventually("a message meets the fault", Duration::from_secs(10), arrived).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
                relay.reset();
                relay.admit();
                met
            };
            let (answers, met) =
                tokio::join!(program.ask(&lines, bench.patient(Duration::from_secs(10))), fault);
            let answers = answers?;
            met.map_err(|_| {
                Trouble(text!("the fault met no message", "сбой не застал ни одного сообщения"))
            })?;
            expect_outcomes(&lines, &answers, &["queued"])?;
        }
        let client = services.logger_client();
        let all = async || client.all_stored().await.ok().filter(|rows| rows.len() >= ids.len());
        let rows = match eventually("all are stored", Duration::from_secs(10), all).await {
            Ok(rows) => rows,
            Err(_) => client.all_stored().await?,
        };
        expect_count(text!("rows at the logger", "записей в logger"), ids.len(), rows.len())?;
        let what = text!("rows under the ids that were given", "записи под заданными id");
        expect_all(what, &rows, |row| {
            (!ids.contains(&row.id.to_string())).then(|| Text::same(format_args!("id {}", row.id)))
        })?;
        if rows.iter().all(|row| row.attempts <= 1) {
            Err(Trouble(text!(
                "no message was published twice: the faults met nothing",
                "ни одно сообщение не опубликовано дважды: сбои ничего не застали"
            )))?;
        }
        Ok(())
    })
    .await
}

fn n(line: &Value) -> u64 {
    line["n"].as_u64().unwrap_or_default()
}

fn lines(random: &mut Random, numbers: std::ops::RangeInclusive<u64>) -> Vec<Value> {
    let mut line = |n| {
        let level = *random.pick(&["info", "warning", "error"]);
        json!({ "n": n, "id": random.id(), "name": random.name(), "data": random.data(), "level": level })
    };
    numbers.map(&mut line).collect()
}
