//! The senders' rules of the remote-write specifications 1.0 and 2.0, each with its test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use component::Services;
use component::testkit::{Harness, Names};
use signal::histogram::{HistogramCounts, ResetHint};
use signal::samples::{ExemplarPoint, HistogramPoint, STALE_NAN};
use signal::{FamilyMetadata, Labels, MetricKind, NativeHistogram, SampleBatch};

use super::receiver::{Posted, Receiver, RemoteWrite as _, Reply, status, taken, written};
use super::{DEFINITION, FAST, batch, endpoint, first_arrivals_ascend, labels, open, point, series, start};

const V2: &str = "protobuf_message = \"io.prometheus.write.v2.Request\"";

fn family(name: &str) -> Arc<FamilyMetadata> {
    let (help, unit) = (format!("Help of {name}."), "seconds".to_string());
    Arc::new(FamilyMetadata { name: name.into(), kind: MetricKind::Counter, help, unit })
}

fn histogram() -> Arc<NativeHistogram> {
    Arc::new(NativeHistogram {
        schema: 0,
        zero_threshold: 0.0,
        sum: 5.0,
        counts: HistogramCounts::Int {
            count: 3,
            zero_count: 3,
            positive_deltas: Vec::new(),
            negative_deltas: Vec::new(),
        },
        positive_spans: Vec::new(),
        negative_spans: Vec::new(),
        custom_values: Vec::new(),
        reset_hint: ResetHint::Unknown,
    })
}

/// Samples with metadata and a start time, a histogram, exemplars.
fn everything() -> SampleBatch {
    let (a, h) = (series(&[("__name__", "a_total"), ("x", "1")]), series(&[("__name__", "h"), ("x", "1")]));
    let mut first = point(a.clone(), 2_000, 7.0);
    (first.start_ms, first.family) = (1_000, 0);
    let exemplar = ExemplarPoint {
        series: a,
        labels: Labels::from_pairs([("trace_id", "t1")]),
        value: 0.5,
        timestamp_ms: 1_999,
    };
    SampleBatch {
        points: vec![first, point(series(&[("__name__", "b")]), 2_000, 8.0)].into(),
        histograms: vec![HistogramPoint {
            series: h,
            timestamp_ms: 2_000,
            histogram: histogram(),
            start_ms: 0,
            family: 1,
        }],
        exemplars: vec![exemplar],
        families: vec![family("a"), family("h")].into(),
        origin: Some(1),
    }
}

async fn one_request(inside: &str, batch: SampleBatch) -> Posted {
    let receiver = Receiver::good().await;
    let running = start(&endpoint(&receiver.url(), inside)).await;
    running.send(batch).await;
    receiver.wait(1).await.remove(0)
}

