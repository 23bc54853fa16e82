//! The types of attribute values: what each accepts, how it is named, how it is shown.
//!
//! Invariant: `null` makes the zero value everywhere; conversions are those of Alloy (number ↔ string,
//! string → secret, nothing else), so a float in an integer attribute is cut off without an error.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::duration::{format_duration, parse_duration};
use crate::suggest;
use crate::types::fits;
use crate::value::{CapsuleType, Number, OptionalSecret, Secret, Value};

/// The type of an attribute.
pub trait ArgValue: Sized {
    /// A value of the host. A list of such leaves `null` elements out.
    const IS_CAPSULE: bool = false;

    /// The type for people: `string`, `list(string)`, `duration`, `list(MetricsReceiver)`.
    fn type_name() -> Cow<'static, str>;

    /// The exact type: `size(base2)`, `list(capsule(MetricsReceiver))`.
    fn code_type() -> Cow<'static, str> {
        Self::type_name()
    }

    /// What `null` sets.
    fn zero() -> Self;

    /// Converts with the language's coercions.
    fn from_value(value: &Value) -> Result<Self, ValueError>;

    /// The way back: for exports, defaults and the UI.
    fn to_value(&self) -> Value;

    /// Whether a value that may hold [`Value::Unknown`] can become this type.
    fn check(value: &Value) -> Result<(), ValueError> {
        match value {
            Value::Unknown(have) if fits(have, &Self::code_type()) => Ok(()),
            Value::Unknown(have) => Err(ValueError::expected(&Self::code_type(), have)),
            v if v.contains_unknown() => Ok(()),
            v => Self::from_value(v).map(drop),
        }
    }

    /// The texts allowed, where there is a closed list.
    fn allowed() -> &'static [&'static str] {
        &[]
    }
}

/// A step from a value into one inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// An element of a list, from 0.
    Index(usize),
    /// A field of an object.
    Key(String),
}

/// Which of the two ways a value can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Of a type that does not convert.
    WrongType,
    /// Of the right type, but not one of the values that make sense.
    Invalid,
}

