//! What every answer means.

use component::Rejected;
use net::testkit::{Backend, Posted, Reply, status};
use prost::Message as _;
use signal::otlp::proto::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use tokio::time::Instant;

use super::{FAST, body, logs, numbers, start, taken, taken_of};

#[tokio::test]
async fn every_status_means_what_the_specification_says() {
    for code in [429, 502, 503, 504, 301, 302, 303] {
        let backend = Backend::first([status(code), status(code)]).await;
        let running = start(&body(&backend.base(), "", "")).await;
        running.push([1]).await;
        backend.until(|all| taken_of(all) == [1]).await;
        assert_eq!(backend.all().len(), 3, "{code}");
        running.eventually("counted", |r| r.sent() == 1.0).await;
        assert_eq!(running.failed(), 0.0, "{code}");
    }
    for code in [400, 401, 403, 404, 405, 408, 413, 415, 422, 500, 501, 505] {
        let backend = Backend::first([status(code)]).await;
        let running = start(&body(&backend.base(), "", "")).await;
        running.push([1]).await;
        running.eventually("counted", |r| r.dropped("refused") == 1.0).await;
        running.push([2]).await;
        backend.until(|all| taken_of(all) == [2]).await;
        assert_eq!(backend.all().len(), 2, "{code} is not tried again");
        assert_eq!(running.failed(), 1.0, "{code}");
    }
}

#[tokio::test]
async fn what_breaks_on_the_way_is_tried_again() {
    for reply in [Reply::Reset, Reply::Raw("nonsense"), Reply::Hang] {
        let backend = Backend::first([reply.clone()]).await;
        let running = start(&body(&backend.base(), "timeout = \"200ms\"", "")).await;
        running.push([1]).await;
        backend.until(|all| taken_of(all) == [1]).await;
        assert_eq!(running.failed(), 0.0, "{reply:?}");
    }
}

#[tokio::test]
async fn a_redirect_that_keeps_the_post_is_followed() {
    let (backend, moved) = (Backend::good().await, Backend::good().await);
    let to = format!("{}/elsewhere", moved.base());
    backend.script(move |_| Reply::Answer {
        status: 308,
        headers: vec![("location", to.clone())],
        body: String::new(),
    });
    let running = start(&body(&backend.base(), "", "")).await;
    running.push([1]).await;
    let all = moved.wait(1).await;
    assert_eq!((all[0].path.as_str(), numbers(&all[0])), ("/elsewhere", vec![1]));
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let reply =
        Reply::Answer { status: 503, headers: vec![("retry-after", "1".into())], body: String::new() };
    for queue in ["", "sending_queue {\nenabled = false\n}"] {
        let backend = Backend::first([reply.clone()]).await;
        let running = start(&body(&backend.base(), "", queue)).await;
        let began = Instant::now();
        running.push([1]).await;
        backend.until(|all| taken_of(all) == [1]).await;
        assert!(began.elapsed().as_millis() >= 1000, "{:?}", began.elapsed());
    }
}

/// An answer in protobuf. What is in these is text as well.
fn partial(rejected: i64, text: &str) -> Reply {
    let partial_success =
        Some(ExportLogsPartialSuccess { rejected_log_records: rejected, error_message: text.into() });
    let bytes = ExportLogsServiceResponse { partial_success }.encode_to_vec();
    Reply::Answer {
        status: 200,
        headers: vec![("content-type", "application/x-protobuf".into())],
        body: String::from_utf8(bytes).expect("small numbers"),
    }
}

