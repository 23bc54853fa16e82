//! What a record costs on its way through the queue: `append` until the transport has it, with and without disk, and when
//! it has to be read back.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use delivery::{BoxFuture, Config, DiskConfig, Fsync, Outcome, Queue, Record, Transport};

/// Takes everything at once.
#[derive(Default)]
struct Sink {
    records: AtomicU64,
}

impl Transport for Sink {
    fn send<'a>(&'a self, records: &'a [Record], _attempt: u32) -> BoxFuture<'a, Outcome> {
        self.records.fetch_add(black_box(records).len() as u64, Ordering::Relaxed);
        Box::pin(std::future::ready(Outcome::Delivered))
    }
}

fn record(body: &Bytes, key: u64) -> Record {
    Record { body: body.clone(), items: 2_000, key, group: 0, created_ms: i64::MAX, newest_ms: 0, kind: 0 }
}

/// Appends `count` records and waits until the sink has them.
async fn push(config: Config, body: &Bytes, count: u64) -> Duration {
    let sink = Arc::new(Sink::default());
    let queue = Queue::open(config, sink.clone()).await.expect("the queue opens");
    let began = std::time::Instant::now();
    for key in 0..count {
        queue.append(record(body, key)).await.expect("the queue accepts");
    }
    queue.drain(Duration::from_secs(60)).await;
    let took = began.elapsed();
    assert_eq!(sink.records.load(Ordering::Relaxed), count);
    took
}

fn benches(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let runtime = runtime.expect("a runtime can be built");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let disk = |fsync| Some(DiskConfig { fsync, ..DiskConfig::new(folder.path().join("q")) });
    let mut group = criterion.benchmark_group("append_and_send");
    group.sample_size(20).throughput(Throughput::Elements(1));
    let interval = Fsync::Interval(Duration::from_secs(1));
    let cases = [
        ("memory", None, 1 << 30),
        ("disk", disk(Fsync::Never), 1 << 30),
        ("disk_fsync_1s", disk(interval), 1 << 30),
        ("disk_spilled", disk(Fsync::Never), 0),
    ];
    for (name, disk, memory_bytes) in cases {
        for bytes in [1_000, 50_000] {
            let body = Bytes::from(vec![7; bytes]);
            let config =
                Config { disk: disk.clone(), memory_bytes, memory_items: u64::MAX, ..Config::default() };
            group.bench_with_input(BenchmarkId::new(name, bytes), &body, |bencher, body| {
                bencher.iter_custom(|count| runtime.block_on(push(config.clone(), body, count)));
            });
        }
    }
    group.finish();
}

criterion_group!(queue, benches);
criterion_main!(queue);
