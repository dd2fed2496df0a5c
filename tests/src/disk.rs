//! A disk of one logger's own that can lose its power, fill up, slow down and fail.
//!
//! It is played by `shim/disk.c`, which stands between the process and its files. What it does with writes and syncs
//! is said there; here is what the harness needs: it builds the shim, and cuts the power after `kill -9`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rand::{RngExt, rngs::StdRng};

use crate::clock::shim;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// The places of `struct control` in `shim/disk.c`, each of 8 bytes.
#[derive(Debug, Clone, Copy)]
enum Control {
    Space,
    SyncDelayUs,
    Failing,
    IgnoreWal,
    Syncs,
    Total,
}

/// The directory of a store, and what of it would survive if the power went now.
#[derive(Debug)]
pub struct Disk {
    files: PathBuf,
    shadow: PathBuf,
    control: File,
}

/// What becomes of the sectors that were written and not synced when the power goes. A disk may have written any of
/// them already, in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// None has been written.
    None,
    /// Those of each file up to a random place.
    Torn,
    /// A random half.
    Some,
}

impl Cut {
    /// All of them.
    pub const ALL: [Cut; 3] = [Cut::None, Cut::Torn, Cut::Some];
}

impl Disk {
    /// An empty disk in `dir`.
    ///
    /// # Panics
    /// As everything here, if what the test stands on does not work.
    pub fn new(dir: &Path) -> Self {
        // SQLite resolves links before it opens a file; the shim compares paths by their text.
        let dir = dir.canonicalize().expect("it is there");
        let (files, shadow) = (dir.join("disk"), dir.join("shadow"));
        fs::create_dir(&files).and_then(|()| fs::create_dir(&shadow)).expect("the directory is writable");
        let control = File::options().create_new(true).read(true).write(true).open(shadow.join("control"));
        let disk = Disk { files, shadow, control: control.expect("the directory is writable") };
        for place in
            [Control::SyncDelayUs, Control::Failing, Control::IgnoreWal, Control::Syncs, Control::Total]
        {
            disk.set(place, 0);
        }
        disk.set_space(None);
        disk
    }

    /// The settings by which a logger has its store on it.
    pub fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("LOGGER_STORE", format!("sqlite:{}", self.store().display())),
            ("LD_PRELOAD", shim("disk").display().to_string()),
            ("DISK_DIR", self.files.display().to_string()),
            ("DISK_SHADOW", self.shadow.display().to_string()),
        ]
    }

    /// The store's main file.
    pub fn store(&self) -> PathBuf {
        self.files.join("logs.db")
    }

    /// By how many bytes the files may grow from now on; `None`: by any.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.set(Control::Space, bytes.unwrap_or(u64::MAX));
    }

    /// Makes it a small disk, of so many bytes, with nothing else on it.
    pub fn set_total(&self, bytes: u64) {
        let used: u64 = names(&self.files)
            .map(|name| fs::metadata(self.files.join(name)).map_or(0, |file| file.len()))
            .sum();
        self.set(Control::Total, bytes);
        self.set_space(Some(bytes.saturating_sub(used)));
    }

    /// How much longer every sync takes.
    pub fn set_sync_delay(&self, delay: std::time::Duration) {
        self.set(Control::SyncDelayUs, u64::try_from(delay.as_micros()).expect("less than an age"));
    }

    /// Lets so many of the next syncs of the write-ahead log fail.
    pub fn fail_syncs(&self, count: u64) {
        self.set(Control::Failing, count);
    }

    /// Lets a sync of the write-ahead log do nothing, and say that it succeeded.
    pub fn ignore_syncs_of_the_log(&self) {
        self.set(Control::IgnoreWal, 1);
    }

    /// How many syncs there were.
    pub fn syncs(&self) -> u64 {
        self.get(Control::Syncs)
    }

    /// How many syncs are still to fail.
    pub fn syncs_to_fail(&self) -> u64 {
        self.get(Control::Failing)
    }

    fn set(&self, place: Control, value: u64) {
        self.control.write_all_at(&value.to_ne_bytes(), place as u64 * 8).expect("writable");
    }

    fn get(&self, place: Control) -> u64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, place as u64 * 8).expect("readable");
        u64::from_ne_bytes(bytes)
    }

    /// Leaves in the files what a loss of power at this moment would leave. No process may use them. Returns how
    /// many written sectors are gone.
    pub fn cut_power(&self, cut: Cut, random: &mut StdRng) -> usize {
        let mut gone = 0;
        for (name, file) in self.found() {
            let path = self.files.join(&name);
            let written = file.written.then(|| fs::read(&path).expect("readable"));
            // A name that the directory was not synced for is there or not, as it happens.
            let renamed = file.new && cut != Cut::None && random.random();
            let durable = match (file.new, renamed, file.durable) {
                (true, true, _) => fs::read(self.shadow.join(format!("{name}.new"))).ok(),
                (_, _, true) => fs::read(self.shadow.join(&name)).ok(),
                (_, _, false) => None,
            };
            let survives = match (durable, written) {
                (Some(durable), Some(written)) if !file.new || renamed => {
                    let (survives, dropped) = merge(&durable, &written, cut, random);
                    gone += dropped;
                    Some(survives)
                }
                // What stands under this name now is another file, or it was removed.
                (durable, written) => {
                    gone += written.map_or(0, |written| written.len().div_ceil(SECTOR_BYTES));
                    durable
                }
            };
            match survives {
                Some(bytes) => {
                    fs::write(&path, &bytes).expect("writable");
                    fs::write(self.shadow.join(&name), &bytes).expect("writable");
                }
                None => {
                    remove(&path);
                    remove(&self.shadow.join(&name));
                }
            }
            remove(&self.shadow.join(format!("{name}.new")));
            remove(&self.shadow.join(format!("{name}.state")));
        }
        // It is not kept on a disk in earnest: SQLite builds it anew when it is the first to open the store.
        remove(&self.files.join("logs.db-shm"));
        gone
    }

    /// Every name that stands in the directory or in the shadow.
    fn found(&self) -> BTreeMap<String, Found> {
        let mut found = BTreeMap::<String, Found>::new();
        let no_data = |name: &str| name.ends_with("-shm") || name.ends_with(".reserve");
        for name in names(&self.files).filter(|name| !no_data(name)) {
            found.entry(name).or_default().written = true;
        }
        for name in names(&self.shadow).filter(|name| name != "control" && !name.ends_with(".state")) {
            match name.strip_suffix(".new") {
                Some(name) => found.entry(name.to_owned()).or_default().new = true,
                None => found.entry(name).or_default().durable = true,
            }
        }
        found
    }
}

