//! `make demo`: against the running stack, sends one entry over each transport and reads each back from the broker. Of the
//! environment it takes `BROKER_HTTP_LISTEN`, where the broker is, and `KEY`, for a broker that asks for one.

use std::{
    fmt::Display,
    io::{Write, stdout},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use proto::{StoredEntry, Transport, json::Envelope};
use reqwest::{
    StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use serde_json::{Value, json};

/// How long an entry may take from the broker to the store.
const STORED_WITHIN: Duration = Duration::from_secs(10);

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let broker = match set("BROKER_HTTP_LISTEN") {
        Some(address) => format!("http://{address}"),
        None => "http://127.0.0.1:8080".to_owned(),
    };
    show(format_args!("One entry over each transport, sent to {broker} and read back:"));
    show(format_args!(
        "{:<10} {:<8} {:>12} {:>12}  id",
        "transport", "outcome", "answered ms", "read back ms"
    ));
    let mut failed = false;
    for transport in Transport::ALL {
        match send_and_read_back(&broker, transport).await {
            Ok(line) => show(line),
            Err(error) => {
                failed = true;
                show(format_args!("{transport:<10} FAILED: {error:#}"));
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// A variable of the environment; an empty one is as unset.
fn set(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// Whether it worked is told by the exit code too.
fn show(line: impl Display) {
    let _ = writeln!(stdout(), "{line}");
}

async fn send_and_read_back(broker: &str, transport: Transport) -> anyhow::Result<String> {
    let mut headers = HeaderMap::new();
    if let Some(key) = set("KEY") {
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {key}")).context("KEY")?);
    }
    // Without TLS reqwest still asks for a provider; installed by the one before, it is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(REQUEST_TIMEOUT);
    let client = client.default_headers(headers).build()?;
    let log = json!({ "name": "demo", "data": format!("sent by {transport}") });
    let body = json!({ "action": "log", "transport": transport, "log": log }).to_string();
    let begun = Instant::now();
    let answer = client.post(format!("{broker}/handle")).body(body).send().await;
    let answer = answer.with_context(|| format!("is the stack running at {broker}? `make run`"))?;
    let is_locked = answer.status() == StatusCode::UNAUTHORIZED;
    let answer: Value = answer.json().await?;
    let answered = begun.elapsed();
    let data = &answer["data"];
    let (Some(id), Some(outcome)) = (data["id"].as_str(), data["outcome"].as_str()) else {
        let message = answer["message"].as_str().unwrap_or("an answer that is not Fourwire's");
        bail!("{message}{}", if is_locked { ": KEY=fw_… make demo" } else { "" });
    };
    let entry = loop {
        let response = client.get(format!("{broker}/logs/{id}")).send().await?;
        if response.status().is_success() {
            let envelope: Envelope<StoredEntry> = response.json().await?;
            break envelope.data.context("an answer without data")?;
        }
        if begun.elapsed() > STORED_WITHIN {
            bail!("{id} was {outcome}, but is not stored after {STORED_WITHIN:?}");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let read_back = begun.elapsed();
    anyhow::ensure!(entry.transport == transport, "{id} is stored as having come by {}", entry.transport);
    let ms = |duration: Duration| duration.as_secs_f64() * 1_000.0;
    Ok(format!("{transport:<10} {outcome:<8} {:>12.2} {:>12.2}  {id}", ms(answered), ms(read_back)))
}
