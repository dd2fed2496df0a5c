//! Where a learner's program lies, and what a start is made of.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;

use crate::{
    catalogue::{Lab, Need, has_rabbitmq, home},
    config::Language,
    verdict::Trouble,
    words::{Text, shell_word, text},
};

/// Where learners' programs lie, unless they say otherwise.
pub(super) fn work() -> PathBuf {
    home().join("work")
}

/// The directory of a program.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
}

impl Place {
    pub(super) fn of(lab: &Lab, dir: Option<&Path>) -> Self {
        Place { dir: dir.map_or_else(|| work().join(lab.name()), Path::to_owned) }
    }

    /// Itself as an argument of a command, with a space before; nothing where it is the usual one.
    pub(super) fn argument(&self, lab: &Lab) -> String {
        let usual = work().join(lab.name());
        let is_usual = self.dir == usual || usual.canonicalize().is_ok_and(|usual| self.dir == usual);
        if is_usual { String::new() } else { format!(" {}", argument(&self.dir)) }
    }

    /// Where it is moved to make way for another.
    pub(super) fn aside(&self) -> PathBuf {
        let name = self.dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        self.dir.with_file_name(format!("{name}.bak-{}", now()))
    }
}

/// A path as an argument of `make lab`, which is run in the repository's directory: as a shell takes it.
pub(super) fn argument(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let root = home().join("../..").canonicalize();
    let short = root.ok().and_then(|root| path.strip_prefix(root).ok().map(Path::to_owned));
    shell_word(&short.unwrap_or(path).display().to_string())
}

/// The time, as names of files have it.
pub(super) fn now() -> String {
    jiff::Zoned::now().strftime("%Y%m%dT%H%M%S").to_string()
}

/// Copies a start, and says which file is to be edited.
pub(super) fn copy_start(lab: &Lab, language: Language, to: &Path) -> anyhow::Result<PathBuf> {
    let from = lab.dir.join("start").join(language.as_str());
    if !from.is_dir() {
        let (number, languages) = (lab.number, lab.languages().collect::<Vec<_>>().join(", "));
        Err(Trouble(text!(
            "lab {number} has a start in {languages}",
            "для задания {number} есть заготовки: {languages}"
        )))?;
    }
    match language {
        Language::Python | Language::Go => {
            copy_files(&from, to)?;
            Ok(to.join(if language == Language::Go { "main.go" } else { "main.py" }))
        }
        // A project of its own: what does not compile there breaks nothing here.
        Language::Rust => {
            let template = home().join("rust/learner");
            fs::create_dir_all(to.join("src"))?;
            for file in ["build", "run"] {
                fs::copy(template.join(file), to.join(file))?;
            }
            let manifest = fs::read_to_string(template.join("Cargo.toml.in"))?;
            fs::write(to.join("Cargo.toml"), manifest.replace("NAME", &format!("lab-{:02}", lab.number)))?;
            fs::copy(home().join("../../Cargo.lock"), to.join("Cargo.lock"))?;
            fs::copy(from.join("main.rs"), to.join("src/main.rs"))?;
            Ok(to.join("src/main.rs"))
        }
    }
}

/// Copies the files of a directory.
///
/// # Errors
/// If one cannot be copied.
pub(crate) fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// What a lab needs and this machine does not have, each with the command that installs it.
pub(super) fn missing(lab: &Lab) -> Vec<Text> {
    let python = std::env::var("LAB_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".to_owned());
    let imports = |module: &str| {
        let mut command = Command::new(&python);
        command
            .args(["-c", &format!("import {module}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let missing = lab.needs.iter().filter_map(|need| match need {
        Need::Rabbitmq => (!has_rabbitmq()).then(|| Text::same("RabbitMQ: sudo deploy/rabbitmq.sh install")),
        Need::Pika => (!imports("pika")).then(|| {
            text!(
                "pika, for Python: sudo apt-get install python3-pika",
                "pika для Python: sudo apt-get install python3-pika"
            )
        }),
        Need::Grpc => (!imports("grpc"))
            .then(|| text!("gRPC for Python: sudo deploy/tools.sh", "gRPC для Python: sudo deploy/tools.sh")),
    });
    missing.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    #[test]
    fn a_place_is_named_only_where_it_is_not_the_usual_one() {
        let lab = catalogue::lab(1).expect("there is one");
        assert_eq!(Place::of(&lab, None).argument(&lab), "");
        assert_eq!(Place::of(&lab, Some(&work().join(lab.name()))).argument(&lab), "");
        assert_eq!(Place::of(&lab, Some(Path::new("/tmp/no/such-1"))).argument(&lab), " /tmp/no/such-1");
        assert_eq!(argument(Path::new("/no/my lab")), "'/no/my lab'");
        assert_eq!(argument(Path::new("/no/ann's")), "\"/no/ann's\"");
        assert_eq!(argument(&lab.dir.join("start")), "course/labs/01-four-wires/start");
    }
}
