//! The component as its neighbours see it, on paused time.

use proptest::prelude::*;
use signal::otlp::proto::metrics::v1::number_data_point::Value;
use signal::otlp::proto::metrics::v1::{Metric, NumberDataPoint};

use super::*;
use crate::processor::deltatocumulative::DeltaToCumulative;
use crate::streams::testing::*;
use crate::streams::{CUMULATIVE, DELTA, exponential as expo};

fn cumulative(points: Vec<NumberDataPoint>) -> Vec<Metric> {
    vec![metric("m", sum(CUMULATIVE, true, points))]
}

fn delta(points: Vec<NumberDataPoint>) -> Vec<Metric> {
    vec![metric("m", sum(DELTA, true, points))]
}

async fn bench(args: &str) -> Bench {
    Bench::new::<CumulativeToDelta>(args).await
}

fn nanos(since: SystemTime) -> u64 {
    u64::try_from(since.duration_since(UNIX_EPOCH).expect("after 1970").as_nanos()).expect("before 2554")
}

use std::time::{SystemTime, UNIX_EPOCH};

#[tokio::test(start_paused = true)]
async fn points_become_differences_that_start_where_the_last_ended() {
    let bench = bench("initial_value = \"keep\"").await;
    assert_eq!(bench.pass(cumulative(vec![int(10, 20, 5)])).await, delta(vec![int(10, 20, 5)]));
    assert_eq!(
        bench.pass(cumulative(vec![int(10, 30, 8), int(10, 40, 8)])).await,
        delta(vec![int(20, 30, 3), int(30, 40, 0)])
    );
    let mut float = double(10, 20, 1.5);
    float.attributes = vec![text("a", "b")];
    assert_eq!(bench.pass(cumulative(vec![float.clone()])).await, delta(vec![float.clone()]));
    (float.time_unix_nano, float.value) = (30, Some(Value::AsDouble(4.0)));
    let out = bench.pass(cumulative(vec![float.clone()])).await;
    (float.start_time_unix_nano, float.value) = (20, Some(Value::AsDouble(2.5)));
    assert_eq!(out, delta(vec![float]));
    assert_eq!(bench.own("otelcol_cumulativetodelta_streams_tracked"), "2");
}

