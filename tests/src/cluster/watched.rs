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
    /// Without an entry that was accepted over a direct transport.
    pub(super) direct: Gap,
    /// Over RabbitMQ.
    pub(super) rabbitmq: Gap,
    /// So many were accepted.
    pub(super) accepted: u64,
    /// Refused with certainty.
    pub(super) refused: u64,
    /// Of these, those that came more than a second after the beginning.
    pub(super) refused_late: u64,
    /// Answered that nobody knows.
    pub(super) unknown: u64,
    /// A connection that broke with a request on it.
    pub(super) broken_connections: u64,
}

/// The time without an accepted entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    since: Instant,
    /// The longest.
    pub(super) longest: Duration,
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
        seen.direct.ends();
        seen.rabbitmq.ends();
        seen
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gap {
    /// It ends, and another begins.
    fn ends(&mut self) {
        self.longest = self.longest.max(self.since.elapsed());
        self.since = Instant::now();
    }

    fn or_longer(self, other: Gap) -> Gap {
        Gap { longest: self.longest.max(other.longest), ..self }
    }
}

impl Seen {
    fn new() -> Self {
        let begun = Instant::now();
        let gap = Gap { since: begun, longest: Duration::ZERO };
        Seen {
            begun,
            direct: gap,
            rabbitmq: gap,
            accepted: 0,
            refused: 0,
            refused_late: 0,
            unknown: 0,
            broken_connections: 0,
        }
    }

    fn note(&mut self, transport: Transport, answer: Option<Answer>) {
        match answer {
            Some(Answer::Accepted(_)) => {
                let over_rabbitmq = transport == Transport::Rabbitmq;
                let gap = if over_rabbitmq { &mut self.rabbitmq } else { &mut self.direct };
                gap.ends();
                self.accepted += 1;
            }
            Some(Answer::Refused(code)) if code.certainty() == Certainty::Unknown => self.unknown += 1,
            Some(Answer::Refused(_)) => {
                self.refused += 1;
                self.refused_late += u64::from(self.begun.elapsed() > FIRST_SECOND);
            }
            Some(Answer::Nothing) => self.broken_connections += 1,
            // It stays unanswered, and the verdict says so.
            None => {}
        }
    }

    /// Both together: the longer gaps, the sums.
    pub(super) fn and(&self, other: &Seen) -> Seen {
        Seen {
            direct: self.direct.or_longer(other.direct),
            rabbitmq: self.rabbitmq.or_longer(other.rabbitmq),
            accepted: self.accepted + other.accepted,
            refused: self.refused + other.refused,
            refused_late: self.refused_late + other.refused_late,
            unknown: self.unknown + other.unknown,
            broken_connections: self.broken_connections + other.broken_connections,
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
    fn answers_are_counted_by_what_they_say_and_gaps_by_transport() {
        let mut seen = Seen::new();
        seen.begun -= Duration::from_secs(2);
        (seen.direct.since, seen.rabbitmq.since) = (seen.begun, seen.begun);
        seen.note(Transport::Http, Some(Answer::Accepted(Outcome::Stored)));
        seen.note(Transport::Rpc, Some(Answer::Refused(Code::Unavailable)));
        seen.note(Transport::Grpc, Some(Answer::Refused(Code::OutcomeUnknown)));
        seen.note(Transport::Http, Some(Answer::Nothing));
        assert!(seen.direct.longest >= Duration::from_secs(2) && seen.rabbitmq.longest.is_zero());
        let Seen { accepted, refused, refused_late, unknown, broken_connections, .. } = seen;
        assert_eq!((accepted, refused, refused_late, unknown, broken_connections), (1, 1, 1, 1, 1));
        let both = seen.and(&Seen::new());
        assert_eq!((both.accepted, both.direct.longest), (1, seen.direct.longest));
    }
}
