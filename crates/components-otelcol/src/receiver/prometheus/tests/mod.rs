//! The receiver as its neighbours see it, and samples that come back from the exporter.

mod round_trip;

use component::otel::OtelInput;
use component::testkit::{Harness, Names, Sink};
use component::{ArgValue, ComponentDef};
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::number_data_point::Value;
use signal::samples::{
    ExemplarPoint, FamilyMetadata, HistogramPoint, MetricKind, NO_FAMILY, Point, STALE_NAN,
};
use signal::{Labels, NativeHistogram, Series};

use super::*;

struct Bench {
    harness: Harness,
    receiver: Receiver<Samples>,
    sink: Sink<OtlpMetrics>,
}

impl Bench {
    async fn new() -> Self {
        let sink = Sink::<OtlpMetrics>::new();
        let next = OtelInput { metrics: Some(sink.receiver()), ..OtelInput::default() };
        let names = Names::default().with("next", next.to_value());
        let harness =
            Harness::start(ComponentDef::of::<Prometheus>(), "output { metrics = [next] }", names).await;
        let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
        let receiver = Receiver::<Samples>::from_value(&exports["receiver"]).expect("a receiver");
        Self { harness, receiver, sink }
    }

    async fn convert(&self, batch: SampleBatch) -> Option<ExportMetricsServiceRequest> {
        self.receiver.send(batch.into()).await.expect("taken");
        let batch = self.sink.take().pop()?;
        Some(batch.requests[0].message().expect("decodes").clone())
    }

    async fn lines(&self, batch: SampleBatch) -> Vec<String> {
        self.convert(batch).await.iter().flat_map(shown).collect()
    }

    fn dropped(&self, what: &str, why: &str) -> bool {
        let text = self.harness.services.metrics.text();
        text.lines().any(|line| {
            line.contains(&format!("what=\"{what}\""))
                && line.contains(&format!("why=\"{why}\""))
                && line.ends_with(" 1")
        })
    }
}

pub(super) fn series(text: &[(&str, &str)]) -> Series {
    Series::intern(Labels::from_pairs(text.iter().copied()))
}

fn sample(labels: &[(&str, &str)], value: f64) -> Point {
    Point { series: series(labels), timestamp_ms: 2_000, value, start_ms: 0, family: NO_FAMILY }
}

/// A sample of a metric whose name is all there is.
fn named(name: &str, value: f64) -> Point {
    sample(&[("__name__", name), ("job", "j"), ("instance", "i")], value)
}

fn batch(points: Vec<Point>) -> SampleBatch {
    SampleBatch { points: points.into(), ..SampleBatch::default() }
}

fn with_family(mut batch: SampleBatch, name: &str, kind: MetricKind) -> SampleBatch {
    let metadata = FamilyMetadata { name: name.into(), kind, help: "help".into(), unit: "seconds".into() };
    batch.families = Arc::new(vec![Arc::new(metadata)]);
    batch.points.listed().iter_mut().for_each(|point| point.family = 0);
    batch.histograms.iter_mut().for_each(|point| point.family = 0);
    batch
}

fn attributes(list: &[KeyValue]) -> String {
    let each = list.iter().map(|a| format!("{}={}", a.key, crate::value::text(a.value.as_ref())));
    format!("{{{}}}", each.collect::<Vec<_>>().join(","))
}

