//! The burst over each transport.

use proto::Transport;
use serde_json::{Value, json};
use tests::stack::Stack;

use super::Page;

const IDLE: &str = "document.querySelector('#burst').dataset.runs === 'false'";

/// The cells of the table by transport.
const TABLE: &str = "Object.fromEntries([...document.querySelectorAll('#burst-table tbody tr')] \
    .map((row) => [row.dataset.transport, [...row.querySelectorAll('td')].map((cell) => cell.textContent)]))";

#[tokio::test]
async fn so_many_as_asked_for_go_over_each_and_the_table_counts_them() {
    const COUNT: usize = 30;
    let stack = Stack::start().await;
    let page = Page::open(&stack).await;
    page.set("#burst-count", &COUNT.to_string()).await;
    page.set("#burst-callers", "8").await;
    page.click("#burst-start").await;
    page.eventually(&format!("document.querySelector('#burst-said').textContent && {IDLE}")).await;
    assert_eq!(page.text("#burst-said").await, "Done.");
    let table = page.value(TABLE).await;
    for transport in Transport::ALL {
        let cells = &table[transport.as_str()];
        let count = COUNT.to_string();
        assert_eq!(
            json!([cells[0], cells[1], cells[2], cells[3]]),
            json!([count, count, "0", "0"]),
            "{table}"
        );
        let ms = |cell: &Value| -> f64 {
            let text =
                cell.as_str().and_then(|text| text.strip_suffix(" ms")).unwrap_or_else(|| panic!("{table}"));
            text.replace(',', "").parse().expect("a number")
        };
        let times: Vec<f64> = (4..8).map(|cell| ms(&cells[cell])).collect();
        assert!(times.is_sorted() && times[0] > 0.0, "median, p95, p99 and max: {times:?}");
        let picture = format!("document.querySelector('#spreads .of-{transport}.spread')");
        assert!(
            page.value(&format!("{picture}.getAttribute('aria-label')"))
                .await
                .to_string()
                .contains("30 responses")
        );
        let highest = format!(
            "[...{picture}.querySelectorAll('rect')].some((bar) => bar.getAttribute('height') === '100%')"
        );
        assert_eq!(page.value(&highest).await, true);
    }
    let hint = page.text("#burst").await;
    assert!(
        hint.contains("demonstration") && hint.contains("make compare") && hint.contains("six connections")
    );
    tests::eventually("all of them are stored", async || {
        (stack.all_stored().await.len() == 4 * COUNT).then_some(())
    })
    .await;
    page.is_sound().await;
}

#[tokio::test]
async fn it_is_cancelled_and_every_entry_on_its_way_is_still_counted() {
    let stack = Stack::start().await;
    let page = Page::open(&stack).await;
    page.set("#burst-count", "2000").await;
    page.set("#burst-callers", "32").await;
    page.click("#burst-start").await;
    page.eventually("Number(document.querySelector('#burst-table td').textContent) > 0").await;
    // A second start while it runs is not possible.
    assert_eq!(page.value("document.querySelector('#burst-start').disabled").await, true);
    page.click("#burst-cancel").await;
    page.eventually(IDLE).await;
    assert_eq!(page.text("#burst-said").await, "Cancelled.");
    let table = page.value(TABLE).await;
    let number =
        |cell: &Value| cell.as_str().expect("text").replace(',', "").parse::<usize>().expect("a number");
    let http = &table["http"];
    let sent = number(&http[0]);
    assert!(sent < 2_000 && sent == number(&http[1]) + number(&http[2]) + number(&http[3]), "{table}");
    assert_eq!(table["grpc"][0], "–", "the last of them was not begun");
    assert_eq!(stack.all_stored().await.len(), number(&http[1]));
}

#[tokio::test]
async fn more_than_it_takes_is_not_begun() {
    let stack = Stack::start_direct(&[]).await;
    let page = Page::open(&stack).await;
    for (count, callers) in [("0", "1"), ("2001", "1"), ("1", "0"), ("1", "33"), ("", "1"), ("1.5", "1")] {
        page.set("#burst-count", count).await;
        page.set("#burst-callers", callers).await;
        page.click("#burst-start").await;
        assert_eq!(page.value("document.querySelector('#burst').dataset.runs ?? null").await, Value::Null);
    }
    assert!(stack.all_stored().await.is_empty());
}
