//! The server of lab 3: frames of a 4-byte length and JSON, which a check answers as it likes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

/// Largest frame that it reads.
const FRAME_BYTES: usize = 1024 * 1024;

/// What is written to a connection.
#[derive(Debug)]
enum Out {
    Bytes(Vec<u8>),
    /// One byte per segment.
    Slowly(Vec<u8>),
    Reset,
}

/// A call that came.
#[derive(Debug, Clone)]
pub struct Call {
    /// When it had come.
    pub at: Instant,
    /// The number of its connection.
    pub connection: u64,
    /// Its sequence number.
    pub seq: Value,
    /// What was called.
    pub method: String,
    /// With what.
    pub params: Value,
    out: mpsc::UnboundedSender<Out>,
}

impl Call {
    /// The frame of the answer that every call gets: its parameters, turned round.
    pub fn answer(&self) -> Vec<u8> {
        frame(&json!({ "seq": self.seq, "result": result_of(&self.params) }))
    }

    /// Answers it.
    pub fn reply(&self) {
        self.send(self.answer());
    }

    /// Writes bytes to its connection.
    pub fn send(&self, bytes: Vec<u8>) {
        // A connection that is gone takes no answer: the program notices by itself.
        let _ = self.out.send(Out::Bytes(bytes));
    }

    /// Answers it byte by byte.
    pub fn reply_slowly(&self) {
        let _ = self.out.send(Out::Slowly(self.answer()));
    }

    /// Resets its connection.
    pub fn reset(&self) {
        let _ = self.out.send(Out::Reset);
    }
}

/// What a call with these parameters returns.
pub fn result_of(params: &Value) -> Value {
    json!({ "stored": params["name"], "bytes": params["data"].as_str().map_or(0, str::len) })
}

fn frame(value: &Value) -> Vec<u8> {
    let body = value.to_string().into_bytes();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [length.to_be_bytes().to_vec(), body].concat()
}

/// The server. It ends when it is dropped.
#[derive(Debug)]
pub struct FrameProbe {
    /// Where it listens.
    pub address: SocketAddr,
    calls: mpsc::UnboundedReceiver<Call>,
    accepted: Arc<AtomicU64>,
    closed: Arc<AtomicU64>,
    _serving: JoinSet<()>,
}

impl FrameProbe {
    /// Opens it on a free port of loopback.
    ///
    /// # Errors
    /// If there is none.
    pub fn open() -> std::io::Result<Self> {
        Self::open_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Opens it where it was before.
    ///
    /// # Errors
    /// If the port is taken.
    pub fn open_at(address: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(1_024)?;
        let address = listener.local_addr()?;
        let (sender, calls) = mpsc::unbounded_channel();
        let (accepted, closed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, sender, Arc::clone(&accepted), Arc::clone(&closed)));
        Ok(FrameProbe { address, calls, accepted, closed, _serving: serving })
    }

    /// How many connections it has taken.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many of them have ended.
    pub fn closed(&self) -> u64 {
        self.closed.load(Ordering::Relaxed)
    }

    /// The next so many calls; fewer, if they do not come in time.
    pub async fn calls(&mut self, count: usize, within: Duration) -> Vec<Call> {
        let deadline = tokio::time::Instant::now() + within;
        let mut calls = Vec::new();
        while calls.len() < count {
            match tokio::time::timeout_at(deadline, self.calls.recv()).await {
                Ok(Some(call)) => calls.push(call),
                Ok(None) | Err(_) => break,
            }
        }
        calls
    }

    /// The next call.
    pub async fn next(&mut self) -> Option<Call> {
        self.calls.recv().await
    }
}

async fn serve(
    listener: TcpListener,
    calls: mpsc::UnboundedSender<Call>,
    accepted: Arc<AtomicU64>,
    closed: Arc<AtomicU64>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = accepted.fetch_add(1, Ordering::Relaxed);
        let (calls, closed) = (calls.clone(), Arc::clone(&closed));
        connections.spawn(async move {
            // How a connection ends is the client's affair.
            let _ = connection(stream, number, calls).await;
            closed.fetch_add(1, Ordering::Relaxed);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(
    mut stream: TcpStream,
    number: u64,
    calls: mpsc::UnboundedSender<Call>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (out, mut outs) = mpsc::unbounded_channel();
    let reset = {
        let (mut reader, mut writer) = stream.split();
        let read = async {
            loop {
                let length = reader.read_u32().await? as usize;
                if length > FRAME_BYTES {
                    return Err(std::io::Error::other("a frame that is too large"));
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).await?;
                let value: Value = serde_json::from_slice(&body)?;
                let call = Call {
                    at: Instant::now(),
                    connection: number,
                    seq: value["seq"].clone(),
                    method: value["method"].as_str().unwrap_or_default().to_owned(),
                    params: value["params"].clone(),
                    out: out.clone(),
                };
                if calls.send(call).is_err() {
                    return std::io::Result::Ok(());
                }
            }
        };
        let write = async {
            while let Some(next) = outs.recv().await {
                match next {
                    Out::Bytes(bytes) => writer.write_all(&bytes).await?,
                    Out::Slowly(bytes) => {
                        for byte in bytes {
                            writer.write_all(&[byte]).await?;
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                    }
                    Out::Reset => return std::io::Result::Ok(true),
                }
            }
            Ok(false)
        };
        tokio::select! {
            ended = read => ended.map(|()| false)?,
            reset = write => reset?,
        }
    };
    if reset {
        // Dropped without a linger, a socket says RST instead of FIN.
        stream.set_zero_linger()?;
    }
    Ok(())
}
