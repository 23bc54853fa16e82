//! What must hold whatever happens: refused configurations, panics.

use std::time::Duration;

use component::HealthState;
use runtime::Runtime;

use crate::world::{World, accept, load, runtime};

const GOOD: &str = r#"
    test.source "s" { world = "refused"  forward_to = [test.relay.r.receiver, mod.m.in] }
    test.relay "r" { world = "refused"  forward_to = [test.sink.k.receiver] }
    test.sink "k" { world = "refused" }
    declare "mod" {
        argument "to" { }
        test.relay "inner" { world = "refused"  forward_to = argument.to.value }
        export "in" { value = test.relay.inner.receiver }
    }
    mod "m" { to = [test.sink.k.receiver] }
    foreach "f" {
        collection = [1, 2]
        var = "n"
        template { test.value "v" { value = n } }
    }
"#;

/// Everything that can be seen from outside, with the identity of each instance.
fn picture(runtime: &Runtime) -> Vec<String> {
    let snapshot = runtime.snapshot();
    let line = |c: &runtime::ComponentSnapshot| {
        let arguments = eval::items_to_json(&c.arguments);
        let exports = eval::items_to_json(&c.exports);
        let edges = (&c.references_to, &c.referenced_by, &c.created_module_ids);
        format!("{} #{} {:?} {arguments} {exports} {edges:?}", c.global_id(), c.instance, c.health)
    };
    snapshot.components().map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn a_refused_configuration_changes_nothing_that_runs() {
    let runtime = runtime();
    accept(&runtime, GOOD).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    runtime.settled().await;
    let before = picture(&runtime);
    let world = World::of("refused");
    world.take_log();
    let mistakes = [
        ("test.sink \"k2\" {", "syntax"),
        ("test.skin \"k2\" { world = \"refused\" }", "unknown_component"),
        ("test.sink \"k\" { world = \"refused\" }", "duplicate_block"),
        ("test.sink \"k2\" { }", "missing_argument"),
        ("test.sink \"k2\" { world = \"refused\"  colour = 1 }", "unknown_argument"),
        ("test.sink \"k2\" { world = [] }", "wrong_type"),
        ("test.value \"v\" { value = test.value.w.value }", "unknown_reference"),
        ("test.value \"v\" { value = test.value.v.value }", "cycle"),
        (
            "test.relay \"x\" { world = \"refused\"  forward_to = [test.other_sink.o.receiver] }
          test.other_sink \"o\" { world = \"refused\" }",
            "wrong_type",
        ),
        ("mod \"n\" { }", "missing_argument"),
        ("import.file \"x\" { filename = \"/nonexistent/x.alloy\" }", "import_failed"),
        ("argument \"a\" { }", "misplaced_block"),
        ("test.sink { world = \"refused\" }", "missing_label"),
    ];
    for (mistake, code) in mistakes {
        let text = GOOD
            .replace("\"mod\" {", "\"mod\" {\n")
            .replace("world = \"refused\" }", "world = \"refused\"  tag = \"new\" }");
        let error = load(&runtime, &format!("{text}\n{mistake}")).await.expect_err(mistake);
        assert!(!error.applied);
        let codes: Vec<_> = error.diagnostics.iter().filter(|d| d.is_error()).map(|d| d.code).collect();
        assert!(codes.iter().any(|c| *c == code || code == "syntax"), "{mistake}: {codes:?}");
        assert_eq!(picture(&runtime), before, "{mistake}");
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    runtime.settled().await;
    assert_eq!(world.take_log(), [""; 0], "no node was built, updated or stopped");
    assert_eq!(picture(&runtime), before);
}

fn state(runtime: &Runtime, id: &str) -> HealthState {
    runtime.snapshot().component(id).expect("is in the graph").health.state
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_the_health_of_one_node() {
    for (first, then, expected) in [
        ("", "build panic", HealthState::Unhealthy),
        ("run panic", "run panic", HealthState::Exited),
        // It goes on with the arguments it had.
        ("well", "update panic", HealthState::Unhealthy),
        ("well", "no answer", HealthState::Unhealthy),
        ("well", "update error", HealthState::Unhealthy),
    ] {
        let runtime = runtime();
        let text =
            |how: &str| format!("test.faulty \"f\" {{ how = \"{how}\" }}\ntest.value \"v\" {{ value = 1 }}");
        accept(&runtime, &if first.is_empty() { String::new() } else { text(first) }).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let _ = load(&runtime, &text(then)).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(state(&runtime, "test.faulty.f"), expected, "{first} then {then}");
        assert_eq!(state(&runtime, "test.value.v"), HealthState::Healthy, "{first} then {then}");
        runtime.shutdown(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_panicking_consumer_refuses_the_batch_and_goes_on() {
    let runtime = runtime();
    let world = World::of("panicking consumer");
    accept(
        &runtime,
        r#"
        test.source "s" { world = "panicking consumer"  forward_to = [test.relay.r.receiver] }
        test.relay "r" { world = "panicking consumer"  panic_on = 3  forward_to = [test.sink.k.receiver] }
        test.sink "k" { world = "panicking consumer" }
    "#,
    )
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(state(&runtime, "test.relay.r"), HealthState::Unhealthy);
    assert_eq!(*world.accepted.lock().unwrap(), [0, 1, 2], "the source repeats what was refused");
}

#[tokio::test(start_paused = true)]
async fn accepted_items_reach_the_sink_across_reloads_and_shutdown() {
    let runtime = runtime();
    let world = World::of("across");
    for round in 0..40 {
        let (relay, delay) = (["x", "y", "z"][round % 3], round % 7);
        let text = format!(
            r#"
            test.source "s" {{ world = "across"  every = "1ms"  forward_to = [test.relay.{relay}.receiver] }}
            test.relay "{relay}" {{ world = "across"  delay = "{delay}ms"  forward_to = [test.sink.k.receiver] }}
            test.sink "k" {{ world = "across"  delay = "{delay}ms" }}
        "#
        );
        accept(&runtime, &text).await;
        tokio::time::sleep(Duration::from_millis(3 + round as u64)).await;
    }
    runtime.shutdown(Duration::from_secs(60)).await;
    let accepted = world.accepted.lock().unwrap().clone();
    assert!(accepted.len() > 50, "{}", accepted.len());
    let arrived = world.arrived.lock().unwrap();
    let missing: Vec<_> = accepted.iter().filter(|i| !arrived["test.sink.k"].contains_key(i)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
