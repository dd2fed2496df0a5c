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
    pb::{CheckRequest, checks_client::ChecksClient},
};

/// How long a service may take. One that is down is shown as such.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The figures of one service; `None` if it does not answer.
pub(super) type Figures = Option<BTreeMap<String, i64>>;

/// `GET /api/invariants`: each with the figures that it is about; `holds` is `null` while a service is down.
pub(super) async fn invariants(State(app): State<Arc<App>>) -> Response {
    let figures = app.channels.iter().map(|(_, channel)| figures(channel.clone()));
    let figures = join_all(figures).await;
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
    let data = json!({ "invariants": invariants, "services": up, "faults": app.faults });
    answer(StatusCode::OK, "invariants", data)
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
