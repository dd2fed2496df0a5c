//! Whether the files of the store are still those that were opened, under the names by which they will be opened
//! next.
//!
//! A file that was deleted or moved can be written and synced as long as it is open, and the data is never found
//! again. So the files are checked (device, inode, names) after the fsync of each group, before it is acknowledged.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::errno::Errno;

use super::{
    OpenError, bytes,
    file::{Identity, with_suffix},
    lock::Lock,
    lost::Lost,
};

/// The files of a store that is open.
#[derive(Debug)]
pub(super) struct Names {
    main: Arc<Main>,
    real_path: PathBuf,
    log: Log,
    lock: Lock,
    /// The lock beside the store was lost and cannot be had again; it was told.
    lock_told: bool,
}

/// What is seen of files that are in their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// How many names the main file has.
    pub(super) links: u64,
    /// The bytes of the write-ahead log.
    pub(super) log_bytes: u64,
}

impl Names {
    /// Takes the locks of the store at `path`, which is made, empty, if it is missing.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another logger has one of them; [`OpenError::Linked`] if the file has more names.
    pub(super) fn take(path: &Path) -> Result<Self, OpenError> {
        let lock = Lock::take(path)?;
        let main = Main::take(path)?;
        let real =
            fs::canonicalize(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        let log = Log { path: with_suffix(&real, "-wal"), identity: None };
        Ok(Names { main: Arc::new(main), real_path: real, log, lock, lock_told: false })
    }

    pub(super) fn main(&self) -> &Arc<Main> {
        &self.main
    }

    /// Where the file is that the store's name leads to.
    pub(super) fn real_path(&self) -> &Path {
        &self.real_path
    }

    pub(super) fn log_path(&self) -> &Path {
        &self.log.path
    }

    /// Says, until what this returns is dropped, that the log is to be taken over into the main file as a whole: a backup
    /// then stops reading the store.
    pub(super) fn want_the_log(&self) -> WantedLog {
        if let Err(error) = bytes::lock(&self.main.file, bytes::LOG_IS_WANTED) {
            tracing::debug!(%error, "a backup cannot be told to give way");
        }
        WantedLog { main: Arc::clone(&self.main) }
    }

    /// Notes the write-ahead log that SQLite has just opened.
    pub(super) fn note_log(&mut self) {
        self.log.identity = fs::metadata(&self.log.path).as_ref().map(Identity::of).ok();
    }

    /// Looks at all of them; at the log only while SQLite has it open. It takes four calls of the system, which take some
    /// microseconds.
    ///
    /// # Errors
    /// What happened to them.
    pub(super) fn look(&mut self, log_is_open: bool) -> Result<Seen, Lost> {
        let links = self.main.look()?;
        let log_bytes = if log_is_open { self.log.look()? } else { 0 };
        self.look_at_the_lock()?;
        Ok(Seen { links, log_bytes })
    }

    fn look_at_the_lock(&mut self) -> Result<(), Lost> {
        if self.lock.is_in_place() {
            return Ok(());
        }
        match self.lock.take_again() {
            Ok(()) => {
                tracing::warn!(path = %self.lock.path().display(), "the lock file was deleted; it is recreated");
                self.lock_told = false;
            }
            Err(OpenError::InUse { .. }) => return Err(Lost::InUse),
            // The lock on the main file still keeps others out.
            Err(error) if !self.lock_told => {
                tracing::warn!(%error, "the lock file was deleted and cannot be recreated");
                self.lock_told = true;
            }
            Err(_) => {}
        }
        Ok(())
    }
}

/// Those who read have the file open still, and it must stay so; its lock is the writer's.
impl Drop for Names {
    fn drop(&mut self) {
        if let Err(error) = bytes::unlock(&self.main.file, bytes::IN_USE) {
            tracing::warn!(%error, "the store's lock cannot be released");
        }
    }
}

/// As long as it is there, backups give way.
#[derive(Debug)]
pub(super) struct WantedLog {
    main: Arc<Main>,
}

impl Drop for WantedLog {
    fn drop(&mut self) {
        if let Err(error) = bytes::unlock(&self.main.file, bytes::LOG_IS_WANTED) {
            tracing::debug!(%error, "a backup cannot be told to go on");
        }
    }
}

/// The main file, locked.
#[derive(Debug)]
pub(super) struct Main {
    /// As the setting names it: it may be a link, and what counts is where it leads.
    named: PathBuf,
    /// Not to be closed as long as SQLite has the file open: closing a file drops all the locks that its process
    /// has on it (<https://sqlite.org/howtocorrupt.html>, 2.2).
    file: File,
    identity: Identity,
}

impl Main {
    fn take(path: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        let mut options = File::options();
        // As SQLite makes it.
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let file = options.open(path).map_err(io)?;
        match bytes::lock(&file, bytes::IN_USE) {
            Ok(()) => {}
            Err(Errno::EAGAIN | Errno::EACCES) => return Err(OpenError::InUse { path: path.to_owned() }),
            Err(error) => {
                let detail = format!("it cannot be locked: {error}");
                return Err(OpenError::NotDurable { path: path.to_owned(), detail });
            }
        }
        let metadata = file.metadata().map_err(io)?;
        if metadata.nlink() > 1 {
            return Err(OpenError::Linked { path: path.to_owned(), names: metadata.nlink() });
        }
        Ok(Main { named: path.to_owned(), file, identity: Identity::of(&metadata) })
    }

    /// How many names the file has, if the one by which it was opened leads to it.
    ///
    /// # Errors
    /// What happened to it.
    pub(super) fn look(&self) -> Result<u64, Lost> {
        // Of the file that is open, whatever its name leads to.
        let names = || self.file.metadata().map_or(1, |metadata| metadata.nlink());
        match fs::metadata(&self.named) {
            Ok(metadata) if Identity::of(&metadata) == self.identity => Ok(metadata.nlink()),
            Ok(_) if names() == 0 => Err(Lost::Replaced),
            Ok(_) => Err(Lost::MovedAndReplaced),
            Err(error) if is_missing(&error) && names() == 0 => Err(Lost::Deleted),
            Err(error) if is_missing(&error) => Err(Lost::Moved),
            Err(error) => Err(Lost::Unseen(error.raw_os_error().unwrap_or_default())),
        }
    }
}

/// The write-ahead log beside it.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    identity: Option<Identity>,
}

impl Log {
    fn look(&self) -> Result<u64, Lost> {
        let found = fs::metadata(&self.path);
        match (found, self.identity) {
            (Ok(metadata), Some(identity)) if Identity::of(&metadata) == identity => Ok(metadata.len()),
            (Err(error), _) if !is_missing(&error) => {
                Err(Lost::Unseen(error.raw_os_error().unwrap_or_default()))
            }
            (Ok(_) | Err(_), _) => Err(Lost::Log),
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
