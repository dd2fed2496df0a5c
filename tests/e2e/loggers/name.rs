//! A name that leads to several loggers, as in a Swarm or behind a headless Service.

use std::{
    collections::BTreeMap,
    io::{Write, stderr},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
};

use certs::{Authority, Validity};
use reqwest::Client;
use rig::{Launch, Process};
use serde_json::{Value, json};
use tests::{DIRECT, SOON, eventually, process, prometheus::Scrape, tls};

/// For which the loggers have a certificate, which names none of their addresses.
const NAME: &str = "logger";

/// What gives a process a file as its `/etc/hosts`.
fn with_hosts(file: &Path) -> Vec<String> {
    let script = format!("/bin/mount --bind '{}' /etc/hosts && exec \"$0\" \"$@\"", file.display());
    ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", &script].map(str::to_owned).to_vec()
}

/// Lets the name lead to these addresses, in a file that is there already.
fn lead_to(file: &Path, last: &[u8]) {
    let lines = last.iter().map(|last| format!("127.0.0.{last} {NAME}\n"));
    std::fs::write(file, lines.collect::<String>()).expect("it can be written");
}

/// A broker that finds its loggers by the name.
struct Broker {
    _process: Process,
    at: SocketAddr,
    client: Client,
}

impl Broker {
    async fn start(dir: &Path, hosts: &Path, [http, rpc, grpc]: [u16; 3]) -> Self {
        let mut settings: BTreeMap<&str, String> = tls::settings(dir).into_iter().collect();
        settings.extend([
            ("BROKER_HTTP_LISTEN", "127.0.0.1:0".to_owned()),
            ("LOGGER_HTTP_URL", format!("https://{NAME}:{http}")),
            ("LOGGER_RPC_ADDR", format!("tls://{NAME}:{rpc}")),
            ("LOGGER_GRPC_URL", format!("https://{NAME}:{grpc}")),
            ("LISTENER_HTTP_URL", "https://127.0.0.1:8083".to_owned()),
            ("AMQP_URL", "amqps://guest:guest@127.0.0.1:1/%2f".to_owned()),
        ]);
        let launch = Launch { wrapper: with_hosts(hosts), ..process::launch(&settings) };
        let mut process = launch.start("broker", &settings, dir).expect("it can be started");
        let at = process.ready().await.expect("it is ready")["http"];
        let config = tls::client_config(dir, "fourwire");
        let client = Client::builder().no_proxy().timeout(SOON).tls_backend_preconfigured(config);
        Broker { _process: process, at, client: client.build().expect("a client") }
    }

    async fn get(&self, path: &str) -> String {
        let answer = self.client.get(format!("https://{}{path}", self.at)).send().await.expect("an answer");
        answer.text().await.expect("text")
    }

    async fn loggers(&self) -> Vec<Value> {
        let status: Value = serde_json::from_str(&self.get("/status").await).expect("JSON");
        status["data"]["loggers"].as_array().cloned().expect("a list")
    }

    /// Waits until these are its loggers, and work over each transport.
    async fn has(&self, addresses: &[String]) {
        let all = json!({ "http": true, "rpc": true, "grpc": true });
        let has = async || {
            let loggers = self.loggers().await;
            let are = loggers.iter().map(|logger| logger["address"].clone()).eq(addresses.iter().cloned());
            let work = loggers.iter().all(|logger| logger["transports"] == all && logger["ready"] == true);
            (are && work).then_some(())
        };
        eventually(&format!("its loggers are {addresses:?}"), has).await;
    }

    async fn send_by_each(&self, count: usize) {
        for transport in DIRECT {
            for _ in 0..count {
                let entry = json!({ "name": "event", "data": "" });
                let body = json!({ "action": "log", "transport": transport, "log": entry });
                let request = self.client.post(format!("https://{}/handle", self.at)).body(body.to_string());
                let answer = request.send().await.expect("an answer");
                assert_eq!(answer.status(), 202, "{transport}");
            }
        }
    }
}

#[tokio::test]
async fn each_address_of_a_name_is_a_logger_with_the_certificate_of_the_name() {
    let may = Command::new("/usr/bin/unshare").args(["--mount", "/bin/true"]).status();
    if !may.is_ok_and(|status| status.success()) {
        // Not by `eprintln!`, which the test runner swallows where a test passes.
        return writeln!(stderr(), "not tried, since no namespace for mounts is allowed: another /etc/hosts")
            .expect("standard error is there");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new().expect("one");
    authority.write(dir.path()).expect("its certificate");
    for name in ["broker", NAME, "fourwire"] {
        let issued = authority.issue(name, Validity::Current).expect("a certificate");
        issued.write(dir.path(), name).expect("its files");
    }
    // Two loggers have the same ports, at addresses of their own.
    let ports = [(); 4].map(|()| TcpListener::bind("127.0.0.2:0").expect("a port"));
    let ports = ports.map(|port| port.local_addr().expect("its address").port());
    let mut loggers = Vec::new();
    for last in 2..=3 {
        let mut settings: BTreeMap<&str, String> = tls::settings(dir.path()).into_iter().collect();
        let listens =
            ["LOGGER_HTTP_LISTEN", "LOGGER_RPC_LISTEN", "LOGGER_GRPC_LISTEN", "LOGGER_NETRPC_LISTEN"];
        settings.extend(listens.into_iter().zip(ports.map(|port| format!("127.0.0.{last}:{port}"))));
        settings.insert("LOGGER_STORE", format!("sqlite:{last}.db"));
        let mut logger = process::start("logger", &settings, dir.path());
        logger.ready().await.expect("it is ready");
        loggers.push(logger);
    }
    let hosts = dir.path().join("hosts");
    lead_to(&hosts, &[2, 3]);
    let [http, rpc, grpc, _] = ports;
    let broker = Broker::start(dir.path(), &hosts, [http, rpc, grpc]).await;
    let at = |last: u8| format!("127.0.0.{last}:{http}");
    broker.has(&[at(2), at(3)]).await;
    broker.send_by_each(40).await;
    let metrics = broker.get("/metrics").await;
    let shown = Scrape::parse(&metrics).unwrap_or_else(|error| panic!("{error}\n{metrics}"));
    for transport in DIRECT {
        for number in 0..2 {
            let logger = format!("{NAME}:{http}#{number}");
            let labels = [("transport", transport.as_str()), ("logger", &logger)];
            let calls = shown.value("transport_logger_calls_total", &labels);
            assert!(calls.unwrap_or(0.0) >= 5.0, "{transport}, logger {number}: {metrics}");
        }
    }
    // The other is there no longer: what is left is dialled by its name.
    lead_to(&hosts, &[3]);
    broker.has(&[format!("{NAME}:{http}")]).await;
    loggers[0].kill().await.expect("it runs");
    broker.send_by_each(10).await;
}
