//! `traces` of Grafana Agent: a small Collector with one way through it.
//!
//! receivers → attributes → tail_sampling → batch → one exporter for each `remote_write`.

use crate::cx::{Cx, Fields};
use crate::fill::{Rule, Table, To, fill_entries, rule};
use crate::out::{Block, Expr, Item, attribute};
use crate::yaml::{Key, Kind, Node};

use super::kinds::COMMON;
use super::{body, known};

/// What an exporter has under another name than a `remote_write`.
pub const REMOTE_WRITE: &[Rule] = &[
    rule("insecure", To::At("client/tls/insecure")),
    rule("insecure_skip_verify", To::At("client/tls/insecure_skip_verify")),
    rule("tls_config", To::At("client/tls")),
    rule("basic_auth", To::Own(basic)),
    rule("oauth2", To::Own(oauth2)),
    rule("format", To::Warn("OTLP is the one format", "remove it")),
];

/// An instance. What cannot be converted is refused by name.
pub fn instance(cx: &mut Cx<'_>, node: &Node) {
    let before = std::mem::replace(&mut cx.collector, true);
    let mut fields = Fields::of(cx, node, "an instance of traces");
    let name = format!("traces_{}", fields.text(cx, "name").unwrap_or("default"));
    let mut next = Vec::new();
    for write in fields.list(cx, "remote_write") {
        next.extend(exporter(cx, write, &name));
    }
    if next.is_empty() {
        cx.warn(node.span, "there is no remote_write: spans go nowhere", "write where they are to be sent");
    }
    // Made from the end, so that each knows who comes after it.
    for key in ["batch", "tail_sampling", "attributes"] {
        if let Some((key, value)) = fields.take_with_key(key)
            && let Some(known) = known(cx, "processor", &key.text, key.span)
        {
            let label = cx.label(known.component, &name);
            let mut items = body(cx, known, value, &label);
            next = vec![joined(cx, known.component, label, &mut items, next, key)];
        }
    }
    if let Some(Node { kind: Kind::Map(entries), .. }) = fields.take("receivers") {
        for (key, value) in entries {
            let Some(known) = known(cx, "receiver", &key.text, key.span) else { continue };
            let label = cx.label(known.component, &name);
            let mut items = body(cx, known, value, &label);
            joined(cx, known.component, label, &mut items, next.clone(), key);
        }
    }
    for key in [
        "spanmetrics",
        "service_graphs",
        "automatic_logging",
        "load_balancing",
        "scrape_configs",
        "push_config",
        "jaeger_remote_sampling",
    ] {
        let help = "write it by hand: otelcol.connector.spanmetrics, servicegraph, spanlogs, otelcol.exporter.loadbalancing";
        fields.refuse(cx, key, help);
    }
    fields.finish(cx);
    cx.collector = before;
}

fn joined(
    cx: &mut Cx<'_>,
    component: &'static str,
    label: String,
    items: &mut Vec<Item>,
    next: Vec<Expr>,
    key: &Key,
) -> Expr {
    let output = Block::new("output", vec![attribute("traces", Expr::List(next))]);
    items.push(Item::Block(output));
    let block = Block::component(component, label, std::mem::take(items));
    let input = block.export("input");
    cx.push(block, key.span);
    input
}

fn exporter(cx: &mut Cx<'_>, node: &Node, name: &str) -> Option<Expr> {
    let mut fields = Fields::of(cx, node, "remote_write");
    let component = match fields.text(cx, "protocol") {
        None | Some("grpc") => "otelcol.exporter.otlp",
        Some("http") => "otelcol.exporter.otlphttp",
        Some(other) => {
            cx.error("wrong_value", node.span, format!("{other} is no protocol"), "write grpc or http");
            return None;
        }
    };
    let label = cx.label(component, name);
    let schema = cx.schema(component);
    let inner = [("", "client")];
    let table = Table {
        what: "remote_write",
        rules: &[REMOTE_WRITE, COMMON],
        inner: &inner,
        flat: false,
        label: &label,
    };
    let mut items = Vec::new();
    fill_entries(cx, schema, &fields.rest(), &table, &mut items);
    let block = Block::component(component, label, items);
    let input = block.export("input");
    cx.push(block, node.span);
    Some(input)
}

fn basic(cx: &mut Cx<'_>, key: &Key, node: &Node, items: &mut Vec<Item>) {
    let schema = crate::targets::inner(cx.schema("otelcol.auth.basic"), "client_auth");
    let table = Table { what: "basic_auth", rules: &[], inner: &[], flat: false, label: "traces" };
    let inner = crate::fill::fill(cx, schema, node, &table);
    auth(cx, "otelcol.auth.basic", vec![Item::Block(Block::new("client_auth", inner))], key, items);
}

fn oauth2(cx: &mut Cx<'_>, key: &Key, node: &Node, items: &mut Vec<Item>) {
    let schema = cx.schema("otelcol.auth.oauth2");
    let table = Table { what: "oauth2", rules: &[], inner: &[], flat: false, label: "traces" };
    let inner = crate::fill::fill(cx, schema, node, &table);
    auth(cx, "otelcol.auth.oauth2", inner, key, items);
}

fn auth(cx: &mut Cx<'_>, component: &'static str, inner: Vec<Item>, key: &Key, items: &mut Vec<Item>) {
    let label = cx.label(component, "traces");
    let block = Block::component(component, label, inner);
    let handler = block.export("handler");
    cx.push(block, key.span);
    crate::out::block_of(items, "client").push(attribute("auth", handler));
}
