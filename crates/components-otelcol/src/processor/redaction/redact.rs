//! What is done to attributes.
//!
//! As the collector's `redactionprocessor`: ignored keys are left alone, keys that are not allowed go, allowed
//! values are left alone, values of blocked keys are masked, then what blocked patterns match; then URLs and queries
//! are cleaned.

use std::borrow::Cow;

use component::Error;
use prost::Message as _;
use signal::Regex;
use signal::otlp::proto::common::v1::AnyValue;
use signal::otlp::proto::common::v1::any_value::Value;
use wire::otlp::view::{self, Any, Unclear, fields, once, payload};
use wire::otlp::{Around, AttributeList, Editor, Fate, Splices, text_value};
use wire::proto::Value::Varint;
use wire::proto::push_bytes_field;

use super::db::{self, Databases};
use super::mask::Mask;
use super::{Args, UrlArgs, url};
use crate::signals::Kind;
use crate::value;

/// Checked arguments.
#[derive(Debug)]
pub(super) struct Rules {
    allow_all: bool,
    allowed_keys: Vec<String>,
    ignored_keys: Vec<String>,
    ignored_patterns: Vec<Regex>,
    blocked_keys: Vec<Regex>,
    allowed_values: Vec<Regex>,
    blocked_values: Vec<Regex>,
    mask: Mask,
    urls: Option<UrlArgs>,
    databases: Option<Databases>,
    all_types: bool,
    summary: Summary,
}

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Summary {
    Silent,
    Info,
    Debug,
}

/// What was done, by what was done: keys.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) redacted: Vec<String>,
    pub(super) masked: Vec<String>,
    pub(super) allowed: Vec<String>,
    pub(super) ignored: u64,
}

