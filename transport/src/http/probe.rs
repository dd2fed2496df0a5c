//! Asks a service how it is, over a connection of its own: who watches a transport must not be its last word.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use proto::Failure;
use serde::Deserialize;

use super::{HttpUrl, at, client, read_json, whole};
use crate::{Tls, dial::Dialer, tls::Protocol};

/// How long an answer may take, the connection included: a service that is well has it at hand.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Most bytes of an answer.
const ANSWER_BYTES: usize = 64 * 1024;

/// Asks one service for its `/readyz`.
#[derive(Debug)]
pub struct Probe {
    client: Client<Dialer, Full<Bytes>>,
    readyz: Uri,
}

impl Probe {
    /// A probe of the service at `url`; it dials when it is to ask.
    pub fn new(url: &HttpUrl, tls: Option<&Tls>) -> Self {
        Self::to(url, tls, None)
    }

    /// The same, of one of the addresses that the URL's name has.
    pub(crate) fn to(url: &HttpUrl, tls: Option<&Tls>, ip: Option<IpAddr>) -> Self {
        let readyz = at(url.uri(), "/readyz").expect("a sound URL with another path is sound");
        Probe { client: client(Dialer::new(tls, Protocol::Http).to(ip), 1), readyz }
    }

    /// What the service says of itself, ready or not.
    ///
    /// # Errors
    /// If it cannot be reached, says nothing within a second, or something else.
    pub async fn ask<T: for<'de> Deserialize<'de>>(&self) -> Result<T, Failure> {
        let unreachable = || Failure::unreachable("the service");
        let asked = async {
            let response = self.client.get(self.readyz.clone()).await;
            let response = response.map_err(|error| unreachable().because(error))?;
            read_json(&whole(response, ANSWER_BYTES).await?)
        };
        tokio::time::timeout(TIMEOUT, asked).await.unwrap_or_else(|_| Err(unreachable()))
    }
}
