//! The listener's settings. Its environment is read here and nowhere else.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use clap::Parser;
use proto::Transport;
use transport::{grpc::GrpcUrl, http::HttpUrl, rabbitmq::AmqpUrl, rpc::RpcAddr};

/// How long one attempt to hand over a batch may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Takes log entries off RabbitMQ, hands them to the logger in batches, and acknowledges only what is stored.
///
/// Each setting is a flag and an environment variable of the same name; the flag wins.
#[derive(Debug, Clone, Parser)]
#[command(name = "listener", version)]
pub struct Config {
    /// Where health and metrics are served over HTTP
    #[arg(long, env, default_value = "127.0.0.1:8083")]
    pub listener_http_listen: SocketAddr,

    /// RabbitMQ
    #[arg(long, env, default_value = "amqp://guest:guest@127.0.0.1:5672/%2f", hide_env_values = true)]
    pub amqp_url: String,

    /// How entries are handed to the logger: http, rpc or grpc
    #[arg(long, env, default_value_t = Transport::Rpc, value_parser = parse_direct)]
    pub listener_transport: Transport,

    /// Most deliveries that are held at a time without an acknowledgement; a batch has up to half of that
    #[arg(long, env, default_value_t = 512, value_parser = clap::value_parser!(u16).range(2..=2_000))]
    pub listener_prefetch: u16,

    /// The logger's HTTP address
    #[arg(long, env, default_value = "http://127.0.0.1:8082")]
    pub logger_http_url: HttpUrl,

    /// The logger's rpc address
    #[arg(long, env, default_value = "127.0.0.1:5002")]
    pub logger_rpc_addr: RpcAddr,

    /// The logger's gRPC address
    #[arg(long, env, default_value = "http://127.0.0.1:50001")]
    pub logger_grpc_url: GrpcUrl,

    /// What is logged to standard error, as a filter of tracing-subscriber
    #[arg(long, env, default_value = "info,tarpc=warn")]
    pub rust_log: String,
}

impl Config {
    /// # Errors
    /// If `AMQP_URL` cannot be used. It is no type of its own for the command line, which would repeat a
    /// password.
    pub(crate) fn rabbitmq(&self) -> anyhow::Result<AmqpUrl> {
        self.amqp_url.parse().context("AMQP_URL")
    }

    pub(crate) fn transports(&self) -> transport::Settings {
        transport::Settings {
            logger_http_url: self.logger_http_url.clone(),
            logger_rpc_addr: self.logger_rpc_addr.clone(),
            logger_grpc_url: self.logger_grpc_url.clone(),
            amqp_url: None,
            deadline: DEADLINE,
            came_by: Some(Transport::Rabbitmq),
        }
    }
}

fn parse_direct(word: &str) -> Result<Transport, String> {
    match word.parse().map_err(|failure: proto::Failure| failure.message)? {
        Transport::Rabbitmq => Err("entries came by rabbitmq: hand them on by http, rpc or grpc".to_owned()),
        direct @ (Transport::Http | Transport::Rpc | Transport::Grpc) => Ok(direct),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_not_handed_on_the_way_they_came() {
        assert_eq!(parse_direct("grpc"), Ok(Transport::Grpc));
        assert!(parse_direct("rabbitmq").is_err());
        assert!(parse_direct("amqp").is_err());
    }

    #[test]
    fn the_settings_are_sound() {
        use clap::CommandFactory;
        Config::command().debug_assert();
    }
}
