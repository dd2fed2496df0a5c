//! What the formats cost, which fields of others they take, and which mistakes they refuse.

use std::{collections::BTreeMap, hint::black_box, time::Instant};

use anyhow::Context;
use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use lapin::{BasicProperties, options::BasicPublishOptions};
use prost::Message;
use proto::{
    EntryDraft, grpc,
    json::{entry_json, parse_entry},
    limits::DATA_BYTES,
    rpc,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tonic::{Request, client::Grpc, codegen::http::uri::PathAndQuery, transport::Endpoint};
use tonic_prost::ProstCodec;

use super::{Bench, DEADLINE, entry};
use crate::{bare, claims::figures::Formats, stack::Site};

/// Entries that are encoded and decoded.
const CODED: u64 = 20_000;

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<Formats> {
    let site = bench.site("formats").await?;
    let (mut two_fields, mut one_more) = (BTreeMap::new(), BTreeMap::new());
    for (fields, more) in [(&mut two_fields, false), (&mut one_more, true)] {
        fields.insert("broker".to_owned(), post(&site, "broker", more).await?);
        fields.insert("http".to_owned(), post(&site, "logger", more).await?);
        fields.insert("grpc".to_owned(), over_grpc(&site, more).await?);
        fields.insert("rpc".to_owned(), over_rpc(&site, more).await?);
        fields.insert("rabbitmq".to_owned(), over_rabbitmq(&site, more).await?);
    }
    let (mistakes, caught_by_types, caught_by_check) = mistakes();
    let (json_ns, protobuf_ns) = coded()?;
    Ok(Formats { json_ns, protobuf_ns, two_fields, one_more, mistakes, caught_by_types, caught_by_check })
}

/// What an entry of 64 B takes to be encoded and decoded, as JSON and as Protocol Buffers.
fn coded() -> anyhow::Result<(u64, u64)> {
    let entry = entry("coded");
    let each = |begun: Instant| u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX) / CODED;
    let begun = Instant::now();
    for _ in 0..CODED {
        black_box(parse_entry(entry_json(black_box(&entry), None).as_bytes())?);
    }
    let json_ns = each(begun);
    let begun = Instant::now();
    for _ in 0..CODED {
        let request = grpc::LogRequest { log_entry: Some(grpc::log(black_box(&entry), None)) };
        let read = grpc::LogRequest::decode(request.encode_to_vec().as_slice())?;
        black_box(EntryDraft::from(read.log_entry.context("it was sent")?));
    }
    Ok((json_ns, each(begun)))
}

/// The course's two fields as JSON, and one more; whether it is taken.
async fn post(site: &Site, to: &str, more: bool) -> anyhow::Result<bool> {
    let mut entry = json!({ "name": "fields", "data": "some data" });
    if more {
        entry["colour"] = "red".into();
    }
    let (address, body) = match to {
        "broker" => (
            format!("http://{}/handle", site.broker_at),
            json!({ "action": "log", "transport": "http", "log": entry }),
        ),
        _ => (format!("http://{}/log", site.logger_at.http), entry),
    };
    let request = rig::http()?.post(address).header("Content-Type", "application/json");
    Ok(request.body(body.to_string()).send().await?.status() == 202)
}

/// `LogRequest` of the course, with a field that ours does not have.
#[derive(Clone, PartialEq, Message)]
struct WiderRequest {
    #[prost(message, optional, tag = "1")]
    log_entry: Option<WiderLog>,
}

#[derive(Clone, PartialEq, Message)]
struct WiderLog {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    data: String,
    #[prost(string, tag = "99")]
    colour: String,
}

