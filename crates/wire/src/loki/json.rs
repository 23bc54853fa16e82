//! Reads push requests in JSON: `{"streams": [{"stream": {…}, "values": [["<ns>", "line", {…}]]}]}`, and the
//! older `{"streams": [{"labels": "{…}", "entries": [{"ts": "<RFC 3339>", "line": "…"}]}]}`.
//!
//! The form is told by the fields of each stream, not by the path. Depth is bounded by `serde_json` (128); what
//! is unknown is skipped without recursion. A line without escapes borrows from the body.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use signal::Labels;
use signal::logs::Entry;

use super::MAX_LABELS;
use super::decode::{DecodeError, Received, Sink, clamp_ns};

/// Reads a decompressed body in JSON, as [`super::decode`] does with protobuf.
pub fn decode_json(body: &Bytes, received_ms: i64, limit: usize) -> Result<Received, DecodeError> {
    let mut sink = Sink::new(received_ms, limit);
    let text = match ByteString::try_from(body.clone()) {
        Ok(text) => text,
        Err(_) => {
            // An invalid byte becomes three.
            sink.spend(body.len().saturating_mul(3))?;
            sink.text(body).into_owned().into()
        }
    };
    let mut reader = JsonReader { body: &text, sink, entries: Vec::new(), failed: None };
    let mut json = serde_json::Deserializer::from_str(&text);
    let result = Request(&mut reader).deserialize(&mut json).and_then(|()| json.end());
    match (reader.failed, result) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(DecodeError::Json(error.to_string())),
        (None, Ok(())) => Ok(reader.sink.finish()),
    }
}

struct JsonReader<'a> {
    body: &'a ByteString,
    sink: Sink,
    /// Those of the stream being read: its labels may come after them.
    entries: Vec<Entry>,
    /// An error of ours on its way through `serde`.
    failed: Option<DecodeError>,
}

impl<'a> JsonReader<'a> {
    fn pass<T, E: de::Error>(&mut self, result: Result<T, DecodeError>) -> Result<T, E> {
        result.map_err(|error| {
            let text = error.to_string();
            self.failed = Some(error);
            E::custom(text)
        })
    }

    fn push<E: de::Error>(
        &mut self,
        timestamp_ns: i64,
        line: Text<'a>,
        metadata: Pairs<'a>,
    ) -> Result<(), E> {
        let entry = self.entry(timestamp_ns, line, metadata);
        let entry = self.pass(entry)?;
        self.entries.push(entry);
        Ok(())
    }

    fn entry(
        &mut self,
        timestamp_ns: i64,
        line: Text<'a>,
        metadata: Pairs<'a>,
    ) -> Result<Entry, DecodeError> {
        self.sink.spend(size_of::<Entry>())?;
        let line = match line.0 {
            Cow::Borrowed(line) => self.body.slice_ref(line),
            Cow::Owned(line) => {
                self.sink.spend(line.len())?;
                line.into()
            }
        };
        let metadata = match metadata.0.is_empty() {
            true => None,
            false => Some(self.sink.labels(metadata.0)?).filter(|labels| !labels.is_empty()),
        };
        Ok(Entry { stream: 0, timestamp_ns, line, metadata })
    }

    /// The stream is read: its entries go where its labels say.
    fn end_stream(&mut self, labels: Option<StreamLabels<'a>>) -> Result<(), DecodeError> {
        let place = match labels {
            Some(StreamLabels::Pairs(pairs)) => {
                let labels: Labels = self.sink.labels(pairs.0)?;
                Some(self.sink.stream(&labels)?)
            }
            Some(StreamLabels::String(text)) => self.sink.stream_of_string(text.0.as_bytes())?,
            // Without labels it is refused, as the empty string is.
            None => self.sink.stream_of_string(b"")?,
        };
        let mut entries = std::mem::take(&mut self.entries);
        let pushed = entries.drain(..).try_for_each(|entry| self.sink.push(place, entry));
        self.entries = entries;
        pushed
    }
}

enum StreamLabels<'a> {
    Pairs(Pairs<'a>),
    String(Text<'a>),
}

/// A value that is read with the reader at hand; `null` stands for an empty one.
macro_rules! seed {
    ($name:ident) => {
        struct $name<'r, 'a>(&'r mut JsonReader<'a>);
        impl<'de> DeserializeSeed<'de> for $name<'_, 'de> {
            type Value = ();
            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
                deserializer.deserialize_any(self)
            }
        }
    };
}