/// Why a value is not acceptable, and where inside it the reason lies.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueError {
    /// From the whole value to the offending part, outermost first.
    pub path: Vec<Step>,
    /// Which way it is wrong.
    pub kind: ErrorKind,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl ValueError {
    /// A value of the right type that makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { path: Vec::new(), kind: ErrorKind::Invalid, message: message.into(), help: None }
    }

    /// A value of another type than expected.
    pub fn wrong_type(expected: &str, got: &Value) -> Self {
        let error = Self::expected(expected, &got.describe());
        match got {
            Value::Secret(_) | Value::OptionalSecret(_) => {
                error.with_help("a secret becomes a string only through convert.nonsensitive(…)")
            }
            Value::Array(_) | Value::Null => error,
            // As `forward_to = [prometheus.echo.x]`.
            Value::Object(fields) if export_that_fits(fields, expected).is_some() => {
                let name = export_that_fits(fields, expected).unwrap_or_default();
                error.with_help(format!("this is all that the component exports: add .{name}"))
            }
            _ if expected.starts_with("list(") => error.with_help("write it as a list: [value]"),
            _ => error,
        }
    }

    /// A type of another name than expected.
    pub fn expected(expected: &str, got: &str) -> Self {
        Self {
            path: Vec::new(),
            kind: ErrorKind::WrongType,
            message: format!("expected {expected}, got {got}"),
            help: None,
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says that the error lies inside the element of a list.
    #[must_use]
    pub fn at_index(mut self, index: usize) -> Self {
        self.path.insert(0, Step::Index(index));
        self
    }

    /// Says that the error lies inside the field of an object.
    #[must_use]
    pub fn at_key(mut self, key: impl Into<String>) -> Self {
        self.path.insert(0, Step::Key(key.into()));
        self
    }
}

/// What is meant where a component is named and not one of its exports.
fn export_that_fits<'a>(fields: &'a BTreeMap<String, Value>, expected: &str) -> Option<&'a str> {
    let is_meant = |value: &Value| match value {
        Value::Capsule(_) => fits(&value.describe(), expected),
        Value::Unknown(type_name) => !type_name.is_empty() && fits(type_name, expected),
        _ => false,
    };
    fields.iter().find(|(_, value)| is_meant(value)).map(|(name, _)| name.as_str())
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.path {
            match step {
                Step::Index(i) => write!(f, "element {i}: ")?,
                Step::Key(k) => write!(f, "key {k:?}: ")?,
            }
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ValueError {}

/// What a host type's `from_value` is made of: a clone of the capsule's content.
pub fn capsule_from_value<T: CapsuleType + Clone>(
    value: &Value,
    type_name: &'static str,
) -> Result<T, ValueError> {
    match value {
        Value::Capsule(c) => c
            .downcast_ref::<T>()
            .cloned()
            .ok_or_else(|| ValueError::wrong_type(&format!("capsule({type_name})"), value)),
        other => Err(ValueError::wrong_type(&format!("capsule({type_name})"), other)),
    }
}

/// A default written as a string literal, in the form a file has it.
#[doc(hidden)]
pub fn literal<T: ArgValue>(text: &'static str) -> T {
    match T::from_value(&Value::string(text)) {
        Ok(v) => v,
        Err(e) => panic!("the default {text:?} written in the source is not a {}: {e}", T::type_name()),
    }
}

/// What the derive for enums decodes with: the position of the form that the text is; `None` for `null`.
#[doc(hidden)]
pub fn choice(value: &Value, forms: &[&[&str]], ignore_case: bool) -> Result<Option<usize>, ValueError> {
    if matches!(value, Value::Null) {
        return Ok(None);
    }
    let text = text_of(value, "string")?;
    let same = |form: &&str| **form == *text || (ignore_case && form.eq_ignore_ascii_case(&text));
    match forms.iter().position(|forms| forms.iter().any(same)) {
        Some(position) => Ok(Some(position)),
        None => {
            let allowed: Vec<&str> = forms.iter().filter_map(|f| f.first().copied()).collect();
            let list: Vec<String> = allowed.iter().map(|a| format!("{a:?}")).collect();
            let error = ValueError::invalid(format!("{text:?} is not one of {}", list.join(", ")));
            Err(match suggest::closest(&text, allowed) {
                Some(near) => error.with_help(format!("did you mean {near:?}?")),
                None => error,
            })
        }
    }
}

/// What the derive for objects decodes with.
#[doc(hidden)]
pub struct ObjectDecoder(Arc<BTreeMap<String, Value>>);

impl ObjectDecoder {
    /// Refuses other values than objects and keys that are not in the list.
    pub fn new(value: &Value, known: &[&str]) -> Result<Self, ValueError> {
        let fields = value.as_object().ok_or_else(|| ValueError::wrong_type("object", value))?;
        match fields.keys().find(|k| !known.contains(&k.as_str())) {
            Some(key) => {
                let error = ValueError::invalid(format!("there is no field {key:?}")).at_key(key.clone());
                Err(ValueError { help: suggest::help(key, known), ..error })
            }
            None => Ok(Self(fields)),
        }
    }

    /// The field, where it is given.
    pub fn field<T: ArgValue>(&mut self, key: &str) -> Result<Option<T>, ValueError> {
        self.0.get(key).map(|v| T::from_value(v).map_err(|e| e.at_key(key))).transpose()
    }
}

/// The text of a string, or of what converts into one.
pub(crate) fn text_of(value: &Value, expected: &str) -> Result<Arc<str>, ValueError> {
    match value {
        Value::Null => Ok("".into()),
        Value::String(s) => Ok(s.clone()),
        Value::Number(n) => Ok(n.to_text().into()),
        Value::OptionalSecret(s) if !s.is_secret() => Ok(s.reveal().into()),
        other => Err(ValueError::wrong_type(expected, other)),
    }
}

/// The number in a string as Alloy reads it: `-` makes it signed, `.`, `e` or `E` a float.
fn number_of(value: &Value, expected: &str) -> Result<Number, ValueError> {
    let text = match value {
        Value::Null => return Ok(Number::Int(0)),
        Value::Number(n) => return Ok(*n),
        Value::String(s) => s,
        other => return Err(ValueError::wrong_type(expected, other)),
    };
    let plain = !text.starts_with('+');
    let parsed = if text.contains(['.', 'e', 'E']) {
        text.parse().ok().filter(|v: &f64| v.is_finite()).map(Number::Float)
    } else if text.starts_with('-') {
        text.parse().ok().map(Number::Int)
    } else {
        text.parse().ok().map(Number::Uint)
    };
    parsed
        .filter(|n| plain || matches!(n, Number::Float(_)))
        .ok_or_else(|| ValueError::invalid(format!("{text:?} is not a number")))
}

impl ArgValue for Value {
    fn type_name() -> Cow<'static, str> {
        "any".into()
    }
    fn zero() -> Self {
        Self::Null
    }
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        Ok(value.clone())
    }
    fn to_value(&self) -> Value {
        self.clone()
    }
}

