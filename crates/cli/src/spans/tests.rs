//! Spans from the code that makes them to a receiver.

use component::testkit::Sink;
use component::{Port, Rejected, span};
use signal::otlp::OtlpLogs;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

/// The process has one propagator, which each of these tests sets.
static PROPAGATOR: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

/// Those that no test looks at in any other way.
struct Bench {
    spans: Spans,
    sink: Sink<Traces>,
    services: Arc<Services>,
    _guard: tracing::subscriber::DefaultGuard,
    _alone: parking_lot::MutexGuard<'static, ()>,
}

impl Bench {
    fn new() -> Self {
        let _alone = PROPAGATOR.lock();
        let spans = Spans::new();
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(spans.clone()));
        Self { spans, sink: Sink::new(), services: Services::for_tests("/nonexistent"), _guard, _alone }
    }

    fn args(&self) -> TracingArgs {
        let input = OtelInput { traces: Some(self.sink.receiver()), ..OtelInput::default() };
        TracingArgs {
            sampling_fraction: 1.0,
            send_traceparent: false,
            write_to: vec![OtelInput::default(), input],
            sampler: SamplerArgs { jaeger_remote: None },
        }
    }

    fn configure(&self, args: &TracingArgs) {
        self.spans.configure(args, &self.services).expect("configured");
    }

    /// What has arrived once everything is handed over.
    async fn arrived(&self) -> Vec<Span> {
        self.spans.flush(Duration::from_secs(60)).await;
        let mut spans = Vec::new();
        for batch in self.sink.take() {
            for request in &batch.requests {
                let message = request.message().expect("made here");
                for of in &message.resource_spans {
                    let name = &of.resource.as_ref().expect("a resource").attributes[0];
                    assert_eq!((name.key.as_str(), said(name)), ("service.name", "alloy".into()));
                    spans.extend(of.scope_spans.iter().flat_map(|s| s.spans.clone()));
                }
            }
        }
        spans
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.spans.0.queue.dropped().with_label_values(&[reason]).get()
    }
}

