//! New arguments under load: nothing is lost, each series stays in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use component::Rejected;
use futures_util::FutureExt;
use signal::Samples;

use super::receiver::{Posted, Receiver, RemoteWrite as _, status, taken, written};
use super::{FAST, Running, batch, endpoint, first_arrivals_ascend, start};

/// Sends numbered samples until it is told to end; answers how many.
fn load(running: &Running) -> (Arc<AtomicBool>, tokio::task::JoinHandle<u32>) {
    let (input, end) = (running.input.clone(), Arc::new(AtomicBool::new(false)));
    let ended = end.clone();
    let task = tokio::spawn(async move {
        let mut count = 0;
        while !ended.load(Ordering::Relaxed) {
            // As a client would: what could not be taken is offered again.
            while let Err(refused) = input.send(Samples::new(batch("up", &[f64::from(count)]))).await {
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
fn flaky() -> impl FnMut(&Posted) -> super::receiver::Reply {
    let mut count = 0;
    move |posted| {
        count += 1;
        if count % 3 == 0 { status(503) } else { written(posted) }
    }
}

/// Waits until all receivers together have everything, each in order.
async fn has_all(receivers: &[&Receiver], count: u32) {
    let last = *receivers.last().expect("one at least");
    last.until(|all| taken(all).contains(&f64::from(count - 1))).await;
    let mut seen: Vec<f64> = receivers.iter().flat_map(|r| r.taken()).collect();
    for receiver in receivers {
        assert!(first_arrivals_ascend(&receiver.taken()));
    }
    seen.sort_by(f64::total_cmp);
    seen.dedup();
    assert_eq!(seen, (0..count).map(f64::from).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_endpoint_that_changes_in_place_loses_nothing() {
    let (a, b) = (Receiver::start(flaky()).await, Receiver::start(flaky()).await);
    let named = |url: &str, inside: &str| endpoint(url, &format!("name = \"n\"\n{inside}"));
    let rule = "write_relabel_config {\ntarget_label = \"x\"\nreplacement = \"1\"\n}";
    let shards = FAST.replace("queue_config {", "queue_config {\nmax_shards = 3\nmax_samples_per_send = 2");
    let running = start(&named(&a.url(), "")).await;
    let (end, task) = load(&running);
    for inside in
        ["bearer_token = \"t\"", rule, &shards, "protobuf_message = \"io.prometheus.write.v2.Request\""]
    {
        let seen = a.all().len();
        running.update(&named(&a.url(), inside)).await;
        a.wait(seen + 3).await;
    }
    running.update(&named(&b.url(), "")).await;
    b.wait(3).await;
    end.store(true, Ordering::Relaxed);
    let count = task.await.expect("no panic");
    has_all(&[&a, &b], count).await;
    let all = a.all();
    assert!(all.iter().any(|p| p.headers.get("authorization").is_some_and(|h| h == "Bearer t")));
    assert!(all.iter().any(|p| p.samples().iter().any(|s| s.series == r#"up{x="1"}"#)));
    assert!(all.iter().any(Posted::is_v2));
    let shown = running.metric("prometheus_remote_storage_samples_total");
    assert!(shown.iter().all(|line| line.contains(&b.base())), "{shown:?}");
}

#[tokio::test]
async fn endpoints_come_and_go_without_a_loss_for_those_that_stay() {
    let (a, b) = (Receiver::start(flaky()).await, Receiver::start(flaky()).await);
    let (only_a, only_b) = (endpoint(&a.url(), ""), endpoint(&b.url(), ""));
    let both = format!("{only_a}{only_b}");
    let running = start(&only_a).await;
    let (end, task) = load(&running);
    a.wait(2).await;
    running.update(&both).await;
    b.wait(2).await;
    running.update(&only_a).await;
    let seen = a.all().len();
    a.wait(seen + 2).await;
    running.update(&both).await;
    let seen = b.all().len();
    b.wait(seen + 2).await;
    running.update(&only_b).await;
    let seen = b.all().len();
    b.wait(seen + 2).await;
    end.store(true, Ordering::Relaxed);
    let count = task.await.expect("no panic");
    has_all(&[&a, &b], count).await;
}

#[tokio::test]
async fn a_queue_moves_between_memory_and_disk_without_a_loss() {
    let receiver = Receiver::start(flaky()).await;
    let body = |enabled| format!("{}wal {{\nenabled = {enabled}\n}}", endpoint(&receiver.url(), ""));
    let running = start(&body(true)).await;
    let (end, task) = load(&running);
    for enabled in [false, true, false, true] {
        let seen = receiver.all().len();
        receiver.wait(seen + 2).await;
        running.update(&body(enabled)).await;
    }
    end.store(true, Ordering::Relaxed);
    let count = task.await.expect("no panic");
    has_all(&[&receiver], count).await;
}

#[tokio::test]
async fn a_queue_moves_from_memory_to_disk_while_its_endpoint_is_down() {
    for fault in [status(503), super::receiver::Reply::Hang] {
        let receiver = Receiver::start(move |_| fault.clone()).await;
        let queue =
            "queue_config {\nmin_backoff = \"1ms\"\nmax_backoff = \"1h\"\nbatch_send_deadline = \"0s\"\n}";
        let body = |enabled| format!("{}wal {{\nenabled = {enabled}\n}}", endpoint(&receiver.url(), queue));
        let running = start(&body(false)).await;
        for i in 0..6 {
            running.push("up", f64::from(i)).await;
        }
        receiver.wait(1).await;
        running.update(&body(true)).await;
        assert_eq!(running.sum("prometheus_remote_storage_samples_pending", ""), 6.0);
        running.push("up", 6.0).await;
        // On disk now: it survives the process.
        let folder = running.kill().await.expect("a folder");
        receiver.script(written);
        let running = super::start_in(&component::Services::for_tests(folder.path()), &body(true)).await;
        has_all(&[&receiver], 7).await;
        drop(running);
    }
}

#[tokio::test]
async fn a_new_url_is_not_bound_by_what_was_learned_about_the_old_one() {
    let (old, new) = (Receiver::start(|_| status(415)).await, Receiver::good().await);
    old.script(|posted| if posted.is_v2() { status(415) } else { status(204) });
    let inside = "name = \"n\"\nprotobuf_message = \"io.prometheus.write.v2.Request\"";
    let running = start(&endpoint(&old.url(), inside)).await;
    running.push("up", 1.0).await;
    old.wait(2).await;
    running.update(&endpoint(&new.url(), inside)).await;
    running.push("up", 2.0).await;
    assert!(new.wait(1).await[0].is_v2());
}

#[tokio::test]
async fn arguments_that_are_refused_change_nothing() {
    let receiver = Receiver::good().await;
    let running = start(&endpoint(&receiver.url(), "")).await;
    running.harness.update("endpoint { url = \"ftp://h\" }").await.expect_err("refused");
    running.push("up", 1.0).await;
    receiver.wait(1).await;
}

#[tokio::test]
async fn twins_have_queues_and_metrics_of_their_own() {
    let receiver = Receiver::good().await;
    let twins = endpoint(&receiver.url(), "bearer_token = \"a\"")
        + &endpoint(&receiver.url(), "bearer_token = \"b\"");
    let running = start(&twins).await;
    running.push("up", 1.0).await;
    let all = receiver.wait(2).await;
    let mut who: Vec<_> = all.iter().map(|p| p.headers["authorization"].clone()).collect();
    who.sort();
    assert_eq!(who, ["Bearer a", "Bearer b"]);
    running.eventually("sent", |r| r.sum("prometheus_remote_storage_samples_total", "") == 2.0).await;
    assert_eq!(running.metric("prometheus_remote_storage_samples_total").len(), 2);
}

#[tokio::test]
async fn without_endpoints_samples_are_taken_and_go_nowhere() {
    let running = start("").await;
    running.push("up", 1.0).await;
    assert_eq!(running.sum("prometheus_remote_storage_samples_in_total", ""), 1.0);
    assert!(running.input.send(Samples::default()).now_or_never().is_some());
}

#[tokio::test]
async fn a_writer_that_comes_back_goes_on_with_what_the_one_before_it_could_not_send() {
    use super::receiver::Reply;
    for (disk, fault) in
        [(true, status(503)), (false, status(503)), (true, Reply::Hang), (false, Reply::Hang)]
    {
        let receiver = Receiver::start(move |_| fault.clone()).await;
        let inside = "remote_timeout = \"200ms\"\nqueue_config {\nmin_backoff = \"1ms\"\nmax_backoff = \"5ms\"\nbatch_send_deadline = \"0s\"\n}";
        let body = format!("{}wal {{\nenabled = {disk}\n}}", endpoint(&receiver.url(), inside));
        let running = start(&body).await;
        for i in 0..6 {
            running.push("up", f64::from(i)).await;
        }
        receiver.wait(1).await;
        let rest = running.harness.retire().await.expect("the back end is down");
        let rest = tokio::spawn(rest);
        let again = super::start_in(&running.harness.services, &body).await;
        again.push("up", 6.0).await;
        assert_eq!(again.sum("prometheus_remote_storage_samples_pending", ""), 7.0);
        receiver.script(written);
        again.push("up", 7.0).await;
        has_all(&[&receiver], 8).await;
        rest.await.expect("what is taken over is not drained as well");
        let sent = |r: &Running| r.sum("prometheus_remote_storage_samples_total", "");
        again.eventually("the new node counts what it sends", |r| sent(r) >= 8.0).await;
    }
}

#[tokio::test]
async fn a_writer_that_comes_back_for_another_back_end_leaves_the_old_queue_to_the_one_before_it() {
    let (old, new) = (Receiver::start(|_| status(503)).await, Receiver::good().await);
    for disk in [true, false] {
        let body =
            |receiver: &Receiver| format!("{}wal {{\nenabled = {disk}\n}}", endpoint(&receiver.url(), ""));
        let running = start(&body(&old)).await;
        running.push("up", 0.0).await;
        let rest = tokio::spawn(running.harness.retire().await.expect("the back end is down"));
        let again = super::start_in(&running.harness.services, &body(&new)).await;
        let seen = new.all().len();
        again.push("up", 1.0).await;
        new.wait(seen + 1).await;
        // It sends for as long as it would have without a successor.
        let seen = old.all().len();
        old.script(written);
        old.wait(seen + 1).await;
        old.until(|all| taken(all).contains(&0.0)).await;
        rest.await.expect("no panic");
        old.script(|_| status(503));
    }
}

#[tokio::test]
async fn an_endpoint_that_comes_back_while_it_drains_keeps_its_queue() {
    for disk in [true, false] {
        let (a, b) = (Receiver::start(|_| status(503)).await, Receiver::good().await);
        let wal = format!("wal {{\nenabled = {disk}\n}}");
        let only_b = endpoint(&b.url(), "") + &wal;
        let both = endpoint(&a.url(), "") + &only_b;
        let running = start(&both).await;
        for i in 0..4 {
            running.push("up", f64::from(i)).await;
        }
        a.wait(1).await;
        running.update(&only_b).await;
        running.update(&both).await;
        // Taken at once: nothing waits for the end of a drain.
        running.push("up", 4.0).await;
        a.script(written);
        has_all(&[&a], 5).await;
    }
}
