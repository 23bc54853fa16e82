//! Which lines are written for what.

use component::testkit::{Harness, Names, Sink};
use component::{ArgValue, ComponentDef};
use signal::otlp::Otlp;
use signal::otlp::proto::common::v1::{ArrayValue, InstrumentationScope};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::Status;
use signal::otlp::proto::trace::v1::span::Event as SpanEvent;

use super::*;

fn span(name: &str, trace: u8, parent: &[u8], code: i32, events: &[&str]) -> Span {
    let list = ArrayValue { values: vec![AnyValue { value: Some(Value::IntValue(1)) }] };
    let list = Some(AnyValue { value: Some(Value::ArrayValue(list)) });
    Span {
        name: name.into(),
        trace_id: vec![trace; 16],
        span_id: vec![1; 8],
        parent_span_id: parent.to_vec(),
        start_time_unix_nano: 100,
        end_time_unix_nano: 350,
        attributes: vec![
            attribute("http.method", "GET"),
            KeyValue { key: "list".into(), value: list, ..KeyValue::default() },
            KeyValue { key: "nothing".into(), ..KeyValue::default() },
        ],
        events: events
            .iter()
            .map(|name| SpanEvent { attributes: vec![attribute("event", name)], ..SpanEvent::default() })
            .collect(),
        status: Some(Status { code, ..Status::default() }),
        ..Span::default()
    }
}

fn traces() -> Traces {
    let spans = vec![
        span("child", 1, &[9; 8], 0, &["first", "second"]),
        span("root one", 1, &[], 2, &[]),
        span("other", 2, &[0; 8], 1, &[]),
    ];
    let scope = Some(InstrumentationScope { name: "lib".into(), ..Default::default() });
    let scope_spans = vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }];
    let attributes = vec![attribute("service.name", "shop"), attribute("host", "h")];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    Otlp::of(OtlpRequest::from_message(ExportTraceServiceRequest { resource_spans }))
}

struct Bench {
    harness: Harness,
    input: component::Receiver<Traces>,
    sink: Sink<OtlpLogs>,
}

impl Bench {
    async fn new(arguments: &str) -> Self {
        let sink = Sink::<OtlpLogs>::new();
        let next = OtelInput { logs: Some(sink.receiver()), ..OtelInput::default() };
        let names = Names::default().with("next", next.to_value());
        let body = format!("{arguments}\noutput {{ logs = [next] }}");
        let harness = Harness::start(ComponentDef::of::<SpanLogs>(), &body, names).await;
        let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
        let input = OtelInput::from_value(&exports["input"]).expect("an input");
        assert!(input.logs.is_none() && input.metrics.is_none());
        Self { harness, input: input.traces.expect("takes traces"), sink }
    }

    /// Attributes and body of each record.
    async fn lines(&self, traces: Traces) -> Vec<String> {
        self.input.send(traces).await.expect("taken");
        let batches = self.sink.take();
        let requests = batches.iter().flat_map(|batch| &batch.requests);
        let messages = requests.map(|request| request.message().expect("decodes"));
        let scopes = messages.flat_map(|message| &message.resource_logs).flat_map(|r| &r.scope_logs);
        let shown = |record: &LogRecord| {
            let attributes: Vec<_> =
                record.attributes.iter().map(|a| format!("{}={}", a.key, text(a.value.as_ref()))).collect();
            format!("[{}] {}", attributes.join(" "), text(record.body.as_ref()))
        };
        scopes.flat_map(|scope| &scope.log_records).map(shown).collect()
    }
}

fn id(byte: u8) -> String {
    format!("{byte:02x}").repeat(16)
}

#[tokio::test]
async fn each_kind_of_line_is_written_where_it_is_asked_for() {
    let (one, two) = (id(1), id(2));
    let child = format!("span=child dur=250ns svc=shop tid={one}");
    let root = format!(r#"span="root one" dur=250ns status=Error svc=shop tid={one}"#);
    let other = format!("span=other dur=250ns status=Ok svc=shop tid={two}");
    let cases = [
        (
            "spans",
            vec![
                format!("[traces=span] {child}"),
                format!("[traces=span] {root}"),
                format!("[traces=span] {other}"),
            ],
        ),
        ("roots", vec![format!("[traces=root] {root}"), format!("[traces=root] {other}")]),
        (
            "processes",
            vec![
                format!("[traces=process] svc=shop tid={one}"),
                format!("[traces=process] svc=shop tid={two}"),
            ],
        ),
        ("events", vec![format!("[traces=event] {child}"), format!("[traces=event] {child}")]),
    ];
    for (kind, expected) in cases {
        let bench = Bench::new(&format!("{kind} = true")).await;
        assert_eq!(bench.lines(traces()).await, expected, "{kind}");
    }
    assert!(Bench::new("").await.lines(traces()).await.is_empty());
}

#[tokio::test]
async fn attributes_are_written_in_the_order_of_their_names_and_labels_become_attributes() {
    let arguments = r#"
        events = true
        span_attributes = ["nothing", "http.method", "list", "missing"]
        process_attributes = ["host"]
        event_attributes = ["event"]
        labels = ["svc", "event", "http.method", "unknown"]
        overrides { service_key = "service" trace_id_key = "trace" logs_instance_tag = "kind" }"#;
    let arguments = arguments
        .replace(" trace_id_key", "\ntrace_id_key")
        .replace(" logs_instance_tag", "\nlogs_instance_tag")
        .replace("{ service", "{\nservice")
        .replace("\"kind\" }", "\"kind\"\n}");
    let bench = Bench::new(&arguments).await;
    let line = |event: &str| {
        format!(
            "[kind=event http.method=GET event={event}] span=child dur=250ns nothing=null http.method=GET list=[1] service=shop host=h trace={} event={event}",
            id(1)
        )
    };
    assert_eq!(bench.lines(traces()).await, [line("first"), line("second")]);
}

#[tokio::test]
async fn answers_are_those_of_the_consumers() {
    let bench = Bench::new("spans = true").await;
    bench.sink.answer(Err(Rejected::Retryable("full".into())));
    assert_eq!(bench.input.send(traces()).await, Err(Rejected::Retryable("full".into())));
    let request = OtlpRequest::from_wire(bytes::Bytes::from_static(b"\x0a\x05\x01"), 1, None);
    let damaged = bench.input.send(Otlp::of(request)).await;
    assert!(matches!(damaged, Err(Rejected::Permanent(_))));
    bench.harness.update("spans = true\noutput { }").await.expect("valid");
    let refused = bench.input.send(traces()).await;
    assert!(matches!(refused, Err(Rejected::Permanent(message)) if message.contains("no consumer for logs")));
}

#[test]
fn the_arguments_are_those_of_the_reference() {
    let surface = component::testkit::surface((ComponentDef::of::<SpanLogs>().arguments)());
    let defaults: Vec<_> = surface.iter().filter(|line| line.contains(" = ")).map(String::as_str).collect();
    assert_eq!(
        defaults,
        [
            "overrides.duration_key string = \"dur\"",
            "overrides.logs_instance_tag string = \"traces\"",
            "overrides.service_key string = \"svc\"",
            "overrides.span_name_key string = \"span\"",
            "overrides.status_key string = \"status\"",
            "overrides.trace_id_key string = \"tid\"",
        ]
    );
}
