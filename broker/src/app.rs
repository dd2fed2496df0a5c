//! What every handler may use.

use std::time::Duration;

use proto::Transport;
use service::Shutdown;
use transport::{Settings, Transports, http::HttpUrl};

use crate::{
    bursts::{Bursters, Bursts},
    metrics::Requests,
    services::Services,
    tails::Tails,
};

/// How long before the end of a drain the last answers are there, so that they still leave.
const ANSWERING: Duration = Duration::from_millis(500);

/// What every handler may use. It is shared as one: axum clones it for each request.
#[derive(Debug)]
pub struct App {
    pub(crate) transports: Transports,
    pub(crate) tails: Tails,
    pub(crate) services: Services,
    /// That of requests that name none.
    pub(crate) default_transport: Transport,
    pub(crate) shutdown: Shutdown,
    pub(crate) requests: Requests,
    /// How many listeners there should be.
    pub(crate) listeners: u32,
    pub(crate) bursts: Bursts,
    /// Whether clients must have a key.
    pub(crate) asks_for_keys: bool,
    /// Whose bursts run without keys.
    pub(crate) bursters: Bursters,
}

impl App {
    /// Must be called within a tokio runtime, after the recorder of the metrics is installed.
    pub(crate) fn new(
        settings: &Settings,
        listener: &HttpUrl,
        default_transport: Transport,
        listeners: u32,
    ) -> Self {
        App {
            services: Services::new(listener, settings.tls.as_ref()),
            transports: Transports::new(settings),
            tails: Tails::new(settings),
            default_transport,
            shutdown: Shutdown::default(),
            requests: Requests::new(),
            listeners,
            bursts: Bursts::default(),
            asks_for_keys: false,
            bursters: Bursters::Local,
        }
    }

    /// The same, which only clients with a key may call.
    pub(crate) fn asking_for_keys(self, asks_for_keys: bool) -> Self {
        App { asks_for_keys, ..self }
    }

    /// The same, which runs the bursts of these.
    pub(crate) fn bursting_for(self, bursters: Bursters) -> Self {
        App { bursters, ..self }
    }

    /// Within which time what begins now must be answered, if that may be less than its deadline.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        self.shutdown.has_begun().then(|| self.shutdown.left().saturating_sub(ANSWERING))
    }

    /// The same, which takes no new work from `shutdown` on.
    pub(crate) fn until(self, shutdown: Shutdown) -> Self {
        App { shutdown, ..self }
    }
}
