//! One log record: its labels as the hints say, what is left of its attributes, and its line.
//! As the collector's Loki translator: `LogToLokiEntry`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use signal::Labels;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use signal::otlp::proto::logs::v1::LogRecord;
use signal::otlp_names::Translation;

use super::json;
use crate::logfmt::{self, Line};
use crate::value::text;

const HINT_ATTRIBUTES: &str = "loki.attribute.labels";
const HINT_RESOURCES: &str = "loki.resource.labels";
const HINT_TENANT: &str = "loki.tenant";
const HINT_FORMAT: &str = "loki.format";
const LEVEL: &str = "level";

/// Names of severities in groups of four.
const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/// A value that is there or was made.
pub(super) enum Own<'a> {
    There(Option<&'a AnyValue>),
    Made(AnyValue),
}

impl Own<'_> {
    pub(super) fn get(&self) -> Option<&AnyValue> {
        match self {
            Self::There(value) => *value,
            Self::Made(value) => Some(value),
        }
    }
}

/// Attributes that stay with a line.
pub(super) type Attributes<'a> = Vec<(Cow<'a, str>, Own<'a>)>;

/// A record whose labels have been taken out of it.
pub(super) struct Record<'a> {
    pub(super) log: &'a LogRecord,
    pub(super) scope: Option<&'a InstrumentationScope>,
    pub(super) attributes: Attributes<'a>,
    pub(super) resource: Attributes<'a>,
}

/// A format that is none of those that are known.
#[derive(Debug, PartialEq)]
pub(super) struct UnknownFormat(pub(super) String);

/// The stream and the line of a record.
pub(super) fn convert(
    log: &LogRecord,
    resource: &[KeyValue],
    scope: Option<&InstrumentationScope>,
) -> Result<(Labels, String), UnknownFormat> {
    let level = level(log);
    let labels = labels(log, resource, level.as_deref());
    let stays = |key: &str| {
        !matches!(key, HINT_ATTRIBUTES | HINT_RESOURCES | HINT_TENANT | HINT_FORMAT)
            && !labels.contains_key(key)
    };
    let mut attributes = left_of(&log.attributes, &stays);
    if let Some(level) = level.filter(|_| stays(LEVEL) && find(&log.attributes, LEVEL).is_none()) {
        let value = AnyValue { value: Some(Value::StringValue(level)) };
        attributes.push((Cow::Borrowed(LEVEL), Own::Made(value)));
    }
    let record = Record { log, scope, attributes, resource: left_of(resource, &stays) };
    let format = find(resource, HINT_FORMAT).or_else(|| find(&log.attributes, HINT_FORMAT));
    let line = match format.map(|format| text(format.value.as_ref())).as_deref() {
        None | Some("json") => json::line(&record),
        Some("logfmt") => logfmt_line(&record),
        Some("raw") => text(log.body.as_ref()),
        Some(other) => return Err(UnknownFormat(other.to_string())),
    };
    let names = Translation::UnderscoreEscapingWithSuffixes;
    let labels = labels.iter().map(|(name, value)| (names.label_name(name), value));
    Ok((Labels::from_pairs(labels), line))
}

fn left_of<'a>(list: &'a [KeyValue], stays: &impl Fn(&str) -> bool) -> Attributes<'a> {
    let own = |a: &'a KeyValue| (Cow::Borrowed(a.key.as_str()), Own::There(a.value.as_ref()));
    list.iter().filter(|a| stays(&a.key)).map(own).collect()
}

/// The name of a record's severity, if it has one.
fn level(log: &LogRecord) -> Option<String> {
    let number = usize::try_from(log.severity_number).ok()?.checked_sub(1)?;
    let name = LEVELS.get(number / 4)?;
    Some(match number % 4 {
        0 => (*name).to_string(),
        more => format!("{name}{}", more + 1),
    })
}

