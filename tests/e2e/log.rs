//! A log that cannot be written, that nobody reads, or that would fill a disk: no service waits for it or ends by it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{PipeReader, PipeWriter, Write, pipe},
    net::SocketAddr,
    process::Stdio,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use proto::Transport;
use rig::LogTo;
use serde_json::{Value, json};
use tests::{DIRECT, SOON, binaries::binary, client, eventually, stack::Stack};
use tokio::process::{Child, Command};

/// Between SIGTERM and SIGKILL container engines wait so long.
const MOST_TO_STOP: Duration = Duration::from_secs(10);

/// Where each service listens, and where it tells how it is.
const SERVICES: [(&str, &[&str]); 3] = [
    ("broker", &["BROKER_HTTP_LISTEN"]),
    ("logger", &["LOGGER_HTTP_LISTEN", "LOGGER_RPC_LISTEN", "LOGGER_GRPC_LISTEN", "LOGGER_NETRPC_LISTEN"]),
    ("listener", &["LISTENER_HTTP_LISTEN"]),
];

/// What is wrong with standard error, before anything is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stderr {
    /// Nobody has the other end.
    Broken,
    /// A pipe that is full, and that nobody reads.
    Stuck,
    /// As that, but somebody has it made so that nobody waits for it.
    StuckNonBlocking,
    /// A disk without room.
    Full,
}

impl Stderr {
    const ALL: [Stderr; 4] = [Stderr::Broken, Stderr::Stuck, Stderr::StuckNonBlocking, Stderr::Full];

    /// What to give to a process, and the reading end that is to be kept open.
    fn open(self) -> (Stdio, Option<PipeReader>) {
        let (reader, writer) = pipe().expect("a pipe");
        match self {
            Stderr::Broken => (writer.into(), None),
            Stderr::Full => {
                (File::options().write(true).open("/dev/full").expect("it is there").into(), None)
            }
            Stderr::Stuck | Stderr::StuckNonBlocking => {
                fill(&writer);
                set_non_blocking(&writer, self == Stderr::StuckNonBlocking);
                (writer.into(), Some(reader))
            }
        }
    }
}

/// Writes until there is no room.
fn fill(mut writer: &PipeWriter) {
    set_non_blocking(writer, true);
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
}

fn set_non_blocking(writer: &PipeWriter, wanted: bool) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = if wanted { OFlag::O_NONBLOCK } else { OFlag::empty() };
    fcntl(writer, FcntlArg::F_SETFL(flags)).expect("it is a pipe");
}

fn start(name: &str, settings: &BTreeMap<&str, String>, stderr: Stdio, dir: &std::path::Path) -> Child {
    let mut command = Command::new(binary(name));
    command.env_clear().envs(settings).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(stderr).kill_on_drop(true).spawn().expect("it starts")
}

fn terminate(child: &Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).expect("it runs");
    kill(Pid::from_raw(id), Signal::SIGTERM).expect("it is there");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_neither_a_start_nor_an_end() {
    for stderr in Stderr::ALL {
        let services = SERVICES.map(|(name, listens)| async move {
            let dir = tempfile::tempdir().expect("a directory");
            // Kept until the service has them: nobody else gets the same ones.
            let ports = listens.iter().map(|_| rig::reserve().expect("a free port")).collect::<Vec<_>>();
            let at: Vec<SocketAddr> =
                ports.iter().map(|port| port.local_addr().expect("its address")).collect();
            let settings = listens.iter().copied().zip(at.iter().map(ToString::to_string)).collect();
            let (stderr_of, _reader) = stderr.open();
            let mut service = start(name, &settings, stderr_of, dir.path());
            let url = format!("http://{}/healthz", at[0]);
            let answers = async || client().get(&url).send().await.ok().map(drop);
            eventually(&format!("{name} answers, {stderr:?}"), answers).await;
            let begun = Instant::now();
            terminate(&service);
            let ended = tokio::time::timeout(MOST_TO_STOP, service.wait()).await;
            let status = ended.unwrap_or_else(|_| panic!("{name} goes on, {stderr:?}")).expect("waited for");
            assert!(status.success(), "{name}, {stderr:?}: {status} after {:?}", begun.elapsed());
        });
        join_all(services).await;
    }
}

