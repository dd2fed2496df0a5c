//! What becomes of an order, as server-sent events. One stream of gRPC, both ways, serves all browsers: the hub adds and
//! drops orders on it, and grants credit for what it can take.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{StreamExt, stream};
use serde_json::json;
use service::Shutdown;
use tokio::{sync::mpsc, task::JoinHandle};
use tonic::{Request, Status, transport::Channel};

use super::{App, answer::Failure};
use crate::{
    calls::{self, Waits, within},
    pb::{
        OrderEvent, OrderId, UpdatesRequest, WatchRequest, orders_client::OrdersClient, updates_request::What,
    },
};

/// Most browsers that follow an order at a time.
pub(super) const FOLLOWERS: usize = 512;

/// How long the order service may take to say what is there.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How often a silent stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// When a browser should resume after its stream has ended.
const RETRY: Duration = Duration::from_millis(500);

/// Events that the order service may send before the hub has granted more, and how many it grants at a time.
const CREDIT: u64 = 256;
const GRANT: u64 = 128;

/// Most requests that wait for the hub, and for the stream.
const ASKED: usize = 256;

/// Most events that a browser may be behind. One that is slower loses its stream, and resumes.
const BEHIND: usize = 16;

/// How often orders that no browser follows any more are dropped.
const SWEEP: Duration = Duration::from_secs(2);

