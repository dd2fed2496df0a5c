//! Services that are down, and the order in which they are started.

use std::collections::BTreeMap;

use proto::Transport;
use serde_json::json;

use super::{Bench, stored};
use crate::{cell::Keeping, stack::Site};

/// Entries over each transport while the logger is down.
pub(super) const SENT: u64 = 20;

/// What was seen.
#[derive(Debug)]
pub(super) struct Down {
    pub(super) accepted: BTreeMap<Transport, u64>,
    pub(super) stored_after: u64,
    pub(super) any_order: bool,
}

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<Down> {
    let amqp_url = bench.node.add_virtual_host("down").await?;
    let mut site = Site::new(&bench.binaries, &amqp_url, Keeping::Synced, &[])?;
    // Who needs the logger comes first.
    site.start_broker().await?;
    site.launch_listener().await?;
    site.start_logger().await?;
    site.reaches(&Transport::ALL).await?;
    let mut any_order = true;
    for transport in Transport::ALL {
        any_order &= post(&site, transport, "order").await?;
    }
    any_order &= stored(&site, "order", Transport::ALL.len() as u64).await? == Transport::ALL.len() as u64;
    site.logger.kill().await?;
    let mut accepted = BTreeMap::new();
    for transport in Transport::ALL {
        let mut count = 0;
        for _ in 0..SENT {
            count += u64::from(post(&site, transport, "down").await?);
        }
        accepted.insert(transport, count);
    }
    site.start_logger().await?;
    let stored_after = stored(&site, "down", accepted.values().sum()).await?;
    Ok(Down { accepted, stored_after, any_order })
}

/// Sends an entry to the broker; whether it is accepted.
async fn post(site: &Site, transport: Transport, name: &str) -> anyhow::Result<bool> {
    let body =
        json!({ "action": "log", "transport": transport, "log": { "name": name, "data": "some data" } });
    let request = rig::http()?.post(format!("http://{}/handle", site.broker_at));
    Ok(request.body(body.to_string()).send().await?.status() == 202)
}
