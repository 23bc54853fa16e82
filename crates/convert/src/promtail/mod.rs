//! Promtail → `local.file_match`, `loki.source.*`, `loki.process` and `loki.write`.
//!
//! Labels are those of Alloy's converter: a job's components have the job's name, the writer is `default`. Grafana
//! Agent's `logs` are the same with a prefix.

pub mod sources;
pub mod stages;

use component::eval::BodySchema;

use crate::cx::{Cx, Fields};
use crate::fill::{Rule, Table, To, fill, rule};
use crate::http::HTTP;
use crate::out::{Block, Expr, Item, attribute};
use crate::targets;
use crate::yaml::{Key, Node};

/// What an endpoint of `loki.write` has under another name than a client.
pub const CLIENT: &[Rule] = &[
    rule("batchwait", To::At("batch_wait")),
    rule("batchsize", To::At("batch_size")),
    rule("backoff_config", To::Here),
    rule("backoff_config.min_period", To::At("min_backoff_period")),
    rule("backoff_config.max_period", To::At("max_backoff_period")),
    rule("backoff_config.max_retries", To::At("max_backoff_retries")),
    rule("timeout", To::At("remote_timeout")),
    rule("drop_rate_limited_batches", To::Not("retry_on_http_429")),
    rule(
        "stream_lag_labels",
        To::Warn("there is no such metric here", "remove it: Promtail does not use it any more either"),
    ),
];

/// The write-ahead log.
const WAL: &[Rule] = &[
    rule("dir", To::Warn("has no effect here", "queues are below --storage.path")),
    rule("watch_config", To::Here),
    rule("min_read_frequency", To::At("min_read_frequency")),
    rule("cleanSegments", To::Warn("has no effect here", "remove it")),
];

/// What holds for all jobs of a file or an instance.
pub struct Settings<'n> {
    /// In front of the labels; empty in Promtail.
    pub prefix: &'n str,
    forward: Vec<Expr>,
    positions: Expr,
    sync_period: Option<Expr>,
    watch: Option<&'n Node>,
    limits: Vec<Item>,
}

/// Converts a whole file.
pub fn convert(cx: &mut Cx<'_>, root: &Node) {
    let mut top = Fields::of(cx, root, "a Promtail configuration");
    if let Some((key, node)) = top.take_with_key("server") {
        server(cx, key, node);
    }
    let watch = global(cx, &mut top);
    instance(cx, &mut top, "", "default", None, watch);
    top.refuse(cx, "tracing", "write a tracing block: its shape differs");
    top.finish(cx);
}

/// `global.file_watch_config`
fn global<'n>(cx: &mut Cx<'_>, top: &mut Fields<'n>) -> Option<&'n Node> {
    let mut fields = Fields::of(cx, top.take("global")?, "global");
    let watch = fields.take("file_watch_config");
    fields.finish(cx);
    watch
}

/// The server of Promtail is this program's own, which flags and the block `http` set.
fn server(cx: &mut Cx<'_>, key: &Key, node: &Node) {
    let mut fields = Fields::of(cx, node, "server");
    logging(cx, &mut fields);
    if let Some((first, _)) = fields.rest().first() {
        let help = "set its address with --server.http.listen-addr, TLS in the block http";
        let message = format!(
            "{}: the server of this program is not set in its configuration ({})",
            key.text, first.text
        );
        cx.warn(key.span, message, help);
    }
}

/// `log_level` and `log_format` → the block `logging`.
pub fn logging(cx: &mut Cx<'_>, server: &mut Fields<'_>) {
    let mut items = Vec::new();
    for (name, to) in [("log_level", "level"), ("log_format", "format")] {
        if let Some(value) = server.take(name).and_then(|n| cx.typed("string", name, n)) {
            items.push(attribute(to, value));
        }
    }
    if !items.is_empty() {
        cx.push(Block::new("logging", items), server.span);
    }
}

