//! Lab 6: a logger over gRPC, written from `logs.proto` alone, behind the real broker.

mod store;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hyper::Uri;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use proto::grpc::{Log, LogRequest, LogResponse, log_service_client::LogServiceClient};
use rig::READY;
use serde_json::{Value, json};
use tonic::{Code, Request, Status, body::Body, transport::Channel};

use self::store::{Mode, Store};
use crate::{
    bench::{Bench, Random},
    run::Run,
    verdict::{Failed, Trouble, expect_all, expect_at_most, expect_count},
    words::{Text, seconds, text},
};

/// How the program is told where to listen.
const LISTEN: &str = "LOGGER_GRPC_LISTEN";

/// The deadline of the calls to a store that hangs.
const DEADLINE: Duration = Duration::from_millis(300);

/// How long the program may take to end them: well above the deadline, for a busy machine.
const ENDED: Duration = Duration::from_secs(2);

/// Most connections to the store.
const CONNECTIONS: usize = 64;

/// The check.
///
/// # Errors
/// As [`crate::labs::check`].
pub(super) async fn check(bench: &mut Bench<'_>, run: &mut Run<'_>) -> anyhow::Result<()> {
    let store = Store::open().await?;
    bench.program.set("STORE_HTTP_URL", format!("http://{}", store.probe.address));
    let (mut program, at) = bench.program.serve(LISTEN, &[]).await?;
    let url = format!("http://{at}");
    // Without RabbitMQ, and each entry in a call of its own: the program need not know batches.
    let settings =
        [("LOGGER_GRPC_URL", url.as_str()), ("BROKER_COALESCE", "off"), ("BROKER_DEADLINE_MS", "3000")];
    let mut services = bench.services("services", "amqp://guest:guest@127.0.0.1:9/none", &settings)?;
    services.start_broker().await?;
    let handle = format!("http://{}/handle", services.broker_at);
    let http = rig::http()?;
    let untimed = untimed(url.parse()?);
    let channel = Channel::from_shared(url)?.connect_timeout(READY).connect().await;
    let client = channel.map(LogServiceClient::new).map_err(|error| {
        Failed::new(text!("an HTTP/2 connection", "соединение HTTP/2"), Text::same(error))
    })?;
    let broker = Broker { http: &http, handle: &handle };

    run.property(1, async || {
        let mut random = bench.random(1);
        store.answer(Mode::Stores);
        let through: Vec<Value> = (0..100).map(|_| entry(&mut random)).collect();
        let answers = broker.post_all(&through).await;
        let what = text!("entries that the broker answers with 202", "записи, на которые broker ответил 202");
        expect_all(what, &answers, |(status, body)| {
            (*status != 202).then(|| Text::same(format_args!("{status} {body}")))
        })?;
        let two_fields: Vec<Log> =
            (0..10).map(|_| Log { name: random.name(), data: random.data(), ..Log::default() }).collect();
        for log in &two_fields {
            let written =
                client.clone().write_log(Request::new(LogRequest { log_entry: Some(log.clone()) })).await;
            written.map_err(|status| {
                let expected = text!("OK for an entry of name and data", "OK для записи из name и data");
                Failed::new(expected, said(&status))
            })?;
        }
        let sent = through.iter().map(|entry| entry["name"].as_str().unwrap_or_default());
        let sent = sent.chain(two_fields.iter().map(|log| log.name.as_str()));
        let kept = store.names();
        expect_all(text!("entries at the store", "записи в хранилище"), sent, |name| {
            (!kept.contains(*name)).then(|| text!("{name} is not there", "нет {name}"))
        })?;
        program.still_runs()
    })
    .await?;

    run.property(2, async || {
        let mut random = bench.random(2);
        store.answer(Mode::Stores);
        store.probe.forget();
        let nameless = Log { name: String::new(), data: random.data(), ..Log::default() };
        let bad = [
            (text!("an empty name", "пустого имени"), Some(nameless)),
            (text!("no entry", "запроса без записи"), None),
        ];
        for (Text { en, ru }, log_entry) in bad {
            let answer = client.clone().write_log(Request::new(LogRequest { log_entry })).await;
            let code = answer.as_ref().err().map(Status::code);
            if code != Some(Code::InvalidArgument) {
                let saw = answer.map_or_else(|status| said(&status), |_| Text::same("OK"));
                Err(Failed::new(text!("INVALID_ARGUMENT for {en}", "INVALID_ARGUMENT для {ru}"), saw))?;
            }
        }
        let what =
            text!("requests to the store for what is no entry", "запросов к хранилищу, когда записи нет");
        expect_count(what, 0, store.probe.count())?;
        let log_entry = Some(Log { name: random.name(), data: random.data(), ..Log::default() });
        let written = client.clone().write_log(Request::new(LogRequest { log_entry })).await;
        written.map_err(|status| {
            Failed::new(text!("OK for an entry without a level", "OK для записи без уровня"), said(&status))
        })?;
        let level = store.probe.seen().last().map(|seen| seen.json()["level"].clone()).unwrap_or_default();
        if level != "info" && !level.is_null() {
            Err(Failed::new(
                text!("the level info, or none, at the store", "в хранилище уровень info или никакого"),
                Text::same(level),
            ))?;
        }
        Ok(())
    })
    .await?;

    run.property(3, async || {
        let mut random = bench.random(3);
        store.answer(Mode::Slow);
        store.probe.forget();
        let begun = Instant::now();
        let answers = write_all(&client, &mut random, 64, Duration::from_secs(10)).await;
        let took = begun.elapsed();
        expect_all(ok(), &answers, |answer| answer.as_ref().err().map(said))?;
        expect_at_most(
            text!("time for 64 calls", "время на 64 вызова"),
            bench.patient(Duration::from_millis(1_500)),
            took,
            seconds,
        )?;
        let most = store.probe.most_at_once();
        if most < 16 {
            Err(Failed::new(
                text!(
                    "at least 16 requests at once at the store",
                    "не меньше 16 запросов к хранилищу одновременно"
                ),
                Text::same(most),
            ))?;
        }
        Ok(())
    })
    .await?;

    run.property(4, async || {
        let mut random = bench.random(4);
        for (mode, expected) in
            [(Mode::Status(400), 400), (Mode::Status(409), 409), (Mode::Status(503), 503), (Mode::Cuts, 504)]
        {
            store.answer(mode);
            let (status, body) = broker.post(&entry(&mut random)).await;
            if status != expected {
                let Text { en, ru } = if mode == Mode::Cuts {
                    text!("closes the connection", "рвёт соединение")
                } else {
                    text!("answers {expected}", "отвечает {expected}")
                };
                Err(Failed::new(
                    text!(
                        "{expected} from the broker when the store {en}",
                        "{expected} от broker, когда хранилище {ru}"
                    ),
                    Text::same(format_args!("{status} {body}")),
                ))?;
            }
        }
        Ok(())
    })
    .await?;

    run.property(5, async || {
        let mut random = bench.random(5);
        store.answer(Mode::Hangs);
        store.probe.forget();
        let ended = bench.patient(ENDED);
        let calls = requests(&mut random, 64, DEADLINE).into_iter().map(|request| {
            let mut client = untimed.clone();
            async move { tokio::time::timeout(ended, client.write_log(request)).await }
        });
        let answers = join_all(calls).await;
        let what = text!("calls answered with DEADLINE_EXCEEDED", "вызовы с ответом DEADLINE_EXCEEDED");
        expect_all(what, &answers, |answer| match answer {
            Ok(Err(status)) if status.code() == Code::DeadlineExceeded => None,
            Ok(Err(status)) => Some(said(status)),
            Ok(Ok(_)) => Some(Text::same("OK")),
            Err(_) => {
                let Text { en, ru } = seconds(ended);
                Some(text!("no answer within {en}", "нет ответа за {ru}"))
            }
        })?;
        if store.probe.count() == 0 {
            Err(Trouble(text!("no call reached the store", "ни один вызов не дошёл до хранилища")))?;
        }
        store.answer(Mode::Stores);
        let limit = bench.patient(Duration::from_secs(1));
        let next = write_all(&client, &mut random, 1, Duration::from_secs(5));
        match tokio::time::timeout(limit, next).await {
            Ok(answers) => {
                let what = text!("the next call answered with OK", "следующий вызов с ответом OK");
                expect_all(what, &answers, |answer| answer.as_ref().err().map(said))?;
            }
            Err(_) => {
                let Text { en, ru } = seconds(limit);
                Err(Failed::new(
                    text!(
                        "the next call is served within {en}",
                        "следующий вызов обслужен не позже чем через {ru}"
                    ),
                    text!("it is not", "не обслужен"),
                ))?;
            }
        }
        Ok(())
    })
    .await?;

    run.property(6, async || {
        let mut random = bench.random(6);
        store.answer(Mode::Stores);
        let entries: Vec<Value> = (0..10).map(|_| entry(&mut random)).collect();
        for expected in ["stored", "duplicate"] {
            let answers = broker.post_all(&entries).await;
            let what =
                text!("entries with the outcome {expected}", "записи, у которых `outcome` — {expected}");
            expect_all(what, &answers, |(status, body)| {
                (body["data"]["outcome"] != expected).then(|| Text::same(format_args!("{status} {body}")))
            })?;
        }
        Ok(())
    })
    .await?;

    run.property(7, async || {
        let mut random = bench.random(7);
        store.answer(Mode::Stores);
        store.probe.forget();
        for _ in 0..10 {
            let answers = write_all(&client, &mut random, 50, Duration::from_secs(10)).await;
            expect_all(ok(), &answers, |answer| answer.as_ref().err().map(said))?;
        }
        expect_count(text!("requests to the store", "запросов к хранилищу"), 500, store.probe.count())?;
        let what = text!("connections to the store for 500 calls", "соединений с хранилищем на 500 вызовов");
        expect_at_most(what, CONNECTIONS, store.probe.connections(), Text::same)?;
        Ok(())
    })
    .await
}

