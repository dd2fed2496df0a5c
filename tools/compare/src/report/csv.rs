//! A row for each repetition of each cell.

use std::path::Path;

use anyhow::Context;

use crate::{
    cell::{Cell, Measured},
    measure::GENERATOR,
    record::Record,
    stack::PROCESSES,
    workload::{Ending, Shape},
};

const HEAD: [&str; 24] = [
    "part",
    "subject",
    "promise",
    "store",
    "calls",
    "payload_bytes",
    "batch",
    "loop",
    "callers",
    "rate",
    "repetition",
    "accepted",
    "errors",
    "accepted_per_s",
    "stored_per_s",
    "answered_p50_us",
    "answered_p99_us",
    "answered_p999_us",
    "answered_max_us",
    "stored_p50_us",
    "stored_p99_us",
    "lost",
    "altered",
    "duplicated",
];

pub(super) fn write(record: &Record, path: &Path) -> anyhow::Result<()> {
    let mut csv =
        ::csv::Writer::from_path(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut head = HEAD.map(str::to_owned).to_vec();
    for process in PROCESSES.iter().chain([&GENERATOR]) {
        head.push(format!("{process}_cpu_us_per_entry"));
        head.push(format!("{process}_peak_kib"));
    }
    csv.write_record(head)?;
    for row in &record.rows {
        for (repetition, measured) in row.repetitions.iter().enumerate() {
            csv.write_record(line(&row.cell, repetition, measured))?;
        }
    }
    csv.flush()?;
    Ok(())
}

fn line(cell: &Cell, repetition: usize, measured: &Measured) -> Vec<String> {
    let (kind, callers, rate) = match cell.shape {
        Shape::Closed { callers } => ("closed", callers.to_string(), String::new()),
        Shape::Open { rate } => ("open", String::new(), format!("{rate:.1}")),
    };
    let some = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
    let accepted = measured.endings.get(&Ending::Accepted).copied().unwrap_or_default();
    let mut line = vec![
        format!("{:?}", cell.part).to_lowercase(),
        cell.subject.as_str().to_owned(),
        cell.subject.promise().to_owned(),
        format!("{:?}", cell.store).to_lowercase(),
        format!("{:?}", cell.calls).to_lowercase(),
        cell.payload_bytes.to_string(),
        cell.batch.to_string(),
        kind.to_owned(),
        callers,
        rate,
        repetition.to_string(),
        measured.accepted.to_string(),
        (measured.requests() - accepted).to_string(),
        format!("{:.1}", measured.accepted_per_second()),
        format!("{:.1}", measured.stored_per_second()),
        some(measured.answered.percentile(0.5)),
        some(measured.answered.percentile(0.99)),
        some(measured.answered.percentile(0.999)),
        some(measured.answered.longest()),
        some(measured.stored.percentile(0.5)),
        some(measured.stored.percentile(0.99)),
        measured.kept.lost.to_string(),
        measured.kept.altered.to_string(),
        measured.kept.duplicated.to_string(),
    ];
    for process in PROCESSES.iter().chain([&GENERATOR]) {
        let time = measured.cpu_time.get(*process).copied().unwrap_or_default();
        line.push(format!("{:.2}", time.as_secs_f64() * 1e6 / measured.accepted.max(1) as f64));
        line.push(measured.peak_memory_kib.get(*process).copied().unwrap_or_default().to_string());
    }
    line
}
