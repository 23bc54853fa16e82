//! When targets are scraped, and how arguments change that.

use component::Rejected;
use component::testkit::Refused;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_target_is_scraped_at_once_and_then_at_its_place_in_the_interval() {
    let started = tokio::time::Instant::now();
    let bench = Bench::start("", [text("a 1\n")]).await;
    let mut times = vec![];
    for _ in 0..4 {
        times.push(bench.next().await.points.at(0).timestamp_ms);
        if times.len() == 1 {
            assert!(started.elapsed() < Duration::from_secs(2));
        }
    }
    let first_gap = times[1] - times[0];
    assert!((5_000..15_000).contains(&first_gap), "{first_gap}");
    assert_eq!((times[2] - times[1], times[3] - times[2]), (10_000, 10_000));
}

#[tokio::test(start_paused = true)]
async fn requests_say_what_they_accept_and_how_long_they_wait() {
    let target =
        r#"{"__address__" = "alloy.internal:12345", "__param_module" = "m", "__metrics_path__" = "/probe"}"#;
    let bench = Bench::with_targets(target, "scrape_timeout = \"2500ms\"", [text("a 1\n")]).await;
    bench.next().await;
    let request = &bench.site.requests()[0];
    assert!(request.starts_with("GET /probe?module=m\n"), "{request}");
    assert!(request.contains("x-prometheus-scrape-timeout-seconds: 2.5"), "{request}");
    assert!(request.contains("user-agent: Ferroalloy/"), "{request}");
    assert!(
        request.contains("accept: application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6"),
        "{request}"
    );
    let native = Bench::start("scrape_native_histograms = true", [text("a 1\n")]).await;
    native.next().await;
    assert!(native.site.requests()[0].contains("accept: application/vnd.google.protobuf"));
}

