//! What was sent and what was answered, verified against what is stored.
//!
//! Noting costs a push to a list, 32 bytes for each attempt: generators do it while they run. All else is done
//! afterwards, and what is stored is looked at row by row: there may be more than memory holds.

use std::{
    collections::{HashSet, hash_map::DefaultHasher},
    fmt,
    hash::{Hash, Hasher},
    time::Duration,
};

use proto::{Certainty, Code, Level, LogEntry, Outcome, StoredEntry, Transport};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the sender was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 202.
    Accepted(Outcome),
    /// A refusal, with its code.
    Refused(Code),
    /// The connection to the broker broke, or the broker was not there: nothing was said.
    Nothing,
}

/// What is known of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Sent, and not answered.
    Unanswered,
    /// Accepted: stored, or queued.
    Accepted,
    /// Certainly not stored.
    Refused,
    /// Stored or not.
    Unknown,
}

impl From<Answer> for Fate {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Accepted(_) => Fate::Accepted,
            Answer::Refused(code) if code.certainty() == Certainty::Unknown => Fate::Unknown,
            Answer::Refused(_) => Fate::Refused,
            Answer::Nothing => Fate::Unknown,
        }
    }
}

/// What an entry says, as 64 bits: of two entries that differ one in 2^64 is taken for the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Content(u64);

impl Content {
    /// That of an entry.
    pub fn of(name: &str, data: &str, level: Level) -> Self {
        let mut hasher = DefaultHasher::new();
        (name, data, level).hash(&mut hasher);
        Content(hasher.finish())
    }
}

impl From<&LogEntry> for Content {
    fn from(entry: &LogEntry) -> Self {
        Content::of(entry.name(), entry.data(), entry.level())
    }
}

/// An attempt that has been noted, for its answer.
#[derive(Debug)]
pub struct Place(usize);

/// Every attempt before it was sent, every answer after it came.
#[derive(Debug, Default)]
pub struct Ledger {
    attempts: Vec<Attempt>,
    longest: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    id: Uuid,
    content: Content,
    transport: Transport,
    fate: Fate,
}

impl Ledger {
    /// Notes that an entry is about to be sent; again, if it was before.
    #[must_use = "the answer is noted by it"]
    pub fn sending(&mut self, id: Uuid, content: Content, transport: Transport) -> Place {
        self.attempts.push(Attempt { id, content, transport, fate: Fate::Unanswered });
        Place(self.attempts.len() - 1)
    }

    /// Notes what was answered, and how long it took.
    pub fn answered(&mut self, place: Place, fate: Fate, took: Duration) {
        // A place of another ledger's is nowhere here: then the attempt stays unanswered, and the verdict says so.
        if let Some(attempt) = self.attempts.get_mut(place.0) {
            attempt.fate = fate;
        }
        self.longest = self.longest.max(took);
    }

    /// Takes over what another sender has noted.
    pub fn merge(&mut self, other: Ledger) {
        self.attempts.extend(other.attempts);
        self.longest = self.longest.max(other.longest);
    }

    /// The ids that were sent.
    pub fn sent(&self) -> HashSet<Uuid> {
        self.attempts.iter().map(|attempt| attempt.id).collect()
    }

    /// The ids that were accepted.
    pub fn accepted(&self) -> HashSet<Uuid> {
        let accepted = self.attempts.iter().filter(|attempt| attempt.fate == Fate::Accepted);
        accepted.map(|attempt| attempt.id).collect()
    }

    /// Begins to verify it against what is stored.
    pub fn reconcile(&self) -> Reconciliation {
        let mut order: Vec<usize> = (0..self.attempts.len()).collect();
        order.sort_by_key(|at| self.attempts[*at].id);
        let mut entries: Vec<Entry> = Vec::new();
        for at in order {
            let attempt = &self.attempts[at];
            if entries.last().is_none_or(|entry| entry.id != attempt.id) {
                let Attempt { id, content, .. } = *attempt;
                entries.push(Entry { id, content, first: at, ..Entry::default() });
            }
            if let Some(entry) = entries.last_mut() {
                entry.note(attempt);
            }
        }
        let verdict = Verdict { sent: entries.len(), longest: self.longest, ..Verdict::default() };
        Reconciliation { entries, verdict }
    }

