//! Which programs are checked: starts, solutions, mutants and our own services, in each language that is here.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{Expect, Job, Lab};
use crate::{
    catalogue::{Mutant, beside},
    config::Verify,
    learner::copy_files,
    run::Wanted,
};

/// With `--full`: so many runs of a solution with each seed.
const FULL_RUNS: usize = 3;

/// With `--full`: so many seeds.
const FULL_SEEDS: u64 = 3;

/// With `--full`: so many runs of each of Python's solutions beside a busy machine.
const BUSY_RUNS: u64 = 10;

/// What is checked.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    pub(super) jobs: Vec<Job<'a>>,
    /// What is checked beside a busy machine.
    pub(super) busy: Vec<Job<'a>>,
    /// What cannot be checked here, and why.
    pub(super) skipped: Vec<String>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(labs: &'a [Lab], arguments: &Verify) -> anyhow::Result<Self> {
        let mut plan = Plan::default();
        for lab in labs {
            let mutants = lab.mutants()?;
            if let Some((number, property)) = arguments.without {
                for mutant in
                    mutants.iter().filter(|mutant| number == lab.number && mutant.caught_by == property)
                {
                    plan.jobs.push(of_mutant(lab, mutant, arguments)?);
                }
                continue;
            }
            for language in lab.languages() {
                plan.language(lab, language, arguments)?;
            }
            for mutant in mutants.iter().filter(|mutant| mutant.ci || arguments.full) {
                plan.jobs.push(of_mutant(lab, mutant, arguments)?);
            }
            if !lab.product_passes.is_empty() {
                let dir = copied(&lab.dir.join("product"))?;
                let wanted = Wanted { all: true, ..Wanted::default() };
                let expect = Expect::PassesThese(lab.product_passes.clone());
                let name = format!("{} our own service", lab.name());
                plan.jobs.push(Job { lab, name, dir, seed: arguments.seed, wanted, expect });
            }
        }
        Ok(plan)
    }

    fn language(&mut self, lab: &'a Lab, language: &str, arguments: &Verify) -> anyhow::Result<()> {
        if let Some(why) = unusable(language)? {
            self.skipped.push(format!("{} in {language}: {why}", lab.name()));
            return Ok(());
        }
        let (runs, seeds) = if arguments.full { (FULL_RUNS, FULL_SEEDS) } else { (1, 1) };
        let job = |kind: &str, seed: u64, expect: Expect| {
            let name = format!("{} {language} {kind}, seed {seed}", lab.name());
            anyhow::Ok(Job {
                lab,
                name,
                dir: program(lab, language, kind)?,
                seed,
                wanted: Wanted::default(),
                expect,
            })
        };
        self.jobs.push(job("start", arguments.seed, Expect::FailsAt(lab.start_fails))?);
        for seed in (arguments.seed..).take(usize::try_from(seeds)?) {
            for _ in 0..runs {
                self.jobs.push(job("solution", seed, Expect::Passes)?);
            }
        }
        if arguments.full && language == "python" {
            for seed in (arguments.seed + 100..).take(usize::try_from(BUSY_RUNS)?) {
                self.busy.push(job("solution", seed, Expect::Passes)?);
            }
        }
        Ok(())
    }
}

fn of_mutant<'a>(lab: &'a Lab, mutant: &Mutant, arguments: &Verify) -> anyhow::Result<Job<'a>> {
    let dir = copied(&lab.dir.join("solution/python"))?;
    let main = dir.path().join("main.py");
    fs::write(&main, mutant.apply(&fs::read_to_string(&main)?)?)?;
    // Alone the property must catch it; with --full it must also be the first that does.
    let only = (!arguments.full).then_some(mutant.caught_by);
    let without = arguments.without.map(|(_, property)| property);
    let wanted = Wanted { only, without, all: false };
    let name = format!("{} mutant {} at {}", lab.name(), mutant.name, mutant.caught_by);
    Ok(Job { lab, name, dir, seed: arguments.seed, wanted, expect: Expect::FailsAt(mutant.caught_by) })
}

fn copied(from: &Path) -> anyhow::Result<TempDir> {
    let dir = tempfile::tempdir()?;
    copy_files(from, dir.path())?;
    Ok(dir)
}

/// The start or the solution in a language. Those in Rust are all in one binary, which is linked once.
fn program(lab: &Lab, language: &str, kind: &str) -> anyhow::Result<TempDir> {
    if language != "rust" {
        return copied(&lab.dir.join(kind).join(language));
    }
    let dir = tempfile::tempdir()?;
    let run = dir.path().join("run");
    let binary = beside()?.join("labs-rust");
    fs::write(&run, format!("#!/bin/sh\nexec \"{}\" {} {kind}\n", binary.display(), lab.number))?;
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755))?;
    Ok(dir)
}

/// Why programs in a language cannot be checked here.
fn unusable(language: &str) -> anyhow::Result<Option<&'static str>> {
    Ok(match language {
        "rust" if !beside()?.join("labs-rust").is_file() => {
            Some("labs-rust is not built: make lab builds it")
        }
        "go" if !succeeds("go", "version") => Some("there is no Go here: sudo apt-get install golang-go"),
        _ => None,
    })
}

fn succeeds(command: &str, argument: &str) -> bool {
    let mut command = Command::new(command);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Two processes that take all the CPU they get at a lower priority, as a build beside the check would; they end when
/// this is dropped.
pub(super) fn busy() -> anyhow::Result<Vec<Busy>> {
    (0..2)
        .map(|_| {
            let mut command = Command::new("nice");
            command.args(["sh", "-c", "while :; do :; done"]).stdin(Stdio::null());
            Ok(Busy(command.spawn()?))
        })
        .collect()
}

/// One of them.
#[derive(Debug)]
pub(super) struct Busy(Child);

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}
