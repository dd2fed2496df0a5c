//! What must hold, computed from the services' tables whenever it is asked for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{extract::State, http::StatusCode, response::Response};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::{App, answer::answer};
use crate::{
    calls::{self, within},
    outbox,
    pb::{
        CheckRequest, FaultReply, GetFaultRequest, checks_client::ChecksClient, faults_client::FaultsClient,
    },
};

/// How long a service may take. One that is down is shown as such.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The figures of one service; `None` if it does not answer.
pub(super) type Figures = Option<BTreeMap<String, i64>>;

/// `GET /api/invariants`: each with the figures that it is about; `holds` is `null` while a service is down.
pub(super) async fn invariants(State(app): State<Arc<App>>) -> Response {
    let figures = app.channels.iter().map(|(_, channel)| figures(channel.clone()));
    let (figures, fourwire, set) = tokio::join!(join_all(figures), fourwire_is_up(&app), faults(&app));
    let [user, product, payment, order]: [Figures; 4] =
        figures.try_into().unwrap_or_else(|_| unreachable!("there are four"));
    let front = app.store.look(outbox::figures).await.ok();
    let front: Figures = front.map(|own| own.map(|(name, value)| (name.to_owned(), value)).into());
    let log = [&user, &product, &payment, &order, &front];
    let log = log.map(|figures| figures.as_ref().map(|own| (own["log_waiting"], own["log_refused"])));
    let answered = log.iter().flatten();
    let (waiting, refused) =
        answered.fold((0, 0), |(one, two), (waiting, refused)| (one + waiting, two + refused));
    let all = log.iter().all(Option::is_some);
    let invariants = json!([
        held("ledger", &payment, &["ledger_sum", "accounts_off"], |own| {
            own["ledger_sum"] == 0 && own["accounts_off"] == 0
        }),
        held("stock", &product, &["imported", "sold", "reserved", "free"], |own| {
            own["sold"] + own["reserved"] + own["free"] == own["imported"] && own["promised"] == own["reserved"]
        }),
        held("late", &order, &["open_late", "open", "orders"], |own| own["open_late"] == 0),
        {
            "name": "log", "figures": { "refused": refused, "waiting": waiting },
            "holds": if refused > 0 { Some(false) } else { all.then_some(true) },
        },
    ]);
    let answers = [&user, &product, &payment, &order].map(Option::is_some);
    let up: BTreeMap<&str, bool> = app.channels.iter().map(|(name, _)| *name).zip(answers).collect();
    let data = json!({
        "invariants": invariants, "services": up, "fourwire": fourwire, "waiting": waiting,
        "faults": app.faults, "faults_set": set,
    });
    answer(StatusCode::OK, "invariants", data)
}

/// Whether Fourwire's broker answers. No order needs it.
async fn fourwire_is_up(app: &App) -> bool {
    let answered = tokio::time::timeout(TIMEOUT, app.broker.get("/readyz")).await;
    answered.is_ok_and(|answered| answered.is_ok_and(|(status, _)| status == StatusCode::OK))
}

/// The fault that each service says is set; `null` for one that does not answer, and nothing where there are no buttons.
async fn faults(app: &App) -> BTreeMap<&'static str, Option<Value>> {
    let channels = app.channels.iter().filter(|_| app.faults);
    let asked = channels.map(async |(name, channel)| (*name, fault(channel.clone()).await));
    join_all(asked).await.into_iter().collect()
}

async fn fault(channel: Channel) -> Option<Value> {
    let mut faults = FaultsClient::new(channel);
    let reply = calls::answer(TIMEOUT, faults.get(within(TIMEOUT, GetFaultRequest {}))).await.ok()?;
    let FaultReply { fault, percent, delay_ms } = reply;
    Some(json!({ "fault": fault, "percent": percent, "delay_ms": delay_ms }))
}

/// The figures of a service.
pub(super) async fn figures(channel: Channel) -> Figures {
    let mut checks = ChecksClient::new(channel);
    let reply = calls::answer(TIMEOUT, checks.check(within(TIMEOUT, CheckRequest {}))).await.ok()?;
    Some(reply.figures.into_iter().map(|figure| (figure.name, figure.value)).collect())
}

fn held(
    name: &str,
    figures: &Figures,
    shown: &[&str],
    holds: impl Fn(&BTreeMap<String, i64>) -> bool,
) -> Value {
    let own =
        figures.as_ref().map(|own| shown.iter().map(|name| (*name, own[*name])).collect::<BTreeMap<_, _>>());
    json!({ "name": name, "figures": own, "holds": figures.as_ref().map(holds) })
}