#[tokio::test]
async fn a_start_that_fails_ends_though_nobody_can_be_told() {
    for (setting, value, code) in
        [("LOGGER_STORE", "sqlite:/proc/none/logs.db", 1), ("LOGGER_STORE", "nowhere", 2)]
    {
        for stderr in Stderr::ALL {
            for format in ["text", "json"] {
                let dir = tempfile::tempdir().expect("a directory");
                let settings =
                    BTreeMap::from([(setting, value.to_owned()), ("LOG_FORMAT", format.to_owned())]);
                let (stderr_of, _reader) = stderr.open();
                let mut logger = start("logger", &settings, stderr_of, dir.path());
                let ended = tokio::time::timeout(SOON, logger.wait()).await;
                let status = ended.unwrap_or_else(|_| panic!("it goes on, {stderr:?}")).expect("waited for");
                assert_eq!(status.code(), Some(code), "{stderr:?} {format}");
            }
        }
    }
}

/// Sends until the broker's metrics say that lines were lost.
async fn lose_lines(stack: &Stack) -> u64 {
    let lost = async || {
        // Of these the client for RabbitMQ has some dozen lines each.
        let entry = json!({ "name": "event", "data": "x" });
        join_all((0..100).map(|_| stack.log(Transport::Rabbitmq, &entry))).await;
        let metrics = client().get(format!("{}://{}/metrics", tests::tls::scheme(), stack.broker_at));
        let metrics = metrics.send().await.expect("an answer").text().await.expect("text");
        let lost = metrics.lines().find_map(|line| line.strip_prefix("log_lost_lines_total "));
        lost.expect("it is there").parse::<u64>().ok().filter(|lost| *lost > 0)
    };
    eventually("lines are lost", lost).await
}

