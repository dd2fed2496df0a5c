//! One check of one program: everything is started, each property is tried, and the outcome is kept.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    bench::{Bench, RabbitMq},
    catalogue::Lab,
    labs,
    program::Program,
    run::{Run, Show, Stopped, Wanted},
    verdict::{Failed, Finding, Status, Trouble, Unusable, overall, why},
    watchdog::Watchdog,
    words::{Locale, Text, text},
};

/// What all checks of a process share.
#[derive(Debug)]
pub struct Shared {
    /// RabbitMQ.
    pub rabbitmq: RabbitMq,
    /// What notices stalls.
    pub watchdog: Watchdog,
}

impl Shared {
    /// Nothing of it is started yet but the watchdog.
    pub fn new() -> Self {
        Shared { rabbitmq: RabbitMq::default(), watchdog: Watchdog::start() }
    }

    /// The same; says on standard error what it starts.
    pub fn saying(locale: Locale) -> Self {
        Shared { rabbitmq: RabbitMq::saying(locale), watchdog: Watchdog::start() }
    }
}

impl Default for Shared {
    fn default() -> Self {
        Shared::new()
    }
}

/// What is to be checked, and how.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// By which lab.
    pub lab: &'a Lab,
    /// The directory of the program.
    pub dir: &'a Path,
    /// Where the outcome goes; it is made.
    pub out: PathBuf,
    /// All random data comes from it.
    pub seed: u64,
    /// Which properties.
    pub wanted: Wanted,
    /// What upper limits on time are multiplied by.
    pub patience: f64,
    /// How long all of it may take.
    pub limit: Duration,
}

impl Order<'_> {
    /// How long a check of a lab may take.
    pub fn limit_of(lab: &Lab, patience: f64) -> Duration {
        Duration::from_secs(lab.limit_s).mul_f64(patience.max(1.0))
    }
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Of which lab.
    pub number: u32,
    /// Its name in paths.
    pub slug: String,
    /// What the program is written in, as far as its files say.
    pub language: &'static str,
    /// The seed.
    pub seed: u64,
    /// Of all properties together.
    pub status: Status,
    /// Each property, in order.
    pub findings: Vec<Finding>,
    /// How long it took.
    pub took: Duration,
    /// The longest stall of the machine within a property that did not hold.
    pub stalled: Duration,
    /// Why there was no check, or why it broke off.
    pub message: Option<Text>,
    /// Why the program could not be built or started at all, if so.
    pub unusable: Option<Unusable>,
}

impl Outcome {
    /// Its status in a word; `error` if the program could not be built or started.
    pub const fn verdict(&self) -> &'static str {
        if self.unusable.is_some() { "error" } else { self.status.as_str() }
    }

    /// How many properties hold.
    pub fn score(&self) -> usize {
        self.findings.iter().filter(|finding| finding.status == Status::Pass).count()
    }
}

/// Checks a program. If the machine stalled within a property that did not hold, it is checked once more; nothing else
/// is ever repeated.
pub async fn check(order: &Order<'_>, shared: &Shared, show: Show<'_>) -> Outcome {
    let first = once(order, shared, show).await;
    if first.status == Status::Unknown && first.stalled > Duration::ZERO {
        return once(order, shared, show).await;
    }
    first
}

async fn once(order: &Order<'_>, shared: &Shared, show: Show<'_>) -> Outcome {
    let begun = Instant::now();
    let mut outcome = Outcome {
        number: order.lab.number,
        slug: order.lab.slug.clone(),
        language: language(order.dir),
        seed: order.seed,
        status: Status::Unknown,
        findings: order.lab.properties.iter().map(|property| Finding::not_tried(property.id)).collect(),
        took: Duration::ZERO,
        stalled: Duration::ZERO,
        message: None,
        unusable: None,
    };
    let built = async {
        std::fs::create_dir_all(&order.out)?;
        let program = Program::new(order.dir, order.out.join("program.log"))?;
        program.build().await?;
        anyhow::Ok(program)
    };
    let program = match built.await {
        Ok(program) => program,
        Err(error) => return unusable(outcome, error),
    };
    let limit = order.limit;
    let signs = Arc::clone(program.signs());
    let mut run = Run::new(order.lab, order.wanted.clone(), &shared.watchdog, signs, limit, show);
    let checked = async {
        let dir = tempfile::tempdir()?;
        let mut bench = Bench {
            program,
            dir: dir.path().to_owned(),
            seed: order.seed,
            rabbitmq: &shared.rabbitmq,
            patience: order.patience,
        };
        // What is started between the properties has the time of one more check.
        let done = tokio::time::timeout(limit * 2, labs::check(order.lab.number, &mut bench, &mut run));
        done.await.unwrap_or_else(|_| {
            let limit_s = limit.as_secs() * 2;
            Err(Trouble(text!(
                "the check did not end within {limit_s} s",
                "проверка не закончилась за {limit_s} с"
            ))
            .into())
        })
    };
    let ended = checked.await;
    (outcome.findings, outcome.stalled) = run.findings();
    let broken = ended.err().filter(|error| !error.is::<Stopped>());
    match broken.map(anyhow::Error::downcast::<Failed>) {
        None => outcome.status = overall(&outcome.findings),
        // A server that starts no more fails the first property that it has not passed.
        Some(Ok(failed)) => {
            outcome.status = Status::Fail;
            let first = outcome.findings.iter_mut().find(|finding| finding.status == Status::NotTried);
            if let Some(finding) = first {
                (finding.status, finding.failed) = (Status::Fail, Some(failed));
                show(order.lab, finding);
            }
        }
        Some(Err(error)) if error.is::<Unusable>() && overall(&outcome.findings) == Status::NotTried => {
            outcome.took = begun.elapsed();
            return unusable(outcome, error);
        }
        Some(Err(error)) => {
            outcome.message = Some(why(&error));
            let failed = overall(&outcome.findings) == Status::Fail;
            outcome.status = if failed { Status::Fail } else { Status::Unknown };
        }
    }
    outcome.took = begun.elapsed();
    outcome
}

/// The outcome of a program that cannot be checked.
fn unusable(outcome: Outcome, error: anyhow::Error) -> Outcome {
    let unusable = error.downcast().unwrap_or_else(|error| Unusable(why(&error)));
    let message = Some(unusable.0.clone());
    Outcome { message, unusable: Some(unusable), status: Status::Unknown, ..outcome }
}

/// What a program is written in, as far as its files say.
fn language(dir: &Path) -> &'static str {
    let files = [("main.py", "python"), ("Cargo.toml", "rust"), ("main.go", "go")];
    files.into_iter().find(|(file, _)| dir.join(file).exists()).map_or("other", |(_, language)| language)
}
