//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::words::Locale;

/// The course's labs: tasks whose solutions are checked against the real services, in any language.
///
/// A check starts what it needs on free ports, breaks it on purpose, and stops it. course/labs/README.md is for learners,
/// course/labs/TEACHING.md for teachers.
///
/// Exit status: 0 passed; 1 failed; 2 usage error, or the program cannot be built or started; 3 unknown: something of
/// ours did not work, or the machine stalled.
#[derive(Debug, Parser)]
#[command(name = "lab", version = proto::release::VERSION)]
pub struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub command: Command,

    /// Language of what is shown; by default that of the environment (LANG)
    #[arg(long, global = true, value_enum)]
    pub locale: Option<Locale>,
}

/// What there is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists the labs, and how far you are
    List,
    /// Copies the start of a lab to course/labs/work, and says what to do next
    Start(Start),
    /// Restores the start; what you wrote is moved aside
    Reset(Start),
    /// Checks a program
    Check(Check),
    /// Shows the next of three hints; after a pass all of them, and where the solution is
    Hint {
        /// The lab
        number: u32,
    },
    /// Says where the solution is, once the lab is passed
    Solution {
        /// The lab
        number: u32,
        /// Says so even before the lab is passed
        #[arg(long)]
        spoil: bool,
    },
    /// Shows that the labs judge: starts fail where they should, solutions pass, and wrong programs are caught
    Verify(Verify),
    /// Checks the labs of many learners, and writes a table
    Grade(Grade),
}

/// What to copy.
#[derive(Debug, Args)]
pub struct Start {
    /// The lab
    pub number: u32,

    /// The language to write in
    #[arg(long, value_enum, default_value_t = Language::Python)]
    pub lang: Language,

    /// Directory to copy to; by default course/labs/work/NN-NAME
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// A language that labs have a start in. Any other will do as well: see PROTOCOL.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// All labs.
    Python,
    /// Labs 1, 3, 5 and 8.
    Rust,
    /// Labs 1, 3 and 8.
    Go,
}

impl Language {
    /// The name of its directories.
    pub const fn as_str(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::Rust => "rust",
            Language::Go => "go",
        }
    }
}

/// What to check, and how.
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// The lab; by default the one that the directory is named after
    pub number: Option<u32>,

    /// The directory of the program; by default course/labs/work/NN-NAME, or without a number the current directory
    pub dir: Option<PathBuf>,

    /// Continues after a property that does not hold
    #[arg(long)]
    pub all: bool,

    /// Checks only this property
    #[arg(long, value_name = "PROPERTY", conflicts_with = "all")]
    pub only: Option<u32>,

    /// Random seed: the same seed makes the same data; by default a new one
    #[arg(long)]
    pub seed: Option<u64>,

    /// Number of checks, each with a seed of its own; stops at the first that does not pass
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub repeat: u32,

    /// Multiplies upper limits on time, for a slow machine; lower limits stay
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = parse_patience)]
    pub patience: f64,

    /// How the outcome is shown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Where the outcome goes; by default results/TIME in the program's directory, and results/latest is a link to it
    #[arg(long)]
    pub out: Option<PathBuf>,
}

fn parse_patience(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor: &f64| (1.0..=20.0).contains(factor));
    factor.ok_or_else(|| "expected a number from 1 to 20".to_owned())
}

/// How an outcome is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// result.json.
    Json,
    /// JUnit's XML.
    Junit,
}

/// What to verify.
#[derive(Debug, Clone, Args)]
pub struct Verify {
    /// The labs; by default all
    pub numbers: Vec<u32>,

    /// All mutants with all properties, three seeds three times each, and solutions once more on a busy machine
    #[arg(long)]
    pub full: bool,

    /// The seed; with --full also the next two
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Leaves a property out of a check, as LAB:PROPERTY, and runs the mutants that it must catch: verify has to notice
    #[arg(long, value_name = "LAB:PROPERTY", value_parser = parse_place)]
    pub without: Option<(u32, u32)>,
}

fn parse_place(text: &str) -> Result<(u32, u32), String> {
    let place =
        text.split_once(':').and_then(|(lab, property)| Some((lab.parse().ok()?, property.parse().ok()?)));
    place.ok_or_else(|| "expected LAB:PROPERTY such as 3:4".to_owned())
}

/// Whom to grade.
#[derive(Debug, Clone, Args)]
pub struct Grade {
    /// A directory per learner, with directories named as the labs are (01-four-wires) in it
    #[arg(required = true)]
    pub dirs: Vec<PathBuf>,

    /// The table
    #[arg(long, value_name = "FILE")]
    pub csv: PathBuf,

    /// Random seed, the same for all; by default a new one
    #[arg(long)]
    pub seed: Option<u64>,

    /// Multiplies upper limits on time
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = parse_patience)]
    pub patience: f64,

    /// Where the outcomes go, a directory per learner and lab
    #[arg(long, default_value = "grades")]
    pub out: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
        assert_eq!(parse_place("3:4"), Ok((3, 4)));
        assert!(parse_place("3").is_err() && parse_patience("0.5").is_err());
    }
}