/// Waits before the stream is opened again: the first, and the longest before jitter.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// `GET /api/orders/{id}/events`: each state that the order comes to, after `Last-Event-ID`, until the last one; 204 if
/// there is nothing more, at which a browser's `EventSource` stops.
pub(super) async fn follow(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let last =
        headers.get("last-event-id").and_then(|last| last.to_str().ok()).filter(|last| !last.is_empty());
    let after = match last {
        Some(last) => last.parse().map_err(|_| Failure::bad_field("Last-Event-ID: expected a position"))?,
        None => 0,
    };
    let place = Arc::clone(&app.followers).try_acquire_owned();
    let place = place.map_err(|_| Failure::unavailable("too many followers: retry later"))?;
    let order = within(TIMEOUT, OrderId { order_id: id });
    let order = calls::answer(TIMEOUT, app.orders.clone().get_order(order)).await?;
    let events = if order.state().is_final() {
        // All of it is there: a stream of its own ends by itself.
        let watch = within(TIMEOUT, WatchRequest { order_id: order.order_id, after });
        let mut events = calls::answer(TIMEOUT, app.orders.clone().watch_order(watch)).await?;
        let Some(first) = events.message().await? else {
            return Ok(StatusCode::NO_CONTENT.into_response());
        };
        stream::iter([Ok(first)]).chain(events).boxed()
    } else {
        let mut events = app.hub.follow(order.order_id, after).await?;
        let shutdown = app.shutdown.clone();
        // A browser resumes by itself.
        let until = async move { shutdown.begun().await };
        stream::poll_fn(move |cx| events.poll_recv(cx)).take_until(until).map(Ok::<_, Status>).boxed()
    };
    let events = stream::unfold(Some((events, place)), |following| async {
        let (mut events, place) = following?;
        let event = events.next().await?.ok()?;
        // The place is given back with the last event.
        let following = (!event.state().is_final()).then_some((events, place));
        Some((Ok::<_, Infallible>(told(&event)), following))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn told(event: &OrderEvent) -> Event {
    let data = json!({
        "state": event.state().as_str_name(), "at": event.at, "last": event.state().is_final(),
        "reason": (!event.reason.is_empty()).then_some(&event.reason), "position": event.order_position,
    });
    Event::default().event("state").id(event.order_position.to_string()).retry(RETRY).data(data.to_string())
}

/// Where browsers ask for the events of their orders: each for one, by its id.
#[derive(Debug)]
pub(super) struct Hub(mpsc::Sender<(String, Browser)>);

#[derive(Debug)]
struct Browser {
    /// The last position that it has.
    after: u64,
    events: mpsc::Sender<OrderEvent>,
}

impl Hub {
    /// Opens the stream, and opens it again when it breaks, until `shutdown`.
    pub(super) fn start(orders: OrdersClient<Channel>, shutdown: Shutdown) -> (Self, JoinHandle<()>) {
        let (asked, asks) = mpsc::channel(ASKED);
        let task = tokio::spawn(async move {
            tokio::select! {
                () = shutdown.begun() => {}
                () = run(orders, asks) => {}
            }
        });
        (Hub(asked), task)
    }

    async fn follow(&self, order_id: String, after: u64) -> Result<mpsc::Receiver<OrderEvent>, Failure> {
        let (events, followed) = mpsc::channel(BEHIND);
        let taken = self.0.send_timeout((order_id, Browser { after, events }), TIMEOUT).await;
        taken.map_err(|_| Failure::unavailable("the order service is down: retry"))?;
        Ok(followed)
    }
}

async fn run(orders: OrdersClient<Channel>, mut asks: mpsc::Receiver<(String, Browser)>) {
    let mut followed = Followed::default();
    let mut waits = Waits::new(FIRST_WAIT, LONGEST_WAIT);
    while let Err(status) = serve(orders.clone(), &mut asks, &mut followed, &mut waits).await {
        tracing::debug!(%status, "the stream of updates broke; it is opened again");
        tokio::time::sleep(waits.next_wait()).await;
    }
}

/// Serves browsers by one stream until it breaks; ends well when there is nobody who could ask. Once the stream is
/// open, the waits begin anew.
async fn serve(
    mut orders: OrdersClient<Channel>,
    asks: &mut mpsc::Receiver<(String, Browser)>,
    followed: &mut Followed,
    waits: &mut Waits,
) -> Result<(), Status> {
    let (requests, mut outgoing) = mpsc::channel(ASKED);
    let outgoing = stream::poll_fn(move |cx| outgoing.poll_recv(cx));
    let mut updates = calls::answer(TIMEOUT, orders.order_updates(Request::new(outgoing))).await?;
    *waits = Waits::new(FIRST_WAIT, LONGEST_WAIT);
    let gone = |_| Status::unavailable("the stream takes no more");
    requests.send(credit(CREDIT)).await.map_err(gone)?;
    for watch in followed.watches() {
        requests.send(watch).await.map_err(gone)?;
    }
    let mut taken = 0;
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            update = updates.message() => {
                followed.tell(update?.ok_or_else(|| Status::unavailable("the stream ended"))?);
                taken += 1;
                if taken == GRANT {
                    taken = 0;
                    requests.send(credit(GRANT)).await.map_err(gone)?;
                }
            }
            asked = asks.recv() => {
                let Some((order_id, browser)) = asked else { return Ok(()) };
                requests.send(followed.add(order_id, browser)).await.map_err(gone)?;
            }
            _ = sweep.tick() => {
                for request in followed.sweep() {
                    requests.send(request).await.map_err(gone)?;
                }
            }
        }
    }
}

fn credit(events: u64) -> UpdatesRequest {
    UpdatesRequest { what: Some(What::Credit(events)) }
}

fn watch(order_id: &str, browsers: &[Browser]) -> UpdatesRequest {
    let after = browsers.iter().map(|browser| browser.after).min().unwrap_or_default();
    UpdatesRequest { what: Some(What::Watch(WatchRequest { order_id: order_id.to_owned(), after })) }
}

/// Who follows which order.
#[derive(Debug, Default)]
struct Followed(HashMap<String, Vec<Browser>>);

impl Followed {
    /// Adds a browser; from its position on everything is to come again, and others skip what they have.
    fn add(&mut self, order_id: String, browser: Browser) -> UpdatesRequest {
        let browsers = self.0.entry(order_id.clone()).or_default();
        browsers.push(browser);
        watch(&order_id, browsers)
    }

    fn watches(&self) -> Vec<UpdatesRequest> {
        self.0.iter().map(|(order_id, browsers)| watch(order_id, browsers)).collect()
    }

    fn tell(&mut self, event: OrderEvent) {
        let Some(browsers) = self.0.get_mut(&event.order_id) else { return };
        browsers.retain_mut(|browser| {
            if event.order_position <= browser.after {
                return true;
            }
            browser.after = event.order_position;
            // One that is slow, or gone, holds back nobody: its stream ends.
            browser.events.try_send(event.clone()).is_ok()
        });
        if event.state().is_final() {
            self.0.remove(&event.order_id);
        }
    }

    /// Drops the orders that nobody follows any more.
    fn sweep(&mut self) -> Vec<UpdatesRequest> {
        let mut dropped = Vec::new();
        self.0.retain(|order_id, browsers| {
            browsers.retain(|browser| !browser.events.is_closed());
            if browsers.is_empty() {
                let order = OrderId { order_id: order_id.clone() };
                dropped.push(UpdatesRequest { what: Some(What::Unwatch(order)) });
            }
            !browsers.is_empty()
        });
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::State as OrderState;

    fn event(position: u64, state: OrderState) -> OrderEvent {
        OrderEvent {
            order_id: "o".to_owned(),
            order_position: position,
            state: state.into(),
            ..OrderEvent::default()
        }
    }

    #[tokio::test]
    async fn each_browser_gets_each_event_once_wherever_it_begins() {
        let mut followed = Followed::default();
        let (early, mut early_events) = mpsc::channel(8);
        let (late, mut late_events) = mpsc::channel(8);
        followed.add("o".to_owned(), Browser { after: 0, events: early });
        followed.tell(event(1, OrderState::Placed));
        let request = followed.add("o".to_owned(), Browser { after: 0, events: late });
        assert!(matches!(request.what, Some(What::Watch(WatchRequest { after: 0, .. }))));
        followed.tell(event(1, OrderState::Placed));
        followed.tell(event(2, OrderState::Cancelled));
        drop(followed);
        let mut positions = Vec::new();
        for events in [&mut early_events, &mut late_events] {
            while let Some(event) = events.recv().await {
                positions.push(event.order_position);
            }
        }
        assert_eq!(positions, [1, 2, 1, 2]);
    }
}
