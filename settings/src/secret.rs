//! Secrets in files.

use std::{fs::Metadata, io::Read, path::Path};

use anyhow::{Context, bail, ensure};
use secrecy::SecretString;

/// Far above a private key, some certificates or a URL; a mistaken path must not fill the memory.
const MOST_BYTES: u64 = 64 * 1024;

/// Reads a secret from a file that nobody but its owner may read, or, where that is root, its group, as a Kubernetes
/// volume and systemd's credentials have it; without trailing line feeds.
///
/// # Errors
/// If it cannot be read, is empty or too large, or others may read it; the message names the file.
pub fn read_file(path: &Path) -> anyhow::Result<String> {
    read(path, |metadata| {
        let shown = path.display();
        ensure!(!readable_by_others(metadata), "{shown} is readable by others: run `chmod 600 {shown}`");
        Ok(())
    })
}

/// As [`read_file`], but others may read it: what stands beside a secret.
///
/// # Errors
/// As there.
pub fn read_public_file(path: &Path) -> anyhow::Result<String> {
    read(path, |_| Ok(()))
}

fn read(path: &Path, check: impl FnOnce(&Metadata) -> anyhow::Result<()>) -> anyhow::Result<String> {
    let shown = path.display();
    // Before it is opened: a named pipe would wait there for a writer.
    let metadata = std::fs::metadata(path).with_context(|| format!("cannot read {shown}"))?;
    ensure!(metadata.is_file(), "{shown} is not a file");
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let metadata = file.metadata().with_context(|| format!("cannot read {shown}"))?;
    check(&metadata)?;
    ensure!(metadata.len() <= MOST_BYTES, "{shown} is larger than {MOST_BYTES} bytes");
    let mut text = String::new();
    // The cause could repeat a part of the file.
    if file.take(MOST_BYTES).read_to_string(&mut text).is_err() {
        bail!("{shown} is not UTF-8 text");
    }
    ensure!(!text.trim().is_empty(), "{shown} is empty");
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// A secret that a setting holds, or a file that another setting names; the file wins.
///
/// # Errors
/// As [`read_file`].
pub fn value_or_file(value: &SecretString, file: Option<&Path>) -> anyhow::Result<SecretString> {
    match file {
        Some(file) => read_file(file).map(SecretString::from),
        None => Ok(value.clone()),
    }
}

#[cfg(unix)]
fn readable_by_others(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    is_open(metadata.mode(), metadata.uid())
}

#[cfg(not(unix))]
fn readable_by_others(_: &Metadata) -> bool {
    false
}

/// Whether more may use a file of this mode than its owner; root says by the group who may read it.
#[cfg(unix)]
const fn is_open(mode: u32, owner: u32) -> bool {
    const ROOT: u32 = 0;
    mode & if owner == ROOT { 0o037 } else { 0o077 } != 0
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_its_owners_alone_or_of_a_group_that_root_has_chosen() {
        for (mode, owner, open) in [
            (0o100_600, 1000, false),
            (0o100_400, 0, false),
            (0o100_440, 0, false),
            (0o100_640, 0, false),
            (0o100_440, 1000, true),
            (0o100_660, 0, true),
            (0o100_644, 0, true),
            (0o100_604, 1000, true),
            (0o100_601, 0, true),
        ] {
            assert_eq!(is_open(mode, owner), open, "{mode:o} of {owner}");
        }
    }
}