/// A line a point: kind, name, attributes, value, start and time in seconds, flags.
fn shown(request: &ExportMetricsServiceRequest) -> Vec<String> {
    let mut out = Vec::new();
    let scopes = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics);
    for metric in scopes.flat_map(|s| &s.metrics) {
        let mut line =
            |kind: &str, list: &[KeyValue], value: String, (start, time, flags): (u64, u64, u32)| {
                let start = if start == 0 { String::new() } else { format!(" ^{}", start / 1_000_000) };
                let flags = if flags == 0 { "" } else { " none" };
                let time = time / 1_000_000;
                out.push(format!("{kind} {}{} {value} @{time}{start}{flags}", metric.name, attributes(list)));
            };
        let number = |value: &Option<Value>| match value {
            Some(Value::AsDouble(value)) => value.to_string(),
            Some(Value::AsInt(value)) => value.to_string(),
            None => "-".to_string(),
        };
        match metric.data.as_ref().expect("data") {
            Data::Gauge(d) => d.data_points.iter().for_each(|p| {
                let times = (p.start_time_unix_nano, p.time_unix_nano, p.flags);
                line("gauge", &p.attributes, number(&p.value), times);
            }),
            Data::Sum(d) => d.data_points.iter().for_each(|p| {
                let times = (p.start_time_unix_nano, p.time_unix_nano, p.flags);
                let kind = if d.is_monotonic { "counter" } else { "sum" };
                line(kind, &p.attributes, number(&p.value), times);
            }),
            Data::Histogram(d) => d.data_points.iter().for_each(|p| {
                let times = (p.start_time_unix_nano, p.time_unix_nano, p.flags);
                let value = format!("{} {:?} {:?}/{:?}", p.count, p.sum, p.explicit_bounds, p.bucket_counts);
                line("histogram", &p.attributes, value, times);
            }),
            Data::ExponentialHistogram(d) => d.data_points.iter().for_each(|p| {
                let times = (p.start_time_unix_nano, p.time_unix_nano, p.flags);
                line(
                    "exponential",
                    &p.attributes,
                    format!("{} {:?} scale {}", p.count, p.sum, p.scale),
                    times,
                );
            }),
            Data::Summary(d) => d.data_points.iter().for_each(|p| {
                let times = (p.start_time_unix_nano, p.time_unix_nano, p.flags);
                let quantiles: Vec<_> = p.quantile_values.iter().map(|q| (q.quantile, q.value)).collect();
                line("summary", &p.attributes, format!("{} {} {quantiles:?}", p.count, p.sum), times);
            }),
        }
    }
    out
}

#[tokio::test]
async fn job_instance_and_target_info_make_the_resource() {
    let bench = Bench::new().await;
    let one = [("job", "j"), ("instance", "10.0.0.1:9100")];
    let info = [&[("__name__", "target_info"), ("k8s_pod", "p"), ("server_port", "x")][..], &one].concat();
    let here = [&[("__name__", "g"), ("zone", "a")][..], &one].concat();
    let points = vec![
        sample(&here, 1.0),
        sample(&info, 1.0),
        sample(&[("__name__", "h"), ("job", "other"), ("instance", "localhost:1")], 2.0),
    ];
    let request = bench.convert(batch(points)).await.expect("a request");
    let resources: Vec<_> = request
        .resource_metrics
        .iter()
        .map(|r| attributes(&r.resource.as_ref().expect("a resource").attributes))
        .collect();
    assert_eq!(
        resources,
        [
            "{service.name=j,service.instance.id=10.0.0.1:9100,server.address=10.0.0.1,server.port=9100,k8s_pod=p,server_port=x}",
            "{service.name=other,service.instance.id=localhost:1,server.port=1}",
        ]
    );
    assert_eq!(shown(&request), ["gauge g{zone=a} 1 @2000", "gauge h{} 2 @2000"]);
}

#[tokio::test]
async fn scopes_come_of_labels_and_of_scope_info() {
    let bench = Bench::new().await;
    let scope = [("otel_scope_name", "lib"), ("otel_scope_version", "1")];
    let own = [&[("__name__", "g")][..], &scope].concat();
    let info = [&[("__name__", "otel_scope_info"), ("team", "x")][..], &scope].concat();
    let more = [
        ("__name__", "m"),
        ("otel_scope_name", "lib"),
        ("otel_scope_schema_url", "u"),
        ("otel_scope_env", "e"),
    ];
    let points = vec![sample(&own, 1.0), sample(&info, 1.0), sample(&more, 1.0), named("plain", 1.0)];
    let request = bench.convert(batch(points)).await.expect("a request");
    let scopes: Vec<_> = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).collect();
    let shown: Vec<_> = scopes
        .iter()
        .map(|s| {
            let scope = s.scope.as_ref().expect("a scope");
            format!(
                "{} {} {}",
                scope.name.rsplit('/').next().unwrap(),
                attributes(&scope.attributes),
                s.schema_url
            )
        })
        .collect();
    assert_eq!(shown, ["lib {team=x} ", "lib {env=e} u", "prometheusreceiver {} "]);
}

