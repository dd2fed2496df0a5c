//! What is made of the command's own words: completions for a shell, and manual pages.

use std::io::{Write, stdout};

use clap::CommandFactory;
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use crate::{Ending, config::Config, problem::Problem};

/// Prints what makes a shell complete the command's words.
pub(crate) fn completions(shell: Shell) -> Result<Ending, Problem> {
    let mut script = Vec::new();
    generate(shell, &mut Config::command(), "fourwire", &mut script);
    print(&script)
}

/// Prints the manual page of the command, or of one of its own, in roff.
pub(crate) fn manual(name: Option<&str>) -> Result<Ending, Problem> {
    let mut whole = Config::command();
    whole.build();
    let command = match name {
        None => whole,
        Some(name) => {
            let found = whole.find_subcommand(name).cloned();
            let unknown = || Problem::usage(format!("no command {name:?}: see fourwire --help"));
            found.ok_or_else(unknown)?
        }
    };
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    print(&page)
}

fn print(text: &[u8]) -> Result<Ending, Problem> {
    stdout().lock().write_all(text)?;
    Ok(Ending::Done)
}
