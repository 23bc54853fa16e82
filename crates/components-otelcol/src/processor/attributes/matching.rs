//! The `include` and `exclude` blocks: which items are edited.
//!
//! As the collector's `filter` packages: of several properties all have to match, of several texts of one
//! property one. Items are looked at in their serialised form.

#[cfg(test)]
pub(crate) mod decoded;

use std::borrow::Cow;

use component::eval::Value;
use component::{ArgEnum, Arguments, Error};
use parking_lot::Mutex;
use signal::Regex;
use signal::otlp::proto::common::v1::AnyValue;
use signal::otlp::proto::common::v1::any_value::Value as Kind;
use wire::otlp::Around;
use wire::otlp::view::{self, Any, Unclear, fields, find, once, payload};

use super::action::any;
use crate::processor::lru::Lru;
use crate::signals::Kind as Signal;
use crate::value;

/// What items have to be like.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct MatchArgs {
    /// How texts are compared.
    #[arg(code_type = "string")]
    pub match_type: MatchType,
    /// Names of services: the resource's `service.name`. Traces only.
    #[arg(default)]
    pub services: Vec<String>,
    /// Names of spans. Traces only.
    #[arg(default)]
    pub span_names: Vec<String>,
    /// Bodies of log records. Logs only.
    #[arg(default)]
    pub log_bodies: Vec<String>,
    /// Severity texts of log records. Logs only.
    #[arg(default)]
    pub log_severity_texts: Vec<String>,
    /// Names of metrics. Metrics only.
    #[arg(default)]
    pub metric_names: Vec<String>,
    /// Kinds of spans, such as `SPAN_KIND_SERVER`. Traces only.
    #[arg(default)]
    pub span_kinds: Vec<String>,
    /// How results of regular expressions are remembered.
    #[arg(block)]
    pub regexp: Option<RegexpArgs>,
    /// Severities of log records. Logs only.
    #[arg(block)]
    pub log_severity: Option<SeverityArgs>,
    /// Attributes of the item, all of which have to match.
    #[arg(block)]
    pub attribute: Vec<AttributeArgs>,
    /// Attributes of the resource, all of which have to match.
    #[arg(block)]
    pub resource: Vec<AttributeArgs>,
    /// Instrumentation scopes, one of which has to match.
    #[arg(block)]
    pub library: Vec<LibraryArgs>,
}

/// How texts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum MatchType {
    /// They are equal.
    Strict,
    /// An RE2 expression matches somewhere in the text.
    Regexp,
}

/// Whether it is remembered which texts regular expressions match.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct RegexpArgs {
    /// Remember it.
    #[arg(default)]
    pub cache_enabled: bool,
    /// For so many texts of each property; 0 means 10000.
    #[arg(default)]
    pub cache_max_num_entries: i64,
}

/// Severities of log records.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct SeverityArgs {
    /// The lowest that matches: `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` or `FATAL`, or with 2, 3 or 4 behind.
    #[arg(code_type = "string(SeverityLevel)")]
    pub min: String,
    /// Whether records without a severity match.
    pub match_undefined: bool,
}

/// An attribute.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct AttributeArgs {
    /// Its key.
    pub key: String,
    /// Its value; any if it is not set.
    #[arg(default)]
    pub value: Value,
}

/// An instrumentation scope.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct LibraryArgs {
    /// Its name.
    pub name: String,
    /// Its version; any if it is not set.
    pub version: Option<String>,
}

/// A checked `include` or `exclude` block.
#[derive(Debug)]
pub(crate) struct Matcher {
    services: Texts,
    span_names: Texts,
    span_kinds: Texts,
    log_bodies: Texts,
    severity_texts: Texts,
    metric_names: Texts,
    severity: Option<(i32, bool)>,
    attributes: Vec<Attribute>,
    resources: Vec<Attribute>,
    libraries: Vec<(Texts, Texts)>,
}

/// `None`: not asked for.
#[derive(Debug, Default)]
struct Texts(Option<TextSet>);

