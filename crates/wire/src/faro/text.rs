//! Values as the SDK may write them: texts that are numbers, maps with anything in them, `null` for nothing.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A text. Numbers and booleans are taken as they are written, `null` is empty, lists and objects are JSON.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        if raw == "null" {
            return Ok(Self::default());
        }
        if !raw.starts_with('"') {
            return Ok(Self(Cow::Borrowed(raw)));
        }
        let inner = &raw[1..raw.len() - 1];
        if !inner.contains('\\') {
            return Ok(Self(Cow::Borrowed(inner)));
        }
        serde_json::from_str(raw).map(|text: String| Self(text.into())).map_err(de::Error::custom)
    }
}

/// Texts by their keys, sorted: Alloy writes them so. Of keys that come twice the last stays.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Map<'a, V>(pub Vec<(Cow<'a, str>, V)>);

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for Map<'a, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for All<V> {
            type Value = Vec<(Cow<'de, str>, V)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some((Text(key), value)) = map.next_entry()? {
                    all.push((key, value));
                }
                // Stable, so that the last of equal keys is the last written.
                all.sort_by(|(a, _): &(Cow<'_, str>, V), (b, _)| a.cmp(b));
                Ok(all)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Vec::new())
            }
        }

        deserializer.deserialize_any(All(PhantomData)).map(Map)
    }
}
