//! Deletes the queue of entries under load, over and over. What was in it is lost with it: that is what deleting means. What
//! is accepted when the broker has declared it anew must reach the store, though RabbitMQ may not have told the listener.

use std::time::{Duration, Instant};

use lapin::options::QueueDeleteOptions;
use proto::{Transport, rabbitmq::QUEUE};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rig::Verdict;
use serde_json::json;

use super::{Report, Tried, load};
use crate::{soon, stack::Stack};

/// Callers at work.
const CALLERS: usize = 16;

/// How soon what is accepted must be stored again: the listener asks every 2 s, and connects then.
const NOTICED_WITHIN: Duration = Duration::from_secs(15);

/// Deletes it so often.
pub async fn run(rounds: u32, seed: u64, mut progress: impl FnMut(u32)) -> Tried {
    let mut random = StdRng::seed_from_u64(seed);
    let stack = Stack::start().await;
    let (_connection, channel) = stack.rabbitmq.channel().await;
    let (mut sum, mut longest) = (Report { rounds, ..Report::default() }, Duration::ZERO);
    for round in 0..rounds {
        let load = load::start(&stack, &[Transport::Rabbitmq], CALLERS, random.random());
        load.goes_on(50).await?;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        let options = QueueDeleteOptions::default();
        channel.queue_delete(QUEUE.into(), options).await?;
        load.goes_on(50).await?;
        let begun = Instant::now();
        let mark = soon("an entry is accepted", async || {
            let answer = stack.log(Transport::Rabbitmq, &json!({ "name": "mark", "data": "" })).await;
            (answer.status == 202).then(|| answer.id())
        })
        .await?;
        while stack.stored(mark).await.is_none() && begun.elapsed() < NOTICED_WITHIN {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        longest = longest.max(begun.elapsed());
        let verdict = load::stop_and_rest(load, &stack).await?;
        sum.entries += verdict.sent;
        sum.accepted += verdict.accepted;
        // Those of the rounds before are phantoms to this one, as the mark is.
        let otherwise = Verdict { lost: 0, phantom: 0, ..verdict };
        if !otherwise.is_sound() {
            sum.broken.push(format!("round {}: {verdict}", round + 1));
        }
        let left = stack.rabbitmq.depth(QUEUE).await;
        if left > 0 {
            let listener = stack.get_from_listener("/readyz").await.body;
            let broker = stack.get("/status").await.body;
            sum.broken
                .push(format!("round {}: {left} entries stay in the queue: {listener} {broker}", round + 1));
            break;
        }
        progress(round + 1);
    }
    if longest > NOTICED_WITHIN {
        sum.broken.push(format!("an entry was stored only after {longest:?}"));
    }
    sum.figures = format!("stored again within {:.2} s, of {} accepted", longest.as_secs_f64(), sum.accepted);
    Ok(sum)
}
