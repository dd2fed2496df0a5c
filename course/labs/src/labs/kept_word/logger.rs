//! The program as a logger, and its clients.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::LISTEN;
use crate::{
    bench::{Bench, Random},
    program::Running,
    talk::shortened,
    verdict::{Failed, expect_all},
    words::{Text, text},
};

/// How long a request may take.
const REQUEST: Duration = Duration::from_secs(5);

/// How many entries are read at a time.
const READERS: usize = 16;

pub(super) fn entry(id: &Uuid, random: &mut Random) -> Value {
    let level = *random.pick(&["info", "warning", "error"]);
    json!({ "id": id, "name": random.name(), "data": random.data(), "level": level })
}

pub(super) fn entries(random: &mut Random, count: usize) -> Vec<Value> {
    (0..count)
        .map(|_| {
            let id = random.id();
            entry(&id, random)
        })
        .collect()
}

/// What was answered to an entry.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) entry: Value,
    /// 0: nothing came back.
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn said(&self) -> Text {
        match self.status {
            0 => text!("no response", "нет ответа"),
            status => Text::same(format_args!("{status} {}", shortened(&self.body.to_string()))),
        }
    }

    pub(super) fn is_not(&self, status: u16, outcome: &str) -> Option<Text> {
        let right = self.status == status && self.body["data"]["outcome"] == outcome;
        let (id, Text { en, ru }) = (&self.entry["id"], self.said());
        (!right).then(|| text!("id {id}: {en}", "id {id}: {ru}"))
    }
}

/// The program, its files, and a client.
pub(super) struct Logger<'a> {
    bench: &'a Bench<'a>,
    pub(super) running: Running,
    pub(super) files: PathBuf,
    at: SocketAddr,
    settings: Vec<(&'static str, String)>,
    http: reqwest::Client,
}

impl<'a> Logger<'a> {
    pub(super) async fn start(bench: &'a Bench<'_>, name: &str) -> anyhow::Result<Self> {
        Self::start_in(bench, bench.directory(name)?, Vec::new()).await
    }

    pub(super) async fn start_in(
        bench: &'a Bench<'_>,
        files: PathBuf,
        mut settings: Vec<(&'static str, String)>,
    ) -> anyhow::Result<Self> {
        settings.push(("DATA_DIR", files.display().to_string()));
        let (running, at) = bench.program.serve(LISTEN, &settings).await?;
        Ok(Logger { bench, running, files, at, settings, http: rig::http()? })
    }

    pub(super) async fn start_again(&mut self) -> anyhow::Result<()> {
        self.running = self.bench.program.serve_at(self.at, LISTEN, &self.settings).await?;
        // Connections of the one before are broken.
        self.http = rig::http()?;
        Ok(())
    }

    pub(super) async fn post(&self, id: &Uuid, body: Vec<u8>) -> Answer {
        post(&self.http, self.at, json!({ "id": id }), body).await
    }

    /// The stored entry of an id.
    pub(super) async fn get(&self, id: &Uuid) -> anyhow::Result<Option<Value>> {
        let response = self.http.get(format!("http://{}/logs/{id}", self.at)).timeout(REQUEST).send().await;
        let response = response.map_err(|error| {
            let expected = text!("an answer to GET /logs/{{id}}", "ответ на GET /logs/{{id}}");
            Failed::new(expected, Text::same(format_args!("{error:#}")))
        })?;
        match response.status().as_u16() {
            200 => {
                let body = response.bytes().await;
                let body =
                    body.map_err(|error| Failed::new(text!("a body", "тело ответа"), Text::same(error)))?;
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                Ok(Some(body["data"].clone()))
            }
            404 => Ok(None),
            status => Err(Failed::new(
                text!("200 or 404 to GET /logs/{{id}}", "200 или 404 на GET /logs/{{id}}"),
                Text::same(status),
            ))?,
        }
    }

    /// Sends entries by so many clients.
    pub(super) async fn write(&self, entries: &[Value], clients: usize) -> anyhow::Result<Vec<Answer>> {
        let mut tasks = JoinSet::new();
        for part in entries.chunks(entries.len().div_ceil(clients)) {
            let (http, at, part) = (self.http.clone(), self.at, part.to_vec());
            tasks.spawn(async move {
                let mut answers = Vec::new();
                for entry in part {
                    let body = entry.to_string().into_bytes();
                    answers.push(post(&http, at, entry, body).await);
                }
                answers
            });
        }
        Ok(tasks.join_all().await.concat())
    }

    /// Clients that send entries until nobody answers, or they are stopped.
    pub(super) fn load(&self, mut random: Random, clients: usize) -> Load {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let mut random = Random(rand::SeedableRng::from_seed(random.0.random()));
            let (http, at, sent) = (self.http.clone(), self.at, Arc::clone(&sent));
            tasks.spawn(async move {
                loop {
                    let id = random.id();
                    let entry = entry(&id, &mut random);
                    let body = entry.to_string().into_bytes();
                    let answer = post(&http, at, entry, body).await;
                    let ended = answer.status == 0;
                    sent.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
                    if ended {
                        return;
                    }
                }
            });
        }
        Load { tasks, sent }
    }

    /// Expects that each entry answered with 202 is there, as it was sent.
    pub(super) async fn expect_kept(&self, when: Text, answers: &[Answer]) -> anyhow::Result<()> {
        let promised: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 202).collect();
        let mut found = Vec::new();
        for part in promised.chunks(READERS) {
            let read = part.iter().map(async |answer| {
                let id = answer.entry["id"].as_str().context("an entry has an id")?.parse()?;
                anyhow::Ok((&answer.entry, self.get(&id).await?))
            });
            found.extend(futures_util::future::try_join_all(read).await?);
        }
        let Text { en, ru } = when;
        let what = text!("acknowledged entries that {en}", "подтверждённые записи, которые {ru}");
        expect_all(what, found, |(sent, stored)| {
            let id = &sent["id"];
            let Some(stored) = stored else {
                return Some(text!("id {id} is lost", "id {id} потерян"));
            };
            let same = ["name", "data", "level"].iter().all(|field| stored[*field] == sent[*field]);
            let now = shortened(&stored.to_string());
            (!same).then(|| text!("id {id} was altered: {now}", "запись id {id} изменена: {now}"))
        })?;
        Ok(())
    }
}

async fn post(http: &reqwest::Client, at: SocketAddr, entry: Value, body: Vec<u8>) -> Answer {
    let sent = http
        .post(format!("http://{at}/log"))
        .header("content-type", "application/json")
        .body(body)
        .timeout(REQUEST);
    let Ok(response) = sent.send().await else { return Answer { entry, status: 0, body: Value::Null } };
    let status = response.status().as_u16();
    let Ok(body) = response.bytes().await else { return Answer { entry, status: 0, body: Value::Null } };
    Answer { entry, status, body: serde_json::from_slice(&body).unwrap_or_default() }
}

/// Clients at work.
pub(super) struct Load {
    tasks: JoinSet<()>,
    sent: Arc<Mutex<Vec<Answer>>>,
}

impl Load {
    pub(super) fn sent(&self) -> Vec<Answer> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until every client has found that nobody answers any more; what was answered until then.
    pub(super) async fn stop(mut self) -> Vec<Answer> {
        while self.tasks.join_next().await.is_some() {}
        self.sent()
    }
}
