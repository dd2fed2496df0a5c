//! A learner's program: built, started in a process group of its own, spoken to in lines of JSON, and ended.

mod running;

use std::{
    collections::BTreeMap,
    fs::File,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{net::TcpStream, process::Command, sync::mpsc, task::JoinSet};

use self::running::{Group, read_lines, watch_memory};
pub use self::running::{Line, Running, ended_how};
use crate::{
    catalogue::{beside, home},
    ports,
    verdict::{Failed, Unusable},
    words::text,
};

/// How long a build may take.
const BUILD: Duration = Duration::from_secs(300);

/// How long a server may take until it listens.
const LISTENS: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(5);

/// What is passed on of our own environment.
const INHERITED: [&str; 7] = ["PATH", "HOME", "LANG", "TMPDIR", "LAB_PYTHON", "LAB_LANGUAGE", "GOCACHE"];

/// A directory with an executable `run`.
#[derive(Debug, Clone)]
pub struct Program {
    dir: PathBuf,
    log: PathBuf,
    settings: BTreeMap<String, String>,
    signs: Arc<Signs>,
}

/// What was seen of a program in a check, however often it was started.
#[derive(Debug, Default)]
pub struct Signs {
    worked: AtomicBool,
    asked: AtomicBool,
    spoke: AtomicBool,
    ended: AtomicBool,
}

impl Signs {
    /// It has listened, consumed, answered or asked: from now on, that it ends is a failure like others.
    pub fn worked(&self) {
        self.worked.store(true, Ordering::Relaxed);
    }

    /// It was sent a line.
    pub fn asked(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// It has written to standard output.
    pub fn spoke(&self) {
        self.spoke.store(true, Ordering::Relaxed);
        self.worked();
    }

    /// It has ended when it should not.
    pub fn ended(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Whether it was ever seen to work.
    pub fn has_worked(&self) -> bool {
        self.worked.load(Ordering::Relaxed)
    }

    /// Whether it runs, was sent lines, and has written nothing at all.
    pub fn is_silent(&self) -> bool {
        let [asked, spoke, ended] =
            [&self.asked, &self.spoke, &self.ended].map(|sign| sign.load(Ordering::Relaxed));
        asked && !spoke && !ended
    }
}

impl Program {
    /// The program in `dir`; what it writes to standard error goes to `log`.
    ///
    /// # Errors
    /// [`Unusable`] if there is none.
    pub fn new(dir: &Path, log: PathBuf) -> anyhow::Result<Self> {
        let dir = dir.canonicalize().with_context(|| format!("the program: {}", dir.display()))?;
        let is_executable = |name: &str| {
            dir.join(name)
                .metadata()
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        };
        if !is_executable("run") {
            Err(Unusable(text!(
                "{} has no executable `run` (chmod +x run). See PROTOCOL.md.",
                "в {} нет исполняемого файла `run` (chmod +x run). См. PROTOCOL.ru.md.",
                dir.display()
            )))?;
        }
        if dir.join("build").exists() && !is_executable("build") {
            Err(Unusable(text!(
                "`build` is not executable: chmod +x build",
                "файл `build` не исполняемый: chmod +x build"
            )))?;
        }
        File::create(&log)?;
        let mut settings: BTreeMap<String, String> = INHERITED
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
            .collect();
        settings.insert("LAB_HOME".to_owned(), home().display().to_string());
        settings.insert("LAB_BINARIES".to_owned(), beside()?.display().to_string());
        Ok(Program { dir, log, settings, signs: Arc::default() })
    }

    /// A setting for all that is started from now on.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings.insert(name.to_owned(), value.into());
    }

    /// What was seen of it.
    pub const fn signs(&self) -> &Arc<Signs> {
        &self.signs
    }

    /// Runs `build`, if there is one. What it has started ends too when the time is over, or when this is dropped.
    ///
    /// # Errors
    /// [`Unusable`] with its output, if it fails.
    pub async fn build(&self) -> anyhow::Result<()> {
        if !self.dir.join("build").exists() {
            return Ok(());
        }
        // All of our environment, unlike `run`: nobody can list what compilers and package managers ask of it.
        let child = Command::new("./build")
            .current_dir(&self.dir)
            .env("LAB_HOME", home())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting `build`")?;
        let _group = Group::of(&child)?;
        let built = tokio::time::timeout(BUILD, child.wait_with_output()).await;
        let Ok(built) = built else {
            let limit_s = BUILD.as_secs();
            return Err(Unusable(text!(
                "`build` took longer than {limit_s} s",
                "`build` работал дольше {limit_s} с"
            ))
            .into());
        };
        let built = built.context("waiting for `build`")?;
        let output = [built.stdout, built.stderr].concat();
        let output = String::from_utf8_lossy(&output);
        if !built.status.success() {
            Err(Unusable(text!("`build` failed:\n{output}", "`build` завершился с ошибкой:\n{output}")))?;
        }
        Ok(())
    }

    /// All that it has written to standard error so far.
    pub fn log_text(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The lines of standard error that are JSON.
    pub fn log_lines(&self) -> Vec<serde_json::Value> {
        self.log_text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Starts it.
    ///
    /// # Errors
    /// If `run` cannot be executed.
    pub fn start(&self, settings: &[(&str, String)]) -> anyhow::Result<Running> {
        let log = File::options().append(true).open(&self.log)?;
        // A limit on descriptors, and no core files.
        let mut child = Command::new("/bin/sh")
            .args(["-c", "ulimit -n 1024; ulimit -c 0; exec ./run"])
            .env_clear()
            .envs(&self.settings)
            .envs(settings.iter().map(|(name, value)| (*name, value)))
            .current_dir(&self.dir)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("starting `run`")?;
        let group = Group::of(&child)?;
        let pid = group.pid();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().context("a pipe")?);
        let (sender, lines) = mpsc::channel(4_096);
        let peak_kib = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(read_lines(stdout, sender, Arc::clone(&self.signs)));
        tasks.spawn(watch_memory(pid, Arc::clone(&peak_kib)));
        let log = self.log.clone();
        let mut program = self.clone();
        settings.iter().for_each(|(name, value)| program.set(name, value));
        Ok(Running {
            child,
            group,
            stdin,
            lines,
            asked: BTreeMap::new(),
            peak_kib,
            log,
            program,
            _tasks: tasks,
        })
    }

    /// Starts a server, and waits until it listens at the address that the setting `listen` tells it.
    ///
    /// # Errors
    /// [`Failed`] if it does not.
    pub async fn serve(
        &self,
        listen: &str,
        settings: &[(&str, String)],
    ) -> anyhow::Result<(Running, SocketAddr)> {
        let mut attempts = 0;
        loop {
            let address = ports::free()?;
            let begun = std::fs::metadata(&self.log)?.len();
            match self.serve_at(address, listen, settings).await {
                Ok(running) => return Ok((running, address)),
                Err(_) if attempts < 2 && said_in_use(&self.log, begun) => attempts += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`Program::serve`], at an address that it had before.
    ///
    /// # Errors
    /// [`Failed`] if it does not listen.
    pub async fn serve_at(
        &self,
        at: SocketAddr,
        listen: &str,
        settings: &[(&str, String)],
    ) -> anyhow::Result<Running> {
        let settings = [settings, &[(listen, at.to_string())]].concat();
        let mut running = self.start(&settings)?;
        let begun = Instant::now();
        while TcpStream::connect(at).await.is_err() {
            running.still_starts()?;
            if begun.elapsed() > LISTENS {
                let limit_s = LISTENS.as_secs();
                Err(Failed::new(
                    text!(
                        "the program listens at {listen}={at} within {limit_s} s",
                        "программа слушает {listen}={at} не позже чем через {limit_s} с"
                    ),
                    text!("it does not", "не слушает"),
                ))?;
            }
            tokio::time::sleep(POLL).await;
        }
        self.signs.worked();
        Ok(running)
    }
}

fn said_in_use(log: &Path, from: u64) -> bool {
    let text = std::fs::read(log).unwrap_or_default();
    let said = text.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
    String::from_utf8_lossy(said).to_lowercase().contains("in use")
}
