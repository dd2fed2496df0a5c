//! Garbage on the ports: it ends its own connection and harms nobody else.

use std::{cell::Cell, convert::Infallible, net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt, future::join_all};
use proto::{Code, Transport, grpc, limits::FRAME_BYTES};
use serde_json::{Value, json};
use tests::{
    DIRECT, SOON, client, eventually,
    keys::authorization_header,
    process::whole_log,
    raw::{self, until_closed},
    stack::Stack,
    tls,
};
use tokio::net::TcpStream;

#[tokio::test]
async fn garbage_ends_its_own_connection_and_harms_nobody_else() {
    let mut stack = Stack::start().await;
    let ports = all_ports(&mut stack).await;
    for (what, bytes) in garbage() {
        let attacks = ports.iter().map(|(port, address)| {
            let (bytes, what) = (&bytes, format!("{what} on {port}"));
            async move { until_closed(&what, *address, bytes, SOON).await }
        });
        while_others_are_served(&stack, join_all(attacks)).await;
    }
    nobody_fell(&mut stack).await;
}

#[tokio::test]
async fn of_another_protocol_at_the_rpc_port_the_log_says_where_it_belongs() {
    // Within TLS its bytes are read like those of all others.
    if tls::directory().is_some() {
        return;
    }
    let stack = Stack::start_direct(&[]).await;
    for (begin, setting) in [
        (&b"POST /log HTTP/1.1\r\n"[..], "LOGGER_HTTP_LISTEN"),
        (b"PRI * HTTP/2.0\r\n", "LOGGER_GRPC_LISTEN"),
        (&[0x30, 0x7f, 0x03, 0x01], "LOGGER_NETRPC_LISTEN"),
    ] {
        until_closed(setting, stack.logger_at.rpc, begin, SOON).await;
        let told = format!("to the port of tarpc: send it to {setting}");
        eventually(&told, async || stack.logger.log().contains(&told).then_some(())).await;
    }
}

