//! Holds claims against what has come; of one that does not hold, says what was expected and what came.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::items::{Field, Item};
use crate::spec::{Assertion, Bounds, FieldMatch, Match, Rule, Signal, TextMatch};

/// Items that a report shows in full.
const SHOWN: usize = 10;
/// Names of metrics that it shows.
const MOST_NAMES: usize = 50;

/// Whether a claim holds over items.
pub(crate) fn holds(claim: &Assertion, items: &[Item]) -> bool {
    let count = |wanted: &Match| items.iter().filter(|i| fits(wanted, i)).count();
    match &claim.rule {
        Rule::Contains(wanted) => count(wanted) > 0,
        Rule::Count(bounds, wanted) => bounds.holds(count(wanted) as f64),
        Rule::None(wanted) => count(wanted) == 0,
        Rule::All(wanted) => !items.is_empty() && count(wanted) == items.len(),
        Rule::Exact { .. } | Rule::Dropped { .. } => judge(claim, items).is_none(),
    }
}

/// Judges a claim over items; `Some` is what is wrong.
pub(crate) fn judge(claim: &Assertion, items: &[Item]) -> Option<String> {
    let (one, many) = claim.signal.items();
    match &claim.rule {
        Rule::Contains(wanted) => {
            if items.iter().any(|i| fits(wanted, i)) {
                return None;
            }
            let mut text = format!("expected at least one {one} with\n{}", described(wanted));
            closest(wanted, items, &mut text);
            came(claim.signal, items, wanted, &mut text);
            Some(text)
        }
        Rule::Count(count, wanted) => {
            let found = items.iter().filter(|i| fits(wanted, i)).count();
            if count.holds(found as f64) {
                return None;
            }
            let mut text = format!("expected {} {many}{}, got {found}\n", bounds(*count), with(wanted));
            if found == 0 && !wanted.fields.is_empty() {
                closest(wanted, items, &mut text);
            }
            came(claim.signal, items, wanted, &mut text);
            Some(text)
        }
        Rule::None(wanted) => {
            let found: Vec<Item> = items.iter().filter(|i| fits(wanted, i)).cloned().collect();
            if found.is_empty() {
                return None;
            }
            let mut text = format!("expected no {one}{}, got {}\n", with(wanted), found.len());
            came(claim.signal, &found, wanted, &mut text);
            Some(text)
        }
        Rule::All(wanted) => {
            let other: Vec<Item> = items.iter().filter(|i| !fits(wanted, i)).cloned().collect();
            if other.is_empty() && !items.is_empty() {
                return None;
            }
            let mut text = format!("expected every {one} to have\n{}", described(wanted));
            match other.first() {
                None => text += "nothing has come\n",
                Some(first) => {
                    let _ = writeln!(text, "{} of {} {many} have not; the first:", other.len(), items.len());
                    differences(wanted, first, &mut text);
                }
            }
            Some(text)
        }
        Rule::Exact { of, items: wanted, ordered } => {
            let came: Vec<&Item> = items.iter().filter(|i| fits(of, i)).collect();
            exact(claim.signal, wanted, &came, *ordered)
        }
        Rule::Dropped { component, reason, count } => dropped(component, reason.as_deref(), *count, items),
    }
}

fn exact(signal: Signal, wanted: &[Match], came: &[&Item], ordered: bool) -> Option<String> {
    let (_, many) = signal.items();
    // For each that is wanted, which has come in its place.
    let mut taken = vec![false; came.len()];
    let mut pairs: Vec<Option<usize>> = Vec::with_capacity(wanted.len());
    for (place, wanted) in wanted.iter().enumerate() {
        let found = if ordered {
            came.get(place).filter(|i| fits(wanted, i)).map(|_| place)
        } else {
            (0..came.len()).find(|i| !taken[*i] && fits(wanted, came[*i]))
        };
        if let Some(found) = found {
            taken[found] = true;
        }
        pairs.push(found);
    }
    if pairs.iter().all(Option::is_some) && taken.iter().all(|t| *t) {
        return None;
    }
    let order = if ordered { " in this order" } else { "" };
    let mut text = format!("expected exactly {} {many}{order}, got {}\n", wanted.len(), came.len());
    for (place, (wanted, found)) in wanted.iter().zip(&pairs).enumerate() {
        if let Some(found) = found {
            let _ = writeln!(text, "    {}", line(came[*found]));
            continue;
        }
        match came.get(place).filter(|_| ordered) {
            Some(item) => {
                let _ = writeln!(text, "  {}. differs:", place + 1);
                differences(wanted, item, &mut text);
            }
            None => {
                let _ = writeln!(text, "  - {}", short(wanted));
            }
        }
    }
    let beyond = if ordered { wanted.len() } else { 0 };
    for (item, _) in came.iter().zip(&taken).skip(beyond).filter(|(_, taken)| !**taken) {
        let _ = writeln!(text, "  + {}", line(item));
    }
    Some(text)
}

