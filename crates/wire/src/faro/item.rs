//! The items of a payload, and what each writes.

use std::borrow::Cow;
use std::fmt::Write;

use serde::{Deserialize, Deserializer};

use super::Error;
use super::fields::Fields;
use super::meta::prefixed;
use super::text::{Map, Text};

/// What a list of a payload holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Lines that the page has logged.
    Log,
    /// Errors, with their stack.
    Exception,
    /// Numbers.
    Measurement,
    /// What has happened.
    Event,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Log, Self::Exception, Self::Measurement, Self::Event];

    /// As lines call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Exception => "exception",
            Self::Measurement => "measurement",
            Self::Event => "event",
        }
    }

    pub(super) fn fields(self, json: &str) -> Result<Fields<'_>, Error> {
        match self {
            Self::Log => object::<Log<'_>>(json)?.fields(),
            Self::Exception => object::<Exception<'_>>(json)?.fields(),
            Self::Measurement => object::<Measurement<'_>>(json)?.fields(),
            Self::Event => object::<Event<'_>>(json)?.fields(),
        }
    }
}

/// Reads an object; lists, which `serde` takes for structs too, are refused.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Error> {
    if json.trim_start().starts_with('[') {
        return Err(Error::Json("invalid type: a list, expected an object".to_owned()));
    }
    serde_json::from_str(json).map_err(|e| Error::Json(e.to_string()))
}

#[derive(Debug, Default, Deserialize)]
struct TraceContext<'a> {
    #[serde(borrow, default)]
    trace_id: Text<'a>,
    #[serde(borrow, default)]
    span_id: Text<'a>,
}

fn write_trace<'a>(trace: Option<&TraceContext<'a>>, fields: &mut Fields<'a>) {
    if let Some(trace) = trace {
        fields.text("traceID", trace.trace_id.0.clone());
        fields.text("spanID", trace.span_id.0.clone());
    }
}

#[derive(Debug, Deserialize)]
struct Log<'a> {
    #[serde(borrow, default)]
    message: Text<'a>,
    #[serde(borrow, default)]
    level: Text<'a>,
    #[serde(borrow, default)]
    context: Map<'a, Text<'a>>,
    #[serde(borrow, default)]
    timestamp: Text<'a>,
    #[serde(borrow, default)]
    trace: Option<TraceContext<'a>>,
}

impl<'a> Log<'a> {
    fn fields(self) -> Result<Fields<'a>, Error> {
        let mut fields = Fields::default();
        fields.text("timestamp", time(&self.timestamp)?);
        fields.text("kind", Kind::Log.name());
        fields.text("message", self.message.0);
        fields.text("level", self.level.0);
        prefixed(&mut fields, "context_", &self.context);
        write_trace(self.trace.as_ref(), &mut fields);
        Ok(fields)
    }
}

/// An error of a page.
#[derive(Debug, Deserialize)]
pub struct Exception<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    value: Text<'a>,
    #[serde(borrow, default)]
    stacktrace: Option<Stacktrace<'a>>,
    #[serde(borrow, default)]
    timestamp: Text<'a>,
    #[serde(borrow, default)]
    trace: Option<TraceContext<'a>>,
    #[serde(borrow, default)]
    context: Map<'a, Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct Stacktrace<'a> {
    #[serde(borrow, default)]
    frames: Option<Vec<Frame<'a>>>,
}

/// A place in the code.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Frame<'a> {
    /// The function, where it is known.
    #[serde(borrow, default, deserialize_with = "cow")]
    pub function: Cow<'a, str>,
    /// Its module.
    #[serde(borrow, default, deserialize_with = "cow")]
    pub module: Cow<'a, str>,
    /// URL of the file.
    #[serde(borrow, default, deserialize_with = "cow")]
    pub filename: Cow<'a, str>,
    /// From 1; 0 where it is not told.
    #[serde(default, deserialize_with = "whole")]
    pub lineno: u32,
    /// From 1; 0 where it is not told.
    #[serde(default, deserialize_with = "whole")]
    pub colno: u32,
}

fn cow<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'a, str>, D::Error> {
    Text::deserialize(deserializer).map(|Text(text)| text)
}

/// A number that is not negative; anything else is 0.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let Text(text) = Text::deserialize(deserializer)?;
    Ok(text.parse::<f64>().map_or(0, |number| number as u32))
}

