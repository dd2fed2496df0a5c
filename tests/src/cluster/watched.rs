//! A client whose answers are noted with their time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use proto::{Certainty, LogEntry, Transport};
use rig::{Answer, Client, load::Sender};

/// Sends to the brokers, and notes when it was answered, and how.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    client: Client,
    seen: Arc<Mutex<Seen>>,
}

/// What was answered since [`Watched::begin`].
#[derive(Debug, Clone)]
pub(super) struct Seen {
    begun: Instant,
    /// When the last entry was accepted: over the direct transports, and over RabbitMQ.
    last: [Instant; 2],
    /// The longest time without one.
    pub(super) gaps: [Duration; 2],
    /// So many were accepted.
    pub(super) accepted: u64,
    /// Refused with certainty.
    pub(super) refused: u64,
    /// Of these, those that came more than a second after the beginning.
    pub(super) refused_late: u64,
    /// Answered that nobody knows.
    pub(super) unknown: u64,
    /// A connection that broke with a request on it.
    pub(super) cut: u64,
}

/// What may be refused while a part is replaced.
const FIRST_SECOND: Duration = Duration::from_secs(1);

impl Watched {
    pub(super) fn new(client: Client) -> Self {
        Watched { client, seen: Arc::new(Mutex::new(Seen::new())) }
    }

    /// Notes from now on.
    pub(super) fn begin(&self) {
        *self.seen() = Seen::new();
    }

    /// What was noted until now. A gap that has not ended counts.
    pub(super) fn so_far(&self) -> Seen {
        let mut seen = self.seen().clone();
        for lane in 0..2 {
            seen.gaps[lane] = seen.gaps[lane].max(seen.last[lane].elapsed());
        }
        seen
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn new() -> Self {
        let now = Instant::now();
        Seen {
            begun: now,
            last: [now; 2],
            gaps: [Duration::ZERO; 2],
            accepted: 0,
            refused: 0,
            refused_late: 0,
            unknown: 0,
            cut: 0,
        }
    }

    fn note(&mut self, transport: Transport, answer: Option<Answer>) {
        let lane = usize::from(transport == Transport::Rabbitmq);
        match answer {
            Some(Answer::Accepted(_)) => {
                self.gaps[lane] = self.gaps[lane].max(self.last[lane].elapsed());
                self.last[lane] = Instant::now();
                self.accepted += 1;
            }
            Some(Answer::Refused(code)) if code.certainty() == Certainty::Unknown => self.unknown += 1,
            Some(Answer::Refused(_)) => {
                self.refused += 1;
                self.refused_late += u64::from(self.begun.elapsed() > FIRST_SECOND);
            }
            Some(Answer::Nothing) => self.cut += 1,
            // It stays unanswered, and the verdict says so.
            None => {}
        }
    }

    /// Both together: the longer gaps, the sums.
    pub(super) fn and(&self, other: &Seen) -> Seen {
        let longer = |lane: usize| self.gaps[lane].max(other.gaps[lane]);
        Seen {
            gaps: [longer(0), longer(1)],
            accepted: self.accepted + other.accepted,
            refused: self.refused + other.refused,
            refused_late: self.refused_late + other.refused_late,
            unknown: self.unknown + other.unknown,
            cut: self.cut + other.cut,
            ..self.clone()
        }
    }
}

impl Sender for Watched {
    async fn send(&self, transport: Transport, entry: &LogEntry) -> Option<Answer> {
        let answer = self.client.send(transport, entry).await;
        self.seen().note(transport, answer);
        answer
    }
}

#[cfg(test)]
mod tests {
    use proto::{Code, Outcome};

    use super::*;

    #[test]
    fn answers_are_counted_by_what_they_say_and_gaps_by_lane() {
        let mut seen = Seen::new();
        seen.begun -= Duration::from_secs(2);
        seen.last = [seen.begun; 2];
        seen.note(Transport::Http, Some(Answer::Accepted(Outcome::Stored)));
        seen.note(Transport::Rpc, Some(Answer::Refused(Code::Unavailable)));
        seen.note(Transport::Grpc, Some(Answer::Refused(Code::OutcomeUnknown)));
        seen.note(Transport::Http, Some(Answer::Nothing));
        assert!(seen.gaps[0] >= Duration::from_secs(2) && seen.gaps[1].is_zero());
        assert_eq!((seen.accepted, seen.refused, seen.refused_late, seen.unknown, seen.cut), (1, 1, 1, 1, 1));
        let both = seen.and(&Seen::new());
        assert_eq!((both.accepted, both.gaps[0]), (1, seen.gaps[0]));
    }
}
