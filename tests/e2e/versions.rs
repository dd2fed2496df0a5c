//! A version beside the one before: services, a store and a queue of an earlier one meet those of today.
//!
//! A run of the tests builds one version only. What an earlier one says and stores was recorded with its own programs by
//! `tests/versions/record.py`, and today's programs are verified against it, byte for byte. Real programs of two
//! versions side by side are a test that is ignored: FOURWIRE_OLD_PROGRAMS names a directory with those of before.

use std::{
    collections::{BTreeMap, HashSet},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use explain::{Chunk, Recording, To};
use lapin::{
    BasicProperties, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use proto::{BatchMode, EntryDraft, Level, LogEntry, Outcome, Transport};
use rig::{Launch, LoggerAddresses, Services};
use tests::{
    DIRECT,
    binaries::binary,
    client, eventually,
    rabbitmq::VirtualHost,
    stack::{Stack, transport_settings},
    torture::{load, lone::Lone},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use transport::{Delivered, Transports};

/// The version whose words are recorded.
const BEFORE: &str = "0.1.0";

/// How long what was accepted may take to be stored.
const SETTLES: Duration = Duration::from_secs(30);

/// How long a program of today may take to answer a piece.
const ANSWER: Duration = Duration::from_secs(10);

/// What was recorded of a transport, in order of time.
fn recording(transport: Transport) -> anyhow::Result<Vec<Chunk>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("versions/{BEFORE}/{transport}.ndjson"));
    let name = || path.display().to_string();
    let text = std::fs::read_to_string(&path).with_context(name)?;
    Ok(Recording::from_ndjson(&text).with_context(name)?.chunks)
}

/// The connection that carried the entry: the one on which most went to the logger.
fn with_the_entry(pieces: &[Chunk]) -> Vec<Chunk> {
    let mut sent: BTreeMap<u32, usize> = BTreeMap::new();
    for piece in pieces.iter().filter(|piece| piece.to == To::Server) {
        *sent.entry(piece.connection).or_default() += piece.bytes.len();
    }
    let most = sent.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(connection, _)| connection);
    pieces.iter().filter(|piece| Some(piece.connection) == most).cloned().collect()
}

/// The entry that `record.py` sends over a transport.
fn entry(transport: Transport) -> LogEntry {
    let number = DIRECT.iter().position(|direct| *direct == transport).expect("a direct one");
    let draft = EntryDraft {
        id: Some(format!("0197f5c1-5d3a-7c6e-8a54-2f1b6c0d9e{number:02x}")),
        name: "version".to_owned(),
        data: format!("sent via {transport} by 0.1.0: ж, \"quoted\""),
        level: Some(Level::Warning.as_str().to_owned()),
        created_at: Some("2026-11-22T10:00:00.000001Z".to_owned()),
        ..EntryDraft::default()
    };
    draft.check(jiff::Timestamp::now()).expect("a valid entry")
}

#[tokio::test]
async fn what_a_broker_of_the_version_before_sends_is_stored_by_todays_logger() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let store = format!("sqlite:{}", dir.path().join("logs.db").display());
    let lone = Lone::start(&BTreeMap::from([("LOGGER_STORE", store)]), dir.path()).await?;
    for transport in DIRECT {
        let at = match transport {
            Transport::Http => lone.logger_at.http,
            Transport::Rpc => lone.logger_at.rpc,
            Transport::Grpc => lone.logger_at.grpc,
            Transport::Rabbitmq => unreachable!("it is not direct"),
        };
        let said =
            say(at, &with_the_entry(&recording(transport)?)).await.with_context(|| transport.to_string())?;
        if transport == Transport::Http {
            assert!(
                String::from_utf8_lossy(&said).contains("HTTP/1.1 202"),
                "{}",
                String::from_utf8_lossy(&said)
            );
        }
        let sent = entry(transport);
        let found = async || lone.all_stored().await.ok()?.into_iter().find(|stored| stored.id == sent.id());
        let stored = eventually(&format!("{transport}: it is stored"), found).await;
        assert_eq!(
            (stored.name.as_str(), stored.data.as_str(), stored.level, stored.created_at, stored.transport),
            (sent.name(), sent.data(), sent.level(), sent.created_at(), transport),
        );
    }
    Ok(())
}

/// Says to a logger what a broker has said, waiting for an answer wherever that had one; returns what was answered.
async fn say(to: SocketAddr, pieces: &[Chunk]) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(to).await?;
    let (mut said, mut waits) = (Vec::new(), false);
    for piece in pieces {
        if piece.to == To::Server {
            stream.write_all(&piece.bytes).await?;
            waits = true;
        } else if waits {
            some(&mut stream, &mut said).await?;
            waits = false;
        }
    }
    Ok(said)
}

/// Waits until something comes, and takes it.
async fn some(stream: &mut TcpStream, into: &mut Vec<u8>) -> anyhow::Result<()> {
    let read = tokio::time::timeout(ANSWER, stream.read_buf(into)).await.context("no answer")??;
    ensure!(read > 0, "the connection was closed");
    Ok(())
}

