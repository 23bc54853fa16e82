//! On journals that systemd's own tool writes, with journalctl as the judge. Where the tools are not installed
//! (Debian: `systemd-journal-remote`) the tests say so and pass.

use std::io::Write as _;
use std::process::{Command, Stdio};

use component::testkit::{Harness, Names, Sink};
use component::{ArgValue, ComponentDef, HealthState, Rejected, RelabelAction, RelabelRule, Services};

use super::*;

const DEF: ComponentDef = ComponentDef::of::<Journal>();
const WRITER: &str = "/usr/lib/systemd/systemd-journal-remote";
const BOOT: &str = "6c7c6013a26343b29e964691ff25d04c";

/// Microseconds now, less some seconds.
fn ago(seconds: u64) -> u64 {
    u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap() - seconds * 1_000_000
}

/// An entry in the export format.
fn entry(time: u64, fields: &[(&str, &str)]) -> String {
    let mut out = format!(
        "__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID={BOOT}\n",
        time % 1_000_000_000
    );
    for (name, value) in fields {
        out.push_str(&format!("{name}={value}\n"));
    }
    out.push('\n');
    out
}

fn message(time: u64, text: &str) -> String {
    entry(time, &[("MESSAGE", text), ("PRIORITY", "6"), ("_SYSTEMD_UNIT", "app.service")])
}

