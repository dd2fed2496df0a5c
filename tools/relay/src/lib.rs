//! A TCP relay that breaks connections on purpose. It stands between a client and its server, on loopback.
//!
//! A fault holds for one direction of all connections, those that are open and those to come, until the next one
//! is set. [`Relay::reset`] and [`Relay::refuse`] act on the connections themselves. What passes can be kept:
//! [`Relay::recording`].

mod recording;

pub use recording::{Chunk, Recording};

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// Most bytes that are passed on at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// What happens to the bytes of a direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fault {
    /// They are passed on.
    #[default]
    None,
    /// They are passed on so much later.
    Latency(Duration),
    /// So many are passed on in a second.
    Bandwidth(u32),
    /// They are taken, and vanish.
    BlackHole,
    /// They are not taken: soon the sender's buffer is full.
    Freeze,
    /// After so many bytes of a connection the rest vanishes, and the direction ends.
    Truncate(u64),
    /// One bit of every chunk is flipped.
    Corrupt,
    /// The direction ends at once; the other goes on.
    HalfClose,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// What the connections are to do, besides what happens to their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Links {
    /// Connections of an older generation are reset.
    generation: u64,
    /// New ones are refused.
    refused: bool,
}

/// What was counted in each direction.
#[derive(Debug, Default)]
struct Passed {
    to_server: Counted,
    to_client: Counted,
}

/// What was counted of a direction.
#[derive(Debug, Default)]
struct Counted {
    bytes: AtomicU64,
    /// Chunks that latency has held back, and for how many microseconds in all.
    held: AtomicU64,
    held_us: AtomicU64,
}

/// How often latency has held something back, and for how long in all: a timer's granularity adds to what was set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// So many chunks.
    pub chunks: u64,
    /// For so long in all.
    pub sum: Duration,
}

/// A relay to one server. It ends, and with it all its connections, when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    to_server: watch::Sender<Fault>,
    to_client: watch::Sender<Fault>,
    links: watch::Sender<Links>,
    accepted: watch::Receiver<u64>,
    ended: watch::Receiver<u64>,
    passed: Arc<Passed>,
    _accepting: JoinSet<io::Result<()>>,
}

impl Relay {
    /// Opens a relay to `server` on a free port of loopback.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn open(server: SocketAddr) -> io::Result<Self> {
        Self::start(server, None).await
    }

    /// The same, and what it passes on is kept.
    ///
    /// # Errors
    /// As there.
    pub async fn recording(server: SocketAddr) -> io::Result<(Self, Recording)> {
        let recording = Recording::new();
        Ok((Self::start(server, Some(recording.clone())).await?, recording))
    }

    async fn start(server: SocketAddr, recording: Option<Recording>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (to_server, _) = watch::channel(Fault::None);
        let (to_client, _) = watch::channel(Fault::None);
        let (links, _) = watch::channel(Links { generation: 0, refused: false });
        let (count, accepted) = watch::channel(0);
        let (count_ended, ended) = watch::channel(0);
        let acceptor = Acceptor {
            server,
            address,
            to_server: to_server.subscribe(),
            to_client: to_client.subscribe(),
            links: links.subscribe(),
            count: Arc::new(count),
            ended: Arc::new(count_ended),
            passed: Arc::default(),
            recording,
        };
        let passed = Arc::clone(&acceptor.passed);
        let mut accepting = JoinSet::new();
        accepting.spawn(acceptor.run(listener));
        Ok(Relay { address, to_server, to_client, links, accepted, ended, passed, _accepting: accepting })
    }

    /// Where the client is to connect.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets what happens to the bytes of one direction.
    pub fn set(&self, direction: Direction, fault: Fault) {
        match direction {
            Direction::ToServer => self.to_server.send_replace(fault),
            Direction::ToClient => self.to_client.send_replace(fault),
        };
    }

    /// Sets what happens to the bytes of both directions.
    pub fn set_both(&self, fault: Fault) {
        self.set(Direction::ToServer, fault);
        self.set(Direction::ToClient, fault);
    }

    /// Resets all connections that are open: both ends get a TCP RST.
    pub fn reset(&self) {
        self.links.send_modify(|links| links.generation += 1);
    }

    /// Resets all connections, and refuses new ones until [`Relay::admit`].
    pub fn refuse(&self) {
        self.links.send_modify(|links| {
            links.generation += 1;
            links.refused = true;
        });
    }

    /// Takes new connections again, and sets no fault.
    pub fn admit(&self) {
        self.set_both(Fault::None);
        self.links.send_modify(|links| links.refused = false);
    }

    /// How many bytes it has passed on so far, in one direction of all connections.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.counted(direction).bytes.load(Ordering::Relaxed)
    }

    /// What [`Fault::Latency`] has held back so far, in one direction of all connections.
    pub fn held(&self, direction: Direction) -> Held {
        let counted = self.counted(direction);
        let sum = Duration::from_micros(counted.held_us.load(Ordering::Relaxed));
        Held { chunks: counted.held.load(Ordering::Relaxed), sum }
    }

    fn counted(&self, direction: Direction) -> &Counted {
        match direction {
            Direction::ToServer => &self.passed.to_server,
            Direction::ToClient => &self.passed.to_client,
        }
    }

    /// How many connections it has taken so far.
    pub fn accepted(&self) -> u64 {
        *self.accepted.borrow()
    }

    /// Waits until no connection is open: all that was passed on is counted, and kept, then.
    pub async fn idle(&self) {
        let mut ended = self.ended.clone();
        // Its counterpart lives as long as the relay accepts, and the relay does as long as this is borrowed.
        let _ = ended.wait_for(|ended| *ended == self.accepted()).await;
    }
}

