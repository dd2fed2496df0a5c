//! What a run says of the system itself, as ratios: less bound to the machine than rates.

use proto::{Direct, Transport};

use super::numbers::{count, micros, runs};
use crate::{
    cell::{Measured, Part},
    record::{Record, Row},
    stats::{median, paired_ratio},
    workload::{BASE_CALLERS, BASE_PAYLOAD, Shape, Subject},
};

/// A ratio of this run: what is meant, and what was measured, if it was.
type Ratio = (String, Option<String>);

/// The ratios that docs/performance.md has goals for: what is meant, and what was measured.
pub(super) fn ratios(record: &Record) -> Vec<(String, String)> {
    let mut found = rates(record);
    found.extend(latencies(record));
    found.extend(batches(record));
    found.extend(memory(record));
    found.into_iter().filter_map(|(what, value)| Some((what, value?))).collect()
}

fn base(record: &Record, subject: Subject) -> Option<&Row> {
    record.grid(subject, BASE_PAYLOAD, BASE_CALLERS)
}

fn rates(record: &Record) -> Vec<Ratio> {
    let echo = base(record, Subject::Echo);
    let rate = Measured::accepted_per_second;
    let by = |of: Option<&Row>, to: &[f64]| {
        let by = paired_ratio(&of?.each(rate), to)?;
        Some(format!("{:.2} ({:.2} to {:.2})", by.middle, by.low, by.high))
    };
    let pair = |of, to: Option<&Row>| by(of, &to?.each(rate));
    let mut found = Vec::new();
    for transport in Direct::ALL.map(Direct::transport) {
        let row = base(record, Subject::Transport(transport));
        found.push((format!("{transport} : baseline, {BASE_CALLERS} clients, requests/s"), pair(row, echo)));
        let nothing =
            record.part(Part::Durability).find(|row| row.cell.subject == Subject::Transport(transport));
        found.push((format!("{transport}, stored and synced : kept nowhere"), pair(row, nothing)));
    }
    let queued = by(base(record, Subject::Transport(Transport::Rabbitmq)), &record.bare);
    found.push(("rabbitmq, to queued : bare publisher".to_owned(), queued));
    let services = |row: &Row| {
        let used = row.cpu_us();
        ["broker", "logger"].iter().filter_map(|name| used.get(*name)).sum::<f64>()
    };
    let cost = base(record, Subject::Transport(Transport::Rpc)).zip(echo).map(|(rpc, echo)| {
        let (rpc, echo) = (services(rpc), services(echo));
        format!("{:.2} ({} : {})", rpc / echo, micros(rpc), micros(echo))
    });
    found.push(("CPU time of broker and logger, rpc : baseline".to_owned(), cost));
    found
}

fn latencies(record: &Record) -> Vec<Ratio> {
    let half = |row: &Row| row.latencies(|measured| &measured.answered).percentile(0.5);
    let alone = |subject| record.grid(subject, BASE_PAYLOAD, 1).and_then(half);
    let lone = (|| {
        let rpc = alone(Subject::Transport(Transport::Rpc))?;
        let (baseline, sync) = (alone(Subject::Echo)?, record.sync.percentile(0.5)?);
        Some(format!("{:.2} ({rpc} µs : {baseline} µs + {sync} µs)", rpc as f64 / (baseline + sync) as f64))
    })();
    let mut found = vec![("one client, rpc : baseline + one fsync, p50".to_owned(), lone)];
    let tail = |row: &Row| {
        let of = |part| row.percentile(|measured| &measured.answered, part).map(|of| of.middle);
        let (half, tail) = (of(0.5)?, of(0.99)?);
        Some(format!("{:.1} ({tail:.0} µs : {half:.0} µs, {})", tail / half, runs(row.repetitions.len())))
    };
    let slowest = record.knees.values().copied().fold(f64::INFINITY, f64::min);
    for (part, whose) in [(Part::Rates, "the slowest"), (Part::Own, "its own")] {
        for (transport, own) in &record.knees {
            let knee = if part == Part::Own { *own } else { slowest };
            let row = record.part(part).find(|row| {
                let half = matches!(row.cell.shape, Shape::Open { rate } if (rate / knee - 0.5).abs() < 0.01);
                half && row.cell.subject == Subject::Transport(*transport)
            });
            found.push((format!("{transport}, p99 : p50 at half of {whose} knee"), row.and_then(tail)));
        }
    }
    found
}

fn batches(record: &Record) -> [Ratio; 4] {
    Transport::ALL.map(|transport| {
        let of = |batch| {
            let subject = Subject::Transport(transport);
            let row = record
                .part(Part::Batches)
                .find(|row| (row.cell.subject, row.cell.batch) == (subject, batch))?;
            Some(median(&row.each(Measured::accepted_per_second)))
        };
        let bulk = of(100)
            .zip(of(1))
            .map(|(many, one)| format!("{:.1} ({}/s : {}/s)", many / one, count(many), count(one)));
        (format!("{transport}, batches of 100 : single entries"), bulk)
    })
}

fn memory(record: &Record) -> [Ratio; 3] {
    ["broker", "logger", "listener"].map(|name| {
        let peaks = Subject::ALL
            .into_iter()
            .filter_map(|subject| base(record, subject))
            .filter_map(|row| row.peak_memory_mib().get(name).copied());
        let peak = peaks.reduce(f64::max).map(|mib| format!("{mib:.0} MiB"));
        (format!("peak memory of the {name}, {BASE_CALLERS} clients"), peak)
    })
}
