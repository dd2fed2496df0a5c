//! How each logger is, for people and for the metrics.

use std::{collections::BTreeMap, sync::PoisonError, time::Duration};

use futures_util::future::join_all;
use proto::{Direct, Failure};
use serde::{Deserialize, Serialize};

use super::{Logger, Loggers};
use crate::{LOGGER, gather::past_the_deadline, metrics};

/// How one logger is, as its clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoggerState {
    /// What it is called in the log and in the metrics: its host and port for HTTP in the settings, and where its name has
    /// several addresses, a number with it.
    #[serde(rename = "logger")]
    pub label: String,
    /// Its host and port for HTTP, or the IP address that is meant.
    pub address: String,
    /// Whether each direct transport reaches it, and gives it calls.
    pub transports: BTreeMap<&'static str, bool>,
}

/// A logger, and what it has said when it was asked.
#[derive(Debug)]
pub struct Asked<T> {
    /// How its clients see it.
    pub state: LoggerState,
    /// What it says.
    pub answer: Result<T, Failure>,
}

impl Logger {
    fn is_up(&self, direct: Direct) -> bool {
        self.clients.reachable(direct) && !self.standing(direct).is_out()
    }

    fn state(&self) -> LoggerState {
        LoggerState {
            label: self.label.to_string(),
            address: self.address.shown(),
            transports: Direct::ALL.map(|direct| (direct.as_str(), self.is_up(direct))).into(),
        }
    }
}

impl Loggers {
    /// How each is, in the order of the settings.
    pub(crate) fn states(&self) -> Vec<LoggerState> {
        self.now().iter().map(|logger| logger.state()).collect()
    }

    /// Asks each for its `/readyz`, all at a time, over connections of their own.
    pub(crate) async fn ask<T: for<'de> Deserialize<'de>>(&self) -> Vec<Asked<T>> {
        let loggers = self.now();
        let asked = loggers.iter().map(async |logger| {
            let answer = logger.readyz.ask().await;
            Asked { state: logger.state(), answer }
        });
        join_all(asked).await
    }

    /// Asks each whether it could store an entry, for so long.
    pub(crate) async fn ping_each(
        &self,
        direct: Direct,
        patience: Duration,
    ) -> Vec<(String, Result<(), Failure>)> {
        let loggers = self.now();
        let asked = loggers.iter().map(async |logger| {
            let answer = tokio::time::timeout(patience, logger.ping(direct)).await;
            (logger.address.shown(), answer.unwrap_or_else(|_| Err(past_the_deadline(LOGGER))))
        });
        join_all(asked).await
    }

    /// Sets what the metrics have of each for a transport. Of one alone they have nothing: the transport's own say it.
    pub(crate) fn set_gauges(&self, direct: Direct) {
        let loggers = self.now();
        // A set of labels is as sound when it was left half-way.
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if loggers.len() > 1 {
            shown.extend(loggers.iter().map(|logger| logger.label.clone()));
        }
        for label in &*shown {
            let present = loggers.iter().find(|logger| logger.label == *label && loggers.len() > 1);
            let state = present.map(|logger| (logger.standing(direct).in_flight(), logger.is_up(direct)));
            metrics::set_logger_gauges(direct, label, state);
        }
    }
}
