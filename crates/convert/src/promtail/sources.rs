//! `scrape_configs` → where log lines come from: files, and what Promtail listens to or asks.
//!
//! A job may have several sources; its targets and rules are one `discovery.relabel`, its stages one `loki.process`.

use crate::cx::{Cx, Fields, list};
use crate::fill::{Rule, Table, To, fill_entries, rule};
use crate::http::HTTP;
use crate::out::{Block, Expr, Item, attribute, block_of, has};
use crate::targets;
use crate::yaml::{Key, Node};

use super::{Settings, stages};

/// A source that is a component of its own.
pub struct Kind {
    /// Key of a job.
    pub key: &'static str,
    /// The component.
    pub component: &'static str,
    /// What differs.
    pub rules: &'static [Rule],
    /// The block that holds what the source has at its root; empty: none.
    inner: &'static str,
}

const fn kind(
    key: &'static str,
    component: &'static str,
    rules: &'static [Rule],
    inner: &'static str,
) -> Kind {
    Kind { key, component, rules, inner }
}

const JOURNAL: &[Rule] = &[rule("json", To::At("format_as_json"))];
const SYSLOG: &[Rule] = &[
    rule("listen_address", To::At("listener/address")),
    rule("listen_protocol", To::At("listener/protocol")),
    rule("tls_config.ca", To::At("ca_pem")),
    rule("tls_config.cert", To::At("cert_pem")),
    rule("tls_config.key", To::At("key_pem")),
];
const OWN_SERVER: &str = "the server of a source has no such setting here";
const SERVER: &[Rule] = &[
    rule("server", To::Here),
    rule("server.http_listen_address", To::At("http/listen_address")),
    rule("server.http_listen_port", To::At("http/listen_port")),
    rule("server.http_listen_conn_limit", To::At("http/conn_limit")),
    rule("server.http_server_read_timeout", To::At("http/server_read_timeout")),
    rule("server.http_server_write_timeout", To::At("http/server_write_timeout")),
    rule("server.http_server_idle_timeout", To::At("http/server_idle_timeout")),
    rule("server.http_tls_config", To::At("http/tls")),
    rule("server.grpc_listen_address", To::At("grpc/listen_address")),
    rule("server.grpc_listen_port", To::At("grpc/listen_port")),
    rule("server.grpc_listen_conn_limit", To::At("grpc/conn_limit")),
    rule("server.grpc_server_max_recv_msg_size", To::At("grpc/server_max_recv_msg_size")),
    rule("server.grpc_server_max_send_msg_size", To::At("grpc/server_max_send_msg_size")),
    rule("server.grpc_server_max_concurrent_streams", To::At("grpc/server_max_concurrent_streams")),
    rule("server.grpc_tls_config", To::At("grpc/tls")),
    rule("server.graceful_shutdown_timeout", To::At("graceful_shutdown_timeout")),
    rule("server.log_level", To::Warn(OWN_SERVER, "write a block logging for the whole program")),
    rule("server.log_format", To::Warn(OWN_SERVER, "write a block logging for the whole program")),
    rule("server.register_instrumentation", To::Warn(OWN_SERVER, "remove it")),
    rule("max_send_msg_size", To::At("max_send_message_size")),
];

/// All of them, as far as Promtail has them.
pub const KINDS: &[Kind] = &[
    kind("journal", "loki.source.journal", JOURNAL, ""),
    kind("syslog", "loki.source.syslog", SYSLOG, "listener"),
    kind("loki_push_api", "loki.source.api", SERVER, ""),
    kind("gelf", "loki.source.gelf", &[], ""),
    kind("heroku_drain", "loki.source.heroku", SERVER, ""),
    kind("kafka", "loki.source.kafka", &[], ""),
    kind("gcplog", "loki.source.gcplog", SERVER, ""),
    kind("azure_event_hubs", "loki.source.azure_event_hubs", &[], ""),
    kind("windows_events", "loki.source.windowsevent", &[], ""),
    kind("cloudflare", "loki.source.cloudflare", &[], ""),
];

