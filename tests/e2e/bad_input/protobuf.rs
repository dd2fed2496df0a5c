//! What the logger's gRPC port gets that is no message of `logs.proto`: refused over each call by the same table, and
//! marked, so that a caller knows that nothing was stored.

use bytes::{Buf, BufMut, Bytes};
use futures_util::stream;
use prost::Message;
use proto::{
    Code, Failure,
    grpc::{LogRequest, WriteLogsResponse, failure},
};
use tests::stack::Stack;
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

/// Any bytes as a message.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// A client that sends any bytes.
struct Client(tonic::client::Grpc<Channel>);

impl Client {
    async fn connect(stack: &Stack) -> Self {
        let channel = Channel::from_shared(format!("http://{}", stack.logger_at.grpc)).expect("a URL");
        Client(tonic::client::Grpc::new(channel.connect().await.expect("the gRPC port")))
    }

    /// What a call of this name answers to these messages: its last message, or its status.
    async fn call(&mut self, path: &'static str, messages: Vec<Bytes>) -> Result<Bytes, Status> {
        self.call_with(path, messages, 0).await
    }

    /// As [`Client::call`], with metadata of so many bytes.
    async fn call_with(
        &mut self,
        path: &'static str,
        messages: Vec<Bytes>,
        metadata_bytes: usize,
    ) -> Result<Bytes, Status> {
        let mut request = Request::new(stream::iter(messages));
        if metadata_bytes > 0 {
            let value = "m".repeat(metadata_bytes).parse().expect("ASCII");
            request.metadata_mut().insert("x-test", value);
        }
        self.0.ready().await.expect("the connection is there");
        let answer = self.0.streaming(request, PathAndQuery::from_static(path), Raw).await?;
        let mut answers = answer.into_inner();
        let mut last = Bytes::new();
        while let Some(message) = answers.message().await? {
            last = message;
        }
        Ok(last)
    }
}

const UNARY: [&str; 2] = ["/logs.LogService/WriteLog", "/logs.LogService/WriteBatch"];
const SYNC_LOGS: &str = "/logs.LogService/SyncLogs";
const WRITE_LOGS: &str = "/logs.LogService/WriteLogs";
const TAIL_LOGS: &str = "/logs.LogService/TailLogs";

/// An entry, as a message of each call that takes one: field 1 of a batch is an entry too.
fn sound() -> Bytes {
    let log = proto::grpc::Log { name: "event".into(), ..proto::grpc::Log::default() };
    LogRequest { log_entry: Some(log) }.encode_to_vec().into()
}

/// What a refusal says, which must be marked and of the status that its code has.
fn marked(refused: Result<Bytes, Status>, what: &str) -> Failure {
    let status = refused.map(drop).expect_err(what);
    let failure = failure(&status).unwrap_or_else(|| panic!("{what}: not marked: {status:?}"));
    assert_eq!(status.code(), proto::grpc::status(&failure).code(), "{what}");
    failure
}

#[tokio::test]
async fn what_is_no_message_is_refused_by_one_table_over_each_call_and_nothing_is_stored() {
    let stack = Stack::start_direct(&[]).await;
    let mut client = Client::connect(&stack).await;
    let not_utf8 = Bytes::from_static(&[0x0a, 3, 0x0a, 1, 0xff]);
    let too_large = Bytes::from(vec![0; 20 * 1024 * 1024]);
    let cases = [
        ("garbage", Bytes::from_static(&[0xff; 40]), Code::BadField),
        ("a text that is not UTF-8", not_utf8, Code::BadField),
        ("20 MiB", too_large, Code::TooLarge),
    ];
    for (what, message, code) in cases {
        for path in UNARY.into_iter().chain([SYNC_LOGS, TAIL_LOGS]) {
            // To a tail field 1 is a text.
            if path == TAIL_LOGS && what.contains("UTF-8") {
                continue;
            }
            let refusal = marked(client.call(path, vec![message.clone()]).await, &format!("{path}: {what}"));
            assert_eq!(refusal.code, code, "{path}: {what}: {refusal}");
        }
        let summary = client.call(WRITE_LOGS, vec![message]).await.expect("a summary");
        let summary = WriteLogsResponse::decode(summary).expect("its form");
        assert_eq!((summary.settled, summary.code.as_str()), (0, code.as_str()), "{what}: {summary:?}");
    }
    assert_eq!(stack.all_stored().await, []);
}

#[tokio::test]
async fn a_call_that_takes_one_message_takes_neither_two_nor_none() {
    let stack = Stack::start_direct(&[]).await;
    let mut client = Client::connect(&stack).await;
    for path in UNARY {
        for messages in [vec![sound(), sound()], Vec::new()] {
            let what = format!("{path} with {} messages", messages.len());
            let refusal = marked(client.call(path, messages).await, &what);
            assert_eq!(refusal.code, Code::BadField, "{what}: {refusal}");
        }
    }
    assert_eq!(stack.all_stored().await, []);
    for path in UNARY {
        client.call(path, vec![sound()]).await.expect("one is taken");
    }
    assert_eq!(stack.all_stored().await.len(), 2);
}

#[tokio::test]
async fn metadata_has_a_limit_of_its_own_and_is_refused_as_too_large() {
    let stack = Stack::start_direct(&[]).await;
    let mut client = Client::connect(&stack).await;
    client.call_with(UNARY[0], vec![sound()], 7 * 1024).await.expect("so much is taken");
    let refused = client.call_with(UNARY[0], vec![sound()], 9 * 1024).await;
    assert_eq!(marked(refused, "9 KiB").code, Code::TooLarge);
    assert_eq!(stack.all_stored().await.len(), 1);
}

#[tokio::test]
async fn reflection_answers_by_its_name_of_today_and_by_the_older_one() {
    // Field 7 asks for the names of all services.
    const LIST: &[u8] = &[0x3a, 0];
    let stack = Stack::start_direct(&[]).await;
    let mut client = Client::connect(&stack).await;
    for path in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        let answer = client.call(path, vec![Bytes::from_static(LIST)]).await.expect(path);
        let names = String::from_utf8_lossy(&answer);
        assert!(names.contains("logs.LogService") && names.contains("grpc.health.v1.Health"), "{names}");
    }
}
