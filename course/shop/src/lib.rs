//! The online shop of the first lecture: four services over gRPC and a front over HTTP, in one binary.
//!
//! [`user`], [`product`], [`payment`], [`order`] and [`front`] are the services; none uses another's module, only its
//! calls, as `shop.proto` has them ([`pb`]). What they share: each keeps its state in a [`store`] of its own, writes
//! what it has done into an [`outbox`] in the same transaction, and calls the others by [`calls`]. It is a user of
//! Fourwire, by the broker's HTTP alone, and knows nothing of how entries are delivered.

pub mod broker;
pub mod calls;
pub mod check;
pub mod config;
pub mod faults;
pub mod front;
pub mod grpc;
pub mod money;
pub mod order;
pub mod outbox;
pub mod payment;
pub mod product;
pub mod refusal;
pub mod store;
pub mod user;

/// What `shop.proto` compiles to.
#[expect(
    missing_docs,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated; shop.proto has the comments"
)]
pub mod pb {
    tonic::include_proto!("shop.v1");
}

impl pb::State {
    /// Whether no other comes after it.
    pub const fn is_final(self) -> bool {
        match self {
            pb::State::Delivered | pb::State::Rejected | pb::State::Cancelled => true,
            pb::State::Unspecified
            | pb::State::Placed
            | pb::State::Reserved
            | pb::State::Held
            | pb::State::Accepted
            | pb::State::Paid
            | pb::State::Shipped => false,
        }
    }
}

pub use config::{Config, Service};

use service::{Shutdown, Telemetry};

/// Opens the store and the port of the service that the settings name, and serves until `shutdown`.
///
/// # Errors
/// If one of them cannot be opened; the message says which, and what to do.
pub async fn run(config: Config, telemetry: Telemetry, shutdown: Shutdown) -> anyhow::Result<()> {
    config.check()?;
    #[cfg(feature = "faults")]
    faults::choose(config.shop_fault);
    match config.service {
        Service::User => user::run(config, shutdown).await,
        Service::Product => product::run(config, shutdown).await,
        Service::Payment => payment::run(config, shutdown).await,
        Service::Order => order::run(config, shutdown).await,
        Service::Front => front::run(config, telemetry, shutdown).await,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    #[test]
    fn no_service_uses_the_module_of_another() {
        let services = ["user", "product", "payment", "order", "front"];
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for service in services {
            let (file, directory) = (source.join(format!("{service}.rs")), source.join(service));
            let mut files: Vec<_> = [file].into_iter().filter(|file| file.exists()).collect();
            let inside =
                fs::read_dir(directory).into_iter().flatten().map(|file| file.expect("a file").path());
            files.extend(inside);
            assert!(!files.is_empty(), "{service}");
            for file in files {
                let text = fs::read_to_string(&file).expect("UTF-8");
                for other in services.into_iter().filter(|other| *other != service) {
                    assert!(!text.contains(&format!("crate::{other}")), "{} uses {other}", file.display());
                    assert!(!text.contains(&format!("    {other}::{{")), "{} uses {other}", file.display());
                }
            }
        }
    }
}