#[tokio::test]
async fn a_half_sent_header_is_cut_off() {
    let mut stack = Stack::start().await;
    let ports = all_ports(&mut stack).await;
    let attacks = ports.iter().filter(|(port, _)| port.ends_with("http")).map(|(port, address)| async move {
        let half = b"POST /handle HTTP/1.1\r\nHost: localhost\r\nContent-Le";
        let (_, took) = until_closed(&format!("half a header on {port}"), *address, half, SOON).await;
        assert!(took > Duration::from_secs(4), "{port}: cut after {took:?}: a slow client needs more");
        assert!(took < Duration::from_secs(15), "{port}: cut after {took:?} only");
    });
    while_others_are_served(&stack, join_all(attacks)).await;
    nobody_fell(&mut stack).await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_408() {
    let mut stack = Stack::start().await;
    let half = format!(
        "POST /handle HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: 60\r\n\r\n{{\"action\":",
        authorization_header()
    );
    let attack = until_closed("half a body", stack.broker_at, half.as_bytes(), SOON);
    let (answer, took) = while_others_are_served(&stack, attack).await;
    assert!(took < Duration::from_secs(25), "{took:?}");
    let answer = raw::parse(&answer, took);
    assert_eq!((answer.status.as_u16(), answer.code()), (408, "slow_request"));
    assert_eq!(answer.body["error"], true);
    nobody_fell(&mut stack).await;
}

#[tokio::test]
async fn who_closes_its_sending_half_is_answered_on_every_http_port_and_over_each_transport() {
    let mut stack = Stack::start().await;
    let ports = all_ports(&mut stack).await;
    for (port, address) in ports.iter().filter(|(port, _)| port.ends_with("http")) {
        let told = raw::half_closed(*address, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(told.starts_with("HTTP/1.1 200 ") && told.ends_with("}\n"), "{port}: {told:?}");
    }
    let post = |path: &str, body: &str| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: {}\r\n\r\n",
            authorization_header(),
            body.len()
        );
        [head.as_bytes(), body.as_bytes()].concat()
    };
    for transport in Transport::ALL {
        let entry = json!({ "name": "event", "data": "" });
        let body = json!({ "action": "log", "transport": transport, "log": entry }).to_string();
        let told = raw::half_closed(stack.broker_at, &post("/handle", &body)).await;
        let answer = raw::parse(&told, Duration::ZERO);
        assert_eq!(answer.status, 202, "{transport}: {told:?}");
        stack.eventually_stored(answer.id()).await;
    }
    let told = raw::half_closed(stack.logger_at.http, &post("/log", r#"{"name":"event","data":""}"#)).await;
    assert_eq!(raw::parse(&told, Duration::ZERO).status, 202, "{told:?}");
}

#[tokio::test]
async fn what_is_no_request_is_refused_in_the_envelope_on_every_http_port() {
    let mut stack = Stack::start().await;
    let ports = all_ports(&mut stack).await;
    let long = format!("GET /logs?contains={} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(40_000));
    for (port, address) in ports.iter().filter(|(port, _)| port.ends_with("http")) {
        for (request, status, code) in
            [("nonsense\r\n\r\n", 400, Code::BadRequest), (long.as_str(), 431, Code::HeadersTooLarge)]
        {
            let (told, took) = until_closed(port, *address, request.as_bytes(), SOON).await;
            let answer = raw::parse(&told, took);
            assert_eq!((answer.status.as_u16(), answer.code()), (status, code.as_str()), "{port}: {told:?}");
            assert_eq!(code.http_status(), status);
        }
    }
}

#[tokio::test]
async fn a_hostile_deadline_harms_nobody() {
    const TEN_YEARS: u64 = 10 * 365 * 24 * 3_600;
    let mut stack = Stack::start().await;
    // The request that is crafted here is a sound one, but for its deadline.
    let answer = version_within(stack.logger_at.rpc, 10).await.expect("an answer");
    assert!(answer.to_string().contains("Version"), "{answer}");
    for seconds in [0, TEN_YEARS, u64::from(u32::MAX), i64::MAX as u64, u64::MAX] {
        let attack = version_within(stack.logger_at.rpc, seconds);
        let answer = while_others_are_served(&stack, attack).await;
        assert!(answer.is_some() || seconds == 0, "it is taken for one that is far off: {seconds}");
        assert!(version_within(stack.logger_at.rpc, 10).await.is_some(), "a new connection is served");
    }
    nobody_fell(&mut stack).await;
}

#[tokio::test]
async fn a_grpc_message_that_is_too_large_is_refused_and_others_on_its_connection_are_served() {
    let mut stack = Stack::start().await;
    let at = format!("http://{}", stack.logger_at.grpc);
    let mut client = grpc::log_service_client::LogServiceClient::connect(at).await.expect("the gRPC port");
    let log = |data: String| grpc::LogRequest {
        log_entry: Some(grpc::Log { name: "event".to_owned(), data, ..grpc::Log::default() }),
    };
    let attack = async {
        let too_large = client.write_log(log("d".repeat(FRAME_BYTES + 1))).await;
        assert_eq!(too_large.expect_err("too large").code(), tonic::Code::OutOfRange);
        client.write_log(log("text".to_owned())).await.expect("the connection goes on")
    };
    while_others_are_served(&stack, attack).await;
    nobody_fell(&mut stack).await;
}

/// Bytes that no port expects. All are longer than the preface of HTTP/2, so every server can judge them.
fn garbage() -> Vec<(String, Vec<u8>)> {
    let frame = |announced: u32, body: &[u8]| [&announced.to_be_bytes(), body].concat();
    let mut garbage: Vec<(String, Vec<u8>)> =
        (1..=4).map(|seed| (format!("random bytes, seed {seed}"), random_bytes(seed))).collect();
    let named: [(&str, Vec<u8>); 7] = [
        ("a frame that announces 4 GiB", frame(u32::MAX, &[0; 64])),
        ("a frame of one byte too many", frame(u32::try_from(FRAME_BYTES).expect("small") + 1, &[0; 64])),
        ("a frame of garbage", frame(64, &[0xc1; 64])),
        ("a frame of a value that is no request", frame(64, &[0x90; 64])),
        ("empty frames", vec![0; 64]),
        (
            "an HTTP request",
            b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(),
        ),
        ("a preface and no HTTP/2", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &[0xff; 64]].concat()),
    ];
    garbage.extend(named.map(|(what, bytes)| (what.to_owned(), bytes)));
    garbage
}

/// 4 KiB that are the same in every run.
fn random_bytes(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    // The first bit is set: as the length of a frame it is more than any.
    std::iter::once(0x80).chain((0..4_095).map(|_| next())).collect()
}

async fn all_ports(stack: &mut Stack) -> Vec<(&'static str, SocketAddr)> {
    let listener = stack.listener.ready().await.expect("it is ready")["http"];
    vec![
        ("the logger's http", stack.logger_at.http),
        ("the logger's rpc", stack.logger_at.rpc),
        ("the logger's grpc", stack.logger_at.grpc),
        ("the logger's netrpc", stack.logger_at.netrpc),
        ("the listener's http", listener),
        ("the broker's http", stack.broker_at),
    ]
}

/// Goes on logging over the kept connections for as long as `attack` takes. Not one entry may be refused.
async fn while_others_are_served<T>(stack: &Stack, attack: impl Future<Output = T>) -> T {
    let rounds = Cell::new(0);
    let others = async {
        loop {
            all_are_served(stack).await;
            rounds.set(rounds.get() + 1);
        }
    };
    let others: &mut (dyn Future<Output = Infallible> + Unpin) = &mut Box::pin(others);
    let result = tokio::select! {
        result = attack => result,
        never = others => match never {},
    };
    all_are_served(stack).await;
    result
}

async fn all_are_served(stack: &Stack) {
    for transport in DIRECT {
        let answer = stack.log(transport, &json!({ "name": "bystander", "data": "" })).await;
        assert_eq!(answer.status, 202, "{transport}: {}", answer.body);
        assert!(answer.took < Duration::from_secs(5), "{transport}: {:?}", answer.took);
    }
}

/// Fails if a process or one of the kept connections is gone.
async fn nobody_fell(stack: &mut Stack) {
    let queued = stack.log(Transport::Rabbitmq, &json!({ "name": "bystander", "data": "" })).await;
    stack.eventually_stored(queued.id()).await;
    let log = whole_log(&stack.broker).await;
    assert!(!log.contains(" WARN "), "a kept connection fell:\n{log}");
    for (port, address) in all_ports(stack).await.into_iter().filter(|(port, _)| port.ends_with("http")) {
        let health = client().get(format!("http://{address}/healthz")).send().await;
        assert_eq!(health.expect(port).status(), 200, "{port}");
    }
}

/// Asks the rpc port for its version, with a deadline that a tarpc client could not even express. `None` if
/// the connection ends without an answer.
async fn version_within(address: SocketAddr, seconds: u64) -> Option<Value> {
    let stream = TcpStream::connect(address).await.expect("the rpc port is open");
    let mut frames = proto::rpc::frame::<_, Value, Value>(stream);
    let (deadline, trace) = (json!([seconds, 0]), json!([vec![0; 16], 0, "Unsampled"]));
    let request = json!({ "Request": [[deadline, trace], 1, { "Version": [] }] });
    frames.send(request).await.expect("it is sent");
    let answer = tokio::time::timeout(SOON, frames.next()).await;
    answer.expect("the connection answers or ends").and_then(Result::ok)
}
