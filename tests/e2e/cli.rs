//! The `fourwire` command, as a person or a script uses it.

mod explain;
mod load;
mod tail;

use std::{
    fs::File,
    os::fd::OwnedFd,
    path::Path,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::Pid};
use proto::{StoredEntry, Transport};
use serde_json::{Value, json};
use tests::{SOON, binaries::binary, stack::Stack, tls};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    time::timeout,
};
use uuid::Uuid;

for_each_transport!(an_entry_is_sent_and_read_back);

/// How it ended, and what it wrote.
#[derive(Debug)]
pub(crate) struct Ran {
    code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let ran = Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
        tls::assert_no_secret("what fourwire wrote", &format!("{}{}", ran.out, ran.err));
        ran
    }
}

impl Ran {
    /// The one line of JSON that it wrote.
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// The command with the settings of a stack.
fn fourwire(stack: &Stack, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("fourwire"));
    command.env_clear().envs(stack.logger_urls()).env("AMQP_URL", stack.rabbitmq.service_url());
    if let Some(directory) = tls::directory() {
        command.envs(tls::settings(directory));
    }
    command.args(arguments).current_dir(stack.dir()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) async fn run(stack: &Stack, arguments: &[&str]) -> Ran {
    ended(fourwire(stack, arguments).spawn().expect("it starts")).await
}

async fn ended(child: Child) -> Ran {
    timeout(4 * SOON, child.wait_with_output()).await.expect("it ends").expect("its output").into()
}

/// Runs it with something on standard input.
async fn run_with(stack: &Stack, arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = fourwire(stack, arguments).stdin(Stdio::piped()).spawn().expect("it starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    let (ran, _) = tokio::join!(ended(child), async {
        // It may end before it has read all.
        let written = pipe.write_all(input).await;
        drop(pipe);
        written
    });
    ran
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).expect("it runs");
    nix::sys::signal::kill(Pid::from_raw(pid), signal).expect("it is there");
}

async fn an_entry_is_sent_and_read_back(transport: Transport) {
    let stack = Stack::start().await;
    let id = Uuid::now_v7().to_string();
    let send = [
        "send",
        "--transport",
        transport.as_str(),
        "--name",
        "event",
        "--level",
        "error",
        "--id",
        &id,
        "hello",
    ];
    let ran = run(&stack, &[&send[..], &["--json"]].concat()).await.ended_with(0);
    let outcome = transport.promise().outcome().as_str();
    assert_eq!((&ran.json()["outcome"], &ran.json()["id"]), (&json!(outcome), &json!(id)));
    let stored = stack.eventually_stored(id.parse().expect("a UUID")).await;
    let read = run(&stack, &["get", &id, "--json"]).await.ended_with(0);
    assert_eq!(serde_json::from_str::<StoredEntry>(&read.out).expect("an entry"), stored);
    assert_eq!(
        (stored.data.as_str(), stored.level, stored.transport),
        ("hello", proto::Level::Error, transport)
    );
    let again = run(&stack, &send).await.ended_with(0);
    let outcome = transport.promise().repeated().as_str();
    assert!(again.out.contains(outcome) && again.out.contains(&id), "{again:?}");
}

