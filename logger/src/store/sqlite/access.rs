//! Whether the files of the store are writable. SQLite opens a read-only file without complaint, and each write
//! fails later.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    unistd::{AccessFlags, Uid, User, eaccess},
};

use super::{OpenError, file::with_suffix};

/// Looks at the store at `path`, at what stands beside it, and at its directory, as far as they are there. Nothing is opened:
/// others of this process may read the store, and closing a file drops the locks that its process has on it.
///
/// # Errors
/// [`OpenError::NotWritable`], with the command that helps.
pub(super) fn check(path: &Path) -> Result<(), OpenError> {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let files = ["", "-wal", "-shm", ".lock"].map(|suffix| with_suffix(&real, suffix));
    let barred: Vec<_> =
        files.iter().filter_map(|file| Some((file, refusal(file, file_access())?))).collect();
    if let Some((_, error)) = barred.first() {
        let names: Vec<&Path> = barred.iter().map(|(file, _)| file.as_path()).collect();
        return Err(not_writable(&names, *error));
    }
    let directory = real.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    if !directory.is_dir() {
        // It is to be made, or something is in its way.
        return Ok(());
    }
    match refusal(directory, AccessFlags::W_OK | AccessFlags::X_OK) {
        Some(error) => Err(not_writable(&[directory], error)),
        None => Ok(()),
    }
}

fn file_access() -> AccessFlags {
    AccessFlags::R_OK | AccessFlags::W_OK
}

/// Why the system does not let us; `None` if it does, or there is nothing.
fn refusal(path: &Path, access: AccessFlags) -> Option<Errno> {
    eaccess(path, access).err().filter(|error| !matches!(error, Errno::ENOENT | Errno::ENOTDIR))
}

fn not_writable(paths: &[&Path], error: Errno) -> OpenError {
    let path = paths.first().copied().unwrap_or(Path::new("")).to_owned();
    let words = paths.iter().map(|path| quoted(path)).collect::<Vec<_>>().join(" ");
    let owner = fs::metadata(&path).map(|metadata| Uid::from_raw(metadata.uid())).ok();
    let own = Uid::effective();
    let belongs = owner.map_or_else(|| "an unknown user".to_owned(), name_of);
    let detail = if error == Errno::EROFS {
        "its file system is mounted read-only".to_owned()
    } else {
        format!(
            "its owner is {belongs}, and this logger runs as {}: {}",
            name_of(own),
            io::Error::from(error)
        )
    };
    let fix = if error == Errno::EROFS {
        format!("sudo mount -o remount,rw {}", quoted(&mount_of(&path)))
    } else if error == Errno::EPERM {
        format!("sudo chattr -i {words}")
    } else if owner == Some(own) {
        format!("chmod u+rwX {words}")
    } else {
        format!("sudo chown {} {words}", name_of(own))
    };
    OpenError::NotWritable { path, detail, fix }
}

fn name_of(user: Uid) -> String {
    User::from_uid(user).ok().flatten().map_or_else(|| user.to_string(), |user| user.name)
}

/// The highest directory above it that is on the same file system.
fn mount_of(path: &Path) -> PathBuf {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let own = device(path);
    let mount = path.ancestors().take_while(|above| device(above) == own).last();
    mount.unwrap_or(path).to_owned()
}

/// A path as a word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        for (path, word) in
            [("/var/lib/logs.db", "/var/lib/logs.db"), ("/a b/c", "'/a b/c'"), ("/it's", r"'/it'\''s'")]
        {
            assert_eq!(quoted(Path::new(path)), word);
        }
    }

    #[test]
    fn what_may_be_written_is_passed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("logs.db");
        check(&path).expect("nothing is there yet");
        fs::write(&path, "").expect("written");
        check(&path).expect("it is ours");
    }

    #[test]
    fn the_command_fits_the_reason() {
        let directory = tempfile::tempdir().expect("a directory");
        for (error, command) in [
            (Errno::EACCES, "chmod u+rwX"),
            (Errno::EPERM, "chattr -i"),
            (Errno::EROFS, "mount -o remount,rw"),
        ] {
            let told = not_writable(&[directory.path()], error).to_string();
            assert!(told.contains(command), "{told}");
        }
        let told = not_writable(&[Path::new("/nowhere")], Errno::EACCES).to_string();
        assert!(told.contains(&format!("sudo chown {} /nowhere", name_of(Uid::effective()))), "{told}");
    }
}
