//! `pipeline_stages` → the stages of `loki.process`.
//!
//! A stage is a block of its name; code stands here only for those whose shape differs.

use component::eval::{BodySchema, FieldSchema};

use crate::cx::{Cx, Fields, list};
use crate::fill::{Rule, Table, To, fill, fill_entries, rule};
use crate::out::{Block, Expr, Item, attribute, has};
use crate::yaml::{Key, Kind, Node};

/// Stages under another name.
pub const NAMES: &[(&str, &str)] = &[("labeldrop", "label_drop"), ("labelallow", "label_keep")];
/// Stages that are the value itself: a mapping or a list.
const VALUES: &[&str] = &[
    "labels",
    "static_labels",
    "structured_metadata",
    "label_drop",
    "label_keep",
    "structured_metadata_drop",
];

/// The stage `drop`.
const DROP: &[Rule] = &[rule("source", To::Own(names))];
/// A metric of the stage `metrics`.
const METRIC: &[Rule] = &[rule("config", To::Here)];

/// One name or a list of them → a text with commas.
fn names(cx: &mut Cx<'_>, key: &Key, node: &Node, items: &mut Vec<Item>) {
    let text = match &node.kind {
        Kind::Scalar { text, .. } => text.clone(),
        Kind::List(names) => names.iter().filter_map(|n| n.text()).collect::<Vec<_>>().join(","),
        _ => return cx.wrong(node, &key.text, "a name or a list of names"),
    };
    items.push(attribute("source", cx.text(&text, node.span)));
}

/// The blocks of a list of stages.
pub fn stages(cx: &mut Cx<'_>, nodes: &[&Node]) -> Vec<Item> {
    let process = cx.schema("loki.process");
    nodes.iter().filter_map(|node| stage(cx, process, node)).map(Item::Block).collect()
}

fn stage(cx: &mut Cx<'_>, process: &'static BodySchema, node: &Node) -> Option<Block> {
    let (key, value) = match &node.kind {
        Kind::Map(entries) if entries.len() == 1 => &entries[0],
        Kind::Map(entries) if entries.len() > 1 => {
            let (second, _) = &entries[1];
            let message = "a list item has more than one stage";
            cx.error("wrong_type", second.span, message, "write each stage as an item of its own");
            return None;
        }
        _ => {
            cx.wrong(node, "a stage", "a mapping with the name of a stage");
            return None;
        }
    };
    let name =
        NAMES.iter().find(|(source, _)| *source == key.text).map_or(key.text.as_str(), |(_, name)| name);
    let Some(FieldSchema::Block(block)) = process.field(&format!("stage.{name}")) else {
        cx.unsupported(key.span, &format!("the stage {}", key.text));
        return None;
    };
    let schema = (block.body)();
    let items = match name {
        _ if VALUES.contains(&name) => match schema.field("values") {
            Some(FieldSchema::Attribute(values)) => {
                cx.expression(values, value).map(|v| attribute("values", v)).into_iter().collect()
            }
            _ => Vec::new(),
        },
        "match" => nested(cx, schema, value),
        "metrics" => metrics(cx, schema, value),
        _ => {
            let rules: &[Rule] = if name == "drop" { DROP } else { &[] };
            let what = format!("the stage {name}");
            fill(
                cx,
                schema,
                value,
                &Table { what: &what, rules: &[rules], inner: &[], flat: false, label: "stage" },
            )
        }
    };
    Some(Block::new(block.name, items))
}

fn nested(cx: &mut Cx<'_>, schema: &'static BodySchema, node: &Node) -> Vec<Item> {
    let mut fields = Fields::of(cx, node, "the stage match");
    let inner = fields.list(cx, "stages");
    let table = Table { what: "the stage match", rules: &[], inner: &[], flat: false, label: "stage" };
    let mut items = Vec::new();
    fill_entries(cx, schema, &fields.rest(), &table, &mut items);
    items.extend(stages(cx, &inner));
    items
}

