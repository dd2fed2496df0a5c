//! Services apart from each other, and the queue between them.

use proto::{Direct, Transport};

use super::found;
use crate::{
    claims::{
        Ask, Claim, Figures, Finding, Language, Lecture, Verdict,
        figures::{Side, side},
    },
    stats::{LEAST_NOISE, median},
    workload::{BASE_CALLERS, BASE_PAYLOAD, Subject},
};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: 2,
        topic: ("microservices remove complexity", "микросервисы убирают сложность"),
        quotes: &[(
            Lecture::RpcGrpc,
            "Такой подход устраняет сложности, связанные с монотонными архитектурами",
        )],
        quotes_en: &["microservices remove the complexity of monolithic architectures"],
        asks: &[Ask::Grid, Ask::Queues],
        rule: complexity,
        lab: Some(9),
        look: &["compare faults", "docs/guarantees.md"],
    },
    Claim {
        id: 3,
        topic: (
            "each service is deployed and scaled alone",
            "сервисы развёртываются и масштабируются по отдельности",
        ),
        quotes: &[(Lecture::RpcGrpc, "может быть развёрнут и масштабирован отдельно")],
        quotes_en: &["each microservice can be deployed and scaled on its own"],
        asks: &[Ask::Queues],
        rule: deployed_apart,
        lab: Some(5),
        look: &["docs/operating.md", "tests/e2e/hurts.rs"],
    },
    Claim {
        id: 26,
        topic: ("AMQP sends to a queue", "AMQP отправляет в очередь"),
        quotes: &[(Lecture::WaysToTalk, "данные отправляются в очередь")],
        quotes_en: &["with AMQP the data is sent to a queue"],
        asks: &[Ask::Queues, Ask::Wires],
        rule: to_a_queue,
        lab: Some(4),
        look: &["fourwire explain --transport rabbitmq", "transport/src/rabbitmq/publisher.rs"],
    },
    Claim {
        id: 27,
        topic: ("a listener processes what was queued", "listener обрабатывает всё, что в очереди"),
        quotes: &[(Lecture::WaysToTalk, "а слушатель (listener) обрабатывает эти события")],
        quotes_en: &["and a listener processes these events"],
        asks: &[Ask::Queues],
        rule: listener,
        lab: Some(5),
        look: &["make torture ONLY=listener-killed", "listener/src/intake.rs", "docs/reliability.md"],
    },
];

fn complexity(figures: &Figures, language: Language) -> Option<Finding> {
    let (grid, queues) = (figures.grid.as_ref()?, figures.queues.as_ref()?);
    let echo = grid.row(Subject::Echo, BASE_PAYLOAD, BASE_CALLERS)?;
    let (mut slower, mut rates) = (true, vec![language.rate(median(&echo.per_second))]);
    for transport in Direct::ALL.map(Direct::transport) {
        let row = grid.of(transport, BASE_PAYLOAD, BASE_CALLERS)?;
        slower &= matches!(side(&row.per_second, &echo.per_second, grid.noise), Side::Below(_));
        rates.push(format!("`{transport}` {}", language.rate(median(&row.per_second))));
    }
    let accepted = |transport| queues.accepted_while_down.get(&transport).copied();
    let queued = accepted(Transport::Rabbitmq)?;
    let direct: u64 = Direct::ALL.map(Direct::transport).into_iter().filter_map(accepted).sum();
    let verdict = match (slower, queued > 0, direct) {
        (true, true, 0) => Verdict::Depends,
        (true, false, _) => Verdict::Refuted,
        _ => Verdict::NotShown,
    };
    let (sent, stored) = (queues.sent_while_down, queues.stored_after);
    let (alone, hops) = (&rates[0], rates[1..].join(", "));
    found(
        verdict,
        language,
        format!(
            "It trades one kind for another (“monolithic” is meant). A hop costs: the broker alone answers {alone}, \
             and with a logger behind it {hops}. It adds failures: with the logger killed, the direct transports \
             accepted {direct} of {} entries. It can also contain one: `rabbitmq` accepted {queued} of {sent}, of \
             which {stored} were stored once the logger was back.",
            sent * Direct::ALL.len() as u64
        ),
        format!(
            "Одни сложности меняются на другие (в лекции имелись в виду «монолитные»). Переход по сети стоит: broker \
             сам по себе отвечает {alone}, а с logger за ним — {hops}. Появляются новые отказы: при убитом logger \
             прямые транспорты приняли {direct} записей из {}. Зато отказ можно и локализовать: `rabbitmq` принял \
             {queued} из {sent}, и после возвращения logger сохранено {stored}.",
            sent * Direct::ALL.len() as u64
        ),
    )
}

