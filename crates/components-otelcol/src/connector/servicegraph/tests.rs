//! The component as its neighbours see it, on paused time.

use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::trace::v1::{ResourceSpans, Span, Status};

use super::*;
use crate::streams::testing::*;

const MINUTE: Duration = Duration::from_secs(60);

async fn bench(args: &str) -> SpanBench {
    SpanBench::new::<ServiceGraph>(args).await
}

/// A span: its kind, its own ID, its parent's, and how many milliseconds it took.
fn span(kind: i32, id: u8, parent: u8, ms: u64) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { vec![] } else { vec![parent; 8] },
        kind,
        start_time_unix_nano: 1_000_000_000,
        end_time_unix_nano: 1_000_000_000 + ms * 1_000_000,
        ..Default::default()
    }
}

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

fn of(service: &str, spans: Vec<Span>) -> ResourceSpans {
    spans_of(vec![text("service.name", service)], spans)
}

fn with(mut span: Span, attributes: Vec<KeyValue>) -> Span {
    span.attributes = attributes;
    span
}

/// The lines of the metric of requests, without its name.
async fn totals(bench: &SpanBench) -> Vec<String> {
    let all = lines(&bench.after(MINUTE).await);
    all.iter()
        .filter_map(|line| line.strip_prefix("traces_service_graph_request_total"))
        .map(str::to_string)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_call_and_its_answer_are_an_edge_in_whatever_order_they_come() {
    let bench = bench("").await;
    let mut failed = span(SERVER, 4, 3, 5);
    failed.status = Some(Status { code: 2, ..Default::default() });
    bench.send(vec![of("web", vec![span(CLIENT, 1, 9, 40)])]).await.expect("taken");
    assert_eq!(bench.own("otelcol_connector_servicegraph_waiting_spans"), "1");
    bench.send(vec![of("cart", vec![span(SERVER, 2, 1, 30), failed])]).await.expect("taken");
    bench.send(vec![of("web", vec![span(CLIENT, 3, 9, 6), span(1, 8, 8, 1)])]).await.expect("taken");
    let out = bench.after(MINUTE).await;
    let at = |failed: bool| format!("{{client=web,connection_type=,failed={failed},server=cart}}");
    let (good, bad) = (at(false), at(true));
    assert_eq!(
        lines(&out),
        [
            format!("traces_service_graph_request_client{good} 1/0.04"),
            format!("traces_service_graph_request_client{bad} 1/0.006"),
            format!("traces_service_graph_request_failed_total{bad} 1"),
            format!("traces_service_graph_request_server{good} 1/0.03"),
            format!("traces_service_graph_request_server{bad} 1/0.005"),
            format!("traces_service_graph_request_total{good} 1"),
            format!("traces_service_graph_request_total{bad} 1"),
        ]
    );
    let scope = &out[0].scope_metrics[0];
    assert_eq!(scope.scope.as_ref().map(|s| s.name.as_str()), Some("traces_service_graph"));
    let Some(Data::Histogram(latency)) = &scope.metrics[2].data else { panic!("a histogram") };
    assert_eq!(
        (latency.data_points[0].explicit_bounds[0], latency.data_points[0].explicit_bounds[15]),
        (0.002, 15.0)
    );
    assert_eq!(bench.own("otelcol_connector_servicegraph_total_edges_total"), "2");
    assert_eq!(bench.own("otelcol_connector_servicegraph_waiting_spans"), "0");
    assert_eq!(totals(&bench).await.len(), 2, "cumulative series go on");
}

#[tokio::test(start_paused = true)]
async fn messages_and_databases_are_told_apart() {
    let bench = bench("").await;
    let database = with(span(CLIENT, 5, 9, 20), vec![text("db.name", "orders")]);
    let all =
        vec![of("web", vec![span(PRODUCER, 1, 9, 1), database]), of("mailer", vec![span(CONSUMER, 2, 1, 2)])];
    bench.send(all).await.expect("taken");
    let out = lines(&bench.after(MINUTE).await);
    for expected in [
        "traces_service_graph_request_total{client=web,connection_type=messaging_system,failed=false,server=mailer} 1",
        "traces_service_graph_request_total{client=web,connection_type=database,failed=false,server=orders} 1",
        "traces_service_graph_request_server{client=web,connection_type=database,failed=false,server=orders} 1/0.02",
        "traces_service_graph_request_client{client=web,connection_type=database,failed=false,server=orders} 1/0.02",
    ] {
        assert!(out.iter().any(|line| line == expected), "{expected} in {out:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_sends_no_spans_is_a_virtual_node() {
    let all = || {
        let named =
            with(span(CLIENT, 1, 9, 1), vec![text("db.system", "redis"), text("peer.service", "bank")]);
        vec![of("web", vec![named, span(CLIENT, 2, 9, 1), span(SERVER, 3, 0, 1), span(SERVER, 4, 77, 1)])]
    };
    let virtual_node = "connection_type=virtual_node,failed=false";
    let one = bench("virtual_node_extra_label = true").await;
    one.send(all()).await.expect("taken");
    assert_eq!(
        totals(&one).await,
        [
            format!("{{client=user,{virtual_node},server=web,virtual_node=client}} 1"),
            format!("{{client=web,{virtual_node},server=bank,virtual_node=server}} 1"),
            format!("{{client=web,{virtual_node},server=unknown,virtual_node=server}} 1"),
        ]
    );
    assert_eq!(one.own("otelcol_connector_servicegraph_expired_edges_total"), "4");
    let none = bench("virtual_node_peer_attributes = []").await;
    none.send(all()).await.expect("taken");
    assert_eq!(totals(&none).await, Vec::<String>::new());
    let other =
        bench("virtual_node_peer_attributes = [\"db.system\"]\ndatabase_name_attributes = [\"db.system\"]")
            .await;
    other.send(all()).await.expect("taken");
    assert!(
        totals(&other)
            .await
            .iter()
            .any(|line| line.contains("connection_type=database") && line.contains("server=redis"))
    );
}

#[tokio::test(start_paused = true)]
async fn dimensions_are_those_of_each_side() {
    let bench = bench("dimensions = [\"zone\", \"path\"]").await;
    let web = spans_of(
        vec![text("service.name", "web"), text("zone", "a")],
        vec![with(span(CLIENT, 1, 9, 1), vec![text("zone", "of the span"), text("path", "/x")])],
    );
    let cart = spans_of(vec![text("service.name", "cart"), text("zone", "b")], vec![span(SERVER, 2, 1, 1)]);
    bench.send(vec![web, cart]).await.expect("taken");
    assert_eq!(
        totals(&bench).await,
        [
            "{client=web,client_path=/x,client_zone=a,connection_type=,failed=false,server=cart,server_zone=b} 1"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_spans_are_bounded_in_number_and_time() {
    let bench = bench("virtual_node_peer_attributes = []\nstore_expiration_loop = \"1h\"\nstore {\n max_items = 2\n ttl = \"10s\"\n}").await;
    bench
        .send(vec![of("web", vec![span(CLIENT, 1, 9, 1), span(CLIENT, 2, 9, 1), span(CLIENT, 3, 9, 1)])])
        .await
        .expect("taken");
    assert_eq!(bench.own("otelcol_connector_servicegraph_dropped_spans_total"), "1");
    tokio::time::sleep(Duration::from_secs(11)).await;
    bench.send(vec![of("web", vec![span(CLIENT, 4, 9, 1)])]).await.expect("taken");
    assert_eq!(
        bench.own("otelcol_connector_servicegraph_dropped_spans_total"),
        "1",
        "the old ones make room"
    );
    assert_eq!(bench.own("otelcol_connector_servicegraph_expired_edges_total"), "2");
    bench.send(vec![of("cart", vec![span(SERVER, 5, 4, 1)])]).await.expect("taken");
    assert_eq!(totals(&bench).await.len(), 1);
    assert_eq!(bench.own("otelcol_connector_servicegraph_waiting_spans"), "0");
}

#[tokio::test(start_paused = true)]
async fn series_are_forgotten_when_they_have_not_changed_for_long() {
    let bench = bench("").await;
    bench
        .send(vec![of("web", vec![span(CLIENT, 1, 9, 1)]), of("cart", vec![span(SERVER, 2, 1, 1)])])
        .await
        .expect("taken");
    tokio::time::sleep(Duration::from_secs(15 * 60 - 90)).await;
    bench.sink.take();
    assert_eq!(totals(&bench).await.len(), 1);
    tokio::time::sleep(Duration::from_secs(120)).await;
    bench.sink.take();
    assert_eq!(totals(&bench).await.len(), 0);
}

#[test]
fn series_are_bounded() {
    let bodies = |n: usize| store::Edge { client: "a".into(), server: n.to_string(), ..Default::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut graph = Graph::new(&args());
        graph.most = 2;
        assert_eq!([0, 1, 2, 3, 1].map(|n| graph.count(bodies(n), 5)), [true, true, false, false, true]);
        let metrics = lines(&graph.metrics(9).resource_metrics);
        assert!(
            metrics
                .iter()
                .any(|line| line == "traces_service_graph_request_total{otel.metric.overflow=true} 2")
        );
    });
}

fn args() -> Args {
    let source = component::eval::syntax::Source::new("test.alloy", "output { }");
    let (file, _) = component::eval::syntax::parse(&source);
    let names = component::testkit::Names::default();
    let scope = component::eval::Scope::new(&names);
    component::eval::decode(&source, &file.body, None, &scope).0.expect("valid")
}

#[tokio::test(start_paused = true)]
async fn latencies_can_be_exponential_and_metrics_sent_at_once() {
    let bench = bench("exponential_histogram_max_size = 10\nmetrics_flush_interval = \"0s\"").await;
    bench.sink.answer(Err(Rejected::Retryable("later".into())));
    let call = || vec![of("web", vec![span(CLIENT, 1, 9, 1)]), of("cart", vec![span(SERVER, 2, 1, 900)])];
    assert_eq!(bench.send(call()).await, Ok(()), "it is counted");
    bench.sink.answer(Ok(()));
    bench.send(call()).await.expect("counted");
    let out = bench.after(Duration::ZERO).await;
    let Some(Data::ExponentialHistogram(latency)) = &out[0].scope_metrics[0].metrics[1].data else {
        panic!("exponential: {out:?}")
    };
    assert_eq!((latency.data_points[0].count, latency.data_points[0].max), (2, Some(0.9)));
}

#[tokio::test(start_paused = true)]
async fn other_series_send_the_old_ones_and_a_stop_sends_all() {
    let bench = bench("").await;
    let call =
        |id| vec![of("web", vec![span(CLIENT, id, 9, 1)]), of("cart", vec![span(SERVER, id + 1, id, 1)])];
    bench.send(call(1)).await.expect("counted");
    bench.harness.update(&format!("cache_loop = \"2m\"\n{OUTPUT}")).await.expect("valid");
    bench.send(call(3)).await.expect("counted");
    assert!(totals(&bench).await[0].ends_with(" 2"), "counted on");
    bench.harness.update(&format!("dimensions = [\"x\"]\n{OUTPUT}")).await.expect("valid");
    let out = lines(&bench.after(Duration::from_secs(1)).await);
    assert!(out.iter().any(|line| line.contains("request_total") && line.ends_with(" 2")), "{out:?}");
    bench.send(call(5)).await.expect("counted");
    bench.sink.answer(Err(Rejected::Retryable("later".into())));
    let later = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        bench.sink.answer(Ok(()));
    };
    let (stopped, ()) = tokio::join!(bench.harness.stop(), later);
    assert_eq!(stopped, component::Stopped::Clean);
    let out = lines(&bench.after(Duration::ZERO).await);
    assert!(out.iter().any(|line| line.contains("request_total") && line.ends_with(" 1")), "{out:?}");
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused() {
    let bench = bench("").await;
    for (args, why) in [
        ("store {\n max_items = -1\n}", "negative"),
        ("latency_histogram_buckets = [\"2s\", \"1s\"]", "ascending"),
        ("exponential_histogram_max_size = -1", "between 0"),
    ] {
        let refused = bench.harness.update(&format!("{args}\n{OUTPUT}")).await.expect_err(args);
        assert!(format!("{refused:?}").contains(why), "{args}: {refused:?}");
    }
}

#[test]
fn the_surface_is_alloys() {
    let ours = component::testkit::surface(<Args as component::eval::Arguments>::schema());
    let shared = |line: &String| line.starts_with("output") || line.starts_with("debug_metrics");
    let expected = [
        "cache_loop duration = \"1m\"",
        "database_name_attributes list(string) = [\"db.name\"]",
        "dimensions list(string)",
        "exponential_histogram_max_size int",
        "latency_histogram_buckets list(duration) = [\"2ms\", \"4ms\", \"6ms\", \"8ms\", \"10ms\", \"50ms\", \"100ms\", \"200ms\", \"400ms\", \"800ms\", \"1s\", \"1.4s\", \"2s\", \"5s\", \"10s\", \"15s\"]",
        "metrics_flush_interval duration = \"1m\"",
        "store block defaults",
        "store.max_items int = 1000",
        "store.ttl duration = \"2s\"",
        "store_expiration_loop duration = \"2s\"",
        "virtual_node_extra_label bool",
        "virtual_node_peer_attributes list(string) = [\"peer.service\", \"db.name\", \"db.system\"]",
    ];
    assert_eq!(ours.into_iter().filter(|line| !shared(line)).collect::<Vec<_>>(), expected);
}
