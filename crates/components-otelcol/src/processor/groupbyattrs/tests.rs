//! Regrouping of each signal, and a property: no item is lost, none changes its meaning.

use component::testkit::{Harness, Names, Sink, surface};
use component::{ArgValue, ComponentDef};
use proptest::prelude::*;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{OtlpLogs, OtlpMetrics, OtlpSignal as _, Traces, TracesSignal};

use super::*;

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

fn resource(attributes: &[(&str, &str)]) -> Option<Resource> {
    let attributes = attributes.iter().map(|(k, v)| text(k, v)).collect();
    Some(Resource { attributes, ..Resource::default() })
}

fn spans(attributes: &[(&str, &str)], spans: &[(&str, &[(&str, &str)])]) -> ResourceSpans {
    let span = |(name, attributes): &(&str, &[(&str, &str)])| Span {
        name: (*name).into(),
        attributes: attributes.iter().map(|(k, v)| text(k, v)).collect(),
        ..Span::default()
    };
    let spans = spans.iter().map(span).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ResourceSpans { resource: resource(attributes), scope_spans, ..ResourceSpans::default() }
}

fn regrouped<S: Grouped>(keys: &[&str], requests: Vec<S::Request>) -> S::Request {
    let keys: Vec<_> = keys.iter().map(|key| key.to_string()).collect();
    let mut groups = Groups::<S>::new(&keys);
    requests.into_iter().for_each(|request| groups.add(request));
    groups.finish()
}

#[test]
fn attributes_of_spans_go_to_the_resource_and_equal_resources_become_one() {
    let request = |resource_spans| ExportTraceServiceRequest { resource_spans };
    let first = request(vec![
        spans(
            &[("a", "1"), ("b", "2")],
            &[("x", &[("host", "h1"), ("k", "v")]), ("y", &[]), ("z", &[("host", "h2")])],
        ),
        spans(&[("b", "2"), ("a", "1")], &[("w", &[("host", "h1")])]),
    ]);
    let second =
        request(vec![spans(&[("a", "1"), ("b", "2"), ("host", "own")], &[("v", &[("host", "h1")])])]);
    let out = regrouped::<TracesSignal>(&["host"], vec![first.clone(), second]);
    let with = |host: &str, names: &[(&str, &[(&str, &str)])]| {
        spans(&[("a", "1"), ("b", "2"), ("host", host)], names)
    };
    let expected = request(vec![
        with("h1", &[("x", &[("k", "v")]), ("w", &[]), ("v", &[])]),
        spans(&[("a", "1"), ("b", "2")], &[("y", &[])]),
        with("h2", &[("z", &[])]),
    ]);
    assert_eq!(out, expected);
    let compacted = regrouped::<TracesSignal>(&[], vec![first]);
    assert_eq!(compacted.resource_spans.len(), 1);
    assert_eq!(compacted.resource_spans[0].scope_spans[0].spans.len(), 4);
}

