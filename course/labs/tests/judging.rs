//! The command as a process: it notices a check with a property missing, and blames no program for a machine that stood
//! still.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// How long anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = lab(arguments).output().expect("it runs");
    let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    (status.code().expect("it ends by itself"), text)
}

/// A directory with a program that answers every call of lab 3, and with what the script does besides.
fn program(script: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    executable(&dir.path().join("run"), script);
    dir
}

fn executable(file: &Path, script: &str) {
    fs::write(file, script).expect("writable");
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

#[test]
fn a_check_without_one_of_its_properties_is_noticed() {
    for property in ["3:3", "3:4", "3:7"] {
        let (code, text) = output(&["verify", "3", "--without", property]);
        assert_eq!(code, 1, "without {property}:\n{text}");
        assert!(text.contains("WRONG"), "without {property}:\n{text}");
    }
}

#[test]
fn a_checker_that_stood_still_knows_nothing_and_says_so() {
    let dir = program("#!/bin/sh\nexec sleep 600\n");
    let out = dir.path().join("out");
    let arguments = ["check", "3", dir.path().to_str().expect("text"), "--out", out.to_str().expect("text")];
    let mut child = lab(&arguments).stdout(Stdio::null()).spawn().expect("it runs");
    // The program answers nothing, which would be a failure. Twice the checker is stopped while it waits.
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("it has one"));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is ours") {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        stand_still(pid);
    };
    assert_eq!(status.code(), Some(3), "unknown");
    let result: Value =
        serde_json::from_slice(&fs::read(out.join("result.json")).expect("written")).expect("JSON");
    assert_eq!(result["status"], "unknown");
    assert!(result["machine"]["stalled_ms"].as_u64().expect("a number") >= 250, "{result}");
    assert!(
        result["tests"].as_array().expect("a list").iter().all(|test| test["status"] != "fail"),
        "{result}"
    );
    let junit = fs::read_to_string(out.join("junit.xml")).expect("written");
    assert!(junit.contains("<error") && !junit.contains("<failure"), "{junit}");
}

/// Stops a process for longer than a stall, and lets it run for a moment.
fn stand_still(pid: Pid) {
    // It may have ended meanwhile.
    let _ = kill(pid, Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(400));
    let _ = kill(pid, Signal::SIGCONT);
    std::thread::sleep(Duration::from_millis(100));
}

#[test]
fn exit_codes_say_failed_and_unusable() {
    let chatter = program("#!/bin/sh\necho ready\nexec cat >/dev/null\n");
    let out = tempfile::tempdir().expect("a directory");
    let to = ["--out", out.path().to_str().expect("text")];
    let (code, text) = output(&[&["check", "3", chatter.path().to_str().expect("text")], &to[..]].concat());
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("standard error"), "it asks whether it was meant for it:\n{text}");
    executable(&chatter.path().join("build"), "#!/bin/sh\necho broken; exit 1\n");
    let (code, text) = output(&[&["check", "3", chatter.path().to_str().expect("text")], &to[..]].concat());
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("broken"), "{text}");
    let (code, _) = output(&["check", "99"]);
    assert_eq!(code, 2);
}

#[test]
fn a_program_that_cannot_start_is_no_failure_and_one_that_ends_at_a_line_is() {
    let out = tempfile::tempdir().expect("a directory");
    let to = ["--out", out.path().to_str().expect("text")];
    let check = |dir: &Path, more: &[&str]| {
        output(&[&["check", "3", dir.to_str().expect("text")], &to[..], more].concat())
    };
    let status = || {
        let result = fs::read(out.path().join("result.json")).expect("written");
        serde_json::from_slice::<Value>(&result).expect("JSON")["status"].clone()
    };
    let absent = program("#!/bin/sh\nexec python4 main.py\n");
    let (code, text) = check(absent.path(), &[]);
    assert_eq!((code, status()), (2, "error".into()), "{text}");
    assert!(text.contains("cannot be started") && text.contains("python4"), "{text}");

    let crashes = program("#!/bin/sh\nread line || exit 0\nexit 7\n");
    let (code, text) = check(crashes.path(), &["--only", "1", "--seed", "5"]);
    assert_eq!((code, status()), (1, "fail".into()), "{text}");
    let again = format!("make lab ARGS=\"check 3 {} --seed 5 --only 1\"", crashes.path().display());
    assert!(text.contains("exit status 7") && text.contains(&again), "{text}");
    assert!(text.contains("0 of 1 that was tried (7 properties in all)"), "{text}");
    assert!(!text.contains("standard output is empty"), "it ended:\n{text}");

    fs::remove_file(absent.path().join("run")).expect("it is ours");
    fs::write(absent.path().join("run"), "#!/bin/sh\n").expect("writable");
    let (code, text) = check(absent.path(), &["--locale", "ru"]);
    assert_eq!((code, status()), (2, "error".into()), "{text}");
    assert!(text.contains("Программу не удалось запустить: в "), "{text}");
    assert!(text.contains("(chmod +x run). См. PROTOCOL.ru.md."), "{text}");
    assert!(!text.contains("Неизвестно"), "{text}");
}

