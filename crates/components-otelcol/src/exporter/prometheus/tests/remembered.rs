//! Points found in the cache against points whose series are made anew, and points that make no sense.

use proptest::prelude::*;
use signal::otlp::proto::metrics::v1::exponential_histogram_data_point::Buckets;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint, Metric,
};

use super::*;

fn attributes() -> impl Strategy<Value = Vec<signal::otlp::proto::common::v1::KeyValue>> {
    let one = ("[a-c.]{1,3}", "[xy]{0,2}").prop_map(|(key, value)| text(&key, &value));
    prop::collection::vec(one, 0..4)
}

fn metrics() -> impl Strategy<Value = Vec<Metric>> {
    let gauges = ("[ab.]{1,2}", attributes(), -9.0..9.0)
        .prop_map(|(name, attributes, value)| gauge(&name, "s", &[(&attributes, value)]));
    let bounds = prop::sample::select(vec![vec![1.0], vec![1.0, 2.0], vec![]]);
    let histograms =
        ("[ab]{1}", attributes(), bounds, 0_u64..4).prop_map(|(name, attributes, bounds, count)| {
            let bucket_counts = vec![count; bounds.len() + 1];
            let count = bucket_counts.iter().sum();
            let time_unix_nano = 2 * SECOND;
            let (sum, explicit_bounds) = (Some(1.0), bounds);
            let point = HistogramDataPoint {
                attributes,
                time_unix_nano,
                count,
                sum,
                explicit_bounds,
                bucket_counts,
                ..Default::default()
            };
            let data = Histogram { data_points: vec![point], aggregation_temporality: CUMULATIVE };
            metric(&name, "", Data::Histogram(data))
        });
    prop::collection::vec(prop_oneof![gauges, histograms], 1..6)
}

/// Points as a broken or hostile client may send them.
fn wild() -> impl Strategy<Value = Metric> {
    let bound = prop_oneof![
        any::<f64>(),
        prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0]),
    ];
    let bounds = prop::collection::vec(bound, 0..4);
    let counts = prop::collection::vec(prop_oneof![0_u64..3, Just(u64::MAX)], 0..5);
    let shape = (bounds, counts.clone(), any::<u64>(), 0_u32..2, any::<[u64; 2]>());
    let sides = (any::<i32>(), any::<i32>(), counts.clone(), counts);
    (shape, sides, any::<bool>()).prop_map(|((bounds, own, count, flags, times), sides, exponential)| {
        let [start_time_unix_nano, time_unix_nano] = times;
        let exemplars = bounds.iter().map(|bound| exemplar(*bound, 1)).collect();
        let (scale, offset, positive, negative) = sides;
        let side = |bucket_counts| Some(Buckets { offset, bucket_counts });
        if exponential {
            let point = ExponentialHistogramDataPoint {
                start_time_unix_nano,
                time_unix_nano,
                count,
                scale,
                positive: side(positive),
                negative: side(negative),
                flags,
                exemplars,
                ..Default::default()
            };
            let data = ExponentialHistogram { data_points: vec![point], aggregation_temporality: CUMULATIVE };
            return metric("w", "", Data::ExponentialHistogram(data));
        }
        let point = HistogramDataPoint {
            start_time_unix_nano,
            time_unix_nano,
            count,
            sum: Some(1.0),
            explicit_bounds: bounds,
            bucket_counts: own,
            flags,
            exemplars,
            ..Default::default()
        };
        let data = Histogram { data_points: vec![point], aggregation_temporality: CUMULATIVE };
        metric("w", "", Data::Histogram(data))
    })
}

proptest! {
    #[test]
    fn whatever_comes_what_goes_on_is_well_formed(
        batches in prop::collection::vec(prop::collection::vec(wild(), 1..4), 1..4),
        custom_buckets in any::<bool>(),
    ) {
        let cx = BuildCx::detached("x.y", component::Services::for_tests(std::env::temp_dir()));
        let dropped = Dropped::new(&cx, "otelcol_exporter_prometheus");
        let options = Options { custom_buckets, start_zero: true, ..arguments().options() };
        let converter = Converter::new(options, dropped);
        for metrics in batches {
            let samples = converter.convert(&of(&[text("service.name", "a")], metrics)).expect("decodes");
            for point in &samples.histograms {
                prop_assert_eq!(point.histogram.validate(), Ok(()));
            }
            let points = samples.points.iter().map(|p| p.series);
            let histograms = samples.histograms.iter().map(|p| &p.series);
            for series in points.chain(histograms).chain(samples.exemplars.iter().map(|e| &e.series)) {
                prop_assert!(series.metric_name().is_some());
            }
        }
    }

    #[test]
    fn what_is_remembered_is_what_would_be_made_anew(batches in prop::collection::vec(metrics(), 1..5)) {
        let services = component::Services::for_tests(std::env::temp_dir());
        let cx = BuildCx::detached("x.y", services);
        let dropped = Dropped::new(&cx, "otelcol_exporter_prometheus");
        let options = arguments().options();
        let options = Options { target_info: false, ..options };
        let one = Converter::new(options.clone(), dropped.clone());
        for metrics in batches {
            let batch = of(&[text("service.name", "a")], metrics);
            let fresh = Converter::new(options.clone(), dropped.clone());
            let known = one.convert(&batch).expect("decodes");
            prop_assert_eq!(shown(&known), shown(&fresh.convert(&batch).expect("decodes")));
            // Decoded here, as it comes from a receiver.
            let wire = OtlpRequest::from_wire(batch.requests[0].wire().clone(), 1, None);
            let from_wire = one.convert(&OtlpMetrics::of(wire)).expect("decodes");
            prop_assert_eq!(shown(&known), shown(&from_wire));
        }
    }
}