/// Attributes that say what was done: with keys and with their number.
pub(super) struct Notes {
    redacted: [&'static str; 2],
    masked: [&'static str; 2],
    allowed: [&'static str; 2],
    ignored: &'static str,
}

/// Of attributes.
const OF_ATTRIBUTES: Notes = Notes {
    redacted: ["redaction.redacted.keys", "redaction.redacted.count"],
    masked: ["redaction.masked.keys", "redaction.masked.count"],
    allowed: ["redaction.allowed.keys", "redaction.allowed.count"],
    ignored: "redaction.ignored.count",
};

/// Of the body of a log record.
const OF_BODY: Notes = Notes {
    redacted: ["redaction.body.redacted.keys", "redaction.body.redacted.count"],
    masked: ["redaction.body.masked.keys", "redaction.body.masked.count"],
    allowed: ["redaction.body.allowed.keys", "redaction.body.allowed.count"],
    ignored: "redaction.body.ignored.count",
};

/// What becomes of an attribute by its key alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ByKey {
    Ignored,
    Redacted,
    Kept,
}

impl Rules {
    pub(super) fn new(args: &Args) -> Result<Self, Error> {
        let regexes = |argument: &'static str, patterns: &[String]| {
            let regex = |pattern: &String| {
                Regex::new(pattern).map_err(|error| Error::argument(argument, error.to_string()))
            };
            patterns.iter().map(regex).collect::<Result<Vec<_>, _>>()
        };
        let notes = [OF_ATTRIBUTES, OF_BODY].into_iter().flat_map(|notes| {
            [notes.redacted, notes.masked, notes.allowed].concat().into_iter().chain([notes.ignored])
        });
        Ok(Self {
            allow_all: args.allow_all_keys,
            // Notes of another such component before this one stay.
            allowed_keys: args.allowed_keys.iter().cloned().chain(notes.map(str::to_string)).collect(),
            ignored_keys: args.ignored_keys.clone(),
            ignored_patterns: regexes("ignored_key_patterns", &args.ignored_key_patterns)?,
            blocked_keys: regexes("blocked_key_patterns", &args.blocked_key_patterns)?,
            allowed_values: regexes("allowed_values", &args.allowed_values)?,
            blocked_values: regexes("blocked_values", &args.blocked_values)?,
            mask: Mask::new(&args.hash_function, &args.hmac_key),
            urls: args.url_sanitizer.clone().filter(|urls| urls.enabled),
            databases: args.db_sanitizer.as_ref().and_then(Databases::new),
            all_types: args.redact_all_types,
            summary: match args.summary.as_str() {
                "debug" => Summary::Debug,
                "info" => Summary::Info,
                _ => Summary::Silent,
            },
        })
    }

    pub(super) fn by_key(&self, key: &str) -> ByKey {
        if self.ignored_keys.iter().any(|k| k == key) || any(&self.ignored_patterns, key) {
            ByKey::Ignored
        } else if !self.allow_all && !self.allowed_keys.iter().any(|k| k == key) {
            ByKey::Redacted
        } else {
            ByKey::Kept
        }
    }

    pub(super) fn is_blocked(&self, key: &str) -> bool {
        any(&self.blocked_keys, key)
    }

    pub(super) fn is_allowed(&self, value: &str) -> bool {
        any(&self.allowed_values, value)
    }

    /// In the place of a whole value.
    pub(super) fn masked(&self, value: &str) -> String {
        self.mask.of(value)
    }

    /// A value without what is blocked in it; `None` where that is nothing.
    pub(super) fn cleaned(&self, value: &str) -> Option<String> {
        let mut new: Option<String> = None;
        for pattern in &self.blocked_values {
            if let Some(masked) = self.mask.matches(pattern, new.as_deref().unwrap_or(value)) {
                new = Some(masked);
            }
        }
        new.filter(|new| new != value)
    }

    /// The value of an attribute without what is not to be seen in it, beside the system that a database is of.
    fn cleaned_attribute(&self, key: &str, value: &str, system: &str) -> Option<String> {
        let mut new = self.cleaned(value);
        let cleans = |urls: &&UrlArgs| urls.attributes.iter().any(|known| known == key);
        if !value.is_empty() && self.urls.as_ref().filter(cleans).is_some() {
            new = Some(url::clustered(new.as_deref().unwrap_or(value)));
        }
        if !value.is_empty()
            && let Some(databases) = &self.databases
        {
            let masked = databases.attribute(key, new.as_deref().unwrap_or(value), system);
            new = masked.or(new);
        }
        new.filter(|new| new != value)
    }

    /// A text of a body without what is not to be seen in it.
    pub(super) fn cleaned_text(&self, value: &str) -> Option<String> {
        let mut new = self.cleaned(value);
        if self.urls.is_some() && url::is_url(value) {
            new = Some(url::clustered(new.as_deref().unwrap_or(value)));
        }
        if let Some(databases) = &self.databases {
            new = Some(databases.guessed(new.as_deref().unwrap_or(value)));
        }
        new.filter(|new| new != value)
    }

    /// The name of a span, where it is to be another.
    fn cleaned_name(&self, name: &str, kind: u64, is_http: bool, system: &str) -> Option<String> {
        if self.is_allowed(name) {
            return None;
        }
        if self.urls.as_ref().is_some_and(|urls| urls.sanitize_span_name)
            && [SERVER, CLIENT].contains(&kind)
            && (is_http || name.contains('/'))
        {
            let new = url::clustered(name);
            if new != name && !new.is_empty() && !url::is_nothing_but_placeholders(&new) {
                return Some(new);
            }
        }
        let databases = self.databases.as_ref().filter(|databases| databases.span_names)?;
        let concerned = [INTERNAL, SERVER, CLIENT].contains(&kind);
        databases.span_name(name, system).filter(|new| concerned && new != name)
    }

    /// The system of a database that the attributes name.
    fn system(&self, list: &AttributeList<'_>) -> Result<String, Unclear> {
        if self.databases.is_none() {
            return Ok(String::new());
        }
        for key in db::SYSTEM_KEYS {
            if let Some(at) = list.find(key.as_bytes())
                && let Any::Text(system) = view::any_or_empty(list.value(at))?
            {
                return Ok(view::text(system)?.to_lowercase());
            }
        }
        Ok(String::new())
    }

    fn attributes(&self, list: &mut AttributeList<'_>) -> Result<(), Unclear> {
        let mut done = Done::default();
        let system = self.system(list)?;
        for at in list.places() {
            let Some(key) = list.key(at) else { continue };
            let key = view::text(key)?.to_string();
            match self.by_key(&key) {
                ByKey::Ignored => {
                    done.ignored += 1;
                    continue;
                }
                ByKey::Redacted => {
                    list.remove(at);
                    done.redacted.push(key);
                    continue;
                }
                ByKey::Kept => {}
            }
            let text = match view::any_or_empty(list.value(at))? {
                Any::Text(text) => view::text(text)?.to_string(),
                _ if self.all_types => value::text_of(list.value(at))?.into_owned(),
                _ => String::new(),
            };
            if self.is_allowed(&text) {
                done.allowed.push(key);
                continue;
            }
            let new = match self.is_blocked(&key) {
                true => Some(self.masked(&text)),
                false => self.cleaned_attribute(&key, &text, &system),
            };
            if let Some(new) = new {
                list.set(at, Cow::Owned(text_value(new.as_bytes())));
                done.masked.push(key);
            }
        }
        self.note(&OF_ATTRIBUTES, done, list)
    }

    /// Says in attributes what was done.
    fn note(&self, notes: &Notes, done: Done, list: &mut AttributeList<'_>) -> Result<(), Unclear> {
        if self.summary == Summary::Silent {
            return Ok(());
        }
        let ignored = vec![String::new(); usize::try_from(done.ignored).unwrap_or(usize::MAX)];
        let all = [
            (Some(notes.redacted[0]), notes.redacted[1], done.redacted),
            (Some(notes.masked[0]), notes.masked[1], done.masked),
            (Some(notes.allowed[0]), notes.allowed[1], done.allowed),
            (None, notes.ignored, ignored),
        ];
        for (keys, count, mut found) in all {
            if found.is_empty() {
                continue;
            }
            let mut number = i64::try_from(found.len()).unwrap_or(i64::MAX);
            if let Some(keys) = keys.filter(|_| self.summary == Summary::Debug) {
                if let Some(at) = list.find(keys.as_bytes())
                    && let Any::Text(before) = view::any_or_empty(list.value(at))?
                {
                    let before = view::text(before)?.split(',').filter(|key| !key.is_empty());
                    found.extend(before.map(str::to_string));
                }
                found.sort();
                put(list, keys, text_value(found.join(",").as_bytes()));
            }
            if let Some(at) = list.find(count.as_bytes())
                && let Any::Int(before) = view::any_or_empty(list.value(at))?
            {
                number = number.saturating_add(before);
            }
            put(list, count, AnyValue { value: Some(Value::IntValue(number)) }.encode_to_vec());
        }
        Ok(())
    }

    fn span(&self, span: &[u8], splices: &mut Splices) -> Result<(), Unclear> {
        let mut list = AttributeList::new(span, 9)?;
        self.name(span, &list, splices)?;
        self.attributes(&mut list)?;
        list.write(splices);
        let mut all = fields(span);
        while let Some((place, field)) = all.next_field()? {
            if field.number == EVENT {
                let event = payload(&field)?;
                let mut list = AttributeList::new(event, 3)?;
                self.attributes(&mut list)?;
                if list.has_changed() {
                    let mut inner = Splices::default();
                    list.write(&mut inner);
                    let mut new = Vec::with_capacity(event.len() + 64);
                    inner.apply(event, &mut new);
                    splices.replace(place, |out| push_bytes_field(out, EVENT, &new));
                }
            }
        }
        Ok(())
    }

    /// Cleans the name of a span by the attributes that it has come with.
    fn name(&self, span: &[u8], list: &AttributeList<'_>, splices: &mut Splices) -> Result<(), Unclear> {
        if self.urls.is_none() && self.databases.is_none() {
            return Ok(());
        }
        let (mut name, mut kind) = (None, 0);
        let mut all = fields(span);
        while let Some((place, field)) = all.next_field()? {
            match (field.number, field.value) {
                (NAME, _) => once(&mut name, (place, payload(&field)?))?,
                (KIND, Varint(value)) => kind = value,
                _ => {}
            }
        }
        let Some((place, old)) = name else { return Ok(()) };
        let is_http = HTTP_KEYS.iter().any(|key| list.find(key.as_bytes()).is_some());
        if let Some(new) = self.cleaned_name(view::text(old)?, kind, is_http, &self.system(list)?) {
            splices.replace(place, |out| push_bytes_field(out, NAME, new.as_bytes()));
        }
        Ok(())
    }

    fn record(&self, record: &[u8], splices: &mut Splices) -> Result<(), Unclear> {
        let mut list = AttributeList::new(record, 6)?;
        self.attributes(&mut list)?;
        let mut body = None;
        let mut all = fields(record);
        while let Some((place, field)) = all.next_field()? {
            if field.number == BODY {
                once(&mut body, (place, payload(&field)?))?;
            }
        }
        if let Some((place, old)) = body {
            let mut done = Done::default();
            if let Some(new) = self.body(old, &mut done)? {
                splices.replace(place, |out| push_bytes_field(out, BODY, &new));
            }
            self.note(&OF_BODY, done, &mut list)?;
        }
        list.write(splices);
        Ok(())
    }
}

/// Numbers of fields: a span's name, kind and events, a log record's body.
const NAME: u32 = 5;
const KIND: u32 = 6;
const EVENT: u32 = 11;
const BODY: u32 = 5;

/// Kinds of spans.
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;

/// A span with one of these is about HTTP.
const HTTP_KEYS: [&str; 9] = [
    "http.route",
    "http.request.method",
    "http.request.method_original",
    "http.response.status_code",
    "url.full",
    "http.scheme",
    "http.target",
    "http.method",
    "http.url",
];

fn any(patterns: &[Regex], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.is_match(text))
}

