//! `fourwire load`.

use std::{collections::BTreeSet, path::PathBuf};

use proto::Direct;
use rig::Usage;
use tests::eventually;

use super::*;

/// By which ways a load goes to the logger, which answers for each entry.
fn direct_ways() -> impl Iterator<Item = &'static str> {
    ["write-logs", "sync-logs"].into_iter().chain(Direct::ALL.map(|direct| Transport::from(direct).as_str()))
}

/// By which ways a load goes.
fn ways() -> impl Iterator<Item = &'static str> {
    ["write-logs", "sync-logs"].into_iter().chain(Transport::ALL.map(Transport::as_str))
}

/// The line of that number: every thousandth is none that can be stored, every 500th is blank.
fn line(number: usize) -> String {
    match number % 1_000 {
        7 => match number / 1_000 % 4 {
            0 => "no json".to_owned(),
            1 => "{\"name\":\"\",\"data\":\"\"}".to_owned(),
            2 => "{\"name\":\"event\",\"data\":\"\",\"colour\":\"red\"}".to_owned(),
            _ => "{\"name\":\"event\"".to_owned(),
        },
        500 => "  ".to_owned(),
        _ => format!("{{\"name\":\"event\",\"data\":{{\"number\":{number}}}}}"),
    }
}

fn is_bad(number: usize) -> bool {
    number % 1_000 == 7
}

/// A file of so many lines; its path.
fn file(stack: &Stack, lines: usize) -> PathBuf {
    let path = stack.dir().join("entries.ndjson");
    let text: String = (1..=lines).map(|number| line(number) + "\n").collect();
    write(&path, &text);
    path
}

/// How many of so many lines are entries, and how many are refused.
fn counts(lines: usize) -> (usize, usize) {
    let bad = (1..=lines).filter(|number| is_bad(*number)).count();
    let blank = (1..=lines).filter(|number| number % 1_000 == 500).count();
    (lines - bad - blank, bad)
}

async fn assert_each_is_stored_once(stack: &Stack, entries: usize) {
    let all = eventually("all are stored", async || {
        let all = stack.all_stored().await;
        (all.len() >= entries).then_some(all)
    })
    .await;
    let numbers: BTreeSet<_> = all.iter().map(|entry| entry.data.as_str()).collect();
    assert_eq!((all.len(), numbers.len()), (entries, entries), "each once");
}

async fn a_file_is_loaded(way: &str) {
    const LINES: usize = 20_000;
    let stack = Stack::start().await;
    file(&stack, LINES);
    let (entries, bad) = counts(LINES);
    let load = ["load", "entries.ndjson", "--over", way, "--json"];
    let ran = run(&stack, &load).await.ended_with(1);
    let outcome = if way == "rabbitmq" { "queued" } else { "stored" };
    let summary = ran.json();
    assert_eq!((&summary["read"], &summary[outcome]), (&json!(entries + bad), &json!(entries)), "{ran:?}");
    assert_eq!((&summary["duplicate"], &summary["refused"]), (&json!(0), &json!(bad)), "{ran:?}");
    assert_each_is_stored_once(&stack, entries).await;
    for number in (1..=LINES).filter(|number| is_bad(*number)) {
        assert_eq!(ran.err.matches(&format!("line {number}: ")).count(), 1, "{ran:?}");
    }
    // Again: all that is refused goes to a file, and nothing is stored twice.
    let again = run(&stack, &[&load[..], &["--rejects", "refused.ndjson"]].concat()).await.ended_with(1);
    let outcome = if way == "rabbitmq" { "queued" } else { "duplicate" };
    assert_eq!(
        (&again.json()[outcome], &again.json()["refused"]),
        (&json!(entries), &json!(bad)),
        "{again:?}"
    );
    let refused = std::fs::read_to_string(stack.dir().join("refused.ndjson")).expect("the file is there");
    let expected: String =
        (1..=LINES).filter(|number| is_bad(*number)).map(|number| line(number) + "\n").collect();
    assert_eq!(refused, expected);
    assert_each_is_stored_once(&stack, entries).await;
    let third = run(&stack, &[&load[..], &["--rejects", "refused.ndjson"]].concat()).await.ended_with(2);
    assert!(third.err.contains("refused.ndjson"), "a file that is there is not written over: {third:?}");
}

macro_rules! for_each_way {
    ($($name:ident = $way:literal),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                assert!(ways().any(|way| way == $way));
                a_file_is_loaded($way).await;
            }
        )+

        #[test]
        fn a_file_is_loaded_over_each_way() {
            assert_eq!(ways().collect::<BTreeSet<_>>(), BTreeSet::from([$($way),+]));
        }
    };
}

