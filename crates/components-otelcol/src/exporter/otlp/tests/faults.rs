//! What every outcome means, seen from outside.

use std::time::Duration;

use net::grpc::Code;

use super::{body, start};
use crate::exporter::sending::testkit::{GrpcBackend, Outcome, logs, taken_of};

#[tokio::test]
async fn what_may_succeed_later_is_tried_again() {
    for outcome in [
        Outcome::Fails(Code::Unavailable),
        Outcome::Fails(Code::Cancelled),
        Outcome::Fails(Code::Aborted),
        Outcome::Fails(Code::DataLoss),
        Outcome::Hangs,
        Outcome::Http(502),
        Outcome::NoStatus,
    ] {
        let backend = GrpcBackend::first([outcome.clone()]).await;
        let running = start(&body(&backend.address(), "", "timeout = \"200ms\"")).await;
        running.push([1]).await;
        backend.until(|all| all.len() >= 2 && all[1].numbers() == [1]).await;
        running.eventually("counted", |r| r.sent() == 1.0).await;
        assert_eq!(running.failed(), 0.0, "{outcome:?}");
    }
}

#[tokio::test]
async fn what_is_refused_for_good_is_counted_and_holds_up_nothing() {
    for code in [Code::InvalidArgument, Code::Unimplemented, Code::ResourceExhausted, Code::PermissionDenied]
    {
        let backend = GrpcBackend::first([Outcome::Fails(code)]).await;
        let running = start(&body(&backend.address(), "", "")).await;
        running.push([1]).await;
        running.eventually("counted", |r| r.dropped("refused") == 1.0).await;
        running.push([2]).await;
        backend.until(|all| taken_of(all) == [2]).await;
        assert_eq!(backend.all().len(), 2, "{code:?} is not tried again");
    }
}

#[tokio::test]
async fn a_partial_success_is_counted() {
    let backend = GrpcBackend::first([Outcome::Partly { rejected: 2, message: "late" }]).await;
    let running = start(&body(&backend.address(), "", "")).await;
    running.send(logs(&[&[1, 2, 3]])).await.expect("taken");
    running.eventually("counted", |r| r.sent() == 1.0).await;
    assert_eq!((running.dropped("partial_success"), running.failed()), (2.0, 2.0));
}

#[tokio::test]
async fn a_back_end_that_names_a_time_is_left_alone_until_then() {
    let backend = GrpcBackend::first([Outcome::FailsFor(Code::ResourceExhausted, 1)]).await;
    let running = start(&body(&backend.address(), "", "")).await;
    let began = std::time::Instant::now();
    running.push([1]).await;
    backend.wait(1).await;
    running.push([2, 3]).await;
    backend.until(|all| taken_of(all) == [1, 2, 3]).await;
    // A millisecond would be the back-off.
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    assert_eq!(running.failed(), 0.0);
}

#[tokio::test]
async fn of_requests_that_share_a_call_only_the_bad_one_is_lost() {
    let backend = GrpcBackend::start(|called| match called.numbers().contains(&2) {
        true => Outcome::Fails(Code::InvalidArgument),
        false => Outcome::Taken,
    })
    .await;
    let running = start(&body(&backend.address(), "", "")).await;
    running.send(logs(&[&[1], &[2], &[3]])).await.expect("taken");
    backend.until(|all| taken_of(all) == [1, 3]).await;
    running.eventually("counted", |r| r.dropped("refused") == 1.0).await;
}

#[tokio::test]
async fn a_back_end_that_comes_late_gets_everything() {
    let backend = GrpcBackend::start(|_| Outcome::Fails(Code::Unavailable)).await;
    let running = start(&body(&backend.address(), "", "")).await;
    running.push(0..100).await;
    backend.wait(20).await;
    backend.script(|_| Outcome::Taken);
    backend.until(|all| taken_of(all).len() == 100).await;
    assert_eq!(backend.taken(), (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn without_a_queue_the_sender_gets_the_back_ends_answer() {
    let backend = GrpcBackend::first([Outcome::Fails(Code::Unavailable), Outcome::Taken]).await;
    let running = start(&body(&backend.address(), "", "sending_queue {\nenabled = false\n}")).await;
    running.push([1]).await;
    assert_eq!(backend.taken(), [1]);
    backend.script(|_| Outcome::Fails(Code::InvalidArgument));
    let refused = running.send(logs(&[&[2]])).await.expect_err("refused");
    assert!(matches!(&refused, component::Rejected::Permanent(m) if m.contains("as told")), "{refused:?}");
}