#[tokio::test(start_paused = true)]
async fn the_first_point_is_treated_as_configured() {
    let now = nanos(SystemTime::now() + Duration::from_secs(60));
    let (old, new, equal) = (int(10, now, 5), int(now, now + 1, 5), int(now, now, 5));
    for (args, point, passes) in [
        ("initial_value = \"keep\"", &old, true),
        ("initial_value = \"drop\"", &new, false),
        ("", &old, false),
        ("", &new, true),
        ("initial_value = \"auto\"", &equal, false),
    ] {
        let bench = bench(args).await;
        let out = bench.pass(cumulative(vec![point.clone()])).await;
        assert_eq!(out.len(), usize::from(passes), "{args} {point:?}");
        let dropped = if passes { "" } else { "1" };
        let series = "otelcol_cumulativetodelta_datapoints_dropped{reason=\"initial\"}";
        assert_eq!(bench.own(series), dropped);
        let next = int(point.start_time_unix_nano, now + 9, 7);
        assert_eq!(bench.pass(cumulative(vec![next])).await.len(), 1, "its value is known in any case");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_reset_the_whole_value_is_the_difference() {
    let bench = bench("initial_value = \"drop\"").await;
    let bounds = [1.0];
    let all = |point: NumberDataPoint, h| {
        vec![metric("m", sum(CUMULATIVE, true, vec![point])), metric("h", histogram(CUMULATIVE, vec![h]))]
    };
    let _ = bench.pass(all(int(10, 20, 9), buckets(10, 20, &bounds, &[4, 4]))).await;
    let out = bench.pass(all(int(25, 30, 2), buckets(0, 30, &bounds, &[1, 0]))).await;
    let mut h = buckets(20, 30, &bounds, &[1, 0]);
    (h.min, h.max) = (None, None);
    let expected =
        vec![metric("m", sum(DELTA, true, vec![int(25, 30, 2)])), metric("h", histogram(DELTA, vec![h]))];
    assert_eq!(out, expected, "the start is the stream's own where it says so");
    let other = buckets(0, 40, &[5.0], &[2, 2]);
    let out = bench.pass(vec![metric("h", histogram(CUMULATIVE, vec![other.clone()]))]).await;
    let expected = buckets(30, 40, &[5.0], &[2, 2]);
    assert_eq!(out, vec![metric("h", histogram(DELTA, vec![expected]))], "other buckets are a reset");
}

#[tokio::test(start_paused = true)]
async fn exponential_histograms_are_subtracted_across_scales() {
    let bench = bench("initial_value = \"drop\"").await;
    let of = |values: &[f64], time| {
        let mut point = expo::empty();
        values.iter().for_each(|v| assert!(expo::record(&mut point, *v, 1, 160)));
        point.time_unix_nano = time;
        point
    };
    let earlier = of(&[1.0, 1.1], 20);
    let later = of(&[1.0, 1.1, 3000.0, 4000.0], 30);
    let _ = bench.pass(vec![metric("e", exponential(CUMULATIVE, vec![earlier]))]).await;
    let out = bench.pass(vec![metric("e", exponential(CUMULATIVE, vec![later.clone()]))]).await;
    let mut expected = of(&[3000.0, 4000.0], 30);
    while expected.scale > later.scale {
        // Recorded at the scale of the whole.
        let mut coarse = signal::otlp::proto::metrics::v1::ExponentialHistogramDataPoint {
            scale: later.scale,
            sum: Some(0.0),
            ..Default::default()
        };
        expo::merge(&mut coarse, &expected, 160);
        coarse.time_unix_nano = 30;
        expected = coarse;
    }
    (expected.min, expected.max, expected.start_time_unix_nano) = (None, None, 20);
    expected.sum = Some(7000.0);
    let Some(signal::otlp::proto::metrics::v1::metric::Data::ExponentialHistogram(got)) = &out[0].data else {
        panic!("{out:?}")
    };
    let mut got = got.data_points[0].clone();
    assert!((got.sum.expect("a sum") - 7000.0).abs() < 1e-6);
    got.sum = Some(7000.0);
    assert_eq!(got, expected);
}

#[tokio::test(start_paused = true)]
async fn a_refused_difference_is_owed_and_not_lost() {
    let bench = bench("initial_value = \"keep\"").await;
    bench.sink.answer(Err(Rejected::Retryable("later".into())));
    let first = cumulative(vec![int(10, 20, 5)]);
    bench.send(first.clone()).await.expect_err("refused");
    bench.sink.answer(Ok(()));
    assert_eq!(bench.pass(first.clone()).await, delta(vec![int(10, 20, 5)]), "the same point again");
    let out_of_order = "otelcol_cumulativetodelta_datapoints_dropped{reason=\"out_of_order\"}";
    assert_eq!((bench.pass(first).await, bench.own(out_of_order).as_str()), (vec![], "1"), "a repetition");
    bench.sink.answer(Err(Rejected::Stopped));
    let many = cumulative(vec![int(10, 30, 6), int(10, 40, 8)]);
    bench.send(many.clone()).await.expect_err("refused");
    bench.send(many).await.expect_err("refused again");
    bench.sink.answer(Ok(()));
    assert_eq!(
        bench.pass(cumulative(vec![int(10, 50, 9)])).await,
        delta(vec![int(20, 50, 4)]),
        "a later point"
    );
    bench.sink.answer(Err(Rejected::Permanent("bad".into())));
    bench.send(cumulative(vec![int(10, 60, 20)])).await.expect_err("refused for good");
    bench.sink.answer(Ok(()));
    assert_eq!(bench.pass(cumulative(vec![int(10, 70, 21)])).await, delta(vec![int(60, 70, 1)]));
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_in_other_buckets_goes_beside_the_new_difference() {
    let bench = bench("initial_value = \"keep\"").await;
    let h = |point| vec![metric("h", histogram(CUMULATIVE, vec![point]))];
    bench.sink.answer(Err(Rejected::Retryable("later".into())));
    let old = buckets(10, 20, &[1.0], &[1, 1]);
    bench.send(h(old.clone())).await.expect_err("refused");
    bench.sink.answer(Ok(()));
    let out = bench.pass(h(buckets(0, 30, &[2.0], &[3, 3]))).await;
    assert_eq!(out, vec![metric("h", histogram(DELTA, vec![buckets(20, 30, &[2.0], &[3, 3]), old]))]);
}

#[tokio::test(start_paused = true)]
async fn only_selected_metrics_are_converted() {
    let names = ["http.a", "http.b", "x"];
    let converted = |out: Vec<Metric>| -> Vec<String> {
        let is = |m: &&Metric| matches!(&m.data, Some(signal::otlp::proto::metrics::v1::metric::Data::Sum(d)) if d.aggregation_temporality == DELTA);
        out.iter().filter(is).map(|m| m.name.clone()).collect()
    };
    for (blocks, expected) in [
        ("", vec!["http.a", "http.b", "x"]),
        ("include {\n metrics = [\"http.a\"]\n match_type = \"strict\"\n}", vec!["http.a"]),
        (
            "include {\n metrics = [\"^http\"]\n match_type = \"regexp\"\n}\nexclude {\n metrics = [\"b\"]\n match_type = \"regexp\"\n}",
            vec!["http.a"],
        ),
        ("include {\n metric_types = [\"histogram\"]\n}", vec![]),
        ("exclude {\n metric_types = [\"Sum\"]\n}", vec![]),
    ] {
        let bench = bench(&format!("initial_value = \"keep\"\n{blocks}")).await;
        let metrics = names.map(|name| metric(name, sum(CUMULATIVE, true, vec![int(1, 2, 3)])));
        assert_eq!(converted(bench.pass(metrics.into()).await), expected, "{blocks}");
    }
    let bench = bench("initial_value = \"keep\"").await;
    let others = vec![
        metric("g", gauge(vec![int(0, 5, 1)])),
        metric("updown", sum(CUMULATIVE, false, vec![int(1, 5, 1)])),
        metric("nan", sum(DELTA, true, vec![int(1, 5, 1)])),
    ];
    assert_eq!(bench.pass(others.clone()).await, others);
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused() {
    let bench = bench("").await;
    for (blocks, why) in [
        ("include {\n metrics = [\"a\"]\n}", "match_type"),
        ("exclude {\n match_type = \"strict\"\n}", "needs metrics"),
        ("include {\n metrics = [\"(\"]\n match_type = \"regexp\"\n}", "include"),
        ("include {\n metric_types = [\"gauge\"]\n}", "gauge"),
        ("initial_value = \"guess\"", "initial_value"),
    ] {
        let refused = bench.harness.update(&format!("{blocks}\n{OUTPUT}")).await.expect_err(blocks);
        assert!(format!("{refused:?}").contains(why), "{blocks}: {refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn streams_are_forgotten_after_max_staleness() {
    let bench = bench("initial_value = \"drop\"\nmax_staleness = \"1m\"").await;
    let _ = bench.pass(cumulative(vec![int(10, 20, 5)])).await;
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert_eq!(bench.own("otelcol_cumulativetodelta_streams_tracked"), "0");
    assert_eq!(bench.pass(cumulative(vec![int(10, 30, 6)])).await, [], "a first point again");
}

#[test]
fn the_surface_is_alloys() {
    let ours = component::testkit::surface(<Args as component::eval::Arguments>::schema());
    let shared = |line: &String| line.starts_with("output") || line.starts_with("debug_metrics");
    let expected = [
        "exclude block defaults",
        "exclude.match_type string",
        "exclude.metric_types list(string)",
        "exclude.metrics list(string)",
        "include block defaults",
        "include.match_type string",
        "include.metric_types list(string)",
        "include.metrics list(string)",
        "initial_value string = \"auto\"",
        "max_staleness duration",
    ];
    assert_eq!(ours.into_iter().filter(|line| !shared(line)).collect::<Vec<_>>(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Delta → cumulative → delta is the identity, whatever is refused on the way.
    #[test]
    fn adding_up_and_taking_differences_gives_back_what_came_in(
        values in prop::collection::vec((0..1000i64, 0..50u64, 0..50u64, any::<bool>()), 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let (up, down) = (
                Bench::new::<DeltaToCumulative>("").await,
                bench("initial_value = \"keep\"").await,
            );
            let mut expected = (0, [0, 0]);
            let mut got = (0, [0, 0]);
            for (n, (value, a, b, refused)) in values.iter().enumerate() {
                let (start, time) = (n as u64 + 1, n as u64 + 2);
                let deltas = vec![
                    metric("m", sum(DELTA, true, vec![int(start, time, *value)])),
                    metric("h", histogram(DELTA, vec![buckets(start, time, &[1.0], &[*a, *b])])),
                ];
                expected = (expected.0 + value, [expected.1[0] + a, expected.1[1] + b]);
                let totals = up.pass(deltas.clone()).await;
                if *refused {
                    down.sink.answer(Err(Rejected::Retryable("later".into())));
                    down.send(totals.clone()).await.expect_err("refused");
                    down.sink.answer(Ok(()));
                }
                let back = down.pass(totals).await;
                assert_eq!(back, deltas);
                for m in back {
                    match m.data {
                        Some(signal::otlp::proto::metrics::v1::metric::Data::Sum(d)) => {
                            let Some(Value::AsInt(v)) = d.data_points[0].value else { panic!("whole") };
                            got.0 += v;
                        }
                        Some(signal::otlp::proto::metrics::v1::metric::Data::Histogram(d)) => {
                            let counts = &d.data_points[0].bucket_counts;
                            got.1 = [got.1[0] + counts[0], got.1[1] + counts[1]];
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            assert_eq!(got, expected);
        });
    }
}
