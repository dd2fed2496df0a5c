//! `compare peer`, which runs ours and the same system in Go in turn.

use std::{path::Path, process::Command};

use ::compare::{
    config::{Common, Peer},
    peer::{self, Side},
    workload::Subject,
};
use anyhow::{Context, ensure};
use tests::binaries::binary;

/// Builds the peer beside our binaries.
fn build(directory: &Path) -> anyhow::Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/compare/peer/build.sh");
    let built = Command::new(script).arg(directory).env("GOCACHE", directory.join("go-cache")).status()?;
    ensure!(built.success(), "the peer cannot be built: `sudo deploy/tools.sh` installs what it needs");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_and_the_peer_lose_nothing_over_any_transport() -> anyhow::Result<()> {
    let broker = binary("broker");
    let binaries = broker.parent().context("a directory")?;
    let directory = tempfile::tempdir()?;
    build(directory.path())?;
    let arguments = Peer {
        connections: vec![8],
        common: Common {
            seed: 1,
            out: Some(directory.path().join("out")),
            binaries: Some(binaries.to_owned()),
        },
        gopeer: Some(directory.path().join("gopeer")),
        repetitions: 1,
        seconds: 1,
        payload: 64,
        subjects: Vec::new(),
        // A debug build: what is looked at are counts.
        force: true,
    };
    let (record, out) = peer::run(&arguments).await?;
    assert_eq!(record.lost_at_least(), 0);
    assert_eq!(record.cells.len(), Subject::ALL.len());
    for cell in &record.cells {
        let sides = if cell.subject == Subject::Echo { 2 } else { Side::ALL.len() };
        assert_eq!(cell.by_side.len(), sides, "{}", cell.subject.as_str());
        for (side, runs) in &cell.by_side {
            let ran = runs.first().context("a repetition")?;
            let what = format!("{} of {}: {ran:?}", cell.subject.as_str(), side.as_str());
            assert!(ran.seen.accepted() > 0 && ran.seen.rejected == 0 && ran.seen.broken == 0, "{what}");
            // What is only echoed is stored nowhere.
            assert_eq!(ran.stored > 0, cell.subject != Subject::Echo, "{what}");
        }
    }
    let tables = std::fs::read_to_string(out.join("peer.md"))?;
    for row in ["| http ", "| rpc ", "| rabbitmq ", "| rabbitmq, stored/s ", "| grpc ", "| echo "] {
        assert!(tables.contains(row), "{row} is missing:\n{tables}");
    }
    Ok(())
}
