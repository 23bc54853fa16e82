//! What the queue promises, seen from outside: bounds, reloads, the end; and that one that is dead holds up none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use component::Rejected;
use net::testkit::{Backend, Posted, Reply, status};
use signal::otlp::{Otlp, OtlpRequest, TracesSignal};

use super::{Running, body, logs, start, taken, taken_of};

#[tokio::test]
async fn a_full_queue_refuses_for_now_and_counts() {
    for (sizer, size, fits) in [("requests", 3, 3), ("items", 6, 3), ("bytes", 500, 5)] {
        let backend = Backend::start(|_| Reply::Hang).await;
        let queue = format!("sending_queue {{\nsizer = {sizer:?}\nqueue_size = {size}\n}}");
        let running = start(&body(&backend.base(), "", &queue)).await;
        let mut taken = 0;
        let refused = loop {
            match running.send(logs(&[&[1, 2]])).await {
                Ok(()) => taken += 1,
                Err(refused) => break refused,
            }
            assert!(taken < 100, "{sizer} has no end");
        };
        assert!(matches!(&refused, Rejected::Retryable(m) if m.contains("full")), "{refused:?}");
        assert!(if sizer == "bytes" { (1..=10).contains(&taken) } else { taken == fits }, "{sizer} {taken}");
        assert_eq!(running.sum("otelcol_exporter_enqueue_failed_log_records_total", ""), 2.0);
        let size_of = |name: &str| running.sum(name, "data_type=\"logs\"");
        assert_eq!(size_of("otelcol_exporter_queue_capacity"), f64::from(size));
        let queued = size_of("otelcol_exporter_queue_size");
        match sizer {
            "requests" => assert_eq!(queued, 3.0),
            "items" => assert_eq!(queued, 6.0),
            _ => assert!(queued > 0.0 && queued <= 500.0, "{queued}"),
        }
    }
}

#[tokio::test]
async fn senders_wait_for_a_full_queue_that_blocks() {
    let backend = Backend::start(|_| status(503)).await;
    let queue = "sending_queue {\nqueue_size = 2\nblock_on_overflow = true\n}";
    let running = start(&body(&backend.base(), "", queue)).await;
    running.push([1, 2]).await;
    let third = running.send(logs(&[&[3]]));
    tokio::pin!(third);
    assert!(futures_util::FutureExt::now_or_never(&mut third).is_none());
    backend.script(|_| status(200));
    third.await.expect("taken");
    backend.until(|all| taken_of(all) == [1, 2, 3]).await;
    assert_eq!(running.sum("otelcol_exporter_enqueue_failed_log_records_total", ""), 0.0);
}

#[tokio::test]
async fn a_request_larger_than_the_queue_is_refused_for_good() {
    let backend = Backend::good().await;
    let queue = "sending_queue {\nsizer = \"bytes\"\nqueue_size = 200\n}";
    let running = start(&body(&backend.base(), "", queue)).await;
    let numbers: Vec<u64> = (0..100).collect();
    let refused = running.send(logs(&[&numbers])).await.expect_err("too large");
    assert!(matches!(refused, Rejected::Permanent(_)), "{refused:?}");
}

#[tokio::test]
async fn one_dead_of_two_holds_up_neither_the_other_signal_nor_the_other_exporter() {
    let dead = Backend::start(|_| Reply::Hang).await;
    let good = Backend::good().await;
    let logs_only = format!("logs_endpoint = \"{}/v1/logs\"", good.base());
    let half = start(&body(&dead.base(), "", &logs_only)).await;
    let whole = start(&body(&good.base(), "", "")).await;
    for number in 0..20 {
        let traces = OtlpRequest::<TracesSignal>::from_wire(Default::default(), 1, None);
        half.input.traces.as_ref().expect("taken").send(Otlp::of(traces)).await.expect("taken");
        half.push([number]).await;
        whole.push([100 + number]).await;
    }
    good.until(|all| taken_of(all).len() == 40).await;
    assert_eq!(half.sum("otelcol_exporter_queue_size", "data_type=\"traces\""), 20.0);
}

