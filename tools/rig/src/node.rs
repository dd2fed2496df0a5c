//! A RabbitMQ node of one's own, which may be broken. `deploy/rabbitmq.sh obey` knows how; here are the orders.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// How long the node may take to be gone once nobody wants it any more.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// A node. It is ended, and its directory removed, when this is dropped, and also when this process is gone in any
/// other way: the script then finds its stdin at an end.
#[derive(Debug)]
pub struct Node {
    script: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    dir: PathBuf,
    base_port: u16,
}

impl Node {
    /// Claims a place for one, and starts it; does not wait until it takes messages.
    ///
    /// # Errors
    /// As everything here, if the node does not do what it should; the script has said why on stderr.
    pub async fn start() -> io::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/rabbitmq.sh");
        let mut script = Command::new(script)
            .arg("obey")
            // The mark of the node that all tests share: the script must outlive it, to end this one.
            .env_remove("FOURWIRE_NODE")
            // A Ctrl-C is for whoever called.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = script.stdin.take();
        let mut answers = BufReader::new(script.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?).lines();
        let place = answers.next_line().await?;
        let place = place.as_deref().and_then(|place| place.split_once(' '));
        let place = place.and_then(|(dir, port)| Some((PathBuf::from(dir), port.parse().ok()?)));
        let (dir, base_port) = place.ok_or_else(|| {
            io::Error::other("no RabbitMQ: install Debian's package by `sudo deploy/rabbitmq.sh install`")
        })?;
        let mut node = Node { script, orders, answers, dir, base_port };
        node.launch().await?;
        Ok(node)
    }

    /// Its URL, without a virtual host.
    pub fn amqp(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.base_port)
    }

    /// What it says of itself when it starts: the versions of RabbitMQ and Erlang among others.
    pub fn banner(&self) -> String {
        self.log()
    }

    /// The processes that it consists of at the moment.
    ///
    /// # Errors
    /// If this is not Linux.
    pub fn pids(&self) -> io::Result<Vec<i32>> {
        let mark = format!("FOURWIRE_NODE={}", self.dir.display());
        let has_mark = |pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        let entries = fs::read_dir("/proc")?.filter_map(Result::ok);
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Ok(pids.filter(has_mark).collect())
    }

    /// Starts it again; does not wait for it.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn launch(&mut self) -> io::Result<()> {
        self.order("launch").await
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn serves(&mut self) -> io::Result<()> {
        self.order("await").await
    }

    /// `kill -9`; waits until all its processes are gone.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn kill(&mut self) -> io::Result<()> {
        self.order("kill").await
    }

    /// Shuts it down in order; waits until it is gone.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn stop(&mut self) -> io::Result<()> {
        self.order("stop").await
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn freeze(&mut self) -> io::Result<()> {
        self.order("freeze").await
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn thaw(&mut self) -> io::Result<()> {
        self.order("thaw").await
    }

    /// `rabbitmqctl`.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn ctl(&mut self, arguments: &str) -> io::Result<()> {
        self.order(&format!("ctl {arguments}")).await
    }

    async fn order(&mut self, order: &str) -> io::Result<()> {
        let orders = self.orders.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        orders.write_all(format!("{order}\n").as_bytes()).await?;
        match self.answers.next_line().await?.as_deref() {
            Some("ok") => Ok(()),
            _ => Err(io::Error::other(format!("RabbitMQ does not obey `{order}`:\n{}", self.log()))),
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log/start.log")).unwrap_or_default()
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