fn said(of: &KeyValue) -> String {
    match of.value.as_ref().and_then(|v| v.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}

fn attribute_of(span: &Span, key: &str) -> Option<String> {
    span.attributes.iter().find(|a| a.key == key).map(said)
}

/// A span of the kind that this program makes.
fn request(path: &str) -> tracing::Span {
    span!("request", "client", url.full = path, error = tracing::field::Empty)
}

#[tokio::test(start_paused = true)]
async fn spans_are_made_only_while_somebody_wants_them() {
    let bench = Bench::new();
    assert!(request("before").is_disabled());
    bench.configure(&bench.args());
    drop(request("wanted"));
    bench.configure(&TracingArgs { write_to: Vec::new(), ..bench.args() });
    assert!(request("after").is_disabled());
    bench.configure(&bench.args());
    let arrived = bench.arrived().await;
    assert!(arrived.len() <= 1, "{arrived:?}");
    assert_eq!(arrived.len() as u64 + bench.dropped("receiver_gone"), 1, "carried, or counted");
}

#[tokio::test(start_paused = true)]
async fn a_span_says_what_it_was_made_with_and_whose_child_it_is() {
    let bench = Bench::new();
    bench.configure(&bench.args());
    {
        let node = tracing::info_span!(parent: None, "node", component_id = "m.a/test.b.c");
        let _node = node.enter();
        let outer = span!("outer", "server", otel.name = "GET /x", count = 3_u64, ratio = 0.5, good = true);
        let _outer = outer.enter();
        // A span that is none of ours lies between.
        let _between = tracing::info_span!("between").entered();
        let inner = request("http://h/");
        inner.record("error", "no connection");
    }
    let arrived = bench.arrived().await;
    let [inner, outer] = &arrived[..] else { panic!("two spans: {arrived:?}") };
    assert_eq!((inner.name.as_str(), outer.name.as_str()), ("request", "GET /x"));
    assert_eq!((inner.kind(), outer.kind()), (SpanKind::Client, SpanKind::Server));
    assert_eq!((&inner.trace_id, &inner.parent_span_id), (&outer.trace_id, &outer.span_id));
    assert_eq!((outer.parent_span_id.len(), outer.span_id.len(), outer.trace_id.len()), (0, 8, 16));
    assert!(inner.start_time_unix_nano >= outer.start_time_unix_nano && outer.end_time_unix_nano > 0);
    let status = inner.status.as_ref().expect("an error");
    assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, "no connection"));
    assert_eq!(outer.status, None);
    assert_eq!(attribute_of(inner, "url.full").as_deref(), Some("http://h/"));
    assert_eq!(attribute_of(inner, "component_id").as_deref(), Some("m.a/test.b.c"));
    for (key, expected) in
        [("count", "IntValue(3)"), ("ratio", "DoubleValue(0.5)"), ("good", "BoolValue(true)")]
    {
        assert!(attribute_of(outer, key).is_some_and(|said| said.contains(expected)), "{key}: {outer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_carries_spans_makes_none() {
    let bench = Bench::new();
    bench.configure(&bench.args());
    bench.spans.set_carriers(vec!["otelcol.exporter.otlp.tempo".into(), "mod.m".into()]);
    for (node, path) in [
        ("otelcol.exporter.otlp.tempo", "carrier"),
        ("mod.m/otelcol.processor.batch.b", "in a module that carries"),
        ("otelcol.exporter.otlp.tempo2", "other"),
    ] {
        tracing::info_span!(parent: None, "node", component_id = node).in_scope(|| drop(request(path)));
    }
    // The task that hands spans over.
    tracing::info_span!(parent: None, "tracing.write_to").in_scope(|| drop(request("lane")));
    let arrived = bench.arrived().await;
    let paths: Vec<_> = arrived.iter().filter_map(|s| attribute_of(s, "url.full")).collect();
    assert_eq!(paths, ["other"]);
}

#[tokio::test(start_paused = true)]
async fn a_trace_is_kept_as_its_root_or_who_has_asked_has_decided() {
    let bench = Bench::new();
    bench.configure(&TracingArgs { sampling_fraction: 0.0, send_traceparent: true, ..bench.args() });
    let asked = |header: &str| {
        let answer = span!("answer", "server", traceparent = header);
        let _answer = answer.enter();
        component::trace::traceparent(&request("further"))
    };
    let sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let further = asked(sampled).expect("a header");
    assert!(further.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && further.ends_with("-01"));
    assert!(!further.contains("b7ad6b7169203331"), "of the span that asks");
    let further = asked("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").expect("a header");
    assert!(further.ends_with("-00"));
    // No header, or none that is one: the root decides, and keeps nothing here.
    for none in ["", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0-0-01"] {
        assert!(asked(none).is_some_and(|further| further.ends_with("-00")), "{none}");
    }
    let arrived = bench.arrived().await;
    let names: Vec<_> = arrived.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["request", "answer"]);
    assert_eq!(arrived[1].parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    // Headers stop with the argument.
    bench.configure(&bench.args());
    assert_eq!(component::trace::traceparent(&request("x")), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_now_comes_again_and_what_is_lost_is_counted() {
    let bench = Bench::new();
    bench.configure(&bench.args());
    bench.sink.answer(Err(Rejected::Retryable("later".into())));
    drop(request("kept"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    bench.sink.answer(Ok(()));
    assert_eq!(bench.arrived().await.len(), 1);
    bench.sink.answer(Err(Rejected::Permanent("never".into())));
    drop(request("refused"));
    assert_eq!((bench.arrived().await.len(), bench.dropped("rejected")), (0, 1));
    bench.sink.answer(Ok(()));
    (0..3000).for_each(|_| drop(request("many")));
    assert_eq!(bench.dropped("queue_full"), 3000 - 2048);
    assert_eq!(bench.arrived().await.len(), 2048);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_takes_no_spans_is_refused_and_nothing_changes() {
    let bench = Bench::new();
    bench.configure(&bench.args());
    let port = Port::<OtlpLogs>::detached("otelcol.exporter.loki.x");
    let logs = OtelInput { logs: Some(port.receiver()), ..OtelInput::default() };
    let refused =
        bench.spans.configure(&TracingArgs { write_to: vec![logs], ..bench.args() }, &bench.services);
    let message = refused.expect_err("no traces").to_string();
    assert!(message.contains("otelcol.exporter.loki.x does not take traces"), "{message}");
    drop(request("still"));
    assert_eq!(bench.arrived().await.len(), 1);
}