/// Labels by the names of the attributes that they are made of.
fn labels(log: &LogRecord, resource: &[KeyValue], level: Option<&str>) -> BTreeMap<String, String> {
    let mut out = BTreeMap::from([("exporter".to_string(), "OTLP".to_string())]);
    let own = |key| find(resource, key).map(|a| text(a.value.as_ref()));
    if let Some(name) = own("service.name") {
        let job = own("service.namespace").map(|namespace| format!("{namespace}/{name}"));
        out.insert("job".into(), job.unwrap_or(name));
    }
    if let Some(instance) = own("service.instance.id") {
        out.insert("instance".into(), instance);
    }
    for hint in [find(resource, HINT_RESOURCES), find(&log.attributes, HINT_RESOURCES)].into_iter().flatten()
    {
        promote(&mut out, resource, &names(hint.value.as_ref()));
    }
    if let Some(hint) = find(&log.attributes, HINT_ATTRIBUTES) {
        promote(&mut out, &log.attributes, &names(hint.value.as_ref()));
    }
    if let Some(level) = level
        && takes_level(find(&log.attributes, HINT_ATTRIBUTES))
    {
        // An attribute of that name wins over the severity.
        let own = find(&log.attributes, LEVEL).map(|a| text(a.value.as_ref()));
        out.insert(LEVEL.into(), own.unwrap_or_else(|| level.to_string()));
    }
    match (find(resource, HINT_TENANT), find(&log.attributes, HINT_TENANT)) {
        (Some(hint), _) => promote(&mut out, resource, &names(hint.value.as_ref())),
        (None, Some(hint)) => promote(&mut out, &log.attributes, &names(hint.value.as_ref())),
        (None, None) => {}
    }
    out
}

/// A hint that is no text and no list cannot be added to.
fn takes_level(hint: Option<&KeyValue>) -> bool {
    let value = hint.map(|hint| hint.value.as_ref().and_then(|value| value.value.as_ref()));
    matches!(value, None | Some(Some(Value::StringValue(_) | Value::ArrayValue(_))))
}

/// What a hint names.
fn names(hint: Option<&AnyValue>) -> Vec<String> {
    match hint.and_then(|hint| hint.value.as_ref()) {
        Some(Value::ArrayValue(list)) => list.values.iter().map(|value| text(Some(value))).collect(),
        _ => text(hint).split(',').map(|name| name.trim().to_string()).collect(),
    }
}

fn promote(out: &mut BTreeMap<String, String>, attributes: &[KeyValue], names: &[String]) {
    for name in names {
        let own = find(attributes, name).map(|a| a.value.as_ref()).or_else(|| nested(attributes, name));
        if let Some(value) = own {
            out.insert(name.clone(), text(value));
        }
    }
}

/// `a.b` is `b` of the map `a`.
fn nested<'a>(attributes: &'a [KeyValue], path: &str) -> Option<Option<&'a AnyValue>> {
    let (first, rest) = path.split_once('.')?;
    let value = find(attributes, first)?.value.as_ref();
    let Some(Value::KvlistValue(map)) = value.and_then(|value| value.value.as_ref()) else { return None };
    find(&map.values, rest).map(|a| a.value.as_ref()).or_else(|| nested(&map.values, rest))
}

fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a KeyValue> {
    attributes.iter().find(|a| a.key == key)
}

fn logfmt_line(record: &Record<'_>) -> String {
    let log = record.log;
    let mut line = Line::default();
    match log.body.as_ref().and_then(|body| body.value.as_ref()) {
        None => {}
        Some(Value::StringValue(body)) => match logfmt::parse(body) {
            // Of several lines the collector keeps the first.
            Some(pairs) if !body.contains('\n') => {
                pairs.into_iter().for_each(|(key, value)| line.push(key, value));
            }
            _ => line.push("msg", body.as_str()),
        },
        Some(Value::KvlistValue(_)) => line.flatten("", log.body.as_ref()),
        Some(Value::ArrayValue(_)) => line.flatten("body", log.body.as_ref()),
        Some(_) => line.push("msg", logfmt::scalar(log.body.as_ref())),
    }
    for (name, id) in [("traceID", &log.trace_id), ("spanID", &log.span_id)] {
        if id.iter().any(|byte| *byte != 0) {
            line.set(name, const_hex::encode(id));
        }
    }
    if !log.severity_text.is_empty() {
        line.set("severity", log.severity_text.as_str());
    }
    if log.flags != 0 {
        line.set("flags", log.flags.to_string());
    }
    for (prefix, list) in [("attribute", &record.attributes), ("resource", &record.resource)] {
        list.iter().for_each(|(key, value)| line.flatten(&format!("{prefix}_{key}"), value.get()));
    }
    if let Some(scope) = record.scope.filter(|scope| !scope.name.is_empty()) {
        line.push("instrumentation_scope_name", scope.name.as_str());
        if !scope.version.is_empty() {
            line.push("instrumentation_scope_version", scope.version.as_str());
        }
    }
    line.finish()
}
