//! The component as its neighbours see it, on paused time.

use signal::otlp::proto::metrics::v1::{Metric, NumberDataPoint, SummaryDataPoint};

use super::*;
use crate::streams::testing::*;
use crate::streams::{CUMULATIVE, DELTA, exponential as expo};

async fn bench(args: &str) -> Bench {
    Bench::new::<Interval>(args).await
}

fn of(point: NumberDataPoint, attribute: &str) -> NumberDataPoint {
    NumberDataPoint { attributes: vec![text("a", attribute)], ..point }
}

/// Lets everything run that can without time passing.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

async fn an_interval() {
    tokio::time::sleep(Duration::from_secs(60)).await;
    settle().await;
}

fn quantiles(time: u64, count: u64) -> SummaryDataPoint {
    SummaryDataPoint { time_unix_nano: time, count, ..Default::default() }
}

// The example of the collector's documentation: values at some times, and what goes on at the end of the interval.
#[tokio::test(start_paused = true)]
async fn of_cumulative_streams_the_newest_point_goes_on_once_an_interval() {
    let bench = bench("").await;
    let test = |value: i64, time| of(int(0, time, value), "x");
    let counter = |points| vec![metric("test_metric", sum(CUMULATIVE, true, points))];
    for (time, value) in [(0, 4), (2, 2), (4, 1), (6, 7), (8, 5)] {
        assert_eq!(bench.pass(counter(vec![test(value, time)])).await, []);
    }
    assert_eq!(bench.own("otelcol_processor_interval_held_points"), "1");
    an_interval().await;
    assert_eq!(bench.took(), counter(vec![test(5, 8)]));
    assert_eq!(bench.own("otelcol_processor_interval_held_points"), "0");
    an_interval().await;
    assert_eq!(bench.took(), [], "nothing new");
    assert_eq!(bench.pass(counter(vec![test(9, 20), test(8, 19)])).await, []);
    an_interval().await;
    assert_eq!(bench.took(), counter(vec![test(9, 20)]), "late points do not win");
}