/// What the sources of a job share.
struct Job {
    label: String,
    rules: Vec<Item>,
    process: Option<Block>,
    forward: Vec<Expr>,
    blocks: Vec<Block>,
}

/// One job.
pub fn job(cx: &mut Cx<'_>, node: &Node, settings: &Settings<'_>) {
    let mut fields = Fields::of(cx, node, "a scrape configuration");
    let name = fields.text(cx, "job_name").unwrap_or("default");
    let base = match settings.prefix {
        "" => name.to_string(),
        prefix => format!("{prefix}_{name}"),
    };
    let label = cx.label("job", &base);
    let errors = cx.errors();
    let docker = fields.take_with_key("docker_sd_configs");
    let found = targets::targets(cx, &mut fields, &label, true);
    let relabel = fields.list(cx, "relabel_configs");
    let rules = targets::rules(cx, &relabel, "discovery.relabel");
    let stages = stages::of_job(cx, &mut fields, &settings.limits);
    let (process, forward) = match stages.is_empty() {
        true => (None, settings.forward.clone()),
        false => {
            let mut items = vec![attribute("forward_to", Expr::List(settings.forward.clone()))];
            items.extend(stages);
            let label = cx.label("loki.process", &label);
            let block = Block::component("loki.process", label, items);
            let receiver = block.export("receiver");
            (Some(block), vec![receiver])
        }
    };
    let mut job = Job { label, rules, process, forward, blocks: Vec::new() };
    files(cx, &mut job, &mut fields, found, settings, node);
    for kind in KINDS {
        if let Some((key, value)) = fields.take_with_key(kind.key) {
            job.source(cx, kind, key, value);
        }
    }
    if let Some((key, value)) = docker {
        for item in list(cx, value, &key.text) {
            job.docker(cx, item);
        }
    }
    fields.note(cx, "entry_parser", "is not used any more", "remove it and use stages: docker or cri");
    fields.note(cx, "limit_config", "has no effect here", "remove it");
    fields.finish(cx);
    if job.blocks.is_empty() && cx.errors() == errors {
        let help = "write static_configs with a __path__, or remove it";
        cx.warn(node.span, format!("the job {name} has nothing that can be read"), help);
    }
    for block in job.process.into_iter().chain(job.blocks) {
        cx.push(block, node.span);
    }
}

fn files(
    cx: &mut Cx<'_>,
    job: &mut Job,
    fields: &mut Fields<'_>,
    found: Vec<Expr>,
    settings: &Settings<'_>,
    node: &Node,
) {
    let read: Vec<_> = ["encoding", "decompression"].iter().filter_map(|k| fields.take_with_key(k)).collect();
    if found.is_empty() {
        return;
    }
    let targets = match job.relabel(cx, targets::joined(found.clone()), node) {
        Some(block) => block.export("output"),
        None => targets::joined(found),
    };
    let label = cx.label("local.file_match", &job.label);
    let mut items = vec![attribute("path_targets", targets)];
    items.extend(settings.sync_period.clone().map(|p| attribute("sync_period", p)));
    let matched = Block::component("local.file_match", label, items);
    let mut items = vec![
        attribute("targets", matched.export("targets")),
        attribute("forward_to", Expr::List(job.forward.clone())),
        attribute("legacy_positions_file", settings.positions.clone()),
    ];
    let schema = cx.schema("loki.source.file");
    let table =
        Table { what: "a scrape configuration", rules: &[], inner: &[], flat: false, label: &job.label };
    fill_entries(cx, schema, &read, &table, &mut items);
    if let Some(watch) = settings.watch {
        let table =
            Table { what: "file_watch_config", rules: &[], inner: &[], flat: false, label: &job.label };
        let inner = crate::fill::fill(cx, targets::inner(schema, "file_watch"), watch, &table);
        items.push(Item::Block(Block::new("file_watch", inner)));
    }
    let label = cx.label("loki.source.file", &job.label);
    job.blocks.push(matched);
    job.blocks.push(Block::component("loki.source.file", label, items));
}

