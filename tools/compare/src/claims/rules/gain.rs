//! What parallel calls, streams and binary encoding gain.

use proto::{Direct, Transport};

use super::found;
use crate::{
    claims::{
        Ask, Claim, Figures, Finding, Language, Lecture, Verdict,
        figures::{Grid, GridRow, Side, side},
    },
    stats::{LEAST_NOISE, median},
    workload::{BASE_CALLERS, BASE_PAYLOAD},
};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: 5,
        topic: ("streaming makes it fast", "стриминг даёт скорость"),
        quotes: &[(
            Lecture::RpcGrpc,
            "обеспечивают высокую производительность… и поддержке потоковой передачи",
        )],
        quotes_en: &["high performance thanks to support for streaming"],
        asks: &[Ask::Streams],
        rule: streaming,
        lab: Some(7),
        look: &["compare streams", "logger/src/server/grpc/upload.rs"],
    },
    Claim {
        id: 13,
        topic: ("asynchronous calls shorten the wait", "асинхронные вызовы сокращают ожидание"),
        quotes: &[(
            Lecture::RpcGrpc,
            "Асинхронные вызовы уменьшают время, в течение которого пользователь ждёт ответа от сервера",
        )],
        quotes_en: &["asynchronous calls reduce the time that a user waits for the server's answer"],
        asks: &[Ask::Grid],
        rule: waiting,
        lab: Some(10),
        look: &["compare", "course/labs/10-honest-clock/README.md"],
    },
    Claim {
        id: 14,
        topic: ("without gRPC, one order at a time", "без gRPC — по одному заказу за раз"),
        quotes: &[(
            Lecture::RpcGrpc,
            "С обычным подходом… Ты делаешь один заказ и ждёшь, пока его приготовят, прежде чем делать следующий заказ",
        )],
        quotes_en: &[
            "with the usual approach you order once and wait until it is cooked, before you order again",
        ],
        asks: &[Ask::Grid],
        rule: usual_approach,
        lab: Some(3),
        look: &["compare", "transport/src/http.rs"],
    },
    Claim {
        id: 16,
        topic: (
            "client streaming for large amounts of data",
            "клиентский стриминг для больших объёмов данных",
        ),
        quotes: &[(
            Lecture::RpcGrpc,
            "Клиент отправляет множество сообщений на сервер и получает один ответ, что полезно для отправки большого \
             объёма данных",
        )],
        quotes_en: &["client streaming is useful for sending large amounts of data"],
        asks: &[Ask::Streams, Ask::Load],
        rule: large_amounts,
        lab: Some(7),
        look: &["fourwire load entries.ndjson", "compare streams", "cli/src/load/ways/"],
    },
    Claim {
        id: 21,
        topic: ("a binary format makes every request fast", "бинарный формат ускоряет любой запрос"),
        quotes: &[(Lecture::RpcGrpc, "Все запросы обрабатываются быстро, благодаря бинарному формату gRPC")],
        quotes_en: &["all requests are processed quickly thanks to gRPC's binary format"],
        asks: &[Ask::Grid, Ask::Formats],
        rule: because_binary,
        lab: Some(8),
        look: &["make bench", "proto/benches/wire.rs", "docs/performance.md"],
    },
    Claim {
        id: 23,
        topic: ("parallel calls use resources well", "параллельные вызовы экономят ресурсы"),
        quotes: &[(Lecture::RpcGrpc, "Параллельные вызовы помогают эффективно использовать ресурсы")],
        quotes_en: &["parallel calls help to use resources efficiently"],
        asks: &[Ask::Grid],
        rule: resources,
        lab: Some(8),
        look: &["compare", "logger/src/writer.rs"],
    },
];

/// The same transport with one client and with many.
fn one_and_many(grid: &Grid, transport: Transport) -> Option<(&GridRow, &GridRow)> {
    grid.of(transport, BASE_PAYLOAD, 1).zip(grid.of(transport, BASE_PAYLOAD, BASE_CALLERS))
}

