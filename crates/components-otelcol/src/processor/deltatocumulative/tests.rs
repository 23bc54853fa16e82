//! The component as its neighbours see it, on paused time.

use proptest::prelude::*;

use super::*;
use crate::streams::testing::*;
use crate::streams::{CUMULATIVE, DELTA, exponential as expo};
use signal::otlp::proto::metrics::v1::DataPointFlags;

fn delta(
    points: Vec<signal::otlp::proto::metrics::v1::NumberDataPoint>,
) -> Vec<signal::otlp::proto::metrics::v1::Metric> {
    vec![metric("m", sum(DELTA, true, points))]
}

fn cumulative(
    points: Vec<signal::otlp::proto::metrics::v1::NumberDataPoint>,
) -> Vec<signal::otlp::proto::metrics::v1::Metric> {
    vec![metric("m", sum(CUMULATIVE, true, points))]
}

async fn bench(args: &str) -> Bench {
    Bench::new::<DeltaToCumulative>(args).await
}

#[tokio::test(start_paused = true)]
async fn deltas_become_totals_that_keep_their_first_start() {
    let bench = bench("").await;
    assert_eq!(bench.pass(delta(vec![int(10, 20, 5)])).await, cumulative(vec![int(10, 20, 5)]));
    assert_eq!(
        bench.pass(delta(vec![int(20, 30, 3), int(30, 40, 4)])).await,
        cumulative(vec![int(10, 30, 8), int(10, 40, 12)])
    );
    let mut other = int(40, 50, 1);
    other.attributes = vec![text("a", "b")];
    assert_eq!(bench.pass(delta(vec![other.clone()])).await, cumulative(vec![other]), "another stream");
    assert_eq!(bench.own("otelcol_deltatocumulative_streams_tracked"), "2");
    assert_eq!(bench.own("otelcol_deltatocumulative_datapoints{error=\"\"}"), "4");
    assert_eq!(bench.own("otelcol_deltatocumulative_streams_max_stale_seconds"), "300");
}

