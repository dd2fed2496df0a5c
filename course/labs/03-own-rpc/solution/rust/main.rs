//! A caller that has many calls in flight on one connection, and knows three outcomes of a call, not two.

use std::{
    collections::HashMap,
    env, io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
};

const IN_FLIGHT: usize = 64;
const FRAME_BYTES: u32 = 16 * 1024 * 1024;
const CONNECT: Duration = Duration::from_millis(500);

/// Who waits for which answer. Taken away with the connection, so that everybody who waits is told.
type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Value>>>>>;

/// A connection: what is to be written, and who waits for answers from it.
struct Connection {
    frames: mpsc::Sender<Vec<u8>>,
    waiting: Waiting,
}

#[derive(Default)]
struct Caller {
    address: String,
    seq: AtomicU64,
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
}

impl Caller {
    /// The connection; a new one if there is none.
    async fn connected(&self) -> io::Result<Arc<Connection>> {
        let mut current = self.connection.lock().await;
        if let Some(connection) = current.as_ref()
            && connection.waiting.lock().expect("nobody panics").is_some()
        {
            return Ok(Arc::clone(connection));
        }
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(&self.address)).await??;
        stream.set_nodelay(true)?;
        let waiting = Waiting::new(Mutex::new(Some(HashMap::new())));
        let (frames, to_write) = mpsc::channel(IN_FLIGHT);
        tokio::spawn(serve(stream, to_write, Arc::clone(&waiting)));
        let connection = Arc::new(Connection { frames, waiting });
        *current = Some(Arc::clone(&connection));
        Ok(connection)
    }

    async fn call(&self, line: Value) -> Value {
        let not_sent =
            |error: &dyn std::fmt::Display| json!({ "n": line["n"], "not_sent": error.to_string() });
        let connection = match self.connected().await {
            Ok(connection) => connection,
            Err(error) => return not_sent(&error),
        };
        let seq = self.seq.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        match connection.waiting.lock().expect("nobody panics").as_mut() {
            Some(waiting) => waiting.insert(seq, answer),
            None => return not_sent(&"the connection was lost before"),
        };
        let body = json!({ "seq": seq, "method": "Log.Write", "params": line["params"] }).to_string();
        let frame = [&(body.len() as u32).to_be_bytes()[..], body.as_bytes()].concat();
        let timeout = Duration::from_millis(line["timeout_ms"].as_u64().unwrap_or(1_000));
        let sent_and_answered = async {
            // If it fails the connection has ended, and everybody is told.
            let _ = connection.frames.send(frame).await;
            answered.await
        };
        let outcome = tokio::time::timeout(timeout, sent_and_answered).await;
        if let Some(waiting) = connection.waiting.lock().expect("nobody panics").as_mut() {
            waiting.remove(&seq);
        }
        match outcome {
            Ok(Ok(answer)) if answer.get("error").is_some() => {
                json!({ "n": line["n"], "error": answer["error"] })
            }
            Ok(Ok(answer)) => json!({ "n": line["n"], "result": answer["result"] }),
            Ok(Err(_)) => json!({ "n": line["n"], "unknown": "the connection was lost" }),
            Err(_) => json!({ "n": line["n"], "unknown": "no answer in time" }),
        }
    }
}

/// The one task that reads and writes a connection. When it ends, so does the connection.
async fn serve(mut stream: TcpStream, mut frames: mpsc::Receiver<Vec<u8>>, waiting: Waiting) {
    let (mut reader, mut writer) = stream.split();
    let read = async {
        loop {
            let length = reader.read_u32().await?;
            if length > FRAME_BYTES {
                return Err::<(), _>(io::Error::other(format!("a frame of {length} bytes")));
            }
            let mut body = vec![0; length as usize];
            reader.read_exact(&mut body).await?;
            let answer: Value = serde_json::from_slice(&body)?;
            let seq = answer["seq"].as_u64().unwrap_or(u64::MAX);
            let waiter =
                waiting.lock().expect("nobody panics").as_mut().and_then(|waiting| waiting.remove(&seq));
            // A late answer finds nobody.
            if let Some(waiter) = waiter {
                let _ = waiter.send(answer);
            }
        }
    };
    // A frame is written whole, whatever becomes of its call: half of one would spoil those after it.
    let write = async {
        while let Some(frame) = frames.recv().await {
            writer.write_all(&frame).await?;
        }
        io::Result::Ok(())
    };
    let ended = tokio::select! {
        ended = read => ended,
        ended = write => ended,
    };
    if let Err(error) = ended {
        eprintln!("connection lost: {error}");
    }
    waiting.lock().expect("nobody panics").take();
}

#[tokio::main]
pub async fn main() {
    let address = env::var("RPC_ADDR").expect("RPC_ADDR is set");
    let caller = Arc::new(Caller { address, ..Caller::default() });
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut calls = JoinSet::new();
    while let Some(line) = lines.next_line().await.expect("standard input is readable") {
        let line: Value = serde_json::from_str(&line).expect("each line is JSON");
        let permit = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
        let caller = Arc::clone(&caller);
        calls.spawn(async move {
            println!("{}", caller.call(line).await);
            drop(permit);
        });
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
}
