//! The component with back ends of gRPC in this process: who gets what, and that nothing is lost when they come and go.

use std::sync::Arc;

use bytes::Bytes;
use component::eval::Arguments as _;
use component::testkit::{Harness, Names};
use component::{ComponentDef, Services};
use net::grpc::Code;
use prost::Message as _;
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{LogsSignal, Otlp, OtlpRequest, TracesSignal};

mod finding;

use super::keys::{RoutingKey, share};
use super::ring::Ring;
use super::{Args, LoadBalancing};
use crate::exporter::sending::testkit::{FAST, GrpcBackend, Outcome, Running, differences, refused};
use crate::signals::Kind;
use crate::storage::file::FileStorage;

const DEFINITION: ComponentDef = ComponentDef::of::<LoadBalancing>();

fn body(backends: &[&GrpcBackend], queue: &str, rest: &str) -> String {
    let names: Vec<_> = backends.iter().map(|backend| format!("{:?}", backend.address())).collect();
    let retry = FAST.replace("retry_on_failure", "retry");
    format!(
        "resolver {{\nstatic {{\nhostnames = [{}]\n}}\n}}\nprotocol {{\notlp {{\ntimeout = \"5s\"\n{retry}{queue}\nclient {{\ntls {{\ninsecure = true\n}}\n}}\n}}\n}}\n{FAST}{rest}\n",
        names.join(", ")
    )
}

fn resource(service: &str) -> Option<Resource> {
    let value = Some(AnyValue { value: Some(Value::StringValue(service.into())) });
    let attributes = match service {
        "" => Vec::new(),
        _ => vec![KeyValue { key: "service.name".into(), value, ..KeyValue::default() }],
    };
    Some(Resource { attributes, ..Resource::default() })
}

fn trace_id(trace: u64) -> Vec<u8> {
    (u128::from(trace) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes().into()
}

/// Records of traces, each with its number.
fn logs(records: impl IntoIterator<Item = (u64, u64)>) -> OtlpRequest<LogsSignal> {
    let record = |(trace, number)| LogRecord {
        trace_id: trace_id(trace),
        time_unix_nano: number,
        ..LogRecord::default()
    };
    let log_records = records.into_iter().map(record).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    OtlpRequest::from_message(ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource: resource("a"), scope_logs, ..ResourceLogs::default() }],
    })
}

/// Record `number` belongs to trace `number / 2`.
async fn push(running: &Running, numbers: std::ops::Range<u64>) {
    for number in numbers {
        running.send(Otlp::of(logs([(number / 2, number)]))).await.expect("taken");
    }
}

fn numbers(backends: &[&GrpcBackend]) -> Vec<u64> {
    let mut all: Vec<_> = backends.iter().flat_map(|backend| backend.taken()).collect();
    all.sort_unstable();
    all
}

async fn start(body: &str) -> Running {
    Running::start(DEFINITION, body, Names::default()).await
}

#[tokio::test]
async fn a_trace_goes_to_one_back_end_and_all_of_them_get_some() {
    let backends = [GrpcBackend::good().await, GrpcBackend::good().await, GrpcBackend::good().await];
    let all: Vec<_> = backends.iter().collect();
    let running = start(&body(&all, "", "")).await;
    // Traces mixed in one request, and again in others.
    running.send(Otlp::of(logs((0..200).map(|n| (n / 2, n))))).await.expect("taken");
    running.send(Otlp::of(logs((200..400).map(|n| ((n - 200) / 2, n))))).await.expect("taken");
    running.eventually("all arrived", |r| r.sent() == 400.0).await;
    assert_eq!(numbers(&all), (0..400).collect::<Vec<_>>());
    for backend in &backends {
        let taken = backend.taken();
        assert!(taken.len() > 20, "{}", taken.len());
        // Both records of a trace, and those of the second request.
        assert!(taken.iter().all(|n| taken.contains(&(n ^ 1)) && taken.contains(&((n + 200) % 400))));
    }
    assert_eq!(running.sum("otelcol_loadbalancer_num_backends", "resolver=\"static\""), 3.0);
    assert!(running.sum("otelcol_loadbalancer_backend_outcome_total", "success=\"true\"") >= 3.0);
    assert_eq!(running.failed(), 0.0);
}

