//! What is sent: URLs, bodies, headers, encodings, company.

use std::sync::Arc;

use component::testkit::Names;
use net::testkit::{Backend, status};
use prost::Message as _;
use signal::otlp::{
    ClientMetadata, LogsSignal, MetricsSignal, Otlp, OtlpBatch, OtlpRequest, Packed, TracesSignal, proto,
};
use wire::compress::{Encoding, compress};

use super::{body, logs, message, numbers, request, start, start_with, taken_of};
use crate::auth::{self, Handler};

#[tokio::test]
async fn every_signal_goes_where_it_belongs() {
    use proto::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data};
    use proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
    for (slash, metrics_path) in [("", "/v1/metrics"), ("/", "/own")] {
        let backend = Backend::good().await;
        let own = match metrics_path {
            "/own" => format!("metrics_endpoint = \"{}/own\"", backend.base()),
            _ => String::new(),
        };
        let running = start(&body(
            &(backend.base() + slash),
            "headers = { \"X-Mine\" = \"1\", \"Content-Type\" = \"x\" }",
            &own,
        ))
        .await;
        running.push([1]).await;
        let spans = vec![Span { name: "s".into(), ..Span::default() }];
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let traces = OtlpRequest::<TracesSignal>::from_message(
            proto::collector::trace::v1::ExportTraceServiceRequest { resource_spans },
        );
        let data = Some(Data::Gauge(Gauge { data_points: vec![NumberDataPoint::default(); 2] }));
        let metrics = vec![Metric { data, ..Metric::default() }];
        let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
        let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
        let metrics = OtlpRequest::<MetricsSignal>::from_message(
            proto::collector::metrics::v1::ExportMetricsServiceRequest { resource_metrics },
        );
        running.input.traces.as_ref().expect("taken").send(Otlp::of(traces)).await.expect("taken");
        running.input.metrics.as_ref().expect("taken").send(Otlp::of(metrics)).await.expect("taken");
        let all = backend.wait(3).await;
        let mut paths: Vec<_> = all.iter().map(|p| p.path.as_str()).collect();
        paths.sort_unstable();
        let mut expected = vec!["/v1/logs", "/v1/traces", metrics_path];
        expected.sort_unstable();
        assert_eq!(paths, expected);
        for posted in &all {
            assert_eq!(posted.method, "POST");
            assert_eq!(posted.headers["content-type"], "application/x-protobuf");
            assert_eq!(posted.headers["content-encoding"], "gzip");
            assert_eq!(posted.headers["x-mine"], "1");
            assert!(!posted.headers["user-agent"].is_empty());
        }
        for (items, count) in [("spans", 1.0), ("metric_points", 2.0), ("log_records", 1.0)] {
            let name = format!("otelcol_exporter_sent_{items}_total");
            running.eventually("counted", |r| r.sum(&name, "exporter=\"otlphttp/otelcol.") == count).await;
        }
    }
}

#[tokio::test]
async fn every_compression_and_encoding_is_read_back() {
    for encoding in ["proto", "json"] {
        for compression in ["gzip", "zlib", "deflate", "snappy", "zstd", "none", ""] {
            let backend = Backend::good().await;
            let client = format!("compression = {compression:?}");
            let running = start(&body(&backend.base(), &client, &format!("encoding = {encoding:?}"))).await;
            running.send(logs(&[&[1, 2], &[3]])).await.expect("taken");
            let posted = backend.wait(1).await.remove(0);
            let word = posted.headers.get("content-encoding").map_or("", String::as_str);
            assert_eq!(word, if compression == "none" { "" } else { compression });
            let json = posted.headers["content-type"] == "application/json";
            assert_eq!(json, encoding == "json");
            assert_eq!(numbers(&posted), [1, 2, 3], "{encoding} {compression}");
        }
    }
}

fn packed(encoding: Encoding, word: &'static str, level: i32) -> (Otlp<LogsSignal>, Vec<u8>) {
    let wire = message(&[1, 2]).encode_to_vec();
    let mut bytes = Vec::new();
    compress(encoding, Some(level), &[&wire], &mut bytes).expect("compresses");
    let packed = Packed { encoding: word, bytes: bytes.clone().into() };
    (Otlp::of(OtlpRequest::from_wire(wire.into(), 2, Some(packed))), bytes)
}

#[tokio::test]
async fn a_body_that_nobody_has_changed_goes_out_byte_by_byte_as_it_came() {
    // No compression at all, so that doing it again cannot give the same bytes.
    let (batch, bytes) = packed(Encoding::Gzip, "gzip", 0);
    let backend = Backend::first([status(503)]).await;
    let running = start(&body(&backend.base(), "", "")).await;
    running.send(batch.clone()).await.expect("taken");
    let all = backend.wait(2).await;
    assert!(all.iter().all(|posted| posted.body == bytes), "after a retry too");
    for (client, rest) in [
        ("compression = \"zstd\"", ""),
        ("", "encoding = \"json\""),
        ("", "sending_queue {\nbatch {\nflush_timeout = \"1ms\"\n}\n}"),
    ] {
        let backend = Backend::good().await;
        let running = start(&body(&backend.base(), client, rest)).await;
        running.send(batch.clone()).await.expect("taken");
        let posted = backend.wait(1).await.remove(0);
        assert_ne!(posted.body, bytes);
        assert_eq!(numbers(&posted), [1, 2]);
    }
}

