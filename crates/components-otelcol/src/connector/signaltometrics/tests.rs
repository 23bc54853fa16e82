//! The component as its neighbours see it.

use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::logs::v1::LogRecord;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::trace::v1::Span;

use super::*;
use crate::streams::DELTA;
use crate::streams::testing::*;

async fn bench(args: &str) -> ItemBench {
    ItemBench::new::<SignalToMetrics>(args).await
}

fn span(name: &str, took: u64, attributes: Vec<KeyValue>) -> Span {
    Span {
        name: name.into(),
        start_time_unix_nano: 100,
        end_time_unix_nano: 100 + took,
        attributes,
        ..Default::default()
    }
}

const TOOK: &str = "end_time_unix_nano - start_time_unix_nano";

#[tokio::test]
async fn sums_histograms_and_gauges_are_made_of_values() {
    let bench = bench(&format!(
        r#"spans {{
            name        = "spans"
            description = "d"
            unit        = "1"
            sum {{
                value = "Int(AdjustedCount())"
            }}
        }}
        spans {{
            name = "took"
            histogram {{
                buckets = [10, 20]
                value   = "{TOOK}"
            }}
        }}
        spans {{
            name = "twice"
            exponential_histogram {{
                max_size = 10
                count    = "2"
                value    = "{TOOK}"
            }}
        }}
        logs {{
            name = "last"
            gauge {{
                value = "attributes[\"n\"]"
            }}
        }}
        datapoints {{
            name = "points"
            sum {{
                value = "1"
            }}
        }}"#
    ))
    .await;
    let mut sampled = span("a", 15, vec![]);
    sampled.trace_state = "ot=th:8".into();
    bench
        .spans(vec![spans_of(vec![], vec![span("a", 5, vec![]), sampled, span("b", 700, vec![])])])
        .await
        .expect("taken");
    let out = bench.took();
    assert_eq!(lines(&out), ["spans{} 4", "took{} 3/720", "twice{} 6/1440"]);
    let scope = &out[0].scope_metrics[0];
    assert!(scope.scope.as_ref().is_some_and(|s| s.name.ends_with("connector/signaltometricsconnector")));
    assert_eq!((scope.metrics[0].description.as_str(), scope.metrics[0].unit.as_str()), ("d", "1"));
    let (Some(Data::Sum(sum)), Some(Data::Histogram(took)), Some(Data::ExponentialHistogram(twice))) =
        (&scope.metrics[0].data, &scope.metrics[1].data, &scope.metrics[2].data)
    else {
        panic!("{scope:?}")
    };
    assert_eq!((sum.aggregation_temporality, sum.is_monotonic), (DELTA, false));
    assert_eq!((took.aggregation_temporality, &*took.data_points[0].bucket_counts), (DELTA, &[1, 1, 1][..]));
    let buckets = twice.data_points[0].positive.as_ref().expect("values");
    assert!(buckets.bucket_counts.len() <= 10 && buckets.bucket_counts.iter().sum::<u64>() == 6);
    assert!(took.data_points[0].time_unix_nano > 0);

    let number = |n| KeyValue {
        key: "n".into(),
        value: Some(signal::otlp::proto::common::v1::AnyValue {
            value: Some(signal::otlp::proto::common::v1::any_value::Value::IntValue(n)),
        }),
        ..Default::default()
    };
    let record = |attributes| LogRecord { attributes, ..Default::default() };
    let records = vec![record(vec![number(3)]), record(vec![number(5)]), record(vec![])];
    bench.logs(vec![logs_of(vec![], records)]).await.expect("nothing is no mistake");
    assert_eq!(lines(&bench.took()), ["last{} 5"]);
    bench.metrics(vec![metric("x", gauge(vec![int(0, 5, 1), int(0, 7, 1)]))]).await.expect("taken");
    assert_eq!(lines(&bench.took()), ["points{} 2"]);
}

