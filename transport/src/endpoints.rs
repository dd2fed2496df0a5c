//! Where the loggers are: declared once, for all that call them.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use clap::Args;
use proto::Direct;

use crate::address::{Addresses, GrpcUrl, HttpUrl, RpcAddr};

/// The addresses of the loggers, a list for each direct transport. Flattened into the settings of the broker, the listener
/// and the command, so that the flags, the variables of the environment and the defaults are the same.
#[derive(Debug, Clone, Args)]
pub struct Endpoints {
    /// The logger's HTTP URL, for writing over http and for reading; of several loggers on one store a comma-separated list,
    /// in all three settings in the same order
    #[arg(long, env, global = true, default_value = "http://127.0.0.1:8082")]
    pub logger_http_url: Addresses<HttpUrl>,

    /// The logger's rpc address, or a list; prefix with tls:// for TLS, with netrpc:// or netrpc+tls:// for a logger in Go
    /// (net/rpc)
    #[arg(long, env, global = true, default_value = "127.0.0.1:5002")]
    pub logger_rpc_addr: Addresses<RpcAddr>,

    /// The logger's gRPC URL, or a list, for grpc, for loading and for following in streams
    #[arg(long, env, global = true, default_value = "http://127.0.0.1:50001")]
    pub logger_grpc_url: Addresses<GrpcUrl>,
}

/// The lists do not name the same loggers, or one of them twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointsError {
    /// They are of different lengths.
    #[error(
        "LOGGER_HTTP_URL has {http}, LOGGER_RPC_ADDR {rpc} and LOGGER_GRPC_URL {grpc} of the loggers' addresses: list \
         the same loggers in all three, in the same order (a setting that is not set has one)"
    )]
    Uneven {
        /// Loggers of the first.
        http: usize,
        /// Of the second.
        rpc: usize,
        /// Of the third.
        grpc: usize,
    },
    /// A logger has two places.
    #[error("{0} has the address {1} twice: give each logger once")]
    Twice(&'static str, String),
}

impl Endpoints {
    /// Checks that the lists name the same loggers, and each of them once.
    ///
    /// # Errors
    /// If they do not.
    pub fn check(&self) -> Result<(), EndpointsError> {
        let [http, rpc, grpc] =
            [self.logger_http_url.count(), self.logger_rpc_addr.count(), self.logger_grpc_url.count()];
        if http != rpc || rpc != grpc {
            return Err(EndpointsError::Uneven { http, rpc, grpc });
        }
        let loggers = self.loggers();
        for direct in Direct::ALL {
            let mut seen = BTreeSet::new();
            let twice = loggers.iter().map(|logger| logger.told(direct)).find(|at| !seen.insert(at.clone()));
            if let Some(address) = twice {
                return Err(EndpointsError::Twice(Endpoints::setting(direct), address));
            }
        }
        Ok(())
    }

    /// The setting with the addresses for a transport.
    pub const fn setting(direct: Direct) -> &'static str {
        match direct {
            Direct::Http => "LOGGER_HTTP_URL",
            Direct::Rpc => "LOGGER_RPC_ADDR",
            Direct::Grpc => "LOGGER_GRPC_URL",
        }
    }

    /// For each address of a transport its setting, and whether it is encrypted: for [`crate::check_encryption`].
    pub fn encryption(&self, direct: Direct) -> Vec<(&'static str, bool)> {
        let encrypted: Vec<bool> = match direct {
            Direct::Http => self.logger_http_url.iter().map(HttpUrl::is_encrypted).collect(),
            Direct::Rpc => self.logger_rpc_addr.iter().map(RpcAddr::is_encrypted).collect(),
            Direct::Grpc => self.logger_grpc_url.iter().map(GrpcUrl::is_encrypted).collect(),
        };
        encrypted.into_iter().map(|encrypted| (Endpoints::setting(direct), encrypted)).collect()
    }

    /// The host and the port of the first logger for a transport.
    pub fn authority(&self, direct: Direct) -> (String, u16) {
        self.first().authority(direct)
    }

    /// Whether net/rpc is spoken with the first logger over `rpc`.
    pub fn speaks_net_rpc(&self) -> bool {
        self.logger_rpc_addr.first().is_net_rpc()
    }

    /// The first logger alone, and for one transport it leads elsewhere: through a relay. A certificate must be for that
    /// address, too.
    #[must_use]
    pub fn through(&self, direct: Direct, address: SocketAddr) -> Self {
        let mut first = self.first();
        match direct {
            Direct::Http => first.http = first.http.at(address),
            Direct::Rpc => first.rpc = first.rpc.at(address),
            Direct::Grpc => first.grpc = first.grpc.at(address),
        }
        first.into()
    }

    /// The first logger.
    pub(crate) fn first(&self) -> LoggerAddress {
        LoggerAddress::new(
            self.logger_http_url.first(),
            self.logger_rpc_addr.first(),
            self.logger_grpc_url.first(),
        )
    }

    /// All loggers, one at least.
    pub(crate) fn loggers(&self) -> Vec<LoggerAddress> {
        let others = self.logger_rpc_addr.iter().zip(self.logger_grpc_url.iter());
        let all = self.logger_http_url.iter().zip(others);
        all.map(|(http, (rpc, grpc))| LoggerAddress::new(http, rpc, grpc)).collect()
    }
}

