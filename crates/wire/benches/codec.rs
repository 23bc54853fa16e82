//! Lines of the scrape and remote write paths, in time per page of 2,000 series: parsing a page that is as
//! predicted and one that is not, taking series apart, encoding both versions, compressing.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a bench that fails may panic; it tells sizes")]

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use signal::samples::Point;
use signal::{FamilyMetadata, LabelsBuilder, MetricKind, SampleBatch};
use wire::compress::SnappyEncoder;
use wire::exposition::{Event, Format, Options, Parser, parse_series};
use wire::remote_write::{self, V1Encoder, V2Encoder};

const SERIES: usize = 2000;

/// A page as node_exporter writes it: many counters by cpu and mode, gauges by device, plain gauges.
fn page() -> String {
    let mut out = String::new();
    let mut n = 0;
    let modes = ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"];
    out.push_str("# HELP node_cpu_seconds_total Seconds the CPUs spent in each mode.\n# TYPE node_cpu_seconds_total counter\n");
    for cpu in 0..64 {
        for (i, mode) in modes.iter().enumerate() {
            writeln!(
                out,
                "node_cpu_seconds_total{{cpu=\"{cpu}\",mode=\"{mode}\"}} {}.{:02}",
                cpu * 997 + i * 131,
                i * 7
            )
            .unwrap();
            n += 1;
        }
    }
    for family in 0..40 {
        writeln!(out, "# HELP node_disk_stat{family}_total Some statistic of disks, number {family}.\n# TYPE node_disk_stat{family}_total counter").unwrap();
        for device in 0..30 {
            let value = if device % 3 == 0 {
                "0".to_owned()
            } else {
                format!("{}.{}e+0{}", 1 + family % 9, 1_234_567 + device, device % 10)
            };
            writeln!(out, "node_disk_stat{family}_total{{device=\"nvme{device}n1\"}} {value}").unwrap();
            n += 1;
        }
    }
    for i in n..SERIES {
        writeln!(out, "# HELP node_memory_Field{i}_bytes Memory information field {i}.\n# TYPE node_memory_Field{i}_bytes gauge").unwrap();
        writeln!(out, "node_memory_Field{i}_bytes {}", i * 4096).unwrap();
    }
    out
}

fn raws(page: &str) -> Vec<(Vec<u8>, MetricKind)> {
    let mut parser = Parser::new(Format::PrometheusText, page.as_bytes(), Options::default());
    let mut raws = Vec::new();
    loop {
        let raw = match parser.next(&[]).unwrap() {
            None => return raws,
            Some(Event::Sample(sample)) => sample.raw.to_vec(),
            Some(_) => continue,
        };
        raws.push((raw, parser.kind()));
    }
}

fn parse(page: &str, expected: &[(Vec<u8>, MetricKind)]) -> (usize, f64) {
    let mut parser = Parser::new(Format::PrometheusText, page.as_bytes(), Options::default());
    let (mut n, mut sum) = (0, 0.0);
    loop {
        let expected = expected.get(n).map_or(&[][..], |(raw, _)| raw);
        match parser.next(expected).unwrap() {
            None => return (n, sum),
            Some(Event::Sample(sample)) => {
                n += 1;
                sum += sample.value;
            }
            Some(_) => {}
        }
    }
}

fn batch(raws: &[(Vec<u8>, MetricKind)]) -> SampleBatch {
    let mut builder = LabelsBuilder::new();
    let mut batch = SampleBatch::default();
    let mut last = String::new();
    for (i, (raw, kind)) in raws.iter().enumerate() {
        parse_series(Format::PrometheusText, raw, *kind, &mut builder).unwrap();
        let name = builder.get("__name__").unwrap().to_owned();
        builder.set("instance", "10.20.30.40:9100");
        builder.set("job", "integrations/node_exporter");
        builder.set("cluster", "eu-west-1-production");
        builder.set("namespace", "monitoring");
        if name != last {
            let help = format!("Help of {name}, some words long.");
            let family = FamilyMetadata { name: name.clone(), kind: *kind, help, unit: String::new() };
            Arc::make_mut(&mut batch.families).push(family.into());
            last = name;
        }
        batch.points.push(Point {
            series: builder.build_series(),
            timestamp_ms: 1_700_000_000_000,
            value: if i % 3 == 0 { 0.0 } else { i as f64 * 1.25 },
            start_ms: 0,
            family: batch.families.len() as u32 - 1,
        });
    }
    batch
}

fn bench(c: &mut Criterion) {
    let page = page();
    let raws = raws(&page);
    assert_eq!(raws.len(), SERIES);
    let batch = batch(&raws);
    let mut group = c.benchmark_group("page");
    group.throughput(Throughput::Elements(SERIES as u64));
    group.bench_function("parse, predicted", |b| b.iter(|| parse(black_box(&page), &raws)));
    group.bench_function("parse, not predicted", |b| b.iter(|| parse(black_box(&page), &[])));
    group.bench_function("parse_series", |b| {
        let mut builder = LabelsBuilder::new();
        b.iter(|| {
            for (raw, kind) in &raws {
                parse_series(Format::PrometheusText, black_box(raw), *kind, &mut builder).unwrap();
            }
        });
    });
    let options = remote_write::Options::default();
    let (mut v1, mut v2) = (V1Encoder::new(), V2Encoder::new());
    let mut out = Vec::new();
    group.bench_function("encode version 1", |b| {
        b.iter(|| {
            out.clear();
            v1.requests(black_box(&batch), options).next(&mut out)
        });
    });
    let body1 = out.clone();
    group.bench_function("encode version 2", |b| {
        b.iter(|| {
            out.clear();
            v2.requests(black_box(&batch), options).next(&mut out)
        });
    });
    let body2 = out.clone();
    eprintln!("version 1: {} bytes, version 2: {} bytes", body1.len(), body2.len());
    let mut snappy = SnappyEncoder::new();
    for (name, body) in [("snappy of version 1", &body1), ("snappy of version 2", &body2)] {
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                snappy.compress(black_box(body), &mut out)
            });
        });
        eprintln!("{name}: {} bytes", out.len());
    }
    group.bench_function("decode version 2", |b| {
        b.iter(|| remote_write::decode(remote_write::Message::V2, black_box(&body2), 1 << 26));
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