#[tokio::test(start_paused = true)]
async fn of_delta_streams_the_sum_goes_on() {
    let bench = bench("").await;
    let of = |values: &[f64], start, time| {
        let mut point = expo::empty();
        values.iter().for_each(|v| assert!(expo::record(&mut point, *v, 1, 160)));
        (point.start_time_unix_nano, point.time_unix_nano) = (start, time);
        point
    };
    let all = |n, h, e| {
        vec![
            metric("n", sum(DELTA, true, vec![n])),
            metric("h", histogram(DELTA, vec![h])),
            metric("e", exponential(DELTA, vec![e])),
        ]
    };
    let bounds = [1.0, 2.0];
    assert_eq!(bench.pass(all(int(1, 2, 3), buckets(1, 2, &bounds, &[1, 0, 1]), of(&[1.0], 1, 2))).await, []);
    assert_eq!(bench.pass(all(int(2, 3, 4), buckets(2, 3, &bounds, &[0, 2, 1]), of(&[9.0], 2, 3))).await, []);
    let changed = buckets(3, 4, &[5.0], &[1, 1]);
    assert_eq!(bench.pass(vec![metric("h", histogram(DELTA, vec![changed.clone()]))]).await, []);
    an_interval().await;
    let mut expected = all(int(1, 3, 7), buckets(1, 3, &bounds, &[1, 2, 2]), of(&[1.0, 9.0], 1, 3));
    expected[1] = metric("h", histogram(DELTA, vec![buckets(1, 3, &bounds, &[1, 2, 2]), changed]));
    assert_eq!(bench.took(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_held_passes_at_once() {
    let updown = metric("updown", sum(CUMULATIVE, false, vec![int(0, 5, 1)]));
    let level = metric("level", gauge(vec![int(0, 5, 1)]));
    let quantiles = metric("quantiles", summary(vec![quantiles(5, 1)]));
    let all = || vec![updown.clone(), level.clone(), quantiles.clone()];
    let one = bench("").await;
    assert_eq!(one.pass(all()).await, vec![updown.clone()]);
    an_interval().await;
    assert_eq!(one.took(), vec![level.clone(), quantiles.clone()]);
    let two = bench("passthrough {\n gauge = true\n summary = true\n}").await;
    let request = batch(all()).requests[0].wire().clone();
    two.input.send(Otlp::of(OtlpRequest::from_wire(request.clone(), 3, None))).await.expect("taken");
    let out = two.sink.take();
    assert!(
        std::ptr::eq(out[0].requests[0].wire().as_ptr(), request.as_ptr()),
        "in the form that it came in"
    );
}

#[tokio::test(start_paused = true)]
async fn streams_are_told_apart_and_stay_in_their_resources_and_scopes() {
    let bench = bench("").await;
    let mut two = request(vec![metric("m", gauge(vec![of(int(0, 1, 1), "x"), of(int(0, 1, 2), "y")]))]);
    let mut other = two.resource_metrics[0].clone();
    other.resource = Some(signal::otlp::proto::resource::v1::Resource {
        attributes: vec![text("r", "1")],
        ..Default::default()
    });
    two.resource_metrics.push(other);
    for _ in 0..2 {
        bench.input.send(Otlp::of(OtlpRequest::from_message(two.clone()))).await.expect("taken");
    }
    an_interval().await;
    let out = bench.sink.take();
    assert_eq!(out[0].requests[0].message(), Ok(&two));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_now_stays_held_and_takes_in_more() {
    let bench = bench("").await;
    let n = |start, time, value| vec![metric("n", sum(DELTA, true, vec![int(start, time, value)]))];
    bench.sink.answer(Err(Rejected::Retryable("later".into())));
    assert_eq!(bench.send(n(1, 2, 1)).await, Ok(()), "it is held, whatever stands behind");
    an_interval().await;
    assert_eq!(bench.own("otelcol_processor_interval_held_points"), "1");
    assert_eq!(bench.send(n(2, 3, 2)).await, Ok(()));
    bench.sink.answer(Ok(()));
    an_interval().await;
    assert_eq!(bench.took(), n(1, 3, 3));
    bench.send(n(3, 4, 1)).await.expect("held");
    bench.sink.answer(Err(Rejected::Permanent("bad".into())));
    an_interval().await;
    assert_eq!(bench.own("otelcol_processor_interval_dropped_points_total"), "1");
    bench.sink.answer(Ok(()));
    an_interval().await;
    assert_eq!(bench.took(), []);
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_passing_part_is_refused_is_not_held_either() {
    let bench = bench("").await;
    let mixed = || {
        vec![
            metric("n", sum(DELTA, true, vec![int(1, 2, 1)])),
            metric("updown", sum(CUMULATIVE, false, vec![int(0, 5, 1)])),
        ]
    };
    bench.sink.answer(Err(Rejected::Retryable("later".into())));
    bench.send(mixed()).await.expect_err("refused");
    bench.sink.answer(Ok(()));
    bench.send(mixed()).await.expect("taken");
    bench.sink.take();
    an_interval().await;
    assert_eq!(bench.took(), mixed()[..1], "held once");
}

#[tokio::test(start_paused = true)]
async fn an_update_and_a_stop_hand_on_what_is_held() {
    let bench = bench("").await;
    let n = |value| vec![metric("n", sum(DELTA, true, vec![int(1, 2, value)]))];
    bench.send(n(1)).await.expect("held");
    bench.harness.update(&format!("interval = \"2h\"\n{OUTPUT}")).await.expect("valid");
    settle().await;
    assert_eq!(bench.took(), n(1));
    bench.send(n(2)).await.expect("held");
    bench.sink.answer(Err(Rejected::Retryable("later".into())));
    let stop = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        bench.sink.answer(Ok(()));
    };
    let (stopped, ()) = tokio::join!(bench.harness.stop(), stop);
    assert_eq!(stopped, component::Stopped::Clean);
    assert_eq!(bench.took(), n(2), "it is tried until it is taken");
    assert_eq!(bench.send(n(3)).await, Err(Rejected::Stopped));
}

fn small(most: usize) -> (Sink, Relay) {
    let sink = component::testkit::Sink::<OtlpMetrics>::new();
    let next = Fanout::new([sink.receiver()]);
    let relay = Relay { state: State::new(next, most), passthrough: Passthrough::default() };
    (sink, relay)
}

type Sink = component::testkit::Sink<OtlpMetrics>;

#[tokio::test(start_paused = true)]
async fn points_held_are_bounded_and_a_sender_without_room_sends_what_is_held() {
    let (sink, relay) = small(2);
    let n = |name: &str| -> Vec<Metric> { vec![metric(name, sum(DELTA, true, vec![int(1, 2, 1)]))] };
    for name in ["a", "b"] {
        relay.take(batch(n(name))).await.expect("held");
    }
    assert!(sink.take().is_empty());
    relay.take(batch(n("c"))).await.expect("held");
    assert_eq!(metrics(&sink.take()), [n("a"), n("b")].concat());
    assert_eq!((relay.state.early.get(), relay.state.held.get()), (1, 1));
    relay.take(batch(n("d"))).await.expect("held");
    sink.answer(Err(Rejected::Retryable("later".into())));
    let refused = relay.take(batch(n("e"))).await;
    assert!(matches!(refused, Err(Rejected::Retryable(_))), "{refused:?}");
    assert_eq!(relay.state.held.get(), 2, "nothing is lost and nothing more is held");
}

#[tokio::test]
async fn an_interval_of_nothing_is_refused() {
    let bench = bench("").await;
    let refused = bench.harness.update(&format!("interval = \"0s\"\n{OUTPUT}")).await.expect_err("zero");
    assert!(format!("{refused:?}").contains("must be above 0"), "{refused:?}");
}

#[test]
fn the_surface_is_alloys() {
    let ours = component::testkit::surface(<Args as component::eval::Arguments>::schema());
    let shared = |line: &String| line.starts_with("output") || line.starts_with("debug_metrics");
    let expected = [
        "interval duration = \"1m\"",
        "passthrough block defaults",
        "passthrough.gauge bool",
        "passthrough.summary bool",
    ];
    assert_eq!(ours.into_iter().filter(|line| !shared(line)).collect::<Vec<_>>(), expected);
}
