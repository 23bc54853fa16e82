//! Each kind of metric as samples.

use signal::otlp::proto::metrics::v1::exponential_histogram_data_point::Buckets;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::summary_data_point::ValueAtQuantile;
use signal::otlp::proto::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, Summary, SummaryDataPoint, exemplar, number_data_point,
};

use super::*;

const PLAIN: &str = "include_target_info = false\ninclude_scope_labels = false";

fn point(bounds: &[f64], counts: &[u64]) -> HistogramDataPoint {
    HistogramDataPoint {
        start_time_unix_nano: SECOND,
        time_unix_nano: 2 * SECOND,
        count: counts.iter().sum(),
        sum: Some(6.5),
        explicit_bounds: bounds.to_vec(),
        bucket_counts: counts.to_vec(),
        ..HistogramDataPoint::default()
    }
}

fn histogram(point: HistogramDataPoint) -> OtlpMetrics {
    let data = Histogram { data_points: vec![point], aggregation_temporality: CUMULATIVE };
    of(&[], vec![metric("h", "s", Data::Histogram(data))])
}

fn exponential(scale: i32) -> ExponentialHistogramDataPoint {
    ExponentialHistogramDataPoint {
        start_time_unix_nano: SECOND,
        time_unix_nano: 2 * SECOND,
        count: 4,
        sum: Some(9.0),
        scale,
        zero_count: 1,
        positive: Some(Buckets { offset: 0, bucket_counts: vec![1, 2] }),
        ..ExponentialHistogramDataPoint::default()
    }
}

fn of_exponential(point: ExponentialHistogramDataPoint) -> OtlpMetrics {
    let data = ExponentialHistogram { data_points: vec![point], aggregation_temporality: CUMULATIVE };
    of(&[], vec![metric("e", "", Data::ExponentialHistogram(data))])
}

fn summary(quantiles: &[(f64, f64)], flags: u32) -> OtlpMetrics {
    let quantile_values = quantiles
        .iter()
        .map(|(quantile, value)| ValueAtQuantile { quantile: *quantile, value: *value })
        .collect();
    let time_unix_nano = (2 + u64::from(flags)) * SECOND;
    let point = SummaryDataPoint {
        start_time_unix_nano: SECOND,
        time_unix_nano,
        count: 3,
        sum: 7.0,
        quantile_values,
        flags,
        ..SummaryDataPoint::default()
    };
    of(&[], vec![metric("s", "", Data::Summary(Summary { data_points: vec![point] }))])
}

#[tokio::test]
async fn sums_are_counters_or_gauges_and_what_is_not_cumulative_is_counted() {
    let bench = Bench::new(PLAIN).await;
    let int = NumberDataPoint { value: Some(number_data_point::Value::AsInt(7)), ..number(&[], 0.0) };
    let metrics = vec![
        sum("up", true, CUMULATIVE, int),
        sum("both", false, CUMULATIVE, number(&[], 3.5)),
        sum("delta", true, DELTA, number(&[], 1.0)),
        sum("unknown", true, 0, number(&[], 1.0)),
        metric("empty", "", Data::Gauge(Default::default())),
        Metric { name: "none".into(), ..Metric::default() },
        sum("...", true, CUMULATIVE, number(&[], 1.0)),
        sum("without", true, CUMULATIVE, NumberDataPoint { value: None, ..number(&[], 0.0) }),
    ];
    assert_eq!(bench.lines(of(&[], metrics)).await, ["both 3.5 @2000", "up_total 7 @2000 ^1000"]);
    for (what, why) in [
        ("sum", "delta temporality"),
        ("sum", "unknown temporality"),
        ("data point", "no name left"),
        ("data point", "no value"),
    ] {
        assert_eq!(bench.dropped(what, why), "1", "{what} {why}");
    }
}

