//! Grafana Agent in static mode: Prometheus and Promtail with instances, traces, and integrations.
//!
//! Labels are those of Alloy's converter: `metrics_<instance>_<job>`, `logs_<instance>_<job>`,
//! `integrations_<name>`.

use crate::cx::{Cx, Fields};
use crate::fill::{Rule, Table, To, fill_entries, rule};
use crate::otelcol;
use crate::out::{Block, Expr, Item, attribute, block_of};
use crate::prometheus::{self, Global};
use crate::promtail;
use crate::targets;
use crate::yaml::{Key, Node};

/// Integrations whose component has another name than theirs without `_exporter`.
pub const NAMES: &[(&str, &str)] =
    &[("agent", "self"), ("node_exporter", "unix"), ("mysqld_exporter", "mysql"), ("apache_http", "apache")];

/// What `prometheus.exporter.unix` has under another name.
pub const EXPORTER: &[Rule] = &[
    rule("filesystem_ignored_mount_points", To::At("filesystem/mount_points_exclude")),
    rule("filesystem_ignored_fs_types", To::At("filesystem/fs_types_exclude")),
    rule("diskstats_ignored_devices", To::At("disk/device_exclude")),
    rule("diskstats_device_exclude", To::At("disk/device_exclude")),
    rule("diskstats_device_include", To::At("disk/device_include")),
    rule("enable_cpu_guest_seconds_metric", To::At("cpu/guest")),
    rule("enable_cpu_info_metric", To::At("cpu/info")),
];

/// Keys of an integration that are about its scrape.
const SCRAPE: &[&str] = &["scrape_interval", "scrape_timeout"];

/// Converts a whole file.
pub fn convert(cx: &mut Cx<'_>, root: &Node) {
    let mut top = Fields::of(cx, root, "a Grafana Agent configuration");
    if let Some(node) = top.take("server") {
        server(cx, node);
    }
    let defaults = top.take("metrics").map(|node| metrics(cx, node)).unwrap_or_default();
    if let Some(node) = top.take("logs") {
        logs(cx, node);
    }
    if let Some(node) = top.take("traces") {
        let mut fields = Fields::of(cx, node, "traces");
        for instance in fields.list(cx, "configs") {
            otelcol::traces::instance(cx, instance);
        }
        fields.finish(cx);
    }
    if let Some(node) = top.take("integrations") {
        integrations(cx, node, &defaults);
    }
    for (old, new) in [("prometheus", "metrics"), ("loki", "logs"), ("tempo", "traces")] {
        top.refuse(cx, old, &format!("it is called {new} since version 0.24 of Grafana Agent: rename it"));
    }
    top.finish(cx);
}

fn server(cx: &mut Cx<'_>, node: &Node) {
    let mut fields = Fields::of(cx, node, "server");
    promtail::logging(cx, &mut fields);
    if let Some(tls) = fields.take("http_tls_config") {
        let mut inner = Fields::of(cx, tls, "http_tls_config");
        let mut items = Vec::new();
        for name in ["cert_file", "key_file", "client_ca_file", "client_auth_type"] {
            let value = inner.take(name).and_then(|n| cx.typed("string", name, n));
            items.extend(value.map(|v| attribute(name, v)));
        }
        inner.finish(cx);
        cx.push(Block::new("http", vec![Item::Block(Block::new("tls", items))]), tls.span);
    }
    for (key, _) in fields.rest() {
        let help = "set the address with --server.http.listen-addr";
        cx.warn(key.span, format!("server.{}: the server of this program is set with flags", key.text), help);
    }
}

/// What instances and integrations take from `metrics.global`.
#[derive(Default)]
struct Defaults<'n> {
    global: Global<'n>,
    writes: Vec<&'n Node>,
}

fn metrics<'n>(cx: &mut Cx<'_>, node: &'n Node) -> Defaults<'n> {
    let mut fields = Fields::of(cx, node, "metrics");
    let mut defaults = Defaults::default();
    if let Some(node) = fields.take("global") {
        let mut global = Fields::of(cx, node, "metrics.global");
        defaults.global = Global::read(cx, &mut global);
        defaults.writes = global.list(cx, "remote_write");
        global.finish(cx);
    }
    for key in [
        "wal_directory",
        "wal_cleanup_age",
        "wal_cleanup_period",
        "instance_mode",
        "max_instances_per_group",
        "instance_restart_backoff",
        "disable_keepalives",
        "idle_conn_timeout",
    ] {
        fields.note(cx, key, "has no effect here", "queues are below --storage.path");
    }
    fields.refuse(cx, "scraping_service", "run one program a host, or shard by relabelling with hashmod");
    for instance in fields.list(cx, "configs") {
        metrics_instance(cx, instance, &defaults);
    }
    fields.finish(cx);
    defaults
}

