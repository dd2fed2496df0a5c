//! Breaks the stack under load, over and over, and holds what was answered against what is stored.
//!
//! A [`Trial`] is one way to break it. Both `make torture`, with many rounds, and the end-to-end tests, with a
//! few, run them.

mod load;
mod trial;

pub use load::Load;
pub use trial::{Report, Trial, kill_listener_in_mid_batch};
