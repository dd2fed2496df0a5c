//! The page at `GET /`, in a real browser over the real stack.

mod burst;
mod health;
mod keys;
mod lanes;
mod looks;
mod reference;
mod send;
mod served;
mod tail;

use std::ops::Deref;

use serde_json::Value;
use tests::{browser::Browser, stack::Stack, tls};

/// The page, open in a browser.
struct Page(Browser);

impl Page {
    /// Opens it, and waits until its script runs.
    async fn open(stack: &Stack) -> Self {
        Self::open_in(stack, "en-US").await
    }

    /// The same for a user who reads this language.
    async fn open_in(stack: &Stack, language: &str) -> Self {
        let page = Page(Browser::start(language).await);
        page.0.open(&url(stack)).await;
        page.eventually("document.querySelector('#parts li')").await;
        page
    }

    /// Opens it, and waits until the tail follows.
    async fn open_live(stack: &Stack) -> Self {
        let page = Self::open(stack).await;
        page.tail_is("live").await;
        page
    }

    /// Waits for what the tail says of itself.
    async fn tail_is(&self, state: &str) {
        self.eventually(&format!("document.querySelector('#tail-said').dataset.state === '{state}'")).await;
    }

    /// Sets a field to any text, as a paste would.
    async fn set(&self, selector: &str, text: &str) {
        let script = "const field = document.querySelector(arguments[0]); field.value = arguments[1]; \
            field.dispatchEvent(new Event('input', { bubbles: true }))";
        self.run(script, serde_json::json!([selector, text])).await;
    }

    async fn choose(&self, transport: &str) {
        self.click(&format!("#send-transports [value={transport}]")).await;
    }

    /// Presses "Send", and waits for all answers.
    async fn send(&self) {
        self.click("#send-button").await;
        self.answered().await;
    }

    async fn answered(&self) {
        let all = "document.querySelector('#send').dataset.runs === 'false' && \
            [...document.querySelectorAll('#answers li')].every((row) => row.dataset.status)";
        self.eventually(all).await;
    }

    /// The status that is shown of each transport.
    async fn statuses(&self) -> Value {
        let rows = "Object.fromEntries([...document.querySelectorAll('#answers li')] \
            .map((row) => [row.dataset.transport, Number(row.dataset.status)]))";
        self.value(rows).await
    }

    /// The texts of all elements of a selector.
    async fn texts(&self, selector: &str) -> Vec<String> {
        let texts = "return [...document.querySelectorAll(arguments[0])].map((node) => node.textContent)";
        let texts = self.run(texts, serde_json::json!([selector])).await;
        serde_json::from_value(texts).expect("texts")
    }

    /// Fails if the browser has complained of a script or of the policy.
    async fn is_sound(&self) {
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}

impl Deref for Page {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.0
    }
}

fn url(stack: &Stack) -> String {
    format!("{}://{}/", tls::scheme(), stack.broker_at)
}