    /// Verifies it against all that is stored, and all that is among the dead letters.
    pub fn verdict(&self, stored: &[StoredEntry], dead: &HashSet<Uuid>) -> Verdict {
        let mut reconciliation = self.reconcile();
        for row in stored {
            reconciliation.found(row);
        }
        dead.iter().for_each(|id| reconciliation.dead(*id));
        reconciliation.verdict()
    }
}

/// What is known of an entry, of all its attempts.
#[derive(Debug, Default)]
struct Entry {
    id: Uuid,
    content: Content,
    /// The first attempt.
    first: usize,
    /// A bit for each transport that it was sent over.
    transports: u8,
    accepted: bool,
    unknown: bool,
    unanswered: bool,
    stored: bool,
    dead: bool,
}

impl Entry {
    fn note(&mut self, attempt: &Attempt) {
        self.transports |= bit(attempt.transport);
        match attempt.fate {
            Fate::Unanswered => self.unanswered = true,
            Fate::Accepted => self.accepted = true,
            Fate::Refused => {}
            Fate::Unknown => self.unknown = true,
        }
    }

    /// Every attempt was answered, and every answer said that nothing is stored.
    const fn is_certainly_not_stored(&self) -> bool {
        !self.unanswered && !self.accepted && !self.unknown
    }

    fn is_stored_as(&self, row: &StoredEntry) -> bool {
        self.content == Content::of(&row.name, &row.data, row.level)
            && self.transports & bit(row.transport) != 0
    }
}

const fn bit(transport: Transport) -> u8 {
    1 << transport as u8
}

/// A ledger, and what has been found so far.
#[derive(Debug)]
pub struct Reconciliation {
    /// In the order of their ids.
    entries: Vec<Entry>,
    verdict: Verdict,
}

impl Reconciliation {
    fn entry(&mut self, id: Uuid) -> Option<&mut Entry> {
        let at = self.entries.binary_search_by_key(&id, |entry| entry.id).ok()?;
        self.entries.get_mut(at)
    }

    /// Notes a row of the store. If it is an entry as it was sent, found for the first time, returns the number of its
    /// first attempt in the order in which they were noted.
    pub fn found(&mut self, row: &StoredEntry) -> Option<usize> {
        self.verdict.stored += 1;
        let Some(entry) = self.entry(row.id) else {
            self.verdict.phantom += 1;
            return None;
        };
        let duplicated = std::mem::replace(&mut entry.stored, true);
        let altered = !entry.is_stored_as(row);
        let resurrected = entry.is_certainly_not_stored();
        let unknown = !entry.accepted && entry.unknown;
        let first = entry.first;
        self.verdict.duplicated += usize::from(duplicated);
        self.verdict.altered += usize::from(altered);
        self.verdict.resurrected += usize::from(resurrected);
        self.verdict.unknown_but_stored += usize::from(unknown);
        (!duplicated && !altered).then_some(first)
    }

    /// Notes a dead letter: an entry that was set aside instead of stored. Nothing else may be one. To be called when
    /// all rows of the store have been found.
    pub fn dead(&mut self, id: Uuid) {
        let Some(entry) = self.entry(id) else {
            self.verdict.phantom += 1;
            return;
        };
        entry.dead = true;
        let (duplicated, resurrected) = (entry.stored, entry.is_certainly_not_stored());
        self.verdict.duplicated += usize::from(duplicated);
        self.verdict.resurrected += usize::from(resurrected);
    }