#[tokio::test]
async fn requests_carry_the_headers_of_their_version() {
    let cases = [
        ("", "application/x-protobuf", "0.1.0"),
        (V2, "application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
    ];
    for (inside, content_type, version) in cases {
        let inside = format!(
            "{inside}\nheaders = {{ \"X-Scope-OrgID\" = \"team\" }}\nhttp_headers = {{ \"X-Mine\" = [\"me\"] }}"
        );
        let posted = one_request(&inside, batch("up", &[1.0])).await;
        assert_eq!((&*posted.method, &*posted.path), ("POST", "/write"));
        let header = |name: &str| posted.headers.get(name).map(String::as_str);
        assert_eq!(header("content-type"), Some(content_type));
        assert_eq!(header("content-encoding"), Some("snappy"));
        assert_eq!(header("x-prometheus-remote-write-version"), Some(version));
        assert!(header("user-agent").is_some_and(|a| a.starts_with("Ferroalloy/")), "{posted:?}");
        assert_eq!((header("x-scope-orgid"), header("x-mine")), (Some("team"), Some("me")));
        assert!(header("x-alloy-id").is_some() && header("x-agent-id").is_some());
        assert_eq!(header("retry-attempt"), None);
        // One block: it begins with the length of what comes out, and not with the frame format's tag.
        assert!(!posted.body.starts_with(b"\xff\x06\x00\x00sNaPpY"));
        assert_eq!(posted.values(), [1.0]);
    }
}

#[tokio::test]
async fn no_header_of_a_user_takes_the_place_of_one_of_the_protocol() {
    for name in ["Content-Type", "content-encoding", "User-Agent", "X-Prometheus-Remote-Write-Version"] {
        for inside in [
            format!("headers = {{ {name:?} = \"mine\" }}"),
            format!("http_headers = {{ {name:?} = [\"mine\"] }}"),
        ] {
            let body = endpoint("http://127.0.0.1:1/write", &inside);
            let harness = Harness::new(DEFINITION, Names::default(), Services::for_tests("unused"));
            let refused = format!("{:?}", harness.update(&body).await.expect_err(name));
            assert!(refused.contains("is set by the protocol and cannot be changed"), "{refused}");
        }
    }
}

#[tokio::test]
async fn labels_are_sorted_unique_and_never_empty() {
    let rule = "write_relabel_config {\ntarget_label = \"a\"\nreplacement = \"1\"\n}\nwrite_relabel_config {\ntarget_label = \"m\"\nreplacement = \"\"\n}";
    for version in ["", V2] {
        for rules in ["", rule] {
            let unsorted = series(&[("z", "1"), ("__name__", "up"), ("m", "2"), ("empty", ""), ("B", "3")]);
            let points = vec![point(unsorted, 1, 1.0), point(series(&[]), 1, 2.0)];
            let batch = SampleBatch { points: points.into(), ..SampleBatch::default() };
            let posted = one_request(&format!("{version}\n{rules}"), batch).await;
            let sent: Vec<Vec<(String, String)>> = if posted.is_v2() {
                let request = posted.v2();
                request.timeseries.iter().map(|s| labels(&request.symbols, &s.labels_refs)).collect()
            } else {
                let pairs = |s: &super::schema::v1::TimeSeries| {
                    s.labels.iter().map(|l| (l.name.clone(), l.value.clone())).collect()
                };
                posted.v1().timeseries.iter().map(pairs).collect()
            };
            let expected: &[(&str, &str)] = match rules {
                "" => &[("B", "3"), ("__name__", "up"), ("m", "2"), ("z", "1")],
                _ => &[("B", "3"), ("__name__", "up"), ("a", "1"), ("z", "1")],
            };
            let expected: Vec<_> = expected.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
            assert_eq!(sent, [expected], "the series without labels is not sent: {version} {rules}");
        }
    }
}

#[tokio::test]
async fn stale_markers_and_other_nans_keep_their_bits() {
    let values = [STALE_NAN.to_bits(), f64::NAN.to_bits(), 0x7ff8_0000_0000_0001, (-0.0_f64).to_bits()];
    for version in ["", V2] {
        let one = series(&[("__name__", "up")]);
        let points = values.iter().zip(1..).map(|(bits, t)| point(one.clone(), t, f64::from_bits(*bits)));
        let batch = SampleBatch { points: points.collect(), origin: Some(1), ..SampleBatch::default() };
        let posted = one_request(version, batch).await;
        assert_eq!(posted.samples().iter().map(|s| s.value).collect::<Vec<_>>(), values);
    }
}

#[tokio::test]
async fn each_series_arrives_in_order_with_many_shards_and_failing_attempts() {
    for version in ["", V2] {
        let mut count = 0;
        let receiver = Receiver::start(move |posted| {
            count += 1;
            match count % 7 {
                1 => status(500),
                3 => Reply::Reset,
                5 => status(429),
                _ => written(posted),
            }
        })
        .await;
        let shards = "queue_config {\nmin_shards = 8\nmax_shards = 8\nmin_backoff = \"1ms\"\nmax_backoff = \"3ms\"\nbatch_send_deadline = \"0s\"\n}";
        let running = start(&endpoint(&receiver.url(), &format!("{version}\n{shards}"))).await;
        let names: Vec<String> = (0..12).map(|i| format!("m{i}")).collect();
        for i in 0..30 {
            for (n, name) in names.iter().enumerate() {
                let mut batch = batch(name, &[f64::from(2 * i), f64::from(2 * i + 1)]);
                if n % 2 == 0 {
                    batch.origin = None;
                }
                running.send(batch).await;
            }
        }
        let total = names.len() * 60;
        let all = receiver.until(|all| taken(all).len() >= total).await;
        let mut by_series: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for sample in all.iter().filter(|p| p.status / 100 == 2).flat_map(Posted::samples) {
            by_series.entry(sample.series).or_default().push(f64::from_bits(sample.value));
        }
        assert_eq!(by_series.len(), names.len());
        for (series, values) in by_series {
            assert_eq!(values, (0..60).map(f64::from).collect::<Vec<_>>(), "{series}");
        }
    }
}

#[tokio::test]
async fn server_errors_and_429_are_retried_and_say_so() {
    for code in [500, 502, 503, 599, 429] {
        let receiver = Receiver::first([status(code), status(code)]).await;
        let running = start(&endpoint(&receiver.url(), "")).await;
        running.push("up", 1.0).await;
        let all = receiver.wait(3).await;
        let attempts: Vec<_> =
            all.iter().map(|p| p.headers.get("retry-attempt").map(String::as_str)).collect();
        assert_eq!(attempts, [None, Some("1"), Some("2")], "{code}");
        assert_eq!(taken(&all), [1.0]);
        running.eventually("counted", |r| r.sum("prometheus_remote_storage_samples_total", "") == 1.0).await;
        assert_eq!(running.sum("prometheus_remote_storage_samples_retried_total", ""), 2.0);
        assert_eq!(running.sum("prometheus_remote_storage_samples_retries_total", ""), 2.0);
        assert_eq!(running.sum("prometheus_remote_storage_samples_failed_total", ""), 0.0);
    }
}

#[tokio::test]
async fn other_client_errors_are_not_retried_and_counted() {
    for code in [400, 401, 403, 404, 405, 413, 415, 422, 451] {
        let receiver = Receiver::first([status(code)]).await;
        let running = start(&endpoint(&receiver.url(), "")).await;
        running.push("up", 1.0).await;
        receiver.wait(1).await;
        running.push("up", 2.0).await;
        let all = receiver.wait(2).await;
        assert_eq!(all[1].values(), [2.0], "{code}");
        running.eventually("counted", |r| r.sum("prometheus_remote_storage_samples_total", "") == 1.0).await;
        assert_eq!(running.sum("prometheus_remote_storage_samples_failed_total", ""), 1.0);
        assert_eq!(running.sum("prometheus_remote_storage_samples_dropped_total", "reason=\"http_4"), 1.0);
        assert_eq!(running.sum("prometheus_remote_storage_samples_retried_total", ""), 0.0);
    }
}

#[tokio::test]
async fn samples_refused_with_429_are_dropped_where_that_is_wanted() {
    let receiver = Receiver::first([status(429)]).await;
    let queue = FAST.replace("queue_config {", "queue_config {\nretry_on_http_429 = false");
    let running = start(&endpoint(&receiver.url(), &queue)).await;
    running.push("up", 1.0).await;
    receiver.wait(1).await;
    running.push("up", 2.0).await;
    assert_eq!(receiver.wait(2).await[1].values(), [2.0]);
    running.eventually("counted", |r| r.sum("prometheus_remote_storage_samples_total", "") == 1.0).await;
    assert_eq!(running.sum("prometheus_remote_storage_samples_failed_total", ""), 1.0);
    assert_eq!(running.sum("prometheus_remote_storage_samples_dropped_total", "reason=\"http_429\""), 1.0);
}

#[tokio::test]
async fn retry_after_is_honoured_for_429_and_5xx() {
    for code in [429, 503] {
        let again = vec![("Retry-After", "1".to_string())];
        let receiver =
            Receiver::first([Reply::Answer { status: code, headers: again, body: String::new() }]).await;
        let running = start(&endpoint(&receiver.url(), "")).await;
        running.push("up", 1.0).await;
        receiver.wait(1).await;
        let refused = Instant::now();
        receiver.wait(2).await;
        assert!(refused.elapsed() >= Duration::from_millis(900), "{:?}", refused.elapsed());
    }
}

#[tokio::test]
async fn a_version_2_body_is_what_the_specification_says() {
    let inside = format!("{V2}\nsend_native_histograms = true");
    let request = one_request(&inside, everything()).await.v2();
    let symbols = &request.symbols;
    assert_eq!(symbols[0], "", "the first symbol is the empty string");
    assert_eq!(symbols.iter().collect::<BTreeSet<_>>().len(), symbols.len(), "each symbol once: {symbols:?}");
    for series in &request.timeseries {
        assert_eq!(series.labels_refs.len() % 2, 0);
        assert!(series.samples.is_empty() || series.histograms.is_empty(), "samples or histograms, not both");
    }
    let find = |name: &str| {
        let is = |refs: &[u32]| labels(symbols, refs).contains(&("__name__".to_string(), name.to_string()));
        request.timeseries.iter().find(|s| is(&s.labels_refs)).expect("sent")
    };
    let a = find("a_total");
    assert_eq!(
        (a.samples[0].value, a.samples[0].timestamp, a.samples[0].start_timestamp),
        (7.0, 2_000, 1_000)
    );
    let exemplar = &a.exemplars[0];
    assert_eq!((exemplar.value, exemplar.timestamp), (0.5, 1_999));
    assert_eq!(labels(symbols, &exemplar.labels_refs), [("trace_id".to_string(), "t1".to_string())]);
    let h = find("h");
    assert_eq!((h.histograms[0].count, h.histograms[0].sum, h.histograms[0].timestamp), (3, 5.0, 2_000));
    for (series, help) in [(a, "Help of a."), (h, "Help of h.")] {
        let metadata = series.metadata.as_ref().expect("metadata with every series");
        let text = |i: u32| symbols[i as usize].as_str();
        assert_eq!((metadata.r#type, text(metadata.help_ref), text(metadata.unit_ref)), (1, help, "seconds"));
    }
}

#[tokio::test]
async fn a_receiver_that_does_not_know_version_2_gets_version_1_from_then_on_and_nothing_is_lost() {
    let plain = Reply::Answer { status: 200, headers: Vec::new(), body: "fine".into() };
    for answer in [status(415), status(204), plain] {
        // First an outage, so that the queue is full of version 2.
        let receiver = Receiver::start(|_| status(503)).await;
        let running = start(&endpoint(&receiver.url(), V2)).await;
        for i in 0..5 {
            running.push("up", f64::from(i)).await;
        }
        receiver.wait(2).await;
        receiver.script(move |posted| if posted.is_v2() { answer.clone() } else { status(204) });
        let v1 = |all: &[Posted]| {
            let v1 = all.iter().filter(|p| !p.is_v2());
            v1.flat_map(Posted::values).collect::<Vec<_>>()
        };
        let all = receiver.until(|all| v1(all).len() >= 5).await;
        assert_eq!(v1(&all), [0.0, 1.0, 2.0, 3.0, 4.0]);
        let asked = all.len();
        running.push("up", 5.0).await;
        let all = receiver.wait(asked + 1).await;
        assert!(!all[asked].is_v2(), "what has been learned is remembered");
        assert_eq!(all[asked].values(), [5.0]);
        running.eventually("counted", |r| r.sum("prometheus_remote_storage_samples_total", "") == 6.0).await;
        assert_eq!(running.sum("prometheus_remote_storage_samples_dropped_total", ""), 0.0);
    }
}

#[tokio::test]
async fn a_receiver_that_answers_400_to_version_2_is_asked_whether_it_takes_version_1() {
    // As a receiver of version 1 that is strict about the type of content.
    let receiver = Receiver::start(|posted| if posted.is_v2() { status(400) } else { status(204) }).await;
    let running = start(&endpoint(&receiver.url(), V2)).await;
    for i in 0..3 {
        running.push("up", f64::from(i)).await;
        running
            .eventually("sent", |r| r.sum("prometheus_remote_storage_samples_total", "") == f64::from(i + 1))
            .await;
    }
    let versions: Vec<_> = receiver.all().iter().map(Posted::is_v2).collect();
    assert_eq!(versions, [true, false, false, false], "and that is remembered");
    assert_eq!(receiver.taken(), [0.0, 1.0, 2.0]);
    assert_eq!(running.sum("prometheus_remote_storage_samples_dropped_total", ""), 0.0);

    // One that refuses the sample and not the version goes on with version 2, and once it has shown that it knows
    // that, it is not asked again.
    let receiver = Receiver::start(|posted| match posted.values()[..] {
        [bad] if bad < 0.0 => status(400),
        _ => written(posted),
    })
    .await;
    let running = start(&endpoint(&receiver.url(), V2)).await;
    let dropped = "prometheus_remote_storage_samples_dropped_total";
    running.push("up", -1.0).await;
    running.eventually("dropped", |r| r.sum(dropped, "reason=\"http_400\"") == 1.0).await;
    running.push("up", 1.0).await;
    receiver.wait(3).await;
    running.push("up", -2.0).await;
    running.eventually("dropped", |r| r.sum(dropped, "reason=\"http_400\"") == 2.0).await;
    let versions: Vec<_> = receiver.all().iter().map(Posted::is_v2).collect();
    assert_eq!(versions, [true, false, true, true]);
}

#[tokio::test]
async fn an_exemplar_of_a_histogram_that_is_not_sent_does_not_spoil_a_version_2_request() {
    let mut batch = everything();
    batch.exemplars[0].series = batch.histograms[0].series.clone();
    let receiver = Receiver::good().await;
    let running = start(&endpoint(&receiver.url(), V2)).await;
    running.send(batch).await;
    let request = receiver.wait(1).await[0].v2();
    assert!(
        request.timeseries.iter().all(|s| !s.samples.is_empty() && s.exemplars.is_empty()),
        "{request:?}"
    );
    let dropped = running.sum("prometheus_remote_storage_exemplars_dropped_total", "without_sample");
    assert_eq!(dropped, 1.0);
    assert_eq!(
        running.sum("prometheus_remote_storage_histograms_dropped_total", "native_histograms_off"),
        1.0
    );
}

#[tokio::test]
async fn what_a_version_2_receiver_wrote_of_a_refused_request_counts_as_sent() {
    let partly = vec![("X-Prometheus-Remote-Write-Samples-Written", "2".to_string())];
    let reply = Reply::Answer { status: 400, headers: partly, body: "one is out of order\n".into() };
    let receiver = Receiver::first([reply]).await;
    let running = start(&endpoint(&receiver.url(), V2)).await;
    running.send(batch("up", &[1.0, 2.0, 3.0])).await;
    running
        .eventually("counted", |r| r.sum("prometheus_remote_storage_samples_failed_total", "") == 1.0)
        .await;
    assert_eq!(running.sum("prometheus_remote_storage_samples_total", ""), 2.0);
}

#[tokio::test]
async fn metadata_goes_apart_from_samples_in_version_1_only_and_not_where_it_is_off() {
    let every = |send: bool| {
        format!("metadata_config {{\nsend = {send}\nsend_interval = \"20ms\"\nmax_samples_per_send = 1\n}}")
    };
    let receiver = Receiver::good().await;
    let running = start(&endpoint(&receiver.url(), &every(true))).await;
    running.send(everything()).await;
    let metadata = |all: &[Posted]| all.iter().flat_map(|p| p.v1().metadata).collect::<Vec<_>>();
    let all = receiver.until(|all| metadata(all).len() >= 2).await;
    let told: Vec<_> =
        metadata(&all).into_iter().map(|m| (m.metric_family_name, m.r#type, m.help, m.unit)).collect();
    let expected = |name: &str| (name.to_string(), 1, format!("Help of {name}."), "seconds".to_string());
    assert_eq!(told, [expected("a"), expected("h")]);
    assert!(all.iter().all(|p| p.v1().metadata.len() <= 1), "max_samples_per_send");
    running.eventually("counted", |r| r.sum("prometheus_remote_storage_metadata_total", "") == 2.0).await;
    assert!(running.sum("prometheus_remote_storage_metadata_bytes_total", "") > 0.0);
    assert_eq!(running.sum("prometheus_remote_write_wal_metadata_updates_total", ""), 2.0);

    for (inside, due) in
        [(every(true), true), (every(false), false), (format!("{V2}\n{}", every(true)), false)]
    {
        let endpoint = open(&endpoint("http://127.0.0.1:1/write", &inside)).await.0;
        assert_eq!(endpoint.metadata_due().is_some(), due, "{inside}");
    }
}

#[tokio::test]
async fn external_labels_fill_gaps_before_write_relabel_config_sees_them() {
    let receiver = Receiver::good().await;
    let rules = "write_relabel_config {\nsource_labels = [\"region\"]\nregex = \"(.+)-west\"\ntarget_label = \"area\"\n}\nwrite_relabel_config {\nsource_labels = [\"__name__\"]\nregex = \"drop.*\"\naction = \"drop\"\n}";
    let body = format!(
        "external_labels = {{ region = \"eu-west\", dollar = \"$1\" }}\n{}",
        endpoint(&receiver.url(), rules)
    );
    let running = start(&body).await;
    let points = [
        [("__name__", "a"), ("x", "1")],
        [("__name__", "b"), ("region", "us-west")],
        [("__name__", "drop_me"), ("x", "1")],
    ];
    let points: Vec<_> = points.iter().map(|pairs| point(series(pairs), 1, 1.0)).collect();
    running.send(SampleBatch { points: points.into(), origin: Some(1), ..SampleBatch::default() }).await;
    let sent: Vec<_> = receiver.wait(1).await[0].samples().into_iter().map(|s| s.series).collect();
    assert_eq!(
        sent,
        [
            r#"a{area="eu", dollar="$1", region="eu-west", x="1"}"#,
            r#"b{area="us", dollar="$1", region="us-west"}"#,
        ]
    );
    assert_eq!(running.sum("prometheus_remote_storage_samples_dropped_total", "dropped_series"), 1.0);
    assert_eq!(running.sum("prometheus_remote_storage_samples_in_total", ""), 3.0);
}

#[tokio::test]
async fn exemplars_and_native_histograms_go_only_where_they_are_wanted() {
    let cases = [
        ("", 1, 0),
        ("send_exemplars = false", 0, 0),
        ("send_native_histograms = true", 1, 1),
        ("send_exemplars = false\nsend_native_histograms = true", 0, 1),
    ];
    for (inside, exemplars, histograms) in cases {
        let receiver = Receiver::good().await;
        let running = start(&endpoint(&receiver.url(), inside)).await;
        running.send(everything()).await;
        let all = receiver.wait(1).await[0].v1().timeseries;
        assert_eq!(all.iter().map(|s| s.exemplars.len()).sum::<usize>(), exemplars, "{inside}");
        assert_eq!(all.iter().map(|s| s.histograms.len()).sum::<usize>(), histograms, "{inside}");
        let off = running.sum("prometheus_remote_storage_histograms_dropped_total", "native_histograms_off");
        assert_eq!(off, 1.0 - histograms as f64);
    }
}

#[tokio::test]
async fn the_metrics_that_alloy_documents_are_there() {
    let receiver = Receiver::first([status(500)]).await;
    let running = start(&endpoint(&receiver.url(), "name = \"n\"")).await;
    running.push("up", 1.0).await;
    running.eventually("sent", |r| r.sum("prometheus_remote_storage_samples_total", "") == 1.0).await;
    let storage = "bytes_total enqueue_retries_total exemplars_failed_total exemplars_in_total exemplars_retried_total \
        exemplars_total max_samples_per_send metadata_bytes_total metadata_failed_total metadata_retried_total \
        metadata_total queue_highest_sent_timestamp_seconds samples_failed_total samples_in_total samples_pending \
        samples_retries_total samples_total sent_batch_duration_seconds_count shard_capacity shards_desired shards_max \
        shards_min shards highest_timestamp_in_seconds";
    let wal = "exemplars_appended_total metadata_updates_total samples_appended_total";
    let names = storage.split_whitespace().map(|n| format!("prometheus_remote_storage_{n}"));
    let names = names.chain(wal.split_whitespace().map(|n| format!("prometheus_remote_write_wal_{n}")));
    for name in names {
        let found = running.metric(&name);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        let has_endpoint = found[0].contains("remote_name=\"n\"") && found[0].contains("/write\"");
        let is_global =
            name.contains("_in_total") || name.contains("_wal_") || name.contains("highest_timestamp");
        assert_eq!(has_endpoint, !is_global, "{found:?}");
        assert!(found[0].contains(&format!("component_id=\"{}.test\"", DEFINITION.name)));
    }
    assert_eq!(running.sum("prometheus_remote_storage_shard_capacity", ""), 10_000.0);
    assert_eq!(running.sum("prometheus_remote_storage_max_samples_per_send", ""), 2_000.0);
}

#[test]
fn first_arrivals_are_told_from_repetitions() {
    assert!(first_arrivals_ascend(&[1.0, 2.0, 1.0, 2.0, 3.0]));
    assert!(!first_arrivals_ascend(&[1.0, 3.0, 2.0]));
}