fn dropped(component: &str, reason: Option<&str>, count: Bounds, items: &[Item]) -> Option<String> {
    let of_component = |item: &&Item| match item.field("labels") {
        Some(Field::Map(labels)) => {
            let label = |name: &str| labels.get(name).map(String::as_str).unwrap_or_default();
            let path = label("component_path").trim_matches('/');
            let id = if path.is_empty() {
                label("component_id").to_string()
            } else {
                format!("{path}/{}", label("component_id"))
            };
            id == component && label("__name__").contains("dropped")
        }
        _ => false,
    };
    let reason_of = |item: &Item| match item.field("labels") {
        Some(Field::Map(labels)) => labels.get("reason").cloned().unwrap_or_default(),
        _ => String::new(),
    };
    let value = |item: &Item| match item.field("value") {
        Some(Field::Number(v)) => *v,
        _ => 0.0,
    };
    let all: Vec<&Item> = items.iter().filter(of_component).collect();
    let counted = all.iter().filter(|i| reason.is_none_or(|r| reason_of(i) == r));
    // The sum of nothing is -0.
    let sum: f64 = counted.map(|i| value(i)).sum::<f64>() + 0.0;
    if count.holds(sum) {
        return None;
    }
    let because = reason.map(|r| format!(" with the reason {r:?}")).unwrap_or_default();
    let mut text =
        format!("expected {component} to have dropped {}{because}, it has dropped {sum}\n", bounds(count));
    for item in all.iter().filter(|i| value(i) != 0.0) {
        let _ = writeln!(text, "    {}", line(item));
    }
    Some(text)
}

/// Whether an item is as a match says.
pub(crate) fn fits(wanted: &Match, item: &Item) -> bool {
    wanted.fields.iter().all(|(name, m)| field_fits(m, item.field(name)))
}

fn field_fits(wanted: &FieldMatch, field: Option<&Field>) -> bool {
    match (wanted, field) {
        (FieldMatch::Text(m), Some(Field::Text(text))) => m.matches(text),
        (FieldMatch::Number(b), Some(Field::Number(v))) => b.holds(*v),
        (FieldMatch::Time(from, to), Some(Field::Time(t))) => (from..=to).contains(&t),
        (FieldMatch::Flag(a), Some(Field::Flag(b))) => a == b,
        (FieldMatch::Map { partial, values, absent }, Some(Field::Map(map))) => {
            let all = values.iter().all(|(name, m)| map.get(name).is_some_and(|v| m.matches(v)));
            all && (*partial || map.len() == values.len())
                && !absent.iter().any(|name| map.contains_key(name))
        }
        _ => false,
    }
}

/// How many things about an item are as wanted, for the choice of what to compare with.
fn likeness(wanted: &Match, item: &Item) -> usize {
    let score = |(name, m): &(&'static str, FieldMatch)| match (m, item.field(name)) {
        (FieldMatch::Map { values, .. }, Some(Field::Map(map))) => {
            values.iter().filter(|(n, m)| map.get(*n).is_some_and(|v| m.matches(v))).count()
                + usize::from(field_fits(m, Some(&Field::Map(map.clone()))))
        }
        (m, field) => 2 * usize::from(field_fits(m, field)),
    };
    wanted.fields.iter().map(score).sum()
}

fn closest(wanted: &Match, items: &[Item], out: &mut String) {
    // Of equals the first.
    let best = items.iter().rev().max_by_key(|i| likeness(wanted, i));
    if let Some(best) = best.filter(|b| likeness(wanted, b) > 0) {
        *out += "the closest differs in:\n";
        differences(wanted, best, out);
    }
}

/// Field by field: `-` is expected, `+` is what came.
fn differences(wanted: &Match, item: &Item, out: &mut String) {
    for (name, m) in wanted.fields.iter().filter(|(name, m)| !field_fits(m, item.field(name))) {
        match (m, item.field(name)) {
            (FieldMatch::Map { partial, values, absent }, Some(Field::Map(map))) => {
                map_differences(name, (*partial, values, absent), map, out);
            }
            (m, field) => {
                let _ = writeln!(out, "  - {name}: {}", wanted_text(m));
                let _ = writeln!(out, "  + {name}: {}", field.map_or_else(|| "(none)".into(), shown));
            }
        }
    }
}

fn map_differences(
    name: &str,
    (partial, values, absent): (bool, &BTreeMap<String, TextMatch>, &[String]),
    map: &BTreeMap<String, String>,
    out: &mut String,
) {
    for (key, m) in values {
        let came = map.get(key);
        if came.is_some_and(|v| m.matches(v)) {
            continue;
        }
        let _ = writeln!(out, "  - {name}.{key}: {m}");
        if let Some(came) = came {
            let _ = writeln!(out, "  + {name}.{key}: {came:?}");
        }
    }
    let unwanted =
        map.iter().filter(|(key, _)| absent.contains(key) || (!partial && !values.contains_key(*key)));
    for (key, value) in unwanted {
        let _ = writeln!(out, "  + {name}.{key}: {value:?}");
    }
}

fn described(wanted: &Match) -> String {
    let mut text = String::new();
    for (name, m) in &wanted.fields {
        let _ = writeln!(text, "    {name}: {}", wanted_text(m));
    }
    text
}

