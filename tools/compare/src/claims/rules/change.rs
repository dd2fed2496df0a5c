//! What changes cost, and what types catch.

use std::collections::BTreeMap;

use proto::Transport;

use super::found;
use crate::claims::{Ask, Claim, Figures, Finding, Language, Lecture, Verdict};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: 7,
        topic: ("a service changes without the others", "сервис меняется, не задевая других"),
        quotes: &[(
            Lecture::RpcGrpc,
            "Микросервисы могут развиваться независимо, и изменение одного сервиса не требует изменения других",
        )],
        quotes_en: &["changing one service does not require changing others"],
        asks: &[Ask::Formats],
        rule: one_more_field,
        lab: None,
        look: &["docs/compatibility.md", "proto/src/rpc.rs", "tests/e2e/course.rs"],
    },
    Claim {
        id: 22,
        topic: ("strict types prevent mistakes", "строгая типизация снижает число ошибок"),
        quotes: &[(
            Lecture::RpcGrpc,
            "gRPC обеспечивает строгую типизацию данных, что снижает вероятность ошибок",
        )],
        quotes_en: &["gRPC gives strict typing, which makes errors less likely"],
        asks: &[Ask::Formats, Ask::Calls],
        rule: types,
        lab: Some(2),
        look: &["proto/src/entry.rs", "tests/e2e/bad_input.rs"],
    },
    Claim {
        id: 33,
        topic: ("moving from RPC to gRPC is extra work", "переход с RPC на gRPC — дополнительная работа"),
        quotes: &[(Lecture::WaysToTalk, "это потребует дополнительной работы")],
        quotes_en: &["moving from RPC to gRPC takes additional work"],
        asks: &[Ask::Lines],
        rule: additional_work,
        lab: Some(6),
        look: &["transport/src/rpc.rs", "transport/src/grpc.rs", "transport/src/rabbitmq/"],
    },
];

/// The wires that take it, and those that do not.
fn taken(by: &BTreeMap<String, bool>) -> [Vec<String>; 2] {
    [true, false].map(|wanted| {
        let wires = by.iter().filter(|(_, taken)| **taken == wanted);
        wires.map(|(wire, _)| if wire == "broker" { wire.clone() } else { format!("`{wire}`") }).collect()
    })
}

fn one_more_field(figures: &Figures, language: Language) -> Option<Finding> {
    let formats = figures.formats.as_ref()?;
    let ([old, not_old], [new, not_new]) = (taken(&formats.two_fields), taken(&formats.one_more));
    let verdict = match (old.len() + new.len(), not_old.len() + not_new.len()) {
        (_, 0) => Verdict::Supported,
        (0, _) => Verdict::Refuted,
        _ => Verdict::Depends,
    };
    let list = |wires: &[String]| {
        if wires.is_empty() {
            language.pick("none", "нет таких").to_owned()
        } else {
            language.list(wires)
        }
    };
    let (old, not_old, new, not_new) = (list(&old), list(&not_old), list(&new), list(&not_new));
    found(
        verdict,
        language,
        format!(
            "On the wire and on the reader. An old client with the course's two fields is taken by {old}, refused by \
             {not_old}. An entry with a field that the service does not know is taken by {new}, refused by {not_new}. \
             Protocol Buffers skip what they do not know; tarpc's MessagePack is positional, so it has a version; \
             where our services read JSON they refuse unknown fields on purpose, so that a typing error is noticed."
        ),
        format!(
            "Зависит от протокола и от того, кто читает. Старого клиента с двумя полями из курса принимают: {old}; \
             отклоняют: {not_old}. Запись с полем, которого сервис не знает, принимают: {new}; отклоняют: {not_new}. \
             Protocol Buffers пропускают незнакомое; MessagePack в tarpc позиционный, поэтому у него есть версия; в \
             JSON наши сервисы отклоняют незнакомые поля намеренно, чтобы опечатка не прошла незамеченной."
        ),
    )
}

fn types(figures: &Figures, language: Language) -> Option<Finding> {
    let (formats, calls) = (figures.formats.as_ref()?, figures.calls.as_ref()?);
    let (tried, by_types, by_check) = (formats.mistakes, formats.caught_by_types, formats.caught_by_check);
    let verdict = match (by_types, tried - by_types) {
        (0, _) => Verdict::Refuted,
        (_, 0) => Verdict::Supported,
        _ => Verdict::HalfTrue,
    };
    let doubled = calls.again_new_id;
    found(
        verdict,
        language,
        format!(
            "Of {tried} mistakes in an entry the types of logs.proto caught {by_types}; {by_check} were well-typed and \
             were caught by the check behind them, such as an empty name: proto3 gives \"\" for what is missing. And \
             no type helps against sending twice: {doubled} entries whose answers were lost, sent again with new ids, \
             became {doubled} rows too many."
        ),
        format!(
            "Из {tried} ошибок в записи типы logs.proto поймали {by_types}; ещё {by_check} по типам корректны, и их \
             поймала проверка значений — например, пустое имя: отсутствующее поле в proto3 — это \"\". А от повторной \
             отправки типы не спасают: записи, ответы на которые потерялись, отправили ещё раз с новыми id — лишних \
             строк стало {doubled}."
        ),
    )
}

fn additional_work(figures: &Figures, language: Language) -> Option<Finding> {
    /// So much more is more work.
    const MORE: f64 = 1.5;
    let lines = figures.lines.as_ref()?;
    let of = |transport| lines.client.get(&transport).copied();
    let (rpc, grpc, rabbitmq) = (of(Transport::Rpc)?, of(Transport::Grpc)?, of(Transport::Rabbitmq)?);
    let more = |of: u64| of as f64 > MORE * rpc as f64;
    let verdict = match (more(grpc), more(rabbitmq)) {
        (true, _) => Verdict::Supported,
        (false, true) => Verdict::Depends,
        (false, false) => Verdict::Refuted,
    };
    let (http, proto) = (of(Transport::Http)?, lines.proto);
    found(
        verdict,
        language,
        format!(
            "On what to. Lines of our clients that are neither comments nor tests: `http` {http}, `rpc` {rpc}, `grpc` \
             {grpc} with {proto} of logs.proto for all its calls, `rabbitmq` {rabbitmq}. gRPC is no more work than \
             another direct transport done right; a queue is."
        ),
        format!(
            "Смотря на что переходить. Строк кода наших клиентов без комментариев и тестов: `http` — {http}, `rpc` — \
             {rpc}, `grpc` — {grpc} и {proto} в logs.proto на все вызовы, `rabbitmq` — {rabbitmq}. gRPC не требует \
             больше работы, чем другой прямой транспорт, сделанный как следует; очередь — требует."
        ),
    )
}
