//! Takes entries off RabbitMQ, hands them to the logger, and acknowledges only what is stored.
//!
//! [`consume`] takes deliveries, in batches, while the logger says that it could store them; [`hand_over`] brings a batch to
//! the logger and waits as long as it must; what can never be stored goes to [`dead_letters`] with its reason. What it does
//! not do: give a delivery back because the logger is down. That would only go in circles, and use up the delivery limit.

pub mod consume;
pub mod dead_letters;
#[cfg(feature = "faults")]
pub mod faults;
pub mod hand_over;

mod config;
mod intake;
mod metrics;
mod pace;
mod state;
mod traced;
mod watch;

pub use config::Config;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use proto::Code;
use service::{
    Acceptor, GRACE, Reloads, Shutdown, Telemetry, health, network,
    tls::{Callers, Certificates, Protocol},
};
use transport::{Transports, rabbitmq::AmqpUrl};

use crate::{
    config::Checked, consume::Consumer, dead_letters::DeadLetters, hand_over::HandOver, state::State,
};

/// A listener whose port is open, but which takes nothing yet.
#[derive(Debug)]
pub struct Listener {
    http: Acceptor,
    consumer: Consumer,
    dead_letters: DeadLetters,
    state: Arc<State>,
    amqp_url: AmqpUrl,
    reloads: Reloads,
    telemetry: Telemetry,
    own_hosts_only: bool,
    serving: service::http::Settings,
}

/// Checks the settings, and opens the port.
///
/// # Errors
/// If a setting cannot be used, or the port not be opened; the message says which, and what to do.
pub fn bind(config: Config, telemetry: Telemetry) -> anyhow::Result<Listener> {
    #[cfg(feature = "faults")]
    faults::choose(config.listener_fault);
    let Checked { rabbitmq, transports, mut certificates } = config.check()?;
    let mut reloads = Reloads::on_hangup()?;
    telemetry.reload_with(&mut reloads);
    let listen = config.listener_http_listen;
    let own_hosts_only = certificates.is_none() && network::is_loopback(listen);
    let clients = Callers::Named(config.listener_tls_clients);
    let serve = |own: &mut Certificates| own.serve(clients, Protocol::Http1);
    let tls = certificates.as_mut().map(serve).transpose()?;
    if let Some((own, calls)) = certificates.zip(transports.tls.clone()) {
        reloads.add("the certificates", move || {
            own.reload(|new| Ok(calls.replace(new.chain_pem(), new.key_pem(), new.authority_pem())?))
        });
    }
    let http = Acceptor::bind("LISTENER_HTTP_LISTEN", listen, Protocol::Http1)?.with_tls(tls);
    let transports = Arc::new(Transports::new(&transports));
    let dead_letter_queue = rabbitmq.queues().dead_letters.clone();
    let state = State::new(Arc::clone(&transports), config.listener_transport, dead_letter_queue);
    let state = Arc::new(state);
    let hand_over = HandOver::new(transports, config.listener_transport);
    let dead_letters = DeadLetters::new(rabbitmq.clone(), Arc::clone(&state));
    let (prefetch, amqp_url) = (config.listener_prefetch, rabbitmq.clone());
    let consumer = Consumer::new(rabbitmq, prefetch, hand_over, Arc::clone(&state));
    metrics::begin(Code::ALL.into_iter().filter(|code| code.is_about_the_entry()));
    let serving = config.http;
    Ok(Listener {
        http,
        consumer,
        dead_letters,
        state,
        amqp_url,
        reloads,
        telemetry,
        own_hosts_only,
        serving,
    })
}

impl Listener {
    /// Where it serves health and metrics, with the port that port 0 has become.
    ///
    /// # Errors
    /// If the socket is gone.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.http.local_addr()
    }

    /// Takes deliveries until `shutdown`; then finishes the batch in hand. What it could not finish in time
    /// stays in RabbitMQ.
    ///
    /// # Errors
    /// If the socket is gone.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let http = self.address().context("the port is gone")?;
        tracing::info!(%http, "listener ready");
        let Listener {
            consumer,
            dead_letters,
            state,
            amqp_url,
            reloads,
            telemetry,
            own_hosts_only,
            serving,
            ..
        } = self;
        let draining = shutdown.clone();
        let (read_off, watched) = (Arc::clone(&state), Arc::clone(&state));
        let telemetry = telemetry.reading_off(move || read_off.set_gauges());
        let health = health::routes(move || state.readiness(draining.has_begun()), telemetry);
        let health = service::http::refuse_pages(health, own_hosts_only);
        let served = service::http::serve(self.http, health, &serving, shutdown.clone());
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
                    tracing::warn!("a batch was not finished in time: it stays in RabbitMQ");
                    consuming.abort();
                }
            }
        };
        let watched = async {
            tokio::select! {
                () = watch::keep_watching(amqp_url, watched) => {}
                () = shutdown.begun() => {}
            }
        };
        let reloaded = async {
            tokio::select! {
                never = reloads.run() => match never {},
                () = shutdown.begun() => {}
            }
        };
        tokio::join!(served, consumed, watched, reloaded);
        tracing::info!("listener stopped");
        Ok(())
    }
}
