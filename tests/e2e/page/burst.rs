//! The burst over each transport, as the page shows it.

use proto::Transport;
use serde_json::{Value, json};
use tests::{browser::Screen, stack::Stack};

use super::Page;

pub(super) const IDLE: &str = "document.querySelector('#burst').dataset.runs === 'false'";

/// The values of the table by transport and column.
const TABLE: &str = "Object.fromEntries([...document.querySelectorAll('#results tbody tr')].map((row) => \
    [row.dataset.transport, Object.fromEntries([...row.querySelectorAll('td')].map((cell) => \
        [cell.dataset.column, cell.lastElementChild.textContent]))]))";

#[tokio::test]
async fn so_many_as_asked_for_go_over_each_and_one_picture_shows_them_on_one_scale() {
    const COUNT: usize = 30;
    let stack = Stack::start().await;
    let page = Page::open(&stack).await;
    page.set("#burst-count", &COUNT.to_string()).await;
    page.set("#burst-concurrency", "8").await;
    page.click("#burst-start").await;
    page.eventually(&format!("document.querySelector('#burst-said').textContent && {IDLE}")).await;
    assert_eq!(page.text("#burst-said").await, "Done.");
    assert!(page.text("#results-said").await.contains("30 entries over each, concurrency 8"));
    let table = page.value(TABLE).await;
    for transport in Transport::ALL {
        let row = &table[transport.as_str()];
        for column in ["answered", "stored", "p99"] {
            let text = row[column].as_str().unwrap_or_default();
            assert!(text.ends_with(" ms") || text.ends_with(" s"), "{transport} {column}: {table}");
        }
        assert!(row["bytes"].as_str().is_some_and(|bytes| bytes.contains(" + ")), "{table}");
        assert!(
            row["rate"].as_str().is_some_and(|rate| rate.replace(',', "").parse::<u32>().is_ok()),
            "{table}"
        );
        let picture = format!("document.querySelector('#picture .of-{transport}.spread')");
        let said = page.value(&format!("{picture}.getAttribute('aria-label')")).await.to_string();
        assert!(said.contains("30 responses") && said.contains("median"), "{said}");
        let highest = format!(
            "[...{picture}.querySelectorAll('rect')].some((bar) => bar.getAttribute('height') === '100%')"
        );
        assert_eq!(page.value(&highest).await, true);
    }
    assert_eq!(page.value("document.querySelectorAll('#picture .axis').length").await, 1, "one for all four");
    let best =
        "[...document.querySelectorAll('#results .best')].map((cell) => cell.closest('td').dataset.column)";
    let best: Vec<String> = serde_json::from_value(page.value(best).await).expect("columns");
    let count = |column: &str| best.iter().filter(|own| *own == column).count();
    assert_eq!(count("bytes"), 1, "they are the same each time: {best:?}");
    // Where all four are as good, none is.
    for column in ["answered", "stored", "p99", "rate"] {
        assert!(count(column) < Transport::ALL.len(), "{column}: {best:?}");
    }
    assert!(page.text("#burst").await.contains("make compare"), "it says what it is not");
    tests::eventually("all of them are stored", async || {
        (stack.all_stored().await.len() == 4 * COUNT).then_some(())
    })
    .await;
    page.is_sound().await;
}

#[tokio::test]
async fn nothing_moves_when_a_burst_starts_runs_and_ends() {
    let stack = Stack::start().await;
    let page = Page::open(&stack).await;
    let places = "[...document.querySelectorAll('#burst-start, #burst-cancel, #lanes-burst, #results, #picture, #send, #tail, .lane')] \
        .map((node) => { const box = node.getBoundingClientRect(); return [node.id, box.top + scrollY, box.height]; })";
    for (width, height) in [(1280, 900), (768, 900), (390, 844)] {
        page.see(Screen { width, height, dark: false }).await;
        for language in ["en", "ru"] {
            page.click(&format!("[data-language={language}]")).await;
            page.set("#burst-count", "40").await;
            // Drawn for this width.
            page.eventually(
                "[...document.querySelectorAll('.way')].every((way) => \
                Math.abs(way.firstChild.clientWidth - way.clientWidth) <= 1)",
            )
            .await;
            let before = page.value(places).await;
            page.run("window.moved = []; window.watched = new MutationObserver(() => window.moved.push(\
                document.querySelector('#burst-start').getBoundingClientRect().top + scrollY)); \
                window.watched.observe(document.body, { subtree: true, childList: true, characterData: true })", json!([]))
                .await;
            page.run("document.querySelector('#burst-start').click()", json!([])).await;
            page.eventually(&format!("document.querySelector('#burst-said').textContent && {IDLE}")).await;
            let tops = "window.watched.disconnect(), [...new Set(window.moved.map(Math.round))].length";
            assert_eq!(
                page.value(tops).await,
                1,
                "the button stays under the pointer at {width}, {language}"
            );
            assert_eq!(page.value(places).await, before, "{width} {language}");
        }
    }
    page.is_sound().await;
}

#[tokio::test]
async fn it_is_cancelled_and_the_next_one_may_start() {
    let stack = Stack::start().await;
    let page = Page::open(&stack).await;
    let cancel = "document.querySelector('#burst-cancel').disabled";
    assert_eq!(page.value(cancel).await, true, "there is nothing to cancel");
    page.set("#burst-count", "2000").await;
    page.set("#burst-concurrency", "1").await;
    page.click("#burst-start").await;
    page.eventually("document.querySelector('#burst-said').textContent.includes('of 2,000')").await;
    assert_eq!(page.value("document.querySelector('#burst-start').ariaDisabled").await, "true");
    assert_eq!(page.value(cancel).await, false);
    page.click("#burst-cancel").await;
    page.eventually(IDLE).await;
    assert!(page.text("#burst-said").await.starts_with("Cancelled."));
    assert_eq!(page.value(cancel).await, true);
    assert_eq!(page.value("document.activeElement.id").await, "burst-start", "the focus is not lost");
    page.set("#burst-count", "1").await;
    tests::eventually("the broker has noticed, and the next one runs", async || {
        page.click("#burst-start").await;
        page.eventually(IDLE).await;
        (page.text("#burst-said").await == "Done.").then_some(())
    })
    .await;
    page.is_sound().await;
}

#[tokio::test]
async fn more_than_it_takes_is_not_begun() {
    let stack = Stack::start_direct(&[]).await;
    let page = Page::open(&stack).await;
    for (count, callers) in [("0", "1"), ("2001", "1"), ("1", "0"), ("1", "65"), ("", "1"), ("1.5", "1")] {
        page.set("#burst-count", count).await;
        page.set("#burst-concurrency", callers).await;
        page.click("#burst-start").await;
        assert_eq!(page.value("document.querySelector('#burst').dataset.runs ?? null").await, Value::Null);
    }
    assert!(stack.all_stored().await.is_empty());
}
