//! The settings that have a form of their own.

use clap::Parser;
use logger::store::StoreUrl;
use proto::Direct;
use transport::{Addresses, grpc::GrpcUrl, http::HttpUrl, rabbitmq::AmqpUrl, rpc::RpcAddr};

/// A setting and its value, as `NAME=value`.
///
/// # Panics
/// If an accepted value is none that the service could use.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Some((name, value)) = text.split_once('=') else { return };
    match name {
        "LOGGER_HTTP_URL" | "LISTENER_HTTP_URL" if value.parse::<HttpUrl>().is_ok() => {
            // Before the path, there is as much as without one.
            let begin = value.find("://").expect("a scheme") + "://".len();
            let end = value[begin..].find('/').map_or(value.len(), |at| begin + at);
            assert!(!value[end..].contains(['?', '#', '@']), "{value:?}");
            check_url(&value[..end]);
        }
        "LOGGER_GRPC_URL" if value.parse::<GrpcUrl>().is_ok() => check_url(value),
        "LOGGER_RPC_ADDR" if value.contains(',') => {
            let each_is_one = value.split(',').all(|part| part.trim().parse::<RpcAddr>().is_ok());
            let sound = each_is_one && value.split(',').count() <= 16;
            assert_eq!(value.parse::<Addresses<RpcAddr>>().is_ok(), sound, "{value:?}");
        }
        "LOGGER_RPC_ADDR" if value.parse::<RpcAddr>().is_ok() => {
            let schemes = ["tls://", "netrpc://", "netrpc+tls://"];
            check_address(schemes.into_iter().find_map(|scheme| value.strip_prefix(scheme)).unwrap_or(value));
        }
        "AMQP_URL" => amqp_url(value),
        "LOGGER_STORE" => {
            if let Ok(store) = value.parse::<StoreUrl>() {
                match store {
                    StoreUrl::Sqlite(path) => {
                        assert!(!value.contains('\0') && std::path::absolute(&path).is_ok(), "{value:?}");
                        assert!(!path.starts_with(":memory:"), "{value:?}");
                    }
                    StoreUrl::Postgres(url) => {
                        assert!(url.to_string().starts_with("postgres://"), "{value:?}");
                    }
                    StoreUrl::Nothing => assert_eq!(value, "nothing"),
                }
            }
        }
        "BROKER_CORS_ORIGINS" => {
            let config = broker::Config::try_parse_from(flag("broker", "--broker-cors-origins", value));
            config.into_iter().flat_map(|config| config.broker_cors_origins).for_each(check_origin);
        }
        "LISTENER_TRANSPORT" => {
            let config = listener::Config::try_parse_from(flag("listener", "--listener-transport", value));
            let accepted = config.ok().map(|config| config.listener_transport.as_str());
            assert_eq!(accepted, Direct::ALL.map(Direct::as_str).into_iter().find(|word| *word == value));
        }
        "LOGGER_RETENTION_BYTES" => {
            let config = logger::Config::try_parse_from(flag("logger", "--logger-retention-bytes", value));
            if let Some(max_bytes) = config.ok().and_then(|config| config.retention().max_bytes) {
                assert!(max_bytes >= 1024 * 1024, "it would empty the store");
            }
        }
        _ => {}
    }
}

fn flag(service: &str, flag: &str, value: &str) -> [String; 2] {
    [service.to_owned(), format!("{flag}={value}")]
}

/// Scheme, host and port: what a client would not look at would pass in silence.
fn check_url(url: &str) {
    let (scheme, rest) = url.split_once("://").expect("a scheme");
    assert!(["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)), "{url:?}");
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    assert!(!authority.contains(['/', '?', '#', '@']), "{url:?}");
    let has_port = authority.rsplit_once(']').map_or(authority, |(_, port)| port).contains(':');
    let with_port = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    check_address(&with_port);
}

fn check_address(address: &str) {
    let (host, port) = address.rsplit_once(':').expect("a host and a port");
    assert!(!host.is_empty(), "{address:?}");
    assert!(port.parse::<u16>().is_ok_and(|port| port > 0), "{address:?}");
}

fn amqp_url(value: &str) {
    let Ok(url) = value.parse::<AmqpUrl>() else { return };
    assert!((1..=16).contains(&url.encryption().len()), "{value:?}");
    let (host, port) = url.authority();
    check_address(&format!("{host}:{port}"));
    // Of a list the first node is left.
    let shown = format!("{:?}", url.through(([127, 0, 0, 1], 7).into()));
    let vhost = shown.strip_prefix("127.0.0.1:7/").expect("a place");
    assert!(vhost.len() <= 255, "lapin panics over it: {value:?}");
}

fn check_origin(origin: String) {
    let (scheme, authority) = origin.split_once("://").expect("a scheme");
    assert!(matches!(scheme, "http" | "https"), "{origin:?}");
    assert!(!authority.is_empty() && !authority.contains(['/', '?', '#', '@', ',']), "{origin:?}");
}
