//! The files of a service's certificate, and what is served with them: read at start, and again when that is asked for.

use std::{fmt, path::Path, sync::Arc};

use anyhow::Context;
use rustls::ServerConfig;
use settings::tls::{Files, Pem};
use tokio::sync::watch;

use super::{Callers, Identity, Protocol};

/// How connections are encrypted that are accepted from now on.
#[derive(Clone)]
pub struct Serving(watch::Receiver<Arc<ServerConfig>>);

impl Serving {
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.borrow())
    }
}

/// One that stays as it is.
impl From<Arc<ServerConfig>> for Serving {
    fn from(config: Arc<ServerConfig>) -> Self {
        Serving(watch::Sender::new(config).subscribe())
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

/// A service's certificate, by its files.
#[derive(Debug)]
pub struct Certificates {
    files: Files,
    /// As the files were at start.
    identity: Identity,
    served: Vec<Served>,
}

#[derive(Debug)]
struct Served {
    callers: Callers,
    protocol: Protocol,
    config: watch::Sender<Arc<ServerConfig>>,
}

impl Certificates {
    /// Reads the files of a service's three settings about TLS, in PEM: `…_CERT` is its certificate with those that
    /// lead to its CA, `…_KEY` its private key, `…_CA` the CA by which the other services' certificates are checked. All
    /// of them or none: `None`. `prefix` is what the names of the settings begin with, such as `BROKER_TLS`.
    ///
    /// # Errors
    /// If only some are given, or a file cannot be used; the message names the setting.
    pub fn load(
        prefix: &'static str,
        cert: Option<&Path>,
        key: Option<&Path>,
        ca: Option<&Path>,
    ) -> anyhow::Result<Option<Self>> {
        let Some(files) = Files::new(prefix, cert, key, ca)? else { return Ok(None) };
        let identity = read(&files)?;
        Ok(Some(Certificates { files, identity, served: Vec::new() }))
    }

    /// Who the service was at start.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How to serve with it, now and after each [`Certificates::reload`].
    ///
    /// # Errors
    /// If certificate and key do not belong together.
    pub fn serve(&mut self, callers: Callers, protocol: Protocol) -> anyhow::Result<Serving> {
        let config = watch::Sender::new(self.identity.server(&callers, protocol)?);
        let serving = Serving(config.subscribe());
        self.served.push(Served { callers, protocol, config });
        Ok(serving)
    }

    /// Reads the files again, for connections that are accepted from now on. `calls` has them as well, for connections
    /// that are opened from now on.
    ///
    /// # Errors
    /// If a file cannot be used, or `calls` cannot use them; then nothing has changed.
    pub fn reload(&self, calls: impl FnOnce(&Identity) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let identity = read(&self.files)?;
        let served = self.served.iter().map(|served| identity.server(&served.callers, served.protocol));
        let served = served.collect::<anyhow::Result<Vec<_>>>()?;
        calls(&identity)?;
        for (served, config) in self.served.iter().zip(served) {
            served.config.send_replace(config);
        }
        tracing::info!("SIGHUP: certificates reloaded, for new connections");
        Ok(())
    }
}

fn read(files: &Files) -> anyhow::Result<Identity> {
    let Pem { chain, key, ca } = files.read()?;
    let prefix = files.prefix();
    Identity::from_pem(chain, key, ca).with_context(|| format!("{prefix}_CERT, {prefix}_KEY, {prefix}_CA"))
}
