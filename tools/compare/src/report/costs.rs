//! What things cost: ratios of a run, durability, connections, memory, and bytes on the wire.

use maud::{Markup, html};
use proto::Transport;

use super::{
    look,
    numbers::{count, millis},
    peak::interval,
    ratios::ratios,
};
use crate::{
    cell::{Measured, Part, bytes},
    record::Record,
    stack::PROCESSES,
    stats::{Estimate, median, paired_ratio},
    workload::{BASE_CALLERS, BASE_PAYLOAD, Subject},
};

/// The tables.
pub(super) fn section(record: &Record) -> Markup {
    html! {
        h2 { "What things cost" }
        div.wide { table {
            caption { "Ratios of this run: less bound to this machine than its rates" }
            tbody { @for (what, value) in ratios(record) { tr { td { (what) } td { (value) } } } }
        } }
        (durability(record))
        (connections(record))
        (memory(record))
        (wire(record))
    }
}

fn durability(record: &Record) -> Markup {
    let ratio = |transport: Transport| -> Option<(Estimate, f64)> {
        let subject = Subject::Transport(transport);
        let nothing = record.part(Part::Durability).find(|row| row.cell.subject == subject)?;
        let synced = record.grid(subject, BASE_PAYLOAD, BASE_CALLERS)?;
        let rate = Measured::accepted_per_second;
        Some((paired_ratio(&synced.each(rate), &nothing.each(rate))?, median(&nothing.each(rate))))
    };
    html! {
        div.wide { table {
            caption { "The price of durability: the same with a store that keeps nothing, " (BASE_CALLERS) " clients" }
            thead { tr { th {} th { "requests/s, nothing kept" } th { "synced : nothing kept" } } }
            tbody { @for transport in Transport::ALL { @if let Some((ratio, nothing)) = ratio(transport) {
                tr { td { (look::transport(transport)) } td { (count(nothing)) } td { (interval(Some(ratio))) } }
            } } }
        } }
    }
}

fn connections(record: &Record) -> Markup {
    let rabbitmq = record.grid(Subject::Transport(Transport::Rabbitmq), BASE_PAYLOAD, BASE_CALLERS);
    html! {
        div.wide { table {
            caption { "The price of a connection that is not kept, one client: the broker's own clients, each entry on "
                "a kept connection and on one that is dialled for it" }
            thead { tr { th {} th { "kept, p50" } th { "dialled anew, p50" } } }
            tbody { @for anew in &record.anew { tr {
                td { (look::transport(anew.transport)) } td { (millis(anew.kept.percentile(0.5))) }
                td { (millis(anew.anew.percentile(0.5))) }
            } } }
        } }
        @if let (Some(own), false) = (rabbitmq, record.bare.is_empty()) {
            p { "A bare publisher with confirms, which does nothing else, gets " (count(median(&record.bare)))
                " messages a second from the same RabbitMQ with " (BASE_CALLERS) " in flight; " code { "rabbitmq" }
                " over the broker has "
                (interval(paired_ratio(&own.each(Measured::accepted_per_second), &record.bare))) " of it."
            }
        }
    }
}

fn memory(record: &Record) -> Markup {
    html! {
        div.wide { table {
            caption {
                "The most memory, MiB, over all cells of " (bytes(BASE_PAYLOAD)) " with " (BASE_CALLERS) " clients"
            }
            thead { tr { th {} @for name in PROCESSES { th { (name) } } } }
            tbody { @for subject in Subject::ALL {
                @if let Some(row) = record.grid(subject, BASE_PAYLOAD, BASE_CALLERS) {
                @let peaks = row.peak_memory_mib();
                tr { td { (look::named(subject)) }
                    @for name in PROCESSES { td { (count(peaks.get(name).copied().unwrap_or_default())) } } }
            } } }
        } }
    }
}

fn wire(record: &Record) -> Markup {
    html! {
        h2 { "Bytes on the wire" }
        div.wide { table {
            caption { "Counted where TCP carries them, without its own headers; 8 clients. The first entry opens the "
                "connection." }
            thead { tr {
                th { "hop" } th { "transport" } th { "payload" } th { "out" } th { "back" } th { "first, out" }
                th { "first, back" }
            } }
            tbody { @for wire in &record.wire { @for (name, hop) in &wire.hops { tr {
                td { (name) } td { (look::transport(wire.transport)) } td { (bytes(wire.payload_bytes)) }
                td { (count(hop.out)) } td { (count(hop.back)) }
                td { (count(hop.first_out as f64)) } td { (count(hop.first_in as f64)) }
            } } } }
        } }
    }
}
