//! `container`: lines as Docker, containerd and CRI-O write them into files.
//!
//! Lines that the runtime has split are put together again (in `recombine`), so that this is two operators in
//! one: [`Container`] takes a line apart, [`rejoin`] says how parts are joined.

use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;

use super::Transform;
use super::entry::{Entry, Failure, Field};
use super::expr::Expr;
use super::options::Options;
use super::parser::{Parser, text};
use super::recombine::{Recombine, Rules};
use super::regex_parser::groups;
use super::times::Layout;
use super::value::Value;

static CRI: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?s)(?P<time>[^ ]+) (?P<stream>stdout|stderr) (?P<logtag>[^ ]*) ?(?P<log>.*)$")
        .expect("a fixed expression")
});

static PATH: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^.*[/\\](?P<namespace>[^_/\\]+)_(?P<pod_name>[^_]+)_(?P<uid>[a-f0-9\-]+)",
        r"[/\\](?P<container_name>[^\._/\\]+)[/\\](?P<restart_count>\d+)\.log"
    ))
    .expect("a fixed expression")
});

/// Names in the resource, by the groups of [`PATH`].
const RESOURCE: [(&str, &str); 5] = [
    ("namespace", "k8s.namespace.name"),
    ("pod_name", "k8s.pod.name"),
    ("container_name", "k8s.container.name"),
    ("restart_count", "k8s.container.restart_count"),
    ("uid", "k8s.pod.uid"),
];

/// The operator.
pub struct Container {
    parser: Parser,
    format: Format,
    metadata: bool,
    time: Layout,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Any,
    Docker,
    Cri,
}

impl Container {
    /// Reads its options; the second says how parts of lines are joined.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<(Self, Recombine), String> {
        let parser = Parser::new(options)?;
        let format = match options.choice("format", &["docker", "crio", "containerd"], "")? {
            "" => Format::Any,
            "docker" => Format::Docker,
            _ => Format::Cri,
        };
        let metadata = options.flag_unless("add_metadata_from_filepath")?;
        let max_log_size = options.size("max_log_size", 0)?;
        let time = Layout::new("gotime", "2006-01-02T15:04:05Z07:00", None)?;
        Ok((Self { parser, format, metadata, time }, rejoin(max_log_size)?))
    }
}

/// Parts are joined up to the one that is marked as the last; what is not of CRI passes.
fn rejoin(max_log_size: u64) -> Result<Recombine, String> {
    Ok(Recombine::new(Rules {
        is_first: None,
        is_last: Some(Expr::parse(r#"attributes.logtag != "P""#)?),
        combine: Field::body(),
        combine_with: String::new(),
        source: Field::attribute("log.file.path"),
        also_by: Some(Field::attribute("log.iostream")),
        overwrite_with_newest: false,
        max_entries: 10_000,
        max_unmatched: 10_000,
        max_sources: 1000,
        max_size: if max_log_size == 0 { 16 << 20 } else { max_log_size as usize },
        flush_after: Duration::from_secs(5),
    }))
}

impl Transform for Container {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        let mut docker = false;
        self.parser.apply(entry, |value| {
            let text = text(value, "a container's line")?;
            docker = match self.format {
                Format::Any => text.starts_with('{'),
                format => format == Format::Docker,
            };
            if !docker {
                return groups(&CRI, text).map_err(|_| Failure::new("it is no line of a container runtime"));
            }
            let json: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)
                .map_err(|e| Failure::new(format!("it is no line of Docker: {e}")))?;
            Ok(Value::of_json(serde_json::Value::Object(json), false))
        })?;
        let time = Field::attribute("time");
        let written = entry.get(&time).ok_or_else(|| Failure::new("the line has no time"))?;
        entry.timestamp_ns = Some(self.time.read(written, entry.observed_ns).map_err(Failure::new)?);
        let log = entry.take(&Field::attribute("log")).ok_or_else(|| Failure::new("the line has no log"))?;
        if docker {
            // Docker splits long lines too: the last part has the line end.
            let log = log.text();
            let tag = if log.ends_with('\n') { "F" } else { "P" };
            entry.attributes_mut().insert("logtag".into(), tag.into());
            entry.body = Value::from(log.trim_end_matches(['\n', '\r']));
        } else {
            entry.body = log;
        }
        if let Some(stream) = entry.take(&Field::attribute("stream")) {
            entry.attributes_mut().insert("log.iostream".into(), stream);
        }
        if self.metadata { self.add_metadata(entry) } else { Ok(()) }
    }
}

