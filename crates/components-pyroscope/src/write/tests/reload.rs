//! New arguments under load: nothing is lost, nothing repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use component::{Rejected, Services};
use net::testkit::{Backend, Posted, Reply, status};

use super::{Running, endpoint, profiles, start, start_in, taken, taken_of};

/// Sends numbered profiles until it is told to end; answers how many.
fn load(running: &Running) -> (Arc<AtomicBool>, tokio::task::JoinHandle<u32>) {
    let (input, end) = (running.input.clone(), Arc::new(AtomicBool::new(false)));
    let ended = end.clone();
    let task = tokio::spawn(async move {
        let mut count = 0;
        while !ended.load(Ordering::Relaxed) {
            // As a source would: what could not be taken is offered again.
            while let Err(refused) = input.send(profiles([count])).await {
                assert!(matches!(refused, Rejected::Retryable(_)), "{refused:?}");
            }
            count += 1;
            tokio::time::sleep(std::time::Duration::from_micros(500)).await;
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

/// Waits until all Pyroscopes together have everything, each once.
async fn have_all(pyroscopes: &[&Backend], count: u32) {
    let all = || {
        let mut all: Vec<u32> = pyroscopes.iter().flat_map(|p| taken(p)).collect();
        all.sort_unstable();
        all
    };
    let wait = async {
        while all().len() < count as usize {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), wait).await.expect("all arrive");
    assert_eq!(all(), (0..count).collect::<Vec<_>>(), "nothing is lost and nothing repeated");
}

#[tokio::test]
async fn an_endpoint_that_changes_in_place_loses_nothing_and_repeats_nothing() {
    let (a, b) = (Backend::start(flaky()).await, Backend::start(flaky()).await);
    let named = |base: &str, inside: &str| endpoint(base, &format!("name = \"n\"\n{inside}"));
    let running = start(&named(&a.base(), "")).await;
    let (end, task) = load(&running);
    for inside in [
        "bearer_token = \"t\"",
        "headers = { \"X-Scope-OrgID\" = \"x\" }",
        "queue_config {\nmax_shards = 1\n}",
        "queue_config {\nmax_shards = 4\n}",
        "remote_timeout = \"9s\"",
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
    assert!(all.iter().any(|p| p.headers.get("x-scope-orgid").is_some_and(|h| h == "x")));
    running.eventually("forgotten", |r| r.sum("pyroscope_write_sent_profiles_total", &a.base()) == 0.0).await;
}

#[tokio::test]
async fn a_storm_of_reloads_loses_nothing() {
    let pyroscope = Backend::start(flaky()).await;
    let body = |i: u32| {
        let shards = 1 + i % 3;
        endpoint(&pyroscope.base(), &format!("name = \"n\"\nqueue_config {{\nmax_shards = {shards}\n}}"))
    };
    let running = start(&body(0)).await;
    let (end, task) = load(&running);
    for i in 0..60 {
        running.update(&body(i)).await;
    }
    end.store(true, Ordering::Relaxed);
    let count = task.await.expect("no panic");
    have_all(&[&pyroscope], count).await;
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
}

#[tokio::test]
async fn a_queue_moves_between_memory_and_disk_without_a_loss() {
    let pyroscope = Backend::start(flaky()).await;
    let body = |enabled| format!("{}wal {{\nenabled = {enabled}\n}}", endpoint(&pyroscope.base(), ""));
    let running = start(&body(true)).await;
    let (end, task) = load(&running);
    for enabled in [false, true, false, true] {
        let seen = pyroscope.all().len();
        pyroscope.wait(seen + 2).await;
        running.update(&body(enabled)).await;
    }
    end.store(true, Ordering::Relaxed);
    let count = task.await.expect("no panic");
    has_all_at_least_once(&pyroscope, count).await;
}

/// What was in flight when a queue moved or a process was killed may have come twice.
async fn has_all_at_least_once(pyroscope: &Backend, count: u32) {
    pyroscope
        .until(|all| {
            let mut all = taken_of(all);
            all.sort_unstable();
            all.dedup();
            all == (0..count).collect::<Vec<_>>()
        })
        .await;
}

#[tokio::test]
async fn a_queue_moves_from_memory_to_disk_while_pyroscope_is_down() {
    for fault in [status(503), Reply::Hang] {
        let pyroscope = Backend::start(move |_| fault.clone()).await;
        let body = |enabled| {
            let inside = "max_backoff_period = \"1h\"\nqueue_config {\ndrain_timeout = \"10ms\"\n}";
            format!("{}wal {{\nenabled = {enabled}\n}}", endpoint(&pyroscope.base(), inside))
        };
        let running = start(&body(false)).await;
        running.push(0..6).await;
        pyroscope.wait(1).await;
        running.update(&body(true)).await;
        assert_eq!(running.sum("pyroscope_write_queue_profiles", ""), 6.0);
        running.push([6]).await;
        // On disk now: it survives the process.
        let folder = running.kill().await.expect("a folder");
        pyroscope.script(|_| status(200));
        let _running = start_in(&Services::for_tests(folder.path()), &body(true)).await;
        has_all_at_least_once(&pyroscope, 7).await;
    }
}

#[tokio::test]
async fn arguments_that_are_refused_change_nothing() {
    let pyroscope = Backend::good().await;
    let running = start(&endpoint(&pyroscope.base(), "")).await;
    running.harness.update("endpoint { url = \"ftp://h\" }").await.expect_err("refused");
    running.push([1]).await;
    pyroscope.wait(1).await;
}

#[tokio::test]
async fn twins_have_queues_of_their_own() {
    let pyroscope = Backend::good().await;
    let twins = endpoint(&pyroscope.base(), "bearer_token = \"a\"")
        + &endpoint(&pyroscope.base(), "bearer_token = \"b\"");
    let running = start(&twins).await;
    running.push([2]).await;
    let mut who: Vec<_> =
        pyroscope.wait(2).await.iter().map(|p| p.headers["authorization"].clone()).collect();
    who.sort();
    assert_eq!(who, ["Bearer a", "Bearer b"]);
}

#[tokio::test]
async fn a_writer_that_comes_back_goes_on_with_what_the_one_before_it_could_not_send() {
    for disk in [true, false] {
        let pyroscope = Backend::start(|_| status(503)).await;
        let body = format!("{}wal {{\nenabled = {disk}\n}}", endpoint(&pyroscope.base(), ""));
        let running = start(&body).await;
        running.push(0..6).await;
        pyroscope.wait(1).await;
        let rest = tokio::spawn(running.harness.retire().await.expect("the back end is down"));
        let again = start_in(&running.harness.services, &body).await;
        again.push(6..8).await;
        pyroscope.script(|_| status(200));
        have_all(&[&pyroscope], 8).await;
        rest.await.expect("what is taken over is not drained as well");
    }
}
