//! A relay that counts the calls on its HTTP/2 connections: each begins with a HEADERS frame of the client.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// `PRI * HTTP/2.0` and so on, which every client says first.
const PREFACE_BYTES: usize = 24;

/// The type of a frame that begins a call.
const HEADERS: u8 = 1;

/// Largest frame that is passed on: more than any setting here allows.
const FRAME_BYTES: usize = 16 * 1024 * 1024;

/// The relay. It ends when it is dropped.
#[derive(Debug)]
pub struct CallCounter {
    /// Where the client is to connect.
    pub address: SocketAddr,
    calls: Arc<AtomicU64>,
    _serving: JoinSet<()>,
}

impl CallCounter {
    /// Opens one before a server, on a free port of loopback.
    ///
    /// # Errors
    /// If there is none.
    pub async fn open(server: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let calls = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&calls);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                // How a connection ends is the client's affair.
                connections.spawn(async move { drop(pass(client, server, &count).await) });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(CallCounter { address, calls, _serving: serving })
    }

    /// How many calls have begun.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, calls: &AtomicU64) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let forth = async {
        let mut preface = [0; PREFACE_BYTES];
        from_client.read_exact(&mut preface).await?;
        to_server.write_all(&preface).await?;
        loop {
            // Length in three bytes, type, flags, stream in four.
            let mut head = [0; 9];
            from_client.read_exact(&mut head).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            if length > FRAME_BYTES {
                return std::io::Result::<()>::Err(std::io::Error::other("a frame that is too large"));
            }
            let mut body = vec![0; length];
            from_client.read_exact(&mut body).await?;
            calls.fetch_add(u64::from(head[3] == HEADERS), Ordering::Relaxed);
            to_server.write_all(&[&head[..], &body].concat()).await?;
        }
    };
    tokio::select! {
        ended = forth => ended,
        ended = tokio::io::copy(&mut from_server, &mut to_client) => ended.map(drop),
    }
}
