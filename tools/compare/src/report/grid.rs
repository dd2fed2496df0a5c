//! Who is ahead in which cell of the grid, if anybody is.

use proto::Transport;

use crate::{
    cell::{Measured, Part},
    record::Record,
    stats::{Verdict, paired_ratio, verdict},
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

/// A difference of this much is named; less is not, however certain: it changes with the next commit.
const LEAST_NOISE: f64 = 1.03;

/// The ratio by which the same cell differs from itself.
pub(crate) fn noise(record: &Record) -> f64 {
    let again = record.part(Part::Again).next();
    let same = again.and_then(|again| {
        let same = record.part(Part::Grid).find(|row| {
            let (cell, other) = (row.cell, again.cell);
            cell.subject == other.subject
                && cell.payload_bytes == other.payload_bytes
                && cell.shape == other.shape
        })?;
        let rate = Measured::stored_per_second;
        paired_ratio(&same.each(rate), &again.each(rate))
    });
    let noise = same.map_or(LEAST_NOISE, |ratio| ratio.middle.max(1.0 / ratio.middle));
    noise.max(LEAST_NOISE)
}

/// The grid, payload by payload and then callers by callers.
pub fn winners(record: &Record) -> Vec<GridCell> {
    let noise = noise(record);
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
