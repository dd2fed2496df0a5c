//! Lab 9: a broker that goes on with the trace that a request belongs to, over three wires.

mod sent;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

use futures_util::{StreamExt, future::join_all, stream};
use proto::rabbitmq::QUEUE;
use rand::RngExt;
use rig::eventually;
use serde_json::json;

use self::sent::{Parent, Sent};
use crate::{
    bench::Bench,
    probe::{Amqp, GrpcProbe, HttpProbe, Reply, Seen},
    run::Run,
    verdict::{Failed, Trouble, expect_all},
    words::{Text, held, text},
};

/// How it is told where to listen.
const LISTEN: &str = "BROKER_HTTP_LISTEN";

/// The wires.
const WIRES: [&str; 3] = ["http", "grpc", "rabbitmq"];

/// What is no `traceparent`.
const MALFORMED: [&str; 8] = [
    "hello",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
    "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
    "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
    "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e47-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902zz-01",
];

/// The check.
///
/// # Errors
/// As [`crate::labs::check`].
pub(super) async fn check(bench: &mut Bench<'_>, run: &mut Run<'_>) -> anyhow::Result<()> {
    let rabbitmq = bench.rabbitmq.virtual_host().await?;
    let amqp_url = rabbitmq.url();
    let amqp = Amqp::open(amqp_url).await?;
    amqp.depths().await?;
    let http = HttpProbe::open(|seen: Seen| async move {
        let data = json!({ "id": seen.json()["id"], "outcome": "stored", "store_us": 1 });
        Reply::now(202, json!({ "error": false, "message": "stored", "data": data }).to_string())
    })
    .await?;
    let grpc = GrpcProbe::open()?;
    bench.program.set("AMQP_URL", amqp_url);
    bench.program.set("LOGGER_HTTP_URL", format!("http://{}", http.address));
    bench.program.set("LOGGER_GRPC_URL", format!("http://{}", grpc.address));
    let (mut program, at) = bench.program.serve(LISTEN, &[]).await?;
    let stand = Stand { client: rig::http()?, at, amqp, http, grpc };
    // What RabbitMQ is reached by a broker may open in the background.
    let reached = async || {
        let probe = Sent::new(&mut bench.random(0), "rabbitmq", None);
        (stand.post(&probe).await.0 == 202).then_some(())
    };
    let ready = eventually("an entry over rabbitmq is accepted", Duration::from_secs(20), reached).await;
    program.still_runs()?;
    ready.map_err(|_| {
        Failed::new(
            text!(
                "202 for an entry over rabbitmq within 20 s",
                "202 на запись по rabbitmq не позже чем через 20 с"
            ),
            text!("none", "нет"),
        )
    })?;

    run.property(1, async || {
        let sent = Sent::thirty(&mut bench.random(1));
        let arrived = stand.send_in_turn(&sent).await?;
        let what =
            text!("entries that arrive in the caller's trace", "записи, пришедшие в трейсе вызывающего");
        expect_all(what, &sent, |sent| {
            let parent = arrived.get(&sent.id).and_then(|headers| headers.get("traceparent"));
            let found = parent.and_then(|parent| Parent::read(parent)).map(|parent| parent.trace);
            (found.as_deref() != Some(sent.parent().trace.as_str())).then(|| sent.over(quoted(parent)))
        })?;
        Ok(())
    })
    .await?;

    run.property(2, async || {
        let sent = Sent::thirty(&mut bench.random(2));
        let arrived = stand.send_in_turn(&sent).await?;
        let mut spans = HashSet::new();
        for sent in &sent {
            let parent = arrived.get(&sent.id).and_then(|headers| Parent::read(headers.get("traceparent")?));
            let Some(parent) = parent else {
                return Err(Failed::new(
                    text!("a valid traceparent", "правильный traceparent"),
                    text!("none over {}", "по {} его нет", sent.wire),
                )
                .into());
            };
            if parent.span == sent.parent().span {
                return Err(Failed::new(
                    text!("a span id of its own", "собственный span id"),
                    text!("the caller's", "span id вызывающего"),
                )
                .first(text!("over {}", "по {}", sent.wire))
                .into());
            }
            if !spans.insert(parent.span) {
                return Err(Failed::new(
                    text!("a span id for each request", "свой span id у каждого запроса"),
                    text!("the same one twice", "один и тот же дважды"),
                )
                .into());
            }
        }
        Ok(())
    })
    .await?;

    run.property(3, async || {
        let mut random = bench.random(3);
        let sent: Vec<Sent> = (0..64).map(|at| Sent::traced(&mut random, WIRES[at % 3], "01")).collect();
        let arrived = stand.send(&sent).await?;
        let what =
            text!("entries in their own trace, of 64 at once", "записи в своём трейсе, 64 одновременно");
        expect_all(what, &sent, |sent| {
            let parent = arrived.get(&sent.id).and_then(|headers| Parent::read(headers.get("traceparent")?));
            let right = parent.as_ref().is_some_and(|parent| parent.trace == sent.parent().trace);
            (!right).then(|| sent.over(held(parent.map(|parent| parent.trace))))
        })?;
        Ok(())
    })
    .await?;

    run.property(4, async || {
        let mut random = bench.random(4);
        let state = format!("lab=t{:x},other=o{:x}", random.0.random::<u32>(), random.0.random::<u32>());
        let mut sent: Vec<Sent> = (0..12).map(|at| Sent::traced(&mut random, WIRES[at % 3], "00")).collect();
        sent.iter_mut().for_each(|sent| sent.state = Some(state.clone()));
        let arrived = stand.send(&sent).await?;
        expect_all(
            text!(
                "entries with the flag 00, and over http and grpc the caller's tracestate",
                "записи с флагом 00, а по http и grpc — и с tracestate вызывающего"
            ),
            &sent,
            |sent| {
                let headers = arrived.get(&sent.id)?;
                let parent = headers.get("traceparent").and_then(|parent| Parent::read(parent));
                let flags = parent.map(|parent| parent.flags);
                if flags.as_deref() != Some("00") {
                    let Text { en, ru } = held(flags);
                    return Some(sent.over(text!("flags {en}", "флаги {ru}")));
                }
                let kept = headers.get("tracestate");
                (sent.wire != "rabbitmq" && kept != Some(&state)).then(|| {
                    let Text { en, ru } = quoted(kept);
                    sent.over(text!("tracestate {en}", "tracestate {ru}"))
                })
            },
        )?;
        Ok(())
    })
    .await?;

    run.property(5, async || {
        let mut random = bench.random(5);
        let parents = MALFORMED.into_iter().map(Some).chain([None]);
        let sent: Vec<Sent> = parents
            .flat_map(|parent| WIRES.map(|wire| (wire, parent)))
            .map(|(wire, parent)| Sent::new(&mut random, wire, parent.map(str::to_owned)))
            .collect();
        let arrived = stand.send(&sent).await?;
        let what = text!(
            "entries that go on with a valid new trace",
            "записи, которые идут дальше с правильным новым трейсом"
        );
        expect_all(what, &sent, |sent| {
            let given = sent.traceparent.as_ref();
            let parent = arrived.get(&sent.id).and_then(|headers| headers.get("traceparent"));
            let valid = parent.is_some_and(|parent| Parent::read(parent).is_some()) && parent != given;
            let wire = sent.wire;
            (!valid).then(|| {
                let (Text { en, ru }, Text { en: saw, ru: saw_ru }) = (quoted(given), quoted(parent));
                text!("over {wire}, given {en}: {saw}", "по {wire}, на входе {ru}: {saw_ru}")
            })
        })?;
        Ok(())
    })
    .await?;

    run.property(6, async || {
        let mut random = bench.random(6);
        let sent: Vec<Sent> = (0..64).map(|at| Sent::traced(&mut random, WIRES[at % 3], "01")).collect();
        stand.send(&sent).await?;
        let names_all = async || {
            let lines = bench.program.log_lines();
            sent.iter().all(|sent| sent.is_named(&lines)).then_some(())
        };
        let _ = eventually("the log names all entries", Duration::from_secs(2), names_all).await;
        let lines = bench.program.log_lines();
        let what = text!(
            "entries that a line of JSON names, with their trace and a span",
            "записи, для которых есть строка JSON с их трейсом и span"
        );
        expect_all(what, &sent, |sent| {
            let (id, trace) = (&sent.id, sent.parent().trace);
            (!sent.is_named(&lines))
                .then(|| text!("entry {id} of trace {trace}", "запись {id}, трейс {trace}"))
        })?;
        let log = bench.program.log_text();
        let what = text!("entries whose data is not in the log", "записи, данных которых нет в логе");
        expect_all(what, &sent, |sent| {
            log.contains(&sent.data).then(|| Text::same(format_args!("{:?}", sent.data)))
        })?;
        Ok(())
    })
    .await
}

