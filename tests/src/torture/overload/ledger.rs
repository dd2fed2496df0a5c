//! What became of each entry, one byte for each: there are too many for a journal.

use proto::StoredEntry;
use rig::Verdict;
use uuid::Uuid;

/// The text of every entry: what comes back otherwise was altered.
pub(super) const DATA: &str = "GET /orders/4711 200 in 12 ms; customer 0815; 3 items; cache miss; upstream 10.0.0.7:8443; retries 0; \
     trace 4bf92f3577b34da6a3ce929d0e0e4736; and some more words, for a line of a log has two hundred bytes";

/// What is known of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Sent, and not answered yet.
    Sent,
    /// 202.
    Accepted,
    /// 503: certainly not stored.
    Refused,
    /// 504, or no answer at all.
    Unknown,
}

/// The fates of all entries. The number of an entry is a part of its id.
#[derive(Debug)]
pub(super) struct Ledger {
    base: u128,
    fates: Vec<Fate>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        // The lower half counts.
        Ledger { base: Uuid::now_v7().as_u128() >> 64 << 64, fates: Vec::new() }
    }

    /// The number and the id of the next entry.
    pub(super) fn next(&mut self) -> (usize, Uuid) {
        self.fates.push(Fate::Sent);
        let number = self.fates.len() - 1;
        (number, Uuid::from_u128(self.base + number as u128))
    }

    pub(super) fn note(&mut self, number: usize, fate: Fate) {
        self.fates[number] = fate;
    }

    fn count(&self, fate: Fate) -> usize {
        self.fates.iter().filter(|own| **own == fate).count()
    }

    /// Begins to hold them against what is stored.
    pub(super) fn reconcile(&self) -> Reconciliation<'_> {
        let verdict = Verdict {
            sent: self.fates.len(),
            accepted: self.count(Fate::Accepted),
            refused: self.count(Fate::Refused),
            unknown: self.count(Fate::Unknown),
            unanswered: self.count(Fate::Sent),
            ..Verdict::default()
        };
        Reconciliation { seen: vec![false; self.fates.len()], ledger: self, verdict }
    }
}

/// A ledger, and what has been found in the store so far.
#[derive(Debug)]
pub(super) struct Reconciliation<'a> {
    ledger: &'a Ledger,
    seen: Vec<bool>,
    verdict: Verdict,
}

impl Reconciliation<'_> {
    pub(super) fn found(&mut self, row: &StoredEntry) {
        self.verdict.stored += 1;
        let number = row.id.as_u128().checked_sub(self.ledger.base);
        let number = number.and_then(|number| usize::try_from(number).ok());
        let Some((number, fate)) = number.and_then(|at| Some((at, *self.ledger.fates.get(at)?))) else {
            self.verdict.phantom += 1;
            return;
        };
        self.verdict.double += usize::from(std::mem::replace(&mut self.seen[number], true));
        self.verdict.altered += usize::from(row.data != DATA);
        self.verdict.resurrected += usize::from(fate == Fate::Refused);
        self.verdict.unknown_but_stored += usize::from(fate == Fate::Unknown);
    }

    pub(super) fn verdict(self) -> Verdict {
        let accepted = self.ledger.fates.iter().zip(&self.seen);
        let lost = accepted.filter(|(fate, seen)| **fate == Fate::Accepted && !**seen).count();
        Verdict { lost, ..self.verdict }
    }
}
