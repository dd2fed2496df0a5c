//! The three files of TLS that every program has: its certificate, its private key, and the CA that it trusts.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::secret;

/// Where the files are.
#[derive(Debug, Clone)]
pub struct Files {
    prefix: &'static str,
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

/// What is in them.
pub struct Pem {
    /// The certificate, with those that lead to its CA.
    pub chain: String,
    /// The private key.
    pub key: String,
    /// The certificates of the CA.
    pub ca: String,
}

impl Files {
    /// The files of three settings, all of them or none: `None`. `prefix` is what their names begin with, such as
    /// `BROKER_TLS`.
    ///
    /// # Errors
    /// If only some are given.
    pub fn new(
        prefix: &'static str,
        cert: Option<&Path>,
        key: Option<&Path>,
        ca: Option<&Path>,
    ) -> anyhow::Result<Option<Self>> {
        match (cert, key, ca) {
            (Some(cert), Some(key), Some(ca)) => {
                Ok(Some(Files { prefix, cert: cert.to_owned(), key: key.to_owned(), ca: ca.to_owned() }))
            }
            (None, None, None) => Ok(None),
            _ => bail!("set {prefix}_CERT, {prefix}_KEY and {prefix}_CA, or none of the three"),
        }
    }

    /// What the names of the settings begin with.
    pub fn prefix(&self) -> &'static str {
        self.prefix
    }

    /// Reads them.
    ///
    /// # Errors
    /// If one cannot be read, or others may read the key; the message names the setting.
    pub fn read(&self) -> anyhow::Result<Pem> {
        let prefix = self.prefix;
        Ok(Pem {
            chain: secret::read_public_file(&self.cert).with_context(|| format!("{prefix}_CERT"))?,
            key: secret::read_file(&self.key).with_context(|| format!("{prefix}_KEY"))?,
            ca: secret::read_public_file(&self.ca).with_context(|| format!("{prefix}_CA"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_the_three_files_are_not_enough() {
        let files = |cert, key, ca| Files::new("BROKER_TLS", cert, key, ca);
        let file = Some(Path::new("/nowhere"));
        assert!(files(None, None, None).is_ok_and(|files| files.is_none()));
        assert!(files(file, file, file).is_ok_and(|files| files.is_some()));
        for some in [files(file, None, None), files(None, file, file), files(file, None, file)] {
            assert!(some.expect_err("one is missing").to_string().contains("BROKER_TLS_KEY"));
        }
    }
}
