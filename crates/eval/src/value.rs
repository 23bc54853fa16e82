//! What an expression evaluates to.
//!
//! Invariant: values are immutable and cheap to clone; a secret's text leaves only through `reveal`.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::stdlib::Builtin;

/// A value of the configuration language.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number with the kind it is kept in.
    Number(Number),
    /// Text.
    String(Arc<str>),
    /// Text that must not be shown.
    Secret(Secret),
    /// Text that may be one that must not be shown.
    OptionalSecret(OptionalSecret),
    /// A list.
    Array(Arc<Vec<Value>>),
    /// Names and values.
    Object(Arc<BTreeMap<String, Value>>),
    /// A function of the standard library.
    Function(Function),
    /// A value of the host: a receiver, a target, compiled rules.
    Capsule(Capsule),
    /// Not known before the configuration runs; with its static type as in `code_type`, or `""`.
    Unknown(&'static str),
}

/// A number. The kinds order as uint < int < float; an operation has the kind of its widest operand.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// 64-bit, signed.
    Int(i64),
    /// 64-bit, unsigned.
    Uint(u64),
    /// Floating point.
    Float(f64),
}

impl Number {
    /// As a signed integer: fractions are cut off, too large values wrap.
    pub fn as_i64(self) -> i64 {
        match self {
            Self::Int(v) => v,
            Self::Uint(v) => v as i64,
            Self::Float(v) => v as i64,
        }
    }

    /// As an unsigned integer: fractions are cut off, negative values wrap.
    pub fn as_u64(self) -> u64 {
        match self {
            Self::Int(v) => v as u64,
            Self::Uint(v) => v,
            Self::Float(v) if v < 0.0 => (v as i64) as u64,
            Self::Float(v) => v as u64,
        }
    }

    /// As a floating point number.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(v) => v as f64,
            Self::Uint(v) => v as f64,
            Self::Float(v) => v,
        }
    }

    /// Plain decimal text, as a number assigned to a string attribute reads.
    pub fn to_text(self) -> String {
        match self {
            Self::Int(v) => v.to_string(),
            Self::Uint(v) => v.to_string(),
            Self::Float(v) if v.is_nan() => "NaN".to_owned(),
            Self::Float(f64::INFINITY) => "+Inf".to_owned(),
            Self::Float(f64::NEG_INFINITY) => "-Inf".to_owned(),
            Self::Float(v) => v.to_string(),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(_), _) | (_, Self::Float(_)) => self.as_f64() == other.as_f64(),
            (Self::Uint(a), Self::Uint(b)) => a == b,
            _ => self.as_i64() == other.as_i64(),
        }
    }
}

/// Text that must not be shown: `Debug`, `Display` and every rendering print `(secret)`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself. Whoever calls this answers for where it goes.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Text that is a secret, or not: file contents whose reader said which.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct OptionalSecret {
    text: Arc<str>,
    secret: bool,
}

impl OptionalSecret {
    /// Text that may be shown.
    pub fn plain(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), secret: false }
    }

    /// Text that must not be shown.
    pub fn secret(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), secret: true }
    }

    /// Whether it must not be shown.
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// The text itself, secret or not. Whoever calls this answers for where it goes.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The text where it may be shown.
    pub fn shown(&self) -> Option<&str> {
        (!self.secret).then_some(&*self.text)
    }
}

impl fmt::Debug for OptionalSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for OptionalSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown().unwrap_or("(secret)"))
    }
}

/// A type of the host whose values pass through the language untouched.
pub trait CapsuleType: Any + Send + Sync {
    /// The name in `capsule(…)`: `MetricsReceiver`, `otelcol.Consumer`, `target`.
    fn type_name(&self) -> &'static str;

    /// Deep equality with another capsule's content (downcast it; another type is unequal).
    fn equals(&self, other: &dyn Any) -> bool;

    /// Its fields where it also reads as an object (targets do).
    fn as_object(&self) -> Option<BTreeMap<String, Value>> {
        None
    }

    /// One field of [`CapsuleType::as_object`], for types that can answer without building it all.
    fn field(&self, name: &str) -> Option<Value> {
        self.as_object()?.remove(name)
    }

    /// How it is shown to people.
    fn text(&self) -> String;
}