/// An array of such values.
macro_rules! array {
    ($name:ident of $element:ident, $expecting:literal) => {
        seed!($name);
        impl<'de> Visitor<'de> for $name<'_, 'de> {
            type Value = ();
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($expecting)
            }
            fn visit_unit<E>(self) -> Result<(), E> {
                Ok(())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
                while array.next_element_seed($element(&mut *self.0))?.is_some() {}
                Ok(())
            }
        }
    };
}

seed!(Request);
array!(Streams of Stream, "an array of streams");
seed!(Stream);
array!(Values of Value, "an array of [timestamp, line] pairs");
seed!(Value);
array!(OldEntries of OldEntry, "an array of entries");
seed!(OldEntry);

impl<'de> Visitor<'de> for Request<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with streams")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Text<'de>>()? {
            match &*key.0 {
                "streams" => map.next_value_seed(Streams(&mut *self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Stream<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stream: an object with stream and values, or labels and entries")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut labels = None;
        while let Some(key) = map.next_key::<Text<'de>>()? {
            match &*key.0 {
                "stream" => labels = Some(StreamLabels::Pairs(map.next_value()?)),
                "labels" => labels = Some(StreamLabels::String(map.next_value()?)),
                "values" => map.next_value_seed(Values(&mut *self.0))?,
                "entries" => map.next_value_seed(OldEntries(&mut *self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let ended = self.0.end_stream(labels);
        self.0.pass(ended)
    }
}

impl<'de> Visitor<'de> for Value<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[\"nanoseconds\", \"line\"] or [\"nanoseconds\", \"line\", {metadata}]")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let timestamp: Text<'de> =
            array.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
        let line: Text<'de> = array.next_element()?.ok_or_else(|| de::Error::invalid_length(1, &self))?;
        let metadata: Pairs<'de> = array.next_element()?.unwrap_or_default();
        while array.next_element::<IgnoredAny>()?.is_some() {}
        let wrong = || de::Error::custom("a timestamp is not a number of nanoseconds");
        let timestamp_ns = timestamp.0.parse().map_err(|_| wrong())?;
        self.0.push(timestamp_ns, line, metadata)
    }
}

impl<'de> Visitor<'de> for OldEntry<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with ts and line")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut timestamp_ns, mut line, mut metadata) = (0, Text::default(), Pairs::default());
        while let Some(key) = map.next_key::<Text<'de>>()? {
            match &*key.0 {
                "ts" => timestamp_ns = rfc3339(&map.next_value::<Text<'de>>()?.0)?,
                "line" => line = map.next_value()?,
                "structuredMetadata" => metadata = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        self.0.push(timestamp_ns, line, metadata)
    }
}

fn rfc3339<E: de::Error>(text: &str) -> Result<i64, E> {
    let timestamp: jiff::Timestamp =
        text.parse().map_err(|_| E::custom("a timestamp is not as RFC 3339 says"))?;
    Ok(clamp_ns(timestamp.as_nanosecond()))
}

/// A string that borrows from the body where it can.
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_bytes<E>(self, text: &'de [u8]) -> Result<Text<'de>, E> {
                Ok(Text(String::from_utf8_lossy(text)))
            }
            fn visit_bytes<E>(self, text: &[u8]) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(String::from_utf8_lossy(text).into_owned())))
            }
        }
        // As bytes, because half of a surrogate pair is an error in a string; Go replaces it.
        deserializer.deserialize_bytes(TextVisitor)
    }
}

/// Labels: an object of strings, or an array of `{"name": …, "value": …}`.
#[derive(Default)]
struct Pairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object whose values are strings")
            }
            fn visit_unit<E>(self) -> Result<Pairs<'de>, E> {
                Ok(Pairs::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Pairs::default();
                while let Some((name, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    pairs.push(name, value)?;
                }
                Ok(pairs)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Pairs::default();
                while let Some(pair) = array.next_element::<Pair<'de>>()? {
                    pairs.push(pair.name, pair.value)?;
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_any(PairsVisitor)
    }
}

impl<'a> Pairs<'a> {
    fn push<E: de::Error>(&mut self, name: Text<'a>, value: Text<'a>) -> Result<(), E> {
        if self.0.len() == MAX_LABELS {
            return Err(E::custom(DecodeError::TooManyLabels));
        }
        self.0.push((name.0, value.0));
        Ok(())
    }
}

#[derive(serde::Deserialize)]
struct Pair<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    value: Text<'a>,
}