#[tokio::test]
async fn a_histogram_becomes_cumulative_buckets() {
    let bench = Bench::new(PLAIN).await;
    let lines = bench.lines(histogram(point(&[0.5, 1.0], &[2, 0, 3]))).await;
    assert_eq!(
        lines,
        [
            r#"h_seconds_bucket{le="+Inf"} 5 @2000 ^1000"#,
            r#"h_seconds_bucket{le="0.5"} 2 @2000 ^1000"#,
            r#"h_seconds_bucket{le="1"} 2 @2000 ^1000"#,
            "h_seconds_count 5 @2000 ^1000",
            "h_seconds_sum 6.5 @2000 ^1000",
        ]
    );
    let without_sum = HistogramDataPoint { sum: None, ..point(&[], &[]) };
    assert_eq!(bench.lines(histogram(without_sum)).await.len(), 2);
    let infinite = bench.lines(histogram(point(&[1.0, f64::INFINITY], &[1, 2, 0]))).await;
    assert_eq!(infinite[0], r#"h_seconds_bucket{le="+Inf"} 3 @2000 ^1000"#);
    assert_eq!(infinite.len(), 4);
    assert!(bench.lines(histogram(point(&[2.0, 1.0], &[1, 2, 3]))).await.is_empty());
    assert_eq!(bench.dropped("histogram", "bounds out of order"), "1");
}

#[tokio::test]
async fn an_attribute_named_as_the_bucket_label_does_not_join_the_buckets() {
    let bench = Bench::new(PLAIN).await;
    let with = HistogramDataPoint { attributes: vec![text("le", "x")], ..point(&[0.5], &[1, 1]) };
    let lines = bench.lines(histogram(with)).await;
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0], r#"h_seconds_bucket{le="+Inf"} 2 @2000 ^1000"#);
}

