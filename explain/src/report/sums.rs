//! How many bytes there are of each purpose, part by part.

use std::fmt::Write;

use strum::VariantArray;

use super::{ENTRY, Part, unread};
use crate::{Cost, Explained, Purpose, To};

/// Most parts that have a column of their own.
const PARTS: usize = 3;

/// The sums, and what is to be known of them.
pub(super) fn put(out: &mut String, explained: &Explained, parts: &[Part]) {
    let mut columns: Vec<(String, [Cost; 2])> =
        parts.iter().take(PARTS).map(|part| column(part.name, part)).collect();
    let all = [To::Server, To::Client].map(|to| Explained::cost(&explained.units, to));
    columns.push(("all".to_owned(), all));
    let mut head = format!("{:<38}", "bytes by purpose");
    for (name, _) in &columns {
        let _ = write!(head, "{:>15}", name.chars().take(14).collect::<String>());
    }
    let _ = writeln!(out, "{head}");
    let arrows = columns.iter().map(|_| format!("{:>8}{:>7}", "→", "←"));
    let _ = writeln!(out, "{:<38}{}", "", arrows.collect::<String>());
    let row = |name: &str, of: &dyn Fn(&Cost) -> usize| {
        let numbers = columns
            .iter()
            .map(|(_, [to_server, to_client])| format!("{:>8}{:>7}", of(to_server), of(to_client)));
        format!("{name:<38}{}\n", numbers.collect::<String>())
    };
    for purpose in Purpose::VARIANTS {
        if all.iter().any(|cost| cost.get(*purpose) > 0) {
            out.push_str(&row(purpose.as_str(), &|cost| cost.get(*purpose) as usize));
        }
    }
    out.push_str(&row("all", &Cost::total));
    out.push('\n');
    put_yours(out, parts);
    put_notes(out, explained);
}

fn column(name: &str, part: &Part) -> (String, [Cost; 2]) {
    (name.to_owned(), [To::Server, To::Client].map(|to| Explained::cost(part.units.iter().copied(), to)))
}

/// How much of what was sent is the entry itself.
fn put_yours(out: &mut String, parts: &[Part]) {
    for part in parts.iter().filter(|part| part.name.starts_with(ENTRY)).take(2) {
        let cost = Explained::cost(part.units.iter().copied(), To::Server);
        let (yours, all) = (cost.get(Purpose::Entry), cost.total());
        let _ =
            writeln!(out, "{}: {yours} of the {all} bytes to the server are its name and data.", part.name);
    }
}

fn put_notes(out: &mut String, explained: &Explained) {
    let not_read = unread(explained, To::Server) + unread(explained, To::Client);
    if not_read > 0 {
        let _ = writeln!(out, "{not_read} bytes could not be decoded as {}.", explained.wire().as_str());
    }
    let is_encrypted = Explained::cost(&explained.units, To::Server).get(Purpose::Encrypted) > 0;
    if is_encrypted {
        out.push_str(
            "The connection is encrypted: only TLS's records can be told. Without TLS all can be.\n",
        );
    }
    out.push_str("Times are of the relay's reads, which are no TCP segments; TCP and IP are not counted.\n");
}
