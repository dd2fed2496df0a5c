//! Keys of callers, made as an operator makes them.
//!
//! With `FOURWIRE_TEST_SECURE=1` every stack asks for a key, and all that the harness sends has one.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::binaries::binary;

/// A key, and its line in the file of keys.
#[derive(Clone)]
pub struct Key {
    /// What the caller sends.
    pub secret: String,
    /// What the broker knows.
    pub line: String,
}

impl Key {
    /// Makes one by `new-key`.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(name: &str, scopes: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("keys");
        let output = Command::new(binary("new-key")).args([name, scopes]).arg(&file).output();
        let output = output.expect("it can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let secret = String::from_utf8(output.stdout).expect("text").trim().to_owned();
        let line = fs::read_to_string(file).expect("its line").trim().to_owned();
        Key { secret, line }
    }

    /// Its SHA-256 in hexadecimal digits.
    pub fn hash(&self) -> &str {
        self.line.rsplit(' ').next().unwrap_or_default()
    }

    /// The value of the header `Authorization`.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.secret)
    }
}

/// Writes a file of keys, which only its owner may read, in the place of the one before.
///
/// # Panics
/// If it cannot be written.
pub fn write_file(path: &Path, keys: &[&Key]) {
    let lines: String = keys.iter().map(|key| format!("{}\n", key.line)).collect();
    fs::write(path, lines).expect("the file can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
}

/// The key that everything sends, if the whole run asks for one.
pub fn of_this_run() -> Option<&'static Key> {
    static KEY: OnceLock<Option<Key>> = OnceLock::new();
    let make = || {
        let secure = std::env::var_os("FOURWIRE_TEST_SECURE").is_some_and(|value| value == "1");
        secure.then(|| Key::new("tests", "write,read"))
    };
    KEY.get_or_init(make).as_ref()
}

/// The settings of a stack whose directory is `dir`, if the whole run asks for a key.
pub(crate) fn setting(dir: &Path) -> Option<(&'static str, PathBuf)> {
    let file = dir.join("keys");
    write_file(&file, &[of_this_run()?]);
    Some(("BROKER_KEYS_FILE", file))
}

/// The line of a header that is written by hand; empty if no key is asked for.
pub fn authorization_header() -> String {
    of_this_run().map_or_else(String::new, |key| format!("Authorization: {}\r\n", key.bearer()))
}