impl Job {
    /// The job's rules as a component; `None` if it has none.
    fn relabel(&mut self, cx: &mut Cx<'_>, targets: Expr, node: &Node) -> Option<Block> {
        if self.rules.is_empty() {
            return None;
        }
        let mut items = vec![attribute("targets", targets)];
        items.extend(self.rules.clone());
        let label = cx.label("discovery.relabel", &self.label);
        let block = Block::component("discovery.relabel", label, items);
        cx.push(block.clone(), node.span);
        Some(block)
    }

    /// What joins a source to the rest.
    fn joints(&mut self, cx: &mut Cx<'_>, node: &Node) -> Vec<Item> {
        let mut items = vec![attribute("forward_to", Expr::List(self.forward.clone()))];
        if let Some(rules) = self.relabel(cx, Expr::List(Vec::new()), node) {
            items.push(attribute("relabel_rules", rules.export("rules")));
        }
        items
    }

    fn source(&mut self, cx: &mut Cx<'_>, kind: &Kind, key: &Key, node: &Node) {
        if cx.component(kind.component).is_none() {
            let message = format!("{} needs {}, which this version does not have", key.text, kind.component);
            let help = "keep this job in Promtail or Alloy, or feed its lines through a file, syslog or the push API";
            return cx.error("unsupported", key.span, message, help);
        }
        let mut fields = Fields::of(cx, node, kind.key);
        let schema = cx.schema(kind.component);
        let labels = match schema.field("labels").is_none() && kind.inner.is_empty() {
            true => fields.take("labels"),
            false => None,
        };
        self.labelled(cx, labels);
        let mut items = self.joints(cx, node);
        let inner: &[_] = if kind.inner.is_empty() { &[] } else { &[("", kind.inner)] };
        let table = Table { what: kind.key, rules: &[kind.rules], inner, flat: false, label: &self.label };
        fill_entries(cx, schema, &fields.rest(), &table, &mut items);
        if kind.component == "loki.source.api" {
            // Defaults of Promtail's server.
            let http = block_of(&mut items, "http");
            if !has(http, "listen_port") {
                http.push(attribute("listen_port", Expr::raw("80")));
            }
        }
        let label = cx.label(kind.component, &self.label);
        self.blocks.push(Block::component(kind.component, label, items));
    }

    /// Labels of a source whose component has none: rules set them.
    fn labelled(&mut self, cx: &mut Cx<'_>, labels: Option<&Node>) {
        let labels = labels.and_then(|n| cx.typed("map(string)", "labels", n));
        if let Some(Expr::Object(labels)) = labels {
            let rules = labels.into_iter().map(|(name, value)| targets::set(&name, value));
            self.rules = rules.chain(std::mem::take(&mut self.rules)).collect();
        }
    }

    /// Containers: they are discovered, and their lines are asked for.
    fn docker(&mut self, cx: &mut Cx<'_>, node: &Node) {
        let discovery = targets::discovery(cx, "discovery.docker", &self.label, node);
        let found = discovery.export("targets");
        cx.push(discovery, node.span);
        let mut items = self.joints(cx, node);
        items.push(attribute("targets", found));
        // What is about the discovery alone has been read, or reported, with it.
        let schema = cx.schema("loki.source.docker");
        let client = targets::inner(schema, "http_client_config");
        let mut entries = Fields::of(cx, node, "docker_sd_configs").rest();
        entries.retain(|(key, _)| schema.field(&key.text).is_some() || client.field(&key.text).is_some());
        let inner = [("", "http_client_config")];
        let table = Table {
            what: "docker_sd_configs",
            rules: &[HTTP],
            inner: &inner,
            flat: false,
            label: &self.label,
        };
        fill_entries(cx, schema, &entries, &table, &mut items);
        let label = cx.label("loki.source.docker", &self.label);
        self.blocks.push(Block::component("loki.source.docker", label, items));
    }
}
