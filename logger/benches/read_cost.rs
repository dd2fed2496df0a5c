//! Does reading cost more in a large store? Fills two stores through the store's own write code, one of 1,000
//! entries and one of ten million, then asks both the same things in turn and compares the medians.
//!
//! `--entries N` chooses the size of the large one, `--ids v4` gives random ids instead of UUIDv7, `--keep`
//! leaves the stores in place and uses them again, `--store postgres` asks databases of the server of
//! FOURWIRE_TEST_POSTGRES. See README.md.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use logger::store::{self, Arrival, Batch, Reader, Retention, Store, StoreUrl};
use proto::{BatchMode, Cursor, EntryDraft, Filter, Level, Query, Transport};
use tokio::runtime::Runtime;
use uuid::{Builder, Uuid};

const SMALL_ENTRIES: u64 = 1_000;
const LARGE_ENTRIES: u64 = 10_000_000;

/// Entries in one commit while the large store is filled: fewer syncs than the logger makes, the same
/// statements. The small one gets as many as a page has, so that its entries differ in `stored_at` too.
const FILL_ENTRIES: std::ops::RangeInclusive<u64> = 100..=20_000;

/// How often each question is asked of each store.
const ROUNDS: usize = 500;

/// Entries in one commit whose rate is measured.
const GROUP_ENTRIES: u64 = 100;

fn main() -> Result<()> {
    let options = Options::from_args()?;
    let runtime = Runtime::new()?;
    let place = options.place();
    let mut random = Random(0x5eed);
    let mut small = Measured::open(options.kind.url(&place, "small")?, SMALL_ENTRIES, &options, &runtime)?;
    let mut large = Measured::open(options.kind.url(&place, "large")?, options.entries, &options, &runtime)?;
    println!("{}, {} ids, {} rounds of each", options.kind.title(), options.ids.as_str(), ROUNDS);
    println!("{:<34}{:>14}{:>14}{:>8}", "median", small.title(), large.title(), "ratio");
    for question in Question::ALL {
        let mut times = [Vec::new(), Vec::new()];
        // In turn, so that whatever else the machine does falls on both.
        for _ in 0..ROUNDS {
            for (store, times) in [&mut small, &mut large].into_iter().zip(&mut times) {
                times.push(store.ask(question, &mut random, &options, &runtime)?);
            }
        }
        let [small, large] = times.map(median);
        let ratio = large.as_secs_f64() / small.as_secs_f64();
        println!("{:<34}{:>11.1} us{:>11.1} us{ratio:>8.2}", question.title(), us(small), us(large));
    }
    drop((small, large));
    if !options.keep && place.exists() {
        std::fs::remove_dir_all(&place).with_context(|| format!("removing {}", place.display()))?;
    }
    Ok(())
}

struct Options {
    entries: u64,
    ids: Ids,
    kind: Kind,
    keep: bool,
}

/// The kind of store that is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    /// A store of this name; in PostgreSQL a schema of its own.
    fn url(self, place: &Path, name: &str) -> Result<StoreUrl> {
        match self {
            Kind::Sqlite => Ok(StoreUrl::Sqlite(place.join(name).with_extension("db"))),
            Kind::Postgres => {
                let server = std::env::var("FOURWIRE_TEST_POSTGRES")
                    .context("FOURWIRE_TEST_POSTGRES is not set: use deploy/postgres.sh with-test-server")?;
                let made = std::process::Command::new("psql")
                    .args([
                        server.as_str(),
                        "--quiet",
                        "--command",
                        &format!("CREATE SCHEMA IF NOT EXISTS {name}"),
                    ])
                    .status()?;
                anyhow::ensure!(made.success(), "psql cannot make a schema");
                Ok(format!("{server}?options=-c%20search_path%3D{name}").parse()?)
            }
        }
    }

    fn title(self) -> String {
        match self {
            Kind::Sqlite => format!("SQLite {}", rusqlite::version()),
            Kind::Postgres => "PostgreSQL".to_owned(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ids {
    V7,
    V4,
}

impl Ids {
    const fn as_str(self) -> &'static str {
        match self {
            Ids::V7 => "v7",
            Ids::V4 => "v4",
        }
    }
}

impl Options {
    fn from_args() -> Result<Self> {
        let mut options = Options { entries: LARGE_ENTRIES, ids: Ids::V7, kind: Kind::Sqlite, keep: false };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--entries" => options.entries = args.next().context("--entries needs a number")?.parse()?,
                "--ids" => {
                    options.ids = match args.next().as_deref() {
                        Some("v7") => Ids::V7,
                        Some("v4") => Ids::V4,
                        Some(_) | None => bail!("--ids needs v7 or v4"),
                    }
                }
                "--store" => {
                    options.kind = match args.next().as_deref() {
                        Some("sqlite") => Kind::Sqlite,
                        Some("postgres") => Kind::Postgres,
                        Some(_) | None => bail!("--store needs sqlite or postgres"),
                    }
                }
                "--keep" => options.keep = true,
                // Cargo adds it to every benchmark.
                "--bench" => {}
                other => {
                    bail!("unknown option {other}: use --entries N, --ids v4, --store postgres or --keep")
                }
            }
        }
        Ok(options)
    }

    /// Under `target/`, on the disk that is built on: a store in memory would not sync.
    fn place(&self) -> PathBuf {
        let name = format!("read-cost-{}-{}", self.ids.as_str(), self.entries);
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
    }
}

