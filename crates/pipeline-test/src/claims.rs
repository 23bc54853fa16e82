//! Reads `assert`: lists of claims by kind of data.
//!
//! Three generations of Alloy's words are read: `has_entry` and `entry_count`; `entry` with a `mode`; `contains` and
//! `count` with a `mode` beside the `values` of each map. `exact`, `none`, `all` and `dropped` are ours.

use std::collections::BTreeMap;

use syntax::Span;

use crate::read::{Fields, Reader};
use crate::spec::{Assertion, Bounds, FieldMatch, FieldType, Match, Rule, Signal, TextMatch};
use crate::yaml::{Kind, Node};

const TYPES: [&str; 8] = ["contains", "count", "exact", "none", "all", "entry", "has_entry", "entry_count"];

/// All claims, in the order of the kinds of data.
pub(crate) fn assertions(reader: &Reader, node: &Node) -> Vec<Assertion> {
    let Some(fields) = reader.fields(node) else { return Vec::new() };
    let mut found = Vec::new();
    for (name, signal) in [
        ("loki", Signal::Loki),
        ("prometheus", Signal::Prometheus),
        ("pyroscope", Signal::Pyroscope),
        ("own_metrics", Signal::OwnMetrics),
    ] {
        if let Some(node) = fields.get(name) {
            found.extend(reader.list(node).iter().filter_map(|n| assertion(reader, n, signal)));
        }
    }
    if let Some(inner) = fields.get("otelcol").and_then(|n| reader.fields(n)) {
        for (name, signal) in
            [("traces", Signal::Traces), ("metrics", Signal::Metrics), ("logs", Signal::Logs)]
        {
            if let Some(node) = inner.get(name) {
                found.extend(reader.list(node).iter().filter_map(|n| assertion(reader, n, signal)));
            }
        }
        inner.finish();
    }
    if let Some(node) = fields.get("dropped") {
        dropped(reader, node, &mut found);
    }
    fields.finish();
    found
}

/// `dropped: { loki.process.a: 3 }` or, by reason, `{ loki.process.a: { line_too_long: 3 } }`.
fn dropped(reader: &Reader, node: &Node, found: &mut Vec<Assertion>) {
    let Some(fields) = reader.fields(node) else { return };
    for entry in fields.entries() {
        let mut claim = |reason: Option<String>, node: &Node| {
            let Some(count) = bounds(reader, node) else { return };
            let rule = Rule::Dropped { component: entry.name.clone(), reason, count };
            found.push(Assertion { signal: Signal::OwnMetrics, sinks: Vec::new(), rule, span: node.span });
        };
        match &entry.value.kind {
            Kind::Map(reasons) if !reasons.iter().all(|r| matches!(&*r.name, "min" | "max")) => {
                reasons.iter().for_each(|r| claim(Some(r.name.clone()), &r.value));
            }
            _ => claim(None, &entry.value),
        }
    }
}

