//! OpenTelemetry's own SDKs as clients, by every protocol they have, with and without compression.
//!
//! The programs in `tests/sdk` send the items that are described here; each is looked at when it arrives.
//! `tests/sdk/install` puts what they need into the target folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use signal::otlp::proto::logs::v1::LogRecord;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{Metric, NumberDataPoint, number_data_point};
use signal::otlp::proto::trace::v1::Span;

use super::{Out, Pipeline, arrives};
use crate::kit::otlp::{Backend, Content, Kind};
use crate::kit::sdk::{go_program, installed};
use crate::kit::{Program, eventually};

/// Items of each signal, by each client.
const COUNT: u64 = 200;

fn run(command: &mut Command, pipeline: &Pipeline<'_>) {
    let command = command.args([pipeline.grpc.to_string(), pipeline.http.to_string(), COUNT.to_string()]);
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    // Exporters log what they could not send and go on.
    assert!(!text.to_lowercase().contains("error"), "{text}");
}

/// A program of an SDK, through the batch processor and an edit, to the back end.
fn all_of(language: &str, protocols: &[&str], command: impl Fn() -> Command) {
    for out in Out::ALL {
        let backend = Backend::start();
        let attributes =
            "action {\n\t\tkey    = \"edited\"\n\t\tvalue  = \"yes\"\n\t\taction = \"insert\"\n\t}";
        let pipeline = Pipeline { out, ..Pipeline::new(&backend) }
            .through("otelcol.processor.batch", "timeout = \"50ms\"")
            .through("otelcol.processor.attributes", attributes);
        let program = pipeline.start();
        run(&mut command(), &pipeline);
        for protocol in protocols {
            for compression in ["none", "gzip"] {
                let client = format!("{language}-{protocol}-{compression}");
                check(&backend, &client, &program);
            }
        }
        let clients = backend.clients();
        assert_eq!(clients.len(), protocols.len() * 2, "{clients:?}");
    }
}

#[test]
fn every_item_of_the_python_sdk_arrives_by_every_protocol() {
    all_of("python", &["grpc", "http"], || {
        let mut command = Command::new(installed("python/bin/python"));
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk/python/send.py"));
        command
    });
}

#[test]
fn every_item_of_the_node_sdk_arrives_by_every_protocol() {
    all_of("node", &["grpc", "http", "json"], || {
        installed("node/done");
        let mut command = Command::new("node");
        command.arg(installed("node/send.mjs"));
        command
    });
}

#[test]
fn every_item_of_the_go_sdk_arrives_by_every_protocol() {
    let Some(send) = go_program("go/send") else { return };
    all_of("go", &["grpc", "http"], || Command::new(&send));
}

fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|a| a.key == key)?.value.as_ref()?.value.as_ref()
}

fn text(text: impl Into<String>) -> Value {
    Value::StringValue(text.into())
}

fn seq(attributes: &[KeyValue]) -> u64 {
    match find(attributes, "seq") {
        Some(Value::IntValue(n)) => *n as u64,
        other => panic!("no number: {other:?}"),
    }
}

/// A list's values.
fn list(value: Option<&Value>) -> Vec<Value> {
    match value {
        Some(Value::ArrayValue(list)) => list.values.iter().filter_map(|v| v.value.clone()).collect(),
        other => panic!("no list: {other:?}"),
    }
}

fn check(backend: &Backend, client: &str, program: &Program) {
    for kind in Kind::ALL {
        arrives(backend, kind, client, 1, COUNT, program);
    }
    // Of each number of each kind of metric there is at least a point.
    let (spans, records, points) = eventually("all metrics have come", || {
        let found = items(backend, client);
        match found.2.len() as u64 >= 4 * COUNT {
            true => Ok(found),
            false => Err(format!("{} points", found.2.len())),
        }
    });
    assert_eq!((spans.len() as u64, records.len() as u64), (COUNT, COUNT), "{client}: each once");
    for (n, span) in &spans {
        check_span(*n, span, &spans);
    }
    for (n, record) in &records {
        check_record(*n, record, &spans[n]);
    }
    for n in 1..=COUNT {
        for name in ["sdk.counter", "sdk.updown", "sdk.histogram", "sdk.gauge"] {
            assert!(points.contains(&(name.to_owned(), n)), "{client}: {name} {n}");
        }
    }
}

type Items = (BTreeMap<u64, Span>, BTreeMap<u64, LogRecord>, std::collections::BTreeSet<(String, u64)>);

/// Spans and records by number, and which metrics have a point with which number.
fn items(backend: &Backend, client: &str) -> Items {
    let mut all = Items::default();
    let ours = |attributes: &[KeyValue]| find(attributes, "client") == Some(&text(client));
    let scoped = |scope: &Option<InstrumentationScope>| {
        let scope = scope.as_ref().expect("a scope");
        assert_eq!((&*scope.name, &*scope.version), ("scope", "1.2.3"));
    };
    for received in backend.received() {
        match received {
            Content::Traces(request) => {
                for r in request.resource_spans {
                    if ours(&r.resource.expect("a resource").attributes) {
                        for s in r.scope_spans {
                            scoped(&s.scope);
                            for span in s.spans {
                                let n = seq(&span.attributes);
                                assert!(all.0.insert(n, span).is_none(), "{client}: span {n} came twice");
                            }
                        }
                    }
                }
            }
            Content::Logs(request) => {
                for r in request.resource_logs {
                    if ours(&r.resource.expect("a resource").attributes) {
                        for s in r.scope_logs {
                            scoped(&s.scope);
                            for record in s.log_records {
                                let n = seq(&record.attributes);
                                assert!(all.1.insert(n, record).is_none(), "{client}: record {n} came twice");
                            }
                        }
                    }
                }
            }
            Content::Metrics(request) => {
                for r in request.resource_metrics {
                    if ours(&r.resource.expect("a resource").attributes) {
                        for s in r.scope_metrics {
                            // SDKs send metrics of their own too, under their own scope.
                            for metric in s.metrics.iter().filter(|m| m.name.starts_with("sdk.")) {
                                scoped(&s.scope);
                                let numbers = check_metric(metric);
                                all.2.extend(numbers.into_iter().map(|n| (metric.name.clone(), n)));
                            }
                        }
                    }
                }
            }
        }
    }
    all
}

