//! On a clock that stands still while anybody has something to do, over the loopback.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use axum::routing::{get, post};
use rustls::server::{ClientHello, ResolvesServerCert};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::Instant,
};

use super::*;
use crate::{Held, LINGER, Room, tls::Protocol};

const SETTINGS: Settings = Settings { http_idle_seconds: 75 };
const GET: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
const BUSY: &str = "GET /busy HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A port, at which `/busy` is answered once there is a permit for it.
struct Port {
    address: SocketAddr,
    arrived: Arc<Semaphore>,
    leave: Arc<Semaphore>,
}

impl Port {
    fn open(change: impl FnOnce(Acceptor) -> Acceptor) -> Self {
        let acceptor =
            Acceptor::bind("X_LISTEN", ([127, 0, 0, 1], 0).into(), Protocol::Http1).expect("a port");
        let acceptor = change(acceptor.with_room(Room::new(1_000, 2_000)));
        let address = acceptor.local_addr().expect("open");
        let (arrived, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (at_work, permits) = (Arc::clone(&arrived), Arc::clone(&leave));
        let busy = || async move {
            at_work.add_permits(1);
            permits.acquire().await.expect("open").forget();
            "done"
        };
        let read = async |request: Request| match Held::read(request).await {
            Ok(body) => format!("{} bytes", body.len()),
            Err(error) => error.to_string(),
        };
        let router = Router::new()
            .route("/healthz", get(|| async { "alive" }))
            .route("/busy", get(busy))
            .route("/read", post(read));
        tokio::spawn(async move { serve(acceptor, router, &SETTINGS, Shutdown::default()).await });
        Port { address, arrived, leave }
    }

    async fn send(&self, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("the port is open");
        stream.write_all(bytes.as_bytes()).await.expect("it is taken");
        stream
    }

    /// Waits until so many requests more are at work.
    async fn arrived(&self, requests: u32) {
        self.arrived.acquire_many(requests).await.expect("open").forget();
    }
}

/// One answer, on a connection that is kept.
async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    let mut buffer = [0; 4_096];
    loop {
        let bytes = stream.read(&mut buffer).await.expect("an answer");
        assert!(bytes > 0, "closed after {answer:?}");
        answer.push_str(std::str::from_utf8(&buffer[..bytes]).expect("text"));
        if let Some((head, body)) = answer.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("its length");
            if body.len() == length.parse::<usize>().expect("a number") {
                return answer;
            }
        }
    }
}

/// All that comes until the other end closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    // It may be reset.
    let _ = stream.read_to_end(&mut rest).await;
    String::from_utf8(rest).expect("text")
}

fn routes() -> Router {
    Router::new().route("/healthz", get(|| async { "alive" }))
}

#[tokio::test]
async fn a_request_that_arrives_before_an_idle_connection_is_closed_is_answered() {
    let acceptor = Acceptor::bind("X_LISTEN", ([127, 0, 0, 1], 0).into(), Protocol::Http1).expect("a port");
    let address = acceptor.local_addr().expect("open");
    let shutdown = Shutdown::default();
    let served = tokio::spawn(serve(acceptor, routes(), &SETTINGS, shutdown.clone()));
    let mut kept = TcpStream::connect(address).await.expect("the port is open");
    kept.write_all(GET.as_bytes()).await.expect("it is taken");
    answer(&mut kept).await;
    // At the same time, for this thread runs both ends.
    assert_eq!(kept.try_write(GET.as_bytes()).expect("it is open"), GET.len());
    shutdown.begin();
    let told = answer(&mut kept).await;
    assert!(told.ends_with("alive") && told.contains("connection: close"), "{told}");
    assert_eq!(rest(&mut kept).await, "");
    served.await.expect("it ends");
}