#[tokio::test(start_paused = true)]
async fn histograms_of_both_kinds_are_added_up() {
    let bench = bench("").await;
    let of = |values: &[f64], start, time| {
        let mut point = expo::empty();
        values.iter().for_each(|v| assert!(expo::record(&mut point, *v, 1, 160)));
        (point.start_time_unix_nano, point.time_unix_nano) = (start, time);
        point
    };
    let both = |temporality, h, e| {
        vec![metric("h", histogram(temporality, vec![h])), metric("e", exponential(temporality, vec![e]))]
    };
    let bounds = [1.0, 2.0];
    let _ = bench.pass(both(DELTA, buckets(1, 2, &bounds, &[1, 0, 2]), of(&[1.0, 9.0], 1, 2))).await;
    assert_eq!(
        bench.pass(both(DELTA, buckets(2, 3, &bounds, &[0, 5, 1]), of(&[700.0], 2, 3))).await,
        both(CUMULATIVE, buckets(1, 3, &bounds, &[1, 5, 3]), of(&[1.0, 9.0, 700.0], 1, 3))
    );
    let changed = buckets(3, 4, &[7.0], &[1, 1]);
    let out = bench.pass(vec![metric("h", histogram(DELTA, vec![changed.clone()]))]).await;
    assert_eq!(out, vec![metric("h", histogram(CUMULATIVE, vec![changed]))], "other buckets begin anew");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_delta_passes_in_the_form_that_it_came_in() {
    let bench = bench("").await;
    let metrics = vec![
        metric("g", gauge(vec![int(0, 5, 1)])),
        metric("c", sum(CUMULATIVE, true, vec![int(1, 5, 1)])),
        metric("s", summary(vec![Default::default()])),
    ];
    let bytes = batch(metrics).requests[0].wire().clone();
    let request = signal::otlp::OtlpRequest::from_wire(bytes.clone(), 3, None);
    bench.input.send(signal::otlp::Otlp::of(request)).await.expect("taken");
    let out = bench.sink.take();
    assert!(std::ptr::eq(out[0].requests[0].wire().as_ptr(), bytes.as_ptr()));
}

#[tokio::test(start_paused = true)]
async fn late_points_those_of_older_series_and_nan_are_dropped_and_counted() {
    let bench = bench("").await;
    let _ = bench.pass(delta(vec![int(10, 20, 5)])).await;
    let dropped = delta(vec![int(10, 20, 5), int(12, 15, 5), int(9, 30, 5), double(20, 30, f64::NAN)]);
    assert_eq!(bench.pass(dropped).await, []);
    assert_eq!(bench.own("otelcol_deltatocumulative_datapoints{error=\"delta.ErrOutOfOrder\"}"), "2");
    assert_eq!(bench.own("otelcol_deltatocumulative_datapoints{error=\"delta.ErrOlderStart\"}"), "1");
    assert_eq!(bench.own("otelcol_deltatocumulative_datapoints{error=\"nan\"}"), "1");
    assert_eq!(bench.pass(delta(vec![int(20, 40, 1)])).await, cumulative(vec![int(10, 40, 6)]));
}

#[tokio::test(start_paused = true)]
async fn a_point_without_a_value_goes_on_and_changes_no_total() {
    let bench = bench("").await;
    let _ = bench.pass(delta(vec![int(10, 20, 5)])).await;
    let mut gap = int(20, 30, 0);
    (gap.value, gap.flags) = (None, DataPointFlags::NoRecordedValueMask as u32);
    let mut expected = gap.clone();
    expected.start_time_unix_nano = 10;
    assert_eq!(bench.pass(delta(vec![gap])).await, cumulative(vec![expected]));
    assert_eq!(bench.pass(delta(vec![int(20, 30, 1)])).await, cumulative(vec![int(10, 30, 6)]));
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_that_comes_again_is_added_once() {
    let bench = bench("").await;
    let _ = bench.pass(delta(vec![int(10, 20, 5)])).await;
    let again = delta(vec![int(20, 30, 1), int(30, 40, 1)]);
    for refusal in [Rejected::Retryable("later".into()), Rejected::Stopped] {
        bench.sink.answer(Err(refusal.clone()));
        assert_eq!(bench.send(again.clone()).await, Err(refusal));
    }
    bench.sink.answer(Ok(()));
    assert_eq!(bench.pass(again.clone()).await, cumulative(vec![int(10, 40, 7)]));
    assert_eq!(bench.own("otelcol_deltatocumulative_datapoints{error=\"delta.ErrOutOfOrder\"}"), "");
    assert_eq!(bench.pass(again).await, [], "now it is a repetition");
    assert_eq!(bench.pass(delta(vec![int(40, 50, 1)])).await, cumulative(vec![int(10, 50, 8)]));
}

#[tokio::test(start_paused = true)]
async fn streams_are_bounded_and_forgotten() {
    let bench = bench("max_streams = 1\nmax_stale = \"1m\"").await;
    let _ = bench.pass(delta(vec![int(10, 20, 5)])).await;
    let other = vec![metric("other", sum(DELTA, true, vec![int(10, 20, 5)]))];
    assert_eq!(bench.pass(other.clone()).await, []);
    assert_eq!(bench.own("otelcol_deltatocumulative_datapoints{error=\"limit\"}"), "1");
    assert_eq!(bench.own("otelcol_deltatocumulative_streams_limit"), "1");
    tokio::time::sleep(Duration::from_secs(125)).await;
    assert_eq!(bench.own("otelcol_deltatocumulative_streams_tracked"), "0");
    assert_eq!(bench.pass(other).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn totals_survive_an_update_of_the_arguments() {
    let bench = bench("").await;
    let _ = bench.pass(delta(vec![int(10, 20, 5)])).await;
    let body = format!("max_streams = 7\ndebug_metrics {{ level = \"none\" }}\n{OUTPUT}");
    bench.harness.update(&body).await.expect("valid");
    assert_eq!(bench.pass(delta(vec![int(20, 30, 1)])).await, cumulative(vec![int(10, 30, 6)]));
    assert_eq!(bench.harness.services.metrics.text(), "");
    let refused = bench.harness.update(&format!("max_streams = -1\n{OUTPUT}")).await.expect_err("negative");
    assert!(format!("{refused:?}").contains("max_streams"), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn without_consumers_for_metrics_they_are_refused() {
    let bench = bench("").await;
    bench.harness.update("output { }").await.expect("valid");
    assert!(matches!(bench.send(delta(vec![int(1, 2, 3)])).await, Err(Rejected::Permanent(_))));
}

#[test]
fn the_surface_is_alloys() {
    let ours = component::testkit::surface(<Args as component::eval::Arguments>::schema());
    let shared = |line: &String| line.starts_with("output") || line.starts_with("debug_metrics");
    assert_eq!(
        ours.into_iter().filter(|line| !shared(line)).collect::<Vec<_>>(),
        ["max_stale duration = \"5m\"", "max_streams int = 9223372036854775807"]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// However deltas are spread over batches, a stream's last total is their sum.
    #[test]
    fn the_last_total_is_the_sum_of_all_deltas(deltas in prop::collection::vec((0..3u8, 0..1000i64), 1..60), size in 1..9usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let bench = bench("").await;
            let mut last = [0; 3];
            let points: Vec<_> = deltas.iter().enumerate().map(|(n, (stream, value))| {
                let mut point = int(n as u64 + 1, n as u64 + 2, *value);
                point.attributes = vec![text("stream", &stream.to_string())];
                point
            }).collect();
            for chunk in points.chunks(size) {
                for out in bench.pass(delta(chunk.to_vec())).await {
                    let Some(signal::otlp::proto::metrics::v1::metric::Data::Sum(out)) = out.data else { panic!("a sum") };
                    for point in out.data_points {
                        let stream = chunk.iter().find(|p| p.time_unix_nano == point.time_unix_nano).expect("one of them");
                        let at: usize = crate::value::text(stream.attributes[0].value.as_ref()).parse().expect("a number");
                        let Some(signal::otlp::proto::metrics::v1::number_data_point::Value::AsInt(v)) = point.value else { panic!("whole") };
                        last[at] = v;
                    }
                }
            }
            for (at, last) in last.iter().enumerate() {
                let expected: i64 = deltas.iter().filter(|(s, _)| usize::from(*s) == at).map(|(_, v)| v).sum();
                assert_eq!(*last, expected);
            }
        });
    }
}
