//! One logger at a time on a file.
//!
//! The lock is on a file beside the store's own. SQLite's locks are of another kind, and closing any descriptor of its
//! file would drop them: so that one is left alone. The kernel releases the lock with the process, however it ends.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::store::OpenError;

/// Held for as long as the store is open for writing.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the store at `path`, which need not be there yet; its directory must be.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another logger has it.
    pub(super) fn take(path: &Path) -> Result<Self, OpenError> {
        let beside = beside(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        let file = File::options().write(true).create(true).truncate(false).open(&beside);
        let file = file.map_err(|source| OpenError::Lock { path: beside, source })?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => {
                let detail = format!("it cannot be locked: {error}");
                Err(OpenError::NotDurable { path: path.to_owned(), detail })
            }
        }
    }
}

/// Where the lock of a store is. A link leads to the same one as the file that it leads to, there or not yet there.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut name: OsString = match (fs::canonicalize(path), fs::read_link(path)) {
        (Ok(file), _) => file.into(),
        (Err(error), Ok(target)) if error.kind() == io::ErrorKind::NotFound => {
            return beside(&path.parent().unwrap_or(Path::new("")).join(target));
        }
        (Err(error), Err(_)) if error.kind() == io::ErrorKind::NotFound => path.into(),
        (Err(error), _) => return Err(error),
    };
    name.push(".lock");
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_until_the_first_is_gone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("logs.db");
        let first = Lock::take(&path).expect("nobody has it");
        let error = Lock::take(&path).expect_err("it is taken");
        assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
        assert!(error.to_string().contains("another logger"), "{error}");
        drop(first);
        Lock::take(&path).expect("it is free again, though its file is there");
    }

    #[test]
    fn a_link_to_a_store_has_its_lock() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, link) = (directory.path().join("logs.db"), directory.path().join("other.db"));
        std::os::unix::fs::symlink("logs.db", &link).expect("a link");
        let _first = Lock::take(&link).expect("nobody has it, and there is no store yet");
        for _ in 0..2 {
            assert!(matches!(Lock::take(&path), Err(OpenError::InUse { .. })));
            assert!(matches!(Lock::take(&link), Err(OpenError::InUse { .. })));
            fs::write(&path, "").expect("a file");
        }
    }
}
