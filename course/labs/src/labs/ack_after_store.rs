//! Lab 5: a listener that acknowledges after storing, and two of it.

mod stand;

use std::time::{Duration, Instant};

use proto::rabbitmq::DEAD_LETTER;
use rig::{Relay, eventually};
use serde_json::json;

use self::stand::{Mode, Proxy, Stand, entries};
use crate::{
    bench::Bench,
    probe::{Amqp, header_text},
    run::Run,
    verdict::{Failed, Trouble, expect_all, expect_at_most, expect_count},
    words::{Text, held, text},
};

/// How long messages may take to the store.
const STORED: Duration = Duration::from_secs(10);

/// How long it may take until it consumes, and goes on after a reset.
const CONSUMES: Duration = Duration::from_secs(10);

/// How often messages are published under load: 200 per second.
const PACE: Duration = Duration::from_millis(5);

/// Most unacknowledged deliveries.
const PREFETCH: usize = 512;

/// The check.
///
/// # Errors
/// As [`crate::labs::check`].
pub(super) async fn check(bench: &mut Bench<'_>, run: &mut Run<'_>) -> anyhow::Result<()> {
    let rabbitmq = bench.rabbitmq.virtual_host().await?;
    let amqp_url = rabbitmq.url();
    let amqp = Amqp::open(amqp_url).await?;
    amqp.depths().await?;
    let mut services = bench.services("services", amqp_url, &[])?;
    services.start_logger().await?;
    let (relay, through) = rig::relay(amqp_url).await?;
    bench.program.set("AMQP_URL", through);
    let stand = Stand { bench, amqp, relay, services: &services, proxy: Proxy::open(&services).await? };

    run.property(1, async || {
        let entries = entries(&mut bench.random(1), 200);
        for entry in &entries {
            stand.amqp.publish_entry(entry).await?;
        }
        let mut listener = stand.start().await?;
        stand.expect_stored(&entries, STORED).await?;
        stand.expect_empty().await?;
        // Once stored an entry is acknowledged at once; what is not is back when the listener is gone.
        tokio::time::sleep(bench.patient(Duration::from_millis(500))).await;
        stand.kill(&mut listener).await?;
        stand.alone().await?;
        expect_count(
            text!(
                "messages that were stored and not acknowledged",
                "сохранённых, но не подтверждённых сообщений"
            ),
            0,
            stand.amqp.depths().await?.queue as usize,
        )?;
        Ok(())
    })
    .await?;

    run.property(2, async || {
        let entries = entries(&mut bench.random(2), 40);
        stand.proxy.mode(Mode::Fails);
        let mut listener = stand.start().await?;
        let before = stand.proxy.requests();
        for entry in &entries {
            stand.amqp.publish_entry(entry).await?;
        }
        let met = async || (stand.proxy.requests() > before).then_some(());
        eventually("a request meets the failure", CONSUMES, met)
            .await
            .map_err(|_| Trouble(text!("the failure met no request", "сбой не застал ни одного запроса")))?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let meanwhile = stand.proxy.requests() - before;
        stand.kill(&mut listener).await?;
        // What was delivered and not acknowledged RabbitMQ has back.
        let kept = async || (stand.amqp.depths().await.ok()?.queue == 40).then_some(());
        if eventually("all are back", Duration::from_secs(3), kept).await.is_err() {
            let left = stand.amqp.depths().await?.queue;
            Err(Failed::new(
                text!(
                    "40 messages in the queue after the listener was killed",
                    "40 сообщений в очереди после kill listener"
                ),
                Text::same(left),
            ))?;
        }
        let what = text!("requests while the logger answers 500", "запросов, пока logger отвечает 500");
        expect_at_most(what, 200, meanwhile, Text::same)?;
        stand.proxy.mode(Mode::Passes);
        let _listener = stand.start().await?;
        stand.expect_stored(&entries, STORED).await?;
        stand.expect_empty().await
    })
    .await?;

    run.property(3, async || {
        let entries = entries(&mut bench.random(3), 600);
        let publish = async {
            for entry in &entries {
                let begun = Instant::now();
                stand.amqp.publish_entry(entry).await?;
                tokio::time::sleep(PACE.saturating_sub(begun.elapsed())).await;
            }
            anyhow::Ok(())
        };
        let kills = async {
            for _ in 0..5 {
                let mut listener = stand.start().await?;
                let before = stand.proxy.requests();
                let at_work = async || (stand.proxy.requests() > before + 3).then_some(());
                eventually("it is at work", CONSUMES, at_work).await.map_err(|_| {
                    Failed::new(
                        text!("requests to the logger", "запросы к logger"),
                        text!("none", "ни одного"),
                    )
                })?;
                stand.kill(&mut listener).await?;
            }
            stand.start().await
        };
        let (published, killed) = tokio::join!(publish, kills);
        published?;
        let _listener = killed?;
        stand.expect_stored(&entries, STORED).await?;
        stand.expect_empty().await
    })
    .await?;

    run.property(4, async || {
        let entries = entries(&mut bench.random(4), 5);
        let dead = stand.amqp.depths().await?.dead_letters;
        let mut listener = stand.start().await?;
        stand.proxy.mode(Mode::Swallows);
        for entry in &entries {
            stand.amqp.publish_entry(entry).await?;
        }
        let stored = async || stand.rows(&entries).await.ok().filter(|rows| !rows.is_empty());
        eventually("one is stored", STORED, stored).await.map_err(|_| {
            Failed::new(text!("a message at the logger", "сообщение в logger"), text!("none", "ни одного"))
        })?;
        stand.kill(&mut listener).await?;
        stand.proxy.mode(Mode::Passes);
        let _listener = stand.start().await?;
        stand.expect_stored(&entries, STORED).await?;
        stand.expect_empty().await?;
        let rows = stand.rows(&entries).await?;
        if rows.iter().all(|row| row.attempts <= 1) {
            Err(Trouble(text!(
                "no entry was written twice: the kill came too early",
                "ни одна запись не сохранена дважды: kill пришёл слишком рано"
            )))?;
        }
        expect_count(
            text!("messages in logs.dead", "сообщений в logs.dead"),
            0,
            stand.amqp.depths().await?.dead_letters.saturating_sub(dead) as usize,
        )?;
        Ok(())
    })
    .await?;

    run.property(5, async || poison(&stand).await).await?;

    run.property(6, async || {
        let entries = entries(&mut bench.random(6), 400);
        let second = Proxy::open(stand.services).await?;
        let _one = stand.start().await?;
        let _other = stand.start_with(&second).await?;
        let two = async || (stand.amqp.depths().await.ok()?.consumers >= 2).then_some(());
        if eventually("both consume", CONSUMES, two).await.is_err() {
            let consumers = stand.amqp.depths().await?.consumers;
            let expected = text!("two consumers of logs.entries", "два потребителя logs.entries");
            Err(Failed::new(expected, Text::same(consumers)))?;
        }
        let before = [stand.proxy.entries(), second.entries()];
        for entry in &entries {
            let begun = Instant::now();
            stand.amqp.publish_entry(entry).await?;
            tokio::time::sleep(PACE.saturating_sub(begun.elapsed())).await;
        }
        stand.expect_stored(&entries, STORED).await?;
        let what = text!("entries that were written once", "записи, записанные один раз");
        expect_all(what, stand.rows(&entries).await?, |row| {
            (row.attempts != 1).then(|| text!("id {}: {} times", "id {}: записей {}", row.id, row.attempts))
        })?;
        let took = [stand.proxy.entries() - before[0], second.entries() - before[1]];
        if took.iter().any(|took| *took < 80) {
            Err(Failed::new(
                text!(
                    "at least 80 of 400 messages for each of two",
                    "каждому из двух не меньше 80 сообщений из 400"
                ),
                text!("{} and {}", "{} и {}", took[0], took[1]),
            ))?;
        }
        Ok(())
    })
    .await?;

    run.property(7, async || {
        let entries = entries(&mut bench.random(7), 2_000);
        stand.proxy.mode(Mode::Hangs);
        let publishing = entries.iter().map(|entry| stand.amqp.publish_entry(entry));
        futures_util::future::try_join_all(publishing).await?;
        let mut listener = stand.start().await?;
        // Prefetched deliveries come at once; the count must have stopped falling.
        let mut last = u32::MAX;
        let still = async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = stand.amqp.depths().await.ok()?.queue;
            (std::mem::replace(&mut last, now) == now).then_some(now)
        };
        let ready = eventually("the queue stands still", CONSUMES, still)
            .await
            .map_err(|_| Trouble(text!("the queue does not stand still", "очередь не остановилась")))?;
        expect_at_most(
            text!("unacknowledged of 2,000 messages", "неподтверждённых из 2000 сообщений"),
            PREFETCH,
            2_000_usize.saturating_sub(ready as usize),
            Text::same,
        )?;
        stand.proxy.mode(Mode::Passes);
        stand.kill(&mut listener).await?;
        stand.drain().await
    })
    .await?;

    run.property(8, async || {
        let mut random = bench.random(8);
        let http = Relay::open(stand.proxy.probe.address).await?;
        stand.alone().await?;
        let _listener = stand.start_at(&format!("http://{}", http.address())).await?;
        let mut all = Vec::new();
        for round in 0..4 {
            let entries = entries(&mut random, 40);
            let publish = async {
                for (at, entry) in entries.iter().enumerate() {
                    stand.amqp.publish_entry(entry).await?;
                    if at == 20 && round < 3 {
                        stand.relay.reset();
                    } else if at == 20 {
                        http.reset();
                    }
                }
                anyhow::Ok(())
            };
            publish.await?;
            stand.expect_stored(&entries, Duration::from_secs(5)).await?;
            all.extend(entries);
        }
        stand.expect_stored(&all, STORED).await?;
        stand.expect_empty().await
    })
    .await
}

