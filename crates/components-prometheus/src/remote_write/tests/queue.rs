//! What the queue promises, seen from outside: restarts, full queues, folders in use, the end.

use std::sync::Arc;
use std::time::Duration;

use component::{HealthState, Rejected, Services};
use delivery::Endpoint as _;
use delivery::{BoxFuture, Config, DiskConfig, Outcome, Queue, Record, Transport};
use futures_util::FutureExt;
use signal::{SampleBatch, Samples};

use super::receiver::{Receiver, status, taken, written};
use super::{batch, endpoint, first_arrivals_ascend, open, point, series, start, start_in};

#[tokio::test]
async fn what_was_taken_in_is_sent_after_a_kill_and_a_restart() {
    let receiver = Receiver::start(|_| status(503)).await;
    let body = endpoint(&receiver.url(), "");
    let running = start(&body).await;
    for i in 0..5 {
        running.push("up", f64::from(i)).await;
    }
    let folder = running.kill().await.expect("a folder");
    receiver.script(written);
    let running = start_in(&Services::for_tests(folder.path()), &body).await;
    running.push("up", 5.0).await;
    receiver.until(|all| taken(all).contains(&5.0)).await;
    // What was in flight may come twice.
    let mut values = receiver.taken();
    assert!(first_arrivals_ascend(&values), "{values:?}");
    values.sort_by(f64::total_cmp);
    values.dedup();
    assert_eq!(values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
}

#[tokio::test]
async fn a_stop_sends_what_waits_for_company() {
    let receiver = Receiver::good().await;
    let queue = "queue_config {\nbatch_send_deadline = \"5s\"\n}";
    for wal in ["", "wal {\nenabled = false\n}"] {
        let before = receiver.taken().len();
        let running = start(&(endpoint(&receiver.url(), queue) + wal)).await;
        running.send(batch("up", &[1.0, 2.0])).await;
        running.harness.stop().await;
        assert_eq!(receiver.taken()[before..], [1.0, 2.0]);
        assert_eq!(running.input.send(Samples::default()).await, Err(Rejected::Stopped));
    }
}

#[tokio::test]
async fn what_a_queue_in_memory_loses_at_its_end_is_counted() {
    let (endpoint, metrics, services) =
        open(&endpoint("http://127.0.0.1:1/write", &format!("name = \"n\"\n{SLOW}"))).await;
    endpoint
        .inlet()
        .put(&batch("up", &[1.0, 2.0, 3.0]), jiff::Timestamp::now().as_millisecond())
        .await
        .expect("queued");
    tokio::time::pause();
    endpoint.drain(&metrics, Duration::ZERO).await;
    let again = metrics.endpoint("n", "http://127.0.0.1:1/write").all_dropped();
    assert_eq!(again.get(&("samples", "shutdown")), Some(&3), "{again:?}");
    assert!(!services.metrics.text().contains("reason=\"shutdown\""), "a queue that is over is not shown");
}

struct Nowhere;

impl Transport for Nowhere {
    fn send<'a>(&'a self, _: &'a [Record], _: u32) -> BoxFuture<'a, Outcome> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn while_a_queue_folder_is_in_use_senders_wait_and_the_node_says_why() {
    let receiver = Receiver::good().await;
    let folder = tempfile::tempdir().expect("a folder");
    let services = Services::for_tests(folder.path());
    let body = endpoint(&receiver.url(), "");
    // The folder is there after a first run.
    let first = start_in(&services, &body).await;
    first.push("up", 0.0).await;
    receiver.wait(1).await;
    first.harness.stop().await;
    let queues = folder.path().join("prometheus.remote_write.test/queue");
    let path = std::fs::read_dir(queues).expect("queues").next().expect("one").expect("readable").path();
    let config = Config { disk: Some(DiskConfig::new(path)), ..Config::default() };
    let holder = Queue::open(config, Arc::new(Nowhere)).await.expect("free");

    let running = start_in(&services, &body).await;
    let health = || running.harness.node.health();
    running.eventually("unhealthy", |_| health().state == HealthState::Unhealthy).await;
    assert!(health().message.contains("in use"), "{}", health().message);
    let mut send = std::pin::pin!(running.input.send(Samples::new(batch("up", &[1.0]))));
    assert!(send.as_mut().now_or_never().is_none(), "a sender waits");
    holder.drain(Duration::ZERO).await;
    assert_eq!(send.await, Ok(()));
    receiver.until(|all| taken(all).contains(&1.0)).await;
    tokio::time::pause();
    running.eventually("healthy", |_| health().state == HealthState::Healthy).await;
}

/// A queue that repeats an attempt only after a while: for clocks that jump.
const SLOW: &str = r#"queue_config {
    min_backoff = "20s"
    max_backoff = "20s"
    batch_send_deadline = "0s"
}"#;

/// A batch of some 100 KB that cannot be compressed.
fn large(value: f64) -> SampleBatch {
    let mut state = value.to_bits() | 1;
    let noise: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(33 + (state >> 57) as u8 % 90)
    })
    .take(100_000)
    .collect();
    let one = series(&[("__name__", "large"), ("noise", &noise)]);
    SampleBatch { points: vec![point(one, 1, value)].into(), origin: Some(7), ..SampleBatch::default() }
}

