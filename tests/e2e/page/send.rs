//! Sending from the page: the entry, the answer, the line of curl, and where the time went.

use std::process::Command;

use proto::{Level, Transport};
use serde_json::{Value, json};
use tests::{binaries::binary, browser::key, stack::Stack};
use uuid::Uuid;

use super::Page;

/// The parts of the bars of a transport, in microseconds.
const PARTS: &str = "[...document.querySelectorAll('.waterfall li')].map((row) => [row.querySelector('.mark').textContent, \
    [...row.querySelectorAll('.bar rect')].map((part) => [part.getAttribute('class'), Number(part.dataset.us)])])";

#[tokio::test]
async fn an_entry_goes_by_the_transport_that_is_chosen_and_its_answer_is_shown() {
    let stack = Stack::start().await;
    let page = Page::open(&stack).await;
    page.write("#send-name", "from the page").await;
    page.write("#send-data", "two\nlines").await;
    page.run("document.querySelector('#send-level').value = 'warning'", json!([])).await;
    for transport in Transport::ALL {
        let id = Uuid::now_v7();
        page.set("#send-id", &id.to_string()).await;
        page.choose(transport.as_str()).await;
        page.send().await;
        assert_eq!(page.statuses().await, json!({ transport.as_str(): 202 }));
        let shown = page.texts("#answers pre").await.concat();
        let shown: Value = serde_json::from_str(&shown).expect("the answer as JSON");
        assert_eq!(shown["data"]["id"], id.to_string());
        let stored = stack.eventually_stored(id).await;
        assert_eq!((stored.name.as_str(), stored.data.as_str()), ("from the page", "two\nlines"));
        assert_eq!((stored.level, stored.transport), (Level::Warning, transport));
        let timing = &shown["data"]["timing_us"];
        let us = |name: &str| timing[name].as_u64();
        let parts = page.eventually(PARTS).await;
        let total: u64 = parts[0][1].as_array().expect("parts").iter().filter_map(own_clock).sum();
        assert_eq!((&parts[0][0], Some(total)), (&json!(transport), us("total")), "{parts}");
        let kinds =
            parts[0][1].as_array().expect("parts").iter().map(|part| part[0].as_str().expect("a class"));
        let kinds: Vec<&str> = kinds.take(3).filter(|kind| *kind != "part-queue").collect();
        match transport {
            Transport::Rabbitmq => assert_eq!(kinds, ["part-broker", "part-confirm"]),
            Transport::Http | Transport::Rpc | Transport::Grpc => {
                assert_eq!(kinds, ["part-broker", "part-wire", "part-store"]);
                assert_eq!(parts[0][1][2][1].as_u64(), us("store"));
            }
        }
    }
    page.is_sound().await;
}

/// The time of a part that the broker's own clock has measured.
fn own_clock(part: &Value) -> Option<u64> {
    (part[0] != "part-queue").then(|| part[1].as_u64()).flatten()
}

#[tokio::test]
async fn all_four_at_once_share_a_scale_and_the_queued_one_is_looked_for_until_it_is_stored() {
    let stack = Stack::start().await;
    let page = Page::open(&stack).await;
    page.send().await;
    assert_eq!(page.statuses().await, json!({ "http": 202, "rpc": 202, "rabbitmq": 202, "grpc": 202 }));
    page.eventually("document.querySelector('.waterfall .part-queue')").await;
    let said = page.text("#answers [data-transport=rabbitmq] .queue").await;
    assert!(said.starts_with("stored ") && said.contains("clocks"), "{said}");
    // The widths of all bars are in one proportion to their times, and the longest reaches the end.
    let scale = "[...document.querySelectorAll('.bar rect')] \
        .map((part) => [parseFloat(part.getAttribute('width')), Number(part.dataset.us)])";
    let parts: Vec<(f64, f64)> = serde_json::from_value(page.value(scale).await).expect("widths");
    let (width, us) = parts.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)).expect("parts");
    for (own_width, own_us) in &parts {
        assert!((own_width - own_us * width / us).abs() < 0.01, "{parts:?}");
    }
    let ends = "[...document.querySelectorAll('.bar')].map((bar) => \
        [...bar.children].reduce((end, part) => end + parseFloat(part.getAttribute('width')), 0))";
    let ends: Vec<f64> = serde_json::from_value(page.value(ends).await).expect("ends");
    let longest = ends.iter().copied().fold(0.0, f64::max);
    assert!((longest - 100.0).abs() < 0.01 && ends.len() == 5, "{ends:?}");
    for word in ["broker", "wire", "store", "queue"] {
        assert!(page.text("#waterfall").await.contains(word), "{word}");
    }
    page.is_sound().await;
}

