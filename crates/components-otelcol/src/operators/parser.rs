//! What all parsers share: where they read, where they write, and what of it is time, severity, trace, scope.

use super::entry::{Entry, Failure, Field};
use super::options::Options;
use super::scope_name::ScopeName;
use super::severity::Severity;
use super::time_parser::TimeParser;
use super::trace_parser::TraceParser;
use super::value::Value;

/// The part of a parser that is the same in all.
#[derive(Clone, Debug)]
pub struct Parser {
    from: Field,
    to: Field,
    body: Option<Field>,
    time: Option<TimeParser>,
    severity: Option<Severity>,
    trace: Option<TraceParser>,
    scope: Option<ScopeName>,
}

impl Parser {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        Self::with_target(options, Field::attributes())
    }

    /// As [`Parser::new`], with another default of `parse_to`.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn with_target(options: &mut Options, to: Field) -> Result<Self, String> {
        Ok(Self {
            from: options.field("parse_from")?.unwrap_or_else(Field::body),
            to: options.field("parse_to")?.unwrap_or(to),
            body: options.field("body")?,
            time: part(options, "timestamp", TimeParser::new)?,
            severity: part(options, "severity", Severity::new)?,
            trace: part(options, "trace", TraceParser::new)?,
            scope: part(options, "scope_name", ScopeName::new)?,
        })
    }

    /// Where it reads.
    pub fn from(&self) -> &Field {
        &self.from
    }

    /// Parses what is in the field and puts the result in place.
    ///
    /// # Errors
    /// If the field is not there, `parse` fails, or one of the parts that are taken from the result.
    pub fn apply(
        &self,
        entry: &mut Entry,
        parse: impl FnOnce(&Value) -> Result<Value, Failure>,
    ) -> Result<(), Failure> {
        let value = entry
            .get(&self.from)
            .ok_or_else(|| Failure::new(format!("the entry has no {} to parse", self.from)))?;
        let parsed = parse(value)?;
        entry.set(&self.to, parsed)?;
        self.take_parts(entry)
    }

    /// Time, severity, trace and scope from where the options say they are now. One that fails does not keep
    /// the others from being taken.
    ///
    /// # Errors
    /// The first of them.
    fn take_parts(&self, entry: &mut Entry) -> Result<(), Failure> {
        if let Some(body) = &self.body
            && let Some(value) = entry.get(body).cloned()
        {
            entry.body = value;
        }
        let results = [
            self.time.as_ref().map(|time| time.apply(entry)),
            self.severity.as_ref().map(|severity| severity.apply(entry)),
            self.trace.as_ref().map(|trace| trace.apply(entry)),
            self.scope.as_ref().map(|scope| scope.apply(entry)),
        ];
        results.into_iter().flatten().collect()
    }
}

fn part<T>(
    options: &mut Options,
    name: &str,
    new: impl FnOnce(&mut Options) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let Some(mut nested) = options.nested(name)? else { return Ok(None) };
    let part = new(&mut nested)?;
    nested.finish()?;
    Ok(Some(part))
}

/// The text of a value that a parser reads.
///
/// # Errors
/// If it is none.
pub fn text<'a>(value: &'a Value, what: &str) -> Result<&'a str, Failure> {
    value.as_text().ok_or_else(|| Failure::new(format!("a {} cannot be parsed as {what}", value.kind())))
}
