//! The component as its neighbours see it, on paused time.

use signal::otlp::proto::metrics::v1::{DataPointFlags, Metric, NumberDataPoint, SummaryDataPoint};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::{Otlp, OtlpRequest};

use super::*;
use crate::streams::testing::*;
use crate::streams::{CUMULATIVE, DELTA, exponential as expo};

const MS: u64 = 1_000_000;

async fn bench(args: &str) -> Bench {
    Bench::new::<MetricStartTime>(args).await
}

fn counter(points: Vec<NumberDataPoint>) -> Vec<Metric> {
    vec![metric("c", sum(CUMULATIVE, true, points))]
}

fn totals(start: u64, time: u64, count: u64) -> SummaryDataPoint {
    SummaryDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: time,
        count,
        sum: count as f64,
        ..Default::default()
    }
}

fn recorded(
    values: &[f64],
    start: u64,
    time: u64,
) -> signal::otlp::proto::metrics::v1::ExponentialHistogramDataPoint {
    let mut point = expo::empty();
    values.iter().for_each(|v| assert!(expo::record(&mut point, *v, 1, 160)));
    (point.start_time_unix_nano, point.time_unix_nano) = (start, time);
    point
}

/// A counter, a histogram, an exponential histogram and a summary that have counted as much as there are values.
fn all(start: u64, time: u64, values: &[f64]) -> Vec<Metric> {
    let n = values.len() as u64;
    vec![
        metric("c", sum(CUMULATIVE, true, vec![int(start, time, n as i64)])),
        metric("h", histogram(CUMULATIVE, vec![buckets(start, time, &[1.0], &[n, 0])])),
        metric("e", exponential(CUMULATIVE, vec![recorded(values, start, time)])),
        metric("s", summary(vec![totals(start, time, n)])),
    ]
}

#[tokio::test(start_paused = true)]
async fn true_reset_point_starts_a_stream_at_its_first_point() {
    let bench = bench("").await;
    assert_eq!(bench.pass(all(0, 10, &[2.0; 3])).await, all(10, 10, &[2.0; 3]));
    assert_eq!(bench.pass(all(20, 20, &[2.0; 4])).await, all(10, 20, &[2.0; 4]), "a start that is its time");
    assert_eq!(bench.pass(all(0, 30, &[2.0; 1])).await, all(30, 30, &[2.0; 1]), "a reset");
    assert_eq!(bench.pass(all(0, 40, &[2.0; 2])).await, all(30, 40, &[2.0; 2]));
    assert_eq!(bench.pass(all(0, 35, &[2.0; 1])).await, all(30, 35, &[2.0; 1]), "late is no reset");
    assert_eq!(bench.pass(all(0, 50, &[2.0; 2])).await, all(30, 50, &[2.0; 2]));
}

#[tokio::test(start_paused = true)]
async fn subtract_initial_point_drops_the_first_and_subtracts_it() {
    let bench = bench("strategy = \"subtract_initial_point\"").await;
    assert_eq!(bench.pass(all(0, 10, &[2.0; 3])).await, []);
    assert_eq!(bench.pass(all(0, 10, &[2.0; 3])).await, [], "sent again");
    let dropped = "otelcol_processor_metric_start_time_dropped_points_total{reason=\"initial\"}";
    assert_eq!(bench.own(dropped), "8");
    let mut expected = all(10, 20, &[2.0; 2]);
    let Some(signal::otlp::proto::metrics::v1::metric::Data::ExponentialHistogram(e)) = &mut expected[2].data
    else {
        panic!("an exponential histogram")
    };
    (e.data_points[0].min, e.data_points[0].max) = (None, None);
    assert_eq!(bench.pass(all(0, 20, &[2.0; 5])).await, expected);
    assert_eq!(bench.pass(all(0, 30 * MS, &[2.0; 4])).await, all(29 * MS, 30 * MS, &[2.0; 4]), "a reset");
    assert_eq!(bench.pass(all(0, 40 * MS, &[2.0; 6])).await, all(29 * MS, 40 * MS, &[2.0; 6]));
    let level = vec![metric("updown", sum(CUMULATIVE, false, vec![int(0, 5, 1)]))];
    assert_eq!(bench.pass(level.clone()).await, level);
}

#[tokio::test(start_paused = true)]
async fn a_metric_tells_the_start() {
    let bench = bench("strategy = \"start_time_metric\"").await;
    const S: u64 = 1_000_000_000;
    let told = |seconds: f64, mut metrics: Vec<Metric>| {
        metrics.push(metric("process_start_time_seconds", gauge(vec![double(0, 0, seconds)])));
        metrics
    };
    let half = 5 * S + S / 2;
    let out = bench.pass(told(5.5, counter(vec![int(0, 10 * S, 7)]))).await;
    assert_eq!(out, told(5.5, counter(vec![int(half, 10 * S, 7)])));
    let out = bench.pass(told(5.5, counter(vec![int(0, 20 * S, 8)]))).await;
    assert_eq!(out, told(5.5, counter(vec![int(half, 20 * S, 8)])));
    let out = bench.pass(told(25.0, counter(vec![int(0, 30 * S, 9)]))).await;
    assert_eq!(out, told(25.0, counter(vec![int(25 * S, 30 * S, 9)])), "restarted, though it counts more");
    let out = bench.pass(told(25.0, counter(vec![int(0, 40 * S, 1)]))).await;
    assert_eq!(out, told(25.0, counter(vec![int(40 * S - MS, 40 * S, 1)])), "a reset that nothing tells of");
    let out = bench.pass(vec![metric("late", sum(CUMULATIVE, true, vec![int(0, 10 * S, 1)]))]).await;
    let expected = vec![metric("late", sum(CUMULATIVE, true, vec![int(10 * S, 10 * S, 1)]))];
    assert_eq!(out, expected, "this component began after it: no start is after its point");
}

