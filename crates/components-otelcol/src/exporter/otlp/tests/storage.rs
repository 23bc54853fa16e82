//! Queues on disk: what was acknowledged is delivered after the end of the process, whatever that end is.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use component::eval::ArgValue as _;
use component::testkit::{Harness, Names};
use component::{ComponentDef, Services};
use net::grpc::Code;

use super::{DEFINITION, body};
use crate::auth::Handler;
use crate::exporter::otlphttp::OtlpHttp;
use crate::exporter::sending::testkit::{GrpcBackend, Outcome, Running, logs, taken_of};
use crate::storage::file::FileStorage;

/// The handler of a storage in a folder, by the name `stored`.
async fn names(root: &Path) -> Names {
    let storage =
        Harness::new(ComponentDef::of::<FileStorage>(), Names::default(), Services::for_tests(root));
    storage.update("").await.expect("valid");
    let exports = storage.node.exports();
    let handler =
        Handler::from_value(&exports.as_object().expect("an object")["handler"]).expect("a handler");
    Names::default().with("stored", handler.to_value())
}

fn queue(more: &str) -> String {
    format!("sending_queue {{\nstorage = stored\n{more}\n}}")
}

async fn start(root: &Path, endpoint: &str, more: &str) -> Running {
    Running::start_in(DEFINITION, &body(endpoint, "", &queue(more)), names(root).await, root).await
}

