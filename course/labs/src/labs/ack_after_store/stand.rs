//! What the listener stands between: RabbitMQ behind a relay, and the logger behind a recording proxy.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use proto::StoredEntry;
use rig::{Fault, Relay, Services, eventually};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{CONSUMES, STORED};
use crate::{
    bench::{Bench, Random},
    probe::{Amqp, HttpProbe, Reply, Seen},
    program::Running,
    verdict::{Failed, Trouble},
    words::{Text, seconds, text},
};

/// What stands between the listener and the logger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Mode {
    /// The logger answers.
    Passes = 0,
    /// 500, and the logger sees nothing.
    Fails = 1,
    /// The logger stores, and its answer never comes.
    Swallows = 2,
    /// Nobody answers, and the logger sees nothing.
    Hangs = 3,
}

/// A recording proxy before the logger.
pub(super) struct Proxy {
    pub(super) probe: HttpProbe,
    mode: Arc<AtomicU8>,
    entries: Arc<AtomicUsize>,
}

impl Proxy {
    pub(super) async fn open(services: &Services) -> anyhow::Result<Self> {
        let (mode, entries) = (Arc::new(AtomicU8::new(0)), Arc::new(AtomicUsize::new(0)));
        let (http, logger) = (rig::http()?, services.logger_at.http);
        let (asked, count) = (Arc::clone(&mode), Arc::clone(&entries));
        let probe = HttpProbe::open(move |seen: Seen| {
            let (http, count, mode) = (http.clone(), Arc::clone(&count), asked.load(Ordering::Relaxed));
            async move {
                // Our own listener asks whether the logger could store with an empty batch.
                let is_question = seen.json().as_array().is_some_and(Vec::is_empty);
                if mode == Mode::Fails as u8 {
                    return Reply::now(500, "{}");
                }
                if mode == Mode::Hangs as u8 && !is_question {
                    return Reply::Hang;
                }
                let reply = seen.forwarded(&http, logger).await;
                if mode == Mode::Swallows as u8 && !is_question {
                    return Reply::Hang;
                }
                if !is_question {
                    count.fetch_add(seen.json().as_array().map_or(1, Vec::len), Ordering::Relaxed);
                }
                reply
            }
        });
        Ok(Proxy { probe: probe.await?, mode, entries })
    }

    pub(super) fn mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    pub(super) fn requests(&self) -> usize {
        self.probe.count()
    }

    /// How many entries the logger has answered through it.
    pub(super) fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }
}

/// What the listener stands between.
pub(super) struct Stand<'a, 'b> {
    pub(super) bench: &'a Bench<'b>,
    pub(super) amqp: Amqp,
    pub(super) relay: Relay,
    pub(super) services: &'a Services,
    pub(super) proxy: Proxy,
}

impl Stand<'_, '_> {
    /// Starts the program once it is the only one, and waits until the queue has a consumer.
    pub(super) async fn start(&self) -> anyhow::Result<Running> {
        self.alone().await?;
        self.start_with(&self.proxy).await
    }

    /// Waits until RabbitMQ no longer counts the consumer of a program that was killed: the next one could not be told
    /// from it.
    pub(super) async fn alone(&self) -> anyhow::Result<()> {
        self.relay.reset();
        let gone = async || (self.amqp.depths().await.ok()?.consumers == 0).then_some(());
        let noticed =
            eventually("RabbitMQ notices that the consumer is gone", self.bench.patient(CONSUMES), gone);
        noticed.await.map_err(|_| {
            Trouble(text!(
                "RabbitMQ did not notice that the consumer is gone",
                "RabbitMQ не заметил ухода потребителя"
            ))
            .into()
        })
    }

    /// Starts one more, and waits until the queue has one more consumer.
    pub(super) async fn start_with(&self, proxy: &Proxy) -> anyhow::Result<Running> {
        self.start_at(&format!("http://{}", proxy.probe.address)).await
    }

