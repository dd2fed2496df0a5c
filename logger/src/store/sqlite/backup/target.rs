//! The file of a backup: under another name until it is whole, and never in the place of one that is there.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, RenameFlags, renameat2},
    unistd::Uid,
};

use crate::store::sqlite::file::with_suffix;

/// The file. It is deleted when it is dropped before [`Target::publish`].
#[derive(Debug)]
pub(super) struct Target {
    named: PathBuf,
    partial: PathBuf,
    file: File,
}

impl Target {
    /// Makes it, empty, with the owner and the permissions of the store.
    pub(super) fn new(named: &Path, store: &File) -> anyhow::Result<Self> {
        let named = std::path::absolute(named)?;
        let (name, partial) = (named.display(), with_suffix(&named, ".partial"));
        if fs::symlink_metadata(&named).is_ok() {
            bail!("{name} exists, and a backup overwrites nothing: name another file");
        }
        // For its owner alone until it is known who that is to be.
        let file = File::options().write(true).create_new(true).mode(0o600).open(&partial);
        let file = match file {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(
                "{0} exists: another backup is writing it, or one was killed. If none runs, delete it",
                partial.display()
            ),
            file => file.with_context(|| format!("cannot create {}", partial.display()))?,
        };
        let target = Target { named, partial, file };
        target
            .belong_as(store)
            .with_context(|| format!("giving {} to the store's owner", target.partial.display()))?;
        Ok(target)
    }

    fn belong_as(&self, store: &File) -> io::Result<()> {
        let store = store.metadata()?;
        if Uid::effective().is_root() {
            fchown(&self.file, Some(store.uid()), Some(store.gid()))?;
        }
        self.file.set_permissions(Permissions::from_mode(store.mode() & 0o777))
    }

    /// Where it is as long as it is not published.
    pub(super) fn path(&self) -> &Path {
        &self.partial
    }

    /// Syncs what was written so far.
    pub(super) fn sync_some(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Syncs it as a whole.
    pub(super) fn sync(&self) -> anyhow::Result<()> {
        self.file.sync_all().with_context(|| format!("syncing {}", self.partial.display()))
    }

    /// Empties it, to begin again.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        self.file.set_len(0).with_context(|| format!("emptying {}", self.partial.display()))
    }

    /// Gives it its name, if nothing has that by now, and syncs the directory. Returns the bytes of the file.
    pub(super) fn publish(self) -> anyhow::Result<u64> {
        let bytes = self.file.metadata()?.len();
        let named = self.named.display();
        let parent = self.named.parent().with_context(|| format!("{named} has no directory"))?;
        let directory = File::open(parent).with_context(|| format!("opening {}", parent.display()))?;
        match rename_to_nothing(&self.partial, &self.named) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!("{named} was created meanwhile, and a backup overwrites nothing: name another file")
            }
            renamed => renamed.with_context(|| format!("naming {named}"))?,
        }
        directory.sync_all().with_context(|| {
            format!(
                "{named} is whole and verified, but its name may not survive a power loss: syncing {}",
                parent.display()
            )
        })?;
        Ok(bytes)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            // Once it is published there is none.
            let _ = fs::remove_file(with_suffix(&self.partial, suffix));
        }
    }
}

/// Renames a file, unless something has its new name. File systems that cannot promise that make a second name of it.
fn rename_to_nothing(from: &Path, to: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        Err(Errno::EINVAL | Errno::ENOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}
