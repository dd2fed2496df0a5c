//! Room on the disk of the store: whether there is some, and a reserve that the store keeps for itself.

use std::{
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
    sys::statvfs::statvfs,
};

/// There must be so much room beside the reserve for the next entry to find some: the log grows by the pages of a group,
/// so it is the largest entry four times over.
const ROOM_BYTES: u64 = 1024 * 1024;

/// The file beside the store whose blocks are the reserve.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    /// `None` where it could not be opened; then the file system is asked alone.
    file: Option<File>,
}

impl Reserve {
    /// Opens the reserve of the store at `path`.
    pub(super) fn open(path: &Path) -> Self {
        let mut name: OsString = path.into();
        name.push(".reserve");
        let path = PathBuf::from(name);
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.inspect_err(|error| tracing::warn!(path = %path.display(), %error, "no reserve"));
        Reserve { file: file.ok(), path }
    }

    /// Whether there is room for the next entry. It takes the room and gives it back: only so quotas, and what is kept for
    /// root, are counted in.
    pub(super) fn has_room(&self) -> bool {
        // First without taking any, so that little that is left is not taken from others for a moment.
        let free = self.path.parent().map(statvfs).and_then(Result::ok);
        let free = free.map(|free| free.blocks_free().saturating_mul(free.fragment_size()));
        if free.is_some_and(|free| free < ROOM_BYTES) {
            return false;
        }
        let Some(file) = &self.file else { return true };
        let taken = allocate(file, ROOM_BYTES);
        let given_back = file.set_len(0);
        if let Err(error) = given_back {
            tracing::warn!(path = %self.path.display(), %error, "room that was tried is not given back");
        }
        !matches!(taken, Err(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG))
    }
}

/// Sees to it that the file has so many bytes, with blocks behind them. A file system that cannot has no word about room.
fn allocate(file: &File, bytes: u64) -> Result<(), Errno> {
    let bytes = i64::try_from(bytes).map_err(|_| Errno::EFBIG)?;
    fallocate(file, FallocateFlags::empty(), 0, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_was_tried_is_given_back() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let reserve = Reserve::open(&directory.path().join("logs.db"));
        for _ in 0..3 {
            assert!(reserve.has_room());
            assert_eq!(std::fs::metadata(directory.path().join("logs.db.reserve"))?.len(), 0);
        }
        Ok(())
    }
}
