//! The component as its neighbours see it, on paused time; policies by tables are in `policies`.

use component::testkit::{Harness, Names, Sink, surface};
use component::{ArgValue, ComponentDef, Receiver};
use prost::Message as _;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::span::Event;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use signal::otlp::{Otlp, OtlpRequest, TracesSignal};
use tokio::task::JoinHandle;

use super::*;

mod policies;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn id(n: u8) -> Vec<u8> {
    vec![n; 16]
}

/// A span of trace `n`, not a root.
fn span(n: u8, name: &str) -> Span {
    Span { trace_id: id(n), parent_span_id: vec![1; 8], name: name.into(), ..Span::default() }
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Some(Resource { attributes: vec![text("env", "prod")], ..Resource::default() });
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
    }
}

fn batch(spans: Vec<Span>) -> Traces {
    Otlp::of(OtlpRequest::from_message(request(spans)))
}

struct Bench {
    harness: Harness,
    sink: Sink<Traces>,
    input: Receiver<Traces>,
}

const ALWAYS: &str = "policy {\n name = \"all\"\n type = \"always_sample\"\n}\n";

fn body(lines: &str) -> String {
    format!("{lines}\noutput {{ traces = [next] }}")
}

fn policy(name: &str, kind: &str, lines: &str) -> String {
    format!("policy {{\n name = \"{name}\"\n type = \"{kind}\"\n {kind} {{\n{lines}\n}}\n}}\n")
}

impl Bench {
    async fn new(lines: &str) -> Self {
        let sink = Sink::<Traces>::new();
        let next = OtelInput { traces: Some(sink.receiver()), ..OtelInput::default() };
        let names = Names::default().with("next", next.to_value());
        let harness = Harness::start(ComponentDef::of::<TailSampling>(), &body(lines), names).await;
        let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
        let input = OtelInput::from_value(&exports["input"]).expect("an input").traces.expect("takes traces");
        Self { harness, sink, input }
    }

    async fn send(&self, spans: Vec<Span>) {
        self.input.send(batch(spans)).await.expect("taken");
    }

    fn sending(&self, spans: Vec<Span>) -> JoinHandle<Result<(), Rejected>> {
        let input = self.input.clone();
        tokio::spawn(async move { input.send(batch(spans)).await })
    }

    /// Names of the spans that have arrived behind the component.
    fn arrived(&self) -> Vec<String> {
        let batches = self.sink.take();
        let messages =
            batches.iter().flat_map(|b| &b.requests).map(|r| r.message().expect("decodes").clone());
        let mut names: Vec<_> = messages
            .flat_map(|m| m.resource_spans)
            .inspect(|r| assert_eq!(r.resource.as_ref().map(|r| r.attributes.len()), Some(1)))
            .flat_map(|r| r.scope_spans)
            .flat_map(|s| s.spans)
            .map(|s| s.name)
            .collect();
        names.sort();
        names
    }