fn entry(random: &mut Random) -> Value {
    json!({ "id": random.id(), "name": random.name(), "data": random.data() })
}

fn ok() -> Text {
    text!("calls answered with OK", "вызовы с ответом OK")
}

fn said(status: &Status) -> Text {
    Text::same(format_args!("{}: {}", name_of(status.code()), status.message()))
}

/// A code as the documents of gRPC write it.
fn name_of(code: Code) -> String {
    let mut name = String::new();
    for char in format!("{code:?}").chars() {
        if char.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(char.to_ascii_uppercase());
    }
    name
}

/// A client that only states a deadline. A channel of tonic has a timer for it, which ends the call whatever the
/// program does.
fn untimed(origin: Uri) -> LogServiceClient<Client<HttpConnector, Body>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build(connector);
    LogServiceClient::with_origin(client, origin)
}

/// So many calls, each with a new entry.
fn requests(random: &mut Random, count: usize, deadline: Duration) -> Vec<Request<LogRequest>> {
    let mut request = || {
        let log = Log {
            name: random.name(),
            data: random.data(),
            id: Some(random.id().to_string()),
            ..Log::default()
        };
        let mut request = Request::new(LogRequest { log_entry: Some(log) });
        request.set_timeout(deadline);
        request
    };
    (0..count).map(|_| request()).collect()
}

