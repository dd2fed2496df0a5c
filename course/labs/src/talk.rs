//! What is said between the checker and a client: a line of JSON each way, told apart by `n`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::{
    program::{Line, Running, ended_how},
    verdict::Failed,
};

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The whole line.
    pub value: Value,
    /// How long after the lines were sent it came.
    pub after: Duration,
}

impl Answer {
    /// A field that is text; empty if it is not there.
    pub fn text(&self, field: &str) -> &str {
        self.value[field].as_str().unwrap_or_default()
    }
}

/// Answers by their `n`.
pub type Answers = BTreeMap<u64, Answer>;

impl Running {
    /// Sends lines, each an object with `n`, and expects an answer to each in time.
    ///
    /// # Errors
    /// [`Failed`] if one is missing, or is no JSON.
    pub async fn ask(&mut self, lines: &[Value], within: Duration) -> anyhow::Result<Answers> {
        let answers = self.ask_some(lines, within).await?;
        let missing = lines.iter().find(|line| !answers.contains_key(&number(line)));
        if let Some(line) = missing {
            let (all, within) = (lines.len(), within.as_secs_f64());
            let failed = Failed::new(
                format_args!("an answer to each of {all} lines within {within} s"),
                format_args!("{} answers", answers.len()),
            );
            Err(failed.first(format_args!("no answer to {}", shortened(&line.to_string()))))?;
        }
        Ok(answers)
    }

    /// As [`Running::ask`], but answers may be missing.
    ///
    /// # Errors
    /// [`Failed`] if one is no JSON, or the program ends.
    pub async fn ask_some(&mut self, lines: &[Value], within: Duration) -> anyhow::Result<Answers> {
        let (begun, deadline) = (Instant::now(), tokio::time::Instant::now() + within);
        let mut stdin = self.stdin.take().context("its standard input is closed")?;
        let mut text = String::new();
        for line in lines {
            self.asked.insert(number(line), false);
            text.push_str(&line.to_string());
            text.push('\n');
        }
        let write = async {
            let written = async {
                stdin.write_all(text.as_bytes()).await?;
                stdin.flush().await
            };
            // That it reads nothing, or has ended, is seen by the answers.
            let _ = tokio::time::timeout_at(deadline, written).await;
            stdin
        };
        let mut answers = Answers::new();
        let read = async {
            while answers.len() < lines.len() {
                let Ok(line) = tokio::time::timeout_at(deadline, self.lines.recv()).await else { break };
                let Some(line) = line else { return Ok(false) };
                let value = understood(&line, &mut self.asked)?;
                answers.insert(
                    number(&value),
                    Answer { value, after: line.at.saturating_duration_since(begun) },
                );
            }
            anyhow::Ok(true)
        };
        let (stdin, still_talks) = tokio::join!(write, read);
        self.stdin = Some(stdin);
        if !still_talks? {
            let status = self.wait(Duration::from_secs(1)).await?;
            match status {
                Some(status) => Err(self.ended_as(status))?,
                None => Err(Failed::new("the program keeps its standard output open", "it closed it"))?,
            }
        }
        Ok(answers)
    }

    /// Waits so long for answers to what was asked before.
    ///
    /// # Errors
    /// [`Failed`] if one is no JSON.
    pub async fn listen(
        &mut self,
        within: Duration,
        until: impl Fn(&Answers) -> bool,
    ) -> anyhow::Result<Answers> {
        let (begun, deadline) = (Instant::now(), tokio::time::Instant::now() + within);
        let mut answers = Answers::new();
        while !until(&answers) {
            let Ok(Some(line)) = tokio::time::timeout_at(deadline, self.lines.recv()).await else { break };
            let value = understood(&line, &mut self.asked)?;
            answers.insert(number(&value), Answer { value, after: line.at.saturating_duration_since(begun) });
        }
        Ok(answers)
    }

    /// Sends lines, and waits for nothing.
    ///
    /// # Errors
    /// [`Failed`] if it does not read them in time.
    pub async fn tell(&mut self, lines: &[Value], within: Duration) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().context("its standard input is closed")?;
        let mut text = String::new();
        for line in lines {
            self.asked.insert(number(line), false);
            text.push_str(&line.to_string());
            text.push('\n');
        }
        match tokio::time::timeout(within, stdin.write_all(text.as_bytes())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failed::new("the program reads its standard input", error))?,
            Err(_) => Err(Failed::new(
                "the program reads its standard input",
                format_args!("not within {within:?}"),
            ))?,
        }
    }

    /// Ends its standard input, and expects that it ends with 0; returns the lines that came meanwhile.
    ///
    /// # Errors
    /// [`Failed`] if it does not end in time, or otherwise.
    pub async fn finish(&mut self, within: Duration) -> anyhow::Result<Vec<Line>> {
        self.stdin = None;
        let deadline = tokio::time::Instant::now() + within;
        let mut rest = Vec::new();
        while let Ok(Some(line)) = tokio::time::timeout_at(deadline, self.lines.recv()).await {
            rest.push(line);
        }
        let left =
            deadline.saturating_duration_since(tokio::time::Instant::now()) + Duration::from_millis(100);
        let expected = format!("exit status 0 within {} s after its input has ended", within.as_secs_f64());
        match self.wait(left).await? {
            Some(status) if status.success() => Ok(rest),
            Some(status) => Err(Failed::new(expected, ended_how(status)))?,
            None => Err(Failed::new(expected, "it still runs"))?,
        }
    }
}

/// The `n` of a line; one that has none is nobody's.
fn number(line: &Value) -> u64 {
    line["n"].as_u64().unwrap_or(u64::MAX)
}

/// A line of output as the answer to something that was asked.
fn understood(line: &Line, asked: &mut BTreeMap<u64, bool>) -> Result<Value, Failed> {
    let expected = "one JSON object with `n` per line on standard output";
    let value = serde_json::from_str::<Value>(&line.text).ok().filter(|value| value["n"].is_u64());
    let saw = format!("{:?}", shortened(&line.text));
    let Some(value) = value else {
        return Err(Failed::new(expected, saw).first("was it meant for standard error?"));
    };
    match asked.get_mut(&number(&value)) {
        None => Err(Failed::new("an answer to a line that was sent", saw)),
        Some(true) => Err(Failed::new("one answer to each line", format_args!("a second one: {saw}"))),
        Some(answered) => {
            *answered = true;
            Ok(value)
        }
    }
}

/// The begin of a text that may be long.
pub fn shortened(text: &str) -> String {
    let short: String = text.chars().take(120).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line { at: Instant::now(), text: text.to_owned() }
    }

    #[test]
    fn a_line_that_is_no_answer_is_quoted_and_one_answer_is_enough() {
        let mut asked = BTreeMap::from([(1, false)]);
        let debris = understood(&line("listening"), &mut asked).expect_err("no JSON");
        assert!(debris.saw.contains("listening"), "{debris}");
        assert!(debris.first.expect("a guess").contains("standard error"));
        understood(&line(r#"{"n":2}"#), &mut asked).expect_err("nobody asked");
        understood(&line(r#"{"n":1}"#), &mut asked).expect("asked");
        understood(&line(r#"{"n":1}"#), &mut asked).expect_err("twice");
    }
}
