//! What the queue promises, seen from outside: restarts, torn files, full queues, order, the end.

use std::sync::Arc;
use std::time::Duration;

use component::eval::Scope;
use component::eval::syntax::Source;
use component::metrics::NodeMetrics;
use component::testkit::Names;
use component::{BuildCx, Rejected, Services};
use delivery::Endpoint as _;
use futures_util::FutureExt;
use net::testkit::{Backend, Reply, status};
use signal::Logs;
use signal::logs::Receipt;

use super::super::Args;
use super::super::endpoint::Endpoint;
use super::super::metrics::Metrics;
use super::super::plan::plans;
use super::loki::{numbers, taken, taken_of};
use super::{batch, endpoint, entry, first_arrivals_ascend, lines, start, start_in};

const WAL: &str = "wal {\nenabled = true\n}";

#[tokio::test]
async fn what_was_taken_in_is_sent_after_a_kill_and_a_restart() {
    let loki = Backend::start(|_| status(503)).await;
    let body = endpoint(&loki.base(), "") + WAL;
    let running = start(&body).await;
    for i in 0..5 {
        running.push("a", [2 * i, 2 * i + 1]).await;
    }
    let folder = running.kill().await.expect("a folder");
    loki.script(|_| status(204));
    let running = start_in(&Services::for_tests(folder.path()), &body).await;
    running.push("a", [10]).await;
    loki.until(|all| taken_of(all, "a").contains(&10)).await;
    // What was in flight may come twice.
    let mut all = taken(&loki, "a");
    assert!(first_arrivals_ascend(&all), "{all:?}");
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, (0..=10).collect::<Vec<_>>());
}

/// A batch and what its source learns of it.
fn with_receipt(numbers: [u32; 2]) -> (Logs, Receipt) {
    let receipt = Receipt::new();
    let mut logs = lines("a", numbers);
    logs.make_mut().hold = Some(receipt.hold());
    (logs, receipt)
}

#[tokio::test]
async fn entries_in_memory_hold_their_source_back_until_they_are_sent_or_given_up() {
    let loki = Backend::start(|_| status(503)).await;
    let running = start(&endpoint(&loki.base(), "")).await;
    let (logs, receipt) = with_receipt([0, 1]);
    running.input.send(logs).await.expect("taken");
    running.eventually("attempts have failed", |r| r.sum("loki_write_batch_retries_total", "") >= 2.0).await;
    assert!(!receipt.is_settled());
    loki.script(|_| status(204));
    running.eventually("it is sent", |_| receipt.is_settled()).await;
    assert_eq!(taken(&loki, "a"), [0, 1]);
    loki.script(|_| status(400));
    let (logs, receipt) = with_receipt([2, 3]);
    running.input.send(logs).await.expect("taken");
    running.eventually("it is given up", |_| receipt.is_settled()).await;
    assert_eq!(running.dropped("ingester_error"), 2.0);
}

#[tokio::test]
async fn entries_on_disk_let_their_source_go_on() {
    let loki = Backend::start(|_| status(503)).await;
    let running = start(&(endpoint(&loki.base(), "") + WAL)).await;
    let (logs, receipt) = with_receipt([0, 1]);
    running.input.send(logs).await.expect("taken");
    assert!(receipt.is_settled());
}

#[tokio::test]
async fn a_queue_file_that_is_torn_anywhere_gives_what_is_whole_and_the_component_starts() {
    let loki = Backend::start(|_| status(503)).await;
    // No attempt is under way when the process ends, so that nothing comes twice.
    let slow = "min_backoff_period = \"20s\"\nmax_backoff_period = \"20s\"";
    let body = endpoint(&loki.base(), slow) + WAL;
    let running = start(&body).await;
    for i in 0..6 {
        running.push("a", [i]).await;
    }
    running.eventually("an attempt has failed", |r| r.sum("loki_write_batch_retries_total", "") == 1.0).await;
    let folder = running.kill().await.expect("a folder");
    let queues = folder.path().join("loki.write.test/queue");
    let queue = std::fs::read_dir(queues).expect("queues").next().expect("one").expect("readable").path();
    let files = std::fs::read_dir(queue).expect("a queue").map(|f| f.expect("readable").path());
    let segment = files.into_iter().find(|f| f.extension().is_some_and(|e| e == "seg")).expect("a segment");
    let whole = std::fs::read(&segment).expect("readable");
    loki.script(|_| status(204));
    for cut in (0..whole.len()).step_by(whole.len() / 13 + 1).chain([whole.len()]).rev() {
        // Each run has the folder as the kill has left it, but for the end of the segment.
        let copy = tempfile::tempdir().expect("a folder");
        let target = copy.path().join(segment.strip_prefix(folder.path()).expect("inside"));
        std::fs::create_dir_all(target.parent().expect("inside")).expect("made");
        std::fs::write(&target, &whole[..cut]).expect("written");
        let before = loki.all().len();
        let running = start_in(&Services::for_tests(copy.path()), &body).await;
        running.push("a", [99]).await;
        let all = loki.until(|all| taken_of(&all[before..], "a").contains(&99)).await;
        let got = taken_of(&all[before..], "a");
        let expected: Vec<u32> = (0..got.len() as u32 - 1).chain([99]).collect();
        assert_eq!(got, expected, "a beginning of what was there, in order, at {cut}");
        assert!(cut < whole.len() || got.len() == 7, "all of it where nothing is torn");
        running.harness.stop().await;
    }
}

