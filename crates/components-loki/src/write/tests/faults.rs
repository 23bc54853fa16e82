//! Lokis that misbehave or refuse: what can be sent later is kept, what cannot is counted, nothing else is touched.

use std::time::{Duration, Instant};

use net::testkit::{Backend, Reply, status};

use super::loki::{numbers, taken, taken_of};
use super::{endpoint, start};

fn answer(status: u16, body: &str) -> Reply {
    Reply::Answer { status, headers: Vec::new(), body: body.into() }
}

#[tokio::test]
async fn whatever_breaks_an_exchange_the_entries_are_sent_again() {
    let location = |to: &str| vec![("Location", to.to_string())];
    let moved = |status, headers| Reply::Answer { status, headers, body: String::new() };
    let cases = [
        ("hangs", Reply::Hang),
        ("resets", Reply::Reset),
        ("half an answer", Reply::Raw("HTTP/1.1 204 No Con")),
        ("garbage", Reply::Raw("\x01\x02garbage\r\n\r\n")),
        ("nothing", Reply::Raw("")),
        ("a redirect that would become a GET", moved(302, location("/elsewhere"))),
        ("a redirect to nowhere", moved(307, Vec::new())),
        ("an error", status(500)),
        ("overload", status(503)),
        ("half an error", Reply::Raw("HTTP/1.1 500 x\r\ncontent-length: 100\r\n\r\nsome")),
        ("limits", status(429)),
    ];
    for (what, reply) in cases {
        let loki = Backend::first([reply]).await;
        let running = start(&endpoint(&loki.base(), "remote_timeout = \"300ms\"")).await;
        running.push("a", [1, 2]).await;
        let all = loki.until(|all| all.iter().any(|p| p.status == 204)).await;
        assert_eq!(taken_of(&all, "a"), [1, 2], "{what}");
        running.eventually("counted", |r| r.sum("loki_write_sent_entries_total", "") == 2.0).await;
        // A redirect that keeps the method is followed within the attempt.
        let retries = if what == "a redirect to nowhere" { 0.0 } else { 1.0 };
        assert_eq!(running.sum("loki_write_batch_retries_total", ""), retries, "{what}");
        assert_eq!(running.sum("loki_write_dropped_entries_total", ""), 0.0, "{what}");
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_within_a_request_costs_nothing() {
    let loki = Backend::good().await;
    loki.cut_next(2);
    let running = start(&endpoint(&loki.base(), "")).await;
    running.push("a", [1]).await;
    loki.wait(1).await;
    assert_eq!(taken(&loki, "a"), [1]);
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let limited =
        Reply::Answer { status: 429, headers: vec![("Retry-After", "1".into())], body: String::new() };
    let loki = Backend::first([limited]).await;
    let running = start(&endpoint(&loki.base(), "")).await;
    let began = Instant::now();
    running.push("a", [1]).await;
    loki.wait(2).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(taken(&loki, "a"), [1]);
}

#[tokio::test]
async fn what_loki_refuses_is_dropped_under_its_reason_and_the_next_goes_on() {
    let once = "max_backoff_retries = 3";
    let cases = [
        (status(400), "", "ingester_error", 1),
        (status(401), "", "ingester_error", 1),
        (status(404), "", "ingester_error", 1),
        (status(413), "", "ingester_error", 1),
        (status(500), once, "ingester_error", 3),
        (status(429), once, "rate_limited", 3),
        (status(429), "retry_on_http_429 = false", "rate_limited", 1),
        (Reply::Reset, once, "ingester_error", 3),
    ];
    for (reply, inside, reason, attempts) in cases {
        let loki = Backend::start(move |posted| match &numbers(posted, "a")[..] {
            [1, 2] => reply.clone(),
            _ => status(204),
        })
        .await;
        let running = start(&endpoint(&loki.base(), inside)).await;
        running.push("a", [1, 2]).await;
        running.eventually("dropped", |r| r.dropped(reason) == 2.0).await;
        running.push("a", [3]).await;
        let all = loki.until(|all| taken_of(all, "a") == [3]).await;
        assert_eq!(all.len(), attempts + 1, "{reason}");
        assert!(running.sum("loki_write_dropped_bytes_total", reason) > 0.0);
        assert_eq!(running.sum("loki_write_dropped_entries_total", ""), 2.0);
    }
}

#[tokio::test]
async fn a_batch_that_loki_refuses_does_not_take_those_along_that_shared_its_request() {
    let loki = Backend::start(|posted| match numbers(posted, "bad").is_empty() {
        true => status(204),
        false => answer(400, "error parsing labels"),
    })
    .await;
    let running = start(&endpoint(&loki.base(), "batch_wait = \"50ms\"")).await;
    running.push("a", [1]).await;
    running.push("bad", [2]).await;
    running.push("a", [3]).await;
    loki.until(|all| taken_of(all, "a") == [1, 3]).await;
    assert!(numbers(&loki.all()[0], "bad") == [2] && numbers(&loki.all()[0], "a") == [1, 3]);
    running.eventually("counted", |r| r.dropped("ingester_error") == 1.0).await;
    assert_eq!(running.sum("loki_write_dropped_entries_total", ""), 1.0);
    running.eventually("counted", |r| r.sum("loki_write_sent_entries_total", "") == 2.0).await;
}

#[tokio::test]
async fn entries_that_loki_left_out_are_counted_and_the_request_is_not_repeated() {
    let stream = r#"{s="a"}"#;
    let cases = [
        (
            format!(
                "entry with timestamp X ignored, reason: 'entry out of order',\nuser 'x', total ignored: 2 out of 5 for stream: {stream}"
            ),
            "out_of_order",
            2.0,
        ),
        (
            format!(
                "entry with timestamp X ignored, reason: 'entry too far behind, entry timestamp is: X, oldest acceptable timestamp is: Y',\nuser 'x', total ignored: 9 out of 9 for stream: {stream}"
            ),
            "too_far_behind",
            5.0,
        ),
        (format!("entry for stream '{stream}' has timestamp too old: X"), "too_old", 1.0),
        (format!("Max entry size '10' bytes exceeded for stream '{stream}'"), "line_too_long", 1.0),
    ];
    for (body, reason, refused) in cases {
        let loki = Backend::first([answer(400, &body)]).await;
        let running = start(&endpoint(&loki.base(), "batch_wait = \"20ms\"")).await;
        running.push("a", 0..3).await;
        running.push("a", 3..5).await;
        running.eventually(reason, |r| r.dropped(reason) == refused).await;
        running.push("a", [5]).await;
        let all = loki.wait(2).await;
        assert_eq!(numbers(&all[1], "a"), [5], "nothing is repeated");
        let sent = 6.0 - refused;
        running.eventually("sent", |r| r.sum("loki_write_sent_entries_total", "") == sent).await;
    }
}

#[tokio::test]
async fn a_dead_loki_does_not_hold_up_another() {
    let (dead, alive) = (Backend::start(|_| Reply::Hang).await, Backend::good().await);
    let body = endpoint(&dead.base(), "") + &endpoint(&alive.base(), "");
    let running = start(&body).await;
    for i in 0..50 {
        running.push("a", [i]).await;
        alive.until(|all| taken_of(all, "a").contains(&i)).await;
    }
    assert_eq!(taken(&alive, "a"), (0..50).collect::<Vec<_>>());
    assert_eq!(dead.all().len(), 1);
}

#[tokio::test]
async fn entries_that_come_late_are_counted_before_they_are_sent_and_sent_all_the_same() {
    let loki = Backend::good().await;
    let running = start(&endpoint(&loki.base(), "")).await;
    running.push("a", [5, 6, 4, 7]).await;
    running.push("b", [1]).await;
    running.push("a", [3]).await;
    loki.until(|all| taken_of(all, "a") == [5, 6, 4, 7, 3]).await;
    let late = |reason: &str| running.sum("loki_write_late_entries_total", reason);
    // The tests' clock stands where these entries are old; what is too old is not counted twice.
    assert_eq!(late("out_of_order") + late("too_old"), if late("too_old") > 0.0 { 6.0 } else { 2.0 });
}