#[derive(Debug)]
struct TextSet {
    texts: Vec<Text>,
    /// Answers, where they are to be remembered.
    known: Option<Mutex<Lru<Box<str>, bool>>>,
}

/// Answers that are remembered where no number is given.
const REMEMBERED: usize = 10_000;

/// Longer texts are not remembered.
const LONGEST_REMEMBERED: usize = 1 << 10;

#[derive(Debug)]
enum Text {
    Equal(String),
    Regex(Regex),
}

#[derive(Debug)]
struct Attribute {
    key: String,
    value: Expected,
}

#[derive(Debug)]
enum Expected {
    Anything,
    Equal(AnyValue),
    Regex(Regex),
}

const KINDS: [&str; 5] = [
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

impl Texts {
    fn new(block: &'static str, args: &MatchArgs, texts: &[String]) -> Result<Self, Error> {
        if texts.is_empty() {
            return Ok(Self(None));
        }
        let text = |text: &String| match args.match_type {
            MatchType::Strict => Ok(Text::Equal(text.clone())),
            MatchType::Regexp => Ok(Text::Regex(regex(block, text)?)),
        };
        let texts = texts.iter().map(text).collect::<Result<_, Error>>()?;
        let cache = args.regexp.as_ref().filter(|r| r.cache_enabled && args.match_type == MatchType::Regexp);
        let known = cache.map(|regexp| {
            let most = usize::try_from(regexp.cache_max_num_entries).ok().filter(|most| *most > 0);
            Mutex::new(Lru::new(most.unwrap_or(REMEMBERED)))
        });
        Ok(Self(Some(TextSet { texts, known })))
    }

    fn is_match(&self, text: &str) -> bool {
        let Some(set) = &self.0 else { return true };
        let Some(known) = set.known.as_ref().filter(|_| text.len() <= LONGEST_REMEMBERED) else {
            return set.is_match(text);
        };
        if let Some(answer) = known.lock().get(text) {
            return *answer;
        }
        let answer = set.is_match(text);
        known.lock().insert(text.into(), answer);
        answer
    }

    fn is_asked(&self) -> bool {
        self.0.is_some()
    }
}

impl TextSet {
    fn is_match(&self, text: &str) -> bool {
        self.texts.iter().any(|t| match t {
            Text::Equal(expected) => expected == text,
            Text::Regex(regex) => regex.is_match(text),
        })
    }
}

fn regex(block: &'static str, pattern: &str) -> Result<Regex, Error> {
    Regex::new(pattern).map_err(|error| Error::argument(block, error.to_string()))
}

impl Attribute {
    fn new(block: &'static str, kind: MatchType, args: &AttributeArgs) -> Result<Self, Error> {
        if args.key.is_empty() {
            return Err(Error::argument(block, "an attribute to match has an empty key"));
        }
        let value = match (kind, &args.value) {
            (_, Value::Null) => Expected::Anything,
            (MatchType::Regexp, Value::String(pattern)) => Expected::Regex(regex(block, pattern)?),
            (MatchType::Regexp, _) => {
                let message = format!("match_type regexp needs a string as the value of {:?}", args.key);
                return Err(Error::argument(block, message));
            }
            (MatchType::Strict, value) => Expected::Equal(any(value).ok_or_else(|| {
                Error::argument(block, format!("the value of {:?} is none that attributes have", args.key))
            })?),
        };
        Ok(Self { key: args.key.clone(), value })
    }

    /// Attributes are in the fields of a number of a serialised message.
    fn is_match(&self, message: &[u8], number: u32) -> Result<bool, Unclear> {
        let Some(found) = find(message, number, self.key.as_bytes())? else { return Ok(false) };
        Ok(match &self.value {
            Expected::Anything => true,
            Expected::Equal(expected) => found.value.is_some() && equal(expected, found.value)?,
            Expected::Regex(regex) => {
                let scalar = matches!(
                    view::any_or_empty(found.value)?,
                    Any::Text(_) | Any::Bool(_) | Any::Int(_) | Any::Double(_)
                );
                scalar && regex.is_match(&value::text_of(found.value)?)
            }
        })
    }
}

/// Whether a serialised value is this one.
fn equal(expected: &AnyValue, found: Option<&[u8]>) -> Result<bool, Unclear> {
    Ok(match (&expected.value, view::any_or_empty(found)?) {
        (Some(Kind::StringValue(a)), Any::Text(b)) => a.as_bytes() == b,
        (Some(Kind::BoolValue(a)), Any::Bool(b)) => *a == b,
        (Some(Kind::IntValue(a)), Any::Int(b)) => *a == b,
        (Some(Kind::DoubleValue(a)), Any::Double(b)) => *a == b,
        (Some(Kind::ArrayValue(_)), Any::Array(_)) | (Some(Kind::KvlistValue(_)), Any::Map(_)) => {
            value::decoded(found).as_ref() == Some(expected)
        }
        _ => false,
    })
}

impl Matcher {
    /// `block` is `include` or `exclude`.
    fn new(block: &'static str, args: &MatchArgs) -> Result<Self, Error> {
        if let (MatchType::Strict, Some(kind)) =
            (args.match_type, args.span_kinds.iter().find(|k| !KINDS.contains(&k.as_str())))
        {
            let message = format!("{kind:?} is no kind of spans; there are {}", KINDS.join(", "));
            return Err(Error::argument(block, message));
        }
        let texts = |texts: &[String]| Texts::new(block, args, texts);
        let attributes = |list: &[AttributeArgs]| {
            list.iter().map(|a| Attribute::new(block, args.match_type, a)).collect::<Result<Vec<_>, _>>()
        };
        let library = |library: &LibraryArgs| {
            let version = library.version.as_slice();
            Ok((texts(std::slice::from_ref(&library.name))?, texts(version)?))
        };
        let severity =
            |args: &SeverityArgs| Ok::<_, Error>((severity(block, &args.min)?, args.match_undefined));
        Ok(Self {
            services: texts(&args.services)?,
            span_names: texts(&args.span_names)?,
            span_kinds: texts(&args.span_kinds)?,
            log_bodies: texts(&args.log_bodies)?,
            severity_texts: texts(&args.log_severity_texts)?,
            metric_names: texts(&args.metric_names)?,
            severity: args.log_severity.as_ref().map(severity).transpose()?,
            attributes: attributes(&args.attribute)?,
            resources: attributes(&args.resource)?,
            libraries: args.library.iter().map(library).collect::<Result<_, Error>>()?,
        })
    }

    fn asks_of_any(&self) -> bool {
        !self.attributes.is_empty() || !self.resources.is_empty() || !self.libraries.is_empty()
    }

    fn asks_of_logs(&self) -> bool {
        self.log_bodies.is_asked() || self.severity_texts.is_asked() || self.severity.is_some()
    }

    fn asks_of_spans(&self) -> bool {
        self.services.is_asked() || self.span_names.is_asked() || self.span_kinds.is_asked()
    }

    /// Refuses what makes no sense for the signals that go through.
    fn check(&self, block: &'static str, traces: bool, logs: bool) -> Result<(), Error> {
        if traces && self.asks_of_logs() {
            return Err(Error::argument(block, "properties of log records do not go with traces in output"));
        }
        if logs && self.asks_of_spans() {
            let message = "services, span_names and span_kinds do not go with logs in output";
            return Err(Error::argument(block, message));
        }
        if traces && !self.asks_of_spans() && !self.asks_of_any() {
            let message = "needs a service, span name, span kind, attribute, resource or library for traces";
            return Err(Error::argument(block, message));
        }
        if logs && !self.asks_of_logs() && !self.asks_of_any() {
            let message = "needs a body, severity, attribute, resource or library for logs";
            return Err(Error::argument(block, message));
        }
        Ok(())
    }

    /// Whether the resource is like this.
    fn of_resource(&self, kind: Signal, resource: &[u8]) -> Result<bool, Unclear> {
        if kind == Signal::Traces && self.services.is_asked() {
            let name = find(resource, RESOURCE_ATTRIBUTES, b"service.name")?;
            let name = match &name {
                Some(name) => value::text_of(name.value)?,
                None => Cow::Borrowed("<nil-service-name>"),
            };
            if !self.services.is_match(&name) {
                return Ok(false);
            }
        }
        for expected in &self.resources {
            if !expected.is_match(resource, RESOURCE_ATTRIBUTES)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the instrumentation scope is like this.
    fn of_scope(&self, scope: &[u8]) -> Result<bool, Unclear> {
        if self.libraries.is_empty() {
            return Ok(true);
        }
        let (mut name, mut version) = (None, None);
        let mut fields = fields(scope);
        while let Some((_, field)) = fields.next_field()? {
            match field.number {
                1 => once(&mut name, payload(&field)?)?,
                2 => once(&mut version, payload(&field)?)?,
                _ => {}
            }
        }
        let (name, version) =
            (view::text(name.unwrap_or_default())?, view::text(version.unwrap_or_default())?);
        Ok(self.libraries.iter().any(|library| library.0.is_match(name) && library.1.is_match(version)))
    }

    /// Whether the item itself is like this.
    fn of_item(&self, kind: Signal, item: &[u8], attributes: u32) -> Result<bool, Unclear> {
        let itself = match kind {
            Signal::Traces => self.of_span(item)?,
            Signal::Logs => self.of_record(item)?,
            Signal::Metrics => true,
        };
        if !itself {
            return Ok(false);
        }
        for expected in &self.attributes {
            if !expected.is_match(item, attributes)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn of_span(&self, span: &[u8]) -> Result<bool, Unclear> {
        if !self.span_names.is_asked() && !self.span_kinds.is_asked() {
            return Ok(true);
        }
        let (mut name, mut kind) = (None, None);
        let mut fields = fields(span);
        while let Some((_, field)) = fields.next_field()? {
            match field.number {
                5 => once(&mut name, payload(&field)?)?,
                6 => once(&mut kind, field.u32()?)?,
                _ => {}
            }
        }
        // Where there is no kind, the collector compares with nothing.
        let kind = kind.and_then(|kind| KINDS.get((kind as usize).checked_sub(1)?)).unwrap_or(&"");
        Ok(self.span_names.is_match(view::text(name.unwrap_or_default())?) && self.span_kinds.is_match(kind))
    }

    fn of_record(&self, record: &[u8]) -> Result<bool, Unclear> {
        if !self.asks_of_logs() {
            return Ok(true);
        }
        let (mut severity, mut text, mut body) = (None, None, None);
        let mut fields = fields(record);
        while let Some((_, field)) = fields.next_field()? {
            match field.number {
                2 => once(&mut severity, field.u32()? as i32)?,
                3 => once(&mut text, payload(&field)?)?,
                5 => once(&mut body, payload(&field)?)?,
                _ => {}
            }
        }
        Ok(self.severity.is_none_or(|(min, undefined)| match severity.unwrap_or_default() {
            0 => undefined,
            number => number >= min,
        }) && self.severity_texts.is_match(view::text(text.unwrap_or_default())?)
            && (!self.log_bodies.is_asked() || self.log_bodies.is_match(&value::text_of(body)?)))
    }
}

/// The number of a resource's attributes.
const RESOURCE_ATTRIBUTES: u32 = 1;

/// `include` and `exclude` together.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    include: Option<Matcher>,
    exclude: Option<Matcher>,
}

impl Filter {
    /// `traces` and `logs`: whether they go through.
    pub(crate) fn new(
        include: Option<&MatchArgs>,
        exclude: Option<&MatchArgs>,
        traces: bool,
        logs: bool,
    ) -> Result<Self, Error> {
        let matcher = |block: &'static str, args: Option<&MatchArgs>| {
            let Some(args) = args else { return Ok(None) };
            let matcher = Matcher::new(block, args)?;
            matcher.check(block, traces, logs)?;
            Ok::<_, Error>(Some(matcher))
        };
        Ok(Self { include: matcher("include", include)?, exclude: matcher("exclude", exclude)? })
    }

    #[cfg(test)]
    pub(crate) fn applies_decoded(&self, test: impl Fn(&Matcher) -> bool) -> bool {
        self.include.as_ref().is_none_or(&test) && !self.exclude.as_ref().is_some_and(&test)
    }
}

/// Filters the items of one request after the other.
pub(crate) struct Filtering<'f> {
    kind: Signal,
    include: Option<(&'f Matcher, Memo)>,
    exclude: Option<(&'f Matcher, Memo)>,
}

/// What was found of the surroundings of the last item: the next one mostly has the same.
#[derive(Clone, Copy, Debug, Default)]
struct Memo {
    resource: Option<(Place, bool)>,
    scope: Option<(Place, bool)>,
    metric: Option<(Place, bool)>,
}

/// Where bytes are in the request that is being filtered.
type Place = (usize, usize);

fn place(bytes: &[u8]) -> Place {
    (bytes.as_ptr() as usize, bytes.len())
}

/// The answer for these bytes, asked for only if the last ones were others.
fn known(
    memo: &mut Option<(Place, bool)>,
    bytes: &[u8],
    ask: impl FnOnce() -> Result<bool, Unclear>,
) -> Result<bool, Unclear> {
    match memo {
        Some((at, answer)) if *at == place(bytes) => Ok(*answer),
        _ => {
            let answer = ask()?;
            *memo = Some((place(bytes), answer));
            Ok(answer)
        }
    }
}

impl<'f> Filtering<'f> {
    pub(crate) fn new(filter: &'f Filter, kind: Signal) -> Self {
        let with = |matcher: &'f Option<Matcher>| matcher.as_ref().map(|matcher| (matcher, Memo::default()));
        Self { kind, include: with(&filter.include), exclude: with(&filter.exclude) }
    }

    /// Another request follows.
    pub(crate) fn begin(&mut self) {
        for (_, memo) in self.include.iter_mut().chain(&mut self.exclude) {
            *memo = Memo::default();
        }
    }

    /// Whether an item is one of those that are meant.
    pub(crate) fn applies(&mut self, around: Around<'_>, item: &[u8]) -> Result<bool, Unclear> {
        let kind = self.kind;
        let is_match = |(matcher, memo): &mut (&Matcher, Memo)| {
            Ok::<_, Unclear>(
                known(&mut memo.resource, around.resource, || matcher.of_resource(kind, around.resource))?
                    && known(&mut memo.scope, around.scope, || matcher.of_scope(around.scope))?
                    && (kind != Signal::Metrics
                        || known(&mut memo.metric, around.metric, || {
                            Ok(matcher.metric_names.is_match(view::text(around.metric)?))
                        })?)
                    && matcher.of_item(kind, item, around.attributes)?,
            )
        };
        if let Some(include) = &mut self.include
            && !is_match(include)?
        {
            return Ok(false);
        }
        match &mut self.exclude {
            Some(exclude) => Ok(!is_match(exclude)?),
            None => Ok(true),
        }
    }
}

/// `INFO` is 9, `INFO2` 10.
fn severity(block: &'static str, level: &str) -> Result<i32, Error> {
    const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let (name, step) = match level.as_bytes().last() {
        Some(digit @ b'2'..=b'4') => (&level[..level.len() - 1], i32::from(digit - b'1')),
        _ => (level, 0),
    };
    let at = LEVELS.iter().position(|l| *l == name);
    let at = at.and_then(|at| i32::try_from(at).ok());
    at.map(|at| at * 4 + 1 + step)
        .ok_or_else(|| Error::argument(block, format!("log_severity: unrecognized severity level {level:?}")))
}
