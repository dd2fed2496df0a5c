//! The file of keys: on each line a name, its scopes and the SHA-256 of a key, such as `alice write,read 9f86…`.
//! What stands after `#` is a comment.
//!
//! A message about it says where the mistake is, and never repeats what stands there: it may be a key.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, bail, ensure};

use super::key::{Digest, KnownKey, PREFIX, Scope};

/// Most keys: every request is compared with all of them.
const KEYS: usize = 256;

/// Most keys of one name: the old one and the new one, while a caller changes from the one to the other.
const KEYS_OF_A_NAME: usize = 2;

/// Longest name, in bytes. Shorter than a hash, which thus cannot be taken for a name.
const NAME_BYTES: usize = 32;

/// Largest file, in bytes: far more than its keys and some comments take.
const FILE_BYTES: u64 = 256 * 1024;

/// Who may write to a file: its group, and everybody.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Reads and checks the file.
///
/// # Errors
/// If it cannot be used; the message names the setting, the file and the line.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<KnownKey>> {
    let read = || {
        let keys = parse(&text(path)?)?;
        ensure!(!keys.is_empty(), "no keys, so nobody could call: create one with `make key NAME=alice`");
        Ok(keys)
    };
    read().with_context(|| format!("BROKER_KEYS_FILE {}", path.display()))
}

/// What stands in the file, if nobody else may have written it.
pub(super) fn text(path: &Path) -> anyhow::Result<String> {
    let metadata = fs::metadata(path).context("it cannot be read; `make key NAME=alice` creates one")?;
    ensure!(metadata.is_file(), "not a file");
    let mode = metadata.permissions().mode();
    ensure!(mode & WRITABLE_BY_OTHERS == 0, "writable by others: check its content and run `chmod 600`");
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES + 1).read_to_string(&mut text)?;
    ensure!(text.len() as u64 <= FILE_BYTES, "larger than {FILE_BYTES} bytes");
    Ok(text)
}

/// All keys of a file.
///
/// # Errors
/// At the first line that cannot be used.
pub(super) fn parse(text: &str) -> anyhow::Result<Vec<KnownKey>> {
    let mut keys: Vec<KnownKey> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split_once('#').map_or(line, |(line, _comment)| line).trim();
        if line.is_empty() {
            continue;
        }
        let key = parse_line(line)
            .and_then(|key| fits(&key, &keys).map(|()| key))
            .with_context(|| format!("line {number}"))?;
        keys.push(key);
    }
    Ok(keys)
}

fn fits(key: &KnownKey, others: &[KnownKey]) -> anyhow::Result<()> {
    ensure!(others.len() < KEYS, "more than {KEYS} keys");
    ensure!(others.iter().all(|other| other.digest != key.digest), "duplicate key");
    let of_this_name = others.iter().filter(|other| other.name == key.name).count();
    ensure!(
        of_this_name < KEYS_OF_A_NAME,
        "a third key for {:?}: a name may have two, for rotation; remove one",
        key.name
    );
    Ok(())
}

fn parse_line(line: &str) -> anyhow::Result<KnownKey> {
    let words: Vec<&str> = line.split_whitespace().collect();
    ensure!(
        !words.iter().any(|word| word.starts_with(PREFIX)),
        "a key in plain text, which may be compromised: create another with `make key`, which writes its SHA-256"
    );
    let [name, scopes, digest] = words[..] else {
        bail!("expected a name, its scopes and the SHA-256 of a key, such as `alice write,read 9f86…`");
    };
    Ok(KnownKey { name: parse_name(name)?, scopes: parse_scopes(scopes)?, digest: parse_digest(digest)? })
}

pub(super) fn parse_name(name: &str) -> anyhow::Result<String> {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    ensure!(
        (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(sound),
        "a name must have 1 to {NAME_BYTES} ASCII letters, digits, `-`, `_` or `.`"
    );
    Ok(name.to_owned())
}

pub(super) fn parse_scopes(scopes: &str) -> anyhow::Result<Vec<Scope>> {
    let parsed: Result<Vec<Scope>, _> = scopes.split(',').map(str::parse).collect();
    parsed.ok().context("unknown scope: use `write`, `read` or `write,read`")
}

fn parse_digest(text: &str) -> anyhow::Result<Digest> {
    let mut digest = Digest::default();
    // The cause would repeat a part of it.
    let decoded = hex::decode_to_slice(text, &mut digest);
    ensure!(decoded.is_ok(), "expected a SHA-256: 64 hex digits");
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, byte: u8) -> String {
        format!("{name} write,read {}\n", format!("{byte:02x}").repeat(32))
    }

    #[test]
    fn names_scopes_and_digests_are_read_and_comments_are_not() {
        let text =
            format!("# who\n\n{}\tbob  read {}  # since May\r\n", line("alice", 0xab), "Cd".repeat(32));
        let keys = parse(&text).expect("it is sound");
        let bob = KnownKey { name: "bob".to_owned(), scopes: vec![Scope::Read], digest: [0xcd; 32] };
        let alice = KnownKey {
            name: "alice".to_owned(),
            scopes: vec![Scope::Write, Scope::Read],
            digest: [0xab; 32],
        };
        assert_eq!(keys, [alice, bob]);
        assert!(!format!("{keys:?}").contains("171"), "no digest is shown");
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_not_repeated() {
        let hash = "ab".repeat(32);
        let two = line("alice", 1) + &line("alice", 2);
        let many: String = (0..=KEYS).map(|number| format!("n{number} read {number:064x}\n")).collect();
        for (text, line_number, word) in [
            ("alice".to_owned(), 1, "expected a name"),
            (format!("alice write read {hash}"), 1, "expected a name"),
            (format!("# one\n\nalice admin {hash}"), 3, "unknown scope"),
            (format!("alice write, {hash}"), 1, "unknown scope"),
            (format!("alice write {}", &hash[..62]), 1, "64 hex digits"),
            (format!("alice write {}g", &hash[..63]), 1, "64 hex digits"),
            (format!("alice write {}ж", &hash[..62]), 1, "64 hex digits"),
            (format!("{hash} write {hash}"), 1, "1 to 32 ASCII letters"),
            (format!("\x1b[1m write {hash}"), 1, "1 to 32 ASCII letters"),
            (format!("alice write {PREFIX}{hash}"), 1, "plain text"),
            (format!("{two}{}", line("alice", 3)), 3, "a third key for \"alice\""),
            (format!("{two}{}", line("bob", 2)), 3, "duplicate key"),
            (many, KEYS + 1, "more than 256"),
        ] {
            let error = format!("{:#}", parse(&text).expect_err(&text));
            assert!(error.starts_with(&format!("line {line_number}: ")), "{text:.80}: {error}");
            assert!(error.contains(word) && !error.contains(&hash[..32]), "{text:.80}: {error}");
        }
    }
}
