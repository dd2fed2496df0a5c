//! `fourwire status`: whether entries could be sent over each transport now, and how many wait in RabbitMQ.

use std::collections::BTreeMap;

use proto::{Direct, Failure, Indirect, Transport};
use serde::Serialize;
use tokio::time::{Duration, Instant, sleep};
use transport::{Transports, rabbitmq::Depths};

use crate::{
    Ending,
    config::{Stack, Status, place},
    problem::{Problem, describe},
    send::connected,
    text::{counted, json_line, put},
};

/// How often it is looked whether RabbitMQ has counted its messages.
const LOOKING: Duration = Duration::from_millis(20);

/// What is said of one transport.
#[derive(Debug, Serialize)]
struct Line {
    up: bool,
    /// Messages ready, consumers, and dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumers: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letters: Option<u32>,
    /// Of several loggers those that could store nothing now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    loggers_down: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Prints it, transport by transport.
pub(crate) async fn status(arguments: &Status, stack: &Stack) -> Result<Ending, Problem> {
    let transports = Transports::new(&stack.settings(Some(Transport::Rabbitmq))?);
    let mut lines = BTreeMap::new();
    for transport in Transport::ALL {
        connected(&transports, transport, stack.deadline()).await;
        let line = match Direct::try_from(transport) {
            Ok(direct) => Line::of_loggers(transport, transports.ping_each(direct).await),
            Err(Indirect::Rabbitmq) => match counted_by(&transports, stack.deadline()).await {
                Some(depths) => Line::of(transport, Ok(()), Some(depths)),
                None => Line::of(transport, Err(Failure::unreachable("RabbitMQ")), None),
            },
        };
        if !arguments.json {
            put(&line.in_words(transport))?;
        }
        lines.insert(transport.as_str(), line);
    }
    if arguments.json {
        put(&json_line(&lines))?;
    }
    let all = lines.values().all(|line| line.up);
    Ok(if all { Ending::Done } else { Ending::NotStored })
}

/// What RabbitMQ has counted; `None` if it takes no messages.
async fn counted_by(transports: &Transports, deadline: Duration) -> Option<Depths> {
    let until = Instant::now() + deadline;
    loop {
        let depths = transports.depths();
        if depths.is_some() || !transports.reachable(Transport::Rabbitmq) || Instant::now() >= until {
            return depths;
        }
        sleep(LOOKING).await;
    }
}

impl Line {
    /// Up is a transport over which any logger could store an entry.
    fn of_loggers(transport: Transport, answers: Vec<(String, Result<(), Failure>)>) -> Self {
        let count = answers.len();
        let down: Vec<String> =
            answers.iter().filter(|(_, answer)| answer.is_err()).map(|(at, _)| at.clone()).collect();
        let mut answers: Vec<_> = answers.into_iter().map(|(_, answer)| answer).collect();
        let best = answers.iter().position(Result::is_ok).unwrap_or_default();
        let mut line = Line::of(transport, answers.swap_remove(best), None);
        if count > 1 && !down.is_empty() {
            let message = format!("{} of {count} loggers down: {}", down.len(), down.join(", "));
            line.message = Some(line.message.map_or(message.clone(), |why| format!("{message}\n  {why}")));
            line.loggers_down = down;
        }
        line
    }

    fn of(transport: Transport, answer: Result<(), Failure>, depths: Option<Depths>) -> Self {
        Line {
            up: answer.is_ok(),
            queue: depths.map(|depths| depths.queue),
            consumers: depths.map(|depths| depths.consumers),
            dead_letters: depths.map(|depths| depths.dead_letters),
            loggers_down: Vec::new(),
            message: answer.err().map(|failure| describe(&failure, place(transport))),
        }
    }

    fn in_words(&self, transport: Transport) -> String {
        let word = if self.up { "up" } else { "down" };
        let about = match self {
            Line { queue: Some(queue), consumers: Some(consumers), dead_letters: Some(dead), .. } => {
                let mut about = format!(
                    "{} ready, {}, {}",
                    counted((*queue).into(), "message", "messages"),
                    counted((*consumers).into(), "consumer", "consumers"),
                    counted((*dead).into(), "dead letter", "dead letters")
                );
                if *dead > 0 {
                    about.push_str(" (`fourwire dead list`)");
                }
                if *consumers == 0 {
                    about.push_str("; no listener consumes, so nothing is stored");
                }
                about
            }
            Line { message, .. } => message.clone().unwrap_or_default().replace("\n  ", "\n               "),
        };
        format!("{transport:<9} {word:<4} {about}").trim_end().to_owned()
    }
}
