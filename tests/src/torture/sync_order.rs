//! Reads from a trace of the logger's system calls that it answers after the sync, and not before.
//!
//! The trace has its lines in the order of events. For each entry three are looked for: the write that takes it
//! into the write-ahead log, the end of the next sync of that log, and the write of its answer to a socket.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
};

use proto::{LogEntry, Outcome, Transport};
use rand::{SeedableRng, rngs::StdRng};
use rig::{Answer, Ledger};

use super::{Report, Tried, lone::Lone, random_entry};
use crate::{DIRECT, process::tracing_into, soon};

/// Stores so many entries, one after the other over each of the direct transports, the three at once.
pub async fn run(entries: u32, seed: u64, mut progress: impl FnMut(u32)) -> Tried {
    let dir = tempfile::tempdir()?;
    let trace = dir.path().join("trace");
    let store = format!("sqlite:{}", dir.path().join("logs.db").display());
    let settings = BTreeMap::from([("LOGGER_STORE", store)]);
    let mut lone = Lone::start_under(tracing_into(&trace), &settings, dir.path()).await?;
    let mut ledger = Ledger::default();
    let mut sent = HashMap::<Transport, Vec<LogEntry>>::new();
    let mut random = StdRng::seed_from_u64(seed);
    let mut broken = Vec::new();
    for direct in DIRECT {
        lone.connects(direct).await?;
    }
    let mut accepted = 0;
    while accepted < entries {
        let [http, rpc, grpc] = DIRECT.map(|transport| (transport, random_entry(&mut random)));
        let mut notes = [Ledger::default(), Ledger::default(), Ledger::default()];
        let [first, second, third] = &mut notes;
        let answers = tokio::join!(
            lone.send(http.0, &http.1, first),
            lone.send(rpc.0, &rpc.1, second),
            lone.send(grpc.0, &grpc.1, third),
        );
        notes.into_iter().for_each(|note| ledger.merge(note));
        let answers: [Answer; 3] = answers.into();
        for ((transport, entry), answer) in [http, rpc, grpc].into_iter().zip(answers) {
            match answer {
                Answer::Accepted(Outcome::Stored) => accepted += 1,
                Answer::Accepted(_) | Answer::Refused(_) | Answer::Nothing => {
                    broken.push(format!("{transport}: {answer:?}"));
                }
            }
            sent.entry(transport).or_default().push(entry);
        }
        if !broken.is_empty() {
            break;
        }
        progress(accepted);
    }
    lone.logger.stop().await?;
    let trace = soon("the trace is whole", async || {
        let text = String::from_utf8_lossy(&fs::read(&trace).unwrap_or_default()).into_owned();
        text.trim_end().ends_with("+++ exited with 0 +++").then_some(text)
    });
    let trace = Trace::read(&trace.await?);
    let mut in_order = 0;
    for (transport, entries) in sent {
        let port = match transport {
            Transport::Http => lone.logger_at.http.port(),
            Transport::Rpc => lone.logger_at.rpc.port(),
            Transport::Grpc | Transport::Rabbitmq => lone.logger_at.grpc.port(),
        };
        let answers = trace.answers.get(&port).map_or(&[][..], Vec::as_slice);
        if answers.len() != entries.len() {
            broken.push(format!("{} answers over {transport} to {} entries", answers.len(), entries.len()));
        }
        let mut from = 0;
        for (entry, answered_at) in entries.iter().zip(answers) {
            match trace.synced_at(entry, &mut from) {
                Some(synced_at) if synced_at < *answered_at => in_order += 1,
                Some(_) => {
                    broken.push(format!("{} was answered over {transport} before its sync", entry.id()))
                }
                None => broken.push(format!("the trace has no sync for {}", entry.id())),
            }
        }
    }
    let figures = format!("the sync returned before the answer was written: {in_order} of {accepted}");
    Ok(Report { rounds: 1, entries: ledger.sent().len(), accepted: accepted as usize, figures, broken })
}

/// The events that matter, each with its place in the order of all.
#[derive(Debug, Default)]
struct Trace {
    /// Writes to the log.
    writes: Vec<(usize, String)>,
    /// When a sync of the log began, and when it returned success.
    syncs: Vec<(usize, usize)>,
    /// Answers of success, by the port that they left from.
    answers: HashMap<u16, Vec<usize>>,
}

impl Trace {
    fn read(text: &str) -> Self {
        let mut trace = Trace::default();
        let mut under_way = HashMap::<&str, usize>::new();
        for (place, line) in text.lines().enumerate() {
            let Some((thread, call)) = line.split_once(' ') else { continue };
            let call = call.trim_start();
            let of_the_log = call.contains("-wal>");
            if call.starts_with("pwrite64(") && of_the_log {
                trace.writes.push((place, call.to_owned()));
            } else if call.starts_with("fsync(") || call.starts_with("fdatasync(") {
                if of_the_log && call.ends_with("<unfinished ...>") {
                    under_way.insert(thread, place);
                } else if of_the_log && call.ends_with("= 0") {
                    trace.syncs.push((place, place));
                }
            } else if call.starts_with("<... fsync") || call.starts_with("<... fdatasync") {
                let began = under_way.remove(thread).filter(|_| call.ends_with("= 0"));
                trace.syncs.extend(began.map(|began| (began, place)));
            } else if let Some(port) = socket_port(call).filter(|_| call.contains("stored")) {
                trace.answers.entry(port).or_default().push(place);
            }
        }
        trace
    }

    /// When the first sync that began after the entry was written to the log had returned.
    /// Writes before number `from` are of entries before this one; it moves on.
    fn synced_at(&self, entry: &LogEntry, from: &mut usize) -> Option<usize> {
        let marker = &entry.data()[..32];
        let found = self.writes[*from..].iter().position(|(_, call)| call.contains(marker))?;
        *from += found;
        let (written, _) = self.writes[*from];
        self.syncs.iter().find(|(began, _)| *began > written).map(|(_, ended)| *ended)
    }
}

/// Our own port of the socket that a call writes to.
fn socket_port(call: &str) -> Option<u16> {
    let (_, socket) = call.split_once("<TCP:[")?;
    let (local, _) = socket.split_once("->")?;
    local.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = r#"
7 pwrite64(11</d/logs.db-wal>, "..0123456789abcdef0123456789abcdef..", 4096, 56) = 4096
7 fsync(11</d/logs.db-wal> <unfinished ...>
8 sendto(14<TCP:[127.0.0.1:80->127.0.0.1:5]>, "HTTP/1.1 202 .. stored", 22, MSG_NOSIGNAL, NULL, 0) = 22
7 <... fsync resumed>)       = 0
8 sendto(15<TCP:[127.0.0.1:81->127.0.0.1:6]>, "stored", 6, MSG_NOSIGNAL, NULL, 0) = 6
"#;

    #[test]
    fn an_answer_before_its_sync_is_told_from_one_after_it() {
        let draft = proto::EntryDraft {
            name: "n".into(),
            data: "0123456789abcdef".repeat(2),
            ..proto::EntryDraft::default()
        };
        let entry = draft.check(jiff::Timestamp::UNIX_EPOCH).expect("valid");
        let trace = Trace::read(TRACE);
        let synced_at = trace.synced_at(&entry, &mut 0).expect("synced");
        assert!(trace.answers[&80][0] < synced_at);
        assert!(trace.answers[&81][0] > synced_at);
    }
}
