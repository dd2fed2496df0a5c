//! Which cells a run has, in which order.

use std::time::Duration;

use proto::{Promise, Transport};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde::{Deserialize, Serialize};

use crate::{
    cell::{Calls, Cell, Keeping, Part},
    outage::Break,
    workload::{BASE_CALLERS, BASE_PAYLOAD, Shape, Subject},
};

/// Callers where batches are compared, and the same with itself.
pub(crate) const SOME_CALLERS: usize = 8;

/// How long a warm-up takes where the run has time for it.
pub(crate) const WARM_UP: Duration = Duration::from_secs(3);

/// How much is measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Bytes of each entry.
    pub payloads: Vec<usize>,
    /// Callers.
    pub callers: Vec<usize>,
    /// Entries of a request, besides one.
    pub batches: Vec<usize>,
    /// Parts of the slowest knee.
    pub rates: Vec<f64>,
    /// How often each closed cell is measured.
    pub repetitions: usize,
    /// How often each open cell is measured.
    pub open_repetitions: usize,
    /// How long each closed cell takes.
    pub closed: Duration,
    /// How long each open cell takes.
    pub open: Duration,
    /// How long each subject is warmed up, once.
    pub warm_up: Duration,
    /// What is broken at the end, at a rate that all carry with ease.
    #[serde(default)]
    pub faults: Vec<Break>,
}

impl Plan {
    /// About fifteen minutes.
    pub fn usual() -> Self {
        Plan {
            payloads: vec![64, 1_024, 16 * 1_024, 128 * 1_024],
            callers: vec![1, 8, 64],
            batches: vec![10, 100],
            rates: vec![0.25, 0.5, 0.75, 0.9],
            // The fewest that a verdict takes: more of them cost time and widen its interval, up to nine.
            repetitions: 6,
            open_repetitions: 3,
            closed: Duration::from_millis(600),
            open: Duration::from_secs(2),
            warm_up: WARM_UP,
            faults: vec![Break::LoggerKilled],
        }
    }

    /// Two minutes: no evidence.
    pub fn quick() -> Self {
        Plan {
            payloads: vec![64, 16 * 1_024],
            callers: vec![1, 64],
            batches: vec![100],
            rates: vec![0.5],
            repetitions: 2,
            open_repetitions: 1,
            closed: Duration::from_millis(400),
            open: Duration::from_secs(1),
            warm_up: Duration::from_millis(500),
            faults: Vec::new(),
        }
    }

    /// As the usual one, with more of everything.
    pub fn full() -> Self {
        Plan {
            repetitions: 9,
            open_repetitions: 7,
            closed: Duration::from_secs(4),
            open: Duration::from_secs(6),
            faults: Break::ALL.to_vec(),
            ..Self::usual()
        }
    }

    /// The cells of the closed loops.
    pub fn closed_cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        let cell = |subject, payload_bytes, callers, part| Cell {
            subject,
            store: Keeping::Synced,
            calls: Calls::Shared,
            payload_bytes,
            batch: 1,
            shape: Shape::Closed { callers },
            part,
        };
        for payload_bytes in &self.payloads {
            for callers in &self.callers {
                // The baseline is only looked at beside the smallest entries.
                let compared =
                    |subject: &Subject| *subject != Subject::Echo || *payload_bytes == BASE_PAYLOAD;
                let subjects = Subject::ALL.into_iter().filter(compared);
                cells.extend(subjects.map(|subject| cell(subject, *payload_bytes, *callers, Part::Grid)));
            }
        }
        let base = |subject, callers, part| cell(subject, BASE_PAYLOAD, callers, part);
        cells.push(base(Subject::Transport(Transport::Rpc), BASE_CALLERS, Part::Again));
        for transport in Transport::ALL {
            let subject = Subject::Transport(transport);
            cells.push(Cell { calls: Calls::Own, ..base(subject, BASE_CALLERS, Part::Calls) });
            cells.push(base(subject, SOME_CALLERS, Part::Batches));
            for batch in &self.batches {
                cells.push(Cell { batch: *batch, ..base(subject, SOME_CALLERS, Part::Batches) });
            }
            // Otherwise the answer does not wait for the store.
            if transport.promise() == Promise::Stored {
                let cell = base(subject, BASE_CALLERS, Part::Durability);
                cells.push(Cell { store: Keeping::Nothing, ..cell });
            }
        }
        cells
    }

    /// A cell of the open loop.
    pub const fn open_cell(transport: Transport, rate: f64, part: Part) -> Cell {
        Cell {
            subject: Subject::Transport(transport),
            store: Keeping::Synced,
            calls: Calls::Shared,
            payload_bytes: BASE_PAYLOAD,
            batch: 1,
            shape: Shape::Open { rate },
            part,
        }
    }
}

/// The order of one repetition: another each time, so that what comes later has no lasting advantage. Cells that are held
/// against each other, of one payload and one load, stay side by side: the machine's speed changes within minutes, and
/// less within seconds.
pub fn shuffled(cells: &[Cell], repetition: usize, seed: u64) -> Vec<Cell> {
    let mut random = StdRng::seed_from_u64(seed.wrapping_add(repetition as u64));
    let mut neighbours: Vec<Vec<Cell>> = Vec::new();
    for cell in cells {
        let place = |cell: &Cell| (cell.payload_bytes, cell.shape);
        match neighbours.iter_mut().find(|group| group.first().map(place) == Some(place(cell))) {
            Some(group) => group.push(*cell),
            None => neighbours.push(vec![*cell]),
        }
    }
    neighbours.iter_mut().for_each(|group| group.shuffle(&mut random));
    neighbours.shuffle(&mut random);
    neighbours.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_repetition_has_all_cells_in_another_order_with_neighbours_side_by_side() {
        let cells = Plan::usual().closed_cells();
        let (first, second) = (shuffled(&cells, 0, 1), shuffled(&cells, 1, 1));
        assert_ne!(first, second);
        assert_eq!(first, shuffled(&cells, 0, 1), "the seed makes it again");
        for order in [first, second] {
            assert_eq!(order.len(), cells.len());
            assert!(cells.iter().all(|cell| order.contains(cell)));
            let places = order.iter().map(|cell| (cell.payload_bytes, cell.shape));
            let mut places: Vec<_> = places.collect();
            places.dedup();
            assert_eq!(places.len(), 12, "each place is visited once");
        }
    }
}