#[tokio::test]
async fn the_exit_code_says_what_is_certain() {
    let mut stack = Stack::start_direct(&[]).await;
    let id = Uuid::now_v7().to_string();
    run(&stack, &["send", "--name", "event", "--id", &id, "hello"]).await.ended_with(0);
    for (refused, words) in [
        (vec!["send", "--name", "event", "--id", &id, "other"], "conflict"),
        (vec!["get", "01a1fc81-0c09-763f-8df2-a41011d222e4"], "not_found"),
        (vec!["tail", "--after", "4711"], "after"),
    ] {
        let ran = run(&stack, &refused).await.ended_with(1);
        assert!(ran.err.contains(words), "{ran:?}");
    }
    for (nonsense, words) in [
        (vec![], "Commands:"),
        (vec!["send", "--name", "", "hello"], "name is empty"),
        (vec!["send", "--name", "event", "--id", "7", "hello"], "not a UUID"),
        (vec!["send", "--name", "event", "--created-at", "noon", "hello"], "RFC 3339"),
        (vec!["send", "--name", "event"], "Usage: fourwire send [OPTIONS] <DATA>"),
        (vec!["send", "--transport", "amqp", "--name", "event", "hello"], "http, rpc, rabbitmq, grpc"),
        (vec!["get", "seven"], "not an entry id"),
        (vec!["get", "--since", "noon"], "--since"),
        (vec!["get", "--cursor", "foo"], "--cursor"),
        (vec!["tail", "--max-lag", "0"], "--max-lag"),
        (vec!["load", "nowhere.ndjson"], "nowhere.ndjson"),
        (vec!["load", "."], "directory"),
        (vec!["get", "--logger-http-url", "https://127.0.0.1:1"], "LOGGER_HTTP_URL"),
        (vec!["get", "--fourwire-tls-cert", "nowhere"], "FOURWIRE_TLS_KEY"),
    ] {
        let ran = run(&stack, &nonsense).await.ended_with(2);
        assert!(ran.err.contains(words), "{ran:?}");
    }
    // Frozen: it may be stored, as far as one can see.
    stack.logger.freeze().await.expect("it runs");
    let hasty = ["--fourwire-deadline-ms", "500", "send", "--name", "event", "hello"];
    let ran = run(&stack, &hasty).await.ended_with(4);
    assert!(ran.err.contains("--id"), "{ran:?}");
    stack.logger.kill().await.expect("it runs");
    for transport in tests::DIRECT {
        let ran = run(&stack, &["send", "--transport", transport.as_str(), "--name", "event", "hello"]).await;
        let err = ran.ended_with(3).err;
        assert!(err.contains("make run") && err.contains("because: Connection refused"), "{err}");
    }
    for reading in [&["get"][..], &["get", &id]] {
        let err = run(&stack, reading).await.ended_with(3).err;
        assert!(err.contains("the logger cannot be reached\n  because: Connection refused"), "{err}");
        assert!(!err.contains("again") && !err.contains("stored"), "{err}");
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_told_on_standard_error() {
    let stack = Stack::start_direct(&[]).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, "{\"name\":\"event\",\"data\":\"hello\"}\n").expect("written");
    let path = file.path().to_str().expect("a name");
    for (arguments, words) in [
        (&["send", "--name", "event", "hello"][..], "stored via http"),
        (&["load", path], "1 line accepted in"),
        (&["get"], "cannot write"),
        (&["tail", "--from-start"], "resume with: "),
    ] {
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        let child = fourwire(&stack, arguments).stdout(full).spawn().expect("it starts");
        let ran = ended(child).await.ended_with(5);
        assert!(ran.err.contains(words) && ran.err.contains("cannot write to standard output"), "{ran:?}");
        // Nowhere is left to tell it, and the code still says so.
        let full = || File::options().write(true).open("/dev/full").expect("Linux has it");
        let mut command = fourwire(&stack, arguments);
        ended(command.stdout(full()).stderr(full()).spawn().expect("it starts")).await.ended_with(5);
    }
}

#[tokio::test]
async fn without_a_logger_or_rabbitmq_one_is_told_at_once() {
    let stack = Stack::start_direct(&[]).await;
    let (rpc, amqp) = if tls::directory().is_some() { ("tls://", "amqps") } else { ("", "amqp") };
    let (rpc, amqp) = (format!("{rpc}127.0.0.1:1"), format!("{amqp}://guest:guest@127.0.0.1:1/%2f"));
    let nobody = ["--logger-rpc-addr", rpc.as_str(), "--amqp-url", amqp.as_str()];
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, "{\"name\":\"event\",\"data\":\"hello\"}\n").expect("written");
    let path = file.path().to_str().expect("a name");
    for transport in [Transport::Rpc, Transport::Rabbitmq] {
        let transport = transport.as_str();
        for arguments in [
            &["send", "--transport", transport, "--name", "event", "hello"][..],
            &["load", "--over", transport, "--patience", "0", path],
        ] {
            // The machine may be busy: the fastest of some counts.
            let mut fastest = Duration::MAX;
            for _ in 0..5 {
                let begun = Instant::now();
                let ran = run(&stack, &[arguments, &nobody].concat()).await.ended_with(3);
                assert!(ran.err.contains("Connection refused"), "{ran:?}");
                fastest = fastest.min(begun.elapsed());
            }
            assert!(fastest < Duration::from_millis(1_500), "{arguments:?}: {fastest:?}");
        }
    }
}

