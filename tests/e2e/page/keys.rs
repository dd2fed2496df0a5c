//! Where the broker asks for keys.

use proto::Transport;
use serde_json::json;
use tests::{
    keys::{Key, write_file},
    stack::Stack,
};

use super::Page;

#[tokio::test]
async fn a_key_is_asked_for_kept_in_the_tab_and_sent_with_everything() {
    let (alice, bob) = (Key::new("alice", "write,read"), Key::new("bob", "write"));
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("keys");
    write_file(&file, &[&alice, &bob]);
    let settings = [("BROKER_KEYS_FILE", file.to_str().expect("UTF-8"))];
    let stack = Stack::start_with(&settings).await.with_key(&alice);
    let page = Page::open(&stack).await;
    page.eventually("!document.querySelector('#key-form').hidden").await;
    assert_eq!(page.text("#notice").await, "This broker requires an API key.");

    for wrong in ["fw_wrong", "ключ"] {
        page.write("#key", wrong).await;
        page.click("#key-form [type=submit]").await;
        page.eventually("document.querySelector('#notice').textContent.includes('not valid')").await;
        assert_eq!(page.value("document.querySelector('#key').value").await, "");
    }

    // One that may write sees nothing, and sends.
    page.write("#key", &bob.secret).await;
    page.click("#key-form [type=submit]").await;
    page.eventually("document.querySelector('#notice').textContent.includes('may not read')").await;
    page.choose("http").await;
    page.send().await;
    assert_eq!(page.statuses().await, json!({ "http": 202 }));

    page.write("#key", &alice.secret).await;
    page.click("#key-form [type=submit]").await;
    page.eventually("document.querySelector('#notice').hidden").await;
    page.eventually("document.querySelector('#part-logger').dataset.state === 'ready'").await;
    page.tail_is("live").await;
    let answer = stack.log(Transport::Grpc, &json!({ "name": "event", "data": "" })).await;
    page.eventually(&format!("document.querySelector(\"[data-id='{}']\")", answer.id())).await;
    assert!(page.text("#curl").await.starts_with("curl -H \"Authorization: Bearer $KEY\" -d "));
    let shown = page.value("document.documentElement.outerHTML").await.to_string();
    assert!(!shown.contains(&alice.secret) && !shown.contains(&bob.secret), "no key is shown");
    assert_eq!(
        page.value("document.querySelector('#key').value + JSON.stringify({ ...localStorage })").await,
        "{}"
    );

    // It stays over a reload, and not longer than the tab.
    page.0.open(&super::url(&stack)).await;
    page.tail_is("live").await;
    page.click("#key-forget").await;
    page.eventually("document.querySelector('#notice').textContent.includes('requires an API key')").await;
    assert_eq!(page.value("Object.values({ ...sessionStorage }).length").await, 0);
    page.is_sound().await;
}
