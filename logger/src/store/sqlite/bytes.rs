//! Locks on single bytes of the main file, by which loggers and backups know of each other.
//!
//! SQLite's own locks end far below these bytes, and no store grows so large. The locks are of an open file and not of a
//! process, so that SQLite's closing of files does not drop them, and they hold under every name of the file.

use std::fs::File;

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc::{self, flock},
};

/// Locked by the logger that uses the store: a second one is kept out also where the lock file was deleted.
pub(super) const IN_USE: i64 = 0x7fff_ffff_ffff_0000;

/// Locked by that logger while it waits until nobody reads the write-ahead log.
pub(super) const LOG_IS_WANTED: i64 = IN_USE + 1;

/// Locks a byte of a file that is open for writing; with `EAGAIN` or `EACCES` where another has it.
pub(super) fn lock(file: &File, byte: i64) -> nix::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&at(byte, libc::F_WRLCK))).map(drop)
}

/// Gives it back.
pub(super) fn unlock(file: &File, byte: i64) -> nix::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&at(byte, libc::F_UNLCK))).map(drop)
}

/// Whether another open file has it locked.
pub(super) fn is_locked(file: &File, byte: i64) -> nix::Result<bool> {
    let mut lock = at(byte, libc::F_RDLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK)
}

fn at(byte: i64, kind: libc::c_int) -> flock {
    flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    }
}
