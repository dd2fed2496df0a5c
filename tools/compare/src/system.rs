//! The system under measurement, whether this run has started it or not.

use std::path::Path;

use anyhow::{Context, ensure};
use rig::{Client, Node};

use crate::{
    cell::{Calls, Keeping},
    config::Measure,
    stack::{Site, Stack},
};

/// What is measured.
pub(crate) enum System {
    /// Started by this run.
    Own(Box<Stack>),
    /// Started by somebody else.
    Foreign(Box<Site>),
}

impl System {
    /// Looks for the one that the arguments name, or starts one of its own.
    pub(crate) async fn find(arguments: &Measure, binaries: Option<&Path>) -> anyhow::Result<Self> {
        if let Some((broker, logger)) = arguments.target.zip(arguments.logger) {
            let site = Site::foreign(broker, logger)?;
            let start = "start it, or give its address";
            let answers = async |client: Client, path| {
                client.get(path).await.is_ok_and(|(status, _)| status.is_success())
            };
            let is_there = answers(site.broker_client(), "/healthz").await;
            ensure!(is_there, "no broker answers at {broker}: {start}");
            let is_there = answers(site.logger_client(), "/logs?limit=1").await;
            ensure!(is_there, "no logger answers at {logger}: {start}");
            return Ok(System::Foreign(Box::new(site)));
        }
        let binaries = binaries.context("a target comes with its logger")?;
        say!("Starting RabbitMQ and the services…");
        Ok(System::Own(Box::new(Stack::start(binaries, &arguments.settings).await?)))
    }

    pub(crate) fn site(&self, store: Keeping, calls: Calls) -> &Site {
        match self {
            System::Own(stack) => stack.site(store, calls),
            System::Foreign(site) => site,
        }
    }

    pub(crate) fn node(&self) -> Option<&Node> {
        match self {
            System::Own(stack) => Some(&stack.node),
            System::Foreign(_) => None,
        }
    }

    /// What can be measured: another store, or another setting, cannot be had of what somebody else has started.
    pub(crate) fn has(&self, store: Keeping, calls: Calls) -> bool {
        matches!(self, System::Own(_)) || (store, calls) == (Keeping::Synced, Calls::Shared)
    }

    pub(crate) async fn empty_store(&mut self) -> anyhow::Result<()> {
        match self {
            System::Own(stack) => {
                stack.synced.empty_store().await?;
                stack.own_calls.empty_store().await
            }
            System::Foreign(_) => Ok(()),
        }
    }
}
