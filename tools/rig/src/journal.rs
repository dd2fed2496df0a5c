//! What was sent and what was answered, held against what is stored.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::Duration,
};

use proto::{Certainty, Code, LogEntry, Outcome, StoredEntry};
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

/// What one sender did: every entry before it was sent, every answer after it came.
#[derive(Debug, Default)]
pub struct Journal {
    sent: HashMap<Uuid, Sent>,
    longest: Duration,
}

#[derive(Debug)]
struct Sent {
    entry: LogEntry,
    attempts: u32,
    answers: Vec<Answer>,
}

impl Journal {
    /// Notes that an entry is about to be sent; again, if it was before.
    pub fn sending(&mut self, entry: &LogEntry) {
        let sent = self.sent.entry(entry.id());
        sent.or_insert_with(|| Sent { entry: entry.clone(), attempts: 0, answers: Vec::new() }).attempts += 1;
    }

    /// Notes what was answered, and how long it took.
    ///
    /// # Panics
    /// If the entry was not noted before.
    pub fn answered(&mut self, id: Uuid, answer: Answer, took: Duration) {
        let sent = self.sent.get_mut(&id).expect("an entry is noted before it is sent");
        sent.answers.push(answer);
        self.longest = self.longest.max(took);
    }

    /// Takes over what another sender has noted of other entries.
    pub fn merge(&mut self, other: Journal) {
        self.sent.extend(other.sent);
        self.longest = self.longest.max(other.longest);
    }

    /// How many entries were sent.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// Whether nothing was sent.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// The ids that were accepted.
    pub fn accepted(&self) -> impl Iterator<Item = Uuid> {
        self.sent.iter().filter(|(_, sent)| sent.is_accepted()).map(|(id, _)| *id)
    }

    /// Holds what was answered against all that is stored, and all that is among the dead letters.
    pub fn verdict(&self, stored: &[StoredEntry], dead: &HashSet<Uuid>) -> Verdict {
        let mut verdict = Verdict { sent: self.sent.len(), stored: stored.len(), ..Verdict::default() };
        verdict.longest = self.longest;
        let mut seen = HashSet::new();
        for row in stored {
            if !seen.insert(row.id) {
                verdict.double += 1;
            }
            match self.sent.get(&row.id) {
                None => verdict.phantom += 1,
                Some(sent) => {
                    verdict.altered += usize::from(!sent.is_stored_as(row));
                    verdict.resurrected += usize::from(sent.is_certainly_not_stored());
                    verdict.unknown_but_stored += usize::from(!sent.is_accepted() && sent.is_unknown());
                }
            }
        }
        // A dead letter is an entry that was set aside instead of stored: nothing else may lie there.
        for id in dead {
            verdict.double += usize::from(seen.contains(id));
            match self.sent.get(id) {
                None => verdict.phantom += 1,
                Some(sent) => verdict.resurrected += usize::from(sent.is_certainly_not_stored()),
            }
        }
        for (id, sent) in &self.sent {
            let there = seen.contains(id) || dead.contains(id);
            verdict.accepted += usize::from(sent.is_accepted());
            verdict.lost += usize::from(sent.is_accepted() && !there);
            verdict.dead += usize::from(sent.is_accepted() && there && !seen.contains(id));
            verdict.unknown += usize::from(sent.is_unknown());
            verdict.refused += usize::from(sent.is_certainly_not_stored());
            verdict.unanswered += usize::from(sent.answers.len() < sent.attempts as usize);
        }
        verdict
    }
}

impl Sent {
    fn is_accepted(&self) -> bool {
        self.answers.iter().any(|answer| matches!(answer, Answer::Accepted(_)))
    }

    fn is_unknown(&self) -> bool {
        self.answers.iter().any(|answer| match answer {
            Answer::Nothing => true,
            Answer::Refused(code) => code.certainty() == Certainty::Unknown,
            Answer::Accepted(_) => false,
        })
    }

    /// Every attempt was answered, and every answer said that nothing is stored.
    fn is_certainly_not_stored(&self) -> bool {
        self.answers.len() == self.attempts as usize && !self.is_accepted() && !self.is_unknown()
    }

    fn is_stored_as(&self, row: &StoredEntry) -> bool {
        (self.entry.name(), self.entry.data(), self.entry.level()) == (&*row.name, &*row.data, row.level)
    }
}

