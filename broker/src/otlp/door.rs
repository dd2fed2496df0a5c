//! What both doors do with a request: who may send it, over which transport it goes on, and what is counted.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName};
use proto::{Code, Failure, Transport};

use super::{
    body::Memory,
    deliver::{Delivered, deliver},
};
use crate::{app::App, keys::Guard, metrics::Otlp};

/// The header that names a transport.
const TRANSPORT: HeaderName = HeaderName::from_static("x-transport");

/// What is behind both doors.
#[derive(Debug)]
pub(super) struct Door {
    app: Arc<App>,
    guard: Option<Guard>,
    /// That of requests that name none.
    transport: Transport,
    deadline: Duration,
    pub(super) memory: Memory,
    metrics: Otlp,
}

/// What a request asks for by its headers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admitted {
    transport: Transport,
}

impl Door {
    pub(super) fn new(
        app: Arc<App>,
        guard: Option<Guard>,
        transport: Option<Transport>,
        deadline: Duration,
        metrics: Otlp,
    ) -> Self {
        let transport = transport.unwrap_or(app.default_transport);
        Door { app, guard, transport, deadline, memory: Memory::new(), metrics }
    }

    /// Looks at the headers of a request, before its body is read.
    ///
    /// # Errors
    /// If it has no key that may write where one is asked for, names no transport, or comes while the broker drains.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<Admitted, Failure> {
        if let Some(guard) = &self.guard {
            guard.check_writer(headers)?;
        }
        let transport = match headers.get(TRANSPORT) {
            Some(value) => value.to_str().ok().and_then(|word| word.parse().ok()).ok_or_else(|| {
                let message = "unknown transport in the header x-transport: use http, rpc, rabbitmq or grpc";
                Failure::new(Code::UnknownTransport, message)
            })?,
            None => self.transport,
        };
        if self.app.shutdown.refuses_work() {
            return Err(Failure::draining("the broker"));
        }
        Ok(Admitted { transport })
    }

    /// Delivers a request.
    ///
    /// # Errors
    /// As [`deliver`].
    pub(super) async fn deliver(&self, admitted: Admitted, request: &[u8]) -> Result<Delivered, Failure> {
        let transports = &self.app.transports;
        let deadline = self.app.time_left().map_or(self.deadline, |left| left.min(self.deadline));
        deliver(transports, admitted.transport, request, deadline, &self.metrics).await
    }

    /// Counts what a request is answered.
    pub(super) fn count(&self, protocol: &'static str, answer: &Result<Delivered, Failure>) {
        let refused = answer.as_ref().map(|delivered| delivered.refused).map_err(|failure| failure.code);
        self.metrics.answered(protocol, refused);
    }
}