/// Where one logger is.
#[derive(Debug, Clone)]
pub(crate) struct LoggerAddress {
    pub(crate) http: HttpUrl,
    pub(crate) rpc: RpcAddr,
    pub(crate) grpc: GrpcUrl,
    /// The one of its name's addresses that is meant; `None`: wherever the name leads.
    pub(crate) ip: Option<IpAddr>,
}

impl LoggerAddress {
    fn new(http: &HttpUrl, rpc: &RpcAddr, grpc: &GrpcUrl) -> Self {
        LoggerAddress { http: http.clone(), rpc: rpc.clone(), grpc: grpc.clone(), ip: None }
    }

    /// The one at this address of its name.
    pub(crate) fn at(&self, ip: IpAddr) -> Self {
        LoggerAddress { ip: Some(ip), ..self.clone() }
    }

    fn authority(&self, direct: Direct) -> (String, u16) {
        match direct {
            Direct::Http => self.http.authority(),
            Direct::Rpc => self.rpc.authority(),
            Direct::Grpc => self.grpc.authority(),
        }
    }

    /// The name that leads to it over each transport, and may lead to others too; `None` where it is an IP address, or not
    /// the same for all: then nobody can say which of their addresses are one logger.
    pub(crate) fn name(&self) -> Option<String> {
        let [(http, _), (rpc, _), (grpc, _)] = Direct::ALL.map(|direct| self.authority(direct));
        let same = http.eq_ignore_ascii_case(&rpc) && http.eq_ignore_ascii_case(&grpc);
        let is_ip = http.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        (same && !is_ip).then_some(http)
    }

    /// Its address for a transport, in words: what the settings must not have twice, and what it is called.
    pub(crate) fn told(&self, direct: Direct) -> String {
        let (host, port) = self.authority(direct);
        match direct {
            // Behind one host, paths may lead to different ones.
            Direct::Http => format!("{host}:{port}{}", self.http.uri().path().trim_end_matches('/')),
            Direct::Rpc | Direct::Grpc => format!("{host}:{port}"),
        }
    }

    /// Its address for HTTP, with the IP address that is meant instead of the name.
    pub(crate) fn shown(&self) -> String {
        let (_, port) = self.http.authority();
        self.ip.map_or_else(|| self.told(Direct::Http), |ip| SocketAddr::new(ip, port).to_string())
    }
}

impl From<LoggerAddress> for Endpoints {
    fn from(logger: LoggerAddress) -> Self {
        Endpoints {
            logger_http_url: Addresses::only(logger.http),
            logger_rpc_addr: Addresses::only(logger.rpc),
            logger_grpc_url: Addresses::only(logger.grpc),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command};

    use super::*;

    fn endpoints(http: &str, rpc: &str, grpc: &str) -> Endpoints {
        Endpoints {
            logger_http_url: http.parse().expect("URLs"),
            logger_rpc_addr: rpc.parse().expect("addresses"),
            logger_grpc_url: grpc.parse().expect("URLs"),
        }
    }

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

    #[test]
    fn the_same_place_of_each_list_is_one_logger_and_lists_of_other_lengths_are_refused() {
        let two = endpoints("http://a:1,http://b:1", "a:2,b:2", "http://a:3,http://b:3");
        assert_eq!(two.check(), Ok(()));
        let places = two.loggers().iter().map(|logger| logger.told(Direct::Http)).collect::<Vec<_>>();
        assert_eq!(places, ["a:1", "b:1"]);
        assert_eq!(two.loggers()[1].authority(Direct::Grpc), ("b".to_owned(), 3));
        let other = endpoints("http://a:1,http://b:1", "a:2,b:2", "http://a:3");
        let told = other.check().expect_err("one is missing").to_string();
        assert!(
            told.starts_with("LOGGER_HTTP_URL has 2, LOGGER_RPC_ADDR 2 and LOGGER_GRPC_URL 1 "),
            "{told}"
        );
        let same = endpoints("http://a:1,http://b:1", "a:2,a:2", "http://a:3,http://b:3");
        let told = same.check().expect_err("it is one logger").to_string();
        assert_eq!(told, "LOGGER_RPC_ADDR has the address a:2 twice: give each logger once");
    }

    #[test]
    fn a_name_leads_to_several_loggers_only_if_each_transport_has_it() {
        let name = |http, rpc, grpc| endpoints(http, rpc, grpc).first().name();
        let all = name("http://tasks.logger:1", "tls://Tasks.logger:2", "https://tasks.logger:3");
        assert_eq!(all.as_deref(), Some("tasks.logger"));
        assert_eq!(name("http://logger:1", "other:2", "http://logger:3"), None);
        assert_eq!(name("http://127.0.0.1:1", "127.0.0.1:2", "http://127.0.0.1:3"), None);
        assert_eq!(name("http://[::1]:1", "[::1]:2", "http://[::1]:3"), None);
    }

    #[test]
    fn through_a_relay_there_is_the_first_logger_alone() {
        let two = endpoints("http://a:1,http://b:1", "a:2,b:2", "http://a:3,http://b:3");
        let through = two.through(Direct::Rpc, "127.0.0.1:7".parse().expect("an address"));
        assert_eq!(through.check(), Ok(()));
        assert_eq!(through.authority(Direct::Rpc), ("127.0.0.1".to_owned(), 7));
        assert_eq!(through.authority(Direct::Http), ("a".to_owned(), 1));
        assert_eq!(through.loggers().len(), 1);
    }
}
