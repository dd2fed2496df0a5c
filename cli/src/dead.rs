//! `fourwire dead`: the dead letters in RabbitMQ.

use std::{
    collections::HashSet,
    io::{self, Write as _},
};

use jiff::Timestamp;
use proto::{Code, Failure, Transport};
use serde::Serialize;
use transport::rabbitmq::{DeadLetter, DeadLetters};

use crate::{
    Ending,
    config::{Dead, Stack, What, Which, place},
    interrupt::Interrupt,
    problem::Problem,
    text::{counted, escape, json_line, put, put_or_tell},
};

/// Does with them what was asked for.
pub(crate) async fn dead(arguments: &Dead, stack: &Stack) -> Result<Ending, Problem> {
    if let What::Drop { yes: false, .. } = &arguments.what {
        let why = "dropped messages are lost: look at them with `fourwire dead show`, then pass --yes";
        return Err(Problem::usage(why));
    }
    let interrupt = Interrupt::on_signal().map_err(Problem::Usage)?;
    tokio::select! {
        biased;
        // RabbitMQ gives back what is not settled when the connection ends.
        () = interrupt.insisted() => {
            say!("interrupted twice");
            Ok(Ending::Unknown)
        }
        ending = act(arguments, stack, &interrupt) => ending,
    }
}

async fn act(arguments: &Dead, stack: &Stack, interrupt: &Interrupt) -> Result<Ending, Problem> {
    let letters = DeadLetters::open(&stack.rabbitmq()?).await.map_err(failed)?;
    let done = match &arguments.what {
        What::List { limit, json } => list(&letters, *limit, *json, interrupt).await,
        What::Show { id, body } => show(&letters, id, *body, interrupt).await,
        What::Retry(which) => each(&letters, which, Act::Retry, interrupt).await,
        What::Drop { which, .. } => each(&letters, which, Act::Drop, interrupt).await,
    };
    // RabbitMQ does the same when the connection ends; what was done is done.
    let given_back = letters.close().await;
    let ending = done?;
    given_back.map_err(failed)?;
    Ok(ending)
}

fn interrupted() -> Ending {
    say!("interrupted before all were read");
    Ending::NotStored
}

fn failed(failure: Failure) -> Problem {
    Problem::Failed(failure.about_reading(), place(Transport::Rabbitmq))
}

/// A dead letter in a list.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    id: &'a str,
    code: &'a str,
    reason: &'a str,
    since: Option<Timestamp>,
    bytes: usize,
    key: &'a str,
}

impl<'a> Listed<'a> {
    fn of(letter: &'a DeadLetter) -> Self {
        let since = letter.since.and_then(|seconds| i64::try_from(seconds).ok());
        Listed {
            id: &letter.id,
            code: &letter.code,
            reason: &letter.reason,
            since: since.and_then(|seconds| Timestamp::from_second(seconds).ok()),
            bytes: letter.body().len(),
            key: letter.routing_key(),
        }
    }

    fn line(&self, now: Timestamp) -> String {
        let Listed { id, code, reason, bytes, .. } = self;
        let age = self.since.map_or_else(|| "?".to_owned(), |since| age(now.as_second() - since.as_second()));
        format!("{:<36} {:<14} {age:>5} {bytes:>9} B  {}", escape(id), escape(code), escape(reason))
    }
}

/// In the largest unit that it has one of.
fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let unit = units.into_iter().find(|(unit, _)| seconds >= *unit);
    unit.map_or_else(|| format!("{seconds}s"), |(unit, word)| format!("{}{word}", seconds / unit))
}

async fn list(
    letters: &DeadLetters,
    limit: u64,
    json: bool,
    interrupt: &Interrupt,
) -> Result<Ending, Problem> {
    let there = u64::from(letters.count().await.map_err(failed)?);
    let now = Timestamp::now();
    let mut told = 0;
    while told < limit.min(there) && !interrupt.has_begun() {
        let Some(letter) = letters.next().await.map_err(failed)? else { break };
        let listed = Listed::of(&letter);
        put(&if json { json_line(&listed) } else { listed.line(now) })?;
        letters.leave(&letter).await.map_err(failed)?;
        told += 1;
    }
    if interrupt.has_begun() {
        return Ok(interrupted());
    }
    match told {
        0 => say!("there are no dead letters"),
        told if told < there => say!("there are {} more: raise --limit to list them", there - told),
        _ => {}
    }
    Ok(Ending::Done)
}

