//! The component as a whole, on real files: what records are, rotation, restarts, refusals.
//!
//! Time is paused, so that waits pass at once; what is waited for is always a record or a position.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use component::testkit::{Harness, Names, Sink, surface};
use component::{ArgValue, ComponentDef, Rejected, Services};
use signal::otlp::OtlpLogs;
use signal::otlp::proto::logs::v1::LogRecord;

use super::FileLog;
use crate::storage::file::FileStorage;

const DEF: ComponentDef = ComponentDef::of::<FileLog>();

/// A component with a folder for logs, one for its data, and a sink.
struct Rig {
    folder: tempfile::TempDir,
    storage: tempfile::TempDir,
    sink: Sink<OtlpLogs>,
    names: Names,
    harness: Option<Harness>,
    records: Vec<LogRecord>,
    resources: Vec<String>,
}

impl Rig {
    fn new() -> Self {
        let new = || tempfile::tempdir().unwrap();
        let sink = Sink::new();
        let input = component::otel::OtelInput { logs: Some(sink.receiver()), ..Default::default() };
        let names = Names::default().with("sink", input.to_value());
        let (records, resources) = (Vec::new(), Vec::new());
        Self { folder: new(), storage: new(), sink, names, harness: None, records, resources }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let mut file = std::fs::File::options().append(true).create(true).open(self.at(name)).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    fn body(&self, rest: &str) -> String {
        let include = if rest.contains("include ") {
            rest.replace("DIR", self.folder.path().to_str().unwrap())
        } else {
            format!("include = [{:?}]\n{rest}", self.at("*.log"))
        };
        format!("{include}\noutput {{\nlogs = [sink]\n}}")
    }

    async fn start(&mut self, rest: &str) {
        let services = Services::for_tests(self.storage.path());
        let harness = Harness::new(DEF, self.names.clone(), services);
        let body = self.body(rest);
        harness.update(&body).await.unwrap_or_else(|e| panic!("{body}: {e:?}"));
        harness.node.start();
        self.harness = Some(harness);
    }

    async fn stop(&mut self) {
        self.harness.take().unwrap().stop().await;
        self.collect();
    }

    fn refuse(&self) {
        self.sink.answer(Err(Rejected::Retryable("full".into())));
    }

    fn accept(&self) {
        self.sink.answer(Ok(()));
    }

    fn collect(&mut self) {
        for batch in self.sink.take() {
            for request in &batch.requests {
                for resource in request.message().unwrap().resource_logs.clone() {
                    let attributes = resource.resource.unwrap_or_default().attributes;
                    let records = resource.scope_logs.into_iter().flat_map(|s| s.log_records);
                    for record in records {
                        self.resources
                            .push(format!("{:?}", attributes.iter().map(|a| &a.key).collect::<Vec<_>>()));
                        self.records.push(record);
                    }
                }
            }
        }
    }

    fn bodies(&self) -> Vec<String> {
        self.records.iter().map(|r| crate::value::text(r.body.as_ref())).collect()
    }

    fn attribute(&self, record: usize, name: &str) -> Option<String> {
        let found = self.records[record].attributes.iter().find(|a| a.key == name)?;
        Some(crate::value::text(found.value.as_ref()))
    }

    async fn until(&mut self, count: usize) {
        for _ in 0..6000 {
            self.collect();
            if self.records.len() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("only {} of {count} records: {:?}", self.records.len(), self.bodies().last());
    }

    /// Lets the component do whatever it still would.
    async fn rest(&mut self) {
        tokio::time::sleep(Duration::from_secs(120)).await;
        self.collect();
    }

    async fn expect(&mut self, bodies: &[&str]) {
        self.until(bodies.len()).await;
        self.rest().await;
        assert_eq!(self.bodies(), bodies);
    }

    async fn expect_numbers(&mut self, numbers: std::ops::Range<usize>) {
        self.until(numbers.len()).await;
        self.rest().await;
        let expected: Vec<String> = numbers.map(|n| format!("line {n}")).collect();
        assert!(self.bodies() == expected, "{} of {}", self.records.len(), expected.len());
    }

    fn metric(&self, name: &str) -> f64 {
        let text = self.harness.as_ref().unwrap().services.metrics.text();
        let values = text.lines().filter(|l| l.starts_with(&format!("otelcol_receiver_filelog_{name}")));
        values.filter_map(|l| l.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }
}

fn numbered(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|n| format!("line {n}\n")).collect()
}

const BEGINNING: &str = "start_at = \"beginning\"\n";

#[test]
fn the_arguments_are_those_of_alloy() {
    let schema = (DEF.arguments)();
    let surface = surface(schema).join("\n");
    for line in [
        "include list(string) required",
        "poll_interval duration = \"200ms\"",
        "max_concurrent_files int = 1024",
        "max_batches int = 10",
        "start_at string = \"end\"",
        "fingerprint_size size(base2) = \"1KiB\"",
        "max_log_size size(base2) = \"1MiB\"",
        "encoding string = \"utf-8\"",
        "force_flush_period duration = \"500ms\"",
        "include_file_name bool = true",
        "operators list(map(any))",
        "storage capsule(otelcol.Handler)",
    ] {
        assert!(surface.lines().any(|l| l == line), "{line} is not in\n{surface}");
    }
}

#[tokio::test(start_paused = true)]
async fn lines_become_records_with_the_attributes_of_their_file() {
    let mut rig = Rig::new();
    rig.write("a.log", "  one \n\ntwo\r\n");
    std::os::unix::fs::symlink(rig.at("a.log"), rig.at("link")).unwrap();
    let options = format!(
        "{BEGINNING}include = [\"DIR/link\"]\ninclude_file_path = true\ninclude_file_name_resolved = true
        include_file_permissions = true\ninclude_file_owner_name = true\ninclude_file_record_number = true
        attributes = {{a = \"b\", n = \"EXPR(body + '!')\"}}\nresource = {{host = \"h\"}}"
    );
    rig.start(&options).await;
    rig.expect(&["one", "two"]).await;
    let link = rig.at("link").to_str().unwrap().to_string();
    for (name, expected) in [
        ("log.file.name", "link"),
        ("log.file.path", &*link),
        ("log.file.name_resolved", "a.log"),
        ("log.file.record_number", "3"),
        ("a", "b"),
        ("n", "two!"),
    ] {
        assert_eq!(rig.attribute(1, name).as_deref(), Some(expected), "{name}");
    }
    assert!(rig.attribute(1, "log.file.permissions").is_some_and(|p| p.starts_with('0')));
    assert!(rig.attribute(1, "log.file.owner.name").is_some());
    assert_eq!(rig.resources[0], r#"["host"]"#);
    assert!(rig.records[0].observed_time_unix_nano > 0 && rig.records[0].time_unix_nano == 0);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn records_of_several_lines_end_where_patterns_say_or_when_nothing_follows() {
    for (options, text, expected) in [
        (
            "multiline {\nline_start_pattern = \"^LOG \"\n}",
            "LOG 1\n  more\nLOG 2\nLOG 3",
            vec!["LOG 1\n  more", "LOG 2", "LOG 3"],
        ),
        (
            "multiline {\nline_end_pattern = \";\\n\"\nomit_pattern = true\n}",
            "a\nb;\nc;\nd",
            vec!["a\nb", "c", "d"],
        ),
        ("max_log_size = \"8B\"", "0123456789abcdef01\nx\n", vec!["01234567", "89abcdef", "01", "x"]),
        ("preserve_leading_whitespaces = true", "  a \n b\n", vec!["  a", " b"]),
        ("preserve_trailing_whitespaces = true", "  a \n b\n", vec!["a ", "b"]),
        ("encoding = \"latin1\"", "a\u{e4}", vec!["aÃ¤"]),
        ("force_flush_period = \"0s\"", "one\nhalf", vec!["one"]),
    ] {
        let mut rig = Rig::new();
        rig.write("a.log", text);
        rig.start(&format!("{BEGINNING}{options}")).await;
        eprintln!("{options}");
        rig.expect(&expected).await;
        rig.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_line_is_waited_for_and_a_half_character_longer() {
    let mut rig = Rig::new();
    rig.write("a.log", b"whole\nhalf \xC3");
    rig.start(BEGINNING).await;
    rig.until(1).await;
    rig.rest().await;
    assert_eq!(rig.bodies(), ["whole"], "a character is never cut");
    rig.write("a.log", b"\xA4");
    rig.until(2).await;
    rig.write("a.log", " rest\nnext\n");
    rig.expect(&["whole", "half ä", "rest", "next"]).await;
    rig.stop().await;
    rig.start(BEGINNING).await;
    rig.expect(&["whole", "half ä", "rest", "next"]).await;
}

#[tokio::test(start_paused = true)]
async fn holes_long_lines_and_what_is_no_text_lose_nothing_and_are_counted() {
    let mut rig = Rig::new();
    let long = "x".repeat(300_000);
    let mut text = vec![0; 1000];
    text.extend_from_slice(format!("one\n{long}\n").as_bytes());
    text.extend_from_slice(b"bad \xFF\xFE end\n");
    text.extend(vec![0; 5000]);
    text.extend_from_slice(b"last\n");
    rig.write("a.log", text);
    rig.start(&format!("{BEGINNING}max_log_size = \"128KiB\"")).await;
    rig.until(6).await;
    rig.rest().await;
    let bodies = rig.bodies();
    assert_eq!((bodies[0].as_str(), bodies[1..4].concat()), ("one", long));
    assert_eq!(bodies[4..], ["bad \u{FFFD}\u{FFFD} end", "last"]);
    assert_eq!(rig.metric("cut_lines_total"), 2.0);
    assert_eq!(rig.metric("encoding_failures_total"), 1.0);
    assert!(rig.metric("skipped_nul_bytes_total") >= 5900.0);
    rig.stop().await;
    let mut rig = Rig::new();
    rig.write("a.log", b"\xFF\0\x80\n");
    rig.start(&format!("{BEGINNING}encoding = \"nop\"")).await;
    rig.until(1).await;
    use signal::otlp::proto::common::v1::any_value::Value;
    let body = rig.records[0].body.clone().unwrap().value;
    assert_eq!(body, Some(Value::BytesValue(vec![0xFF, 0, 0x80])));
}

#[tokio::test(start_paused = true)]
async fn files_begin_where_they_are_to_and_new_ones_at_their_start() {
    let mut rig = Rig::new();
    rig.write("a.log", "old\n");
    rig.start("").await;
    rig.rest().await;
    rig.write("a.log", "new\n");
    rig.until(1).await;
    rig.write("b.log", "b1\n");
    rig.until(2).await;
    rig.rest().await;
    rig.stop().await;
    rig.write("a.log", "while down\n");
    rig.write("c.log", "c1\n");
    rig.start("").await;
    rig.until(4).await;
    let mut bodies = rig.bodies();
    bodies.sort();
    assert_eq!(bodies, ["b1", "c1", "new", "while down"]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_refuses_stops_the_reading_and_nothing_is_lost_over_restarts_and_rotation() {
    let mut rig = Rig::new();
    rig.write("a.log", numbered(0..1000));
    rig.refuse();
    rig.start(BEGINNING).await;
    rig.rest().await;
    assert!(rig.records.is_empty());
    rig.stop().await;
    std::fs::rename(rig.at("a.log"), rig.at("a.log.1")).unwrap();
    rig.write("a.log", numbered(1000..1500));
    rig.start(BEGINNING).await;
    rig.rest().await;
    assert!(rig.records.is_empty());
    rig.accept();
    // Nothing of the file had been taken when it was renamed to what no pattern finds: it is known all the same.
    rig.expect_numbers(0..1500).await;
    for round in 0..20 {
        let from = 1500 + round * 100;
        rig.refuse();
        rig.write("a.log", numbered(from..from + 50));
        std::fs::rename(rig.at("a.log"), rig.at(&format!("a.log.2026010{}-{round:06}", round % 9))).unwrap();
        rig.write("a.log", numbered(from + 50..from + 100));
        if round % 3 == 0 {
            rig.stop().await;
            rig.start(BEGINNING).await;
        }
        rig.accept();
    }
    let already = rig.records.len();
    rig.until(already.max(2500)).await;
    rig.rest().await;
    let mut bodies: Vec<usize> = rig.bodies().iter().map(|b| b[5..].parse().unwrap()).collect();
    bodies.sort_unstable();
    bodies.dedup();
    let missing: Vec<usize> = (0..3500).filter(|n| bodies.binary_search(n).is_err()).collect();
    assert!(missing.is_empty(), "missing {} from {:?}", missing.len(), missing.first());
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_or_given_up_is_counted() {
    let mut rig = Rig::new();
    rig.sink.answer(Err(Rejected::Permanent("bad".into())));
    rig.write("a.log", "one\ntwo\n");
    rig.start(&format!("{BEGINNING}retry_on_failure {{\nenabled = true\nmax_elapsed_time = \"10s\"\n}}"))
        .await;
    rig.rest().await;
    assert_eq!(rig.metric("dropped_records_total{component_id=\"otelcol.receiver.filelog.test\""), 2.0);
    rig.refuse();
    rig.write("a.log", "three\n");
    rig.rest().await;
    assert_eq!(rig.metric("dropped_records_total"), 3.0);
    rig.accept();
    rig.write("a.log", "four\n");
    rig.expect(&["four"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_position_waits_for_what_operators_hold_and_it_is_read_again_after_a_kill() {
    let operators = "operators = [{type = \"recombine\", combine_field = \"body\",
        is_first_entry = \"not (body startsWith '+')\", force_flush_period = \"1h\"}]";
    let mut rig = Rig::new();
    rig.write("a.log", "one\n+ a\ntwo\n+ b\n");
    rig.start(&format!("{BEGINNING}{operators}")).await;
    rig.until(1).await;
    rig.rest().await;
    assert_eq!(rig.bodies(), ["one\n+ a"]);
    // As SIGKILL: nothing is finished.
    let positions = rig.storage.path().join("otelcol.receiver.filelog.test/positions.yml");
    let stored = std::fs::read(&positions).ok();
    rig.stop().await;
    assert_eq!(rig.bodies(), ["one\n+ a", "two\n+ b"], "an end lets go of it");
    match stored {
        Some(stored) => std::fs::write(&positions, stored).unwrap(),
        None => std::fs::remove_file(&positions).unwrap(),
    }
    rig.records.clear();
    rig.start(&format!("{BEGINNING}{operators}")).await;
    rig.rest().await;
    rig.stop().await;
    assert!(rig.bodies().contains(&"two\n+ b".to_string()), "{:?}", rig.bodies());
    rig.records.clear();
    rig.start(&format!("{BEGINNING}{operators}")).await;
    rig.rest().await;
    rig.stop().await;
    assert!(rig.bodies().is_empty(), "{:?}", rig.bodies());
}

#[tokio::test(start_paused = true)]
async fn new_arguments_take_over_without_a_gap_and_what_was_held_goes_on() {
    let mut rig = Rig::new();
    let recombine =
        "operators = [{type = \"recombine\", combine_field = \"body\", is_first_entry = \"false\",
        max_unmatched_batch_size = 0, force_flush_period = \"1h\"}]";
    rig.write("a.log", "a\nb\n");
    rig.start(&format!("{BEGINNING}{recombine}")).await;
    rig.rest().await;
    assert!(rig.records.is_empty());
    let body = rig
        .body(&format!("{BEGINNING}operators = [{{type = \"add\", field = \"attributes.x\", value = 1}}]"));
    rig.harness.as_ref().unwrap().update(&body).await.unwrap();
    rig.write("a.log", "c\n");
    rig.expect(&["a\nb", "c"]).await;
    assert_eq!(rig.attribute(1, "x").as_deref(), Some("1"));
    let none = rig.body(&format!("{BEGINNING}debug_metrics {{\nlevel = \"none\"\n}}"));
    rig.harness.as_ref().unwrap().update(&none).await.unwrap();
    rig.write("a.log", "d\n");
    rig.expect(&["a\nb", "c", "d"]).await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn compressed_files_are_read_and_one_that_was_read_before_it_was_compressed_is_not() {
    let mut rig = Rig::new();
    let pack = |text: &str| tail::handle::pack(tail::Codec::Gzip, text.as_bytes());
    rig.write("old.log.gz", pack(&numbered(0..100)));
    let options = format!("{BEGINNING}include = [\"DIR/*.log*\"]\ncompression = \"auto\"");
    rig.start(&options).await;
    rig.until(100).await;
    rig.write("app.log", numbered(100..200));
    rig.until(200).await;
    rig.rest().await;
    rig.stop().await;
    let bytes = std::fs::read(rig.at("app.log")).unwrap();
    rig.write("app.log.1.gz", tail::handle::pack(tail::Codec::Gzip, &bytes));
    std::fs::remove_file(rig.at("app.log")).unwrap();
    rig.write("app.log", numbered(200..300));
    rig.start(&options).await;
    rig.expect_numbers(0..300).await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn files_are_removed_when_everything_of_them_was_taken() {
    let mut rig = Rig::new();
    rig.write("a.log", "one\ntwo without an end");
    rig.refuse();
    rig.start(&format!("{BEGINNING}delete_after_read = true")).await;
    rig.rest().await;
    assert!(rig.at("a.log").exists(), "nobody has it yet");
    rig.accept();
    rig.expect(&["one", "two without an end"]).await;
    assert!(!rig.at("a.log").exists());
    rig.write("a.log", "three\n");
    rig.expect(&["one", "two without an end", "three"]).await;
    assert!(!rig.at("a.log").exists());
}

#[tokio::test(start_paused = true)]
async fn headers_say_something_about_all_records_of_a_file() {
    let mut rig = Rig::new();
    rig.write("a.log", "#env=prod\n#host=h1\none\n#not a header any more\n");
    let header = "header {\npattern = \"^#\"\nmetadata_operators = [{type = \"key_value_parser\",
        if = \"body contains '='\"}]\n}";
    rig.start(&format!("{BEGINNING}{header}")).await;
    rig.expect(&["one", "#not a header any more"]).await;
    assert_eq!(rig.attribute(1, "#env").as_deref(), Some("prod"));
    rig.stop().await;
    rig.write("a.log", "two\n");
    rig.start(&format!("{BEGINNING}{header}")).await;
    rig.expect(&["one", "#not a header any more", "two"]).await;
    assert_eq!(rig.attribute(2, "#host").as_deref(), Some("h1"), "read again after a restart");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_somebody_has_locked_is_left_alone() {
    use std::os::fd::AsFd;
    let mut rig = Rig::new();
    rig.write("a.log", "one\n");
    let file = std::fs::File::open(rig.at("a.log")).unwrap();
    file.lock().unwrap();
    rig.start(&format!("{BEGINNING}acquire_fs_lock = true\nfile_cache_advise = true")).await;
    rig.rest().await;
    assert!(rig.records.is_empty());
    let _ = file.as_fd();
    file.unlock().unwrap();
    rig.expect(&["one"]).await;
}

#[tokio::test(start_paused = true)]
async fn positions_may_be_in_a_storage() {
    let mut rig = Rig::new();
    let folder = tempfile::tempdir().unwrap();
    let services = Services::for_tests(rig.storage.path());
    let storage = Harness::new(ComponentDef::of::<FileStorage>(), Names::default(), services);
    storage.update(&format!("directory = {:?}", folder.path())).await.unwrap();
    rig.names = rig.names.clone().with("store", storage.node.exports());
    rig.write("a.log", "one\n");
    let options = format!("{BEGINNING}storage = store.handler");
    rig.start(&options).await;
    rig.until(1).await;
    rig.rest().await;
    rig.stop().await;
    assert!(!rig.storage.path().join("otelcol.receiver.filelog.test/positions.yml").exists());
    let found = walk(folder.path());
    assert!(found.iter().any(|p| p.ends_with("positions.yml")), "{found:?}");
    rig.write("a.log", "two\n");
    rig.start(&options).await;
    rig.expect(&["one", "two"]).await;
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() { out.extend(walk(&entry.path())) } else { out.push(entry.path()) }
    }
    out
}

#[tokio::test(start_paused = true)]
async fn only_what_is_asked_for_is_read() {
    let mut rig = Rig::new();
    for name in ["a.log", "b.log", "skip.log"] {
        rig.write(name, format!("{name}\n"));
    }
    let old =
        std::fs::FileTimes::new().set_modified(std::time::SystemTime::now() - Duration::from_secs(7200));
    std::fs::File::options().write(true).open(rig.at("b.log")).unwrap().set_times(old).unwrap();
    let options = format!(
        "{BEGINNING}include = [\"DIR/*.log\"]\nexclude = [\"DIR/sk*\"]\nexclude_older_than = \"1h\"
        poll_interval = \"1s\""
    )
    .replace("DIR", rig.folder.path().to_str().unwrap());
    rig.start(&options).await;
    rig.expect(&["a.log"]).await;
    rig.write("b.log", "now\n");
    rig.expect(&["a.log", "b.log", "now"]).await;
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_refused() {
    let rig = Rig::new();
    for (rest, says) in [
        ("include = []", "include"),
        ("include = [\"/a/[\"]", "unclosed"),
        ("exclude = [\"[\"]", "unclosed"),
        ("start_at = \"middle\"", "start_at"),
        ("compression = \"zip\"", "compression"),
        ("encoding = \"klingon\"", "encoding"),
        ("fingerprint_size = \"1B\"", "fingerprint_size"),
        ("delete_after_read = true", "delete_after_read"),
        ("header {\npattern = \"x\"\nmetadata_operators = []\n}", "header"),
        ("multiline {\nline_start_pattern = \"(\"\n}", "regular expression"),
        ("multiline {\nline_start_pattern = \"a\"\nline_end_pattern = \"b\"\n}", "only one"),
        ("encoding = \"utf-16le\"\nmultiline {\nline_end_pattern = \"b\"\n}", "recombine"),
        ("operators = [{type = \"grok\"}]", "grok"),
        ("attributes = {a = \"EXPR(\"}", "EXPR"),
        ("ordering_criteria {\nsort_by {\nsort_type = \"numeric\"\nregex_key = \"n\"\n}\n}", "regex"),
        ("max_concurrent_files = 0", "max_concurrent_files"),
    ] {
        let services = Services::for_tests(rig.storage.path());
        let harness = Harness::new(DEF, rig.names.clone(), services);
        let refused = harness.update(&rig.body(rest)).await.map(|_| ()).unwrap_err();
        let text = format!("{refused:?}");
        assert!(text.contains(says), "{rest}: {text}");
    }
}