for_each_way!(
    a_file_is_loaded_over_write_logs = "write-logs",
    a_file_is_loaded_over_sync_logs = "sync-logs",
    a_file_is_loaded_over_http = "http",
    a_file_is_loaded_over_rpc = "rpc",
    a_file_is_loaded_over_rabbitmq = "rabbitmq",
    a_file_is_loaded_over_grpc = "grpc",
);

#[tokio::test]
async fn what_the_logger_refuses_is_named_by_its_line() {
    let stack = Stack::start_direct(&[]).await;
    let id = Uuid::now_v7();
    run(&stack, &["send", "--name", "event", "--id", &id.to_string(), "first"]).await.ended_with(0);
    let taken = format!("{{\"name\":\"event\",\"data\":\"other\",\"id\":\"{id}\"}}\n");
    let text = |count: usize| {
        let entry = "\nno json\n{\"name\":\"event\",\"data\":\"\"}\n".repeat(5);
        format!("{entry}{}{entry}", taken.repeat(count))
    };
    for way in direct_ways() {
        let ran = run_with(&stack, &["load", "-", "--over", way, "--json"], text(3).as_bytes()).await;
        let ran = ran.ended_with(1);
        assert_eq!(ran.json()["refused"], 13, "{way}: {ran:?}");
        for number in [16, 17, 18] {
            assert_eq!(ran.err.matches(&format!("line {number}: conflict: ")).count(), 1, "{way}: {ran:?}");
        }
    }
    // More than one call's summary names.
    let many = text(250);
    let ran = run_with(&stack, &["load", "-", "--json"], many.as_bytes()).await.ended_with(1);
    assert_eq!(ran.json()["refused"], 260, "{ran:?}");
    assert!(ran.err.contains("150 more lines are refused"), "{ran:?}");
    let arguments = ["load", "-", "--json", "--rejects", "refused.ndjson"];
    run_with(&stack, &arguments, many.as_bytes()).await.ended_with(1);
    let refused = std::fs::read_to_string(stack.dir().join("refused.ndjson")).expect("the file is there");
    assert_eq!(refused, format!("{0}{1}{0}", "no json\n".repeat(5), taken.repeat(250)));
}

#[tokio::test]
async fn a_load_outlives_the_logger() {
    const LINES: usize = 20_000;
    for way in ["write-logs", "sync-logs", "rpc"] {
        let mut stack = Stack::start_direct(&[]).await;
        file(&stack, LINES);
        let arguments = ["load", "entries.ndjson", "--over", way, "--entries-per-call", "5000", "--json"];
        let child = fourwire(&stack, &arguments).spawn().expect("it starts");
        let loading = tokio::spawn(ended(child));
        eventually("some are stored", async || {
            (stack.get("/logs?limit=1").await.body["data"]["entries"][0].is_object()).then_some(())
        })
        .await;
        stack.logger.kill().await.expect("it runs");
        stack.start_logger().await.expect("it starts");
        let ran = loading.await.expect("no panic").ended_with(1);
        let (entries, bad) = counts(LINES);
        assert_eq!(
            (&ran.json()["read"], &ran.json()["refused"]),
            (&json!(entries + bad), &json!(bad)),
            "{ran:?}"
        );
        assert_each_is_stored_once(&stack, entries).await;
    }
}

