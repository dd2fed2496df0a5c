//! Lines of code of each transport's client, of the sources that this binary was built from.

use std::collections::BTreeMap;

use proto::Transport;

use crate::claims::figures::Lines;

macro_rules! source {
    ($($file:literal),* $(,)?) => {
        &[$(include_str!(concat!("../../../../../transport/src/", $file))),*]
    };
}

/// What a transport's client is made of; streams and tails, which the others have not, are left out.
const fn sources(transport: Transport) -> &'static [&'static str] {
    match transport {
        Transport::Http => source!["http.rs", "http/probe.rs"],
        Transport::Rpc => source!["rpc.rs"],
        Transport::Rabbitmq => source![
            "rabbitmq.rs",
            "rabbitmq/connection.rs",
            "rabbitmq/frames.rs",
            "rabbitmq/publisher.rs",
            "rabbitmq/session.rs",
            "rabbitmq/topology.rs",
            "rabbitmq/url.rs",
        ],
        Transport::Grpc => source!["grpc.rs"],
    }
}

const PROTO: &str = include_str!("../../../../../proto/proto/logs.proto");

pub(super) fn count() -> Lines {
    let of = |transport| (transport, sources(transport).iter().map(|source| code(source)).sum());
    let client: BTreeMap<Transport, u64> = Transport::ALL.into_iter().map(of).collect();
    Lines { client, proto: code(PROTO) }
}

/// Lines that are neither blank nor comments, up to the tests.
fn code(source: &str) -> u64 {
    let product = source.split("#[cfg(test)]").next().unwrap_or(source);
    let lines = product.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_tests_are_no_lines_of_code() {
        assert_eq!(code("//! a\n\nuse b;\n/// c\nfn d() {}\n#[cfg(test)]\nmod tests {\n}\n"), 2);
        assert!(count().client.values().all(|lines| *lines > 50));
    }
}
