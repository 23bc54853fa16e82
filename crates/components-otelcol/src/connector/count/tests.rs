//! The component as its neighbours see it.

use signal::otlp::proto::logs::v1::LogRecord;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::trace::v1::span::Event;
use signal::otlp::proto::trace::v1::{Span, Status};

use super::*;
use crate::streams::DELTA;
use crate::streams::testing::*;

async fn bench(args: &str) -> ItemBench {
    ItemBench::new::<Count>(args).await
}

fn span(name: &str, start: u64, end: u64) -> Span {
    Span { name: name.into(), start_time_unix_nano: start, end_time_unix_nano: end, ..Default::default() }
}

fn record(severity: i32, time: u64, attributes: Vec<signal::otlp::proto::common::v1::KeyValue>) -> LogRecord {
    LogRecord { severity_number: severity, time_unix_nano: time, attributes, ..Default::default() }
}

#[tokio::test]
async fn without_blocks_everything_is_counted_by_resource() {
    let bench = bench("").await;
    let mut with_events = span("a", 20, 30);
    with_events.events = vec![Event { time_unix_nano: 25, ..Default::default() }; 3];
    let resource = vec![text("r", "1")];
    let all = vec![
        spans_of(resource.clone(), vec![with_events, span("b", 10, 15)]),
        spans_of(vec![text("r", "2")], vec![span("c", 1, 2)]),
        spans_of(vec![], vec![]),
    ];
    bench.spans(all).await.expect("taken");
    let out = bench.took();
    assert_eq!(out.len(), 2, "nothing for a resource without items");
    assert_eq!(lines(&out[..1]), ["trace.span.count{} 2", "trace.span.event.count{} 3"]);
    assert_eq!(lines(&out[1..]), ["trace.span.count{} 1"]);
    assert_eq!(out[0].resource.as_ref().map(|r| r.attributes.clone()), Some(resource));
    let scope = &out[0].scope_metrics[0];
    assert!(scope.scope.as_ref().is_some_and(|s| s.name.ends_with("connector/countconnector")));
    let Some(Data::Sum(sum)) = &scope.metrics[0].data else { panic!("a sum") };
    assert_eq!((sum.aggregation_temporality, sum.is_monotonic), (DELTA, true));
    let times = (sum.data_points[0].start_time_unix_nano, sum.data_points[0].time_unix_nano);
    assert_eq!(times, (10, 30), "from the earliest start to the latest end");
    assert_eq!(scope.metrics[0].description, "The number of spans observed.");

    bench
        .metrics(vec![metric("x", gauge(vec![int(0, 5, 1), int(0, 7, 1)])), metric("y", gauge(vec![]))])
        .await
        .expect("taken");
    assert_eq!(lines(&bench.took()), ["metric.count{} 2", "metric.datapoint.count{} 2"]);
    bench.logs(vec![logs_of(vec![], vec![record(9, 1, vec![]); 4])]).await.expect("taken");
    assert_eq!(lines(&bench.took()), ["log.record.count{} 4"]);
    assert_eq!(bench.own("otelcol_connector_count_items_total"), "14");
}

// The conditions and attributes of the collector's documentation.
#[tokio::test]
async fn conditions_and_attributes_say_what_is_counted_by_what() {
    let bench = bench(
        r#"spanevents {
            name       = "my.prod.event.count"
            conditions = ["attributes[\"env\"] == \"prod\"", "name == \"prodevent\""]
        }
        logs {
            name        = "my.logrecord.count"
            description = "By environment."
            attributes {
                key = "env"
            }
        }
        logs {
            name       = "errors"
            conditions = ["severity_number >= 17"]
            attributes {
                key           = "env"
                default_value = "unspecified"
            }
            attributes {
                key = "r"
            }
        }"#,
    )
    .await;
    let event = |name: &str, env: &str| Event {
        name: name.into(),
        attributes: vec![text("env", env)],
        ..Default::default()
    };
    let mut one = span("a", 1, 2);
    one.events = vec![event("x", "prod"), event("prodevent", "dev"), event("x", "dev")];
    bench.spans(vec![spans_of(vec![], vec![one])]).await.expect("taken");
    assert_eq!(lines(&bench.took()), ["my.prod.event.count{} 2", "trace.span.count{} 1"]);
    let records = vec![
        record(9, 5, vec![text("env", "prod")]),
        record(17, 6, vec![text("env", "prod")]),
        record(17, 0, vec![text("env", "dev")]),
        record(21, 8, vec![]),
    ];
    bench.logs(vec![logs_of(vec![text("r", "1")], records)]).await.expect("taken");
    let out = bench.took();
    assert_eq!(
        lines(&out),
        [
            "errors{env=dev,r=1} 1",
            "errors{env=prod,r=1} 1",
            "errors{env=unspecified,r=1} 1",
            "my.logrecord.count{env=dev} 1",
            "my.logrecord.count{env=prod} 2",
        ]
    );
    assert_eq!(out[0].scope_metrics[0].metrics[0].description, "By environment.");
}

