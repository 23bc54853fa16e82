//! What lines count for, what is shown, what is bounded.

use std::time::Duration;

use proptest::prelude::*;

use super::series::MOST_SERIES;
use crate::process::testkit::{Bench, Case, refused};

/// Labels of entries are extracted values as well.
fn entry(labels: &[(&'static str, &'static str)]) -> Case {
    match labels {
        [a] => Case::new("12345").labels([*a]),
        [a, b] => Case::new("12345").labels([*a, *b]),
        _ => Case::new("12345"),
    }
}

fn metric(kind: &str, rest: &str) -> String {
    format!("stage.metrics {{\n metric.{kind} {{\n name = \"m\"\n {rest}\n }}\n}}\n")
}

#[test]
fn counters_count_entries_values_and_bytes() {
    for (rest, value) in [
        ("action = \"inc\"\n source = \"v\"", Some(3.0)),
        ("action = \"add\"\n source = \"v\"", Some(5.5)),
        ("action = \"inc\"\n source = \"v\"\n value = \"2\"", Some(2.0)),
        ("action = \"inc\"\n match_all = true", Some(4.0)),
        ("action = \"add\"\n match_all = true\n count_entry_bytes = true", Some(20.0)),
        ("action = \"add\"\n match_all = true", None),
        ("action = \"inc\"", None),
    ] {
        let mut bench = Bench::new(&metric("counter", rest));
        let v = |v| entry(&[("v", v)]);
        let all = [v("2"), v("2"), v("1.5"), entry(&[])];
        assert_eq!(bench.run(&all).len(), 4);
        let sum: f64 = bench_sum(&bench, "loki_process_custom_m");
        assert_eq!(Some(sum).filter(|sum| *sum != 0.0), value, "{rest}");
    }
}

/// The sum over all series of a metric.
fn bench_sum(bench: &Bench, name: &str) -> f64 {
    ["", "{v=\"2\"}", "{v=\"1.5\"}", "{v=\"x\"}"]
        .iter()
        .filter_map(|labels| bench.metric(&format!("{name}{labels}")))
        .sum()
}

#[test]
fn gauges_go_up_and_down() {
    for (action, value) in [("set", 7.0), ("inc", 2.0), ("dec", -2.0), ("add", 12.0), ("sub", -12.0)] {
        let mut bench = Bench::new(&format!(
            "{}{}",
            "stage.regex { expression = \"v=(?P<v>.*)\" }\n",
            metric("gauge", &format!("action = \"{action}\"\n source = \"v\"\n prefix = \"own_\""))
        ));
        bench.run(&[Case::new("v=5"), Case::new("v=7"), Case::new("nothing")]);
        assert_eq!(bench.metric("own_m"), Some(value), "{action}");
    }
}

#[test]
fn histograms_have_buckets_of_numbers_and_durations() {
    let mut bench = Bench::new(&format!(
        "stage.regex {{ expression = \"v=(?P<v>.*)\" }}\n{}",
        metric("histogram", "buckets = [0.1, 1, 10]\n source = \"v\"\n description = \"What it is.\"")
    ));
    bench.run(&["0.1", "250ms", "3", "99", "none"].map(|v| Case::new(format!("v={v}"))));
    for (series, value) in [
        ("_bucket{le=\"0.1\"}", 1.0),
        ("_bucket{le=\"1\"}", 2.0),
        ("_bucket{le=\"10\"}", 3.0),
        ("_bucket{le=\"+Inf\"}", 4.0),
        ("_sum", 102.35),
        ("_count", 4.0),
    ] {
        assert_eq!(bench.metric(&format!("loki_process_custom_m{series}")), Some(value), "{series}");
    }
    let text = bench.node.services().metrics.text();
    assert!(text.contains("# HELP loki_process_custom_m What it is."), "{text}");
}

#[test]
fn series_have_the_labels_of_the_entry_but_for_internal_ones() {
    let mut bench = Bench::new(&metric("counter", "action = \"inc\"\n match_all = true"));
    bench.run(&[
        Case::new("x").labels([("app", "a"), ("__tenant_id__", "t"), ("component_id", "mine")]),
        Case::new("x").labels([("app", "a"), ("__tenant_id__", "u"), ("component_id", "mine")]),
        Case::new("x").labels([("app", "b")]),
    ]);
    assert_eq!(bench.metric("loki_process_custom_m{app=\"a\",exported_component_id=\"mine\"}"), Some(2.0));
    assert_eq!(bench.metric("loki_process_custom_m{app=\"b\"}"), Some(1.0));
}

