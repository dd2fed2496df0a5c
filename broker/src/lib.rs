//! The HTTP front: takes JSON, hands each log entry to a transport, and answers in the course's envelope.
//!
//! [`handle`] takes entries, [`otlp`] the logs of OpenTelemetry on ports of its own, [`read`] passes questions on to the
//! logger, [`stream`] follows what it stores, [`course`] has the addresses that the course has besides, and [`answer`]
//! turns what became of an entry into an HTTP answer. [`burst`] sends many and measures them. [`keys`] says who may call.
//! [`page`] shows all of it in a browser, and [`status`] how each part is. What it does not do: store, retry, or know how
//! a transport works.

pub mod answer;
pub mod burst;
pub mod course;
#[cfg(feature = "faults")]
pub mod faults;
pub mod handle;
pub mod keys;
pub mod otlp;
pub mod page;
pub mod read;
pub mod status;
pub mod stream;

mod app;
mod bursts;
mod config;
mod consumers;
mod cors;
mod metrics;
mod services;
mod tails;
mod tally;

pub use app::App;
pub use bursts::Bursters;
pub use config::Config;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{Router, body::Bytes, http::header::CONTENT_TYPE, routing::get};
use proto::{
    Code, Failure, Transport,
    json::Envelope,
    limits::{BODY_BYTES, IN_FLIGHT_BYTES},
};
use service::{
    Acceptor, Probe, Reloads, Room, Shutdown, Telemetry,
    health::{self, Readiness},
    tls::{Callers, Certificates, Protocol},
};
use tracing::field::display;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{answer::Refusal, config::Checked, cors::Origins, handle::AcceptedOneOrMany, keys::Guard};

/// A broker whose port is open, but which does not answer yet.
#[derive(Debug)]
pub struct Broker {
    http: Acceptor,
    otlp: otlp::Ports,
    app: App,
    origins: Origins,
    guard: Option<Guard>,
    reloads: Reloads,
    serving: service::http::Settings,
    telemetry: Telemetry,
}

/// Checks the settings, and opens the port.
///
/// # Errors
/// If a setting cannot be used, or the port not be opened; the message says which, and what to do.
pub fn bind(config: Config, telemetry: Telemetry) -> anyhow::Result<Broker> {
    #[cfg(feature = "faults")]
    faults::choose(config.broker_fault);
    let Checked { transports, mut certificates } = config.check()?;
    keys::begin_counting();
    let guard = config.broker_keys_file.map(|file| Guard::new(file, config.broker_key_rate)).transpose()?;
    let listen = config.broker_http_listen;
    // Keys or a certificate keep out the page of a name that was made to lead here.
    let protected = guard.is_some() || certificates.is_some();
    let origins = Origins::new(config.broker_cors_origins, config.broker_http_hosts, protected);
    let mut reloads = Reloads::on_hangup()?;
    telemetry.reload_with(&mut reloads);
    if let Some(guard) = &guard {
        guard.reload_with(&mut reloads);
    }
    // Callers show a key, not a certificate.
    let serve = |own: &mut Certificates| own.serve(Callers::Anyone, Protocol::Http1);
    let tls = certificates.as_mut().map(serve).transpose()?;
    let otlp = otlp::Ports::bind(
        &config.otlp,
        certificates.as_mut(),
        &origins,
        Duration::from_millis(config.broker_deadline_ms),
    )?;
    if let Some((own, calls)) = certificates.zip(transports.tls.clone()) {
        reloads.add("the certificates", move || {
            own.reload(|new| Ok(calls.replace(new.chain_pem(), new.key_pem(), new.ca_pem())?))
        });
    }
    let origins = origins.at(listen);
    let http = Acceptor::bind("BROKER_HTTP_LISTEN", listen, Protocol::Http1)?
        .with_tls(tls)
        .with_room(Room::new(BODY_BYTES, IN_FLIGHT_BYTES));
    let app = App::new(
        &transports,
        &config.listener_http_url,
        config.broker_default_transport,
        config.broker_listeners,
    )
    .asking_for_keys(guard.is_some())
    .bursting_for(config.broker_bursts);
    Ok(Broker { http, otlp, app, origins, guard, reloads, serving: config.http, telemetry })
}

/// Asks the broker that runs with the same settings whether it is live or ready.
///
/// # Errors
/// If it is not, or a setting cannot be used.
pub async fn health(config: &Config, probe: Probe) -> anyhow::Result<()> {
    let Checked { certificates, .. } = config.check()?;
    probe.ask(config.broker_http_listen, certificates.as_ref().map(Certificates::identity)).await
}