#[tokio::test]
async fn a_refusal_goes_to_the_sender_and_nothing_is_counted_twice() {
    let bench = bench("").await;
    let all = || vec![spans_of(vec![], vec![span("a", 1, 2)])];
    let refusal = Err(Rejected::Retryable("later".into()));
    bench.sink.answer(refusal.clone());
    assert_eq!(bench.spans(all()).await, refusal);
    bench.sink.answer(Ok(()));
    assert_eq!(bench.spans(all()).await, Ok(()));
    assert_eq!(lines(&bench.took()), ["trace.span.count{} 1"]);
    assert_eq!(bench.spans(vec![]).await, Ok(()));
    assert!(bench.took().is_empty(), "nothing is sent for nothing");
}

#[tokio::test]
async fn an_item_that_a_condition_cannot_be_applied_to_is_left_out_and_counted() {
    let bench = bench("spans {\n name = \"bad\"\n conditions = [\"attributes[\\\"n\\\"][\\\"x\\\"] == 1\"]\n}\nspans { name = \"good\" }").await;
    let mut one = span("a", 1, 2);
    one.attributes = vec![text("n", "no map")];
    one.status = Some(Status::default());
    bench.spans(vec![spans_of(vec![], vec![one])]).await.expect("the others are counted");
    assert_eq!(lines(&bench.took()), ["good{} 1"]);
    assert_eq!(bench.own("otelcol_connector_count_failed_conditions_total{metric=\"bad\"}"), "1");
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused_and_others_follow_an_update() {
    let bench = bench("").await;
    for (args, why) in [
        ("spans { }", "needs a name"),
        ("spans {\n name = \"a\"\n conditions = [\"nam == 1\"]\n}", "did you mean"),
        ("logs { name = \"a\" }\nlogs { name = \"a\" }", "two metrics"),
        ("logs {\n name = \"a\"\n attributes { key = \"\" }\n}", "keys"),
        ("logs {\n name = \"a\"\n attributes { key = \"b\" }\n attributes { key = \"b\" }\n}", "keys"),
    ] {
        let refused = bench.harness.update(&format!("{args}\n{OUTPUT}")).await.expect_err(args);
        assert!(format!("{refused:?}").contains(why), "{args}: {refused:?}");
    }
    bench.harness.update(&format!("spans {{ name = \"new\" }}\n{OUTPUT}")).await.expect("valid");
    bench.spans(vec![spans_of(vec![], vec![span("a", 1, 2)])]).await.expect("taken");
    assert_eq!(lines(&bench.took()), ["new{} 1"]);
    bench.harness.update("output { }").await.expect("valid");
    let refused = bench.spans(vec![spans_of(vec![], vec![span("a", 1, 2)])]).await;
    assert!(matches!(refused, Err(Rejected::Permanent(_))), "metrics would go nowhere: {refused:?}");
}

#[test]
fn the_surface_is_alloys() {
    let ours = component::testkit::surface(<Args as component::eval::Arguments>::schema());
    let shared = |line: &String| line.starts_with("output") || line.starts_with("debug_metrics");
    let mut expected = Vec::new();
    for block in ["spans", "spanevents", "metrics", "datapoints", "logs"] {
        expected.push(format!("{block} block repeatable empty"));
        let lines = [
            "attributes block repeatable empty",
            "attributes.default_value any",
            "attributes.key string required",
            "conditions list(string)",
            "description string",
            "name string",
        ];
        expected.extend(lines.map(|line| format!("{block}.{line}")));
    }
    expected.sort();
    assert_eq!(ours.into_iter().filter(|line| !shared(line)).collect::<Vec<_>>(), expected);
}
