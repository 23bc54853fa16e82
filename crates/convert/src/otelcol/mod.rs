//! The OpenTelemetry Collector → `otelcol.*`.
//!
//! Labels are those of Alloy's converter: what stands behind the slash of an identifier, or `default`.

pub mod graph;
pub mod kinds;
pub mod special;
pub mod traces;

use std::collections::{BTreeMap, HashMap, HashSet};

use syntax::Span;

use crate::cx::{Cx, Fields};
use crate::fill::{Table, fill};
use crate::out::{Block, Expr, Item, attribute, block_of, has};
use crate::yaml::{Key, Kind as Yaml, Node};

use graph::{Edges, Pipeline, Place, Signal};
use kinds::{COMMON, KINDS, Kind};

/// What only exists in the Collector and is nothing here.
const BUILT_IN: &[(&str, &str)] = &[
    ("health_check", "this program answers /-/ready and /-/healthy at --server.http.listen-addr"),
    ("pprof", "this program serves /debug/pprof at --server.http.listen-addr"),
    ("zpages", "look at the components' pages of this program's HTTP server"),
];

/// One of the sections of a configuration.
type Section<'n> = HashMap<&'n str, (&'n Key, &'n Node)>;

struct Sections<'n> {
    receivers: Section<'n>,
    processors: Section<'n>,
    exporters: Section<'n>,
    connectors: Section<'n>,
}

/// Converts a whole file.
pub fn convert(cx: &mut Cx<'_>, root: &Node) {
    cx.collector = true;
    let mut top = Fields::of(cx, root, "a Collector configuration");
    let extensions = section(cx, &mut top, "extensions");
    let sections = Sections {
        receivers: section(cx, &mut top, "receivers"),
        processors: section(cx, &mut top, "processors"),
        exporters: section(cx, &mut top, "exporters"),
        connectors: section(cx, &mut top, "connectors"),
    };
    let Some(node) = top.take("service") else {
        cx.error(
            "missing",
            root.span,
            "there is no service",
            "write service.pipelines: what they use is converted",
        );
        return top.finish(cx);
    };
    let mut service = Fields::of(cx, node, "service");
    if let Some(node) = service.take("telemetry") {
        telemetry(cx, node);
    }
    let on = service.list(cx, "extensions");
    add_extensions(cx, &extensions, &on);
    let pipelines = service.take("pipelines");
    service.finish(cx);
    top.finish(cx);
    if let Some(node) = pipelines {
        let pipelines = read_pipelines(cx, node, &sections);
        unused(cx, &sections, &pipelines);
        write(cx, node.span, &sections, &pipelines);
    }
}

fn section<'n>(cx: &mut Cx<'_>, top: &mut Fields<'n>, name: &str) -> Section<'n> {
    match top.take(name) {
        Some(node) => match &node.kind {
            Yaml::Map(entries) => entries.iter().map(|(k, v)| (k.text.as_str(), (k, &**v))).collect(),
            _ => {
                cx.wrong(node, name, "a mapping");
                Section::new()
            }
        },
        None => Section::new(),
    }
}

/// `service.telemetry.logs` → the block `logging`; the rest is this program's own.
fn telemetry(cx: &mut Cx<'_>, node: &Node) {
    let mut fields = Fields::of(cx, node, "service.telemetry");
    if let Some(node) = fields.take("logs") {
        let mut logs = Fields::of(cx, node, "service.telemetry.logs");
        let mut items = Vec::new();
        if let Some(level) = logs.text(cx, "level") {
            items.push(attribute("level", Expr::text(level.to_ascii_lowercase())));
        }
        match logs.text(cx, "encoding") {
            Some("json") => items.push(attribute("format", Expr::text("json"))),
            Some("console") => items.push(attribute("format", Expr::text("logfmt"))),
            _ => {}
        }
        if !items.is_empty() {
            cx.push(Block::new("logging", items), node.span);
        }
        for (key, _) in logs.rest() {
            cx.warn(
                key.span,
                format!("{}: there is no such setting here", key.text),
                "see the block logging",
            );
        }
    }
    for (key, _) in fields.rest() {
        let help = "this program serves its metrics at /metrics; its traces are set in the block tracing";
        cx.warn(key.span, format!("service.telemetry.{} is not carried over", key.text), help);
    }
}

