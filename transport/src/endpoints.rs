//! Where the logger is: declared once, for all that call it.

use std::net::SocketAddr;

use clap::Args;
use proto::Direct;

use crate::address::{GrpcUrl, HttpUrl, RpcAddr};

/// The addresses of the logger, one for each direct transport. Flattened into the settings of the broker, the listener and
/// the command, so that the flags, the variables of the environment and the defaults are the same.
#[derive(Debug, Clone, Args)]
pub struct Endpoints {
    /// The logger's HTTP URL, for writing over http and for reading
    #[arg(long, env, global = true, default_value = "http://127.0.0.1:8082")]
    pub logger_http_url: HttpUrl,

    /// The logger's rpc address; prefix with tls:// for TLS, with netrpc:// or netrpc+tls:// for a logger in Go (net/rpc)
    #[arg(long, env, global = true, default_value = "127.0.0.1:5002")]
    pub logger_rpc_addr: RpcAddr,

    /// The logger's gRPC URL, for grpc, for loading and for following in streams
    #[arg(long, env, global = true, default_value = "http://127.0.0.1:50001")]
    pub logger_grpc_url: GrpcUrl,
}

impl Endpoints {
    /// The setting with the address for a transport.
    pub const fn setting(direct: Direct) -> &'static str {
        match direct {
            Direct::Http => "LOGGER_HTTP_URL",
            Direct::Rpc => "LOGGER_RPC_ADDR",
            Direct::Grpc => "LOGGER_GRPC_URL",
        }
    }

    /// The setting with the address for a transport, and whether that is encrypted: for [`crate::check_encryption`].
    pub fn encryption(&self, direct: Direct) -> (&'static str, bool) {
        let encrypted = match direct {
            Direct::Http => self.logger_http_url.is_encrypted(),
            Direct::Rpc => self.logger_rpc_addr.is_encrypted(),
            Direct::Grpc => self.logger_grpc_url.is_encrypted(),
        };
        (Endpoints::setting(direct), encrypted)
    }

    /// The host and the port for a transport.
    pub fn authority(&self, direct: Direct) -> (String, u16) {
        match direct {
            Direct::Http => self.logger_http_url.authority(),
            Direct::Rpc => self.logger_rpc_addr.authority(),
            Direct::Grpc => self.logger_grpc_url.authority(),
        }
    }

    /// The same, but for a transport that leads elsewhere: through a relay. A certificate must be for that address, too.
    #[must_use]
    pub fn through(mut self, direct: Direct, address: SocketAddr) -> Self {
        match direct {
            Direct::Http => self.logger_http_url = self.logger_http_url.at(address),
            Direct::Rpc => self.logger_rpc_addr = self.logger_rpc_addr.at(address),
            Direct::Grpc => self.logger_grpc_url = self.logger_grpc_url.at(address),
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command};

    use super::*;

    #[test]
    fn each_direct_transport_has_a_setting_that_is_a_flag_and_a_variable() {
        let command = Endpoints::augment_args(Command::new("any"));
        for direct in Direct::ALL {
            let setting = Endpoints::setting(direct);
            let flag = setting.to_lowercase().replace('_', "-");
            let declared = command.get_arguments().find(|argument| argument.get_long() == Some(&flag));
            let variable = declared.and_then(|argument| argument.get_env());
            assert_eq!(variable, Some(setting.as_ref()), "{direct}");
        }
    }
}
