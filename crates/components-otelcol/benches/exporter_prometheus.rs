//! From an OTLP request to a batch of samples: what `otelcol.exporter.prometheus` costs a data point.
//!
//! `first` is a request of which nothing is known, `again` one whose series are all remembered (the state in which
//! it always is), `decoded` the same without decoding it. Divide by the samples for the time of each.

use std::hint::black_box;

use component::{BuildCx, Services};
use components_otelcol::dropped::Dropped;
use components_otelcol::exporter::prometheus::{Converter, Options};
use components_otelcol::value::attribute;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use signal::OtlpMetrics;
use signal::otlp::OtlpRequest;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    number_data_point,
};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp_names::Translation;

const CUMULATIVE: i32 = 2;
/// Data points of each kind.
const POINTS: usize = 100;
/// Samples of all of them: counters, gauges, histograms of twelve bounds, and `target_info`.
const SAMPLES: usize = POINTS + POINTS + POINTS * 15 + 1;

fn request() -> ExportMetricsServiceRequest {
    let attributes = |i: usize| {
        vec![
            attribute("http.request.method", "GET"),
            attribute("http.route", &format!("/api/v1/resource/{i}")),
            attribute("http.response.status_code", "200"),
        ]
    };
    let number = |i: usize| NumberDataPoint {
        attributes: attributes(i),
        start_time_unix_nano: 1_000_000_000,
        time_unix_nano: 2_000_000_000,
        value: Some(number_data_point::Value::AsDouble(i as f64)),
        ..NumberDataPoint::default()
    };
    let histogram = |i: usize| HistogramDataPoint {
        attributes: attributes(i),
        start_time_unix_nano: 1_000_000_000,
        time_unix_nano: 2_000_000_000,
        count: 26,
        sum: Some(12.5),
        explicit_bounds: vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
        bucket_counts: vec![2; 13],
        ..HistogramDataPoint::default()
    };
    let metric = |name: &str, unit: &str, data| Metric {
        name: name.into(),
        unit: unit.into(),
        description: "What is measured.".into(),
        data: Some(data),
        ..Metric::default()
    };
    let metrics = vec![
        metric("http.server.request.duration", "s", {
            let data_points = (0..POINTS).map(histogram).collect();
            Data::Histogram(Histogram { data_points, aggregation_temporality: CUMULATIVE })
        }),
        metric("http.server.requests", "{request}", {
            let data_points = (0..POINTS).map(number).collect();
            Data::Sum(Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic: true })
        }),
        metric("http.server.active", "1", {
            Data::Gauge(Gauge { data_points: (0..POINTS).map(number).collect() })
        }),
    ];
    let attributes = vec![
        attribute("service.name", "shop"),
        attribute("service.instance.id", "627cc493-f310-47de-96bd-71410b7dec09"),
        attribute("k8s.pod.name", "shop-6d4b75cb6d-hx7mp"),
    ];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
    }
}

fn benches(c: &mut Criterion) {
    let options = Options {
        target_info: true,
        scope_info: false,
        scope_labels: true,
        names: Translation::UnderscoreEscapingWithSuffixes,
        resource_labels: false,
        metadata: false,
        custom_buckets: false,
        keep_identifying: false,
        start_zero: false,
    };
    let cx = BuildCx::detached("bench", Services::for_tests(std::env::temp_dir()));
    let dropped = Dropped::new(&cx, "bench");
    let decoded = OtlpRequest::from_message(request());
    let wire = decoded.wire().clone();
    let from_wire = || OtlpMetrics::of(OtlpRequest::from_wire(wire.clone(), POINTS as u32 * 3, None));
    let converter = Converter::new(options.clone(), dropped.clone());
    let convert = |converter: &Converter, batch: &OtlpMetrics| {
        let samples = converter.convert(batch).expect("a good request");
        assert_eq!(samples.points.len(), SAMPLES);
        black_box(samples);
    };
    let mut group = c.benchmark_group("exporter_prometheus");
    group.throughput(Throughput::Elements(SAMPLES as u64));
    group.bench_function("first", |b| {
        b.iter(|| convert(&Converter::new(options.clone(), dropped.clone()), &from_wire()));
    });
    group.bench_function("again", |b| b.iter(|| convert(&converter, &from_wire())));
    let decoded = OtlpMetrics::of(decoded);
    group.bench_function("decoded", |b| b.iter(|| convert(&converter, &decoded)));
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