#[tokio::test]
async fn who_asks_for_json_gets_it_of_a_failure_too() {
    let stack = Stack::start_direct(&[]).await;
    let id = Uuid::now_v7().to_string();
    let send = |data, more: &[&'static str]| {
        let words = ["send", "--json", "--name", "event", "--id", &id, data];
        let words: Vec<String> = words.into_iter().chain(more.iter().copied()).map(str::to_owned).collect();
        words
    };
    let run =
        async |words: Vec<String>| run(&stack, &words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    run(send("hello", &[])).await.ended_with(0);
    let conflict = run(send("other", &["--transport", "grpc"])).await.ended_with(1).json();
    assert_eq!(
        (&conflict["code"], &conflict["transport"], &conflict["id"], &conflict["retryable"]),
        (&json!("conflict"), &json!("grpc"), &json!(id), &json!(false)),
    );
    assert!(conflict["message"].as_str().is_some_and(|message| !message.is_empty()), "{conflict}");
    let scheme = if tls::directory().is_some() { "https" } else { "http" };
    let nobody: &'static str = format!("--logger-http-url={scheme}://127.0.0.1:1").leak();
    let down = run(send("hello", &[nobody])).await.ended_with(3).json();
    assert_eq!((&down["code"], &down["retryable"]), (&json!("unavailable"), &json!(true)));
    let bad = run(send("hello", &["--created-at", "noon"])).await.ended_with(2).json();
    assert_eq!((&bad["code"], &bad["id"]), (&json!("invalid_entry"), &json!(id)));
}

#[tokio::test]
async fn lines_that_are_refused_need_no_logger() {
    let stack = Stack::start_direct(&[]).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, "[1]\n\nno json\n").expect("written");
    let path = file.path().to_str().expect("a name");
    let scheme = if tls::directory().is_some() { "https" } else { "http" };
    let nobody = format!("{scheme}://127.0.0.1:1");
    let load = ["load", "--logger-grpc-url", nobody.as_str(), "--patience", "0", path];
    let ran = run(&stack, &load).await.ended_with(1);
    assert!(ran.out.contains("2 refused") && !ran.err.contains("resume with"), "{ran:?}");
}

#[tokio::test]
async fn a_password_is_never_repeated() {
    let stack = Stack::start_direct(&[]).await;
    for url in ["amqp://user:hidden@127.0.0.1:1/%2f", "http://user:hidden@127.0.0.1/"] {
        let send = ["send", "--transport", "rabbitmq", "--name", "event", "hello", "--amqp-url", url];
        let ran = run(&stack, &send).await;
        assert!(matches!(ran.code, Some(2 | 3)) && !format!("{ran:?}").contains("hidden"), "{ran:?}");
        let ran = fourwire(&stack, &["--help"]).env("AMQP_URL", url).output().await.expect("it ends").into();
        assert!(!format!("{:?}", Ran::ended_with(ran, 0)).contains("hidden"));
    }
}

#[tokio::test]
async fn what_a_terminal_would_obey_is_not_sent_to_it() {
    let stack = Stack::start_direct(&[]).await;
    let data = "\u{1b}]0;title\u{7}\n\u{9b}31m\u{202e}ж";
    let ran = run_with(&stack, &["send", "--name", "a\u{1b}b", "-"], format!("{data}\n").as_bytes()).await;
    ran.ended_with(0);
    for arguments in [&["get"][..], &["get", "--json"]] {
        let out = run(&stack, arguments).await.ended_with(0).out;
        let line = out.strip_suffix('\n').expect("a line");
        assert!(
            line.contains('ж') && !line.chars().any(|char| char.is_control() || char == '\u{202e}'),
            "{line:?}"
        );
    }
    let read = run(&stack, &["get", "--json"]).await.json();
    assert_eq!((&read["data"], &read["name"]), (&json!(data), &json!("a\u{1b}b")));
}

