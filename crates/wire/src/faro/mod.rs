//! What the Grafana Faro Web SDK posts: logs, exceptions, measurements and events of a page, and its spans.
//!
//! Data path: body → [`Payload`], whose items stay as they are → one item at a time → [`Fields`] in the order in
//! which Alloy writes them → a line. Invariant: memory is bounded: what is decoded is one item at a time, and lines
//! together stay below [`memory`], for each of them repeats what the payload says of its page.

mod fields;
mod item;
mod meta;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use fields::{Fields, Format, Value};
pub use item::{Exception, Frame, Kind};
pub use meta::Meta;

/// Bytes of lines that a byte of a payload may become: what is said of a page once is repeated in each line.
const GROWTH: usize = 32;
/// What any payload may become.
const LEAST: usize = 1 << 20;

/// Bytes that the lines of a payload of a length may take together.
pub fn memory(payload: usize) -> usize {
    payload.saturating_mul(GROWTH).saturating_add(LEAST)
}

/// Why a body is not a payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not JSON, or not as the SDK writes it.
    #[error("{0}")]
    Json(String),
    /// One of its items.
    #[error("{kind} {place}: {error}")]
    Item {
        /// `log`, `exception`, …
        kind: &'static str,
        /// Its place in its list, from 1.
        place: usize,
        /// What is wrong.
        error: String,
    },
    /// A time that is none.
    #[error("{0:?} is not a time as in RFC 3339")]
    Time(String),
    /// Lines would take more memory than those of a payload of this length may.
    #[error("the payload becomes too many or too long lines")]
    TooMuch,
}

impl Error {
    /// With the place of the item that it is about.
    fn at(self, kind: Kind, at: usize) -> Self {
        match self {
            Self::Json(error) => Self::Item { kind: kind.name(), place: at + 1, error },
            other => other,
        }
    }
}

/// A payload whose items are not decoded yet.
#[derive(Debug)]
pub struct Payload<'a> {
    /// What is said of the page once.
    pub meta: Meta<'a>,
    lists: [Vec<&'a RawValue>; 4],
    traces: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow, default)]
    logs: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    exceptions: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    measurements: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    events: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    meta: Option<Meta<'a>>,
    #[serde(borrow, default)]
    traces: Option<&'a RawValue>,
}

/// A body as text; what is not UTF-8 becomes replacement characters.
pub fn text(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(body)
}

impl<'a> Payload<'a> {
    /// Reads what is around the items.
    ///
    /// # Errors
    /// If the text is not JSON, or its outline is not that of a payload.
    pub fn read(text: &'a str) -> Result<Self, Error> {
        let outer: Outer<'a> = item::object(text)?;
        let list = Option::unwrap_or_default;
        Ok(Self {
            meta: outer.meta.unwrap_or_default(),
            lists: [list(outer.logs), list(outer.exceptions), list(outer.measurements), list(outer.events)],
            traces: outer.traces.filter(|t| t.get() != "null"),
        })
    }

    /// How many items of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.lists[kind as usize].len()
    }

    /// The spans, as OTLP in JSON.
    pub fn traces(&self) -> Option<&'a str> {
        self.traces.map(RawValue::get)
    }

    /// The exceptions, to be changed before they become lines.
    ///
    /// # Errors
    /// If one is not an exception.
    pub fn exceptions(&self) -> Result<Vec<Exception<'a>>, Error> {
        let each = |(at, raw): (usize, &&'a RawValue)| {
            item::object(raw.get()).map_err(|e| e.at(Kind::Exception, at))
        };
        self.lists[Kind::Exception as usize].iter().enumerate().map(each).collect()
    }

    /// Writes the items in the order logs, exceptions, measurements, events; hands each line on with its fields.
    ///
    /// # Errors
    /// If an item is not what its list says, or the lines become too much for a payload of `length` bytes.
    pub fn lines(
        &self,
        exceptions: &[Exception<'a>],
        format: Format,
        length: usize,
        mut each: impl FnMut(&Fields<'_>, String),
    ) -> Result<(), Error> {
        let mut left = memory(length);
        let mut meta = Fields::default();
        self.meta.write(&mut meta);
        let mut line = |mut fields: Fields<'a>| {
            fields.merge(&meta);
            let line = fields.line(format);
            // An entry beside its text.
            left = left.checked_sub(line.len() + 128).ok_or(Error::TooMuch)?;
            each(&fields, line);
            Ok(())
        };
        self.items(Kind::Log, &mut line)?;
        for exception in exceptions {
            line(exception.fields()?)?;
        }
        self.items(Kind::Measurement, &mut line)?;
        self.items(Kind::Event, &mut line)
    }

    fn items(&self, kind: Kind, line: &mut impl FnMut(Fields<'a>) -> Result<(), Error>) -> Result<(), Error> {
        for (at, raw) in self.lists[kind as usize].iter().enumerate() {
            line(kind.fields(raw.get()).map_err(|e| e.at(kind, at))?)?;
        }
        Ok(())
    }
}
