//! What is sent: bodies, headers, tenants, credentials, sizes and company.

use std::time::Duration;

use net::testkit::{Backend, Reply, status};
use signal::Labels;
use signal::logs::Entry;

use super::loki::{numbers, request, taken, taken_of, tenant};
use super::{BEGIN_NS, batch, endpoint, entry, lines, start};

#[tokio::test]
async fn a_request_is_what_loki_takes() {
    let loki = Backend::good().await;
    let body = endpoint(&loki.base(), "headers = { \"X-Mine\" = \"1\", \"Content-Type\" = \"text/plain\" }");
    let running = start(&(body + "external_labels = { env = \"prod\", s = \"never\" }")).await;
    let metadata = Some(Labels::from_pairs([("trace_id", "abc"), ("user", "é")]));
    let labels = [("s", "a\"b")];
    let entries = [Entry { metadata, ..entry(0, 1, "first") }, entry(0, 2, "")];
    running.input.send(batch(entries.map(|e| (&labels[..], e)))).await.expect("taken");
    let posted = loki.wait(1).await.remove(0);
    assert_eq!((posted.method.as_str(), posted.path.as_str()), ("POST", "/loki/api/v1/push"));
    let header = |name: &str| posted.headers.get(name).map(String::as_str);
    assert_eq!(header("content-type"), Some("application/x-protobuf"));
    assert_eq!(header("x-mine"), Some("1"));
    assert_eq!(header("x-scope-orgid"), None);
    assert!(header("user-agent").is_some_and(|agent| !agent.is_empty()));
    let request = request(&posted);
    let [stream] = &request.streams[..] else { panic!("{request:?}") };
    assert_eq!(stream.labels, r#"{env="prod", s="a\"b"}"#);
    let [first, second] = &stream.entries[..] else { panic!("{request:?}") };
    let time = first.timestamp.clone().expect("a time");
    assert_eq!(time.seconds * 1_000_000_000 + i64::from(time.nanos), BEGIN_NS + 1_000_000);
    let pairs: Vec<_> = first.metadata.iter().map(|p| (p.name.as_str(), p.value.as_str())).collect();
    assert_eq!((first.line.as_str(), pairs), ("first", vec![("trace_id", "abc"), ("user", "é")]));
    assert_eq!((second.line.as_str(), second.metadata.len()), ("", 0));
    running.eventually("counted", |r| r.sum("loki_write_sent_entries_total", "tenant=\"\"") == 2.0).await;
    assert_eq!(running.sum("loki_write_sent_bytes_total", "") as usize, posted.body.len());
    assert_eq!(running.sum("loki_write_request_size_bytes_count", ""), 1.0);
    assert_eq!(running.sum("loki_write_request_duration_seconds_count", "status_code=\"204\""), 1.0);
    assert_eq!(running.sum("loki_write_entry_propagation_latency_seconds_count", ""), 2.0);
}

#[tokio::test]
async fn each_tenant_has_requests_of_its_own() {
    let loki = Backend::good().await;
    let running = start(&endpoint(&loki.base(), "tenant_id = \"default\"\nbatch_wait = \"50ms\"")).await;
    for round in 0..3 {
        let tenants = [("s", "a"), ("s", "a"), ("s", "a")];
        let labels = ["t1", "t2", ""].map(|t| [tenants[0], ("__tenant_id__", t)]);
        let entries = labels.iter().map(|l| (&l[..], entry(0, round, round.to_string())));
        running.input.send(batch(entries)).await.expect("taken");
    }
    let all = loki.until(|all| taken_of(all, "a").len() == 9).await;
    for wanted in ["t1", "t2", "default"] {
        let mine: Vec<_> = all.iter().filter(|p| tenant(p) == wanted).collect();
        assert_eq!(mine.len(), 1, "records of a tenant share a request past those of others");
        assert_eq!(numbers(mine[0], "a"), [0, 1, 2]);
        assert!(!request(mine[0]).streams[0].labels.contains("tenant"));
        let counted = format!("tenant=\"{wanted}\"");
        running.eventually("counted", |r| r.sum("loki_write_sent_entries_total", &counted) == 3.0).await;
    }
    let bad = [("__tenant_id__", "a\nb")];
    running.input.send(batch([(&bad[..], entry(0, 1, "x"))])).await.expect("taken");
    running.eventually("dropped", |r| r.dropped("invalid_tenant") == 1.0).await;
}

#[tokio::test]
async fn a_tenant_in_headers_serves_entries_that_name_none() {
    let loki = Backend::good().await;
    let running = start(&endpoint(&loki.base(), "headers = { \"X-Scope-OrgID\" = \"h\" }")).await;
    running.push("a", [1]).await;
    let labels = [("s", "b"), ("__tenant_id__", "t")];
    running.input.send(batch([(&labels[..], entry(0, 2, "2"))])).await.expect("taken");
    let all = loki.wait(2).await;
    let of = |stream: &str| all.iter().find(|p| !numbers(p, stream).is_empty()).map(tenant);
    assert_eq!((of("a"), of("b")), (Some("h"), Some("t")));
}

#[tokio::test(start_paused = true)]
async fn batches_wait_for_company_and_become_one_request() {
    let loki = Backend::good().await;
    let running = start(&endpoint(&loki.base(), "batch_wait = \"1s\"")).await;
    for i in 0..10 {
        running.push("a", [2 * i, 2 * i + 1]).await;
        running.push("b", [i]).await;
    }
    let all = loki.wait(1).await;
    let streams = request(&all[0]).streams;
    assert_eq!(streams.len(), 2, "{streams:?}");
    assert_eq!(numbers(&all[0], "a"), (0..20).collect::<Vec<_>>());
    assert_eq!(numbers(&all[0], "b"), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn no_request_exceeds_the_batch_size_unless_one_line_does() {
    let loki = Backend::good().await;
    let running = start(&endpoint(&loki.base(), "batch_size = \"4KiB\"\nbatch_wait = \"20ms\"")).await;
    let long = |n: u32| format!("{n:0300}");
    let labels = [("s", "a")];
    running.input.send(batch((0..200).map(|n| (&labels[..], entry(0, n, long(n)))))).await.expect("taken");
    running
        .input
        .send(batch([(&labels[..], entry(0, 200, format!("{:010000}", 200)))]))
        .await
        .expect("taken");
    let all = loki.until(|all| taken_of(all, "a").len() == 201).await;
    assert_eq!(taken_of(&all, "a"), (0..=200).collect::<Vec<_>>());
    for posted in &all {
        let mut message = Vec::new();
        wire::compress::decompress(wire::compress::Encoding::Snappy, &posted.body, 1 << 20, &mut message)
            .expect("a block");
        assert!(message.len() <= 4096 || numbers(posted, "a") == [200], "{} bytes", message.len());
    }
    assert!(all.len() <= 25, "{} requests for 60 KB", all.len());
}

#[tokio::test]
async fn credentials_arrive() {
    let loki = Backend::start(|posted| match posted.path.as_str() {
        "/token" => Reply::Answer {
            status: 200,
            headers: vec![("content-type", "application/json".into())],
            body: r#"{"access_token": "fetched", "token_type": "Bearer", "expires_in": 3600}"#.into(),
        },
        _ => status(204),
    })
    .await;
    let oauth2 = format!(
        "oauth2 {{\nclient_id = \"id\"\nclient_secret = \"s\"\ntoken_url = \"{}/token\"\n}}",
        loki.base()
    );
    let cases = [
        ("basic_auth {\nusername = \"bob\"\npassword = \"secret\"\n}", "Basic Ym9iOnNlY3JldA=="),
        ("bearer_token = \"abc\"", "Bearer abc"),
        ("authorization {\ntype = \"Token\"\ncredentials = \"abc\"\n}", "Token abc"),
        ("http_headers = { Authorization = [\"Custom x\"] }", "Custom x"),
        (&oauth2, "Bearer fetched"),
    ];
    for (inside, expected) in cases {
        let before = loki.all().len();
        let running = start(&endpoint(&loki.base(), inside)).await;
        running.push("a", [1]).await;
        let all = loki.until(|all| all[before..].iter().any(|p| p.path.ends_with("push"))).await;
        let posted = all[before..].iter().find(|p| p.path.ends_with("push")).expect("waited for");
        assert_eq!(posted.headers.get("authorization").map(String::as_str), Some(expected), "{inside}");
    }
}

#[tokio::test]
async fn streams_beyond_the_limit_are_dropped_and_counted() {
    let loki = Backend::good().await;
    let running = start(&(endpoint(&loki.base(), "") + "max_streams = 2")).await;
    for stream in ["a", "b", "c", "a", "c"] {
        running.push(stream, [1, 2]).await;
    }
    loki.until(|all| taken_of(all, "a").len() == 4 && taken_of(all, "b").len() == 2).await;
    assert!(taken(&loki, "c").is_empty());
    assert_eq!(running.dropped("stream_limited"), 4.0);
}

#[tokio::test(start_paused = true)]
async fn the_health_is_that_of_the_worst_endpoint() {
    let (good, bad) = (Backend::good().await, Backend::start(|_| status(500)).await);
    let running = start(&(endpoint(&good.base(), "") + &endpoint(&bad.base(), "name = \"bad\""))).await;
    let health = || running.harness.node.health();
    running.eventually("healthy", |_| health().state == component::HealthState::Healthy).await;
    running.push("a", [1]).await;
    tokio::time::advance(Duration::from_secs(61)).await;
    running.eventually("unhealthy", |_| health().state == component::HealthState::Unhealthy).await;
    assert!(health().message.contains("bad") && health().message.contains("500"), "{}", health().message);
    bad.script(|_| status(204));
    running.eventually("healthy again", |_| health().state == component::HealthState::Healthy).await;
}

#[tokio::test]
async fn without_endpoints_entries_are_taken_and_go_nowhere() {
    let running = start("").await;
    running.push("a", [1]).await;
    assert_eq!(running.input.send(lines("a", [])).await, Ok(()));
}
