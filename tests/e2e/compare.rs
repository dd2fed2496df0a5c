//! `compare` against a system of which it is known what is wrong with it.

use std::{path::Path, time::Duration};

use ::compare::{
    cell::Keeping,
    load::{Load, Seen, Shape, Subject},
    reconcile::{self, Found, Place},
    stack::Site,
};
use proto::Transport;
use tests::{process::faulty_binary, rabbitmq::VirtualHost};

/// How long a load takes.
const LOAD: Duration = Duration::from_secs(3);

fn load(site: &Site, transport: Transport, callers: usize) -> Load {
    Load::new(site.broker_at, Subject::Transport(transport), Shape::Closed { callers }, LOAD)
}

fn directory(of: &Path) -> &Path {
    of.parent().expect("a directory")
}

fn held_against_the_store(site: &Site, load: &Load, seen: &Seen) -> Found {
    let found = reconcile::reconcile(site.logger_at, &load.name, Place::Anywhere, seen);
    found.expect("the logger answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousandth_that_is_lost_is_found() {
    let rabbitmq = VirtualHost::create().await;
    let binaries = faulty_binary("logger");
    for (fault, loses) in [(Some("drop-some"), true), (None, false)] {
        let mut site =
            Site::empty(directory(&binaries), &rabbitmq.url(), Keeping::Synced).expect("a directory");
        if let Some(fault) = fault {
            site.set("LOGGER_FAULT", fault.to_owned());
        }
        site.start_logger().await.expect("a logger");
        site.start_broker().await.expect("a broker");
        let mut sent = 0;
        let (load, seen, dropped) = loop {
            let load = load(&site, Transport::Grpc, 64);
            let seen = load.run_beside().await.expect("it does not panic");
            let dropped = seen.ids.iter().filter(|id| id.as_u128().is_multiple_of(1_000)).count() as u64;
            if dropped > 0 || !loses {
                break (load, seen, dropped);
            }
            // By chance none was one to drop, which is likely where a busy machine sends few.
            sent += seen.ids.len();
            assert!(sent < 20_000, "none of {sent} ids was one to drop");
        };
        let found = held_against_the_store(&site, &load, &seen);
        assert_eq!(found.kept.lost, if loses { dropped } else { 0 }, "{:?}", found.kept);
        assert_eq!(found.kept.is_sound(), found.kept.lost == 0);
        assert_eq!(found.kept.stored + found.kept.lost, seen.ids.len() as u64);
        // The same entries, held against a text of the same length that nobody has sent.
        let other = Seen { texts: seen.texts.iter().map(|text| "~".repeat(text.len())).collect(), ..seen };
        let wrong = held_against_the_store(&site, &load, &other).kept.wrong;
        assert_eq!(wrong, found.kept.stored, "altered entries are found");
    }
}