#[test]
fn data_points_are_grouped_and_metrics_of_one_identity_become_one() {
    let point = |host: &str, n| NumberDataPoint {
        attributes: vec![text("host", host)],
        time_unix_nano: n,
        ..Default::default()
    };
    let gauge = |data_points| Metric {
        name: "m".into(),
        data: Some(Data::Gauge(Gauge { data_points })),
        ..Metric::default()
    };
    let sum = Metric {
        name: "m".into(),
        data: Some(Data::Sum(Sum { data_points: vec![point("h1", 9)], ..Sum::default() })),
        ..Metric::default()
    };
    let metrics =
        vec![gauge(vec![point("h1", 1), point("h2", 2), point("h1", 3)]), sum, gauge(vec![point("h2", 4)])];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
    };
    let out = regrouped::<signal::otlp::MetricsSignal>(&["host"], vec![request]);
    let shown: Vec<_> = out
        .resource_metrics
        .iter()
        .map(|r| {
            let host = crate::value::text(r.resource.as_ref().expect("made").attributes[0].value.as_ref());
            let metrics = r.scope_metrics[0].metrics.iter().map(|m| match &m.data {
                Some(Data::Gauge(g)) => g.data_points.iter().map(|p| p.time_unix_nano).collect::<Vec<_>>(),
                Some(Data::Sum(s)) => s.data_points.iter().map(|p| p.time_unix_nano + 100).collect(),
                other => panic!("{other:?}"),
            });
            (host, metrics.collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(
        shown,
        [("h1".to_string(), vec![vec![1, 3], vec![109]]), ("h2".to_string(), vec![vec![2, 4]])]
    );
}

proptest! {
    #[test]
    fn no_span_is_lost_and_each_keeps_all_that_was_said_of_it(
        drawn in prop::collection::vec(
            ("[ab]{1}", prop::collection::vec(("[xy]{1}", "[12]{1}"), 0..5)), 1..6),
    ) {
        let mut request = ExportTraceServiceRequest::default();
        let mut serial = 0;
        for (env, items) in &drawn {
            let spans_of = items.iter().map(|(host, zone)| {
                serial += 1;
                Span {
                    name: serial.to_string(),
                    attributes: vec![text("host", host), text("zone", zone), text("own", env)],
                    ..Span::default()
                }
            });
            let scope_spans = vec![ScopeSpans { spans: spans_of.collect(), ..ScopeSpans::default() }];
            let resource = resource(&[("env", env)]);
            request.resource_spans.push(ResourceSpans { resource, scope_spans, ..ResourceSpans::default() });
        }
        // Everything that is said of each span, wherever it stands.
        let said = |request: &ExportTraceServiceRequest| {
            let mut all: Vec<_> = request.resource_spans.iter().flat_map(|r| {
                let of_resource = r.resource.as_ref().map(|r| r.attributes.clone()).unwrap_or_default();
                r.scope_spans.iter().flat_map(|s| &s.spans).map(move |s| {
                    let mut all = [of_resource.clone(), s.attributes.clone()].concat();
                    all.sort_by(|a, b| a.key.cmp(&b.key));
                    (s.name.clone(), all)
                })
            }).collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all
        };
        let before = said(&request);
        let out = regrouped::<TracesSignal>(&["host", "zone"], vec![request]);
        prop_assert_eq!(TracesSignal::count(&out), serial as usize);
        prop_assert_eq!(said(&out), before);
        let mut keys: Vec<_> = out.resource_spans.iter().map(|r| format!("{:?}", r.resource)).collect();
        let groups = keys.len();
        keys.sort();
        keys.dedup();
        prop_assert_eq!(keys.len(), groups, "no resource stands there twice");
    }
}

#[tokio::test]
async fn a_batch_becomes_one_request_and_is_counted() {
    let (traces, metrics, logs) = (Sink::new(), Sink::new(), Sink::new());
    let next = OtelInput {
        traces: Some(Sink::<Traces>::receiver(&traces)),
        metrics: Some(Sink::<OtlpMetrics>::receiver(&metrics)),
        logs: Some(Sink::<OtlpLogs>::receiver(&logs)),
    };
    let names = Names::default().with("next", next.to_value());
    let body = "keys = [\"host\"]\noutput { traces = [next] }";
    let harness = Harness::start(ComponentDef::of::<GroupByAttrs>(), body, names).await;
    let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
    let input = OtelInput::from_value(&exports["input"]).expect("an input");
    let request = |spans| {
        OtlpRequest::<TracesSignal>::from_message(ExportTraceServiceRequest { resource_spans: vec![spans] })
    };
    let mut batch = Otlp::of(request(spans(&[], &[("x", &[("host", "h")]), ("y", &[])])));
    batch.make_mut().requests.push(request(spans(&[], &[("z", &[("host", "h")])])));
    batch.make_mut().received_ms = 7;
    input.traces.as_ref().expect("taken").send(batch).await.expect("passed on");
    let out = traces.take().remove(0);
    assert_eq!((out.requests.len(), out.items(), out.received_ms), (1, 3, 7));
    let text = harness.services.metrics.text();
    let metric = |name: &str| {
        let line = text.lines().find(|l| l.starts_with(&format!("otelcol_processor_groupbyattrs_{name}{{")));
        line.and_then(|l| l.rsplit_once(' ')).map(|(_, v)| v.to_string()).unwrap_or_default()
    };
    assert_eq!(metric("num_grouped_spans_total"), "2");
    assert_eq!(metric("num_non_grouped_spans_total"), "1");
    assert_eq!(metric("span_groups_sum"), "2");
    let damaged = OtlpRequest::<TracesSignal>::from_wire(vec![0x0a, 5, 1].into(), 1, None);
    let answer = input.traces.as_ref().expect("taken").send(Otlp::of(damaged)).await;
    assert!(matches!(answer, Err(Rejected::Permanent(_))), "{answer:?}");
    let answer = input.logs.as_ref().expect("a port").send(OtlpLogs::default()).await;
    assert!(matches!(answer, Err(Rejected::Permanent(_))), "no consumer: {answer:?}");
    let ours = surface(<Args as component::eval::Arguments>::schema());
    assert!(ours.contains(&"keys list(string)".to_string()), "{ours:?}");
}