fn metrics_instance<'n>(cx: &mut Cx<'_>, node: &'n Node, defaults: &Defaults<'n>) {
    let mut fields = Fields::of(cx, node, "an instance of metrics");
    let prefix = format!("metrics_{}", fields.text(cx, "name").unwrap_or("default"));
    let mut writes = fields.list(cx, "remote_write");
    if writes.is_empty() {
        writes.clone_from(&defaults.writes);
    }
    let mut writer = prometheus::remote_write(cx, &prefix, &writes, defaults.global.labels);
    let oldest = fields.take("max_wal_time").and_then(|n| cx.typed("duration", "max_wal_time", n));
    if let (Some(value), Some(writer)) = (oldest, &mut writer) {
        block_of(&mut writer.items, "wal").push(attribute("max_keepalive_time", value));
    }
    for key in ["wal_truncate_frequency", "min_wal_time"] {
        fields.note(cx, key, "has no effect here", "remove it: what has been delivered is removed at once");
    }
    let forward: Vec<_> = writer.iter().map(|w| w.export("receiver")).collect();
    let jobs = fields.list(cx, "scrape_configs");
    if forward.is_empty() && !jobs.is_empty() {
        cx.warn(
            node.span,
            "there is no remote_write: what is scraped goes nowhere",
            "write where it is to be sent",
        );
    }
    for job in jobs {
        prometheus::scrape(cx, job, &prefix, &forward, &defaults.global);
    }
    if let Some(writer) = writer {
        cx.push(writer, node.span);
    }
    fields.refuse(cx, "host_filter", "keep targets of this host with a relabelling rule");
    fields.refuse(cx, "host_filter_relabel_configs", "keep targets of this host with a relabelling rule");
    for key in ["remote_flush_deadline", "write_stale_on_shutdown"] {
        fields.note(cx, key, "has no effect here", "remove it");
    }
    fields.finish(cx);
}

fn logs(cx: &mut Cx<'_>, node: &Node) {
    let mut fields = Fields::of(cx, node, "logs");
    let directory = fields.take("positions_directory").and_then(|n| n.text());
    let mut global = fields.take("global").map(|n| Fields::of(cx, n, "logs.global"));
    let watch = global.as_mut().and_then(|g| g.take("file_watch_config"));
    if let Some(global) = global {
        global.finish(cx);
    }
    for node in fields.list(cx, "configs") {
        let mut instance = Fields::of(cx, node, "an instance of logs");
        let name = instance.text(cx, "name").unwrap_or("default");
        let prefix = format!("logs_{name}");
        // As Grafana Agent names the file of an instance.
        let positions =
            directory.map(|d| cx.text(&format!("{}/{name}.yml", d.trim_end_matches('/')), node.span));
        promtail::instance(cx, &mut instance, &prefix, &prefix, positions, watch);
        instance.finish(cx);
    }
    fields.finish(cx);
}

fn integrations<'n>(cx: &mut Cx<'_>, node: &'n Node, defaults: &Defaults<'n>) {
    let mut fields = Fields::of(cx, node, "integrations");
    let mut writes = fields.list(cx, "prometheus_remote_write");
    if writes.is_empty() {
        writes.clone_from(&defaults.writes);
    }
    let everything = fields.text(cx, "scrape_integrations") != Some("false");
    for key in ["replace_instance_label", "integration_restart_backoff", "use_hostname_label"] {
        fields.note(cx, key, "has no effect here", "remove it; labels are set with relabelling rules");
    }
    fields.refuse(
        cx,
        "metrics",
        "write the shape that integrations have without --enable-features=integrations-next",
    );
    let off = |n: &Node| n.get("enabled").and_then(Node::text) == Some("false");
    let on: Vec<_> = fields.rest().into_iter().filter(|(_, n)| !off(n)).collect();
    if on.is_empty() {
        return;
    }
    let writer = prometheus::remote_write(cx, "integrations", &writes, defaults.global.labels);
    let forward: Vec<_> = writer.iter().map(|w| w.export("receiver")).collect();
    if forward.is_empty() {
        let help = "write integrations.prometheus_remote_write or metrics.global.remote_write";
        cx.warn(node.span, "there is no remote_write: what is scraped goes nowhere", help);
    }
    for (key, value) in on {
        integration(cx, key, value, everything, &forward, &defaults.global);
    }
    if let Some(writer) = writer {
        cx.push(writer, node.span);
    }
}

