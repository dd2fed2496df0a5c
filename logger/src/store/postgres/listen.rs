//! Tells readers of what was committed, here and by other loggers: PostgreSQL notifies, and where it does not, readers
//! look for themselves.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    time::{sleep, timeout},
};
use tokio_postgres::{AsyncMessage, Client};

use super::{cause::Cause, servers::Servers};

/// How often the counter is looked at though nothing was notified: a pool of connections in between may swallow it.
const LOOK: Duration = Duration::from_secs(1);

/// How long a look may take, and connecting.
const ANSWER: Duration = Duration::from_secs(3);

/// How often readers look for themselves while there is no connection.
const POLL: Duration = Duration::from_millis(250);

/// What readers are told.
#[derive(Debug)]
pub(super) struct News {
    /// The newest entry that they were told of.
    last: AtomicI64,
    commits: watch::Sender<()>,
}

impl News {
    /// The newest entry is this one.
    pub(super) fn new(last: i64) -> Self {
        News { last: AtomicI64::new(last), commits: watch::Sender::new(()) }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.commits.subscribe()
    }

    /// This logger has committed something, and the newest entry is this one.
    pub(super) fn committed(&self, last: i64) {
        self.last.fetch_max(last, Ordering::Relaxed);
        self.look();
    }

    /// Whatever there is.
    pub(super) fn look(&self) {
        self.commits.send_replace(());
    }

    /// Somebody has committed; nothing, if readers know of it.
    fn reached(&self, last: i64) {
        if self.last.fetch_max(last, Ordering::Relaxed) < last {
            self.look();
        }
    }

    /// After a failover the newest entry may be an older one.
    fn begins_again_at(&self, last: i64) {
        self.last.store(last, Ordering::Relaxed);
        self.look();
    }
}

/// Ends the thread that listens when it is dropped.
#[derive(Debug)]
pub(super) struct Listening {
    _end: oneshot::Sender<()>,
}

/// Starts a thread that listens.
///
/// # Errors
/// What the system says if it gives no thread.
pub(super) fn start(servers: Arc<Servers>, news: Arc<News>) -> io::Result<Listening> {
    let (end, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("listen".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ended = ended => {}
                never = listen_on(&servers, &news) => match never {},
            }
        });
        // A look-up of a name may still be waiting for an answer.
        runtime.shutdown_background();
    })?;
    Ok(Listening { _end: end })
}

async fn listen_on(servers: &Servers, news: &News) -> std::convert::Infallible {
    let mut again = false;
    loop {
        if let Err(cause) = listen(servers, news, again).await {
            tracing::debug!(%cause, "nothing is heard of commits: readers look for themselves");
        }
        again = true;
        news.look();
        sleep(POLL).await;
    }
}

/// Listens until the connection is lost; `again`, if one was lost before.
async fn listen(servers: &Servers, news: &News, again: bool) -> Result<(), Cause> {
    // The newest is enough: readers look for all that lies before it.
    let (told, mut heard) = watch::channel(0);
    let told = Arc::new(told);
    let tell = move |message: AsyncMessage| {
        // They come in the order of commits, so the latest is the newest. One that tells of deleted entries has no number.
        if let AsyncMessage::Notification(notification) = message
            && let Ok(last) = notification.payload().parse()
        {
            told.send_replace(last);
        }
    };
    let connected = timeout(ANSWER, servers.connect(tell)).await;
    let (client, driver) = connected.map_err(|_| Cause::Silent("to one who listens"))??;
    let _driver = super::session::AbortOnDrop(driver);
    client.batch_execute("SET idle_session_timeout = 0; LISTEN entries").await?;
    // What was committed before the LISTEN is not notified.
    let last = newest(&client).await?;
    if again {
        news.begins_again_at(last)
    } else {
        news.reached(last)
    }
    loop {
        match timeout(LOOK, heard.changed()).await {
            Ok(Ok(())) => news.reached(*heard.borrow_and_update()),
            Ok(Err(_closed)) => return Ok(()),
            Err(_nothing) => news.reached(newest(&client).await?),
        }
    }
}

async fn newest(client: &Client) -> Result<i64, Cause> {
    let asked = timeout(ANSWER, client.query_one("SELECT last FROM counter", &[])).await;
    Ok(asked.map_err(|_| Cause::Silent("to one who listens"))??.try_get(0)?)
}
