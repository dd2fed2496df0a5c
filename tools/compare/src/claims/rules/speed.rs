//! Which transport is faster, and where.

use proto::Transport;

use super::found;
use crate::{
    claims::{
        Ask, Claim, Figures, Finding, Language, Lecture, Verdict,
        figures::{Grid, Side, side},
    },
    stats::median,
    workload::{BASE_CALLERS, BASE_PAYLOAD},
};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: 4,
        topic: ("a binary format makes it fast", "бинарный формат даёт скорость"),
        quotes: &[(
            Lecture::RpcGrpc,
            "обеспечивают высокую производительность и низкую задержку благодаря использованию бинарного формата \
             передачи данных",
        )],
        quotes_en: &["high performance and low latency thanks to a binary format"],
        asks: &[Ask::Grid, Ask::Wires],
        rule: binary,
        lab: Some(1),
        look: &["fourwire explain --transport http", "fourwire explain --transport grpc", "docs/wires.md"],
    },
    Claim {
        id: 8,
        topic: ("gRPC is RPC, only faster and better", "gRPC — тот же RPC, но быстрее и лучше"),
        quotes: &[(Lecture::RpcGrpc, "Она делает то же самое, что и RPC, но делает это быстрее и лучше")],
        quotes_en: &["gRPC does the same as RPC, but does it faster and better"],
        asks: &[Ask::Grid],
        rule: faster_than_rpc,
        lab: Some(10),
        look: &["compare", "transport/src/rpc.rs", "transport/src/grpc.rs"],
    },
    Claim {
        id: 34,
        topic: ("moving to gRPC can make code faster", "переход на gRPC может ускорить код"),
        quotes: &[(Lecture::WaysToTalk, "в некоторых случаях это действительно может ускорить работу кода")],
        quotes_en: &["in some cases the move to gRPC may really make the code faster"],
        asks: &[Ask::Grid, Ask::Calls],
        rule: some_cases,
        lab: Some(3),
        look: &["compare", "tools/compare/src/wire.rs"],
    },
    Claim {
        id: 36,
        topic: ("gRPC is not always faster", "gRPC быстрее не всегда"),
        quotes: &[(
            Lecture::WaysToTalk,
            "было бы неправильно утверждать, что gRPC всегда будет быстрее. Всё зависит от конкретного случая",
        )],
        quotes_en: &["it would be wrong to say that gRPC is always faster; it all depends on the case"],
        asks: &[Ask::Grid],
        rule: not_always,
        lab: Some(10),
        look: &["compare", "docs/comparing.md"],
    },
    Claim {
        id: 37,
        topic: ("gRPC is faster in many situations", "gRPC быстрее во многих ситуациях"),
        quotes: &[(Lecture::WaysToTalk, "во многих ситуациях gRPC действительно позволяет ускорить работу")],
        quotes_en: &["in many situations gRPC really does make things faster"],
        asks: &[Ask::Grid],
        rule: many_situations,
        lab: Some(10),
        look: &["compare", "docs/comparing.md"],
    },
];

/// The places of the grid by who is ahead.
#[derive(Debug, Default)]
struct Places {
    above: Vec<(usize, usize)>,
    below: Vec<(usize, usize)>,
    all: usize,
}

impl Places {
    fn of(grid: &Grid, of: Transport, to: Transport) -> Self {
        let mut places = Places::default();
        for place in grid.places() {
            let pair = grid.of(of, place.0, place.1).zip(grid.of(to, place.0, place.1));
            let Some((of, to)) = pair else { continue };
            places.all += 1;
            match side(&of.per_second, &to.per_second, grid.noise) {
                Side::Above(_) => places.above.push(place),
                Side::Below(_) => places.below.push(place),
                Side::Unclear(_) => {}
            }
        }
        places
    }

    /// Whether something is faster: everywhere, nowhere, or in some cells.
    const fn verdict(&self) -> Verdict {
        match (self.above.len(), self.below.len()) {
            (0, 0) => Verdict::NotShown,
            (0, _) => Verdict::Refuted,
            (above, _) if above == self.all => Verdict::Supported,
            _ => Verdict::Depends,
        }
    }

    /// How many cells, and which.
    fn said(&self, of: &str, to: &str, language: Language) -> String {
        let unclear = self.all - self.above.len() - self.below.len();
        let (above, below) = (named(&self.above, language), named(&self.below, language));
        language.pick(
            format!(
                "{of} is ahead of {to} in {} of {} cells{above}, behind in {}{below}, and level in {unclear}.",
                self.above.len(),
                self.all,
                self.below.len()
            ),
            format!(
                "{of} быстрее {to} в {} из {} ячеек{above}, медленнее в {}{below}, неотличим в {unclear}.",
                self.above.len(),
                self.all,
                self.below.len()
            ),
        )
    }
}

/// The cells, in brackets.
fn named(places: &[(usize, usize)], language: Language) -> String {
    if places.is_empty() {
        return String::new();
    }
    let name = |(payload, clients): &(usize, usize)| {
        let size = language.size(*payload);
        match (clients, language) {
            (1, Language::English) => format!("{size}, 1 client"),
            (1, Language::Russian) => format!("{size}, 1 клиент"),
            (_, Language::English) => format!("{size}, {clients} clients"),
            (_, Language::Russian) => format!("{size}, {clients} клиента"),
        }
    };
    format!(" ({})", places.iter().map(name).collect::<Vec<_>>().join("; "))
}

/// The median rates of some transports in a cell.
fn rates(grid: &Grid, transports: &[Transport], clients: usize, language: Language) -> Option<String> {
    let each = transports.iter().map(|transport| {
        let row = grid.of(*transport, BASE_PAYLOAD, clients)?;
        Some(format!("`{transport}` {}", language.rate(median(&row.per_second))))
    });
    Some(each.collect::<Option<Vec<_>>>()?.join(", "))
}