#[tokio::test]
async fn a_body_that_waits_compressed_is_sent_right_after_the_compression_has_changed() {
    let (batch, bytes) = packed(Encoding::Gzip, "gzip", 0);
    let backend = Backend::start(|_| status(503)).await;
    let running = start(&body(&backend.base(), "", "")).await;
    running.send(batch).await.expect("taken");
    backend.wait(1).await;
    backend.script(|_| status(200));
    running.update(&body(&backend.base(), "compression = \"zstd\"", "")).await;
    let all = backend.until(|all| all.iter().any(|p| p.status == 200)).await;
    let last = all.last().expect("one at least");
    if last.headers["content-encoding"] == "zstd" {
        assert_eq!(numbers(last), [1, 2]);
    } else {
        // The back-off ended before the update.
        assert_eq!(last.body, bytes);
    }
}

#[tokio::test]
async fn what_waits_is_joined_up_to_enough_and_never_above_the_most() {
    let backend = Backend::good().await;
    let queue = "sending_queue {\nbatch {\nflush_timeout = \"1h\"\nmin_size = 10\nmax_size = 10\n}\n}";
    let running = start(&body(&backend.base(), "", queue)).await;
    running.push(0..30).await;
    let all = backend.until(|all| taken_of(all).len() == 30).await;
    assert_eq!(all.len(), 3, "records that are to be joined meet");
    // One request that is too large by itself, cut, and the rest goes with the flush at the end.
    let large: Vec<u64> = (100..125).collect();
    running.send(logs(&[&large])).await.expect("taken");
    backend.until(|all| taken_of(all).len() >= 50).await;
    running.harness.stop().await;
    let all = backend.all();
    assert_eq!(taken_of(&all), (0..30).chain(100..125).collect::<Vec<_>>());
    assert!(all.iter().all(|posted| numbers(posted).len() <= 10));
}

#[tokio::test]
async fn requests_that_are_alone_go_after_the_flush_timeout() {
    let backend = Backend::good().await;
    let queue = "sending_queue {\nbatch {\nflush_timeout = \"10ms\"\n}\n}";
    let running = start(&body(&backend.base(), "", queue)).await;
    running.push([1]).await;
    backend.until(|all| taken_of(all) == [1]).await;
}

async fn handler(definition: component::ComponentDef, body: &str) -> component::eval::Value {
    let harness = component::testkit::Harness::start(definition, body, Names::default()).await;
    harness.node.exports().as_object().expect("an object")["handler"].clone()
}

#[tokio::test]
async fn credentials_are_sent_with_every_request() {
    let basic = "username = \"a\"\npassword = \"b\"";
    for (definition, inside, name, expected) in [
        (component::ComponentDef::pure::<auth::basic::Basic>(), basic, "authorization", "Basic YTpi"),
        (
            component::ComponentDef::pure::<auth::bearer::Bearer>(),
            "token = \"t\"",
            "authorization",
            "Bearer t",
        ),
        (
            component::ComponentDef::pure::<auth::headers::Headers>(),
            "header {\nkey = \"X-Key\"\nvalue = \"v\"\n}",
            "x-key",
            "v",
        ),
    ] {
        let backend = Backend::good().await;
        let names = Names::default().with("handler", handler(definition, inside).await);
        let running = start_with(&body(&backend.base(), "auth = handler", ""), names).await;
        running.push([1]).await;
        let posted = backend.wait(1).await.remove(0);
        assert_eq!(posted.headers[name], expected);
        assert_eq!(numbers(&posted), [1]);
    }
}

#[tokio::test]
async fn a_handler_that_has_nothing_for_clients_is_refused() {
    let server = "htpasswd {\ninline = \"a:b\"\n}";
    let server = handler(component::ComponentDef::pure::<auth::basic::Basic>(), server).await;
    let names = Names::default().with("handler", server);
    let harness =
        component::testkit::Harness::new(super::DEFINITION, names, component::Services::for_tests("unused"));
    let refused = harness.update(&body("http://h", "auth = handler", "")).await.expect_err("refused");
    assert!(format!("{refused:?}").contains("nothing that a client could send"), "{refused:?}");
}

#[tokio::test]
async fn data_of_each_client_goes_with_its_own_header_also_when_it_is_joined() {
    let tenant = "header {\nkey = \"X-Scope-OrgID\"\nfrom_context = \"X-Tenant\"\n}";
    let tenant = handler(component::ComponentDef::pure::<auth::headers::Headers>(), tenant).await;
    assert!(<Handler as component::eval::ArgValue>::from_value(&tenant).is_ok());
    for queue in ["", "sending_queue {\nnum_consumers = 1\nbatch {\nflush_timeout = \"20ms\"\n}\n}"] {
        let backend = Backend::first([status(503), status(503)]).await;
        let names = Names::default().with("handler", tenant.clone());
        let running = start_with(&body(&backend.base(), "auth = handler", queue), names).await;
        for number in 0..9 {
            let headers = vec![("x-tenant".to_owned(), format!("t{}", number % 3))];
            let client = Some(Arc::new(ClientMetadata { headers, peer: String::new() }));
            let requests = std::iter::once(request(&[number])).collect();
            let batch = Otlp::new(OtlpBatch { requests, client, received_ms: 0 });
            running.send(batch).await.expect("taken");
        }
        let all = backend.until(|all| taken_of(all).len() == 9).await;
        for posted in &all {
            let tenant = &posted.headers["x-scope-orgid"];
            assert!(numbers(posted).iter().all(|n| *tenant == format!("t{}", n % 3)), "{posted:?}");
        }
    }
}
