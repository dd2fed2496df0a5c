//! One logger at a time per file.
//!
//! The lock is on a file next to the store's own, and exists before it. The main file has a second one, which holds
//! under every name of the file and if the lock file is deleted: see `names.rs`. The kernel releases both with the
//! process, however it ends.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::{
    OpenError,
    file::{Identity, with_suffix},
};

/// Held for as long as the store is open for writing.
#[derive(Debug)]
pub(super) struct Lock {
    store: PathBuf,
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock of the store at `path`, which need not be there yet; its directory must be.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another logger has it.
    pub(super) fn take(path: &Path) -> Result<Self, OpenError> {
        let beside = beside(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        let file = File::options().write(true).create(true).truncate(false).open(&beside);
        let file = file.map_err(|source| OpenError::Lock { path: beside.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { store: path.to_owned(), path: beside, file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => {
                let detail = format!("it cannot be locked: {error}");
                Err(OpenError::NotDurable { path: path.to_owned(), detail })
            }
        }
    }

    /// The file that is locked.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the next logger would find this lock.
    pub(super) fn is_in_place(&self) -> bool {
        let own = self.file.metadata().as_ref().map(Identity::of).ok();
        let found = fs::metadata(&self.path).as_ref().map(Identity::of).ok();
        own == found
    }

    /// Takes it where it should be.
    ///
    /// # Errors
    /// As [`Lock::take`].
    pub(super) fn take_again(&mut self) -> Result<(), OpenError> {
        *self = Lock::take(&self.store)?;
        Ok(())
    }
}

/// Where the lock of a store is. A link leads to the same one as the file that it leads to, there or not yet there.
fn beside(path: &Path) -> io::Result<PathBuf> {
    match (fs::canonicalize(path), fs::read_link(path)) {
        (Ok(file), _) => Ok(with_suffix(&file, ".lock")),
        (Err(error), Ok(target)) if error.kind() == io::ErrorKind::NotFound => {
            beside(&path.parent().unwrap_or(Path::new("")).join(target))
        }
        (Err(error), Err(_)) if error.kind() == io::ErrorKind::NotFound => Ok(with_suffix(path, ".lock")),
        (Err(error), _) => Err(error),
    }
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

    #[test]
    fn a_lock_that_was_deleted_is_taken_again_unless_somebody_else_has_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("logs.db");
        let mut first = Lock::take(&path).expect("nobody has it");
        assert!(first.is_in_place());
        fs::remove_file(first.path()).expect("deleted by hand");
        assert!(!first.is_in_place());
        first.take_again().expect("nobody was faster");
        assert!(first.is_in_place());
        fs::remove_file(first.path()).expect("deleted by hand");
        let _second = Lock::take(&path).expect("the lock alone does not keep it out");
        assert!(matches!(first.take_again(), Err(OpenError::InUse { .. })));
    }
}
