//! Sends each line of standard input to the broker, and says what became of it in a word that is certainly true.

use std::{env, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

struct Broker {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    timeout: Duration,
}

/// What came back.
enum Answer {
    Response(u16, Value),
    /// Not a byte of the entry was sent.
    NotSent,
    /// It was sent, and nothing came back.
    Nothing,
}

impl Broker {
    async fn post(&self, body: String) -> Answer {
        let Ok(request) = Request::post(&self.url).body(Full::from(body)) else { return Answer::NotSent };
        let called = async {
            let response = match self.client.request(request).await {
                Ok(response) => response,
                Err(error) if error.is_connect() => return Answer::NotSent,
                Err(_) => return Answer::Nothing,
            };
            let status = response.status().as_u16();
            let Ok(body) = response.into_body().collect().await else { return Answer::Nothing };
            serde_json::from_slice(&body.to_bytes())
                .map_or(Answer::Nothing, |body| Answer::Response(status, body))
        };
        // Dropped, the call takes its connection with it: what comes late is nobody's answer.
        tokio::time::timeout(self.timeout, called).await.unwrap_or(Answer::Nothing)
    }

    async fn send(&self, line: &Value) -> Value {
        // With an id of our own the entry can be sent again without being stored twice.
        let id = line["id"].as_str().map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
        let mut log = json!({ "id": id, "name": line["name"], "data": line["data"] });
        if line["level"].is_string() {
            log["level"] = line["level"].clone();
        }
        let body = json!({ "action": "log", "transport": line["transport"], "log": log });
        let mut said = json!({ "n": line["n"], "id": id });
        match self.post(body.to_string()).await {
            Answer::Response(status, body) => {
                said["outcome"] = match status {
                    202 => body["data"]["outcome"].clone(),
                    408 | 429 | 503 => "not_stored".into(),
                    400..=499 => "rejected".into(),
                    _ => "unknown".into(),
                };
                said["code"] = body["data"]["code"].clone();
            }
            Answer::NotSent => said["outcome"] = "not_stored".into(),
            Answer::Nothing => said["outcome"] = "unknown".into(),
        }
        said
    }
}

#[tokio::main]
pub async fn main() {
    let url = env::var("BROKER_URL").expect("BROKER_URL is set");
    let timeout_ms = env::var("TIMEOUT_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_500);
    let broker = Broker {
        client: Client::builder(TokioExecutor::new()).build_http(),
        url: format!("{url}/handle"),
        timeout: Duration::from_millis(timeout_ms),
    };
    for line in std::io::stdin().lines() {
        let line = line.expect("standard input is readable");
        let line: Value = serde_json::from_str(&line).expect("each line is JSON");
        println!("{}", broker.send(&line).await);
    }
}