fn streaming(figures: &Figures, language: Language) -> Option<Finding> {
    let streams = figures.streams.as_ref()?;
    let (stream, batch) = (
        side(&streams.write_logs, &streams.write_log, LEAST_NOISE),
        side(&streams.write_batch, &streams.write_log, LEAST_NOISE),
    );
    let (Side::Above(stream), Side::Above(batch)) = (stream, batch) else {
        return unclear(stream, language);
    };
    let (stream, batch) = (language.ratio(&stream), language.ratio(&batch));
    let rate = |rates: &[f64]| language.rate(median(rates));
    let (one, many) = (rate(&streams.write_log), rate(&streams.write_logs));
    found(
        Verdict::Supported,
        language,
        format!(
            "One `WriteLogs` stream stores {stream} times the entries of 64 parallel `WriteLog` calls: {many} against \
             {one}. But batches do nearly as much without any stream: `WriteBatch` of 256 has {batch} times."
        ),
        format!(
            "Один поток `WriteLogs` сохраняет в {stream} раза больше записей, чем 64 параллельных вызова `WriteLog`: \
             {many} против {one}. Но почти то же дают пакеты безо всякого стриминга: `WriteBatch` по 256 — в {batch} \
             раза."
        ),
    )
}

/// A ratio that decides nothing.
fn unclear(side: Side, language: Language) -> Option<Finding> {
    let (Side::Above(by) | Side::Below(by) | Side::Unclear(Some(by))) = side else { return None };
    let by = language.ratio(&by);
    found(
        Verdict::NotShown,
        language,
        format!("The ratio of this run is {by}, and that is not clear."),
        format!("Отношение в этом прогоне — {by}, и однозначного вывода из него нет."),
    )
}

fn waiting(figures: &Figures, language: Language) -> Option<Finding> {
    let grid = figures.grid.as_ref()?;
    let (one, many) = one_and_many(grid, Transport::Grpc)?;
    let rate = side(&many.per_second, &one.per_second, grid.noise);
    let Side::Above(_) = rate else { return unclear(rate, language) };
    let verdict = if many.p50_us > one.p50_us { Verdict::HalfTrue } else { Verdict::Supported };
    let (slow, fast) = (language.rate(median(&one.per_second)), language.rate(median(&many.per_second)));
    let (alone, among) = (language.time(one.p50_us as f64), language.time(many.p50_us as f64));
    found(
        verdict,
        language,
        format!(
            "Many requests are done sooner as a whole: over `grpc` {slow} one after the other, {fast} \
             with 64 in parallel. What a single one waits is another matter: p50 {alone} alone, {among} among 64."
        ),
        format!(
            "Все запросы вместе заканчиваются раньше: через `grpc` — {slow} по одному и {fast} по 64 параллельно. \
             Сколько ждёт отдельный запрос — дело другое: p50 {alone} в одиночку и {among} среди 64."
        ),
    )
}

fn usual_approach(figures: &Figures, language: Language) -> Option<Finding> {
    let grid = figures.grid.as_ref()?;
    let (one, many) = one_and_many(grid, Transport::Http)?;
    let rate = side(&many.per_second, &one.per_second, grid.noise);
    let Side::Above(by) = rate else { return unclear(rate, language) };
    let (slow, fast) = (language.rate(median(&one.per_second)), language.rate(median(&many.per_second)));
    let by = language.ratio(&by);
    found(
        Verdict::Refuted,
        language,
        format!(
            "Plain HTTP with JSON takes orders in parallel, too: {slow} with one client, {fast} with 64, {by} times as \
             many. It uses a connection for each request in flight, where gRPC uses one for all."
        ),
        format!(
            "Обычный HTTP с JSON тоже принимает заказы параллельно: {slow} с одним клиентом и {fast} с 64 — в {by} \
             раза больше. Только на каждый одновременный запрос нужно своё соединение, а у gRPC оно одно на всех."
        ),
    )
}

