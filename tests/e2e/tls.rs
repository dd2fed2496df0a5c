//! Who is not who he should be is not talked to, on any hop, and is told nothing.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use certs::{Authority, Validity};
use nix::sys::signal::Signal;
use proto::Transport;
use reqwest::Client;
use rig::Process;
use rustls::{ClientConfig, ServerConfig, crypto::ring, pki_types::ServerName};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{DIRECT, SOON, process::start, tls};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Far above what an answer takes, far below the deadline.
const AT_ONCE: Duration = Duration::from_secs(3);

const LOOPBACK: &str = "127.0.0.1:0";

/// The first byte of a record of TLS: of a handshake, and of an alert.
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;

/// What is wrong with somebody's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    Expired,
    OtherAuthority,
    /// He does not encrypt at all.
    Plain,
}

/// Files of certificates: those of broker and logger, by one authority but for the flaws.
struct Certificates {
    dir: TempDir,
    authority: Authority,
    logger: Flaw,
}

impl Certificates {
    fn new(broker: Flaw, logger: Flaw) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (authority, other) = (Authority::new().expect("one"), Authority::new().expect("another"));
        authority.write(dir.path()).expect("its certificate");
        for (name, flaw) in [("broker", broker), ("logger", logger), ("fourwire", Flaw::None)] {
            let (issuer, validity) = match flaw {
                Flaw::None | Flaw::Plain => (&authority, Validity::Current),
                Flaw::Expired => (&authority, Validity::Expired),
                Flaw::OtherAuthority => (&other, Validity::Current),
            };
            issuer.issue(name, validity).expect("a certificate").write(dir.path(), name).expect("its files");
        }
        Certificates { dir, authority, logger }
    }

    /// Puts others of another authority in their place.
    fn renew(&mut self) {
        self.authority = Authority::new().expect("another");
        self.authority.write(self.path()).expect("its certificate");
        for name in ["broker", "logger", "fourwire"] {
            let issued = self.authority.issue(name, Validity::Current).expect("a certificate");
            issued.write(self.path(), name).expect("its files");
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    async fn start_logger(&self) -> (Process, BTreeMap<String, SocketAddr>) {
        self.start_logger_with(&[]).await
    }

    async fn start_logger_with(
        &self,
        more: &[(&'static str, String)],
    ) -> (Process, BTreeMap<String, SocketAddr>) {
        let mut settings = listens(&[
            "LOGGER_HTTP_LISTEN",
            "LOGGER_RPC_LISTEN",
            "LOGGER_GRPC_LISTEN",
            "LOGGER_NETRPC_LISTEN",
        ]);
        if self.logger != Flaw::Plain {
            settings.extend(tls::settings(self.path()));
        }
        settings.extend(more.iter().cloned());
        let mut logger = start("logger", &settings, self.path());
        let ports = logger.ready().await.expect("it is ready");
        (logger, ports)
    }

    async fn start_broker(&self, logger: &BTreeMap<String, SocketAddr>, rabbitmq: SocketAddr) -> Broker {
        self.start_broker_with(logger, rabbitmq, format!("tls://{}", logger["rpc"])).await
    }

    async fn start_broker_with(
        &self,
        logger: &BTreeMap<String, SocketAddr>,
        rabbitmq: SocketAddr,
        rpc: String,
    ) -> Broker {
        let mut settings = listens(&["BROKER_HTTP_LISTEN"]);
        settings.extend(tls::settings(self.path()));
        settings.extend([
            ("LOGGER_HTTP_URL", format!("https://{}", logger["http"])),
            ("LISTENER_HTTP_URL", "https://127.0.0.1:8083".to_owned()),
            ("LOGGER_RPC_ADDR", rpc),
            ("LOGGER_GRPC_URL", format!("https://{}", logger["grpc"])),
            ("AMQP_URL", format!("amqps://guest:guest@{rabbitmq}/%2f")),
        ]);
        let mut process = start("broker", &settings, self.path());
        let at = process.ready().await.expect("it is ready")["http"];
        Broker { process, at, client: self.client() }
    }

    /// A client of the broker that believes the authority.
    fn client(&self) -> Client {
        let config = tls::client_config(self.path(), "fourwire");
        let builder = Client::builder().no_proxy().timeout(SOON).tls_backend_preconfigured(config);
        builder.build().expect("a client")
    }
}

struct Broker {
    process: Process,
    at: SocketAddr,
    client: Client,
}

impl Broker {
    async fn log(&self, transport: Transport) -> (u16, Value, Duration) {
        let begun = std::time::Instant::now();
        let body =
            json!({ "action": "log", "transport": transport, "log": { "name": "event", "data": "x" } });
        let url = format!("https://{}/handle", self.at);
        let response = self.client.post(url).body(body.to_string()).send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.expect("JSON"), begun.elapsed())
    }

    async fn refuses_every_transport(&self, case: Flaw) {
        for transport in Transport::ALL {
            // The machine may stall now and then: the fastest of some counts.
            let (mut status, mut body, mut took) = self.log(transport).await;
            for _ in 1..5 {
                if took >= AT_ONCE {
                    (status, body, took) = self.log(transport).await;
                }
            }
            let code = &body["data"]["code"];
            assert_eq!((status, code), (503, &json!("unavailable")), "{case:?} {transport}: {body}");
            assert!(took < AT_ONCE, "{case:?} {transport}: {took:?}");
            let told = body.to_string().to_lowercase();
            for word in ["certificate", "tls", "expired", "127.0.0.1", "authority"] {
                assert!(!told.contains(word), "{case:?} {transport}: the caller is told too much: {body}");
            }
        }
    }
}

/// Somebody who answers at a port of RabbitMQ's with a flaw; counts the bytes that he is told.
struct Impostor {
    at: SocketAddr,
    told: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Impostor {
    async fn open(certificates: &Certificates, flaw: Flaw) -> Self {
        let listener = TcpListener::bind(LOOPBACK).await.expect("a port");
        let at = listener.local_addr().expect("its address");
        let told = Arc::new(AtomicUsize::new(0));
        let acceptor = (flaw != Flaw::Plain).then(|| TlsAcceptor::from(server_config(certificates.path())));
        let mut serving = JoinSet::new();
        let count = Arc::clone(&told);
        serving.spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    let bytes = match acceptor {
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(mut stream) => stream.read(&mut [0; 4096]).await.unwrap_or(0),
                            Err(_) => 0,
                        },
                        None => told_in_plain(stream).await,
                    };
                    count.fetch_add(bytes, Ordering::Relaxed);
                });
            }
        });
        Impostor { at, told, _serving: serving }
    }
}

