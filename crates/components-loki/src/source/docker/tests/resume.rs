//! Restarts of the container, of the engine and of us; positions of ours and of Alloy.

use component::Rejected;
use signal::logs::Hold;

use super::*;

#[tokio::test]
async fn a_log_goes_on_after_our_restart_without_a_line_twice_or_missing() {
    for (coarse, chunk) in [(false, usize::MAX), (true, 3)] {
        let fake = FakeEngine::unix().await;
        fake.coarse(coarse, chunk);
        let mut world = World::following(fake, &["web"]).await;
        // All in one second, two in the same nanosecond, one late.
        world.fake.write("web", 1, T0 + 5, "a");
        world.fake.write("web", 1, T0 + 7, "same");
        world.fake.write("web", 1, T0 + 7, "same");
        world.fake.write("web", 1, T0 + 7, "ready");
        assert_eq!(world.lines_until("ready").await, ["a", "same", "same", "ready"]);
        for round in 0..3 {
            world.harness.stop().await;
            let time = T0 + 7 + round;
            world.fake.write("web", 2, time - 1, &format!("late {round}"));
            world.fake.write("web", 1, time, "same");
            world.fake.write("web", 1, time, &format!("last {round}"));
            world.restart(&["web"]).await;
            let last = format!("last {round}");
            assert_eq!(world.lines_until(&last).await, [format!("late {round}"), "same".into(), last]);
        }
    }
}

#[tokio::test]
async fn a_container_that_ends_and_starts_again_is_read_on() {
    let world = World::following(FakeEngine::unix().await, &["web"]).await;
    for round in 0..3 {
        let time = T0 + round * 10;
        world.fake.write("web", 1, time, &format!("a {round}"));
        world.fake.write("web", 2, time, &format!("b {round}"));
        world.fake.with("web", |c| {
            c.running = false;
            c.finished = format!("2026-11-26T14:25:0{round}Z");
        });
        let last = format!("b {round}");
        assert_eq!(world.lines_until(&last).await, [format!("a {round}"), last]);
        world.fake.with("web", |c| {
            c.running = true;
            c.started = format!("2026-11-26T14:25:1{round}Z");
        });
    }
    // Killed in the middle of a line: the piece is all there will be.
    world.fake.write_piece("web", 1, T0 + 100, "cut off");
    world.fake.with("web", |c| c.running = false);
    assert_eq!(world.lines_until("cut off").await, ["cut off"]);
}

#[tokio::test]
async fn a_container_that_has_ended_is_read_to_its_end_and_then_left_alone() {
    let world = World::following(FakeEngine::unix().await, &[]).await;
    world.fake.add(json!({"Id": "job", "Names": ["/job"]}), false);
    world.fake.write("job", 1, T0, "only");
    world.fake.with("job", |c| c.running = false);
    world.update(&["job"], "").await;
    assert_eq!(world.lines_until("only").await, ["only"]);
    let inspected = |count: usize| {
        move |world: &World| {
            let asked = world.fake.asked();
            asked.iter().filter(|a| a.ends_with("/job/json")).count() >= count
        }
    };
    while !inspected(5)(&world) {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.fake.asked().iter().filter(|a| a.contains("/logs?")).count(), 1);
}

#[tokio::test]
async fn the_engine_may_restart() {
    let world = World::following(FakeEngine::unix().await, &["web", "db"]).await;
    for round in 0..3 {
        world.fake.write("web", 1, T0 + round, &format!("web {round}"));
        world.fake.until_open(2).await;
        world.until(&format!("web {round}")).await;
        world.fake.stop();
        world.until_health(HealthState::Unhealthy).await;
        world.fake.write("db", 1, T0 + round, &format!("db {round}"));
        world.fake.start().await;
        assert_eq!(world.lines_until(&format!("db {round}")).await, [format!("db {round}")]);
        world.until_health(HealthState::Healthy).await;
    }
}

#[tokio::test]
async fn a_target_that_leaves_and_comes_back_goes_on_where_it_was() {
    let world = World::following(FakeEngine::unix().await, &["web"]).await;
    world.fake.write("web", 1, T0, "before");
    world.until("before").await;
    world.update(&[], "").await;
    world.fake.until_open(0).await;
    world.fake.write("web", 1, T0, "last");
    world.update(&["web"], "").await;
    assert_eq!(world.lines_until("last").await, ["last"]);
}

