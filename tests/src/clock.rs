//! A wall clock of one process's own, which can be set while it runs. It is played by `shim/clock.c`.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::binaries::binary;

/// What a process takes for the wall clock.
#[derive(Debug)]
pub struct WallClock {
    path: PathBuf,
    offset: File,
}

impl WallClock {
    /// One that is right; its file is in `dir`.
    ///
    /// # Panics
    /// As everything here, if what the test stands on does not work.
    pub fn new(dir: &Path) -> Self {
        let path = dir.join("clock-offset");
        let offset = File::options().create_new(true).write(true).open(&path).expect("writable");
        let clock = WallClock { path, offset };
        clock.set(0);
        clock
    }

    /// The settings by which a process goes by it.
    pub fn settings(&self) -> [(&'static str, String); 2] {
        [
            ("LD_PRELOAD", shim("clock").display().to_string()),
            ("CLOCK_OFFSET", self.path.display().to_string()),
        ]
    }

    /// Sets it so many seconds ahead of the machine's.
    pub fn set(&self, seconds: i64) {
        self.offset.write_all_at(&seconds.to_ne_bytes(), 0).expect("writable");
    }
}

/// The path of a library of `shim/`, which the first call builds. A C compiler is there: SQLite was built with it.
pub(crate) fn shim(name: &'static str) -> &'static Path {
    static DISK: OnceLock<PathBuf> = OnceLock::new();
    static CLOCK: OnceLock<PathBuf> = OnceLock::new();
    let built = if name == "disk" { &DISK } else { &CLOCK };
    built.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("shim/{name}.c"));
        let path = binary(&format!("{name}.so"));
        // Other tests may run it just now: it is replaced as a whole.
        let new = path.with_extension(std::process::id().to_string());
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"]);
        let built = cc.arg(&new).arg(&source).arg("-ldl").status().expect("cc is installed");
        assert!(built.success(), "{} does not compile", source.display());
        std::fs::rename(&new, &path).expect("the build's directory is writable");
        path
    })
}
