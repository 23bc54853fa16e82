//! Back ends that misbehave: nothing is lost, nothing wrong is believed.

use component::HealthState;
use signal::SampleBatch;

use super::super::sift::MOST_PARTS;
use super::receiver::{Posted, Receiver, RemoteWrite as _, Reply, refused, status, written};
use super::{batch, endpoint, point, series, start};

#[tokio::test]
async fn whatever_breaks_an_exchange_the_samples_are_sent_again() {
    let location = |to: &str| vec![("Location", to.to_string())];
    let answer = |status, headers| Reply::Answer { status, headers, body: String::new() };
    let cases = [
        ("hangs", Reply::Hang),
        ("resets", Reply::Reset),
        ("half an answer", Reply::Raw("HTTP/1.1 204 No Con")),
        ("half a head", Reply::Raw("HTTP/1.1 204 No Content\r\ncontent-le")),
        ("garbage", Reply::Raw("\x01\x02garbage\r\n\r\n")),
        ("nothing", Reply::Raw("")),
        ("a redirect that would become a GET", answer(302, location("/elsewhere"))),
        ("the same, for good", answer(301, location("/elsewhere"))),
        ("a redirect to nowhere", answer(307, Vec::new())),
        ("half an error", Reply::Raw("HTTP/1.1 500 x\r\ncontent-length: 100\r\n\r\nsome")),
    ];
    for (what, reply) in cases {
        let receiver = Receiver::first([reply]).await;
        let running = start(&endpoint(&receiver.url(), "remote_timeout = \"300ms\"")).await;
        running.push("up", 1.0).await;
        let all = receiver.until(|all| all.iter().any(|p| p.status == 204)).await;
        assert!(all.iter().all(|p| p.method == "POST" && p.path == "/write"), "{what}: {all:?}");
        assert_eq!(receiver.taken(), [1.0], "{what}");
        running.eventually(what, |r| r.sum("prometheus_remote_storage_samples_total", "") == 1.0).await;
        assert_eq!(running.sum("prometheus_remote_storage_samples_dropped_total", ""), 0.0, "{what}");
    }
}

#[tokio::test]
async fn a_request_that_is_cut_off_is_sent_again() {
    let receiver = Receiver::good().await;
    receiver.cut_next(2);
    let running = start(&endpoint(&receiver.url(), "")).await;
    running.push("up", 1.0).await;
    receiver.wait(1).await;
    assert_eq!(receiver.taken(), [1.0]);
}

