//! The component as its neighbours see it, on paused time.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use signal::otlp::proto::common::v1::any_value::Value as Any;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::metrics::v1::ResourceMetrics;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::trace::v1::span::Event;
use signal::otlp::proto::trace::v1::{ResourceSpans, Span, Status};

use super::*;
use crate::streams::testing::*;
use crate::streams::{CUMULATIVE, DELTA};

const MINUTE: Duration = Duration::from_secs(60);
const MS: u64 = 1_000_000;

async fn bench(args: &str) -> SpanBench {
    let histogram = if args.contains("histogram") { "" } else { "histogram { }" };
    SpanBench::new::<SpanMetrics>(&format!("namespace = \"\"\n{histogram}\n{args}")).await
}

fn span(name: &str, ms: u64) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: vec![9; 8],
        name: name.into(),
        kind: 2,
        start_time_unix_nano: 1000 * MS,
        end_time_unix_nano: (1000 + ms) * MS,
        ..Default::default()
    }
}

fn with(mut span: Span, attributes: Vec<KeyValue>) -> Span {
    span.attributes = attributes;
    span
}

fn shop(spans: Vec<Span>) -> Vec<ResourceSpans> {
    vec![spans_of(vec![text("service.name", "shop")], spans)]
}

fn calls(all: &[ResourceMetrics]) -> Vec<String> {
    lines(all).into_iter().filter(|line| line.contains("calls")).collect()
}

#[tokio::test(start_paused = true)]
async fn spans_are_counted_and_timed_by_service_name_kind_and_status() {
    let bench = SpanBench::new::<SpanMetrics>("histogram { }").await;
    let mut failed = span("GET /cart", 30);
    failed.status = Some(Status { code: 2, ..Default::default() });
    let all = shop(vec![span("GET /cart", 1), span("GET /cart", 3), failed, span("other", 0)]);
    bench.send(all).await.expect("counted");
    let out = bench.after(MINUTE).await;
    let of = |metric: &str, name: &str, status: &str, value: &str| {
        let kind = "service.name=shop,span.kind=SPAN_KIND_SERVER";
        format!(
            "traces.span.metrics.{metric}{{{kind},span.name={name},status.code=STATUS_CODE_{status}}} {value}"
        )
    };
    let expected = [
        of("calls", "GET /cart", "ERROR", "1"),
        of("calls", "GET /cart", "UNSET", "2"),
        of("calls", "other", "UNSET", "1"),
        of("duration", "GET /cart", "ERROR", "1/30"),
        of("duration", "GET /cart", "UNSET", "2/4"),
        of("duration", "other", "UNSET", "1/0"),
    ];
    assert_eq!(lines(&out), expected);
    let scope = &out[0].scope_metrics[0];
    assert_eq!(scope.scope.as_ref().map(|s| s.name.as_str()), Some("spanmetricsconnector"));
    assert_eq!(
        out[0].resource.as_ref().map(|r| r.attributes.clone()),
        Some(vec![text("service.name", "shop")])
    );
    let Some(Data::Histogram(durations)) = &scope.metrics[1].data else { panic!("a histogram") };
    assert_eq!((scope.metrics[1].unit.as_str(), durations.aggregation_temporality), ("ms", CUMULATIVE));
    let two = durations.data_points.iter().find(|p| p.count == 2).expect("one with two");
    assert_eq!((two.explicit_bounds.len(), &two.bucket_counts[..3]), (16, &[1, 1, 0][..]));
    assert!(two.start_time_unix_nano <= two.time_unix_nano && two.start_time_unix_nano > 0);
    bench.send(shop(vec![span("other", 5)])).await.expect("counted");
    let again = lines(&bench.after(MINUTE).await);
    assert!(again.contains(&of("calls", "other", "UNSET", "2")), "{again:?}");
    assert!(again.contains(&of("calls", "GET /cart", "UNSET", "2")), "cumulative ones go on: {again:?}");
}

