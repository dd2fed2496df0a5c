//! What a commit costs, sync included, by the entries that have gathered in it.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use logger::store::{self, Arrival, Batch, StoreUrl};
use proto::{BatchMode, EntryDraft, Transport};

fn group(entries: usize, payload_bytes: usize) -> Vec<Batch> {
    let arrival = || {
        let draft =
            EntryDraft { name: "event".into(), data: "x".repeat(payload_bytes), ..EntryDraft::default() };
        Arrival { entry: draft.check(Timestamp::now()).expect("valid"), came_by: Transport::Rpc }
    };
    // As they come from callers of their own: a batch of one each.
    (0..entries).map(|_| Batch { arrivals: vec![arrival()], mode: BatchMode::Each }).collect()
}

fn commit(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut stores =
        vec![("synced", StoreUrl::Sqlite(directory.path().join("logs.db"))), ("nothing", StoreUrl::Nothing)];
    // By `deploy/postgres.sh with-test-server`.
    if let Ok(url) = std::env::var("FOURWIRE_TEST_POSTGRES") {
        stores.push(("postgres", url.parse().expect("a URL")));
    }
    for (name, url) in stores {
        let mut store = store::open(&url, None).expect("a store");
        let mut benches = criterion.benchmark_group(format!("commit, {name}"));
        for entries in [1, 8, 64, 512] {
            benches.throughput(Throughput::Elements(entries as u64));
            benches.bench_function(BenchmarkId::from_parameter(entries), |bench| {
                bench.iter_custom(|rounds| {
                    let mut taken = Duration::ZERO;
                    for _ in 0..rounds {
                        let group = group(entries, 64);
                        let begun = Instant::now();
                        store.commit(&group).expect("committed");
                        taken += begun.elapsed();
                    }
                    taken
                });
            });
        }
        benches.finish();
    }
}

criterion_group!(benches, commit);
criterion_main!(benches);
