//! What passes on each wire: `fourwire explain` sends the entries and accounts for every byte; its recordings are read
//! here.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, ensure};
use explain::{Annotation, Explained, Recording, To, Unit};
use proto::Transport;
use tokio::process::Command;

use super::Bench;
use crate::{claims::figures::Wires, stack::Site};

/// Bytes of the large entry: one letter throughout, which any compression makes small.
const LARGE: usize = 16 * 1_024;

/// Entries of a stream.
const STREAMED: u64 = 4;

/// The calls of gRPC that stream, and how `explain` names them.
const STREAMS: [&str; 3] = ["write-logs", "sync-logs", "tail-logs"];

/// Looks at all of them.
pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<Wires> {
    let site = bench.site("wires").await?;
    let look = async |arguments: &[&str]| explained(&bench.binaries, &site, arguments).await;
    let mut sent = BTreeMap::new();
    let mut http_content_types = Vec::new();
    let mut published_to = String::new();
    for transport in Transport::ALL {
        let seen = look(&["--transport", transport.as_str()]).await?;
        sent.insert(transport, bytes_of(&seen, "entry 2"));
        match transport {
            Transport::Http => http_content_types = content_types(&seen),
            Transport::Rabbitmq => published_to = published(&seen),
            Transport::Rpc | Transport::Grpc => {}
        }
    }
    let text = "x".repeat(LARGE);
    let large = look(&["--transport", "grpc", "--entries", "1", "--data", &text]).await?;
    let mut messages = BTreeMap::new();
    let mut acknowledged = [0, STREAMED];
    for call in STREAMS {
        let seen = look(&["--transport", "grpc", "--call", call, "--entries", &STREAMED.to_string()]).await?;
        messages.insert(call.to_owned(), [To::Server, To::Client].map(|to| count(&seen, to)));
        if call == "sync-logs" {
            acknowledged[0] = before_the_last(&seen);
        }
    }
    let flags = ["compressed, ", "not compressed, "].map(|flag| {
        let units = large.units.iter();
        units.map(|unit| found(&unit.annotation, &|text| text.starts_with(flag))).sum::<u64>()
    });
    let encodings = |unit: &Unit| found(&unit.annotation, &|text| text.starts_with("grpc-encoding"));
    Ok(Wires {
        sent,
        http_content_types,
        compressed: [flags[0], flags[0] + flags[1]],
        encodings: large.units.iter().map(encodings).sum(),
        large: [LARGE as u64, bytes_of(&large, "entry 1")],
        acknowledged_before_the_last: acknowledged,
        messages,
        published_to,
    })
}

/// Runs `fourwire explain`, which ends with 1 if a byte is not accounted for.
async fn explained(binaries: &Path, site: &Site, arguments: &[&str]) -> anyhow::Result<Explained> {
    let file = site.directory().join("recording.ndjson");
    let mut command = Command::new(binaries.join("fourwire"));
    command
        .arg("explain")
        .args(arguments)
        .arg("--json")
        .arg("--save")
        .arg(&file)
        .env_clear()
        .kill_on_drop(true);
    for name in ["LOGGER_HTTP_URL", "LOGGER_RPC_ADDR", "LOGGER_GRPC_URL", "AMQP_URL"] {
        command.env(name, site.setting(name)?);
    }
    let output = command.output().await.context("fourwire cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "fourwire explain ended with {}: {said}", output.status);
    let text = std::fs::read_to_string(&file)?;
    std::fs::remove_file(&file)?;
    Ok(explain::explain(Recording::from_ndjson(&text)?))
}

/// The units of a part, such as `entry 2`.
fn part<'a>(seen: &'a Explained, name: &str) -> &'a [Unit] {
    let parts = &seen.recording.parts;
    let Some(at) = parts.iter().position(|(part, _)| part == name) else { return &[] };
    let first = |chunk: usize| seen.units.partition_point(|unit| unit.chunk < chunk);
    let end = parts.get(at + 1).map_or(seen.units.len(), |(_, chunk)| first(*chunk));
    &seen.units[first(parts[at].1).min(end)..end]
}

/// Bytes of a part to the server.
fn bytes_of(seen: &Explained, name: &str) -> u64 {
    let sent = part(seen, name).iter().filter(|unit| unit.to == To::Server);
    sent.map(|unit| unit.annotation.bytes() as u64).sum()
}

/// How many annotations have such a text.
fn found(annotation: &Annotation, is_it: &impl Fn(&str) -> bool) -> u64 {
    let own = u64::from(is_it(&annotation.text));
    own + annotation.children.iter().map(|child| found(child, is_it)).sum::<u64>()
}

/// Messages of gRPC that went one way: each begins with whether it is compressed.
fn count(seen: &Explained, to: To) -> u64 {
    let units = seen.units.iter().filter(|unit| unit.to == to);
    units.map(|unit| found(&unit.annotation, &|text| text.contains("compressed, length"))).sum()
}

/// Acknowledgements that came before the last entry was sent.
fn before_the_last(seen: &Explained) -> u64 {
    let has_message = |unit: &&Unit| found(&unit.annotation, &|text| text.contains("compressed, length")) > 0;
    let messages: Vec<&Unit> = seen.units.iter().filter(has_message).collect();
    let last = messages.iter().rposition(|unit| unit.to == To::Server).unwrap_or_default();
    messages[..last].iter().filter(|unit| unit.to == To::Client).count() as u64
}

fn content_types(seen: &Explained) -> Vec<String> {
    let mut types = Vec::new();
    for unit in part(seen, "entry 1") {
        for child in &unit.annotation.children {
            if let Some((name, value)) = child.text.split_once(": ")
                && name.eq_ignore_ascii_case("content-type")
            {
                types.push(value.trim_matches('"').to_owned());
            }
        }
    }
    types
}

/// The arguments of `basic.publish`.
fn published(seen: &Explained) -> String {
    let units = part(seen, "entry 2").iter();
    let publish = units.map(|unit| &unit.annotation).find(|unit| unit.text.starts_with("basic.publish"));
    let mut arguments = Vec::new();
    if let Some(publish) = publish {
        collect(
            publish,
            &|text| text.starts_with("exchange") || text.starts_with("routing_key"),
            &mut arguments,
        );
    }
    arguments.join(", ")
}

fn collect(annotation: &Annotation, is_it: &impl Fn(&str) -> bool, into: &mut Vec<String>) {
    if is_it(&annotation.text) {
        into.push(annotation.text.clone());
    }
    annotation.children.iter().for_each(|child| collect(child, is_it, into));
}
