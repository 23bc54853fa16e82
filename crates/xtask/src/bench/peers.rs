//! The programs that are measured: how each is told to do the same work.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::quiet;

/// Where the work comes from and goes to.
pub struct Setup<'a> {
    pub folder: &'a Path,
    pub targets: &'a [SocketAddr],
    pub sink: SocketAddr,
    pub interval: u64,
    pub relabel: bool,
}

/// How our own program is set up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    Plain,
    Version2,
    MemoryOnly,
    /// Not metrics alone: logs, OpenTelemetry and profiles too, with nothing to do.
    AllPaths,
}

/// Starts a program at a path for a setup.
type Start = fn(&Path, &Setup<'_>) -> anyhow::Result<Child>;

/// A program.
pub struct Peer {
    pub name: &'static str,
    path: PathBuf,
    start: Start,
}

impl Peer {
    /// Our own program.
    pub fn ours(name: &'static str, path: &Path, variant: Variant) -> Self {
        let start = match variant {
            Variant::Plain => |path: &Path, setup: &Setup<'_>| alloy(path, setup, Variant::Plain),
            Variant::Version2 => |path: &Path, setup: &Setup<'_>| alloy(path, setup, Variant::Version2),
            Variant::MemoryOnly => |path: &Path, setup: &Setup<'_>| alloy(path, setup, Variant::MemoryOnly),
            Variant::AllPaths => |path: &Path, setup: &Setup<'_>| alloy(path, setup, Variant::AllPaths),
        };
        Self { name, path: path.to_path_buf(), start }
    }

    pub fn start(&self, setup: &Setup<'_>) -> anyhow::Result<Child> {
        (self.start)(&self.path, setup)
    }
}

/// Ours first, then what is on PATH.
pub fn on_this_machine(ours: &Path) -> Vec<Peer> {
    let mut peers = vec![
        Peer::ours("ferroalloy", ours, Variant::Plain),
        Peer::ours("ferroalloy-memory", ours, Variant::MemoryOnly),
        Peer::ours("ferroalloy-rw2", ours, Variant::Version2),
    ];
    let others: [(&'static str, Start); 3] = [
        ("prometheus", prometheus),
        ("vmagent", vmagent),
        ("alloy", |path, setup| alloy(path, setup, Variant::Plain)),
    ];
    for (name, start) in others {
        if let Some(path) = find(name) {
            peers.push(Peer { name, path, start });
        }
    }
    peers
}

pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|p| p.is_file())
}

pub fn free() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Where the API of a program that [`alloy`] started listens.
pub fn api_address(folder: &Path) -> anyhow::Result<SocketAddr> {
    Ok(std::fs::read_to_string(folder.join("address"))?.parse()?)
}

/// Alloy's configuration, which is ours too.
fn alloy(path: &Path, setup: &Setup<'_>, variant: Variant) -> anyhow::Result<Child> {
    let mut list = String::new();
    for target in setup.targets {
        let _ = write!(list, "{{\"__address__\" = \"{target}\"}}, ");
    }
    let (before, targets) = target_relabelling(setup.relabel, &list);
    let message = if variant == Variant::Version2 {
        "protobuf_message = \"io.prometheus.write.v2.Request\""
    } else {
        ""
    };
    let wal = if variant == Variant::MemoryOnly { "wal {\n\t\tenabled = false\n\t}" } else { "" };
    let (rules, forward) = relabelling(setup.relabel);
    let others = if variant == Variant::AllPaths { other_paths(setup)? } else { String::new() };
    let config = format!(
        r#"
{before}
prometheus.scrape "bench" {{
	targets         = {targets}
	job_name        = "bench"
	forward_to      = [{forward}]
	scrape_interval = "{interval}s"
	scrape_timeout  = "{interval}s"
}}
{rules}
prometheus.remote_write "bench" {{
	{wal}

	endpoint {{
		url = "http://{sink}/api/v1/write"
		{message}
	}}
}}
{others}
"#,
        interval = setup.interval,
        sink = setup.sink,
    );
    let file = setup.folder.join("config.alloy");
    std::fs::write(&file, config)?;
    let address = free()?;
    std::fs::write(setup.folder.join("address"), address.to_string())?;
    let mut command = Command::new(path);
    command
        .arg("run")
        .arg(format!("--server.http.listen-addr={address}"))
        .arg(format!("--storage.path={}", setup.folder.join("data").display()))
        .arg("--stability.level=experimental")
        .arg("--disable-reporting")
        .arg(file);
    quiet(&mut command, setup.folder)
}