fn type_and_name(id: &str) -> (&str, &str) {
    let (kind, name) = id.split_once('/').unwrap_or((id, ""));
    (kind, if name.is_empty() { "default" } else { name })
}

/// How a type is converted.
#[derive(Clone, Copy)]
struct Known {
    component: &'static str,
    kind: Option<&'static Kind>,
}

/// Looks a type up: in the table, then by its name. `None` has been reported.
fn known(cx: &mut Cx<'_>, class: &str, id: &str, span: Span) -> Option<Known> {
    let (name, _) = type_and_name(id);
    let special = [
        ("processor", "resource", "otelcol.processor.transform"),
        ("receiver", "prometheus", "otelcol.receiver.prometheus"),
        ("exporter", "prometheusremotewrite", "otelcol.exporter.prometheus"),
    ];
    if let Some((.., component)) = special.iter().find(|(c, n, _)| *c == class && *n == name) {
        return Some(Known { component, kind: None });
    }
    if let Some(kind) = KINDS.iter().find(|k| k.class == class && k.types.contains(&name)) {
        return Some(Known { component: kind.component, kind: Some(kind) });
    }
    // Names that mean something else here.
    let other = matches!((class, name), ("receiver", "loki") | ("exporter", "loki" | "prometheus"));
    let definition = cx.component(&format!("otelcol.{class}.{name}")).filter(|_| !other);
    if let Some(definition) = definition {
        return Some(Known { component: definition.name, kind: None });
    }
    let message = format!("the {class} {name} has no component here");
    let help = match (class, name) {
        ("receiver", "hostmetrics" | "host_metrics") => {
            "use prometheus.exporter.unix with an otelcol.receiver.prometheus"
        }
        ("receiver", "loki") => "use loki.source.api with an otelcol.receiver.loki behind it",
        ("exporter", "loki") => {
            "use otelcol.exporter.otlphttp with Loki's OTLP endpoint, or otelcol.exporter.loki"
        }
        ("exporter", "prometheus") => "use otelcol.exporter.prometheus with a prometheus.remote_write",
        _ => "remove it, or keep it in a Collector that this program sends OTLP to",
    };
    cx.error("unsupported", span, message, help);
    None
}

/// Extensions that the service lists.
fn add_extensions(cx: &mut Cx<'_>, defined: &Section<'_>, on: &[&Node]) {
    for node in on {
        let id = node.text().unwrap_or_default();
        let (kind, name) = type_and_name(id);
        if let Some((_, help)) = BUILT_IN.iter().find(|(n, _)| *n == kind) {
            cx.warn(node.span, format!("the extension {kind} is part of this program"), *help);
            continue;
        }
        let Some((key, value)) = defined.get(id) else {
            cx.error("missing", node.span, format!("there is no extension {id}"), "define it in extensions");
            continue;
        };
        let Some(known) = known(cx, "extension", id, key.span) else { continue };
        let label = cx.label(known.component, name);
        let items = body(cx, known, value, &label);
        let block = Block::component(known.component, label, items);
        cx.handlers.insert(id.to_string(), block.export("handler"));
        cx.push(block, key.span);
    }
}

/// What a component says of itself, without its output.
fn body(cx: &mut Cx<'_>, known: Known, node: &Node, label: &str) -> Vec<Item> {
    let (rules, inner) = known.kind.map_or((&[][..], &[][..]), |k| (k.rules, k.inner));
    let schema = cx.schema(known.component);
    let table = Table { what: known.component, rules: &[rules, COMMON], inner, flat: false, label };
    let mut items = fill(cx, schema, node, &table);
    for (block, name, value) in known.kind.map_or(&[][..], |k| k.defaults) {
        if let Some(items) = existing(&mut items, block)
            && !has(items, name)
        {
            items.push(attribute(name, Expr::raw(*value)));
        }
    }
    if known.component == "otelcol.connector.spanmetrics" {
        let histogram = block_of(&mut items, "histogram");
        if !["explicit", "exponential"].iter().any(|n| has(histogram, n)) {
            histogram.push(Item::Block(Block::new("explicit", Vec::new())));
        }
    }
    items
}

/// The items of a block if it is there; `""` is the body itself.
fn existing<'i>(items: &'i mut Vec<Item>, path: &str) -> Option<&'i mut Vec<Item>> {
    let mut at = items;
    for name in path.split('/').filter(|n| !n.is_empty()) {
        at = at.iter_mut().find_map(|item| match item {
            Item::Block(block) if block.name == name => Some(&mut block.items),
            _ => None,
        })?;
    }
    Some(at)
}

