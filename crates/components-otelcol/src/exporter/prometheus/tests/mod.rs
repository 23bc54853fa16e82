//! The exporter as its neighbours see it: what comes out for each kind of metric and each argument.

mod build;
mod kinds;
mod remembered;

use component::testkit::{Harness, Names, Refused, Sink};
use component::{ArgValue, ComponentDef};
use signal::otlp::{OtlpBatch, OtlpRequest};
use signal::samples::is_stale;

use super::*;
use build::*;

/// The component with a sink behind it.
pub(super) struct Bench {
    pub(super) harness: Harness,
    pub(super) input: Receiver<OtlpMetrics>,
    pub(super) sink: Sink<Samples>,
}

impl Bench {
    pub(super) async fn new(arguments: &str) -> Self {
        let sink = Sink::<Samples>::new();
        let names = Names::default().with("next", sink.value());
        let body = format!("{arguments}\nforward_to = [next]");
        let harness = Harness::start(ComponentDef::of::<Prometheus>(), &body, names).await;
        let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
        let input = OtelInput::from_value(&exports["input"]).expect("an input");
        assert!(input.traces.is_none() && input.logs.is_none());
        Self { harness, input: input.metrics.expect("takes metrics"), sink }
    }

    pub(super) async fn convert(&self, metrics: OtlpMetrics) -> Vec<Samples> {
        self.input.send(metrics).await.expect("taken");
        self.sink.take()
    }

    /// The lines of what comes out, sorted, without `target_info`.
    pub(super) async fn lines(&self, metrics: OtlpMetrics) -> Vec<String> {
        let samples = self.convert(metrics).await;
        let mut lines: Vec<String> = samples.iter().flat_map(shown).collect();
        lines.retain(|line| !line.starts_with("target_info"));
        lines.sort();
        lines
    }

    pub(super) fn dropped(&self, what: &str, why: &str) -> String {
        let text = self.harness.services.metrics.text();
        let line = text.lines().find(|line| {
            line.starts_with("otelcol_exporter_prometheus_conversion_dropped_total{")
                && line.contains(&format!("what=\"{what}\""))
                && line.contains(&format!("why=\"{why}\""))
        });
        line.and_then(|line| line.rsplit(' ').next()).unwrap_or("0").to_string()
    }
}

/// A batch as text: `series value @time ^start`, `# exemplars` of it.
pub(super) fn shown(samples: &Samples) -> Vec<String> {
    let start = |ms: i64| if ms == 0 { String::new() } else { format!(" ^{ms}") };
    let points = samples.points.iter().map(|p| {
        let value = if is_stale(p.value) { "stale".to_string() } else { p.value.to_string() };
        format!("{} {value} @{}{}", p.series, p.timestamp_ms, start(p.start_ms))
    });
    let histograms = samples.histograms.iter().map(|h| {
        let (series, at) = (&h.series, h.timestamp_ms);
        let value = if h.histogram.is_stale() {
            "stale".to_string()
        } else {
            format!("native {} sum {}", h.histogram.count(), h.histogram.sum)
        };
        format!("{series} {value} @{at}{}", start(h.start_ms))
    });
    let exemplars = samples
        .exemplars
        .iter()
        .map(|e| format!("{} # {} {} @{}", e.series, e.labels, e.value, e.timestamp_ms));
    points.chain(histograms).chain(exemplars).collect()
}

#[tokio::test]
async fn a_resource_becomes_job_instance_and_target_info() {
    let bench = Bench::new("").await;
    let resource = [
        text("service.name", "shop"),
        text("service.namespace", "eu"),
        text("service.instance.id", "i-1"),
        text("k8s.pod.name", "shop-0"),
    ];
    let samples = bench.convert(of(&resource, vec![gauge("up.time", "s", &[(&[], 1.0)])])).await;
    let lines = shown(&samples[0]);
    let (info, rest) = lines.split_first().expect("two series");
    let expected = r#"target_info{instance="i-1", job="eu/shop", k8s_pod_name="shop-0"} 1 @"#;
    assert!(info.starts_with(expected), "{info}");
    let up = r#"up_time_seconds{instance="i-1", job="eu/shop", otel_scope_name="lib", otel_scope_version="1.2"} 1 @2000"#;
    assert_eq!(rest, [up]);
    assert!(samples[0].families.is_empty());
}