    /// Lets time pass; what it brings about is done.
    async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        settle().await;
    }

    fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = self.harness.services.metrics.text();
        let name = format!("otelcol_processor_tail_sampling_{name}{{");
        let line = text.lines().find(|l| l.starts_with(&name) && labels.split(' ').all(|p| l.contains(p)));
        line.and_then(|l| l.rsplit_once(' ')).map_or(-1.0, |(_, v)| v.parse().expect("a number"))
    }
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_trace_is_decided_about_when_its_time_has_come_with_all_its_spans() {
    let status = policy("errors", "status_code", "status_codes = [\"ERROR\"]");
    let bench = Bench::new(&format!("decision_wait = \"10s\"\n{status}")).await;
    let failed = Status { code: 2, ..Status::default() };
    bench.send(vec![span(1, "a"), span(2, "x"), span(1, "b")]).await;
    bench.pass(9).await;
    bench.send(vec![Span { status: Some(failed), ..span(1, "c") }, span(2, "y")]).await;
    assert_eq!(bench.metric("sampling_traces_on_memory", ""), 2.0);
    assert_eq!(bench.arrived(), Vec::<String>::new());
    bench.pass(2).await;
    assert_eq!(bench.arrived(), ["a", "b", "c"]);
    assert_eq!(bench.metric("sampling_traces_on_memory", ""), 0.0);
    assert_eq!(bench.metric("new_trace_id_received_total", ""), 2.0);
    assert_eq!(
        bench.metric("global_count_traces_sampled_total", "sampled=\"true\" decision=\"sampled\""),
        1.0
    );
    let label = "policy=\"otelcol.processor.tail_sampling.test.errors\" sampled=\"false\"";
    assert_eq!(bench.metric("count_traces_sampled_total", label), 1.0);
    // Late spans follow the decision at once.
    bench.send(vec![span(1, "late"), span(2, "too")]).await;
    assert_eq!(bench.arrived(), ["late"]);
    assert_eq!(bench.metric("sampling_late_span_age_seconds_count", ""), 2.0);
}

