//! What decoders of foreign span formats share: a bound on what they make of a body, grouping into resources and
//! scopes, attributes, and a list of what OTLP has no place for.
//!
//! Invariant: no decoder allocates more than [`memory`] of its input's length, whatever the input claims.

use std::borrow::Cow;
use std::hash::Hash;

use hashbrown::HashMap;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};

/// Bytes of decoded spans that a byte of a body may become. A tag of eight bytes becomes some 160; what is beyond
/// that on average is not telemetry but a list of nothings.
const GROWTH: usize = 24;
/// What any body may become, so that short ones need no average.
const LEAST: usize = 64 << 10;

/// Bytes of memory that decoding may take for a body of a length.
pub fn memory(body: usize) -> usize {
    body.saturating_mul(GROWTH).saturating_add(LEAST)
}

/// A body would take more memory than one of its length may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body holds more items than telemetry of its size can")]
pub struct TooMuch;

/// What is left of the memory that a body may take.
#[derive(Debug)]
pub(crate) struct Meter {
    left: usize,
    total: usize,
}

impl Meter {
    /// For a body of a length.
    pub(crate) fn of(body: usize) -> Self {
        let total = memory(body);
        Self { left: total, total }
    }

    /// Takes so much.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), TooMuch> {
        self.left = self.left.checked_sub(bytes).ok_or(TooMuch)?;
        Ok(())
    }

    /// Takes an item of a list, and what it holds outside of itself.
    pub(crate) fn item<T>(&mut self, beside: usize) -> Result<(), TooMuch> {
        self.spend(size_of::<T>().saturating_add(beside))
    }

    /// What was taken.
    pub(crate) fn used(&self) -> usize {
        self.total - self.left
    }
}

/// Parts of spans that OTLP has no place for, or that came twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped(Vec<(&'static str, &'static str, u64)>);

impl Dropped {
    pub(crate) fn add(&mut self, what: &'static str, why: &'static str, count: usize) {
        if count == 0 {
            return;
        }
        match self.0.iter_mut().find(|(a, b, _)| (*a, *b) == (what, why)) {
            Some((_, _, sum)) => *sum += count as u64,
            None => self.0.push((what, why, count as u64)),
        }
    }

    /// What, why, and how many.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
        self.0.iter().copied()
    }
}

/// Spans that have become OTLP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Converted {
    /// As an export request.
    pub request: ExportTraceServiceRequest,
    /// What is not in it.
    pub dropped: Dropped,
    /// Bytes of memory that it takes, at most.
    pub memory: usize,
}

/// Collects spans below their resources and scopes, both in the order in which they first come.
pub(crate) struct Groups<K> {
    out: Vec<ResourceSpans>,
    resources: HashMap<K, usize, foldhash::fast::RandomState>,
    scopes: HashMap<(usize, String, String), usize, foldhash::fast::RandomState>,
}

impl<K: Hash + Eq> Groups<K> {
    pub(crate) fn new() -> Self {
        Self { out: Vec::new(), resources: HashMap::default(), scopes: HashMap::default() }
    }

    /// The place of a resource; made from its key when it first comes.
    pub(crate) fn resource(&mut self, key: K, make: impl FnOnce(&K) -> Vec<KeyValue>) -> usize {
        if let Some(place) = self.resources.get(&key) {
            return *place;
        }
        let attributes = make(&key);
        let resource = Some(Resource { attributes, ..Resource::default() });
        self.out.push(ResourceSpans { resource, ..ResourceSpans::default() });
        self.resources.insert(key, self.out.len() - 1);
        self.out.len() - 1
    }

    /// Adds a span.
    pub(crate) fn push(&mut self, resource: usize, (name, version): (String, String), span: Span) {
        let scopes = &mut self.out[resource].scope_spans;
        let place = *self.scopes.entry((resource, name, version)).or_insert_with_key(|(_, name, version)| {
            let scope = InstrumentationScope {
                name: name.clone(),
                version: version.clone(),
                ..InstrumentationScope::default()
            };
            scopes.push(ScopeSpans { scope: Some(scope), ..ScopeSpans::default() });
            scopes.len() - 1
        });
        scopes[place].spans.push(span);
    }

    pub(crate) fn finish(self, dropped: Dropped, meter: &Meter) -> Converted {
        let request = ExportTraceServiceRequest { resource_spans: self.out };
        Converted { request, dropped, memory: meter.used() }
    }
}

/// What an item of each list takes beside its own text.
pub(crate) const SPAN: usize = size_of::<Span>() + 64;
pub(crate) const ATTRIBUTE: usize = size_of::<KeyValue>() + 32;

pub(crate) fn attribute(key: impl Into<String>, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(crate) fn text(key: impl Into<String>, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

/// The text of an attribute that has one.
pub(crate) fn as_text(attribute: &KeyValue) -> Option<&str> {
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

pub(crate) fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a KeyValue> {
    attributes.iter().find(|a| a.key == key)
}

/// Takes an attribute out.
pub(crate) fn take(attributes: &mut Vec<KeyValue>, key: &str) -> Option<KeyValue> {
    let place = attributes.iter().position(|a| a.key == key)?;
    Some(attributes.remove(place))
}

/// Takes an attribute with a text out; one without stays.
pub(crate) fn take_text(attributes: &mut Vec<KeyValue>, key: &str) -> Option<String> {
    let place = attributes.iter().position(|a| a.key == key && as_text(a).is_some())?;
    as_text(&attributes.remove(place)).map(str::to_owned)
}

/// Keeps the last of the attributes of one key; answers how many went.
pub(crate) fn unique(attributes: &mut Vec<KeyValue>) -> usize {
    const FEW: usize = 16;
    let before = attributes.len();
    let repeated = |at: usize| attributes[at + 1..].iter().any(|later| later.key == attributes[at].key);
    if before <= FEW && !(0..before).any(repeated) {
        return 0;
    }
    let mut last = vec![true; before];
    {
        let mut seen = HashMap::<&str, usize, foldhash::fast::RandomState>::default();
        for (at, attribute) in attributes.iter().enumerate() {
            if let Some(earlier) = seen.insert(&attribute.key, at) {
                last[earlier] = false;
            }
        }
    }
    let mut keep = last.into_iter();
    attributes.retain(|_| keep.next().unwrap_or(true));
    before - attributes.len()
}

/// Microseconds since the epoch as nanoseconds.
pub(crate) fn micros(micros: i64) -> u64 {
    u64::try_from(micros).unwrap_or(0).saturating_mul(1000)
}

/// Text of a format that does not promise UTF-8: what is not becomes replacement characters.
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_attributes_with_one_key_the_last_stays() {
        for many in [0, 40] {
            let mut all: Vec<_> = ["a", "b", "a", "c", "a"].iter().map(|k| text(*k, "old")).collect();
            all.extend((0..many).map(|n| text(n.to_string(), "x")));
            all.push(text("a", "new"));
            assert_eq!(unique(&mut all), 3);
            let keys: Vec<_> =
                all.iter().map(|a| a.key.as_str()).filter(|k| k.parse::<u8>().is_err()).collect();
            assert_eq!(keys, ["b", "c", "a"]);
            assert_eq!(find(&all, "a").and_then(as_text), Some("new"));
        }
    }

    #[test]
    fn a_meter_ends_where_its_body_does() {
        let mut meter = Meter::of(10);
        assert_eq!(meter.spend(memory(10)), Ok(()));
        assert_eq!(meter.spend(1), Err(TooMuch));
        assert_eq!(meter.used(), memory(10));
    }
}