#[tokio::test]
async fn identifying_attributes_are_kept_where_it_is_asked_for() {
    let bench = Bench::new("keep_identifying_resource_attributes = true\ninclude_scope_labels = false").await;
    let resource = [text("service.name", "shop"), text("service.instance.id", "i-1")];
    let samples = bench.convert(of(&resource, vec![gauge("g", "", &[(&[], 1.0)])])).await;
    let lines = shown(&samples[0]);
    let expected =
        r#"target_info{instance="i-1", job="shop", service_instance_id="i-1", service_name="shop"} 1 @"#;
    assert!(lines[0].starts_with(expected), "{lines:?}");
    assert_eq!(lines[1], r#"g{instance="i-1", job="shop"} 1 @2000"#);
}

#[tokio::test]
async fn infos_are_left_out_or_sent_as_arguments_say() {
    let bench = Bench::new("include_target_info = false\ninclude_scope_info = true").await;
    let samples = bench.convert(of(&[text("a", "b")], vec![gauge("g", "", &[(&[], 1.0)])])).await;
    let lines = shown(&samples[0]);
    let info = r#"otel_scope_info{otel_scope_name="lib", otel_scope_version="1.2", team="x"} 1 @"#;
    assert!(lines[0].starts_with(info), "{lines:?}");
    assert_eq!(lines.len(), 2);
    let bench = Bench::new("").await;
    let samples = bench.convert(of(&[], vec![gauge("g", "", &[(&[], 1.0)])])).await;
    assert_eq!(shown(&samples[0]).len(), 1, "a resource without attributes has no info");
}

#[tokio::test]
async fn resource_attributes_are_put_on_every_series_where_it_is_asked_for() {
    let bench = Bench::new("resource_to_telemetry_conversion = true\ninclude_scope_labels = false").await;
    let resource = [text("service.name", "shop"), text("region", "eu")];
    let point = [text("region", "own"), text("zone", "a")];
    let lines = bench.lines(of(&resource, vec![gauge("g", "", &[(&point, 1.0)])])).await;
    assert_eq!(lines, [r#"g{job="shop", region="eu", service_name="shop", zone="a"} 1 @2000"#]);
}

#[tokio::test]
async fn attributes_that_become_one_label_are_joined_and_reserved_ones_left_out() {
    let bench = Bench::new("include_scope_labels = false").await;
    let point =
        [text("a_b", "2"), text("a.b", "1"), text("__name__", "x"), text("job", "own"), text("e", "")];
    let resource = [text("service.name", "shop")];
    let lines = bench.lines(of(&resource, vec![gauge("g", "", &[(&point, 1.0)])])).await;
    assert_eq!(lines, [r#"g{a_b="1;2", job="own"} 1 @2000"#]);
    assert_eq!(bench.dropped("attribute", "reserved name"), "1");
}

#[tokio::test]
async fn metadata_goes_along_where_it_is_honoured() {
    let bench = Bench::new("honor_metadata = true\ninclude_target_info = false").await;
    let metrics = || vec![counter("hits", "1", 5.0), gauge("size", "By", &[(&[], 1.0)])];
    for _ in 0..2 {
        let samples = bench.convert(of(&[], metrics())).await;
        let families: Vec<_> = samples[0]
            .families
            .iter()
            .map(|f| (f.name.as_str(), f.kind, f.help.as_str(), f.unit.as_str()))
            .collect();
        use signal::samples::MetricKind::{Counter, Gauge};
        assert_eq!(families, [("hits_total", Counter, "help", "1"), ("size_bytes", Gauge, "help", "By")]);
        let of_points: Vec<u32> = samples[0].points.iter().map(|p| p.family).collect();
        assert_eq!(of_points, [0, 1]);
    }
    let mut other = metrics();
    other[0].description = "new help".into();
    let samples = bench.convert(of(&[], other)).await;
    assert_eq!(samples[0].families[0].help, "new help");
}

#[tokio::test]
async fn what_comes_late_is_left_out_and_counted_but_a_repeated_batch_is_not() {
    let bench = Bench::new("").await;
    let at = |seconds: u64| {
        let mut metric = counter("c", "", 1.0);
        set_times(&mut metric, 0, seconds);
        of(&[], vec![metric])
    };
    bench.sink.answer(Err(Rejected::Retryable("full".into())));
    let refused = bench.input.send(at(5)).await;
    assert_eq!(refused, Err(Rejected::Retryable("full".into())));
    bench.sink.answer(Ok(()));
    assert_eq!(bench.lines(at(5)).await.len(), 1);
    assert!(bench.lines(at(4)).await.is_empty());
    assert_eq!(bench.dropped("data point", "out of order"), "1");
}

#[tokio::test(start_paused = true)]
async fn series_are_forgotten_after_five_minutes_without_points() {
    let dropped = Bench::new("").await;
    let options = Args::options(&Args { ..arguments() });
    let cx = BuildCx::detached("x.y", dropped.harness.services.clone());
    let converter = Converter::new(options, Dropped::new(&cx, "otelcol_exporter_prometheus"));
    let batch = of(&[text("a", "b")], vec![counter("c", "", 1.0)]);
    converter.convert(&batch).expect("decodes");
    assert_eq!(converter.cache.len(), 2);
    tokio::time::advance(IDLE).await;
    converter.forget(IDLE.as_secs() as u32);
    assert_eq!(converter.cache.len(), 2);
    tokio::time::advance(Duration::from_secs(1)).await;
    converter.forget(IDLE.as_secs() as u32);
    assert_eq!(converter.cache.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_point_from_the_future_does_not_shut_its_series_for_ever() {
    let bench = Bench::new("gc_frequency = \"1m\"").await;
    let at = |seconds: u64| {
        let mut metric = counter("c", "", 1.0);
        set_times(&mut metric, 0, seconds);
        of(&[], vec![metric])
    };
    assert_eq!(bench.lines(at(1 << 33)).await.len(), 1);
    let start = tokio::time::Instant::now();
    while bench.lines(at(5)).await.is_empty() {
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    assert!((300..=420).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn new_arguments_are_in_force_for_the_next_batch() {
    let bench = Bench::new("").await;
    let batch = || of(&[], vec![counter("c.d", "", 1.0)]);
    assert!(bench.lines(batch()).await[0].starts_with("c_d_total{"));
    bench.harness.update("add_metric_suffixes = false\nforward_to = [next]").await.expect("valid");
    assert!(bench.lines(batch()).await[0].starts_with("c_d{"));
    let refused = bench.harness.update("gc_frequency = \"0s\"\nforward_to = [next]").await.expect_err("zero");
    assert!(
        matches!(&refused, Refused::Diagnostics(found) if format!("{found:?}").contains("greater than 0"))
    );
}

#[tokio::test]
async fn damaged_bytes_are_refused_for_good() {
    let bench = Bench::new("").await;
    let request = OtlpRequest::from_wire(bytes::Bytes::from_static(b"\x0a\x05\x01"), 1, None);
    let mut batch = OtlpBatch::default();
    batch.requests.push(request);
    assert!(matches!(bench.input.send(batch.into()).await, Err(Rejected::Permanent(_))));
}

#[test]
fn the_arguments_are_those_of_the_reference() {
    let surface = component::testkit::surface((ComponentDef::of::<Prometheus>().arguments)());
    let expected = [
        "add_metric_suffixes bool = true",
        "convert_classic_histograms_to_nhcb bool",
        "forward_to list(capsule(MetricsReceiver)) required",
        "gc_frequency duration = \"5m\"",
        "honor_metadata bool",
        "include_scope_info bool",
        "include_scope_labels bool = true",
        "include_target_info bool = true",
        "keep_identifying_resource_attributes bool",
        "resource_to_telemetry_conversion bool",
        "start_timestamp_zero_ingestion bool",
    ];
    assert_eq!(surface, expected);
}

fn arguments() -> Args {
    Args {
        forward_to: Vec::new(),
        include_target_info: true,
        include_scope_info: false,
        include_scope_labels: true,
        gc_frequency: IDLE,
        add_metric_suffixes: true,
        resource_to_telemetry_conversion: false,
        honor_metadata: false,
        convert_classic_histograms_to_nhcb: false,
        keep_identifying_resource_attributes: false,
        start_timestamp_zero_ingestion: false,
    }
}
