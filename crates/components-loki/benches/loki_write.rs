//! From a batch of entries to stored records, and from these to a request: what every line pays on its way through
//! `loki.write`.
//!
//! A batch is a read of 256 KB of a file; read times as bytes of lines through the throughput. `copy` writes the
//! same lines and nothing else: the floor.

use std::hint::black_box;

use bytestring::ByteString;
use components_loki::write::bench::Encoding;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use signal::logs::Entry;
use signal::{Labels, LogBatch};

const READ: usize = 256 << 10;

/// Lines of `len` bytes that borrow from one buffer, spread over `streams` streams.
fn batch(len: usize, streams: u32) -> LogBatch {
    let mut text = String::new();
    let count = READ / len;
    for i in 0..count {
        let start = text.len();
        text.push_str(&format!(
            "2026-01-02T03:04:05.{i:06}Z level=info msg=\"request done\" id={} ",
            i * 7919
        ));
        while text.len() - start < len {
            text.push_str(&format!("k{}=v{} ", text.len() % 17, text.len() * 31 % 9973));
        }
        text.truncate(start + len);
    }
    let text: ByteString = text.into();
    let labels = |i: u32| {
        let file = format!("/var/log/app/server-{i}.log");
        Labels::from_pairs([("filename", file.as_str()), ("host", "node-7"), ("job", "app")])
    };
    let entry = |i: usize| Entry {
        stream: i as u32 * 7 % streams,
        timestamp_ns: 1_763_700_000_000_000_000 + i as i64,
        line: text.slice_ref(&text[i * len..(i + 1) * len]),
        metadata: None,
    };
    let streams = (0..streams).map(labels).collect();
    LogBatch { entries: (0..count).map(entry).collect(), streams, ..LogBatch::default() }
}

fn write(c: &mut Criterion) {
    for len in [150, 512] {
        let one = batch(len, 1);
        let mut group = c.benchmark_group(format!("lines of {len} bytes"));
        group.throughput(Throughput::Bytes((one.entries.len() * len) as u64));
        group.bench_function("copy", |b| {
            b.iter(|| {
                let mut out = Vec::with_capacity(READ);
                black_box(&one).entries.iter().for_each(|e| out.extend_from_slice(e.line.as_bytes()));
                out
            });
        });
        let mut encoding = Encoding::new(&[("cluster", "prod-1"), ("region", "eu-west")]);
        group.bench_function("records of one stream", |b| b.iter(|| encoding.records(black_box(&one))));
        let many = batch(len, 50);
        group.bench_function("records of fifty streams", |b| b.iter(|| encoding.records(black_box(&many))));
        let records: Vec<_> = (0..4).flat_map(|_| encoding.records(&one)).collect();
        group.throughput(Throughput::Bytes((4 * one.entries.len() * len) as u64));
        group.bench_function("request of four batches", |b| b.iter(|| encoding.request(black_box(&records))));
        group.finish();
    }
}

criterion_group!(benches, write);
criterion_main!(benches);