/// Sends numbered records until it is told to end; answers how many.
fn load(running: &Running) -> (Arc<AtomicBool>, tokio::task::JoinHandle<u64>) {
    let input = running.input.logs.clone().expect("takes logs");
    let end = Arc::new(AtomicBool::new(false));
    let ended = end.clone();
    let task = tokio::spawn(async move {
        let mut count = 0;
        while !ended.load(Ordering::Relaxed) {
            // As a receiver's client would: what could not be taken is offered again.
            while let Err(refused) = input.send(logs(&[&[count]])).await {
                assert!(matches!(refused, Rejected::Retryable(_)), "{refused:?}");
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            count += 1;
            tokio::time::sleep(std::time::Duration::from_micros(200)).await;
        }
        count
    });
    (end, task)
}

/// Every third request fails.
fn flaky() -> impl FnMut(&Posted) -> Reply {
    let mut count = 0;
    move |_| {
        count += 1;
        if count % 3 == 0 { status(503) } else { status(200) }
    }
}

#[tokio::test]
async fn new_arguments_under_load_lose_nothing() {
    let (a, b) = (Backend::start(flaky()).await, Backend::start(flaky()).await);
    let running = start(&body(&a.base(), "", "")).await;
    let (end, task) = load(&running);
    for (client, rest) in [
        ("compression = \"zstd\"", ""),
        ("", "encoding = \"json\""),
        ("", "sending_queue {\nnum_consumers = 2\nqueue_size = 50\n}"),
        ("", "sending_queue {\nbatch {\nflush_timeout = \"2ms\"\nmin_size = 5\n}\n}"),
        ("", "sending_queue {\nenabled = false\n}"),
        ("", "sending_queue {\nsizer = \"bytes\"\nqueue_size = 100000\n}"),
    ] {
        let seen = a.all().len();
        running.update(&body(&a.base(), client, rest)).await;
        a.wait(seen + 5).await;
    }
    running.update(&body(&b.base(), "", "")).await;
    b.wait(5).await;
    end.store(true, Ordering::Relaxed);
    let count = task.await.expect("no panic");
    b.until(|all| all.len() > 5 && taken_of(all).contains(&(count - 1))).await;
    running.harness.stop().await;
    let mut all = [taken(&a), taken(&b)].concat();
    all.sort_unstable();
    // A sender without a queue that was sent back has offered its record again.
    all.dedup();
    assert_eq!(all, (0..count).collect::<Vec<_>>());
    assert_eq!(running.failed(), 0.0);
}

#[tokio::test]
async fn a_stop_sends_what_waits() {
    for queue in ["", "sending_queue {\nbatch {\nflush_timeout = \"1h\"\n}\n}"] {
        let backend = Backend::good().await;
        let running = start(&body(&backend.base(), "", queue)).await;
        running.push(0..50).await;
        running.harness.stop().await;
        assert_eq!(taken(&backend), (0..50).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_before_the_end_is_counted() {
    // Nothing listens there.
    let running = start(&body("http://127.0.0.1:1", "", "")).await;
    running.push(0..5).await;
    running.harness.stop().await;
    assert_eq!(running.dropped("shutdown"), 5.0);
    assert_eq!(running.failed(), 5.0);
}

#[tokio::test]
async fn no_metrics_are_shown_where_none_are_wanted() {
    let backend = Backend::good().await;
    let none = "debug_metrics {\nlevel = \"none\"\n}";
    let running = start(&body(&backend.base(), "", none)).await;
    running.push([1]).await;
    backend.wait(1).await;
    assert!(!running.harness.services.metrics.text().contains("otelcol_exporter"));
    running.update(&body(&backend.base(), "", "")).await;
    running.eventually("counted", |r| r.sent() == 1.0).await;
}
