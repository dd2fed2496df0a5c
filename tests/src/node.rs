//! A RabbitMQ node of a trial's own, which the trial may break.

use std::time::{Duration, Instant};

use lapin::{BasicProperties, Confirmation, options::BasicPublishOptions};

/// How long it may take until it is ready, on a machine that is compiling at the same time.
pub const START_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a fresh client's attempt to publish may take before the next one begins.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

/// A node: [`rig::Node`], with panics for errors.
#[derive(Debug)]
pub struct Node(rig::Node);

impl Node {
    /// Starts one.
    ///
    /// # Panics
    /// As everything here, if the node does not do what it should; the script has said why.
    pub async fn start() -> Self {
        let node = Node(rig::Node::start().await.expect("a node"));
        takes_messages(node.amqp()).await;
        node
    }

    /// Its URL, without a virtual host.
    pub fn amqp(&self) -> String {
        self.0.amqp()
    }

    /// Starts it again; does not wait for it.
    pub async fn launch(&mut self) {
        self.0.launch().await.expect("it obeys");
    }

    /// `kill -9`; waits until all its processes are gone.
    pub async fn kill(&mut self) {
        self.0.kill().await.expect("it obeys");
    }

    /// Shuts it down in order; waits until it is gone.
    pub async fn stop(&mut self) {
        self.0.stop().await.expect("it obeys");
    }

    /// SIGSTOP.
    pub async fn freeze(&mut self) {
        self.0.freeze().await.expect("it obeys");
    }

    /// SIGCONT.
    pub async fn thaw(&mut self) {
        self.0.thaw().await.expect("it obeys");
    }

    /// `rabbitmqctl`.
    pub async fn ctl(&mut self, arguments: &str) {
        self.0.ctl(arguments).await.expect("it obeys");
    }
}

/// Waits until a fresh client of the node at `amqp` has had a message confirmed; says when that was.
///
/// # Panics
/// If it takes too long.
pub async fn takes_messages(amqp: String) -> Instant {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        // A node that is starting, frozen or short of memory may take the connection and say nothing.
        if let Ok(Ok(Confirmation::Ack(None))) =
            tokio::time::timeout(ATTEMPT_TIMEOUT, publish_afresh(&amqp)).await
        {
            return Instant::now();
        }
        assert!(Instant::now() < deadline, "the node takes no messages within {START_TIMEOUT:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Connects, and publishes to a queue of the same kind as ours, in the same way.
async fn publish_afresh(amqp: &str) -> lapin::Result<Confirmation> {
    const QUEUE: &str = "fresh";
    let (_connection, channel) = compare::bare::open(&format!("{amqp}/%2f"), QUEUE).await?;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(2);
    channel.basic_publish("".into(), QUEUE.into(), options, b"", properties).await?.await
}
