//! The settings of all five services. Their environment is read here and nowhere else.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::bail;
use clap::{Parser, ValueEnum};
use http::Uri;
use secrecy::SecretString;
use service::{network, telemetry};

/// One of the five.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Service {
    /// Accounts of users.
    User,
    /// The catalogue and the stock.
    Product,
    /// Money: holds, captures, a ledger.
    Payment,
    /// Orders: the saga, and who follows them.
    Order,
    /// HTTP for browsers.
    Front,
}

impl Service {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Service::User => "user",
            Service::Product => "product",
            Service::Payment => "payment",
            Service::Order => "order",
            Service::Front => "front",
        }
    }

    /// The transport of its log: one order is told over all four.
    const fn usual_transport(self) -> &'static str {
        match self {
            Service::User | Service::Front => "http",
            Service::Product => "rpc",
            Service::Payment => "rabbitmq",
            Service::Order => "grpc",
        }
    }
}

/// One service of the shop. They find each other by the URLs below, and log through the broker of Fourwire.
///
/// Each setting is a flag and an environment variable of the same name; the flag takes precedence.
#[derive(Debug, Clone, Parser)]
#[command(name = "shop", version)]
pub struct Config {
    /// Service to run
    #[arg(value_enum)]
    pub service: Service,

    /// Address for the front to serve HTTP on: the page, and its API
    #[arg(long, env, default_value = "127.0.0.1:8090", value_parser = service::listen_address)]
    pub shop_front_listen: SocketAddr,

    /// Address for the user service to serve gRPC on
    #[arg(long, env, default_value = "127.0.0.1:50011", value_parser = service::listen_address)]
    pub shop_user_listen: SocketAddr,

    /// Address for the product service to serve gRPC on
    #[arg(long, env, default_value = "127.0.0.1:50012", value_parser = service::listen_address)]
    pub shop_product_listen: SocketAddr,

    /// Address for the order service to serve gRPC on
    #[arg(long, env, default_value = "127.0.0.1:50013", value_parser = service::listen_address)]
    pub shop_order_listen: SocketAddr,

    /// Address for the payment service to serve gRPC on
    #[arg(long, env, default_value = "127.0.0.1:50014", value_parser = service::listen_address)]
    pub shop_payment_listen: SocketAddr,

    /// URL of the user service
    #[arg(long, env, default_value = "http://127.0.0.1:50011", value_parser = parse_url)]
    pub shop_user_url: Uri,

    /// URL of the product service
    #[arg(long, env, default_value = "http://127.0.0.1:50012", value_parser = parse_url)]
    pub shop_product_url: Uri,

    /// URL of the order service
    #[arg(long, env, default_value = "http://127.0.0.1:50013", value_parser = parse_url)]
    pub shop_order_url: Uri,

    /// URL of the payment service
    #[arg(long, env, default_value = "http://127.0.0.1:50014", value_parser = parse_url)]
    pub shop_payment_url: Uri,

    /// Directory of the services' SQLite files, one each
    #[arg(long, env, default_value = "data/shop")]
    pub shop_data_dir: PathBuf,

    /// URL of Fourwire's broker
    #[arg(long, env, default_value = "http://127.0.0.1:8080", value_parser = parse_url)]
    pub broker_url: Uri,

    /// API key for the broker, if it requires one
    #[arg(long, env, hide_env_values = true)]
    pub broker_key: Option<SecretString>,

    /// Transport of this service's log entries: http, rpc, rabbitmq or grpc; by default front and user log via http, product via rpc, payment via rabbitmq, order via grpc
    #[arg(long, env, value_parser = ["http", "rpc", "rabbitmq", "grpc"])]
    pub shop_log_transport: Option<String>,

    /// Whether the page may break services: on or off; on loopback only
    #[arg(long, env, default_value = "off", value_parser = parse_switch, action = clap::ArgAction::Set)]
    pub shop_faults: bool,

    /// Serve other machines, without TLS or keys: anyone in that network may buy, and spend any user's money
    #[arg(long, env)]
    pub allow_insecure_network: bool,

    /// Promise that this build breaks on purpose
    #[cfg(feature = "faults")]
    #[arg(long, env, value_enum)]
    pub shop_fault: Option<crate::faults::Broken>,

    /// How HTTP is served.
    #[command(flatten)]
    pub http: service::http::Settings,

    /// Telemetry.
    #[command(flatten)]
    pub telemetry: telemetry::Settings,
}

impl Config {
    /// Where this service listens, and the setting that says so.
    pub const fn listen(&self) -> (&'static str, SocketAddr) {
        match self.service {
            Service::Front => ("SHOP_FRONT_LISTEN", self.shop_front_listen),
            Service::User => ("SHOP_USER_LISTEN", self.shop_user_listen),
            Service::Product => ("SHOP_PRODUCT_LISTEN", self.shop_product_listen),
            Service::Order => ("SHOP_ORDER_LISTEN", self.shop_order_listen),
            Service::Payment => ("SHOP_PAYMENT_LISTEN", self.shop_payment_listen),
        }
    }

    /// The transport of its log.
    pub fn log_transport(&self) -> &str {
        self.shop_log_transport.as_deref().unwrap_or(self.service.usual_transport())
    }

    /// Checks the settings against each other.
    ///
    /// # Errors
    /// If they cannot be used; the message names the setting.
    pub fn check(&self) -> anyhow::Result<()> {
        let (setting, address) = self.listen();
        if network::is_loopback(address) {
            return Ok(());
        }
        if self.shop_faults {
            bail!(
                "{setting} {address}: with SHOP_FAULTS=on it must be an address of loopback, such as 127.0.0.1"
            );
        }
        if !self.allow_insecure_network {
            bail!(
                "{setting} {address} can be reached from other machines, and the shop has neither TLS nor keys: use \
                 127.0.0.1, or set ALLOW_INSECURE_NETWORK=true if anyone in that network may spend any user's money"
            );
        }
        Ok(())
    }
}

fn parse_switch(word: &str) -> Result<bool, &'static str> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected on or off"),
    }
}

fn parse_url(text: &str) -> Result<Uri, &'static str> {
    let expected = "expected http://, a host and a port, such as http://127.0.0.1:8080";
    let uri: Uri = text.parse().map_err(|_| expected)?;
    let plain = matches!(uri.path(), "" | "/") && uri.query().is_none();
    if uri.scheme_str() == Some("http") && uri.authority().is_some() && plain {
        Ok(uri)
    } else {
        Err(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Config {
        Config::parse_from([&["shop"], arguments].concat())
    }

    #[test]
    fn the_settings_are_sound() {
        use clap::CommandFactory;
        Config::command().debug_assert();
    }

    #[test]
    fn other_machines_are_let_in_only_by_the_flag_and_never_to_the_faults() {
        let wide = ["payment", "--shop-payment-listen", "0.0.0.0:1"];
        assert!(read(&wide).check().is_err());
        assert!(read(&[&wide[..], &["--allow-insecure-network"]].concat()).check().is_ok());
        assert!(
            read(&[&wide[..], &["--allow-insecure-network", "--shop-faults", "on"]].concat())
                .check()
                .is_err()
        );
        assert!(
            read(&["front", "--shop-payment-listen", "0.0.0.0:1"]).check().is_ok(),
            "it is another's port"
        );
    }

    #[test]
    fn one_order_is_told_over_all_four_transports() {
        let services = [Service::Front, Service::Product, Service::Payment, Service::Order];
        let mut transports = services.map(|service| read(&[service.as_str()]).log_transport().to_owned());
        transports.sort();
        assert_eq!(transports, ["grpc", "http", "rabbitmq", "rpc"]);
    }
}