#[tokio::test]
async fn what_a_partial_success_rejects_is_counted_and_not_sent_again() {
    let json = |text: &str| Reply::Answer {
        status: 200,
        headers: vec![("content-type", "application/json".into())],
        body: text.into(),
    };
    for (reply, rejected) in [
        (partial(2, "too late"), 2.0),
        (partial(1, ""), 1.0),
        (partial(0, "only a warning"), 0.0),
        (partial(99, "more than there were"), 3.0),
        (json(r#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"x"}}"#), 2.0),
        (json("{}"), 0.0),
        (json("not JSON"), 0.0),
    ] {
        let backend = Backend::first([reply.clone()]).await;
        let running = start(&body(&backend.base(), "", "")).await;
        running.send(logs(&[&[1, 2, 3]])).await.expect("taken");
        running.eventually("counted", |r| r.sent() + r.failed() == 3.0).await;
        assert_eq!((running.failed(), running.dropped("partial_success")), (rejected, rejected), "{reply:?}");
        running.harness.stop().await;
        assert_eq!(backend.all().len(), 1);
    }
}

/// Refuses posts with the number 2, and those with several at once for now.
fn picky(code: u16) -> impl FnMut(&Posted) -> Reply {
    move |posted| status(if numbers(posted).contains(&2) { code } else { 200 })
}

#[tokio::test]
async fn requests_that_share_a_refused_post_are_tried_one_by_one() {
    for code in [400, 413, 422] {
        let backend = Backend::start(picky(code)).await;
        let running = start(&body(&backend.base(), "", "")).await;
        running.send(logs(&[&[1, 10], &[2], &[3]])).await.expect("taken");
        running.eventually("counted", |r| r.sent() == 3.0 && r.failed() == 1.0).await;
        assert_eq!(taken(&backend), [1, 3, 10]);
        assert_eq!(running.dropped("refused"), 1.0);
    }
    // Joined in the queue.
    let backend = Backend::start(picky(400)).await;
    let queue = "sending_queue {\nbatch {\nmin_size = 3\nflush_timeout = \"1h\"\n}\n}";
    let running = start(&body(&backend.base(), "", queue)).await;
    running.push([1, 2, 3]).await;
    running.eventually("counted", |r| r.sent() == 2.0 && r.failed() == 1.0).await;
    assert_eq!(taken(&backend), [1, 3]);
}

#[tokio::test]
async fn a_failure_between_requests_that_are_tried_one_by_one_sends_none_twice() {
    let mut fails = 2;
    let backend = Backend::start(move |posted| match numbers(posted)[..] {
        [_, _, ..] => status(400),
        [3] if fails > 0 => {
            fails -= 1;
            status(503)
        }
        _ => status(200),
    })
    .await;
    let running = start(&body(&backend.base(), "", "")).await;
    running.send(logs(&[&[1], &[2], &[3], &[4]])).await.expect("taken");
    backend.until(|all| taken_of(all).len() >= 4).await;
    running.harness.stop().await;
    assert_eq!(taken(&backend), [1, 2, 3, 4]);
    assert_eq!(running.sent(), 4.0);
}

#[tokio::test]
async fn a_request_is_given_up_after_its_time_and_the_next_one_has_its_own() {
    let backend = Backend::start(|_| status(503)).await;
    let retry = "retry_on_failure {\ninitial_interval = \"1ms\"\nmax_interval = \"5ms\"\nmax_elapsed_time = \"60ms\"\n}\n";
    let running =
        start(&body(&backend.base(), "", &format!("{retry}sending_queue {{\nnum_consumers = 1\n}}"))).await;
    running.push([1, 2]).await;
    running.eventually("given up", |r| r.dropped("unavailable") == 2.0).await;
    let tries = |n: u64| backend.all().iter().filter(|p| numbers(p) == [n]).count();
    assert!(tries(1) > 2 && tries(2) > 2, "{} {}", tries(1), tries(2));
    assert_eq!(running.failed(), 2.0);
}

#[tokio::test]
async fn without_retries_the_first_failure_is_the_last() {
    let backend = Backend::first([status(503)]).await;
    let running = start(&body(&backend.base(), "", "retry_on_failure {\nenabled = false\n}")).await;
    running.push([1]).await;
    running.eventually("given up", |r| r.dropped("unavailable") == 1.0).await;
    assert_eq!(backend.all().len(), 1);
}

#[tokio::test]
async fn without_a_queue_a_sender_gets_the_answer_of_the_back_end() {
    let direct = |retry: &str| format!("sending_queue {{\nenabled = false\n}}\n{retry}");
    let once = "retry_on_failure {\nenabled = false\n}";
    let short = "retry_on_failure {\ninitial_interval = \"1ms\"\nmax_interval = \"2ms\"\nmax_elapsed_time = \"30ms\"\n}";
    for (retry, code, expected) in [
        (once, 200, Ok(())),
        (once, 503, Err(true)),
        (once, 400, Err(false)),
        (short, 503, Err(true)),
        (FAST, 404, Err(false)),
    ] {
        let backend = Backend::start(move |_| status(code)).await;
        let running = start(&body(&backend.base(), "", &direct(retry))).await;
        let answer = running.send(logs(&[&[1]])).await;
        let retryable = answer.map_err(|rejected| matches!(rejected, Rejected::Retryable(_)));
        assert_eq!(retryable, expected, "{retry} {code}");
        assert_eq!(running.failed(), if expected.is_ok() { 0.0 } else { 1.0 });
    }
    let backend = Backend::first([status(503), status(429)]).await;
    let running = start(&body(&backend.base(), "", &direct(FAST))).await;
    running.send(logs(&[&[1]])).await.expect("taken in the end");
    assert_eq!(taken(&backend), [1]);
    assert_eq!((running.sent(), running.failed()), (1.0, 0.0));
}