fn read_pipelines(cx: &mut Cx<'_>, node: &Node, sections: &Sections<'_>) -> Vec<Pipeline> {
    let Yaml::Map(entries) = &node.kind else {
        cx.wrong(node, "service.pipelines", "a mapping");
        return Vec::new();
    };
    let mut pipelines = Vec::new();
    for (key, node) in entries {
        let (signal, group) = key.text.split_once('/').unwrap_or((&key.text, ""));
        let Some(signal) = Signal::ALL.into_iter().find(|s| s.as_str() == signal) else {
            let help = "only pipelines for traces, metrics and logs can be converted";
            cx.error("unsupported", key.span, format!("{} is not a signal of this program", key.text), help);
            continue;
        };
        let mut fields = Fields::of(cx, node, format!("the pipeline {}", key.text));
        let receivers = fields.list(cx, "receivers");
        let processors = fields.list(cx, "processors");
        let exporters = fields.list(cx, "exporters");
        fields.finish(cx);
        pipelines.push(Pipeline {
            signal,
            group: group.to_string(),
            receivers: usable(
                cx,
                &receivers,
                &[("receiver", &sections.receivers), ("connector", &sections.connectors)],
            ),
            processors: usable(cx, &processors, &[("processor", &sections.processors)]),
            exporters: usable(
                cx,
                &exporters,
                &[("exporter", &sections.exporters), ("connector", &sections.connectors)],
            ),
        });
    }
    pipelines
}

/// The identifiers of a list that are defined and can be converted; the others are reported.
fn usable(cx: &mut Cx<'_>, list: &[&Node], sections: &[(&str, &Section<'_>)]) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for node in list {
        let id = node.text().unwrap_or_default();
        let Some((class, (key, _))) = sections.iter().find_map(|(class, s)| Some((*class, s.get(id)?)))
        else {
            let class = sections[0].0;
            cx.error(
                "missing",
                node.span,
                format!("there is no {class} {id}"),
                format!("define it in {class}s"),
            );
            continue;
        };
        let kind = type_and_name(id).0;
        let nothing = kind == "nop" && class != "connector";
        let forward = kind == "forward" && class == "connector";
        if !nothing && (forward || known(cx, class, id, key.span).is_some()) && !ids.iter().any(|i| i == id) {
            ids.push(id.to_string());
        }
    }
    ids
}

fn unused(cx: &mut Cx<'_>, sections: &Sections<'_>, pipelines: &[Pipeline]) {
    let mut used = HashSet::new();
    for p in pipelines {
        used.extend(p.receivers.iter().chain(&p.processors).chain(&p.exporters).map(String::as_str));
    }
    let classes = [
        ("receiver", &sections.receivers),
        ("processor", &sections.processors),
        ("exporter", &sections.exporters),
        ("connector", &sections.connectors),
    ];
    for (class, section) in classes {
        for (id, (key, _)) in section {
            // What is used but cannot be converted has been reported as that.
            let (kind, _) = type_and_name(id);
            let is_known = kind == "nop" || used.contains(id);
            let reported = cx.reported(key.span);
            if !is_known && !reported {
                let help = "add it to a pipeline, or remove it";
                cx.warn(key.span, format!("the {class} {id} is in no pipeline and is left out"), help);
            }
        }
    }
}

/// All components of the pipelines, joined.
fn write(cx: &mut Cx<'_>, span: Span, sections: &Sections<'_>, pipelines: &[Pipeline]) {
    let connectors: HashSet<_> = sections.connectors.keys().map(|id| id.to_string()).collect();
    let is_forward = |id: &&String| type_and_name(id).0 == "forward";
    let forward = connectors.iter().filter(is_forward).cloned().collect();
    let edges = match graph::build(pipelines, &connectors, &forward) {
        Ok(edges) => edges,
        Err(id) => {
            let message = format!("the pipelines form a loop through {id}");
            return cx.error("loop", span, message, "cut the loop: this program runs no graph with one");
        }
    };
    let order = in_order(&edges, pipelines);
    let names = names(cx, &order, sections);
    for place in &order {
        let Some((known, label)) = names.get(place) else { continue };
        one(cx, place, *known, label, &edges, &names, sections);
    }
}

