//! Drives each order: reserve, hold, decide, capture. The decision is the order's own commit; before it everything can
//! be given back, after it the order goes forwards only, for as long as it takes.
//!
//! What is unknown, since a deadline passed or a connection broke, is never taken for a no: the same step is made again,
//! with the same key. A no, or ten seconds without certainty, is decided first; only then is given back what may have
//! been taken.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use service::Shutdown;
use spans::{Span, SpanKind};
use tokio::sync::broadcast;
use tokio_util::task::TaskTracker;
use tonic::{Status, transport::Channel};

use super::table::{self, Row};
use crate::{
    calls::{Waits, answer, within},
    faults::{self, Broken},
    money::euro,
    pb::{
        HoldRequest, OrderId, ReserveRequest, State, payments_client::PaymentsClient,
        products_client::ProductsClient,
    },
    refusal::{self, Refusal},
    store::Store,
};

/// How long one step may take before it is made again.
const STEP_TIMEOUT: Duration = Duration::from_millis(500);

/// After so long without certainty an order is cancelled.
const UNCERTAIN_MS: i64 = 10_000;

/// Waits before a step is made again: the first, and the longest before jitter.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Most open orders; another one is refused until some are settled.
const OPEN: usize = 4_096;

/// Most changes that a watcher may be behind before it reads them from the table.
const NEWS: usize = 1_024;

/// The id of an order that has changed.
pub(super) type News = broadcast::Receiver<Arc<str>>;

#[derive(Debug)]
pub(super) struct Saga {
    store: Store,
    products: ProductsClient<Channel>,
    payments: PaymentsClient<Channel>,
    /// The orders that have a task.
    running: Mutex<HashSet<Arc<str>>>,
    tasks: TaskTracker,
    news: broadcast::Sender<Arc<str>>,
    shutdown: Shutdown,
}

/// What a step came to.
enum Outcome {
    Done,
    /// A reason in a word, and for people.
    No(String, String),
    /// It may have been carried out.
    Unknown(Status),
}

