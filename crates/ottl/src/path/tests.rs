//! Every path by a table: what it reads, what setting it changes, what it refuses.

use signal::otlp::proto::common::v1::any_value::Value as Any;
use signal::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue, KeyValueList};
use signal::otlp::proto::logs::v1::LogRecord;
use signal::otlp::proto::metrics::v1::exponential_histogram_data_point::Buckets;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::number_data_point::Value as Number;
use signal::otlp::proto::metrics::v1::summary_data_point::ValueAtQuantile;
use signal::otlp::proto::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, Sum, Summary, SummaryDataPoint,
};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::span::{Event, Link};
use signal::otlp::proto::trace::v1::{Span, Status};

use super::*;
use crate::statement::Parser;
use crate::value::{any, any_str, entry};

fn attributes() -> Vec<KeyValue> {
    vec![
        entry("k", any_str("v")),
        entry("m", any(Any::KvlistValue(KeyValueList { values: vec![entry("n", any_str("w"))] }))),
    ]
}

fn span() -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        trace_state: "a=1,b=2".into(),
        parent_span_id: vec![3; 8],
        flags: 1,
        name: "n".into(),
        kind: 2,
        start_time_unix_nano: 1_000_000_000,
        end_time_unix_nano: 2_000_000_000,
        attributes: attributes(),
        dropped_attributes_count: 1,
        events: vec![Event {
            time_unix_nano: 5,
            name: "e".into(),
            attributes: attributes(),
            dropped_attributes_count: 2,
        }],
        dropped_events_count: 3,
        links: vec![Link::default()],
        dropped_links_count: 4,
        status: Some(Status { message: "bad".into(), code: 2 }),
    }
}

fn record() -> LogRecord {
    LogRecord {
        time_unix_nano: 1_000_000_000,
        observed_time_unix_nano: 2_000_000_000,
        severity_number: 9,
        severity_text: "INFO".into(),
        body: Some(any(Any::KvlistValue(KeyValueList { values: attributes() }))),
        attributes: attributes(),
        dropped_attributes_count: 1,
        flags: 1,
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        event_name: "e".into(),
    }
}

fn metric(data: Data) -> Metric {
    Metric {
        name: "m".into(),
        description: "d".into(),
        unit: "u".into(),
        metadata: attributes(),
        data: Some(data),
    }
}

fn number() -> Metric {
    let point = NumberDataPoint {
        attributes: attributes(),
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        exemplars: vec![Exemplar::default()],
        flags: 1,
        value: Some(Number::AsInt(7)),
    };
    metric(Data::Sum(Sum { data_points: vec![point], aggregation_temporality: 2, is_monotonic: true }))
}

fn histogram() -> Metric {
    let point = HistogramDataPoint {
        attributes: attributes(),
        count: 3,
        sum: Some(4.5),
        bucket_counts: vec![1, 2],
        explicit_bounds: vec![1.5],
        min: Some(0.5),
        max: Some(2.5),
        ..HistogramDataPoint::default()
    };
    metric(Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: 1 }))
}

fn exponential() -> Metric {
    let buckets = |offset| Some(Buckets { offset, bucket_counts: vec![1, 2] });
    let point = ExponentialHistogramDataPoint {
        count: 3,
        sum: Some(4.5),
        scale: 1,
        zero_count: 2,
        zero_threshold: 0.5,
        positive: buckets(3),
        negative: buckets(4),
        ..ExponentialHistogramDataPoint::default()
    };
    metric(Data::ExponentialHistogram(ExponentialHistogram {
        data_points: vec![point],
        aggregation_temporality: 2,
    }))
}

fn summary() -> Metric {
    let quantile_values = vec![ValueAtQuantile { quantile: 0.5, value: 1.0 }];
    let point = SummaryDataPoint { count: 3, sum: 4.5, quantile_values, ..SummaryDataPoint::default() };
    metric(Data::Summary(Summary { data_points: vec![point] }))
}

