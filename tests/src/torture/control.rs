//! Negative controls: a promise is broken on purpose, and the checker must notice. A checker that was never seen to
//! fail proves nothing.
//!
//! Each is a trial under load that a sound stack passes, with one service of a build that can break promises.

use std::fmt;

use proto::Transport;
use rig::Verdict;

use super::{Report, Tried, postgres_killed, under_load, under_load::Breakage};

/// How often something is broken before the checker is asked.
const BREAKAGES: u32 = 3;

/// The promise that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray)]
pub enum Control {
    /// The logger answers before it commits.
    AckBeforeCommit,
    /// The logger stores an id as often as it is sent.
    NoDedup,
    /// The broker gives two callers each other's confirm.
    SwappedConfirms,
    /// The listener acknowledges before it stores.
    AckOnReceipt,
    /// PostgreSQL answers a commit before it syncs it.
    UnsyncedDatabase,
}

impl Control {
    /// Breaks the promise, does what brings that to light, and asks the checker.
    async fn verdict(self, seed: u64) -> anyhow::Result<Verdict> {
        let (setting, fault, breakage) = match self {
            Control::AckBeforeCommit => {
                ("LOGGER_FAULT", "ack-before-commit", Breakage::LoggerKilled(Transport::Grpc))
            }
            Control::NoDedup => ("LOGGER_FAULT", "no-dedup", Breakage::HopBroken(Transport::Http)),
            Control::SwappedConfirms => ("BROKER_FAULT", "swap-confirms", Breakage::Unbound),
            Control::AckOnReceipt => ("LISTENER_FAULT", "ack-on-receipt", Breakage::ListenerKilled),
            Control::UnsyncedDatabase => {
                return postgres_killed::run_expecting_violations(BREAKAGES, seed).await;
            }
        };
        under_load::run_expecting_violations(breakage, &[(setting, fault)], BREAKAGES, seed).await
    }

    /// What of a verdict the fault explains: the counts and their name.
    fn expected(self, verdict: &mut Verdict) -> Vec<(&'static str, &mut usize)> {
        match self {
            Control::AckBeforeCommit | Control::AckOnReceipt | Control::UnsyncedDatabase => {
                vec![("lost", &mut verdict.lost)]
            }
            Control::NoDedup => vec![("duplicated", &mut verdict.duplicated)],
            Control::SwappedConfirms => {
                vec![("lost", &mut verdict.lost), ("resurrected", &mut verdict.resurrected)]
            }
        }
    }

    /// What the checker has noticed; `None` if it has not noticed everything that the fault must lead to.
    ///
    /// # Errors
    /// The verdict, if it holds something that the fault does not explain.
    fn detected(self, verdict: &Verdict) -> Result<Option<String>, String> {
        let mut rest = *verdict;
        let expected = self.expected(&mut rest);
        let all = expected.iter().all(|(_, count)| **count > 0);
        let words: Vec<String> = expected.iter().map(|(word, count)| format!("{word} {count}")).collect();
        expected.into_iter().for_each(|(_, count)| *count = 0);
        if rest.is_sound() {
            Ok(all.then(|| words.join(" ")))
        } else {
            Err(format!("not only what the fault explains: {verdict}"))
        }
    }
}

/// Breaks the promise until the checker notices, at most `rounds` times.
pub async fn run(control: Control, rounds: u32, seed: u64, mut progress: impl FnMut(u32)) -> Tried {
    let mut report = Report::default();
    let mut figures = Vec::new();
    for round in 0..rounds {
        let verdict = control.verdict(seed.wrapping_add(u64::from(round))).await?;
        progress(round + 1);
        report.rounds += 1;
        report.entries += verdict.sent;
        report.accepted += verdict.accepted;
        figures.push(verdict.to_string());
        match control.detected(&verdict) {
            Ok(Some(words)) => {
                report.figures = format!("detected: {words} (of {} accepted)", report.accepted);
                return Ok(report);
            }
            Ok(None) => {}
            Err(broken) => {
                report.broken.push(broken);
                break;
            }
        }
    }
    if report.broken.is_empty() {
        report.broken.push("the checker did not notice the fault".to_owned());
    }
    report.figures = figures.join("; ");
    Ok(report)
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Control::AckBeforeCommit => "control-ack-before-commit",
            Control::NoDedup => "control-no-dedup",
            Control::SwappedConfirms => "control-swapped-confirms",
            Control::AckOnReceipt => "control-ack-on-receipt",
            Control::UnsyncedDatabase => "control-unsynced-database",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_detected_by_its_own_violations_and_by_no_others() {
        let sound = Verdict::default();
        assert_eq!(Control::SwappedConfirms.detected(&sound), Ok(None));
        let half = Verdict { lost: 2, ..sound };
        assert_eq!(Control::SwappedConfirms.detected(&half), Ok(None));
        let both = Verdict { resurrected: 3, ..half };
        assert_eq!(Control::SwappedConfirms.detected(&both), Ok(Some("lost 2 resurrected 3".to_owned())));
        assert!(Control::SwappedConfirms.detected(&Verdict { altered: 1, ..both }).is_err());
        assert!(Control::NoDedup.detected(&both).is_err());
    }
}
