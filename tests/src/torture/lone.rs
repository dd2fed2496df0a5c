//! A logger alone, without broker and RabbitMQ, and clients that send to it over the direct transports.

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    path::Path,
    sync::Arc,
    time::Duration,
};

use proto::{BatchMode, Code, LogEntry, StoredEntry, Transport};
use rand::{RngExt, rngs::StdRng};
use reqwest::StatusCode;
use rig::{
    Answer, Launch, Ledger, Services,
    load::{self, Plan, Sender},
};
use serde_json::Value;
use transport::{Delivered, Transports};

use super::random_entry;
use crate::{DIRECT, client, process::launch, soon, stack::transport_settings};

/// How long a client waits after a refusal.
const PAUSE: Duration = Duration::from_millis(5);

/// Clients of a logger at work, each over the next of the direct transports.
pub type Load = rig::Load<Direct>;

/// A logger, and clients of the three direct transports in this process.
#[derive(Debug)]
pub struct Lone {
    services: Services,
    direct: Direct,
}

/// Sends straight to a logger.
#[derive(Debug, Clone)]
pub struct Direct(Arc<Transports>);

impl Sender for Direct {
    async fn send(&self, transport: Transport, entry: &LogEntry) -> Option<Answer> {
        let written = self.0.write(transport, entry.clone().into(), BatchMode::AllOrNone).await;
        Some(match written.and_then(Delivered::outcomes) {
            Ok(outcomes) => Answer::Accepted(*outcomes.first()),
            Err(failure) => Answer::Refused(failure.code),
        })
    }
}

impl Deref for Lone {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.services
    }
}

impl DerefMut for Lone {
    fn deref_mut(&mut self) -> &mut Services {
        &mut self.services
    }
}

impl Lone {
    /// Starts a logger on free ports.
    ///
    /// # Errors
    /// [`rig::Refused`] if it refuses to start; its log is the newest in `dir`, too.
    pub async fn start(settings: &BTreeMap<&'static str, String>, dir: &Path) -> anyhow::Result<Self> {
        Self::start_by(launch(settings), settings, dir).await
    }

    /// As [`Lone::start`], under a command that becomes it.
    pub async fn start_under(
        wrapper: Vec<String>,
        settings: &BTreeMap<&'static str, String>,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        Self::start_by(Launch { wrapper, ..launch(settings) }, settings, dir).await
    }

    async fn start_by(
        launch: Launch,
        settings: &BTreeMap<&'static str, String>,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        let mut services = Services::new(launch, settings.clone(), dir, client())?;
        services.start_logger_unasked().await?;
        let settings = transport_settings(&services, Duration::from_secs(5));
        Ok(Lone { services, direct: Direct(Arc::new(Transports::new(&settings))) })
    }

    /// Waits until the client of a transport has a connection, or dials on demand.
    pub async fn connects(&self, transport: Transport) -> anyhow::Result<()> {
        let connected = async || self.direct.0.reachable(transport).then_some(());
        soon(&format!("{transport} reaches the logger"), connected).await
    }

    /// Asks it over HTTP: the status and the body.
    pub async fn get(&self, path: &str) -> anyhow::Result<(StatusCode, Value)> {
        self.logger_client().get(path).await
    }

    /// All stored entries, newest first.
    pub async fn all_stored(&self) -> anyhow::Result<Vec<StoredEntry>> {
        self.logger_client().all_stored().await
    }

    /// Asks it over a direct transport whether it could store an entry now.
    ///
    /// # Errors
    /// What an entry would be refused with.
    pub async fn ping(&self, transport: Transport) -> Result<(), Code> {
        let direct = proto::Direct::try_from(transport).expect("RabbitMQ is not asked");
        self.direct.0.ping(direct).await.map_err(|failure| failure.code)
    }

    /// Waits until it answers a question without entries in this way over each direct transport, and `/readyz` likewise.
    pub async fn says(&self, answer: Result<(), Code>) -> anyhow::Result<()> {
        for transport in DIRECT {
            let said = async || (self.ping(transport).await == answer).then_some(());
            soon(&format!("{transport} says {answer:?}"), said).await?;
        }
        let ready = if answer.is_ok() { 200 } else { 503 };
        let said = async || self.get("/readyz").await.is_ok_and(|(status, _)| status == ready).then_some(());
        soon(&format!("/readyz says {ready}"), said).await
    }

    /// Sends one entry once, and notes both. Says what was answered.
    pub async fn send(&self, transport: Transport, entry: &LogEntry, ledger: &mut Ledger) -> Answer {
        load::send(&self.direct, transport, entry, ledger).await.unwrap_or(Answer::Nothing)
    }

    /// Sets so many clients to work.
    pub fn load(&self, clients: usize, random: &mut StdRng) -> Load {
        let (transports, seed) = (DIRECT.to_vec(), random.random());
        let rest = Duration::ZERO;
        let plan = Plan { transports, clients, pause: PAUSE, rest, entry: random_entry, seed };
        Load::start(&self.direct, plan)
    }
}