/// A file to Loki, OTLP to OTLP, a profile to Pyroscope.
fn other_paths(setup: &Setup<'_>) -> anyhow::Result<String> {
    let (folder, sink, grpc, http) = (setup.folder.display(), setup.sink, free()?, free()?);
    Ok(format!(
        r#"
local.file_match "bench" {{
	path_targets = [{{"__path__" = "{folder}/*.log"}}]
}}
loki.source.file "bench" {{
	targets    = local.file_match.bench.targets
	forward_to = [loki.process.bench.receiver]
}}
loki.process "bench" {{
	stage.json {{
		expressions = {{level = ""}}
	}}
	stage.labels {{
		values = {{level = ""}}
	}}
	forward_to = [loki.write.bench.receiver]
}}
loki.write "bench" {{
	endpoint {{
		url = "http://{sink}/loki/api/v1/push"
	}}
}}
otelcol.receiver.otlp "bench" {{
	grpc {{
		endpoint = "{grpc}"
	}}
	http {{
		endpoint = "{http}"
	}}
	output {{
		metrics = [otelcol.processor.batch.bench.input]
		logs    = [otelcol.processor.batch.bench.input]
		traces  = [otelcol.processor.batch.bench.input]
	}}
}}
otelcol.processor.batch "bench" {{
	output {{
		metrics = [otelcol.exporter.otlp.bench.input]
		logs    = [otelcol.exporter.otlp.bench.input]
		traces  = [otelcol.exporter.otlp.bench.input]
	}}
}}
otelcol.exporter.otlp "bench" {{
	client {{
		endpoint = "{sink}"
		tls {{
			insecure = true
		}}
	}}
}}
pyroscope.scrape "bench" {{
	targets    = []
	forward_to = [pyroscope.write.bench.receiver]
}}
pyroscope.write "bench" {{
	endpoint {{
		url = "http://{sink}"
	}}
}}
"#
    ))
}

/// Five rules for targets, of which four change nothing: the rules as text and what to scrape.
fn target_relabelling(on: bool, targets: &str) -> (String, String) {
    if !on {
        return (String::new(), format!("[{targets}]"));
    }
    let mut rules = format!("discovery.relabel \"bench\" {{\n\ttargets = [{targets}]\n");
    for i in 0..4 {
        let _ = write!(
            rules,
            "\trule {{\n\t\tsource_labels = [\"__address__\"]\n\t\tregex = \"never_{i}_.*\"\n\t\taction = \"drop\"\n\t}}\n"
        );
    }
    rules.push_str("\trule {\n\t\ttarget_label = \"zone\"\n\t\treplacement = \"bench\"\n\t}\n}\n");
    (rules, "discovery.relabel.bench.output".to_string())
}

/// Five rules for samples that keep everything and change one label.
fn relabelling(on: bool) -> (String, &'static str) {
    if !on {
        return (String::new(), "prometheus.remote_write.bench.receiver");
    }
    let mut rules = String::from(
        "prometheus.relabel \"bench\" {\n\tforward_to = [prometheus.remote_write.bench.receiver]\n\tmax_cache_size = 1000000\n",
    );
    for i in 0..4 {
        let _ = write!(
            rules,
            "\trule {{\n\t\tsource_labels = [\"__name__\"]\n\t\tregex = \"never_{i}_.*\"\n\t\taction = \"drop\"\n\t}}\n"
        );
    }
    rules.push_str("\trule {\n\t\ttarget_label = \"cluster\"\n\t\treplacement = \"bench\"\n\t}\n}\n");
    (rules, "prometheus.relabel.bench.receiver")
}

fn scrape_yaml(setup: &Setup<'_>) -> String {
    let mut text = format!(
        "global:\n  scrape_interval: {0}s\n  scrape_timeout: {0}s\nscrape_configs:\n- job_name: bench\n  static_configs:\n  - targets: [",
        setup.interval
    );
    for target in setup.targets {
        let _ = write!(text, "'{target}', ");
    }
    text.push_str("]\n");
    if setup.relabel {
        text.push_str("  relabel_configs:\n");
        for i in 0..4 {
            let _ =
                writeln!(text, "  - {{source_labels: [__address__], regex: 'never_{i}_.*', action: drop}}");
        }
        text.push_str("  - {target_label: zone, replacement: bench}\n");
        text.push_str("  metric_relabel_configs:\n");
        for i in 0..4 {
            let _ = writeln!(text, "  - {{source_labels: [__name__], regex: 'never_{i}_.*', action: drop}}");
        }
        text.push_str("  - {target_label: cluster, replacement: bench}\n");
    }
    text
}

/// Prometheus in agent mode.
fn prometheus(path: &Path, setup: &Setup<'_>) -> anyhow::Result<Child> {
    let config = format!("{}remote_write:\n- url: http://{}/api/v1/write\n", scrape_yaml(setup), setup.sink);
    let file = setup.folder.join("prometheus.yml");
    std::fs::write(&file, config)?;
    let mut command = Command::new(path);
    command
        .arg("--enable-feature=agent")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.agent.path={}", setup.folder.join("data").display()))
        .arg(format!("--web.listen-address={}", free()?));
    quiet(&mut command, setup.folder)
}

fn vmagent(path: &Path, setup: &Setup<'_>) -> anyhow::Result<Child> {
    let file = setup.folder.join("scrape.yml");
    std::fs::write(&file, scrape_yaml(setup))?;
    let mut command = Command::new(path);
    command
        .arg(format!("-promscrape.config={}", file.display()))
        .arg(format!("-remoteWrite.url=http://{}/api/v1/write", setup.sink))
        .arg(format!("-remoteWrite.tmpDataPath={}", setup.folder.join("data").display()))
        .arg("-remoteWrite.forcePromProto")
        .arg(format!("-httpListenAddr={}", free()?));
    quiet(&mut command, setup.folder)
}