/// Runs `test` with an item of a context.
fn with_item<T>(context: Context, metric: Metric, test: impl FnOnce(&mut Item<'_>) -> T) -> T {
    let mut resource =
        Some(Resource { attributes: attributes(), dropped_attributes_count: 1, ..Resource::default() });
    let mut scope = Some(InstrumentationScope {
        name: "s".into(),
        version: "1".into(),
        attributes: attributes(),
        dropped_attributes_count: 2,
    });
    let (mut span, mut record, mut metric, mut added) = (span(), record(), metric, Vec::new());
    test(&mut Item {
        resource: &mut resource,
        resource_schema: &mut "rs".to_owned(),
        scope: &mut scope,
        scope_schema: &mut "ss".to_owned(),
        record: match context {
            Context::Resource | Context::Scope => RecordMut::None,
            Context::Span => RecordMut::Span(&mut span),
            Context::SpanEvent => RecordMut::Event(&mut span, 0),
            Context::Metric => RecordMut::Metric(&mut metric, &mut added),
            Context::DataPoint => RecordMut::Point(&mut metric, 0, &mut added),
            Context::Log => RecordMut::Log(&mut record),
        },
        cache: &mut Vec::new(),
        client: None,
    })
}

fn read(context: Context, item: &Item<'_>, path: &str) -> String {
    let parser = Parser::new(context);
    let value = parser.value(path).unwrap_or_else(|error| panic!("{error}"));
    match value.eval(&item.view()) {
        Ok(Value::Map(map)) => crate::value::map_json(&map).to_string(),
        Ok(Value::List(list)) => {
            list.iter().map(crate::value::json).collect::<serde_json::Value>().to_string()
        }
        Ok(Value::Part(part)) => format!("part {:?}", part.len()),
        Ok(Value::Nil) => "nil".into(),
        Ok(other) => other.to_text().map(|t| t.unwrap_or_default().into_owned()).unwrap_or_default(),
        Err(error) => panic!("{path}: {error}"),
    }
}

const MAP: &str = r#"{"k":"v","m":{"n":"w"}}"#;
const NEW: &str = r#"{"x":1}"#;

/// Path, what it reads, what is set, what it reads then.
type Row = (&'static str, &'static str, &'static str, &'static str);

const RESOURCE: &[Row] = &[
    ("attributes", MAP, r#"{"x": 1}"#, NEW),
    ("attributes[\"k\"]", "v", "2", "2"),
    ("attributes[\"m\"][\"n\"]", "w", "\"y\"", "y"),
    ("attributes[\"new\"][\"deep\"]", "nil", "true", "true"),
    ("dropped_attributes_count", "1", "5", "5"),
    ("schema_url", "rs", "\"x\"", "x"),
    ("cache[\"c\"]", "nil", "1", "1"),
    ("cache", "{}", r#"{"x": 1}"#, NEW),
];

const SCOPE: &[Row] = &[
    ("name", "s", "\"x\"", "x"),
    ("instrumentation_scope.version", "1", "\"2\"", "2"),
    ("scope.attributes[\"k\"]", "v", "2", "2"),
    ("attributes", MAP, r#"{"x": 1}"#, NEW),
    ("dropped_attributes_count", "2", "5", "5"),
    ("schema_url", "ss", "\"x\"", "x"),
    ("resource.attributes[\"k\"]", "v", "2", "2"),
];

const SPAN: &[Row] = &[
    (
        "trace_id",
        "01010101010101010101010101010101",
        "TraceID(0x00000000000000000000000000000009)",
        "00000000000000000000000000000009",
    ),
    (
        "trace_id.string",
        "01010101010101010101010101010101",
        "\"00000000000000000000000000000009\"",
        "00000000000000000000000000000009",
    ),
    ("span_id", "0202020202020202", "SpanID(0x0000000000000009)", "0000000000000009"),
    ("span_id.string", "0202020202020202", "\"0000000000000009\"", "0000000000000009"),
    ("parent_span_id", "0303030303030303", "SpanID(0x0000000000000000)", "0000000000000000"),
    ("parent_span_id.string", "0303030303030303", "\"0000000000000009\"", "0000000000000009"),
    ("trace_state", "a=1,b=2", "\"c=3\"", "c=3"),
    ("trace_state[\"b\"]", "2", "\"9\"", "9"),
    ("trace_state[\"new\"]", "", "\"9\"", "9"),
    ("name", "n", "\"x\"", "x"),
    ("span.name", "n", "\"x\"", "x"),
    ("kind", "2", "SPAN_KIND_CLIENT", "3"),
    ("kind.string", "Server", "\"Client\"", "Client"),
    ("kind.deprecated_string", "SPAN_KIND_SERVER", "\"SPAN_KIND_CLIENT\"", "SPAN_KIND_CLIENT"),
    ("start_time_unix_nano", "1000000000", "5", "5"),
    ("start_time", "1970-01-01T00:00:01Z", "end_time", "1970-01-01T00:00:02Z"),
    ("end_time_unix_nano", "2000000000", "5", "5"),
    ("end_time", "1970-01-01T00:00:02Z", "start_time", "1970-01-01T00:00:01Z"),
    ("attributes[\"k\"]", "v", "2", "2"),
    ("attributes[attributes[\"k\"]]", "nil", "2", "2"),
    ("attributes", MAP, r#"{"x": 1}"#, NEW),
    ("dropped_attributes_count", "1", "5", "5"),
    ("events", "part Some(1)", "events", "part Some(1)"),
    ("dropped_events_count", "3", "5", "5"),
    ("links", "part Some(1)", "links", "part Some(1)"),
    ("dropped_links_count", "4", "5", "5"),
    ("status", "part None", "status", "part None"),
    ("status.code", "2", "STATUS_CODE_OK", "1"),
    ("status.message", "bad", "\"ok\"", "ok"),
    ("flags", "1", "0", "0"),
    ("scope.name", "s", "\"x\"", "x"),
];

const EVENT: &[Row] = &[
    ("time_unix_nano", "5", "6", "6"),
    ("time", "1970-01-01T00:00:00.000000005Z", "Unix(1)", "1970-01-01T00:00:01Z"),
    ("name", "e", "\"x\"", "x"),
    ("attributes[\"k\"]", "v", "2", "2"),
    ("attributes", MAP, r#"{"x": 1}"#, NEW),
    ("dropped_attributes_count", "2", "5", "5"),
    ("span.name", "n", "\"x\"", "x"),
    ("spanevent.name", "e", "\"x\"", "x"),
];

const METRIC: &[Row] = &[
    ("name", "m", "\"x\"", "x"),
    ("description", "d", "\"x\"", "x"),
    ("unit", "u", "\"x\"", "x"),
    ("aggregation_temporality", "2", "AGGREGATION_TEMPORALITY_DELTA", "1"),
    ("is_monotonic", "true", "false", "false"),
    ("data_points", "part Some(1)", "data_points", "part Some(1)"),
    ("metadata[\"k\"]", "v", "2", "2"),
    ("metadata", MAP, r#"{"x": 1}"#, NEW),
];

const NUMBER: &[Row] = &[
    ("attributes[\"k\"]", "v", "2", "2"),
    ("attributes", MAP, r#"{"x": 1}"#, NEW),
    ("start_time_unix_nano", "1", "5", "5"),
    ("start_time", "1970-01-01T00:00:00.000000001Z", "Unix(1)", "1970-01-01T00:00:01Z"),
    ("time_unix_nano", "2", "5", "5"),
    ("time", "1970-01-01T00:00:00.000000002Z", "Unix(1)", "1970-01-01T00:00:01Z"),
    ("value_double", "0", "1.5", "1.5"),
    ("value_int", "7", "8", "8"),
    ("exemplars", "part Some(1)", "exemplars", "part Some(1)"),
    ("flags", "1", "FLAG_NONE", "0"),
    ("metric.name", "m", "\"x\"", "x"),
    // What points of this type do not have.
    ("count", "nil", "5", "nil"),
    ("sum", "nil", "5.0", "nil"),
    ("bucket_counts", "nil", "[1]", "nil"),
    ("quantile_values", "nil", "1", "nil"),
];

const HISTOGRAM: &[Row] = &[
    ("count", "3", "5", "5"),
    ("sum", "4.5", "5.5", "5.5"),
    ("min", "0.5", "0.25", "0.25"),
    ("max", "2.5", "3.5", "3.5"),
    ("bucket_counts", "[1,2]", "[3, 4]", "[3,4]"),
    ("explicit_bounds", "[1.5]", "[2.5]", "[2.5]"),
    ("value_int", "nil", "5", "nil"),
];

const EXPONENTIAL: &[Row] = &[
    ("count", "3", "5", "5"),
    ("sum", "4.5", "5.5", "5.5"),
    ("scale", "1", "2", "2"),
    ("zero_count", "2", "3", "3"),
    ("zero_threshold", "0.5", "1.5", "1.5"),
    ("positive", "part None", "negative", "part None"),
    ("positive.offset", "3", "5", "5"),
    ("positive.bucket_counts", "[1,2]", "[3]", "[3]"),
    ("negative", "part None", "positive", "part None"),
    ("negative.offset", "4", "5", "5"),
    ("negative.bucket_counts", "[1,2]", "[3]", "[3]"),
];

const SUMMARY: &[Row] = &[
    ("count", "3", "5", "5"),
    ("sum", "4.5", "5.5", "5.5"),
    ("quantile_values", "part Some(1)", "quantile_values", "part Some(1)"),
];

const LOG: &[Row] = &[
    ("time_unix_nano", "1000000000", "5", "5"),
    ("time", "1970-01-01T00:00:01Z", "observed_time", "1970-01-01T00:00:02Z"),
    ("observed_time_unix_nano", "2000000000", "5", "5"),
    ("observed_time", "1970-01-01T00:00:02Z", "time", "1970-01-01T00:00:01Z"),
    ("severity_number", "9", "SEVERITY_NUMBER_ERROR", "17"),
    ("severity_text", "INFO", "\"x\"", "x"),
    ("body", MAP, "\"x\"", "x"),
    ("body[\"m\"][\"n\"]", "w", "2", "2"),
    ("body.string", MAP, "\"x\"", "x"),
    ("log.attributes[\"k\"]", "v", "2", "2"),
    ("attributes", MAP, r#"{"x": 1}"#, NEW),
    ("dropped_attributes_count", "1", "5", "5"),
    ("flags", "1", "0", "0"),
    (
        "trace_id",
        "01010101010101010101010101010101",
        "TraceID(0x00000000000000000000000000000009)",
        "00000000000000000000000000000009",
    ),
    (
        "trace_id.string",
        "01010101010101010101010101010101",
        "\"00000000000000000000000000000009\"",
        "00000000000000000000000000000009",
    ),
    ("span_id", "0202020202020202", "SpanID(0x0000000000000009)", "0000000000000009"),
    ("span_id.string", "0202020202020202", "\"0000000000000009\"", "0000000000000009"),
    ("event_name", "e", "\"x\"", "x"),
];

/// Makes the metric of an item.
type Make = fn() -> Metric;

const TABLES: &[(Context, Make, &[Row])] = &[
    (Context::Resource, number, RESOURCE),
    (Context::Scope, number, SCOPE),
    (Context::Span, number, SPAN),
    (Context::SpanEvent, number, EVENT),
    (Context::Metric, number, METRIC),
    (Context::DataPoint, number, NUMBER),
    (Context::DataPoint, histogram, HISTOGRAM),
    (Context::DataPoint, exponential, EXPONENTIAL),
    (Context::DataPoint, summary, SUMMARY),
    (Context::Log, number, LOG),
];

#[test]
fn each_path_is_read_and_set() {
    for (context, metric, rows) in TABLES {
        for (path, before, value, after) in *rows {
            with_item(*context, metric(), |item| {
                assert_eq!(read(*context, item, path), *before, "{path} in {context:?}");
                let statement = Parser::new(*context).statement(&format!("set({path}, {value})"));
                let statement = statement.unwrap_or_else(|error| panic!("{error}"));
                // What upstream's points do not have is left alone, whatever is set.
                let result = statement.run(item);
                if *before != "nil" || *after != "nil" {
                    assert_eq!(result, Ok(true), "{path} in {context:?}");
                }
                assert_eq!(read(*context, item, path), *after, "{path} in {context:?}");
            });
        }
    }
}

/// A field without a row would be one that nobody has tried.
#[test]
fn each_field_of_the_tables_has_a_row() {
    let only_read = ["type", "event_index"];
    for context in Context::ALL {
        for (name, _) in fields(context) {
            let known = TABLES.iter().filter(|(about, ..)| *about == context).flat_map(|(_, _, rows)| *rows);
            let mut known = known.map(|(path, ..)| {
                let path = path.split('[').next().unwrap_or(path);
                [context.name(), "instrumentation_scope"]
                    .iter()
                    .find_map(|prefix| path.strip_prefix(prefix)?.strip_prefix('.'))
                    .unwrap_or(path)
            });
            let cache = name == "cache";
            assert!(
                cache || only_read.contains(&name) || known.any(|known| known == name),
                "{name} in {context:?}"
            );
        }
    }
}

#[test]
fn types_of_metrics_and_indexes_of_events_can_only_be_read() {
    let types: [(Make, &str); 4] = [(number, "2"), (histogram, "3"), (exponential, "4"), (summary, "5")];
    for (make, expected) in types {
        with_item(Context::Metric, make(), |item| assert_eq!(read(Context::Metric, item, "type"), expected));
    }
    let gauge = || metric(Data::Gauge(Gauge::default()));
    with_item(Context::Metric, gauge(), |item| {
        assert_eq!(read(Context::Metric, item, "type"), "1");
        assert_eq!(read(Context::Metric, item, "aggregation_temporality"), "nil");
        let statement =
            Parser::new(Context::Metric).statement("set(type, METRIC_DATA_TYPE_SUM)").expect("parses");
        assert!(statement.run(item).expect_err("refused").to_string().contains("convert_gauge_to_sum"));
    });
    with_item(Context::SpanEvent, number(), |item| {
        assert_eq!(read(Context::SpanEvent, item, "event_index"), "0");
        let statement = Parser::new(Context::SpanEvent).statement("set(event_index, 1)").expect("parses");
        assert!(statement.run(item).is_err());
    });
}

#[test]
fn values_of_a_wrong_type_are_refused() {
    let cases = [
        (Context::Span, "set(name, 1)", "name: expected a string, but got int"),
        (Context::Span, "set(kind.string, \"Servant\")", "`Servant` is no kind of span"),
        (Context::Span, "set(trace_id, 0x01)", "expected a TraceID, but got bytes"),
        (Context::Span, "set(trace_id.string, \"01\")", "not 32 hexadecimal digits"),
        (Context::Span, "set(start_time, 1)", "expected a time, but got int"),
        (Context::Span, "set(attributes, 1)", "expected a map, but got int"),
        (Context::Span, "set(trace_state[\"a\"], \"x,y\")", "no member of a trace state"),
        (Context::Span, "set(attributes[\"k\"][\"x\"], 1)", "string cannot be indexed"),
        (Context::Span, "set(attributes[\"m\"][0], 1)", "the key of a map has to be a string"),
        (Context::Span, "set(attributes[kind], 1)", "the key of a map has to be a string"),
        (Context::Span, "set(attributes[end_time], 1)", "a key has to be a string or an int"),
        (Context::Metric, "set(is_monotonic, 1)", "expected a bool"),
        (Context::DataPoint, "set(value_double, 1)", "expected a double"),
        (Context::DataPoint, "set(exemplars, 1)", "expected exemplars"),
    ];
    for (context, text, part) in cases {
        let statement = Parser::new(context).statement(text).unwrap_or_else(|error| panic!("{error}"));
        let error = with_item(context, number(), |item| statement.run(item)).expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_body_that_is_text_cannot_be_indexed() {
    let mut record =
        LogRecord { body: Some(AnyValue { value: Some(Any::StringValue("x".into())) }), ..record() };
    let (mut resource, mut scope) = (None, None);
    let mut item = Item {
        resource: &mut resource,
        resource_schema: &mut String::new(),
        scope: &mut scope,
        scope_schema: &mut String::new(),
        record: RecordMut::Log(&mut record),
        cache: &mut Vec::new(),
        client: None,
    };
    let parser = Parser::new(Context::Log);
    assert!(parser.statement("set(body[\"a\"], 1)").expect("parses").run(&mut item).is_err());
    assert!(parser.value("body[\"a\"]").expect("parses").eval(&item.view()).is_err());
    // What is not there is made.
    parser.statement("set(resource.attributes[\"a\"], 1)").expect("parses").run(&mut item).expect("set");
    parser.statement("set(scope.name, \"x\")").expect("parses").run(&mut item).expect("set");
    assert_eq!(resource.map(|r| r.attributes), Some(vec![entry("a", any(Any::IntValue(1)))]));
    assert_eq!(scope.map(|s| s.name), Some("x".to_owned()));
}
