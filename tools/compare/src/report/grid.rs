//! Who is ahead in which cell of the grid, if anybody is.

use proto::Transport;

use crate::{
    cell::{Measured, Part},
    record::{Record, noise},
    stats::{Verdict, verdict},
    workload::{Shape, Subject},
};

/// What is compared in a cell: everything counts once it is stored, so the four have the same promise.
#[derive(Debug, Clone, PartialEq)]
pub struct GridCell {
    /// Bytes of each entry.
    pub payload_bytes: usize,
    /// Callers.
    pub callers: usize,
    /// Who stores the most entries per second.
    pub verdict: Verdict<Transport>,
    /// The median of each, in entries stored per second.
    pub rates: Vec<(Transport, f64)>,
}

/// The grid, payload by payload and then callers by callers.
pub fn winners(record: &Record) -> Vec<GridCell> {
    let noise = noise(&record.rows);
    let mut cells: Vec<GridCell> = Vec::new();
    let places = record.part(Part::Grid).filter_map(|row| match row.cell.shape {
        Shape::Closed { callers } => Some((row.cell.payload_bytes, callers)),
        Shape::Open { .. } => None,
    });
    let mut places: Vec<(usize, usize)> = places.collect();
    places.sort_unstable();
    places.dedup();
    for (payload_bytes, callers) in places {
        // However fast: who loses an entry is not compared.
        let of = |transport: Transport| {
            let row = record.grid(Subject::Transport(transport), payload_bytes, callers);
            row.filter(|row| row.is_sound())
        };
        let values = |transport| of(transport).map(|row| row.each(Measured::stored_per_second));
        let candidates: Vec<(Transport, Vec<f64>)> = Transport::ALL
            .into_iter()
            .filter_map(|transport| Some((transport, values(transport)?)))
            .collect();
        let rates = candidates.iter().map(|(transport, values)| (*transport, crate::stats::median(values)));
        cells.push(GridCell {
            payload_bytes,
            callers,
            rates: rates.collect(),
            verdict: verdict(&candidates, noise),
        });
    }
    cells
}