    /// What came out.
    pub fn verdict(self) -> Verdict {
        let mut verdict = self.verdict;
        for entry in &self.entries {
            let there = entry.stored || entry.dead;
            verdict.accepted += usize::from(entry.accepted);
            verdict.lost += usize::from(entry.accepted && !there);
            verdict.dead += usize::from(entry.accepted && entry.dead && !entry.stored);
            verdict.unknown += usize::from(entry.unknown);
            verdict.refused += usize::from(entry.is_certainly_not_stored());
            verdict.unanswered += usize::from(entry.unanswered);
        }
        verdict
    }
}

/// What came out. Counts of entries, never percentages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verdict {
    /// Sent at least once.
    pub sent: usize,
    /// Rows in the store.
    pub stored: usize,
    /// Answered 202 at least once.
    pub accepted: usize,
    /// Every attempt was refused with certainty.
    pub refused: usize,
    /// At least one attempt had an outcome that nobody knows.
    pub unknown: usize,
    /// Of those never accepted, how many turned out to be stored. Allowed: that is what unknown means.
    pub unknown_but_stored: usize,
    /// Accepted, and a dead letter instead of stored: not lost, for somebody can look at it.
    pub dead: usize,
    /// Accepted, and neither stored nor a dead letter. Never allowed.
    pub lost: usize,
    /// Stored or a dead letter, but never sent. Never allowed.
    pub phantom: usize,
    /// Stored or a dead letter, though every attempt was refused with certainty. Never allowed.
    pub resurrected: usize,
    /// Stored with other content than was sent, or as having come another way. Never allowed.
    // In reports of before, with those that were stored twice.
    #[serde(alias = "wrong")]
    pub altered: usize,
    /// Stored more than once, or stored and a dead letter as well. Never allowed.
    pub duplicated: usize,
    /// An attempt that never ended. Never allowed.
    pub unanswered: usize,
    /// The longest that an answer took.
    pub longest: Duration,
}