/// What came out. Counts of entries, never percentages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
    /// Stored with other content than was sent. Never allowed.
    pub altered: usize,
    /// Stored more than once, or stored and a dead letter as well. Never allowed.
    pub double: usize,
    /// An attempt that never ended. Never allowed.
    pub unanswered: usize,
    /// The longest that an answer took.
    pub longest: Duration,
}

impl Verdict {
    /// Whether every promise was kept.
    pub fn is_sound(&self) -> bool {
        let broken = [self.lost, self.phantom, self.resurrected, self.altered, self.double, self.unanswered];
        broken.iter().all(|count| *count == 0)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {} stored {} accepted {} (dead letters {}) refused {} unknown {} (stored {}) | lost {} phantom {} resurrected {} \
             altered {} double {} unanswered {} | longest {:.3} s",
            self.sent,
            self.stored,
            self.accepted,
            self.dead,
            self.refused,
            self.unknown,
            self.unknown_but_stored,
            self.lost,
            self.phantom,
            self.resurrected,
            self.altered,
            self.double,
            self.unanswered,
            self.longest.as_secs_f64(),
        )
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proto::{EntryDraft, Transport};

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

    /// A journal of one entry with these answers.
    fn journal(answers: &[Answer]) -> (Journal, LogEntry) {
        let (mut journal, entry) = (Journal::default(), entry());
        for answer in answers {
            journal.sending(&entry);
            journal.answered(entry.id(), *answer, Duration::ZERO);
        }
        (journal, entry)
    }

    fn verdict(journal: &Journal, stored: &[StoredEntry]) -> Verdict {
        journal.verdict(stored, &HashSet::new())
    }

    const STORED: Answer = Answer::Accepted(Outcome::Stored);
    const NOT_STORED: Answer = Answer::Refused(Code::Unavailable);
    const UNKNOWN: Answer = Answer::Refused(Code::OutcomeUnknown);

    #[test]
    fn what_was_accepted_and_is_stored_once_is_sound() {
        let (journal, entry) = journal(&[STORED]);
        assert!(verdict(&journal, &[row(&entry)]).is_sound());
    }

    #[test]
    fn what_was_accepted_and_is_not_there_is_lost_unless_it_is_a_dead_letter() {
        let (journal, entry) = journal(&[UNKNOWN, STORED]);
        assert_eq!(verdict(&journal, &[]).lost, 1);
        let dead = journal.verdict(&[], &HashSet::from([entry.id()]));
        assert!(dead.is_sound());
        assert_eq!(dead.dead, 1);
    }

    #[test]
    fn a_dead_letter_is_no_excuse_for_what_is_wrong_otherwise() {
        let (sent, own) = journal(&[STORED]);
        let both = sent.verdict(&[row(&own)], &HashSet::from([own.id()]));
        assert_eq!((both.double, both.dead, both.is_sound()), (1, 0, false));
        let foreign = sent.verdict(&[row(&own)], &HashSet::from([Uuid::now_v7()]));
        assert_eq!((foreign.phantom, foreign.is_sound()), (1, false));
        let (refused, own) = journal(&[NOT_STORED]);
        let risen = refused.verdict(&[], &HashSet::from([own.id()]));
        assert_eq!((risen.resurrected, risen.is_sound()), (1, false));
    }

    #[test]
    fn every_way_to_break_a_promise_is_found() {
        let (sent, own) = journal(&[STORED]);
        let other = entry();
        assert_eq!(verdict(&sent, &[row(&own), row(&other)]).phantom, 1);
        assert_eq!(verdict(&sent, &[row(&own), row(&own)]).double, 1);
        assert_eq!(verdict(&sent, &[StoredEntry { data: "other".into(), ..row(&own) }]).altered, 1);
        let (refused, own) = journal(&[NOT_STORED, NOT_STORED]);
        assert_eq!(verdict(&refused, &[row(&own)]).resurrected, 1);
        let (mut silent, own) = journal(&[STORED]);
        silent.sending(&own);
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
            let (journal, entry) = journal(&answers);
            assert!(verdict(&journal, &[]).is_sound());
            let stored = verdict(&journal, &[row(&entry)]);
            assert!(stored.is_sound());
            assert_eq!((stored.unknown, stored.unknown_but_stored), (1, 1));
        }
    }
}
