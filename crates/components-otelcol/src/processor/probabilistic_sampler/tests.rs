//! Decisions by tables, the byte path against a decoded one, and the component as its neighbours see it.

use component::testkit::{Harness, Names, Sink, surface};
use component::{ArgValue, ComponentDef};
use proptest::prelude::*;
use prost::Message as _;
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{OtlpRequest, OtlpSignal as _, TracesSignal};

use super::threshold::{Randomness, Threshold, hashed};
use super::*;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

/// A trace ID whose randomness begins with two digits.
fn id(first: u8) -> Vec<u8> {
    let mut id = vec![1; 16];
    id[9] = first;
    id
}

fn spans(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}

fn span(first: u8, trace_state: &str) -> Span {
    Span { trace_id: id(first), trace_state: trace_state.into(), name: "s".into(), ..Span::default() }
}

fn records(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

struct Bench {
    harness: Harness,
    input: OtelInput,
    traces: Sink<Traces>,
    logs: Sink<OtlpLogs>,
}

fn body(lines: &str) -> String {
    format!("{lines}\noutput {{\n traces = [next]\n logs = [next]\n}}")
}

impl Bench {
    async fn new() -> Self {
        let (traces, logs) = (Sink::new(), Sink::new());
        let input = OtelInput {
            traces: Some(Sink::<Traces>::receiver(&traces)),
            logs: Some(Sink::<OtlpLogs>::receiver(&logs)),
            metrics: None,
        };
        let names = Names::default().with("next", input.to_value());
        let harness = Harness::start(ComponentDef::of::<ProbabilisticSampler>(), &body(""), names).await;
        let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
        let input = OtelInput::from_value(&exports["input"]).expect("an input");
        Self { harness, input, traces, logs }
    }

    async fn configure(&self, lines: &str) {
        self.harness.update(&body(lines)).await.expect(lines);
    }

    /// The spans that go on.
    async fn sampled(&self, all: Vec<Span>) -> Vec<Span> {
        let batch = Otlp::of(OtlpRequest::from_message(spans(all)));
        self.input.traces.as_ref().expect("taken").send(batch).await.expect("answered");
        let batches = self.traces.take();
        let requests = batches.iter().flat_map(|b| &b.requests);
        let messages = requests.map(|r| r.message().expect("decodes").clone());
        messages.flat_map(|m| m.resource_spans).flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
    }

    async fn logged(&self, all: Vec<LogRecord>) -> Vec<LogRecord> {
        let batch = Otlp::of(OtlpRequest::from_message(records(all)));
        self.input.logs.as_ref().expect("taken").send(batch).await.expect("answered");
        let batches = self.logs.take();
        let requests = batches.iter().flat_map(|b| &b.requests);
        let messages = requests.map(|r| r.message().expect("decodes").clone());
        messages
            .flat_map(|m| m.resource_logs)
            .flat_map(|r| r.scope_logs)
            .flat_map(|s| s.log_records)
            .collect()
    }

    fn count(&self, labels: &str) -> bool {
        self.harness.services.metrics.text().lines().any(|line| {
            line.starts_with("otelcol_processor_probabilistic_sampler_count_")
                && labels.split(' ').all(|part| line.contains(part))
        })
    }
}

#[tokio::test]
async fn spans_are_sampled_by_their_randomness_and_say_by_what_threshold() {
    let bench = Bench::new().await;
    let half = "sampling_percentage = 50";
    let equal = "sampling_percentage = 50\nmode = \"equalizing\"";
    for (lines, span, expected) in [
        (half, span(0x80, ""), Some("ot=th:8")),
        (half, span(0x7f, ""), None),
        // What was sampled before, and what others say.
        (half, span(0xc0, "a=b,ot=th:8;x:y"), Some("ot=th:c;x:y,a=b")),
        (half, span(0xbf, "ot=th:8"), None),
        (equal, span(0xbf, "ot=th:8"), Some("ot=th:8")),
        (equal, span(0xff, "ot=th:c"), Some("ot=th:c")),
        (equal, span(0x7f, "ot=th:4"), None),
        // Explicit randomness.
        (half, span(0x00, "ot=rv:80000000000000"), Some("ot=rv:80000000000000;th:8")),
        (half, span(0xff, "ot=rv:7fffffffffffff"), None),
        // A threshold that the trace ID does not reach, and a state that breaks the rules.
        (half, span(0x90, "ot=th:c"), None),
        (half, span(0xff, "ot=th:xyz"), None),
        ("sampling_percentage = 50\nfail_closed = false", span(0x90, "ot=th:c"), Some("ot=th:0")),
        ("sampling_percentage = 50\nfail_closed = false", span(0x00, "ot=th:xyz"), Some("ot=th:xyz")),
        ("sampling_percentage = 10\nsampling_precision = 2", span(0xe6, ""), Some("ot=th:e6")),
        ("sampling_percentage = 10\nsampling_precision = 2", span(0xe5, ""), None),
        ("sampling_percentage = 0", span(0xff, ""), None),
        ("sampling_percentage = 120", span(0x00, ""), Some("ot=th:0")),
    ] {
        bench.configure(lines).await;
        let before = span.trace_state.clone();
        let out = bench.sampled(vec![span.clone()]).await;
        let state = out.first().map(|s| s.trace_state.as_str());
        assert_eq!(state, expected, "{lines} {before}");
        if let Some(out) = out.first() {
            assert_eq!(*out, Span { trace_state: out.trace_state.clone(), ..span });
        }
    }
    let nameless = || Span { trace_id: vec![0; 16], ..Span::default() };
    bench.configure("sampling_percentage = 100").await;
    assert_eq!(bench.sampled(vec![nameless()]).await, []);
    bench.configure("sampling_percentage = 50\nfail_closed = false").await;
    assert_eq!(bench.sampled(vec![nameless()]).await.len(), 1);
    assert!(bench.count("count_traces policy=\"missing_randomness\" sampled=\"true\" 2"));
    assert!(bench.count("count_traces policy=\"missing_randomness\" sampled=\"false\" 2"));
    assert!(bench.count("count_traces policy=\"trace_id_w3c\" sampled=\"true\""));
    let page = bench.harness.services.metrics.text();
    for (name, items) in [("incoming", 19), ("outgoing", 10)] {
        let start = format!("otelcol_processor_{name}_items_total{{");
        let line = page.lines().find(|l| l.starts_with(&start) && l.contains("otel_signal=\"traces\""));
        assert!(line.is_some_and(|l| l.ends_with(&format!(" {items}"))), "{name}: {line:?}");
    }
}

#[tokio::test]
async fn an_application_can_force_the_decision_about_a_span() {
    let bench = Bench::new().await;
    for (percent, value, kept) in [
        (0, Value::IntValue(1), true),
        (0, Value::DoubleValue(0.5), true),
        (0, Value::StringValue("2".into()), true),
        (100, Value::IntValue(0), false),
        (100, Value::StringValue("0.0".into()), false),
        (100, Value::StringValue("no".into()), true),
        (0, Value::IntValue(-1), false),
        (100, Value::BoolValue(false), true),
    ] {
        bench.configure(&format!("sampling_percentage = {percent}")).await;
        let attributes = vec![text("other", "x"), attribute("sampling.priority", value.clone())];
        let span = Span { attributes, ..span(0x42, "") };
        assert_eq!(bench.sampled(vec![span]).await.len(), usize::from(kept), "{percent} {value:?}");
    }
    assert!(bench.count("count_traces policy=\"sampling_priority\" sampled=\"true\" 3"));
}

#[tokio::test]
async fn hashing_decides_alike_for_one_seed_and_differently_for_another() {
    let bench = Bench::new().await;
    let all: Vec<Span> = (0..2000u32)
        .map(|n| Span { trace_id: [[n.to_be_bytes(); 3].concat(), vec![7; 4]].concat(), ..Span::default() })
        .collect();
    let mut kept = Vec::new();
    for seed in [1, 1, 2] {
        bench.configure(&format!("sampling_percentage = 25\nmode = \"hash_seed\"\nhash_seed = {seed}")).await;
        let out = bench.sampled(all.clone()).await;
        assert!((400..600).contains(&out.len()), "{}", out.len());
        // The randomness that was hashed is noted, and reaches the threshold that is.
        let (rv, th) = out[0].trace_state.split_once(";th:").expect("noted");
        let rv = Randomness::parse(&rv["ot=rv:".len()..]).expect("14 digits");
        assert_eq!(rv, hashed(&out[0].trace_id, seed));
        assert!(Threshold::parse(th).expect("digits").samples(rv));
        kept.push(out.into_iter().map(|s| s.trace_id).collect::<Vec<_>>());
    }
    assert_eq!(kept[0], kept[1]);
    assert_ne!(kept[0], kept[2]);
    assert_eq!(bench.sampled(vec![span(0xff, "ot=th:1")]).await, [], "does not go with hashing");
}

#[tokio::test]
async fn log_records_are_sampled_by_trace_id_attribute_or_their_own_percentage() {
    let bench = Bench::new().await;
    let record = |trace_id: Vec<u8>, attributes| LogRecord { trace_id, attributes, ..LogRecord::default() };
    let noted = |out: &[LogRecord]| -> Option<Vec<String>> {
        let attributes = &out.first()?.attributes;
        Some(
            attributes
                .iter()
                .map(|a| format!("{}={}", a.key, crate::value::text(a.value.as_ref())))
                .collect(),
        )
    };
    let half = "sampling_percentage = 50";
    let by_attribute = "sampling_percentage = 100\nfrom_attribute = \"k\"";
    let priority = "sampling_percentage = 0\nsampling_priority = \"p\"";
    for (lines, record, expected) in [
        (half, record(id(0x80), vec![]), Some(vec!["sampling.threshold=8"])),
        (half, record(id(0x7f), vec![]), None),
        (half, record(vec![], vec![]), None),
        (
            half,
            record(id(0xc0), vec![text("sampling.threshold", "8"), text("a", "b")]),
            Some(vec!["sampling.threshold=c", "a=b"]),
        ),
        (half, record(id(0), vec![text("sampling.threshold", "nope")]), None),
        (
            half,
            record(vec![], vec![text("sampling.randomness", "f0000000000000")]),
            Some(vec!["sampling.randomness=f0000000000000", "sampling.threshold=8"]),
        ),
        (by_attribute, record(vec![], vec![text("k", "v")]), Some(vec!["k=v", "sampling.threshold=0"])),
        (by_attribute, record(vec![], vec![]), None),
        (
            priority,
            record(id(0xff), vec![attribute("p", Value::IntValue(50))]),
            Some(vec!["p=50", "sampling.threshold=8"]),
        ),
        (priority, record(id(0x10), vec![attribute("p", Value::DoubleValue(50.0))]), None),
        (priority, record(id(0xff), vec![]), None),
    ] {
        bench.configure(lines).await;
        let shown = format!("{lines} {record:?}");
        let out = bench.logged(vec![record]).await;
        assert_eq!(noted(&out), expected.map(|e| e.iter().map(|t| t.to_string()).collect()), "{shown}");
    }
    bench
        .configure(
            "sampling_percentage = 99.9\nmode = \"hash_seed\"\nattribute_source = \"record\"\nfrom_attribute = \"k\"",
        )
        .await;
    let out = bench.logged(vec![record(id(0), vec![text("k", "v")])]).await;
    assert!(noted(&out).expect("sampled")[1].starts_with("sampling.randomness="));
    assert!(bench.count("count_logs policy=\"k\" sampled=\"true\" 2"));
}

#[tokio::test]
async fn a_batch_of_which_nothing_is_left_is_answered_and_not_passed_on() {
    let bench = Bench::new().await;
    bench.configure("sampling_percentage = 50\ndebug_metrics { level = \"none\" }").await;
    assert_eq!(bench.sampled(vec![span(0, ""), span(1, "")]).await, []);
    let mut batch = Otlp::of(OtlpRequest::<TracesSignal>::from_message(spans(vec![span(0, "")])));
    batch.make_mut().requests.push(OtlpRequest::from_message(spans(vec![span(0xff, ""), span(2, "")])));
    bench.input.traces.as_ref().expect("taken").send(batch).await.expect("answered");
    let out = bench.traces.take();
    assert_eq!(out.iter().map(|b| (b.requests.len(), b.items())).collect::<Vec<_>>(), [(1, 1)]);
    assert!(!bench.count("count_traces"), "debug_metrics are off");
    let damaged = OtlpRequest::<TracesSignal>::from_wire(vec![0x0a, 5, 1].into(), 1, None);
    let answer = bench.input.traces.as_ref().expect("taken").send(Otlp::of(damaged)).await;
    assert!(matches!(answer, Err(Rejected::Permanent(_))), "{answer:?}");
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused() {
    let bench = Bench::new().await;
    for (lines, why) in [
        ("sampling_percentage = -1", "0 or more"),
        ("sampling_percentage = 1e-20", "smallest probability"),
        ("sampling_precision = 0", "between 1 and 14"),
        ("sampling_precision = 15", "between 1 and 14"),
        ("attribute_source = \"body\"", "traceID or record"),
        ("mode = \"random\"", "proportional"),
    ] {
        let refused = bench.harness.update(&body(lines)).await.expect_err(lines);
        assert!(format!("{refused:?}").contains(why), "{lines}: {refused:?}");
    }
}

/// Sampling of decoded spans: the rules once more, without any of the byte path.
fn decoded(mut request: ExportTraceServiceRequest, threshold: Threshold) -> ExportTraceServiceRequest {
    for resource in &mut request.resource_spans {
        for scope in &mut resource.scope_spans {
            scope.spans.retain_mut(|span| {
                let id = <[u8; 16]>::try_from(span.trace_id.as_slice()).expect("16 bytes");
                let kept = threshold.samples(Randomness::of_trace_id(&id));
                span.trace_state = format!("ot=th:{}", threshold.text());
                kept
            });
        }
        resource.scope_spans.retain(|s| !s.spans.is_empty());
    }
    request.resource_spans.retain(|r| !r.scope_spans.is_empty());
    request
}

proptest! {
    #[test]
    fn the_byte_path_lets_the_same_spans_through_as_a_decoded_one(
        groups in prop::collection::vec(
            prop::collection::vec((any::<[u8; 16]>(), ".{0,150}", any::<u32>()), 1..6), 1..4),
        percent in 1..100u32,
    ) {
        let mut request = ExportTraceServiceRequest::default();
        for group in groups {
            let of = |(id, name, flags): ([u8; 16], String, u32)| Span {
                trace_id: id.to_vec(),
                attributes: vec![text("name", &name)],
                name,
                flags,
                ..Span::default()
            };
            request.resource_spans.extend(spans(group.into_iter().map(of).collect()).resource_spans);
        }
        let args = Args {
            sampling_percentage: f64::from(percent),
            hash_seed: 0,
            mode: Mode::Equalizing,
            fail_closed: true,
            sampling_precision: 4,
            attribute_source: "traceID".into(),
            from_attribute: String::new(),
            sampling_priority: String::new(),
            output: Output::default(),
            debug_metrics: DebugMetrics::default(),
        };
        let services = component::Services::for_tests(std::env::temp_dir());
        let cx = BuildCx::detached("otelcol.processor.probabilistic_sampler.p", services);
        let counts = ItemMetrics::new("probabilistic_sampler", &cx).at(args.debug_metrics.level);
        let threshold = Threshold::of(f64::from(percent as f32) / 100.0, 4).expect("in range");
        let generation = Generation::new(&args, &Arc::new(Counters::new()), counts);
        let items = TracesSignal::count(&request) as u32;
        let bytes = request.encode_to_vec();
        let batch = Otlp::of(OtlpRequest::<TracesSignal>::from_wire(bytes.into(), items, None));
        let out = generation.change(batch).expect("a request");
        let out = out.map(|b| b.requests[0].message().expect("decodes").clone()).unwrap_or_default();
        prop_assert_eq!(out, decoded(request, threshold));
    }
}

#[test]
fn the_surface_is_alloys() {
    let ours = surface(<Args as component::eval::Arguments>::schema());
    let shared = |line: &String| line.starts_with("output") || line.starts_with("debug_metrics");
    assert_eq!(
        ours.into_iter().filter(|line| !shared(line)).collect::<Vec<_>>(),
        [
            "attribute_source string = \"traceID\"",
            "fail_closed bool = true",
            "from_attribute string",
            "hash_seed uint",
            "mode string = \"proportional\"",
            "sampling_percentage float",
            "sampling_precision int = 4",
            "sampling_priority string",
        ]
    );
}
