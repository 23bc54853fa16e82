//! Protobuf expositions, encoded by the oracle.

use prost::Message;
use signal::MetricKind;
use signal::histogram::{HistogramCounts, ResetHint};
use wire::exposition::{Event, Format, NativeHistograms, Options, Parser};

use crate::schema::BucketSpan;
use crate::schema::client::{
    Bucket, Counter, Exemplar, Histogram, LabelPair, Metric, MetricFamily, Quantile, Summary, Timestamp,
    Value,
};
use crate::text_exposition::read;

fn labels(pairs: &[(&str, &str)]) -> Vec<LabelPair> {
    pairs.iter().map(|(n, v)| LabelPair { name: (*n).into(), value: (*v).into() }).collect()
}

fn family(name: &str, kind: u32, metric: Vec<Metric>) -> MetricFamily {
    MetricFamily { name: name.into(), help: format!("help of {name}"), kind, metric, unit: String::new() }
}

fn delimited(families: &[MetricFamily]) -> Vec<u8> {
    families.iter().flat_map(|f| f.encode_length_delimited_to_vec()).collect()
}

fn proto(families: &[MetricFamily], native: NativeHistograms) -> Result<String, wire::exposition::Error> {
    let options = Options { native_histograms: native, ..Options::default() };
    read(Format::PrometheusProto, &delimited(families), options)
}

fn exemplar(id: &str, value: f64, time: Option<(i64, i32)>) -> Option<Exemplar> {
    let timestamp = time.map(|(seconds, nanos)| Timestamp { seconds, nanos });
    Some(Exemplar { label: labels(&[("trace_id", id)]), value, timestamp })
}

fn page() -> Vec<MetricFamily> {
    let counter =
        Counter { value: 3.5, exemplar: exemplar("a", 1.0, Some((7, 500_000_000))), created_timestamp: None };
    let summary = Summary {
        sample_count: 4,
        sample_sum: 2.5,
        quantile: vec![Quantile { quantile: 0.5, value: 1.0 }, Quantile { quantile: 1.0, value: f64::NAN }],
        created_timestamp: None,
    };
    let histogram = Histogram {
        sample_count: 9,
        sample_sum: 12.25,
        bucket: vec![
            Bucket {
                cumulative_count: 2,
                upper_bound: 1.0,
                exemplar: exemplar("b", 0.5, None),
                ..Bucket::default()
            },
            Bucket { cumulative_count: 5, upper_bound: 2.5e-6, ..Bucket::default() },
        ],
        ..Histogram::default()
    };
    vec![
        family(
            "c_total",
            0,
            vec![Metric {
                label: labels(&[("z", "1"), ("a", "2")]),
                counter: Some(counter),
                ..Metric::default()
            }],
        ),
        family(
            "g",
            1,
            vec![
                Metric { gauge: Some(Value { value: -1.0 }), timestamp_ms: 1234, ..Metric::default() },
                Metric {
                    label: labels(&[("x", "ü\n\"")]),
                    gauge: Some(Value { value: f64::INFINITY }),
                    ..Metric::default()
                },
            ],
        ),
        family("empty", 1, vec![]),
        family(
            "s",
            2,
            vec![Metric { label: labels(&[("a", "b")]), summary: Some(summary), ..Metric::default() }],
        ),
        family("u", 3, vec![Metric { untyped: Some(Value { value: 0.0 }), ..Metric::default() }]),
        family(
            "h",
            4,
            vec![Metric { label: labels(&[("a", "b")]), histogram: Some(histogram), ..Metric::default() }],
        ),
    ]
}

/// The same families as text.
const TEXT: &str = concat!(
    "# TYPE c_total counter\n# HELP c_total help of c_total\nc_total{z=\"1\",a=\"2\"} 3.5 # {trace_id=\"a\"} 1 7.5\n",
    "# TYPE g gauge\n# HELP g help of g\ng -1 1.234\ng{x=\"ü\\n\\\"\"} +Inf\n",
    "# TYPE s summary\n# HELP s help of s\ns_count{a=\"b\"} 4\ns_sum{a=\"b\"} 2.5\ns{a=\"b\",quantile=\"0.5\"} 1\ns{a=\"b\",quantile=\"1\"} NaN\n",
    "# TYPE u unknown\n# HELP u help of u\nu 0\n",
    "# TYPE h histogram\n# HELP h help of h\nh_count{a=\"b\"} 9\nh_sum{a=\"b\"} 12.25\nh_bucket{a=\"b\",le=\"1\"} 2 # {trace_id=\"b\"} 0.5\n",
    "h_bucket{a=\"b\",le=\"0.0000025\"} 5\nh_bucket{a=\"b\",le=\"+Inf\"} 9\n# EOF\n",
);

#[test]
fn the_same_families_in_text_and_protobuf_are_the_same_samples() {
    let text = read(Format::OpenMetricsText, TEXT.as_bytes(), Options::default()).unwrap();
    let proto = proto(&page(), NativeHistograms::Ignore).unwrap();
    assert_eq!(proto, text);
    assert!(text.contains("le=\"2.5e-06\""));
}