struct Acceptor {
    server: SocketAddr,
    address: SocketAddr,
    to_server: watch::Receiver<Fault>,
    to_client: watch::Receiver<Fault>,
    links: watch::Receiver<Links>,
    count: Arc<watch::Sender<u64>>,
    ended: Arc<watch::Sender<u64>>,
    passed: Arc<Passed>,
    recording: Option<Recording>,
}

impl Acceptor {
    async fn run(mut self, listener: TcpListener) -> io::Result<()> {
        let mut listener = Some(listener);
        let mut connections = JoinSet::new();
        loop {
            let refused = self.links.borrow_and_update().refused;
            if refused {
                // A port without a listener is what refuses a connection.
                listener = None;
                if self.links.changed().await.is_err() {
                    return Ok(());
                }
                continue;
            }
            let open = match listener.take() {
                Some(open) => open,
                None => TcpListener::bind(self.address).await?,
            };
            tokio::select! {
                // What is set holds at once: a refusal must not lose the draw against a waiting client.
                biased;
                changed = self.links.changed() => if changed.is_err() { return Ok(()) },
                accepted = open.accept() => {
                    let client = accepted?.0;
                    self.count.send_modify(|count| *count += 1);
                    connections.spawn(self.connection(client));
                }
            }
            listener = Some(open);
            while connections.try_join_next().is_some() {}
        }
    }

    fn connection(&self, client: TcpStream) -> impl Future<Output = ()> + use<> {
        let (server, mut links) = (self.server, self.links.clone());
        let (to_server, to_client) = (self.to_server.clone(), self.to_client.clone());
        let (passed, ended) = (Arc::clone(&self.passed), Arc::clone(&self.ended));
        let (number, recording) =
            (u32::try_from(*self.count.borrow()).unwrap_or(u32::MAX), self.recording.clone());
        let generation = links.borrow().generation;
        async move {
            let keeping =
                |direction| Keeping { recording: recording.as_ref(), connection: number, direction };
            let (mut client, Ok(mut server)) = (client, TcpStream::connect(server).await) else {
                ended.send_modify(|ended| *ended += 1);
                return;
            };
            // A socket that is gone already shows at the first byte.
            let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
            let (client_reader, client_writer) = client.split();
            let (server_reader, server_writer) = server.split();
            let (up, down) = (keeping(Direction::ToServer), keeping(Direction::ToClient));
            let done = tokio::select! {
                done = async {
                    tokio::join!(
                        pass(client_reader, server_writer, to_server, &passed.to_server, up),
                        pass(server_reader, client_writer, to_client, &passed.to_client, down),
                    )
                } => Some(done),
                _ = links.wait_for(|links| links.generation != generation) => None,
            };
            if done.is_none() {
                // Dropped without a linger, a socket says RST instead of FIN.
                let _ = client.set_zero_linger().and_then(|()| server.set_zero_linger());
            }
            ended.send_modify(|ended| *ended += 1);
        }
    }
}

/// Where the bytes of one direction are kept, if they are.
struct Keeping<'a> {
    recording: Option<&'a Recording>,
    connection: u32,
    direction: Direction,
}

