//! The runtime's own metrics.

use crate::world::{accept, load, runtime};

#[tokio::test(start_paused = true)]
async fn alloys_names_are_on_the_metrics_page() {
    let runtime = runtime();
    accept(
        &runtime,
        r#"
        declare "m" { test.value "x" { value = 1 } }
        m "i" { }
        test.value "a" { value = test.value.b.value }
        test.value "b" { value = 1 }
    "#,
    )
    .await;
    runtime.settled().await;
    let _ = load(&runtime, "broken {").await;
    let text = runtime.services().metrics.text();
    for line in [
        r#"alloy_component_controller_running_components{controller_id="",controller_path="/",health_type="healthy"} 3"#,
        r#"alloy_component_controller_running_components{controller_id="m.i",controller_path="/",health_type="healthy"} 1"#,
        r#"alloy_component_graph_connection{from="test.value.a",to="test.value.b"} 1"#,
        r#"alloy_component_controller_evaluating{controller_id="",controller_path="/"} 0"#,
        "alloy_component_evaluation_queue_size 0",
        "alloy_config_last_load_successful 0",
        "alloy_config_load_failures_total 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
    for name in [
        "alloy_component_evaluation_seconds_bucket",
        "alloy_component_dependencies_wait_seconds_bucket",
        "alloy_config_hash{cluster_name=\"\",sha256=",
        "alloy_config_last_load_success_timestamp_seconds",
    ] {
        assert!(text.lines().any(|l| l.starts_with(name)), "{name} is missing in\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn items_that_come_and_go_leave_no_series_behind() {
    let runtime = runtime();
    let config = |item: u32| {
        format!(
            "foreach \"f\" {{\n collection = [{item}]\n var = \"n\"\n template {{\n test.value \"v\" {{\n value = n\n }}\n }}\n}}"
        )
    };
    for item in 0..20 {
        accept(&runtime, &config(item)).await;
        runtime.settled().await;
    }
    runtime.drained().await;
    let text = runtime.services().metrics.text();
    let of_items: Vec<_> = text
        .lines()
        .filter(|line| {
            line.starts_with("alloy_component_evaluation_seconds_count{") && line.contains("foreach_")
        })
        .collect();
    assert_eq!(of_items.len(), 1, "{of_items:#?}");
    assert!(of_items[0].contains("foreach_19_1"), "{of_items:#?}");
    assert!(!text.contains("foreach_18_1"), "{text}");
}