/// The headers with which each entry has arrived, by its id.
type Arrived = HashMap<String, HashMap<String, String>>;

/// What the program stands between.
struct Stand {
    client: reqwest::Client,
    at: SocketAddr,
    amqp: Amqp,
    http: HttpProbe,
    grpc: GrpcProbe,
}

impl Stand {
    async fn post(&self, sent: &Sent) -> (u16, String) {
        let log = json!({ "id": sent.id, "name": sent.name, "data": sent.data });
        let body = json!({ "action": "log", "transport": sent.wire, "log": log }).to_string();
        let mut request = self.client.post(format!("http://{}/handle", self.at)).body(body);
        if let Some(parent) = &sent.traceparent {
            request = request.header("traceparent", parent);
        }
        if let Some(state) = &sent.state {
            request = request.header("tracestate", state);
        }
        match request.send().await {
            Ok(response) => (response.status().as_u16(), response.text().await.unwrap_or_default()),
            Err(error) => (0, format!("{error:#}")),
        }
    }

    /// Sends all at once, expects 202, and returns what has arrived.
    async fn send(&self, sent: &[Sent]) -> anyhow::Result<Arrived> {
        let answers = join_all(sent.iter().map(|sent| self.post(sent))).await;
        self.arrived(sent, &answers).await
    }