#[tokio::test]
async fn what_waits_to_be_accepted_when_a_port_closes_is_accepted() {
    for linger in [false, true] {
        let acceptor = Acceptor::bind("X_LISTEN", ([127, 0, 0, 1], 0).into(), Protocol::Http1);
        let acceptor = acceptor.expect("a port");
        let address = acceptor.local_addr().expect("open");
        let mut waiting = Vec::new();
        for _ in 0..300 {
            waiting.push(TcpStream::connect(address).await.expect("there is a place in the backlog"));
            waiting.last_mut().expect("one").write_all(GET.as_bytes()).await.expect("it is taken");
        }
        let shutdown = Shutdown::default();
        shutdown.begin();
        let shutdown = if linger { shutdown.lingering() } else { shutdown };
        let served = tokio::spawn(serve(acceptor, routes(), &SETTINGS, shutdown));
        for stream in &mut waiting {
            let told = rest(stream).await;
            assert!(told.ends_with("alive") && told.contains("connection: close"), "{told}");
        }
        served.await.expect("it ends");
        assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_shutdown_lingers_idle_connections_stay_open_and_new_ones_are_taken() {
    let acceptor = Acceptor::bind("X_LISTEN", ([127, 0, 0, 1], 0).into(), Protocol::Http1).expect("a port");
    let address = acceptor.local_addr().expect("open");
    let shutdown = Shutdown::default().lingering();
    let served = tokio::spawn(serve(acceptor, routes(), &SETTINGS, shutdown.clone()));
    let mut kept = TcpStream::connect(address).await.expect("the port is open");
    kept.write_all(GET.as_bytes()).await.expect("it is taken");
    assert!(!answer(&mut kept).await.contains("connection: close"));
    let (begun, mut idle) = (Instant::now(), kept);
    shutdown.begin();
    tokio::time::sleep(LINGER - Duration::from_millis(100)).await;
    let mut new = TcpStream::connect(address).await.expect("the port is open");
    new.write_all(GET.as_bytes()).await.expect("it is taken");
    assert!(rest(&mut new).await.contains("connection: close"));
    assert_eq!(rest(&mut idle).await, "");
    assert!(begun.elapsed() >= LINGER, "{:?}", begun.elapsed());
    served.await.expect("it ends");
    assert!(begun.elapsed() < LINGER + Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_may_idle_for_as_long_as_the_setting_says() {
    let port = Port::open(|acceptor| acceptor);
    let mut kept = port.send(GET).await;
    answer(&mut kept).await;
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(74)).await;
        kept.write_all(GET.as_bytes()).await.expect("it is open");
        assert!(answer(&mut kept).await.ends_with("alive"));
    }
    let begun = Instant::now();
    assert_eq!(rest(&mut kept).await, "");
    assert_eq!(begun.elapsed().as_secs(), 75);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_has_begun_must_come_within_5_s_on_a_new_connection_and_a_kept_one() {
    let port = Port::open(|acceptor| acceptor);
    let mut kept = port.send(GET).await;
    answer(&mut kept).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut new = port.send("G").await;
    kept.write_all(b"G").await.expect("it is open");
    let begun = Instant::now();
    for stream in [&mut new, &mut kept] {
        // A byte now and then is not enough.
        tokio::time::sleep(Duration::from_secs(2)).await;
        stream.write_all(b"E").await.expect("it is open");
    }
    for stream in [&mut new, &mut kept] {
        assert_eq!(rest(stream).await, "");
    }
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn who_sends_nothing_is_closed_after_5_s_with_tls_too() {
    /// It is never asked.
    #[derive(Debug)]
    struct NoCertificate;
    impl ResolvesServerCert for NoCertificate {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
            None
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("it has all")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(NoCertificate));
    let tls = Some(crate::tls::Serving::from(Arc::new(config)));
    for (tls, bytes) in [(None, ""), (tls.clone(), ""), (tls, "\u{16}\u{3}")] {
        let port = Port::open(|acceptor| acceptor.with_tls(tls));
        let mut silent = port.send(bytes).await;
        let begun = Instant::now();
        assert_eq!(rest(&mut silent).await, "");
        assert_eq!(begun.elapsed().as_secs(), 5, "{bytes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_preface_that_does_not_end_is_closed_after_5_s() {
    let acceptor = Acceptor::bind("X_LISTEN", ([127, 0, 0, 1], 0).into(), Protocol::Http2).expect("a port");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x80";
    for cut in [1, 3, 23, 24, 27, 33, 38, 39] {
        let mut client = TcpStream::connect(acceptor.local_addr().expect("open")).await.expect("it is open");
        client.write_all(&preface[..cut]).await.expect("it is taken");
        let connection = acceptor.accept().await;
        let mut connection = std::pin::pin!(connection);
        let begun = Instant::now();
        let mut read = vec![0; 100];
        let bytes = connection.read(&mut read).await.expect("what was sent");
        assert_eq!(&read[..bytes], &preface[..cut]);
        let more = tokio::time::timeout(Duration::from_secs(100), connection.read(&mut read)).await;
        match cut {
            39 => assert!(more.is_err(), "from here on its keepalive counts"),
            _ => {
                assert_eq!(more.expect("in time").expect_err("closed").kind(), std::io::ErrorKind::TimedOut);
                assert_eq!(begun.elapsed().as_secs(), 5, "{cut}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_closes_its_sending_half_gets_its_answer() {
    let port = Port::open(|acceptor| acceptor);
    let mut asks = port.send(BUSY).await;
    port.arrived(1).await;
    asks.shutdown().await.expect("it is open");
    // So that it is seen before there is an answer.
    tokio::time::sleep(Duration::from_secs(1)).await;
    port.leave.add_permits(1);
    assert!(rest(&mut asks).await.ends_with("done"));
    let mut posts = port.send("POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc").await;
    posts.shutdown().await.expect("it is open");
    assert!(rest(&mut posts).await.ends_with("3 bytes"));
    let mut breaks_off =
        port.send("POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nab").await;
    breaks_off.shutdown().await.expect("it is open");
    assert!(rest(&mut breaks_off).await.ends_with("the body is incomplete: resend it"));
}

#[tokio::test(start_paused = true)]
async fn where_all_connections_are_taken_the_longest_idle_is_closed_for_a_new_one() {
    let port = Port::open(|acceptor| acceptor.with_connections(3));
    let half = "POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\na";
    let mut half_sent = port.send(half).await;
    let mut kept = port.send(GET).await;
    answer(&mut kept).await;
    let _busy = port.send(BUSY).await;
    port.arrived(1).await;
    // Half a body is closed last, though it has waited for longest.
    for closed in [&mut kept, &mut half_sent] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut new = port.send(GET).await;
        assert!(answer(&mut new).await.ends_with("alive"));
        assert!(!rest(closed).await.starts_with("HTTP/1.1 4"), "it is closed");
        // From now on it is busy.
        new.write_all(BUSY.as_bytes()).await.expect("it is open");
        port.arrived(1).await;
        tokio::spawn(async move { rest(&mut new).await });
    }
}

#[tokio::test(start_paused = true)]
async fn over_net_rpc_the_longest_idle_connection_is_closed_for_a_new_one_and_none_that_works() {
    let acceptor = Acceptor::bind("X_LISTEN", ([127, 0, 0, 1], 0).into(), Protocol::NetRpc).expect("a port");
    let acceptor = acceptor.with_connections(3);
    let address = acceptor.local_addr().expect("open");
    let dial = async || {
        // None is idle for as long as another.
        tokio::time::sleep(Duration::from_secs(1)).await;
        (TcpStream::connect(address).await.expect("it is open"), acceptor.accept().await)
    };
    let (_works, works) = dial().await;
    let working = works.client().working();
    let mut idle = VecDeque::from([dial().await, dial().await]);
    for _ in 0..4 {
        let (client, mut connection) = idle.pop_front().expect("two are idle");
        let closed = async {
            let ended = tokio::time::timeout(Duration::from_secs(60), connection.read(&mut [0; 1])).await;
            let ended = ended.expect("it is closed, and not the other").expect_err("it is closed");
            assert_eq!(ended.kind(), std::io::ErrorKind::ConnectionAborted);
            drop((client, connection));
        };
        let (new, ()) = tokio::join!(dial(), closed);
        idle.push_back(new);
    }
    let _also_working: Vec<_> = idle.iter().map(|(_, connection)| connection.client().working()).collect();
    let waits = tokio::time::timeout(Duration::from_secs(60), dial()).await;
    assert!(waits.is_err(), "all work, so a new one waits");
    drop((working, works));
    dial().await;
}

#[tokio::test(start_paused = true)]
async fn where_all_connections_are_busy_it_is_still_told_that_the_process_is_alive() {
    let port = Port::open(|acceptor| acceptor.with_connections(3));
    let mut busy = [port.send(BUSY).await, port.send(BUSY).await, port.send(BUSY).await];
    port.arrived(3).await;
    for _ in 0..50 {
        let mut asks = port.send(GET).await;
        let told = rest(&mut asks).await;
        assert!(told.ends_with("alive") && told.contains("connection: close"), "{told}");
        let told = rest(&mut port.send(BUSY).await).await;
        assert!(told.starts_with("HTTP/1.1 503 ") && told.contains(r#""code":"overloaded""#), "{told}");
        assert!(told.contains("retry-after: 1"), "{told}");
    }
    port.leave.add_permits(3);
    for stream in &mut busy {
        assert!(answer(stream).await.ends_with("done"));
    }
}

#[tokio::test(start_paused = true)]
async fn half_sent_bodies_take_no_room_from_a_small_one() {
    let port = Port::open(|acceptor| acceptor);
    let half =
        format!("POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(990));
    let mut halves = [port.send(&half).await, port.send(&half).await];
    for _ in 0..10 {
        let mut new =
            port.send("POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n").await;
        new.write_all("y".repeat(100).as_bytes()).await.expect("it is open");
        assert!(answer(&mut new).await.ends_with("100 bytes"));
    }
    let told = [rest(&mut halves[0]).await, rest(&mut halves[1]).await];
    assert_eq!(
        told.iter().filter(|told| told.ends_with("too many bytes of half-sent bodies")).count(),
        1,
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_no_request_is_refused_in_the_envelope_of_all_answers() {
    let port = Port::open(|acceptor| acceptor);
    let long = "x".repeat(HEAD_BYTES);
    let many: String = (0..HEADERS + 1).map(|number| format!("x-{number}: y\r\n")).collect();
    for (request, status, code) in [
        ("nonsense\r\n\r\n".to_owned(), 400, "bad_request"),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), 400, "bad_request"),
        (format!("GET /?{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"), 431, "headers_too_large"),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\nx: {long}\r\n\r\n"), 431, "headers_too_large"),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"), 431, "headers_too_large"),
    ] {
        // Also on a connection that was used before.
        let mut asks = port.send(GET).await;
        answer(&mut asks).await;
        asks.write_all(request.as_bytes()).await.expect("it is open");
        let told = rest(&mut asks).await;
        let (head, body) = told.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{code}: {told:?}"));
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")) && head.contains("connection: close"),
            "{head}"
        );
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!((&body["error"], &body["data"]["code"]), (&true.into(), &code.into()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_encoded_body_is_not_read() {
    let port = Port::open(|acceptor| acceptor);
    let mut posts = port
        .send("POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    assert!(
        answer(&mut posts)
            .await
            .ends_with("unsupported Content-Encoding \"gzip\": send the body without one")
    );
}