#[test]
fn a_program_that_says_nothing_is_asked_whether_it_flushes() {
    let silent = program("#!/bin/sh\nexec cat >/dev/null\n");
    let out = silent.path().join("out");
    let (code, text) = output(&[
        "check",
        "3",
        silent.path().to_str().expect("text"),
        "--only",
        "1",
        "--locale",
        "ru",
        "--out",
        out.to_str().expect("text"),
    ]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("стандартный вывод пуст"), "{text}");
    assert!(text.contains("ожидалось") && text.contains("получено"), "{text}");
}

#[test]
fn a_broken_pipe_ends_in_silence() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ended = lab(&["list"]).stdout(writer).stderr(Stdio::piped()).output().expect("it runs");
    assert_eq!((ended.status.code(), ended.stderr), (Some(141), Vec::new()));
}

#[test]
fn a_class_is_graded_in_one_table() {
    let class = tempfile::tempdir().expect("a directory");
    let labs = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (student, kind) in [("ada", "solution"), ("bob", "start")] {
        let to = class.path().join(student).join("03-own-rpc");
        fs::create_dir_all(&to).expect("writable");
        for file in ["run", "main.py"] {
            fs::copy(labs.join("03-own-rpc").join(kind).join("python").join(file), to.join(file))
                .expect("readable");
        }
    }
    fs::create_dir(class.path().join("bob/rpc-3")).expect("writable");
    let path = |name: &str| class.path().join(name).to_str().expect("text").to_owned();
    let (csv, out) = (path("grades.csv"), path("grades"));
    let (code, text) = output(&[
        "grade",
        &path("bob"),
        &path("ada"),
        "--csv",
        &csv,
        "--out",
        &out,
        "--seed",
        "1",
        "--patience",
        "3",
    ]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("bob/rpc-3: not a lab's directory (expected 03-own-rpc), skipped"), "{text}");
    assert!(text.contains("seed 1\n") && text.contains("✗ 1 answers that arrive byte by byte"), "{text}");
    let table = fs::read_to_string(csv).expect("written");
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert_eq!(rows[1][..6], ["ada", "03-own-rpc", "python", "pass", "7", "7"], "{table}");
    assert_eq!(rows[2][..4], ["bob", "03-own-rpc", "python", "fail"], "{table}");
    assert_eq!((rows[0][9], rows[1][9], rows[2][9]), ("first_failed", "", "1"), "{table}");
    assert!(Path::new(&out).join("bob/03-own-rpc/result.json").exists());
}

#[test]
fn nothing_is_left_when_the_checker_is_told_to_end() {
    let dir = program("#!/bin/sh\necho $$ >pid\nexec sleep 600\n");
    expect_nothing_left(dir.path());
}

#[test]
fn nothing_is_left_of_a_build_when_the_checker_is_told_to_end() {
    let dir = program("#!/bin/sh\nexec cat\n");
    executable(&dir.path().join("build"), "#!/bin/sh\nsleep 600 &\necho $! >pid\nwait\n");
    expect_nothing_left(dir.path());
}

/// Tells a checker to end once its program has written a process id to `pid`, and expects that this process ends too.
fn expect_nothing_left(dir: &Path) {
    let out = dir.join("out");
    let arguments = ["check", "3", dir.to_str().expect("text"), "--out", out.to_str().expect("text")];
    let mut child: Child =
        lab(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let begun = Instant::now();
    let started = loop {
        let pid = fs::read_to_string(dir.join("pid")).unwrap_or_default();
        if let Ok(pid) = pid.trim().parse::<i32>() {
            break pid;
        }
        assert!(begun.elapsed() < PATIENCE, "the program is not started");
        std::thread::sleep(Duration::from_millis(10));
    };
    kill(Pid::from_raw(i32::try_from(child.id()).expect("one")), Signal::SIGTERM).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(2));
    while kill(Pid::from_raw(started), None).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "the program is left");
        std::thread::sleep(Duration::from_millis(10));
    }
}
