//! Loading, reloading, order of start and stop, re-evaluation.

use std::time::Duration;

use component::HealthState;
use eval::Value;

use crate::world::{World, accept, export, load, refuse, runtime};

#[tokio::test(start_paused = true)]
async fn sinks_start_before_what_sends_to_them_and_stop_after() {
    let runtime = runtime();
    let world = World::of("order");
    let text = r#"
        test.source "s" { world = "order"  forward_to = [test.relay.r.receiver] }
        test.relay "r" { world = "order"  forward_to = [test.sink.k.receiver] }
        test.sink "k" { world = "order" }
    "#;
    accept(&runtime, text).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let ids = ["test.sink.k", "test.relay.r", "test.source.s"];
    let expected: Vec<String> =
        ids.iter().map(|i| format!("build {i}")).chain(ids.iter().map(|i| format!("run {i}"))).collect();
    assert_eq!(world.take_log(), expected);
    runtime.shutdown(Duration::from_secs(10)).await;
    assert_eq!(world.take_log(), ids.iter().rev().map(|i| format!("stop {i}")).collect::<Vec<_>>());
    assert!(!runtime.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_reload_touches_only_what_differs() {
    let runtime = runtime();
    let world = World::of("touch");
    let text = |tag: &str, source: &str| {
        format!(
            r#"
            test.source "{source}" {{ world = "touch"  forward_to = [test.relay.r.receiver] }}
            test.relay "r" {{ world = "touch"  tag = "{tag}"  forward_to = [test.sink.k.receiver] }}
            test.sink "k" {{ world = "touch" }}
        "#
        )
    };
    accept(&runtime, &text("one", "a")).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.take_log();
    accept(&runtime, &text("one", "a")).await;
    assert_eq!(world.take_log(), [""; 0], "nothing has changed");
    accept(&runtime, &text("two", "a")).await;
    assert_eq!(world.take_log(), ["update test.relay.r"]);
    accept(&runtime, &text("two", "b")).await;
    runtime.drained().await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut log = world.take_log();
    log.sort();
    assert_eq!(log, ["build test.source.b", "run test.source.b", "stop test.source.a"]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_export_reaches_direct_and_indirect_dependants() {
    let runtime = runtime();
    let world = World::of("tick");
    accept(
        &runtime,
        r#"
        test.value "b" { value = test.value.a.value + 1 }
        test.value "a" { value = test.tick.t.value * 10 }
        test.tick "t" { world = "tick" }
        test.value "other" { value = 1  world = "tick" }
    "#,
    )
    .await;
    assert_eq!(export(&runtime, "test.value.b", "value"), Some(Value::from(1u64)));
    world.take_log();
    for tick in [3u64, 4, 5] {
        tokio::time::sleep(Duration::from_millis(1)).await;
        world.set_tick(tick);
        tokio::time::sleep(Duration::from_millis(1)).await;
        runtime.settled().await;
        assert_eq!(export(&runtime, "test.value.b", "value"), Some(Value::from(tick * 10 + 1)));
    }
    assert_eq!(world.take_log(), [""; 0], "what does not depend on it is left alone");
}

#[tokio::test(start_paused = true)]
async fn a_failing_evaluation_is_health_and_the_old_arguments_stay() {
    let runtime = runtime();
    let world = World::of("health");
    world.set_tick(2);
    accept(
        &runtime,
        r#"
        test.tick "t" { world = "health" }
        test.value "v" { value = [10, 20, 30][test.tick.t.value] }
    "#,
    )
    .await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    world.set_tick(7);
    tokio::time::sleep(Duration::from_millis(1)).await;
    runtime.settled().await;
    let snapshot = runtime.snapshot();
    let value = snapshot.component("test.value.v").unwrap();
    assert_eq!(value.health.state, HealthState::Unhealthy);
    assert!(value.health.message.contains("out of range"), "{}", value.health.message);
    assert_eq!(export(&runtime, "test.value.v", "value"), Some(Value::from(30i64)));
    assert_eq!(runtime.unhealthy()[0].name, "test.value");
    world.set_tick(0);
    tokio::time::sleep(Duration::from_millis(1)).await;
    runtime.settled().await;
    assert_eq!(runtime.unhealthy(), []);
}

#[tokio::test(start_paused = true)]
async fn a_first_load_that_fails_to_build_leaves_nothing_running() {
    let runtime = runtime();
    let world = World::of("first");
    let text = r#"
        test.sink "k" { world = "first" }
        test.faulty "f" { how = "build error" }
    "#;
    let error = load(&runtime, text).await.unwrap_err();
    assert!(!error.applied);
    assert_eq!(error.diagnostics[0].code, "invalid_value");
    assert_eq!(error.diagnostics[0].location.as_ref().unwrap().line_column().line, 3);
    assert_eq!(world.take_log(), ["build test.sink.k"], "built, never run");
    assert!(!runtime.is_ready());
    assert_eq!(runtime.snapshot().components().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_build_error_in_a_reload_is_reported_and_the_rest_is_applied() {
    let runtime = runtime();
    accept(&runtime, r#"test.value "v" { value = 1 }"#).await;
    let text = r#"
        test.value "v" { value = 2 }
        test.faulty "f" { how = "build error" }
        test.value "after" { value = test.faulty.f.value }
    "#;
    let error = load(&runtime, text).await.unwrap_err();
    assert!(error.applied);
    assert_eq!(error.diagnostics.len(), 1, "what waits for it is no second error");
    assert_eq!(export(&runtime, "test.value.v", "value"), Some(Value::from(2i64)));
    let ids: Vec<String> = runtime.unhealthy().into_iter().map(|u| u.id).collect();
    assert_eq!(ids, ["test.faulty.f", "test.value.after"]);
}

#[tokio::test(start_paused = true)]
async fn root_blocks_get_defaults_when_they_are_not_written() {
    let services = component::Services::for_tests("/nonexistent");
    let (options, levels) = crate::world::options(services);
    let runtime = runtime::Runtime::new(options);
    accept(
        &runtime,
        r#"settings { level = "debug"  write_to = [test.sink.k.receiver] }
        test.sink "k" { world = "root" }"#,
    )
    .await;
    accept(
        &runtime,
        r#"settings { level = test.value.v.value }
        test.value "v" { value = "warn" }"#,
    )
    .await;
    accept(&runtime, "").await;
    accept(&runtime, "").await;
    assert_eq!(*levels.lock().unwrap(), ["debug", "warn", "info"]);
    let error = load(&runtime, r#"settings { level = "wrong" }"#).await.unwrap_err();
    assert_eq!(error.diagnostics[0].message, "there is no such level");
}

#[tokio::test(start_paused = true)]
async fn root_blocks_are_evaluated_again_when_what_they_refer_to_changes() {
    let (options, levels) = crate::world::options(component::Services::for_tests("/nonexistent"));
    let runtime = runtime::Runtime::new(options);
    let world = World::of("again");
    let text = r#"settings { level = test.tick.t.value  write_to = [mod.m.in] }
        test.tick "t" { world = "again" }
        test.sink "k" { world = "again" }
        declare "mod" {
            argument "to" { }
            export "in" { value = argument.to.value }
        }
        mod "m" { to = test.sink.k.receiver }"#;
    accept(&runtime, text).await;
    world.tick.store(7, std::sync::atomic::Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1)).await;
    world.ticked.notify_waiters();
    tokio::time::sleep(Duration::from_millis(1)).await;
    runtime.settled().await;
    assert_eq!(*levels.lock().unwrap(), ["0", "7"]);
    // A receiver that comes out of a module by another way.
    accept(&runtime, &text.replace("test.sink \"k\"", "test.sink \"l\"").replace("sink.k", "sink.l")).await;
    assert_eq!(*levels.lock().unwrap(), ["0", "7", "7"]);
}

#[tokio::test(start_paused = true)]
async fn a_root_block_is_told_what_its_data_passes_through() {
    let services = component::Services::for_tests("/nonexistent");
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let (mut options, _) = crate::world::options(services);
    let list = told.clone();
    options.blocks = options
        .blocks
        .into_iter()
        .map(|b| {
            let list = list.clone();
            b.with_carriers(move |ids| list.lock().unwrap().push(ids))
        })
        .collect();
    let runtime = runtime::Runtime::new(options);
    let text = r#"settings { level = test.value.v.text  write_to = [test.relay.r.receiver] }
        test.value "v" { value = "info" }
        test.relay "r" { world = "carry"  forward_to = [mod.m.in] }
        test.source "s" { world = "carry"  forward_to = [test.relay.other.receiver] }
        test.relay "other" { world = "carry"  forward_to = [test.sink.k.receiver] }
        declare "mod" {
            argument "to" { }
            test.relay "inner" { world = "carry"  forward_to = argument.to.value }
            export "in" { value = test.relay.inner.receiver }
        }
        mod "m" { to = [test.sink.k.receiver] }
        test.sink "k" { world = "carry" }"#;
    accept(&runtime, text).await;
    accept(&runtime, "").await;
    let mut told = told.lock().unwrap().clone();
    told.iter_mut().for_each(|ids| ids.sort());
    assert_eq!(told, [vec!["mod.m", "test.relay.r", "test.sink.k"], vec![]]);
}

#[tokio::test(start_paused = true)]
async fn a_component_that_has_exited_is_restarted_by_a_reload() {
    let runtime = runtime();
    accept(&runtime, r#"test.faulty "f" { how = "run error" }"#).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let state = |r: &runtime::Runtime| r.snapshot().component("test.faulty.f").unwrap().health.state;
    assert_eq!(state(&runtime), HealthState::Exited);
    accept(&runtime, r#"test.faulty "f" { how = "well" }"#).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(state(&runtime), HealthState::Healthy);
}

#[tokio::test(start_paused = true)]
async fn the_same_id_in_another_shape_waits_for_the_old_one_to_end() {
    let runtime = runtime();
    let world = World::of("shape");
    accept(&runtime, r#"test.sink "k" { world = "shape" }"#).await;
    accept(&runtime, "").await;
    accept(&runtime, r#"test.sink "k" { world = "shape" }"#).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let k = "test.sink.k";
    let expected = ["build", "run", "stop", "build", "run"].map(|w| format!("{w} {k}"));
    assert_eq!(world.take_log(), expected);
}

/// A node that comes back, as part of several things.
fn lingering(wrapped: &str) -> String {
    let sink = r#"test.sink "k" { world = "lingers"  lingers = "5m" }"#;
    match wrapped {
        "module" => format!("declare \"m\" {{\n{sink}\n}}\nm \"x\" {{ }}"),
        "template" => format!("foreach \"x\" {{\ncollection = [1]\nvar = \"n\"\ntemplate {{\n{sink}\n}}\n}}"),
        "item" => lingering("template").replace("[1]", "[2]"),
        _ => sink.to_string(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_waits_for_the_old_one_only_until_that_makes_way() {
    for (wrapped, without) in [("", ""), ("module", ""), ("template", ""), ("template", "item")] {
        let runtime = runtime();
        let world = World::of("lingers");
        world.take_log();
        let without = if without.is_empty() { String::new() } else { lingering(without) };
        accept(&runtime, &lingering(wrapped)).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let started = tokio::time::Instant::now();
        accept(&runtime, &without).await;
        accept(&runtime, &lingering(wrapped)).await;
        assert!(started.elapsed() < Duration::from_millis(1), "{wrapped}: {:?}", started.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
        let log = world.take_log();
        let count = |what: &str| log.iter().filter(|line| line.starts_with(what)).count();
        let came = if without.is_empty() { 2 } else { 3 };
        assert_eq!((count("run"), count("stop")), (came, 0), "{wrapped}: {log:?}");
        // What has made way is not cut short, and the end of the program waits for it.
        runtime.drained().await;
        assert_eq!(started.elapsed().as_secs(), 300);
        let gone = came - 1;
        assert_eq!(world.take_log().len(), gone, "{wrapped}");
        runtime.shutdown(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_made_way_is_aborted_at_its_deadline() {
    let runtime = runtime();
    let text = r#"test.sink "k" { world = "overdue"  lingers = "100h" }"#;
    for text in [text, "", text] {
        accept(&runtime, text).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let started = tokio::time::Instant::now();
    runtime.drained().await;
    assert!(started.elapsed() <= runtime.services().shutdown_deadline, "{:?}", started.elapsed());
    assert!(World::of("overdue").take_log().iter().all(|line| !line.starts_with("stop")));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_stop_holds_nobody_up_and_is_aborted_at_the_deadline() {
    let runtime = runtime();
    accept(&runtime, r#"test.sink "k" { world = "stubborn"  stubborn = true }"#).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let started = tokio::time::Instant::now();
    accept(&runtime, r#"test.sink "other" { world = "stubborn"  stubborn = true }"#).await;
    assert!(started.elapsed() < Duration::from_millis(1), "a reload does not wait for a drain");
    tokio::time::sleep(Duration::from_millis(1)).await;
    runtime.shutdown(Duration::from_secs(5)).await;
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_a_load_that_waits_for_an_old_instance() {
    let runtime = runtime();
    let text = r#"test.sink "k" { world = "shutdown"  stubborn = true }"#;
    accept(&runtime, text).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    accept(&runtime, "").await;
    let waiting = tokio::spawn({
        let runtime = runtime.clone();
        async move { load(&runtime, text).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished(), "two instances with one ID must not run at the same time");
    let started = tokio::time::Instant::now();
    runtime.shutdown(Duration::from_secs(5)).await;
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    assert!(waiting.is_finished());
    let codes: Vec<_> = load(&runtime, "").await.unwrap_err().diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["stopping"]);
}

#[tokio::test(start_paused = true)]
async fn a_directory_is_one_configuration() {
    let runtime = runtime();
    let sources = vec![
        syntax::Source::new("a.alloy", r#"test.value "a" { value = test.value.b.value }"#),
        syntax::Source::new("b.alloy", r#"test.value "b" { value = "from b" }"#),
    ];
    runtime.load(sources).await.unwrap();
    assert_eq!(export(&runtime, "test.value.a", "value"), Some(Value::from("from b")));
    let twice = vec![
        syntax::Source::new("a.alloy", r#"test.value "a" { value = 1 }"#),
        syntax::Source::new("b.alloy", r#"test.value "a" { value = 2 }"#),
    ];
    let error = runtime.load(twice).await.unwrap_err();
    assert_eq!(error.diagnostics[0].code, "duplicate_block");
    assert!(error.diagnostics[0].message.contains("a.alloy:1:1"), "{}", error.diagnostics[0].message);
    assert_eq!(refuse(&runtime, "a = 1").await, ["unexpected_attribute"]);
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_shows_references_and_where_data_goes() {
    let runtime = runtime();
    accept(
        &runtime,
        r#"
        test.source "s" { world = "snap"  forward_to = [test.sink.k.receiver]  targets = [test.value.v.value] }
        test.sink "k" { world = "snap"  password = "hunter2" }
        test.value "v" { value = {a = 1} }
    "#,
    )
    .await;
    let snapshot = runtime.snapshot();
    let source = snapshot.component("test.source.s").unwrap();
    assert_eq!(source.references_to, ["test.sink.k", "test.value.v"]);
    assert_eq!(source.data_flow_edges_to, ["test.sink.k"]);
    assert_eq!(snapshot.component("test.value.v").unwrap().data_flow_edges_to, ["test.source.s"]);
    let sink = snapshot.component("test.sink.k").unwrap();
    assert_eq!(sink.referenced_by, ["test.source.s"]);
    assert_eq!((sink.name.as_str(), sink.label.as_str(), sink.module_id.as_str()), ("test.sink", "k", ""));
    let arguments = eval::items_to_json(&sink.arguments).to_string();
    assert!(arguments.contains("(secret)") && !arguments.contains("hunter2"), "{arguments}");
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_shows_no_secret_of_a_module_whatever_its_arguments_are_called() {
    let runtime = runtime();
    accept(
        &runtime,
        r#"
        declare "inner" {
            argument "pw" { }
            argument "where" { }
            test.sink "k" { world = argument.where.value  password = argument.pw.value }
            export "again" { value = argument.pw.value }
            export "where" { value = argument.where.value }
        }
        declare "outer" {
            argument "first" { }
            argument "second" { }
            argument "my_token" { }
            inner "i" { pw = argument.first.value  where = "seen-in" }
            foreach "f" {
                collection = ["seen-each"]
                var = "name"
                template { test.sink "k" { world = name  password = argument.second.value } }
            }
            export "again" { value = inner.i.again }
        }
        outer "o" { first = "hunter2"  second = string.format("hunter%d", 2)  my_token = {a = ["hunter2"]} }
        inner "n" { pw = "hunter2"  where = "seen-n" }
    "#,
    )
    .await;
    let mut all = String::new();
    for component in runtime.snapshot().components() {
        all += &eval::items_to_json(&component.arguments).to_string();
        all += &eval::items_to_json(&component.exports).to_string();
    }
    assert!(!all.contains("hunter2"), "{all}");
    for seen in ["seen-in", "seen-each", "seen-n"] {
        assert!(all.contains(seen), "{seen}: {all}");
    }
}