/// Passes the bytes of one direction on, as the fault of the moment has it, until it ends.
async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut fault: watch::Receiver<Fault>,
    in_all: &Counted,
    keeping: Keeping<'_>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut passed = 0;
    loop {
        let now = *fault.borrow_and_update();
        if now == Fault::HalfClose {
            break;
        }
        let read = tokio::select! {
            // A fault that is set befalls the next chunk, even where bytes are ready as well.
            biased;
            () = change(&mut fault) => continue,
            read = from.read(&mut buffer), if now != Fault::Freeze => read?,
        };
        if read == 0 {
            break;
        }
        let begun = Instant::now();
        let left = befall(now, &mut buffer[..read], passed).await;
        if matches!(now, Fault::Latency(_)) {
            in_all.held.fetch_add(1, Ordering::Relaxed);
            let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            in_all.held_us.fetch_add(micros, Ordering::Relaxed);
        }
        let Keeping { recording, connection, direction } = keeping;
        let passing = recording.map(|recording| recording.keep(connection, direction, left));
        to.write_all(left).await?;
        if let Some(passing) = passing {
            passing.done();
        }
        passed += left.len() as u64;
        in_all.bytes.fetch_add(left.len() as u64, Ordering::Relaxed);
        if matches!(now, Fault::Truncate(_)) && left.len() < read {
            break;
        }
    }
    to.shutdown().await
}

