//! What the forms of an entry cost the processor: read from a caller's JSON, and written and read on each wire.

use std::{hint::black_box, pin::Pin};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use prost::Message;
use proto::{EntryDraft, LogEntry, Transport, grpc, json, rabbitmq};
use tokio_serde::{Deserializer, Serializer, formats::MessagePack};

const PAYLOADS: [usize; 3] = [64, 1_024, 16 * 1_024];

fn entry(payload_bytes: usize) -> LogEntry {
    let draft = EntryDraft { name: "event".into(), data: "x".repeat(payload_bytes), ..EntryDraft::default() };
    draft.check(Timestamp::now()).expect("valid")
}

fn read_handle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read the body of /handle");
    for payload_bytes in PAYLOADS {
        let data = "x".repeat(payload_bytes);
        let body =
            format!(r#"{{"action":"log","transport":"rpc","log":{{"name":"event","data":"{data}"}}}}"#);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(payload_bytes), body.as_bytes(), |bench, body| {
            let now = Timestamp::now();
            bench.iter(|| json::Handle::parse(black_box(body), now).expect("valid"));
        });
    }
    group.finish();
}

fn write(criterion: &mut Criterion) {
    for payload_bytes in PAYLOADS {
        let entry = entry(payload_bytes);
        let mut group = criterion.benchmark_group(format!("write {payload_bytes} B"));
        group.bench_function("http", |bench| bench.iter(|| json::entry_json(black_box(&entry), None)));
        group.bench_function("rpc", |bench| {
            let mut format = MessagePack::<EntryDraft, EntryDraft>::default();
            bench.iter(|| {
                let draft = EntryDraft::from(black_box(&entry));
                Pin::new(&mut format).serialize(&draft).expect("it can be written")
            });
        });
        group.bench_function("grpc", |bench| {
            bench.iter(|| {
                let request = grpc::LogRequest { log_entry: Some(grpc::log(black_box(&entry), None)) };
                request.encode_to_vec()
            });
        });
        group.finish();
    }
}

fn read(criterion: &mut Criterion) {
    for payload_bytes in PAYLOADS {
        let entry = entry(payload_bytes);
        let now = Timestamp::now();
        let mut group = criterion.benchmark_group(format!("read {payload_bytes} B"));
        let text = json::entry_json(&entry, None);
        group.bench_function("http", |bench| {
            bench.iter(|| json::parse_entry(black_box(text.as_bytes())).and_then(|draft| draft.check(now)));
        });
        let mut format = MessagePack::<EntryDraft, EntryDraft>::default();
        let bytes = Pin::new(&mut format).serialize(&EntryDraft::from(&entry)).expect("it can be written");
        let bytes: bytes::BytesMut = bytes.as_ref().into();
        group.bench_function("rpc", |bench| {
            bench.iter(|| {
                let draft = Pin::new(&mut format).deserialize(black_box(&bytes)).expect("it can be read");
                draft.check(now)
            });
        });
        let request = grpc::LogRequest { log_entry: Some(grpc::log(&entry, None)) }.encode_to_vec();
        group.bench_function("grpc", |bench| {
            bench.iter(|| {
                let request = grpc::LogRequest::decode(black_box(&request[..])).expect("it can be read");
                EntryDraft::from(request.log_entry.expect("an entry")).check(now)
            });
        });
        let message = json::entry_json(&entry, Some(Transport::Rabbitmq));
        group.bench_function("rabbitmq", |bench| {
            bench.iter(|| rabbitmq::parse_message(black_box(message.as_bytes()), None, "log.INFO", now));
        });
        group.finish();
    }
}

criterion_group!(benches, read_handle, write, read);
criterion_main!(benches);