#[tokio::test(start_paused = true)]
async fn dimensions_come_from_the_span_then_the_resource_then_their_default() {
    let bench = bench(
        r#"exclude_dimensions = ["service.name", "span.kind", "status.code"]
        dimension {
            name    = "http.method"
            default = "GET"
        }
        dimension { name = "region" }
        calls_dimension { name = "only.calls" }
        histogram {
            dimension { name = "only.durations" }
        }"#,
    )
    .await;
    let number = |key: &str, n| KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(Any::IntValue(n)) }),
        ..Default::default()
    };
    let all = vec![
        with(span("a", 1), vec![text("http.method", "PUT"), text("region", "of the span")]),
        span("b", 1),
        with(span("c", 1), vec![number("only.calls", 1), text("only.durations", "d")]),
        with(span("c", 1), vec![text("only.calls", "1"), text("only.durations", "e")]),
    ];
    let resource = vec![text("service.name", "shop"), text("region", "of the resource")];
    bench
        .send(vec![
            spans_of(resource, all.clone()),
            spans_of(vec![text("service.name", "x")], all[1..2].into()),
        ])
        .await
        .expect("counted");
    let expected = [
        "calls{http.method=GET,only.calls=1,region=of the resource,span.name=c} 2",
        "calls{http.method=GET,region=of the resource,span.name=b} 1",
        "calls{http.method=GET,span.name=b} 1",
        "calls{http.method=PUT,region=of the span,span.name=a} 1",
        "duration{http.method=GET,only.durations=d,region=of the resource,span.name=c} 1/1",
        "duration{http.method=GET,only.durations=e,region=of the resource,span.name=c} 1/1",
        "duration{http.method=GET,region=of the resource,span.name=b} 1/1",
        "duration{http.method=GET,span.name=b} 1/1",
        "duration{http.method=PUT,region=of the span,span.name=a} 1/1",
    ];
    assert_eq!(lines(&bench.after(MINUTE).await), expected);
}

#[tokio::test(start_paused = true)]
async fn a_glob_makes_dimensions_of_all_attributes_that_it_matches() {
    let bench = bench(
        "exclude_dimensions = [\"service.name\", \"span.kind\", \"status.code\", \"span.name\"]\nhistogram {\n disable = true\n}\ndimension { glob = \"http.*\" }",
    )
    .await;
    let (a, b) = (text("http.a", "1"), text("http.b", "2"));
    let all = vec![
        with(span("x", 1), vec![a.clone(), b.clone(), text("db.c", "3")]),
        with(span("x", 1), vec![b, a]),
        span("x", 1),
    ];
    let resource = vec![text("service.name", "shop"), text("http.a", "of the resource")];
    bench.send(vec![spans_of(resource, all)]).await.expect("counted");
    let expected = ["calls{http.a=1,http.b=2} 2", "calls{http.a=of the resource} 1"];
    assert_eq!(lines(&bench.after(MINUTE).await), expected);
}