    /// As [`Stand::send`], but each after the one before: what goes wrong then does so without any concurrency.
    async fn send_in_turn(&self, sent: &[Sent]) -> anyhow::Result<Arrived> {
        let answers: Vec<_> = stream::iter(sent).then(|sent| self.post(sent)).collect().await;
        self.arrived(sent, &answers).await
    }

    async fn arrived(&self, sent: &[Sent], answers: &[(u16, String)]) -> anyhow::Result<Arrived> {
        let what = text!("entries answered with 202", "записи с ответом 202");
        expect_all(what, sent.iter().zip(answers), |(sent, (status, body))| {
            let Sent { wire, traceparent, .. } = sent;
            (*status != 202).then(|| {
                let Text { en, ru } = quoted(traceparent.as_ref());
                text!(
                    "over {wire}, traceparent {en}: {status} {body}",
                    "по {wire}, traceparent {ru}: {status} {body}"
                )
            })
        })?;
        let mut arrived = HashMap::new();
        for seen in self.http.seen() {
            let id = seen.json()["id"].as_str().unwrap_or_default().to_owned();
            arrived.insert(id, seen.headers.iter().cloned().collect());
        }
        for sent in sent.iter().filter(|sent| sent.wire == "grpc") {
            arrived.extend(self.grpc.metadata(&sent.id).map(|metadata| (sent.id.clone(), metadata)));
        }
        let queued = sent.iter().filter(|sent| sent.wire == "rabbitmq").count();
        let mut taken = 0;
        let all = async || {
            for message in self.amqp.take(QUEUE, 1_000).await.ok()? {
                let id = message
                    .properties
                    .message_id()
                    .as_ref()
                    .map_or_else(String::new, |id| id.as_str().to_owned());
                taken += usize::from(sent.iter().any(|sent| sent.id == id));
                arrived.insert(id, headers(&message));
            }
            (taken >= queued).then_some(())
        };
        let came = eventually("all messages are in the queue", Duration::from_secs(5), all).await;
        came.map_err(|_| {
            Trouble(text!(
                "what was answered with `queued` is not in logs.entries",
                "сообщений с ответом `queued` нет в logs.entries"
            ))
        })?;
        expect_all(text!("entries that arrive", "записи, которые дошли"), sent, |sent| {
            (!arrived.contains_key(&sent.id)).then(|| text!("over {}", "по {}", sent.wire))
        })?;
        Ok(arrived)
    }
}

/// The text of a header between quotes, so that an empty one is seen; or that there is none.
fn quoted(header: Option<&String>) -> Text {
    held(header.map(|text| format!("{text:?}")))
}

/// The headers of a message that are text.
fn headers(message: &lapin::message::BasicGetMessage) -> HashMap<String, String> {
    let Some(table) = message.properties.headers() else { return HashMap::new() };
    let text = |value: &lapin::types::AMQPValue| {
        value.as_long_string().map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned())
    };
    table.inner().iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?))).collect()
}
