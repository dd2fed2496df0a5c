//! `compare` against a system of which it is known what is wrong with it; its report, and the peer.

mod peer;
mod report;
mod sample;

use std::{path::Path, time::Duration};

use ::compare::{
    cell::Keeping,
    claims::{self, Record, Verdict},
    config::{Claims, Common},
    load::{Load, Seen},
    reconcile::{self, Found, Place},
    stack::Site,
    workload::{Shape, Subject},
};
use anyhow::Context;
use proto::Transport;
use tests::{
    binaries::{binary, faulty_binary},
    rabbitmq::VirtualHost,
};

/// How long a load takes.
const LOAD: Duration = Duration::from_secs(3);

fn load(site: &Site, transport: Transport, callers: usize) -> Load {
    Load::new(site.broker_at, Subject::Transport(transport), Shape::Closed { callers }, LOAD)
}

async fn verified(site: &Site, load: &Load, seen: &Seen) -> anyhow::Result<Found> {
    reconcile::reconcile(&site.logger_client(), &load.name, Place::Anywhere, seen).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousandth_that_is_lost_is_found() -> anyhow::Result<()> {
    let rabbitmq = VirtualHost::create().await;
    let binary = faulty_binary("logger");
    let binaries = binary.parent().context("a directory")?;
    for (fault, loses) in [(Some("drop-some"), true), (None, false)] {
        let mut site = Site::new(binaries, &rabbitmq.url(), Keeping::Synced, &[])?;
        if let Some(fault) = fault {
            site.set("LOGGER_FAULT", fault.to_owned());
        }
        site.start_logger().await?;
        site.start_broker().await?;
        site.reaches(&Transport::ALL).await?;
        let mut sent = 0;
        let (load, seen, dropped) = loop {
            let load = load(&site, Transport::Grpc, 64);
            let seen = load.run_beside().await?;
            let dropped = seen.ids.iter().filter(|id| id.as_u128().is_multiple_of(1_000)).count();
            if dropped > 0 || !loses {
                break (load, seen, dropped);
            }
            // By chance none was one to drop, which is likely where a busy machine sends few.
            sent += seen.ids.len();
            assert!(sent < 20_000, "none of {sent} ids was one to drop");
        };
        let found = verified(&site, &load, &seen).await?;
        assert_eq!(found.kept.lost, if loses { dropped } else { 0 }, "{}", found.kept);
        assert_eq!(found.kept.is_sound(), found.kept.lost == 0);
        assert_eq!(found.kept.stored + found.kept.lost, seen.ids.len());
        // The same entries, verified against a text of the same length that nobody has sent.
        let other = Seen { texts: seen.texts.iter().map(|text| "~".repeat(text.len())).collect(), ..seen };
        let altered = verified(&site, &load, &other).await?.kept.altered;
        assert_eq!(altered, found.kept.stored, "altered entries are found");
    }
    Ok(())
}

/// Claims that are judged by what passes on the wires: no machine is too slow or too busy for them.
const BY_THE_WIRE: [(u8, Verdict); 4] =
    [(9, Verdict::Refuted), (11, Verdict::Supported), (15, Verdict::Supported), (24, Verdict::Supported)];

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_measured_and_its_verdict_is_made_of_the_figures() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let binaries = binary("fourwire").parent().map(Path::to_owned);
    let common = Common { seed: 1, out: Some(directory.path().to_owned()), binaries };
    let only = BY_THE_WIRE.map(|(id, _)| id).into();
    let arguments = Claims { common, only, quick: true, draw: None, force: true };
    let (record, _) = claims::run(&arguments).await?;
    let judged: Vec<(u8, Verdict)> = record.claims.iter().map(|judged| (judged.id, judged.verdict)).collect();
    assert_eq!(judged, BY_THE_WIRE);
    assert_eq!(Record::read(directory.path())?.claims, record.claims, "claims.json keeps the verdicts");
    assert!(!directory.path().join("claims.md").exists(), "a page is of all claims");
    Ok(())
}