    /// The same, with the logger at that URL.
    pub(super) async fn start_at(&self, logger: &str) -> anyhow::Result<Running> {
        self.relay.set_both(Fault::None);
        let before = self.amqp.depths().await?.consumers;
        let mut running = self.bench.program.start(&[("LOGGER_HTTP_URL", logger.to_owned())])?;
        let asked = self.proxy.requests();
        let consumes = async || {
            let more = self.amqp.depths().await.ok()?.consumers > before;
            // Our own listener consumes only while the logger could store, and asks it otherwise.
            (more || self.proxy.requests() > asked).then_some(())
        };
        let ready = eventually("it consumes", self.bench.patient(CONSUMES), consumes).await;
        running.still_starts()?;
        if ready.is_err() {
            let Text { en, ru } = seconds(self.bench.patient(CONSUMES));
            Err(Failed::new(
                text!(
                    "a consumer of logs.entries within {en}",
                    "потребитель logs.entries не позже чем через {ru}"
                ),
                text!("none", "ни одного"),
            ))?;
        }
        self.bench.program.signs().worked();
        Ok(running)
    }

    /// Kills the program, which is the only one. The relay does not pass on that the connection of a killed one was
    /// reset, and RabbitMQ would wait for a heartbeat before it has its messages back.
    pub(super) async fn kill(&self, running: &mut Running) -> anyhow::Result<()> {
        running.kill().await?;
        self.relay.reset();
        Ok(())
    }

    /// The rows of entries.
    pub(super) async fn rows(&self, entries: &[Value]) -> anyhow::Result<Vec<StoredEntry>> {
        let rows = self.services.logger_client().all_stored().await?;
        let mut by_id: HashMap<Uuid, StoredEntry> = rows.into_iter().map(|row| (row.id, row)).collect();
        let ids = entries.iter().filter_map(|entry| entry["id"].as_str()?.parse::<Uuid>().ok());
        Ok(ids.filter_map(|id| by_id.remove(&id)).collect())
    }

    /// Expects a row for each entry, and no row that is none of ours.
    pub(super) async fn expect_stored(&self, entries: &[Value], within: Duration) -> anyhow::Result<()> {
        // For as long as there are more: how fast a busy machine is says nothing of the program.
        let (mut count, mut grown) = (0, Instant::now());
        while grown.elapsed() < self.bench.patient(within) {
            let now = self.rows(entries).await?.len();
            if now == entries.len() {
                return Ok(());
            }
            if now > count {
                (count, grown) = (now, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let rows = self.rows(entries).await?;
        let lost =
            entries.iter().find(|entry| !rows.iter().any(|row| entry["id"] == row.id.to_string().as_str()));
        let failed = Failed::new(
            text!(
                "{} rows, and no pause of {} s before",
                "записей: {}, и без пауз по {} с",
                entries.len(),
                within.as_secs()
            ),
            Text::same(rows.len()),
        );
        Err(match lost {
            Some(lost) => failed.first(text!("id {} is not there", "нет id {}", lost["id"])),
            None => failed,
        })?
    }

    /// Expects that nothing is left in the queue, unacknowledged messages neither: with the consumers gone they would be
    /// back. Here it is enough that none is ready for a while after all are stored.
    pub(super) async fn expect_empty(&self) -> anyhow::Result<()> {
        let empty = async || (self.amqp.depths().await.ok()?.queue == 0).then_some(());
        if eventually("the queue is empty", self.bench.patient(STORED), empty).await.is_err() {
            let left = self.amqp.depths().await?.queue;
            Err(Failed::new(
                text!("an empty queue", "пустая очередь"),
                text!("{left} messages", "сообщений: {left}"),
            ))?;
        }
        Ok(())
    }

    /// Throws away what is in the queue.
    pub(super) async fn drain(&self) -> anyhow::Result<()> {
        let options = lapin::options::QueuePurgeOptions::default();
        let purged = async || {
            self.amqp.channel().queue_purge(proto::rabbitmq::QUEUE.into(), options).await.ok()?;
            let depths = self.amqp.depths().await.ok()?;
            (depths.consumers == 0 && depths.queue == 0).then_some(())
        };
        let emptied = eventually("the queue is purged", STORED, purged).await;
        emptied.map_err(|_| Trouble(text!("the queue is not purged", "очередь не очищена")).into())
    }
}

pub(super) fn entries(random: &mut Random, count: usize) -> Vec<Value> {
    let mut entry = || {
        let level = *random.pick(&["info", "warning", "error"]);
        json!({ "id": random.id(), "name": random.name(), "data": random.data(), "level": level })
    };
    (0..count).map(|_| entry()).collect()
}
