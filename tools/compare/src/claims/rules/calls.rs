//! What a remote call is, and what clients in other languages can do.

use proto::Transport;

use super::found;
use crate::claims::{Ask, Claim, Figures, Finding, Language, Lecture, Verdict};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: 1,
        topic: ("a remote call is like a local one", "удалённый вызов — как локальный"),
        quotes: &[(
            Lecture::RpcGrpc,
            "позволяет программе вызывать функции, находящиеся на других компьютерах в сети, как если бы они были \
             локальными",
        )],
        quotes_en: &["a program calls functions on other computers as if they were local"],
        asks: &[Ask::Calls],
        rule: as_if_local,
        lab: Some(3),
        look: &["transport/src/rpc.rs", "docs/guarantees.md"],
    },
    Claim {
        id: 6,
        topic: ("RPC between languages", "RPC между разными языками"),
        quotes: &[
            (
                Lecture::RpcGrpc,
                "RPC позволяет сервисам, написанным на разных языках программирования, взаимодействовать друг с другом",
            ),
            (
                Lecture::WaysToTalk,
                "для использования RPC как клиент, так и сервер должны быть написаны на языке Go",
            ),
        ],
        quotes_en: &[
            "RPC lets services in different languages talk to each other",
            "to use RPC, both client and server must be written in Go",
        ],
        asks: &[Ask::Calls],
        rule: only_go,
        lab: Some(3),
        look: &["transport/src/netrpc.rs", "proto/src/netrpc/gob.rs"],
    },
    Claim {
        id: 10,
        topic: ("gRPC has many languages", "gRPC есть для многих языков"),
        quotes: &[(Lecture::RpcGrpc, "Поддерживает множество языков программирования")],
        quotes_en: &["gRPC supports many programming languages"],
        asks: &[Ask::Languages],
        rule: many_languages,
        lab: Some(6),
        look: &["tests/python/calls.py", "proto/proto/logs.proto"],
    },
    Claim {
        id: 12,
        topic: ("parallel calls in gRPC", "параллельные вызовы в gRPC"),
        quotes: &[(
            Lecture::RpcGrpc,
            "gRPC поддерживает параллельные вызовы, что позволяет выполнять несколько запросов одновременно",
        )],
        quotes_en: &["gRPC supports parallel calls, so that several requests run at the same time"],
        asks: &[Ask::Calls],
        rule: parallel_calls,
        lab: Some(3),
        look: &["transport/src/grpc.rs", "transport/src/rpc.rs", "transport/src/http.rs"],
    },
    Claim {
        id: 30,
        topic: (
            "unlike RPC, gRPC does not need one language",
            "gRPC, в отличие от RPC, не требует одного языка",
        ),
        quotes: &[(
            Lecture::WaysToTalk,
            "Ключевое различие между gRPC и классическим RPC заключается в том, что для gRPC нет необходимости, чтобы \
             обе стороны (клиент и сервер) были написаны на одном языке",
        )],
        quotes_en: &["the key difference from classic RPC: both ends need not be written in one language"],
        asks: &[Ask::Languages, Ask::Calls],
        rule: key_difference,
        lab: Some(1),
        look: &["course/labs/01-four-wires/solution/python/main.py", "examples/"],
    },
    Claim {
        id: 32,
        topic: ("another language is easy with .proto files", "с proto-файлами другой язык — это просто"),
        quotes: &[(
            Lecture::WaysToTalk,
            "gRPC предоставляет возможность писать одну из сторон на любом другом языке, и это реализуется довольно \
             просто с помощью proto-файлов",
        )],
        quotes_en: &["one end can be written in any other language, quite simply, with .proto files"],
        asks: &[Ask::Languages],
        rule: from_the_proto,
        lab: Some(6),
        look: &["tests/python/calls.py", "course/labs/06-from-the-proto/README.md"],
    },
];

fn as_if_local(figures: &Figures, language: Language) -> Option<Finding> {
    /// What is a hundred times slower is written in another way.
    const FAR: u64 = 100;
    let calls = figures.calls.as_ref()?;
    let times = calls.remote_us * 1_000 / calls.local_ns.max(1);
    let third_outcome = calls.unknown > 0 && calls.unknown == calls.unanswered;
    let verdict = if times > FAR || third_outcome { Verdict::Refuted } else { Verdict::Supported };
    let (local, remote) = (language.time(calls.local_ns as f64 / 1e3), language.time(calls.remote_us as f64));
    let times = language.whole(times as f64);
    found(
        verdict,
        language,
        format!(
            "In syntax only. A call in the process takes {local}, an empty call over `rpc` on loopback {remote}, \
             {times} times as long. And it has a third outcome: with the answers swallowed, {} of {} calls ended as \
             “unknown”, and {} of these entries were stored. Sent again with the same id they added {} rows, with a \
             new id {}.",
            calls.unknown,
            calls.unanswered,
            calls.unknown_but_stored,
            calls.again_same_id,
            calls.again_new_id
        ),
        format!(
            "Только по синтаксису. Вызов внутри процесса — {local}, пустой вызов через `rpc` на loopback — {remote}, \
             это {times} к 1. И у него есть третий исход: когда ответы терялись, «неизвестно» вернули {} вызовов из \
             {}, а записей из них сохранилось {}. Повтор с тем же id добавил строк: {}, с новым id — {}.",
            calls.unknown,
            calls.unanswered,
            calls.unknown_but_stored,
            calls.again_same_id,
            calls.again_new_id
        ),
    )
}

