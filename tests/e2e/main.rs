//! End-to-end tests: real processes, a real RabbitMQ, a store on the disk.
//!
//! A behaviour that must hold for every transport is one function over a [`proto::Transport`], and
//! [`for_each_transport`] makes a test of it for each.

/// Makes four tests of a behaviour. A transport that is missing here does not compile: see `all_are_listed`.
macro_rules! for_each_transport {
    ($($behaviour:ident),+ $(,)?) => {
        $(
            mod $behaviour {
                use proto::Transport;

                #[tokio::test]
                async fn http() {
                    super::$behaviour(Transport::Http).await;
                }

                #[tokio::test]
                async fn rpc() {
                    super::$behaviour(Transport::Rpc).await;
                }

                #[tokio::test]
                async fn rabbitmq() {
                    super::$behaviour(Transport::Rabbitmq).await;
                }

                #[tokio::test]
                async fn grpc() {
                    super::$behaviour(Transport::Grpc).await;
                }
            }
        )+
    };
}

mod alone;
mod backup;
mod bad_input;
mod burst;
mod cli;
mod coalescing;
mod compare;
mod course;
mod damage;
mod dead_letters;
mod delivery;
mod demo;
mod draining;
mod examples;
mod health;
mod hurts;
mod keys;
mod limits;
mod listener;
mod log;
mod loggers;
mod metrics;
mod netrpc;
mod openapi;
mod otlp;
mod outage;
mod page;
mod ports;
mod postgres;
mod reading;
mod settings;
mod status;
mod store;
mod store_lock;
mod streaming;
mod swap;
mod tls;
mod torture;
mod traces;
mod versions;

/// Fails to compile when there is a transport that [`for_each_transport`] does not know.
const fn _all_are_listed(transport: proto::Transport) {
    use proto::Transport::{Grpc, Http, Rabbitmq, Rpc};
    match transport {
        Http | Rpc | Rabbitmq | Grpc => {}
    }
}
