//! Tells who watches: one order, or many on one stream. Every event is read from the table, where it has a position, so
//! each comes once and in order, over restarts too; a watcher that does not read holds back nobody.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use futures_util::{StreamExt, stream::BoxStream};
use service::Shutdown;
use tokio::sync::{Semaphore, broadcast::error::RecvError, mpsc};
use tonic::{Status, Streaming};

use super::{saga::News, table};
use crate::{
    check,
    pb::{OrderEvent, UpdatesRequest, WatchRequest, updates_request::What},
    refusal::Refusal,
    store::Store,
};

/// Most streams at a time.
const STREAMS: usize = 512;

/// Most orders that one stream watches.
const WATCHED: usize = 4_096;

/// Most events that are read at a time, and that are ready for a stream.
const TOGETHER: usize = 16;

pub(super) type EventStream = BoxStream<'static, Result<OrderEvent, Status>>;

type Events = mpsc::Sender<Result<OrderEvent, Status>>;

/// Waits for news about one order, or until some were missed.
pub(super) async fn about(news: &mut News, order_id: &str) {
    loop {
        match news.recv().await {
            Ok(id) if *id == *order_id => return,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            // The saga ends last.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Makes the streams.
#[derive(Debug)]
pub(super) struct Watchers {
    store: Store,
    news: News,
    places: Arc<Semaphore>,
    shutdown: Shutdown,
}

impl Watchers {
    pub(super) fn new(store: Store, news: News, shutdown: Shutdown) -> Self {
        Watchers { store, news, places: Arc::new(Semaphore::new(STREAMS)), shutdown }
    }

    /// The events of one order, until a final one.
    pub(super) fn one(&self, order_id: String, mut after: u64) -> Result<EventStream, Status> {
        let (store, mut news) = (self.store.clone(), self.news.resubscribe());
        self.stream(move |events| async move {
            loop {
                let (some, ended) = read(&store, &order_id, after, TOGETHER).await?;
                let full = some.len() == TOGETHER;
                for event in some {
                    after = event.order_position;
                    send(&events, event).await?;
                }
                if ended {
                    return Ok::<(), Status>(());
                }
                if !full {
                    about(&mut news, &order_id).await;
                }
            }
        })
    }

    /// The events of many orders, as a client adds and drops them and grants credit.
    pub(super) fn many(&self, mut requests: Streaming<UpdatesRequest>) -> Result<EventStream, Status> {
        let (store, mut news) = (self.store.clone(), self.news.resubscribe());
        self.stream(move |events| async move {
            let mut watched = Watched::default();
            loop {
                watched.send_what_may_be(&store, &events).await?;
                tokio::select! {
                    request = requests.message() => match request? {
                        Some(request) => watched.obey(request)?,
                        None => return Ok::<(), Status>(()),
                    },
                    changed = news.recv() => watched.note(changed),
                }
            }
        })
    }

    /// A stream that a task feeds. The task ends with its reader, and with the service.
    fn stream<Feeding>(&self, feed: impl FnOnce(Events) -> Feeding) -> Result<EventStream, Status>
    where
        Feeding: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let full = || Status::from(Refusal::Unavailable("too many streams: retry"));
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| full())?;
        let (events, mut ready) = mpsc::channel(TOGETHER);
        let (feeding, shutdown) = (feed(events.clone()), self.shutdown.clone());
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = feeding => ended,
                () = shutdown.begun() => Err(Status::unavailable("the order service is shutting down: resume")),
                () = events.closed() => Ok(()),
            };
            if let Err(status) = ended {
                // A reader that takes nothing has no use for it.
                let _ = events.try_send(Err(status));
            }
            drop(place);
        });
        Ok(futures_util::stream::poll_fn(move |cx| ready.poll_recv(cx)).boxed())
    }
}

/// What one stream watches.
#[derive(Debug, Default)]
struct Watched {
    /// The last position that was sent of each.
    sent: HashMap<String, u64>,
    /// Those that may have more.
    changed: BTreeSet<String>,
    credit: u64,
}

impl Watched {
    fn obey(&mut self, request: UpdatesRequest) -> Result<(), Status> {
        match request.what {
            Some(What::Watch(WatchRequest { order_id, after })) => {
                let order_id = check::id(&order_id, "order_id")?.to_string();
                if self.sent.len() >= WATCHED && !self.sent.contains_key(&order_id) {
                    let most = format!("one stream watches at most {WATCHED} orders");
                    return Err(Status::resource_exhausted(most));
                }
                self.sent.insert(order_id.clone(), after);
                self.changed.insert(order_id);
            }
            Some(What::Unwatch(order)) => {
                self.sent.remove(&order.order_id);
                self.changed.remove(&order.order_id);
            }
            Some(What::Credit(more)) => self.credit = self.credit.saturating_add(more),
            None => return Err(Refusal::Invalid("`what`: expected watch, unwatch or credit".into()).into()),
        }
        Ok(())
    }

    fn note(&mut self, changed: Result<Arc<str>, RecvError>) {
        match changed {
            Ok(order_id) if self.sent.contains_key(&*order_id) => {
                self.changed.insert(order_id.to_string());
            }
            Ok(_) => {}
            // Each may have: the table knows.
            Err(RecvError::Lagged(_) | RecvError::Closed) => self.changed.extend(self.sent.keys().cloned()),
        }
    }

    async fn send_what_may_be(&mut self, store: &Store, events: &Events) -> Result<(), Status> {
        while self.credit > 0 {
            let Some(order_id) = self.changed.pop_first() else { return Ok(()) };
            let Some(after) = self.sent.get_mut(&order_id) else { continue };
            let most = TOGETHER.min(usize::try_from(self.credit).unwrap_or(usize::MAX));
            let (some, _) = read(store, &order_id, *after, most).await?;
            let full = some.len() == most;
            for event in some {
                (*after, self.credit) = (event.order_position, self.credit - 1);
                let last = event.state().is_final();
                send(events, event).await?;
                if last {
                    self.sent.remove(&order_id);
                    break;
                }
            }
            if full {
                self.changed.insert(order_id);
            }
        }
        Ok(())
    }
}

async fn read(
    store: &Store,
    order_id: &str,
    after: u64,
    most: usize,
) -> Result<(Vec<OrderEvent>, bool), Status> {
    let order_id = order_id.to_owned();
    Ok(store.read(move |connection| table::events(connection, &order_id, after, most)).await?)
}

async fn send(events: &Events, event: OrderEvent) -> Result<(), Status> {
    events.send(Ok(event)).await.map_err(|_| Status::cancelled("the reader has gone"))
}
