//! An HTTP answer, as a test looks at it.

use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::Value;
use uuid::Uuid;

use crate::tls;

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; `Null` if it is no JSON.
    pub body: Value,
    /// How long it took.
    pub took: Duration,
}

impl Answer {
    /// `data.code`.
    pub fn code(&self) -> &str {
        self.body["data"]["code"].as_str().unwrap_or_default()
    }

    /// `data.outcome`.
    pub fn outcome(&self) -> &str {
        self.body["data"]["outcome"].as_str().unwrap_or_default()
    }

    /// `message`.
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// `data.id`.
    ///
    /// # Panics
    /// If there is none.
    pub fn id(&self) -> Uuid {
        let id = self.body["data"]["id"].as_str();
        id.and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no id in {}", self.body))
    }

    /// Sends a request, and reads its answer.
    ///
    /// # Panics
    /// If there is none, or it is not as every answer must be.
    pub async fn to(request: RequestBuilder) -> Self {
        let begun = Instant::now();
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.expect("a whole answer");
        tls::assert_no_secret("an answer", &String::from_utf8_lossy(&bytes));
        tls::assert_no_secret("a header of an answer", &format!("{headers:?}"));
        if headers.get("content-type").is_some_and(|is| is == "application/json") {
            assert!(bytes.ends_with(b"\n"), "JSON ends in a line feed: {}", String::from_utf8_lossy(&bytes));
        }
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status, headers, body, took: begun.elapsed() }
    }
}