fn native() -> Histogram {
    Histogram {
        sample_count: 6,
        sample_sum: 10.0,
        schema: 3,
        zero_threshold: 1e-128,
        zero_count: 1,
        positive_span: vec![BucketSpan { offset: -2, length: 2 }, BucketSpan { offset: 0, length: 2 }],
        positive_delta: vec![1, 1, -2, 2],
        bucket: vec![Bucket {
            cumulative_count: 6,
            upper_bound: 5.0,
            exemplar: exemplar("b", 1.0, Some((1, 0))),
            ..Bucket::default()
        }],
        created_timestamp: Some(Timestamp { seconds: 50, nanos: 1_999_999 }),
        ..Histogram::default()
    }
}

fn histogram_family(kind: u32, histogram: Histogram) -> Vec<MetricFamily> {
    vec![family("h", kind, vec![Metric { histogram: Some(histogram), ..Metric::default() }])]
}

#[test]
fn native_histograms_are_read_compact_with_exemplars_and_start() {
    let body = delimited(&histogram_family(4, native()));
    let options = Options { native_histograms: NativeHistograms::Prefer, ..Options::default() };
    let mut parser = Parser::new(Format::PrometheusProto, &body, options);
    let mut seen = 0;
    while let Some(event) = parser.next(&[]).unwrap() {
        let Event::Histogram(sample) = event else { continue };
        seen += 1;
        assert_eq!((sample.start_ms, sample.timestamp_ms), (50_001, None));
        assert_eq!(sample.exemplars.len(), 1);
        let h = &sample.histogram;
        assert_eq!((h.schema, h.sum, h.zero_threshold, h.reset_hint), (3, 10.0, 1e-128, ResetHint::Unknown));
        assert_eq!(
            h.positive_spans.iter().map(|s| (s.offset, s.length)).collect::<Vec<_>>(),
            [(-2, 2), (1, 1)]
        );
        let HistogramCounts::Int { count: 6, zero_count: 1, positive_deltas, .. } = &h.counts else {
            panic!("{h:?}")
        };
        assert_eq!(positive_deltas, &[1, 1, 0]);
    }
    assert_eq!((seen, parser.kind()), (1, MetricKind::Histogram));
}

#[test]
fn classic_series_beside_native_histograms_are_a_choice() {
    let families = histogram_family(4, native());
    let count = |native| {
        let text = proto(&families, native).unwrap();
        (text.matches(" native ").count(), text.matches("h_bucket").count(), text.matches("h_count").count())
    };
    assert_eq!(count(NativeHistograms::Ignore), (0, 2, 1));
    assert_eq!(count(NativeHistograms::Prefer), (1, 0, 0));
    assert_eq!(count(NativeHistograms::Both), (1, 2, 1));
}

#[test]
fn float_and_gauge_histograms_say_so() {
    let float = Histogram {
        sample_count_float: 4.5,
        positive_span: vec![BucketSpan { offset: 1, length: 2 }],
        positive_count: vec![1.5, 3.0],
        ..Histogram::default()
    };
    let text = proto(&histogram_family(5, float), NativeHistograms::Prefer).unwrap();
    assert!(text.contains("Float { count: 4.5") && text.contains("reset_hint: Gauge"), "{text}");
}

#[test]
fn expositions_that_make_no_sense_are_refused_with_the_family() {
    let gauge = || vec![Metric { gauge: Some(Value { value: 1.0 }), ..Metric::default() }];
    let bad_spans = Histogram { positive_span: vec![BucketSpan { offset: 0, length: u32::MAX }], ..native() };
    let twice = vec![Metric {
        label: labels(&[("a", "1"), ("a", "2")]),
        gauge: Some(Value { value: 1.0 }),
        ..Metric::default()
    }];
    let cases = [
        (family("", 1, gauge()), "no name"),
        (family("g", 9, gauge()), "unknown metric type 9"),
        (MetricFamily { unit: "seconds".into(), ..family("g", 1, gauge()) }, "is not the suffix"),
        (
            family("h", 4, vec![Metric { histogram: Some(bad_spans), ..Metric::default() }]),
            "for 4294967295 buckets",
        ),
        (family("g", 1, twice), "'a' is given twice"),
    ];
    for (family, message) in cases {
        let error = proto(&[family], NativeHistograms::Prefer).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let unit = MetricFamily { unit: "seconds".into(), ..family("g_seconds_total", 0, gauge()) };
    assert!(proto(&[unit], NativeHistograms::Prefer).is_ok());
}

#[test]
fn a_body_cut_anywhere_is_an_error_or_a_prefix() {
    let body = delimited(&page());
    let all = read(Format::PrometheusProto, &body, Options::default()).unwrap();
    for end in 0..body.len() {
        if let Ok(text) = read(Format::PrometheusProto, &body[..end], Options::default()) {
            assert!(all.starts_with(&text), "cut at {end}");
        }
    }
}

#[test]
fn a_body_with_any_byte_changed_never_panics() {
    let mut families = page();
    families.extend(histogram_family(4, native()));
    let body = delimited(&families);
    let options = Options { native_histograms: NativeHistograms::Both, ..Options::default() };
    for i in 0..body.len() {
        for flip in [0x01, 0x80, 0xff, 0x0f] {
            let mut body = body.clone();
            body[i] ^= flip;
            let _ = read(Format::PrometheusProto, &body, options);
        }
    }
}