impl Broker {
    /// Where it listens, with the port that port 0 has become.
    ///
    /// # Errors
    /// If the socket is gone.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.http.local_addr()
    }

    /// Serves until `shutdown`; then answers what is in flight.
    ///
    /// # Errors
    /// If the socket is gone.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let http = self.address().context("the port is gone")?;
        let (otlp_grpc, otlp_http) = (self.otlp.grpc_address(), self.otlp.http_address());
        let (otlp_grpc, otlp_http) = (otlp_grpc.map(display), otlp_http.map(display));
        tracing::info!(%http, otlp_grpc, otlp_http, "broker ready");
        let app = Arc::new(self.app.until(shutdown.clone()));
        let health = health_routes(&app, self.telemetry);
        let router = routes(Arc::clone(&app)).merge(health);
        let router = match &self.guard {
            Some(guard) => guard.stand_before(router),
            None => router,
        };
        // Outside of the keys: a browser asks first without one, and may read a refusal.
        let router = service::http::catch_panics(self.origins.guard(router));
        // Clients and load balancers are given the time to notice.
        let shutdown = shutdown.lingering();
        let otlp = self.otlp.run(Arc::clone(&app), self.guard.clone(), &self.serving, shutdown.clone());
        let http = service::http::serve(self.http, router, &self.serving, shutdown);
        tokio::select! {
            ((), otlp) = async { tokio::join!(http, otlp) } => otlp?,
            never = self.reloads.run() => match never {},
            never = consumers::watch(&app.transports, app.listeners) => match never {},
        }
        tracing::info!("broker stopped");
        Ok(())
    }
}

/// The description that `/openapi.json` begins with; the addresses are added where they are routed.
#[derive(OpenApi)]
#[openapi(components(schemas(Envelope<AcceptedOneOrMany>)), info(
    title = "Fourwire broker",
    description = "Takes log entries as JSON and delivers each to the logger over the transport that the request \
        names. Besides these endpoints there are /healthz, /readyz and /metrics for operators, and the files \
        of the web page."
))]
struct Description;

fn routes(app: Arc<App>) -> Router {
    let (router, mut description) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(handle::handle))
        .routes(routes!(handle::log_grpc))
        .routes(routes!(burst::burst))
        .routes(routes!(read::list))
        .routes(routes!(stream::follow))
        .routes(routes!(read::entry))
        .routes(routes!(status::status))
        .routes(routes!(page::index, course::hit))
        .routes(routes!(course::ping))
        .split_for_parts();
    answer::describe(&mut description);
    if app.asks_for_keys {
        keys::describe(&mut description);
    }
    // Serialized once: repeated requests cost little.
    let mut description = serde_json::to_vec(&description).expect("a description has a JSON form");
    description.push(b'\n');
    let description = Bytes::from(description);
    let described = || async { ([(CONTENT_TYPE, "application/json")], description) };
    router
        .route("/openapi.json", get(described))
        .route(page::FILE_PATH, get(page::file))
        .fallback(|| async {
            Refusal::from(Failure::new(Code::NotFound, "no such endpoint: see /openapi.json"))
        })
        .method_not_allowed_fallback(|| async {
            Refusal::from(Failure::new(
                Code::MethodNotAllowed,
                "method not allowed: /openapi.json and the header Allow say which are",
            ))
        })
        .with_state(app)
}

fn health_routes(app: &Arc<App>, telemetry: Telemetry) -> Router {
    let (read_off, app) = (Arc::clone(app), Arc::clone(app));
    let (open_streams, queue_consumers) = (metrics::open_streams(), metrics::queue_consumers());
    let telemetry = telemetry.reading_off(move || {
        open_streams.set(read_off.tails.open() as f64);
        let consumers = read_off.transports.depths().map(|depths| f64::from(depths.consumers));
        queue_consumers.set(consumers.unwrap_or(f64::NAN));
        Transport::ALL.into_iter().for_each(|transport| read_off.transports.set_gauges(transport));
    });
    let readiness = move || Readiness {
        ready: !app.shutdown.has_begun(),
        detail: serde_json::json!({
            "draining": app.shutdown.has_begun(),
            "reachable": status::reachable(&app.transports),
            "loggers": app.transports.loggers(),
        }),
    };
    health::routes(readiness, telemetry)
}
