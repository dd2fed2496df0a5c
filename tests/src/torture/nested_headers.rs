//! A message that ends the listener at each delivery, among entries that do not: it alone becomes a dead letter.
//!
//! Its headers are nested more deeply than the stack of lapin's thread has room for: the listener is given the stack that
//! Rust would have, in place of the one that it asks for.

use proto::{Transport, rabbitmq};
use serde_json::{Value, json};

use super::{Report, Tried};
use crate::{soon, stack::Stack};

/// Past any stack of 2 MiB, of an optimised build too.
const LEVELS: usize = 4_000;
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// Entries before it and behind it.
const BEFORE: usize = 5;
const BEHIND: usize = 400;

/// More restarts than RabbitMQ delivers a message.
const MOST_STARTS: usize = 30;

/// Does it so often, each time with a stack of its own.
pub async fn run(rounds: u32, mut progress: impl FnMut(u32)) -> Tried {
    let mut sum = Report { rounds, ..Report::default() };
    let mut starts = Vec::new();
    for round in 0..rounds {
        let mut stack = Stack::start_without_listener(&[]).await;
        stack.set("RUST_MIN_STACK", STACK_BYTES.to_string());
        queue(&stack, BEFORE).await;
        stack.rabbitmq.publish_nested("log.INFO", r#"{"name":"culprit","data":""}"#, LEVELS).await;
        queue(&stack, BEHIND).await;
        let started = until_all_is_settled(&mut stack).await?;
        let (stored, dead) = (stack.all_stored().await, stack.rabbitmq.depth(rabbitmq::DEAD_LETTER).await);
        sum.entries += BEFORE + BEHIND;
        sum.accepted += BEFORE + BEHIND;
        let culprit_is_dead = stored.iter().all(|row| row.name != "culprit");
        if stored.len() != BEFORE + BEHIND || dead != 1 || !culprit_is_dead {
            sum.broken.push(format!("{} stored, {dead} dead letters after {started} starts", stored.len()));
        }
        starts.push(started.to_string());
        progress(round + 1);
    }
    sum.figures = format!("{} stored, 1 dead letter, after {} starts", BEFORE + BEHIND, starts.join(", "));
    Ok(sum)
}

async fn queue(stack: &Stack, count: usize) {
    let entries: Vec<Value> =
        (0..count).map(|number| json!({ "name": "event", "data": format!("{number}") })).collect();
    let answer = stack.log(Transport::Rabbitmq, &json!(entries)).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
}

/// Starts the listener as often as it ends; says how often that was.
async fn until_all_is_settled(stack: &mut Stack) -> anyhow::Result<usize> {
    for started in 1..=MOST_STARTS {
        stack.launch_listener().await?;
        let mut listener = std::mem::take(&mut stack.listener);
        let settled = soon("all is settled", async || {
            let stored = stack.all_stored().await.len();
            let dead = stack.rabbitmq.depth(rabbitmq::DEAD_LETTER).await as usize;
            let left = stack.rabbitmq.depth(rabbitmq::QUEUE).await;
            (left == 0 && stored + dead > BEFORE + BEHIND).then_some(())
        });
        let ended = tokio::select! {
            _ = listener.ended() => true,
            settled = settled => settled.map(|()| false)?,
        };
        if !ended {
            return Ok(started);
        }
    }
    anyhow::bail!("it ended {MOST_STARTS} times")
}
