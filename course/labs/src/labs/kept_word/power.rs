//! A power cut, played by `shim/power.c`: what a program has not synced is gone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use crate::{verdict::NotTried, words::text};

/// A directory of files, and what of them is on the disk.
#[derive(Debug)]
pub(super) struct Power {
    library: PathBuf,
    files: PathBuf,
    shadow: PathBuf,
}

impl Power {
    /// Watches the files in `files`; `dir` is for its own.
    ///
    /// # Errors
    /// [`NotTried`] where there is no C compiler.
    pub(super) async fn watch(files: &Path, dir: &Path) -> anyhow::Result<Self> {
        let (library, shadow) = (dir.join("power.so"), dir.join("shadow"));
        fs::create_dir_all(&shadow)?;
        let source = crate::catalogue::home().join("shim/power.c");
        let built = Command::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await;
        if !built.is_ok_and(|status| status.success()) {
            return Err(NotTried(text!(
                "there is no C compiler for the shim: sudo apt-get install gcc libc6-dev",
                "для shim нет компилятора C: sudo apt-get install gcc libc6-dev"
            ))
            .into());
        }
        // The shim compares paths by their text.
        Ok(Power { library, files: files.canonicalize()?, shadow: shadow.canonicalize()? })
    }

    /// The settings by which a program is watched.
    pub(super) fn settings(&self) -> [(&'static str, String); 3] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("LAB_POWER_DIR", self.files.display().to_string()),
            ("LAB_POWER_SHADOW", self.shadow.display().to_string()),
        ]
    }

    /// Whether a watched program's system calls were seen at all.
    pub(super) fn sees(&self) -> bool {
        self.shadow.join(".seen").exists()
    }

    /// Leaves in the files what is on the disk. No process may use them.
    pub(super) fn cut(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.files)? {
            fs::remove_file(entry?.path())?;
        }
        for entry in fs::read_dir(&self.shadow)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with('.') {
                fs::copy(entry.path(), self.files.join(entry.file_name()))?;
            }
        }
        Ok(())
    }
}