fn short(wanted: &Match) -> String {
    let fields: Vec<String> = wanted.fields.iter().map(|(n, m)| format!("{n}={}", wanted_text(m))).collect();
    fields.join(" ")
}

fn with(wanted: &Match) -> String {
    if wanted.fields.is_empty() { String::new() } else { format!(" with {}", short(wanted)) }
}

fn wanted_text(wanted: &FieldMatch) -> String {
    match wanted {
        FieldMatch::Text(m) => m.to_string(),
        FieldMatch::Number(b) => bounds(*b),
        FieldMatch::Time(from, to) if from == to => instant(*from),
        FieldMatch::Time(from, to) => match (*from == i64::MIN, *to == i64::MAX) {
            (true, _) => format!("before {}", instant(*to)),
            (_, true) => format!("after {}", instant(*from)),
            _ => format!("from {} to {}", instant(*from), instant(*to)),
        },
        FieldMatch::Flag(v) => v.to_string(),
        FieldMatch::Map { partial, values, absent } => {
            let mut parts: Vec<String> = values.iter().map(|(n, m)| format!("{n}={m}")).collect();
            parts.extend(absent.iter().map(|n| format!("no {n}")));
            if *partial {
                parts.push("…".into());
            }
            format!("{{{}}}", parts.join(", "))
        }
    }
}

fn bounds(b: Bounds) -> String {
    if b.min == b.max || b.min.is_nan() {
        return number(b.min);
    }
    match (b.min == f64::NEG_INFINITY, b.max == f64::INFINITY) {
        (true, _) => format!("at most {}", number(b.max)),
        (_, true) => format!("at least {}", number(b.min)),
        _ => format!("from {} to {}", number(b.min), number(b.max)),
    }
}

fn number(v: f64) -> String {
    if signal::samples::is_stale(v) { "stale".into() } else { v.to_string() }
}

fn instant(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).map_or_else(|_| ns.to_string(), |t| t.to_string())
}

fn shown(field: &Field) -> String {
    match field {
        Field::Text(text) => format!("{text:?}"),
        Field::Number(v) => number(*v),
        Field::Time(ns) => instant(*ns),
        Field::Flag(v) => v.to_string(),
        Field::Map(map) => {
            let pairs: Vec<String> = map.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// An item in one line, without what is empty.
fn line(item: &Item) -> String {
    let is_empty = |f: &Field| match f {
        Field::Text(text) => text.is_empty(),
        Field::Map(map) => map.is_empty(),
        Field::Flag(v) => !v,
        Field::Time(t) => *t == 0,
        Field::Number(_) => false,
    };
    let fields = item.fields.iter().filter(|(_, f)| !is_empty(f)).map(|(n, f)| format!("{n}={}", shown(f)));
    fields.collect::<Vec<_>>().join(" ")
}

/// What has come, at most [`SHOWN`]: of more, those that are most like what is wanted.
fn came(signal: Signal, items: &[Item], wanted: &Match, out: &mut String) {
    let (one, many) = signal.items();
    match items.len() {
        0 => *out += "nothing has come\n",
        n => {
            let _ = writeln!(out, "came ({n} {}):", if n == 1 { one } else { many });
        }
    }
    let mut shown: Vec<&Item> = items.iter().collect();
    if shown.len() > SHOWN {
        shown.sort_by_key(|item| std::cmp::Reverse(likeness(wanted, item)));
        if matches!(signal, Signal::Prometheus | Signal::OwnMetrics) {
            shown.retain(|item| likeness(wanted, item) > 0);
            metrics(items, wanted, out);
        }
    }
    for item in shown.iter().take(SHOWN) {
        let _ = writeln!(out, "    {}", line(item));
    }
    if items.len() > shown.len().min(SHOWN) {
        let _ = writeln!(out, "    … and {} more", items.len() - shown.len().min(SHOWN));
    }
}

/// The names of the metrics that came, and which of them may be meant.
fn metrics(items: &[Item], wanted: &Match, out: &mut String) {
    let name = |item: &Item| match item.field("labels") {
        Some(Field::Map(labels)) => labels.get("__name__").cloned(),
        _ => None,
    };
    let names: BTreeSet<String> = items.iter().filter_map(name).collect();
    let asked = wanted.fields.iter().find_map(|(_, m)| match m {
        FieldMatch::Map { values, .. } => match values.get("__name__") {
            Some(TextMatch::Is(name)) => Some(name),
            _ => None,
        },
        _ => None,
    });
    if let Some(near) = asked
        .filter(|name| !names.contains(*name))
        .and_then(|name| eval::closest(name, names.iter().map(String::as_str)))
    {
        let _ = writeln!(out, "    did you mean {near}?");
    }
    let list: Vec<&str> = names.iter().take(MOST_NAMES).map(String::as_str).collect();
    let more = if names.len() > MOST_NAMES { " …" } else { "" };
    let _ = writeln!(out, "    metrics: {}{more}", list.join(" "));
}