/// Sends until the log has one of the entries. Its queue is short then: a process that ends waits for its last lines for a
/// second, in which a busy machine may not write thousands.
async fn is_up_to_date(stack: &Stack) {
    let mut ids = Vec::new();
    eventually("the log is up to date", async || {
        let answer = stack.log(Transport::Http, &json!({ "name": "event", "data": "x" })).await;
        ids.push(answer.id().to_string());
        let log = stack.broker.log();
        ids.iter().any(|id| log.contains(id)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_log_that_is_read_again_says_how_much_of_it_is_lost() {
    let mut stack = Stack::start_direct(&[]).await;
    stack.set("RUST_LOG", "trace".to_owned());
    stack.set("LOG_FORMAT", "json".to_owned());
    stack.broker.kill().await.expect("it runs");
    stack.log_to(LogTo::Pipe);
    stack.start_broker().await.expect("it starts");
    stack.reaches(&[Transport::Rabbitmq]).await.expect("it is ready");
    stack.broker.tap().expect("a pipe").pause();
    let lost = lose_lines(&stack).await;
    for transport in DIRECT {
        let answer = stack.log(transport, &json!({ "name": "event", "data": "x" })).await;
        assert_eq!(answer.status, 202, "nobody waits for the log: {}", answer.body);
    }
    stack.broker.tap().expect("a pipe").resume();
    let told = eventually("it is told", async || {
        let log = stack.broker.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let told: u64 = lines.filter_map(|line| line["lost_lines"].as_u64()).sum();
        (told > 0).then_some(told)
    });
    assert!(told.await >= lost);
    is_up_to_date(&stack).await;
    stack.broker.stop().await.expect("it ends");
    let log = stack.broker.log();
    let broken = log.lines().find(|line| serde_json::from_str::<Value>(line).is_err());
    assert_eq!(broken, None, "each line is whole");
    assert!(log.contains("broker stopped"), "what comes last is written too");
}

#[tokio::test]
async fn refused_requests_have_few_lines_however_many_they_are() {
    const REFUSED: usize = 2_000;
    let mut stack = Stack::start_direct(&[]).await;
    stack.logger.kill().await.expect("it runs");
    let begun = Instant::now();
    let mut refused = 0;
    while refused < REFUSED {
        let entry = json!({ "name": "event", "data": "x" });
        let answers = join_all((0..100).map(|_| stack.log(Transport::Http, &entry))).await;
        refused += answers.iter().filter(|answer| [503, 504].contains(&answer.status.as_u16())).count();
    }
    stack.broker.stop().await.expect("it ends");
    let seconds = usize::try_from(begun.elapsed().as_secs()).expect("few");
    let log = stack.broker.log();
    let of = |words: &str| log.lines().filter(|line| line.contains(words)).collect::<Vec<_>>();
    let shown = of("entry_id=").len();
    assert!(shown > 0 && shown <= 2 * (10 + seconds + 1), "{shown} lines in {seconds} s");
    let hidden = of("more lines like this were not shown");
    let counts = hidden.iter().filter_map(|line| line.rsplit_once("hidden_lines=")?.1.parse::<usize>().ok());
    assert_eq!(
        shown + counts.sum::<usize>(),
        refused,
        "every line is shown or counted:\n{}",
        hidden.join("\n")
    );
}

#[tokio::test]
async fn a_hangup_ends_no_service() {
    let mut stack = Stack::start_with(&[]).await;
    for process in stack.processes_mut() {
        process.signal(Signal::SIGHUP).expect("it runs");
        let told = async || process.log().contains("SIGHUP: ").then_some(());
        eventually("it is told", told).await;
    }
    for transport in Transport::ALL {
        let answer = stack.log(transport, &json!({ "name": "event", "data": "x" })).await;
        stack.eventually_stored(answer.id()).await;
    }
    for process in stack.processes_mut() {
        process.stop().await.expect("it ends");
        let levels: BTreeSet<&str> =
            ["ERROR", "panicked"].into_iter().filter(|word| process.log().contains(word)).collect();
        assert_eq!(levels, BTreeSet::new(), "{}", process.log());
    }
}

#[tokio::test]
async fn a_store_that_is_slow_to_close_is_told_and_ends_with_0() {
    use std::collections::HashSet;

    use rand::{SeedableRng, rngs::StdRng};
    use tests::{
        disk::Disk,
        torture::{lone::Lone, random_entry},
    };
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Disk::new(dir.path());
    let settings = BTreeMap::from(disk.settings());
    let mut lone = Lone::start(&settings, dir.path()).await.expect("it starts");
    let (mut random, mut ledger) = (StdRng::seed_from_u64(1), rig::Ledger::default());
    for _ in 0..20 {
        lone.send(Transport::Http, &random_entry(&mut random), &mut ledger).await;
    }
    // Longer than the store may take, and shorter than it takes until the process is killed.
    disk.set_sync_delay(Duration::from_secs(4));
    lone.logger.stop().await.expect("it ends");
    let log = lone.logger.log();
    assert!(log.contains("the store did not close in time; nothing is lost"), "{log}");
    disk.set_sync_delay(Duration::ZERO);
    let mut lone = Lone::start(&settings, dir.path()).await.expect("it starts");
    let verdict = ledger.verdict(&lone.all_stored().await.expect("it answers"), &HashSet::new());
    assert!(verdict.is_sound() && verdict.accepted == 20, "{verdict}");
    lone.logger.kill().await.expect("it runs");
}

#[tokio::test]
async fn the_command_ends_though_it_cannot_say_why() {
    for stderr in [Stderr::Broken, Stderr::Full] {
        for (words, code) in [
            (&["get", "--limit", "0"][..], 2),
            (&[], 2),
            (&["get", "--logger-http-url", "http://127.0.0.1:1"], 3),
        ] {
            let (stderr_of, _reader) = stderr.open();
            let mut command = Command::new(binary("fourwire"));
            let status = command.args(words).env_clear().stderr(stderr_of).status().await.expect("it runs");
            assert_eq!(status.code(), Some(code), "{words:?} {stderr:?}");
        }
    }
}