fn put<'a>(list: &mut AttributeList<'a>, key: &'static str, value: Vec<u8>) {
    match list.find(key.as_bytes()) {
        Some(at) => list.set(at, Cow::Owned(value)),
        None => list.push(Cow::Borrowed(key.as_bytes()), Some(Cow::Owned(value))),
    }
}

/// Redacts the requests of one batch.
pub(super) struct Redacting<'r> {
    rules: &'r Rules,
    kind: Kind,
}

impl<'r> Redacting<'r> {
    pub(super) fn new(rules: &'r Rules, kind: Kind) -> Self {
        Self { rules, kind }
    }

    fn attributes(&self, message: &[u8], number: u32, splices: &mut Splices) -> Result<(), Unclear> {
        let mut list = AttributeList::new(message, number)?;
        self.rules.attributes(&mut list)?;
        list.write(splices);
        Ok(())
    }
}

impl Editor for Redacting<'_> {
    fn resource(&mut self, resource: &[u8], splices: &mut Splices) -> Result<(), Unclear> {
        self.attributes(resource, 1, splices)
    }

    fn scope(&mut self, _: Around<'_>, scope: &[u8], splices: &mut Splices) -> Result<(), Unclear> {
        self.attributes(scope, 3, splices)
    }

    fn item(&mut self, around: Around<'_>, item: &[u8], splices: &mut Splices) -> Result<Fate, Unclear> {
        match self.kind {
            Kind::Traces => self.rules.span(item, splices)?,
            Kind::Logs => self.rules.record(item, splices)?,
            Kind::Metrics => self.attributes(item, around.attributes, splices)?,
        }
        Ok(Fate::Keep)
    }
}
