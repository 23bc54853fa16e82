//! From a file to a sink that answers at once: what `loki.source.file` costs by itself.
//!
//! `lines` reads a file of 64 MiB with the whole component, from its start until the last line has arrived;
//! `memchr` reads the same file into one buffer and counts its line feeds: the floor. Throughput is in lines:
//! the inverse is the time a line.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use component::testkit::{Harness, Names};
use component::{ArgValue, BoxFuture, ComponentDef, Consumer, Port, Rejected, Services};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use signal::Logs;
use tokio::sync::Notify;

const SIZE: usize = 64 << 20;

struct Count {
    lines: AtomicUsize,
    expected: usize,
    all: Notify,
}

impl Consumer<Logs> for Count {
    fn consume(&self, batch: Logs) -> BoxFuture<'_, Result<(), Rejected>> {
        let count = batch.len();
        drop(batch);
        if self.lines.fetch_add(count, Ordering::Relaxed) + count == self.expected {
            self.all.notify_one();
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

async fn read_by_component(path: &Path, expected: usize) {
    let count = Arc::new(Count { lines: AtomicUsize::new(0), expected, all: Notify::new() });
    let port = Port::detached("count");
    let _ = port.attach_shared(count.clone());
    let storage = tempfile::tempdir().expect("a folder");
    let names = Names::default().with("sink", port.receiver().to_value());
    let services = Services::for_tests(storage.path());
    let harness = Harness::new(ComponentDef::of::<components_loki::source::file::File>(), names, services);
    let body = format!("targets = [{{__path__ = {path:?}}}]\nforward_to = [sink]");
    harness.update(&body).await.expect("good arguments");
    harness.node.start();
    count.all.notified().await;
    harness.stop().await;
}

fn count_feeds(path: &Path, buffer: &mut [u8]) -> usize {
    let mut file = File::open(path).expect("the file is there");
    let mut feeds = 0;
    loop {
        match file.read(buffer).expect("the file can be read") {
            0 => return feeds,
            got => feeds += memchr::memchr_iter(b'\n', &buffer[..got]).count(),
        }
    }
}

fn benches(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut group = c.benchmark_group("file");
    group.sample_size(10);
    for length in [150, 512] {
        let lines = SIZE / length;
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        for i in 0..lines {
            let line = format!("{i:012} level=info msg=\"a request was answered\" path=/api/v1/things/{i}");
            writeln!(file, "{line:.<width$}", width = length - 1).expect("room for a file");
        }
        file.flush().expect("room for a file");
        group.throughput(Throughput::Elements(lines as u64));
        group.bench_function(format!("lines/{length}"), |b| {
            b.iter(|| runtime.block_on(read_by_component(file.path(), lines)));
        });
        let mut buffer = vec![0; 256 << 10];
        group.bench_function(format!("memchr/{length}"), |b| {
            b.iter(|| assert_eq!(count_feeds(file.path(), &mut buffer), lines));
        });
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
