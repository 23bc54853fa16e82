//! Targets as Prometheus and those after it write them: `static_configs`, `*_sd_configs`, `relabel_configs`.
//!
//! A discovery is converted if there is a component of its name (`file_sd_configs` → `discovery.file`), led by its
//! schema; so a new component needs nothing here.

use component::eval::{BodySchema, FieldSchema};

use crate::cx::{Cx, Fields, list};
use crate::fill::{Rule, Table, To, fill, rule};
use crate::http::HTTP;
use crate::out::{Block, Expr, Item, attribute};
use crate::yaml::{Key, Kind, Node};

/// What discoveries have under another name than their components.
pub const DISCOVERY: &[Rule] = &[rule("filters", To::At("filter"))];

/// Rules of a relabelling.
pub const RELABEL: &[Rule] = &[rule("action", To::Own(action))];

/// Prometheus takes actions in any case.
pub fn action(cx: &mut Cx<'_>, _: &Key, node: &Node, items: &mut Vec<Item>) {
    let text = node.text().unwrap_or_default().to_ascii_lowercase();
    let schema = inner(cx.schema("discovery.relabel"), "rule");
    items.extend(cx.checked(schema, "action", &text, node.span).map(|e| attribute("action", e)));
}

/// All targets of a job: expressions, each a list of targets.
pub fn targets(cx: &mut Cx<'_>, job: &mut Fields<'_>, label: &str, local: bool) -> Vec<Expr> {
    let mut found = Vec::new();
    for key in job.ending("_sd_configs") {
        let kind = key.text.trim_end_matches("_sd_configs");
        let component = format!("discovery.{kind}");
        let Some((key, node)) = job.take_with_key(&key.text) else { continue };
        if node.is_empty() {
            continue;
        }
        let Some(definition) = cx.component(&component) else {
            let message = format!("{} needs {component}, which this version does not have", key.text);
            let help = "use another discovery: a file, HTTP, DNS or Docker, or write the targets down";
            cx.error("unsupported", key.span, message, help);
            continue;
        };
        for item in list(cx, node, &key.text) {
            let block = discovery(cx, definition.name, label, item);
            found.push(block.export("targets"));
            cx.push(block, item.span);
        }
    }
    let fixed = static_targets(cx, job, local);
    if !fixed.is_empty() {
        found.push(Expr::List(fixed));
    }
    found
}

/// A discovery component.
pub fn discovery(cx: &mut Cx<'_>, component: &'static str, label: &str, node: &Node) -> Block {
    let label = cx.label(component, label);
    let table = Table { what: component, rules: &[DISCOVERY, HTTP], inner: &[], flat: false, label: &label };
    let schema = cx.schema(component);
    let items = fill(cx, schema, node, &table);
    Block::component(component, label, items)
}

/// `static_configs`: one object a target. Promtail takes a missing address as this machine.
fn static_targets(cx: &mut Cx<'_>, job: &mut Fields<'_>, local: bool) -> Vec<Expr> {
    let mut found = Vec::new();
    for group in job.list(cx, "static_configs") {
        let mut fields = Fields::of(cx, group, "static_configs");
        let mut addresses: Vec<_> = Vec::new();
        for target in fields.list(cx, "targets") {
            addresses.extend(cx.typed("string", "targets", target));
        }
        if addresses.is_empty() && local {
            addresses.push(Expr::text("localhost"));
        }
        let labels = match fields.take("labels").map(|node| cx.typed("map(string)", "labels", node)) {
            Some(Some(Expr::Object(labels))) => labels,
            _ => Vec::new(),
        };
        fields.finish(cx);
        found.extend(addresses.into_iter().map(|address| {
            let mut target = vec![("__address__".to_string(), address)];
            target.extend(labels.clone());
            Expr::Object(target)
        }));
    }
    found
}

/// Lists of targets as one.
pub fn joined(mut lists: Vec<Expr>) -> Expr {
    match lists.len() {
        0 => Expr::List(Vec::new()),
        1 => lists.remove(0),
        _ => Expr::Call("array.concat", lists),
    }
}

/// `rule` blocks.
pub fn rules(cx: &mut Cx<'_>, list: &[&Node], component: &str) -> Vec<Item> {
    let schema = inner(cx.schema(component), "rule");
    let table = Table { what: "a relabelling rule", rules: &[RELABEL], inner: &[], flat: false, label: "" };
    let rule = |node: &&Node| Item::Block(Block::new("rule", fill(cx, schema, node, &table)));
    list.iter().map(rule).collect()
}

/// A rule that sets a label where it is empty.
pub fn set_if_empty(label: &str, value: Expr) -> Item {
    let items = vec![
        attribute("source_labels", Expr::List(vec![Expr::text(label)])),
        attribute("regex", Expr::text("")),
        attribute("target_label", Expr::text(label)),
        attribute("replacement", value),
    ];
    Item::Block(Block::new("rule", items))
}

/// A rule that sets a label.
pub fn set(label: &str, value: Expr) -> Item {
    let items = vec![attribute("target_label", Expr::text(label)), attribute("replacement", value)];
    Item::Block(Block::new("rule", items))
}

/// The body of a block of a schema that is known to have it.
pub fn inner(schema: &BodySchema, block: &str) -> &'static BodySchema {
    match schema.field(block) {
        Some(FieldSchema::Block(inner)) => (inner.body)(),
        _ => panic!("{block} is a block of this schema"),
    }
}

/// Whether a rule reads this label.
pub fn reads(list: &[&Node], label: &str) -> bool {
    let reads = |n: &Node| match n.get("source_labels").map(|n| &n.kind) {
        Some(Kind::List(labels)) => labels.iter().any(|l| l.text() == Some(label)),
        _ => false,
    };
    list.iter().any(|n| reads(n))
}
