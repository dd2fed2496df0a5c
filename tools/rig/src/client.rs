//! A typed client of the HTTP that the broker and the logger have in common, and of the broker's `/handle`.

use std::{
    collections::HashSet,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use proto::{
    LogEntry, Page, StoredEntry, Transport,
    json::{Accepted, Envelope, FailureData},
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Answer, eventually, load::Sender};

/// How long a request may take: longer than the broker's own deadline, so that it is the broker that gives up.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client without TLS and keys.
pub fn http() -> anyhow::Result<reqwest::Client> {
    // Without TLS it still asks for a provider; installed by the one before, it is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?)
}

/// A client of one broker, or of one logger.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    /// How long what is read may be answered with anything but 200: on a busy machine a broker with a short deadline
    /// may answer that the logger did not.
    patience: Duration,
}

impl Client {
    /// One of the service at a URL such as `http://127.0.0.1:8080`.
    pub const fn new(http: reqwest::Client, base: String) -> Self {
        Client { http, base, patience: Duration::ZERO }
    }

    /// One that reads again for so long, if it is not answered with 200.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Client { patience, ..self }
    }

    /// `GET`; the body is `Null` if it is no JSON.
    pub async fn get(&self, path: &str) -> anyhow::Result<(StatusCode, Value)> {
        let url = format!("{}{path}", self.base);
        let response = self.http.get(&url).send().await.with_context(|| url.clone())?;
        let status = response.status();
        let body = response.bytes().await.with_context(|| url)?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// The stored entry of an id.
    pub async fn stored(&self, id: Uuid) -> anyhow::Result<Option<StoredEntry>> {
        let (status, body) = self.get(&format!("/logs/{id}")).await?;
        if status != StatusCode::OK {
            return Ok(None);
        }
        Ok(serde_json::from_value::<Envelope<StoredEntry>>(body)?.data)
    }

    /// All stored entries, newest first.
    pub async fn all_stored(&self) -> anyhow::Result<Vec<StoredEntry>> {
        let mut entries = Vec::new();
        let all = |page| {
            entries.extend(page);
            ControlFlow::Continue(())
        };
        self.each_page(all).await?;
        Ok(entries)
    }

    /// All that is stored, once these ids are among it or `within` is over: what is missing then is lost, and a verdict
    /// says so.
    ///
    /// # Errors
    /// As [`Client::all_stored`].
    pub async fn stored_with(
        &self,
        ids: &HashSet<Uuid>,
        within: Duration,
    ) -> anyhow::Result<Vec<StoredEntry>> {
        const PAUSE: Duration = Duration::from_millis(500);
        let begun = Instant::now();
        loop {
            let stored = self.all_stored().await?;
            let there: HashSet<Uuid> = stored.iter().map(|entry| entry.id).collect();
            if ids.is_subset(&there) || begun.elapsed() > within {
                return Ok(stored);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Hands over stored entries page by page, newest first, until there are no more or it is told to stop: there may
    /// be more than memory holds.
    pub async fn each_page(
        &self,
        mut page_of: impl FnMut(Vec<StoredEntry>) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        let mut path = "/logs?limit=1000".to_owned();
        loop {
            let page =
                async || self.page(&path).await.map_or_else(|error| Some(Err(error)), |page| page.map(Ok));
            let page: Page =
                eventually(&format!("{} answers {path}", self.base), self.patience, page).await??;
            if page_of(page.entries).is_break() {
                return Ok(());
            }
            let Some(next) = page.next else { return Ok(()) };
            path = format!("/logs?limit=1000&cursor={}", String::from(next));
        }
    }

    /// A page; `None` if it is not answered with 200.
    async fn page(&self, path: &str) -> anyhow::Result<Option<Page>> {
        let (status, body) = self.get(path).await?;
        if status != StatusCode::OK {
            return Ok(None);
        }
        let page = serde_json::from_value::<Envelope<Page>>(body)?.data;
        ensure!(page.is_some(), "a page without data");
        Ok(page)
    }

    /// Sends an entry to the broker, once.
    async fn log(&self, transport: Transport, entry: &LogEntry) -> reqwest::Result<Answer> {
        let log = json!({
            "id": entry.id(), "name": entry.name(), "data": entry.data(), "level": entry.level(),
        });
        let body = json!({ "action": "log", "transport": transport, "log": log }).to_string();
        let response = self.http.post(format!("{}/handle", self.base)).body(body).send().await?;
        if response.status() == StatusCode::ACCEPTED {
            let accepted = response.json::<Envelope<Accepted>>().await?.data;
            let outcome = accepted.and_then(|accepted| accepted.outcome);
            return Ok(outcome.map_or(Answer::Nothing, Answer::Accepted));
        }
        let failure = response.json::<Envelope<FailureData>>().await?.data;
        Ok(failure.map_or(Answer::Nothing, |failure| Answer::Refused(failure.code)))
    }
}

impl Sender for Client {
    async fn send(&self, transport: Transport, entry: &LogEntry) -> Option<Answer> {
        match self.log(transport, entry).await {
            Ok(answer) => Some(answer),
            // What hangs stays unanswered, and the verdict says so.
            Err(error) if error.is_timeout() => None,
            Err(_) => Some(Answer::Nothing),
        }
    }
}
