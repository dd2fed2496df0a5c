//! How much may be in flight over one transport.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use proto::{
    Code, Failure, LogEntry,
    json::check_batch_len,
    limits::{BATCH_ENTRIES, BODY_BYTES, IN_FLIGHT_BYTES, IN_FLIGHT_CALLS, IN_FLIGHT_ENTRIES},
};

/// Counts what is in flight over one transport, in calls, in entries and in bytes.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    calls: Arc<AtomicUsize>,
    entries: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
}

/// Room for some entries; given back when dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    _call: Taken,
    _entries: Taken,
    _bytes: Taken,
}

impl Admission {
    /// Takes room for `entries`, or refuses at once: a longer queue would only move the wait.
    pub(crate) fn admit(&self, entries: &[LogEntry]) -> Result<Admitted, Failure> {
        // An empty one goes on, to be refused by the logger: that is how one asks whether it is there.
        if entries.len() > BATCH_ENTRIES {
            check_batch_len(entries.len())?;
        }
        let bytes = entries.iter().map(LogEntry::payload_bytes).sum();
        if bytes > BODY_BYTES {
            let message = format!("the entries have {bytes} bytes: the limit of a batch is {BODY_BYTES}");
            return Err(Failure::new(Code::TooLarge, message));
        }
        let full = || Failure::overloaded("this transport");
        Ok(Admitted {
            _call: Taken::take(&self.calls, 1, IN_FLIGHT_CALLS).ok_or_else(full)?,
            _entries: Taken::take(&self.entries, entries.len(), IN_FLIGHT_ENTRIES).ok_or_else(full)?,
            _bytes: Taken::take(&self.bytes, bytes, IN_FLIGHT_BYTES).ok_or_else(full)?,
        })
    }
}

#[derive(Debug)]
struct Taken {
    from: Arc<AtomicUsize>,
    amount: usize,
}

impl Taken {
    fn take(from: &Arc<AtomicUsize>, amount: usize, limit: usize) -> Option<Self> {
        from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            taken.checked_add(amount).filter(|sum| *sum <= limit)
        })
        .ok()?;
        Some(Taken { from: Arc::clone(from), amount })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.from.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proto::EntryDraft;

    use super::*;

    fn entries(count: usize) -> Vec<LogEntry> {
        let draft = EntryDraft { name: "n".into(), ..EntryDraft::default() };
        let now = "2026-01-31T12:00:00Z".parse().expect("a time");
        (0..count).map(|_| draft.clone().check(now).expect("valid")).collect()
    }

    #[test]
    fn what_is_over_the_limit_is_refused_and_room_comes_back() {
        let admission = Admission::default();
        let batch = entries(BATCH_ENTRIES);
        let most: Vec<Admitted> = (0..IN_FLIGHT_ENTRIES / BATCH_ENTRIES)
            .map(|_| admission.admit(&batch).expect("they fit"))
            .collect();
        let rest = admission.admit(&batch[..IN_FLIGHT_ENTRIES % BATCH_ENTRIES]).expect("just as many as fit");
        let refusal = admission.admit(&entries(1)).expect_err("one too many");
        assert_eq!(refusal.code, Code::Overloaded);
        drop((most, rest));
        assert!(admission.admit(&entries(1)).is_ok());
    }

    #[test]
    fn single_entries_are_refused_long_before_they_are_as_many_as_those_of_batches_may_be() {
        let admission = Admission::default();
        let one = entries(1);
        let most: Vec<Admitted> =
            (0..IN_FLIGHT_CALLS).map(|_| admission.admit(&one).expect("they fit")).collect();
        assert_eq!(admission.admit(&one).expect_err("one too many").code, Code::Overloaded);
        drop(most);
        assert!(admission.admit(&one).is_ok());
    }

    #[test]
    fn a_refusal_for_bytes_gives_its_entries_back() {
        let admission = Admission::default();
        admission.bytes.store(IN_FLIGHT_BYTES, Ordering::Relaxed);
        assert!(admission.admit(&entries(1)).is_err());
        assert_eq!(admission.entries.load(Ordering::Relaxed), 0);
        assert_eq!(admission.calls.load(Ordering::Relaxed), 0);
    }
}