fn binary(figures: &Figures, language: Language) -> Option<Finding> {
    let (grid, wires) = (figures.grid.as_ref()?, figures.wires.as_ref()?);
    let places = Places::of(grid, Transport::Grpc, Transport::Http);
    let said = places.said("`grpc`", "`http`", language);
    let sent = |transport| Some(language.whole(*wires.sent.get(&transport)? as f64));
    let (grpc, http) = (sent(Transport::Grpc)?, sent(Transport::Http)?);
    let both = [Transport::Http, Transport::Grpc];
    let (one, many) = (rates(grid, &both, 1, language)?, rates(grid, &both, BASE_CALLERS, language)?);
    found(
        places.verdict(),
        language,
        format!(
            "The binary format is smaller: an entry with five letters of text takes {grpc} bytes to the logger over \
             `grpc`, and {http} over `http` as JSON. Speed is another matter: {said} With 64 B: one client {one}; 64 \
             clients {many}."
        ),
        format!(
            "Бинарный формат короче: запись с пятью буквами текста занимает по пути к logger {grpc} байт через `grpc` \
             и {http} через `http` в JSON. Скорость — дело другое: {said} При 64 Б: один клиент — {one}; 64 клиента — \
             {many}."
        ),
    )
}

fn faster_than_rpc(figures: &Figures, language: Language) -> Option<Finding> {
    let grid = figures.grid.as_ref()?;
    let places = Places::of(grid, Transport::Grpc, Transport::Rpc);
    let said = places.said("`grpc`", "`rpc`", language);
    let many = rates(grid, &[Transport::Rpc, Transport::Grpc], BASE_CALLERS, language)?;
    let cpu = |transport| {
        let row = grid.of(transport, BASE_PAYLOAD, BASE_CALLERS)?;
        Some(language.time(median(&row.cpu_us)))
    };
    let (rpc, grpc) = (cpu(Transport::Rpc)?, cpu(Transport::Grpc)?);
    found(
        places.verdict(),
        language,
        format!(
            "{said} With 64 B and 64 clients: {many}; CPU time per entry {rpc} and {grpc}. `rpc` is tarpc here, Rust \
             at both ends. “Better” is not measured: clients in other languages and streams are real advantages."
        ),
        format!(
            "{said} При 64 Б и 64 клиентах: {many}; время CPU на запись — {rpc} и {grpc}. `rpc` здесь — tarpc, Rust с \
             обеих сторон. «Лучше» не измеряется: клиенты на других языках и стриминг — настоящие преимущества."
        ),
    )
}

fn some_cases(figures: &Figures, language: Language) -> Option<Finding> {
    let (grid, calls) = (figures.grid.as_ref()?, figures.calls.as_ref()?);
    let places = Places::of(grid, Transport::Grpc, Transport::Rpc);
    let said = places.said("`grpc`", "`rpc`", language);
    let times = |at: usize| {
        let each = [Transport::Http, Transport::Rpc, Transport::Grpc].into_iter().map(|transport| {
            let times = calls.kept_and_anew_us.get(&transport)?;
            Some(format!("`{transport}` {}", language.time(times[at] as f64)))
        });
        Some(each.collect::<Option<Vec<_>>>()?.join(", "))
    };
    let (kept, anew) = (times(0)?, times(1)?);
    // Some cases are enough.
    let verdict = if places.verdict() == Verdict::Depends { Verdict::Supported } else { places.verdict() };
    found(
        verdict,
        language,
        format!(
            "{said} Dialled anew for each call, as in the course, an entry takes (p50) {anew}; on a kept connection \
             {kept}. Elsewhere: an experiment with Consul in 2019 saved [40 % of \
             CPU](https://github.com/hashicorp/consul/pull/5656), and was not merged."
        ),
        format!(
            "{said} С новым соединением на каждый вызов, как в курсе, запись занимает (p50): {anew}; на постоянном — \
             {kept}. В других системах: эксперимент с Consul в 2019 году сэкономил [40 % \
             CPU](https://github.com/hashicorp/consul/pull/5656), но принят не был."
        ),
    )
}

fn not_always(figures: &Figures, language: Language) -> Option<Finding> {
    let places = Places::of(figures.grid.as_ref()?, Transport::Grpc, Transport::Rpc);
    let said = places.said("`grpc`", "`rpc`", language);
    let verdict = match (places.above.len() == places.all, places.below.is_empty()) {
        (true, _) => Verdict::Refuted,
        (false, false) => Verdict::Supported,
        (false, true) => Verdict::NotShown,
    };
    found(verdict, language, said.clone(), said)
}

fn many_situations(figures: &Figures, language: Language) -> Option<Finding> {
    let grid = figures.grid.as_ref()?;
    let over = |to| Places::of(grid, Transport::Grpc, to);
    let (rpc, http) = (over(Transport::Rpc), over(Transport::Http));
    // Many are half of them.
    let verdict = if rpc.above.len() * 2 >= rpc.all { Verdict::Supported } else { rpc.verdict() };
    let said = [rpc.said("`grpc`", "`rpc`", language), http.said("`grpc`", "`http`", language)].join(" ");
    found(
        verdict,
        language,
        format!(
            "{said} That is so for log entries of 64 B to 128 KiB over loopback; a network that loses packets was not \
             tried."
        ),
        format!(
            "{said} Это о записях лога от 64 Б до 128 КиБ через loopback; сеть с потерями не проверялась."
        ),
    )
}
