//! `prometheus.yml` → `prometheus.scrape`, `discovery.*`, `prometheus.relabel` and `prometheus.remote_write`.
//!
//! Labels are those of Alloy's converter: a job's components have the job's name, the writer is `default`.

use crate::cx::{Cx, Env, Fields};
use crate::fill::{Rule, Table, To, fill, fill_entries, rule};
use crate::http::HTTP;
use crate::out::{Block, Expr, Item, attribute};
use crate::targets;
use crate::value::nanoseconds;
use crate::yaml::{Key, Kind, Node};

/// What a scrape has under another name.
pub const SCRAPE: &[Rule] = &[
    rule("always_scrape_classic_histograms", To::At("scrape_classic_histograms")),
    rule("fallback_scrape_protocol", To::At("scrape_fallback_protocol")),
    rule("extra_scrape_metrics", To::At("extra_metrics")),
    rule(
        "keep_dropped_targets",
        To::Warn("has no effect here", "remove it: only a user interface of Prometheus shows them"),
    ),
];

/// What an endpoint has under another name.
pub const WRITE: &[Rule] = &[
    rule("write_relabel_configs", To::At("write_relabel_config")),
    rule("write_relabel_configs.action", To::Own(targets::action)),
    rule(
        "queue_config.max_retries",
        To::Warn("has no effect here", "remove it: samples are kept until they are delivered or too old"),
    ),
];

/// What jobs take from `global` where they do not say it themselves.
const INHERITED: &[&str] = &[
    "scrape_interval",
    "scrape_timeout",
    "scrape_protocols",
    "scrape_native_histograms",
    "always_scrape_classic_histograms",
    "convert_classic_histograms_to_nhcb",
    "extra_scrape_metrics",
    "scrape_failure_log_file",
    "metric_name_validation_scheme",
    "metric_name_escaping_scheme",
    "body_size_limit",
    "sample_limit",
    "target_limit",
    "label_limit",
    "label_name_length_limit",
    "label_value_length_limit",
    "keep_dropped_targets",
];

/// `global`.
#[derive(Default)]
pub struct Global<'n> {
    inherited: Vec<(&'n Key, &'n Node)>,
    /// `external_labels`
    pub labels: Option<&'n Node>,
}

impl<'n> Global<'n> {
    /// Takes what jobs inherit.
    pub fn read(cx: &mut Cx<'_>, fields: &mut Fields<'n>) -> Self {
        let mut global = Self::default();
        for name in INHERITED {
            global.inherited.extend(fields.take_with_key(name));
        }
        global.labels = fields.take("external_labels");
        fields.note(
            cx,
            "evaluation_interval",
            "no rules are evaluated here",
            "remove it, and evaluate rules in the back end (Mimir, Prometheus)",
        );
        fields.note(cx, "rule_query_offset", "no rules are evaluated here", "remove it");
        fields.refuse(cx, "query_log_file", "remove it: nothing is queried here");
        global
    }

    /// What jobs inherit.
    pub fn inherited(&self) -> impl Iterator<Item = (&'n Key, &'n Node)> + '_ {
        self.inherited.iter().copied()
    }
}

/// Converts a whole file.
pub fn convert(cx: &mut Cx<'_>, root: &Node) {
    let mut top = Fields::of(cx, root, "a Prometheus configuration");
    let mut global = top.take("global").map(|n| Fields::of(cx, n, "global"));
    let read = global.as_mut().map(|g| Global::read(cx, g)).unwrap_or_default();
    if let Some(global) = global {
        global.finish(cx);
    }
    let writes = top.list(cx, "remote_write");
    let writer = remote_write(cx, "default", &writes, read.labels);
    let forward: Vec<_> = writer.iter().map(|w| w.export("receiver")).collect();
    let jobs = top.list(cx, "scrape_configs");
    if forward.is_empty() && !jobs.is_empty() {
        cx.warn(
            jobs[0].span,
            "there is no remote_write: what is scraped goes nowhere",
            "add a prometheus.remote_write, and its receiver to forward_to: this program stores nothing itself",
        );
    }
    for job in jobs {
        scrape(cx, job, "", &forward, &read);
    }
    if let Some(writer) = writer {
        cx.push(writer, root.span);
    }
    top.refuse(cx, "rule_files", "evaluate rules in the back end: Mimir's ruler, or a Prometheus");
    top.refuse(cx, "alerting", "send alerts from where rules are evaluated");
    top.refuse(cx, "remote_read", "read from the back end itself");
    top.refuse(cx, "storage", "remove it: this program stores nothing but its queues");
    top.refuse(cx, "tsdb", "remove it: this program stores nothing but its queues");
    top.refuse(cx, "tracing", "write a tracing block: its shape differs");
    top.refuse(cx, "otlp", "write an otelcol.receiver.otlp with an otelcol.exporter.prometheus behind it");
    top.refuse(cx, "scrape_config_files", "convert each of them, or copy their scrape_configs here first");
    top.note(cx, "runtime", "has no effect here", "remove it");
    top.finish(cx);
}

