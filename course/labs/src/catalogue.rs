//! The labs as they stand on the disk: a directory each, with `lab.toml`, `mutants.toml`, starts and solutions.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::{
    verdict::Trouble,
    words::{Text, text},
};

/// The languages that a start may be written in.
pub const LANGUAGES: [&str; 3] = ["python", "rust", "go"];

/// A lab.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lab {
    /// Its directory.
    #[serde(skip)]
    pub dir: PathBuf,
    /// 1 to 10.
    pub number: u32,
    /// Its name in paths.
    pub slug: String,
    /// Its name for people.
    pub title: Text,
    /// How hard it is.
    pub level: Level,
    /// How long a learner takes, about.
    pub minutes: u32,
    /// What it needs besides the services.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// How long a check may take, in seconds.
    pub limit_s: u64,
    /// Whether it judges by time, so that `lab verify` runs it with nothing beside it.
    #[serde(default)]
    pub alone: bool,
    /// The property that the start fails.
    pub start_fails: u32,
    /// The properties that our own service passes in place of a learner's program.
    #[serde(default)]
    pub product_passes: Vec<u32>,
    /// What is checked, in order.
    #[serde(rename = "property")]
    pub properties: Vec<Property>,
    /// Three, one after the other.
    pub hints: Vec<Text>,
    /// What is said after a pass.
    pub after: Text,
}

/// How hard a lab is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// An hour at most.
    Easy,
    /// An evening.
    Moderate,
    /// A weekend.
    Hard,
}

/// What a lab needs besides the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// Debian's package `rabbitmq-server`.
    Rabbitmq,
    /// pika, for Python: Debian's package `python3-pika`.
    Pika,
    /// gRPC for Python and protoc.
    Grpc,
}

/// Something that a program must do.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Property {
    /// Its number, counted from 1.
    pub id: u32,
    /// What must hold.
    pub title: Text,
}

/// A solution made wrong on purpose, to show that the check notices.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// What is wrong, in a few words.
    pub name: String,
    /// The property that it must fail.
    pub caught_by: u32,
    /// Whether it runs without `--full`.
    #[serde(default)]
    pub ci: bool,
    /// What a learner learns from it.
    pub why: Text,
    /// What in Python's solution is replaced by what. Each must be found exactly once.
    pub replace: Vec<(String, String)>,
}

impl Mutant {
    /// The solution with the mistake in it.
    ///
    /// # Errors
    /// If what is to be replaced is not found exactly once.
    pub fn apply(&self, solution: &str) -> anyhow::Result<String> {
        let mut text = solution.to_owned();
        for (find, put) in &self.replace {
            let found = text.matches(find.as_str()).count();
            ensure!(found == 1, "mutant {}: found {found} times, not once: {find:?}", self.name);
            text = text.replace(find.as_str(), put);
        }
        Ok(text)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutants {
    mutant: Vec<Mutant>,
}

impl Lab {
    fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("lab.toml");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let lab: Lab = toml::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(Lab { dir: dir.to_owned(), ..lab })
    }

    /// Its mutants.
    ///
    /// # Errors
    /// If `mutants.toml` cannot be read.
    pub fn mutants(&self) -> anyhow::Result<Vec<Mutant>> {
        let path = self.dir.join("mutants.toml");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mutants: Mutants = toml::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(mutants.mutant)
    }

    /// The name of its directory, such as `01-four-wires`.
    pub fn name(&self) -> String {
        format!("{:02}-{}", self.number, self.slug)
    }

    /// The languages that it has a start for.
    pub fn languages(&self) -> impl Iterator<Item = &'static str> + '_ {
        LANGUAGES.into_iter().filter(|language| self.dir.join("start").join(language).is_dir())
    }

    /// One of its properties.
    pub fn property(&self, id: u32) -> Option<&Property> {
        self.properties.iter().find(|property| property.id == id)
    }
}

/// The directory of the labs: `LAB_HOME`, or where this was built from.
pub fn home() -> PathBuf {
    std::env::var_os("LAB_HOME").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

/// Whether this machine has the package that RabbitMQ's nodes are started from.
pub fn has_rabbitmq() -> bool {
    Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server").exists()
}

/// Where this binary is, and with it those that are built together with it.
///
/// # Errors
/// If the system does not say.
pub fn beside() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().context("a file is in a directory")?.to_owned())
}

/// All labs, by number.
///
/// # Errors
/// If one of them cannot be read.
pub fn all() -> anyhow::Result<Vec<Lab>> {
    let home = home();
    let entries = fs::read_dir(&home).with_context(|| format!("the labs: {}", home.display()))?;
    let mut labs = Vec::new();
    for entry in entries {
        let dir = entry?.path();
        if dir.join("lab.toml").is_file() {
            labs.push(Lab::read(&dir)?);
        }
    }
    labs.sort_by_key(|lab| lab.number);
    Ok(labs)
}

/// The lab of a number.
///
/// # Errors
/// If there is none.
pub fn lab(number: u32) -> anyhow::Result<Lab> {
    let labs = all()?;
    let numbers: Vec<String> = labs.iter().map(|lab| lab.number.to_string()).collect();
    let found = labs.into_iter().find(|lab| lab.number == number);
    let numbers = numbers.join(", ");
    found.ok_or_else(|| {
        Trouble(text!("no lab {number}: there are {numbers}", "задания {number} нет: есть {numbers}")).into()
    })
}
