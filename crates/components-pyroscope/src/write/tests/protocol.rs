//! What is sent: paths, bodies, headers, labels, credentials.

use bytes::Bytes;
use component::Rejected;
use net::testkit::{Backend, status};
use signal::profiles::{Pprof, Profile, ProfileBody};
use signal::{Labels, Profiles};

use super::{endpoint, ingest, profile, pushed, start, taken, taken_of};

#[tokio::test]
async fn a_pprof_is_pushed_as_a_unary_call_of_connect() {
    let pyroscope = Backend::start(|_| status(200)).await;
    let body = endpoint(
        &format!("{}/base/", pyroscope.base()),
        "headers = { \"X-Scope-OrgID\" = \"t\", \"Content-Type\" = \"text/plain\" }\nbearer_token = \"b\"",
    );
    let running = start(&(body + "external_labels = { env = \"prod\" }")).await;
    let labels = [("__name__", "process_cpu"), ("__meta_x", "1"), ("service_name", "shop"), ("env", "dev")];
    let raw = Bytes::from_static(b"\x1f\x8b\x00 any bytes \xff");
    let body = ProfileBody::Pprof(Pprof { id: "an-id".into(), raw: raw.clone() });
    running
        .input
        .send(Profile { labels: Labels::from_pairs(labels), body: body.clone() }.into())
        .await
        .expect("taken");
    let posted = pyroscope.wait(1).await.remove(0);
    let place = (posted.method.as_str(), posted.path.as_str());
    assert_eq!(place, ("POST", "/base/push.v1.PusherService/Push"));
    let header = |name: &str| posted.headers.get(name).map(String::as_str);
    assert_eq!(header("content-type"), Some("application/proto"));
    assert_eq!(header("connect-protocol-version"), Some("1"));
    assert_eq!(header("connect-timeout-ms"), Some("10000"));
    assert_eq!((header("x-scope-orgid"), header("authorization")), (Some("t"), Some("Bearer b")));
    assert!(header("user-agent").is_some_and(|agent| !agent.is_empty()));
    let read = wire::pyroscope::decode(&posted.body.clone().into(), 1 << 20).expect("a push request");
    let labels = Labels::from_pairs([("__name__", "process_cpu"), ("service_name", "shop"), ("env", "prod")]);
    assert_eq!(read, [Profile { labels, body }]);
    running.eventually("counted", |r| r.sum("pyroscope_write_sent_profiles_total", "") == 1.0).await;
    assert_eq!(running.sum("pyroscope_write_sent_bytes_total", "") as usize, posted.body.len());
    for (kind, count) in
        [("push_total", 1.0), ("push_endpoint", 1.0), ("push_downstream", 1.0), ("ingest_total", 0.0)]
    {
        let kind = format!("type=\"{kind}\"");
        assert_eq!(running.sum("pyroscope_write_latency_count", &kind), count, "{kind}");
    }
    let label = format!("endpoint=\"{}/base/\"", pyroscope.base());
    assert_eq!(running.sum("pyroscope_write_sent_profiles_total", &label), 1.0);
}

#[tokio::test]
async fn a_request_to_ingest_goes_to_ingest_as_it_came() {
    let pyroscope = Backend::start(|_| status(200)).await;
    let running = start(&endpoint(&pyroscope.base(), "")).await;
    let raw = Bytes::from_static(b"--x\r\nsome parts\r\n--x--");
    let labels = [("__name__", "app"), ("service_name", "shop"), ("__session_id__", "1"), ("path", "/a,b")];
    running.input.send(ingest(&labels, raw.clone()).into()).await.expect("taken");
    let posted = pyroscope.wait(1).await.remove(0);
    let query =
        "name=shop%7B__session_id__%3D1%2Cpath%3D%2Fa_b%2Cservice_name%3Dshop%7D&from=1&until=2&format=pprof";
    assert_eq!(posted.path, format!("/ingest?{query}"));
    assert_eq!(posted.headers["content-type"], "multipart/form-data; boundary=x");
    assert!(
        !posted.headers.contains_key("content-encoding")
            && !posted.headers.contains_key("connect-protocol-version")
    );
    assert_eq!(posted.body, raw);
    running.eventually("counted", |r| r.sum("pyroscope_write_latency_count", "ingest_endpoint") == 1.0).await;
}

#[tokio::test]
async fn every_profile_of_a_batch_is_a_request_of_its_own_and_every_endpoint_gets_it() {
    let (a, b) = (Backend::good().await, Backend::good().await);
    let running = start(&(endpoint(&a.base(), "") + &endpoint(&b.base(), ""))).await;
    running.push(0..20).await;
    for pyroscope in [&a, &b] {
        pyroscope.until(|all| taken_of(all).len() == 20).await;
        assert_eq!(taken(pyroscope), (0..20).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_profile_whose_labels_nobody_takes_is_counted_and_the_others_are_sent() {
    let pyroscope = Backend::good().await;
    let running = start(&endpoint(&pyroscope.base(), "")).await;
    let bad = [&[("service_name", "s"), ("a b", "1")][..], &[("n", "1")][..], &[][..]];
    let bad = bad.map(|pairs| Profile::pprof(Labels::from_pairs(pairs.iter().copied()), &b"x"[..]));
    running
        .input
        .send(Profiles::new(bad.into_iter().chain([profile(2)]), 0))
        .await
        .expect("dropped on purpose");
    pyroscope.until(|all| taken_of(all) == [2]).await;
    assert_eq!(running.dropped("invalid_labels"), 3.0);
    assert_eq!(running.sum("pyroscope_write_dropped_profiles_total", ""), 3.0);
    assert_eq!(running.sum("pyroscope_write_dropped_bytes_total", ""), 3.0);
}

#[tokio::test]
async fn without_endpoints_profiles_are_taken_and_go_nowhere() {
    let running = start("external_labels = { a = \"b\" }").await;
    running.push([1, 2]).await;
    running.harness.stop().await;
    assert_eq!(running.input.send(Profiles::default()).await, Err(Rejected::Stopped));
}

#[tokio::test]
async fn labels_are_those_of_the_configuration_that_a_profile_meets() {
    let pyroscope = Backend::good().await;
    let running = start(&endpoint(&pyroscope.base(), "")).await;
    running.push([2]).await;
    pyroscope.wait(1).await;
    running.update(&(endpoint(&pyroscope.base(), "") + "external_labels = { env = \"new\" }")).await;
    running.push([4]).await;
    let all = pyroscope.wait(2).await;
    let env = |i: usize| pushed(&all[i]).0.get("env").map(str::to_owned);
    assert_eq!((env(0), env(1)), (None, Some("new".into())));
}
