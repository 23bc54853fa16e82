//! What is written where, what stays, and what happens where nothing can be written.

use std::path::Path;

use component::eval::Arguments as _;
use component::testkit::Names;
use component::{ComponentDef, Rejected};
use prost::Message as _;
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::{Otlp, OtlpRequest};

use super::args::Args;
use super::{FileExporter, files};
use crate::exporter::sending::testkit::{Running, differences, logs, message, numbers_of, refused};

const DEFINITION: ComponentDef = ComponentDef::of::<FileExporter>();

async fn start(body: &str) -> Running {
    Running::start(DEFINITION, body, Names::default()).await
}

/// The numbers of all lines of a file.
fn lines(path: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(path).expect("a file");
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    let request = |line| serde_json::from_str::<ExportLogsServiceRequest>(line).expect("OTLP JSON");
    text.lines().map(request).flat_map(numbers_of).collect()
}

#[tokio::test]
async fn a_batch_is_a_line_or_a_record_behind_its_length() {
    for (format, compression) in [("json", ""), ("proto", ""), ("json", "zstd"), ("proto", "zstd")] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out");
        let level = if compression.is_empty() { "" } else { "compression_params {\nlevel = 3\n}" };
        let running =
            start(&format!("path = {path:?}\nformat = {format:?}\ncompression = {compression:?}\n{level}"))
                .await;
        running.send(logs(&[&[1, 2], &[3]])).await.expect("written");
        running.push([4]).await;
        if (format, compression) == ("json", "") {
            assert_eq!(lines(&path), [1, 2, 3, 4]);
            assert_eq!(std::fs::read_to_string(&path).expect("text").lines().count(), 2);
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file");
        let (mut rest, mut found) = (&bytes[..], Vec::new());
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (record, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            let plain = if compression.is_empty() {
                record.to_vec()
            } else {
                zstd::decode_all(record).expect("zstd")
            };
            let request = match format {
                "json" => serde_json::from_slice(&plain).expect("JSON"),
                _ => ExportLogsServiceRequest::decode(&plain[..]).expect("protobuf"),
            };
            found.extend(numbers_of(request));
            rest = after;
        }
        assert_eq!(found, [1, 2, 3, 4], "{format} {compression}");
        assert_eq!(running.sum("otelcol_exporter_sent_log_records_total", "exporter=\"file/"), 4.0);
    }
}

#[tokio::test]
async fn a_file_is_emptied_at_the_start_only_and_only_unless_it_is_appended_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.json");
    for append in [false, true] {
        std::fs::write(&path, "{\"resourceLogs\":[]}\n").expect("written");
        let body = format!("path = {path:?}\nappend = {append}");
        let running = start(&body).await;
        running.push([1]).await;
        running.update(&format!("{body}\nflush_interval = \"5s\"")).await;
        running.push([2]).await;
        running.harness.stop().await;
        assert_eq!(lines(&path), [1, 2]);
        let count = std::fs::read_to_string(&path).expect("text").lines().count();
        assert_eq!(count, if append { 3 } else { 2 });
    }
}

#[tokio::test]
async fn a_file_that_is_full_is_put_aside_and_only_some_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.json");
    std::fs::write(folder.path().join("out-2020-01-01T00-00-00.000.json"), "").expect("written");
    std::fs::write(folder.path().join("out-other.json"), "").expect("written");
    let rotation = "rotation {\nmax_megabytes = 1\nmax_backups = 2\nmax_days = 30\n}";
    let running = start(&format!("path = {path:?}\n{rotation}")).await;
    let names = || {
        let entries = std::fs::read_dir(folder.path()).expect("a folder").flatten();
        let mut names: Vec<_> = entries.map(|e| e.file_name().into_string().expect("text")).collect();
        names.sort_unstable();
        names
    };
    // Each is a little more than half of a megabyte.
    let numbers: Vec<u64> = (0..4_200).collect();
    running.send(logs(&[&numbers])).await.expect("written");
    assert_eq!(names().len(), 3, "{:?}", names());
    running.send(logs(&[&numbers])).await.expect("written");
    let found = names();
    assert!(!found.contains(&"out-2020-01-01T00-00-00.000.json".to_owned()), "{found:?}");
    for _ in 0..4 {
        running.send(logs(&[&numbers])).await.expect("written");
    }
    let found = names();
    // Two old ones, the file, and one of another name.
    assert_eq!(found.len(), 4, "{found:?}");
    for name in found.iter().filter(|name| *name != "out-other.json") {
        assert_eq!(lines(&folder.path().join(name)).len(), 4_200, "{name}");
    }
    // A rotated file is gone on with.
    running.harness.stop().await;
    let running = start(&format!("path = {path:?}\n{rotation}")).await;
    running.push([7]).await;
    assert_eq!(lines(&path).len(), 4_201);
}

