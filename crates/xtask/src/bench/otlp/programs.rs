//! The programs that are measured with OTLP: how each is told to do the same work.
//!
//! All receive, put together up to 8192 items or 200 ms, and send on; with `edit` each item is given an attribute, one
//! is renamed and one taken away. What a program cannot do it is not measured with.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::generator::Protocol;
use super::payload::Coding;
use crate::bench::peers::{find, free};
use crate::bench::quiet;

/// What is to be done.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    pub folder: &'a Path,
    pub listen: SocketAddr,
    pub sink: SocketAddr,
    pub protocol: Protocol,
    /// By which protocol it goes out.
    pub out: Protocol,
    /// How it goes out.
    pub coding: Coding,
    pub edit: bool,
    pub batch: bool,
    /// Bytes that a program may use, of which a quarter is for what waits; `None` for its own defaults.
    pub cap: Option<u64>,
}

/// Starts a program at a path for a setup.
type Start = fn(&Path, &Setup<'_>) -> anyhow::Result<Child>;

/// Whether a program can do what a setup asks for.
type Able = fn(&Setup<'_>) -> bool;

/// A program.
pub struct Program {
    pub name: String,
    path: PathBuf,
    start: Start,
    able: Able,
}

impl Program {
    pub fn ours(name: &str, path: &Path) -> Self {
        Self { name: name.into(), path: path.to_path_buf(), start: alloy, able: |_| true }
    }

    pub fn start(&self, setup: &Setup<'_>) -> anyhow::Result<Child> {
        (self.start)(&self.path, setup)
    }

    /// Whether it can do the work.
    pub fn is_able(&self, setup: &Setup<'_>) -> bool {
        (self.able)(setup)
    }
}

/// Ours first, then what is on PATH.
pub fn on_this_machine(ours: &Path) -> Vec<Program> {
    let mut all = vec![Program::ours("ferroalloy", ours)];
    let others: [(&str, Start, Able); 4] = [
        ("alloy", alloy, |_| true),
        ("otelcol", otelcol, |_| true),
        // Its attributes are edited by programs in Python; it always batches, and has no cap.
        ("rotel", rotel, |setup| !setup.edit && setup.cap.is_none() && setup.batch),
        // Sends by HTTP only; what it keeps as OTLP it cannot edit.
        ("vector", vector, |setup| !setup.edit && setup.cap.is_none() && setup.out == Protocol::Http),
    ];
    for (name, start, able) in others {
        if let Some(path) = find(name) {
            all.push(Program { name: name.into(), path, start, able });
        }
    }
    all
}

/// Alloy's configuration, which is ours too.
fn alloy(path: &Path, setup: &Setup<'_>) -> anyhow::Result<Child> {
    let mut text = String::new();
    let (exporter, endpoint) = match setup.out {
        Protocol::Http => ("otelcol.exporter.otlphttp", format!("http://{}", setup.sink)),
        Protocol::Grpc => ("otelcol.exporter.otlp", setup.sink.to_string()),
    };
    let insecure = if setup.out == Protocol::Grpc { "tls {\n\t\t\tinsecure = true\n\t\t}" } else { "" };
    let queue = match setup.cap {
        None => String::new(),
        Some(cap) => format!("sizer = \"bytes\"\n\t\tqueue_size = {}", cap / 4),
    };
    let _ = write!(
        text,
        "{exporter} \"bench\" {{\n\tclient {{\n\t\tendpoint = \"{endpoint}\"\n\t\tcompression = \"{}\"\n\t\t{insecure}\n\t}}\n\t\
         sending_queue {{\n\t\t{queue}\n\t}}\n\tretry_on_failure {{\n\t\tmax_elapsed_time = \"0s\"\n\t}}\n}}\n",
        setup.coding.word()
    );
    let mut to = format!("{exporter}.bench.input");
    let output =
        |to: &str| format!("output {{\n\t\ttraces = [{to}]\n\t\tmetrics = [{to}]\n\t\tlogs = [{to}]\n\t}}");
    let mut step = |name: &str, body: &str| {
        let _ = write!(text, "{name} \"bench\" {{\n\t{body}\n\t{}\n}}\n", output(&to));
        to = format!("{name}.bench.input");
    };
    if setup.batch {
        step(
            "otelcol.processor.batch",
            "timeout = \"200ms\"\n\tsend_batch_size = 8192\n\tsend_batch_max_size = 0",
        );
    }
    if setup.edit {
        step(
            "otelcol.processor.attributes",
            "action {\n\t\tkey = \"cluster\"\n\t\tvalue = \"bench\"\n\t\taction = \"insert\"\n\t}\n\t\
             action {\n\t\tkey = \"http.request.method\"\n\t\tfrom_attribute = \"http.method\"\n\t\taction = \"insert\"\n\t}\n\t\
             action {\n\t\tkey = \"http.method\"\n\t\taction = \"delete\"\n\t}\n\t\
             action {\n\t\tkey = \"url.full\"\n\t\taction = \"delete\"\n\t}",
        );
    }
    if let Some(cap) = setup.cap {
        let body = format!(
            "check_interval = \"200ms\"\n\tlimit = \"{}MiB\"\n\tspike_limit = \"{}MiB\"",
            cap >> 20,
            cap >> 22
        );
        step("otelcol.processor.memory_limiter", &body);
    }
    let block = match setup.protocol {
        Protocol::Grpc => format!("grpc {{\n\t\tendpoint = \"{}\"\n\t}}", setup.listen),
        Protocol::Http => format!("http {{\n\t\tendpoint = \"{}\"\n\t}}", setup.listen),
    };
    let _ = write!(text, "otelcol.receiver.otlp \"bench\" {{\n\t{block}\n\t{}\n}}\n", output(&to));
    let file = setup.folder.join("config.alloy");
    std::fs::write(&file, text)?;
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

/// The OpenTelemetry Collector, any distribution.
fn otelcol(path: &Path, setup: &Setup<'_>) -> anyhow::Result<Child> {
    let protocol = if setup.protocol == Protocol::Grpc { "grpc" } else { "http" };
    let (exporter, endpoint) = match setup.out {
        Protocol::Http => ("otlphttp", format!("http://{}", setup.sink)),
        Protocol::Grpc => ("otlp", setup.sink.to_string()),
    };
    let mut text = format!(
        "receivers:\n  otlp:\n    protocols:\n      {protocol}:\n        endpoint: {}\nexporters:\n  {exporter}:\n    \
         endpoint: {endpoint}\n    compression: {}\n    tls:\n      insecure: true\n    retry_on_failure:\n      \
         max_elapsed_time: 0\n",
        setup.listen,
        setup.coding.word()
    );
    if let Some(cap) = setup.cap {
        let _ = write!(text, "    sending_queue:\n      sizer: bytes\n      queue_size: {}\n", cap / 4);
    }
    let mut steps = Vec::new();
    text.push_str("processors:\n");
    if let Some(cap) = setup.cap {
        steps.push("memory_limiter");
        let _ = write!(
            text,
            "  memory_limiter:\n    check_interval: 200ms\n    limit_mib: {}\n    spike_limit_mib: {}\n",
            cap >> 20,
            cap >> 22
        );
    }
    if setup.edit {
        steps.push("attributes");
        text.push_str(
            "  attributes:\n    actions:\n    - {key: cluster, value: bench, action: insert}\n    \
             - {key: http.request.method, from_attribute: http.method, action: insert}\n    \
             - {key: http.method, action: delete}\n    - {key: url.full, action: delete}\n",
        );
    }
    if setup.batch {
        steps.push("batch");
        text.push_str("  batch:\n    timeout: 200ms\n    send_batch_size: 8192\n");
    }
    text.push_str("service:\n  telemetry:\n    metrics:\n      level: none\n  pipelines:\n");
    for signal in ["traces", "metrics", "logs"] {
        let _ = write!(
            text,
            "    {signal}:\n      receivers: [otlp]\n      processors: [{}]\n      exporters: [{exporter}]\n",
            steps.join(", ")
        );
    }
    let file = setup.folder.join("otelcol.yaml");
    std::fs::write(&file, text)?;
    quiet(Command::new(path).arg(format!("--config=file:{}", file.display())), setup.folder)
}

fn rotel(path: &Path, setup: &Setup<'_>) -> anyhow::Result<Child> {
    let (grpc, http) = match setup.protocol {
        Protocol::Grpc => (setup.listen, free()?),
        Protocol::Http => (free()?, setup.listen),
    };
    let protocol = if setup.out == Protocol::Grpc { "grpc" } else { "http" };
    let mut command = Command::new(path);
    command
        .args(["start", "--exporter", "otlp", "--batch-max-size", "8192", "--batch-timeout", "200ms"])
        .args(["--otlp-exporter-retry-max-elapsed-time", "3600s"])
        .args(["--otlp-exporter-protocol", protocol, "--otlp-exporter-compression", setup.coding.word()])
        .arg(format!("--otlp-exporter-endpoint=http://{}", setup.sink))
        .arg(format!("--otlp-grpc-endpoint={grpc}"))
        .arg(format!("--otlp-http-endpoint={http}"));
    quiet(&mut command, setup.folder)
}

fn vector(path: &Path, setup: &Setup<'_>) -> anyhow::Result<Child> {
    let (grpc, http) = match setup.protocol {
        Protocol::Grpc => (setup.listen, free()?),
        Protocol::Http => (free()?, setup.listen),
    };
    let data = setup.folder.join("data");
    std::fs::create_dir_all(&data)?;
    let mut text = format!(
        "data_dir: {}\nsources:\n  bench:\n    type: opentelemetry\n    grpc:\n      address: {grpc}\n    http:\n      \
         address: {http}\n    use_otlp_decoding: true\nsinks:\n",
        data.display()
    );
    for signal in ["traces", "metrics", "logs"] {
        let _ = write!(
            text,
            "  {signal}:\n    type: opentelemetry\n    inputs: [bench.{signal}]\n    protocol:\n      type: http\n      \
             uri: http://{}/v1/{signal}\n      method: post\n      compression: {}\n      encoding:\n        codec: otlp\n      \
             batch:\n        timeout_secs: 0.2\n",
            setup.sink,
            setup.coding.word()
        );
    }
    let file = setup.folder.join("vector.yaml");
    std::fs::write(&file, text)?;
    quiet(Command::new(path).arg("--config").arg(file), setup.folder)
}
