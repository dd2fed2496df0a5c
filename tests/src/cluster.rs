//! The cluster of `deploy/cluster/compose.yaml`, broken under load: what `make cluster-test` runs.
//!
//! `tests/containers/cluster.sh` makes the images, starts the containers and calls the binary `cluster`. Load, client and
//! ledger are those of the rig, so the words of the verdict are those of `make torture`. It starts no container engine, and
//! is no part of `make test`.

mod cost;
mod engine;
mod fault;
mod parts;
mod report;
mod rounds;
mod watched;

pub use engine::Engine;
pub use fault::Fault;
pub use report::page;
pub use rounds::{Cluster, Outcome};