#[tokio::test]
async fn a_stop_sends_what_waits_for_company() {
    for wal in ["", WAL] {
        let loki = Backend::good().await;
        let running = start(&(endpoint(&loki.base(), "batch_wait = \"1h\"") + wal)).await;
        running.push("a", [1, 2]).await;
        running.harness.stop().await;
        assert_eq!(taken(&loki, "a"), [1, 2]);
        assert_eq!(running.input.send(Logs::default()).await, Err(Rejected::Stopped));
    }
}

/// An endpoint by itself, with the metrics that it counts into.
async fn open(body: &str, folder: &std::path::Path) -> (Endpoint, Arc<Metrics>, Arc<Services>, NodeMetrics) {
    let source = Source::new("test.alloy", body);
    let (file, _) = component::eval::syntax::parse(&source);
    let names = Names::default();
    let (args, found) = component::eval::decode::<Args>(&source, &file.body, None, &Scope::new(&names));
    let args = args.unwrap_or_else(|| panic!("{found:?}"));
    let services = Services::for_tests(folder);
    let cx = BuildCx::detached("loki.write.test", services.clone());
    let (node, plan) = (cx.metrics(), plans(&args, &cx).expect("good arguments").remove(0));
    let metrics = Arc::new(Metrics::new(&node));
    (Endpoint::open(plan, &metrics).await.expect("opened"), metrics, services, node)
}

#[tokio::test]
async fn after_the_drain_timeout_what_is_in_memory_is_counted_and_what_is_on_disk_stays() {
    for (wal, lost) in [("", 3), ("wal {\nenabled = true\ndrain_timeout = \"20ms\"\n}", 0)] {
        let loki = Backend::start(|_| Reply::Hang).await;
        let body = endpoint(&loki.base(), "queue_config {\ndrain_timeout = \"20ms\"\n}") + wal;
        let folder = tempfile::tempdir().expect("a folder");
        let (endpoint, metrics, services, _node) = open(&body, folder.path()).await;
        endpoint
            .inlet()
            .put(&super::lines("a", [1, 2, 3]), jiff::Timestamp::now().as_millisecond())
            .await
            .expect("queued");
        loki.wait(1).await;
        endpoint.drain(&metrics, Duration::ZERO).await;
        let line = format!("reason=\"shutdown\",tenant=\"\"}} {lost}");
        let text = services.metrics.text();
        assert_eq!(text.contains("reason=\"shutdown\""), lost > 0, "{text}");
        assert!(lost == 0 || text.contains(&line), "{text}");
        loki.script(|_| status(204));
        let running = start_in(&services, &body).await;
        running.push("a", [4]).await;
        loki.until(|all| taken_of(all, "a").contains(&4)).await;
        let expected: &[u32] = if lost > 0 { &[4] } else { &[1, 2, 3, 4] };
        assert_eq!(taken(&loki, "a"), expected);
    }
}

/// Some 20 KB that begin with a number.
fn large(number: u32) -> Logs {
    let labels = [("s", "a")];
    batch([(&labels[..], entry(0, number, format!("{number:020000}")))])
}

const SMALL: &str = "queue_config {\ncapacity = \"256KiB\"\ndrain_timeout = \"10ms\"\n";