async fn with_small_queue(on_full: &str, queue: &str) -> (Receiver, super::Running) {
    let receiver = Receiver::start(|_| status(503)).await;
    let wal = format!("wal {{\nmax_size = \"1MiB\"\non_full = {on_full:?}\n}}");
    let running = start(&(endpoint(&receiver.url(), queue) + &wal)).await;
    // A first batch of nothing waits until the queue is open.
    running.send(SampleBatch::default()).await;
    (receiver, running)
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_and_counts_it() {
    let (receiver, running) = with_small_queue("drop_oldest", "").await;
    for i in 0..30 {
        running.send(large(f64::from(i))).await;
    }
    let dropped = "prometheus_remote_storage_samples_dropped_total";
    assert!(running.sum(dropped, "queue_full") >= 15.0);
    receiver.script(written);
    receiver.until(|all| taken(all).contains(&29.0)).await;
    running.eventually("drained", |r| r.sum("prometheus_remote_storage_samples_pending", "") == 0.0).await;
    let sent = receiver.taken();
    assert_eq!(sent.len() as f64 + running.sum(dropped, "queue_full"), 30.0, "sent or counted: {sent:?}");
    assert!(sent.is_sorted(), "{sent:?}");
}

#[tokio::test]
async fn a_full_queue_that_blocks_holds_senders_up_and_loses_nothing() {
    let (receiver, running) = with_small_queue("block", "").await;
    let mut sent = 0;
    let waiting = loop {
        let mut send = Box::pin(running.input.send(Samples::new(large(f64::from(sent)))));
        sent += 1;
        if send.as_mut().now_or_never().is_none() {
            break send;
        }
        assert!(sent < 30, "the queue is never full");
    };
    assert!(running.sum("prometheus_remote_storage_enqueue_retries_total", "") >= 1.0);
    receiver.script(written);
    assert_eq!(waiting.await, Ok(()));
    receiver.until(|all| taken(all).len() >= sent as usize).await;
    assert_eq!(receiver.taken(), (0..sent).map(f64::from).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_queue_that_rejects_tells_its_senders() {
    let (receiver, running) = with_small_queue("reject", "").await;
    let mut accepted = Vec::new();
    let refused = loop {
        let value = accepted.len() as f64;
        match running.input.send(Samples::new(large(value))).await {
            Ok(()) => accepted.push(value),
            Err(refused) => break refused,
        }
        assert!(accepted.len() < 30, "the queue is never full");
    };
    assert!(matches!(refused, Rejected::Retryable(_)), "{refused:?}");
    assert_eq!(running.sum("prometheus_remote_storage_queue_rejected_total", ""), 1.0);
    // What was refused was not taken in: it comes again, and would count twice.
    for counter in
        ["prometheus_remote_write_wal_samples_appended_total", "prometheus_remote_storage_samples_in_total"]
    {
        let each = large(0.0).points.len();
        assert_eq!(running.sum(counter, ""), (accepted.len() * each) as f64, "{counter}");
    }
    receiver.script(written);
    receiver.until(|all| taken(all).len() >= accepted.len()).await;
    assert_eq!(receiver.taken(), accepted);
}

#[tokio::test]
async fn a_component_that_stops_sends_back_those_who_wait_for_a_full_queue() {
    let (_receiver, running) = with_small_queue("block", SLOW).await;
    let mut waiting = loop {
        let mut send = Box::pin(running.input.send(Samples::new(large(1.0))));
        if send.as_mut().now_or_never().is_none() {
            break send;
        }
    };
    tokio::time::pause();
    let (answer, _) = tokio::join!(&mut waiting, running.harness.stop());
    assert!(matches!(answer, Err(Rejected::Retryable(_))), "{answer:?}");
}

#[tokio::test]
async fn samples_that_are_too_old_are_left_out_and_counted() {
    let receiver = Receiver::good().await;
    let queue = super::FAST.replace("queue_config {", "queue_config {\nsample_age_limit = \"1h\"");
    let running = start(&endpoint(&receiver.url(), &queue)).await;
    let now = jiff::Timestamp::now().as_millisecond();
    let one = series(&[("__name__", "up")]);
    let points = vec![point(one.clone(), now - 2 * 3_600_000, 1.0), point(one, now, 2.0)];
    running.send(SampleBatch { points: points.into(), origin: Some(1), ..SampleBatch::default() }).await;
    receiver.wait(1).await;
    assert_eq!(receiver.taken(), [2.0]);
    assert_eq!(running.sum("prometheus_remote_storage_samples_dropped_total", "too_old"), 1.0);
}