/// Of the two halves of a test the one that is killed: takes records in and never delivers them.
#[tokio::test]
#[ignore = "run by the test below, as a process of its own"]
async fn takes_in_and_waits_for_its_end() {
    let Ok(root) = std::env::var("QUEUE_ROOT") else { return };
    let backend = GrpcBackend::start(|_| Outcome::Fails(Code::Unavailable)).await;
    let running = start(Path::new(&root), &backend.address(), "").await;
    for number in 0.. {
        // The acknowledgement is what counts.
        running.push([number]).await;
        println!("taken {number}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let root = tempfile::tempdir().expect("a folder");
    let mut child = Command::new(std::env::current_exe().expect("a test"))
        .args(["--exact", "exporter::otlp::tests::storage::takes_in_and_waits_for_its_end"])
        .args(["--ignored", "--nocapture"])
        .env("QUEUE_ROOT", root.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("runs");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let mut taken = None;
    for line in output.lines() {
        let line = line.expect("text");
        if let Some((_, number)) = line.rsplit_once("taken ") {
            taken = Some(number.parse::<u64>().expect("a number"));
            if taken == Some(300) {
                child.kill().expect("killed");
            }
        }
    }
    child.wait().expect("ended");
    let taken = taken.expect("something was taken");
    let backend = GrpcBackend::good().await;
    let running = start(root.path(), &backend.address(), "").await;
    let all = |calls: &[_]| taken_of(calls).iter().filter(|n| **n <= taken).count() as u64 > taken;
    backend.until(all).await;
    let mut found = backend.taken();
    found.dedup();
    assert_eq!(found[..=taken as usize], (0..=taken).collect::<Vec<_>>());
    assert_eq!(running.failed(), 0.0);
}

#[tokio::test]
async fn what_is_not_sent_at_the_stop_stays_and_goes_on_after_it() {
    let root = tempfile::tempdir().expect("a folder");
    let dead = GrpcBackend::start(|_| Outcome::Fails(Code::Unavailable)).await;
    let running = start(root.path(), &dead.address(), "num_consumers = 1").await;
    running.push(0..20).await;
    dead.wait(2).await;
    running.harness.stop().await;
    assert_eq!(running.failed(), 0.0);
    drop(running);
    let backend = GrpcBackend::good().await;
    let running = start(root.path(), &backend.address(), "num_consumers = 1").await;
    let all = backend.until(|all| taken_of(all).len() == 20).await;
    // One sender: in the order in which they came.
    let order: Vec<u64> = all.iter().flat_map(|called| called.numbers()).collect();
    assert_eq!(order, (0..20).collect::<Vec<_>>());
    running.harness.stop().await;
}

#[tokio::test]
async fn an_exporter_that_comes_back_goes_on_with_what_the_one_before_it_could_not_send() {
    for stored in [true, false] {
        let root = tempfile::tempdir().expect("a folder");
        let backend = GrpcBackend::start(|_| Outcome::Fails(Code::Unavailable)).await;
        let sending = if stored {
            queue("num_consumers = 1")
        } else {
            "sending_queue {\nnum_consumers = 1\n}".to_string()
        };
        let text = body(&backend.address(), "", &sending);
        let running = Running::start_in(DEFINITION, &text, names(root.path()).await, root.path()).await;
        running.push(0..20).await;
        backend.wait(1).await;
        let rest = tokio::spawn(running.harness.retire().await.expect("the back end is down"));
        let services = running.harness.services.clone();
        let again = Running::beside(DEFINITION, &text, names(root.path()).await, services).await;
        again.push(20..22).await;
        backend.script(|_| Outcome::Taken);
        backend.until(|all| taken_of(all).len() == 22).await;
        assert_eq!(backend.taken(), (0..22).collect::<Vec<_>>());
        rest.await.expect("what is taken over is not drained as well");
        again.eventually("counted", |r| r.sum("otelcol_exporter_sent_log_records_total", "") == 22.0).await;
        again.harness.stop().await;
    }
}

#[tokio::test]
async fn the_size_of_the_queue_counts_on_disk_too() {
    for (sizer, size, fits) in [("requests", 3, 3), ("items", 6, 3)] {
        let root = tempfile::tempdir().expect("a folder");
        let dead = GrpcBackend::start(|_| Outcome::Hangs).await;
        let limits = format!("sizer = {sizer:?}\nqueue_size = {size}");
        let running = start(root.path(), &dead.address(), &limits).await;
        for _ in 0..fits {
            running.send(logs(&[&[1, 2]])).await.expect("taken");
        }
        let refused = running.send(logs(&[&[1, 2]])).await.expect_err("full");
        assert!(matches!(&refused, component::Rejected::Retryable(m) if m.contains("full")), "{refused:?}");
        assert_eq!(running.sum("otelcol_exporter_enqueue_failed_log_records_total", ""), 2.0);
    }
}

#[tokio::test]
async fn a_queue_moves_to_the_disk_and_back_without_loss() {
    let root = tempfile::tempdir().expect("a folder");
    let backend = GrpcBackend::start(|_| Outcome::Fails(Code::Unavailable)).await;
    let memory = body(&backend.address(), "", "");
    let running = Running::start_in(DEFINITION, &memory, names(root.path()).await, root.path()).await;
    running.push(0..50).await;
    running.update(&body(&backend.address(), "", &queue(""))).await;
    running.push(50..100).await;
    running.eventually("on disk", |r| r.sum("otelcol_exporter_queue_size", "logs") == 100.0).await;
    backend.script(|_| Outcome::Taken);
    running.update(&memory).await;
    running.push(100..110).await;
    backend.until(|all| taken_of(all).len() >= 110).await;
    let mut taken = backend.taken();
    taken.dedup();
    assert_eq!(taken, (0..110).collect::<Vec<_>>());
    assert_eq!(running.failed(), 0.0);
}

#[tokio::test]
async fn a_folder_that_another_holds_is_waited_for() {
    let root = tempfile::tempdir().expect("a folder");
    let backend = GrpcBackend::good().await;
    let first = start(root.path(), &backend.address(), "").await;
    first.push([1]).await;
    backend.wait(1).await;
    let second = start(root.path(), &backend.address(), "").await;
    let sending = second.send(logs(&[&[2]]));
    tokio::pin!(sending);
    assert!(futures_util::FutureExt::now_or_never(&mut sending).is_none(), "its sender waits");
    first.harness.stop().await;
    sending.await.expect("taken");
    backend.until(|all| taken_of(all) == [1, 2]).await;
}

#[tokio::test]
async fn the_queue_of_otlphttp_is_kept_as_well() {
    let root = tempfile::tempdir().expect("a folder");
    let body = |base: &str| format!("client {{\nendpoint = {base:?}\n}}\n{}{}", super::FAST, queue(""));
    let definition = ComponentDef::of::<OtlpHttp>();
    let names = names(root.path()).await;
    // Nothing listens there.
    let running =
        Running::start_in(definition, &body("http://127.0.0.1:1"), names.clone(), root.path()).await;
    running.push(0..5).await;
    running.harness.stop().await;
    drop(running);
    let backend = net::testkit::Backend::good().await;
    let running = Running::start_in(definition, &body(&backend.base()), names, root.path()).await;
    assert_eq!(backend.wait(5).await.len(), 5);
    running.eventually("counted", |r| r.sent() == 5.0).await;
}
