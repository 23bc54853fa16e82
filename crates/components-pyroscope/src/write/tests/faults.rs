//! Pyroscopes that misbehave or refuse: what can be sent later is kept, what cannot is counted, nothing else is
//! touched.

use std::time::{Duration, Instant};

use net::testkit::{Backend, Reply, status};

use super::{endpoint, number, start, taken, taken_of};

fn answer(status: u16, body: &str) -> Reply {
    let headers = vec![("Content-Type", "application/json".to_owned())];
    Reply::Answer { status, headers, body: body.into() }
}

fn code(status: u16, code: &str) -> Reply {
    answer(status, &format!("{{\"code\":\"{code}\",\"message\":\"because\"}}"))
}

#[tokio::test]
async fn whatever_breaks_an_exchange_the_profile_is_sent_again() {
    let moved = |status, to: &str| {
        let headers = vec![("Location", to.to_owned())];
        Reply::Answer { status, headers, body: String::new() }
    };
    let cases = [
        ("hangs", Reply::Hang),
        ("resets", Reply::Reset),
        ("half an answer", Reply::Raw("HTTP/1.1 200 ")),
        ("garbage", Reply::Raw("\x01\x02garbage\r\n\r\n")),
        ("nothing", Reply::Raw("")),
        ("a redirect that would become a GET", moved(302, "/elsewhere")),
        ("an error", status(500)),
        ("overload", status(503)),
        ("a slow upload", status(408)),
        ("half an error", Reply::Raw("HTTP/1.1 500 x\r\ncontent-length: 100\r\n\r\nsome")),
        ("limits", status(429)),
    ];
    for (what, reply) in cases {
        for sent in [1, 2] {
            let pyroscope = Backend::first([reply.clone()]).await;
            let running = start(&endpoint(&pyroscope.base(), "remote_timeout = \"300ms\"")).await;
            running.push([sent]).await;
            let all = pyroscope.until(|all| all.iter().any(|p| p.status == 204)).await;
            assert_eq!(taken_of(&all), [sent], "{what}");
            running.eventually("counted", |r| r.sum("pyroscope_write_sent_profiles_total", "") == 1.0).await;
            assert_eq!(running.sum("pyroscope_write_retries_total", ""), 1.0, "{what}");
            assert_eq!(running.sum("pyroscope_write_dropped_profiles_total", ""), 0.0, "{what}");
        }
    }
}

#[tokio::test]
async fn codes_of_connect_say_whether_a_profile_is_sent_again() {
    let later =
        ["unavailable", "internal", "unknown", "aborted", "data_loss", "deadline_exceeded", "canceled"];
    let later = later.map(|word| (word, true));
    let never = ["invalid_argument", "unauthenticated", "permission_denied", "out_of_range", "unimplemented"];
    let never = never.map(|word| (word, false));
    for (word, again) in later.into_iter().chain(never).chain([("resource_exhausted", true)]) {
        // Whatever the status says.
        let pyroscope = Backend::first([code(if again { 400 } else { 500 }, word)]).await;
        let running = start(&endpoint(&pyroscope.base(), "")).await;
        running.push([2]).await;
        if again {
            pyroscope.until(|all| taken_of(all) == [2]).await;
            assert_eq!(running.sum("pyroscope_write_dropped_profiles_total", ""), 0.0, "{word}");
        } else {
            running.eventually(word, |r| r.dropped("refused") == 1.0).await;
            assert_eq!(pyroscope.all().len(), 1, "{word}");
        }
    }
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let limited =
        Reply::Answer { status: 429, headers: vec![("Retry-After", "1".into())], body: String::new() };
    let pyroscope = Backend::first([limited]).await;
    let running = start(&endpoint(&pyroscope.base(), "")).await;
    let began = Instant::now();
    running.push([1]).await;
    pyroscope.wait(2).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(taken(&pyroscope), [1]);
}

#[tokio::test]
async fn what_pyroscope_refuses_is_dropped_under_its_reason_and_the_next_goes_on() {
    let once = "max_backoff_retries = 3";
    let cases = [
        (status(400), "", "refused", 1),
        (status(401), "", "refused", 1),
        (status(404), "", "refused", 1),
        (status(413), "", "refused", 1),
        (code(400, "invalid_argument"), "", "refused", 1),
        (status(500), once, "unavailable", 3),
        (status(429), once, "rate_limited", 3),
        (status(429), "retry_on_http_429 = false", "rate_limited", 1),
        (Reply::Reset, once, "unreachable", 3),
    ];
    for (reply, inside, reason, attempts) in cases {
        for bad in [1, 2] {
            let reply = reply.clone();
            let refuses = move |posted: &net::testkit::Posted| match number(posted) {
                n if n == bad => reply.clone(),
                _ => status(200),
            };
            let pyroscope = Backend::start(refuses).await;
            let running = start(&endpoint(&pyroscope.base(), inside)).await;
            running.push([bad]).await;
            running.eventually("dropped", |r| r.dropped(reason) == 1.0).await;
            running.push([4]).await;
            let all = pyroscope.until(|all| taken_of(all) == [4]).await;
            assert_eq!(all.len(), attempts + 1, "{reason}");
            assert!(running.sum("pyroscope_write_dropped_bytes_total", "") > 0.0);
            assert_eq!(running.sum("pyroscope_write_dropped_profiles_total", ""), 1.0);
        }
    }
}

#[tokio::test]
async fn one_endpoint_that_is_down_does_not_delay_another() {
    for fault in [Reply::Hang, status(503), Reply::Reset] {
        let (dead, alive) = (Backend::start(move |_| fault.clone()).await, Backend::good().await);
        let running = start(&(endpoint(&dead.base(), "") + &endpoint(&alive.base(), ""))).await;
        for i in 0..50 {
            running.push([i]).await;
        }
        alive.until(|all| taken_of(all).len() == 50).await;
        assert!(taken(&dead).is_empty());
        dead.script(|_| status(200));
        running
            .update(&(endpoint(&dead.base(), "remote_timeout = \"1s\"") + &endpoint(&alive.base(), "")))
            .await;
    }
}

#[tokio::test]
async fn where_a_url_leads_elsewhere_the_node_says_where_to() {
    let moved = Reply::Answer {
        status: 301,
        headers: vec![("Location", "https://new/".into())],
        body: String::new(),
    };
    let pyroscope = Backend::start(move |_| moved.clone()).await;
    let running = start(&endpoint(&pyroscope.base(), "")).await;
    running.push([2]).await;
    running.eventually("repeated", |r| r.sum("pyroscope_write_retries_total", "") >= 1.0).await;
    let info = format!("{:?}", running.harness.node.debug_info());
    assert!(info.contains("https://new/") && info.contains("set url"), "{info}");
}
