//! The URL of a PostgreSQL database. It holds a password, which nothing shows.

use std::{fmt, str::FromStr, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::{
    Config,
    config::{ChannelBinding, Host, LoadBalanceHosts, SslMode, TargetSessionAttrs},
};

/// How long a server may take to accept a TCP connection, before the next one is tried.
const CONNECT: Duration = Duration::from_secs(1);

/// How long what was sent may stay unacknowledged, before the connection counts as lost.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// How long a connection may be idle before the peer is asked whether it is there; then every [`ASK_AGAIN`], and after
/// [`ASKED`] questions without an answer it is lost.
const ASK_AFTER: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_secs(2);
const ASKED: u32 = 3;

/// Where a database is, and as whom to log in: `postgres://user:password@host:5432,other:5432/database`.
#[derive(Clone)]
pub struct PostgresUrl {
    /// Without `sslmode`, of which the driver knows too few values.
    text: SecretString,
    encrypted: bool,
    /// The hosts and the database, for logs.
    shown: String,
}

impl FromStr for PostgresUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let (text, encrypted) = without_sslmode(text)?;
        let config: Config = text.parse().map_err(|_| BadUrl::FORM)?;
        if config.get_hosts().is_empty() || !config.get_hostaddrs().is_empty() {
            return Err(BadUrl::FORM);
        }
        if encrypted && config.get_hosts().iter().any(|host| !matches!(host, Host::Tcp(_))) {
            return Err(BadUrl("a Unix socket has no TLS: leave out sslmode, or name a host"));
        }
        let hosts = each_host(&config).map(|(host, port)| shown(host, port)).collect::<Vec<_>>().join(",");
        let shown = format!("postgres://{hosts}/{}", config.get_dbname().unwrap_or_default());
        Ok(PostgresUrl { text: SecretString::from(text), encrypted, shown })
    }
}

impl PostgresUrl {
    /// Whether it asks for TLS.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// The hosts that are not this machine.
    pub fn far_hosts(&self) -> Vec<String> {
        let config = self.config();
        let hosts = config.get_hosts().iter().filter_map(|host| match host {
            Host::Tcp(host) if !service::network::is_this_machine(host) => Some(host.clone()),
            Host::Tcp(_) | Host::Unix(_) => None,
        });
        hosts.collect()
    }

    /// Whether one of its hosts is reached over TCP.
    pub fn is_over_tcp(&self) -> bool {
        self.config().get_hosts().iter().any(|host| matches!(host, Host::Tcp(_)))
    }

    /// How each of its hosts is connected to, in the order of the URL.
    pub(super) fn each(&self) -> Vec<Config> {
        let whole = self.config();
        let each = each_host(&whole).map(|(host, port)| {
            let mut config = Config::new();
            match host {
                Host::Tcp(name) => config.host(name),
                Host::Unix(path) => config.host_path(path),
            };
            config.port(port);
            whole.get_user().map(|user| config.user(user));
            whole.get_password().map(|password| config.password(password));
            whole.get_dbname().map(|name| config.dbname(name));
            whole.get_options().map(|options| config.options(options));
            config
                .application_name(whole.get_application_name().unwrap_or("fourwire logger"))
                .ssl_mode(if self.encrypted { SslMode::Require } else { SslMode::Disable })
                // With a password the server proves over TLS that it is the end of the very connection.
                .channel_binding(ChannelBinding::Prefer)
                // A standby takes no entries.
                .target_session_attrs(TargetSessionAttrs::ReadWrite)
                .load_balance_hosts(LoadBalanceHosts::Disable)
                .connect_timeout(CONNECT)
                .tcp_user_timeout(UNACKNOWLEDGED)
                .keepalives(true)
                .keepalives_idle(ASK_AFTER)
                .keepalives_interval(ASK_AGAIN)
                .keepalives_retries(ASKED);
            config
        });
        each.collect()
    }

    fn config(&self) -> Config {
        self.text.expose_secret().parse().expect("it was parsed when it was made")
    }
}

/// Without the password, and without a parameter that may hold one.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl PartialEq for PostgresUrl {
    fn eq(&self, other: &Self) -> bool {
        (self.text.expose_secret(), self.encrypted) == (other.text.expose_secret(), other.encrypted)
    }
}

impl Eq for PostgresUrl {}

