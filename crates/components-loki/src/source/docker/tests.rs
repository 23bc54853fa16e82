//! Against the engine of `net`'s test kit: nothing twice, nothing missing, whatever happens.

mod faults;
mod resume;

use std::path::Path;

use component::testkit::{Harness, Names, Sink};
use component::{ArgValue, ComponentDef, HealthState, RelabelAction, RelabelRule, Services};
use net::docker::testkit::FakeEngine;
use serde_json::json;
use signal::Logs;

use super::*;

const DEF: ComponentDef = ComponentDef::of::<Docker>();
/// 2026-11-26T14:25:03Z
const T0: i64 = 1_795_703_103_000_000_000;

/// An entry: time after [`T0`], labels, line.
type Got = (i64, String, String);

/// A component that follows containers of a fake engine.
struct World {
    fake: FakeEngine,
    sink: Sink<Logs>,
    harness: Harness,
    folder: tempfile::TempDir,
}

fn rule(source: &str, target: &str) -> RelabelRule {
    RelabelRule {
        source_labels: vec![source.into()],
        separator: ";".into(),
        regex: None,
        modulus: 0,
        target_label: target.into(),
        replacement: "$1".into(),
        action: RelabelAction::Replace,
    }
}

fn harness(sink: &Sink<Logs>, folder: &Path) -> Harness {
    net::install_provider();
    let rules = RelabelRules(Arc::new(vec![
        rule("__meta_docker_container_name", "container"),
        rule("__meta_docker_container_log_stream", "stream"),
    ]));
    let names = Names::default().with("sink", sink.value()).with("rules", rules.to_value());
    Harness::new(DEF, names, Services::for_tests(folder.to_path_buf()))
}

fn body(fake: &FakeEngine, ids: &[&str], more: &str) -> String {
    let target = |id: &&str| {
        format!(
            "{{{ID_LABEL} = {id:?}, __meta_docker_container_name = \"/{id}\", __address__ = \"{id}:80\"}}"
        )
    };
    let targets: Vec<_> = ids.iter().map(target).collect();
    format!(
        "host = {:?}\ntargets = [{}]\nforward_to = [sink]\nrelabel_rules = rules\nrefresh_interval = \"20ms\"\n{more}",
        fake.host(),
        targets.join(", ")
    )
}

impl World {
    /// Containers that run and are followed.
    async fn following(fake: FakeEngine, ids: &[&str]) -> Self {
        for id in ids {
            fake.add(json!({"Id": id, "Names": [format!("/{id}")], "Labels": {}}), false);
        }
        let (sink, folder) = (Sink::new(), tempfile::tempdir().expect("a temporary folder"));
        let harness = harness(&sink, folder.path());
        let world = Self { fake, sink, harness, folder };
        world.update(ids, "").await;
        world.harness.node.start();
        world
    }

    async fn update(&self, ids: &[&str], more: &str) {
        self.harness.update(&body(&self.fake, ids, more)).await.expect("good arguments");
    }

    /// Entries up to and including a line.
    async fn until(&self, last: &str) -> Vec<Got> {
        let mut got = Vec::new();
        loop {
            for batch in self.sink.wait(1).await {
                got.extend(entries(&batch));
            }
            if got.iter().any(|(_, _, line)| line == last) {
                return got;
            }
        }
    }

    async fn lines_until(&self, last: &str) -> Vec<String> {
        self.until(last).await.into_iter().map(|(_, _, line)| line).collect()
    }

    /// We stop and start again.
    async fn restart(&mut self, ids: &[&str]) {
        self.harness.stop().await;
        self.harness = harness(&self.sink, self.folder.path());
        self.update(ids, "").await;
        self.harness.node.start();
    }

    async fn until_health(&self, state: HealthState) {
        while self.harness.node.health().state != state {
            tokio::task::yield_now().await;
        }
    }

    fn positions(&self) -> String {
        let path = self.folder.path().join("loki.source.docker.test/positions.yml");
        std::fs::read_to_string(path).unwrap_or_default()
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.harness.services.metrics.text();
        let line = text.lines().find(|l| l.starts_with(name) && !l.starts_with('#'));
        line.and_then(|l| l.rsplit(' ').next()?.parse().ok()).expect("the metric is there")
    }
}

fn entries(batch: &Logs) -> Vec<Got> {
    let entry = |e| (batch.labels(e).to_string(), e);
    batch
        .entries
        .iter()
        .map(entry)
        .map(|(labels, e)| (e.timestamp_ns - T0, labels, e.line.to_string()))
        .collect()
}

fn got(after: i64, container: &str, stream: &str, line: &str) -> Got {
    (after, format!("{{container=\"/{container}\", stream=\"{stream}\"}}"), line.to_owned())
}

#[tokio::test]
async fn both_streams_become_entries_with_the_engines_time_and_the_labels_of_the_rules() {
    for fake in [FakeEngine::unix().await, FakeEngine::tcp().await] {
        let world = World::following(fake, &["web"]).await;
        world.fake.write("web", 1, T0 + 1, "out");
        world.fake.write("web", 2, T0 + 2, "err");
        world.fake.write("web", 1, T0 + 3, "");
        world.fake.write("web", 1, T0 + 4, "last");
        let expected =
            [got(1, "web", "stdout", "out"), got(2, "web", "stderr", "err"), got(4, "web", "stdout", "last")];
        assert_eq!(world.until("last").await, expected);
        assert_eq!(world.metric("loki_source_docker_target_entries_total"), 3);
        world.until_health(HealthState::Healthy).await;
        let stopped = world.harness.stop().await;
        assert!(matches!(stopped, component::Stopped::Clean), "{stopped:?}");
        world.fake.until_open(0).await;
    }
}