async fn show(letters: &DeadLetters, id: &str, body: bool, interrupt: &Interrupt) -> Result<Ending, Problem> {
    let there = letters.count().await.map_err(failed)?;
    let mut found = 0;
    for _ in 0..there {
        if interrupt.has_begun() {
            break;
        }
        let Some(letter) = letters.next().await.map_err(failed)? else { break };
        if letter.id == id {
            found += 1;
            if body {
                let mut out = io::stdout().lock();
                out.write_all(letter.body()).and_then(|()| out.flush())?;
            } else {
                in_full(&letter, found > 1)?;
            }
        }
        letters.leave(&letter).await.map_err(failed)?;
    }
    match found {
        0 if interrupt.has_begun() => Ok(interrupted()),
        0 => Err(failed(none_of(id))),
        _ => Ok(Ending::Done),
    }
}

fn in_full(letter: &DeadLetter, another: bool) -> Result<(), Problem> {
    let listed = Listed::of(letter);
    let since = listed.since.map_or_else(|| "unknown".to_owned(), |since| since.to_string());
    let rows = [
        ("id", listed.id.to_owned()),
        ("code", listed.code.to_owned()),
        ("reason", listed.reason.to_owned()),
        ("since", since),
        ("routing key", listed.key.to_owned()),
        ("size", counted(listed.bytes as u64, "byte", "bytes")),
    ];
    if another {
        put("")?;
    }
    let rows = rows.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(letter.properties());
    for (name, value) in rows {
        put(&format!("{:<16} {}", escape(&name), escape(&value)))?;
    }
    put(&format!("{:<16} {}", "body", escape(&String::from_utf8_lossy(letter.body()))))?;
    Ok(())
}

/// What is done with those that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Retry,
    Drop,
}

async fn each(
    letters: &DeadLetters,
    which: &Which,
    act: Act,
    interrupt: &Interrupt,
) -> Result<Ending, Problem> {
    // What comes to the end meanwhile, as one that is put back may, is left for another time.
    let there = letters.count().await.map_err(failed)?;
    let wanted: HashSet<&str> = which.ids.iter().map(String::as_str).collect();
    let (mut missing, mut done) = (wanted.clone(), 0);
    let mut problem = None;
    for _ in 0..there {
        if interrupt.has_begun() {
            break;
        }
        let next = letters.next().await;
        let Ok(Some(letter)) = next else {
            problem = next.err();
            break;
        };
        let is_wanted = which.all || wanted.contains(letter.id.as_str());
        let result = match (is_wanted, act) {
            (false, _) => letters.leave(&letter).await,
            (true, Act::Retry) => letters.put_back(&letter).await,
            (true, Act::Drop) => letters.remove(&letter).await,
        };
        if let Err(failure) = result {
            say!("{} stays in the queue of dead letters", escape(&letter.id));
            problem = Some(failure);
            break;
        }
        if is_wanted {
            missing.remove(letter.id.as_str());
            done += 1;
        }
    }
    let did = match act {
        Act::Retry => "put back into the queue",
        Act::Drop => "dropped",
    };
    put_or_tell(&format!("{} {did}", counted(done, "dead letter", "dead letters")))?;
    if let Some(failure) = problem {
        // It is a message that may be in both places, and not an entry that may be stored.
        return Err(Problem::Failed(failure, place(Transport::Rabbitmq)));
    }
    if interrupt.has_begun() {
        return Ok(interrupted());
    }
    let mut missing: Vec<&str> = missing.into_iter().collect();
    missing.sort_unstable();
    let Some(last) = missing.pop() else { return Ok(Ending::Done) };
    for id in missing {
        say!("no dead letter {id:?}");
    }
    Err(failed(none_of(last)))
}

fn none_of(id: &str) -> Failure {
    Failure::new(Code::NotFound, format!("no dead letter {id:?}: `fourwire dead list` lists them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        for (seconds, told) in [(-3, "0s"), (59, "59s"), (60, "1m"), (7_199, "1h"), (86_400 * 40, "40d")] {
            assert_eq!(age(seconds), told);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_shown_in_a_list() {
        let listed = Listed {
            id: "a\u{1b}[2J",
            code: "bad_json",
            reason: "\n",
            since: None,
            bytes: 5,
            key: "log.INFO",
        };
        let line = listed.line(Timestamp::UNIX_EPOCH);
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}
