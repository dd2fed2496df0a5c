//! The course's labs. A lab is a task, a start that does not do it, and a check that runs a learner's program, in
//! whatever language, against the real services or a server of ours, breaks something on purpose, and judges what is
//! seen on the wire and in the store. It starts everything itself, and knows nothing of how a program is written.

pub mod bench;
pub mod catalogue;
pub mod check;
pub mod config;
pub mod grade;
pub mod labs;
pub mod learner;
pub mod ports;
pub mod probe;
pub mod program;
pub mod progress;
pub mod report;
pub mod run;
pub mod talk;
pub mod verdict;
pub mod verify;
pub mod watchdog;
pub mod words;
