//! Restarts the listener again and again while the store is full. RabbitMQ counts each delivery that comes back, and makes a
//! dead letter of what came back more than 20 times: a listener that takes what cannot be stored loses what was accepted.

use std::{collections::HashSet, time::Instant};

use proto::{Transport, rabbitmq};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Report, Tried};
use crate::{disk::Disk, soon, stack::Stack};

/// Entries that wait: more than a batch.
const ENTRIES: usize = 300;

/// Restarts it so often. More than 20 are needed to show anything.
pub async fn run(rounds: u32, mut progress: impl FnMut(u32)) -> Tried {
    let dir = tempfile::tempdir()?;
    let disk = Disk::new(dir.path());
    let settings = disk.settings();
    let settings: Vec<(&'static str, &str)> =
        settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut stack = Stack::start_with(&settings).await;
    let entry = || json!({ "id": Uuid::now_v7(), "name": "event", "data": "" });
    disk.set_space(Some(0));
    soon("the disk is full", async || {
        (stack.log(Transport::Http, &entry()).await.code() == "storage_full").then_some(())
    })
    .await?;
    takes_nothing(&stack).await?;
    let entries: Vec<Value> = (0..ENTRIES).map(|_| entry()).collect();
    let answer = stack.log(Transport::Rabbitmq, &json!(entries)).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    for round in 0..rounds {
        stack.listener.stop().await?;
        stack.launch_listener().await?;
        takes_nothing(&stack).await?;
        progress(round + 1);
    }
    disk.set_space(None);
    let begun = Instant::now();
    let ids = entries.iter().map(|entry| entry["id"].as_str().expect("text").parse::<Uuid>().expect("an id"));
    let mut missing: HashSet<Uuid> = ids.collect();
    soon("all that were accepted are stored or dead", async || {
        stack.all_stored().await.iter().for_each(|row| {
            missing.remove(&row.id);
        });
        let dead = stack.rabbitmq.depth(rabbitmq::DEAD_LETTER).await as usize;
        (missing.len() <= dead).then_some(())
    })
    .await?;
    let dead = stack.rabbitmq.depth(rabbitmq::DEAD_LETTER).await;
    let mut report = Report { rounds, entries: ENTRIES, accepted: ENTRIES, ..Report::default() };
    report.figures = format!(
        "{dead} dead letters; all stored {:.2} s after there was room",
        begun.elapsed().as_secs_f64()
    );
    if dead > 0 || !missing.is_empty() {
        report.broken.push(format!("{dead} of {ENTRIES} accepted entries are dead letters"));
    }
    Ok(report)
}

/// Waits until the listener says that it waits for the logger.
async fn takes_nothing(stack: &Stack) -> anyhow::Result<()> {
    soon("the listener takes nothing", async || {
        let ready = stack.get_from_listener("/readyz").await;
        (ready.body["detail"]["waiting_for"] == "logger").then_some(())
    })
    .await
}
