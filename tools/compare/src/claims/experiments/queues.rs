//! Queues: what is published to no queue, what a dead consumer had, and what a second listener brings.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Confirmation, ExchangeKind,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ExchangeDeclareOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};
use proto::Transport;
use rig::{Client, Launch, Process};

use super::{Bench, down, rounded};
use crate::{
    bare,
    cell::{Calls, Cell, Keeping, Measured, Part},
    claims::figures::Queues,
    load::Load,
    measure,
    reconcile::{self, Place},
    stack::Site,
    workload::{BASE_CALLERS, BASE_PAYLOAD, Shape, Subject},
};

/// Messages that are published to no queue.
const UNROUTED: u64 = 20;

/// Messages of the consumer that dies, and how many it handles before.
const DELIVERED: u64 = 200;
const HANDLED: u64 = 50;

/// How long a consumer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The load under which our listener is killed: requests per second, for so long, and when it is killed.
const RATE: f64 = 400.0;
const LOAD: Duration = Duration::from_secs(3);
const KILLED_AFTER: Duration = Duration::from_secs(1);

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<Queues> {
    let plain = bench.node.add_virtual_host("plain").await?;
    let (returned, confirmed) = unrouted(&plain).await?;
    let auto = left_by_the_dead(&plain, true).await?;
    let manual = left_by_the_dead(&plain, false).await?;
    let down = down::run(bench).await?;
    let mut site = bench.site("listeners").await?;
    let listener_killed = listener_killed(&mut site).await?;
    let (one_listener, two_listeners) = listeners(bench, &mut site).await?;
    Ok(Queues {
        unrouted: UNROUTED,
        returned,
        confirmed,
        sent_while_down: down::SENT,
        accepted_while_down: down.accepted,
        stored_after: down.stored_after,
        auto_ack: [DELIVERED, HANDLED],
        auto_ack_left: auto,
        manual_ack_left: manual,
        listener_killed,
        any_order: down.any_order,
        one_listener,
        two_listeners,
    })
}

/// Publishes to an exchange with no queue: how many are returned if they are mandatory, and how many confirmed if not.
async fn unrouted(amqp_url: &str) -> anyhow::Result<(u64, u64)> {
    let (connection, channel) = bare::open(amqp_url, "elsewhere").await?;
    let exchange = ExchangeDeclareOptions::default();
    channel.exchange_declare("bare".into(), ExchangeKind::Topic, exchange, FieldTable::default()).await?;
    let (mut returned, mut confirmed) = (0, 0);
    for _ in 0..UNROUTED {
        for mandatory in [true, false] {
            let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
            let published = channel.basic_publish(
                "bare".into(),
                "log.INFO".into(),
                options,
                b"x",
                BasicProperties::default(),
            );
            match published.await?.await? {
                Confirmation::Ack(Some(_)) => returned += 1,
                Confirmation::Ack(None) => confirmed += 1,
                Confirmation::Nack(_) | Confirmation::NotRequested => {}
            }
        }
    }
    connection.close(200, "".into()).await?;
    Ok((returned, confirmed))
}

/// Publishes to a queue and lets a consumer die in the middle of it; how many messages RabbitMQ still has.
async fn left_by_the_dead(amqp_url: &str, no_ack: bool) -> anyhow::Result<u64> {
    let queue = if no_ack { "auto" } else { "manual" };
    let (connection, channel) = bare::open(amqp_url, queue).await?;
    for _ in 0..DELIVERED {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = BasicProperties::default().with_delivery_mode(2);
        channel.basic_publish("".into(), queue.into(), options, b"x", properties).await?.await?;
    }
    let (dying, consuming) = bare::open(amqp_url, queue).await?;
    consuming.basic_qos(1_000, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions { no_ack, ..BasicConsumeOptions::default() };
    let mut deliveries =
        consuming.basic_consume(queue.into(), "dying".into(), options, FieldTable::default()).await?;
    // Once the last one is here, all were sent; it has handled so many of them when it dies.
    for number in 0..DELIVERED {
        let delivery =
            tokio::time::timeout(PATIENCE, deliveries.next()).await?.context("deliveries end")??;
        if number < HANDLED && !no_ack {
            delivery.ack(BasicAckOptions::default()).await?;
        }
    }
    dying.close(200, "".into()).await?;
    let ready = async || {
        let declared = channel
            .queue_declare(
                queue.into(),
                QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() },
                FieldTable::default(),
            )
            .await
            .ok()?;
        // A quorum queue takes a moment to have them back, and may have some of them before the others.
        let all = u64::from(declared.message_count());
        (no_ack || all >= DELIVERED - HANDLED).then_some(all)
    };
    // Without acknowledgements there is nothing to wait for: time enough to have them back, if it had kept any.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let left = rig::eventually("RabbitMQ has its messages back", PATIENCE, ready).await?;
    connection.close(200, "".into()).await?;
    Ok(left)
}