/// What is asked of both stores.
#[derive(Clone, Copy)]
enum Question {
    NewestPage,
    ById,
    ByLevel,
    SinceAndUntil,
    Commit,
}

impl Question {
    /// `Commit` is last, since it makes the stores grow.
    const ALL: [Question; 5] =
        [Question::NewestPage, Question::ById, Question::ByLevel, Question::SinceAndUntil, Question::Commit];

    const fn title(self) -> &'static str {
        match self {
            Question::NewestPage => "newest page of 100",
            Question::ById => "an entry by id",
            Question::ByLevel => "newest page of 100 of a level",
            Question::SinceAndUntil => "page of 100 before a random time",
            Question::Commit => "commit of 100 entries",
        }
    }
}

struct Measured {
    store: Box<dyn Store>,
    reader: Reader,
    entries: u64,
}

impl Measured {
    fn open(url: StoreUrl, entries: u64, options: &Options, runtime: &Runtime) -> Result<Self> {
        let mut store = store::open(&url, None)?;
        let reader = store.reader();
        let newest = runtime.block_on(reader.page(Query { limit: 1, ..Query::default() }))?;
        if newest.entries.is_empty() {
            fill(&mut *store, entries, options.ids)?;
        }
        // The store measures itself now and then.
        store.look();
        println!("{url:?}: {:.2} GB", reader.disk_bytes().unwrap_or_default() as f64 / 1e9);
        Ok(Measured { store, reader, entries })
    }

    fn title(&self) -> String {
        self.entries.to_string()
    }

    fn ask(
        &mut self,
        question: Question,
        random: &mut Random,
        options: &Options,
        runtime: &Runtime,
    ) -> Result<Duration> {
        let page = |query| runtime.block_on(self.reader.page(query));
        match question {
            Question::NewestPage => timed(|| Ok(page(Query::default())?)),
            Question::ById => {
                let id = self.some_entry(random, runtime)?.id;
                timed(|| runtime.block_on(self.reader.get(id))?.context("it is stored"))
            }
            Question::ByLevel => {
                timed(|| Ok(page(Filter { level: Some(Level::Error), ..Filter::default() }.into())?))
            }
            Question::SinceAndUntil => {
                let until = Some(self.some_entry(random, runtime)?.stored_at);
                timed(|| Ok(page(Filter { until, ..Filter::default() }.into())?))
            }
            Question::Commit => {
                let group = [batch(random.next(), GROUP_ENTRIES, options.ids)?];
                timed(|| Ok(self.store.commit(&group)?))
            }
        }
    }

    fn some_entry(&self, random: &mut Random, runtime: &Runtime) -> Result<proto::StoredEntry> {
        let sequence = i64::try_from(random.next() % self.entries)? + 2;
        let query = Query { cursor: Some(Cursor::after(sequence)), limit: 1, ..Query::default() };
        runtime.block_on(self.reader.page(query))?.entries.pop().context("an entry lies below")
    }
}

/// Fails where the answer is an error, and returns how long it took.
fn timed<T>(ask: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let started_at = Instant::now();
    std::hint::black_box(ask()?);
    Ok(started_at.elapsed())
}

fn fill(store: &mut dyn Store, entries: u64, ids: Ids) -> Result<()> {
    let started_at = Instant::now();
    let mut done = 0;
    while done < entries {
        let group = (entries / 100).clamp(*FILL_ENTRIES.start(), *FILL_ENTRIES.end()).min(entries - done);
        store.commit(&[batch(done, group, ids)?])?;
        done += group;
        if done.is_multiple_of(1_000_000) {
            let rate = done as f64 / started_at.elapsed().as_secs_f64();
            println!("{done} of {entries} entries, {rate:.0} a second");
        }
    }
    // Nothing is to be deleted; it is called as the logger does.
    store.tend(&Retention::default());
    Ok(())
}

/// Entries of some 130 bytes; one in ten is an error.
fn batch(first: u64, entries: u64, ids: Ids) -> Result<Batch> {
    let now = Timestamp::now();
    let mut random = Random(first);
    let arrivals = (first..first.wrapping_add(entries)).map(|number| {
        let level = if number.is_multiple_of(10) { Level::Error } else { Level::Info };
        let id = match ids {
            Ids::V7 => None,
            Ids::V4 => Some(random.id().to_string()),
        };
        let draft = EntryDraft {
            name: format!("service-{}", number % 7),
            data: format!("entry {number:020}: {}", "as long as a line of a log usually is ".repeat(3)),
            id,
            level: Some(level.as_str().to_owned()),
            ..EntryDraft::default()
        };
        Ok(Arrival { entry: draft.check(now)?, came_by: Transport::ALL[(number % 4) as usize] })
    });
    Ok(Batch { arrivals: arrivals.collect::<Result<_>>()?, mode: BatchMode::Each })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// SplitMix64: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn id(&mut self) -> Uuid {
        let (high, low) = (self.next(), self.next());
        Builder::from_random_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes()).into_uuid()
    }
}