#[tokio::test]
async fn reloads_while_lines_are_written_lose_nothing_and_send_nothing_twice() {
    let world = World::following(FakeEngine::unix().await, &["web"]).await;
    let mut got = Vec::new();
    for i in 0..40 {
        for j in 0..5 {
            world.fake.write("web", 1 + (j % 2) as u8, T0 + i, &format!("{i} {j}"));
        }
        world.update(&["web"], &format!("labels = {{generation = \"{i}\"}}")).await;
        if i % 3 == 0 {
            tokio::task::yield_now().await;
        }
        got.extend(world.sink.take().iter().flat_map(entries));
    }
    world.fake.write("web", 1, T0 + 100, "last");
    got.extend(world.until("last").await);
    let lines: Vec<_> = got.into_iter().map(|(_, _, line)| line).collect();
    let mut expected: Vec<_> = (0..40).flat_map(|i| (0..5).map(move |j| format!("{i} {j}"))).collect();
    expected.push("last".into());
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn what_sinks_do_not_take_is_offered_again_and_read_again_after_a_restart() {
    let mut world = World::following(FakeEngine::unix().await, &["web"]).await;
    world.sink.answer(Err(Rejected::Retryable("full".into())));
    world.fake.write("web", 1, T0, "kept");
    world.fake.until_open(1).await;
    world.harness.stop().await;
    assert!(!world.positions().contains("cursor-web"), "nothing was taken");
    world.restart(&["web"]).await;
    world.sink.answer(Ok(()));
    assert_eq!(world.lines_until("kept").await, ["kept"]);
    world.sink.answer(Err(Rejected::Permanent("too old".into())));
    world.fake.write("web", 1, T0 + 1, "refused");
    while world.metric("loki_source_docker_dropped_entries_total") == 0 {
        tokio::task::yield_now().await;
    }
    world.sink.answer(Ok(()));
    world.fake.write("web", 1, T0 + 2, "last");
    assert_eq!(world.lines_until("last").await, ["last"]);
}

#[tokio::test]
async fn a_position_is_stored_only_when_nobody_keeps_a_part_of_the_batch_back() {
    let mut world = World::following(FakeEngine::unix().await, &["web"]).await;
    let mut holds: Vec<Option<Hold>> = Vec::new();
    for (time, line) in [(1, "one"), (2, "two")] {
        world.fake.write("web", 1, T0 + time * 1_000_000_000, line);
        let batches = world.sink.wait(1).await;
        holds.extend(batches.iter().map(|b| b.hold.clone()));
    }
    assert_eq!(holds.len(), 2);
    holds[0] = None;
    world.harness.stop().await;
    let second = T0 / 1_000_000_000;
    assert!(world.positions().contains(&format!("\"{}\"", second + 1)), "{}", world.positions());
    world.restart(&["web"]).await;
    assert_eq!(world.lines_until("two").await, ["two"], "what was kept back is read again");
    drop(holds);
}

#[tokio::test]
async fn positions_of_alloy_are_taken_over_and_what_is_stored_is_alloys() {
    let mut world = World::following(FakeEngine::unix().await, &[]).await;
    world.harness.stop().await;
    let second = T0 / 1_000_000_000;
    let labels =
        format!("{{__address__=\"web:80\", {ID_LABEL}=\"web\", __meta_docker_container_name=\"/web\"}}");
    let folder = world.folder.path().join("loki.source.docker.test");
    std::fs::create_dir_all(&folder).unwrap();
    let alloys = format!("positions:\n  ? path: cursor-web\n    labels: '{labels}'\n  : \"{second}\"\n");
    std::fs::write(folder.join("positions.yml"), alloys).unwrap();
    world.fake.add(json!({"Id": "web", "Names": ["/web"]}), false);
    world.fake.write("web", 1, T0 - 1, "sent by Alloy");
    world.fake.write("web", 1, T0 + 1_000_000_000, "last");
    world.restart(&["web"]).await;
    assert_eq!(world.lines_until("last").await, ["last"]);
    world.harness.stop().await;
    let stored = world.positions();
    assert!(stored.contains(&labels) && stored.contains(&format!(": \"{}\"", second + 1)), "{stored}");
    // Alloy goes on, and then we do again.
    let moved = stored.replace(&format!(": \"{}\"", second + 1), &format!(": \"{}\"", second + 5));
    std::fs::write(folder.join("positions.yml"), moved).unwrap();
    world.fake.write("web", 1, T0 + 4_000_000_000, "sent by Alloy");
    world.fake.write("web", 1, T0 + 6_000_000_000, "last");
    world.restart(&["web"]).await;
    assert_eq!(world.lines_until("last").await, ["last"]);
}

#[tokio::test]
async fn the_position_of_a_container_that_is_gone_is_forgotten() {
    let mut world = World::following(FakeEngine::unix().await, &["web", "db"]).await;
    world.fake.write("web", 1, T0, "web");
    world.until("web").await;
    world.fake.write("db", 1, T0, "db");
    world.until("db").await;
    world.fake.remove("web");
    let is_gone = || {
        let shown = format!("{:?}", world.harness.node.debug_info());
        shown.contains("No such container")
    };
    while !is_gone() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.harness.node.health().state, HealthState::Healthy, "that is no failure of the engine");
    world.update(&["db"], "").await;
    world.harness.stop().await;
    assert!(!world.positions().contains("cursor-web"), "{}", world.positions());
    assert!(world.positions().contains("cursor-db"));
    world.restart(&["db"]).await;
}