fn check_span(n: u64, span: &Span, all: &BTreeMap<u64, Span>) {
    assert_eq!(span.name, format!("span-{n}"));
    assert_eq!(span.kind, (n % 5) as i32 + 1);
    assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
    assert!(span.start_time_unix_nano > 0 && span.end_time_unix_nano >= span.start_time_unix_nano);
    let of = |key: &str| find(&span.attributes, key);
    assert_eq!(of("text"), Some(&text(format!("täxt-{n}"))));
    assert_eq!(of("flag"), Some(&Value::BoolValue(n.is_multiple_of(2))));
    assert_eq!(of("ratio"), Some(&Value::DoubleValue(n as f64 + 0.5)));
    assert_eq!(list(of("texts")), [text("a"), text("b")]);
    assert_eq!(list(of("numbers")), [Value::IntValue(1), Value::IntValue(2)]);
    assert_eq!(of("edited"), Some(&text("yes")));
    assert_eq!(span.attributes.len(), 7, "{:?}", span.attributes);
    let [event] = &*span.events else { panic!("{:?}", span.events) };
    assert_eq!((event.name.clone(), seq(&event.attributes)), (format!("event-{n}"), n));
    let status = span.status.clone().unwrap_or_default();
    if n.is_multiple_of(3) {
        assert_eq!((status.code, status.message), (2, format!("failed {n}")));
    } else {
        assert_eq!((status.code, &*status.message), (0, ""));
    }
    if n.is_multiple_of(2) {
        let parent = &all[&(n - 1)];
        assert_eq!((&span.parent_span_id, &span.trace_id), (&parent.span_id, &parent.trace_id));
    } else {
        assert!(span.parent_span_id.is_empty());
    }
    if n.is_multiple_of(10) {
        let [link] = &*span.links else { panic!("{:?}", span.links) };
        let to = &all[&(n - 1)];
        assert_eq!((&link.span_id, &link.trace_id, seq(&link.attributes)), (&to.span_id, &to.trace_id, n));
    } else {
        assert!(span.links.is_empty());
    }
}

fn check_record(n: u64, record: &LogRecord, span: &Span) {
    let body = Some(AnyValue { value: Some(text(format!("log-{n}"))) });
    assert_eq!(record.body, body);
    assert_eq!((record.severity_number, &*record.severity_text), (13, "WARN"));
    assert_eq!(record.time_unix_nano, 1_700_000_000_000_000_000 + n);
    assert_eq!((&record.trace_id, &record.span_id), (&span.trace_id, &span.span_id));
    assert_eq!(find(&record.attributes, "text"), Some(&text(format!("täxt-{n}"))));
    assert_eq!(find(&record.attributes, "edited"), Some(&text("yes")));
}

/// Looks at each point; the numbers of all.
fn check_metric(metric: &Metric) -> Vec<u64> {
    let value = |point: &NumberDataPoint| match point.value {
        Some(number_data_point::Value::AsInt(n)) => n as f64,
        Some(number_data_point::Value::AsDouble(n)) => n,
        None => panic!("no value: {point:?}"),
    };
    let mut numbers = Vec::new();
    let mut note = |attributes: &[KeyValue]| {
        let n = seq(attributes);
        numbers.push(n);
        n as f64
    };
    match (&*metric.name, metric.data.as_ref().expect("data")) {
        ("sdk.counter", Data::Sum(sum)) => {
            assert_eq!((&*metric.unit, &*metric.description), ("1", "counts"));
            assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
            sum.data_points.iter().for_each(|p| assert_eq!(value(p), note(&p.attributes)));
        }
        ("sdk.updown", Data::Sum(sum)) => {
            assert!(!sum.is_monotonic);
            sum.data_points.iter().for_each(|p| assert_eq!(value(p), -note(&p.attributes)));
        }
        ("sdk.gauge", Data::Gauge(gauge)) => {
            gauge.data_points.iter().for_each(|p| assert_eq!(value(p), note(&p.attributes) + 0.25));
        }
        ("sdk.histogram", Data::Histogram(histogram)) => {
            assert_eq!(metric.unit, "ms");
            for p in &histogram.data_points {
                let n = note(&p.attributes);
                assert_eq!((p.count, p.sum), (2, Some(3.0 * n)));
                assert_eq!(p.bucket_counts.iter().sum::<u64>(), 2);
                assert_eq!(p.bucket_counts.len(), p.explicit_bounds.len() + 1);
            }
        }
        (name, data) => panic!("{name} is {data:?}"),
    }
    numbers
}