fn large_amounts(figures: &Figures, language: Language) -> Option<Finding> {
    /// A client that kept the file would take ten times as much.
    const SAME_MEMORY: f64 = 1.5;
    let (streams, load) = (figures.streams.as_ref()?, figures.load.as_ref()?);
    let stream = side(&streams.write_logs, &streams.write_log, LEAST_NOISE);
    let Side::Above(_) = stream else { return unclear(stream, language) };
    let grows = load.peak_kib[1] as f64 > SAME_MEMORY * load.peak_kib[0] as f64;
    let verdict = if grows { Verdict::HalfTrue } else { Verdict::Supported };
    let lines = load.entries.map(|entries| language.whole(entries as f64));
    let mib = load.peak_kib.map(|kib| language.decimal(kib as f64 / 1024.0, 1));
    let seconds = language.decimal(load.took_ms[1] as f64 / 1e3, 1);
    found(
        verdict,
        language,
        format!(
            "`fourwire load` sends a file in one stream: {} lines in {seconds} s, and the client's memory peaked at {} \
             MiB for {} lines and {} MiB for {}. Flow control holds it back when the logger is slower. Claim 5 says \
             what a batch does.",
            lines[1], mib[0], lines[0], mib[1], lines[1]
        ),
        format!(
            "`fourwire load` отправляет файл одним потоком: {} строк за {seconds} с, пик памяти клиента — {} МиБ на {} \
             строк и {} МиБ на {}. Если logger медленнее, клиента притормаживает управление потоком. Что даёт пакет — \
             в тезисе 5.",
            lines[1], mib[0], lines[0], mib[1], lines[1]
        ),
    )
}

fn because_binary(figures: &Figures, language: Language) -> Option<Finding> {
    /// Less than this part of a request is not what makes it fast.
    const SMALL: f64 = 0.05;
    let (grid, formats) = (figures.grid.as_ref()?, figures.formats.as_ref()?);
    let request = grid.of(Transport::Grpc, BASE_PAYLOAD, 1)?.p50_us;
    let share = formats.protobuf_ns as f64 / 1e3 / request as f64;
    let verdict = if share < SMALL { Verdict::Refuted } else { Verdict::Depends };
    let [protobuf, json] = [formats.protobuf_ns, formats.json_ns].map(|ns| language.time(ns as f64 / 1e3));
    let (request, sync) = (language.time(request as f64), language.time(grid.sync_us as f64));
    let part = language.decimal(share * 100.0, 1);
    found(
        verdict,
        language,
        format!(
            "Encoding and decoding an entry takes {protobuf} as Protocol Buffers, {part} % of a request of {request} \
             over `grpc`; as JSON it takes {json}. A single fsync takes {sync}: what a request waits for is the disk \
             and the hand-overs between threads and processes."
        ),
        format!(
            "Закодировать и разобрать запись в Protocol Buffers — {protobuf}, это {part} % запроса через `grpc` \
             ({request}); в JSON — {json}. Один fsync — {sync}: запрос ждёт диска и передачи между потоками и \
             процессами, а не формата."
        ),
    )
}

fn resources(figures: &Figures, language: Language) -> Option<Finding> {
    let grid = figures.grid.as_ref()?;
    let (mut saved, mut said) = (Vec::new(), Vec::new());
    for transport in Direct::ALL.map(Direct::transport) {
        let (one, many) = one_and_many(grid, transport)?;
        let cpu = [one, many].map(|row| language.time(median(&row.cpu_us)));
        said.push(format!("`{transport}` {} → {}", cpu[0], cpu[1]));
        saved.push(matches!(side(&many.cpu_us, &one.cpu_us, grid.noise), Side::Below(_)));
    }
    let verdict = match saved.iter().filter(|saved| **saved).count() {
        0 => Verdict::NotShown,
        count if count == saved.len() => Verdict::Supported,
        _ => Verdict::Depends,
    };
    let said = said.join(", ");
    found(
        verdict,
        language,
        format!(
            "CPU time per entry, one client → 64 clients: {said}. One commit and one fsync serve all that wait, and \
             calls share system calls. Neither is gRPC's own."
        ),
        format!(
            "Время CPU на запись, один клиент → 64: {said}. Один коммит и один fsync обслуживают всех ожидающих, а \
             вызовы делят системные вызовы. Ни то ни другое — не особенность gRPC."
        ),
    )
}
