//! Wrong settings stop a service before any port is opened, and are named.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    process::Command,
};

use serde_json::Value;
use tests::{binaries::binary, process};

/// Where each service listens.
const LISTENS: [(&str, &[&str]); 3] = [
    ("broker", &["BROKER_HTTP_LISTEN"]),
    ("logger", &["LOGGER_HTTP_LISTEN", "LOGGER_RPC_LISTEN", "LOGGER_GRPC_LISTEN", "LOGGER_NETRPC_LISTEN"]),
    ("listener", &["LISTENER_HTTP_LISTEN"]),
];

/// What each service has besides, and what it tells of itself, with its default.
const TELEMETRY: [(&str, &str); 13] = [
    ("HTTP_IDLE_SECONDS", "75"),
    ("METRICS", "on"),
    ("RUST_LOG", "info,tarpc=warn"),
    ("LOG_FORMAT", "text"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""),
    ("OTEL_TRACES_EXPORTER", "otlp"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", ""),
    ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
    ("OTEL_TRACES_SAMPLER_ARG", "1"),
    ("OTEL_SERVICE_NAME", ""),
    ("OTEL_SDK_DISABLED", ""),
];

/// Every other setting of every service, with its default.
const SETTINGS: [(&str, &[(&str, &str)]); 3] = [
    (
        "broker",
        &[
            ("BROKER_HTTP_LISTEN", "127.0.0.1:8080"),
            ("LOGGER_HTTP_URL", "http://127.0.0.1:8082"),
            ("LISTENER_HTTP_URL", "http://127.0.0.1:8083"),
            ("LOGGER_RPC_ADDR", "127.0.0.1:5002"),
            ("LOGGER_GRPC_URL", "http://127.0.0.1:50001"),
            ("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f"),
            ("BROKER_DEFAULT_TRANSPORT", "http"),
            ("BROKER_BURSTS", "local"),
            ("BROKER_COALESCE", "on"),
            ("BROKER_DEADLINE_MS", "5000"),
            ("BROKER_OTLP_GRPC_LISTEN", ""),
            ("BROKER_OTLP_HTTP_LISTEN", ""),
            ("BROKER_OTLP_TRANSPORT", ""),
            ("BROKER_CORS_ORIGINS", ""),
            ("BROKER_HTTP_HOSTS", ""),
            ("AMQP_URL_FILE", ""),
            ("BROKER_TLS_CERT", ""),
            ("BROKER_TLS_KEY", ""),
            ("BROKER_TLS_CA", ""),
            ("ALLOW_INSECURE_NETWORK", ""),
            ("BROKER_KEYS_FILE", ""),
            ("BROKER_KEY_RATE", "0"),
            ("BROKER_LISTENERS", "1"),
            ("RABBITMQ_QUEUE", "logs.entries"),
        ],
    ),
    (
        "logger",
        &[
            ("LOGGER_HTTP_LISTEN", "127.0.0.1:8082"),
            ("LOGGER_RPC_LISTEN", "127.0.0.1:5002"),
            ("LOGGER_GRPC_LISTEN", "127.0.0.1:50001"),
            ("LOGGER_NETRPC_LISTEN", "127.0.0.1:5001"),
            ("LOGGER_HTTP_HOSTS", ""),
            ("LOGGER_STORE", "sqlite:data/logs.db"),
            ("LOGGER_STORE_FILE", ""),
            ("LOGGER_STORE_CA", ""),
            ("LOGGER_RETENTION_HOURS", "0"),
            ("LOGGER_RETENTION_BYTES", "0"),
            ("LOGGER_TLS_CERT", ""),
            ("LOGGER_TLS_KEY", ""),
            ("LOGGER_TLS_CA", ""),
            ("LOGGER_TLS_CLIENTS", "broker,listener,fourwire"),
            ("ALLOW_INSECURE_NETWORK", ""),
        ],
    ),
    (
        "listener",
        &[
            ("LISTENER_HTTP_LISTEN", "127.0.0.1:8083"),
            ("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f"),
            ("LISTENER_TRANSPORT", "rpc"),
            ("LISTENER_PREFETCH", "512"),
            ("RABBITMQ_QUEUE", "logs.entries"),
            ("AMQP_URL_FILE", ""),
            ("LISTENER_TLS_CERT", ""),
            ("LISTENER_TLS_KEY", ""),
            ("LISTENER_TLS_CA", ""),
            ("LISTENER_TLS_CLIENTS", "broker"),
            ("ALLOW_INSECURE_NETWORK", ""),
            ("LOGGER_HTTP_URL", "http://127.0.0.1:8082"),
            ("LOGGER_RPC_ADDR", "127.0.0.1:5002"),
            ("LOGGER_GRPC_URL", "http://127.0.0.1:50001"),
        ],
    ),
];

/// Wrong values, the services that have the setting, and a word of what it takes instead.
const WRONG: &[(&[&str], &str, &str, &str)] = &[
    (&["broker"], "BROKER_HTTP_LISTEN", "localhost", "localhost:8080"),
    (&["broker"], "BROKER_HTTP_LISTEN", "example.org:8080", "localhost:8080"),
    (&["broker"], "BROKER_HTTP_LISTEN", "127.0.0.1:70000", "127.0.0.1:8080"),
    (&["logger"], "LOGGER_HTTP_LISTEN", "8082", "127.0.0.1:8080"),
    (&["logger"], "LOGGER_GRPC_LISTEN", "http://127.0.0.1:50001", "127.0.0.1:8080"),
    (&["listener"], "LISTENER_HTTP_LISTEN", ":8083", "127.0.0.1:8080"),
    (&["broker", "listener"], "LOGGER_HTTP_URL", "127.0.0.1:8082", "http://127.0.0.1:8082"),
    (&["broker"], "LOGGER_HTTP_URL", "https://127.0.0.1:8082", "TLS_CERT"),
    (&["broker", "listener"], "LOGGER_RPC_ADDR", "tls://127.0.0.1:5002", "TLS_CERT"),
    (&["broker"], "LOGGER_GRPC_URL", "https://127.0.0.1:50001", "TLS_CERT"),
    (&["broker", "listener"], "AMQP_URL", "amqps://u:hidden@127.0.0.1:5671/%2f", "TLS_CERT"),
    (&["broker", "listener"], "AMQP_URL_FILE", "/nowhere", "cannot read /nowhere"),
    (&["broker", "listener"], "RABBITMQ_QUEUE", "logs.dead", "visible ASCII"),
    (&["broker"], "BROKER_TLS_CERT", "/nowhere", "none of the three"),
    (&["logger"], "LOGGER_TLS_KEY", "/nowhere", "none of the three"),
    (&["listener"], "LISTENER_TLS_CA", "/nowhere", "none of the three"),
    (&["logger"], "LOGGER_TLS_CLIENTS", "broker,*", "such as broker,listener"),
    (&["listener"], "LISTENER_TLS_CLIENTS", "the broker", "such as broker,listener"),
    (&["broker"], "BROKER_HTTP_LISTEN", "0.0.0.0:0", "ALLOW_INSECURE_NETWORK"),
    (&["broker"], "BROKER_OTLP_GRPC_LISTEN", "4317", "127.0.0.1:8080"),
    (&["broker"], "BROKER_OTLP_GRPC_LISTEN", "0.0.0.0:0", "ALLOW_INSECURE_NETWORK"),
    (&["broker"], "BROKER_OTLP_HTTP_LISTEN", "[::]:0", "ALLOW_INSECURE_NETWORK"),
    (&["broker"], "BROKER_OTLP_TRANSPORT", "otlp", "\"rabbitmq\""),
    (&["logger"], "LOGGER_HTTP_LISTEN", "0.0.0.0:0", "ALLOW_INSECURE_NETWORK"),
    (&["logger"], "LOGGER_RPC_LISTEN", "[::]:0", "ALLOW_INSECURE_NETWORK"),
    (&["logger"], "LOGGER_GRPC_LISTEN", "0.0.0.0:0", "ALLOW_INSECURE_NETWORK"),
    (&["logger"], "LOGGER_NETRPC_LISTEN", "0.0.0.0:0", "ALLOW_INSECURE_NETWORK"),
    (&["logger"], "LOGGER_HTTP_HOSTS", "logger-service:80", "such as logger-service"),
    (&["logger"], "LOGGER_NETRPC_LISTEN", "netrpc://127.0.0.1:5001", "127.0.0.1:8080"),
    (&["listener"], "LISTENER_HTTP_LISTEN", "0.0.0.0:0", "ALLOW_INSECURE_NETWORK"),
    (&["broker", "listener"], "LOGGER_HTTP_URL", "http://127.0.0.1:8082/log?x=y", "http://127.0.0.1:8082"),
    (&["broker"], "LISTENER_HTTP_URL", "https://127.0.0.1:8083", "TLS_CERT"),
    (&["broker"], "LISTENER_HTTP_URL", "127.0.0.1:8083", "a URL of scheme, host and port"),
    (&["broker", "listener"], "LOGGER_RPC_ADDR", "http://127.0.0.1:5002", "127.0.0.1:5002"),
    (&["broker", "listener"], "LOGGER_RPC_ADDR", "127.0.0.1", "127.0.0.1:5002"),
    (&["broker", "listener"], "LOGGER_RPC_ADDR", "127.0.0.1:port", "127.0.0.1:5002"),
    (&["broker", "listener"], "LOGGER_RPC_ADDR", "netrpc://127.0.0.1", "netrpc://127.0.0.1:5001"),
    (&["broker", "listener"], "LOGGER_RPC_ADDR", "netrpc+tls://127.0.0.1:5001", "TLS_CERT"),
    (&["broker", "listener"], "LOGGER_GRPC_URL", "127.0.0.1:50001", "http://127.0.0.1:50001"),
    (&["broker", "listener"], "LOGGER_GRPC_URL", "http://", "http://127.0.0.1:50001"),
    (&["broker", "listener"], "LOGGER_GRPC_URL", "http://127.0.0.1:50001/logs", "http://127.0.0.1:50001"),
    (&["broker", "listener"], "LOGGER_HTTP_URL", "http://a:1,http://b:1,http://c:1", "LOGGER_GRPC_URL 1 of"),
    (&["broker", "listener"], "LOGGER_RPC_ADDR", "127.0.0.1:5002,127.0.0.1", "address 2 of 2 in the list"),
    (&["broker", "listener"], "LOGGER_RPC_ADDR", "127.0.0.1:5002,tls://127.0.0.1:5003", "TLS_CERT"),
    (&["broker", "listener"], "LOGGER_GRPC_URL", SEVENTEEN, "17 addresses: give at most 16"),
    (&["broker", "listener"], "AMQP_URL", "http://u:hidden@127.0.0.1:5672/%2f", "amqp://user:password@"),
    (
        &["broker", "listener"],
        "AMQP_URL",
        "amqp://u:hidden@a,amqp://u:hidden@b:0",
        "address 2 of 2 in the list",
    ),
    (&["broker", "listener"], "AMQP_URL", "amqp://u:hidden@a,amqps://u:hidden@b", "TLS_CERT"),
    (&["broker", "listener"], "AMQP_URL", "amqp://u:hidden@127.0.0.1:port/%2f", "amqp://user:password@"),
    (&["broker"], "BROKER_DEFAULT_TRANSPORT", "amqp", "\"rabbitmq\""),
    (&["broker"], "BROKER_DEFAULT_TRANSPORT", "GRPC", "\"grpc\""),
    (&["broker"], "BROKER_BURSTS", "some", "local"),
    (&["broker"], "BROKER_COALESCE", "true", "expected on or off"),
    (&["broker"], "BROKER_DEADLINE_MS", "0", "1..=7000"),
    (&["broker"], "BROKER_DEADLINE_MS", "7001", "1..=7000"),
    (&["broker"], "BROKER_DEADLINE_MS", "60000", "1..=7000"),
    (&["broker"], "BROKER_DEADLINE_MS", "5s", "invalid digit"),
    (&["broker"], "BROKER_CORS_ORIGINS", "*", "https://example.org:8443"),
    (&["broker"], "BROKER_CORS_ORIGINS", "https://example.org,example.net", "https://example.org:8443"),
    (&["broker"], "BROKER_HTTP_HOSTS", "broker:8080", "such as logger-service"),
    (&["broker"], "BROKER_KEYS_FILE", "/proc/none/keys", "cannot be read"),
    (&["broker"], "BROKER_KEYS_FILE", "/tmp", "not a file"),
    (&["broker"], "BROKER_KEY_RATE", "-1", "0..=1000000"),
    (&["broker"], "BROKER_KEY_RATE", "1000001", "0..=1000000"),
    (&["broker"], "BROKER_KEY_RATE", "10/s", "invalid digit"),
    (&["listener"], "LISTENER_TRANSPORT", "rabbitmq", "http, rpc or grpc"),
    (&["listener"], "LISTENER_TRANSPORT", "tarpc", "\"rpc\""),
    (&["listener"], "LISTENER_PREFETCH", "1", "2..=2000"),
    (&["listener"], "LISTENER_PREFETCH", "2001", "2..=2000"),
    (&["logger"], "LOGGER_STORE", "data/logs.db", "sqlite:data/logs.db"),
    (&["logger"], "LOGGER_STORE", "sqlite:", "sqlite:data/logs.db"),
    (&["logger"], "LOGGER_STORE", "sqlite::memory:", "sqlite:data/logs.db"),
    (&["logger"], "LOGGER_STORE", "mongodb://127.0.0.1/logs", "sqlite:data/logs.db"),
    (&["logger"], "LOGGER_STORE", "sqlite:/proc/none/logs.db", "another path"),
    (
        &["logger"],
        "LOGGER_STORE",
        "postgers://u:hidden@127.0.0.1/logs",
        "postgres://user:password@host/database",
    ),
    (
        &["logger"],
        "LOGGER_STORE",
        "postgres://u:hidden@127.0.0.1:port/logs",
        "postgres://user:password@127.0.0.1",
    ),
    (&["logger"], "LOGGER_STORE", "postgres://u:hidden@127.0.0.1/logs?sslmode=prefer", "require or disable"),
    (&["logger"], "LOGGER_STORE", "postgres://u:hidden@127.0.0.1/logs?sslmode=require", "LOGGER_STORE_CA"),
    (&["logger"], "LOGGER_STORE", "postgres://u:hidden@10.0.0.7/logs", "ALLOW_INSECURE_NETWORK"),
    (&["logger"], "LOGGER_STORE", "postgres://u:hidden@127.0.0.1:1/logs", "cannot be used"),
    (&["logger"], "LOGGER_STORE_FILE", "/nowhere", "cannot read /nowhere"),
    (&["logger"], "LOGGER_RETENTION_HOURS", "-1", "0.."),
    (&["logger"], "LOGGER_RETENTION_BYTES", "1GB", "at least 1048576"),
    (&["logger"], "LOGGER_RETENTION_BYTES", "100", "at least 1048576"),
    (&["logger"], "LOGGER_RETENTION_BYTES", "1048575", "at least 1048576"),
    (&["broker", "logger", "listener"], "METRICS", "yes", "on or off"),
    (&["broker", "logger", "listener"], "RUST_LOG", "verbose", "off, error, warn, info, debug or trace"),
    (&["broker", "logger", "listener"], "RUST_LOG", "broker=loud", "info"),
    (&["broker", "logger", "listener"], "RUST_LOG", "a=b=c", "info"),
    (&["broker", "logger", "listener"], "LOG_FORMAT", "xml", "json"),
    (&["broker"], "OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4317", "http://127.0.0.1:4317"),
    (&["logger"], "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317/v1/traces", "http://127.0.0.1:4317"),
    (
        &["listener"],
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "http://u:hidden@127.0.0.1:4317",
        "such as http://",
    ),
    (
        &["broker", "listener"],
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "http://collector:4317",
        "ALLOW_INSECURE_NETWORK",
    ),
    (&["logger"], "OTEL_EXPORTER_OTLP_ENDPOINT", "http://10.0.0.7:4317", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
    (&["broker"], "OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
];

/// One logger more than there may be.
const SEVENTEEN: &str = "http://a,http://a,http://a,http://a,http://a,http://a,http://a,http://a,http://a,\
    http://a,http://a,http://a,http://a,http://a,http://a,http://a,http://a";

#[tokio::test]
async fn a_wrong_setting_stops_the_service_and_is_named() {
    // Whoever opened a port before all settings are checked would complain of this one.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("its address").to_string();
    let mut wrong = Vec::new();
    for (services, setting, value, word) in WRONG {
        for service in *services {
            let mut settings = listens(service, &taken);
            settings.insert(*setting, (*value).to_owned());
            let (success, output) = run_to_its_end(service, &settings).await;
            let mut must = |holds: bool, rule: &str| {
                if !holds {
                    wrong.push(format!("{service}, {setting}={value:?}: {rule}:\n    {}", output.trim()));
                }
            };
            must(!success, "the exit code must not be 0");
            must(output.contains(setting), "the message must name the setting");
            must(output.contains(word), &format!("the message must hold {word:?}"));
            must(!output.contains("cannot listen"), "no port must be tried before");
            must(!output.contains("hidden"), "the message must not hold the password");
        }
    }
    assert!(wrong.is_empty(), "{} complaints:\n{}", wrong.len(), wrong.join("\n"));
}

/// What OpenTelemetry has and we do not, with a word of what there is instead.
const UNSUPPORTED: &[(&str, &str, &str)] = &[
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "grpc"),
    ("OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"),
    ("OTEL_TRACES_SAMPLER", "jaeger_remote", "parentbased_traceidratio"),
    ("OTEL_TRACES_SAMPLER_ARG", "1%", "0.01"),
    ("OTEL_TRACES_SAMPLER_ARG", "1.01", "0.01"),
    ("OTEL_TRACES_SAMPLER_ARG", "NaN", "0.01"),
];

#[tokio::test]
async fn what_we_do_not_support_of_opentelemetry_is_refused_only_where_traces_are_on() {
    let with = |setting, value: &str| {
        let mut settings = listens("logger", "127.0.0.1:0");
        settings.insert("OTEL_TRACES_SAMPLER", "traceidratio".to_owned());
        settings.insert(setting, value.to_owned());
        settings
    };
    for (setting, value, word) in UNSUPPORTED {
        let mut settings = with(setting, value);
        settings.insert("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317".to_owned());
        let (success, output) = run_to_its_end("logger", &settings).await;
        assert!(!success && output.contains(setting) && output.contains(word), "{setting}={value}: {output}");
        settings.insert("OTEL_SDK_DISABLED", "true".to_owned());
        starts("logger", &settings).await;
        starts("logger", &with(setting, value)).await;
    }
}

#[tokio::test]
async fn an_empty_variable_is_as_unset() {
    for (service, own) in SETTINGS {
        let mut settings = BTreeMap::new();
        for (setting, _) in own.iter().chain(&TELEMETRY) {
            settings.insert(*setting, String::new());
        }
        // The usual ports may be taken.
        settings.extend(listens(service, "localhost:0"));
        starts(service, &settings).await;
    }
}

/// Starts a service that must be ready soon.
async fn starts(service: &str, settings: &BTreeMap<&str, String>) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut process = process::start(service, settings, dir.path());
    process.ready().await.expect("it is ready");
    process.kill().await.expect("it runs");
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_setting() {
    for (service, ports) in LISTENS {
        for setting in ports {
            let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = taken.local_addr().expect("its address").to_string();
            let mut settings = listens(service, "127.0.0.1:0");
            settings.insert(*setting, address.clone());
            let (success, output) = run_to_its_end(service, &settings).await;
            assert!(!success, "{output}");
            assert!(output.contains(setting) && output.contains(&address), "{output}");
        }
    }
}

#[tokio::test]
async fn a_taken_port_for_otlp_is_named_with_its_setting() {
    for setting in ["BROKER_OTLP_GRPC_LISTEN", "BROKER_OTLP_HTTP_LISTEN"] {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("its address").to_string();
        let mut settings = listens("broker", "127.0.0.1:0");
        settings.insert(setting, address.clone());
        let (success, output) = run_to_its_end("broker", &settings).await;
        assert!(!success && output.contains(setting) && output.contains(&address), "{output}");
    }
}

#[tokio::test]
async fn a_start_that_fails_says_so_in_the_format_of_the_log() {
    for (service, ports) in LISTENS {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("its address").to_string();
        for (setting, value) in [(ports[0], address.as_str()), (ports[0], "nowhere"), ("RUST_LOG", "a=b=c")] {
            let mut settings = listens(service, "127.0.0.1:0");
            settings.insert("LOG_FORMAT", "json".to_owned());
            settings.insert(setting, value.to_owned());
            let (success, output) = run_to_its_end(service, &settings).await;
            assert!(!success, "{output}");
            let lines = output.lines().map(serde_json::from_str::<Value>);
            let lines = lines.collect::<Result<Vec<_>, _>>().unwrap_or_else(|_| panic!("no JSON: {output}"));
            let last = lines.last().expect("a reason");
            assert_eq!(last["level"], "ERROR", "{output}");
            assert!(last["message"].as_str().is_some_and(|message| message.contains(setting)), "{output}");
        }
    }
}

#[test]
fn help_lists_every_environment_variable_with_its_default() {
    for (service, settings) in SETTINGS {
        let help = help(service, &[]);
        let listed: BTreeSet<&str> = help
            .split("[env: ")
            .skip(1)
            .filter_map(|rest| rest.split_once(['=', ']']).map(|(variable, _)| variable))
            .collect();
        let settings = || settings.iter().chain(&TELEMETRY);
        let expected = settings().map(|(variable, _)| *variable).collect();
        assert_eq!(listed, expected, "{service}");
        for (variable, default) in settings() {
            let (_, after) = help.split_once(&format!("[env: {variable}")).expect("it is listed");
            let own = after.split("[env: ").next().unwrap_or(after);
            let told = default.is_empty() || own.contains(&format!("[default: {default}]"));
            assert!(told, "{service}: {variable} has the default {default}:\n{help}");
        }
    }
}

#[test]
fn help_does_not_show_the_password_that_is_set() {
    for service in ["broker", "listener"] {
        let help = help(service, &[("AMQP_URL", "amqp://user:hidden@127.0.0.1/%2f")]);
        assert!(help.contains("AMQP_URL") && !help.contains("hidden"), "{help}");
    }
}

fn listens(service: &str, address: &str) -> BTreeMap<&'static str, String> {
    let (_, ports) = LISTENS.iter().find(|(name, _)| *name == service).expect("a service");
    ports.iter().map(|setting| (*setting, address.to_owned())).collect()
}

/// Whether it ended well, and what it said.
async fn run_to_its_end(service: &str, settings: &BTreeMap<&str, String>) -> (bool, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut process = process::start(service, settings, dir.path());
    let status = process.ended().await.expect("it ends");
    (status.success(), process.log())
}

/// The text of `--help`, with every run of white space as one space.
fn help(service: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(binary(service));
    let output = command.arg("--help").env_clear().envs(environment.iter().copied()).output();
    let output = output.expect("it can be run");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