fn integration<'n>(
    cx: &mut Cx<'_>,
    key: &Key,
    node: &'n Node,
    scraped: bool,
    forward: &[Expr],
    global: &Global<'n>,
) {
    let short = key.text.trim_end_matches("_exporter");
    let name = NAMES.iter().find(|(source, _)| *source == key.text).map_or(short, |(_, name)| name);
    let component = format!("prometheus.exporter.{name}");
    let Some(definition) = cx.component(&component) else {
        let message =
            format!("the integration {} needs {component}, which this version does not have", key.text);
        let help = "run the exporter beside this program and scrape it with prometheus.scrape";
        return cx.error("unsupported", key.span, message, help);
    };
    let mut fields = Fields::of(cx, node, format!("the integration {}", key.text));
    if fields.text(cx, "enabled") != Some("true") {
        let help = "write enabled: true, or remove it";
        fields.rest();
        return cx.warn(key.span, format!("{} is not enabled and is left out", key.text), help);
    }
    let label = format!("integrations_{}", key.text);
    let scraped = fields.text(cx, "scrape_integration").map_or(scraped, |t| t == "true");
    let instance = fields.take("instance").and_then(|n| cx.typed("string", "instance", n));
    let relabel = fields.list(cx, "relabel_configs");
    let after = fields.list(cx, "metric_relabel_configs");
    let intervals: Vec<_> = SCRAPE.iter().filter_map(|name| fields.take_with_key(name)).collect();
    for name in ["wal_truncate_frequency", "extra_labels"] {
        fields.refuse(cx, name, "set it where the data are written, or with a relabelling rule");
    }
    let own = cx.label(definition.name, &label);
    let table = Table { what: &key.text, rules: &[EXPORTER], inner: &[], flat: true, label: &own };
    let mut items = Vec::new();
    fill_entries(cx, (definition.arguments)(), &fields.rest(), &table, &mut items);
    let exporter = Block::component(definition.name, own, items);
    let found = exporter.export("targets");
    cx.push(exporter, key.span);
    if scraped {
        let job = format!("integrations/{}", key.text);
        let mut items = vec![attribute("targets", found), targets::set("job", Expr::text(job.as_str()))];
        items.extend(instance.map(|value| targets::set("instance", value)));
        items.extend(targets::rules(cx, &relabel, "discovery.relabel"));
        let relabel = Block::component("discovery.relabel", cx.label("discovery.relabel", &label), items);
        let output = relabel.export("output");
        cx.push(relabel, key.span);
        scrape(cx, key, (&label, &job), output, &after, (forward, &intervals), global);
    }
}

fn scrape<'n>(
    cx: &mut Cx<'_>,
    key: &Key,
    (label, job): (&str, &str),
    targets: Expr,
    after: &[&Node],
    (forward, intervals): (&[Expr], &[(&Key, &Node)]),
    global: &Global<'n>,
) {
    let mut forward = forward.to_vec();
    let label = cx.label("prometheus.scrape", label);
    if !after.is_empty() {
        let mut items = vec![attribute("forward_to", Expr::List(forward))];
        items.extend(targets::rules(cx, after, "prometheus.relabel"));
        let block = Block::component("prometheus.relabel", cx.label("prometheus.relabel", &label), items);
        forward = vec![block.export("receiver")];
        cx.push(block, key.span);
    }
    let mut items = vec![
        attribute("targets", targets),
        attribute("forward_to", Expr::List(forward)),
        attribute("job_name", Expr::text(job)),
    ];
    let mut entries = intervals.to_vec();
    entries.extend(global.inherited().filter(|(k, _)| !intervals.iter().any(|(i, _)| i.text == k.text)));
    let schema = cx.schema("prometheus.scrape");
    let table = Table {
        what: "an integration",
        rules: &[prometheus::SCRAPE],
        inner: &[],
        flat: false,
        label: &label,
    };
    fill_entries(cx, schema, &entries, &table, &mut items);
    cx.push(Block::component("prometheus.scrape", label, items), key.span);
}
