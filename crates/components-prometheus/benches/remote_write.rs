//! From a scraped batch to stored records: what every sample pays on its way into the queue of an endpoint.
//!
//! A batch is 1,900 samples of one target, as performance goals count it; read times as nanoseconds a sample
//! through the throughput. `copy` writes the same bytes and nothing else: the floor.

use std::hint::black_box;
use std::sync::Arc;

use components_prometheus::remote_write::bench::{Action, Encoding, Version};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use signal::samples::{NO_FAMILY, Point};
use signal::{FamilyList, Labels, Row, SampleBatch, Series, SeriesList};

const SAMPLES: usize = 1_900;

fn batch(origin: Option<u64>) -> SampleBatch {
    let series = |i: usize| {
        let (path, code) = (format!("/api/v1/resource/{}", i / 20), format!("{}", 200 + i % 20));
        Series::intern(Labels::from_pairs([
            ("__name__", format!("http_server_requests_{}_total", i % 37)),
            ("code", code),
            ("instance", "10.0.12.7:9100".into()),
            ("job", "integrations/server".into()),
            ("method", ["GET", "POST", "PUT"][i % 3].into()),
            ("path", path),
        ]))
    };
    let point = |i: usize| Point {
        series: series(i),
        timestamp_ms: 1_763_700_000_000,
        value: (i * i) as f64 / 7.0,
        start_ms: 0,
        family: NO_FAMILY,
    };
    SampleBatch { points: (0..SAMPLES).map(point).collect(), origin, ..SampleBatch::default() }
}

fn encode(c: &mut Criterion) {
    let external = [("cluster", "prod-1"), ("region", "eu-west"), ("team", "web")];
    let rules = [
        (Action::Keep, "__name__", "http_.*"),
        (Action::Drop, "code", "21[89]"),
        (Action::LabelDrop, "", "team_.*"),
    ];
    let mut group = c.benchmark_group("remote_write");
    group.throughput(Throughput::Elements(SAMPLES as u64));
    let with_origin = batch(Some(1));
    let cases = [
        ("v1", Version::V1, &external[..0], &rules[..0]),
        ("v2", Version::V2, &external[..0], &rules[..0]),
        ("v1_external_labels", Version::V1, &external[..], &rules[..0]),
        ("v2_external_labels", Version::V2, &external[..], &rules[..0]),
        ("v1_write_relabel", Version::V1, &external[..], &rules[..]),
        ("v2_write_relabel", Version::V2, &external[..], &rules[..]),
    ];
    for (name, version, external, rules) in cases {
        let encoding = Encoding::new(version, external, rules);
        group.bench_function(name, |b| b.iter(|| encoding.encode(black_box(&with_origin))));
    }
    let points = with_origin.points.iter();
    let (series, family) = points.map(|p| (p.series.clone(), NO_FAMILY)).unzip();
    let list = Arc::new(SeriesList::new(series, family, FamilyList::default()));
    let values = with_origin.points.iter().map(|p| p.value).collect();
    let points = Row::new(list, 1_763_700_000_000, values).into();
    let row = SampleBatch { points, origin: Some(1), ..SampleBatch::default() };
    for (name, version) in [("v1_row", Version::V1), ("v2_row", Version::V2)] {
        let encoding = Encoding::new(version, &external, &rules);
        (0..3).for_each(|_| assert!(encoding.encode(&row) > 0));
        group.bench_function(name, |b| b.iter(|| encoding.encode(black_box(&row))));
    }
    let without_origin = batch(None);
    let encoding = Encoding::new(Version::V1, &external, &rules);
    group.bench_function("v1_write_relabel_no_origin", |b| {
        b.iter(|| encoding.encode(black_box(&without_origin)))
    });
    let fields = with_origin.points.iter().flat_map(|p| p.series.wire_fields().chain([&[0; 22][..]]));
    let bytes = fields.collect::<Vec<_>>().concat();
    let mut copy = Vec::with_capacity(bytes.len());
    group.bench_function("copy", |b| {
        b.iter(|| {
            copy.clear();
            copy.extend_from_slice(black_box(&bytes));
            copy.len()
        });
    });
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