fn assertion(reader: &Reader, node: &Node, signal: Signal) -> Option<Assertion> {
    let fields = reader.fields(node)?;
    let sinks = sinks(reader, &fields);
    let partial = mode(reader, fields.get("mode"));
    let of = fields.get("match").map(|n| item(reader, n, signal, partial));
    let kind = fields.need("type").and_then(|n| Some((reader.text(n)?, n.span)));
    let count = fields.get("count").and_then(|n| bounds(reader, n));
    let items = fields.get("items");
    let ordered = fields.get("ordered").and_then(|n| reader.boolean(n)).unwrap_or(true);
    let (kind, at) = kind?;
    for (name, of) in
        [("items", &["exact"][..]), ("ordered", &["exact"]), ("count", &["count", "entry_count", "entry"])]
    {
        if let Some(node) = fields.get(name).filter(|_| !of.contains(&kind.as_str())) {
            reader.problem(node.span, format!("{name} belongs to the type {}", of[0]));
        }
    }
    let counted = |reader: &Reader| {
        if count.is_none() {
            reader.problem(fields.span, "count is missing here: how many are there to be?");
        }
        count
    };
    let named = |reader: &Reader| {
        if of.as_ref().is_none_or(|m| m.fields.is_empty()) {
            reader.problem(fields.span, format!("{kind} needs a match that names at least one field"));
        }
        of.clone()
    };
    let rule = match (kind.as_str(), count) {
        ("count" | "entry_count", _) | ("entry", Some(_)) => {
            counted(reader).map(|count| Rule::Count(count, of.clone().unwrap_or_default()))
        }
        ("contains" | "has_entry" | "entry", _) => named(reader).map(Rule::Contains),
        ("none", _) => Some(Rule::None(of.clone().unwrap_or_default())),
        ("all", _) => named(reader).map(Rule::All),
        ("exact", _) => exact(reader, &fields, items, signal, partial).map(|items| Rule::Exact {
            of: of.clone().unwrap_or_default(),
            items,
            ordered,
        }),
        _ => {
            let help = match eval::closest(&kind, TYPES) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there is {}", TYPES[..5].join(", ")),
            };
            reader.problem_with_help(at, format!("{kind:?} is no type of assertion"), help);
            None
        }
    };
    let span = fields.span;
    fields.finish();
    Some(Assertion { signal, sinks, rule: rule?, span })
}

fn exact(
    reader: &Reader,
    fields: &Fields<'_>,
    items: Option<&Node>,
    signal: Signal,
    partial: bool,
) -> Option<Vec<Match>> {
    let Some(node) = items else {
        reader.problem(fields.span, "exact needs items: the list of what is to come");
        return None;
    };
    Some(reader.list(node).iter().map(|n| item(reader, n, signal, partial)).collect())
}

fn sinks(reader: &Reader, fields: &Fields<'_>) -> Vec<(String, Span)> {
    let Some(node) = fields.get("sink") else { return Vec::new() };
    match &node.kind {
        Kind::List(items) => items.iter().filter_map(|n| Some((reader.text(n)?, n.span))).collect(),
        _ => reader.text(node).map(|name| (name, node.span)).into_iter().collect(),
    }
}

/// `exact` or `partial`; whether it is partial.
fn mode(reader: &Reader, node: Option<&Node>) -> bool {
    let Some(node) = node else { return false };
    match reader.text(node).as_deref() {
        Some("partial") => true,
        Some("exact") | None => false,
        Some(other) => {
            reader.problem(node.span, format!("a mode is exact or partial, not {other:?}"));
            false
        }
    }
}

fn item(reader: &Reader, node: &Node, signal: Signal, partial: bool) -> Match {
    let mut item = Match::default();
    let Some(fields) = reader.fields(node) else { return item };
    for (name, kind) in signal.fields() {
        let Some(node) = fields.get(name) else { continue };
        let field = match kind {
            FieldType::Text => text_match(reader, node).map(FieldMatch::Text),
            FieldType::Number => bounds(reader, node).map(FieldMatch::Number),
            FieldType::Flag => reader.boolean(node).map(FieldMatch::Flag),
            FieldType::Time => time(reader, node),
            FieldType::Map => map(reader, node, partial || *name == "metadata"),
        };
        // As in Alloy's tests, an empty map says nothing.
        let says = !matches!(&field, Some(FieldMatch::Map { values, absent, partial }) if
            values.is_empty() && absent.is_empty() && (*partial || !is_empty_map(node)));
        if let Some(field) = field.filter(|_| says) {
            item.fields.push((name, field));
        }
    }
    fields.finish();
    item
}

/// `{}` written out: the map is to be empty.
fn is_empty_map(node: &Node) -> bool {
    matches!(&node.kind, Kind::Map(entries) if entries.is_empty())
}

