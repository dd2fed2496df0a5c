//! What a burst is: how many entries over which transports, within limits, and one at a time.

use std::{net::IpAddr, sync::Arc, time::Duration};

use clap::ValueEnum;
use proto::{Code, Failure, Transport, json::not_an_object};
use serde::Deserialize;
use serde_json::error::Category;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;

/// Most entries over each transport: enough for a p99, and stored in seconds.
const ENTRIES: u32 = 2_000;

/// Most entries in flight. More measure the queue of the broker.
const CONCURRENCY: u32 = 64;

/// How long entries are sent over one transport; what is not sent by then is left out.
pub(crate) const SENDING: Duration = Duration::from_secs(10);

/// How long entries that wait in RabbitMQ may take to be stored before it goes on without them.
pub(crate) const DRAINING: Duration = Duration::from_secs(5);

/// How long all of it may take, with the broker's own deadline for what is in flight at the end.
pub(crate) const WHOLE: Duration = Duration::from_secs(75);

/// The body of `POST /burst`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BurstBody {
    /// Entries over each transport.
    #[schema(minimum = 1, maximum = 2_000, default = 200)]
    entries: u32,
    /// Entries in flight at a time.
    #[schema(minimum = 1, maximum = 64, default = 4)]
    concurrency: u32,
    /// Which transports, one after the other in random order; all four by default.
    #[schema(min_items = 1, max_items = 4)]
    transports: Vec<Transport>,
}

impl Default for BurstBody {
    fn default() -> Self {
        BurstBody { entries: 200, concurrency: 4, transports: Transport::ALL.to_vec() }
    }
}

/// Whose bursts run where no keys are required: a burst is a load, and for those who could load the machine anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bursters {
    /// Clients on the broker's own machine.
    Local,
    /// All that reach its port: in a container even its own machine's clients come from elsewhere.
    All,
}

impl Bursters {
    pub(crate) const fn include(self, client: IpAddr) -> bool {
        match self {
            Bursters::Local => client.is_loopback(),
            Bursters::All => true,
        }
    }
}

/// A burst that was asked for, within its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Burst {
    pub(crate) entries: u32,
    pub(crate) concurrency: u32,
    /// Without repetitions.
    pub(crate) transports: Vec<Transport>,
}

impl Burst {
    /// Reads the body of a request; an empty one asks for the defaults.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Failure> {
        let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
        let asked: BurstBody = serde_json::from_slice(body).map_err(|error| {
            let code = match error.classify() {
                Category::Data => Code::BadField,
                Category::Syntax | Category::Eof | Category::Io => Code::BadJson,
            };
            Failure::new(code, error.to_string())
        })?;
        // serde takes an array for a struct too, its elements for the fields in their order.
        if body.trim_ascii_start().starts_with(b"[") {
            return Err(not_an_object());
        }
        let BurstBody { entries, concurrency, mut transports } = asked;
        for (name, number, most) in [("entries", entries, ENTRIES), ("concurrency", concurrency, CONCURRENCY)]
        {
            if !(1..=most).contains(&number) {
                let message = format!("`{name}` is {number}: expected a whole number from 1 to {most}");
                return Err(Failure::new(Code::BadField, message));
            }
        }
        transports.sort_unstable();
        transports.dedup();
        if transports.is_empty() {
            return Err(Failure::new(Code::BadField, "`transports` is empty: name one, or leave it out"));
        }
        Ok(Burst { entries, concurrency, transports })
    }
}

/// Lets one burst run at a time: two would measure each other.
#[derive(Debug)]
pub(crate) struct Bursts(Arc<Semaphore>);

impl Default for Bursts {
    fn default() -> Self {
        Bursts(Arc::new(Semaphore::new(1)))
    }
}

impl Bursts {
    /// Begins one, which ends when that is dropped.
    pub(crate) fn begin(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let running = || Failure::new(Code::Overloaded, "another burst is running: retry when it is done");
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| running())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_keys_bursts_are_for_this_machine_unless_all_are_let_in() {
        let (own, other) = ([127, 0, 0, 1].into(), [172, 18, 0, 1].into());
        assert!(Bursters::Local.include(own) && !Bursters::Local.include(other));
        assert!(Bursters::All.include(own) && Bursters::All.include(other));
    }

    #[test]
    fn what_is_left_out_has_a_default_and_a_transport_comes_once() {
        for body in ["", " \n", "{}"] {
            let burst = Burst::parse(body.as_bytes()).expect(body);
            assert_eq!((burst.entries, burst.concurrency, burst.transports.len()), (200, 4, 4), "{body}");
        }
        let burst = Burst::parse(br#"{"transports":["grpc","http","grpc"],"entries":1}"#).expect("sound");
        assert_eq!(burst.transports, [Transport::Http, Transport::Grpc]);
    }

    #[test]
    fn what_is_out_of_its_limits_is_refused_by_name() {
        for (body, code, word) in [
            ("{", Code::BadJson, "EOF"),
            (r#"{"entries":0}"#, Code::BadField, "from 1 to 2000"),
            (r#"{"entries":2001}"#, Code::BadField, "entries"),
            (r#"{"entries":1.5}"#, Code::BadField, "1.5"),
            (r#"{"entries":"1"}"#, Code::BadField, "u32"),
            (r#"{"concurrency":65}"#, Code::BadField, "from 1 to 64"),
            (r#"{"transports":[]}"#, Code::BadField, "transports"),
            (r#"{"transports":["amqp"]}"#, Code::BadField, "amqp"),
            (r#"{"callers":4}"#, Code::BadField, "callers"),
            ("[]", Code::BadField, "object"),
            (" [1]", Code::BadField, "object"),
            (r#"[1,1,["http"]]"#, Code::BadField, "object"),
            ("[", Code::BadJson, "EOF"),
        ] {
            let failure = Burst::parse(body.as_bytes()).expect_err(body);
            assert!(failure.code == code && failure.message().contains(word), "{body}: {failure:?}");
        }
    }

    #[test]
    fn there_is_one_at_a_time() {
        let bursts = Bursts::default();
        let first = bursts.begin().expect("nothing runs");
        assert_eq!(bursts.begin().map(drop).map_err(|failure| failure.code), Err(Code::Overloaded));
        drop(first);
        assert!(bursts.begin().is_ok());
    }
}
