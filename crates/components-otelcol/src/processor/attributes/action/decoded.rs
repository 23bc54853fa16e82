//! Actions on decoded attributes: what the byte path is compared with.

use signal::otlp::proto::common::v1::KeyValue;

use super::*;

impl Action {
    /// Does it; whether anything has changed.
    pub(crate) fn apply_decoded(
        &self,
        attributes: &mut Vec<KeyValue>,
        client: Option<&ClientMetadata>,
    ) -> bool {
        match &self.kind {
            What::Set { if_absent, if_present, source } => {
                let present = attributes.iter().position(|a| a.key == self.key);
                if !(if present.is_some() { *if_present } else { *if_absent }) {
                    return false;
                }
                let Some(value) = source.value_decoded(attributes, client) else { return false };
                put(attributes, present, &self.key, value)
            }
            What::Delete(pattern) => {
                let before = attributes.len();
                attributes.retain(|a| !self.names_decoded(&a.key, pattern.as_ref()));
                attributes.len() != before
            }
            What::Hash(pattern) => {
                let mut changed = false;
                for a in attributes.iter_mut().filter(|a| self.names_decoded(&a.key, pattern.as_ref())) {
                    a.value = Some(text(hash(a.value.as_ref())));
                    changed = true;
                }
                changed
            }
            What::Extract { pattern, names } => self.extract_decoded(pattern, names, attributes),
            What::Convert(target) => {
                let found = attributes.iter_mut().find(|a| a.key == self.key);
                let converted = found.and_then(|a| Some((converted(a.value.as_ref(), *target)?, a)));
                converted.is_some_and(|(value, a)| {
                    a.value = Some(value);
                    true
                })
            }
        }
    }

    fn names_decoded(&self, key: &str, pattern: Option<&Regex>) -> bool {
        (!self.key.is_empty() && key == self.key) || pattern.is_some_and(|p| p.is_match(key))
    }

    fn extract_decoded(&self, pattern: &Regex, names: &[String], attributes: &mut Vec<KeyValue>) -> bool {
        let found = attributes.iter().find(|a| a.key == self.key).and_then(|a| a.value.as_ref());
        let Some(Kind::StringValue(from)) = found.and_then(|v| v.value.as_ref()) else { return false };
        let Some(groups) = pattern.captures(from) else { return false };
        let values: Vec<_> =
            (1..=names.len()).map(|group| groups.get(group).unwrap_or_default().to_string()).collect();
        for (name, value) in names.iter().zip(values) {
            let present = attributes.iter().position(|a| a.key == *name);
            put(attributes, present, name, text(value));
        }
        true
    }
}

impl Source {
    fn value_decoded(&self, attributes: &[KeyValue], client: Option<&ClientMetadata>) -> Option<AnyValue> {
        match self {
            Self::Value(value) => crate::value::decoded(Some(value)),
            Self::Attribute(key) => {
                attributes.iter().find(|a| a.key == *key).map(|a| a.value.clone().unwrap_or_default())
            }
            Self::Metadata(name) => {
                let values: Vec<_> = client?.values(name).collect();
                (!values.is_empty()).then(|| text(values.join(";")))
            }
            Self::Address => {
                let peer = &client?.peer;
                let address = peer.parse::<std::net::SocketAddr>().map(|a| a.ip().to_string());
                (!peer.is_empty()).then(|| text(address.unwrap_or_else(|_| peer.clone())))
            }
        }
    }
}

fn put(attributes: &mut Vec<KeyValue>, present: Option<usize>, key: &str, value: AnyValue) -> bool {
    let value = Some(value);
    match present {
        Some(at) if attributes[at].value == value => return false,
        Some(at) => attributes[at].value = value,
        None => attributes.push(KeyValue { key: key.to_string(), value, ..KeyValue::default() }),
    }
    true
}

fn text(text: String) -> AnyValue {
    AnyValue { value: Some(Kind::StringValue(text)) }
}

/// In hexadecimal; nothing for what has no bytes of its own.
fn hash(value: Option<&AnyValue>) -> String {
    let bytes = match value.and_then(|v| v.value.as_ref()) {
        Some(Kind::StringValue(text)) => text.as_bytes().to_vec(),
        Some(Kind::BoolValue(v)) => vec![u8::from(*v)],
        Some(Kind::IntValue(v)) => v.to_le_bytes().to_vec(),
        Some(Kind::DoubleValue(v)) => v.to_bits().to_le_bytes().to_vec(),
        _ => Vec::new(),
    };
    if bytes.is_empty() { String::new() } else { const_hex::encode(Sha256::digest(&bytes)) }
}

/// The value with another type; `None` where it has that type or cannot have it.
fn converted(value: Option<&AnyValue>, target: Target) -> Option<AnyValue> {
    let kind = value.and_then(|v| v.value.as_ref());
    let new = match (target, kind) {
        (Target::Text, Some(Kind::StringValue(_))) => return None,
        (Target::Text, _) => Kind::StringValue(value::text(value)),
        (Target::Int, Some(Kind::DoubleValue(v))) => Kind::IntValue(*v as i64),
        (Target::Int, Some(Kind::BoolValue(v))) => Kind::IntValue(i64::from(*v)),
        (Target::Int, Some(Kind::StringValue(text))) => Kind::IntValue(text.parse().ok()?),
        (Target::Double, Some(Kind::IntValue(v))) => Kind::DoubleValue(*v as f64),
        (Target::Double, Some(Kind::BoolValue(v))) => Kind::DoubleValue(f64::from(u8::from(*v))),
        (Target::Double, Some(Kind::StringValue(text))) => Kind::DoubleValue(text.parse().ok()?),
        _ => return None,
    };
    Some(AnyValue { value: Some(new) })
}