#[tokio::test]
async fn a_load_that_is_interrupted_says_how_to_go_on() {
    const LINES: usize = 60_000;
    let stack = Stack::start_direct(&[]).await;
    let text = std::fs::read_to_string(file(&stack, LINES)).expect("it was written");
    let load = ["load", "-", "--source", "entries", "--json"];
    let mut child = fourwire(&stack, &load).stdin(Stdio::piped()).spawn().expect("it starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    // However fast it is, it does not come to the end: the pipe stays open.
    let writing = tokio::spawn(async move {
        let _ = pipe.write_all(text.as_bytes()).await;
        pipe
    });
    eventually("some are stored", async || {
        (stack.get("/logs?limit=1").await.body["data"]["entries"][0].is_object()).then_some(())
    })
    .await;
    signal(&child, Signal::SIGINT);
    let ran = ended(child).await.ended_with(3);
    drop(writing.await.expect("no panic"));
    let next = ran.json()["next_line"].as_u64().expect("a line").to_string();
    assert!(ran.err.contains(&format!("load - --source entries --json --from-line {next}")), "{ran:?}");
    let rest = ["load", "entries.ndjson", "--source", "entries", "--json", "--from-line", &next];
    let rest = run(&stack, &rest).await;
    assert!(matches!(rest.code, Some(0 | 1)), "the lines that are refused may be told already: {rest:?}");
    let (entries, _) = counts(LINES);
    let stored = |ran: &Ran| ran.json()["stored"].as_u64().expect("a count");
    assert_eq!((stored(&ran) + stored(&rest), &rest.json()["duplicate"]), (entries as u64, &json!(0)));
    assert_each_is_stored_once(&stack, entries).await;
}

#[tokio::test]
async fn a_load_begins_at_a_line_that_is_there_or_behind_the_last() {
    let stack = Stack::start_direct(&[]).await;
    file(&stack, 13);
    let ran = run(&stack, &["load", "entries.ndjson", "--from-line", "100"]).await.ended_with(2);
    assert!(ran.err.contains("--from-line 100: the file has only 13 lines"), "{ran:?}");
    let ran = run(&stack, &["load", "entries.ndjson", "--from-line", "14"]).await.ended_with(0);
    assert!(ran.out.starts_with("0 lines accepted in "), "{ran:?}");
    let ran = run(&stack, &["load", "entries.ndjson", "--from-line", "13"]).await.ended_with(0);
    assert!(ran.out.starts_with("1 line accepted in "), "{ran:?}");
}

#[tokio::test]
async fn what_get_has_written_is_loaded_once_what_the_store_has_added_is_stripped() {
    let stack = Stack::start_direct(&[]).await;
    run(&stack, &["send", "--name", "event", "hello"]).await.ended_with(0);
    let written = run(&stack, &["get", "--json"]).await.ended_with(0).out;
    let ran = run_with(&stack, &["load", "-"], written.as_bytes()).await.ended_with(1);
    assert!(ran.err.contains("`stored_at`") && ran.err.contains("jq -c"), "{ran:?}");
    let mut stored: Value = serde_json::from_str(&written).expect("an entry");
    let (_, stripped) = ran.err.split_once("jq -c '{").expect("a filter");
    let (fields, _) = stripped.split_once("}'").expect("its end");
    let fields: Vec<_> = fields.split(',').collect();
    stored.as_object_mut().expect("an object").retain(|field, _| fields.contains(&field.as_str()));
    let ran = run_with(&stack, &["load", "-", "--json"], stored.to_string().as_bytes()).await.ended_with(0);
    assert_eq!(ran.json()["duplicate"], 1, "{ran:?}");
}

#[tokio::test]
async fn a_load_gives_up_when_its_patience_ends() {
    let mut stack = Stack::start_direct(&[]).await;
    file(&stack, 10);
    stack.logger.kill().await.expect("it runs");
    let scheme = if tls::directory().is_some() { "amqps" } else { "amqp" };
    let nobody = format!("{scheme}://guest:guest@127.0.0.1:1/%2f");
    for way in ways() {
        let arguments =
            ["load", "entries.ndjson", "--over", way, "--patience", "1", "--amqp-url", nobody.as_str()];
        let ran = run(&stack, &arguments).await.ended_with(3);
        assert!(ran.err.contains("--from-line 1") && ran.err.contains("no progress for 1 second"), "{ran:?}");
        // While it waits to dial again, too, the reason is that of the last dial.
        for words in ["make run", "Connection refused"] {
            assert_eq!(ran.err.matches(words).count(), 1, "{way}: a reason is told once: {ran:?}");
        }
    }
}

#[tokio::test]
async fn lines_of_any_length_are_read_from_standard_input() {
    let stack = Stack::start_direct(&[]).await;
    let entry = |data: &str| format!("{{\"name\":\"event\",\"data\":\"{data}\"}}");
    let text = [
        entry("first"),
        "x".repeat(5 * 1024 * 1024),
        entry(&"\\u0436".repeat(128 * 1024)),
        entry(&"d".repeat(256 * 1024 + 1)),
        entry("last, without a line feed"),
    ]
    .join("\r\n");
    for way in direct_ways() {
        let ran =
            run_with(&stack, &["load", "-", "--over", way, "--json"], text.as_bytes()).await.ended_with(1);
        let (read, refused) = (&ran.json()["read"], &ran.json()["refused"]);
        assert_eq!((read, refused), (&json!(5), &json!(2)), "{way}: {ran:?}");
        assert!(
            ran.err.contains("line 2: too_large") && ran.err.contains("line 4: invalid_entry"),
            "{ran:?}"
        );
    }
    assert_eq!(stack.all_stored().await.len(), 3);
}

#[tokio::test]
async fn what_comes_slowly_is_stored_before_its_end() {
    let stack = Stack::start_direct(&[]).await;
    for way in ["write-logs", "sync-logs", "http"] {
        let before = stack.all_stored().await.len();
        let mut child = fourwire(&stack, &["load", "-", "--over", way, "--json"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut pipe = child.stdin.take().expect("a pipe");
        for number in 1..=2 {
            let line = format!("{{\"name\":\"{way}\",\"data\":\"{number}\"}}\n");
            pipe.write_all(line.as_bytes()).await.expect("it reads");
            eventually("it is stored", async || {
                (stack.all_stored().await.len() == before + number).then_some(())
            })
            .await;
        }
        drop(pipe);
        assert_eq!(ended(child).await.ended_with(0).json()["stored"], 2);
    }
}

#[tokio::test]
async fn a_load_of_any_length_takes_little_memory() {
    const LINES: usize = 200_000;
    const MOST_KIB: u64 = 100 * 1024;
    let stack = Stack::start_direct(&[]).await;
    file(&stack, LINES);
    let arguments = ["load", "entries.ndjson", "--entries-per-call", "0", "--json"];
    let child = fourwire(&stack, &arguments).spawn().expect("it starts");
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).expect("it runs");
    let loading = tokio::spawn(async move {
        timeout(10 * SOON, child.wait_with_output()).await.expect("it ends").expect("its output")
    });
    let mut peak_kib = 0;
    while !loading.is_finished() {
        // The last look is at a process that is gone.
        peak_kib = Usage::of(pid).map_or(peak_kib, |usage| peak_kib.max(usage.peak_memory_kib));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let ran = Ran::from(loading.await.expect("no panic")).ended_with(1);
    assert_eq!(ran.json()["stored"], counts(LINES).0);
    let logger_kib = stack.logger.usage().expect("it runs").peak_memory_kib;
    println!("peak: fourwire {peak_kib} KiB, logger {logger_kib} KiB");
    assert!(peak_kib > 0 && peak_kib < MOST_KIB && logger_kib < MOST_KIB, "{peak_kib} and {logger_kib} KiB");
}

#[tokio::test]
async fn a_line_that_counts_as_stored_before_though_its_input_has_no_name_is_a_warning() {
    let stack = Stack::start().await;
    let line = b"{\"name\":\"backup\",\"data\":\"done\"}\n";
    let with_id = format!("{{\"name\":\"backup\",\"data\":\"done\",\"id\":\"{}\"}}\n", Uuid::now_v7());
    let warns = |ran: &Ran| ran.err.contains("--source");
    // A job that runs each day, and has nothing new to say.
    let first = run_with(&stack, &["load", "-", "--json"], line).await.ended_with(0);
    assert!(first.json()["stored"] == 1 && !warns(&first), "{first:?}");
    let second = run_with(&stack, &["load", "-", "--json"], line).await.ended_with(0);
    assert!(second.json()["duplicate"] == 1 && warns(&second), "{second:?}");
    assert!(second.err.contains("1 line counts as stored before"), "{second:?}");
    // RabbitMQ does not say what was stored before.
    let queued = run_with(&stack, &["load", "-", "--over", "rabbitmq"], line).await.ended_with(0);
    assert!(warns(&queued), "{queued:?}");
    for (load, text) in [
        (&["load", "-", "--source", "today", "--json"][..], &line[..]),
        (&["load", "-", "--json"], with_id.as_bytes()),
    ] {
        for outcome in ["stored", "duplicate"] {
            let ran = run_with(&stack, load, text).await.ended_with(0);
            assert!(ran.json()[outcome] == 1 && !warns(&ran), "{ran:?}");
        }
    }
    write(&stack.dir().join("one.ndjson"), std::str::from_utf8(line).expect("text"));
    for outcome in ["stored", "duplicate"] {
        let ran = run(&stack, &["load", "one.ndjson", "--json"]).await.ended_with(0);
        assert!(ran.json()[outcome] == 1 && !warns(&ran), "a file has its name: {ran:?}");
    }
}

#[tokio::test]
async fn a_load_that_cannot_write_a_refused_line_does_not_call_what_was_sent_not_stored() {
    let stack = Stack::start_direct(&[]).await;
    let path = file(&stack, 5_000);
    let path = path.to_str().expect("a name");
    // The seventh line is refused, and those before it may be on their way.
    let ran = run(&stack, &["load", path, "--from-line", "1", "--rejects", "/dev/full"]).await.ended_with(4);
    assert!(ran.err.contains("cannot read the file or write refused lines"), "{ran:?}");
}