#[tokio::test(start_paused = true)]
async fn the_root_span_can_bring_the_decision_sooner_and_never_later() {
    let bench =
        Bench::new(&format!("decision_wait = \"10s\"\ndecision_wait_after_root_received = \"3s\"\n{ALWAYS}"))
            .await;
    bench.send(vec![span(1, "child"), span(2, "other")]).await;
    bench.pass(1).await;
    bench.send(vec![Span { parent_span_id: vec![], ..span(1, "root") }]).await;
    bench.pass(4).await;
    assert_eq!(bench.arrived(), ["child", "root"]);
    bench.pass(4).await;
    bench.send(vec![Span { parent_span_id: vec![0; 8], ..span(2, "root") }]).await;
    bench.pass(2).await;
    assert_eq!(bench.arrived(), ["other", "root"]);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_fills_with_time() {
    let mut bucket = composite::Bucket::new(10, 0);
    let now = tokio::time::Instant::now();
    assert!(bucket.take(20.0, now));
    assert!(!bucket.take(1.0, now));
    assert!(!bucket.take(6.0, now + Duration::from_millis(500)));
    assert!(bucket.take(5.0, now + Duration::from_millis(500)));
    assert!(!bucket.take(21.0, now + Duration::from_secs(100)), "more than it holds");
    assert!(bucket.take(20.0, now + Duration::from_secs(100)));
}

#[tokio::test(start_paused = true)]
async fn when_too_many_traces_wait_the_oldest_is_decided_about_with_what_it_has() {
    let bench = Bench::new(&format!("decision_wait = \"10s\"\nnum_traces = 2\n{ALWAYS}")).await;
    bench.send(vec![span(1, "a")]).await;
    bench.pass(1).await;
    bench.send(vec![span(2, "b")]).await;
    bench.send(vec![span(2, "b2")]).await;
    settle().await;
    assert_eq!(bench.arrived(), Vec::<String>::new());
    bench.send(vec![span(3, "c")]).await;
    settle().await;
    assert_eq!(bench.arrived(), ["a"]);
    assert_eq!(bench.metric("sampling_trace_dropped_too_early_total", ""), 1.0);
    bench.pass(20).await;
    assert_eq!(bench.arrived(), ["b", "b2", "c"]);
}

#[tokio::test(start_paused = true)]
async fn senders_wait_for_room_where_they_are_told_to() {
    let bench =
        Bench::new(&format!("decision_wait = \"10s\"\nnum_traces = 1\nblock_on_overflow = true\n{ALWAYS}"))
            .await;
    bench.send(vec![span(1, "a")]).await;
    let waits = bench.sending(vec![span(2, "b")]);
    settle().await;
    assert!(!waits.is_finished());
    bench.send(vec![span(1, "a2")]).await;
    bench.pass(11).await;
    assert_eq!(waits.await.expect("no panic"), Ok(()));
    assert_eq!(bench.arrived(), ["a", "a2"]);
    bench.pass(11).await;
    assert_eq!(bench.arrived(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_trace_that_grows_too_large_is_dropped_and_its_later_spans_too() {
    let bench =
        Bench::new(&format!("decision_wait = \"10s\"\nmaximum_trace_size_bytes = 200\n{ALWAYS}")).await;
    bench.send(vec![span(1, "small"), span(2, &"x".repeat(100))]).await;
    bench.send(vec![span(2, &"y".repeat(100))]).await;
    assert_eq!(bench.metric("traces_dropped_too_large_total", ""), 1.0);
    bench.send(vec![span(2, "z")]).await;
    bench.pass(11).await;
    assert_eq!(bench.arrived(), ["small"]);
}

#[tokio::test(start_paused = true)]
async fn decisions_are_remembered_for_as_many_traces_as_the_cache_says() {
    let bench = Bench::new(&format!(
        "decision_wait = \"1s\"\ndecision_cache = {{ sampled_cache_size = 1 }}\n{ALWAYS}"
    ))
    .await;
    bench.send(vec![span(1, "a")]).await;
    bench.pass(2).await;
    bench.send(vec![span(1, "late")]).await;
    assert_eq!(bench.arrived(), ["a", "late"]);
    assert_eq!(bench.metric("early_releases_from_cache_decision_total", "sampled=\"true\""), 1.0);
    bench.send(vec![span(2, "b")]).await;
    bench.pass(2).await;
    bench.send(vec![span(1, "forgotten")]).await;
    assert_eq!(bench.arrived(), ["b"]);
    bench.pass(2).await;
    assert_eq!(bench.arrived(), ["forgotten"]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_decided_about_and_sent_when_the_component_ends() {
    let count = policy("count", "span_count", "min_spans = 2");
    let bench = Bench::new(&count).await;
    bench.send(vec![span(1, "a"), span(1, "b"), span(2, "x")]).await;
    bench.sink.answer(Err(Rejected::Retryable("later".into())));
    let (stop, heal) = tokio::join!(bench.harness.stop(), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        bench.sink.answer(Ok(()));
    });
    let () = heal;
    let _ = stop;
    assert_eq!(bench.arrived(), ["a", "b"]);
    assert_eq!(bench.input.send(batch(vec![span(3, "c")])).await, Err(Rejected::Stopped));
}

#[tokio::test(start_paused = true)]
async fn what_waits_can_be_dropped_when_the_component_ends() {
    let bench = Bench::new(&format!("drop_pending_traces_on_shutdown = true\n{ALWAYS}")).await;
    bench.send(vec![span(1, "a"), span(1, "b")]).await;
    let _ = bench.harness.stop().await;
    assert_eq!(bench.arrived(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn new_arguments_decide_about_what_waits_already() {
    let never = policy("never", "span_count", "min_spans = 100");
    let bench = Bench::new(&format!("decision_wait = \"10s\"\n{never}")).await;
    bench.send(vec![span(1, "a")]).await;
    bench.pass(5).await;
    bench.harness.update(&body(&format!("decision_wait = \"60s\"\n{ALWAYS}"))).await.expect("sound");
    bench.send(vec![span(2, "b")]).await;
    bench.pass(6).await;
    assert_eq!(bench.arrived(), ["a"]);
    bench.pass(60).await;
    assert_eq!(bench.arrived(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn sampled_traces_are_sent_until_they_are_taken_and_senders_wait_meanwhile() {
    let bench = Bench::new(&format!("decision_wait = \"1s\"\nnum_traces = 3\n{ALWAYS}")).await;
    bench.sink.answer(Err(Rejected::Retryable("down".into())));
    let mut senders = Vec::new();
    for n in 0..12 {
        senders.push(bench.sending(vec![span(n, &format!("{n:02}"))]));
        settle().await;
    }
    bench.pass(30).await;
    let waiting = senders.iter().filter(|s| !s.is_finished()).count();
    assert!(waiting >= 4, "bounded: {waiting} wait");
    bench.sink.answer(Ok(()));
    bench.pass(60).await;
    for sender in senders {
        assert_eq!(sender.await.expect("no panic"), Ok(()));
    }
    let all: Vec<_> = (0..12).map(|n| format!("{n:02}")).collect();
    assert_eq!(bench.arrived(), all, "each exactly once");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_is_counted_and_late_spans_tell_their_sender() {
    let bench = Bench::new(&format!("decision_wait = \"1s\"\n{ALWAYS}")).await;
    bench.sink.answer(Err(Rejected::Permanent("no".into())));
    bench.send(vec![span(1, "a"), span(1, "b")]).await;
    bench.pass(2).await;
    assert_eq!(bench.metric("dropped_spans_total", "reason=\"refused\""), 2.0);
    let late = bench.input.send(batch(vec![span(1, "late")])).await;
    assert_eq!(late, Err(Rejected::Permanent("no".into())));
    let damaged = OtlpRequest::<TracesSignal>::from_wire(vec![0x0a, 5, 1].into(), 1, None);
    let answer = bench.input.send(Otlp::of(damaged)).await;
    assert!(matches!(answer, Err(Rejected::Permanent(_))), "{answer:?}");
}

#[test]
fn the_surface_is_alloys() {
    let ours = surface(<Args as component::eval::Arguments>::schema());
    let has = |line: &str| assert!(ours.iter().any(|l| l == line), "{line} in {ours:#?}");
    for line in [
        "decision_wait duration = \"30s\"",
        "decision_wait_after_root_received duration",
        "num_traces uint = 50000",
        "block_on_overflow bool",
        "expected_new_traces_per_sec uint",
        "sample_on_first_match bool",
        "drop_pending_traces_on_shutdown bool",
        "maximum_trace_size_bytes uint",
        "policy block required repeatable error",
        "policy.name string required",
        "policy.type string required",
    ] {
        has(line);
    }
    assert!(ours.iter().any(|l| l.starts_with("decision_cache object(DecisionCacheConfig)")), "{ours:#?}");
    let shared = [
        "latency.threshold_ms int required",
        "latency.upper_threshold_ms int",
        "numeric_attribute.key string required",
        "numeric_attribute.min_value int required",
        "numeric_attribute.max_value int required",
        "numeric_attribute.invert_match bool",
        "probabilistic.hash_salt string",
        "probabilistic.sampling_percentage float required",
        "status_code.status_codes list(string) required",
        "string_attribute.key string required",
        "string_attribute.values list(string) required",
        "string_attribute.enabled_regex_matching bool",
        "string_attribute.cache_max_size int",
        "string_attribute.invert_match bool",
        "rate_limiting.spans_per_second int required",
        "rate_limiting.burst_capacity int",
        "bytes_limiting.bytes_per_second int required",
        "bytes_limiting.burst_capacity int",
        "span_count.min_spans int required",
        "span_count.max_spans int",
        "boolean_attribute.key string required",
        "boolean_attribute.value bool required",
        "boolean_attribute.invert_match bool",
        "ottl_condition.error_mode string(ErrorMode) required",
        "ottl_condition.span list(string)",
        "ottl_condition.spanevent list(string)",
        "trace_state.key string required",
        "trace_state.values list(string) required",
    ];
    for prefix in [
        "policy.",
        "policy.and.and_sub_policy.",
        "policy.not.not_sub_policy.",
        "policy.drop.drop_sub_policy.",
        "policy.composite.composite_sub_policy.",
        "policy.composite.composite_sub_policy.and.and_sub_policy.",
    ] {
        shared.iter().for_each(|line| has(&format!("{prefix}{line}")));
    }
    has("policy.composite.rate_allocation.percent int required");
    has("policy.composite.policy_order list(string) required");
}
