//! Both versions in JSON: the list is read span by span, so that what is not translated yet is one span at most.
//!
//! Depth is bounded by `serde_json` (128); what is unknown is skipped without recursion. Text without escapes
//! borrows from the body.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Endpoint, Error};

/// A span of version 2.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct V2Span<'a> {
    #[serde(borrow)]
    pub(super) trace_id: Text<'a>,
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) parent_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) kind: Text<'a>,
    #[serde(borrow, default)]
    pub(super) name: Text<'a>,
    #[serde(default)]
    pub(super) timestamp: Number,
    #[serde(default)]
    pub(super) duration: Number,
    #[serde(borrow, default)]
    pub(super) local_endpoint: Option<JsonEndpoint<'a>>,
    #[serde(borrow, default)]
    pub(super) remote_endpoint: Option<JsonEndpoint<'a>>,
    #[serde(borrow, default)]
    pub(super) annotations: Option<Vec<V2Annotation<'a>>>,
    #[serde(borrow, default)]
    pub(super) tags: Tags<'a>,
    #[serde(default)]
    pub(super) debug: Option<bool>,
    #[serde(default)]
    pub(super) shared: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(super) struct V2Annotation<'a> {
    #[serde(default)]
    pub(super) timestamp: Number,
    #[serde(borrow)]
    pub(super) value: Text<'a>,
}

/// A span of version 1.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct V1Span<'a> {
    #[serde(borrow)]
    pub(super) trace_id: Text<'a>,
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) parent_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) name: Text<'a>,
    #[serde(default)]
    pub(super) timestamp: Number,
    #[serde(default)]
    pub(super) duration: Number,
    #[serde(borrow, default)]
    pub(super) annotations: Option<Vec<V1Annotation<'a>>>,
    #[serde(borrow, default)]
    pub(super) binary_annotations: Option<Vec<V1Binary<'a>>>,
    #[serde(default)]
    pub(super) debug: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(super) struct V1Annotation<'a> {
    #[serde(default)]
    pub(super) timestamp: Number,
    #[serde(borrow)]
    pub(super) value: Text<'a>,
    #[serde(borrow, default)]
    pub(super) endpoint: Option<JsonEndpoint<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct V1Binary<'a> {
    #[serde(borrow)]
    pub(super) key: Text<'a>,
    #[serde(borrow)]
    pub(super) value: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) endpoint: Option<JsonEndpoint<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JsonEndpoint<'a> {
    #[serde(borrow, default)]
    service_name: Text<'a>,
    #[serde(borrow, default)]
    ipv4: Text<'a>,
    #[serde(borrow, default)]
    ipv6: Text<'a>,
    #[serde(default)]
    port: Number,
}

impl<'a> From<JsonEndpoint<'a>> for Endpoint<'a> {
    fn from(json: JsonEndpoint<'a>) -> Self {
        Self {
            service: json.service_name.0,
            ipv4: json.ipv4.0,
            ipv6: json.ipv6.0,
            port: u16::try_from(json.port.0.unwrap_or(0)).unwrap_or(0),
        }
    }
}

/// A text; `null` is an empty one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

/// A whole number, however it is written; `null` is none. Fractions are cut off.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(pub(super) Option<i64>);

/// Texts by their keys, in the order in which they come.
#[derive(Debug, Default)]
pub(super) struct Tags<'a>(pub(super) Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// The value of a binary annotation.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar<'a> {
    Text(Cow<'a, str>),
    Bool(bool),
    Int(i64),
    Double(f64),
}

struct AnyText<'a>(PhantomData<&'a ()>);

impl<'de> Visitor<'de> for AnyText<'de> {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Text::default())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyText(PhantomData))
    }
}

struct AnyScalar<'a>(PhantomData<&'a ()>);

impl<'de> Visitor<'de> for AnyScalar<'de> {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, number or boolean")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Scalar::Double(value as f64), Scalar::Int))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Double(value))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed("")))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyScalar(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyNumber;

        impl Visitor<'_> for AnyNumber {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number that is not negative")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number(Some(i64::try_from(value).unwrap_or(i64::MAX))))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Number, E> {
                if value.is_sign_negative() && value != 0.0 {
                    return Err(E::invalid_value(de::Unexpected::Float(value), &self));
                }
                Ok(Number(Some(value as i64)))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Number, E> {
                Ok(Number(None))
            }
        }

        deserializer.deserialize_any(AnyNumber)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Tags<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AllTags<'a>(PhantomData<&'a ()>);

        impl<'de> Visitor<'de> for AllTags<'de> {
            type Value = Tags<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut tags = Vec::new();
                while let Some((Text(key), Text(value))) = map.next_entry()? {
                    tags.push((key, value));
                }
                Ok(Tags(tags))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Tags::default())
            }
        }

        deserializer.deserialize_any(AllTags(PhantomData))
    }
}

/// Reads a list and hands on its elements one by one; `null` among them is passed over.
pub(super) fn each<'de, T: Deserialize<'de>>(
    body: &'de str,
    f: impl FnMut(T) -> Result<(), Error>,
) -> Result<(), Error> {
    struct Each<'f, T, F> {
        f: F,
        failed: &'f mut Option<Error>,
        item: PhantomData<T>,
    }

    impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), Error>> Visitor<'de> for Each<'_, T, F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of spans")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
            while let Some(item) = list.next_element::<Option<T>>()? {
                if let Some(Err(error)) = item.map(&mut self.f) {
                    *self.failed = Some(error);
                    return Err(de::Error::custom("a span is bad"));
                }
            }
            Ok(())
        }
    }

    let mut failed = None;
    let mut json = serde_json::Deserializer::from_str(body);
    let result =
        json.deserialize_seq(Each { f, failed: &mut failed, item: PhantomData }).and_then(|()| json.end());
    match (failed, result) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(Error::Json(error.to_string())),
        (None, Ok(())) => Ok(()),
    }
}
