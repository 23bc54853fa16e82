//! Severities as they are written, and as OTLP numbers them.

use std::collections::BTreeMap;

use component::eval::Value as ConfigValue;
use hashbrown::HashMap;

use super::entry::{Entry, Failure, Field};
use super::options::Options;
use super::value::Value;

/// A range of numbers that a mapping writes out is not longer than this.
const MAX_RANGE: i64 = 10_000;

const NAMES: [&str; 6] = ["trace", "debug", "info", "warn", "error", "fatal"];

/// Where a severity is, and what stands for which.
#[derive(Clone, Debug)]
pub struct Severity {
    from: Field,
    mapping: HashMap<String, i32>,
    overwrite_text: bool,
}

impl Severity {
    /// Reads its options: `parse_from`, `preset`, `mapping`, `overwrite_text`.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        let from = options.required_field("parse_from")?;
        let preset = options.choice("preset", &["default", "none", "otel", "aliases"], "default")?;
        let mut mapping = preset_of(preset);
        let own = match options.raw("mapping") {
            None => BTreeMap::new(),
            Some(ConfigValue::Object(map)) => (*map).clone(),
            Some(_) => return Err(options.error("mapping must be an object")),
        };
        for (name, values) in own {
            let severity = preset_of("otel").get(&name.to_lowercase()).copied();
            let severity =
                severity.ok_or_else(|| options.error(format!("mapping: there is no severity {name:?}")))?;
            let values = match &values {
                ConfigValue::Array(list) => list.as_slice(),
                one => std::slice::from_ref(one),
            };
            for value in values {
                let texts = texts(value).map_err(|e| options.error(format!("mapping > {name}: {e}")))?;
                mapping.extend(texts.into_iter().map(|text| (text, severity)));
            }
        }
        Ok(Self { from, mapping, overwrite_text: options.flag("overwrite_text")? })
    }

    /// Takes the severity of an entry from its field; one that nothing stands for is no severity.
    ///
    /// # Errors
    /// If the field is not there, or is neither text nor a number.
    pub fn apply(&self, entry: &mut Entry) -> Result<(), Failure> {
        let value = entry
            .get(&self.from)
            .ok_or_else(|| Failure::new(format!("the entry has no {} to take a severity from", self.from)))?;
        let text = match value {
            Value::Text(_) | Value::Bytes(_) | Value::Int(_) => value.text(),
            Value::Float(v) if v.fract() == 0.0 => (*v as i64).to_string(),
            other => return Err(Failure::new(format!("a {} is no severity", other.kind()))),
        };
        entry.severity = self.mapping.get(&text.to_lowercase()).copied().unwrap_or(0);
        entry.severity_text = if self.overwrite_text { name(entry.severity) } else { text };
        Ok(())
    }
}

/// The name that OTLP gives a number, with its step, as `INFO2`.
fn name(severity: i32) -> String {
    let Ok(index) = usize::try_from(severity - 1) else { return String::new() };
    let step = if index % 4 == 0 { String::new() } else { (index % 4 + 1).to_string() };
    NAMES.get(index / 4).map_or_else(String::new, |name| format!("{}{step}", name.to_uppercase()))
}

fn preset_of(preset: &str) -> HashMap<String, i32> {
    let mut mapping = HashMap::new();
    if preset == "none" {
        return mapping;
    }
    for number in 1..=24 {
        mapping.insert(number.to_string(), number);
        mapping.insert(name(number).to_lowercase(), number);
    }
    if preset == "default" {
        for (alias, first) in [("warning", 13), ("err", 17)] {
            for step in 0..4 {
                let text = if step == 0 { alias.to_string() } else { format!("{alias}{}", step + 1) };
                mapping.insert(text, first + step);
            }
        }
    }
    mapping
}

fn texts(value: &ConfigValue) -> Result<Vec<String>, String> {
    let range = |from: i64, to: i64| {
        let (from, to) = (from.min(to), from.max(to));
        if to - from > MAX_RANGE {
            return Err(format!("a range has {MAX_RANGE} numbers at most"));
        }
        Ok((from..=to).map(|n| n.to_string()).collect())
    };
    match value {
        ConfigValue::Number(n) => Ok(vec![n.as_i64().to_string()]),
        ConfigValue::String(text) => match &**text {
            "2xx" => range(200, 299),
            "3xx" => range(300, 399),
            "4xx" => range(400, 499),
            "5xx" => range(500, 599),
            text => Ok(vec![text.to_lowercase()]),
        },
        ConfigValue::Object(map) => match (map.get("min"), map.get("max"), map.len()) {
            (Some(ConfigValue::Number(min)), Some(ConfigValue::Number(max)), 2) => {
                range(min.as_i64(), max.as_i64())
            }
            _ => Err("an object has the numbers min and max".into()),
        },
        _ => Err("it must be text, a number, or an object of min and max".into()),
    }
}
