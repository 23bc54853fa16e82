//! The programs that are measured with logs: how each is told to do the same work.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::logs::Stages;
use super::peers::{find, free};
use super::quiet;

/// Where the work comes from and goes to.
pub struct Setup<'a> {
    pub folder: &'a Path,
    pub file: &'a Path,
    pub sink: SocketAddr,
    pub stages: Stages,
}

/// Starts a program at a path for a setup.
type Start = fn(&Path, &Setup<'_>) -> anyhow::Result<Child>;

/// A program.
pub struct Collector {
    pub name: &'static str,
    path: PathBuf,
    start: Start,
}

impl Collector {
    pub fn start(&self, setup: &Setup<'_>) -> anyhow::Result<Child> {
        (self.start)(&self.path, setup)
    }
}

/// Ours first, then what is on PATH.
pub fn on_this_machine(ours: &Path) -> Vec<Collector> {
    let start = |name, path: &Path, start: Start| Collector { name, path: path.to_path_buf(), start };
    let mut all = vec![
        start("ferroalloy", ours, |path, setup| alloy(path, setup, false)),
        start("ferroalloy-disk", ours, |path, setup| alloy(path, setup, true)),
    ];
    let others: [(&'static str, Start); 4] = [
        ("alloy", |path, setup| alloy(path, setup, false)),
        ("promtail", promtail),
        ("vector", vector),
        ("fluent-bit", fluent_bit),
    ];
    for (name, begin) in others {
        if let Some(path) = find(name) {
            all.push(start(name, &path, begin));
        }
    }
    all
}

const REGEX: &str = r"^(?P<seq>\S+) (?P<level>\S+) (?P<took>\d+) (?P<path>\S+) ";

/// The stage of Alloy's and Promtail's pipelines: the kind, and what it says in both notations.
fn stage(stages: Stages) -> Option<(&'static str, String, String)> {
    let (kind, alloy, yaml) = match stages {
        Stages::None => return None,
        Stages::Json => (
            "json",
            "expressions = {\"level\" = \"level\", \"path\" = \"path\"}".into(),
            "{expressions: {level: level, path: path}}".into(),
        ),
        Stages::Logfmt => (
            "logfmt",
            "mapping = {\"level\" = \"\", \"path\" = \"\"}".into(),
            "{mapping: {level: , path: }}".into(),
        ),
        Stages::Regex => ("regex", format!("expression = `{REGEX}`"), format!("{{expression: '{REGEX}'}}")),
    };
    Some((kind, alloy, yaml))
}

/// Alloy's configuration, which is ours too.
fn alloy(path: &Path, setup: &Setup<'_>, disk: bool) -> anyhow::Result<Child> {
    let (middle, forward) = match stage(setup.stages) {
        None => (String::new(), "loki.write.bench.receiver"),
        Some((kind, stage, _)) => (
            format!(
                r#"
loki.process "bench" {{
	stage.{kind} {{
		{stage}
	}}
	stage.labels {{
		values = {{"level" = ""}}
	}}
	forward_to = [loki.relabel.bench.receiver]
}}

loki.relabel "bench" {{
	forward_to = [loki.write.bench.receiver]
	rule {{
		source_labels = ["level"]
		regex         = "never"
		action        = "drop"
	}}
	rule {{
		source_labels = ["filename"]
		regex         = ".*/(.+)"
		target_label  = "file"
	}}
	rule {{
		target_label = "cluster"
		replacement  = "bench"
	}}
}}
"#
            ),
            "loki.process.bench.receiver",
        ),
    };
    let config = format!(
        r#"
loki.source.file "bench" {{
	targets    = [{{"__path__" = "{file}", "job" = "bench"}}]
	forward_to = [{forward}]
}}
{middle}
loki.write "bench" {{
	endpoint {{
		url = "http://{sink}/loki/api/v1/push"
	}}
	wal {{
		enabled = {disk}
	}}
}}
"#,
        file = setup.file.display(),
        sink = setup.sink,
    );
    let file = setup.folder.join("config.alloy");
    std::fs::write(&file, config)?;
    let mut command = Command::new(path);
    command
        .arg("run")
        .arg(format!("--server.http.listen-addr={}", free()?))
        .arg(format!("--storage.path={}", setup.folder.join("data").display()))
        .arg("--stability.level=experimental")
        .arg("--disable-reporting")
        .arg(file);
    quiet(&mut command, setup.folder)
}

fn promtail(path: &Path, setup: &Setup<'_>) -> anyhow::Result<Child> {
    let pipeline = match stage(setup.stages) {
        None => String::new(),
        Some((kind, _, stage)) => {
            format!("  pipeline_stages:\n  - {kind}: {stage}\n  - labels: {{level: }}\n")
        }
    };
    let relabel = match setup.stages {
        Stages::None => "",
        _ => {
            "  relabel_configs:\n  - {source_labels: [job], regex: never, action: drop}\n  - {source_labels: [__path__], regex: '.*/(.+)', target_label: file}\n  - {target_label: cluster, replacement: bench}\n"
        }
    };
    let config = format!(
        "server:\n  http_listen_address: 127.0.0.1\n  http_listen_port: {port}\n  grpc_listen_address: 127.0.0.1\n  grpc_listen_port: 0\n\
         positions:\n  filename: {positions}\nclients:\n- url: http://{sink}/loki/api/v1/push\nscrape_configs:\n- job_name: bench\n  \
         static_configs:\n  - targets: [localhost]\n    labels: {{job: bench, __path__: '{file}'}}\n{relabel}{pipeline}",
        port = free()?.port(),
        positions = setup.folder.join("positions.yaml").display(),
        sink = setup.sink,
        file = setup.file.display(),
    );
    let file = setup.folder.join("promtail.yaml");
    std::fs::write(&file, config)?;
    quiet(Command::new(path).arg(format!("-config.file={}", file.display())), setup.folder)
}

fn vector(path: &Path, setup: &Setup<'_>) -> anyhow::Result<Child> {
    let parse = match setup.stages {
        Stages::None => None,
        Stages::Json => Some("parse_json!(string!(.message))".to_owned()),
        Stages::Logfmt => Some("parse_logfmt!(string!(.message))".to_owned()),
        Stages::Regex => Some(format!("parse_regex!(string!(.message), r'{REGEX}')")),
    };
    let (transform, input, level) = match parse {
        None => (String::new(), "bench", ""),
        Some(parse) => (
            format!(
                "[transforms.stages]\ntype = \"remap\"\ninputs = [\"bench\"]\nsource = '''\n\
                 fields = {parse}\n.level = fields.level\n.cluster = \"bench\"\n'''\n"
            ),
            "stages",
            "level = \"{{ level }}\"\ncluster = \"{{ cluster }}\"\n",
        ),
    };
    let config = format!(
        "data_dir = \"{data}\"\n[sources.bench]\ntype = \"file\"\ninclude = [\"{file}\"]\nread_from = \"beginning\"\n\
         {transform}[sinks.loki]\ntype = \"loki\"\ninputs = [\"{input}\"]\nendpoint = \"http://{sink}\"\n\
         healthcheck.enabled = false\nencoding.codec = \"text\"\n[sinks.loki.labels]\njob = \"bench\"\n{level}",
        data = setup.folder.join("data").display(),
        file = setup.file.display(),
        sink = setup.sink,
    );
    std::fs::create_dir_all(setup.folder.join("data"))?;
    let file = setup.folder.join("vector.toml");
    std::fs::write(&file, config)?;
    quiet(Command::new(path).arg("--config").arg(file), setup.folder)
}

fn fluent_bit(path: &Path, setup: &Setup<'_>) -> anyhow::Result<Child> {
    let parser = match setup.stages {
        Stages::None => None,
        Stages::Json => Some("Format json".to_owned()),
        Stages::Logfmt => Some("Format logfmt".to_owned()),
        Stages::Regex => Some(format!("Format regex\n    Regex {}", REGEX.replace("?P<", "?<"))),
    };
    let parsers = setup.folder.join("parsers.conf");
    let parser_text =
        parser.as_ref().map_or_else(String::new, |p| format!("[PARSER]\n    Name bench\n    {p}\n"));
    std::fs::write(&parsers, parser_text)?;
    let (filter, labels) = match parser {
        None => ("", "job=bench"),
        Some(_) => (
            "[FILTER]\n    Name parser\n    Match *\n    Key_Name log\n    Parser bench\n    Reserve_Data on\n    Preserve_Key on\n",
            "job=bench, cluster=bench, $level",
        ),
    };
    let config = format!(
        "[SERVICE]\n    Flush 1\n    Parsers_File {parsers}\n[INPUT]\n    Name tail\n    Path {file}\n    Read_from_Head on\n    \
         Mem_Buf_Limit 50MB\n{filter}[OUTPUT]\n    Name loki\n    Match *\n    Host {host}\n    Port {port}\n    Labels {labels}\n    \
         Line_Format json\n",
        parsers = parsers.display(),
        file = setup.file.display(),
        host = setup.sink.ip(),
        port = setup.sink.port(),
    );
    let file = setup.folder.join("fluent-bit.conf");
    std::fs::write(&file, config)?;
    quiet(Command::new(path).arg("-c").arg(file), setup.folder)
}
