//! Free space on the disk of the store, and a reserve that the store keeps for itself.
//!
//! On a disk that is completely full one can neither open a store nor delete from it, since both write first. So
//! some space is allocated up front, and released for that.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
    sys::statvfs::statvfs,
    unistd::Uid,
};

use super::file::with_suffix;

/// There must be so much room beside the reserve for the next entry to find some: the log grows by the pages of a group,
/// so it is the largest entry four times over.
const ROOM_BYTES: u64 = 1024 * 1024;

/// The reserve, on all but the smallest disks: what the log has when it is checkpointed, twice.
const RESERVE_BYTES: u64 = 8 * 1024 * 1024;

/// More free space than needs a closer look.
const PLENTY_BYTES: u64 = 256 * 1024 * 1024;

/// The part of a small disk that is the reserve at most.
const PART: u64 = 8;

/// The file beside the store whose blocks are the reserve.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    /// `None` where it could not be opened; then the file system is asked alone.
    file: Option<File>,
    bytes: u64,
}

impl Reserve {
    /// Opens the reserve of the store whose file is `path`. What was taken by an earlier logger is still taken.
    pub(super) fn open(path: &Path) -> Self {
        let path = with_suffix(path, ".reserve");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.and_then(|file| if is_ours(&file)? { Ok(file) } else { Err(foreign()) });
        let file = file.inspect_err(|error| {
            tracing::warn!(path = %path.display(), %error, "no disk space is reserved for the store");
        });
        let disk = path.parent().map(statvfs).and_then(Result::ok);
        let disk = disk.map_or(0, |disk| disk.blocks().saturating_mul(disk.fragment_size()));
        Reserve { file: file.ok(), path, bytes: RESERVE_BYTES.min(disk / PART) }
    }

    /// Whether there is room for the next entry beside what a log of so many bytes takes when it is checkpointed, and beside
    /// the reserve, which is taken if it is not; where the reserve is `for_entries`, it is room for them too. Tried in earnest,
    /// it takes the room and gives it back: only so quotas are counted in. Otherwise the word of a disk that has plenty is
    /// believed, which writes nothing.
    pub(super) fn has_room(&self, log_bytes: u64, in_earnest: bool, for_entries: bool) -> bool {
        let held = self.held_bytes();
        let both = self.bytes.saturating_add(ROOM_BYTES);
        let least = if for_entries { ROOM_BYTES } else { both };
        // First without taking any, so that little that is left is not taken from others for a moment.
        let free = self.free_bytes();
        let is_free = |bytes: u64| free.is_none_or(|free| free + held >= bytes.saturating_add(log_bytes));
        if !is_free(least) {
            return false;
        }
        if !in_earnest && held == self.bytes && free.is_some_and(|free| free >= PLENTY_BYTES + log_bytes) {
            return true;
        }
        let Some(file) = &self.file else { return true };
        let mut taken = if is_free(both) { allocate(file, both) } else { Err(Errno::ENOSPC) };
        // A file system that cannot do this has no word about room, and no reserve.
        let kept = if taken.is_ok() { self.bytes } else { held.min(self.bytes) };
        if is_full(taken) && for_entries {
            self.set(file, kept);
            taken = allocate(file, least);
        }
        self.set(file, kept);
        !is_full(taken)
    }

    /// What is not taken of it, since it was given up, or there was no room for it.
    pub(super) fn missing_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.held_bytes())
    }

    fn held_bytes(&self) -> u64 {
        self.file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |file| file.len())
    }

    /// Releases the reserve, until there is space for it again.
    pub(super) fn release(&self) {
        if let Some(file) = &self.file {
            self.set(file, 0);
        }
    }

    /// What the file system says that is free, beside the reserve.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        let free = self.path.parent().map(statvfs).and_then(Result::ok)?;
        // A part is kept for root on many disks.
        let blocks = if Uid::effective().is_root() { free.blocks_free() } else { free.blocks_available() };
        Some(blocks.saturating_mul(free.fragment_size()))
    }

    fn set(&self, file: &File, bytes: u64) {
        if let Err(error) = file.set_len(bytes) {
            tracing::warn!(path = %self.path.display(), %error, "reserved disk space cannot be released");
        }
    }
}

/// Whether it is a reserve: nothing but zeros, of which the first is looked at. What is somebody else's must not be cut off.
fn is_ours(file: &File) -> io::Result<bool> {
    let mut first = [0];
    Ok(file.metadata()?.is_file() && (file.read_at(&mut first, 0)? == 0 || first == [0]))
}

fn foreign() -> io::Error {
    io::Error::other("the file is not ours and is left unchanged: move it away")
}

fn is_full(taken: Result<(), Errno>) -> bool {
    matches!(taken, Err(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG))
}

/// Ensures that the file has so many bytes, with blocks behind them.
fn allocate(file: &File, bytes: u64) -> Result<(), Errno> {
    let bytes = i64::try_from(bytes).map_err(|_| Errno::EFBIG)?;
    fallocate(file, FallocateFlags::empty(), 0, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_somebody_else_is_left_as_it_is() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let theirs = directory.path().join("logs.db.reserve");
        std::fs::write(&theirs, "a recipe")?;
        let reserve = Reserve::open(&directory.path().join("logs.db"));
        assert!(reserve.has_room(0, true, false), "the file system is asked alone");
        reserve.release();
        assert_eq!(std::fs::read_to_string(&theirs)?, "a recipe");
        Ok(())
    }

    #[test]
    fn a_reserve_that_is_for_entries_is_room_for_them_whether_it_can_be_taken_or_not() -> std::io::Result<()>
    {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("logs.db");
        let held = || std::fs::metadata(directory.path().join("logs.db.reserve")).map(|file| file.len());
        let mut reserve = Reserve::open(&path);
        // More than any disk has.
        reserve.bytes = u64::MAX;
        assert!(!reserve.has_room(0, true, false) && reserve.has_room(0, true, true));
        assert!(!reserve.has_room(u64::MAX, true, true), "nor is there room beside such a log");
        assert_eq!(held()?, 0, "what was tried is given back");
        reserve.bytes = RESERVE_BYTES;
        assert!(reserve.has_room(0, true, true));
        assert_eq!(held()?, RESERVE_BYTES, "where there is room for both it is taken");
        reserve.bytes = u64::MAX;
        assert!(reserve.has_room(0, true, true));
        assert_eq!(held()?, RESERVE_BYTES, "what is taken stays so");
        Ok(())
    }

    #[test]
    fn room_that_was_tried_is_given_back_and_the_reserve_is_held() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("logs.db");
        let held = || std::fs::metadata(directory.path().join("logs.db.reserve")).map(|file| file.len());
        for _ in 0..2 {
            let reserve = Reserve::open(&path);
            assert!(reserve.has_room(0, true, false));
            assert_eq!(held()?, RESERVE_BYTES);
        }
        let reserve = Reserve::open(&path);
        assert_eq!(held()?, RESERVE_BYTES, "it is taken as long as nobody gives it up");
        reserve.release();
        assert_eq!(held()?, 0);
        assert!(reserve.has_room(0, true, false));
        assert_eq!(held()?, RESERVE_BYTES);
        Ok(())
    }
}