#[test]
fn stages_that_name_the_same_metric_share_it() {
    let one = metric("counter", "action = \"inc\"\n match_all = true");
    let mut bench = Bench::new(&format!("{one}{one}"));
    bench.run(&[Case::new("x")]);
    assert_eq!(bench.metric("loki_process_custom_m"), Some(2.0));
    // A reload that leaves one of them keeps what has been counted; without any the metric goes.
    bench.update(&one);
    bench.run(&[Case::new("x")]);
    assert_eq!(bench.metric("loki_process_custom_m"), Some(3.0));
    bench.update(&metric("gauge", "action = \"inc\"\n source = \"app\""));
    bench.run(&[Case::new("x").labels([("app", "a")])]);
    assert_eq!(bench.metric("loki_process_custom_m"), None);
    assert_eq!(bench.metric("loki_process_custom_m{app=\"a\"}"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn series_that_do_not_change_go() {
    let mut bench =
        Bench::new(&metric("counter", "action = \"inc\"\n match_all = true\n max_idle_duration = \"10s\""));
    let (a, b) = ("loki_process_custom_m{app=\"a\"}", "loki_process_custom_m{app=\"b\"}");
    bench.run(&[entry(&[("app", "a")]), entry(&[("app", "b")])]);
    tokio::time::advance(Duration::from_secs(9)).await;
    bench.run(&[entry(&[("app", "a")])]);
    assert_eq!((bench.metric(a), bench.metric(b)), (Some(2.0), Some(1.0)));
    tokio::time::advance(Duration::from_secs(5)).await;
    // The page that finds it idle still shows it, the next one does not.
    assert_eq!(bench.metric(b), Some(1.0));
    assert_eq!((bench.metric(a), bench.metric(b)), (Some(2.0), None));
    tokio::time::advance(Duration::from_secs(10)).await;
    let _ = bench.metric(a);
    bench.run(&[entry(&[("app", "a")])]);
    assert_eq!(bench.metric(a), Some(1.0));
}

#[test]
fn more_series_than_there_may_be_are_counted_not_made() {
    let mut bench = Bench::new(&metric("counter", "action = \"inc\"\n match_all = true"));
    let many: Vec<Case> = (0..MOST_SERIES + 25)
        .map(|i| Case::new("x").labels([("id", Box::leak(i.to_string().into_boxed_str()) as &str)]))
        .collect();
    bench.run(&many);
    bench.run(&many[..10]);
    assert_eq!(
        bench.metric("loki_process_custom_series_overflows_total{metric=\"loki_process_custom_m\"}"),
        Some(25.0)
    );
    assert_eq!(bench.metric("loki_process_custom_m{id=\"7\"}"), Some(2.0));
    assert_eq!(bench.metric(&format!("loki_process_custom_m{{id=\"{}\"}}", MOST_SERIES + 1)), None);
}

#[test]
fn what_is_no_number_and_what_would_make_a_counter_fall_changes_nothing() {
    let mut bench = Bench::new(&metric("counter", "action = \"add\"\n source = \"v\""));
    bench.run(&[entry(&[("v", "x")]), entry(&[("v", "-1")])]);
    assert_eq!(bench_sum(&bench, "loki_process_custom_m"), 0.0);
}

#[test]
fn arguments_are_checked() {
    refused(&metric("counter", "action = \"set\""), "inc");
    refused(&metric("counter", ""), "action");
    refused(&metric("counter", "action = \"inc\"\n match_all = true\n value = \"x\""), "exclude each other");
    refused(&metric("counter", "action = \"inc\"\n count_entry_bytes = true"), "match_all");
    refused(&metric("counter", "action = \"inc\"\n max_idle_duration = \"10ms\""), "at least 1s");
    refused(&metric("counter", "action = \"inc\"\n prefix = \"a-b\""), "a-bm");
    refused(&metric("gauge", "action = \"multiply\""), "set");
    refused(&metric("histogram", "buckets = [1, 1]"), "ascending");
    refused(&metric("histogram", ""), "buckets");
    refused("stage.metrics { metric.summary { name = \"a\" } }", "metric.summary");
    let two = "stage.metrics { metric.counter { name = \"a\"\n action = \"inc\" }\n metric.gauge { name = \"a\"\n action = \"inc\" } }";
    refused(two, "two metrics");
}

proptest! {
    #[test]
    fn any_value_is_measured_or_not(value in ".{0,20}|-?[0-9]{1,4}(\\.[0-9]+)?(ms|s|h)?", label in ".{0,20}") {
        let text = metric("histogram", "buckets = []\n source = \"v\"")
            + &metric("gauge", "action = \"add\"\n source = \"v\"\n prefix = \"g_\"")
            + &metric("counter", "action = \"add\"\n source = \"v\"\n prefix = \"c_\"");
        let mut bench = Bench::new(&text);
        prop_assert_eq!(bench.run(&[Case::new("x").labels([("v", &value), ("l", &label)])]).len(), 1);
        let _ = bench.node.services().metrics.text();
    }
}
