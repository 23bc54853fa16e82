//! Walks over a JSON text once and remembers where the values of paths are.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use signal::re2::Regex;

/// Fields of one object that are of interest.
#[derive(Default)]
pub(super) struct Paths {
    fields: Vec<Field>,
}

struct Field {
    name: String,
    /// Values that are this field.
    values: Vec<usize>,
    /// Values that are below it.
    below: Paths,
}

impl Paths {
    /// Adds a path; what it finds has the place `value`.
    pub(super) fn add(&mut self, path: &[Cow<'_, str>], value: usize) {
        let [name, rest @ ..] = path else { return };
        let at = self.fields.iter().position(|f| f.name == *name).unwrap_or_else(|| {
            self.fields.push(Field { name: name.to_string(), values: Vec::new(), below: Self::default() });
            self.fields.len() - 1
        });
        let field = &mut self.fields[at];
        if rest.is_empty() { field.values.push(value) } else { field.below.add(rest, value) }
    }

    fn find(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    fn forget(&self, values: &mut [Option<&RawValue>]) {
        for field in &self.fields {
            field.values.iter().for_each(|v| values[*v] = None);
            field.below.forget(values);
        }
    }
}

/// The names of a JMESPath expression that only goes down by names: `a`, `a.b`, `a."b-c"`.
pub(super) fn plain_path(expression: &str) -> Option<Vec<Cow<'_, str>>> {
    let mut rest = expression.trim();
    let mut path = Vec::new();
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').filter(|(name, _)| !name.contains('\\'))?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        let quoted = rest.starts_with('"');
        if !quoted && !is_identifier(name) {
            return None;
        }
        path.push(Cow::Borrowed(name));
        if after.is_empty() {
            return Some(path);
        }
        rest = after.strip_prefix('.')?;
    }
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Names of fields, and their values as slices of the text.
type Fields<'a> = Vec<(Cow<'a, str>, &'a str)>;

/// What a walk has found, as slices of the text.
#[derive(Debug)]
pub(super) struct Found<'a> {
    /// In the order of the paths' places.
    pub(super) values: smallvec::SmallVec<[Option<&'a str>; 16]>,
    /// Fields of the outermost object whose name the expression matches.
    pub(super) matched: Fields<'a>,
}

/// `None` where the text is not one JSON object (or null) from its beginning to its end.
pub(super) fn walk<'a>(
    text: &'a str,
    paths: &Paths,
    count: usize,
    regex: Option<&Regex>,
) -> Option<Found<'a>> {
    let mut values: smallvec::SmallVec<[Option<&'a RawValue>; 16]> = smallvec::smallvec![None; count];
    let mut matched = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let object =
        Object { paths, values: &mut values, matched: regex.map(|r| (r, &mut matched)), outermost: true };
    object.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(Found { values: values.iter().map(|v| v.map(RawValue::get)).collect(), matched })
}

struct Object<'p, 'v, 'a> {
    paths: &'p Paths,
    values: &'v mut [Option<&'a RawValue>],
    matched: Option<(&'p Regex, &'v mut Fields<'a>)>,
    outermost: bool,
}

impl<'a> DeserializeSeed<'a> for Object<'_, '_, 'a> {
    type Value = ();
    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Object<'_, '_, 'a> {
    /// A path leads nowhere in a value that is no object; the outermost value has to be one.
    fn no_object<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.outermost { Err(E::custom("not an object")) } else { Ok(()) }
    }
}

impl<'a> Visitor<'a> for Object<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            let field = self.paths.find(&key);
            let matches = self.matched.as_ref().is_some_and(|(regex, _)| regex.is_match(&key));
            let Some(field) = field.filter(|f| !matches && f.values.is_empty()) else {
                if field.is_none() && !matches {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                let raw: &'a RawValue = map.next_value()?;
                if let Some(field) = field {
                    self.take(field, raw)?;
                }
                if let Some((_, matched)) = self.matched.as_mut().filter(|_| matches) {
                    matched.push((key, raw.get()));
                }
                continue;
            };
            // Of two fields with one name the last counts.
            field.below.forget(self.values);
            map.next_value_seed(Object {
                paths: &field.below,
                values: self.values,
                matched: None,
                outermost: false,
            })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.no_object()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.no_object()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.no_object()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.no_object()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.no_object()
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.no_object()
    }
}

impl<'a> Object<'_, '_, 'a> {
    /// A field whose text is wanted as a whole, and perhaps what is below it.
    fn take<E: serde::de::Error>(&mut self, field: &Field, raw: &'a RawValue) -> Result<(), E> {
        field.values.iter().for_each(|v| self.values[*v] = Some(raw));
        if field.below.fields.is_empty() {
            return Ok(());
        }
        field.below.forget(self.values);
        let below = Object { paths: &field.below, values: self.values, matched: None, outermost: false };
        below.deserialize(&mut serde_json::Deserializer::from_str(raw.get())).map_err(E::custom)
    }
}

/// A key as a slice of the text, unless it has escapes.
struct Key;

impl<'a> DeserializeSeed<'a> for Key {
    type Value = Cow<'a, str>;
    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Cow<'a, str>, D::Error> {
        struct Text;
        impl<'a> Visitor<'a> for Text {
            type Value = Cow<'a, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Cow<'a, str>, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E>(self, text: &str) -> Result<Cow<'a, str>, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The elements of an array as slices of the text; `None` where it is not an array, not JSON, or has more than
/// `most` elements.
pub(in crate::process::stages) fn elements(text: &str, most: usize) -> Option<Vec<&str>> {
    struct Elements(usize);
    impl<'a> Visitor<'a> for Elements {
        type Value = Vec<&'a str>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = seq.next_element::<&'a RawValue>()? {
                if elements.len() == self.0 {
                    return Err(serde::de::Error::custom("too many elements"));
                }
                elements.push(element.get());
            }
            Ok(elements)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let elements = deserializer.deserialize_seq(Elements(most)).ok()?;
    deserializer.end().ok()?;
    Some(elements)
}

/// Reads one text of an object's field into place; for callers that know the names.
pub(in crate::process::stages) fn fields<'a, const N: usize>(
    text: &'a str,
    names: [&str; N],
) -> Option<[Option<&'a str>; N]> {
    struct Named<'n, const N: usize>([&'n str; N]);
    impl<'a, const N: usize> Visitor<'a> for Named<'_, N> {
        type Value = [Option<&'a str>; N];
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut values = [None; N];
            while let Some(key) = map.next_key_seed(Key)? {
                match self.0.iter().position(|name| *name == key) {
                    Some(i) => values[i] = Some(map.next_value::<&'a RawValue>()?.get()),
                    None => {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
            }
            Ok(values)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let values = deserializer.deserialize_map(Named(names)).ok()?;
    deserializer.end().ok()?;
    Some(values)
}