#[tokio::test(start_paused = true)]
async fn each_resource_has_its_own_start_and_the_name_of_the_metric_can_be_chosen() {
    let bench = bench("strategy = \"start_time_metric\"\nstart_time_metric_regex = \"^.*_begin$\"").await;
    const S: u64 = 1_000_000_000;
    let of = |name: &str, metrics: Vec<Metric>| {
        let mut resource = request(metrics).resource_metrics.remove(0);
        resource.resource = Some(Resource { attributes: vec![text("r", name)], ..Default::default() });
        resource
    };
    let begin = |at| metric("the_begin", gauge(vec![int(0, 0, at)]));
    let make = |starts: [u64; 3]| {
        let c = |start| metric("c", sum(CUMULATIVE, true, vec![int(start, 100 * S, 1)]));
        let mut all = request(vec![]);
        all.resource_metrics = vec![
            of("a", vec![c(starts[0]), begin(10)]),
            of("b", vec![c(starts[1])]),
            of("c", vec![c(starts[2]), begin(30)]),
        ];
        all
    };
    bench.input.send(Otlp::of(OtlpRequest::from_message(make([0, 0, 0])))).await.expect("taken");
    let out = bench.sink.take();
    assert_eq!(out[0].requests[0].message(), Ok(&make([10 * S, 10 * S, 30 * S])));
}

#[tokio::test(start_paused = true)]
async fn what_has_a_start_or_needs_none_passes_in_the_form_that_it_came_in() {
    let bench = bench("strategy = \"subtract_initial_point\"").await;
    let metrics = vec![
        metric("g", gauge(vec![int(0, 5, 1)])),
        metric("d", sum(DELTA, true, vec![int(0, 5, 1)])),
        metric("c", sum(CUMULATIVE, true, vec![int(1, 5, 1)])),
        metric("none", sum(CUMULATIVE, true, vec![])),
    ];
    let bytes = batch(metrics).requests[0].wire().clone();
    bench.input.send(Otlp::of(OtlpRequest::from_wire(bytes.clone(), 3, None))).await.expect("taken");
    let out = bench.sink.take();
    assert!(std::ptr::eq(out[0].requests[0].wire().as_ptr(), bytes.as_ptr()));
}

#[tokio::test(start_paused = true)]
async fn a_gap_gets_the_start_of_its_stream_and_sums_that_go_down_are_no_resets() {
    let bench = bench("").await;
    let gap = |start, time| {
        let mut point = int(start, time, 0);
        (point.value, point.flags) = (None, DataPointFlags::NoRecordedValueMask as u32);
        point
    };
    assert_eq!(bench.pass(counter(vec![gap(0, 5)])).await, counter(vec![gap(0, 5)]), "nothing is known yet");
    let _ = bench.pass(counter(vec![int(0, 10, 3)])).await;
    assert_eq!(bench.pass(counter(vec![gap(0, 20)])).await, counter(vec![gap(10, 20)]));
    let level = |start, time, value| vec![metric("l", sum(CUMULATIVE, false, vec![int(start, time, value)]))];
    let _ = bench.pass(level(0, 10, 3)).await;
    assert_eq!(bench.pass(level(0, 20, 1)).await, level(10, 20, 1));
}

#[tokio::test(start_paused = true)]
async fn streams_are_forgotten_and_a_reload_forgets_only_with_another_strategy() {
    let bench = bench("gc_interval = \"1m\"").await;
    let _ = bench.pass(counter(vec![int(0, 10, 3)])).await;
    bench.harness.update(&format!("gc_interval = \"2m\"\n{OUTPUT}")).await.expect("valid");
    assert_eq!(bench.pass(counter(vec![int(0, 20, 4)])).await, counter(vec![int(10, 20, 4)]));
    tokio::time::sleep(Duration::from_secs(239)).await;
    assert_eq!(bench.pass(counter(vec![int(0, 30, 5)])).await, counter(vec![int(10, 30, 5)]));
    tokio::time::sleep(Duration::from_secs(241)).await;
    assert_eq!(bench.pass(counter(vec![int(0, 40, 6)])).await, counter(vec![int(40, 40, 6)]));
    let body = format!("strategy = \"subtract_initial_point\"\n{OUTPUT}");
    bench.harness.update(&body).await.expect("valid");
    assert_eq!(bench.pass(counter(vec![int(0, 50, 7)])).await, []);
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused() {
    let bench = bench("").await;
    for (args, why) in [
        ("gc_interval = \"0s\"", "gc_interval"),
        ("start_time_metric_regex = \"x\"", "goes only with"),
        ("strategy = \"start_time_metric\"\nstart_time_metric_regex = \"(\"", "start_time_metric_regex"),
        ("strategy = \"guess\"", "strategy"),
    ] {
        let refused = bench.harness.update(&format!("{args}\n{OUTPUT}")).await.expect_err(args);
        assert!(format!("{refused:?}").contains(why), "{args}: {refused:?}");
    }
}

#[test]
fn the_surface_is_alloys() {
    let ours = component::testkit::surface(<Args as component::eval::Arguments>::schema());
    let shared = |line: &String| line.starts_with("output") || line.starts_with("debug_metrics");
    let expected = [
        "gc_interval duration = \"10m\"",
        "start_time_metric_regex string",
        "strategy string = \"true_reset_point\"",
    ];
    assert_eq!(ours.into_iter().filter(|line| !shared(line)).collect::<Vec<_>>(), expected);
}