#[tokio::test]
async fn conditions_and_attributes_of_items_and_resources_choose() {
    let bench = bench(
        r#"spans {
            name       = "all"
            conditions = ["name == \"a\"", "name == \"b\""]
            include_resource_attributes { key = "kept" }
            include_resource_attributes {
                key           = "always"
                default_value = "yes"
            }
            attributes { key = "needed" }
            attributes {
                key      = "optional"
                optional = true
            }
            attributes {
                key           = "default"
                default_value = 7
            }
            sum {
                value = "1"
            }
        }"#,
    )
    .await;
    let needed = || text("needed", "n");
    let spans = vec![
        span("a", 1, vec![needed(), text("optional", "o")]),
        span("b", 1, vec![needed(), text("default", "d"), text("other", "x")]),
        span("b", 1, vec![]),
        span("c", 1, vec![needed()]),
    ];
    let resource = |host: &str| vec![text("kept", "k"), text("host", host)];
    bench
        .spans(vec![spans_of(resource("1"), spans.clone()), spans_of(resource("2"), spans)])
        .await
        .expect("taken");
    let out = bench.took();
    assert_eq!(lines(&out), ["all{default=7,needed=n,optional=o} 2", "all{default=d,needed=n} 2"]);
    let attributes = out[0].resource.as_ref().map(|r| r.attributes.clone());
    let expected = vec![
        text("kept", "k"),
        text("always", "yes"),
        text("signaltometrics.service.name", "ferroalloy"),
        text("signaltometrics.service.instance.id", "00000000-0000-0000-0000-000000000000"),
    ];
    assert_eq!((out.len(), attributes), (1, Some(expected)), "two resources have become one");
}

#[tokio::test]
async fn resources_are_kept_apart_and_equal_blocks_make_one_metric() {
    let block = |condition: &str| {
        format!(
            "spans {{\n name = \"n\"\n conditions = [\"name == \\\"{condition}\\\"\"]\n sum {{ value = \"1\" }}\n}}\n"
        )
    };
    let bench = bench(&format!("{}{}", block("a"), block("b"))).await;
    let of = |host: &str, names: &[&str]| {
        spans_of(vec![text("host", host)], names.iter().map(|name| span(name, 1, vec![])).collect())
    };
    bench.spans(vec![of("1", &["a", "b", "b"]), of("2", &["a"]), of("1", &["a"])]).await.expect("taken");
    let out = bench.took();
    assert_eq!(out.len(), 2);
    assert_eq!((lines(&out[..1]), lines(&out[1..])), (vec!["n{} 4".to_string()], vec!["n{} 1".to_string()]));
}

#[tokio::test]
async fn what_cannot_be_applied_is_treated_as_the_mode_says() {
    let body = |mode: &str| {
        format!(
            "{mode}\nspans {{\n name = \"n\"\n sum {{ value = \"attributes[\\\"n\\\"]\" }}\n}}\nspans {{\n name = \"good\"\n sum {{ value = \"1\" }}\n}}"
        )
    };
    let failed = "otelcol_connector_signaltometrics_failed_items_total";
    let spans = || vec![spans_of(vec![], vec![span("a", 1, vec![text("n", "no number")])])];
    let one = bench(&body("")).await;
    let refused = one.spans(spans()).await;
    assert!(matches!(&refused, Err(Rejected::Permanent(why)) if why.contains("number")), "{refused:?}");
    assert_eq!(one.own(failed), "1");
    for mode in ["ignore", "silent"] {
        let other = bench(&body(&format!("error_mode = \"{mode}\""))).await;
        other.spans(spans()).await.expect("taken");
        assert_eq!(lines(&other.took()), ["good{} 1"], "{mode}");
        assert_eq!(other.own(failed), "1");
    }
}