#[tokio::test]
async fn exemplars_go_with_the_bucket_that_their_value_falls_in() {
    let bench = Bench::new(PLAIN).await;
    let mut long = exemplar(9.0, 2);
    long.filtered_attributes = vec![text("text", &"x".repeat(128))];
    let mut whole = exemplar(0.0, 2);
    (whole.value, whole.span_id) = (Some(exemplar::Value::AsInt(1)), vec![1; 8]);
    whole.filtered_attributes = vec![text("user.id", "u")];
    let exemplars = vec![exemplar(0.5, 1), long, whole];
    let lines =
        bench.lines(histogram(HistogramDataPoint { exemplars, ..point(&[0.5, 1.0], &[2, 0, 3]) })).await;
    let exemplars: Vec<_> = lines.iter().filter(|line| line.contains(" # ")).collect();
    let id = "ab".repeat(16);
    assert_eq!(
        exemplars,
        [
            &format!(r#"h_seconds_bucket{{le="+Inf"}} # {{trace_id="{id}"}} 9 @2000"#),
            &format!(r#"h_seconds_bucket{{le="0.5"}} # {{trace_id="{id}"}} 0.5 @1000"#),
            &format!(
                r#"h_seconds_bucket{{le="1"}} # {{span_id="0101010101010101", trace_id="{id}", user_id="u"}} 1 @2000"#
            ),
        ]
    );
    assert_eq!(bench.dropped("exemplar attribute", "too long"), "1");
    let older = HistogramDataPoint { exemplars: vec![exemplar(0.1, 0)], ..point(&[0.5, 1.0], &[2, 0, 3]) };
    assert!(bench.lines(histogram(older)).await.iter().all(|line| !line.contains(" # ")));
    assert_eq!(bench.dropped("exemplar", "out of order"), "1");
    for seconds in [1 << 33, 1 << 31] {
        let exemplars = vec![exemplar(0.1, seconds)];
        let lines =
            bench.lines(histogram(HistogramDataPoint { exemplars, ..point(&[0.5, 1.0], &[2, 0, 3]) })).await;
        assert_eq!(lines.iter().filter(|line| line.contains(" # ")).count(), 1, "the future is no order");
    }
}

#[tokio::test]
async fn exemplars_of_gauges_are_not_sent_and_those_of_counters_are() {
    let bench = Bench::new(PLAIN).await;
    let with = || NumberDataPoint { exemplars: vec![exemplar(1.0, 2)], ..number(&[], 1.0) };
    let gauges = Data::Gauge(signal::otlp::proto::metrics::v1::Gauge { data_points: vec![with()] });
    let metrics = vec![sum("c", true, CUMULATIVE, with()), metric("g", "", gauges)];
    let lines = bench.lines(of(&[], metrics)).await;
    assert_eq!(lines.iter().filter(|line| line.contains(" # ")).count(), 1);
    assert!(lines[0].starts_with("c_total # "), "{lines:?}");
    assert_eq!(bench.dropped("exemplar", "of a gauge"), "1");
    let exemplars = vec![exemplar(2.0, 4), exemplar(1.0, 3)];
    let lines =
        bench.lines(of(&[], vec![sum("c", true, CUMULATIVE, NumberDataPoint { exemplars, ..with() })])).await;
    assert_eq!(lines.iter().filter(|line| line.contains(" # ")).count(), 2, "whatever their order");
}

#[tokio::test]
async fn native_histograms_come_of_exponential_ones_and_of_explicit_bounds_if_asked_for() {
    let bench = Bench::new(PLAIN).await;
    assert_eq!(bench.lines(of_exponential(exponential(3))).await, ["e native 4 sum 9 @2000 ^1000"]);
    assert!(bench.lines(of_exponential(exponential(-5))).await.is_empty());
    assert_eq!(bench.dropped("histogram", "scale below -4"), "1");
    let bench = Bench::new(&format!("{PLAIN}\nconvert_classic_histograms_to_nhcb = true")).await;
    let samples = bench.convert(histogram(point(&[0.5, 1.0], &[2, 0, 3]))).await;
    assert_eq!(shown(&samples[0]), ["h_seconds native 5 sum 6.5 @2000 ^1000"]);
    assert_eq!(samples[0].histograms[0].histogram.custom_values, [0.5, 1.0]);
    let wrong = HistogramDataPoint { count: 1, ..point(&[0.5, 1.0], &[2, 0, 3]) };
    assert!(bench.lines(histogram(wrong)).await.is_empty());
    assert_eq!(bench.dropped("histogram", "inconsistent"), "1");
}

#[tokio::test]
async fn a_summary_becomes_quantiles_sum_and_count() {
    let bench = Bench::new(PLAIN).await;
    let lines = bench.lines(summary(&[(0.5, 2.0), (0.99, 4.0)], 0)).await;
    let expected = [
        "s_count 3 @2000 ^1000",
        "s_sum 7 @2000 ^1000",
        r#"s{quantile="0.5"} 2 @2000"#,
        r#"s{quantile="0.99"} 4 @2000"#,
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn no_recorded_value_marks_every_series_of_the_point_as_stale() {
    let bench = Bench::new(PLAIN).await;
    bench.lines(summary(&[(0.5, 2.0)], 0)).await;
    let lines = bench.lines(summary(&[], NO_VALUE)).await;
    assert_eq!(
        lines,
        ["s_count stale @3000 ^1000", "s_sum stale @3000 ^1000", r#"s{quantile="0.5"} stale @3000"#]
    );
    bench.lines(histogram(point(&[0.5], &[1, 1]))).await;
    let stale = HistogramDataPoint { flags: NO_VALUE, sum: None, ..point(&[], &[]) };
    let lines = bench.lines(histogram(stale)).await;
    assert!(lines.len() == 4 && lines.iter().all(|line| line.contains(" stale ")), "{lines:?}");
    let gone = NumberDataPoint { flags: NO_VALUE, value: None, ..number(&[], 0.0) };
    assert_eq!(
        bench.lines(of(&[], vec![sum("c", true, CUMULATIVE, gone)])).await,
        ["c_total stale @2000 ^1000"]
    );
    let gone = ExponentialHistogramDataPoint { flags: NO_VALUE, ..exponential(3) };
    assert_eq!(bench.lines(of_exponential(gone)).await, ["e stale @2000 ^1000"]);
}

#[tokio::test]
async fn a_zero_is_written_where_something_has_started_and_only_there() {
    let bench = Bench::new(&format!("{PLAIN}\nstart_timestamp_zero_ingestion = true")).await;
    let at = |start, time| {
        let mut metric = counter("c", "", 5.0);
        set_times(&mut metric, start, time);
        of(&[], vec![metric])
    };
    let first = bench.lines(at(1, 2)).await;
    assert_eq!(first, ["c_total 0 @1000 ^1000", "c_total 5 @2000 ^1000"]);
    assert_eq!(bench.lines(at(1, 3)).await, ["c_total 5 @3000 ^1000"]);
    assert_eq!(bench.lines(at(4, 5)).await.len(), 2, "started again");
    assert_eq!(bench.lines(at(6, 6)).await.len(), 1, "starts with its first point");
    let gone = NumberDataPoint { flags: NO_VALUE, value: None, ..number(&[], 0.0) };
    assert_eq!(bench.lines(of(&[], vec![sum("gone", true, CUMULATIVE, gone)])).await.len(), 1, "has ended");
    let native = bench.lines(of_exponential(exponential(3))).await;
    assert_eq!(native, ["e native 0 sum 0 @1000 ^1000", "e native 4 sum 9 @2000 ^1000"]);
    assert_eq!(bench.lines(histogram(point(&[0.5], &[1, 1]))).await.len(), 8);
    assert_eq!(bench.lines(of(&[], vec![gauge("g", "", &[(&[], 1.0)])])).await.len(), 1);
}
