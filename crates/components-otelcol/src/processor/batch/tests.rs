//! The component as its neighbours see it, on paused time.

use std::time::Duration;

use component::otel::OtelInput;
use component::testkit::{Harness, Names, Sink};
use component::{ArgValue, ComponentDef, Receiver, Rejected};
use proptest::prelude::*;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{ClientMetadata, Otlp, OtlpRequest, Traces};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::batcher::{BATCH_BYTES, HELD_BYTES};
use super::*;

/// Spans with the names `from..to` in one request.
fn spans(from: usize, to: usize) -> Traces {
    let spans = (from..to).map(|n| Span { name: n.to_string(), ..Span::default() }).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    Otlp::of(OtlpRequest::from_message(ExportTraceServiceRequest { resource_spans }))
}

/// One span of so many bytes.
fn heavy(bytes: usize) -> Traces {
    let spans = vec![Span { name: "x".repeat(bytes), ..Span::default() }];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    Otlp::of(OtlpRequest::from_message(ExportTraceServiceRequest { resource_spans }))
}

fn of_client(mut batch: Traces, header: &str, value: &str) -> Traces {
    let headers = vec![(header.to_string(), value.to_string()), ("other".into(), "o".into())];
    batch.make_mut().client = Some(Arc::new(ClientMetadata { headers, peer: "1.2.3.4:5".into() }));
    batch
}

fn names(batch: &Traces) -> Vec<String> {
    let messages = batch.requests.iter().map(|r| r.message().expect("a request"));
    let scopes = messages.flat_map(|m| &m.resource_spans).flat_map(|r| &r.scope_spans);
    scopes.flat_map(|s| &s.spans).map(|s| s.name.clone()).collect()
}

struct Bench {
    harness: Harness,
    sink: Sink<Traces>,
    input: Receiver<Traces>,
}

const OUTPUT: &str = "output { traces = [next] }";

impl Bench {
    async fn new(args: &str) -> Self {
        let sink = Sink::<Traces>::new();
        let next = OtelInput { traces: Some(sink.receiver()), ..OtelInput::default() };
        let known = Names::default().with("next", next.to_value());
        let body = format!("{args}\n{OUTPUT}");
        let harness = Harness::start(ComponentDef::of::<Batch>(), &body, known).await;
        let exports = harness.node.exports();
        let component::eval::Value::Object(exports) = exports else { panic!("exports are an object") };
        let input = OtelInput::from_value(&exports["input"]).expect("an input").traces.expect("takes traces");
        Self { harness, sink, input }
    }

    fn send(&self, batch: Traces) -> JoinHandle<Result<(), Rejected>> {
        let input = self.input.clone();
        tokio::spawn(async move { input.send(batch).await })
    }

    fn metric(&self, name: &str) -> String {
        let text = self.harness.services.metrics.text();
        let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
        line.and_then(|l| l.rsplit_once(' ')).map(|(_, v)| v.to_string()).unwrap_or_default()
    }
}

async fn answer(task: JoinHandle<Result<(), Rejected>>) -> Result<(), Rejected> {
    task.await.expect("no panic")
}

/// Lets everything run that can without time passing.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_senders_share_a_batch_and_are_answered_when_it_is_taken() {
    let bench = Bench::new("timeout = \"200ms\"").await;
    let start = Instant::now();
    let (a, b) = (bench.send(spans(0, 2)), bench.send(spans(2, 3)));
    settle().await;
    assert!(!a.is_finished() && !b.is_finished(), "held data is not acknowledged");
    assert!(bench.sink.take().is_empty());
    assert_eq!((answer(a).await, answer(b).await), (Ok(()), Ok(())));
    assert_eq!(start.elapsed(), Duration::from_millis(200));
    let batches = bench.sink.take();
    assert_eq!(batches.iter().map(names).collect::<Vec<_>>(), [["0", "1", "2"]]);
    assert_eq!(bench.metric("otelcol_processor_batch_timeout_trigger_send_total"), "1");
    assert_eq!(bench.metric("otelcol_processor_batch_batch_send_size_sum"), "3");
    assert_eq!(bench.metric("otelcol_processor_batch_batch_size_trigger_send_total"), "0");
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_goes_out_at_once_and_the_next_has_its_own_time() {
    let bench = Bench::new("send_batch_size = 4").await;
    let start = Instant::now();
    let a = bench.send(spans(0, 3));
    settle().await;
    tokio::time::advance(Duration::from_millis(150)).await;
    let b = bench.send(spans(3, 5));
    assert_eq!((answer(a).await, answer(b).await), (Ok(()), Ok(())));
    assert_eq!(start.elapsed(), Duration::from_millis(150));
    assert_eq!(bench.metric("otelcol_processor_batch_batch_size_trigger_send_total"), "1");
    let c = bench.send(spans(5, 6));
    assert_eq!(answer(c).await, Ok(()));
    assert_eq!(start.elapsed(), Duration::from_millis(350), "the old timer is none of its business");
}

