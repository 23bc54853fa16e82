//! What is sent: methods, messages, metadata, company.

use component::ComponentDef;
use component::eval::Value;
use component::testkit::{Harness, Names};
use prost::Message as _;
use signal::otlp::{
    ClientMetadata, LogsSignal, MetricsSignal, Otlp, OtlpBatch, OtlpRequest, Packed, TracesSignal,
};
use wire::compress::{Encoding, compress};

use super::{DEFINITION, body, start};
use crate::auth;
use crate::exporter::sending::testkit::{GrpcBackend, Outcome, Running, logs, message, request, taken_of};

#[tokio::test]
async fn every_signal_has_its_method_and_all_share_a_connection() {
    let backend = GrpcBackend::good().await;
    let headers = "headers = { \"X-Mine\" = \"1\", \"grpc-timeout\" = \"x\", \"key-bin\" = \"\u{1}raw\" }";
    let running = start(&body(&backend.address(), headers, "")).await;
    running.push([1]).await;
    let traces = Otlp::of(OtlpRequest::<TracesSignal>::from_wire(Default::default(), 2, None));
    let metrics = Otlp::of(OtlpRequest::<MetricsSignal>::from_wire(Default::default(), 3, None));
    running.input.traces.as_ref().expect("taken").send(traces).await.expect("taken");
    running.input.metrics.as_ref().expect("taken").send(metrics).await.expect("taken");
    let all = backend.wait(3).await;
    let mut methods: Vec<_> = all.iter().map(|c| c.method.as_str()).collect();
    methods.sort_unstable();
    assert_eq!(
        methods,
        [
            "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        ]
    );
    for called in &all {
        assert_eq!(called.headers["grpc-encoding"], "gzip");
        assert_eq!(called.headers["x-mine"], "1");
        assert_eq!(called.headers["key-bin"], "AXJhdw");
        assert_ne!(called.headers["grpc-timeout"], "x");
        assert!(called.headers["user-agent"].to_str().expect("text").starts_with("Ferroalloy/"));
    }
    assert_eq!(backend.connections(), 1);
    for (items, count) in [("spans", 2.0), ("metric_points", 3.0), ("log_records", 1.0)] {
        let name = format!("otelcol_exporter_sent_{items}_total");
        running
            .eventually("counted", |r| r.sum(&name, "exporter=\"otlp/otelcol.exporter.otlp.") == count)
            .await;
    }
    for family in ["duration_milliseconds", "request_size_bytes", "responses_per_rpc"] {
        assert_eq!(running.sum(&format!("rpc_client_{family}_count"), "rpc_service=\"opentelemetry"), 3.0);
    }
    let level = "debug_metrics {\nlevel = \"normal\"\n}";
    running.update(&body(&backend.address(), "", level)).await;
    assert_eq!(running.sum("rpc_client_duration_milliseconds_count", ""), 0.0);
}

#[tokio::test]
async fn every_compression_is_read_back() {
    for compression in ["gzip", "zstd", "snappy", "none", ""] {
        let backend = GrpcBackend::good().await;
        let client =
            format!("compression = {compression:?}\nread_buffer_size = \"4KiB\"\nwrite_buffer_size = 0");
        let running = start(&body(&backend.address(), &client, "")).await;
        running.send(logs(&[&[1, 2], &[3]])).await.expect("taken");
        let called = backend.wait(1).await.remove(0);
        let word = called.headers.get("grpc-encoding").map_or("", |v| v.to_str().expect("text"));
        assert_eq!(word, if compression == "none" { "" } else { compression });
        assert_eq!(called.numbers(), [1, 2, 3], "{compression}");
        // The Go implementation knows the framed format only.
        assert_eq!(called.message.starts_with(b"\xff\x06\x00\x00sNaPpY"), compression == "snappy");
    }
}

#[tokio::test]
async fn a_message_that_nobody_has_changed_goes_out_byte_by_byte_as_it_came() {
    let wire = message(&[1, 2]).encode_to_vec();
    // No compression at all, so that doing it again cannot give the same bytes.
    let mut bytes = Vec::new();
    compress(Encoding::Gzip, Some(0), &[&wire], &mut bytes).expect("compresses");
    let packed = Packed { encoding: "gzip", bytes: bytes.clone().into() };
    let batch = Otlp::of(OtlpRequest::<LogsSignal>::from_wire(wire.clone().into(), 2, Some(packed)));
    let backend = GrpcBackend::first([Outcome::Hangs]).await;
    let running = start(&body(&backend.address(), "", "timeout = \"1s\"")).await;
    running.send(batch.clone()).await.expect("taken");
    let all = backend.wait(2).await;
    assert!(all.iter().all(|called| called.message == bytes), "after a retry too");
    let other = start(&body(&backend.address(), "compression = \"zstd\"", "")).await;
    other.send(batch).await.expect("taken");
    assert_eq!(backend.wait(3).await[2].numbers(), [1, 2]);
    // A block of snappy, from HTTP, is no frame of gRPC.
    let mut block = Vec::new();
    compress(Encoding::Snappy, None, &[&wire], &mut block).expect("compresses");
    let packed = Packed { encoding: "snappy", bytes: block.clone().into() };
    let batch = Otlp::of(OtlpRequest::<LogsSignal>::from_wire(wire.into(), 2, Some(packed)));
    let snappy = start(&body(&backend.address(), "compression = \"snappy\"", "")).await;
    snappy.send(batch).await.expect("taken");
    let called = backend.wait(4).await.remove(3);
    assert!(called.message != block && called.numbers() == [1, 2]);
}

#[tokio::test]
async fn what_waits_is_joined_and_cut_between_items() {
    let backend = GrpcBackend::good().await;
    let batch = "sending_queue {\nbatch {\nflush_timeout = \"30ms\"\nmin_size = 4\nmax_size = 5\n}\n}";
    let running = start(&body(&backend.address(), "", batch)).await;
    running.push(0..4).await;
    running.send(logs(&[&[4, 5, 6, 7, 8, 9, 10]])).await.expect("taken");
    let all = backend.until(|all| taken_of(all).len() == 11).await;
    assert!(all.iter().all(|c| c.numbers().len() <= 5), "{all:?}");
    assert!(all.len() < 8);
}

#[tokio::test]
async fn credentials_and_headers_of_the_client_are_metadata() {
    let backend = GrpcBackend::good().await;
    let credentials =
        handler(ComponentDef::pure::<auth::basic::Basic>(), "username = \"a\"\npassword = \"b\"").await;
    let names = Names::default().with("credentials", credentials);
    let running =
        Running::start(DEFINITION, &body(&backend.address(), "auth = credentials", ""), names).await;
    running.push([1]).await;
    assert_eq!(backend.wait(1).await[0].headers["authorization"], "Basic YTpi");
    let header = "header {\nkey = \"x-tenant\"\nfrom_context = \"x-tenant\"\n}";
    let tenant = handler(ComponentDef::pure::<auth::headers::Headers>(), header).await;
    let names = Names::default().with("tenant", tenant);
    let running = Running::start(DEFINITION, &body(&backend.address(), "auth = tenant", ""), names).await;
    let headers = vec![("x-tenant".to_owned(), "t1".to_owned())];
    let client = Some(std::sync::Arc::new(ClientMetadata { headers, peer: String::new() }));
    let requests = std::iter::once(request(&[2])).collect();
    running.send(Otlp::new(OtlpBatch { requests, client, received_ms: 0 })).await.expect("taken");
    assert_eq!(backend.wait(2).await[1].headers["x-tenant"], "t1");
}

/// The export of an `otelcol.auth` component.
async fn handler(definition: ComponentDef, body: &str) -> Value {
    let harness = Harness::start(definition, body, Names::default()).await;
    harness.node.exports().as_object().expect("an object")["handler"].clone()
}

#[tokio::test]
async fn a_new_endpoint_gets_what_the_old_one_has_not_taken() {
    let (old, new) = (GrpcBackend::start(|_| Outcome::Hangs).await, GrpcBackend::good().await);
    let running = start(&body(&old.address(), "", "timeout = \"300ms\"")).await;
    running.push(0..30).await;
    old.wait(5).await;
    running.update(&body(&new.address(), "", "sending_queue {\nnum_consumers = 20\n}")).await;
    running.push(30..40).await;
    // What was in flight ends with its deadline, and is sent to the new one as well.
    new.until(|all| taken_of(all).len() == 40).await;
    assert_eq!(new.taken(), (0..40).collect::<Vec<_>>());
}