#[tokio::test]
async fn a_terminal_and_long_lines_in_small_chunks_are_joined() {
    let fake = FakeEngine::unix().await;
    fake.coarse(false, 7);
    let world = World::following(fake, &["web"]).await;
    fake_tty(&world.fake);
    world.update(&["web", "tty"], "").await;
    let long = "x".repeat(40_000);
    for (id, kind) in [("web", 2), ("tty", 1)] {
        for piece in [&long[..16384], &long[16384..32768], &format!("{}\n", &long[32768..])] {
            world.fake.write_piece(id, kind, T0, piece);
        }
        world.fake.write(id, kind, T0 + 1, "last\r");
        let stream = if kind == 2 { "stderr" } else { "stdout" };
        let expected = [got(0, id, stream, &long), got(1, id, stream, "last")];
        assert_eq!(world.until("last").await, expected, "{id}");
    }
}

fn fake_tty(fake: &FakeEngine) {
    fake.add(json!({"Id": "tty", "Names": ["/tty"], "Labels": {}}), true);
}

#[tokio::test]
async fn a_container_with_several_targets_is_followed_once() {
    let world = World::following(FakeEngine::unix().await, &["web", "web", "web"]).await;
    world.fake.write("web", 1, T0, "once");
    world.fake.write("web", 1, T0 + 1, "last");
    assert_eq!(world.lines_until("last").await, ["once", "last"]);
    assert_eq!(world.fake.asked().iter().filter(|a| a.contains("/logs?")).count(), 1);
}

#[tokio::test]
async fn labels_win_over_targets_and_dropped_streams_are_not_sent() {
    let world = World::following(FakeEngine::unix().await, &["web"]).await;
    world.update(&["web"], "labels = {__meta_docker_container_name = \"fixed\", env = \"prod\"}").await;
    world.fake.write("web", 1, T0, "last");
    let labels = "{container=\"fixed\", env=\"prod\", stream=\"stdout\"}";
    assert_eq!(world.until("last").await, [(0, labels.to_owned(), "last".to_owned())]);
}

#[tokio::test]
async fn text_that_is_no_utf8_and_lines_beyond_the_limit_are_counted_and_kept_as_far_as_they_go() {
    let world = World::following(FakeEngine::unix().await, &["web"]).await;
    let long = "y".repeat((1 << 20) + 5);
    world.fake.write("web", 1, T0, &long);
    world.fake.write("web", 1, T0, "last");
    let lines = world.lines_until("last").await;
    assert_eq!(lines[0].len(), 1 << 20);
    assert_eq!(world.metric("loki_source_docker_target_parsing_errors_total"), 1);
}

#[tokio::test]
async fn hundreds_of_containers_are_followed_and_asked_a_few_at_a_time() {
    let names: Vec<String> = (0..300).map(|i| format!("c{i}")).collect();
    let ids: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::following(FakeEngine::unix().await, &[]).await;
    for id in &ids {
        world.fake.add(json!({"Id": id, "Names": [format!("/{id}")]}), false);
    }
    // A stream whose head is late counts as a question for as long as this.
    world.harness.update(&body(&world.fake, &ids, "").replace("20ms", "1m")).await.expect("good arguments");
    for (i, id) in ids.iter().enumerate() {
        world.fake.write(id, 1, T0 + i as i64, id);
    }
    let mut seen = HashSet::new();
    while seen.len() < ids.len() {
        for batch in world.sink.wait(1).await {
            for (_, _, line) in entries(&batch) {
                assert!(seen.insert(line), "a line came twice");
            }
        }
    }
    assert!(world.fake.most_questions() <= QUESTIONS, "{}", world.fake.most_questions());
    let shown = world.harness.node.debug_info();
    assert_eq!(shown.len(), 300);
}

#[tokio::test]
async fn arguments_that_cannot_work_are_refused() {
    let (sink, folder) = (Sink::new(), tempfile::tempdir().unwrap());
    let harness = harness(&sink, folder.path());
    let good = "targets = []\nforward_to = [sink]\n";
    for bad in [
        "host = \"docker\"",
        "host = \"unix:///a\"\nrefresh_interval = \"0\"",
        "host = \"tcp://a:1\"\nhttp_client_config {\n\ttls_config {\n\t\tinsecure_skip_verify = true\n\t}\n}",
        "host = \"unix:///a\"\nhttp_client_config {\n\tbearer_token = \"a\"\n\tbearer_token_file = \"b\"\n}",
    ] {
        harness.update(&format!("{good}{bad}")).await.expect_err(bad);
    }
    harness.update(&format!("{good}host = \"unix:///a\"")).await.expect("good arguments");
}

#[tokio::test]
async fn a_target_that_is_no_container_is_passed_over() {
    let world = World::following(FakeEngine::unix().await, &["web", "../images/json?x="]).await;
    world.fake.write("web", 1, T0, "last");
    assert_eq!(world.lines_until("last").await, ["last"]);
    assert!(world.fake.asked().iter().all(|a| !a.contains("images")));
}