impl Verdict {
    /// The ways to break a promise, each with its count.
    pub const fn violations(&self) -> [(&'static str, usize); 6] {
        [
            ("lost", self.lost),
            ("phantom", self.phantom),
            ("resurrected", self.resurrected),
            ("altered", self.altered),
            ("duplicated", self.duplicated),
            ("unanswered", self.unanswered),
        ]
    }

    /// Whether every promise was kept.
    pub fn is_sound(&self) -> bool {
        self.violations().iter().all(|(_, count)| *count == 0)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {} stored {} accepted {} (dead letters {}) refused {} unknown {} (stored {}) |",
            self.sent,
            self.stored,
            self.accepted,
            self.dead,
            self.refused,
            self.unknown,
            self.unknown_but_stored,
        )?;
        for (word, count) in self.violations() {
            write!(f, " {word} {count}")?;
        }
        write!(f, " | longest {:.3} s", self.longest.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proto::EntryDraft;

    use super::*;

    fn entry() -> LogEntry {
        let draft = EntryDraft { name: "n".into(), data: "d".into(), ..EntryDraft::default() };
        draft.check(Timestamp::UNIX_EPOCH).expect("valid")
    }

    fn row(entry: &LogEntry) -> StoredEntry {
        StoredEntry {
            id: entry.id(),
            name: entry.name().into(),
            data: entry.data().into(),
            level: entry.level(),
            created_at: entry.created_at(),
            stored_at: entry.created_at(),
            transport: Transport::Http,
            attempts: 1,
        }
    }

    fn sending(ledger: &mut Ledger, entry: &LogEntry) -> Place {
        ledger.sending(entry.id(), Content::from(entry), Transport::Http)
    }

    /// A ledger of one entry with these answers.
    fn ledger(answers: &[Answer]) -> (Ledger, LogEntry) {
        let (mut ledger, entry) = (Ledger::default(), entry());
        for answer in answers {
            let place = sending(&mut ledger, &entry);
            ledger.answered(place, (*answer).into(), Duration::ZERO);
        }
        (ledger, entry)
    }

    fn verdict(ledger: &Ledger, stored: &[StoredEntry]) -> Verdict {
        ledger.verdict(stored, &HashSet::new())
    }

    const STORED: Answer = Answer::Accepted(Outcome::Stored);
    const NOT_STORED: Answer = Answer::Refused(Code::Unavailable);
    const UNKNOWN: Answer = Answer::Refused(Code::OutcomeUnknown);

    #[test]
    fn what_was_accepted_and_is_stored_once_is_sound() {
        let (ledger, entry) = ledger(&[STORED]);
        assert!(verdict(&ledger, &[row(&entry)]).is_sound());
    }

    #[test]
    fn what_was_accepted_and_is_not_there_is_lost_unless_it_is_a_dead_letter() {
        let (ledger, entry) = ledger(&[UNKNOWN, STORED]);
        assert_eq!(verdict(&ledger, &[]).lost, 1);
        let dead = ledger.verdict(&[], &HashSet::from([entry.id()]));
        assert!(dead.is_sound());
        assert_eq!(dead.dead, 1);
    }

    #[test]
    fn a_dead_letter_is_no_excuse_for_what_is_wrong_otherwise() {
        let (sent, own) = ledger(&[STORED]);
        let both = sent.verdict(&[row(&own)], &HashSet::from([own.id()]));
        assert_eq!((both.duplicated, both.dead, both.is_sound()), (1, 0, false));
        let foreign = sent.verdict(&[row(&own)], &HashSet::from([Uuid::now_v7()]));
        assert_eq!((foreign.phantom, foreign.is_sound()), (1, false));
        let (refused, own) = ledger(&[NOT_STORED]);
        let risen = refused.verdict(&[], &HashSet::from([own.id()]));
        assert_eq!((risen.resurrected, risen.is_sound()), (1, false));
    }

    #[test]
    fn every_way_to_break_a_promise_is_found() {
        let (sent, own) = ledger(&[STORED]);
        let other = entry();
        assert_eq!(verdict(&sent, &[row(&own), row(&other)]).phantom, 1);
        assert_eq!(verdict(&sent, &[row(&own), row(&own)]).duplicated, 1);
        assert_eq!(verdict(&sent, &[StoredEntry { data: "other".into(), ..row(&own) }]).altered, 1);
        let another_way = StoredEntry { transport: Transport::Grpc, ..row(&own) };
        assert_eq!(verdict(&sent, &[another_way]).altered, 1);
        let (refused, own) = ledger(&[NOT_STORED, NOT_STORED]);
        assert_eq!(verdict(&refused, &[row(&own)]).resurrected, 1);
        let (mut silent, own) = ledger(&[STORED]);
        let _ = sending(&mut silent, &own);
        assert_eq!(verdict(&silent, &[row(&own)]).unanswered, 1);
        for broken in [
            verdict(&sent, &[row(&own)]),
            verdict(&refused, &[row(&own), row(&own)]),
            verdict(&silent, &[row(&own)]),
        ] {
            assert!(!broken.is_sound(), "{broken}");
        }
    }

    #[test]
    fn what_nobody_knows_may_be_stored_or_not() {
        for answers in [[UNKNOWN, NOT_STORED], [Answer::Nothing, NOT_STORED]] {
            let (ledger, entry) = ledger(&answers);
            assert!(verdict(&ledger, &[]).is_sound());
            let stored = verdict(&ledger, &[row(&entry)]);
            assert!(stored.is_sound());
            assert_eq!((stored.unknown, stored.unknown_but_stored), (1, 1));
        }
    }

    #[test]
    fn what_is_found_is_told_by_the_number_of_its_first_attempt() {
        let entries = [entry(), entry(), entry()];
        let mut ledger = Ledger::default();
        for entry in entries.iter().rev().chain(&entries) {
            let place = sending(&mut ledger, entry);
            ledger.answered(place, Fate::Accepted, Duration::ZERO);
        }
        let mut reconciliation = ledger.reconcile();
        let found = entries.each_ref().map(|entry| reconciliation.found(&row(entry)));
        assert_eq!(found, [Some(2), Some(1), Some(0)]);
        assert_eq!(reconciliation.found(&row(&entries[0])), None, "twice");
    }
}
