//! The functions of the transform and filter processors by tables.

use signal::otlp::proto::metrics::v1::exponential_histogram_data_point::Buckets;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::number_data_point::Value as Number;
use signal::otlp::proto::metrics::v1::summary_data_point::ValueAtQuantile;
use signal::otlp::proto::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
};

use super::tests::check;
use super::*;
use crate::context::RecordMut;
use crate::statement::Parser;
use crate::value::{any_str, entry, map_json};
use crate::{EvalError, View};

fn point(host: &str, kind: &str, value: Number) -> NumberDataPoint {
    NumberDataPoint {
        attributes: vec![entry("host", any_str(host)), entry("kind", any_str(kind))],
        start_time_unix_nano: 1,
        time_unix_nano: 5,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn metric(data: Data) -> Metric {
    Metric { name: "m".into(), unit: "s".into(), data: Some(data), ..Metric::default() }
}

fn gauge() -> Metric {
    let points = [("a", "x", 1), ("b", "x", 2), ("a", "y", 3), ("c", "y", 10)];
    let data_points = points.map(|(host, kind, v)| point(host, kind, Number::AsInt(v))).into();
    metric(Data::Gauge(Gauge { data_points }))
}

fn sum() -> Metric {
    let data_points = vec![point("a", "x", Number::AsDouble(1.5)), point("b", "x", Number::AsDouble(2.5))];
    metric(Data::Sum(Sum { data_points, aggregation_temporality: 2, is_monotonic: true }))
}

fn histogram() -> Metric {
    let point = |host: &str| HistogramDataPoint {
        attributes: vec![entry("host", any_str(host))],
        time_unix_nano: 5,
        count: 17,
        sum: Some(10.0),
        min: Some(0.05),
        max: Some(4.0),
        bucket_counts: vec![5, 8, 3, 1],
        explicit_bounds: vec![0.1, 0.5, 1.0],
        ..HistogramDataPoint::default()
    };
    let data_points = vec![point("a"), point("b")];
    metric(Data::Histogram(Histogram { data_points, aggregation_temporality: 1 }))
}

/// Scale 0: powers of two. Three in (1, 2], four in (2, 4], two zeros, one in [-2, -1).
fn exponential() -> Metric {
    let point = ExponentialHistogramDataPoint {
        time_unix_nano: 5,
        count: 10,
        sum: Some(20.0),
        scale: 0,
        zero_count: 2,
        positive: Some(Buckets { offset: 0, bucket_counts: vec![3, 4] }),
        negative: Some(Buckets { offset: 0, bucket_counts: vec![1] }),
        ..ExponentialHistogramDataPoint::default()
    };
    let other = ExponentialHistogramDataPoint {
        positive: Some(Buckets { offset: 2, bucket_counts: vec![7] }),
        negative: None,
        ..point.clone()
    };
    metric(Data::ExponentialHistogram(ExponentialHistogram {
        data_points: vec![point, other],
        aggregation_temporality: 2,
    }))
}

fn summary() -> Metric {
    let quantile = |quantile, value| ValueAtQuantile { quantile, value };
    let data_points = vec![SummaryDataPoint {
        attributes: vec![entry("host", any_str("a"))],
        time_unix_nano: 5,
        count: 4,
        sum: 6.0,
        quantile_values: vec![quantile(0.5, 1.0), quantile(0.9, 2.0)],
        ..SummaryDataPoint::default()
    }];
    metric(Data::Summary(Summary { data_points }))
}

fn show_number(point: &NumberDataPoint) -> String {
    let value = match point.value {
        Some(Number::AsInt(v)) => v.to_string(),
        Some(Number::AsDouble(v)) => format!("{v:?}"),
        None => "-".into(),
    };
    format!("{}={value}", map_json(&point.attributes).to_string().replace('"', ""))
}

fn show(metric: &Metric) -> String {
    let list = |points: Vec<String>| points.join(" ");
    let data = match metric.data.as_ref().expect("data") {
        Data::Gauge(d) => format!("gauge {}", list(d.data_points.iter().map(show_number).collect())),
        Data::Sum(d) => format!(
            "sum t{} {} {}",
            d.aggregation_temporality,
            d.is_monotonic,
            list(d.data_points.iter().map(show_number).collect())
        ),
        Data::Histogram(d) => {
            let show = |p: &HistogramDataPoint| {
                format!("n{} {:?} {:?}", p.count, p.explicit_bounds, p.bucket_counts)
            };
            format!("histogram {}", list(d.data_points.iter().map(show).collect()))
        }
        Data::ExponentialHistogram(d) => {
            let show = |p: &ExponentialHistogramDataPoint| {
                let positive = p.positive.as_ref().map(|b| (b.offset, b.bucket_counts.clone()));
                format!("n{} zero{} {positive:?}", p.count, p.zero_count)
            };
            format!("exponential {}", list(d.data_points.iter().map(show).collect()))
        }
        Data::Summary(d) => {
            let show = |p: &SummaryDataPoint| {
                let quantiles: Vec<f64> = p.quantile_values.iter().map(|q| q.value).collect();
                format!("n{} {:?} {quantiles:?}", p.count, p.sum)
            };
            format!("summary {}", list(d.data_points.iter().map(show).collect()))
        }
    };
    format!("{}[{}] {data}", metric.name, metric.unit)
}

/// The metric and those that were added.
fn run(text: &str, mut metric: Metric) -> Result<Vec<String>, EvalError> {
    let parser = Parser::new(Context::Metric).with(Group::Transform);
    let statement = parser.statement(text).unwrap_or_else(|error| panic!("{error}"));
    let (mut resource, mut scope, mut added) = (None, None, Vec::new());
    statement.run(&mut Item {
        resource: &mut resource,
        resource_schema: &mut String::new(),
        scope: &mut scope,
        scope_schema: &mut String::new(),
        record: RecordMut::Metric(&mut metric, &mut added),
        cache: &mut Vec::new(),
        client: None,
    })?;
    Ok(std::iter::once(&metric).chain(&added).map(show).collect())
}

type Case = (&'static str, fn() -> Metric, &'static [&'static str]);

const METRICS: &[Case] = &[
    ("convert_sum_to_gauge()", sum, &["m[s] gauge {host:a,kind:x}=1.5 {host:b,kind:x}=2.5"]),
    ("convert_sum_to_gauge()", summary, &["m[s] summary n4 6.0 [1.0, 2.0]"]),
    (
        "convert_gauge_to_sum(\"delta\", true)",
        gauge,
        &["m[s] sum t1 true {host:a,kind:x}=1 {host:b,kind:x}=2 {host:a,kind:y}=3 {host:c,kind:y}=10"],
    ),
    (
        "extract_count_metric(true)",
        histogram,
        &[
            "m[s] histogram n17 [0.1, 0.5, 1.0] [5, 8, 3, 1] n17 [0.1, 0.5, 1.0] [5, 8, 3, 1]",
            "m_count[1] sum t1 true {host:a}=17 {host:b}=17",
        ],
    ),
    (
        "extract_count_metric(false, \".count\")",
        summary,
        &["m[s] summary n4 6.0 [1.0, 2.0]", "m.count[1] sum t2 false {host:a}=4"],
    ),
    ("extract_count_metric(true)", gauge, &["!the metric is no histogram"]),
    (
        "extract_sum_metric(true)",
        summary,
        &["m[s] summary n4 6.0 [1.0, 2.0]", "m_sum[s] sum t2 true {host:a}=6.0"],
    ),
    (
        "extract_percentile_metric(50.0)",
        histogram,
        &[
            "m[s] histogram n17 [0.1, 0.5, 1.0] [5, 8, 3, 1] n17 [0.1, 0.5, 1.0] [5, 8, 3, 1]",
            "m_p50[s] gauge {host:a}=0.275 {host:b}=0.275",
        ],
    ),
    ("extract_percentile_metric(50.0)", gauge, &["!the metric is no histogram"]),
    (
        "convert_summary_count_val_to_sum(\"delta\", true, \".count\")",
        summary,
        &["m[s] summary n4 6.0 [1.0, 2.0]", "m.count[s] sum t1 true {host:a}=4"],
    ),
    (
        "convert_summary_sum_val_to_sum(\"cumulative\", false)",
        summary,
        &["m[s] summary n4 6.0 [1.0, 2.0]", "m_sum[s] sum t2 false {host:a}=6.0"],
    ),
    (
        "convert_summary_quantile_val_to_gauge(\"q\")",
        summary,
        &["m[s] summary n4 6.0 [1.0, 2.0]", "m.quantiles[s] gauge {host:a,q:0.5}=1.0 {host:a,q:0.9}=2.0"],
    ),
    (
        "copy_metric(name=\"copy\", unit=\"ms\")",
        summary,
        &["m[s] summary n4 6.0 [1.0, 2.0]", "copy[ms] summary n4 6.0 [1.0, 2.0]"],
    ),
    ("scale_metric(10.0, \"ds\")", sum, &["m[ds] sum t2 true {host:a,kind:x}=15.0 {host:b,kind:x}=25.0"]),
    ("scale_metric(2)", summary, &["m[s] summary n4 12.0 [2.0, 4.0]"]),
    ("scale_metric(2.0)", exponential, &["!a metric of this type cannot be scaled"]),
    ("aggregate_on_attributes(\"sum\", [\"kind\"])", gauge, &["m[s] gauge {kind:x}=3 {kind:y}=13"]),
    ("aggregate_on_attributes(\"max\", [])", gauge, &["m[s] gauge {}=10"]),
    ("aggregate_on_attributes(\"min\", [])", gauge, &["m[s] gauge {}=1"]),
    ("aggregate_on_attributes(\"mean\", [])", gauge, &["m[s] gauge {}=4"]),
    ("aggregate_on_attributes(\"median\", [])", gauge, &["m[s] gauge {}=2"]),
    (
        "aggregate_on_attributes(\"count\", [\"host\"])",
        gauge,
        &["m[s] gauge {host:a}=2 {host:b}=1 {host:c}=1"],
    ),
    (
        "aggregate_on_attributes(\"sum\")",
        gauge,
        &["m[s] gauge {host:a,kind:x}=1 {host:b,kind:x}=2 {host:a,kind:y}=3 {host:c,kind:y}=10"],
    ),
    (
        "aggregate_on_attributes(\"sum\", [])",
        histogram,
        &["m[s] histogram n34 [0.1, 0.5, 1.0] [10, 16, 6, 2]"],
    ),
    (
        "aggregate_on_attributes(\"sum\", [])",
        exponential,
        &["m[s] exponential n20 zero4 Some((0, [3, 4, 7]))"],
    ),
    ("aggregate_on_attributes(\"max\", [])", histogram, &["!only be aggregated with `sum`"]),
    ("aggregate_on_attributes(\"sum\", [])", summary, &["!cannot be aggregated"]),
    (
        "aggregate_on_attribute_value(\"sum\", \"host\", [\"a\", \"b\"], \"ab\")",
        gauge,
        &["m[s] gauge {host:ab,kind:x}=3 {host:ab,kind:y}=3 {host:c,kind:y}=10"],
    ),
    (
        "convert_exponential_histogram_to_histogram(\"upper\", [0.0, 1.0, 2.0, 3.0])",
        exponential,
        &["m[s] histogram n10 [0.0, 1.0, 2.0, 3.0] [3, 0, 3, 0, 4] n10 [0.0, 1.0, 2.0, 3.0] [2, 0, 0, 0, 7]"],
    ),
    (
        "convert_exponential_histogram_to_histogram(\"midpoint\", [0.0, 1.0, 2.0, 3.5])",
        exponential,
        &["m[s] histogram n10 [0.0, 1.0, 2.0, 3.5] [3, 0, 3, 4, 0] n10 [0.0, 1.0, 2.0, 3.5] [2, 0, 0, 0, 7]"],
    ),
    (
        "convert_exponential_histogram_to_histogram(\"uniform\", [0.0, 2.5, 3.0, 3.5])",
        exponential,
        &["m[s] histogram n10 [0.0, 2.5, 3.0, 3.5] [3, 5, 1, 1, 0] n10 [0.0, 2.5, 3.0, 3.5] [2, 0, 0, 0, 7]"],
    ),
    (
        "convert_exponential_histogram_to_histogram(\"upper\", [2, 1])",
        exponential,
        &["!the bounds have to be there and to rise"],
    ),
    (
        "merge_histogram_buckets(0.5)",
        histogram,
        &["m[s] histogram n17 [0.1, 1.0] [5, 11, 1] n17 [0.1, 1.0] [5, 11, 1]"],
    ),
    (
        "merge_histogram_buckets(2, method=\"limit_buckets\")",
        histogram,
        &["m[s] histogram n17 [0.5] [13, 4] n17 [0.5] [13, 4]"],
    ),
    (
        "merge_histogram_buckets(3, \"limit_buckets\")",
        histogram,
        &["m[s] histogram n17 [0.5] [13, 4] n17 [0.5] [13, 4]"],
    ),
];

#[test]
fn functions_of_metrics_follow_the_table() {
    for (text, make, expected) in METRICS {
        let found = run(text, make());
        match expected[0].strip_prefix('!') {
            Some(part) => {
                let error = found.expect_err(text).to_string();
                assert!(error.contains(part), "{text}: {error}");
            }
            None => assert_eq!(found.as_deref(), Ok(expected.map_to_strings().as_slice()), "{text}"),
        }
    }
}

trait ToStrings {
    fn map_to_strings(&self) -> Vec<String>;
}

impl ToStrings for [&str] {
    fn map_to_strings(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}

/// As the documentation of the transform processor has it.
#[test]
fn buckets_are_merged_in_groups_of_one_size() {
    let mut many = histogram();
    let Some(Data::Histogram(data)) = &mut many.data else { panic!("a histogram") };
    data.data_points.truncate(1);
    data.data_points[0].explicit_bounds = vec![0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
    data.data_points[0].bucket_counts = vec![80, 4, 6, 120, 3, 2, 40, 10, 1];
    let found = run("merge_histogram_buckets(5, method=\"limit_buckets\")", many).expect("no error");
    assert_eq!(found, ["m[s] histogram n17 [0.2, 1.0, 5.0, 30.0] [84, 126, 5, 50, 1]"]);
}

#[test]
fn a_random_distribution_keeps_every_value() {
    for _ in 0..50 {
        let text = "convert_exponential_histogram_to_histogram(\"random\", [0.5, 1.5, 2.5, 3.0, 3.5])";
        let parser = Parser::new(Context::Metric).with(Group::Transform);
        let mut metric = exponential();
        let (mut resource, mut scope, mut added) = (None, None, Vec::new());
        let mut item = Item {
            resource: &mut resource,
            resource_schema: &mut String::new(),
            scope: &mut scope,
            scope_schema: &mut String::new(),
            record: RecordMut::Metric(&mut metric, &mut added),
            cache: &mut Vec::new(),
            client: None,
        };
        parser.statement(text).expect("a statement").run(&mut item).expect("no error");
        let Some(Data::Histogram(histogram)) = &metric.data else { panic!("a histogram") };
        assert_eq!(histogram.data_points[0].bucket_counts.iter().sum::<u64>(), 10);
        assert_eq!(histogram.data_points[0].bucket_counts[0], 3);
    }
}

#[test]
fn a_percentile_of_exponential_buckets_lies_where_the_logarithm_says() {
    let found = run("extract_percentile_metric(90, \"_top\")", exponential()).expect("no error");
    // Rank 9 of 10: three of the four values in (2, 4].
    let expected = 2.0 * 2f64.powf(0.75);
    let text = &found[1];
    let value: f64 =
        text.split("}=").nth(1).and_then(|t| t.split(' ').next()).and_then(|t| t.parse().ok()).expect(text);
    assert!((value - expected).abs() < 1e-9, "{text} {expected}");
    assert!(text.starts_with("m_top[s] gauge"));
}

const LOGS: &[(&str, &str)] = &[
    (
        "ParseCEF(\"<1> host CEF:0|Sec\\\\|urity|mgr|1.0|100|worm stopped|10|src=10.0.0.1 msg=a b\\\\=c dst=2.1.2.2\")",
        "{\"cef.device_event_class_id\":\"100\",\"cef.device_product\":\"mgr\",\"cef.device_vendor\":\"Sec|urity\",\"cef.device_version\":\"1.0\",\"cef.extensions\":{\"dst\":\"2.1.2.2\",\"msg\":\"a b=c\",\"src\":\"10.0.0.1\"},\"cef.name\":\"worm stopped\",\"cef.severity\":\"10\",\"cef.version\":\"0\"}",
    ),
    ("ParseCEF(\"x\")", "!there is no `CEF:`"),
    ("ParseCEF(\"CEF:0|a|b\")", "!the header has 3 of 7 fields"),
    (
        "ParseCLF(\"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \\\"GET /a.gif HTTP/1.0\\\" 200 2326\")",
        "{\"clf.auth_user\":\"frank\",\"clf.bytes\":2326,\"clf.method\":\"GET\",\"clf.protocol\":\"HTTP/1.0\",\"clf.remote_host\":\"127.0.0.1\",\"clf.request\":\"GET /a.gif HTTP/1.0\",\"clf.request_uri\":\"/a.gif\",\"clf.rfc931\":\"-\",\"clf.status\":200,\"clf.timestamp\":\"10/Oct/2000:13:55:36 -0700\"}",
    ),
    (
        "ParseCLF(\"h - - [d] \\\"-\\\" 304 - \\\"http://r\\\" \\\"a\\\\\\\"g\\\\x41\\\"\", \"combined\")",
        "{\"clf.auth_user\":\"-\",\"clf.referer\":\"http://r\",\"clf.remote_host\":\"h\",\"clf.request\":\"-\",\"clf.rfc931\":\"-\",\"clf.status\":304,\"clf.timestamp\":\"d\",\"clf.user_agent\":\"a\\\"gA\"}",
    ),
    ("ParseCLF(\"h - - [d] \\\"-\\\" 304 - \\\"http://r\\\"\")", "!stands behind the last field"),
    ("ParseCLF(\"h\")", "!there is no remote host"),
    (
        "ParseELF(\"#Version: 1.0\\n#Date: d\\n#Fields: time uri agent\\n00:34 /a \\\"x \\\"\\\"y\\\"\\\"\\\"\\n00:35 /b\")",
        "{\"elf.date\":\"d\",\"elf.entries\":[{\"agent\":\"x \\\"y\\\"\",\"time\":\"00:34\",\"uri\":\"/a\"},{\"agent\":\"-\",\"time\":\"00:35\",\"uri\":\"/b\"}],\"elf.fields\":[\"time\",\"uri\",\"agent\"],\"elf.version\":\"1.0\"}",
    ),
    ("ParseELF(\"#Fields: a\\nx\")", "!there is no `#Version`"),
    (
        "ParseLEEF(\"LEEF:1.0|Ms|Ex|4.0|15|src=10.50.1.1\\tsev=5\\tx\")",
        "{\"leef.attributes\":{\"sev\":\"5\",\"src\":\"10.50.1.1\"},\"leef.event.id\":\"15\",\"leef.product.name\":\"Ex\",\"leef.product.version\":\"4.0\",\"leef.vendor\":\"Ms\",\"leef.version\":\"1.0\"}",
    ),
    (
        "ParseLEEF(\"LEEF:2.0|L|S|1.0|41|^|src=a^dst=b\")[\"leef.attributes\"]",
        "{\"dst\":\"b\",\"src\":\"a\"}",
    ),
    (
        "ParseLEEF(\"LEEF:2.0|L|S|1.0|41|0x7c|src=a|dst=b\")[\"leef.attributes\"]",
        "{\"dst\":\"b\",\"src\":\"a\"}",
    ),
    (
        "ParseLEEF(\"LEEF:2.0|L|S|1.0|41|src=a\\tdst=b\")[\"leef.attributes\"]",
        "{\"dst\":\"b\",\"src\":\"a\"}",
    ),
    ("ParseLEEF(\"LEEF:3.0|L\")", "!neither 1.0 nor 2.0"),
];

#[test]
fn parsers_of_logs_follow_the_table() {
    check(LOGS);
}

#[test]
fn points_of_a_metric_are_asked_about() {
    let (resource, scope, metric) = (ResourceMetrics::default(), ScopeMetrics::default(), gauge());
    let parser = Parser::new(Context::Metric).with(Group::Filter);
    for (text, expected) in [
        ("HasAttrKeyOnDatapoint(\"host\")", true),
        ("HasAttrKeyOnDatapoint(\"none\")", false),
        ("HasAttrOnDatapoint(\"host\", \"c\")", true),
        ("HasAttrOnDatapoint(\"host\", \"d\")", false),
    ] {
        let condition = parser.condition(text).expect(text);
        assert_eq!(condition.matches(&View::metric(&resource, &scope, &metric)), Ok(expected), "{text}");
    }
}

#[test]
fn each_function_of_the_processors_has_a_case() {
    let own = ["set_semconv_span_name", "HasAttrKeyOnDatapoint", "HasAttrOnDatapoint"];
    for function in all(&[Group::Transform, Group::Filter]) {
        let call = format!("{}(", function.name);
        let known = METRICS.iter().any(|(text, ..)| text.contains(&call))
            || LOGS.iter().any(|(text, _)| text.contains(&call))
            || own.contains(&function.name);
        assert!(known, "{} has no case", function.name);
    }
}