/// Answers as RabbitMQ without TLS does, and counts what it is told but for records of a handshake and alerts, which
/// are no secret.
async fn told_in_plain(mut stream: TcpStream) -> usize {
    let mut told = 0;
    let mut buffer = [0; 4096];
    for answer in [&b"AMQP\0\0\x09\x01"[..], &[]] {
        let read = tokio::time::timeout(AT_ONCE, stream.read(&mut buffer)).await;
        let bytes = read.map_or(0, |read| read.unwrap_or(0));
        if bytes > 0 && !matches!(buffer[0], HANDSHAKE | ALERT) {
            told += bytes;
        }
        let _ = stream.write_all(answer).await;
    }
    told
}

#[tokio::test]
async fn an_impostor_counts_what_it_is_told_in_plain() {
    let certificates = Certificates::new(Flaw::None, Flaw::None);
    let impostor = Impostor::open(&certificates, Flaw::Plain).await;
    for sent in [&[HANDSHAKE, 3, 1][..], b"AMQP\0\0\x09\x01"] {
        let mut stream = TcpStream::connect(impostor.at).await.expect("its port is open");
        stream.write_all(sent).await.expect("it reads");
        stream.shutdown().await.expect("it reads");
        stream.read_to_end(&mut Vec::new()).await.expect("it ends");
    }
    tests::eventually("the second is counted, the first is not", async || {
        (impostor.told.load(Ordering::Relaxed) == 8).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_logger_or_rabbitmq_that_is_not_who_it_should_be_gets_nothing() {
    for flaw in [Flaw::Expired, Flaw::OtherAuthority, Flaw::Plain] {
        let certificates = Certificates::new(Flaw::None, flaw);
        let (mut logger, ports) = certificates.start_logger().await;
        let impostor = Impostor::open(&certificates, flaw).await;
        let mut broker = certificates.start_broker(&ports, impostor.at).await;
        broker.refuses_every_transport(flaw).await;
        assert_eq!(impostor.told.load(Ordering::Relaxed), 0, "{flaw:?}: the impostor was told something");
        broker.process.kill().await.expect("it runs");
        logger.kill().await.expect("it runs");
    }
}

#[tokio::test]
async fn a_broker_that_is_not_who_it_should_be_stores_nothing() {
    for flaw in [Flaw::Expired, Flaw::OtherAuthority] {
        let certificates = Certificates::new(flaw, Flaw::None);
        let (mut logger, ports) = certificates.start_logger().await;
        let impostor = Impostor::open(&certificates, Flaw::Plain).await;
        let mut broker = certificates.start_broker(&ports, impostor.at).await;
        // Its own callers would not believe it either.
        let believing = client_that_believes_anybody();
        for transport in DIRECT {
            let body =
                json!({ "action": "log", "transport": transport, "log": { "name": "n", "data": "x" } });
            let url = format!("https://{}/handle", broker.at);
            let answer = believing.post(url).body(body.to_string()).send().await.expect("an answer");
            let status = answer.status().as_u16();
            let body: Value = answer.json().await.expect("JSON");
            // A reset may overtake the alert that says why; then the broker can say no more than that.
            assert!([503, 504].contains(&status), "{flaw:?} {transport}: {body}");
            assert!(transport != Transport::Rpc || status == 503, "{flaw:?} {transport}: {body}");
        }
        let url = format!("https://{}/logs", ports["http"]);
        let page: Value =
            certificates.client().get(url).send().await.expect("ours").json().await.expect("JSON");
        assert_eq!(page["data"]["entries"], json!([]), "{flaw:?}: something was stored");
        broker.process.kill().await.expect("it runs");
        logger.kill().await.expect("it runs");
    }
}

#[tokio::test]
async fn net_rpc_is_encrypted_as_every_other_hop() {
    let certificates = Certificates::new(Flaw::None, Flaw::None);
    let (mut logger, ports) = certificates.start_logger().await;
    let rabbitmq = Impostor::open(&certificates, Flaw::None).await;
    let rpc = format!("netrpc+tls://{}", ports["netrpc"]);
    let mut broker = certificates.start_broker_with(&ports, rabbitmq.at, rpc).await;
    tests::eventually("it is stored", async || (broker.log(Transport::Rpc).await.0 == 202).then_some(()))
        .await;
    broker.process.kill().await.expect("it runs");
    logger.kill().await.expect("it runs");
}

#[tokio::test]
async fn a_caller_of_the_logger_without_a_certificate_of_its_authority_is_told_nothing() {
    let certificates = Certificates::new(Flaw::None, Flaw::None);
    let strangers = [
        ("no certificate", tls::anonymous_config(certificates.path())),
        ("an expired one", stranger(&certificates, Flaw::Expired)),
        ("one of another authority", stranger(&certificates, Flaw::OtherAuthority)),
    ];
    let (mut logger, ports) = certificates.start_logger().await;
    for (name, address) in &ports {
        for (who, config) in &strangers {
            let told = ask_over_tls(*address, name, config.clone()).await;
            assert!(told.is_empty(), "{name}, {who}: {}", String::from_utf8_lossy(&told));
        }
        let mut stream = TcpStream::connect(address).await.expect("the port is open");
        let told = exchange(&mut stream).await;
        // An alert of TLS says that this is no handshake, and has 7 bytes.
        assert!(told.len() <= 7, "{name}, plain: {}", String::from_utf8_lossy(&told));
    }
    // Whoever has a certificate of the authority is answered: the check above can fail.
    let ours = tls::client_config(certificates.path(), "fourwire");
    let told = ask_over_tls(ports["http"], "http", ours).await;
    assert!(told.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&told));
    logger.kill().await.expect("it runs");
}

#[tokio::test]
async fn the_broker_answers_nobody_who_does_not_encrypt() {
    let certificates = Certificates::new(Flaw::None, Flaw::None);
    let (mut logger, ports) = certificates.start_logger().await;
    let impostor = Impostor::open(&certificates, Flaw::Plain).await;
    let mut broker = certificates.start_broker(&ports, impostor.at).await;
    let mut stream = TcpStream::connect(broker.at).await.expect("the port is open");
    let told = exchange(&mut stream).await;
    assert!(told.len() <= 7, "{}", String::from_utf8_lossy(&told));
    let (status, body, _) = broker.log(Transport::Grpc).await;
    assert_eq!(status, 202, "an encrypted call is answered: {body}");
    broker.process.kill().await.expect("it runs");
    logger.kill().await.expect("it runs");
}

#[tokio::test]
async fn a_client_of_our_ca_that_is_nobody_the_logger_expects_is_told_nothing() {
    let certificates = Certificates::new(Flaw::None, Flaw::None);
    let issued = certificates.authority.issue("reporter", Validity::Current).expect("a certificate");
    issued.write(certificates.path(), "reporter").expect("its files");
    let reporter = || tls::client_config(certificates.path(), "reporter");
    let (mut logger, ports) = certificates.start_logger().await;
    for (name, address) in &ports {
        let told = ask_over_tls(*address, name, reporter()).await;
        assert!(told.is_empty(), "{name}: {}", String::from_utf8_lossy(&told));
    }
    let log = logger.log();
    assert!(
        log.contains("with none of the allowed names") && log.contains("reporter"),
        "its log says who it was: {log}"
    );
    logger.kill().await.expect("it runs");
    // By its own name it would be let in: nothing else was wrong with it.
    let names = [("LOGGER_TLS_CLIENTS", "broker, reporter".to_owned())];
    let (mut logger, ports) = certificates.start_logger_with(&names).await;
    let told = ask_over_tls(ports["http"], "http", reporter()).await;
    assert!(told.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&told));
    logger.kill().await.expect("it runs");
}

#[tokio::test]
async fn certificates_are_read_again_at_a_hangup_for_new_connections_on_both_ends() {
    let mut certificates = Certificates::new(Flaw::None, Flaw::None);
    let (mut logger, ports) = certificates.start_logger().await;
    let impostor = Impostor::open(&certificates, Flaw::Plain).await;
    let mut broker = certificates.start_broker(&ports, impostor.at).await;
    let old = tls::client_config(certificates.path(), "fourwire");
    hang_up(&mut [&mut logger, &mut broker.process], "certificates reloaded").await;
    // From now on another CA counts, and the old one does not.
    certificates.renew();
    hang_up(&mut [&mut logger, &mut broker.process], "certificates reloaded").await;
    broker.client = certificates.client();
    for (name, address) in &ports {
        let told = ask_over_tls(*address, name, old.clone()).await;
        assert!(told.is_empty(), "{name}: {}", String::from_utf8_lossy(&told));
    }
    let new = || tls::client_config(certificates.path(), "fourwire");
    let told = ask_over_tls(ports["http"], "http", new()).await;
    assert!(told.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&told));
    // With another logger on its ports the broker opens new connections: it shows, and believes, the new ones.
    logger.kill().await.expect("it runs");
    let same: Vec<(&'static str, String)> = ["http", "rpc", "grpc", "netrpc"]
        .into_iter()
        .zip(["LOGGER_HTTP_LISTEN", "LOGGER_RPC_LISTEN", "LOGGER_GRPC_LISTEN", "LOGGER_NETRPC_LISTEN"])
        .map(|(name, setting)| (setting, ports[name].to_string()))
        .collect();
    let (mut logger, _) = certificates.start_logger_with(&same).await;
    for transport in DIRECT {
        tests::eventually(&format!("{transport} is accepted"), async || {
            (broker.log(transport).await.0 == 202).then_some(())
        })
        .await;
    }
    // Files that cannot be used change nothing.
    std::fs::write(certificates.path().join("broker.pem"), "no certificate").expect("written");
    std::fs::remove_file(certificates.path().join("logger.key")).expect("removed");
    hang_up(&mut [&mut logger, &mut broker.process], "the certificates were not reloaded").await;
    assert!(broker.process.log().contains("BROKER_TLS_CERT"), "{}", broker.process.log());
    assert!(logger.log().contains("LOGGER_TLS_KEY"), "{}", logger.log());
    broker.client = certificates.client();
    for transport in DIRECT {
        let (status, body, _) = broker.log(transport).await;
        assert_eq!(status, 202, "{transport}: {body}");
    }
    let told = ask_over_tls(ports["http"], "http", new()).await;
    assert!(told.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&told));
    broker.process.kill().await.expect("it runs");
    logger.kill().await.expect("it runs");
}