/// Kills our listener under load: accepted, lost, and rows too many.
async fn listener_killed(site: &mut Site) -> anyhow::Result<[u64; 3]> {
    let subject = Subject::Transport(Transport::Rabbitmq);
    let load = Load::new(site.broker_at, subject, Shape::Open { rate: RATE }, LOAD);
    let running = {
        let load = load.clone();
        tokio::task::spawn_blocking(move || load.run())
    };
    tokio::time::sleep(KILLED_AFTER).await;
    site.listener.kill().await?;
    site.start_listener().await?;
    let seen = running.await?;
    let kept = reconcile::settled(&site.logger_client(), &load, Place::Newest, &seen).await?.kept;
    Ok([kept.accepted, kept.lost, kept.duplicated].map(|count| count as u64))
}

/// Entries stored per second with one listener and with two, in turn.
async fn listeners(bench: &Bench, site: &mut Site) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let cell = Cell {
        subject: Subject::Transport(Transport::Rabbitmq),
        store: Keeping::Synced,
        calls: Calls::Shared,
        payload_bytes: BASE_PAYLOAD,
        batch: 1,
        shape: Shape::Closed { callers: BASE_CALLERS },
        part: Part::Again,
    };
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for repetition in 0..bench.length.repetitions {
        // Each goes first every second time.
        let turns = if repetition.is_multiple_of(2) { [false, true] } else { [true, false] };
        for second in turns {
            let other = if second { Some(second_listener(bench, site).await?) } else { None };
            let seed = bench.seed.wrapping_add(repetition as u64);
            let measured = measure::cell(Some(&bench.node), site, cell, bench.length.cell, seed).await?;
            anyhow::ensure!(measured.kept.is_sound(), "{cell}: the store does not hold: {}", measured.kept);
            let rates = if second { &mut two } else { &mut one };
            rates.push(rounded(Measured::stored_per_second(&measured)));
            if let Some(mut other) = other {
                other.stop().await?;
            }
        }
    }
    Ok((one, two))
}

/// Another listener of the same queue.
async fn second_listener(bench: &Bench, site: &Site) -> anyhow::Result<Process> {
    let mut settings = BTreeMap::new();
    for name in ["AMQP_URL", "LOGGER_HTTP_URL", "LOGGER_RPC_ADDR", "LOGGER_GRPC_URL"] {
        settings.insert(name, site.setting(name)?.to_owned());
    }
    settings.insert("LISTENER_HTTP_LISTEN", "127.0.0.1:0".to_owned());
    let launch = Launch { binaries: bench.binaries.clone(), ..Launch::default() };
    let mut process = launch.start("listener", &settings, site.directory())?;
    let at = process.ready().await.context("a second listener")?;
    let at = at.get("http").context("it says where it listens")?;
    let client = Client::new(rig::http()?, format!("http://{at}"));
    let consumes = async || {
        let (_, body) = client.get("/readyz").await.ok()?;
        (body["detail"]["consuming"] == true).then_some(())
    };
    rig::eventually("the second listener consumes", PATIENCE, consumes).await?;
    Ok(process)
}
