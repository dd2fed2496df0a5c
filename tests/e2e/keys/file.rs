//! The file of keys: what stops the broker, and how it is made.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use tests::{
    binaries::binary,
    keys::{Key, write_file},
    process::start,
};

#[tokio::test]
async fn a_wrong_file_stops_the_broker_before_a_port_is_opened_and_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("its address").to_string();
    let (first, second, third) =
        (Key::new("alice", "write"), Key::new("alice", "write"), Key::new("alice", "read"));
    let (line, hash, secret) = (&first.line, first.hash(), &first.secret);
    let three = format!("{line}\n{}\n# the third\n{}\n", second.line, third.line);
    for (content, mode, words) in [
        ("", 0o600, "no key"),
        ("# nobody\n\n", 0o600, "no key"),
        ("alice\n", 0o600, "line 1: expected a name"),
        (&format!("{line} more"), 0o600, "line 1: expected a name"),
        (&format!("\n{}", &line[..line.len() - 1]), 0o600, "line 2: expected a SHA-256: 64 hex digits"),
        (&format!("alice write {}", "g".repeat(64)), 0o600, "line 1: expected a SHA-256: 64 hex digits"),
        (&format!("alice admin {hash}"), 0o600, "line 1: unknown scope"),
        (&format!("al/ice write {hash}"), 0o600, "line 1: a name must have 1 to 32"),
        (&format!("alice write {secret}"), 0o600, "line 1: a key in plain text"),
        (&three, 0o600, "line 4: a third key for \"alice\""),
        (&format!("{line}\nbob read {hash}"), 0o600, "line 2: duplicate key"),
        (line, 0o602, "writable by others"),
        (line, 0o660, "writable by others"),
        ("\u{0}", 0o600, "line 1: expected a name"),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("keys");
        fs::write(&file, content).expect("it is written");
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("it is ours");
        let settings = BTreeMap::from([
            ("BROKER_HTTP_LISTEN", taken.clone()),
            ("BROKER_KEYS_FILE", file.display().to_string()),
        ]);
        let mut broker = start("broker", &settings, dir.path());
        let status = broker.ended().await.expect("it ends");
        let log = broker.log();
        assert!(!status.success(), "{content:?}, {mode:o}");
        assert!(log.contains("BROKER_KEYS_FILE") && log.contains(words), "{content:?}, {mode:o}: {log}");
        assert!(!log.contains("cannot listen"), "no port is tried before: {log}");
        assert!(!log.contains(hash) && !log.contains(secret), "{log}");
    }
}

#[test]
fn a_new_key_is_shown_once_and_its_hash_is_added_to_a_file_that_others_cannot_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("new/keys");
    let mut shown = Vec::new();
    for (name, scopes) in [("alice", "write,read"), ("alice", "read"), ("bob", "write")] {
        let output = new_key(name, scopes, &file);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let key = text(&output.stdout).trim_end().to_owned();
        let digits = key.strip_prefix("fw_").expect("it can be recognised");
        assert!(digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
        let added = fs::read_to_string(&file).expect("the file is there");
        assert!(added.lines().last().expect("a line").starts_with(&format!("{name} {scopes} ")), "{added}");
        assert!(!added.contains(digits) && !text(&output.stderr).contains(digits));
        shown.push(key);
    }
    shown.dedup();
    assert_eq!(shown.len(), 3, "no two are the same");
    let mode = fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_key_that_the_broker_would_not_take_is_not_made() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("keys");
    let (first, second) = (Key::new("alice", "write"), Key::new("alice", "write"));
    write_file(&file, &[&first, &second]);
    let before = fs::read_to_string(&file).expect("it is there");
    for (name, scopes, words) in [
        ("alice", "read", "a third key"),
        ("bob", "admin", "unknown scope"),
        ("bob", "", "unknown scope"),
        ("b b", "read", "1 to 32 ASCII letters"),
        ("", "read", "1 to 32 ASCII letters"),
        ("#bob", "read", "1 to 32 ASCII letters"),
    ] {
        let output = new_key(name, scopes, &file);
        assert!(!output.status.success() && output.stdout.is_empty(), "{name:?} {scopes:?}");
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
        assert_eq!(fs::read_to_string(&file).expect("it is there"), before);
    }
}

#[test]
fn a_new_key_is_added_after_a_line_that_does_not_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("keys");
    let first = Key::new("alice", "write");
    write_file(&file, &[]);
    fs::write(&file, &first.line).expect("it is written");
    assert!(new_key("bob", "read", &file).status.success());
    let lines = fs::read_to_string(&file).expect("it is there");
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines[0], first.line);
    assert!(lines[1].starts_with("bob read "), "{lines:?}");
}

fn new_key(name: &str, scopes: &str, file: &Path) -> Output {
    let output = Command::new(binary("new-key")).args([name, scopes]).arg(file).env_clear().output();
    output.expect("it can be run")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}
