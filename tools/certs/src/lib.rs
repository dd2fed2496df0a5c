//! A certificate authority for development and tests: it is made anew each time, and its certificates are for this
//! machine alone. It is nothing for a system that others use.

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// The names of this machine, for which each certificate is valid: the services and RabbitMQ answer to them.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// How long a certificate is valid.
const VALID: Duration = Duration::days(90);

/// An authority, with its key in memory alone.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// For 90 days from an hour ago: clocks differ.
    Current,
    /// Until yesterday.
    Expired,
}

/// A certificate with its key, in PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub cert: String,
    /// Its private key.
    pub key: String,
}

/// The files of a certificate with its key.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key; only its owner may read it.
    pub key: PathBuf,
}

impl Authority {
    /// Makes one.
    ///
    /// # Errors
    /// If the machine has no randomness.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "Fourwire development CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid(&mut params, Validity::Current);
        Ok(Authority { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// The authority's certificate, in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for serving on this machine, and for calling from it as `name`: the services ask their clients for
    /// one of the names that they expect.
    ///
    /// # Errors
    /// If the machine has no randomness.
    pub fn issue(&self, name: &str, validity: Validity) -> anyhow::Result<Pair> {
        let names = NAMES.into_iter().chain([name]).map(str::to_owned);
        let mut params = CertificateParams::new(names.collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, validity);
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(Pair { cert: cert.pem(), key: key.serialize_pem() })
    }

    /// Writes the authority's certificate into `directory` as `ca.pem`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        let path = directory.join("ca.pem");
        std::fs::write(&path, self.pem()).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Pair {
    /// Writes both into `directory`, as `NAME.pem` and `NAME.key`.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&self, directory: &Path, name: &str) -> anyhow::Result<Files> {
        let files =
            Files { cert: directory.join(format!("{name}.pem")), key: directory.join(format!("{name}.key")) };
        std::fs::write(&files.cert, &self.cert)
            .with_context(|| format!("cannot write {}", files.cert.display()))?;
        write_secret(&files.key, &self.key)?;
        Ok(files)
    }
}

/// Writes a file that nobody but its owner may read, not even for a moment.
///
/// # Errors
/// If it cannot be written.
pub fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let shown = path.display();
    // A file that is there keeps its mode.
    if path.exists() {
        std::fs::remove_file(path).with_context(|| format!("cannot replace {shown}"))?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).with_context(|| format!("cannot write {shown}"))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {shown}"))
}

fn valid(params: &mut CertificateParams, validity: Validity) {
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = match validity {
        Validity::Current => (now - Duration::hours(1), now + VALID),
        Validity::Expired => (now - VALID, now - Duration::days(1)),
    };
}