#[tokio::test(start_paused = true)]
async fn the_job_of_a_target_without_one_is_the_component() {
    let target = r#"{"__address__" = "alloy.internal:12345"}"#;
    let bench = Bench::with_targets(target, "", [text("a 1\n")]).await;
    let series = bench.next().await.points.at(0).series.to_string();
    assert_eq!(series, r#"a{instance="alloy.internal:12345", job="prometheus.scrape.test"}"#);
    let bench = Bench::with_targets(target, "job_name = \"mine\"", [text("a 1\n")]).await;
    assert_eq!(bench.next().await.points.at(0).series.get("job"), Some("mine"));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_given_twice_is_scraped_once() {
    let bench = Bench::with_targets(&format!("{TARGET}, {TARGET}"), "", [text("a 1\n")]).await;
    bench.next().await;
    pass(2).await;
    assert_eq!(bench.site.requests().len(), 1);
    assert!(bench.harness.services.metrics.text().contains(
        "prometheus_scrape_targets_gauge{component_id=\"prometheus.scrape.test\",component_path=\"/\"} 1"
    ));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_gone_is_marked_two_intervals_later() {
    let bench = Bench::start("", [text("a 1\n")]).await;
    let last = bench.next().await.points.at(0).timestamp_ms;
    bench.harness.update(&config("", "")).await.expect("updated");
    let gone = tokio::time::Instant::now();
    let batch = bench.next().await;
    assert!(gone.elapsed() > Duration::from_secs(15), "{:?}", gone.elapsed());
    assert_eq!(shown(&batch), ["a stale"]);
    assert!(reported(&batch, "up").is_some_and(signal::samples::is_stale));
    let stale_ms = batch.points.at(0).timestamp_ms;
    assert!(stale_ms > last && stale_ms <= last + 15_000, "as of the scrape that did not happen");
    pass(60).await;
    assert!(bench.sink.take().is_empty());
    bench.harness.update(&config(TARGET, "")).await.expect("updated");
    assert_eq!(bench.scraped().await, ["a 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_comes_back_in_time_has_no_gap_in_its_series() {
    let bench = Bench::start("", [text("a 1\nb 1\n")]).await;
    bench.next().await;
    bench.harness.update(&config("", "")).await.expect("updated");
    pass(8).await;
    bench.site.set(text("a 2\n"));
    bench.harness.update(&config(TARGET, "")).await.expect("updated");
    assert_eq!(bench.scraped().await, ["a 2", "b stale"]);
    assert_eq!(bench.scraped().await, ["a 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_has_moved_keeps_its_series() {
    let target = |path: &str| {
        format!(
            r#"{{"__address__" = "alloy.internal:12345", "instance" = "i", "job" = "j", "__metrics_path__" = "{path}"}}"#
        )
    };
    let bench = Bench::with_targets(&target("/one"), "", [text("a 1\nb 1\n")]).await;
    bench.next().await;
    bench.site.set(text("a 2\n"));
    bench.harness.update(&config(&target("/two"), "")).await.expect("updated");
    assert_eq!(bench.scraped().await, ["a 2", "b stale"]);
    assert!(bench.site.requests()[1].starts_with("GET /two?"));
    pass(60).await;
    assert!(bench.sink.take().iter().all(|b| shown(b) == ["a 2"]));
}

#[tokio::test(start_paused = true)]
async fn stopping_writes_no_markers_and_is_quick() {
    let bench = Bench::start("", [text("a 1\n")]).await;
    bench.next().await;
    let asked = tokio::time::Instant::now();
    bench.harness.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(1));
    assert!(bench.sink.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_receivers_is_in_force_with_the_next_scrape() {
    let (one, two) = (Sink::<Samples>::new(), Sink::<Samples>::new());
    let services = Services::for_tests("unused");
    services.handlers.set_main(std::sync::Arc::new(InMemory(Site::new([text("a 1\n")]))));
    let names = Names::default().with("one", one.value()).with("two", two.value());
    let harness = Harness::new(DEFINITION, names, services);
    let body = |sink: &str| format!("targets = [{TARGET}]\nforward_to = [{sink}]\nscrape_interval = \"10s\"");
    harness.update(&body("one")).await.expect("valid");
    harness.node.start();
    one.wait(1).await;
    harness.update(&body("two")).await.expect("valid");
    let batch: Samples = two.wait(1).await.remove(0);
    assert_eq!(reported(&batch, "scrape_series_added"), Some(0.0), "what is known of the target stays");
    assert!(one.take().is_empty());
}

fn metric(bench: &Bench, name: &str) -> f64 {
    let text = bench.harness.services.metrics.text();
    let lines = text.lines().filter(|l| l.starts_with(name));
    lines.map(|l| l.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok()).expect("a value")).sum()
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_offered_again_until_the_next_scrape() {
    let bench = Bench::start("", [text("a 1\n")]).await;
    bench.sink.answer(Err(Rejected::Retryable("full".into())));
    pass(3).await;
    bench.sink.answer(Ok(()));
    assert_eq!(bench.scraped().await, ["a 1"]);
    assert_eq!(metric(&bench, "prometheus_forwarded_samples_total"), 6.0);
    bench.sink.answer(Err(Rejected::Retryable("full".into())));
    pass(60).await;
    assert!(metric(&bench, "prometheus_scrape_samples_dropped_total") >= 6.0);
    bench.sink.answer(Ok(()));
    bench.sink.take();
    assert_eq!(bench.scraped().await, ["a 1"]);
}

#[tokio::test(start_paused = true)]
async fn what_sinks_refuse_for_good_is_counted() {
    for (answer, reason) in [(Rejected::Permanent("no".into()), "permanent"), (Rejected::Stopped, "stopped")]
    {
        let bench = Bench::start("", [text("a 1\n")]).await;
        bench.sink.answer(Err(answer));
        pass(2).await;
        let line = format!("reason=\"{reason}\"}} 6");
        assert!(bench.harness.services.metrics.text().contains(&line), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_appended_to_their_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("failures.jsonl");
    let extra = format!("scrape_failure_log_file = {:?}", path.display().to_string());
    let bench = Bench::start(&extra, [answer("404 Not Found", b"")]).await;
    bench.next().await;
    bench.next().await;
    let text = std::fs::read_to_string(&path).expect("written");
    assert_eq!(text.lines().count(), 2);
    assert!(
        text.contains("\"msg\":\"server returned HTTP status 404 Not Found\",\"job_name\":\"j\""),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn debug_info_tells_each_targets_last_scrape() {
    let bench = Bench::start("", [answer("503 Service Unavailable", b"")]).await;
    bench.next().await;
    let info = format!("{:?}", bench.harness.node.debug_info());
    for part in
        ["down", "server returned HTTP status 503", "alloy.internal:12345/metrics", "last_scrape_duration"]
    {
        assert!(info.contains(part), "{part}: {info}");
    }
}

#[tokio::test]
async fn contradicting_arguments_are_refused_where_they_stand() {
    let cases = [
        ("scrape_timeout = \"20s\"", "scrape_timeout"),
        ("scrape_interval = \"0s\"", "scrape_interval"),
        ("scrape_protocols = []", "scrape_protocols"),
        ("scrape_protocols = [\"PrometheusProto\", \"PrometheusProto\"]", "twice"),
        ("scrape_protocols = [\"Prometheus\"]", "Prometheus"),
        ("scrape_native_histograms = true\nscrape_protocols = [\"PrometheusText0.0.4\"]", "PrometheusProto"),
        (
            "enable_protobuf_negotiation = true\nscrape_protocols = [\"PrometheusText0.0.4\"]",
            "enable_protobuf_negotiation",
        ),
        ("metric_name_escaping_scheme = \"allow-utf-8\"", "allow-utf-8"),
        ("bearer_token = \"x\"\nbearer_token_file = \"y\"", "bearer_token_file"),
        ("clustering { }", "enabled"),
        ("scheme = \"ftp\"", "ftp"),
    ];
    for (extra, part) in cases {
        let harness = Harness::new(DEFINITION, Names::default(), Services::for_tests("unused"));
        let interval = if extra.starts_with("scrape_interval") { "" } else { "scrape_interval = \"10s\"\n" };
        let refused = harness.update(&format!("targets = []\nforward_to = []\n{interval}{extra}")).await;
        match refused.expect_err(extra) {
            Refused::Diagnostics(all) => {
                assert!(all.iter().any(|d| d.message.contains(part)), "{extra}: {all:?}")
            }
            Refused::Error(error) => panic!("{extra}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_hanging_target_holds_up_neither_updates_nor_the_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let sink = Sink::<Samples>::new();
    let names = Names::default().with("sink", sink.value());
    let body = |extra: &str| {
        format!(
            "targets = [{{\"__address__\" = \"{address}\"}}]\nforward_to = [sink]\nscrape_interval = \"50s\"\nscrape_timeout = \"40s\"\n{extra}"
        )
    };
    let harness = Harness::start(DEFINITION, &body(""), names).await;
    let started = tokio::time::Instant::now();
    let (_stream, _) = listener.accept().await.expect("the scrape");
    harness.update(&body("honor_labels = true")).await.expect("updated");
    harness.stop().await;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(sink.take().is_empty(), "nothing is known of a scrape that was cut off");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_neither_stops_scrapes_nor_makes_them_hurry() {
    use super::super::worker::{SKEW, now_ms};

    let bench = Bench::start("", [text("a 1\n")]).await;
    bench.next().await;
    for jump in [0, 3_600_000, -7_200_000, 1_234, 400 * 86_400_000] {
        SKEW.set(SKEW.get() + jump);
        // The first one may still have been planned by the clock before.
        for _ in 0..3 {
            let before = tokio::time::Instant::now();
            let batch = bench.next().await;
            let took = before.elapsed();
            assert!(took > Duration::from_secs(4) && took < Duration::from_secs(21), "{jump}: {took:?}");
            assert_eq!((reported(&batch, "up"), shown(&batch)), (Some(1.0), vec!["a 1".to_owned()]));
            let late = now_ms() - batch.points.at(0).timestamp_ms;
            assert!(
                (0..1_000).contains(&late),
                "the time is that of the clock: {late} ms behind after {jump}"
            );
        }
    }
}