#[tokio::test]
async fn what_waits_for_a_back_end_that_is_gone_goes_to_those_that_are_left() {
    for queue in ["", "queue {\nenabled = false\n}"] {
        let dead = GrpcBackend::start(|_| Outcome::Fails(Code::Unavailable)).await;
        let good = GrpcBackend::good().await;
        let running = start(&body(&[&dead, &good], queue, "")).await;
        push(&running, 0..100).await;
        dead.wait(5).await;
        running.update(&body(&[&good], queue, "")).await;
        push(&running, 100..120).await;
        running
            .eventually("all arrived", |_| {
                let taken = good.taken();
                (0..120).all(|n| taken.binary_search(&n).is_ok())
            })
            .await;
        let mut taken = good.taken();
        // Without a queue, who waits for an answer offers it again to the new configuration.
        taken.dedup();
        assert_eq!(taken, (0..120).collect::<Vec<_>>(), "{queue}");
        assert_eq!((dead.taken(), running.failed()), (vec![], 0.0));
        running.harness.stop().await;
    }
}

#[tokio::test]
async fn a_back_end_that_comes_gets_its_share_and_one_that_hangs_holds_up_no_other() {
    let (first, second) = (GrpcBackend::good().await, GrpcBackend::start(|_| Outcome::Hangs).await);
    let running = start(&body(&[&first], "", "")).await;
    push(&running, 0..100).await;
    first.until(|_| first.taken().len() == 100).await;
    running.update(&body(&[&first, &second], "", "")).await;
    push(&running, 100..200).await;
    second.wait(1).await;
    running.eventually("its own share", |_| first.taken().len() > 120).await;
    second.script(|_| Outcome::Taken);
    running.eventually("all arrived", |_| first.taken().len() + second.taken().len() == 200).await;
    assert_eq!(numbers(&[&first, &second]), (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_queue_of_one_back_end_is_what_the_queue_in_front_waits_for() {
    let (slow, good) =
        (GrpcBackend::start(|_| Outcome::Fails(Code::Unavailable)).await, GrpcBackend::good().await);
    let running = start(&body(&[&slow, &good], "queue {\nqueue_size = 2\n}", "")).await;
    running.send(Otlp::of(logs((0..100).map(|n| (n / 2, n))))).await.expect("taken");
    push(&running, 100..300).await;
    slow.wait(3).await;
    // The part of the first request that is the good one's does not wait for the other part.
    good.wait(1).await;
    slow.script(|_| Outcome::Taken);
    running.eventually("all arrived", |_| numbers(&[&slow, &good]).len() >= 300).await;
    // Nothing twice: what one queue has taken is not offered again for the other's sake.
    assert_eq!(numbers(&[&slow, &good]), (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn queues_on_disk_of_back_ends_that_went_meanwhile_are_found() {
    let root = tempfile::tempdir().expect("a folder");
    let storage =
        Harness::new(ComponentDef::of::<FileStorage>(), Names::default(), Services::for_tests(root.path()));
    storage.update("").await.expect("valid");
    let handler = storage.node.exports().as_object().expect("an object")["handler"].clone();
    let names = Names::default().with("stored", handler);
    let dead = GrpcBackend::start(|_| Outcome::Fails(Code::Unavailable)).await;
    let queue = "queue {\nstorage = stored\n}";
    let running = Running::start_in(DEFINITION, &body(&[&dead], queue, ""), names.clone(), root.path()).await;
    push(&running, 0..30).await;
    running
        .eventually("in the queue of the back end", |r| {
            r.sum("otelcol_exporter_queue_size", "endpoint=") == 30.0
        })
        .await;
    running.harness.stop().await;
    assert_eq!(running.failed(), 0.0);
    drop(running);
    let other = GrpcBackend::good().await;
    let running = Running::start_in(DEFINITION, &body(&[&other], queue, ""), names, root.path()).await;
    push(&running, 30..40).await;
    other.until(|_| other.taken().len() >= 40).await;
    assert_eq!(other.taken(), (0..40).collect::<Vec<_>>());
    running.harness.stop().await;
}

#[tokio::test]
async fn the_addresses_of_a_name_are_back_ends() {
    let backend = GrpcBackend::good().await;
    let port = backend.address().rsplit_once(':').expect("a port").1.to_owned();
    let list = body(&[&backend], "", "");
    let dns = |name: &str| {
        let (_, rest) = list.split_once("}\n}\n").expect("the resolver");
        format!(
            "resolver {{\ndns {{\nhostname = {name:?}\nport = {port:?}\ninterval = \"10ms\"\n}}\n}}\n{rest}"
        )
    };
    let running = start(&dns("127.0.0.1")).await;
    push(&running, 0..10).await;
    backend.until(|_| backend.taken().len() == 10).await;
    running
        .eventually("looked up again", |r| {
            r.sum("otelcol_loadbalancer_num_resolutions_total", "success=\"true\"") > 2.0
        })
        .await;
    // A name that is not there leaves what there was.
    running.update(&dns("does-not-exist.invalid")).await;
    push(&running, 10..20).await;
    backend.until(|_| backend.taken().len() == 20).await;
    running.harness.stop().await;
}

#[tokio::test]
async fn a_stop_sends_what_waits() {
    let backends = [GrpcBackend::good().await, GrpcBackend::good().await];
    let running = start(&body(&[&backends[0], &backends[1]], "", "")).await;
    push(&running, 0..100).await;
    running.harness.stop().await;
    assert_eq!(numbers(&[&backends[0], &backends[1]]), (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn only_signals_that_the_key_says_something_about_are_taken() {
    let backend = GrpcBackend::good().await;
    for (key, takes) in [
        ("traceID", [true, false, true]),
        ("service", [true, true, true]),
        ("resource", [false, true, false]),
        ("metric", [false, true, false]),
        ("streamID", [false, true, false]),
    ] {
        let running = start(&body(&[&backend], "", &format!("routing_key = {key:?}"))).await;
        let input = &running.input;
        assert_eq!([input.traces.is_some(), input.metrics.is_some(), input.logs.is_some()], takes, "{key}");
    }
}

fn ring() -> Ring {
    let names: Vec<Arc<str>> = (0..8).map(|n| Arc::from(format!("backend-{n}:4317"))).collect();
    Ring::new(&names)
}

#[test]
fn a_service_goes_to_one_back_end_whatever_it_shares_a_request_with() {
    let group = |n: u64| ResourceSpans {
        resource: resource(&format!("service-{}", n % 10)),
        scope_spans: vec![ScopeSpans {
            spans: vec![Span { trace_id: trace_id(n), ..Span::default() }; 2],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    };
    let message = ExportTraceServiceRequest { resource_spans: (0..40).map(group).collect() };
    let bytes = Bytes::from(message.encode_to_vec());
    let parts = share(Kind::Traces, RoutingKey::Service, &ring(), &bytes).expect("whole").expect("back ends");
    let mut services = std::collections::BTreeMap::new();
    let mut items = 0;
    for part in &parts {
        let request = ExportTraceServiceRequest::decode(&part.bytes[..]).expect("whole");
        items += part.items;
        for group in request.resource_spans {
            let name = format!("{:?}", group.resource);
            assert_eq!(services.entry(name).or_insert(part.backend.clone()), &part.backend);
        }
    }
    assert_eq!((services.len(), items), (10, 80));
    // The key is the name itself, as upstream.
    let of = |name: &str| ring().backend(name.as_bytes()).cloned();
    assert_eq!(services.values().next().cloned(), of("service-0"));
}

fn metrics() -> Bytes {
    let point = |n: u64| NumberDataPoint {
        attributes: vec![KeyValue {
            key: "n".into(),
            value: Some(AnyValue { value: Some(Value::IntValue((n % 5) as i64)) }),
            ..KeyValue::default()
        }],
        time_unix_nano: n,
        ..NumberDataPoint::default()
    };
    let metric = |m: u64| Metric {
        name: format!("metric-{m}"),
        data: Some(Data::Gauge(Gauge { data_points: (0..20).map(|n| point(m * 20 + n)).collect() })),
        ..Metric::default()
    };
    let group = |r: u64| ResourceMetrics {
        resource: resource(&format!("service-{r}")),
        scope_metrics: vec![ScopeMetrics {
            metrics: (0..4).map(metric).collect(),
            ..ScopeMetrics::default()
        }],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest { resource_metrics: (0..3).map(group).collect() }.encode_to_vec().into()
}

#[test]
fn metrics_are_taken_apart_by_every_key_without_losing_a_point() {
    for key in [RoutingKey::Service, RoutingKey::Resource, RoutingKey::Metric, RoutingKey::Stream] {
        let parts = share(Kind::Metrics, key, &ring(), &metrics()).expect("whole").expect("back ends");
        let mut points = Vec::new();
        let mut homes = std::collections::BTreeMap::new();
        for part in &parts {
            let request = ExportMetricsServiceRequest::decode(&part.bytes[..]).expect("whole");
            let before = points.len();
            for resource in &request.resource_metrics {
                let around = format!("{:?}", resource.resource);
                for metric in resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
                    let Some(Data::Gauge(gauge)) = &metric.data else { panic!("{metric:?}") };
                    for point in &gauge.data_points {
                        points.push((around.clone(), metric.name.clone(), point.time_unix_nano));
                        let identity = match key {
                            RoutingKey::Metric => metric.name.clone(),
                            RoutingKey::Stream => format!("{around}{}{:?}", metric.name, point.attributes),
                            _ => around.clone(),
                        };
                        assert_eq!(homes.entry(identity).or_insert(part.backend.clone()), &part.backend);
                    }
                }
            }
            assert_eq!(points.len() - before, part.items as usize);
        }
        points.sort();
        points.dedup();
        assert_eq!(points.len(), 3 * 4 * 20, "{key:?}");
        let expected = match key {
            RoutingKey::Metric => 4,
            RoutingKey::Stream => 3 * 4 * 5,
            _ => 3,
        };
        assert_eq!(homes.len(), expected, "{key:?}");
    }
}

#[test]
fn what_has_no_trace_goes_somewhere_and_without_back_ends_nothing_does() {
    let spans = vec![Span::default(), Span { trace_id: vec![0; 16], ..Span::default() }];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let message = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    };
    let request = OtlpRequest::<TracesSignal>::from_message(message);
    let parts = share(Kind::Traces, RoutingKey::Trace, &ring(), request.wire()).expect("whole");
    assert_eq!(parts.expect("back ends").iter().map(|part| part.items).sum::<u32>(), 2);
    for key in [RoutingKey::Trace, RoutingKey::Service] {
        assert_eq!(share(Kind::Traces, key, &Ring::default(), request.wire()), Ok(None));
    }
}

#[test]
fn what_is_wrong_or_cannot_be_honoured_is_told() {
    let with = |resolver: &str, rest: &str| {
        format!("resolver {{\n{resolver}\n}}\nprotocol {{\notlp {{\nclient {{ }}\n}}\n}}\n{rest}")
    };
    let list = "static {\nhostnames = [\"a\"]\n}";
    for (body, expected) in [
        (String::new(), "resolver"),
        (with("", ""), "is needed"),
        (with("static {\nhostnames = []\n}", ""), "must not be empty"),
        (with("static {\nhostnames = [\"a:b:c\"]\n}", ""), "not a port"),
        (with("dns {\nhostname = \"\"\n}", ""), "must not be empty"),
        (with("dns {\nhostname = \"a\"\nport = \"http\"\n}", ""), "not a port"),
        (with("kubernetes {\nservice = \"a/b\"\n}", ""), "name of a service"),
        (with("kubernetes {\nservice = \"a\"\nports = [0]\n}", ""), "from 1 to 65535"),
        (with("aws_cloud_map {\nnamespace = \"\"\nservice_name = \"b\"\n}", ""), "must not be empty"),
        (
            with("aws_cloud_map {\nnamespace = \"a\"\nservice_name = \"b\"\nhealth_status = \"ok\"\n}", ""),
            "must be one of HEALTHY",
        ),
        (with(&format!("{list}\nkubernetes {{\nservice = \"a\"\n}}"), ""), "beside another resolver"),
        (with(list, "routing_key = \"random\""), "must be traceID"),
        (with(list, "routing_key = \"attributes\""), "routing_attributes"),
    ] {
        let said = refused(DEFINITION, &body, Names::default());
        assert!(said.contains(expected), "{body}\n{said}");
    }
}

/// `surface.txt` holds the facts of Alloy 1.18.
#[test]
fn names_types_and_defaults_are_those_of_alloy() {
    let differences = differences(Args::schema(), include_str!("surface.txt"));
    assert!(differences.is_empty(), "{differences:#?}");
}