/// Calls the program so many times at once.
async fn write_all(
    client: &LogServiceClient<Channel>,
    random: &mut Random,
    count: usize,
    deadline: Duration,
) -> Vec<Result<LogResponse, Status>> {
    let calls = requests(random, count, deadline).into_iter().map(|request| {
        let mut client = client.clone();
        async move { client.write_log(request).await.map(tonic::Response::into_inner) }
    });
    join_all(calls).await
}

/// The real broker.
struct Broker<'a> {
    http: &'a reqwest::Client,
    handle: &'a str,
}

impl Broker<'_> {
    async fn post(&self, entry: &Value) -> (u16, Value) {
        let body = json!({ "action": "log", "transport": "grpc", "log": entry }).to_string();
        let Ok(response) = self.http.post(self.handle).body(body).send().await else {
            return (0, Value::Null);
        };
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    /// Eight at a time.
    async fn post_all(&self, entries: &[Value]) -> Vec<(u16, Value)> {
        let mut answers = Vec::new();
        for part in entries.chunks(8) {
            answers.extend(join_all(part.iter().map(|entry| self.post(entry))).await);
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_named_as_the_documents_name_it() {
        let names = [Code::Ok, Code::DeadlineExceeded, Code::Unknown].map(name_of);
        assert_eq!(names, ["OK", "DEADLINE_EXCEEDED", "UNKNOWN"]);
    }
}
