//! `--health`: a service is asked how it is by its own program, with its own settings, as a container engine does.

use std::{collections::BTreeMap, path::Path, process::Command};

use certs::{Authority, Validity};
use rig::Process;
use tests::{binaries::binary, process::start, tls};

const SERVICES: [&str; 3] = ["broker", "logger", "listener"];

type Settings = BTreeMap<&'static str, String>;

/// Starts a service on free ports, waits until it is ready, and sets where it listens for who asks.
async fn run(service: &str, settings: &mut Settings, dir: &Path) -> Process {
    let listens: &[&str] = match service {
        "broker" => &["BROKER_HTTP_LISTEN"],
        "listener" => &["LISTENER_HTTP_LISTEN"],
        _ => &["LOGGER_HTTP_LISTEN", "LOGGER_RPC_LISTEN", "LOGGER_GRPC_LISTEN", "LOGGER_NETRPC_LISTEN"],
    };
    settings.extend(listens.iter().map(|setting| (*setting, "127.0.0.1:0".to_owned())));
    settings.insert("LOGGER_STORE", format!("sqlite:{}", dir.join("logs.db").display()));
    let mut process = start(service, settings, dir);
    let http = process.ready().await.expect("it is ready")["http"];
    settings.insert(listens[0], http.to_string());
    process
}

/// Whether the service says yes, and what is said if not.
fn ask(service: &str, word: &str, settings: &Settings) -> (bool, String) {
    let asked = Command::new(binary(service)).arg(word).env_clear().envs(settings).output();
    let asked = asked.expect("it can be started");
    (asked.status.success(), String::from_utf8_lossy(&asked.stderr).into_owned())
}

#[tokio::test]
async fn a_service_is_live_and_ready_while_it_runs_and_neither_afterwards() {
    for service in SERVICES {
        let dir = tempfile::tempdir().expect("a directory");
        let mut settings = Settings::new();
        let mut process = run(service, &mut settings, dir.path()).await;
        for word in ["--health", "--health=live", "--health=ready"] {
            let (yes, said) = ask(service, word, &settings);
            assert!(yes && said.is_empty(), "{service} {word}: {said}");
        }
        process.kill().await.expect("it runs");
        let (yes, said) = ask(service, "--health", &settings);
        assert!(!yes && said.contains("/readyz"), "{service}: {said}");
    }
}

#[tokio::test]
async fn a_service_with_tls_is_asked_with_its_own_certificate_if_it_accepts_that() {
    let certificates = tempfile::tempdir().expect("a directory");
    let authority = Authority::new().expect("one");
    authority.write(certificates.path()).expect("its certificate");
    for service in SERVICES {
        let issued = authority.issue(service, Validity::Current).expect("a certificate");
        issued.write(certificates.path(), service).expect("its files");
    }
    for (service, accepts, yes) in [
        ("broker", None, true),
        ("logger", Some(("LOGGER_TLS_CLIENTS", "broker,logger")), true),
        ("logger", Some(("LOGGER_TLS_CLIENTS", "broker")), false),
        ("listener", Some(("LISTENER_TLS_CLIENTS", "broker,listener")), true),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut settings: Settings = tls::settings(certificates.path()).into_iter().collect();
        settings.extend([
            ("LOGGER_HTTP_URL", "https://localhost:8082".to_owned()),
            ("LOGGER_RPC_ADDR", "tls://localhost:5002".to_owned()),
            ("LOGGER_GRPC_URL", "https://localhost:50001".to_owned()),
            ("LISTENER_HTTP_URL", "https://localhost:8083".to_owned()),
            ("AMQP_URL", "amqps://guest:guest@localhost:5671/%2f".to_owned()),
        ]);
        settings.extend(accepts.map(|(setting, names)| (setting, names.to_owned())));
        let mut process = run(service, &mut settings, dir.path()).await;
        assert_eq!(ask(service, "--health", &settings).0, yes, "{service} accepts {accepts:?}");
        process.kill().await.expect("it runs");
    }
}