#[tokio::test]
async fn metadata_says_what_a_metric_is() {
    let bench = Bench::new().await;
    use MetricKind::{Counter, Gauge, GaugeHistogram, Info, StateSet, Unknown};
    for (name, family, kind, expected) in [
        ("c_total", "c", Counter, "counter c_total{} 1 @2000"),
        ("hits", "hits", Counter, "counter hits{} 1 @2000"),
        ("g_total", "g_total", Gauge, "gauge g_total{} 1 @2000"),
        ("u_total", "u_total", Unknown, "gauge u_total{} 1 @2000"),
        ("gh_gsum", "gh", GaugeHistogram, "gauge gh_gsum{} 1 @2000"),
        ("i_info", "i", Info, "sum i_info{} 1 @2000"),
        ("state", "state", StateSet, "sum state{} 1 @2000"),
    ] {
        let sent = with_family(batch(vec![named(name, 1.0)]), family, kind);
        let request = bench.convert(sent).await.expect("a request");
        assert_eq!(shown(&request), [expected]);
        let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
        assert_eq!((metric.unit.as_str(), metric.description.as_str()), ("s", "help"));
        // Remembered for what ends without metadata.
        let stale = bench.lines(batch(vec![named(name, STALE_NAN)])).await;
        assert_eq!(stale, [expected.replace(" 1 @2000", " - @2000 none")]);
    }
}

#[tokio::test]
async fn a_metric_says_nothing_of_another_whose_name_begins_alike() {
    let bench = Bench::new().await;
    let known = with_family(batch(vec![named("x", 1.0)]), "x", MetricKind::Gauge);
    assert_eq!(bench.lines(known).await, ["gauge x{} 1 @2000"]);
    assert_eq!(bench.lines(batch(vec![named("x_total", 1.0)])).await, ["counter x_total{} 1 @2000"]);
    let known = with_family(batch(vec![named("h_count", 1.0)]), "h", MetricKind::Histogram);
    assert_eq!(bench.lines(known).await, ["histogram h{} 1 None []/[1] @2000"]);
    assert_eq!(bench.lines(batch(vec![named("h_total", 1.0)])).await, ["counter h_total{} 1 @2000"]);
    assert_eq!(bench.lines(batch(vec![named("h_count", 2.0)])).await, ["histogram h{} 2 None []/[2] @2000"]);
    let known = with_family(batch(vec![named("c_total", 1.0)]), "c_total", MetricKind::Counter);
    bench.lines(known).await;
    let created = batch(vec![named("c_created", 0.5), named("c_total", 3.0)]);
    assert_eq!(bench.lines(created).await, ["counter c_total{} 3 @2000 ^500"]);
}

#[tokio::test]
async fn names_say_what_a_metric_is_where_nobody_else_does() {
    let bench = Bench::new().await;
    let points = vec![
        named("c_total", 1.0),
        named("c_created", 0.5),
        sample(&[("__name__", "h_bucket"), ("le", "+Inf"), ("x", "1")], 3.0),
        sample(&[("__name__", "h_bucket"), ("le", "1.0"), ("x", "1")], 1.0),
        sample(&[("__name__", "h_bucket"), ("le", "0.5"), ("x", "1")], 1.0),
        sample(&[("__name__", "h_sum"), ("x", "1")], 4.5),
        sample(&[("__name__", "h_count"), ("x", "1")], 3.0),
        sample(&[("__name__", "h_created"), ("x", "1")], 1.5),
        sample(&[("__name__", "s"), ("quantile", "0.9")], 7.0),
        sample(&[("__name__", "s"), ("quantile", "0.5")], 6.0),
        sample(&[("__name__", "s_sum")], 13.0),
        sample(&[("__name__", "s_count")], 2.0),
        named("x_count", 1.0),
        named("y_created", 1.0),
    ];
    let lines = bench.lines(batch(points)).await;
    let expected = [
        "counter c_total{} 1 @2000 ^500",
        "gauge x_count{} 1 @2000",
        "gauge y_created{} 1 @2000",
        "histogram h{x=1} 3 Some(4.5) [0.5, 1.0]/[1, 0, 2] @2000 ^1500",
        "summary s{} 2 13 [(0.5, 6.0), (0.9, 7.0)] @2000",
    ];
    let mut sorted = lines;
    sorted.sort();
    assert_eq!(sorted, expected);
}

#[tokio::test]
async fn points_of_several_times_and_start_times_stay_apart() {
    let bench = Bench::new().await;
    let at = |time: i64, value: f64| Point { timestamp_ms: time, start_ms: 1_000, ..named("c_total", value) };
    let lines = bench.lines(batch(vec![at(2_000, 1.0), at(3_000, 2.0)])).await;
    assert_eq!(lines, ["counter c_total{} 1 @2000 ^1000", "counter c_total{} 2 @3000 ^1000"]);
}