#[tokio::test]
async fn a_refusal_goes_to_the_sender_and_signals_without_a_block_are_dropped() {
    let bench = bench("spans {\n name = \"n\"\n sum { value = \"1\" }\n}").await;
    let spans = || vec![spans_of(vec![], vec![span("a", 1, vec![])])];
    let refusal = Err(Rejected::Retryable("later".into()));
    bench.sink.answer(refusal.clone());
    assert_eq!(bench.spans(spans()).await, refusal);
    assert_eq!(bench.logs(vec![logs_of(vec![], vec![LogRecord::default()])]).await, Ok(()));
    bench.sink.answer(Ok(()));
    assert_eq!(bench.spans(spans()).await, Ok(()));
    assert_eq!(lines(&bench.took()), ["n{} 1"]);
    bench
        .harness
        .update("spans {\n name = \"n\"\n sum { value = \"1\" }\n}\noutput { }")
        .await
        .expect("valid");
    let refused = bench.spans(spans()).await;
    assert!(matches!(refused, Err(Rejected::Permanent(_))), "metrics would go nowhere: {refused:?}");
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused() {
    let bench = bench("spans {\n name = \"n\"\n sum { value = \"1\" }\n}").await;
    for (args, why) in [
        ("", "at least one"),
        ("error_mode = \"x\"\nspans {\n name = \"n\"\n sum { value = \"1\" }\n}", "error_mode"),
        ("spans { name = \"n\" }", "exactly one"),
        ("spans {\n name = \"n\"\n sum { value = \"1\" }\n gauge { value = \"1\" }\n}", "exactly one"),
        ("spans {\n name = \"\"\n sum { value = \"1\" }\n}", "needs a name"),
        ("spans {\n name = \"n\"\n sum { value = \"\" }\n}", "value"),
        ("spans {\n name = \"n\"\n sum { value = \"nam\" }\n}", "did you mean"),
        ("logs {\n name = \"n\"\n sum { value = \"AdjustedCount()\" }\n}", "AdjustedCount"),
        ("spans {\n name = \"n\"\n conditions = [\"(\"]\n sum { value = \"1\" }\n}", "conditions"),
        ("spans {\n name = \"n\"\n histogram {\n buckets = [2, 1]\n value = \"1\"\n }\n}", "ascending"),
        (
            "spans {\n name = \"n\"\n exponential_histogram {\n max_size = 1\n value = \"1\"\n }\n}",
            "max_size",
        ),
        (
            "spans {\n name = \"n\"\n sum { value = \"1\" }\n attributes {\n key = \"a\"\n optional = true\n default_value = 1\n }\n}",
            "exclude each other",
        ),
        (
            "spans {\n name = \"n\"\n sum { value = \"1\" }\n attributes { key = \"a\" }\n attributes { key = \"a\" }\n}",
            "twice",
        ),
    ] {
        let refused = bench.harness.update(&format!("{args}\n{OUTPUT}")).await.expect_err(args);
        assert!(format!("{refused:?}").contains(why), "{args}: {refused:?}");
    }
}

#[test]
fn the_surface_is_alloys() {
    let ours = component::testkit::surface(<Args as component::eval::Arguments>::schema());
    let shared = |line: &String| line.starts_with("output") || line.starts_with("debug_metrics");
    let mut expected = vec!["error_mode string = \"propagate\"".to_string()];
    for block in ["spans", "datapoints", "logs"] {
        expected.push(format!("{block} block repeatable empty"));
        let lines = [
            "attributes block repeatable empty",
            "attributes.default_value any",
            "attributes.key string required",
            "attributes.optional bool",
            "conditions list(string)",
            "description string",
            "exponential_histogram block unset",
            "exponential_histogram.count string",
            "exponential_histogram.max_size int = 160",
            "exponential_histogram.value string required",
            "gauge block unset",
            "gauge.value string required",
            "histogram block unset",
            "histogram.buckets list(float) = [2, 4, 6, 8, 10, 50, 100, 200, 400, 800, 1000, 1400, 2000, 5000, 10000, 15000]",
            "histogram.count string",
            "histogram.value string required",
            "include_resource_attributes block repeatable empty",
            "include_resource_attributes.default_value any",
            "include_resource_attributes.key string required",
            "include_resource_attributes.optional bool",
            "name string required",
            "sum block unset",
            "sum.value string required",
            "unit string",
        ];
        expected.extend(lines.map(|line| format!("{block}.{line}")));
    }
    expected.sort();
    assert_eq!(ours.into_iter().filter(|line| !shared(line)).collect::<Vec<_>>(), expected);
}