/// One job.
pub fn scrape<'n>(cx: &mut Cx<'_>, node: &'n Node, prefix: &str, forward: &[Expr], global: &Global<'n>) {
    let mut job = Fields::of(cx, node, "a scrape configuration");
    let Some(name) = job.text(cx, "job_name") else {
        return cx.error("missing", node.span, "this scrape configuration has no job_name", "name it");
    };
    let base = if prefix.is_empty() { name.to_string() } else { format!("{prefix}_{name}") };
    let label = cx.label("prometheus.scrape", &base);
    let found = targets::targets(cx, &mut job, &label, false);
    let relabel = job.list(cx, "relabel_configs");
    let after = job.list(cx, "metric_relabel_configs");
    let mut entries = job.rest();
    let is_written = |key: &Key| node.get(&key.text).is_some();
    let timeout_is_written = node.get("scrape_timeout").is_some();
    entries.extend(global.inherited().filter(|(key, _)| !is_written(key)));
    let targets = relabelled(cx, &label, found, &relabel, &implied(&entries, name));
    let (forward, relabel) = match after.is_empty() {
        true => (forward.to_vec(), None),
        false => {
            let mut items = vec![attribute("forward_to", Expr::List(forward.to_vec()))];
            items.extend(targets::rules(cx, &after, "prometheus.relabel"));
            let label = cx.label("prometheus.relabel", &label);
            let block = Block::component("prometheus.relabel", label, items);
            (vec![block.export("receiver")], Some(block))
        }
    };
    let mut items = vec![
        attribute("targets", targets),
        attribute("forward_to", Expr::List(forward)),
        attribute("job_name", Expr::text(name)),
    ];
    shorten_timeout(cx, &mut entries, &mut items, timeout_is_written);
    let schema = cx.schema("prometheus.scrape");
    let table = Table {
        what: "a scrape configuration",
        rules: &[SCRAPE, HTTP],
        inner: &[],
        flat: false,
        label: &label,
    };
    fill_entries(cx, schema, &entries, &table, &mut items);
    cx.push(Block::component("prometheus.scrape", label, items), node.span);
    if let Some(relabel) = relabel {
        cx.push(relabel, node.span);
    }
}

/// As Prometheus: a timeout that nobody wrote for this job is not longer than its interval.
fn shorten_timeout(
    cx: &mut Cx<'_>,
    entries: &mut Vec<(&Key, &Node)>,
    items: &mut Vec<Item>,
    timeout_is_written: bool,
) {
    let value = |name: &str, default: &str| {
        let node = entries.iter().find(|(k, _)| k.text == name).and_then(|(_, n)| n.text());
        (nanoseconds(node.unwrap_or(default)), node.map(str::to_string))
    };
    let ((interval, text), (timeout, _)) = (value("scrape_interval", "1m"), value("scrape_timeout", "10s"));
    if let (Some(interval), Some(text), Some(timeout), false) = (interval, text, timeout, timeout_is_written)
        && timeout > interval
    {
        entries.retain(|(k, _)| k.text != "scrape_timeout");
        let node = entries.iter().find(|(k, _)| k.text == "scrape_interval").map(|(_, n)| *n);
        let typed = node.and_then(|n| cx.typed("duration", "scrape_timeout", n));
        items.push(attribute("scrape_timeout", typed.unwrap_or(Expr::Text(text))));
    }
}

