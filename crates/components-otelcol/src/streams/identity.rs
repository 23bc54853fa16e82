//! Who a stream is, as 128 bits.
//!
//! Invariant: the order of attributes makes no difference, types of values do. Two streams share an identity by
//! chance once in 2^64 pairs; a seed drawn at start keeps anyone from making two that do.

use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use signal::otlp::proto::metrics::v1::Metric;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::resource::v1::Resource;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128_with_seed;

static SEED: LazyLock<u64> = LazyLock::new(|| fastrand::u64(..));

/// The identity of a resource, a scope, a metric or a stream, each within the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(u128);

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Its bits are as good as random.
        state.write_u64(self.0 as u64);
    }
}

type Text = SmallVec<[u8; 512]>;

impl Identity {
    /// Of a resource: its attributes.
    pub fn resource(resource: Option<&Resource>) -> Self {
        Self::of(resource.map(|r| r.attributes.as_slice()).unwrap_or_default())
    }

    /// Of attributes by themselves.
    pub fn of(list: &[KeyValue]) -> Self {
        let mut text = Text::new();
        attributes(list, &mut text);
        Self::hash_of(&text)
    }

    /// Of bytes that say who somebody is.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self::hash_of(bytes)
    }

    /// Of a scope in this resource.
    pub fn scope(self, scope: Option<&InstrumentationScope>) -> Self {
        let mut text = self.begin(b'S');
        if let Some(scope) = scope {
            string(&scope.name, &mut text);
            string(&scope.version, &mut text);
            attributes(&scope.attributes, &mut text);
        }
        Self::hash_of(&text)
    }

    /// Of a metric in this scope: its name, unit, type, temporality and whether it is monotonic.
    pub fn metric(self, metric: &Metric) -> Self {
        let mut text = self.begin(b'M');
        string(&metric.name, &mut text);
        string(&metric.unit, &mut text);
        let (kind, temporality, monotonic) = match &metric.data {
            None => (0, 0, false),
            Some(Data::Gauge(_)) => (1, 0, false),
            Some(Data::Sum(sum)) => (2, sum.aggregation_temporality, sum.is_monotonic),
            Some(Data::Histogram(h)) => (3, h.aggregation_temporality, false),
            Some(Data::ExponentialHistogram(h)) => (4, h.aggregation_temporality, false),
            Some(Data::Summary(_)) => (5, 0, false),
        };
        text.extend_from_slice(&[kind, u8::from(monotonic)]);
        text.extend_from_slice(&temporality.to_le_bytes());
        Self::hash_of(&text)
    }

    /// Of the stream of this metric whose points have these attributes.
    pub fn stream(self, list: &[KeyValue]) -> Self {
        let mut text = self.begin(b'P');
        attributes(list, &mut text);
        Self::hash_of(&text)
    }

    /// Of what has these bounds within this stream.
    pub fn bounds(self, bounds: &[f64]) -> Self {
        let mut text = self.begin(b'B');
        bounds.iter().for_each(|bound| text.extend_from_slice(&bound.to_bits().to_le_bytes()));
        Self::hash_of(&text)
    }

    fn begin(self, level: u8) -> Text {
        let mut text = Text::from_slice(&self.0.to_le_bytes());
        text.push(level);
        text
    }

    fn hash_of(bytes: &[u8]) -> Self {
        Self(xxh3_128_with_seed(bytes, *SEED))
    }
}

fn string(value: &str, text: &mut Text) {
    text.extend_from_slice(&(value.len() as u64).to_le_bytes());
    text.extend_from_slice(value.as_bytes());
}

fn attributes(list: &[KeyValue], text: &mut Text) {
    text.extend_from_slice(&(list.len() as u64).to_le_bytes());
    let mut one = |attribute: &KeyValue| {
        string(&attribute.key, text);
        any(attribute.value.as_ref(), text);
    };
    if list.is_sorted_by(|a, b| a.key <= b.key) {
        list.iter().for_each(&mut one);
        return;
    }
    let mut order: SmallVec<[&KeyValue; 32]> = list.iter().collect();
    order.sort_by(|a, b| a.key.cmp(&b.key));
    order.into_iter().for_each(one);
}