/// Where a name was found.
#[derive(Debug, Default)]
struct Found {
    /// In the directory, as processes see it.
    written: bool,
    /// On the disk.
    durable: bool,
    /// Written, and the directory was not synced since it was made.
    new: bool,
}

fn names(dir: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(dir)
        .expect("readable")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("our own names are text"))
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{}: {error}", path.display()),
        Ok(()) | Err(_) => {}
    }
}

/// What is left of a file of which `durable` was on the disk and `written` in memory, and how many sectors are gone.
fn merge(durable: &[u8], written: &[u8], cut: Cut, random: &mut StdRng) -> (Vec<u8>, usize) {
    let sector = |bytes: &[u8], at: usize| {
        let mut sector = [0; SECTOR_BYTES];
        let rest = bytes.get(at..).unwrap_or_default();
        let length = rest.len().min(SECTOR_BYTES);
        sector[..length].copy_from_slice(&rest[..length]);
        sector
    };
    let longest = durable.len().max(written.len());
    let unsynced: Vec<usize> = (0..longest)
        .step_by(SECTOR_BYTES)
        .filter(|at| sector(durable, *at) != sector(written, *at))
        .collect();
    let torn_at = random.random_range(0..=unsynced.len());
    let mut left = durable.to_vec();
    left.resize(longest.next_multiple_of(SECTOR_BYTES), 0);
    let mut gone = 0;
    for (number, at) in unsynced.into_iter().enumerate() {
        let survives = match cut {
            Cut::None => false,
            Cut::Torn => number < torn_at,
            Cut::Some => random.random(),
        };
        if survives {
            left[at..at + SECTOR_BYTES].copy_from_slice(&sector(written, at));
        } else {
            gone += 1;
        }
    }
    let new_length = cut != Cut::None && random.random();
    left.truncate(if new_length { written.len() } else { durable.len() });
    (left, gone)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_cut_leaves_the_old_or_the_new_of_each_sector() {
        let (durable, written) = (vec![1; 2_048], [vec![1; 512], vec![2; 2_048]].concat());
        let mut random = StdRng::seed_from_u64(1);
        assert_eq!(merge(&durable, &written, Cut::None, &mut random), (durable.clone(), 4));
        for _ in 0..100 {
            for cut in [Cut::Torn, Cut::Some] {
                let (left, gone) = merge(&durable, &written, cut, &mut random);
                assert!([2_048, 2_560].contains(&left.len()), "{}", left.len());
                assert!(gone <= 4);
                assert!(left[..512].iter().all(|byte| *byte == 1), "what was synced stays");
                for sector in left[..2_048].chunks(SECTOR_BYTES) {
                    assert!(sector.iter().all(|byte| *byte == sector[0]), "no sector is torn");
                }
                if cut == Cut::Torn {
                    let order: Vec<u8> = left[512..2_048].iter().step_by(SECTOR_BYTES).copied().collect();
                    assert!(order.is_sorted_by(|a, b| a >= b), "new before old: {order:?}");
                }
            }
        }
    }
}