impl Saga {
    pub(super) fn new(store: Store, products: Channel, payments: Channel, shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Saga {
            store,
            products: ProductsClient::new(products),
            payments: PaymentsClient::new(payments),
            running: Mutex::default(),
            tasks: TaskTracker::new(),
            news: broadcast::channel(NEWS).0,
            shutdown,
        })
    }

    /// What changes from now on.
    pub(super) fn news(&self) -> News {
        self.news.subscribe()
    }

    /// Goes on with every order that is open; says how many there are.
    pub(super) async fn resume(self: &Arc<Self>) -> Result<usize, Refusal> {
        let open = self.store.read(table::open).await?;
        open.iter().for_each(|order_id| self.start(order_id, false));
        Ok(open.len())
    }

    /// Whether another order can be open.
    pub(super) fn has_place(&self, order_id: &str) -> Result<(), Refusal> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.len() < OPEN || running.contains(order_id) {
            return Ok(());
        }
        Err(Refusal::Unavailable("too many open orders: retry with the same order_id"))
    }

    /// Gives an order its task, if it has none. `fresh`: others may want to know that it is there.
    pub(super) fn start(self: &Arc<Self>, order_id: &str, fresh: bool) {
        let order_id: Arc<str> = order_id.into();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if !running.insert(Arc::clone(&order_id)) {
            return;
        }
        drop(running);
        if fresh {
            self.tell(&order_id);
        }
        let saga = Arc::clone(self);
        let span = Span::within("saga", SpanKind::Internal);
        self.tasks.spawn(async move {
            tokio::select! {
                // What is open goes on after the next start.
                () = saga.shutdown.begun() => {}
                () = span.around(saga.drive(&order_id)) => {}
            }
            saga.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&order_id);
        });
    }

    /// Waits until no task is left.
    pub(super) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn drive(&self, order_id: &Arc<str>) {
        let mut waits = Waits::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let id = order_id.to_string();
            let row = self.store.read(move |connection| table::find(connection, &id)).await;
            let made = match row {
                Ok(Some(row)) if !row.settled => self.step(&row).await,
                Ok(_) => return,
                Err(refusal) => Err(refusal.into()),
            };
            match made {
                Ok(()) => waits = Waits::new(FIRST_WAIT, LONGEST_WAIT),
                Err(status) => {
                    tracing::debug!(%order_id, %status, "a step is made again");
                    tokio::time::sleep(waits.next_wait()).await;
                }
            }
        }
    }

    /// Makes the next step of an order.
    ///
    /// # Errors
    /// If it is unknown whether it was made.
    async fn step(&self, row: &Row) -> Result<(), Status> {
        match row.state {
            State::Placed => self.taken(row, self.reserve(row).await, State::Reserved).await,
            State::Reserved => self.taken(row, self.hold(row).await, State::Held).await,
            State::Held => Ok(self.turn(row, State::Accepted, "", "").await?),
            State::Accepted => {
                self.capture(row).await?;
                Ok(self.turn(row, State::Paid, "", "").await?)
            }
            State::Rejected | State::Cancelled => {
                self.give_back(row).await?;
                let order_id = row.order_id.clone();
                Ok(self.store.write(move |tx| table::settle(tx, &order_id)).await?)
            }
            // No task has anything to do for these.
            State::Unspecified | State::Paid | State::Shipped | State::Delivered => Ok(()),
        }
    }

    /// What follows from a step before the decision.
    async fn taken(&self, row: &Row, outcome: Outcome, next: State) -> Result<(), Status> {
        match outcome {
            Outcome::Done => Ok(self.turn(row, next, "", "").await?),
            Outcome::No(reason, detail) => self.decide(row, State::Rejected, &reason, &detail).await,
            Outcome::Unknown(_) if table::now_ms() - row.placed_ms > UNCERTAIN_MS => {
                self.decide(row, State::Cancelled, "timeout", "").await
            }
            Outcome::Unknown(status) => Err(status),
        }
    }

    /// The decision against an order. What was taken for it is given back by the next step, once this is on the disk.
    async fn decide(&self, row: &Row, state: State, reason: &str, detail: &str) -> Result<(), Status> {
        if faults::is(Broken::DecideLast) {
            self.give_back(row).await?;
        }
        Ok(self.turn(row, state, reason, detail).await?)
    }

    async fn turn(&self, row: &Row, state: State, reason: &str, detail: &str) -> Result<(), Refusal> {
        let (row, reason, detail) = (row.clone(), reason.to_owned(), detail.to_owned());
        let order_id: Arc<str> = row.order_id.as_str().into();
        let stepped = self.store.write(move |tx| table::step(tx, row, state, &reason, &detail));
        if stepped.await? {
            self.tell(&order_id);
        }
        Ok(())
    }

    fn tell(&self, order_id: &Arc<str>) {
        // Without watchers there is nobody to tell.
        let _ = self.news.send(Arc::clone(order_id));
    }

    async fn reserve(&self, row: &Row) -> Outcome {
        let items = row.lines.iter().map(Into::into).collect();
        let request = within(STEP_TIMEOUT, ReserveRequest { order_id: row.order_id.clone(), items });
        let answered = answer(STEP_TIMEOUT, self.products.clone().reserve(request)).await;
        outcome(answered.map(|reserved| (reserved.state == "reserved", reserved.reason, reserved.detail)))
    }

    async fn hold(&self, row: &Row) -> Outcome {
        let (order_id, user_id) = (row.order_id.clone(), row.user_id.clone());
        let request = within(STEP_TIMEOUT, HoldRequest { order_id, user_id, amount: Some(euro(row.total)) });
        let answered = answer(STEP_TIMEOUT, self.payments.clone().hold(request)).await;
        outcome(answered.map(|payment| {
            let held = matches!(payment.state.as_str(), "held" | "captured");
            (held, payment.reason, String::new())
        }))
    }

    async fn capture(&self, row: &Row) -> Result<(), Status> {
        let request = within(STEP_TIMEOUT, OrderId { order_id: row.order_id.clone() });
        let captured = answer(STEP_TIMEOUT, self.payments.clone().capture(request)).await;
        captured.inspect_err(|status| self.complain(row, status)).map(drop)
    }

    async fn give_back(&self, row: &Row) -> Result<(), Status> {
        let order = || within(STEP_TIMEOUT, OrderId { order_id: row.order_id.clone() });
        let (mut payments, mut products) = (self.payments.clone(), self.products.clone());
        let (cancelled, released) = tokio::join!(
            answer(STEP_TIMEOUT, payments.cancel(order())),
            answer(STEP_TIMEOUT, products.release(order())),
        );
        let cancelled = cancelled.inspect_err(|status| self.complain(row, status));
        let released = released.inspect_err(|status| self.complain(row, status));
        cancelled.map(drop).and(released.map(drop))
    }

    /// What must be possible was refused: the order stays open, and shows as late.
    fn complain(&self, row: &Row, status: &Status) {
        if refusal::is_definite(status) {
            tracing::error!(order_id = row.order_id, state = row.state.as_str_name(), %status, "a step is refused that must be possible");
        }
    }

    /// What the courier does: the pieces leave, then the order says so.
    ///
    /// # Errors
    /// If it is not known that they did: the same again.
    pub(super) async fn carry(&self, row: &Row, to: State) -> Result<(), Refusal> {
        if to == State::Shipped {
            let request = within(STEP_TIMEOUT, OrderId { order_id: row.order_id.clone() });
            let shipped = answer(STEP_TIMEOUT, self.products.clone().ship(request)).await;
            shipped.map_err(|status| {
                self.complain(row, &status);
                Refusal::Unavailable("the warehouse does not answer: retry")
            })?;
        }
        self.turn(row, to, "", "").await
    }
}

/// What an answer of a step before the decision says: whether it was done, and if not, why.
fn outcome(answered: Result<(bool, String, String), Status>) -> Outcome {
    match answered {
        Ok((true, ..)) => Outcome::Done,
        Ok((false, reason, detail)) => Outcome::No(reason, detail),
        Err(status) if refusal::is_definite(&status) => {
            Outcome::No(refusal::word(&status).to_owned(), status.message().to_owned())
        }
        Err(status) => Outcome::Unknown(status),
    }
}
