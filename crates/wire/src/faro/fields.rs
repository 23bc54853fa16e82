//! The fields of a line, in order, and the line: logfmt as go-logfmt writes it, or JSON with sorted names.

use std::borrow::Cow;

use indexmap::IndexMap;

use crate::logfmt;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// `name=value`, parted by spaces.
    #[default]
    Logfmt,
    /// An object.
    Json,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A number.
    Number(f64),
}

/// Fields by their names. A name that is set again keeps its place.
#[derive(Clone, Debug, Default)]
pub struct Fields<'a>(IndexMap<Cow<'a, str>, Value<'a>, foldhash::fast::RandomState>);

impl<'a> Fields<'a> {
    /// Sets a text that is not empty.
    pub fn text(&mut self, name: impl Into<Cow<'a, str>>, text: impl Into<Cow<'a, str>>) {
        let text = text.into();
        if !text.is_empty() {
            self.0.insert(name.into(), Value::Text(text));
        }
    }

    /// Sets a number.
    pub fn number(&mut self, name: impl Into<Cow<'a, str>>, number: f64) {
        self.0.insert(name.into(), Value::Number(number));
    }

    /// Sets all of another's.
    pub fn merge(&mut self, other: &Fields<'a>) {
        for (name, value) in &other.0 {
            self.0.insert(name.clone(), value.clone());
        }
    }

    /// The text of a field, as a label would have it.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.0.get(name)? {
            Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::Number(number) => Some(plain(*number).into()),
        }
    }

    /// All in one line.
    pub fn line(&self, format: Format) -> String {
        match format {
            Format::Logfmt => self.logfmt(),
            Format::Json => self.json(),
        }
    }

    fn logfmt(&self) -> String {
        let mut out = String::new();
        for (name, value) in &self.0 {
            if !out.is_empty() {
                out.push(' ');
            }
            if !logfmt::key(name, &mut out) {
                out.push('_');
            }
            out.push('=');
            match value {
                Value::Number(number) => out.push_str(&plain(*number)),
                Value::Text(text) => logfmt::value(text, &mut out),
            }
        }
        out
    }

    fn json(&self) -> String {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|(name, _)| *name);
        let mut out = String::from("{");
        for (name, value) in all {
            if out.len() > 1 {
                out.push(',');
            }
            logfmt::quote(name, &mut out);
            out.push(':');
            match value {
                Value::Text(text) => logfmt::quote(text, &mut out),
                Value::Number(number) if number.is_finite() => out.push_str(&exact(*number)),
                Value::Number(_) => out.push_str("null"),
            }
        }
        out.push('}');
        out
    }
}

/// A number as Go prints it (`%v`): an exponent below 1e-4 and from 1e6.
fn plain(number: f64) -> String {
    let size = number.abs();
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    if size == 0.0 || (1e-4..1e6).contains(&size) || number.is_nan() {
        return number.to_string();
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// A number as Go writes it into JSON: an exponent below 1e-6 and from 1e21.
fn exact(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return number.to_string();
    }
    let text = format!("{number:e}");
    if text.contains("e-") { text } else { text.replace('e', "e+") }
}
