//! Those figures of a run that the README quotes, in the form of `docs/results/figures.json`, into which
//! `docs/tables.py --take` puts them.

use proto::{Direct, Transport};
use serde_json::{Map, Value, json};

use super::grid;
use crate::{
    cell::{Measured, Part},
    outage::{Break, Broken},
    record::{Record, Row},
    stats::{Verdict, median},
    workload::{BASE_CALLERS, BASE_PAYLOAD, Ending, Subject},
};

/// What a run has of it: `compare`, and `outage` if the logger was killed.
pub(super) fn figures(record: &Record) -> Value {
    let mut all = Map::new();
    all.insert("compare".to_owned(), compare(record));
    if let Some(broken) = record.faults.iter().find(|broken| broken.what == Break::LoggerKilled) {
        all.insert("outage".to_owned(), outage(record, broken));
    }
    Value::Object(all)
}

fn compare(record: &Record) -> Value {
    let own = &record.circumstances;
    let rates = grid::winners(record).into_iter().map(|cell| {
        let rates = cell.rates.iter().map(|(transport, rate)| (*transport, rate.round() as u64));
        with_place(cell.payload_bytes, cell.callers, rates)
    });
    let winners = grid::winners(record).into_iter().filter_map(|cell| match cell.verdict {
        Verdict::Winner { of, .. } => {
            Some(json!({ "payload_bytes": cell.payload_bytes, "clients": cell.callers, "winner": of }))
        }
        Verdict::Indistinguishable { .. } | Verdict::Alone | Verdict::TooFew => None,
    });
    let base = |transport| record.grid(Subject::Transport(transport), BASE_PAYLOAD, BASE_CALLERS);
    let own_calls =
        |transport| record.part(Part::Calls).find(|row| row.cell.subject == Subject::Transport(transport));
    let mut all = json!({
        "date": own.date.strftime("%Y-%m-%d").to_string(),
        "commit": own.commit,
        "command": format!("compare {}", own.arguments.join(" ")).trim_end(),
        "machine": format!("{} cores ({}), {} MiB, {}", own.cores, own.processor, own.memory_mib, own.kernel),
        "page": format!("{}-compare.md", own.date.strftime("%Y-%m-%d")),
        "stored_per_s": rates.collect::<Vec<Value>>(),
        "winners": winners.collect::<Vec<Value>>(),
        "cpu_us_per_entry": of_each(base, Row::system_us),
        "batches": batches(record),
    });
    if record.part(Part::Calls).next().is_some() {
        all["own_calls"] = json!({
            "requests_per_s": of_each(own_calls, |row| median(&row.each(Measured::accepted_per_second))),
            "coalesced_per_s": of_each(base, |row| median(&row.each(Measured::accepted_per_second))),
            "cpu_us_per_entry": of_each(own_calls, Row::system_us),
        });
    }
    all
}

/// A value of each transport in the cell that the README quotes.
fn of_each<'a>(row: impl Fn(Transport) -> Option<&'a Row>, value: impl Fn(&Row) -> f64) -> Value {
    let each = Transport::ALL
        .into_iter()
        .filter_map(|transport| Some((transport, value(row(transport)?).round() as u64)));
    with_place(BASE_PAYLOAD, BASE_CALLERS, each)
}

fn with_place(payload_bytes: usize, clients: usize, each: impl Iterator<Item = (Transport, u64)>) -> Value {
    let mut all = Map::new();
    all.insert("payload_bytes".to_owned(), payload_bytes.into());
    all.insert("clients".to_owned(), clients.into());
    all.extend(each.map(|(transport, value)| (transport.as_str().to_owned(), value.into())));
    Value::Object(all)
}

/// The largest batches over the direct transports, and single entries by the same clients.
fn batches(record: &Record) -> Value {
    let most = record.plan.batches.iter().copied().max().unwrap_or(1);
    let span = |batch: usize| {
        let rows = record.part(Part::Batches).filter(|row| row.cell.batch == batch);
        let direct = rows.filter(|row| {
            Direct::ALL.iter().any(|direct| row.cell.subject == Subject::Transport(direct.transport()))
        });
        let rates = direct.map(|row| median(&row.each(Measured::stored_per_second)));
        let (low, high) =
            rates.fold((f64::INFINITY, 0.0_f64), |(low, high), rate| (low.min(rate), high.max(rate)));
        // To three digits: they say how much, and not of which transport.
        [low, high].map(|rate| {
            let digits = 10_f64.powf(rate.max(1.0).log10().floor() - 2.0);
            ((rate / digits).round() * digits) as u64
        })
    };
    json!({
        "payload_bytes": BASE_PAYLOAD, "clients": crate::plan::SOME_CALLERS, "entries_per_batch": most,
        "entries_per_s": span(most), "one_by_one_per_s": span(1),
    })
}

fn outage(record: &Record, broken: &Broken) -> Value {
    let refused = broken.by_transport.iter().map(|(transport, suffered)| {
        let refused =
            [Ending::Refused, Ending::Rejected].iter().filter_map(|ending| suffered.endings.get(ending));
        (transport.as_str().to_owned(), refused.sum::<u64>().into())
    });
    let requests = broken.by_transport.values().map(|suffered| suffered.endings.values().sum::<u64>()).max();
    let own = &record.circumstances;
    json!({
        "date": own.date.strftime("%Y-%m-%d").to_string(),
        "commit": own.commit,
        "command": format!("compare {}", own.arguments.join(" ")).trim_end(),
        "page": format!("{}-compare.md", own.date.strftime("%Y-%m-%d")),
        "what": format!("logger killed for {:.0} s", (broken.to - broken.from).as_secs_f64()),
        "requests": requests,
        "refused": refused.collect::<Map<String, Value>>(),
    })
}
