//! Throughput, latency and CPU time by transport, payload and concurrency, as `compare` itself measures them, with a call
//! for each entry: the lectures speak of calls, and those that entries share hide what one costs.

use proto::Transport;

use super::{Bench, rounded};
use crate::{
    bare, builds,
    cell::{Calls, Cell, Keeping, Latencies, Measured, Part},
    claims::figures::{Grid, GridRow},
    measure,
    plan::shuffled,
    record::{Row, noise},
    workload::{BASE_CALLERS, BASE_PAYLOAD, Shape, Subject},
};

/// Bytes of the entries, and clients, at which the direct transports are compared.
const PAYLOADS: [usize; 4] = [BASE_PAYLOAD, 1_024, 16 * 1_024, 128 * 1_024];
const CLIENTS: [usize; 2] = [1, BASE_CALLERS];

/// Measures all cells in turn.
pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<Grid> {
    let own_calls = [("BROKER_COALESCE".to_owned(), "off".to_owned())];
    let mut site = bench.site_with("grid", &own_calls).await?;
    let cells = cells();
    for subject in Subject::ALL {
        let cell = Cell { subject, ..closed(Transport::Rpc, BASE_PAYLOAD, BASE_CALLERS) };
        measure::cell(Some(&bench.node), &site, cell, bench.length.warm_up, 0).await?;
    }
    let mut rows: Vec<Row> = cells.iter().map(|cell| Row { cell: *cell, repetitions: Vec::new() }).collect();
    let mut sync = Latencies::default();
    for repetition in 0..bench.length.repetitions {
        site.empty_store().await?;
        for cell in shuffled(&cells, repetition, bench.seed) {
            let seed = bench.seed.wrapping_add(repetition as u64);
            let measured = measure::cell(Some(&bench.node), &site, cell, bench.length.cell, seed).await?;
            anyhow::ensure!(measured.kept.is_sound(), "{cell}: the store does not hold: {}", measured.kept);
            if let Some(row) = rows.iter_mut().find(|row| row.cell == cell) {
                row.repetitions.push(measured);
            }
        }
        bare::sync(site.directory(), &mut sync)?;
        say!("{} of {} rounds", repetition + 1, bench.length.repetitions);
    }
    let noise = noise(&rows);
    rows.retain(|row| row.cell.part == Part::Grid);
    let sync_us = sync.percentile(0.5).unwrap_or_default();
    Ok(Grid { noise, sync_us, rows: rows.iter().map(summed_up).collect() })
}

const fn closed(transport: Transport, payload_bytes: usize, callers: usize) -> Cell {
    Cell {
        subject: Subject::Transport(transport),
        store: Keeping::Synced,
        calls: Calls::Own,
        payload_bytes,
        batch: 1,
        shape: Shape::Closed { callers },
        part: Part::Grid,
    }
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for payload_bytes in PAYLOADS {
        for clients in CLIENTS {
            for transport in [Transport::Http, Transport::Rpc, Transport::Grpc] {
                cells.push(closed(transport, payload_bytes, clients));
            }
        }
    }
    for clients in CLIENTS {
        let echo = closed(Transport::Rpc, BASE_PAYLOAD, clients);
        cells.push(Cell { subject: Subject::Echo, ..echo });
    }
    let many = |transport| closed(transport, BASE_PAYLOAD, BASE_CALLERS);
    cells.push(many(Transport::Rabbitmq));
    cells.push(Cell { part: Part::Again, ..many(Transport::Rpc) });
    cells
}

fn summed_up(row: &Row) -> GridRow {
    let clients = match row.cell.shape {
        Shape::Closed { callers } => callers,
        Shape::Open { .. } => 0,
    };
    let each = |of: fn(&Measured) -> f64| row.each(of).into_iter().map(rounded).collect();
    GridRow {
        subject: row.cell.subject,
        payload_bytes: row.cell.payload_bytes,
        clients,
        per_second: each(Measured::stored_per_second),
        cpu_us: each(builds::system_us),
        p50_us: row.latencies(|measured| &measured.answered).percentile(0.5).unwrap_or_default(),
    }
}