#[tokio::test]
async fn what_a_logger_of_the_version_before_answers_is_understood_by_todays_broker() -> anyhow::Result<()> {
    let mut at = Vec::new();
    for transport in DIRECT {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        at.push(listener.local_addr()?);
        tokio::spawn(answer_all(listener, with_the_entry(&recording(transport)?)));
    }
    let logger_at = LoggerAddresses { http: at[0], rpc: at[1], grpc: at[2], netrpc: at[0] };
    let services = Services::foreign(at[0], logger_at, client());
    let transports = Transports::new(&transport_settings(&services, Duration::from_secs(5)));
    for transport in DIRECT {
        eventually("it is reached", async || transports.reachable(transport).then_some(())).await;
        let written = transports.write(transport, entry(transport).into(), BatchMode::AllOrNone).await;
        let outcomes = written
            .and_then(Delivered::outcomes)
            .map_err(|failure| anyhow::anyhow!("{transport}: {failure:?}"))?;
        assert_eq!(*outcomes.first(), Outcome::Stored, "{transport}");
    }
    Ok(())
}

/// Answers on each connection as a logger has answered, piece for piece.
async fn answer_all(listener: TcpListener, pieces: Vec<Chunk>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, pieces.clone()));
    }
}

async fn answer(mut stream: TcpStream, pieces: Vec<Chunk>) -> anyhow::Result<()> {
    let mut waits = false;
    for piece in pieces {
        if piece.to == To::Server {
            waits = true;
        } else {
            if waits {
                some(&mut stream, &mut Vec::new()).await?;
                waits = false;
            }
            stream.write_all(&piece.bytes).await?;
        }
    }
    // What comes after that has no answer, and the connection stays open.
    while stream.read_buf(&mut Vec::new()).await? > 0 {}
    Ok(())
}

/// A queue as 0.1.0 has declared it, with a message as 0.1.0 has published it: the words are those of its source.
#[tokio::test]
async fn a_queue_of_the_version_before_is_taken_over_with_what_is_in_it() -> anyhow::Result<()> {
    let host = VirtualHost::create().await;
    let (_connection, channel) = host.channel().await;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let none = FieldTable::default;
    channel.exchange_declare("logs_topic".into(), ExchangeKind::Topic, durable, none()).await?;
    channel.exchange_declare("logs.dead".into(), ExchangeKind::Fanout, durable, none()).await?;
    let mut arguments = FieldTable::default();
    let text = |value: &str| AMQPValue::LongString(value.into());
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(1_073_741_824));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    let options = QueueDeclareOptions::durable();
    channel.queue_declare("logs.dead".into(), options, arguments.clone()).await?;
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(20));
    arguments.insert("x-dead-letter-exchange".into(), text("logs.dead"));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    channel.queue_declare("logs.entries".into(), options, arguments).await?;
    for (queue, exchange, key) in [("logs.dead", "logs.dead", ""), ("logs.entries", "logs_topic", "log.*")] {
        let bound = QueueBindOptions::default();
        channel.queue_bind(queue.into(), exchange.into(), key.into(), bound, none()).await?;
    }
    let id = "0197f5c1-5d3a-7c6e-8a54-2f1b6c0d9e7a";
    let body = format!(
        r#"{{"id":"{id}","name":"version","data":"queued by 0.1.0","level":"error","created_at":"2026-11-22T10:00:00.000001Z"}}"#
    );
    let properties = BasicProperties::default()
        .with_message_id(id.into())
        .with_content_type("application/json".into())
        .with_delivery_mode(2);
    host.publish("logs_topic", "log.ERROR", body.as_bytes(), properties).await;

    let stack = Stack::start_on(host, &[]).await;
    let stored = eventually("it is stored", async || stack.all_stored().await.pop()).await;
    assert_eq!((stored.id.to_string().as_str(), stored.data.as_str()), (id, "queued by 0.1.0"));
    assert_eq!((stored.level, stored.transport), (Level::Error, Transport::Rabbitmq));
    let answer = stack.log(Transport::Rabbitmq, &serde_json::json!({ "name": "n", "data": "today" })).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    Ok(())
}

/// Every mixture of three programs of two versions, with load over all transports, and its journal.
#[tokio::test]
#[ignore = "needs FOURWIRE_OLD_PROGRAMS, a directory with broker, logger and listener of the version before"]
async fn real_programs_of_two_versions_lose_nothing_together() -> anyhow::Result<()> {
    let old = PathBuf::from(std::env::var("FOURWIRE_OLD_PROGRAMS").context("FOURWIRE_OLD_PROGRAMS")?);
    let new = binary("logger").parent().context("a directory")?.to_owned();
    let names = ["broker", "logger", "listener"];
    for mixture in 1..(1 << names.len()) - 1 {
        let dir = tempfile::tempdir()?;
        let of = |at: usize| if mixture & (1 << at) == 0 { &old } else { &new };
        for (at, name) in names.iter().enumerate() {
            symlink(of(at).join(name), dir.path().join(name))?;
        }
        let host = VirtualHost::create().await;
        let store = format!("sqlite:{}", dir.path().join("logs.db").display());
        let settings = [("LOGGER_STORE", store), ("AMQP_URL", host.service_url())];
        let launch = Launch { binaries: dir.path().to_owned(), ..Launch::default() };
        let mut services = Services::new(launch, settings, dir.path(), client())?;
        services.start().await?;
        let plan = load::plan(&Transport::ALL, 16, mixture as u64);
        let running = rig::Load::start(&services.broker_client(), plan);
        running.goes_on(2_000).await?;
        let ledger = running.stop().await?;
        let stored = services.logger_client().stored_with(&ledger.accepted(), SETTLES).await?;
        let verdict = ledger.verdict(&stored, &HashSet::new());
        let said = names
            .iter()
            .enumerate()
            .map(|(at, name)| format!("{name} {}", if of(at) == &old { "before" } else { "today" }));
        eprintln!("{}: {verdict}", said.collect::<Vec<_>>().join(", "));
        assert!(verdict.is_sound(), "{verdict}");
    }
    Ok(())
}