fn deployed_apart(figures: &Figures, language: Language) -> Option<Finding> {
    /// Twice the processes bring at least so much, if they bring something.
    const SCALES: f64 = 1.5;
    let queues = figures.queues.as_ref()?;
    let (Side::Above(by) | Side::Below(by) | Side::Unclear(Some(by))) =
        side(&queues.two_listeners, &queues.one_listener, LEAST_NOISE)
    else {
        return None;
    };
    let verdict = match (queues.any_order, by.low > SCALES) {
        (false, _) => Verdict::Refuted,
        (true, true) => Verdict::Supported,
        (true, false) => Verdict::HalfTrue,
    };
    let rate = |rates: &[f64]| language.rate(median(rates));
    let (one, two) = (rate(&queues.one_listener), rate(&queues.two_listeners));
    let by = language.ratio(&by);
    let order = if queues.any_order {
        language.pick("all four transports delivered", "доставляли все четыре транспорта")
    } else {
        language.pick("some transport did not deliver", "какой-то транспорт не доставлял")
    };
    found(
        verdict,
        language,
        format!(
            "Deployed, yes: broker and listener were started before the logger, and {order}. Scaled is another matter: \
             with a second listener the throughput is {by} times that of one (medians {one} and {two}): both share the \
             cores, and the one logger that they write to."
        ),
        format!(
            "Развёрнут — да: broker и listener запустили раньше logger, и {order}. С масштабированием сложнее: со вторым \
             listener пропускная способность — {by} от прежней (медианы {one} и {two}): у них общие ядра и единственный \
             logger."
        ),
    )
}

fn to_a_queue(figures: &Figures, language: Language) -> Option<Finding> {
    let (queues, wires) = (figures.queues.as_ref()?, figures.wires.as_ref()?);
    let all = queues.unrouted;
    let to_exchange = wires.published_to.contains("exchange: \"logs_topic\"");
    let verdict = if to_exchange && queues.returned == all && queues.confirmed == all {
        Verdict::Refuted
    } else {
        Verdict::NotShown
    };
    let (to, returned, confirmed) = (&wires.published_to, queues.returned, queues.confirmed);
    found(
        verdict,
        language,
        format!(
            "Not in the detail that matters: `basic.publish` names `{to}` and no queue. Where no queue is bound, the \
             message is in none: of {all} mandatory ones {returned} were returned, of {all} others {confirmed} were \
             confirmed, and are gone."
        ),
        format!(
            "В важной детали — нет: в `basic.publish` указано `{to}`, а очередь не указана. Если к обменнику ничего не \
             привязано, сообщения нет нигде: из {all} с флагом mandatory вернулось {returned}, из {all} без него \
             подтверждено {confirmed} — и все они пропали."
        ),
    )
}

fn listener(figures: &Figures, language: Language) -> Option<Finding> {
    let queues = figures.queues.as_ref()?;
    let ([delivered, handled], [accepted, lost, doubled]) = (queues.auto_ack, queues.listener_killed);
    let gone = delivered - handled - queues.auto_ack_left.min(delivered - handled);
    let kept = queues.manual_ack_left;
    let verdict = match (gone > 0, lost + doubled == 0 && kept == delivered - handled) {
        (true, true) => Verdict::Depends,
        (false, true) => Verdict::Supported,
        (_, false) => Verdict::Refuted,
    };
    let accepted = language.whole(accepted as f64);
    found(
        verdict,
        language,
        format!(
            "On the acknowledgement. A consumer with automatic acknowledgements, as the course's, died after {handled} \
             of {delivered} messages: {gone} are gone. With manual ones RabbitMQ had {kept} back. Our listener, killed \
             under load: of {accepted} accepted entries {lost} were lost and {doubled} stored twice."
        ),
        format!(
            "Зависит от подтверждений. Потребитель с автоматическими подтверждениями, как в курсе, умер, обработав \
             {handled} сообщений из {delivered}: пропало {gone}. При ручных в очередь вернулись {kept}. Наш listener \
             убили под нагрузкой: из {accepted} принятых записей потеряно {lost}, сохранено дважды {doubled}."
        ),
    )
}