#[tokio::test]
async fn entries_are_found_by_conditions_and_read_page_by_page() {
    let stack = Stack::start_direct(&[]).await;
    let lines: String = (0..2_500)
        .map(|number| {
            let level = if number % 100 == 0 { "error" } else { "info" };
            format!("{{\"name\":\"n{}\",\"data\":\"number {number}\",\"level\":\"{level}\"}}\n", number % 2)
        })
        .collect();
    run_with(&stack, &["load", "-"], lines.as_bytes()).await.ended_with(0);
    for (conditions, count) in [
        (&["--all"][..], 2_500),
        (&[], 20),
        (&["--limit", "1500"], 1_500),
        (&["--all", "--name", "n1"], 1_250),
        (&["--all", "--level", "error"], 25),
        (&["--all", "--contains", "number 24"], 111),
        (&["--all", "--transport", "http"], 0),
        (&["--all", "--until", "2026-01-01T00:00:00+01:00"], 0),
    ] {
        let ran = run(&stack, &[&["get"], conditions].concat()).await.ended_with(0);
        assert_eq!(ran.out.lines().count(), count, "{conditions:?}");
        let said = match count {
            0 => "no entry matches the filters",
            20 | 1_500 => "there are more: use --all for all of them, or --cursor ",
            _ => "",
        };
        assert!(ran.err.starts_with(said) && said.is_empty() == ran.err.is_empty(), "{ran:?}");
    }
    let first = run(&stack, &["get", "--limit", "1", "--json"]).await.ended_with(0);
    assert_eq!(first.json()["data"], "number 2499");
    let cursor = first.err.split(' ').skip_while(|word| *word != "--cursor").nth(1).expect("a cursor");
    let rest = run(&stack, &["get", "--limit", "2499", "--cursor", cursor]).await.ended_with(0);
    assert_eq!((rest.out.lines().count(), rest.err.as_str()), (2_499, ""), "all are told");
    let all = run(&stack, &["get", "--all", "--json"]).await.ended_with(0).out;
    let read: Vec<StoredEntry> =
        all.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect();
    assert_eq!(read, stack.all_stored().await);
}

#[tokio::test]
async fn who_has_seen_enough_is_sent_no_more() {
    let stack = Stack::start_direct(&[]).await;
    let lines = "{\"name\":\"event\",\"data\":\"hello\"}\n".repeat(3_000);
    run_with(&stack, &["load", "-"], lines.as_bytes()).await.ended_with(0);
    for command in ["get --all", "tail --from-start"] {
        let piped = format!("set -o pipefail; {} {command} | head -n 1", binary("fourwire").display());
        let mut shell = Command::new("bash");
        shell.args(["-c", &piped]).env_clear().env("PATH", "/usr/bin:/bin").envs(stack.logger_urls());
        if let Some(directory) = tls::directory() {
            shell.envs(tls::settings(directory));
        }
        let output = timeout(SOON, shell.kill_on_drop(true).output()).await.expect("it ends").expect("bash");
        let ran = Ran::from(output).ended_with(0);
        assert_eq!(ran.out.lines().count(), 1);
        assert!(!ran.err.contains("error"), "{ran:?}");
    }
}

