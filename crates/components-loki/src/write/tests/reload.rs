//! New arguments under load: nothing is lost, nothing repeated, each stream stays in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use component::{Rejected, Services};
use net::testkit::{Backend, Posted, Reply, status};

use super::loki::{taken, taken_by_labels, taken_of, tenant};
use super::{Running, endpoint, first_arrivals_ascend, lines, start, start_in};

/// Sends numbered lines until it is told to end; answers how many.
fn load(running: &Running) -> (Arc<AtomicBool>, tokio::task::JoinHandle<u32>) {
    let (input, end) = (running.input.clone(), Arc::new(AtomicBool::new(false)));
    let ended = end.clone();
    let task = tokio::spawn(async move {
        let mut count = 0;
        while !ended.load(Ordering::Relaxed) {
            // As a source would: what could not be taken is offered again.
            while let Err(refused) = input.send(lines("a", [count])).await {
                assert!(matches!(refused, Rejected::Retryable(_)), "{refused:?}");
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
        if count % 3 == 0 { status(503) } else { status(204) }
    }
}

/// Waits until all Lokis together have everything, each in order and once.
async fn have_all(lokis: &[&Backend], count: u32) {
    let last = *lokis.last().expect("one at least");
    last.until(|all| taken_of(all, "a").contains(&(count - 1))).await;
    let mut seen: Vec<u32> = Vec::new();
    for loki in lokis {
        // Labels that change make another stream: within a request, entries stand by stream.
        for (labels, mine) in taken_by_labels(loki) {
            assert!(mine.is_sorted(), "{labels}: {mine:?}");
            seen.extend(mine);
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..count).collect::<Vec<_>>(), "nothing is lost and nothing repeated");
}

#[tokio::test]
async fn an_endpoint_that_changes_in_place_loses_nothing_and_repeats_nothing() {
    let (a, b) = (Backend::start(flaky()).await, Backend::start(flaky()).await);
    let named = |base: &str, inside: &str| endpoint(base, &format!("name = \"n\"\n{inside}"));
    let running = start(&named(&a.base(), "")).await;
    let (end, task) = load(&running);
    for inside in [
        "bearer_token = \"t\"",
        "tenant_id = \"x\"",
        "queue_config {\nmin_shards = 4\n}",
        "queue_config {\nmin_shards = 2\n}",
        "batch_size = \"100B\"",
        "batch_wait = \"3ms\"",
    ] {
        let seen = a.all().len();
        running.update(&named(&a.base(), inside)).await;
        a.wait(seen + 3).await;
    }
    running.update(&(named(&a.base(), "") + "external_labels = { e = \"1\" }")).await;
    running.update(&named(&b.base(), "")).await;
    b.wait(3).await;
    end.store(true, Ordering::Relaxed);
    let count = task.await.expect("no panic");
    have_all(&[&a, &b], count).await;
    let all = a.all();
    assert!(all.iter().any(|p| p.headers.get("authorization").is_some_and(|h| h == "Bearer t")));
    assert!(all.iter().any(|p| tenant(p) == "x"));
    running.eventually("forgotten", |r| r.sum("loki_write_sent_entries_total", &a.base()[7..]) == 0.0).await;
}

#[tokio::test]
async fn a_storm_of_reloads_loses_nothing() {
    let loki = Backend::start(flaky()).await;
    let body = |i: u32| {
        let shards = 1 + i % 3;
        endpoint(&loki.base(), &format!("name = \"n\"\nqueue_config {{\nmin_shards = {shards}\n}}"))
    };
    let running = start(&body(0)).await;
    let (end, task) = load(&running);
    for i in 0..60 {
        running.update(&body(i)).await;
    }
    end.store(true, Ordering::Relaxed);
    let count = task.await.expect("no panic");
    have_all(&[&loki], count).await;
}

#[tokio::test]
async fn endpoints_come_and_go_without_a_loss_for_those_that_stay() {
    let (a, b) = (Backend::start(flaky()).await, Backend::start(flaky()).await);
    let (only_a, only_b) = (endpoint(&a.base(), ""), endpoint(&b.base(), ""));
    let both = format!("{only_a}{only_b}");
    let running = start(&only_a).await;
    let (end, task) = load(&running);
    a.wait(2).await;
    running.update(&both).await;
    b.wait(2).await;
    running.update(&only_a).await;
    let seen = a.all().len();
    a.wait(seen + 2).await;
    end.store(true, Ordering::Relaxed);
    let count = task.await.expect("no panic");
    have_all(&[&a], count).await;
    assert!(taken(&b, "a").is_sorted());
}

#[tokio::test]
async fn a_queue_moves_between_memory_and_disk_without_a_loss() {
    let loki = Backend::start(flaky()).await;
    let body = |enabled| format!("{}wal {{\nenabled = {enabled}\n}}", endpoint(&loki.base(), ""));
    let running = start(&body(true)).await;
    let (end, task) = load(&running);
    for enabled in [false, true, false, true] {
        let seen = loki.all().len();
        loki.wait(seen + 2).await;
        running.update(&body(enabled)).await;
    }
    end.store(true, Ordering::Relaxed);
    let count = task.await.expect("no panic");
    loki.until(|all| taken_of(all, "a").contains(&(count - 1))).await;
    has_all_at_least_once(&loki, count);
}

/// In order, whatever was in flight when a queue moved or a process was killed, and has come twice.
fn has_all_at_least_once(loki: &Backend, count: u32) {
    let mut all = taken(loki, "a");
    assert!(first_arrivals_ascend(&all), "{all:?}");
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, (0..count).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_queue_moves_from_memory_to_disk_while_loki_is_down() {
    for fault in [status(503), Reply::Hang] {
        let loki = Backend::start(move |_| fault.clone()).await;
        let body = |enabled| {
            let endpoint = endpoint(&loki.base(), "max_backoff_period = \"1h\"");
            format!("{endpoint}wal {{\nenabled = {enabled}\ndrain_timeout = \"10ms\"\n}}")
        };
        let running = start(&body(false)).await;
        for i in 0..6 {
            running.push("a", [i]).await;
        }
        loki.wait(1).await;
        running.update(&body(true)).await;
        assert_eq!(running.sum("loki_write_queue_entries", ""), 6.0);
        running.push("a", [6]).await;
        // On disk now: it survives the process.
        let folder = running.kill().await.expect("a folder");
        loki.script(|_| status(204));
        let _running = start_in(&Services::for_tests(folder.path()), &body(true)).await;
        loki.until(|all| taken_of(all, "a").contains(&6)).await;
        has_all_at_least_once(&loki, 7);
    }
}

#[tokio::test]
async fn arguments_that_are_refused_change_nothing() {
    let loki = Backend::good().await;
    let running = start(&endpoint(&loki.base(), "")).await;
    running.harness.update("endpoint { url = \"ftp://h\" }").await.expect_err("refused");
    running.push("a", [1]).await;
    loki.wait(1).await;
}

#[tokio::test]
async fn twins_have_queues_of_their_own() {
    let loki = Backend::good().await;
    let twins =
        endpoint(&loki.base(), "bearer_token = \"a\"") + &endpoint(&loki.base(), "bearer_token = \"b\"");
    let running = start(&twins).await;
    running.push("a", [1]).await;
    let mut who: Vec<_> = loki.wait(2).await.iter().map(|p| p.headers["authorization"].clone()).collect();
    who.sort();
    assert_eq!(who, ["Bearer a", "Bearer b"]);
}

#[tokio::test]
async fn a_writer_that_comes_back_goes_on_with_what_the_one_before_it_could_not_send() {
    for disk in [true, false] {
        let loki = Backend::start(|_| status(503)).await;
        let wal = format!("wal {{\nenabled = {disk}\n}}");
        let body = |shards: u32| {
            endpoint(&loki.base(), &format!("queue_config {{\nmin_shards = {shards}\n}}")) + &wal
        };
        let running = start(&body(1)).await;
        running.push("a", 0..3).await;
        loki.wait(1).await;
        let rest = tokio::spawn(running.harness.retire().await.expect("the back end is down"));
        let again = start_in(&running.harness.services, &body(3)).await;
        again.push("a", 3..5).await;
        loki.script(|_| status(204));
        have_all(&[&loki], 5).await;
        rest.await.expect("what is taken over is not drained as well");
        again.eventually("counted", |r| r.sum("loki_write_sent_entries_total", "") == 5.0).await;
    }
}
