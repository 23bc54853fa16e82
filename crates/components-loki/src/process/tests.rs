//! The component as a whole: what senders, receivers, reloads and the stop see of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use component::testkit::{Harness, Names, Sink};
use component::{BoxFuture, ComponentDef, Consumer, Port, Receiver, Rejected};
use signal::Logs;
use signal::logs::{Entry, LogBatch, Receipt};
use tokio::sync::Notify;

use super::Process;
use super::testkit::{Bench, Case, batch, shown};

const DEFINITION: ComponentDef = ComponentDef::of::<Process>();

const MULTILINE: &str = r#"
    forward_to = [sink]
    stage.multiline { firstline = "^START" }
    stage.drop { expression = "DROP" }"#;

async fn start(body: &str, sink: component::eval::Value) -> (Harness, Receiver<Logs>) {
    let harness = Harness::start(DEFINITION, body, Names::default().with("sink", sink)).await;
    let exports = harness.node.exports();
    let receiver = exports.as_object().expect("object")["receiver"].clone();
    (harness, component::ArgValue::from_value(&receiver).expect("receiver"))
}

fn logs(lines: &[&str]) -> Logs {
    batch(&lines.iter().map(|l| Case::new(*l)).collect::<Vec<_>>(), None)
}

/// The same entries in another allocation, as a sender has them that has read them again.
fn copy(batch: &Logs) -> Logs {
    let entries = batch.entries.iter().map(|e| Entry { line: e.line.to_string().into(), ..e.clone() });
    let copy = LogBatch { streams: batch.streams.clone(), entries: entries.collect(), ..LogBatch::default() };
    copy.into()
}

fn texts(batches: &[Logs]) -> Vec<String> {
    batches.iter().flat_map(|b| b.entries.iter().map(|e| e.line.to_string())).collect()
}

fn metric(harness: &Harness, start: &str) -> f64 {
    let text = harness.services.metrics.text();
    let line = text.lines().find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("{start}: {text}"));
    line.rsplit(' ').next().expect("a value").parse().expect("a number")
}

fn retryable() -> Result<(), Rejected> {
    Err(Rejected::Retryable("full".into()))
}

/// Takes batches once it is told to; counts how many are at its door.
#[derive(Default)]
struct Gate {
    open: Notify,
    waiting: AtomicUsize,
}

struct Gated(Arc<Gate>, Receiver<Logs>);

impl Consumer<Logs> for Gated {
    fn consume(&self, batch: Logs) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            self.0.waiting.fetch_add(1, Ordering::SeqCst);
            self.0.open.notified().await;
            self.1.send(batch).await
        })
    }
}

