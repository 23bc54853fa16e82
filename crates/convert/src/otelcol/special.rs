//! The Collector's components that become several of ours, or one of another kind.

use crate::cx::{Cx, Env, Fields};
use crate::fill::{Rule, Table, To, fill_entries, rule};
use crate::out::{Block, Expr, Item, attribute};
use crate::prometheus::{self, Global};
use crate::targets;
use crate::yaml::{Kind, Node};

use super::graph::Signal;

/// The processor `resource`: statements of `otelcol.processor.transform`.
pub fn resource(cx: &mut Cx<'_>, node: &Node, signals: &[Signal]) -> Vec<Item> {
    let mut fields = Fields::of(cx, node, "the processor resource");
    let mut statements = Vec::new();
    for action in fields.list(cx, "attributes") {
        if let Some((text, span)) = statement(cx, action) {
            statements.push(cx.text(&text, span));
        }
    }
    fields.finish(cx);
    let mut items = vec![attribute("error_mode", Expr::text("propagate"))];
    for (signal, name) in [
        (Signal::Traces, "trace_statements"),
        (Signal::Metrics, "metric_statements"),
        (Signal::Logs, "log_statements"),
    ] {
        if signals.contains(&signal) {
            let inner = vec![
                attribute("context", Expr::text("resource")),
                attribute("statements", Expr::List(statements.clone())),
            ];
            items.push(Item::Block(Block::new(name, inner)));
        }
    }
    items
}

/// One action as a statement in OTTL; variables of the environment are still in it.
fn statement(cx: &mut Cx<'_>, node: &Node) -> Option<(String, syntax::Span)> {
    let mut fields = Fields::of(cx, node, "an action");
    let key = fields.text(cx, "key")?.to_string();
    let action = fields.text(cx, "action").unwrap_or_default().to_string();
    let from = fields.text(cx, "from_attribute");
    let value = fields.take("value");
    fields.finish(cx);
    let at = format!("attributes[{}]", quoted(&key));
    if action == "delete" {
        return Some((format!("delete_key(attributes, {})", quoted(&key)), node.span));
    }
    let condition = match action.as_str() {
        "insert" => format!("{at} == nil"),
        "update" => format!("{at} != nil"),
        "upsert" => String::new(),
        _ => {
            let help = "write a statement of otelcol.processor.transform for it";
            cx.error("unsupported", node.span, format!("the action {action} cannot be converted"), help);
            return None;
        }
    };
    let (value, present) = match (from, value.map(|v| &v.kind)) {
        (Some(from), _) => {
            let from = format!("attributes[{}]", quoted(from));
            (from.clone(), format!("{from} != nil"))
        }
        (None, Some(Kind::Scalar { text, plain })) => {
            let bare = *plain && (text == "true" || text == "false" || text.parse::<f64>().is_ok());
            (if bare { text.clone() } else { quoted(text) }, String::new())
        }
        _ => {
            cx.wrong(node, "the action", "one with a value or from_attribute");
            return None;
        }
    };
    let conditions: Vec<_> = [present, condition].into_iter().filter(|c| !c.is_empty()).collect();
    let condition =
        if conditions.is_empty() { String::new() } else { format!(" where {}", conditions.join(" and ")) };
    Some((format!("set({at}, {value}){condition}"), node.span))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// The receiver `prometheus`: scrapes that give to an `otelcol.receiver.prometheus`.
pub fn scrapes(cx: &mut Cx<'_>, node: &Node, label: &str, receiver: Expr) {
    let mut fields = Fields::of(cx, node, "the receiver prometheus");
    if let Some(config) = fields.take("config") {
        let mut config = Fields::of(cx, config, "config");
        let mut global = config.take("global").map(|n| Fields::of(cx, n, "global"));
        let read = global.as_mut().map(|g| Global::read(cx, g)).unwrap_or_default();
        if let Some(global) = global {
            global.finish(cx);
        }
        // What follows is read as Prometheus reads it, with the Collector's variables.
        let before = (cx.collector, cx.env);
        (cx.collector, cx.env) = (false, Env::Collector);
        for job in config.list(cx, "scrape_configs") {
            let prefix = if label == "default" { "" } else { label };
            prometheus::scrape(cx, job, prefix, std::slice::from_ref(&receiver), &read);
        }
        (cx.collector, cx.env) = before;
        config.finish(cx);
    }
    for key in [
        "use_start_time_metric",
        "start_time_metric_regex",
        "trim_metric_suffixes",
        "report_extra_scrape_metrics",
    ] {
        fields.note(cx, key, "has no effect here", "remove it");
    }
    fields.refuse(cx, "target_allocator", "use discovery components instead");
    fields.finish(cx);
}

const NO_QUEUE: &str =
    "a prometheus.remote_write has a queue of its own, which keeps what cannot be delivered";
/// What an endpoint of `prometheus.remote_write` has under another name.
pub const REMOTE_WRITE: &[Rule] = &[
    rule("endpoint", To::At("url")),
    rule("timeout", To::At("remote_timeout")),
    rule("tls", To::At("tls_config")),
    rule("tls.insecure", To::Warn("is what the url says", "remove it")),
    rule("remote_write_queue", To::Here),
    rule("remote_write_queue.enabled", To::Warn("has no effect here", NO_QUEUE)),
    rule("remote_write_queue.queue_size", To::At("queue_config/capacity")),
    rule("remote_write_queue.num_consumers", To::At("queue_config/max_shards")),
    rule("sending_queue", To::Warn("has no effect here", NO_QUEUE)),
    rule("retry_on_failure", To::Warn("has no effect here", NO_QUEUE)),
    rule("max_batch_size_bytes", To::Warn("has no effect here", NO_QUEUE)),
    rule("wal", To::Warn("has no effect here", NO_QUEUE)),
    rule("auth", To::Refuse("write basic_auth, authorization, oauth2 or sigv4 in the endpoint")),
];

/// The exporter `prometheusremotewrite`: `otelcol.exporter.prometheus` and a `prometheus.remote_write`.
pub fn remote_write(cx: &mut Cx<'_>, node: &Node, label: &str) -> Vec<Item> {
    let mut fields = Fields::of(cx, node, "the exporter prometheusremotewrite");
    let mut items = Vec::new();
    for (key, inner, name) in [
        ("resource_to_telemetry_conversion", Some("enabled"), "resource_to_telemetry_conversion"),
        ("target_info", Some("enabled"), "include_target_info"),
        ("add_metric_suffixes", None, "add_metric_suffixes"),
    ] {
        let value = fields.take(key).and_then(|n| match inner {
            Some(inner) => n.get(inner),
            None => Some(n),
        });
        items.extend(value.and_then(|n| cx.typed("bool", key, n)).map(|v| attribute(name, v)));
    }
    let labels = fields.take("external_labels").and_then(|n| cx.typed("map(string)", "external_labels", n));
    let schema = cx.schema("prometheus.remote_write");
    let table = Table {
        what: "the exporter prometheusremotewrite",
        rules: &[REMOTE_WRITE],
        inner: &[],
        flat: false,
        label,
    };
    let mut endpoint = Vec::new();
    fill_entries(cx, targets::inner(schema, "endpoint"), &fields.rest(), &table, &mut endpoint);
    let mut inner: Vec<_> = labels.map(|l| attribute("external_labels", l)).into_iter().collect();
    inner.push(Item::Block(Block::new("endpoint", endpoint)));
    let label = cx.label("prometheus.remote_write", label);
    let writer = Block::component("prometheus.remote_write", label, inner);
    items.push(attribute("forward_to", Expr::List(vec![writer.export("receiver")])));
    cx.push(writer, node.span);
    items
}
