//! The certificates of a run over encrypted hops, `make test`'s second one.
//!
//! `deploy/rabbitmq.sh with-test-node` makes them before it starts RabbitMQ, which has one of them.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore,
    client::WantsClientCert,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// The directory with the certificates, if this run is encrypted: `FOURWIRE_TEST_SECURE=1`.
///
/// # Panics
/// If there are none.
pub fn directory() -> Option<&'static Path> {
    static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let secure = std::env::var("FOURWIRE_TEST_SECURE").is_ok_and(|value| value == "1");
        secure.then(|| crate::required("FOURWIRE_TEST_CERTS").into())
    });
    directory.as_deref()
}

/// What a URL begins with: `http`, or `https` if this run is encrypted.
pub fn scheme() -> &'static str {
    if directory().is_some() { "https" } else { "http" }
}

/// The settings by which the services use the certificates of a directory.
pub fn settings(directory: &Path) -> Vec<(&'static str, String)> {
    let settings = [
        ("BROKER_TLS_CERT", "broker.pem"),
        ("BROKER_TLS_KEY", "broker.key"),
        ("BROKER_TLS_CA", "ca.pem"),
        ("LOGGER_TLS_CERT", "logger.pem"),
        ("LOGGER_TLS_KEY", "logger.key"),
        ("LOGGER_TLS_CA", "ca.pem"),
        ("LISTENER_TLS_CERT", "listener.pem"),
        ("LISTENER_TLS_KEY", "listener.key"),
        ("LISTENER_TLS_CA", "ca.pem"),
        ("FOURWIRE_TLS_CERT", "fourwire.pem"),
        ("FOURWIRE_TLS_KEY", "fourwire.key"),
        ("FOURWIRE_TLS_CA", "ca.pem"),
    ];
    let path = |file| directory.join(file).display().to_string();
    settings.into_iter().map(|(setting, file)| (setting, path(file))).collect()
}

/// How a test calls a service: it believes the authority `ca.pem` of a directory, and shows the certificate NAME.pem.
///
/// # Panics
/// If they cannot be read.
pub fn client_config(directory: &Path, name: &str) -> ClientConfig {
    let chain = read(directory, &format!("{name}.pem"));
    let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(&read(directory, &format!("{name}.key"))).expect("a key");
    believing(directory)
        .with_client_auth_cert(chain.expect("certificates"), key)
        .expect("they belong together")
}

/// As [`client_config`], but it shows nothing.
///
/// # Panics
/// If the authority cannot be read.
pub fn anonymous_config(directory: &Path) -> ClientConfig {
    believing(directory).with_no_client_auth()
}

fn believing(directory: &Path) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&read(directory, "ca.pem")) {
        roots.add(certificate.expect("a certificate")).expect("an authority");
    }
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.3")
        .with_root_certificates(roots)
}

fn read(directory: &Path, file: &str) -> Vec<u8> {
    std::fs::read(directory.join(file)).expect("the file is there")
}

/// The password of the services at RabbitMQ, if this run is encrypted: one that is found nowhere by chance.
pub fn rabbitmq_password() -> Option<&'static str> {
    static PASSWORD: OnceLock<Option<String>> = OnceLock::new();
    let make = || directory().map(|_| uuid::Uuid::from_u128(rand::random()).simple().to_string());
    PASSWORD.get_or_init(make).as_deref()
}

/// What must stand in no log and no answer of this run.
pub fn secrets() -> &'static [String] {
    static SECRETS: OnceLock<Vec<String>> = OnceLock::new();
    SECRETS.get_or_init(|| {
        let Some(directory) = directory() else { return Vec::new() };
        let files = std::fs::read_dir(directory).expect("the certificates");
        let files = files.map(|file| file.expect("a file").path());
        let keys = files.filter(|path| path.extension().is_some_and(|extension| extension == "key"));
        let keys = keys.map(|path| std::fs::read_to_string(path).expect("a key"));
        // Line by line, since a log might break them.
        let lines = keys.flat_map(|key| key.lines().map(str::to_owned).collect::<Vec<_>>());
        let lines = lines.filter(|line| line.len() >= 20 && !line.starts_with("-----"));
        let key = crate::keys::of_this_run();
        let key = key.into_iter().flat_map(|key| [key.secret.clone(), key.hash().to_owned()]);
        lines.chain(key).chain(rabbitmq_password().map(str::to_owned)).collect()
    })
}

/// Fails if a text holds a secret; `what` says what text it is.
///
/// # Panics
/// If it does.
pub fn assert_no_secret(what: &str, text: &str) {
    for secret in secrets() {
        assert!(!text.contains(secret.as_str()), "{what} holds a secret");
    }
}
