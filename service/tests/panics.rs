//! A panic of a process, as its log tells it. The process is this test's own binary, once more.

use std::{
    io::{PipeReader, Read, Write, pipe},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use service::{Telemetry, telemetry::Settings};

/// Set in the process that panics.
const CHILD: &str = "FOURWIRE_TEST_PANICS";

/// How it ends.
const ENDED: i32 = 7;

/// Far above the second that the last lines are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    telemetry: Settings,
}

#[tokio::test]
async fn panics_when_it_is_asked_to() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let flags = Flags::parse_from(["test", "--log-format", "json", "--rust-log", "off"]);
    Telemetry::init(&flags.telemetry, "test", false).expect("it can be used");
    let panicked =
        thread::Builder::new().name("worker".to_owned()).spawn(|| panic!("on purpose")).expect("a thread");
    assert!(panicked.join().is_err());
    std::process::exit(ENDED);
}

fn start(stderr: impl Into<Stdio>) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this one"));
    child.args(["--exact", "--nocapture", "panics_when_it_is_asked_to"]);
    child.env_clear().env(CHILD, "1").stdout(Stdio::null()).stderr(stderr).spawn().expect("it starts")
}

fn code(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match child.try_wait().expect("ours") {
            Some(status) => return status.code(),
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            None => {
                child.kill().expect("it runs");
                child.wait().expect("ours");
                return None;
            }
        }
    }
}

/// A pipe that nobody reads, without room.
fn stuck() -> (PipeReader, std::io::PipeWriter) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let (reader, mut writer) = pipe().expect("a pipe");
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("ours");
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).expect("ours");
    (reader, writer)
}

#[test]
fn a_panic_is_a_line_of_the_log_whatever_is_left_out_of_it() {
    let (mut reader, writer) = pipe().expect("a pipe");
    let mut child = start(writer);
    let mut log = String::new();
    reader.read_to_string(&mut log).expect("text");
    assert_eq!(code(&mut child), Some(ENDED), "{log}");
    let line: serde_json::Value = serde_json::from_str(log.trim_end()).expect("one line of JSON");
    let message = line["message"].as_str().expect("text");
    assert!(line["level"] == "ERROR" && message.contains("\"worker\" panicked"), "{log}");
    assert!(message.contains("on purpose") && message.contains("panics.rs"), "{log}");
}

#[test]
fn a_panic_that_nobody_can_be_told_of_holds_up_nothing() {
    let (_reader, writer) = stuck();
    assert_eq!(code(&mut start(writer)), Some(ENDED));
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    assert_eq!(code(&mut start(writer)), Some(ENDED));
}