#[tokio::test(start_paused = true)]
async fn events_are_counted_by_their_own_dimensions() {
    let bench = bench(
        "events {\n enabled = true\n dimension { name = \"exception.type\" }\n}\ndimension { name = \"d\" }",
    )
    .await;
    let mut one = with(span("x", 1), vec![text("d", "D"), text("exception.type", "of the span")]);
    let event = |attributes| Event { attributes, ..Default::default() };
    one.events = vec![
        event(vec![text("exception.type", "A")]),
        event(vec![text("exception.type", "A")]),
        event(vec![]),
    ];
    bench.send(shop(vec![one])).await.expect("counted");
    let out = lines(&bench.after(MINUTE).await);
    let events: Vec<_> = out.iter().filter(|line| line.starts_with("events")).collect();
    let around = "service.name=shop,span.kind=SPAN_KIND_SERVER,span.name=x,status.code=STATUS_CODE_UNSET";
    assert_eq!(
        events,
        [
            &format!("events{{d=D,exception.type=A,{around}}} 2"),
            &format!("events{{d=D,exception.type=of the span,{around}}} 1"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn scopes_and_the_process_are_dimensions_where_asked_for() {
    let bench = bench(
        "include_instrumentation_scope = [\"lib\"]\ninclude_collector_instance_id = true\nexclude_dimensions = [\"service.name\", \"span.kind\", \"status.code\"]\nhistogram {\n disable = true\n}",
    )
    .await;
    let mut all = shop(vec![span("x", 1)]);
    let scope = |name: &str| signal::otlp::proto::common::v1::InstrumentationScope {
        name: name.into(),
        version: "1.2".into(),
        ..Default::default()
    };
    let spans = all[0].scope_spans[0].clone();
    all[0].scope_spans = vec![spans.clone(), spans.clone(), spans];
    all[0].scope_spans[0].scope = Some(scope("lib"));
    all[0].scope_spans[1].scope = Some(scope("other"));
    bench.send(all).await.expect("counted");
    let id = "collector.instance.id=00000000-0000-0000-0000-000000000000";
    assert_eq!(
        lines(&bench.after(MINUTE).await),
        [
            format!(
                "calls{{{id},span.instrumentation.scope.name=lib,span.instrumentation.scope.version=1.2,span.name=x}} 1"
            ),
            format!("calls{{{id},span.name=x}} 2"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_is_counted_without_its_dimensions() {
    let bench = bench("aggregation_cardinality_limit = 2").await;
    let all = shop((0..5).map(|n| span(&n.to_string(), 1)).collect());
    bench.send(all).await.expect("counted");
    bench.send(shop(vec![span("0", 1)])).await.expect("counted");
    let out = calls(&bench.after(MINUTE).await);
    assert_eq!(out[0], "calls{otel.metric.overflow=true} 3");
    assert!(out.len() == 3 && out[1].ends_with(" 2") && out[2].ends_with(" 1"), "{out:?}");
    assert_eq!(bench.own("otelcol_connector_spanmetrics_overflow_spans_total"), "3");
    assert_eq!(bench.own("otelcol_connector_spanmetrics_series"), "6");
}

#[tokio::test(start_paused = true)]
async fn resources_without_a_service_are_skipped_and_told_of() {
    let bench = bench("").await;
    let nameless = spans_of(vec![text("host", "h")], vec![span("a", 1), span("b", 1)]);
    bench.send(vec![nameless]).await.expect("answered");
    assert_eq!(lines(&bench.after(MINUTE).await), Vec::<String>::new());
    let skipped = "otelcol_connector_spanmetrics_skipped_spans_total{reason=\"no_service_name\"}";
    assert_eq!(bench.own(skipped), "2");
}

#[tokio::test(start_paused = true)]
async fn resources_are_told_apart_by_the_attributes_that_are_asked_for() {
    for (args, resources) in [("", 2), ("resource_metrics_key_attributes = [\"service.name\"]", 1)] {
        let bench = bench(args).await;
        let of =
            |pid: &str| spans_of(vec![text("service.name", "shop"), text("pid", pid)], vec![span("a", 1)]);
        bench.send(vec![of("1"), of("2")]).await.expect("counted");
        assert_eq!(bench.after(MINUTE).await.len(), resources, "{args}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_makes_room_is_sent_once_more() {
    let bench = bench("resource_metrics_cache_size = 1").await;
    let of = |name: &str| vec![spans_of(vec![text("service.name", name)], vec![span("a", 1)])];
    bench.send(of("x")).await.expect("counted");
    bench.send(of("y")).await.expect("counted");
    assert!(bench.sink.take().is_empty());
    bench.send(of("z")).await.expect("counted");
    let early = bench.after(Duration::ZERO).await;
    assert_eq!(calls(&early).len(), 2, "there was no room for another to leave");
    let out = calls(&bench.after(MINUTE).await);
    assert!(out.len() == 2 && out[0].contains("=y,") && out[1].contains("=z,"), "{out:?}");
    assert_eq!(calls(&bench.after(MINUTE).await).len(), 1);
    bench.sink.answer(Err(Rejected::Retryable("later".into())));
    bench.send(of("1")).await.expect("counted");
    let refused = bench.send(of("2")).await;
    assert!(matches!(refused, Err(Rejected::Retryable(_))), "{refused:?}");
    bench.sink.answer(Ok(()));
    let out = calls(&bench.after(MINUTE).await);
    assert!(out.len() == 2 && out.iter().any(|line| line.contains("=z,")), "nothing is lost: {out:?}");
}

#[tokio::test(start_paused = true)]
async fn deltas_start_where_the_last_ended_and_survive_a_refusal() {
    let bench = bench("aggregation_temporality = \"DELTA\"").await;
    let times = |out: &[ResourceMetrics]| -> Vec<(u64, u64)> {
        let Some(Data::Sum(sum)) = &out[0].scope_metrics[0].metrics[0].data else { panic!("a sum") };
        assert_eq!(sum.aggregation_temporality, DELTA);
        sum.data_points.iter().map(|p| (p.start_time_unix_nano, p.time_unix_nano)).collect()
    };
    bench.send(shop(vec![span("a", 1), span("a", 1)])).await.expect("counted");
    let first = bench.after(MINUTE).await;
    assert!(calls(&first)[0].ends_with(" 2"));
    assert_eq!(bench.after(MINUTE).await, [], "nothing new");
    bench.send(shop(vec![span("a", 1)])).await.expect("counted");
    bench.sink.answer(Err(Rejected::Retryable("later".into())));
    assert_eq!(bench.after(MINUTE).await, []);
    bench.send(shop(vec![span("a", 3)])).await.expect("counted");
    bench.sink.answer(Ok(()));
    let second = bench.after(MINUTE).await;
    assert_eq!(
        lines(&second).iter().map(|l| l.rsplit(' ').next()).collect::<Vec<_>>(),
        [Some("2"), Some("2/4")]
    );
    assert_eq!(times(&second)[0].0, times(&first)[0].1, "no gap");
}

#[tokio::test(start_paused = true)]
async fn times_of_deltas_are_bounded_and_the_oldest_are_forgotten() {
    let mut state = State::default();
    let key = |n: u8| (Identity::of_bytes(&[n]), Identity::of_bytes(&[n]));
    state.note_sent((0..5).map(key).collect(), 10, 4);
    assert_eq!(state.sent.len(), 4);
    state.note_sent((5..8).map(key).collect(), 20, 4);
    assert_eq!(state.sent.values().filter(|time| **time == 20).count(), 3);
    assert_eq!(state.sent.len(), 4);
}

use crate::streams::Identity;

#[tokio::test(start_paused = true)]
async fn exponential_histograms_and_seconds() {
    let bench = bench("histogram {\n unit = \"s\"\n exponential {\n max_size = 20\n }\n}").await;
    let all = (1..=2000).map(|n| span("a", n)).collect();
    bench.send(shop(all)).await.expect("counted");
    let out = bench.after(MINUTE).await;
    let metric = &out[0].scope_metrics[0].metrics[1];
    let Some(Data::ExponentialHistogram(d)) = &metric.data else { panic!("exponential") };
    let point = &d.data_points[0];
    let buckets = &point.positive.as_ref().expect("buckets").bucket_counts;
    assert_eq!((metric.unit.as_str(), point.count, buckets.iter().sum::<u64>()), ("s", 2000, 2000));
    assert!(buckets.len() <= 20 && buckets.len() > 10, "{}", buckets.len());
    assert_eq!((point.min, point.max), (Some(0.001), Some(2.0)));
}

#[tokio::test(start_paused = true)]
async fn exemplars_are_bounded_and_belong_to_one_flush() {
    let bench = bench("exemplars {\n enabled = true\n max_per_data_point = 2\n}").await;
    let mut none = span("a", 1);
    none.trace_id = vec![0; 16];
    bench.send(shop(vec![none, span("a", 4), span("a", 5), span("a", 6)])).await.expect("counted");
    let exemplars = |out: &[ResourceMetrics]| {
        let metrics = &out[0].scope_metrics[0].metrics;
        let (Some(Data::Sum(calls)), Some(Data::Histogram(durations))) = (&metrics[0].data, &metrics[1].data)
        else {
            panic!("a sum and a histogram")
        };
        (calls.data_points[0].exemplars.clone(), durations.data_points[0].exemplars.clone())
    };
    let (of_calls, of_durations) = exemplars(&bench.after(MINUTE).await);
    assert_eq!((of_calls.len(), of_durations.len()), (2, 2));
    let first = &of_durations[0];
    let value = Some(signal::otlp::proto::metrics::v1::exemplar::Value::AsDouble(4.0));
    assert_eq!((&first.trace_id[..], &first.span_id[..], first.value), (&[7; 16][..], &[9; 8][..], value));
    assert_eq!(exemplars(&bench.after(MINUTE).await), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_sampled_span_counts_for_as_many_as_it_stands_for() {
    let bench = bench("").await;
    let mut sampled = span("a", 2);
    sampled.trace_state = "ot=th:c".into();
    bench.send(shop(vec![sampled])).await.expect("counted");
    let out = lines(&bench.after(MINUTE).await);
    assert!(out[0].ends_with(" 4") && out[1].ends_with(" 4/8"), "{out:?}");
}

#[tokio::test(start_paused = true)]
async fn series_and_resources_without_spans_expire() {
    for args in ["metrics_expiration = \"150s\"", "series_expiration = \"150s\""] {
        let bench = bench(args).await;
        bench.send(shop(vec![span("a", 1)])).await.expect("counted");
        assert_eq!(calls(&bench.after(MINUTE).await).len(), 1);
        assert_eq!(calls(&bench.after(MINUTE).await).len(), 1);
        assert_eq!(calls(&bench.after(MINUTE).await).len(), 1, "sent a last time");
        assert_eq!(calls(&bench.after(MINUTE).await).len(), 0, "{args}");
        assert_eq!(bench.own("otelcol_connector_spanmetrics_series"), "0");
    }
}

#[tokio::test(start_paused = true)]
async fn other_series_send_the_old_ones_and_a_stop_sends_all() {
    let bench = bench("").await;
    bench.send(shop(vec![span("a", 1)])).await.expect("counted");
    let body = format!("namespace = \"\"\nhistogram {{ }}\nmetrics_flush_interval = \"10s\"\n{OUTPUT}");
    bench.harness.update(&body).await.expect("valid");
    bench.send(shop(vec![span("a", 1)])).await.expect("counted");
    let out = calls(&bench.after(Duration::from_secs(10)).await);
    assert!(out[0].ends_with(" 2"), "counted on: {out:?}");
    bench.harness.update(&body.replace("namespace = \"\"", "namespace = \"n\"")).await.expect("valid");
    let out = lines(&bench.after(Duration::from_secs(1)).await);
    assert!(out[0].starts_with("calls") && out[0].ends_with(" 2"), "{out:?}");
    bench.send(shop(vec![span("b", 1)])).await.expect("counted");
    bench.sink.answer(Err(Rejected::Retryable("later".into())));
    let later = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        bench.sink.answer(Ok(()));
    };
    let (stopped, ()) = tokio::join!(bench.harness.stop(), later);
    assert_eq!(stopped, component::Stopped::Clean);
    let out = lines(&bench.after(Duration::ZERO).await);
    assert!(out[0].starts_with("n.calls") && out[0].contains("=b,"), "{out:?}");
    assert_eq!(bench.send(shop(vec![])).await, Err(Rejected::Stopped));
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused() {
    let bench = bench("").await;
    for (args, why) in [
        ("metrics_flush_interval = \"0s\"", "above 0"),
        ("resource_metrics_cache_size = 0", "above 0"),
        ("aggregation_cardinality_limit = -1", "negative"),
        ("aggregation_temporality = \"delta\"", "aggregation_temporality"),
        ("histogram {\n explicit { }\n exponential { }\n}", "exclude each other"),
        ("histogram {\n explicit {\n buckets = [\"2s\", \"1s\"]\n }\n}", "ascending"),
        ("events {\n enabled = true\n}", "needs a dimension"),
        ("dimension { name = \"span.name\" }", "two dimensions"),
        ("dimension { name = \"a\" }\ncalls_dimension { name = \"a\" }", "two dimensions"),
        ("dimension { }", "name or a glob"),
        ("dimension {\n name = \"a\"\n glob = \"b\"\n}", "either"),
        ("dimension {\n glob = \"b\"\n default = \"c\"\n}", "default goes with a name"),
        ("dimension { glob = \"[\" }", "glob"),
    ] {
        let histogram = if args.contains("histogram") { "" } else { "histogram { }" };
        let body = format!("{histogram}\n{args}\n{OUTPUT}");
        let refused = bench.harness.update(&body).await.expect_err(args);
        assert!(format!("{refused:?}").contains(why), "{args}: {refused:?}");
    }
}

#[test]
fn the_surface_is_alloys() {
    let ours = component::testkit::surface(<Args as component::eval::Arguments>::schema());
    let shared = |line: &String| line.starts_with("output") || line.starts_with("debug_metrics");
    let mut expected: Vec<String> = [
        "aggregation_cardinality_limit int",
        "aggregation_temporality string = \"CUMULATIVE\"",
        "dimensions_cache_size int",
        "events block defaults",
        "events.enabled bool",
        "exclude_dimensions list(string)",
        "exemplars block defaults",
        "exemplars.enabled bool",
        "exemplars.max_per_data_point int = 5",
        "histogram block required error",
        "histogram.disable bool",
        "histogram.explicit block unset",
        "histogram.explicit.buckets list(duration) = [\"2ms\", \"4ms\", \"6ms\", \"8ms\", \"10ms\", \"50ms\", \"100ms\", \"200ms\", \"400ms\", \"800ms\", \"1s\", \"1.4s\", \"2s\", \"5s\", \"10s\", \"15s\"]",
        "histogram.exponential block unset",
        "histogram.exponential.max_size int = 160",
        "histogram.unit string = \"ms\"",
        "include_collector_instance_id bool",
        "include_instrumentation_scope list(string)",
        "metric_timestamp_cache_size int = 1000",
        "metrics_expiration duration",
        "metrics_flush_interval duration = \"1m\"",
        "namespace string = \"traces.span.metrics\"",
        "resource_metrics_cache_size int = 1000",
        "resource_metrics_key_attributes list(string)",
        "series_expiration duration",
    ]
    .map(str::to_string)
    .into();
    for block in ["dimension", "calls_dimension", "histogram.dimension", "events.dimension"] {
        expected.push(format!("{block} block repeatable empty"));
        expected.extend(["default", "glob", "name"].map(|name| format!("{block}.{name} string")));
    }
    expected.sort();
    assert_eq!(ours.into_iter().filter(|line| !shared(line)).collect::<Vec<_>>(), expected);
}

fn arbitrary_spans() -> impl Strategy<Value = Vec<(u8, u8, u8, Option<u8>, u64)>> {
    prop::collection::vec((0..3u8, 0..3u8, 0..4u8, prop::option::of(0..2u8), 0..5000u64), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Reading spans on the wire counts what decoding them would.
    #[test]
    fn views_count_what_decoded_spans_say(spans in arbitrary_spans(), size in 1..20usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let bench = bench("dimension { name = \"d\" }").await;
            let mut expected: BTreeMap<String, (u64, u64)> = BTreeMap::new();
            for chunk in spans.chunks(size) {
                let resources = chunk.iter().map(|(service, name, status, d, ms)| {
                    let mut one = span(&format!("s{name}"), *ms);
                    one.status = Some(Status { code: i32::from(*status), ..Default::default() });
                    one.attributes = d.map(|d| text("d", &d.to_string())).into_iter().collect();
                    let status = ["UNSET", "OK", "ERROR"].get(usize::from(*status));
                    let status = status.map(|s| format!("STATUS_CODE_{s}")).unwrap_or_default();
                    let d = d.map(|d| format!("d={d},")).unwrap_or_default();
                    let key = format!("{d}service.name=v{service},span.kind=SPAN_KIND_SERVER,span.name=s{name},status.code={status}");
                    let entry = expected.entry(key).or_default();
                    *entry = (entry.0 + 1, entry.1 + ms);
                    spans_of(vec![text("service.name", &format!("v{service}"))], vec![one])
                });
                bench.send(resources.collect()).await.expect("counted");
            }
            let mut all: Vec<String> = Vec::new();
            for (key, (count, sum)) in &expected {
                all.push(format!("calls{{{key}}} {count}"));
                all.push(format!("duration{{{key}}} {count}/{sum}"));
            }
            all.sort();
            assert_eq!(lines(&bench.after(MINUTE).await), all);
        });
    }
}
