//! Makes a key: 256 bits of the operating system's random source. The file gets its hash, the caller the key.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Parser;
use sha2::{Digest as _, Sha256};

use super::{file, key::PREFIX};

/// Creates an API key, prints it once, and appends its SHA-256 to the file that BROKER_KEYS_FILE names.
#[derive(Debug, Parser)]
#[command(name = "new-key", version = proto::release::VERSION)]
pub struct NewKey {
    /// Name of the client; a second key with the same name is for rotation
    pub name: String,

    /// Scopes: write, read or both
    #[arg(default_value = "write,read")]
    pub scopes: String,

    /// Key file, created if missing
    #[arg(default_value = "data/keys")]
    pub file: PathBuf,
}

impl NewKey {
    /// Adds a line to the file, and returns the key with that line.
    ///
    /// # Errors
    /// If the file could not be used by the broker then, and is left as it was; or if it cannot be written.
    pub fn make(&self) -> anyhow::Result<(String, String)> {
        file::parse_name(&self.name)?;
        file::parse_scopes(&self.scopes)?;
        let mut bits = [0; 32];
        getrandom::fill(&mut bits).context("no random numbers from the operating system")?;
        let key = format!("{PREFIX}{}", hex::encode(bits));
        let line = format!("{} {} {}", self.name, self.scopes, hex::encode(Sha256::digest(&key)));
        append(&self.file, &line).with_context(|| self.file.display().to_string())?;
        Ok((key, line))
    }
}

fn append(path: &Path, line: &str) -> anyhow::Result<()> {
    let before = if path.exists() { file::text(path)? } else { String::new() };
    let ended = before.is_empty() || before.ends_with('\n');
    let added = format!("{}{line}\n", if ended { "" } else { "\n" });
    file::parse(&format!("{before}{added}"))?;
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.write_all(added.as_bytes())?;
    file.sync_all()?;
    Ok(())
}
