//! The checks, one file each, with one outline: what it stands against, then the properties in order.

mod ack_after_store;
mod again_but_once;
mod follow_one_entry;
mod four_wires;
mod from_the_proto;
mod honest_clock;
mod kept_word;
mod own_rpc;
mod queued_not_done;
mod streams;

use crate::{bench::Bench, run::Run};

/// Runs the check of a lab.
///
/// # Errors
/// If it stopped at a failure, or something of ours does not work.
pub async fn check(number: u32, bench: &mut Bench<'_>, run: &mut Run<'_>) -> anyhow::Result<()> {
    match number {
        1 => four_wires::check(bench, run).await,
        2 => again_but_once::check(bench, run).await,
        3 => own_rpc::check(bench, run).await,
        4 => queued_not_done::check(bench, run).await,
        5 => ack_after_store::check(bench, run).await,
        6 => from_the_proto::check(bench, run).await,
        7 => streams::check(bench, run).await,
        8 => kept_word::check(bench, run).await,
        9 => follow_one_entry::check(bench, run).await,
        10 => honest_clock::check(bench, run).await,
        _ => anyhow::bail!("lab {number} has no check"),
    }
}
