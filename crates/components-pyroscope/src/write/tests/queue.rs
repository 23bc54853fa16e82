//! What the queue promises, seen from outside: restarts, full queues, the end.

use bytes::Bytes;
use component::Services;
use futures_util::FutureExt;
use net::testkit::{Backend, Reply, status};
use signal::profiles::Profile;
use signal::{Labels, Profiles};

use super::{endpoint, start, start_in, taken, taken_of};

const WAL: &str = "wal {\nenabled = true\n}";

#[tokio::test]
async fn what_was_taken_in_is_sent_after_a_kill_and_a_restart() {
    let pyroscope = Backend::start(|_| status(503)).await;
    let body = endpoint(&pyroscope.base(), "") + WAL;
    let running = start(&body).await;
    for i in 0..5 {
        running.push([2 * i, 2 * i + 1]).await;
    }
    let folder = running.kill().await.expect("a folder");
    pyroscope.script(|_| status(200));
    let running = start_in(&Services::for_tests(folder.path()), &body).await;
    running.push([10]).await;
    pyroscope.until(|all| (0..=10).all(|n| taken_of(all).contains(&n))).await;
    // What was in flight may come twice.
    let mut all = taken(&pyroscope);
    all.dedup();
    assert_eq!(all, (0..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stop_sends_what_is_queued() {
    for wal in ["", WAL] {
        let pyroscope = Backend::first([status(503), status(503)]).await;
        let running = start(&(endpoint(&pyroscope.base(), "") + wal)).await;
        running.push(0..10).await;
        running.harness.stop().await;
        assert_eq!(taken(&pyroscope), (0..10).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn after_the_drain_timeout_what_is_in_memory_is_counted_and_what_is_on_disk_stays() {
    for (wal, lost) in [("", 4.0), (WAL, 0.0)] {
        let pyroscope = Backend::start(|_| Reply::Hang).await;
        let inside = "queue_config {\ndrain_timeout = \"20ms\"\n}";
        let body = endpoint(&pyroscope.base(), inside) + wal;
        let (other, folder) = (Backend::good().await, tempfile::tempdir().expect("a folder"));
        let services = Services::for_tests(folder.path());
        let running = start_in(&services, &body).await;
        running.push([1, 2, 3, 4]).await;
        pyroscope.wait(1).await;
        // The endpoint goes, the component stays and tells.
        running.update(&endpoint(&other.base(), "")).await;
        running
            .eventually("closed", |r| r.sum("pyroscope_write_queue_profiles", &pyroscope.base()) == 0.0)
            .await;
        if lost > 0.0 {
            // Forgotten with its endpoint: what is counted until then is told in the log.
            continue;
        }
        pyroscope.script(|_| status(200));
        running.update(&body).await;
        pyroscope.until(|all| taken_of(all).len() >= 4).await;
        assert_eq!(taken(&pyroscope), [1, 2, 3, 4]);
    }
}

/// Some 20 KB that begin with a number.
fn large(number: u32) -> Profiles {
    let raw = Bytes::from(format!("{number:020000}"));
    Profile::pprof(Labels::from_pairs([("service_name", "s")]), raw).into()
}

const SMALL: &str = "queue_config {\ncapacity = \"256KiB\"\ndrain_timeout = \"10ms\"\n";

#[tokio::test]
async fn a_full_queue_holds_senders_up_and_loses_nothing() {
    let pyroscope = Backend::start(|_| status(503)).await;
    let running = start(&endpoint(&pyroscope.base(), &format!("{SMALL}}}"))).await;
    running.input.send(Profiles::default()).await.expect("open");
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
    pyroscope.script(|_| status(200));
    assert_eq!(waiting.await, Ok(()));
    pyroscope.until(|all| taken_of(all).len() >= sent as usize).await;
    assert_eq!(taken(&pyroscope), (0..sent).collect::<Vec<_>>());
    assert_eq!(running.sum("pyroscope_write_dropped_profiles_total", ""), 0.0);
}

#[tokio::test]
async fn a_full_queue_that_does_not_block_drops_what_is_new_and_counts_it() {
    let pyroscope = Backend::start(|_| status(503)).await;
    let body = endpoint(&pyroscope.base(), &format!("{SMALL}block_on_overflow = false\n}}"));
    let running = start(&body).await;
    for i in 0..30 {
        running.input.send(large(i)).await.expect("taken, or dropped on purpose");
    }
    let dropped = running.dropped("queue_is_full");
    assert!(dropped >= 15.0, "{dropped}");
    pyroscope.script(|_| status(200));
    let kept = 30 - dropped as usize;
    pyroscope.until(|all| taken_of(all).len() >= kept).await;
    assert_eq!(taken(&pyroscope), (0..kept as u32).collect::<Vec<_>>(), "the oldest are kept");
}

#[tokio::test]
async fn a_profile_that_no_queue_can_hold_is_dropped_and_counted() {
    let pyroscope = Backend::good().await;
    let running = start(&endpoint(&pyroscope.base(), "queue_config {\ncapacity = \"4KiB\"\n}")).await;
    running.input.send(large(1)).await.expect("dropped on purpose");
    running.push([2]).await;
    pyroscope.until(|all| taken_of(all) == [2]).await;
    assert_eq!(running.dropped("profile_too_large"), 1.0);
}

#[tokio::test]
async fn what_is_on_disk_longer_than_max_age_is_dropped_and_counted() {
    let pyroscope = Backend::start(|_| status(503)).await;
    let wal = "wal {\nenabled = true\nmax_age = \"1s\"\n}";
    let running = start(&(endpoint(&pyroscope.base(), "max_backoff_period = \"20ms\"") + wal)).await;
    running.push([1]).await;
    running.eventually("too old", |r| r.dropped("too_old") == 1.0).await;
    pyroscope.script(|_| status(200));
    running.push([2]).await;
    pyroscope.until(|all| taken_of(all) == [2]).await;
}
