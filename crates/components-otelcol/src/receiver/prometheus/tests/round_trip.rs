//! Samples → OTLP → samples: what `otelcol.exporter.prometheus` makes of the receiver's request is what came in.
//! And samples that make no sense, of which only requests come that do.

use proptest::prelude::*;

use super::*;
use crate::exporter::prometheus::{Converter as Exporter, Options};

const STEMS: [&str; 3] = ["a", "b_c", "d_seconds"];

/// Labels and value of a sample.
type Sent = (Vec<(String, String)>, f64);

/// The samples of one metric, by its kind.
fn family() -> impl Strategy<Value = (FamilyMetadata, Vec<Sent>)> {
    let kinds = [MetricKind::Counter, MetricKind::Gauge, MetricKind::Histogram, MetricKind::Summary];
    let counts = prop::collection::vec(0_u32..9, 3);
    let label = prop::option::of("[xyz]{1,2}");
    (prop::sample::select(STEMS.to_vec()), prop::sample::select(kinds.to_vec()), label, counts).prop_map(
        |(stem, kind, label, counts)| {
            let name = format!("{stem}_{}", format!("{kind:?}").to_lowercase());
            let series = |suffix: &str, extra: Option<(&str, &str)>| {
                let mut labels = vec![("__name__".to_string(), format!("{name}{suffix}"))];
                labels.extend([("job", "j"), ("instance", "i")].map(|(n, v)| (n.to_string(), v.to_string())));
                labels.extend(label.iter().map(|value| ("label".to_string(), value.clone())));
                labels.extend(extra.map(|(n, v)| (n.to_string(), v.to_string())));
                labels
            };
            let sums: Vec<f64> = counts
                .iter()
                .scan(0, |sum, count| {
                    *sum += count;
                    Some(f64::from(*sum))
                })
                .collect();
            let samples = match kind {
                MetricKind::Counter => vec![(series("_total", None), sums[2])],
                MetricKind::Histogram => vec![
                    (series("_bucket", Some(("le", "0.5"))), sums[0]),
                    (series("_bucket", Some(("le", "10"))), sums[1]),
                    (series("_bucket", Some(("le", "+Inf"))), sums[2]),
                    (series("_sum", None), -1.5),
                    (series("_count", None), sums[2]),
                ],
                MetricKind::Summary => vec![
                    (series("", Some(("quantile", "0.5"))), 2.5),
                    (series("", Some(("quantile", "0.99"))), 7.0),
                    (series("_sum", None), 9.5),
                    (series("_count", None), sums[2]),
                ],
                _ => vec![(series("", None), -2.25)],
            };
            (FamilyMetadata { name, kind, help: "h".into(), unit: String::new() }, samples)
        },
    )
}

proptest! {
    #[test]
    fn samples_come_back_as_they_were(
        families in prop::collection::vec(family(), 1..6),
        with_metadata in any::<bool>(),
        stale in any::<bool>(),
    ) {
        let mut sent = SampleBatch::default();
        let mut list = Vec::new();
        let mut seen = hashbrown::HashSet::new();
        for (metadata, samples) in families {
            list.push(Arc::new(metadata));
            for (labels, value) in samples {
                let series = Series::intern(Labels::from_pairs(labels));
                if !seen.insert(series.clone()) {
                    continue;
                }
                let family = if with_metadata { list.len() as u32 - 1 } else { NO_FAMILY };
                let value = if stale { STALE_NAN } else { value };
                sent.points.push(Point { series, timestamp_ms: 5_000, value, start_ms: 0, family });
            }
        }
        if with_metadata {
            sent.families = Arc::new(list);
        }
        let services = component::Services::for_tests(std::env::temp_dir());
        let dropped = Dropped::new(&BuildCx::detached("x.y", services), "round_trip");
        let metrics = Converter::new(dropped.clone()).convert(&sent).expect("points");
        let options = Options {
            target_info: false,
            scope_info: false,
            scope_labels: false,
            names: signal::otlp_names::Translation::UnderscoreEscapingWithSuffixes,
            resource_labels: false,
            metadata: true,
            custom_buckets: false,
            keep_identifying: false,
            start_zero: false,
        };
        let back = Exporter::new(options, dropped).convert(&metrics).expect("decodes");
        let lines = |batch: &SampleBatch| {
            let mut lines: Vec<String> = batch
                .points
                .iter()
                .map(|p| format!("{} {:x} {}", p.series, p.value.to_bits(), p.timestamp_ms))
                .collect();
            lines.sort();
            lines
        };
        prop_assert_eq!(lines(&sent), lines(&back));
    }
}

/// Samples as a broken or hostile target may show them.
fn wild() -> impl Strategy<Value = Point> {
    let names =
        ["h_bucket", "h_sum", "h_count", "h_created", "h", "h_total", "_bucket", "_created", "s", "s_count"];
    let names = prop::sample::select([&names[..], &["target_info", "otel_scope_info", ""]].concat());
    let bound = prop::option::of(prop::sample::select(vec!["1", "1.0", "+Inf", "-Inf", "NaN", "x", "0.5"]));
    let special = vec![STALE_NAN, f64::NAN, f64::INFINITY, -1.0, 0.0, 2.5, 1e300];
    let value = prop_oneof![0.0..9.0_f64, prop::sample::select(special)];
    let label = prop::sample::select(vec!["otel_scope_", "otel_scope_name", "job", "instance", "x"]);
    let times = (prop::sample::select(vec![-1_i64, 0, 1_000, i64::MAX]), any::<i64>());
    (names, bound.clone(), bound, value, label, times).prop_map(
        |(name, le, quantile, value, label, times)| {
            let mut labels = vec![("__name__", name), (label, "v")];
            labels.extend(le.map(|le| ("le", le)));
            labels.extend(quantile.map(|quantile| ("quantile", quantile)));
            let (timestamp_ms, start_ms) = times;
            Point { series: series(&labels), timestamp_ms, value, start_ms, family: NO_FAMILY }
        },
    )
}

proptest! {
    #[test]
    fn whatever_comes_what_goes_on_is_well_formed(
        points in prop::collection::vec(wild(), 0..12),
        kind in prop::option::of(prop::sample::select(vec![MetricKind::Histogram, MetricKind::Summary, MetricKind::Counter])),
    ) {
        let services = component::Services::for_tests(std::env::temp_dir());
        let dropped = Dropped::new(&BuildCx::detached("x.y", services), "wild");
        let sent = match kind {
            Some(kind) => with_family(batch(points), "h", kind),
            None => batch(points),
        };
        let metrics = Converter::new(dropped).convert(&sent);
        let requests = metrics.iter().flat_map(|metrics| &metrics.requests);
        for request in requests.map(|request| request.message().expect("decodes")) {
            let scopes = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics);
            for metric in scopes.flat_map(|s| &s.metrics) {
                prop_assert!(!metric.name.is_empty());
                let Some(Data::Histogram(histogram)) = &metric.data else { continue };
                for point in &histogram.data_points {
                    prop_assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                    prop_assert!(point.explicit_bounds.is_sorted_by(|a, b| a < b));
                    prop_assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
                }
            }
        }
    }
}