fn only_go(figures: &Figures, language: Language) -> Option<Finding> {
    let [sent, stored] = figures.calls.as_ref()?.netrpc;
    let verdict = if stored == sent { Verdict::HalfTrue } else { Verdict::NotShown };
    found(
        verdict,
        language,
        format!(
            "The lectures contradict each other, and each is half right. Go's net/rpc is bound to Go by its encoding, \
             gob, for which nobody generates code in other languages. But gob can be written: a client and a logger in \
             Rust spoke net/rpc with each other, {stored} of {sent} entries stored."
        ),
        format!(
            "Лекции противоречат друг другу, и каждая права наполовину. net/rpc привязан к Go кодировкой gob: код для \
             неё на других языках никто не генерирует. Но написать его можно: клиент и logger на Rust общались друг с \
             другом по net/rpc, сохранено {stored} записей из {sent}."
        ),
    )
}

/// Whether all of what was tried went well.
const fn all(counted: [u64; 2]) -> bool {
    counted[0] > 0 && counted[0] == counted[1]
}

fn many_languages(figures: &Figures, language: Language) -> Option<Finding> {
    let languages = figures.languages.as_ref()?;
    let verdict = if all(languages.grpc) { Verdict::Supported } else { Verdict::Refuted };
    let ([calls, went], python) = (languages.grpc, &languages.python);
    found(
        verdict,
        language,
        format!(
            "A client in {python} with nothing but `logs.proto` made {went} of the {calls} calls of a logger in Rust."
        ),
        format!(
            "Клиент на {python}, у которого есть только `logs.proto`, выполнил {went} вызовов из {calls} у logger на \
             Rust."
        ),
    )
}

fn parallel_calls(figures: &Figures, language: Language) -> Option<Finding> {
    /// In turn they would take as much longer as there are calls.
    const PARALLEL: u64 = 4;
    let parallel = &figures.calls.as_ref()?.parallel;
    let is_so = |transport: Transport| {
        let seen = parallel.get(&transport)?;
        Some(seen.accepted == seen.calls && seen.all_ms * PARALLEL < seen.one_ms * seen.calls)
    };
    let others = [Transport::Http, Transport::Rpc, Transport::Rabbitmq];
    let others = others.into_iter().map(is_so).collect::<Option<Vec<bool>>>()?;
    let verdict = match (is_so(Transport::Grpc)?, others.contains(&true)) {
        (false, _) => Verdict::Refuted,
        (true, true) => Verdict::HalfTrue,
        (true, false) => Verdict::Supported,
    };
    let said = parallel.iter().map(|(transport, seen)| {
        let connections = seen.connections;
        language.pick(
            format!("`{transport}` {} ms, connections: {connections}", seen.all_ms),
            format!("`{transport}` — {} мс, соединений: {connections}", seen.all_ms),
        )
    });
    let said = said.collect::<Vec<_>>().join("; ");
    let one = parallel.get(&Transport::Grpc)?;
    let (calls, alone) = (one.calls, one.one_ms);
    found(
        verdict,
        language,
        format!(
            "Over a hop with 20 ms of latency each way, where one call over `grpc` takes {alone} ms, {calls} calls at \
             a time took: {said}. In turn it would be {calls} times one call. Parallel calls are no privilege of gRPC; \
             what differs is the number of connections."
        ),
        format!(
            "При задержке 20 мс в каждую сторону, когда один вызов через `grpc` занимает {alone} мс, {calls} \
             одновременных вызова заняли: {said}. По очереди вышло бы в {calls} раза больше, чем один вызов. \
             Параллельность — не привилегия gRPC; разница — в числе соединений."
        ),
    )
}

fn key_difference(figures: &Figures, language: Language) -> Option<Finding> {
    let (languages, calls) = (figures.languages.as_ref()?, figures.calls.as_ref()?);
    let verdict = match (all(languages.grpc), all(languages.http) || all(languages.amqp)) {
        (true, true) => Verdict::HalfTrue,
        (true, false) => Verdict::Supported,
        (false, _) => Verdict::Refuted,
    };
    let ([http_sent, http], [amqp_sent, amqp]) = (languages.http, languages.amqp);
    let netrpc = calls.netrpc[1];
    found(
        verdict,
        language,
        format!(
            "True of gRPC, and no difference from the others: from Python {http} of {http_sent} entries were stored as \
             JSON over HTTP and {amqp} of {amqp_sent} over AMQP, both against services in Rust. Of the course's ways \
             only net/rpc ties both ends to one encoding, and even that was spoken from Rust ({netrpc} entries)."
        ),
        format!(
            "О gRPC это верно, но от остальных это его не отличает: из Python сохранено {http} записей из {http_sent} \
             в JSON по HTTP и {amqp} из {amqp_sent} по AMQP — и там и там сервисы на Rust. Из способов курса только \
             net/rpc привязывает обе стороны к одной кодировке, да и на нём удалось говорить из Rust (записей: \
             {netrpc})."
        ),
    )
}

fn from_the_proto(figures: &Figures, language: Language) -> Option<Finding> {
    let languages = figures.languages.as_ref()?;
    let verdict = if all(languages.grpc) { Verdict::Supported } else { Verdict::Refuted };
    let [calls, went] = languages.grpc;
    found(
        verdict,
        language,
        format!(
            "{went} of {calls} calls, unary and all kinds of streams, by code that protoc generated from one file. \
             What the .proto does not say: deadlines, which statuses are certain, and what an absent field means. Lab \
             6 asks for that."
        ),
        format!(
            "{went} вызовов из {calls} — унарные и все виды потоков — кодом, который protoc сгенерировал по одному \
             файлу. Чего в .proto нет: дедлайнов, какие статусы что гарантируют и что значит отсутствующее поле. Об \
             этом задание 6."
        ),
    )
}