fn any(value: Option<&AnyValue>, text: &mut Text) {
    match value.and_then(|v| v.value.as_ref()) {
        None => text.push(0),
        Some(Value::StringValue(v)) => {
            text.push(1);
            string(v, text);
        }
        Some(Value::BoolValue(v)) => text.extend_from_slice(&[2, u8::from(*v)]),
        Some(Value::IntValue(v)) => {
            text.push(3);
            text.extend_from_slice(&v.to_le_bytes());
        }
        Some(Value::DoubleValue(v)) => {
            text.push(4);
            text.extend_from_slice(&v.to_bits().to_le_bytes());
        }
        Some(Value::ArrayValue(list)) => {
            text.push(5);
            text.extend_from_slice(&(list.values.len() as u64).to_le_bytes());
            list.values.iter().for_each(|v| any(Some(v), text));
        }
        Some(Value::KvlistValue(map)) => {
            text.push(6);
            attributes(&map.values, text);
        }
        Some(Value::BytesValue(v)) => {
            text.push(7);
            text.extend_from_slice(&(v.len() as u64).to_le_bytes());
            text.extend_from_slice(v);
        }
        Some(Value::StringValueStrindex(v)) => {
            text.push(8);
            text.extend_from_slice(&v.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use signal::otlp::proto::metrics::v1::{Gauge, Sum};

    use super::*;

    fn attribute(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
    }

    #[test]
    fn the_order_of_attributes_makes_no_difference_and_everything_else_does() {
        let (a, b) = (attribute("a", Value::IntValue(1)), attribute("b", Value::StringValue("x".into())));
        let id = |list: &[KeyValue]| Identity::of(list);
        assert_eq!(id(&[a.clone(), b.clone()]), id(&[b.clone(), a.clone()]));
        let others = [
            vec![a.clone()],
            vec![a.clone(), attribute("b", Value::StringValue("y".into()))],
            vec![attribute("a", Value::DoubleValue(1.0)), b.clone()],
            vec![attribute("a", Value::StringValue("1".into())), b.clone()],
            vec![a.clone(), b.clone(), attribute("c", Value::BoolValue(false))],
            vec![attribute("ab", Value::StringValue(String::new())), b.clone()],
        ];
        for other in others {
            assert_ne!(id(&other), id(&[a.clone(), b.clone()]), "{other:?}");
        }
    }

    #[test]
    fn a_stream_is_its_resource_scope_metric_and_attributes() {
        let resource =
            Resource { attributes: vec![attribute("r", Value::IntValue(1))], ..Default::default() };
        let scope = InstrumentationScope { name: "s".into(), version: "1".into(), ..Default::default() };
        let metric = |unit: &str, data| Metric {
            name: "m".into(),
            unit: unit.into(),
            data: Some(data),
            ..Default::default()
        };
        let sum = |temporality, is_monotonic| {
            Data::Sum(Sum { aggregation_temporality: temporality, is_monotonic, ..Default::default() })
        };
        let of = |r: Option<&Resource>, s: Option<&InstrumentationScope>, m: &Metric| {
            Identity::resource(r).scope(s).metric(m).stream(&[])
        };
        let all = [
            of(Some(&resource), Some(&scope), &metric("By", sum(1, true))),
            of(None, Some(&scope), &metric("By", sum(1, true))),
            of(Some(&resource), None, &metric("By", sum(1, true))),
            of(Some(&resource), Some(&scope), &metric("s", sum(1, true))),
            of(Some(&resource), Some(&scope), &metric("By", sum(2, true))),
            of(Some(&resource), Some(&scope), &metric("By", sum(1, false))),
            of(Some(&resource), Some(&scope), &metric("By", Data::Gauge(Gauge::default()))),
        ];
        for (n, one) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other == one), Some(n));
        }
        assert_eq!(
            of(None, None, &metric("", sum(1, true))),
            of(Some(&Resource::default()), None, &metric("", sum(1, true)))
        );
    }
}