/// Labels that Prometheus sets before a job's rules see its targets, and `prometheus.scrape` after them.
fn implied(entries: &[(&Key, &Node)], job: &str) -> Vec<(String, Expr)> {
    let text = |name: &str, default: &str| {
        let node = entries.iter().find(|(k, _)| k.text == name).and_then(|(_, n)| n.text());
        Expr::text(node.unwrap_or(default))
    };
    let mut labels = vec![
        ("job".to_string(), Expr::text(job)),
        ("__scheme__".to_string(), text("scheme", "http")),
        ("__metrics_path__".to_string(), text("metrics_path", "/metrics")),
        ("__scrape_interval__".to_string(), text("scrape_interval", "1m")),
        ("__scrape_timeout__".to_string(), text("scrape_timeout", "10s")),
    ];
    if let Some(Kind::Map(params)) = entries.iter().find(|(k, _)| k.text == "params").map(|(_, n)| &n.kind) {
        for (name, values) in params {
            let first = match &values.kind {
                Kind::List(values) => values.first().and_then(|v| v.text()),
                _ => None,
            };
            labels.extend(first.map(|v| (format!("__param_{}", name.text), Expr::text(v))));
        }
    }
    labels
}

/// The targets of a job behind its rules.
fn relabelled(
    cx: &mut Cx<'_>,
    label: &str,
    found: Vec<Expr>,
    relabel: &[&Node],
    implied: &[(String, Expr)],
) -> Expr {
    if relabel.is_empty() {
        return targets::joined(found);
    }
    let span = relabel[0].span;
    let mut items = vec![attribute("targets", targets::joined(found))];
    for (name, value) in implied.iter().filter(|(name, _)| targets::reads(relabel, name)) {
        items.push(targets::set_if_empty(name, value.clone()));
    }
    items.extend(targets::rules(cx, relabel, "discovery.relabel"));
    let label = cx.label("discovery.relabel", label);
    let block = Block::component("discovery.relabel", label, items);
    let output = block.export("output");
    cx.push(block, span);
    output
}

/// One writer with an endpoint for each `remote_write`; `None` if there is none.
pub fn remote_write(cx: &mut Cx<'_>, label: &str, writes: &[&Node], labels: Option<&Node>) -> Option<Block> {
    if writes.is_empty() {
        return None;
    }
    let label = cx.label("prometheus.remote_write", label);
    let schema = cx.schema("prometheus.remote_write");
    let endpoint = targets::inner(schema, "endpoint");
    let mut items = Vec::new();
    if let Some(labels) = labels.and_then(|node| external_labels(cx, node)) {
        items.push(attribute("external_labels", labels));
    }
    for node in writes {
        if node.get("url").is_none() {
            cx.error("missing", node.span, "this remote_write has no url", "write it, or remove the whole");
            continue;
        }
        let table =
            Table { what: "remote_write", rules: &[WRITE, HTTP], inner: &[], flat: false, label: &label };
        items.push(Item::Block(Block::new("endpoint", fill(cx, endpoint, node, &table))));
    }
    Some(Block::component("prometheus.remote_write", label, items))
}

/// Prometheus takes variables of the environment in the values of external labels, and nowhere else.
fn external_labels(cx: &mut Cx<'_>, node: &Node) -> Option<Expr> {
    let Kind::Map(entries) = &node.kind else {
        cx.wrong(node, "external_labels", "a mapping");
        return None;
    };
    let before = cx.env;
    if before == Env::No {
        cx.env = Env::Braces;
    }
    let mut labels = Vec::new();
    for (key, value) in entries {
        let text = value.text().unwrap_or_default();
        let text = if before == Env::No { braced(text) } else { text.to_string() };
        labels.push((key.text.clone(), cx.text(&text, value.span)));
    }
    cx.env = before;
    Some(Expr::Object(labels))
}

/// `$NAME` as `${NAME}`.
fn braced(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..=at]);
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            out.push('$');
            rest = behind;
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end > 0 && !rest.starts_with(|c: char| c.is_ascii_digit()) {
            out.push_str(&format!("{{{}}}", &rest[..end]));
            rest = &rest[end..];
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_without_braces_get_them() {
        assert_eq!(braced("$A-${B}$$C$1"), "${A}-${B}$$C$1");
    }
}