/// Receivers, processors in the order of the pipelines, connectors, exporters.
fn in_order(edges: &Edges, pipelines: &[Pipeline]) -> Vec<Place> {
    let position = |place: &Place| -> (usize, usize, usize) {
        let find = |list: fn(&Pipeline) -> &Vec<String>, id: &String| {
            let at = |(n, p): (usize, &Pipeline)| Some((n, list(p).iter().position(|i| i == id)?));
            pipelines.iter().enumerate().find_map(at).unwrap_or_default()
        };
        let (class, (pipeline, at)) = match place {
            Place::Receiver(id) => (0, find(|p| &p.receivers, id)),
            Place::Processor { group, id, .. } => {
                let at = |(n, p): (usize, &Pipeline)| {
                    (p.group == *group).then_some(())?;
                    Some((n, p.processors.iter().position(|i| i == id)?))
                };
                (1, pipelines.iter().enumerate().find_map(at).unwrap_or_default())
            }
            Place::Connector(id) => (2, find(|p| &p.exporters, id)),
            Place::Exporter(id) => (3, find(|p| &p.exporters, id)),
        };
        (class, pipeline, at)
    };
    let mut order: Vec<_> = edges.keys().cloned().collect();
    order.sort_by_key(position);
    order
}

type Names = BTreeMap<Place, (Known, String)>;

fn names(cx: &mut Cx<'_>, order: &[Place], sections: &Sections<'_>) -> Names {
    let mut names = Names::new();
    for place in order {
        let (class, section, id) = match place {
            Place::Receiver(id) => ("receiver", &sections.receivers, id),
            Place::Processor { id, .. } => ("processor", &sections.processors, id),
            Place::Connector(id) => ("connector", &sections.connectors, id),
            Place::Exporter(id) => ("exporter", &sections.exporters, id),
        };
        let Some((key, _)) = section.get(id.as_str()) else { continue };
        let Some(known) = known(cx, class, id, key.span) else { continue };
        let mut wanted = match type_and_name(id) {
            // The component's name would not tell what it is.
            ("resource", "default") => "resource".to_string(),
            (_, name) => name.to_string(),
        };
        if let Place::Processor { group, part, .. } = place {
            let same =
                |p: &&Place| matches!(p, Place::Processor { id: i, group: g, .. } if i == id && g != group);
            if order.iter().any(|p| same(&p)) && !group.is_empty() {
                wanted = format!("{group}_{wanted}");
            }
            if let [signal] = part[..] {
                wanted = format!("{wanted}_{}", signal.as_str());
            }
        }
        let label = cx.label(known.component, &wanted);
        names.insert(place.clone(), (known, label));
    }
    names
}

fn one(
    cx: &mut Cx<'_>,
    place: &Place,
    known: Known,
    label: &str,
    edges: &Edges,
    names: &Names,
    sections: &Sections<'_>,
) {
    let (section, id) = match place {
        Place::Receiver(id) => (&sections.receivers, id),
        Place::Processor { id, .. } => (&sections.processors, id),
        Place::Connector(id) => (&sections.connectors, id),
        Place::Exporter(id) => (&sections.exporters, id),
    };
    let (key, node) = section[id.as_str()];
    let outputs = &edges[place];
    let mut items = match (known.component, type_and_name(id).0) {
        ("otelcol.processor.transform", "resource") => {
            special::resource(cx, node, &outputs.keys().copied().collect::<Vec<_>>())
        }
        ("otelcol.exporter.prometheus", _) => special::remote_write(cx, node, label),
        ("otelcol.receiver.prometheus", _) => {
            let receiver = Block::component(known.component, label, Vec::new()).export("receiver");
            special::scrapes(cx, node, label, receiver);
            Vec::new()
        }
        _ => body(cx, known, node, label),
    };
    if !matches!(place, Place::Exporter(_)) {
        let lists = Signal::ALL.into_iter().filter_map(|signal| {
            let targets = outputs.get(&signal)?.iter().filter_map(|p| names.get(p));
            let inputs =
                targets.map(|(k, label)| Expr::raw(format!("{}.{label}.input", k.component))).collect();
            Some(attribute(signal.as_str(), Expr::List(inputs)))
        });
        items.push(Item::Block(Block::new("output", lists.collect())));
    }
    cx.push(Block::component(known.component, label, items), key.span);
}
