//! Consumes entries from RabbitMQ, hands them to the logger, and acknowledges what is stored.
//!
//! [`consume`] takes deliveries from the `source` in batches, while the logger is able to store them; [`hand_over`]
//! sends a batch to the logger, for as long as it takes; what can never be stored goes to [`dead_letters`] with its
//! reason. It never requeues a delivery because the logger is down: that would loop, and use up the delivery limit.

pub mod consume;
pub mod dead_letters;
#[cfg(feature = "faults")]
pub mod faults;
pub mod hand_over;

mod config;
mod intake;
mod metrics;
mod pace;
mod reach;
mod source;
mod state;
mod traced;
mod watch;

pub use config::Config;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use proto::Code;
use service::{
    Acceptor, GRACE, Probe, Reloads, Shutdown, Telemetry, health, network,
    tls::{Callers, Certificates, Protocol},
};
use transport::{Transports, rabbitmq::AmqpUrl};

use crate::{
    config::Checked, consume::Consumer, dead_letters::DeadLetters, hand_over::HandOver, state::State,
};

/// A listener whose port is open, but which takes nothing yet.
#[derive(Debug)]
pub struct Listener {
    front: Front,
    work: Work,
    reloads: Reloads,
}

/// What it serves over HTTP: health and metrics.
#[derive(Debug)]
struct Front {
    http: Acceptor,
    telemetry: Telemetry,
    own_hosts_only: bool,
    settings: service::http::Settings,
}

/// What it does with RabbitMQ.
#[derive(Debug)]
struct Work {
    consumer: Consumer,
    dead_letters: DeadLetters,
    amqp_url: AmqpUrl,
    state: Arc<State>,
}

/// Checks the settings, and opens the port.
///
/// # Errors
/// If a setting cannot be used, or the port not be opened; the message says which, and what to do.
pub fn bind(config: Config, telemetry: Telemetry) -> anyhow::Result<Listener> {
    #[cfg(feature = "faults")]
    faults::choose(config.listener_fault);
    let Checked { rabbitmq: amqp_url, transports, mut certificates } = config.check()?;
    let mut reloads = Reloads::on_hangup()?;
    telemetry.reload_with(&mut reloads);
    let listen = config.listener_http_listen;
    let own_hosts_only = certificates.is_none() && network::is_loopback(listen);
    let clients = Callers::Named(config.listener_tls_clients);
    let serve = |own: &mut Certificates| own.serve(clients, Protocol::Http1);
    let tls = certificates.as_mut().map(serve).transpose()?;
    if let Some((own, calls)) = certificates.zip(transports.tls.clone()) {
        reloads.add("the certificates", move || {
            own.reload(|new| Ok(calls.replace(new.chain_pem(), new.key_pem(), new.ca_pem())?))
        });
    }
    let http = Acceptor::bind("LISTENER_HTTP_LISTEN", listen, Protocol::Http1)?.with_tls(tls);
    let front = Front { http, telemetry, own_hosts_only, settings: config.http };
    let transports = Arc::new(Transports::new(&transports));
    let dead_letter_queue = amqp_url.queues().dead_letters.clone();
    let state = State::new(Arc::clone(&transports), config.listener_transport.into(), dead_letter_queue);
    let state = Arc::new(state);
    let hand_over = HandOver::new(transports, config.listener_transport);
    let dead_letters = DeadLetters::new(amqp_url.clone(), Arc::clone(&state));
    let consumer = Consumer::new(amqp_url.clone(), config.listener_prefetch, hand_over, Arc::clone(&state));
    metrics::begin(Code::ALL.into_iter().filter(|code| code.is_about_the_entry()));
    Ok(Listener { front, work: Work { consumer, dead_letters, amqp_url, state }, reloads })
}

/// Asks the listener that runs with the same settings whether it is live or ready.
///
/// # Errors
/// If it is not, or a setting cannot be used.
pub async fn health(config: &Config, probe: Probe) -> anyhow::Result<()> {
    let Checked { certificates, .. } = config.check()?;
    probe.ask(config.listener_http_listen, certificates.as_ref().map(Certificates::identity)).await
}

impl Listener {
    /// Where it serves health and metrics, with the port that port 0 has become.
    ///
    /// # Errors
    /// If the socket is closed.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.front.http.local_addr()
    }

    /// Takes deliveries until `shutdown`; then finishes the batch in hand. What it could not finish in time
    /// stays in RabbitMQ.
    ///
    /// # Errors
    /// If the socket is closed.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let http = self.address().context("the port is gone")?;
        tracing::info!(%http, "listener ready");
        let Listener { front, work, reloads } = self;
        let reloaded = async {
            tokio::select! {
                never = reloads.run() => match never {},
                () = shutdown.begun() => {}
            }
        };
        tokio::join!(front.serve(Arc::clone(&work.state), &shutdown), work.run(&shutdown), reloaded);
        tracing::info!("listener stopped");
        Ok(())
    }
}

impl Front {
    async fn serve(self, state: Arc<State>, shutdown: &Shutdown) {
        let (read_off, draining) = (Arc::clone(&state), shutdown.clone());
        let telemetry = self.telemetry.reading_off(move || read_off.set_gauges());
        let health = health::routes(move || state.readiness(draining.has_begun()), telemetry);
        let health = service::http::refuse_pages(health, self.own_hosts_only);
        service::http::serve(self.http, health, &self.settings, shutdown.clone()).await;
    }
}

impl Work {
    async fn run(self, shutdown: &Shutdown) {
        let Work { consumer, dead_letters, amqp_url, state } = self;
        let consumed = async {
            let too_late = async {
                shutdown.begun().await;
                tokio::time::sleep(GRACE).await;
            };
            // On a thread of the runtime: they have the stack for what a delivery may have in its headers.
            let mut consuming = tokio::spawn(consumer.run(dead_letters, shutdown.clone()));
            tokio::select! {
                ended = &mut consuming => {
                    if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
                        std::panic::resume_unwind(panic);
                    }
                }
                () = too_late => {
                    tracing::warn!("shutdown timed out: the current batch stays in RabbitMQ");
                    consuming.abort();
                }
            }
        };
        let watched = async {
            tokio::select! {
                () = watch::keep_watching(amqp_url, state) => {}
                () = shutdown.begun() => {}
            }
        };
        tokio::join!(consumed, watched);
    }
}