#[tokio::test]
async fn a_tail_ends_when_nobody_reads_it_though_nothing_more_comes() {
    let stack = Stack::start_direct(&[]).await;
    run(&stack, &["send", "--name", "once", "hello"]).await.ended_with(0);
    // A pipe, as of `| head`, and a socket, as of a service manager.
    let (pipe, other_end_of_pipe) = std::io::pipe().expect("a pipe");
    let (socket, other_end_of_socket) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let outputs: [(OwnedFd, Stdio); 2] =
        [(pipe.into(), other_end_of_pipe.into()), (socket.into(), OwnedFd::from(other_end_of_socket).into())];
    for (read, written) in outputs {
        let arguments = ["tail", "--from-start", "--name", "once"];
        let child = fourwire(&stack, &arguments).stdout(written).spawn().expect("it starts");
        let first = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            let mut lines = std::io::BufReader::new(File::from(read));
            std::io::BufRead::read_line(&mut lines, &mut line).map(|_| line)
        });
        assert!(first.await.expect("no panic").expect("it can be read").contains("once: hello"));
        let ran = ended(child).await.ended_with(0);
        assert!(!ran.err.contains("error"), "{ran:?}");
    }
    // What has work to do does it all the same.
    let (read, written) = std::io::pipe().expect("a pipe");
    drop(read);
    let lines = "{\"name\":\"event\",\"data\":\"\"}\n".repeat(1_000);
    write(&stack.dir().join("entries.ndjson"), &lines);
    let child = fourwire(&stack, &["load", "entries.ndjson"]).stdout(written).spawn().expect("it starts");
    ended(child).await.ended_with(0);
    assert_eq!(stack.all_stored().await.len(), 1_001);
}

#[tokio::test]
async fn a_newcomer_is_told_what_there_is() {
    let stack = Stack::start_direct(&[]).await;
    let help = run(&stack, &["--help"]).await.ended_with(0).out;
    for word in ["send", "get", "tail", "load", "Examples:", "Exit codes:", "LOGGER_GRPC_URL", "make run"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    for command in ["send", "get", "tail", "load", "status", "completions", "man"] {
        let help = run(&stack, &[command, "--help"]).await.ended_with(0).out;
        assert!(help.contains("Examples:") && help.contains("Usage: fourwire"), "{help}");
    }
    let bare = run(&stack, &[]).await.ended_with(2);
    assert!(bare.out.is_empty() && bare.err.contains("Commands:") && bare.err.contains("--help"), "{bare:?}");
    assert!(bare.err.lines().count() < help.lines().count() / 2, "{bare:?}");
    let version = run(&stack, &["--version"]).await.ended_with(0).out;
    assert_eq!(version.trim_end(), format!("fourwire {}", proto::release::VERSION));
}

#[tokio::test]
async fn all_four_are_compared_in_a_table_and_a_transport_that_fails_is_told() {
    let mut stack = Stack::start().await;
    let send = ["send", "--transport", "all", "--count", "3", "hello"];
    let ran = run(&stack, &send).await.ended_with(0);
    let lines: Vec<Vec<&str>> = ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 5, "{ran:?}");
    for (line, transport) in lines[1..].iter().zip(Transport::ALL) {
        assert_eq!(line[..2], [transport.as_str(), transport.promise().outcome().as_str()], "{ran:?}");
        for ms in &line[2..4] {
            assert!(ms.parse::<f64>().is_ok_and(|ms| ms > 0.0), "{ran:?}");
        }
        let bytes = (line[4].parse::<u64>(), line[6].parse::<u64>());
        assert!(bytes.0.is_ok_and(|sent| sent > 100) && bytes.1.is_ok_and(|back| back > 20), "{ran:?}");
    }
    // One of each opens connections, and is stored like the others.
    tests::eventually("all of them are stored", async || {
        (stack.all_stored().await.len() == 4 * (3 + 1)).then_some(())
    })
    .await;

    stack.logger.kill().await.expect("it runs");
    let ran =
        run(&stack, &[&send[..], &["--json", "--fourwire-deadline-ms", "1000"]].concat()).await.ended_with(3);
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (line, transport) in lines.iter().zip(Transport::ALL) {
        let failed =
            line["message"].as_str().is_some_and(|message| message.starts_with("unavailable: the logger"));
        assert_eq!(
            (&line["transport"], failed),
            (&json!(transport), transport != Transport::Rabbitmq),
            "{line}"
        );
    }
    assert_eq!(
        (&lines[2]["outcome"], &lines[2]["stored_us"]),
        (&json!("queued"), &Value::Null),
        "{}",
        lines[2]
    );
    let ran =
        run(&stack, &["send", "--transport", "all", "--id", &Uuid::now_v7().to_string(), "hello"]).await;
    assert!(ran.ended_with(2).err.contains("--id"));
}