/// Ends when a fault is set; never, once there is nobody to set one.
async fn change(fault: &mut watch::Receiver<Fault>) {
    if fault.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Lets a fault happen to a chunk, before which so many bytes have passed: what is left of it, when it is due.
async fn befall(fault: Fault, chunk: &mut [u8], passed: u64) -> &[u8] {
    match fault {
        Fault::None | Fault::Freeze | Fault::HalfClose => chunk,
        Fault::BlackHole => &[],
        Fault::Latency(delay) => {
            tokio::time::sleep(delay).await;
            chunk
        }
        Fault::Bandwidth(bytes_per_second) => {
            let seconds = chunk.len() as f64 / f64::from(bytes_per_second.max(1));
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            chunk
        }
        Fault::Truncate(limit) => {
            let left = usize::try_from(limit.saturating_sub(passed)).unwrap_or(usize::MAX);
            &chunk[..left.min(chunk.len())]
        }
        Fault::Corrupt => {
            chunk[chunk.len() / 2] ^= 1;
            chunk
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    /// A server that sends back what it gets, and a client that is connected to it through a relay.
    async fn echo() -> (Relay, TcpStream, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let relay = Relay::open(listener.local_addr().expect("bound")).await.expect("a port");
        let mut server = JoinSet::new();
        server.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        });
        let client = TcpStream::connect(relay.address()).await.expect("it listens");
        (relay, client, server)
    }

    async fn round_trip(client: &mut TcpStream) -> io::Result<[u8; 4]> {
        client.write_all(b"ping").await?;
        let mut answer = [0; 4];
        client.read_exact(&mut answer).await?;
        Ok(answer)
    }

    async fn is_silent(client: &mut TcpStream) -> bool {
        tokio::time::timeout(SHORT, round_trip(client)).await.is_err()
    }

    #[tokio::test]
    async fn without_a_fault_bytes_pass() {
        let (relay, mut client, _server) = echo().await;
        assert_eq!(&round_trip(&mut client).await.expect("passed"), b"ping");
        assert_eq!(relay.accepted(), 1);
    }

    #[tokio::test]
    async fn latency_is_added_in_each_direction() {
        let (relay, mut client, _server) = echo().await;
        relay.set_both(Fault::Latency(SHORT));
        let begun = Instant::now();
        round_trip(&mut client).await.expect("passed");
        assert!(begun.elapsed() >= SHORT * 2, "{:?}", begun.elapsed());
        for direction in [Direction::ToServer, Direction::ToClient] {
            let Held { chunks, sum } = relay.held(direction);
            assert!(chunks >= 1 && sum >= SHORT && sum <= begun.elapsed(), "{chunks} chunks, {sum:?}");
        }
    }

    #[tokio::test]
    async fn bandwidth_is_bounded() {
        let (relay, mut client, _server) = echo().await;
        relay.set(Direction::ToServer, Fault::Bandwidth(40));
        let begun = Instant::now();
        round_trip(&mut client).await.expect("passed");
        assert!(begun.elapsed() >= SHORT, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn what_went_into_the_black_hole_is_gone_and_what_was_frozen_comes_later() {
        let (relay, mut client, _server) = echo().await;
        relay.set(Direction::ToServer, Fault::BlackHole);
        assert!(is_silent(&mut client).await);
        relay.set_both(Fault::None);
        assert_eq!(&round_trip(&mut client).await.expect("passed"), b"ping", "the first four are gone");

        relay.set(Direction::ToServer, Fault::Freeze);
        client.write_all(b"late").await.expect("buffered");
        let mut answer = [0; 4];
        assert!(tokio::time::timeout(SHORT, client.read_exact(&mut answer)).await.is_err());
        relay.set_both(Fault::None);
        client.read_exact(&mut answer).await.expect("it comes");
        assert_eq!(&answer, b"late");
    }

    #[tokio::test]
    async fn a_truncated_answer_ends_early() {
        let (relay, mut client, _server) = echo().await;
        relay.set(Direction::ToClient, Fault::Truncate(2));
        let mut answer = Vec::new();
        client.write_all(b"ping").await.expect("passed");
        client.read_to_end(&mut answer).await.expect("it ends");
        assert_eq!(answer, b"pi");
    }

    #[tokio::test]
    async fn a_corrupted_answer_differs_in_one_bit() {
        let (relay, mut client, _server) = echo().await;
        relay.set(Direction::ToClient, Fault::Corrupt);
        let answer = round_trip(&mut client).await.expect("passed");
        let differing: u32 = answer.iter().zip(b"ping").map(|(got, sent)| (got ^ sent).count_ones()).sum();
        assert_eq!(differing, 1);
    }

    #[tokio::test]
    async fn half_closed_the_other_direction_goes_on() {
        let (relay, mut client, _server) = echo().await;
        round_trip(&mut client).await.expect("passed");
        relay.set(Direction::ToServer, Fault::HalfClose);
        // The server sees the end, and ends its own direction.
        assert_eq!(client.read(&mut [0]).await.expect("an end, and no error"), 0);
    }

    #[tokio::test]
    async fn a_reset_is_an_error_and_a_new_connection_works() {
        let (relay, mut client, _server) = echo().await;
        round_trip(&mut client).await.expect("passed");
        relay.reset();
        let error = client.read(&mut [0]).await.expect_err("no end, but an error");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let mut client = TcpStream::connect(relay.address()).await.expect("it listens");
        assert_eq!(&round_trip(&mut client).await.expect("passed"), b"ping");
    }

    #[tokio::test]
    async fn what_passes_is_kept_in_its_order_and_as_much_as_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let opened = Relay::recording(listener.local_addr().expect("bound")).await;
        let (relay, recording) = opened.expect("a port");
        let mut client = TcpStream::connect(relay.address()).await.expect("it listens");
        client.write_all(b"question").await.expect("passed");
        let (mut server, _) = listener.accept().await.expect("a connection");
        server.read_exact(&mut [0; 8]).await.expect("passed");
        let before = recording.len();
        server.write_all(b"answer").await.expect("passed");
        client.read_exact(&mut [0; 6]).await.expect("passed");
        assert!(recording.len() > before, "who has read it finds it kept");
        drop(client);
        drop(server);
        relay.idle().await;
        let kept = |direction| -> Vec<u8> {
            let chunks = recording.chunks().into_iter().filter(|chunk| chunk.direction == direction);
            chunks.flat_map(|chunk| chunk.bytes).collect()
        };
        assert_eq!(
            (kept(Direction::ToServer), kept(Direction::ToClient)),
            (b"question".into(), b"answer".into())
        );
        assert_eq!((relay.passed(Direction::ToServer), relay.passed(Direction::ToClient)), (8, 6));
        assert!(recording.chunks().iter().all(|chunk| chunk.connection == 1));
    }

    #[tokio::test]
    async fn it_is_idle_when_its_connections_are_gone_also_those_that_it_could_not_make() {
        let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
        let relay = Relay::open(gone).await.expect("a port");
        relay.idle().await;
        let mut client = TcpStream::connect(relay.address()).await.expect("it listens");
        let _ = client.read(&mut [0]).await;
        relay.idle().await;
        assert_eq!(relay.accepted(), 1);
    }

    #[tokio::test]
    async fn refused_is_refused_until_admitted() {
        let (relay, mut client, _server) = echo().await;
        round_trip(&mut client).await.expect("passed");
        relay.refuse();
        client.read(&mut [0]).await.expect_err("reset");
        while TcpStream::connect(relay.address()).await.is_ok() {}
        relay.admit();
        let mut client = loop {
            match TcpStream::connect(relay.address()).await {
                Ok(client) => break client,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        assert_eq!(&round_trip(&mut client).await.expect("passed"), b"ping");
    }
}
