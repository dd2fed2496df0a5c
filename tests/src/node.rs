//! A RabbitMQ node of a trial's own, which the trial may break. `deploy/rabbitmq.sh obey` knows how; here are the
//! orders.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use lapin::{
    BasicProperties, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// How long it may take until it is ready, on a machine that is compiling at the same time.
pub const START_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a fresh client's attempt to publish may take before the next one begins.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the node may take to be gone once nobody wants it any more.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// A node. It is ended, and its directory removed, when this is dropped, and also when the test's process is gone
/// in any other way: the script then finds its stdin at an end.
#[derive(Debug)]
pub struct Node {
    script: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    dir: PathBuf,
    base_port: u16,
}

impl Node {
    /// Starts one.
    ///
    /// # Panics
    /// As everything here, if the node does not do what it should; the script has said why.
    pub async fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/rabbitmq.sh");
        let mut script = Command::new(script)
            .arg("obey")
            // The mark of the node that all tests share: the script must outlive it, to end this one.
            .env_remove("FOURWIRE_NODE")
            // A Ctrl-C is for the test.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script is there");
        let orders = script.stdin.take();
        let mut answers = BufReader::new(script.stdout.take().expect("it is piped")).lines();
        let place = answers.next_line().await.expect("a pipe");
        let place = place.expect("a trial that breaks RabbitMQ needs Debian's package rabbitmq-server");
        let (dir, base_port) = place.split_once(' ').expect("a directory and a port");
        let (dir, base_port) = (PathBuf::from(dir), base_port.parse().expect("a port"));
        let mut node = Node { script, orders, answers, dir, base_port };
        node.launch().await;
        takes_messages(node.amqp()).await;
        node
    }

    /// Its URL, without a virtual host.
    pub fn amqp(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.base_port)
    }

    /// Starts it again; does not wait for it.
    pub async fn launch(&mut self) {
        self.order("launch").await;
    }

    /// `kill -9`; waits until all its processes are gone.
    pub async fn kill(&mut self) {
        self.order("kill").await;
    }

    /// Shuts it down in order; waits until it is gone.
    pub async fn stop(&mut self) {
        self.order("stop").await;
    }

    /// SIGSTOP.
    pub async fn freeze(&mut self) {
        self.order("freeze").await;
    }

    /// SIGCONT.
    pub async fn thaw(&mut self) {
        self.order("thaw").await;
    }

    /// `rabbitmqctl`.
    pub async fn ctl(&mut self, arguments: &str) {
        self.order(&format!("ctl {arguments}")).await;
    }

    async fn order(&mut self, order: &str) {
        let orders = self.orders.as_mut().expect("open until it is dropped");
        orders.write_all(format!("{order}\n").as_bytes()).await.expect("the script reads");
        let answer = self.answers.next_line().await.expect("a pipe");
        assert_eq!(answer.as_deref(), Some("ok"), "{order}\n{}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log/start.log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The script finds its stdin at an end.
        self.orders = None;
        let deadline = Instant::now() + END_TIMEOUT;
        while matches!(self.script.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
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
    let connection = Connection::connect(&format!("{amqp}/%2f"), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(QUEUE.into(), QueueDeclareOptions::durable(), arguments).await?;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(2);
    channel.basic_publish("".into(), QUEUE.into(), options, b"", properties).await?.await
}