impl<'a> Exception<'a> {
    /// The places that led there, innermost first.
    pub fn frames(&mut self) -> &mut [Frame<'a>] {
        self.stacktrace.as_mut().and_then(|s| s.frames.as_mut()).map_or(&mut [], Vec::as_mut_slice)
    }

    pub(super) fn fields(&self) -> Result<Fields<'a>, Error> {
        let mut fields = Fields::default();
        fields.text("timestamp", time(&self.timestamp)?);
        fields.text("kind", Kind::Exception.name());
        fields.text("type", self.kind.0.clone());
        fields.text("value", self.value.0.clone());
        fields.text("stacktrace", self.stack());
        fields.text("hash", xxhash_rust::xxh3::xxh3_64(self.value.0.as_bytes()).to_string());
        prefixed(&mut fields, "context_", &self.context);
        write_trace(self.trace.as_ref(), &mut fields);
        Ok(fields)
    }

    fn stack(&self) -> String {
        let mut stack = format!("{}: {}", self.kind.0, self.value.0);
        for frame in self.stacktrace.iter().flat_map(|s| &s.frames).flatten() {
            let Frame { function, module, filename, lineno, colno } = frame;
            let bar = if module.is_empty() { "" } else { "|" };
            // Writing to a string does not fail.
            let _ = write!(stack, "\n  at {function} ({module}{bar}{filename}:{lineno}:{colno})");
        }
        stack
    }
}

#[derive(Debug, Deserialize)]
struct Measurement<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    values: Map<'a, Option<f64>>,
    #[serde(borrow, default)]
    timestamp: Text<'a>,
    #[serde(borrow, default)]
    trace: Option<TraceContext<'a>>,
    #[serde(borrow, default)]
    context: Map<'a, Text<'a>>,
}

impl<'a> Measurement<'a> {
    fn fields(self) -> Result<Fields<'a>, Error> {
        let mut fields = Fields::default();
        fields.text("timestamp", time(&self.timestamp)?);
        fields.text("kind", Kind::Measurement.name());
        fields.text("type", self.kind.0);
        let values = || self.values.0.iter().filter_map(|(name, value)| Some((name, (*value)?)));
        for (name, value) in values() {
            fields.text(name.clone(), format!("{value:.6}"));
        }
        write_trace(self.trace.as_ref(), &mut fields);
        prefixed(&mut fields, "context_", &self.context);
        for (name, value) in values() {
            fields.number(format!("value_{name}"), value);
        }
        Ok(fields)
    }
}

#[derive(Debug, Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    domain: Text<'a>,
    #[serde(borrow, default)]
    attributes: Map<'a, Text<'a>>,
    #[serde(borrow, default)]
    timestamp: Text<'a>,
    #[serde(borrow, default)]
    trace: Option<TraceContext<'a>>,
}

impl<'a> Event<'a> {
    fn fields(self) -> Result<Fields<'a>, Error> {
        let mut fields = Fields::default();
        fields.text("timestamp", time(&self.timestamp)?);
        fields.text("kind", Kind::Event.name());
        fields.text("event_name", self.name.0);
        fields.text("event_domain", self.domain.0);
        prefixed(&mut fields, "event_data_", &self.attributes);
        write_trace(self.trace.as_ref(), &mut fields);
        Ok(fields)
    }
}

/// A time of RFC 3339 as Go prints it: `2021-09-30 10:46:17.68 +0000 UTC`; nothing where it is not told.
fn time(text: &Text<'_>) -> Result<String, Error> {
    use jiff::fmt::temporal::{Pieces, PiecesOffset};
    let text = &*text.0;
    if text.is_empty() {
        return Ok(String::new());
    }
    let bad = || Error::Time(text.chars().take(64).collect());
    let pieces = Pieces::parse(text).map_err(|_| bad())?;
    let (Some(time), Some(offset)) = (pieces.time(), pieces.offset()) else { return Err(bad()) };
    let date = pieces.date();
    let mut out = format!("{date} {:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
    let nanos = format!("{:09}", time.subsec_nanosecond());
    let nanos = nanos.trim_end_matches('0');
    if !nanos.is_empty() {
        out.push('.');
        out.push_str(nanos);
    }
    let seconds = match offset {
        PiecesOffset::Numeric(numeric) => numeric.offset().seconds(),
        _ => 0,
    };
    if seconds == 0 {
        out.push_str(" +0000 UTC");
        return Ok(out);
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.unsigned_abs() / 60;
    let zone = format!("{sign}{:02}{:02}", minutes / 60, minutes % 60);
    let _ = write!(out, " {zone} {zone}");
    Ok(out)
}