impl Container {
    fn add_metadata(&self, entry: &mut Entry) -> Result<(), Failure> {
        let path = entry.get(&Field::attribute("log.file.path")).and_then(Value::as_text);
        let path = path.ok_or_else(|| {
            Failure::new("there is no attribute log.file.path: set include_file_path, or add_metadata_from_filepath = false")
        })?;
        let found =
            PATH.captures(path).ok_or_else(|| Failure::new(format!("{path:?} is no path of a pod's log")))?;
        let pairs: Vec<_> =
            RESOURCE.iter().map(|(group, name)| (name.to_string(), Value::from(&found[*group]))).collect();
        entry.resource_mut().extend(pairs);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{run_entries, shown, sorted, text_entry};
    use super::super::value::Value;

    const CONFIG: &str = r#"{type = "container", add_metadata_from_filepath = false}"#;

    fn run(config: &str, lines: &[&str]) -> String {
        let entries = lines.iter().map(|line| {
            let mut entry = text_entry(line);
            let path = "/var/log/pods/ns_web-1_49cc7c1f-d37b/nginx/3.log";
            entry.attributes_mut().insert("log.file.path".into(), path.into());
            entry
        });
        let out = run_entries(config, entries.collect());
        shown(&out).replace(r#""log.file.path":"/var/log/pods/ns_web-1_49cc7c1f-d37b/nginx/3.log","#, "")
    }

    #[test]
    fn lines_of_all_runtimes_are_taken_apart() {
        for (line, expected) in [
            (
                "2026-01-02T03:04:05.5Z stdout F some text",
                r#"{"time":"2026-01-02T03:04:05.5Z","logtag":"F","log.iostream":"stdout"} "some text" 2026-01-02T03:04:05.5Z"#,
            ),
            (
                "2026-01-02T03:04:05.5+01:00 stderr F x",
                r#"{"time":"2026-01-02T03:04:05.5+01:00","logtag":"F","log.iostream":"stderr"} "x" 2026-01-02T02:04:05.5Z"#,
            ),
            (
                r#"{"log":"docker\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}"#,
                r#"{"time":"2026-01-02T03:04:05Z","logtag":"F","log.iostream":"stdout"} "docker" 2026-01-02T03:04:05Z"#,
            ),
        ] {
            assert_eq!(run(CONFIG, &[line]), sorted(expected));
        }
    }

    #[test]
    fn parts_of_lines_are_joined_by_stream() {
        let out = run(
            CONFIG,
            &[
                "2026-01-02T03:04:05Z stdout P one ",
                "2026-01-02T03:04:05Z stderr F other",
                "2026-01-02T03:04:06Z stdout F two",
            ],
        );
        let bodies: Vec<&str> = out.lines().filter_map(|l| l.split("} ").nth(1)).collect();
        assert_eq!(bodies, ["\"other\" 2026-01-02T03:04:05Z", "\"one two\" 2026-01-02T03:04:05Z"]);
    }

    #[test]
    fn a_path_of_a_pod_says_its_resource_and_another_is_a_failure() {
        let mut entry = text_entry("2026-01-02T03:04:05Z stdout F x");
        let path = "/var/log/pods/ns_web-1_49cc7c1f-d37b/nginx/3.log";
        entry.attributes_mut().insert("log.file.path".into(), path.into());
        let out = run_entries(r#"{type = "container"}"#, vec![entry.clone()]);
        let resource = out[0].resource.as_map().unwrap();
        assert_eq!(resource["k8s.pod.name"], Value::from("web-1"));
        assert_eq!(resource["k8s.container.restart_count"], Value::from("3"));
        entry.attributes_mut().insert("log.file.path".into(), "/tmp/x.log".into());
        let out = run_entries(r#"{type = "container", on_error = "drop"}"#, vec![entry]);
        assert!(out.is_empty());
    }
}
