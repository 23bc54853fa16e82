//! Which hosts are told of, when, and what becomes of them if nobody listens.

use component::testkit::{Harness, Names, Sink};
use component::{ArgValue, ComponentDef, Receiver};
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::*;

fn int(key: &str, value: i64) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::IntValue(value)) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

fn traces(resources: &[&[KeyValue]]) -> Traces {
    let spans = |attributes: &&[KeyValue]| ResourceSpans {
        resource: Some(Resource { attributes: attributes.to_vec(), ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans: vec![Span::default()], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    };
    let resource_spans = resources.iter().map(spans).collect();
    Traces::of(OtlpRequest::from_message(ExportTraceServiceRequest { resource_spans }))
}

fn hosts(batches: &[OtlpMetrics]) -> Vec<Vec<String>> {
    let of = |batch: &OtlpMetrics| {
        let message = batch.requests[0].message().expect("decodes");
        let metric = &message.resource_metrics[0].scope_metrics[0].metrics[0];
        assert_eq!(metric.name, "traces_host_info");
        let Some(Data::Gauge(gauge)) = &metric.data else { panic!("a gauge") };
        let mut hosts: Vec<_> = gauge
            .data_points
            .iter()
            .map(|point| {
                assert_eq!(point.value, Some(number_data_point::Value::AsInt(1)));
                assert_eq!(point.attributes[0].key, "grafana.host.id");
                crate::value::text(point.attributes[0].value.as_ref())
            })
            .collect();
        hosts.sort();
        hosts
    };
    batches.iter().map(of).collect()
}

struct Bench {
    harness: Harness,
    input: Receiver<Traces>,
    sink: Sink<OtlpMetrics>,
}

const BOTH: &str = r#"host_identifiers = ["k8s.node.name", "host.id"]"#;

impl Bench {
    async fn new(arguments: &str) -> Self {
        let sink = Sink::<OtlpMetrics>::new();
        let next = OtelInput { metrics: Some(sink.receiver()), ..OtelInput::default() };
        let names = Names::default().with("next", next.to_value());
        let body = format!("{arguments}\noutput {{ metrics = [next] }}");
        let harness = Harness::start(ComponentDef::of::<HostInfo>(), &body, names).await;
        let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
        let input = OtelInput::from_value(&exports["input"]).expect("an input").traces.expect("takes traces");
        Self { harness, input, sink }
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_are_told_of_once_an_interval_by_their_first_identifier() {
    let bench = Bench::new(BOTH).await;
    let node = attribute("k8s.node.name", "node");
    let resources: [&[KeyValue]; 5] = [
        &[attribute("host.id", "id"), node.clone()],
        &[node],
        &[attribute("host.id", "other")],
        &[int("host.id", 42)],
        &[attribute("service.name", "x")],
    ];
    let sent = traces(&resources);
    // Once decoded, once as it comes from a receiver.
    let wire = OtlpRequest::from_wire(sent.requests[0].wire().clone(), 5, None);
    bench.input.send(sent).await.expect("taken");
    bench.input.send(Traces::of(wire)).await.expect("taken");
    assert_eq!(hosts(&bench.sink.wait(1).await), [["node", "other"]]);
    bench.input.send(traces(&[&[attribute("host.id", "third")]])).await.expect("taken");
    let start = Instant::now();
    assert_eq!(hosts(&bench.sink.wait(1).await), [["third"]]);
    assert_eq!(start.elapsed(), Duration::from_secs(60));
    let text = bench.harness.services.metrics.text();
    assert!(text.contains("what=\"host\",why=\"not a text\"} 2"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn hosts_whom_nobody_takes_for_now_are_told_of_with_the_next() {
    let bench = Bench::new("").await;
    bench.sink.answer(Err(Rejected::Retryable("full".into())));
    bench.input.send(traces(&[&[attribute("host.id", "a")]])).await.expect("taken");
    tokio::time::sleep(Duration::from_secs(61)).await;
    bench.sink.answer(Ok(()));
    bench.input.send(traces(&[&[attribute("host.id", "b")]])).await.expect("taken");
    assert_eq!(hosts(&bench.sink.wait(1).await), [["a", "b"]]);
    bench.sink.answer(Err(Rejected::Permanent("no".into())));
    bench.input.send(traces(&[&[attribute("host.id", "c")]])).await.expect("taken");
    tokio::time::sleep(Duration::from_secs(61)).await;
    let text = bench.harness.services.metrics.text();
    assert!(text.contains("what=\"host\",why=\"refused\"} 1"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_is_kept_over_new_arguments_and_sent_at_the_end() {
    let bench = Bench::new("").await;
    bench.input.send(traces(&[&[attribute("host.id", "a")]])).await.expect("taken");
    let body = format!("{BOTH}\nmetrics_flush_interval = \"15s\"\noutput {{ metrics = [next] }}");
    bench.harness.update(&body).await.expect("valid");
    bench.input.send(traces(&[&[attribute("k8s.node.name", "b")]])).await.expect("taken");
    bench.harness.stop().await;
    assert_eq!(hosts(&bench.sink.take()), [["a", "b"]]);
}

#[tokio::test]
async fn traces_are_refused_without_anybody_to_tell_and_bad_arguments_with_a_reason() {
    let bench = Bench::new("").await;
    for (arguments, why) in [
        ("host_identifiers = []", "at least one"),
        ("metrics_flush_interval = \"14s\"", "between 15s and 5m"),
        ("metrics_flush_interval = \"6m\"", "between 15s and 5m"),
    ] {
        let body = format!("{arguments}\noutput {{ metrics = [next] }}");
        let refused = bench.harness.update(&body).await.expect_err(arguments);
        assert!(format!("{refused:?}").contains(why), "{refused:?}");
    }
    let damaged = OtlpRequest::from_wire(bytes::Bytes::from_static(b"\x0a\x05\x01"), 1, None);
    assert!(matches!(bench.input.send(Traces::of(damaged)).await, Err(Rejected::Permanent(_))));
    bench.harness.update("output { }").await.expect("valid");
    let refused = bench.input.send(traces(&[])).await;
    assert!(
        matches!(refused, Err(Rejected::Permanent(message)) if message.contains("no consumer for metrics"))
    );
}

#[test]
fn no_more_hosts_are_held_than_there_is_room_for() {
    let cx = BuildCx::detached("x.y", component::Services::for_tests(std::env::temp_dir()));
    let hosts = Hosts { seen: Mutex::default(), dropped: Dropped::new(&cx, "host_info") };
    hosts.add((0..MOST_HOSTS + 2).map(|host| host.to_string()));
    hosts.add(["0".to_string()]);
    assert_eq!(hosts.seen.lock().len(), MOST_HOSTS);
    assert_eq!(hosts.dropped.count("host", "too many"), 2);
}