/// What is wrong with a URL, without a word of it: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUrl(&'static str);

impl BadUrl {
    const FORM: BadUrl = BadUrl(
        "expected a URL such as postgres://user:password@127.0.0.1:5432/fourwire, several hosts separated by commas",
    );
}

/// Takes `sslmode` out; whether it asks for TLS. With us a certificate is always checked, so all words for it mean the
/// same; a mode that may fall back to plain text is none.
fn without_sslmode(text: &str) -> Result<(String, bool), BadUrl> {
    let Some((base, parameters)) = text.split_once('?') else { return Ok((text.to_owned(), false)) };
    let mut encrypted = false;
    let mut others = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(parameters.as_bytes()) {
        match (&*name, &*value) {
            ("sslmode", "disable") => encrypted = false,
            ("sslmode", "require" | "verify-ca" | "verify-full") => encrypted = true,
            ("sslmode", _) => {
                return Err(BadUrl("sslmode is require or disable: nothing falls back to plain text"));
            }
            (_, _) => {
                others.append_pair(&name, &value);
            }
        }
    }
    // A space is %20 to the driver, and no plus sign.
    let others = others.finish().replace('+', "%20");
    Ok((if others.is_empty() { base.to_owned() } else { format!("{base}?{others}") }, encrypted))
}

fn each_host(config: &Config) -> impl Iterator<Item = (&Host, u16)> {
    let ports = config.get_ports();
    let port = move |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
    config.get_hosts().iter().enumerate().map(move |(at, host)| (host, port(at)))
}

fn shown(host: &Host, port: u16) -> String {
    match host {
        Host::Tcp(name) => format!("{name}:{port}"),
        Host::Unix(path) => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_its_hosts_and_its_database_and_no_password() {
        for (text, shown) in [
            ("postgres://u:hidden@127.0.0.1:5433/logs", "postgres://127.0.0.1:5433/logs"),
            ("postgresql://u:hidden@a:1,b:2/logs?sslmode=require", "postgres://a:1,b:2/logs"),
            ("postgres://u@a,b/logs?password=hidden", "postgres://a:5432,b:5432/logs"),
            ("postgres://u:hidden@%2Frun%2Fpostgresql/logs", "postgres:///run/postgresql/logs"),
        ] {
            let url: PostgresUrl = text.parse().expect(text);
            assert_eq!((url.to_string().as_str(), format!("{url:?}").as_str()), (shown, shown));
            assert!(!format!("{:?}", url.each()).contains("hidden"));
        }
    }

    #[test]
    fn each_host_has_its_port_and_is_to_be_a_primary() {
        let url: PostgresUrl = "postgres://u:p@a:1,b:2/logs".parse().expect("a URL");
        let each = url.each();
        let places: Vec<_> =
            each.iter().map(|one| (one.get_hosts().to_vec(), one.get_ports().to_vec())).collect();
        assert_eq!(
            places,
            [("a", 1), ("b", 2)].map(|(host, port)| (vec![Host::Tcp(host.into())], vec![port]))
        );
        assert!(each.iter().all(|one| one.get_target_session_attrs() == TargetSessionAttrs::ReadWrite));
        assert_eq!(url.far_hosts(), ["a", "b"]);
    }

    #[test]
    fn tls_is_asked_for_in_so_many_words_or_not_at_all() {
        for (parameters, encrypted) in [
            ("", Some(false)),
            ("?sslmode=disable", Some(false)),
            ("?sslmode=require&application_name=x%20y", Some(true)),
            ("?sslmode=verify-full", Some(true)),
            ("?sslmode=prefer", None),
            ("?sslmode=allow", None),
        ] {
            let url = format!("postgres://u:p@localhost/logs{parameters}").parse::<PostgresUrl>();
            assert_eq!(url.ok().map(|url| url.is_encrypted()), encrypted, "{parameters}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_a_word_of_it() {
        for text in [
            "postgres://u:hidden@127.0.0.1:port/logs",
            "postgres://u:hidden@/logs",
            "postgres://u:hidden@a/logs?passfile=x",
            "postgres://u:hidden@a/logs?hostaddr=127.0.0.1",
            "postgres://u:hidden@%2Frun%2Fpostgresql/logs?sslmode=require",
        ] {
            let error = text.parse::<PostgresUrl>().expect_err(text);
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
    }
}
