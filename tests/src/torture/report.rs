//! What a trial has shown.

use rig::Verdict;

/// What a trial has shown.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many rounds it had.
    pub rounds: u32,
    /// How many entries were sent.
    pub entries: usize,
    /// How many of them were accepted.
    pub accepted: usize,
    /// What was measured, for the table.
    pub figures: String,
    /// Each promise that was broken, in a sentence. None, if all held.
    pub broken: Vec<String>,
}

impl Report {
    /// What a reconciliation has shown.
    pub fn of(verdict: &Verdict, rounds: u32) -> Self {
        let broken = if verdict.is_sound() { Vec::new() } else { vec![verdict.to_string()] };
        let (entries, accepted) = (verdict.sent, verdict.accepted);
        Report { rounds, entries, accepted, figures: verdict.to_string(), broken }
    }
}