async fn over_grpc(site: &Site, more: bool) -> anyhow::Result<bool> {
    let channel = Endpoint::from_shared(site.setting("LOGGER_GRPC_URL")?.to_owned())?.connect().await?;
    let mut client = Grpc::new(channel);
    client.ready().await?;
    // What is empty is not sent.
    let colour = if more { "red".to_owned() } else { String::new() };
    let log = WiderLog { name: "fields".to_owned(), data: "some data".to_owned(), colour };
    let path = PathAndQuery::from_static("/logs.LogService/WriteLog");
    let codec = ProstCodec::<WiderRequest, grpc::LogResponse>::default();
    let request = Request::new(WiderRequest { log_entry: Some(log) });
    Ok(client.unary(request, path, codec).await.is_ok())
}

/// The entry as MessagePack has it: by position.
async fn over_rpc(site: &Site, more: bool) -> anyhow::Result<bool> {
    let mut entry = vec![json!("fields"), json!("some data")];
    if more {
        // All that ours has, and one more.
        entry.extend([Value::Null, Value::Null, Value::Null, Value::Null, json!("red")]);
    }
    let stream = TcpStream::connect(site.logger_at.rpc).await?;
    let mut frames = rpc::frame::<_, Value, Value>(stream);
    let (deadline, trace) = (json!([DEADLINE.as_secs(), 0]), json!([vec![0; 16], 0, "Unsampled"]));
    frames.send(json!({ "Request": [[deadline, trace], 1, { "Write": [entry] }] })).await?;
    let answer = tokio::time::timeout(DEADLINE, frames.next()).await;
    // What cannot be read ends the connection.
    let stored = |answer: &Value| answer.to_string().contains(r#""Write":{"Ok""#);
    Ok(matches!(answer, Ok(Some(Ok(answer))) if stored(&answer)))
}

/// As a foreign publisher would; whether it is stored.
async fn over_rabbitmq(site: &Site, more: bool) -> anyhow::Result<bool> {
    let name = if more { "fields-more" } else { "fields-two" };
    let mut entry = json!({ "name": name, "data": "some data" });
    if more {
        entry["colour"] = "red".into();
    }
    let (connection, channel) = bare::open(site.setting("AMQP_URL")?, "foreign").await?;
    let body = entry.to_string().into_bytes();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(2);
    let published =
        channel.basic_publish("logs_topic".into(), "log.INFO".into(), options, &body, properties).await?;
    published.await?;
    let client = site.logger_client();
    let stored = async || {
        let all = client.all_stored().await.ok()?;
        all.iter().any(|stored| stored.name == name).then_some(())
    };
    let stored = rig::eventually("it is stored", DEADLINE, stored).await.is_ok();
    connection.close(200, "".into()).await?;
    Ok(stored)
}

/// Entries with a mistake in each as messages of Protocol Buffers: how many there are, how many cannot be decoded, and
/// how many of the others the check refuses.
fn mistakes() -> (u64, u64, u64) {
    let sound = || grpc::log(&entry("mistake"), None);
    let wrong = [
        grpc::Log { name: String::new(), ..sound() },
        grpc::Log { name: "n".repeat(1_000), ..sound() },
        grpc::Log { data: "x".repeat(DATA_BYTES + 1), ..sound() },
        grpc::Log { level: Some("loud".to_owned()), ..sound() },
        grpc::Log { created_at: Some("yesterday".to_owned()), ..sound() },
        grpc::Log { id: Some("7".to_owned()), ..sound() },
    ];
    let mut messages: Vec<Vec<u8>> =
        wrong.into_iter().map(|log| grpc::LogRequest { log_entry: Some(log) }.encode_to_vec()).collect();
    // Field 1, the entry, as a number.
    messages.push(vec![0x08, 0x07]);
    // Name of bytes that are no text.
    messages.push(vec![0x0a, 0x03, 0x0a, 0x01, 0xff]);
    let (mut types, mut checked) = (0, 0);
    for message in &messages {
        match grpc::LogRequest::decode(message.as_slice()) {
            Err(_) => types += 1,
            Ok(request) => {
                let draft = request.log_entry.map(EntryDraft::from);
                checked += u64::from(draft.is_none_or(|draft| draft.check(Timestamp::now()).is_err()));
            }
        }
    }
    (messages.len() as u64, types, checked)
}
