//! Lines of the log path, in bytes of a 256 KiB read of a file: writing entries into a request, joining two
//! requests, compressing, and reading a request.

#![expect(clippy::unwrap_used, reason = "a bench that fails may panic")]

use std::hint::black_box;

use bytes::Bytes;
use bytestring::ByteString;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use signal::logs::Entry;
use wire::compress::SnappyEncoder;
use wire::loki::{decode, decode_json, entry_len, merge, push_stream};

const READ: usize = 256 << 10;
const LABELS: &str = r#"{filename="/var/log/app/server.log", host="node-7", job="app"}"#;

/// A read of a file whose lines have `len` bytes, borrowed from it.
fn entries(len: usize) -> Vec<Entry> {
    let mut text = String::new();
    for i in 0..READ / len {
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
    let line = |i: usize| text.slice_ref(&text[i * len..(i + 1) * len]);
    let entry =
        |i| Entry { stream: 0, timestamp_ns: 1_700_000_000_123_456_789, line: line(i), metadata: None };
    (0..READ / len).map(entry).collect()
}

fn bench(c: &mut Criterion) {
    for len in [150, 512] {
        let entries = entries(len);
        let mut group = c.benchmark_group(format!("lines of {len} bytes"));
        group.throughput(Throughput::Bytes((entries.len() * len) as u64));
        let mut out = Vec::new();
        group.bench_function("write", |b| {
            b.iter(|| {
                out.clear();
                let len = black_box(&entries).iter().map(entry_len).sum();
                push_stream(&mut out, LABELS, len, entries.iter());
            });
        });
        let body = out.clone();
        group.bench_function("join with an empty one", |b| {
            b.iter(|| {
                out.clear();
                merge([black_box(&body[..]), &[]], &mut out).unwrap();
            });
        });
        let mut snappy = SnappyEncoder::new();
        group.bench_function("snappy", |b| {
            b.iter(|| {
                out.clear();
                snappy.compress(black_box(&body), &mut out).unwrap();
            });
        });
        let protobuf = Bytes::from(body);
        group.bench_function("read protobuf", |b| {
            b.iter(|| decode(black_box(&protobuf), 0, 64 << 20).unwrap())
        });
        let values: Vec<_> =
            entries.iter().map(|e| (e.timestamp_ns.to_string(), e.line.to_string())).collect();
        let json = serde_json::json!({"streams": [{"stream": {"job": "app"}, "values": values}]}).to_string();
        let json = Bytes::from(json);
        group.bench_function("read JSON", |b| b.iter(|| decode_json(black_box(&json), 0, 64 << 20).unwrap()));
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