/// A shared value of the host.
#[derive(Clone)]
pub struct Capsule(Arc<dyn CapsuleType>);

impl Capsule {
    /// Wraps a value of the host.
    pub fn new<T: CapsuleType>(content: T) -> Self {
        Self(Arc::new(content))
    }

    /// The content, where it is a `T`.
    pub fn downcast_ref<T: CapsuleType>(&self) -> Option<&T> {
        let content: &dyn Any = &*self.0;
        content.downcast_ref()
    }

    /// The content.
    pub fn content(&self) -> &dyn CapsuleType {
        &*self.0
    }
}

impl PartialEq for Capsule {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.equals(&*other.0)
    }
}

impl fmt::Debug for Capsule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "capsule({}: {})", self.0.type_name(), self.0.text())
    }
}

/// A function of the standard library as a value.
#[derive(Clone, Copy)]
pub struct Function(pub &'static Builtin);

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function({})", self.0.name)
    }
}

impl Value {
    /// Text.
    pub fn string(text: impl Into<Arc<str>>) -> Self {
        Self::String(text.into())
    }

    /// A list.
    pub fn array(items: Vec<Value>) -> Self {
        Self::Array(Arc::new(items))
    }

    /// Names and values.
    pub fn object(fields: BTreeMap<String, Value>) -> Self {
        Self::Object(Arc::new(fields))
    }

    /// A value of the host.
    pub fn capsule<T: CapsuleType>(content: T) -> Self {
        Self::Capsule(Capsule::new(content))
    }

    /// The type as people and the API know it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Secret(_) | Self::OptionalSecret(_) | Self::Capsule(_) => "capsule",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
            Self::Function(_) => "function",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The type with a capsule's kind, for messages: `capsule(MetricsReceiver)`, `secret`.
    pub fn describe(&self) -> String {
        match self {
            Self::Secret(_) => "secret".to_owned(),
            Self::OptionalSecret(s) if s.is_secret() => "secret".to_owned(),
            Self::OptionalSecret(_) => "optional secret".to_owned(),
            Self::Capsule(c) => match c.content().type_name() {
                "target" => "target".to_owned(),
                name => format!("capsule({name})"),
            },
            Self::Unknown("") => "a value not known yet".to_owned(),
            Self::Unknown(t) => (*t).to_owned(),
            other => other.type_name().to_owned(),
        }
    }

    /// Whether this or anything inside is not known yet.
    pub fn contains_unknown(&self) -> bool {
        match self {
            Self::Unknown(_) => true,
            Self::Array(items) => items.iter().any(Self::contains_unknown),
            Self::Object(fields) => fields.values().any(Self::contains_unknown),
            _ => false,
        }
    }

    /// The fields of an object or of a capsule that reads as one.
    pub fn as_object(&self) -> Option<Arc<BTreeMap<String, Value>>> {
        match self {
            Self::Object(fields) => Some(fields.clone()),
            Self::Capsule(c) => c.content().as_object().map(Arc::new),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(s) => Some(s),
            _ => None,
        }
    }
}

/// `==` of the language: different types are unequal, numbers compare by value, functions are never
/// equal, capsules compare by their content.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Secret(a), Self::Secret(b)) => a == b,
            (Self::OptionalSecret(a), Self::OptionalSecret(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => Arc::ptr_eq(a, b) || a == b,
            (Self::Object(a), Self::Object(b)) => Arc::ptr_eq(a, b) || a == b,
            (Self::Capsule(a), Self::Capsule(b)) => a == b,
            (Self::Unknown(a), Self::Unknown(b)) => a == b,
            _ => false,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::string(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::string(text)
    }
}

impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Self::Bool(v)
    }
}

impl From<i64> for Value {
    fn from(v: i64) -> Self {
        Self::Number(Number::Int(v))
    }
}

impl From<u64> for Value {
    fn from(v: u64) -> Self {
        Self::Number(Number::Uint(v))
    }
}

impl From<f64> for Value {
    fn from(v: f64) -> Self {
        Self::Number(Number::Float(v))
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::array(items)
    }
}

impl From<BTreeMap<String, Value>> for Value {
    fn from(fields: BTreeMap<String, Value>) -> Self {
        Self::object(fields)
    }
}
