//! What is done to one span.
//!
//! As the collector's `spanprocessor`: name from attributes, then attributes from the name, then the status.

use std::borrow::Cow;

use component::Error;
use signal::Regex;
use wire::otlp::view::{self, Any, Unclear, fields, once, payload};
use wire::otlp::{Around, AttributeList, Editor, Fate, Splices, text_value};
use wire::proto::{push_bytes_field, push_varint_field};

use super::{NameArgs, StatusArgs};
use crate::processor::attributes::matching::Filtering;
use crate::value;

/// Numbers of a span's fields.
const NAME: u32 = 5;
const ATTRIBUTES: u32 = 9;
const STATUS: u32 = 15;

/// Checked arguments.
#[derive(Debug)]
pub(super) struct Rules {
    from: Vec<String>,
    separator: String,
    to: Vec<Rule>,
    break_after_match: bool,
    keep_name: bool,
    /// A serialised `Status`.
    status: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Rule {
    pattern: Regex,
    /// Of its groups.
    names: Vec<String>,
}

impl Rule {
    fn new(pattern: &str) -> Result<Self, Error> {
        const FIELD: &str = "name.to_attributes.rules";
        let pattern = Regex::new(pattern).map_err(|error| Error::argument(FIELD, error.to_string()))?;
        let names: Option<Vec<_>> = pattern.group_names().skip(1).map(|n| n.map(str::to_string)).collect();
        let unnamed =
            || Error::argument(FIELD, format!("all groups of {:?} must have a name", pattern.as_str()));
        Ok(Self { names: names.ok_or_else(unnamed)?, pattern })
    }
}

impl Rules {
    pub(super) fn new(name: &NameArgs, status: Option<&StatusArgs>) -> Result<Self, Error> {
        let to = name.to_attributes.as_ref();
        if name.from_attributes.is_empty() && to.is_none_or(|to| to.rules.is_empty()) && status.is_none() {
            let message = "needs from_attributes or to_attributes with rules, unless there is a block status";
            return Err(Error::argument("name", message));
        }
        let rules = to.map(|to| to.rules.iter().map(|rule| Rule::new(rule)).collect()).transpose()?;
        Ok(Self {
            from: name.from_attributes.clone(),
            separator: name.separator.clone(),
            to: rules.unwrap_or_default(),
            break_after_match: to.is_some_and(|to| to.break_after_match),
            keep_name: to.is_some_and(|to| to.keep_original_name),
            status: status.map(serialised).transpose()?,
        })
    }

    fn concerns(&self, key: &[u8]) -> bool {
        let is_key = |name: &String| name.as_bytes() == key;
        self.from.iter().any(is_key) || self.to.iter().flat_map(|rule| &rule.names).any(is_key)
    }

    fn apply(&self, span: &[u8], splices: &mut Splices) -> Result<(), Unclear> {
        let (mut name, mut status) = (None, None);
        let mut all = fields(span);
        while let Some((place, field)) = all.next_field()? {
            match field.number {
                NAME => once(&mut name, (place, payload(&field)?))?,
                STATUS => once(&mut status, place)?,
                _ => {}
            }
        }
        let end = span.len()..span.len();
        let (place, old) = name.unwrap_or((end.clone(), b""));
        let old = view::text(old)?;
        let mut list = AttributeList::of(span, ATTRIBUTES, |key| self.concerns(key))?;
        let mut new = Cow::Borrowed(old);
        if let Some(joined) = self.joined(&list)? {
            new = Cow::Owned(joined);
        }
        self.take_apart(&mut new, &mut list);
        if new != old {
            splices.replace(place, |out| push_bytes_field(out, NAME, new.as_bytes()));
        }
        list.write(splices);
        if let Some(new) = &self.status {
            splices.replace(status.unwrap_or(end), |out| push_bytes_field(out, STATUS, new));
        }
        Ok(())
    }

    /// The name that attributes make, if all of them are there.
    fn joined(&self, list: &AttributeList<'_>) -> Result<Option<String>, Unclear> {
        if self.from.is_empty() {
            return Ok(None);
        }
        let mut name = String::new();
        for (at, key) in self.from.iter().enumerate() {
            let Some(found) = list.find(key.as_bytes()) else { return Ok(None) };
            if at > 0 {
                name.push_str(&self.separator);
            }
            let value = list.value(found);
            match view::any_or_empty(value)? {
                // Without an exponent, unlike elsewhere.
                Any::Double(v) if v.is_finite() => name.push_str(&v.to_string()),
                Any::Text(_) | Any::Bool(_) | Any::Int(_) | Any::Double(_) => {
                    name.push_str(&value::text_of(value)?);
                }
                _ => name.push_str("<unknown-attribute-type>"),
            }
        }
        Ok(Some(name))
    }

    /// Makes attributes of the name, in which they leave their own names.
    fn take_apart<'l>(&'l self, name: &mut Cow<'_, str>, list: &mut AttributeList<'l>) {
        for rule in &self.to {
            if name.is_empty() {
                return;
            }
            let mut groups = rule.pattern.locations();
            if !rule.pattern.read_captures(&mut groups, name, 0) {
                continue;
            }
            let (mut new, mut done) = (String::new(), 0);
            for (at, group) in rule.names.iter().enumerate() {
                let found = groups.get(at + 1);
                let text = found.map_or("", |(start, end)| &name[start..end]);
                let value = Cow::Owned(text_value(text.as_bytes()));
                match list.find(group.as_bytes()) {
                    Some(at) => list.set(at, value),
                    None => list.push(Cow::Borrowed(group.as_bytes()), Some(value)),
                }
                // A group that took no part, or is inside of another, leaves the name alone.
                if let Some((start, end)) = found.filter(|(start, _)| *start >= done) {
                    new.push_str(&name[done..start]);
                    new.push('{');
                    new.push_str(group);
                    new.push('}');
                    done = end;
                }
            }
            new.push_str(&name[done..]);
            if !self.keep_name {
                *name = Cow::Owned(new);
            }
            if self.break_after_match {
                return;
            }
        }
    }
}

/// A `Status`.
fn serialised(args: &StatusArgs) -> Result<Vec<u8>, Error> {
    let code = match args.code.as_str() {
        "Unset" => 0,
        "Ok" => 1,
        "Error" => 2,
        other => {
            return Err(Error::argument("status.code", format!("{other:?} is not Ok, Error or Unset")));
        }
    };
    if code != 2 && !args.description.is_empty() {
        return Err(Error::argument("status.description", "goes with the code Error only"));
    }
    let mut out = Vec::new();
    if !args.description.is_empty() {
        push_bytes_field(&mut out, 2, args.description.as_bytes());
    }
    if code != 0 {
        push_varint_field(&mut out, 3, code);
    }
    Ok(out)
}

/// Changes the spans of the requests of one batch.
pub(super) struct Renaming<'r> {
    rules: &'r Rules,
    filtering: Filtering<'r>,
}

impl<'r> Renaming<'r> {
    pub(super) fn new(rules: &'r Rules, filtering: Filtering<'r>) -> Self {
        Self { rules, filtering }
    }
}

impl Editor for Renaming<'_> {
    fn begin(&mut self) {
        self.filtering.begin();
    }

    fn item(&mut self, around: Around<'_>, item: &[u8], splices: &mut Splices) -> Result<Fate, Unclear> {
        if self.filtering.applies(around, item)? {
            self.rules.apply(item, splices)?;
        }
        Ok(Fate::Keep)
    }
}