/// Appends entries to a journal file, which is made if it is not there.
fn write(file: &Path, entries: &str) {
    let mut command = Command::new(WRITER);
    let mut child =
        command.arg("-o").arg(file).arg("-").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(entries.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn journalctl(file: &Path, more: &[&str]) -> String {
    let done =
        Command::new("journalctl").arg("--file").arg(file).args(["--no-pager", "-q"]).args(more).output();
    String::from_utf8(done.unwrap().stdout).unwrap()
}

struct World {
    journal: tempfile::TempDir,
    data: tempfile::TempDir,
    sink: Sink<Logs>,
    harness: Harness,
}

impl World {
    fn new() -> Self {
        let (journal, data, sink) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Sink::new());
        let harness = harness(&sink, data.path());
        Self { journal, data, sink, harness }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.journal.path().join(name)
    }

    async fn update(&self, more: &str) {
        let path = self.journal.path();
        let body = format!("path = {path:?}\nforward_to = [sink]\nrelabel_rules = rules\n{more}");
        self.harness.update(&body).await.expect("good arguments");
    }

    async fn start(&self, more: &str) {
        self.update(more).await;
        self.harness.node.start();
    }

    async fn restart(&mut self, more: &str) {
        self.harness.stop().await;
        self.harness = harness(&self.sink, self.data.path());
        self.start(more).await;
    }

    /// Labels and lines up to and including a line.
    async fn until(&self, last: &str) -> Vec<(String, String)> {
        let mut got = Vec::new();
        while !got.iter().any(|(_, line)| line == last) {
            for batch in self.sink.wait(1).await {
                got.extend(batch.entries.iter().map(|e| (batch.labels(e).to_string(), e.line.to_string())));
            }
        }
        got
    }

    async fn lines_until(&self, last: &str) -> Vec<String> {
        self.until(last).await.into_iter().map(|(_, line)| line).collect()
    }

    fn positions(&self) -> PathBuf {
        self.data.path().join("loki.source.journal.test/positions.yml")
    }

    fn errors(&self, error: &str) -> u64 {
        let text = self.harness.services.metrics.text();
        let of = format!("error=\"{error}\"");
        let line =
            text.lines().find(|l| l.starts_with("loki_source_journal_target_parsing") && l.contains(&of));
        line.map_or(0, |l| l.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

fn harness(sink: &Sink<Logs>, data: &Path) -> Harness {
    let rule = |source: &str, target: &str| RelabelRule {
        source_labels: vec![source.into()],
        separator: ";".into(),
        regex: None,
        modulus: 0,
        target_label: target.into(),
        replacement: "$1".into(),
        action: RelabelAction::Replace,
    };
    let rules = RelabelRules(Arc::new(vec![
        rule("__journal__systemd_unit", "unit"),
        rule("__journal_priority_keyword", "level"),
    ]));
    let names = Names::default().with("sink", sink.value()).with("rules", rules.to_value());
    Harness::new(DEF, names, Services::for_tests(data.to_path_buf()))
}

#[tokio::test]
#[ignore = "needs systemd-journal-remote and journalctl"]
async fn entries_younger_than_max_age_are_read_and_new_ones_followed() {
    let world = World::new();
    let file = world.file("system.journal");
    let old = message(ago(3 * 3600), "too old");
    let bare = entry(ago(90), &[("PRIORITY", "3")]);
    write(&file, &format!("{old}{}{bare}{}", message(ago(100), "first"), message(ago(80), "second")));
    world.start("max_age = \"1h\"\nlabels = {env = \"prod\"}").await;
    let labels = "{env=\"prod\", job=\"loki.source.journal.test\", level=\"info\", unit=\"app.service\"}";
    let got = |line: &str| (labels.to_owned(), line.to_owned());
    assert_eq!(world.until("second").await, [got("first"), got("second")]);
    assert_eq!(world.errors("no_message"), 1);
    for i in 0..3 {
        write(&file, &message(ago(60 - i), &format!("new {i}")));
        assert_eq!(world.until(&format!("new {i}")).await, [got(&format!("new {i}"))]);
    }
    // The whole entry, and another time range, from the start of a new reader.
    world.update("max_age = \"1h\"\nformat_as_json = true").await;
    write(&file, &message(ago(50), "json"));
    let line = world.sink.wait(1).await[0].entries[0].line.to_string();
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((json["MESSAGE"].as_str(), json["_BOOT_ID"].as_str()), (Some("json"), Some(BOOT)));
}

#[tokio::test]
#[ignore = "needs systemd-journal-remote and journalctl"]
async fn matches_choose_entries_as_journalctl_does() {
    let entries: String = (0..200)
        .map(|i| {
            let (unit, uid) = (["a.service", "b.service", "c.service"][i % 3], ["0", "1"][i % 2]);
            let text = format!("m {i}");
            entry(ago(1000 - i as u64), &[("MESSAGE", &text), ("_SYSTEMD_UNIT", unit), ("_UID", uid)])
        })
        .collect();
    for matches in [
        "",
        "_UID=0",
        "_SYSTEMD_UNIT=a.service _SYSTEMD_UNIT=b.service",
        "_SYSTEMD_UNIT=a.service _SYSTEMD_UNIT=b.service _UID=1",
        "_SYSTEMD_UNIT=a.service _UID=1 + _SYSTEMD_UNIT=c.service",
        "_SYSTEMD_UNIT=none",
    ] {
        let world = World::new();
        let file = world.file("system.journal");
        write(&file, &entries);
        let terms: Vec<&str> = matches.split_whitespace().collect();
        let mut expected: Vec<String> =
            journalctl(&file, &[&["-o", "cat"], &terms[..]].concat()).lines().map(str::to_owned).collect();
        world.start(&format!("matches = {matches:?}")).await;
        // What is written later is chosen by the same terms, without the index.
        let wanted = entry(ago(1), &[("MESSAGE", "last"), ("_SYSTEMD_UNIT", "a.service"), ("_UID", "1")]);
        if matches == "_SYSTEMD_UNIT=none" {
            assert!(expected.is_empty());
            continue;
        }
        let wanted = wanted.replace("_UID=1", if matches == "_UID=0" { "_UID=0" } else { "_UID=1" });
        write(&file, &format!("{}{wanted}", entry(ago(2), &[("MESSAGE", "not"), ("_SYSTEMD_UNIT", "d")])));
        expected.extend((matches.is_empty()).then(|| "not".to_owned()));
        expected.push("last".into());
        assert_eq!(world.lines_until("last").await, expected, "{matches:?}");
    }
}

#[tokio::test]
#[ignore = "needs systemd-journal-remote and journalctl"]
async fn reading_goes_on_after_restarts_and_reloads_without_an_entry_twice_or_missing() {
    let mut world = World::new();
    let file = world.file("system.journal");
    write(&file, &message(ago(100), "a"));
    world.start("").await;
    world.until("a").await;
    for i in 0..3 {
        world.harness.stop().await;
        write(
            &file,
            &format!(
                "{}{}",
                message(ago(90 - i), &format!("x {i}")),
                message(ago(90 - i), &format!("y {i}"))
            ),
        );
        world.restart("").await;
        assert_eq!(world.lines_until(&format!("y {i}")).await, [format!("x {i}"), format!("y {i}")]);
        world.update(&format!("labels = {{i = \"{i}\"}}")).await;
        write(&file, &message(ago(80 - i), &format!("z {i}")));
        assert_eq!(world.lines_until(&format!("z {i}")).await, [format!("z {i}")]);
    }
    // What is not taken is read again.
    world.sink.answer(Err(Rejected::Retryable("full".into())));
    write(&file, &message(ago(10), "kept"));
    world.harness.stop().await;
    world.sink.answer(Ok(()));
    world.restart("").await;
    assert_eq!(world.lines_until("kept").await, ["kept"]);
}

#[tokio::test]
#[ignore = "needs systemd-journal-remote and journalctl"]
async fn rotated_files_are_read_to_their_end_and_removed_ones_are_no_trouble() {
    let mut world = World::new();
    let machine = world.file("0123456789abcdef0123456789abcdef");
    std::fs::create_dir(&machine).unwrap();
    let (file, archived) = (machine.join("system.journal"), machine.join("system@1-2-3.journal"));
    write(&file, &message(ago(100), "a"));
    world.start("").await;
    world.until("a").await;
    for round in 0..3 {
        // More entries, then rotation, then more, all before the next look may come.
        write(&file, &message(ago(90 - round * 2), &format!("before {round}")));
        let _ = std::fs::remove_file(&archived);
        std::fs::rename(&file, &archived).unwrap();
        write(&file, &message(ago(89 - round * 2), &format!("after {round}")));
        if round == 1 {
            world.restart("").await;
        }
        let got = world.lines_until(&format!("after {round}")).await;
        assert_eq!(got, [format!("before {round}"), format!("after {round}")]);
    }
    // Vacuumed.
    std::fs::remove_file(&archived).unwrap();
    write(&file, &message(ago(5), "last"));
    assert_eq!(world.lines_until("last").await, ["last"]);
    assert_eq!(world.harness.node.health().state, HealthState::Healthy);
}

#[tokio::test]
#[ignore = "needs systemd-journal-remote and journalctl"]
async fn a_machine_whose_clock_is_behind_loses_nothing() {
    let mut world = World::new();
    let (ahead, behind) = (world.file("remote-a.journal"), world.file("remote-b.journal"));
    write(&ahead, &message(ago(10), "a 0"));
    write(&behind, &message(ago(4000), "b 0"));
    world.start("").await;
    assert_eq!(world.lines_until("a 0").await, ["b 0", "a 0"]);
    for i in 1..4 {
        write(&behind, &message(ago(4000 - i), &format!("b {i}")));
        assert_eq!(world.lines_until(&format!("b {i}")).await, [format!("b {i}")]);
        world.harness.stop().await;
        write(&behind, &message(ago(3900 - i), &format!("c {i}")));
        write(&ahead, &message(ago(9 - i), &format!("a {i}")));
        world.restart("").await;
        assert_eq!(world.lines_until(&format!("a {i}")).await, [format!("c {i}"), format!("a {i}")]);
    }
}

#[tokio::test]
#[ignore = "needs systemd-journal-remote and journalctl"]
async fn files_that_are_damaged_are_passed_over_and_counted() {
    let world = World::new();
    std::fs::write(
        world.file("garbage.journal"),
        "this is no journal at all, and it is longer than a head ".repeat(9),
    )
    .unwrap();
    std::fs::write(world.file("empty.journal"), "").unwrap();
    let good = world.file("system.journal");
    write(&good, &message(ago(100), "good"));
    let bytes = std::fs::read(&good).unwrap();
    std::fs::write(world.file("cut.journal"), &bytes[..bytes.len() / 2]).unwrap();
    world.start("").await;
    assert_eq!(world.lines_until("good").await, ["good"]);
    assert_eq!(world.errors("corrupt_file"), 3);
    assert_eq!(world.harness.node.health().state, HealthState::Healthy);
    write(&good, &message(ago(90), "last"));
    assert_eq!(world.lines_until("last").await, ["last"]);
    assert_eq!(world.errors("corrupt_file"), 3, "each is counted once");
}

#[test]
#[ignore = "needs systemd-journal-remote and journalctl"]
fn a_journal_with_any_damage_is_read_without_a_panic_or_an_endless_loop() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("system.journal");
    let entries: String = (0..50).map(|i| message(ago(500 - i), &format!("m {i}"))).collect();
    write(&file, &entries);
    let whole = std::fs::read(&file).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let mut bytes = whole.clone();
        for _ in 0..random.usize(1..20) {
            // Mostly where the entries are.
            let at = if random.bool() {
                random.usize(0..bytes.len())
            } else {
                random.usize(0..bytes.len().min(300_000))
            };
            bytes[at] = random.u8(..);
        }
        std::fs::write(&file, &bytes).unwrap();
        let mut reader = Reader::new(vec![folder.path().into()], Matches::default(), 0, Place::default());
        let mut looks = 0;
        while let Ok(found) = reader.look() {
            looks += 1;
            if !found.more {
                break;
            }
            assert!(looks < 1000, "it does not end");
        }
    }
}

/// A journal of five entries, and systemd's cursor of the third and of the last.
fn five(file: &Path) -> (String, String) {
    let entries: String = (0..5).map(|i| message(ago(100 - i / 2), &format!("m {i}"))).collect();
    write(file, &entries);
    let exported = journalctl(file, &["-o", "export"]);
    let cursors: Vec<_> = exported.lines().filter_map(|l| l.strip_prefix("__CURSOR=")).collect();
    (cursors[2].to_owned(), cursors[4].to_owned())
}

#[tokio::test]
#[ignore = "needs systemd-journal-remote and journalctl"]
async fn cursors_of_alloy_are_taken_over_and_ours_are_systemds() {
    // Alloy writes it under no labels, and under these where it has taken over one of Promtail.
    for labels in ["", "{}"] {
        let world = World::new();
        let file = world.file("system.journal");
        let (third, last) = five(&file);
        std::fs::create_dir_all(world.positions().parent().unwrap()).unwrap();
        let key = "cursor-loki.source.journal.test";
        let alloys = format!("positions:\n  ? path: {key}\n    labels: '{labels}'\n  : '{third}'\n");
        std::fs::write(world.positions(), alloys).unwrap();
        world.start("").await;
        assert_eq!(world.lines_until("m 4").await, ["m 3", "m 4"]);
        world.harness.stop().await;

        let stored = positions::parse(&std::fs::read_to_string(world.positions()).unwrap());
        let key = positions::Key { path: key.into(), labels: String::new() };
        let cursor = stored.records[&key].value.clone();
        assert!(last.starts_with(&cursor), "{cursor} of {last}");
        write(&file, &message(ago(50), "for journalctl"));
        let after = journalctl(&file, &["-o", "cat", &format!("--after-cursor={cursor}")]);
        assert_eq!(after, "for journalctl\n");
    }
}

#[tokio::test]
#[ignore = "needs systemd-journal-remote and journalctl"]
async fn the_position_of_promtail_is_taken_over_while_there_is_none_of_ours() {
    let mut world = World::new();
    let file = world.file("system.journal");
    let (third, _) = five(&file);
    let old = world.data.path().join("promtail.yaml");
    std::fs::write(&old, format!("positions:\n  cursor-journal: {third}\n  /var/log/a.log: \"5\"\n"))
        .unwrap();
    let block = format!("legacy_position {{\n\tfile = {old:?}\n\tname = \"journal\"\n}}");
    world.start(&block).await;
    assert_eq!(world.lines_until("m 4").await, ["m 3", "m 4"]);
    world.restart(&block).await;
    write(&file, &message(ago(20), "last"));
    assert_eq!(world.lines_until("last").await, ["last"]);
    // One that cannot be read is no reason to send everything again.
    world.harness.stop().await;
    std::fs::remove_file(world.positions()).unwrap();
    let folder = format!("legacy_position {{\n\tfile = {:?}\n\tname = \"journal\"\n}}", world.data.path());
    world.restart(&folder).await;
    while world.harness.node.health().state != HealthState::Exited {
        tokio::task::yield_now().await;
    }
    assert!(world.harness.node.health().message.contains("legacy_position cannot be read"));
}

#[tokio::test]
#[ignore = "needs systemd-journal-remote and journalctl"]
async fn a_journal_that_is_not_there_yet_is_waited_for() {
    let world = World::new();
    world.start("").await;
    while world.harness.node.health().state != HealthState::Unhealthy {
        tokio::task::yield_now().await;
    }
    assert!(world.harness.node.health().message.contains("there is no journal in"));
    write(&world.file("system.journal"), &message(ago(1), "last"));
    assert_eq!(world.lines_until("last").await, ["last"]);
}

#[tokio::test]
async fn matches_that_are_none_are_refused() {
    let world = World::new();
    let body = "forward_to = [sink]\nmatches = \"ssh.service\"";
    world.harness.update(body).await.expect_err("no match");
}