/// What writes, what reads and what lies between: a whole Promtail, or an instance of Grafana Agent.
pub fn instance<'n>(
    cx: &mut Cx<'_>,
    top: &mut Fields<'n>,
    prefix: &'n str,
    writer: &str,
    positions: Option<Expr>,
    watch: Option<&'n Node>,
) {
    let mut clients: Vec<_> = top.take("client").into_iter().collect();
    clients.extend(top.list(cx, "clients"));
    let limits = top.take("limits_config").map(|n| stages::limits(cx, n));
    let (limits, streams) = limits.unwrap_or_default();
    let wal = top.take("wal");
    let writers = writers(cx, writer, &clients, streams, wal);
    let mut settings = Settings {
        prefix,
        forward: writers.iter().map(|w| w.export("receiver")).collect(),
        positions: positions.unwrap_or_else(|| Expr::text("/var/log/positions.yaml")),
        sync_period: None,
        watch,
        limits,
    };
    if let Some(node) = top.take("positions") {
        let mut fields = Fields::of(cx, node, "positions");
        if let Some(name) = fields.take("filename").and_then(|n| cx.typed("string", "filename", n)) {
            settings.positions = name;
        }
        for key in ["sync_period", "ignore_invalid_yaml"] {
            fields.note(
                cx,
                key,
                "positions are kept in another way here",
                "remove it: nothing has to be set",
            );
        }
        fields.finish(cx);
    }
    if let Some(node) = top.take("target_config") {
        let mut fields = Fields::of(cx, node, "target_config");
        settings.sync_period =
            fields.take("sync_period").and_then(|n| cx.typed("duration", "sync_period", n));
        if fields.text(cx, "stdin") == Some("true") {
            cx.unsupported(node.span, "reading from standard input");
        }
        fields.finish(cx);
    }
    top.note(cx, "options", "has no effect here", "remove it");
    for job in top.list(cx, "scrape_configs") {
        if settings.forward.is_empty() {
            let help = "write clients with the url of a Loki";
            cx.warn(job.span, "there is no client: what is read goes nowhere", help);
        }
        sources::job(cx, job, &settings);
    }
    for writer in writers {
        cx.push(writer, top.span);
    }
}

/// One writer for all clients with the same external labels, which belong to a writer as a whole.
fn writers(
    cx: &mut Cx<'_>,
    label: &str,
    clients: &[&Node],
    streams: Option<Expr>,
    wal: Option<&Node>,
) -> Vec<Block> {
    let schema = cx.schema("loki.write");
    let endpoint = targets::inner(schema, "endpoint");
    let mut groups: Vec<(Option<Expr>, Vec<Item>)> = Vec::new();
    for client in clients {
        if client.get("url").is_none() {
            cx.error("missing", client.span, "this client has no url", "write it, or remove the whole");
            continue;
        }
        let mut fields = Fields::of(cx, client, "a client");
        let labels =
            fields.take("external_labels").and_then(|n| cx.typed("map(string)", "external_labels", n));
        let table = Table { what: "a client", rules: &[CLIENT, HTTP], inner: &[], flat: false, label };
        let mut items = Vec::new();
        crate::fill::fill_entries(cx, endpoint, &fields.rest(), &table, &mut items);
        let block = Item::Block(Block::new("endpoint", items));
        match groups.iter_mut().find(|(have, _)| *have == labels) {
            Some((_, blocks)) => blocks.push(block),
            None => groups.push((labels, vec![block])),
        }
    }
    let mut writers = Vec::new();
    for (labels, mut items) in groups {
        items.extend(labels.map(|l| attribute("external_labels", l)));
        items.extend(streams.clone().map(|s| attribute("max_streams", s)));
        items.extend(wal.and_then(|node| write_ahead(cx, schema, node)));
        let label = cx.label("loki.write", label);
        writers.push(Block::component("loki.write", label, items));
    }
    writers
}

fn write_ahead(cx: &mut Cx<'_>, schema: &BodySchema, node: &Node) -> Option<Item> {
    let table = Table { what: "wal", rules: &[WAL], inner: &[], flat: false, label: "wal" };
    let items = fill(cx, targets::inner(schema, "wal"), node, &table);
    (!items.is_empty()).then(|| Item::Block(Block::new("wal", items)))
}