/// A text, or one of `regex`, `contains`, `not`.
pub(crate) fn text_match(reader: &Reader, node: &Node) -> Option<TextMatch> {
    if !matches!(node.kind, Kind::Map(_)) {
        return reader.text(node).map(TextMatch::Is);
    }
    let fields = reader.fields(node)?;
    if fields.entries().len() != 1 {
        reader.problem(fields.span, "write one of regex, contains, not");
    }
    let regex = fields.get("regex").and_then(|n| Some((reader.text(n)?, n.span)));
    let contains = fields.get("contains").and_then(|n| reader.text(n)).map(TextMatch::Contains);
    let not = fields.get("not").and_then(|n| text_match(reader, n)).map(|m| TextMatch::Not(Box::new(m)));
    fields.finish();
    let regex = regex.and_then(|(text, span)| match regex::Regex::new(&text) {
        Ok(regex) => Some(TextMatch::Regex(regex)),
        Err(error) => {
            let message = error.to_string();
            let last = message.lines().last().unwrap_or_default().to_string();
            reader.problem(span, format!("this is no regular expression: {last}"));
            None
        }
    });
    regex.or(contains).or(not)
}

/// A number, or `min` and `max`.
fn bounds(reader: &Reader, node: &Node) -> Option<Bounds> {
    if !matches!(node.kind, Kind::Map(_)) {
        return reader.number(node).map(Bounds::exactly);
    }
    let fields = reader.fields(node)?;
    let min = fields.get("min").and_then(|n| reader.number(n));
    let max = fields.get("max").and_then(|n| reader.number(n));
    if min.is_none() && max.is_none() {
        reader.problem(fields.span, "write min, max or both");
    }
    fields.finish();
    Some(Bounds { min: min.unwrap_or(f64::NEG_INFINITY), max: max.unwrap_or(f64::INFINITY) })
}

/// A time, or `after` and `before`; to the millisecond where metrics are concerned.
fn time(reader: &Reader, node: &Node) -> Option<FieldMatch> {
    if !matches!(node.kind, Kind::Map(_)) {
        return reader.time(node).map(|ns| FieldMatch::Time(ns, ns));
    }
    let fields = reader.fields(node)?;
    let after = fields.get("after").and_then(|n| reader.time(n)).unwrap_or(i64::MIN);
    let before = fields.get("before").and_then(|n| reader.time(n)).unwrap_or(i64::MAX);
    fields.finish();
    Some(FieldMatch::Time(after, before))
}

/// Names and values; or `mode`, `values` and `absent`.
fn map(reader: &Reader, node: &Node, partial: bool) -> Option<FieldMatch> {
    let fields = reader.fields(node)?;
    let is_map = |name: &str| {
        let of = fields.entries().iter().find(|e| e.name == name).map(|e| &e.value.kind);
        matches!(of, Some(Kind::Map(_) | Kind::List(_)))
    };
    // A label may be called "values" too; then it is no map.
    let structured = (is_map("values") || is_map("absent"))
        && fields.entries().iter().all(|e| matches!(&*e.name, "mode" | "values" | "absent"));
    if !structured {
        let values = values(reader, &fields);
        return Some(FieldMatch::Map { partial, values, absent: Vec::new() });
    }
    let partial = mode(reader, fields.get("mode")) || partial;
    let inner = fields.get("values").and_then(|n| reader.fields(n));
    let values = inner.map(|inner| values(reader, &inner)).unwrap_or_default();
    let absent = fields.get("absent").map(|n| reader.list(n)).unwrap_or_default();
    let absent: Vec<String> = absent.iter().filter_map(|n| reader.text(n)).collect();
    fields.finish();
    Some(FieldMatch::Map { partial, values, absent })
}

fn values(reader: &Reader, fields: &Fields<'_>) -> BTreeMap<String, TextMatch> {
    let pairs = fields.entries().iter();
    pairs.filter_map(|e| Some((e.name.clone(), text_match(reader, &e.value)?))).collect()
}
