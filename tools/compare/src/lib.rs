//! Measures the four transports side by side, on one machine and in one run.
//!
//! A [`stack::Stack`] is the system as it is shipped, on free ports; [`workload`] has the words for what is asked of it,
//! and a [`load`] asks it; [`cell`] is one thing that is measured, and [`run`] measures all of them in turn;
//! [`reconcile`] verifies every entry against the store; [`record`] is what a run leaves, and [`report`] shows it.
//! [`streams`], [`builds`] and [`peer`] are measurements of their own; [`claims`] says what a run shows of the lectures.
//! docs/comparing.md says how it measures, and why.

/// As `eprintln!`, which ends the process in a panic where nobody can read it: a measurement goes on.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($argument)*);
    }};
}

pub mod bare;
pub mod builds;
pub mod cell;
pub mod claims;
pub mod config;
pub mod diff;
pub mod faults;
mod fit;
pub mod load;
pub mod measure;
pub mod outage;
pub mod peer;
pub mod plan;
pub mod reconcile;
pub mod record;
pub mod report;
pub mod run;
pub mod stack;
pub mod stats;
pub mod streams;
mod system;
pub mod wire;
pub mod workload;
