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
            )
            .in_russian(
                format_args!("ответ на каждую строку (всего {all}) за {within} с"),
                format_args!("ответов: {}", answers.len()),
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
                None => Err(Failed::new("the program keeps its standard output open", "it closed it")
                    .in_russian("стандартный вывод остаётся открытым", "программа его закрыла"))?,
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
        let (expected, in_russian) =
            ("the program reads its standard input", "программа читает стандартный ввод");
        match tokio::time::timeout(within, stdin.write_all(text.as_bytes())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => match self.wait(Duration::from_secs(1)).await? {
                Some(status) => Err(self.why_ended(status).await),
                None => Err(Failed::new(expected, &error).in_russian(in_russian, error))?,
            },
            Err(_) => {
                let limit_s = within.as_secs_f64();
                Err(Failed::new(expected, format_args!("not within {limit_s} s"))
                    .in_russian(in_russian, format_args!("за {limit_s} с не прочла")))?
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
        let expected = format!("exit status 0 within {} s after its input has ended", within.as_secs_f64());
        let in_russian = format!("код 0 не позже чем через {} с после конца ввода", within.as_secs_f64());
        match self.wait(left).await? {
            Some(status) if status.success() => Ok(rest),
            // What was never asked cannot be told from one that ends at the end of its input.
            Some(status) if !self.asked.is_empty() && !self.program.signs().has_worked() => {
                Err(self.why_ended(status).await)
            }
            Some(status) => {
                let how = ended_how(status);
                Err(Failed::new(expected, &how).in_russian(in_russian, how))?
            }
            None => Err(Failed::new(expected, "it still runs").in_russian(in_russian, "ещё работает"))?,
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
    let saw = format!("{:?}", shortened(&line.text));
    let value = match serde_json::from_str::<Value>(&line.text) {
        Ok(value) if value["n"].is_u64() => value,
        value => {
            let failed = Failed::new(expected, &saw)
                .in_russian("по одному JSON-объекту с `n` в строке стандартного вывода", saw);
            return Err(match value.as_ref().map(|value| (value.is_object(), &value["n"])) {
                Ok((_, Value::String(n))) if n.parse::<u64>().is_ok() => failed.guess(
                    format_args!("`n` must be the number {n}, not the string {n:?}"),
                    format_args!("`n` должно быть числом {n}, а не строкой {n:?}"),
                ),
                Ok((true, _)) => failed.guess(
                    "`n` must be there: the number of the line that is answered",
                    "нет `n`: номера строки, на которую отвечает программа",
                ),
                Ok((false, _)) | Err(_) => failed.guess(
                    "was it meant for standard error?",
                    "не для стандартного ли потока ошибок это предназначалось?",
                ),
            });
        }
    };
    match asked.get_mut(&number(&value)) {
        None => Err(Failed::new("an answer to a line that was sent", &saw)
            .in_russian("ответ на отправленную строку", saw)),
        Some(true) => Err(Failed::new("one answer to each line", format_args!("a second one: {saw}"))
            .in_russian("один ответ на каждую строку", format_args!("второй: {saw}"))),
        Some(answered) => {
            *answered = true;
            Ok(value)
        }
    }
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
        assert!(debris.saw.contains("listening"), "{debris}");
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