#[tokio::test]
async fn a_full_queue_holds_senders_up_and_loses_nothing() {
    let loki = Backend::start(|_| status(503)).await;
    let running = start(&endpoint(&loki.base(), &format!("{SMALL}}}"))).await;
    running.input.send(Logs::default()).await.expect("open");
    let mut sent = 0;
    let waiting = loop {
        let mut send = Box::pin(running.input.send(large(sent)));
        sent += 1;
        if send.as_mut().now_or_never().is_none() {
            break send;
        }
        assert!(sent < 30, "the queue is never full");
    };
    assert!(sent > 8, "{sent} batches fill 256 KiB");
    loki.script(|_| status(204));
    assert_eq!(waiting.await, Ok(()));
    loki.until(|all| taken_of(all, "a").len() >= sent as usize).await;
    assert_eq!(taken(&loki, "a"), (0..sent).collect::<Vec<_>>());
    assert_eq!(running.sum("loki_write_dropped_entries_total", ""), 0.0);
}

#[tokio::test]
async fn a_full_queue_that_does_not_block_drops_what_is_new_and_counts_it() {
    let loki = Backend::start(|_| status(503)).await;
    let running = start(&endpoint(&loki.base(), &format!("{SMALL}block_on_overflow = false\n}}"))).await;
    for i in 0..30 {
        running.input.send(large(i)).await.expect("taken, or dropped on purpose");
    }
    let dropped = running.dropped("queue_is_full");
    assert!(dropped >= 15.0, "{dropped}");
    loki.script(|_| status(204));
    let kept = 30 - dropped as usize;
    loki.until(|all| taken_of(all, "a").len() >= kept).await;
    assert_eq!(taken(&loki, "a"), (0..kept as u32).collect::<Vec<_>>(), "the oldest are kept, in order");
}

#[tokio::test]
async fn a_line_that_no_queue_can_hold_is_dropped_and_counted() {
    let loki = Backend::good().await;
    let running = start(&endpoint(&loki.base(), "queue_config {\ncapacity = \"4KiB\"\n}")).await;
    running.input.send(large(1)).await.expect("dropped on purpose");
    running.push("a", [2]).await;
    loki.until(|all| taken_of(all, "a") == [2]).await;
    assert_eq!(running.dropped("line_too_long"), 1.0);
}

#[tokio::test]
async fn a_component_that_stops_sends_back_those_who_wait_for_a_full_queue() {
    let loki = Backend::start(|_| status(503)).await;
    let slow = "min_backoff_period = \"20s\"\nmax_backoff_period = \"20s\"";
    let running = start(&endpoint(&loki.base(), &format!("{slow}\n{SMALL}}}"))).await;
    running.input.send(Logs::default()).await.expect("open");
    let mut waiting = loop {
        let mut send = Box::pin(running.input.send(large(1)));
        if send.as_mut().now_or_never().is_none() {
            break send;
        }
    };
    tokio::time::pause();
    let (answer, _) = tokio::join!(&mut waiting, running.harness.stop());
    assert!(matches!(answer, Err(Rejected::Retryable(_))), "{answer:?}");
}

#[tokio::test]
async fn shards_send_side_by_side_and_keep_every_stream_in_order() {
    let mut count = 0;
    let loki = Backend::start(move |_| {
        count += 1;
        if count % 3 == 0 { status(503) } else { status(204) }
    })
    .await;
    let running = start(&endpoint(&loki.base(), "queue_config {\nmin_shards = 4\n}")).await;
    let streams = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for i in 0..40 {
        let labels = streams.map(|s| [("s", s)]);
        running
            .input
            .send(batch(labels.iter().map(|l| (&l[..], entry(0, i, i.to_string())))))
            .await
            .expect("taken");
    }
    let whole = |all: &[net::testkit::Posted]| streams.iter().all(|s| taken_of(all, s).len() == 40);
    let all = loki.until(whole).await;
    for stream in streams {
        assert_eq!(taken_of(&all, stream), (0..40).collect::<Vec<_>>(), "{stream}");
    }
    let together = |p: &net::testkit::Posted| streams.iter().filter(|s| !numbers(p, s).is_empty()).count();
    assert!(all.iter().all(|p| together(p) < 8), "streams are spread");
}

#[tokio::test]
async fn what_is_on_disk_longer_than_max_segment_age_is_dropped_and_counted() {
    let loki = Backend::start(|_| status(503)).await;
    let wal = "wal {\nenabled = true\nmax_segment_age = \"1s\"\n}";
    let running = start(&(endpoint(&loki.base(), "max_backoff_period = \"20ms\"") + wal)).await;
    running.push("a", [1]).await;
    running.eventually("too old", |r| r.dropped("too_old") == 1.0).await;
    loki.script(|_| status(204));
    running.push("a", [2]).await;
    loki.until(|all| taken_of(all, "a") == [2]).await;
}