#[tokio::test(start_paused = true)]
async fn a_large_request_is_cut_and_its_rest_waits_for_more() {
    let bench = Bench::new("send_batch_size = 4\nsend_batch_max_size = 4").await;
    let (a, b) = (bench.send(spans(0, 3)), bench.send(spans(3, 10)));
    settle().await;
    let batches = bench.sink.take();
    assert_eq!(batches.iter().map(names).collect::<Vec<_>>(), [["0", "1", "2", "3"], ["4", "5", "6", "7"]]);
    assert_eq!(answer(a).await, Ok(()));
    assert!(!b.is_finished(), "a part of it still waits");
    assert_eq!(answer(b).await, Ok(()));
    assert_eq!(bench.sink.take().iter().map(names).collect::<Vec<_>>(), [["8", "9"]]);
}

#[tokio::test(start_paused = true)]
async fn without_a_timeout_nothing_waits_and_only_the_largest_size_holds() {
    let bench = Bench::new("timeout = \"0s\"\nsend_batch_size = 2\nsend_batch_max_size = 2").await;
    let start = Instant::now();
    assert_eq!(answer(bench.send(spans(0, 1))).await, Ok(()));
    assert_eq!(answer(bench.send(spans(1, 4))).await, Ok(()));
    assert_eq!(start.elapsed(), Duration::ZERO);
    let sizes: Vec<_> = bench.sink.take().iter().map(Otlp::items).collect();
    assert_eq!(sizes, [1, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_retryable_refusal_goes_back_to_every_sender_of_the_batch() {
    let bench = Bench::new("").await;
    let refusal = Err(Rejected::Retryable("later".into()));
    bench.sink.answer(refusal.clone());
    let (a, b) = (bench.send(spans(0, 1)), bench.send(spans(1, 2)));
    assert_eq!((answer(a).await, answer(b).await), (refusal.clone(), refusal));
    bench.sink.answer(Ok(()));
    assert_eq!(answer(bench.send(spans(0, 1))).await, Ok(()), "room is free again");
}

/// Refuses batches with a span of the name "bad" for good.
struct Picky(Arc<parking_lot::Mutex<Vec<String>>>);

impl component::Consumer<Traces> for Picky {
    fn consume(&self, batch: Traces) -> component::BoxFuture<'_, Result<(), Rejected>> {
        let names = names(&batch);
        let answer = if names.iter().any(|n| n == "1") {
            Err(Rejected::Permanent("bad".into()))
        } else {
            self.0.lock().extend(names);
            Ok(())
        };
        Box::pin(std::future::ready(answer))
    }
}

#[tokio::test(start_paused = true)]
async fn bad_data_of_one_sender_is_not_the_loss_of_the_others() {
    let taken = Arc::new(parking_lot::Mutex::default());
    let port = component::Port::<Traces>::detached("picky");
    let _ = port.attach(Picky(taken.clone()));
    let next = OtelInput { traces: Some(port.receiver()), ..OtelInput::default() };
    let known = Names::default().with("next", next.to_value());
    let harness = Harness::start(ComponentDef::of::<Batch>(), OUTPUT, known).await;
    let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
    let input = OtelInput::from_value(&exports["input"]).expect("an input").traces.expect("takes traces");
    let send = |batch: Traces| {
        let input = input.clone();
        tokio::spawn(async move { input.send(batch).await })
    };
    let (a, b, c) = (send(spans(0, 1)), send(spans(1, 2)), send(spans(2, 3)));
    assert_eq!(answer(a).await, Ok(()));
    assert_eq!(answer(b).await, Err(Rejected::Permanent("bad".into())));
    assert_eq!(answer(c).await, Ok(()));
    assert_eq!(*taken.lock(), ["0", "2"]);
}

#[tokio::test(start_paused = true)]
async fn metadata_is_kept_apart_and_bounded() {
    let bench = Bench::new("metadata_keys = [\"X-Tenant\"]\nmetadata_cardinality_limit = 2").await;
    let a = bench.send(of_client(spans(0, 1), "x-tenant", "a"));
    let b = bench.send(of_client(spans(1, 2), "x-tenant", "b"));
    let a2 = bench.send(of_client(spans(2, 3), "x-tenant", "a"));
    settle().await;
    assert_eq!(bench.metric("otelcol_processor_batch_metadata_cardinality"), "2");
    let c = answer(bench.send(of_client(spans(3, 5), "x-tenant", "c"))).await;
    assert!(matches!(c, Err(Rejected::Retryable(_))), "{c:?}");
    assert_eq!(bench.metric("otelcol_processor_batch_metadata_refused_items_total"), "2");
    for sent in [a, b, a2] {
        assert_eq!(answer(sent).await, Ok(()));
    }
    let mut batches = bench.sink.take();
    batches.sort_by_key(names);
    assert_eq!(batches.iter().map(names).collect::<Vec<_>>(), [vec!["0", "2"], vec!["1"]]);
    let client = batches[0].client.as_ref().expect("carries the values");
    assert_eq!(client.headers, [("x-tenant".to_string(), "a".to_string())]);
    assert_eq!(bench.metric("otelcol_processor_batch_metadata_cardinality"), "0");
    let c = answer(bench.send(of_client(spans(3, 5), "x-tenant", "c"))).await;
    assert_eq!(c, Ok(()), "combinations that are gone do not count");
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_many_bytes_does_not_wait_and_bytes_held_are_bounded() {
    let bench = Bench::new("timeout = \"1h\"").await;
    assert_eq!(answer(bench.send(heavy(BATCH_BYTES))).await, Ok(()));
    bench.sink.take();
    let bench = Bench::new("timeout = \"1h\"\nmetadata_keys = [\"k\"]").await;
    // None of these is large enough by itself; together they leave no room for one more.
    let each = BATCH_BYTES - (1 << 20);
    let senders: Vec<_> =
        (0..=HELD_BYTES / each).map(|n| bench.send(of_client(heavy(each), "k", &n.to_string()))).collect();
    let start = Instant::now();
    for sender in senders.into_iter().take(HELD_BYTES / each) {
        assert_eq!(answer(sender).await, Ok(()));
    }
    assert_eq!(start.elapsed(), Duration::ZERO, "a sender without room sends what waits");
}

#[tokio::test(start_paused = true)]
async fn an_update_and_a_stop_send_what_waits_and_answer_it() {
    let bench = Bench::new("timeout = \"1h\"").await;
    let a = bench.send(spans(0, 1));
    settle().await;
    bench.harness.update(&format!("timeout = \"2h\"\n{OUTPUT}")).await.expect("valid");
    assert_eq!(answer(a).await, Ok(()));
    let b = bench.send(spans(1, 2));
    settle().await;
    assert!(!b.is_finished());
    assert_eq!(bench.harness.stop().await, component::Stopped::Clean);
    assert_eq!(answer(b).await, Ok(()));
    assert_eq!(bench.sink.take().iter().map(names).collect::<Vec<_>>(), [["0"], ["1"]]);
    assert_eq!(answer(bench.send(spans(2, 3))).await, Err(Rejected::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_gives_up_takes_nothing_of_the_others_with_it() {
    let bench = Bench::new("").await;
    let (a, b) = (bench.send(spans(0, 1)), bench.send(spans(1, 2)));
    settle().await;
    a.abort();
    assert_eq!(answer(b).await, Ok(()));
    assert_eq!(names(&bench.sink.take()[0]), ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn a_signal_without_consumers_is_refused() {
    let bench = Bench::new("").await;
    let component::eval::Value::Object(exports) = bench.harness.node.exports() else { panic!("an object") };
    let logs = OtelInput::from_value(&exports["input"]).expect("an input").logs.expect("a port");
    let refused = logs.send(signal::OtlpLogs::default()).await;
    assert!(matches!(refused, Err(Rejected::Permanent(m)) if m.contains("no consumer for logs")));
}

#[tokio::test]
async fn metrics_are_shown_as_the_level_says() {
    let bench = Bench::new("debug_metrics { level = \"none\" }").await;
    assert_eq!(bench.harness.services.metrics.text(), "");
    let body = format!("debug_metrics {{ level = \"normal\" }}\n{OUTPUT}");
    bench.harness.update(&body).await.expect("valid");
    assert!(!bench.harness.services.metrics.text().contains("size_bytes"));
    assert_eq!(bench.metric("otelcol_processor_batch_batch_send_size_count"), "0");
}

#[tokio::test]
async fn arguments_that_contradict_each_other_are_refused() {
    let bench = Bench::new("").await;
    for (args, why) in [
        ("send_batch_size = 10\nsend_batch_max_size = 9", "at least send_batch_size"),
        ("metadata_keys = [\"a\", \"A\"]", "twice"),
    ] {
        let refused = bench.harness.update(&format!("{args}\n{OUTPUT}")).await.expect_err("contradiction");
        assert!(format!("{refused:?}").contains(why), "{refused:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever the sizes: every span once, in order, no batch above the limit, everyone answered.
    #[test]
    fn nothing_is_lost_doubled_or_reordered(
        sizes in prop::collection::vec(0..9usize, 1..12), size in 0..8u64, more in 0..5u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let max = size + more;
            let args = format!("send_batch_size = {size}\nsend_batch_max_size = {max}");
            let bench = Bench::new(&args).await;
            let mut from = 0;
            let mut senders = Vec::new();
            for n in &sizes {
                senders.push(bench.send(spans(from, from + n)));
                from += n;
            }
            for sender in senders {
                assert_eq!(answer(sender).await, Ok(()));
            }
            let batches = bench.sink.take();
            let all: Vec<_> = batches.iter().flat_map(names).collect();
            assert_eq!(all, (0..from).map(|n| n.to_string()).collect::<Vec<_>>());
            assert!(max == 0 || batches.iter().all(|b| b.items() <= max as usize));
        });
    }
}

#[test]
fn the_surface_is_alloys() {
    let ours = component::testkit::surface(<Args as component::eval::Arguments>::schema());
    let expected = [
        "debug_metrics block defaults",
        "debug_metrics.disable_high_cardinality_metrics bool = true",
        "debug_metrics.level string(Level) = \"detailed\"",
        "metadata_cardinality_limit uint = 1000",
        "metadata_keys list(string)",
        "output block required error",
        "output.logs list(capsule(otelcol.Consumer))",
        "output.metrics list(capsule(otelcol.Consumer))",
        "output.traces list(capsule(otelcol.Consumer))",
        "send_batch_max_size uint = 3000",
        "send_batch_size uint = 2000",
        "timeout duration = \"200ms\"",
    ];
    assert_eq!(ours, expected);
}

/// A span for each of `items`, all in a resource with a head of so many bytes.
fn headed(head: usize, items: usize) -> Traces {
    let batch = spans(0, items);
    let mut message = batch.requests[0].message().expect("a request").clone();
    message.resource_spans[0].schema_url = "u".repeat(head);
    Otlp::of(OtlpRequest::from_message(message))
}

#[tokio::test(start_paused = true)]
async fn a_request_that_would_swell_when_it_is_cut_goes_whole() {
    let bench = Bench::new("send_batch_size = 1\nsend_batch_max_size = 1").await;
    assert_eq!(answer(bench.send(headed(1 << 20, 100))).await, Ok(()));
    assert_eq!(bench.sink.take().iter().map(Otlp::items).collect::<Vec<_>>(), [100]);
    assert_eq!(answer(bench.send(headed(10, 100))).await, Ok(()));
    assert_eq!(bench.sink.take().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn all_signals_are_gathered() {
    let (metrics, logs) = (Sink::<signal::OtlpMetrics>::new(), Sink::<signal::OtlpLogs>::new());
    let next =
        OtelInput { metrics: Some(metrics.receiver()), logs: Some(logs.receiver()), ..OtelInput::default() };
    let known = Names::default().with("next", next.to_value());
    let body = "output {\nmetrics = [next]\nlogs = [next]\n}";
    let harness = Harness::start(ComponentDef::of::<Batch>(), body, known).await;
    let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
    let input = OtelInput::from_value(&exports["input"]).expect("an input");
    // One item each, as bytes: the shortest request that has one.
    let log = OtlpRequest::from_wire(b"\x0a\x04\x12\x02\x12\x00".as_slice().into(), 1, None);
    let point = b"\x0a\x08\x12\x06\x12\x04\x2a\x02\x0a\x00".as_slice();
    let point = OtlpRequest::from_wire(point.into(), 1, None);
    let (logs_in, metrics_in) = (input.logs.expect("taken"), input.metrics.expect("taken"));
    let answers = tokio::join!(
        logs_in.send(Otlp::of(log.clone())),
        logs_in.send(Otlp::of(log)),
        metrics_in.send(Otlp::of(point.clone())),
        metrics_in.send(Otlp::of(point)),
    );
    assert_eq!(answers, (Ok(()), Ok(()), Ok(()), Ok(())));
    assert_eq!(logs.take().iter().map(|b| b.requests.len()).collect::<Vec<_>>(), [2]);
    let metrics = metrics.take();
    assert_eq!(metrics.iter().map(|b| b.requests.len()).collect::<Vec<_>>(), [2]);
    assert!(metrics[0].requests.iter().all(|r| r.message().is_ok()));
}
