//! Connects to the server that takes entries: one of several, and after a failover another one.

use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
    time::timeout,
};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresUrl;

/// How long a server may take to let us in, before the next one is tried: a frozen one accepts connections, and no
/// more.
const LET_IN: Duration = Duration::from_millis(2_500);

/// The servers of a URL.
pub(super) struct Servers {
    each: Vec<Config>,
    tls: Option<MakeRustlsConnect>,
    /// The one that was the primary when it was last looked for.
    last: AtomicUsize,
    shown: String,
}

impl Servers {
    pub(super) fn new(url: &PostgresUrl, tls: Option<Arc<rustls::ClientConfig>>) -> Self {
        let tls = tls.map(|tls| MakeRustlsConnect::new((*tls).clone()));
        Servers { each: url.each(), tls, last: AtomicUsize::new(0), shown: url.to_string() }
    }

    /// A connection to the primary, driven by a task of the runtime that this is called in; `told` gets what the server
    /// says unasked. If none lets us in it goes on and on: the caller has a deadline.
    ///
    /// # Errors
    /// What the last one said, if one of them said anything.
    pub(super) async fn connect(
        &self,
        told: impl Fn(AsyncMessage) + Send + Clone + 'static,
    ) -> Result<(Client, JoinHandle<()>), Error> {
        loop {
            let begin = self.last.load(Ordering::Relaxed);
            let mut refused = None;
            for at in (begin..begin + self.each.len()).map(|at| at % self.each.len()) {
                match timeout(LET_IN, self.connect_to(&self.each[at], told.clone())).await {
                    Ok(Ok(connected)) => {
                        self.last.store(at, Ordering::Relaxed);
                        return Ok(connected);
                    }
                    Ok(Err(error)) => refused = Some(error),
                    Err(_silent) => {}
                }
            }
            if let Some(error) = refused {
                return Err(error);
            }
        }
    }

    async fn connect_to(
        &self,
        server: &Config,
        told: impl Fn(AsyncMessage) + Send + 'static,
    ) -> Result<(Client, JoinHandle<()>), Error> {
        Ok(match &self.tls {
            Some(tls) => {
                let (client, connection) = server.connect(tls.clone()).await?;
                (client, tokio::spawn(drive(connection, told)))
            }
            None => {
                let (client, connection) = server.connect(NoTls).await?;
                (client, tokio::spawn(drive(connection, told)))
            }
        })
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// By their hosts, without a password.
impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Passes messages until the connection ends. Requests that wait for a response learn why it ended.
async fn drive<S, T>(mut connection: Connection<S, T>, told: impl Fn(AsyncMessage))
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(message)) => told(message),
            Some(Err(error)) => {
                tracing::debug!(%error, "a connection to the database has ended");
                return;
            }
            None => return,
        }
    }
}