#[tokio::test]
async fn a_success_whose_body_breaks_off_is_a_success() {
    let receiver = Receiver::first([Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome")]).await;
    let running = start(&endpoint(&receiver.url(), "")).await;
    running.push("up", 1.0).await;
    running.eventually("sent", |r| r.sum("prometheus_remote_storage_samples_total", "") == 1.0).await;
    assert_eq!(receiver.all().len(), 1);
}

#[tokio::test]
async fn a_redirect_that_keeps_the_post_is_followed_unless_that_is_off() {
    for code in [307, 308] {
        let redirect = move |posted: &Posted| match posted.path.as_str() {
            "/write" => Reply::Answer {
                status: code,
                headers: vec![("Location", "/moved".to_string())],
                body: String::new(),
            },
            _ => written(posted),
        };
        let receiver = Receiver::start(redirect).await;
        let running = start(&endpoint(&receiver.url(), "")).await;
        running.push("up", 1.0).await;
        let all = receiver.until(|all| all.iter().any(|p| p.path == "/moved")).await;
        let moved = all.iter().find(|p| p.path == "/moved").expect("waited for");
        assert_eq!((&*moved.method, moved.values()), ("POST", vec![1.0]));
        running.eventually("sent", |r| r.sum("prometheus_remote_storage_samples_total", "") == 1.0).await;

        let receiver = Receiver::start(redirect).await;
        let running = start(&endpoint(&receiver.url(), "follow_redirects = false")).await;
        running.push("up", 1.0).await;
        let all = receiver.wait(3).await;
        assert!(all.iter().all(|p| p.path == "/write"));
        assert_eq!(running.sum("prometheus_remote_storage_samples_dropped_total", ""), 0.0);
    }
}

#[tokio::test]
async fn of_several_records_in_a_refused_request_each_is_tried_alone() {
    for code in [400, 413, 422] {
        for version in ["", "protobuf_message = \"io.prometheus.write.v2.Request\""] {
            let receiver = Receiver::start(|_| status(503)).await;
            let running = start(&endpoint(&receiver.url(), version)).await;
            for i in 0..5 {
                running.push("up", f64::from(i)).await;
            }
            receiver.wait(1).await;
            receiver.script(move |posted| match posted.values() {
                values if values.contains(&2.0) => refused(posted, code),
                _ => written(posted),
            });
            running.eventually("sent", |r| r.sum("prometheus_remote_storage_samples_total", "") == 4.0).await;
            assert_eq!(receiver.taken(), [0.0, 1.0, 3.0, 4.0]);
            let last = receiver.all().into_iter().rfind(|p| p.status == code).expect("refused");
            assert_eq!(last.values(), [2.0]);
            assert_eq!(running.sum("prometheus_remote_storage_samples_failed_total", ""), 1.0);
            let reason = format!("reason=\"http_{code}\"");
            assert_eq!(running.sum("prometheus_remote_storage_samples_dropped_total", &reason), 1.0);
        }
    }
}

/// Samples of several series at one time, and one that is far older.
fn with_an_old_one(count: u32) -> SampleBatch {
    let mut points: Vec<_> = (1..=count)
        .map(|i| point(series(&[("__name__", "up"), ("i", &i.to_string())]), 2_000_000, f64::from(i)))
        .collect();
    points.insert(1, point(series(&[("__name__", "old")]), 5, -1.0));
    SampleBatch { points: points.into(), origin: Some(1), ..SampleBatch::default() }
}

#[tokio::test]
async fn one_sample_that_is_refused_does_not_cost_those_beside_it() {
    for version in ["", "protobuf_message = \"io.prometheus.write.v2.Request\""] {
        let receiver = Receiver::start(|posted| match posted.values().contains(&-1.0) {
            true => refused(posted, 400),
            false => written(posted),
        })
        .await;
        let running = start(&endpoint(&receiver.url(), version)).await;
        running.send(with_an_old_one(4)).await;
        running.eventually("sent", |r| r.sum("prometheus_remote_storage_samples_total", "") == 4.0).await;
        assert_eq!(receiver.taken(), [1.0, 2.0, 3.0, 4.0]);
        let dropped = |r: &super::Running| {
            r.sum("prometheus_remote_storage_samples_dropped_total", "reason=\"http_400\"")
        };
        running.eventually("counted", |r| dropped(r) == 1.0).await;
        assert_eq!(running.sum("prometheus_remote_storage_samples_failed_total", ""), 1.0);
        // The whole, what is old of it, the rest.
        assert_eq!(receiver.all().len(), 3);
    }
}

#[tokio::test]
async fn a_receiver_that_stores_what_it_can_of_a_refused_request_is_sent_no_parts() {
    let mimir = Reply::Answer {
        status: 400,
        headers: Vec::new(),
        body: "the sample has been rejected (err-mimir-sample-out-of-order)".to_string(),
    };
    let receiver = Receiver::first([mimir]).await;
    let running = start(&endpoint(&receiver.url(), "")).await;
    running.send(with_an_old_one(4)).await;
    receiver.wait(1).await;
    running.push("up", 7.0).await;
    running.eventually("sent", |r| r.sum("prometheus_remote_storage_samples_total", "") == 1.0).await;
    assert_eq!(receiver.all().len(), 2);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_sent_in_parts() {
    let receiver = Receiver::start(|posted| match posted.values().len() {
        0..=3 => written(posted),
        _ => status(413),
    })
    .await;
    let running = start(&endpoint(&receiver.url(), "")).await;
    running.send(with_an_old_one(12)).await;
    running.eventually("sent", |r| r.sum("prometheus_remote_storage_samples_total", "") == 13.0).await;
    assert_eq!(running.sum("prometheus_remote_storage_samples_dropped_total", ""), 0.0);
}

#[tokio::test]
async fn an_endpoint_that_refuses_everything_is_not_sent_parts_for_ever() {
    let receiver = Receiver::start(|_| status(400)).await;
    let running = start(&endpoint(&receiver.url(), "")).await;
    let dropped =
        |r: &super::Running| r.sum("prometheus_remote_storage_samples_dropped_total", "reason=\"http_400\"");
    running.send(with_an_old_one(1999)).await;
    running.eventually("dropped", |r| dropped(r) == 2000.0).await;
    let parts = receiver.all().len();
    assert!(parts <= 1 + MOST_PARTS, "{parts}");
    running.send(with_an_old_one(1999)).await;
    running.eventually("dropped", |r| dropped(r) == 4000.0).await;
    assert_eq!(receiver.all().len(), parts + 1);
    // Once something is taken, the next refusal may be about one sample again.
    receiver.script(|posted| match posted.values().contains(&-1.0) {
        true => status(400),
        false => written(posted),
    });
    running.push("up", 1.0).await;
    running.eventually("sent", |r| r.sum("prometheus_remote_storage_samples_total", "") == 1.0).await;
    running.send(with_an_old_one(9)).await;
    running.eventually("sent", |r| r.sum("prometheus_remote_storage_samples_total", "") == 10.0).await;
}

#[tokio::test]
async fn connections_are_used_again_whatever_the_answers_say() {
    let texts = [String::new(), "fine".to_string(), "x".repeat(5_000)];
    let mut count = 0;
    let receiver = Receiver::start(move |_| {
        count += 1;
        let status = if count % 2 == 0 { 503 } else { 200 };
        Reply::Answer { status, headers: Vec::new(), body: texts[count % 3].clone() }
    })
    .await;
    let running = start(&endpoint(&receiver.url(), "")).await;
    for i in 0..12 {
        running.push("up", f64::from(i)).await;
        let sent = f64::from(i) + 1.0;
        running.eventually("sent", |r| r.sum("prometheus_remote_storage_samples_total", "") == sent).await;
    }
    assert!(receiver.all().len() > 15);
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn an_endpoint_that_hangs_does_not_hold_up_another() {
    let (stuck, good) = (Receiver::start(|_| Reply::Hang).await, Receiver::good().await);
    let running = start(&(endpoint(&stuck.url(), "") + &endpoint(&good.url(), ""))).await;
    let values: Vec<f64> = (0..50).map(f64::from).collect();
    for value in &values {
        running.push("up", *value).await;
    }
    good.until(|all| super::receiver::taken(all).len() >= 50).await;
    assert_eq!(good.taken(), values);
    assert!(stuck.all().len() <= 1);
    assert_eq!(running.sum("prometheus_remote_storage_samples_pending", &stuck.base()), 50.0);
}

#[tokio::test]
async fn an_endpoint_that_refuses_everything_makes_the_node_unhealthy_until_it_takes_something() {
    let receiver = Receiver::start(|_| Reply::Answer {
        status: 401,
        headers: Vec::new(),
        body: "who are you\nsecond line".into(),
    })
    .await;
    let running = start(&endpoint(&receiver.url(), "name = \"central\"")).await;
    running.send(batch("up", &[1.0])).await;
    receiver.wait(1).await;
    tokio::time::pause();
    let health = || running.harness.node.health();
    running.eventually("unhealthy", |_| health().state == HealthState::Unhealthy).await;
    let message = health().message;
    assert!(message.contains("central") && message.contains("401 Unauthorized: who are you ("), "{message}");
    tokio::time::resume();
    receiver.script(written);
    running.push("up", 2.0).await;
    receiver.wait(2).await;
    running.eventually("sent", |r| r.sum("prometheus_remote_storage_samples_total", "") == 1.0).await;
    tokio::time::pause();
    running.eventually("healthy", |_| health().state == HealthState::Healthy).await;
}