#[tokio::test]
async fn histograms_that_cannot_be_are_counted() {
    let bench = Bench::new().await;
    let bucket = |le: &str, value| sample(&[("__name__", "h_bucket"), ("le", le)], value);
    let count = |value| sample(&[("__name__", "h_count")], value);
    assert!(bench.lines(batch(vec![bucket("1", 5.0), count(3.0)])).await.is_empty());
    assert!(bench.dropped("histogram", "buckets not cumulative"));
    assert!(bench.lines(batch(vec![bucket("1", 5.0)])).await.is_empty());
    assert!(bench.dropped("histogram", "no count"));
    let infinite = bench.lines(batch(vec![bucket("1", 5.0), bucket("+Inf", 6.0)])).await;
    assert_eq!(infinite, ["histogram h{} 6 None [1.0]/[5, 1] @2000"]);
    let ended = bench.lines(batch(vec![bucket("1", STALE_NAN), count(STALE_NAN)])).await;
    assert_eq!(ended, ["histogram h{} 0 None [1.0]/[0, 0] @2000 none"]);
    assert!(bench.lines(batch(vec![sample(&[("job", "x")], 1.0)])).await.is_empty());
    assert!(bench.dropped("sample", "no metric name"));
    assert!(bench.lines(batch(vec![Point { timestamp_ms: -1, ..named("g", 1.0) }])).await.is_empty());
    assert!(bench.dropped("sample", "time before 1970"));
}

#[tokio::test]
async fn native_histograms_are_exponential_or_have_bounds() {
    let bench = Bench::new().await;
    let point = |histogram| HistogramPoint {
        series: series(&[("__name__", "n")]),
        timestamp_ms: 2_000,
        histogram: Arc::new(histogram),
        start_ms: 1_000,
        family: NO_FAMILY,
    };
    let custom = signal::histogram::convert_classic(&[(1.0, 2.0)], 3.0, Some(4.0)).expect("consistent");
    let mut exponential = NativeHistogram::stale();
    (exponential.sum, exponential.schema) = (0.0, 3);
    exponential.reset_hint = signal::histogram::ResetHint::Gauge;
    let mut wrong = exponential.clone();
    wrong.schema = 100;
    for (histogram, expected) in [
        (custom, vec!["histogram n{} 4 Some(3.0) [1.0]/[2, 2] @2000 ^1000"]),
        (exponential, vec!["exponential n{} 0 Some(0.0) scale 3 @2000 ^1000"]),
        (NativeHistogram::stale(), vec!["exponential n{} 0 None scale 0 @2000 ^1000 none"]),
        (wrong, vec![]),
    ] {
        let batch = SampleBatch { histograms: vec![point(histogram)], ..SampleBatch::default() };
        assert_eq!(bench.lines(batch).await, expected);
    }
    assert!(bench.dropped("histogram", "inconsistent"));
}

#[tokio::test]
async fn exemplars_go_with_the_point_of_their_series() {
    let bench = Bench::new().await;
    let mut sent = batch(vec![named("c_total", 1.0)]);
    let labels = Labels::from_pairs([
        ("trace_id", "ab".repeat(16)),
        ("span_id", "short".into()),
        ("user", "u".into()),
    ]);
    let exemplar =
        ExemplarPoint { series: named("c_total", 1.0).series, labels, value: 1.0, timestamp_ms: 1_500 };
    let lost = ExemplarPoint { series: named("other", 1.0).series, ..exemplar.clone() };
    sent.exemplars = vec![exemplar, lost];
    let request = bench.convert(sent).await.expect("a request");
    let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
    let Some(Data::Sum(sum)) = &metric.data else { panic!("a counter") };
    let exemplar = &sum.data_points[0].exemplars[0];
    assert_eq!((exemplar.trace_id.clone(), exemplar.span_id.len()), (vec![0xab; 16], 0));
    assert_eq!(attributes(&exemplar.filtered_attributes), "{span_id=short,user=u}");
    assert_eq!(exemplar.time_unix_nano, 1_500_000_000);
    assert!(bench.dropped("exemplar", "without a sample"));
}

#[tokio::test]
async fn answers_are_those_of_the_consumers_and_without_any_samples_are_refused() {
    let bench = Bench::new().await;
    bench.sink.answer(Err(Rejected::Retryable("full".into())));
    let sent = || Samples::from(batch(vec![named("g", 1.0)]));
    assert_eq!(bench.receiver.send(sent()).await, Err(Rejected::Retryable("full".into())));
    bench.harness.update("output { }").await.expect("valid");
    assert!(matches!(bench.receiver.send(sent()).await, Err(Rejected::Permanent(_))));
}
