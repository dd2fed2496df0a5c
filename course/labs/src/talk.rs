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
    verdict::{Failed, expect_all},
    words::{Text, text},
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
                text!(
                    "an answer to each of {all} lines within {within} s",
                    "ответ на каждую строку (всего {all}) за {within} с"
                ),
                text!("{} answers", "ответов: {}", answers.len()),
            );
            let line = shortened(&line.to_string());
            Err(failed.first(text!("no answer to {line}", "нет ответа на {line}")))?;
        }
        Ok(answers)
    }

    /// As [`Running::ask`], but answers may be missing.
    ///
    /// # Errors
    /// [`Failed`] if one is no JSON, or the program ends.
    pub async fn ask_some(&mut self, lines: &[Value], within: Duration) -> anyhow::Result<Answers> {
        let (begun, deadline) = (Instant::now(), tokio::time::Instant::now() + within);
        self.program.signs().asked();
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
                Some(status) => return Err(self.why_ended(status).await),
                None => Err(Failed::new(
                    text!(
                        "the program keeps its standard output open",
                        "стандартный вывод остаётся открытым"
                    ),
                    text!("it closed it", "программа его закрыла"),
                ))?,
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
        self.program.signs().asked();
        let stdin = self.stdin.as_mut().context("its standard input is closed")?;
        let mut text = String::new();
        for line in lines {
            self.asked.insert(number(line), false);
            text.push_str(&line.to_string());
            text.push('\n');
        }
        let expected = text!("the program reads its standard input", "программа читает стандартный ввод");
        match tokio::time::timeout(within, stdin.write_all(text.as_bytes())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => match self.wait(Duration::from_secs(1)).await? {
                Some(status) => Err(self.why_ended(status).await),
                None => Err(Failed::new(expected, Text::same(error)))?,
            },
            Err(_) => {
                let limit_s = within.as_secs_f64();
                Err(Failed::new(expected, text!("not within {limit_s} s", "за {limit_s} с не прочла")))?
            }
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
        let expected = text!(
            "exit status 0 within {} s after its input has ended",
            "код 0 не позже чем через {} с после конца ввода",
            within.as_secs_f64()
        );
        match self.wait(left).await? {
            Some(status) if status.success() => Ok(rest),
            // What was never asked cannot be told from one that ends at the end of its input.
            Some(status) if !self.asked.is_empty() && !self.program.signs().has_worked() => {
                Err(self.why_ended(status).await)
            }
            Some(status) => Err(Failed::new(expected, ended_how(status)))?,
            None => Err(Failed::new(expected, text!("it still runs", "ещё работает")))?,
        }
    }
}

/// The `n` of a line; one that has none is nobody's.
fn number(line: &Value) -> u64 {
    line["n"].as_u64().unwrap_or(u64::MAX)
}

/// A line of output as the answer to something that was asked.
fn understood(line: &Line, asked: &mut BTreeMap<u64, bool>) -> Result<Value, Failed> {
    let expected = text!(
        "one JSON object with `n` per line on standard output",
        "по одному JSON-объекту с `n` в строке стандартного вывода"
    );
    let saw = format!("{:?}", shortened(&line.text));
    let value = match serde_json::from_str::<Value>(&line.text) {
        Ok(value) if value["n"].is_u64() => value,
        value => {
            let failed = Failed::new(expected, Text::same(saw));
            return Err(failed.guess(match value.as_ref().map(|value| (value.is_object(), &value["n"])) {
                Ok((_, Value::String(n))) if n.parse::<u64>().is_ok() => text!(
                    "`n` must be the number {n}, not the string {n:?}",
                    "`n` должно быть числом {n}, а не строкой {n:?}",
                ),
                Ok((true, _)) => text!(
                    "`n` must be there: the number of the line that is answered",
                    "нет `n`: номера строки, на которую отвечает программа",
                ),
                Ok((false, _)) | Err(_) => text!(
                    "was it meant for standard error?",
                    "не для стандартного ли потока ошибок это предназначалось?",
                ),
            }));
        }
    };
    match asked.get_mut(&number(&value)) {
        None => Err(Failed::new(
            text!("an answer to a line that was sent", "ответ на отправленную строку"),
            Text::same(saw),
        )),
        Some(true) => Err(Failed::new(
            text!("one answer to each line", "один ответ на каждую строку"),
            text!("a second one: {saw}", "второй: {saw}"),
        )),
        Some(answered) => {
            *answered = true;
            Ok(value)
        }
    }
}

/// Expects of each line that it is answered with one of these outcomes.
///
/// # Errors
/// [`Failed`], with the first that is not.
pub fn expect_outcomes(lines: &[Value], answers: &Answers, expected: &[&str]) -> Result<(), Failed> {
    let (en, ru) = (expected.join(" or "), expected.join(" или "));
    let what = text!("lines with the outcome {en}", "строки, у которых `outcome` — {ru}");
    expect_all(what, lines, |line| {
        let n = &line["n"];
        let Some(answer) = answers.get(&n.as_u64().unwrap_or_default()) else {
            return Some(text!("line {n}: no answer", "строка {n}: нет ответа"));
        };
        let said = answer.text("outcome");
        (!expected.contains(&said)).then(|| text!("line {n}: {said:?}", "строка {n}: {said:?}"))
    })
}

/// The begin of a text that may be long.
pub fn shortened(text: &str) -> String {
    shortened_to(120, text)
}

/// So many characters of a text that may be long.
pub fn shortened_to(chars: usize, text: &str) -> String {
    let short: String = text.chars().take(chars).collect();
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
        assert!(debris.saw.en.contains("listening"), "{debris}");
        assert!(debris.guess.expect("a guess").en.contains("standard error"));
        let text = understood(&line(r#"{"n":"1","id":"a"}"#), &mut asked).expect_err("no number");
        assert_eq!(text.guess.expect("a guess").en, "`n` must be the number 1, not the string \"1\"");
        let without = understood(&line(r#"{"id":"a"}"#), &mut asked).expect_err("no number");
        assert!(without.guess.expect("a guess").en.contains("must be there"));
        understood(&line(r#"{"n":2}"#), &mut asked).expect_err("nobody asked");
        understood(&line(r#"{"n":1}"#), &mut asked).expect("asked");
        understood(&line(r#"{"n":1}"#), &mut asked).expect_err("twice");
    }
}