/// `metrics: {name: {type: Counter, …, config: {…}}}`
fn metrics(cx: &mut Cx<'_>, schema: &'static BodySchema, node: &Node) -> Vec<Item> {
    let Kind::Map(entries) = &node.kind else {
        cx.wrong(node, "the stage metrics", "a mapping");
        return Vec::new();
    };
    let mut items = Vec::new();
    for (name, value) in entries {
        let mut fields = Fields::of(cx, value, format!("the metric {}", name.text));
        let kind = fields.text(cx, "type").unwrap_or_default().to_ascii_lowercase();
        let Some(FieldSchema::Block(block)) = schema.field(&format!("metric.{kind}")) else {
            let message = format!("the metric {} has no type that is known", name.text);
            cx.error("wrong_value", name.span, message, "write type: Counter, Gauge or Histogram");
            continue;
        };
        let what = format!("the metric {}", name.text);
        let table = Table { what: &what, rules: &[METRIC], inner: &[], flat: false, label: "metric" };
        let mut inner = vec![attribute("name", Expr::text(name.text.clone()))];
        fill_entries(cx, (block.body)(), &fields.rest(), &table, &mut inner);
        if !has(&inner, "prefix") {
            // Promtail's default, so that dashboards find the metric.
            inner.push(attribute("prefix", Expr::text("promtail_custom_")));
        }
        items.push(Item::Block(Block::new(block.name, inner)));
    }
    items
}

/// `limits_config` as stages, which each job gets in front of its own.
pub fn limits(cx: &mut Cx<'_>, node: &Node) -> (Vec<Item>, Option<Expr>) {
    let mut fields = Fields::of(cx, node, "limits_config");
    let mut items = Vec::new();
    let enabled = fields.text(cx, "readline_rate_enabled") == Some("true");
    let number = |cx: &mut Cx<'_>, fields: &mut Fields<'_>, key: &str, kind: &str, default: &str| {
        let node = fields.take(key);
        node.and_then(|n| cx.typed(kind, key, n)).unwrap_or_else(|| Expr::raw(default))
    };
    let rate = number(cx, &mut fields, "readline_rate", "float", "10000");
    let burst = number(cx, &mut fields, "readline_burst", "int", "10000");
    let drop = number(cx, &mut fields, "readline_rate_drop", "bool", "true");
    if enabled {
        let help = "each job has the whole rate for itself: lower it if all of them together must stay below";
        cx.warn(node.span, "limits_config: Promtail's rate holds for all jobs together", help);
        let limit = vec![attribute("rate", rate), attribute("burst", burst), attribute("drop", drop)];
        items.push(Item::Block(Block::new("stage.limit", limit)));
    }
    let truncates = fields.text(cx, "max_line_size_truncate") == Some("true");
    if let Some(size) = fields.take("max_line_size").filter(|n| n.text() != Some("0"))
        && let Some(size) = cx.typed("size(base2)", "max_line_size", size)
    {
        items.push(Item::Block(match truncates {
            true => {
                let rule = Item::Block(Block::new("rule", vec![attribute("limit", size)]));
                Block::new("stage.truncate", vec![rule])
            }
            false => {
                let reason = attribute("drop_counter_reason", Expr::text("line_too_long"));
                Block::new("stage.drop", vec![attribute("longer_than", size), reason])
            }
        }));
    }
    let streams = fields.take("max_streams").and_then(|n| cx.typed("int", "max_streams", n));
    fields.finish(cx);
    (items, streams)
}

/// All stages of a list that may be missing.
pub fn of_job(cx: &mut Cx<'_>, job: &mut Fields<'_>, limits: &[Item]) -> Vec<Item> {
    let nodes = job.take("pipeline_stages").map(|n| list(cx, n, "pipeline_stages")).unwrap_or_default();
    let mut items = limits.to_vec();
    items.extend(stages(cx, &nodes));
    items
}