fn gated(sink: &Sink<Logs>) -> (Arc<Gate>, Port<Logs>) {
    let (gate, port) = (Arc::new(Gate::default()), Port::detached("gate"));
    let _ = port.attach(Gated(gate.clone(), sink.receiver()));
    (gate, port)
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_batch_that_no_stage_changes_goes_on_as_it_came() {
    let sink = Sink::<Logs>::new();
    let body = r#"
        forward_to = [sink]
        stage.logfmt { mapping = { level = "" } }
        stage.labels { values = { job = "" } }
        stage.drop { expression = "never" }"#;
    let (_harness, receiver) = start(body, sink.value()).await;
    let sent = batch(&[Case::new("level=x").labels([("job", "a")]), Case::new("y")], None);
    receiver.send(sent.clone()).await.expect("taken");
    assert!(std::ptr::eq(&*sink.take()[0], &*sent), "shared, not copied");
    receiver.send(Logs::default()).await.expect("nothing to do");
    assert!(sink.take().is_empty());
}

#[tokio::test]
async fn entries_keep_their_order_time_and_metadata_around_one_that_changes() {
    let sink = Sink::<Logs>::new();
    let body = r#"
        forward_to = [sink]
        stage.regex {
            expression         = "^(?P<word>b\\S*)"
            labels_from_groups = true
        }
        stage.drop { expression = "^d" }"#;
    let (_harness, receiver) = start(body, sink.value()).await;
    let entry = |line: &str, at| Case::new(line).labels([("job", "x")]).metadata([("m", line)]).at(at);
    receiver
        .send(batch(&[entry("a", 3), entry("b", 1), entry("d", 4), entry("c", 2)], None))
        .await
        .expect("taken");
    let got = sink.take();
    assert_eq!(got[0].received_ms, 7);
    let got: Vec<_> = got[0].entries.iter().map(|e| shown(got[0].labels(e), e)).collect();
    assert_eq!(
        got,
        [
            "3 {job=\"x\"} \"a\" {m=\"a\"}",
            "1 {job=\"x\", word=\"b\"} \"b\" {m=\"b\"}",
            "2 {job=\"x\"} \"c\" {m=\"c\"}"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_is_processed_once_however_it_comes_again() {
    for anew in [false, true] {
        let sink = Sink::<Logs>::new();
        let (harness, receiver) = start(MULTILINE, sink.value()).await;
        let sent = logs(&["START DROP", "START a", "1", "START b"]);
        sink.answer(retryable());
        assert_eq!(receiver.send(sent.clone()).await, retryable());
        assert_eq!(receiver.send(if anew { copy(&sent) } else { sent.clone() }).await, retryable());
        assert_eq!(receiver.send(logs(&["other"])).await, retryable(), "not processed while one waits");
        sink.answer(Ok(()));
        assert_eq!(receiver.send(if anew { copy(&sent) } else { sent }).await, Ok(()));
        receiver.send(logs(&["2", "START c"])).await.expect("taken");
        assert_eq!(texts(&sink.take()), ["START a\n1", "START b\n2"]);
        assert_eq!(metric(&harness, "loki_process_dropped_lines_total{"), 1.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_whose_batch_was_delivered_behind_its_back_is_told_so_once() {
    let sink = Sink::<Logs>::new();
    let (harness, receiver) = start(MULTILINE, sink.value()).await;
    let sent = logs(&["START a", "START b"]);
    sink.answer(retryable());
    assert_eq!(receiver.send(sent.clone()).await, retryable());
    sink.answer(Ok(()));
    // The courier brings it, and later the block that was kept back.
    assert_eq!(texts(&sink.wait(2).await), ["START a", "START b"]);
    assert_eq!(receiver.send(copy(&sent)).await, Ok(()));
    assert!(sink.take().is_empty());
    // What is sent after that is another batch with the same content.
    assert_eq!(receiver.send(copy(&sent)).await, Ok(()));
    assert_eq!(texts(&sink.take()), ["START a"]);
    drop(harness);
}

#[tokio::test(start_paused = true)]
async fn refusals_for_good_are_told_to_the_sender_and_nothing_waits() {
    let sink = Sink::<Logs>::new();
    for body in [MULTILINE, "forward_to = [sink]\nstage.drop { expression = \"DROP\" }"] {
        let (_harness, receiver) = start(body, sink.value()).await;
        sink.answer(Err(Rejected::Permanent("too old".into())));
        let answer = receiver.send(logs(&["START a", "START b"])).await;
        assert_eq!(answer, Err(Rejected::Permanent("too old".into())));
        sink.answer(Ok(()));
        receiver.send(logs(&["START c", "x"])).await.expect("taken");
        assert!(!texts(&sink.take()).contains(&"START a".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_goes_on_when_its_time_has_come_and_keeps_the_promise_until_it_is_taken() {
    let sink = Sink::<Logs>::new();
    let (_harness, receiver) = start(MULTILINE, sink.value()).await;
    let receipts = [Receipt::new(), Receipt::new()];
    for (receipt, line) in receipts.iter().zip(["START a", "1"]) {
        receiver.send(batch(&[Case::new(line)], Some(receipt.hold()))).await.expect("kept back");
    }
    assert!(receipts.iter().all(|r| !r.is_settled()));
    sink.answer(retryable());
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(receipts.iter().all(|r| !r.is_settled()), "refused, so still promised");
    sink.answer(Ok(()));
    let got = sink.wait(1).await;
    assert_eq!(texts(&got), ["START a\n1"]);
    assert!(receipts.iter().all(|r| !r.is_settled()), "the sink may keep a part back");
    drop(got);
    until(|| receipts.iter().all(Receipt::is_settled)).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_which_nothing_is_kept_is_settled_when_it_is_answered() {
    let sink = Sink::<Logs>::new();
    let (_harness, receiver) = start(MULTILINE, sink.value()).await;
    let (first, second) = (Receipt::new(), Receipt::new());
    receiver.send(batch(&[Case::new("START a")], Some(first.hold()))).await.expect("taken");
    receiver.send(batch(&[Case::new("START b")], Some(second.hold()))).await.expect("taken");
    drop(sink.take());
    assert!(first.is_settled(), "its block has gone");
    assert!(!second.is_settled());
}

#[tokio::test(start_paused = true)]
async fn the_stop_lets_blocks_go() {
    let sink = Sink::<Logs>::new();
    let (harness, receiver) = start(MULTILINE, sink.value()).await;
    receiver.send(logs(&["START a", "1"])).await.expect("kept back");
    harness.stop().await;
    assert_eq!(texts(&sink.take()), ["START a\n1"]);
    assert_eq!(receiver.send(logs(&["x"])).await, Err(Rejected::Stopped));
}

#[tokio::test(start_paused = true)]
async fn blocks_that_nobody_takes_before_the_stop_are_counted() {
    let sink = Sink::<Logs>::new();
    let bench = Bench::new(r#"stage.multiline { firstline = "^START" }"#);
    let (counters, node) = (bench.counters.clone(), bench.node.clone());
    let stopping = tokio_util::sync::CancellationToken::new();
    let to = component::Fanout::new([sink.receiver()]);
    let (pipeline, metrics) = bench.split();
    let relay = super::relay::Relay::new(pipeline, to, &counters, node, stopping);
    sink.answer(retryable());
    // This sender is refused, so it still has what is in its batch, but for what was kept back of it.
    assert_eq!(relay.take(logs(&["START a", "1", "START b", "2"])).await, retryable());
    let started = tokio::time::Instant::now();
    relay.drain().await;
    assert!(started.elapsed() >= Duration::from_secs(15), "it tries for a while");
    assert_eq!(metrics.metric(r#"loki_process_dropped_lines_total{reason="shutdown"}"#), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn an_update_keeps_what_unchanged_stages_remember_and_lets_go_what_others_kept() {
    let sink = Sink::<Logs>::new();
    let (harness, receiver) = start(MULTILINE, sink.value()).await;
    receiver.send(logs(&["START a"])).await.expect("kept back");
    let same_block = format!("{MULTILINE}\nstage.static_labels {{ values = {{ new = \"1\" }} }}");
    harness.update(&same_block).await.expect("updated");
    receiver.send(logs(&["1"])).await.expect("joined");
    assert!(sink.take().is_empty());
    let other_block = same_block.replace("^START", "^BEGIN");
    harness.update(&other_block).await.expect("updated");
    let got = sink.wait(1).await;
    assert_eq!(texts(&got), ["START a\n1"]);
    assert_eq!(got[0].labels(&got[0].entries[0]).get("new"), Some("1"), "through the stages behind");
    let bad = other_block.replace("DROP", "(");
    assert!(harness.update(&bad).await.is_err());
    receiver.send(logs(&["BEGIN x", "BEGIN y"])).await.expect("the old stages are in force");
    assert_eq!(texts(&sink.take()), ["BEGIN x"]);
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_gives_up_does_not_lose_or_double_what_its_batch_became() {
    for body in [MULTILINE, "forward_to = [sink]\nstage.drop { expression = \"DROP\" }"] {
        let sink = Sink::<Logs>::new();
        let (gate, port) = gated(&sink);
        let (harness, receiver) = start(body, component::ArgValue::to_value(&port.receiver())).await;
        let sent = logs(&["START DROP", "START a", "START b"]);
        let sending = {
            let (receiver, sent) = (receiver.clone(), sent.clone());
            tokio::spawn(async move { receiver.send(sent).await })
        };
        until(|| gate.waiting.load(Ordering::SeqCst) == 1).await;
        sending.abort();
        let _ = sending.await;
        // Whoever is there first brings it: the courier or the sender that comes again.
        until(|| gate.waiting.load(Ordering::SeqCst) >= 2).await;
        gate.open.notify_one();
        let answer = receiver.send(copy(&sent));
        tokio::pin!(answer);
        tokio::select! {
            answer = &mut answer => assert_eq!(answer, Ok(())),
            () = tokio::time::sleep(Duration::from_secs(1)) => panic!("the answer is known"),
        }
        let got = texts(&sink.take());
        assert_eq!(got.iter().filter(|line| *line == "START a").count(), 1, "{got:?}");
        assert_eq!(metric(&harness, "loki_process_dropped_lines_total{"), 1.0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_does_not_wait_for_a_receiver_that_blocks() {
    let (blocked, free) = (Sink::new(), Sink::new());
    let (gate, port) = gated(&blocked);
    let names = Names::default()
        .with("blocked", component::ArgValue::to_value(&port.receiver()))
        .with("free", free.value());
    let body = |to: &str| MULTILINE.replace("sink", to);
    let harness = Harness::start(DEFINITION, &body("blocked"), names).await;
    let exports = harness.node.exports();
    let receiver: Receiver<Logs> =
        component::ArgValue::from_value(&exports.as_object().expect("object")["receiver"]).expect("receiver");
    let sending = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.send(logs(&["START a", "START b"])).await }
    });
    until(|| gate.waiting.load(Ordering::SeqCst) == 1).await;
    tokio::time::timeout(Duration::from_secs(5), harness.update(&body("free")))
        .await
        .expect("in time")
        .expect("updated");
    assert_eq!(sending.await.expect("no panic"), Ok(()));
    assert_eq!(texts(&free.wait(1).await), ["START a"]);
    assert!(blocked.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn blocks_flushed_late_never_overtake_lines_that_came_before_them() {
    let sink = Sink::<Logs>::new();
    let (gate, port) = gated(&sink);
    let (_harness, receiver) = start(MULTILINE, component::ArgValue::to_value(&port.receiver())).await;
    let sending = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.send(logs(&["START a", "START b"])).await }
    });
    until(|| gate.waiting.load(Ordering::SeqCst) == 1).await;
    // Long past the time of the block that is kept back.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(gate.waiting.load(Ordering::SeqCst), 1);
    gate.open.notify_one();
    assert_eq!(sending.await.expect("no panic"), Ok(()));
    until(|| gate.waiting.load(Ordering::SeqCst) == 2).await;
    gate.open.notify_one();
    assert_eq!(texts(&sink.wait(2).await), ["START a", "START b"]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_makes_the_sender_wait_and_what_passed_before_goes_on_at_once() {
    let sink = Sink::<Logs>::new();
    let body = "forward_to = [sink]\nstage.limit {\n rate = 1\n burst = 2\n}";
    let (_harness, receiver) = start(body, sink.value()).await;
    let sent = logs(&["1", "2", "3", "4"]);
    let started = tokio::time::Instant::now();
    let sending = tokio::spawn({
        let (receiver, sent) = (receiver.clone(), sent.clone());
        async move { receiver.send(sent).await }
    });
    assert_eq!(texts(&sink.wait(1).await), ["1", "2"]);
    assert_eq!(started.elapsed().as_secs(), 0);
    assert_eq!(texts(&sink.wait(1).await), ["3"]);
    assert_eq!(started.elapsed().as_secs(), 1);
    assert!(!sending.is_finished());
    // Refused in the middle, the batch goes on where it was, at the same pace.
    sink.answer(retryable());
    assert_eq!(sending.await.expect("no panic"), retryable());
    sink.answer(Ok(()));
    assert_eq!(receiver.send(copy(&sent)).await, Ok(()));
    assert_eq!(texts(&sink.take()), ["4"]);
    assert_eq!(started.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_waits_for_its_limit_is_told_to_keep_the_rest_when_the_component_stops() {
    let sink = Sink::<Logs>::new();
    let body = "forward_to = [sink]\nstage.limit {\n rate = 0.001\n burst = 1\n}";
    let (harness, receiver) = start(body, sink.value()).await;
    let sending = tokio::spawn(async move { receiver.send(logs(&["1", "2"])).await });
    assert_eq!(texts(&sink.wait(1).await), ["1"]);
    let started = tokio::time::Instant::now();
    harness.stop().await;
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert!(matches!(sending.await.expect("no panic"), Err(Rejected::Retryable(_))));
}

#[tokio::test(start_paused = true)]
async fn the_stop_does_not_wait_for_a_receiver_that_blocks() {
    let sink = Sink::<Logs>::new();
    let (gate, port) = gated(&sink);
    let (harness, receiver) = start(MULTILINE, component::ArgValue::to_value(&port.receiver())).await;
    let sending = tokio::spawn(async move { receiver.send(logs(&["START a", "START b"])).await });
    until(|| gate.waiting.load(Ordering::SeqCst) == 1).await;
    let started = tokio::time::Instant::now();
    harness.stop().await;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(matches!(sending.await.expect("no panic"), Err(Rejected::Retryable(_))));
}

#[tokio::test]
async fn watchers_see_entries_before_and_after() {
    let sink = Sink::<Logs>::new();
    let body = "forward_to = [sink]\nstage.static_labels { values = { new = \"1\" } }";
    let (harness, receiver) = start(body, sink.value()).await;
    harness.services.live_debug.set_enabled(true);
    let mut watch = harness.services.live_debug.watch("loki.process.test").expect("enabled");
    receiver.send(logs(&["hello"])).await.expect("taken");
    let text = watch.try_recv().expect("published");
    assert!(text.contains("[IN]: timestamp: 1000000000, entry: \"hello\", labels: {}"), "{text}");
    assert!(text.contains("[OUT]: timestamp: 1000000000, entry: \"hello\", labels: {new=\"1\"}"), "{text}");
}
