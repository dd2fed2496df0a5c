//! Which pictures a run has.

use maud::Markup;
use proto::Transport;

use super::{
    numbers::{count, duration, micros},
    plot::{Axis, Bar, Bars, Lines, Point, Scale, Series, Ticks},
};
use crate::{
    cell::{Measured, Part},
    record::Record,
    stack::PROCESSES,
    stats::median,
    workload::{BASE_CALLERS, BASE_PAYLOAD, Shape, Subject},
};

/// The answer as a picture: p99 to stored by rate.
pub(super) fn to_stored_by_rate(record: &Record) -> Option<Markup> {
    let series = Transport::ALL.into_iter().filter_map(|transport| {
        let subject = Subject::Transport(transport);
        let rows = record.part(Part::Rates).chain(record.part(Part::Own));
        let points = rows.filter(|row| row.cell.subject == subject).filter_map(|row| {
            let Shape::Open { rate } = row.cell.shape else { return None };
            let p99 = row.percentile(|measured| &measured.stored, 0.99)?;
            let range = (row.repetitions.len() > 1).then_some((p99.low, p99.high));
            Some(Point { x: rate, y: p99.middle, range })
        });
        let mut points: Vec<Point> = points.collect();
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        (!points.is_empty()).then_some(Series { subject, points })
    });
    let series: Vec<Series> = series.collect();
    let runs = record.plan.open_repetitions;
    let about = match runs {
        1 => "99 of 100 entries take no longer. Each point is one run: a single pause of the machine can be all of it."
            .to_owned(),
        _ => format!(
            "99 of 100 entries take no longer. Each point is the median of {runs} runs, each thin line from the lowest \
             to the highest."
        ),
    };
    let lines = Lines {
        title: "Time to stored by rate, p99",
        about: &about,
        x: Axis { label: "requests/s", scale: Scale::Logarithmic, ticks: Ticks::Round(&count) },
        y: Axis { label: "p99 to stored", scale: Scale::Logarithmic, ticks: Ticks::Round(&duration) },
        series,
        broken: None,
    };
    (!lines.series.is_empty()).then(|| lines.draw())
}

/// Throughput by concurrency.
pub(super) fn throughput(record: &Record) -> Markup {
    let mut clients: Vec<usize> = record.plan.callers.clone();
    clients.sort_unstable();
    let series = Subject::ALL.into_iter().map(|subject| {
        let point = |callers: &usize| {
            let row = record.grid(subject, BASE_PAYLOAD, *callers)?;
            Some(Point::from((*callers as f64, median(&row.each(Measured::stored_per_second)))))
        };
        Series { subject, points: clients.iter().filter_map(point).collect() }
    });
    let clients = clients.iter().map(|callers| (*callers as f64, callers.to_string())).collect();
    let lines = Lines {
        title: "Throughput by clients",
        about: "Entries of 64 B per second, closed loop: stored; echo, the baseline: answered.",
        x: Axis { label: "clients", scale: Scale::Logarithmic, ticks: Ticks::At(clients) },
        y: Axis { label: "entries/s", scale: Scale::Logarithmic, ticks: Ticks::Round(&count) },
        series: series.filter(|series| !series.points.is_empty()).collect(),
        broken: None,
    };
    lines.draw()
}

/// The whole distribution of the time to stored at the peak.
pub(super) fn to_stored_at_peak(record: &Record) -> Markup {
    // How many times rarer than all: 2 is p50, 100 is p99; drawn by 1 / (1 - part).
    const PARTS: [(f64, &str); 5] =
        [(1.0, "0 %"), (2.0, "50 %"), (10.0, "90 %"), (100.0, "99 %"), (1_000.0, "99.9 %")];
    let series = Transport::ALL.into_iter().filter_map(|transport| {
        let subject = Subject::Transport(transport);
        let row = record.grid(subject, BASE_PAYLOAD, BASE_CALLERS)?;
        let curve = row.latencies(|measured| &measured.stored).curve();
        let points = curve.into_iter().filter(|(part, _)| *part <= 0.9991 && *part > 0.0);
        let points = points.map(|(part, micros)| Point::from((1.0 / (1.0 - part), micros as f64)));
        Some(Series { subject, points: points.collect() })
    });
    let lines = Lines {
        title: "Time to stored at the peak",
        about: "64 clients as fast as they are answered, 64 B: how many of the entries took no longer.",
        x: Axis {
            label: "of the entries",
            scale: Scale::Logarithmic,
            ticks: Ticks::At(PARTS.iter().map(|(at, name)| (*at, (*name).to_owned())).collect()),
        },
        y: Axis { label: "time to stored", scale: Scale::Logarithmic, ticks: Ticks::Round(&duration) },
        series: series.collect(),
        broken: None,
    };
    lines.draw()
}

/// CPU time per entry, by process.
pub(super) fn cpu_time(record: &Record) -> Markup {
    let bars = Subject::ALL.into_iter().filter_map(|subject| {
        let cpu = record.grid(subject, BASE_PAYLOAD, BASE_CALLERS)?.cpu_us();
        let parts = PROCESSES.iter().map(|name| cpu.get(*name).copied().unwrap_or_default()).collect();
        Some(Bar { subject, parts })
    });
    let bars = Bars {
        title: "CPU time per entry",
        about: "64 B, 64 clients; of the system, without the load generator.",
        parts: &PROCESSES,
        bars: bars.collect(),
        number: &micros,
        reference: None,
    };
    bars.draw()
}

/// Bytes per entry, by hop.
pub(super) fn bytes_per_entry(record: &Record) -> Option<Markup> {
    const HOPS: [&str; 4] =
        ["broker to logger", "listener to logger", "listener to RabbitMQ", "broker to RabbitMQ"];
    let bars = record.wire.iter().filter(|wire| wire.payload_bytes == BASE_PAYLOAD).map(|wire| {
        let both = |name: &&str| wire.hops.get(*name).map_or(0.0, |hop| hop.out + hop.back);
        Bar { subject: Subject::Transport(wire.transport), parts: HOPS.iter().map(both).collect() }
    });
    let bytes = |bytes: f64| format!("{} B", count(bytes));
    let text = format!("{BASE_PAYLOAD} B of text");
    let bars = Bars {
        title: "Bytes per entry",
        about: "64 B, 8 clients; both directions, as TCP carries them without its own headers.",
        parts: &HOPS,
        bars: bars.collect(),
        number: &bytes,
        reference: Some((BASE_PAYLOAD as f64, &text)),
    };
    (!bars.bars.is_empty()).then(|| bars.draw())
}