impl ArgValue for bool {
    fn type_name() -> Cow<'static, str> {
        "bool".into()
    }
    fn zero() -> Self {
        false
    }
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        match value {
            Value::Null => Ok(false),
            Value::Bool(v) => Ok(*v),
            other => Err(match other {
                Value::String(s) if matches!(&**s, "true" | "false") => {
                    ValueError::wrong_type("bool", other).with_help("write it without the quotes")
                }
                _ => ValueError::wrong_type("bool", other),
            }),
        }
    }
    fn to_value(&self) -> Value {
        Value::Bool(*self)
    }
}

impl ArgValue for String {
    fn type_name() -> Cow<'static, str> {
        "string".into()
    }
    fn zero() -> Self {
        Self::new()
    }
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        text_of(value, "string").map(|t| t.as_ref().to_owned())
    }
    fn to_value(&self) -> Value {
        Value::string(self.as_str())
    }
}

impl ArgValue for Arc<str> {
    fn type_name() -> Cow<'static, str> {
        "string".into()
    }
    fn zero() -> Self {
        "".into()
    }
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        text_of(value, "string")
    }
    fn to_value(&self) -> Value {
        Value::String(self.clone())
    }
}

macro_rules! numbers {
    ($($t:ty, $name:literal, $as:ident, $kind:ident as $wide:ty;)*) => {$(
        impl ArgValue for $t {
            fn type_name() -> Cow<'static, str> {
                $name.into()
            }
            fn zero() -> Self {
                <$t>::default()
            }
            fn from_value(value: &Value) -> Result<Self, ValueError> {
                number_of(value, "number").map(|n| n.$as() as $t)
            }
            fn to_value(&self) -> Value {
                Value::Number(Number::$kind(*self as $wide))
            }
        }
    )*};
}

numbers! {
    i8, "int", as_i64, Int as i64;
    i16, "int", as_i64, Int as i64;
    i32, "int", as_i64, Int as i64;
    i64, "int", as_i64, Int as i64;
    isize, "int", as_i64, Int as i64;
    u8, "uint", as_u64, Uint as u64;
    u16, "uint", as_u64, Uint as u64;
    u32, "uint", as_u64, Uint as u64;
    u64, "uint", as_u64, Uint as u64;
    usize, "uint", as_u64, Uint as u64;
    f32, "float", as_f64, Float as f64;
    f64, "float", as_f64, Float as f64;
}

impl ArgValue for Duration {
    fn type_name() -> Cow<'static, str> {
        "duration".into()
    }
    fn zero() -> Self {
        Self::ZERO
    }
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        if matches!(value, Value::Null) {
            return Ok(Self::ZERO);
        }
        let text = text_of(value, "duration")?;
        let nanos = parse_duration(&text).map_err(|message| {
            ValueError::invalid(message).with_help("units are ns, us, ms, s, m and h, as in \"1m30s\"")
        })?;
        u64::try_from(nanos)
            .map(Duration::from_nanos)
            .map_err(|_| ValueError::invalid(format!("{text:?} is negative")))
    }
    fn to_value(&self) -> Value {
        Value::string(format_duration(i64::try_from(self.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl ArgValue for Secret {
    fn type_name() -> Cow<'static, str> {
        "secret".into()
    }
    fn zero() -> Self {
        Self::default()
    }
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        match value {
            Value::Null => Ok(Self::default()),
            Value::Secret(s) => Ok(s.clone()),
            Value::OptionalSecret(s) => Ok(s.reveal().into()),
            Value::String(s) => Ok(Self::new(s.clone())),
            other => Err(ValueError::wrong_type("secret", other)),
        }
    }
    fn to_value(&self) -> Value {
        Value::Secret(self.clone())
    }
}

impl ArgValue for OptionalSecret {
    fn type_name() -> Cow<'static, str> {
        "string or secret".into()
    }
    fn code_type() -> Cow<'static, str> {
        "optional_secret".into()
    }
    fn zero() -> Self {
        Self::default()
    }
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        match value {
            Value::Null => Ok(Self::default()),
            Value::Secret(s) => Ok(Self::secret(s.reveal())),
            Value::OptionalSecret(s) => Ok(s.clone()),
            Value::String(s) => Ok(Self::plain(s.clone())),
            other => Err(ValueError::wrong_type("string or secret", other)),
        }
    }
    fn to_value(&self) -> Value {
        Value::OptionalSecret(self.clone())
    }
}