#[tokio::test]
async fn the_line_of_curl_means_the_same_to_a_shell_whatever_the_text() {
    let stack = Stack::start_direct(&[]).await;
    let page = Page::open(&stack).await;
    page.choose("grpc").await;
    for text in [
        "plain",
        "",
        "it's \"quoted\" 'twice''",
        "lines\nand\r\n\ttabs\n",
        "$(exit 1) `exit 1` $HOME ${HOME} !! ; rm -rf * | & > < # ~ \\ \\\\ \\' %s {a,b} [x]",
        "-d @/etc/passwd --help",
        "ключ 鍵 🗝 \u{202e}backwards\u{7f}\u{1}",
        "</script><!--",
    ] {
        page.set("#send-data", text).await;
        // As the field has it: it knows one end of a line.
        let text = page.value("document.querySelector('#send-data').value").await;
        let line = page.texts("#curl").await.concat();
        let words = words_of(&line);
        let body: Value = serde_json::from_str(&words[1]).expect("a body of JSON");
        let entry = json!({ "name": "event", "data": text });
        assert_eq!(body, json!({ "action": "log", "transport": "grpc", "log": entry }), "{line}");
        assert_eq!(
            (words[0].as_str(), words[2].clone()),
            ("-d", format!("http://{}/handle", stack.broker_at))
        );
        assert_eq!(words.len(), 3);
        assert_eq!(stack.post("/handle", words[1].clone()).await.status, 202);
    }
    page.choose("all").await;
    assert_eq!(page.texts("#curl").await.concat().split("\n\n").count(), 4);
    page.click("#curl-copy").await;
    page.eventually("document.querySelector('#curl-copy').textContent !== 'Copy'").await;
    let selected = page.value("getSelection().toString()").await;
    assert_eq!(selected, page.texts("#curl").await.concat());
    page.is_sound().await;
}

#[tokio::test]
async fn the_examples_for_python_and_the_command_store_the_same_entry_whatever_the_text() {
    let stack = Stack::start_direct(&[]).await;
    let page = Page::open(&stack).await;
    page.choose("grpc").await;
    for text in
        ["plain", "", "-", "--json", "it's \"quoted\" \\ \\n $HOME `x`", "lines\nключ 鍵 🗝 \u{202e}\u{7f}"]
    {
        page.set("#send-data", text).await;
        for kind in ["Python", "fourwire"] {
            let id = Uuid::now_v7();
            page.set("#send-id", &id.to_string()).await;
            page.click(&format!("#commands [data-kind={kind}]")).await;
            let code = page.texts("#curl").await.concat();
            let program = binary("fourwire");
            let script = format!("fourwire() {{ {} \"$@\"; }}\n{code}", program.display());
            let (shell, script) = if kind == "Python" { ("python3", code) } else { ("sh", script) };
            let output = Command::new(shell).args(["-c", &script]).envs(stack.logger_urls()).output();
            let output = output.expect("it runs");
            assert!(output.status.success(), "{script}: {output:?}");
            let stored = stack.eventually_stored(id).await;
            assert_eq!((stored.data.as_str(), stored.transport), (text, Transport::Grpc), "{script}");
        }
    }
    page.is_sound().await;
}

/// What a shell hands to curl.
fn words_of(line: &str) -> Vec<String> {
    let script = format!("curl() {{ printf '%s\\0' \"$@\"; }}\n{line}");
    let output = Command::new("sh").args(["-c", &script]).env_clear().output().expect("a shell");
    assert!(output.status.success() && output.stderr.is_empty(), "{line}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[tokio::test]
async fn a_refusal_and_a_duplicate_are_shown_with_what_they_mean() {
    let stack = Stack::start().await;
    let page = Page::open(&stack).await;
    let id = Uuid::now_v7();
    page.set("#send-id", &id.to_string()).await;
    page.choose("rpc").await;
    page.send().await;
    page.send().await;
    assert!(page.text("#answers").await.contains("duplicate"));
    page.set("#send-data", "other").await;
    page.send().await;
    assert_eq!(page.statuses().await, json!({ "rpc": 409 }));
    assert!(page.text("#answers .outcome").await.starts_with("rejected"));
    assert!(page.text("#answers .message").await.contains("id"), "the broker's own words");
    // Over rabbitmq it shows later, and the page does not take the old entry for the new one.
    page.choose("rabbitmq").await;
    page.send().await;
    page.eventually("document.querySelector('.queue')?.innerText.includes('via rpc')").await;
    // A field that is out of its limits is not even sent.
    page.set("#send-id", "no uuid").await;
    page.click("#send-button").await;
    assert_eq!(page.value("document.querySelector('#send-form').checkValidity()").await, false);
    page.is_sound().await;
}

#[tokio::test]
async fn an_entry_is_sent_from_the_keyboard_alone() {
    let stack = Stack::start().await;
    let page = Page::open(&stack).await;
    page.run("document.querySelector('#send-transports input:checked').focus()", json!([])).await;
    // The choices are a group: arrows move in it, and the last is followed by the first.
    page.press(&[key::RIGHT]).await;
    let chosen = "document.querySelector('#send-transports input:checked').value";
    assert_eq!(page.value(chosen).await, "http");
    page.press(&[key::TAB]).await;
    for letter in ["k", "e", "y", "s"] {
        page.press(&[letter]).await;
    }
    page.press(&[key::ENTER]).await;
    page.answered().await;
    assert_eq!(page.statuses().await, json!({ "http": 202 }));
    let stored = stack.all_stored().await;
    assert!(stored[0].name.contains("keys"), "{}", stored[0].name);
    assert!(
        page.texts("#send-said").await.concat().contains("http: stored"),
        "it is said to who cannot see it"
    );
}