/// Property 5: what can never be stored, among what can.
async fn poison(stand: &Stand<'_, '_>) -> anyhow::Result<()> {
    let mut random = stand.bench.random(5);
    let good = entries(&mut random, 10);
    let conflict = random.id();
    let first = json!({ "id": conflict, "name": random.name(), "data": "first" });
    let other = json!({ "id": conflict, "name": random.name(), "data": "second" });
    stand.amqp.take(DEAD_LETTER, 10_000).await?;
    let _listener = stand.start().await?;
    stand.amqp.publish_entry(&first).await?;
    stand.expect_stored(std::slice::from_ref(&first), STORED).await?;
    let bodies = [
        "no JSON".to_owned(),
        String::new(),
        json!({ "data": "x" }).to_string(),
        json!({ "name": "", "data": "x" }).to_string(),
        other.to_string(),
    ];
    for (at, entry) in good.iter().enumerate() {
        stand.amqp.publish_entry(entry).await?;
        if let Some(body) = bodies.get(at) {
            stand.amqp.publish("log.INFO", &random.id().to_string(), body.as_bytes()).await?;
        }
    }
    stand.expect_stored(&good, STORED).await?;
    stand.expect_empty().await?;
    let mut letters = Vec::new();
    let five = async || {
        letters.extend(stand.amqp.take(DEAD_LETTER, 10).await.ok()?);
        (letters.len() >= bodies.len()).then_some(())
    };
    let came = eventually("five dead letters", STORED, five).await;
    if came.is_err() {
        Err(Failed::new(
            text!("5 messages in logs.dead", "5 сообщений в logs.dead"),
            Text::same(letters.len()),
        ))?;
    }
    let what = text!(
        "dead letters that are one of the 5, with the header `x-reason`",
        "сообщения в logs.dead из этих 5 и с заголовком `x-reason`"
    );
    expect_all(what, &letters, |letter| {
        let body = String::from_utf8_lossy(&letter.data).into_owned();
        let headers = letter.properties.headers().as_ref();
        let reason = headers.and_then(|headers| headers.inner().get("x-reason"));
        (reason.is_none() || !bodies.contains(&body)).then(|| {
            let Text { en, ru } = held(reason.map(header_text));
            text!("{body:?}, x-reason: {en}", "{body:?}, x-reason: {ru}")
        })
    })?;
    expect_count(text!("messages in logs.dead", "сообщений в logs.dead"), bodies.len(), letters.len())?;
    Ok(())
}
