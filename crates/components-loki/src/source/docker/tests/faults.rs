//! Streams that break, lie, hang and are refused.

use net::docker::testkit::Fault;

use super::*;

#[tokio::test]
async fn a_stream_cut_at_any_byte_is_read_again_without_a_line_twice_or_missing() {
    let fake = FakeEngine::unix().await;
    // Two frames of 49 bytes each: header, time, text.
    let cuts: Vec<_> = (0..110).step_by(7).map(Fault::CutAfter).collect();
    fake.faults(&cuts);
    let world = World::following(fake, &["web"]).await;
    for i in 0..2 {
        world.fake.write("web", 1, T0 + i, &format!("line {i:05}"));
    }
    let rounds = cuts.len() as i64;
    for i in 0..rounds {
        world.fake.write("web", 2, T0 + 10 + i, &format!("line {i:05}"));
    }
    world.fake.write("web", 1, T0 + 1000, "last");
    let lines = world.lines_until("last").await;
    assert_eq!(lines.len(), 2 + rounds as usize + 1, "{lines:?}");
}

#[tokio::test]
async fn garbage_refusals_and_hangs_are_left_behind() {
    let fake = FakeEngine::unix().await;
    fake.faults(&[Fault::Garbage, Fault::Status(500), Fault::Status(503), Fault::Garbage]);
    let world = World::following(fake, &["web"]).await;
    world.fake.write("web", 1, T0, "last");
    assert_eq!(world.lines_until("last").await, ["last"]);
    assert_eq!(world.metric("loki_source_docker_target_parsing_errors_total"), 2);
    world.until_health(HealthState::Healthy).await;
}

#[tokio::test]
async fn an_engine_that_hangs_is_noticed_and_one_container_that_hangs_holds_up_no_other() {
    let fake = FakeEngine::unix().await;
    fake.faults(&[Fault::Hang]);
    let world = World::following(fake, &["web"]).await;
    world.fake.until_asked(|a| a.contains("/web/logs")).await;
    world.fake.add(json!({"Id": "db", "Names": ["/db"]}), false);
    world.update(&["web", "db"], "").await;
    world.fake.write("db", 1, T0, "other");
    assert_eq!(world.lines_until("other").await, ["other"]);
    // While nothing comes, the engine is asked whether it is there.
    world.fake.broken(true);
    let both =
        || format!("{:?}", world.harness.node.debug_info()).matches("the engine is broken").count() == 2;
    while !both() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.harness.node.health().state, HealthState::Unhealthy);
    world.fake.broken(false);
    world.fake.write("web", 1, T0, "last");
    assert_eq!(world.lines_until("last").await, ["last"]);
    world.until_health(HealthState::Healthy).await;
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_told_with_its_container_and_does_not_stop_the_others() {
    let fake = FakeEngine::unix().await;
    fake.faults(&[Fault::Status(501); 3]);
    let world = World::following(fake, &["web"]).await;
    let shown = || format!("{:?}", world.harness.node.debug_info());
    while !shown().contains("501") {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.harness.node.health().state, HealthState::Healthy);
    world.fake.write("web", 1, T0, "last");
    assert_eq!(world.lines_until("last").await, ["last"]);
}

/// Everything at once, from a seed: each line of each container comes once and in order.
#[tokio::test]
async fn seeds_of_faults_restarts_and_reloads_send_every_line_once() {
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::following(FakeEngine::unix().await, &["a", "b"]).await;
        let mut written: HashMap<&str, Vec<String>> = HashMap::new();
        let mut got = Vec::new();
        let mut time = T0;
        for step in 0..60 {
            let id = if random.bool() { "a" } else { "b" };
            match random.u8(0..12) {
                0 => world.fake.faults(&[Fault::CutAfter(random.usize(0..400))]),
                1 => world.fake.faults(&[Fault::Garbage, Fault::Status(500)]),
                2 => {
                    world.fake.stop();
                    world.fake.start().await;
                }
                3 => world.restart(&["a", "b"]).await,
                4 => world.update(&["a", "b"], &format!("labels = {{step = \"{step}\"}}")).await,
                5 => world.fake.with(id, |c| {
                    c.running = !c.running;
                    c.started = step.to_string();
                }),
                6 => world.fake.coarse(random.bool(), random.usize(1..100)),
                _ => {
                    for _ in 0..random.usize(1..8) {
                        // Often the same nanosecond, mostly the same second.
                        time += [0, 0, 1, 300_000_000][random.usize(0..4)];
                        let lines = written.entry(id).or_default();
                        let line = format!("{id} {}", lines.len());
                        world.fake.write(id, random.u8(1..3), time, &line);
                        lines.push(line);
                    }
                }
            }
            for _ in 0..random.usize(0..20) {
                tokio::task::yield_now().await;
            }
            got.extend(world.sink.take().iter().flat_map(entries).map(|(_, _, line)| line));
        }
        world.fake.coarse(false, usize::MAX);
        for id in ["a", "b"] {
            world.fake.with(id, |c| c.running = true);
            world.fake.write(id, 1, time + 1, &format!("{id} last"));
            written.entry(id).or_default().push(format!("{id} last"));
            while !got.contains(&format!("{id} last")) {
                got.extend(world.sink.wait(1).await.iter().flat_map(entries).map(|(_, _, line)| line));
            }
        }
        for (id, expected) in written {
            let lines: Vec<_> = got.iter().filter(|l| l.starts_with(id)).cloned().collect();
            assert_eq!(lines, expected, "seed {seed}");
        }
    }
}
