//! Services and clients in Go that speak as the course's do: the program of `tests/go`, built by the first test that needs
//! it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use rig::Process;

use crate::{client, process};

/// The program. Debian's packages are all that it is built of: nothing is downloaded.
///
/// # Panics
/// If it cannot be built.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
        let own = std::env::current_exe().expect("a test has a path");
        // In the directory of the build, which has PROFILE/deps/TEST.
        let built = own.ancestors().nth(3).expect("the directory of the build").join("go");
        let program = built.join("course");
        let go = Command::new("go")
            .current_dir(source)
            .args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode"), ("GOFLAGS", "")])
            .env("GOCACHE", built.join("cache"))
            .status();
        let done = go.is_ok_and(|status| status.success());
        assert!(done, "tests/go cannot be built: `sudo deploy/tools.sh` installs Go and what it needs");
        program
    })
}

/// A service in Go, and where it listens.
#[derive(Debug)]
pub struct Service {
    /// Its process.
    pub process: Process,
    /// Its ports, by name.
    pub at: BTreeMap<String, SocketAddr>,
}

impl Service {
    /// Starts `broker`, `listener` or `logger`, and waits until it is ready.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn start(service: &str, arguments: &[&str], dir: &Path) -> Self {
        let mut command = tokio::process::Command::new(program());
        command.arg(service).args(arguments);
        let settings = BTreeMap::<&str, String>::new();
        let process = process::launch(&settings).spawn(command, &format!("go-{service}"), &settings, dir);
        let mut process = process.expect("it can be started");
        let at = process.ready().await.unwrap_or_else(|error| panic!("the {service} in Go: {error}"));
        Service { process, at }
    }

    /// The entries that a logger has, each with its name, its data, and the transport.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn stored(&self) -> Vec<(String, String, String)> {
        let answer =
            client().get(format!("http://{}/stored", self.at["http"])).send().await.expect("an answer");
        let entries: Vec<BTreeMap<String, String>> = answer.json().await.expect("JSON");
        let field = |entry: &BTreeMap<String, String>, name: &str| entry[name].clone();
        entries.iter().map(|entry| (field(entry, "name"), field(entry, "data"), field(entry, "by"))).collect()
    }
}

/// A client of net/rpc that stores many entries; its output has the name of each that was answered.
///
/// # Panics
/// If it cannot be started.
pub fn calls(logger: SocketAddr, arguments: &[&str]) -> tokio::process::Child {
    tokio::process::Command::new(program())
        .args(["calls", "-logger-rpc", &logger.to_string()])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it can be started")
}
