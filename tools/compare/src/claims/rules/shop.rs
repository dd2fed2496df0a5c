//! The lecture's shop, at the shop of `course/shop`.

use super::found;
use crate::claims::{Ask, Claim, Figures, Finding, Language, Lecture, Verdict};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: 18,
        topic: ("a look at the account is enough", "перед оплатой достаточно проверить счёт"),
        quotes: &[(Lecture::RpcGrpc, "чтобы проверить, есть ли достаточно средств на счёте пользователя")],
        quotes_en: &[
            "the order service asks the payment service whether there is enough money on the account",
        ],
        asks: &[Ask::Shop],
        rule: enough_money,
        lab: Some(2),
        look: &["course/shop/src/payment/ledger.rs", "course/shop/tests/controls.rs"],
    },
    Claim {
        id: 19,
        topic: (
            "notifying a user takes bidirectional streaming",
            "для уведомлений нужен двунаправленный стриминг",
        ),
        quotes: &[(
            Lecture::RpcGrpc,
            "gRPC может использовать двунаправленный стриминг для уведомления пользователя",
        )],
        quotes_en: &["bidirectional streaming notifies the user"],
        asks: &[Ask::Shop],
        rule: notify,
        lab: Some(7),
        look: &["course/shop/proto/shop.proto", "course/shop/src/order/watch.rs"],
    },
    Claim {
        id: 20,
        topic: ("status updates straight to the front end", "статус заказа сразу во frontend"),
        quotes: &[(
            Lecture::RpcGrpc,
            "Как только статус заказа изменяется… отправляет обновления прямо в Frontend",
        )],
        quotes_en: &[
            "as soon as an order's status changes, the order service sends updates straight to the front end",
        ],
        asks: &[Ask::Shop],
        rule: as_soon_as,
        lab: Some(7),
        look: &["course/shop/src/order/watch.rs", "course/shop/src/front/events.rs"],
    },
];

fn enough_money(figures: &Figures, language: Language) -> Option<Finding> {
    let shop = figures.shop.as_ref()?;
    let (pairs, passed, paid, rejected) = (shop.pairs, shop.passed_the_check, shop.paid, shop.rejected);
    let verdict = match (passed > paid, paid == pairs && rejected == pairs) {
        (true, true) => Verdict::Refuted,
        (false, true) => Verdict::Supported,
        (_, false) => Verdict::NotShown,
    };
    let more = passed.saturating_sub(paid);
    found(
        verdict,
        language,
        format!(
            "Asking is not enough. {pairs} times two orders came at once, with money for one: {passed} of {} looks at \
             the account found enough. The shop sets money aside in the transaction that checks it (`Hold`), so {paid} \
             orders were paid and {rejected} refused. By the check alone {more} more would have been paid with the \
             same money.",
            2 * pairs
        ),
        format!(
            "Одной проверки мало. {pairs} раза приходили сразу два заказа, а денег было на один: из {} проверок счёта \
             денег хватало в {passed}. Магазин резервирует деньги в той же транзакции, что и проверяет (`Hold`), \
             поэтому оплачено {paid} заказа, отклонено {rejected}. По одной проверке теми же деньгами оплатили бы ещё \
             {more}.",
            2 * pairs
        ),
    )
}

fn notify(figures: &Figures, language: Language) -> Option<Finding> {
    let shop = figures.shop.as_ref()?;
    let ([events, alike], [one, both]) = (shop.events, shop.client_bytes);
    let verdict = if events > 0 && events == alike { Verdict::Refuted } else { Verdict::NotShown };
    found(
        verdict,
        language,
        format!(
            "It can, and it is not needed for that. A server stream (`WatchOrder`) told {events} events of an order, \
             and `OrderUpdates` in both directions told {alike} of them alike; after the opening the client sent {one} \
             bytes on the one and {both} on the other. Both directions pay when one stream serves many orders. A \
             browser has no bidirectional streaming over gRPC-Web at all: the shop's page reads server-sent events."
        ),
        format!(
            "Может, но для этого он не нужен. Серверный поток (`WatchOrder`) передал {events} событий заказа, \
             двунаправленный `OrderUpdates` — столько же таких же: {alike}; после открытия клиент отправил {one} байт \
             в первом и {both} во втором. Двунаправленный поток окупается, когда один обслуживает много заказов. В \
             браузере через gRPC-Web его и вовсе нет: страница магазина читает server-sent events."
        ),
    )
}

fn as_soon_as(figures: &Figures, language: Language) -> Option<Finding> {
    /// What a person would call at once, in microseconds.
    const AT_ONCE: u64 = 1_000_000;
    let shop = figures.shop.as_ref()?;
    let [half, most] = shop.event_us;
    let verdict = match (shop.timed, most) {
        (0, _) | (_, 0) => Verdict::NotShown,
        (_, most) if most < AT_ONCE => Verdict::Supported,
        _ => Verdict::Refuted,
    };
    let (half, most) = (language.time(half as f64), language.time(most as f64));
    let events = shop.timed;
    found(
        verdict,
        language,
        format!(
            "From the stamp of a change, just before its commit, to its event at the watcher: p50 {half}, p99 {most} \
             of {events} events, commit included. What the lecture leaves out is what comes after a cut: a watcher \
             resumes by position."
        ),
        format!(
            "От отметки времени изменения, прямо перед коммитом, до события у наблюдателя: p50 {half}, p99 {most} по \
             {events} событиям, вместе с коммитом. О чём лекция молчит — что будет после обрыва: наблюдатель \
             продолжает с позиции."
        ),
    )
}
