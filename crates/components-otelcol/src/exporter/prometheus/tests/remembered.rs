//! Points found in the cache against points whose series are made anew.

use proptest::prelude::*;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{Histogram, HistogramDataPoint, Metric};

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

proptest! {
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