#[tokio::test]
async fn the_status_says_what_is_up_and_what_waits() {
    let mut stack = Stack::start().await;
    let ran = run(&stack, &["status"]).await.ended_with(0);
    for (line, transport) in ran.out.lines().zip(Transport::ALL) {
        assert!(line.starts_with(&format!("{:<9} up", transport.as_str())), "{ran:?}");
    }
    assert!(ran.out.contains("0 messages ready, 1 consumer, 0 dead letters"), "{ran:?}");
    stack.listener.kill().await.expect("it runs");
    stack.logger.kill().await.expect("it runs");
    stack.log(Transport::Rabbitmq, &json!({ "name": "event", "data": "" })).await;
    let ran = run(&stack, &["status", "--json"]).await.ended_with(3);
    let told = ran.json();
    for transport in tests::DIRECT {
        assert_eq!(told[transport.as_str()]["up"], false, "{told}");
        assert!(told[transport.as_str()]["message"].as_str().expect("why").contains("make run"), "{told}");
    }
    let rabbitmq = &told["rabbitmq"];
    assert_eq!(
        (&rabbitmq["up"], &rabbitmq["queue"], &rabbitmq["consumers"]),
        (&json!(true), &json!(1), &json!(0))
    );
}

#[tokio::test]
async fn completions_are_shell_scripts_and_the_manual_is_rendered() {
    let stack = Stack::start_direct(&[]).await;
    let script = run(&stack, &["completions", "bash"]).await.ended_with(0).out;
    let mut bash =
        Command::new("bash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("bash");
    bash.stdin.take().expect("a pipe").write_all(script.as_bytes()).await.expect("it reads");
    let read = bash.wait_with_output().await.expect("it ends");
    assert!(read.status.success() && read.stderr.is_empty(), "{read:?}");
    assert!(script.contains("--transport") && script.contains("rabbitmq"), "its words are completed");
    for shell in ["zsh", "fish"] {
        assert!(run(&stack, &["completions", shell]).await.ended_with(0).out.contains("fourwire"), "{shell}");
    }
    for (arguments, title, words) in [
        (&["man"][..], ".TH fourwire 1", "SUBCOMMANDS"),
        (&["man", "send"], ".TH fourwire-send 1", "transport"),
    ] {
        let page = run(&stack, arguments).await.ended_with(0).out;
        // roff's hyphens are escaped.
        assert!(page.replace('\\', "").contains(title) && page.contains(words), "{page}");
        assert!(page.lines().any(|line| line.starts_with(".SH NAME")), "{page}");
    }
    let ran = run(&stack, &["man", "nonsense"]).await.ended_with(2);
    assert!(ran.err.contains("nonsense") && ran.err.contains("--help"), "{ran:?}");
}

#[tokio::test]
async fn entries_are_shown_short_and_without_colours_where_nobody_looks() {
    let stack = Stack::start_direct(&[]).await;
    run(&stack, &["send", "--level", "warn", "--name", "build", "hello"]).await.ended_with(0);
    let ran = run(&stack, &["get", "--short", "--since", "1h", "--level", "warn"]).await.ended_with(0);
    let words: Vec<&str> = ran.out.split_whitespace().collect();
    assert_eq!(words[1..], ["warning", "http", "build:", "hello"], "{ran:?}");
    assert!(words[0].len() == "12:00:00.123".len() && !ran.out.contains('\u{1b}'), "{ran:?}");
    let ran = run(&stack, &["get", "--until", "1h"]).await.ended_with(0);
    assert!(ran.out.is_empty() && ran.err.contains("no entry matches"), "{ran:?}");
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}
