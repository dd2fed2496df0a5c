//! SIGHUP: reloads files while the service keeps running. A file that cannot be used changes nothing.

use std::{convert::Infallible, fmt, sync::Arc};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What is read again at each SIGHUP.
pub struct Reloads {
    hangups: Signal,
    parts: Vec<Part>,
}

struct Part {
    what: &'static str,
    reload: Arc<dyn Fn() -> anyhow::Result<()> + Send + Sync>,
}

impl Reloads {
    /// Nothing so far. A SIGHUP from now on is kept for [`Reloads::run`].
    ///
    /// # Errors
    /// If the signal cannot be handled.
    pub fn on_hangup() -> anyhow::Result<Self> {
        let hangups = signal(SignalKind::hangup()).context("SIGHUP cannot be handled")?;
        Ok(Reloads { hangups, parts: Vec::new() })
    }

    /// Has `reload` called, which reads `what` again, such as "the keys", or leaves it as it was and says why. It may wait
    /// for a disk.
    pub fn add(
        &mut self,
        what: &'static str,
        reload: impl Fn() -> anyhow::Result<()> + Send + Sync + 'static,
    ) {
        self.parts.push(Part { what, reload: Arc::new(reload) });
    }

    /// Reads at each SIGHUP, for as long as it is polled.
    pub async fn run(mut self) -> Infallible {
        loop {
            if self.hangups.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
            if self.parts.is_empty() {
                tracing::info!("SIGHUP: nothing to reload");
            }
            for Part { what, reload } in &self.parts {
                let reload = Arc::clone(reload);
                // The disk may be slow, and others are served meanwhile.
                match tokio::task::spawn_blocking(move || reload()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::error!("SIGHUP: {what} were not reloaded: {error:#}"),
                    Err(error) => tracing::error!(%error, "SIGHUP: {what} were not reloaded"),
                }
            }
        }
    }
}

impl fmt::Debug for Reloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|part| part.what)).finish()
    }
}