/// Sends SIGHUP to each, and waits until each has said so once more.
async fn hang_up(processes: &mut [&mut Process], words: &str) {
    for process in processes {
        let lines = || process.log().matches(words).count();
        let before = lines();
        process.signal(Signal::SIGHUP).expect("it runs");
        tests::eventually(words, async || (lines() > before).then_some(())).await;
    }
}

fn listens(settings: &[&'static str]) -> BTreeMap<&'static str, String> {
    settings.iter().map(|setting| (*setting, LOOPBACK.to_owned())).collect()
}

/// As the logger would serve.
fn server_config(directory: &Path) -> Arc<ServerConfig> {
    let read = |file: &str| std::fs::read_to_string(directory.join(file)).expect("the file is there");
    let identity = service::tls::Identity::from_pem(read("logger.pem"), read("logger.key"), read("ca.pem"));
    let identity = identity.expect("they belong together");
    identity.server(&service::tls::Callers::Anyone, service::tls::Protocol::Unnamed).expect("it can serve")
}

/// Believes the authority, and shows a certificate with a flaw.
fn stranger(certificates: &Certificates, flaw: Flaw) -> ClientConfig {
    let own = tempfile::tempdir().expect("a directory");
    let other = Authority::new().expect("an authority");
    let (issuer, validity) = match flaw {
        Flaw::Expired => (&certificates.authority, Validity::Expired),
        Flaw::None | Flaw::OtherAuthority | Flaw::Plain => (&other, Validity::Current),
    };
    issuer.issue("stranger", validity).expect("a certificate").write(own.path(), "stranger").expect("files");
    certificates.authority.write(own.path()).expect("the authority");
    tls::client_config(own.path(), "stranger")
}

fn client_that_believes_anybody() -> Client {
    let _ = ring::default_provider().install_default();
    let builder = Client::builder().no_proxy().timeout(SOON).tls_danger_accept_invalid_certs(true);
    builder.build().expect("a client")
}

/// What is answered to a request over TLS; nothing, if the connection is refused.
async fn ask_over_tls(address: SocketAddr, port: &str, mut config: ClientConfig) -> Vec<u8> {
    // So that it is the certificate that is refused, and not the protocol.
    config.alpn_protocols = match port {
        "http" => vec![b"http/1.1".to_vec()],
        "grpc" => vec![b"h2".to_vec()],
        _ => Vec::new(),
    };
    let stream = TcpStream::connect(address).await.expect("the port is open");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(mut stream) => exchange(&mut stream).await,
        Err(_) => Vec::new(),
    }
}

/// Sends a request, and reads until the other end closes.
async fn exchange<S>(stream: &mut S) -> Vec<u8>
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    let request = b"GET /logs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut told = Vec::new();
    let exchange = async {
        if stream.write_all(request).await.is_ok() {
            // It may end with an alert.
            let _ = stream.read_to_end(&mut told).await;
        }
    };
    tokio::time::timeout(SOON, exchange).await.expect("the connection is closed");
    told
}
