//! What passes on the wires.

use super::found;
use crate::claims::{Ask, Claim, Figures, Finding, Language, Lecture, Verdict};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: 9,
        topic: ("gRPC compresses data", "gRPC сжимает данные"),
        quotes: &[(Lecture::RpcGrpc, "Использует быстрые протоколы и сжатие данных")],
        quotes_en: &["gRPC uses fast protocols and data compression"],
        asks: &[Ask::Wires],
        rule: compression,
        lab: Some(6),
        look: &["fourwire explain --transport grpc", "docs/wires.md"],
    },
    Claim {
        id: 11,
        topic: ("a stream goes both ways at once", "поток идёт в обе стороны одновременно"),
        quotes: &[(Lecture::RpcGrpc, "позволяет передавать данные в обе стороны одновременно")],
        quotes_en: &["streaming lets data go in both directions at the same time"],
        asks: &[Ask::Wires],
        rule: both_directions,
        lab: Some(7),
        look: &["fourwire explain --transport grpc --call sync-logs --entries 4", "logger/src/server/grpc/"],
    },
    Claim {
        id: 15,
        topic: ("three kinds of streaming", "три вида стриминга"),
        quotes: &[(
            Lecture::RpcGrpc,
            "Клиент отправляет один запрос и получает поток ответов… отправляет множество сообщений на сервер и \
             получает один ответ… могут отправлять данные друг другу одновременно",
        )],
        quotes_en: &["the three kinds of streaming: server, client, both"],
        asks: &[Ask::Wires],
        rule: kinds_of_streams,
        lab: Some(7),
        look: &[
            "fourwire explain --transport grpc --call tail-logs",
            "fourwire explain --transport grpc --call write-logs",
            "proto/proto/logs.proto",
        ],
    },
    Claim {
        id: 24,
        topic: ("JSON over HTTP POST", "JSON через HTTP POST"),
        quotes: &[(
            Lecture::WaysToTalk,
            "отправка JSON-запросов через HTTP POST… отправляет ответ в виде JSON",
        )],
        quotes_en: &["JSON requests over HTTP POST, answered with JSON"],
        asks: &[Ask::Wires],
        rule: json_over_http,
        lab: Some(1),
        look: &["fourwire explain --transport http", "proto/src/json.rs"],
    },
];

fn compression(figures: &Figures, language: Language) -> Option<Finding> {
    let wires = figures.wires.as_ref()?;
    let ([compressed, messages], [text, sent]) = (wires.compressed, wires.large);
    let verdict = if compressed == 0 && wires.encodings == 0 && sent >= text {
        Verdict::Refuted
    } else {
        Verdict::Supported
    };
    let (text, sent) = (language.whole(text as f64), language.whole(sent as f64));
    found(
        verdict,
        language,
        format!(
            "Not by itself. A text of {text} times the same letter took {sent} bytes to the logger; {compressed} of \
             {messages} messages had the flag of a compressed one, and {} header said `grpc-encoding`. gRPC can \
             compress, if both ends ask for it. What it always packs is headers (HPACK).",
            if wires.encodings == 0 { "no".to_owned() } else { wires.encodings.to_string() }
        ),
        format!(
            "Само по себе — нет. Текст из {text} одинаковых букв занял по пути к logger {sent} байт; флаг сжатия был у \
             {compressed} сообщений из {messages}, заголовков `grpc-encoding` — {}. gRPC умеет сжимать, если это \
             включить с обеих сторон. Всегда упаковываются только заголовки (HPACK).",
            wires.encodings
        ),
    )
}

fn both_directions(figures: &Figures, language: Language) -> Option<Finding> {
    let [before, entries] = figures.wires.as_ref()?.acknowledged_before_the_last;
    let verdict = if before > 0 { Verdict::Supported } else { Verdict::Refuted };
    found(
        verdict,
        language,
        format!(
            "On one `SyncLogs` stream {before} acknowledgements came back before the last of {entries} entries was \
             sent. What the lecture leaves out: flow control in each direction, and where to resume after a cut."
        ),
        format!(
            "В одном потоке `SyncLogs` вернулось подтверждений: {before} — ещё до отправки последней из {entries} \
             записей. О чём лекция молчит: управление потоком в каждую сторону и с какого места продолжать после \
             обрыва."
        ),
    )
}

fn kinds_of_streams(figures: &Figures, language: Language) -> Option<Finding> {
    let wires = figures.wires.as_ref()?;
    let of = |call: &str| wires.messages.get(call).copied();
    let (client, both, server) = (of("write-logs")?, of("sync-logs")?, of("tail-logs")?);
    let is_so =
        client[0] > 1 && client[1] == 1 && both[0] > 1 && both[1] > 1 && server[0] == 1 && server[1] > 1;
    let verdict = if is_so { Verdict::Supported } else { Verdict::Refuted };
    let said = [("TailLogs", server), ("WriteLogs", client), ("SyncLogs", both)]
        .map(|(call, [to, from])| format!("`{call}` {to} → {from}"))
        .join(", ");
    found(
        verdict,
        language,
        format!("Messages to the logger → messages back, counted on the wire for four entries: {said}."),
        format!("Сообщений к logger → сообщений обратно, по записи трафика для четырёх записей: {said}."),
    )
}

fn json_over_http(figures: &Figures, language: Language) -> Option<Finding> {
    let types = &figures.wires.as_ref()?.http_content_types;
    let is_json = types.len() == 2 && types.iter().all(|kind| kind.starts_with("application/json"));
    let verdict = if is_json { Verdict::Supported } else { Verdict::Refuted };
    let said = types.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>();
    let said = language.list(&said);
    found(
        verdict,
        language,
        format!(
            "The request is a POST, and the content types of request and response are {said}. What the lecture leaves \
             out is what the answer promises: stored, queued, or nothing certain."
        ),
        format!(
            "Запрос — POST, типы содержимого запроса и ответа — {said}. О чём лекция молчит: что обещает ответ — \
             «сохранено», «в очереди» или ничего определённого."
        ),
    )
}
