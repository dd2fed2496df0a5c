//! What is asked of the container engine, by its command.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::process::Command;

/// How long the engine may take to answer. A restart has 20 s, and what is asked within a container less.
const ANSWER: Duration = Duration::from_secs(60);

/// The containers of a project of compose, by the names of their services.
#[derive(Debug)]
pub struct Engine {
    /// The container of each service, of which there is one.
    containers: BTreeMap<String, String>,
    network: String,
}

impl Engine {
    /// Those of this project.
    pub async fn find(project: &str) -> anyhow::Result<Self> {
        let ours = format!("label=com.docker.compose.project={project}");
        let each = "{{.Label \"com.docker.compose.service\"}} {{.Names}}";
        let listed = docker(&["ps", "--all", "--filter", &ours, "--format", each]).await?;
        let named = listed.lines().filter_map(|line| line.split_once(' '));
        let containers: BTreeMap<_, _> =
            named.map(|(service, name)| (service.to_owned(), name.to_owned())).collect();
        ensure!(!containers.is_empty(), "there are no containers of {project}");
        Ok(Engine { containers, network: format!("{project}_inside") })
    }

    /// The names of all services.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.containers.keys().map(String::as_str)
    }

    /// The services of a kind: `logger1`, `logger2`, `logger3`.
    pub fn of(&self, kind: &str) -> Vec<String> {
        let is_one = |name: &&str| name.trim_end_matches(char::is_numeric) == kind;
        self.services().filter(is_one).map(str::to_owned).collect()
    }

    fn container(&self, service: &str) -> anyhow::Result<&str> {
        self.containers.get(service).map(String::as_str).with_context(|| format!("there is no {service}"))
    }

    /// `kill -9`.
    pub async fn kill(&self, service: &str) -> anyhow::Result<()> {
        docker(&["kill", "--signal", "KILL", self.container(service)?]).await.map(drop)
    }

    /// Starts it again, with the files that it has left.
    pub async fn start(&self, service: &str) -> anyhow::Result<()> {
        docker(&["start", self.container(service)?]).await.map(drop)
    }

    /// Tells it to stop, as an update would, and starts it again.
    pub async fn restart(&self, service: &str, grace_s: u32) -> anyhow::Result<()> {
        docker(&["restart", "--time", &grace_s.to_string(), self.container(service)?]).await.map(drop)
    }

    /// Takes it out of the network that all are in.
    pub async fn cut(&self, service: &str) -> anyhow::Result<()> {
        docker(&["network", "disconnect", &self.network, self.container(service)?]).await.map(drop)
    }

    /// Puts it back, under its name.
    pub async fn heal(&self, service: &str) -> anyhow::Result<()> {
        docker(&["network", "connect", "--alias", service, &self.network, self.container(service)?])
            .await
            .map(drop)
    }

    /// Runs a command in it, and returns what that wrote.
    pub async fn exec(&self, service: &str, command: &[&str]) -> anyhow::Result<String> {
        let mut arguments = vec!["exec", self.container(service)?];
        arguments.extend(command);
        docker(&arguments).await
    }

    /// As [`Engine::exec`], for what writes JSON.
    pub async fn ask(&self, service: &str, command: &[&str]) -> anyhow::Result<Value> {
        let text = self.exec(service, command).await?;
        serde_json::from_str(&text).with_context(|| format!("{service}: {text}"))
    }
}

async fn docker(arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let done = tokio::time::timeout(ANSWER, command.output()).await;
    let done =
        done.with_context(|| format!("docker {}: no answer within {ANSWER:?}", arguments.join(" ")))?;
    let done = done.context("docker")?;
    let error = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "docker {}: {}", arguments.join(" "), error.trim());
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
