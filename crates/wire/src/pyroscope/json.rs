//! Reads `push.v1.PushRequest` in JSON as protobuf's JSON mapping has it: `{"series": [{"labels": [{"name": "…",
//! "value": "…"}], "samples": [{"rawProfile": "<base64>", "ID": "…"}]}]}`. Fields may be `null` or have their names
//! of the schema (`raw_profile`); what is unknown is skipped.
//!
//! Series are taken one at a time, and within one the lists are bounded, so that a body of empty objects costs no
//! more than the limit.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use signal::profiles::{Pprof, Profile};

use super::MAX_LABELS;
use super::decode::{DecodeError, Sink};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Samples of one series in a body; other than in protobuf they stand in memory together.
const MAX_SAMPLES: usize = 10_000;

/// Reads a decompressed body in JSON, as [`super::decode`] does with protobuf. Profiles are decoded from base64, so
/// that they count against the limit too.
///
/// # Errors
/// If the body is none, or too much.
pub fn decode_json(body: &[u8], limit: usize) -> Result<Vec<Profile>, DecodeError> {
    let mut request = Request { sink: Sink::new(limit), failed: None };
    let mut json = serde_json::Deserializer::from_slice(body);
    let result = RequestSeed(&mut request).deserialize(&mut json).and_then(|()| json.end());
    match (request.failed, result) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(DecodeError::Json(error.to_string())),
        (None, Ok(())) => Ok(request.sink.profiles),
    }
}

struct Request {
    sink: Sink,
    /// An error of ours on its way through `serde`.
    failed: Option<DecodeError>,
}

impl Request {
    fn take(&mut self, series: &Series<'_>) -> Result<(), DecodeError> {
        let pairs: Vec<_> = series.labels.0.iter().map(|l| (text(&l.name), text(&l.value))).collect();
        let labels = self.sink.labels(&pairs)?;
        for sample in &series.samples.0 {
            let encoded = sample.raw_profile.as_ref().map_or("", |raw| &*raw.0);
            self.sink.spend(encoded.len() / 4 * 3 + 3)?;
            let safe = encoded.bytes().any(|b| matches!(b, b'-' | b'_'));
            let raw = if safe { URL_SAFE.decode(encoded) } else { STANDARD.decode(encoded) };
            let raw: Bytes =
                raw.map_err(|error| DecodeError::Json(format!("rawProfile is no base64: {error}")))?.into();
            let id = text(&sample.id).into();
            self.sink.push(&labels, Pprof { id, raw })?;
        }
        Ok(())
    }
}

fn text<'a>(text: &'a Option<Text<'_>>) -> &'a str {
    text.as_ref().map_or("", |text| &text.0)
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Series<'a> {
    #[serde(borrow)]
    labels: Bounded<Label<'a>, MAX_LABELS>,
    #[serde(borrow)]
    samples: Bounded<Sample<'a>, MAX_SAMPLES>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Label<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    value: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Sample<'a> {
    #[serde(borrow, rename = "rawProfile", alias = "raw_profile")]
    raw_profile: Option<Text<'a>>,
    #[serde(borrow, rename = "ID")]
    id: Option<Text<'a>>,
}

/// A list of at most so many elements; `null` is an empty one.
struct Bounded<T, const MOST: usize>(Vec<T>);

impl<T, const MOST: usize> Default for Bounded<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Bounded<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for List<T, MOST> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Vec::new())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(element) = elements.next_element()? {
                    if list.len() == MOST {
                        return Err(A::Error::custom(format!("an array has more than {MOST} elements")));
                    }
                    list.push(element);
                }
                Ok(list)
            }
        }
        deserializer.deserialize_any(List::<T, MOST>(PhantomData)).map(Self)
    }
}

struct RequestSeed<'a>(&'a mut Request);

impl<'de> DeserializeSeed<'de> for RequestSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RequestSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with series")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<Text<'de>>()? {
            if name.0 == "series" {
                fields.next_value_seed(SeriesSeed(self.0))?;
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct SeriesSeed<'a>(&'a mut Request);

impl<'de> DeserializeSeed<'de> for SeriesSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SeriesSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of series")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(series) = elements.next_element::<Series<'de>>()? {
            if let Err(error) = self.0.take(&series) {
                let text = error.to_string();
                self.0.failed = Some(error);
                return Err(A::Error::custom(text));
            }
        }
        Ok(())
    }
}
