//! Who is connected to an HTTP port, and whose turn it is to go when there is no room for another.
//!
//! A connection waits for its client from the moment it is open, or its last answer is ready, until a whole
//! request is there. Whoever lets it wait longest goes first: idle ones, those that send a byte now and then, and
//! those that do not read. A request that is in hand is never dropped.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::Notify;

/// Stands for a time at which nobody waits.
const IN_HAND: u64 = u64::MAX;

/// Who has not let us wait longer than this stays: the next request may be on its way.
const PATIENCE: Duration = Duration::from_millis(10);

/// The clients of one port. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Clients(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    begun: Instant,
    next_key: AtomicU64,
    all: Mutex<HashMap<u64, Arc<State>>>,
}

#[derive(Debug)]
struct State {
    /// In microseconds since the port was opened.
    waits_since: AtomicU64,
    dropped: Notify,
}

/// One of them. It leaves when it is dropped.
#[derive(Debug)]
pub(crate) struct Client {
    key: u64,
    state: Arc<State>,
    clients: Clients,
}

impl Clients {
    pub(crate) fn new() -> Self {
        let all = Mutex::default();
        Clients(Arc::new(Shared { begun: Instant::now(), next_key: AtomicU64::new(0), all }))
    }

    pub(crate) fn enter(&self) -> Client {
        let key = self.0.next_key.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(State { waits_since: AtomicU64::new(self.now()), dropped: Notify::new() });
        self.lock().insert(key, Arc::clone(&state));
        Client { key, state, clients: self.clone() }
    }

    /// Drops the one that lets us wait longest, if any does.
    pub(crate) fn drop_one(&self) {
        let latest = self.now().saturating_sub(PATIENCE.as_micros() as u64);
        let all = self.lock();
        let waiting = all.values().map(|state| (state.waits_since.load(Ordering::Relaxed), state));
        let longest = waiting.filter(|(since, _)| *since <= latest).min_by_key(|(since, _)| *since);
        if let Some((_, state)) = longest {
            // Not chosen again while it goes.
            state.waits_since.store(IN_HAND, Ordering::Relaxed);
            state.dropped.notify_one();
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.begun.elapsed().as_micros()).unwrap_or(IN_HAND - 1)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<State>>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Ends when its turn to go has come.
    pub(crate) async fn dropped(&self) {
        self.state.dropped.notified().await;
    }

    /// An answer is ready: the client is to read it, and may send the next request.
    pub(crate) fn answered(&self) {
        self.state.waits_since.store(self.clients.now(), Ordering::Relaxed);
    }

    /// Notices when the whole body is there.
    pub(crate) fn watch(self: &Arc<Self>, body: Incoming) -> Watched {
        let watched = Watched { body, client: Arc::clone(self) };
        watched.note_end();
        watched
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.clients.lock().remove(&self.key);
    }
}

/// A body that tells when all of it is there.
#[derive(Debug)]
pub(crate) struct Watched {
    body: Incoming,
    client: Arc<Client>,
}

impl Watched {
    fn note_end(&self) {
        if self.body.is_end_stream() {
            self.client.state.waits_since.store(IN_HAND, Ordering::Relaxed);
        }
    }
}

impl Body for Watched {
    type Data = hyper::body::Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(frame) = &frame {
            if frame.is_none() {
                self.client.state.waits_since.store(IN_HAND, Ordering::Relaxed);
            }
            self.note_end();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_dropped(client: &Client) -> bool {
        tokio::time::timeout(Duration::ZERO, client.dropped()).await.is_ok()
    }

    #[tokio::test]
    async fn whoever_lets_us_wait_longest_goes_first_and_what_is_in_hand_never() {
        let clients = Clients::new();
        let [busy, active, idle, young] = std::array::from_fn(|_| clients.enter());
        let since = |client: &Client, us| client.state.waits_since.store(us, Ordering::Relaxed);
        since(&busy, IN_HAND);
        since(&idle, 0);
        since(&active, 1);
        std::thread::sleep(PATIENCE + Duration::from_millis(1));
        young.answered();
        clients.drop_one();
        assert!(is_dropped(&idle).await && !is_dropped(&active).await);
        clients.drop_one();
        assert!(is_dropped(&active).await);
        clients.drop_one();
        assert!(!is_dropped(&busy).await && !is_dropped(&young).await);
        drop((busy, active, idle, young));
        assert!(clients.lock().is_empty());
    }
}