/// Records of resources with an attribute.
fn of(segments: &[(&str, u64)]) -> signal::OtlpLogs {
    let group = |(segment, number): &(&str, u64)| {
        let mut group = message(&[*number]).resource_logs.remove(0);
        let value = Some(AnyValue { value: Some(Value::StringValue((*segment).into())) });
        let attribute = KeyValue { key: "segment".into(), value, ..KeyValue::default() };
        let attributes = if segment.is_empty() { vec![] } else { vec![attribute] };
        group.resource = Some(Resource { attributes, ..Resource::default() });
        group
    };
    let resource_logs = segments.iter().map(group).collect();
    Otlp::of(OtlpRequest::from_message(ExportLogsServiceRequest { resource_logs }))
}

#[tokio::test]
async fn groups_have_files_of_their_own_however_few_may_be_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("in/*.json");
    let group_by = "group_by {\nenabled = true\nresource_attribute = \"segment\"\nmax_open_files = 2\n}";
    let running = start(&format!("path = {path:?}\n{group_by}")).await;
    running.send(of(&[("a", 1), ("b/c", 2), ("../../x", 3), ("", 4), ("a", 5)])).await.expect("written");
    running.send(of(&[("a", 6), ("b/c", 7), ("/y", 8)])).await.expect("written");
    let inside = folder.path().join("in");
    for (name, expected) in [("a", &[1, 5, 6][..]), ("b/c", &[2, 7]), ("x", &[3]), ("y", &[8])] {
        assert_eq!(lines(&inside.join(format!("{name}.json"))), expected, "{name}");
    }
    assert_eq!((running.dropped("no_path_segment"), running.sent()), (1.0, 7.0));
}

#[test]
fn a_segment_never_leads_out_of_its_folder() {
    for (segment, expected) in [
        ("a", Some("/data/a.json")),
        ("a/b", Some("/data/a/b.json")),
        ("../../etc/passwd", Some("/data/etc/passwd.json")),
        ("a/../../b", Some("/data/b.json")),
        ("./a//b/.", Some("/data/a/b.json")),
        ("/a", Some("/data/a.json")),
        ("..", None),
        ("", None),
        ("a\0b", None),
    ] {
        let found = files::place("/data/*.json", Some(segment));
        assert_eq!(found.as_deref(), expected.map(Path::new), "{segment:?}");
    }
    assert_eq!(files::place("/data/*.json", None), None);
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_for_now_and_tells_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("missing/out.json");
    let running = start(&format!("path = {path:?}")).await;
    let refused = running.send(logs(&[&[1]])).await.expect_err("no folder");
    assert!(matches!(&refused, Rejected::Retryable(m) if m.contains("out.json")), "{refused:?}");
    std::fs::create_dir(folder.path().join("missing")).expect("made");
    running.push([1]).await;
    assert_eq!(lines(&path), [1]);
}

#[test]
fn what_is_wrong_or_cannot_be_honoured_is_told() {
    for (body, expected) in [
        ("", "path"),
        ("path = \"\"", "must not be empty"),
        ("path = \"a\"\nformat = \"xml\"", "json or proto"),
        ("path = \"a\"\nencoding = \"x\"", "not supported"),
        ("path = \"a\"\ncompression = \"gzip\"", "must be zstd"),
        ("path = \"a\"\nappend = true\ncompression = \"zstd\"", "cannot be appended"),
        ("path = \"a\"\nappend = true\nrotation { }", "appended to anyway"),
        ("path = \"a\"\nflush_interval = \"0s\"", "above 0"),
        ("path = \"a\"\ncompression_params {\nlevel = 3\n}", "without compression"),
        ("path = \"a\"\ncompression = \"zstd\"\ncompression_params {\nlevel = 23\n}", "between 1 and 22"),
        ("path = \"a\"\nrotation {\nmax_megabytes = 0\n}", "at least 1"),
        ("path = \"a\"\ngroup_by {\nenabled = true\n}", "exactly one *"),
        ("path = \"*\"\ngroup_by {\nenabled = true\n}", "must not begin"),
        ("path = \"a*\"\ngroup_by {\nenabled = true\nmax_open_files = 0\n}", "at least 1"),
    ] {
        let said = refused(DEFINITION, body, Names::default());
        assert!(said.contains(expected), "{body}\n{said}");
    }
}

/// `surface.txt` holds the facts of Alloy 1.18.
#[test]
fn names_types_and_defaults_are_those_of_alloy() {
    let differences = differences(Args::schema(), include_str!("surface.txt"));
    assert!(differences.is_empty(), "{differences:#?}");
}
