//! `ExtractGrokPatterns`: patterns with names become one RE2 expression when the statement is parsed.

use std::borrow::Cow;

use signal::otlp::proto::common::v1::any_value::Value as Proto;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::re2::Regex;

use super::Takes::{Bool, Fixed, Str, Values};
use super::{Args, Function, optional, param};
use crate::error::EvalError;
use crate::expr::Env;
use crate::value::{Value, any, any_str, entry, find};

pub(super) const TABLE: &[Function] = &[Function::convert(
    "ExtractGrokPatterns",
    &[
        param("target", Str),
        param("pattern", Fixed),
        optional("named_captures_only", Bool),
        optional("pattern_definitions", Values),
    ],
    extract,
)
.prepared(|args| {
    let only_named = match args.literal(2) {
        Some(Value::Bool(only)) => *only,
        None if args.is_absent(2) => false,
        _ => return Err("`named_captures_only` has to be written out".into()),
    };
    let definitions = args.fixed_list(3).ok_or("`pattern_definitions` has to be written out")?;
    let grok = Grok::new(args.fixed(1).unwrap_or_default(), only_named, &definitions)?;
    args.keep(grok);
    Ok(())
})];

fn extract<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let text = args.str(0, env)?;
    let grok = args.ready::<Grok>().ok_or_else(|| EvalError::new("there is no pattern"))?;
    Ok(Value::Map(Cow::Owned(grok.matched(&text).map_err(EvalError::new)?)))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    Text,
    Int,
    Double,
    Bool,
}

/// A compiled pattern: what each group with a name is called and what it becomes.
#[derive(Debug)]
struct Grok {
    regex: Regex,
    groups: Vec<Option<(String, Type)>>,
}

/// Patterns inside of each other, and characters of what they become.
const MAX_DEPTH: usize = 24;
const MAX_LENGTH: usize = 1 << 16;

struct Expansion<'d> {
    definitions: Vec<(&'d str, &'d str)>,
    only_named: bool,
    /// Key and type of `g0`, `g1`, …
    names: Vec<(String, Type)>,
    out: String,
}

impl Grok {
    fn new(pattern: &str, only_named: bool, definitions: &[&str]) -> Result<Self, String> {
        let definitions = definitions
            .iter()
            .map(|definition| {
                definition.split_once('=').ok_or_else(|| format!("`{definition}` is not NAME=PATTERN"))
            })
            .collect::<Result<_, _>>()?;
        let mut expansion = Expansion { definitions, only_named, names: Vec::new(), out: String::new() };
        expansion.expand(pattern, 0)?;
        let regex = Regex::new(&expansion.out).map_err(|error| error.to_string())?;
        let mut names = expansion.names.into_iter().map(Some).collect::<Vec<_>>();
        let groups: Vec<_> = regex
            .group_names()
            .map(|name| {
                let number: usize = name?.strip_prefix('g')?.parse().ok()?;
                names.get_mut(number)?.take()
            })
            .collect();
        if only_named && groups.iter().all(Option::is_none) {
            return Err("the pattern has no capture with a name".into());
        }
        Ok(Self { regex, groups })
    }

    fn matched(&self, text: &str) -> Result<Vec<KeyValue>, String> {
        let Some(captures) = self.regex.captures(text) else { return Ok(Vec::new()) };
        let mut out: Vec<KeyValue> = Vec::new();
        for (at, group) in self.groups.iter().enumerate() {
            if let (Some((key, kind)), Some(found)) = (group, captures.get(at))
                && find(&out, key).is_none()
            {
                out.push(entry(
                    key.as_str(),
                    kind.of(found).ok_or_else(|| format!("`{found}` of `{key}` cannot be converted"))?,
                ));
            }
        }
        Ok(out)
    }
}

impl Type {
    fn of(self, text: &str) -> Option<AnyValue> {
        Some(match self {
            Self::Text => any_str(text),
            Self::Int => any(Proto::IntValue(text.parse().ok()?)),
            Self::Double => any(Proto::DoubleValue(text.parse().ok()?)),
            Self::Bool => any(Proto::BoolValue(match text.to_ascii_lowercase().as_str() {
                "true" | "t" | "1" => true,
                "false" | "f" | "0" => false,
                _ => return None,
            })),
        })
    }
}

impl Expansion<'_> {
    fn expand(&mut self, pattern: &str, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH || self.out.len() > MAX_LENGTH {
            return Err("patterns refer to each other without end".into());
        }
        let mut rest = pattern;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('\\') {
                let length = after.chars().next().map_or(0, char::len_utf8);
                self.out.push_str(&rest[..1 + length]);
                rest = &after[length..];
            } else if let Some(after) = rest.strip_prefix("%{") {
                let end = after.find('}').ok_or_else(|| format!("`%{{{after}` is not closed"))?;
                self.reference(&after[..end], depth)?;
                rest = &after[end + 1..];
            } else if let Some(after) = rest.strip_prefix("(?P<").or_else(|| named(rest)) {
                let end = after.find('>').ok_or_else(|| format!("`(?P<{after}` is not closed"))?;
                self.open(&after[..end], Type::Text);
                rest = &after[end + 1..];
            } else {
                let length = rest.chars().next().map_or(1, char::len_utf8);
                self.out.push_str(&rest[..length]);
                rest = &rest[length..];
            }
        }
        Ok(())
    }

    fn open(&mut self, key: &str, kind: Type) {
        self.out.push_str(&format!("(?P<g{}>", self.names.len()));
        self.names.push((key.to_owned(), kind));
    }

    /// `SYNTAX`, `SYNTAX:ID` or `SYNTAX:ID:TYPE`
    fn reference(&mut self, reference: &str, depth: usize) -> Result<(), String> {
        let mut parts = reference.splitn(3, ':');
        let syntax = parts.next().unwrap_or_default();
        let key = parts.next().filter(|key| !key.is_empty());
        let kind = match parts.next().unwrap_or_default() {
            "" | "string" => Type::Text,
            "int" | "long" => Type::Int,
            "double" | "float" => Type::Double,
            "bool" | "boolean" => Type::Bool,
            other => return Err(format!("the type `{other}` in `%{{{reference}}}` is not known")),
        };
        let own = self.definitions.iter().find(|(name, _)| *name == syntax).map(|(_, pattern)| *pattern);
        let known = || PATTERNS.iter().find(|(name, _)| *name == syntax).map(|(_, pattern)| *pattern);
        let pattern = own.or_else(known).map(str::to_owned).ok_or_else(|| {
            let hint = crate::error::nearest(syntax, PATTERNS.iter().map(|(name, _)| *name));
            let hint = hint.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            format!("the pattern `{syntax}` is not known{hint}")
        })?;
        match key {
            Some(key) => self.open(key, kind),
            None if !self.only_named => self.open(syntax, kind),
            None => self.out.push_str("(?:"),
        }
        self.expand(&pattern, depth + 1)?;
        self.out.push(')');
        Ok(())
    }
}

/// `(?<name>`, which Go knows too.
fn named(text: &str) -> Option<&str> {
    text.strip_prefix("(?<").filter(|after| !after.starts_with(['=', '!']))
}

/// The patterns that can be referred to by name.
const PATTERNS: &[(&str, &str)] = &[
    ("WORD", r"\b\w+\b"),
    ("NOTSPACE", r"\S+"),
    ("SPACE", r"\s*"),
    ("DATA", r".*?"),
    ("GREEDYDATA", r".*"),
    ("INT", r"[+-]?(?:[0-9]+)"),
    ("POSINT", r"\b[1-9][0-9]*\b"),
    ("NONNEGINT", r"\b[0-9]+\b"),
    ("BASE10NUM", r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"),
    ("NUMBER", r"%{BASE10NUM}"),
    ("BASE16NUM", r"[+-]?(?:0[xX])?[0-9A-Fa-f]+"),
    ("BASE16FLOAT", r"\b[+-]?(?:0x)?(?:[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]*)?|\.[0-9A-Fa-f]+)\b"),
    ("BOOL", r"true|false|TRUE|FALSE|True|False"),
    ("QUOTEDSTRING", r#""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`"#),
    ("QS", r"%{QUOTEDSTRING}"),
    ("UUID", r"[A-Fa-f0-9]{8}-(?:[A-Fa-f0-9]{4}-){3}[A-Fa-f0-9]{12}"),
    ("URN", r"urn:[0-9A-Za-z][0-9A-Za-z-]{0,31}:(?:%[0-9a-fA-F]{2}|[0-9A-Za-z()+,.:=@;$_!*'/?#-])+"),
    ("USERNAME", r"[a-zA-Z0-9._-]+"),
    ("USER", r"%{USERNAME}"),
    ("EMAILLOCALPART", r"[a-zA-Z0-9!#$%&'*+\-/=?^_`{|}~]+(?:\.[a-zA-Z0-9!#$%&'*+\-/=?^_`{|}~]+)*"),
    ("EMAILADDRESS", r"%{EMAILLOCALPART}@%{HOSTNAME}"),
    ("MAC", r"%{CISCOMAC}|%{WINDOWSMAC}|%{COMMONMAC}"),
    ("CISCOMAC", r"(?:[A-Fa-f0-9]{4}\.){2}[A-Fa-f0-9]{4}"),
    ("WINDOWSMAC", r"(?:[A-Fa-f0-9]{2}-){5}[A-Fa-f0-9]{2}"),
    ("COMMONMAC", r"(?:[A-Fa-f0-9]{2}:){5}[A-Fa-f0-9]{2}"),
    (
        "IPV4",
        r"\b(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\b",
    ),
    (
        "IPV6",
        r"(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}|(?:[0-9A-Fa-f]{1,4}:){1,7}:(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,5})?|::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6})?",
    ),
    ("IP", r"%{IPV6}|%{IPV4}"),
    ("HOSTNAME", r"\b[0-9A-Za-z][0-9A-Za-z-]{0,62}(?:\.[0-9A-Za-z][0-9A-Za-z-]{0,62})*\.?"),
    ("HOST", r"%{HOSTNAME}"),
    ("IPORHOST", r"%{IP}|%{HOSTNAME}"),
    ("HOSTPORT", r"%{IPORHOST}:%{POSINT}"),
    ("UNIXPATH", r"(?:/[\w_%!$@:.,+~-]*)+"),
    ("WINPATH", r"(?:[A-Za-z]+:|\\)(?:\\[^\\?*]*)+"),
    ("PATH", r"%{UNIXPATH}|%{WINPATH}"),
    ("TTY", r"/dev/(?:pts|tty(?:[pq])?)(?:\w+)?/?[0-9]*"),
    ("URIPROTO", r"[A-Za-z](?:[A-Za-z0-9+\-.]+)+"),
    ("URIHOST", r"%{IPORHOST}(?::%{POSINT})?"),
    ("URIPATH", r"(?:/[A-Za-z0-9$.+!*'(){},~:;=@#%&_\-]*)+"),
    ("URIQUERY", r"[A-Za-z0-9$.+!*'|(){},~@#%&/=:;_?\-\[\]<>]*"),
    ("URIPARAM", r"\?%{URIQUERY}"),
    ("URIPATHPARAM", r"%{URIPATH}(?:\?%{URIQUERY})?"),
    ("URI", r"%{URIPROTO}://(?:%{USER}(?::[^@]*)?@)?(?:%{URIHOST})?(?:%{URIPATH}(?:\?%{URIQUERY})?)?"),
    (
        "MONTH",
        r"\b(?:[Jj]an(?:uary)?|[Ff]eb(?:ruary)?|[Mm]ar(?:ch)?|[Aa]pr(?:il)?|[Mm]ay|[Jj]une?|[Jj]uly?|[Aa]ug(?:ust)?|[Ss]ep(?:tember)?|[Oo]ct(?:ober)?|[Nn]ov(?:ember)?|[Dd]ec(?:ember)?)\b",
    ),
    ("MONTHNUM", r"0?[1-9]|1[0-2]"),
    ("MONTHNUM2", r"0[1-9]|1[0-2]"),
    ("MONTHDAY", r"(?:0[1-9])|(?:[12][0-9])|(?:3[01])|[1-9]"),
    ("DAY", r"Mon(?:day)?|Tue(?:sday)?|Wed(?:nesday)?|Thu(?:rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?"),
    ("YEAR", r"(?:\d\d){1,2}"),
    ("HOUR", r"2[0123]|[01]?[0-9]"),
    ("MINUTE", r"[0-5][0-9]"),
    ("SECOND", r"(?:[0-5]?[0-9]|60)(?:[:.,][0-9]+)?"),
    ("TIME", r"%{HOUR}:%{MINUTE}(?::%{SECOND})"),
    ("DATE_US", r"%{MONTHNUM}[/-]%{MONTHDAY}[/-]%{YEAR}"),
    ("DATE_EU", r"%{MONTHDAY}[./-]%{MONTHNUM}[./-]%{YEAR}"),
    ("DATE_X", r"%{YEAR}[/-]%{MONTHNUM2}[/-]%{MONTHDAY}"),
    ("ISO8601_TIMEZONE", r"Z|[+-]%{HOUR}(?::?%{MINUTE})"),
    ("ISO8601_SECOND", r"%{SECOND}"),
    (
        "TIMESTAMP_ISO8601",
        r"%{YEAR}-%{MONTHNUM}-%{MONTHDAY}[T ]%{HOUR}:?%{MINUTE}(?::?%{SECOND})?(?:%{ISO8601_TIMEZONE})?",
    ),
    ("DATE", r"%{DATE_US}|%{DATE_EU}|%{DATE_X}"),
    ("DATESTAMP", r"%{DATE}[- ]%{TIME}"),
    ("TZ", r"[A-Z]{3,4}"),
    ("TZOFFSET", r"[+-]\d{4}"),
    ("DATESTAMP_RFC822", r"%{DAY} %{MONTH} %{MONTHDAY} %{YEAR} %{TIME} %{TZ}"),
    ("DATESTAMP_RFC2822", r"%{DAY}, %{MONTHDAY} %{MONTH} %{YEAR} %{TIME} %{ISO8601_TIMEZONE}"),
    ("DATESTAMP_OTHER", r"%{DAY} %{MONTH} %{MONTHDAY} %{TIME} %{TZ} %{YEAR}"),
    ("DATESTAMP_EVENTLOG", r"%{YEAR}%{MONTHNUM2}%{MONTHDAY}%{HOUR}%{MINUTE}%{SECOND}"),
    ("HTTPDATE", r"%{MONTHDAY}/%{MONTH}/%{YEAR}:%{TIME} %{INT}"),
    ("SYSLOGTIMESTAMP", r"%{MONTH} +%{MONTHDAY} %{TIME}"),
    ("PROG", r"[\x21-\x5a\x5c\x5e-\x7e]+"),
    ("SYSLOGPROG", r"%{PROG:process.name}(?:\[%{POSINT:process.pid:int}\])?"),
    ("SYSLOGHOST", r"%{IPORHOST}"),
    ("SYSLOGFACILITY", r"<%{NONNEGINT:log.syslog.facility.code:int}.%{NONNEGINT:log.syslog.priority:int}>"),
    (
        "SYSLOGBASE",
        r"%{SYSLOGTIMESTAMP:timestamp} (?:%{SYSLOGFACILITY} )?%{SYSLOGHOST:host.hostname} %{SYSLOGPROG}:",
    ),
    (
        "LOGLEVEL",
        r"[Aa]lert|ALERT|[Tt]race|TRACE|[Dd]ebug|DEBUG|[Nn]otice|NOTICE|[Ii]nfo?(?:rmation)?|INFO?(?:RMATION)?|[Ww]arn?(?:ing)?|WARN?(?:ING)?|[Ee]rr?(?:or)?|ERR?(?:OR)?|[Cc]rit?(?:ical)?|CRIT?(?:ICAL)?|[Ff]atal|FATAL|[Ss]evere|SEVERE|[Ee]merg(?:ency)?|EMERG(?:ENCY)?",
    ),
    ("HTTPDUSER", r"%{EMAILADDRESS}|%{USER}"),
    (
        "COMMONAPACHELOG",
        r#"%{IPORHOST:source.address} (?:-|%{HTTPDUSER:apache.access.user.identity}) (?:-|%{HTTPDUSER:user.name}) \[%{HTTPDATE:timestamp}\] "(?:%{WORD:http.request.method} %{NOTSPACE:url.original}(?: HTTP/%{NUMBER:http.version})?|%{DATA})" (?:-|%{INT:http.response.status_code:int}) (?:-|%{INT:http.response.body.bytes:int})"#,
    ),
    (
        "COMBINEDAPACHELOG",
        r#"%{COMMONAPACHELOG} "(?:-|%{DATA:http.request.referrer})" "(?:-|%{DATA:user_agent.original})""#,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A mistake in a row would only be seen by who uses it.
    #[test]
    fn each_pattern_that_is_known_compiles() {
        for (name, _) in PATTERNS {
            Grok::new(&format!("%{{{name}}}"), false, &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    #[test]
    fn patterns_match_what_their_names_say() {
        let cases = [
            ("IPV4", "10.0.0.255", true),
            ("IPV4", "10.0.0.256", false),
            ("IPV6", "fe80::1", true),
            ("IPV6", "2001:db8:0:0:0:0:0:1", true),
            ("MAC", "00:1a:2b:3c:4d:5e", true),
            ("UUID", "123e4567-e89b-12d3-a456-426614174000", true),
            ("NUMBER", "-123.456", true),
            ("TIMESTAMP_ISO8601", "2023-05-26T12:34:56.789Z", true),
            ("HTTPDATE", "10/Oct/2000:13:55:36 -0700", true),
            ("SYSLOGTIMESTAMP", "Oct 11 22:14:15", true),
            ("LOGLEVEL", "WARNING", true),
            ("URI", "http://www.elastic.co:8080/a/b?q=1", true),
            ("EMAILADDRESS", "a.b@example.com", true),
            ("QUOTEDSTRING", r#""a \" b""#, true),
            ("DATESTAMP", "10/12/2023 12:34:56", true),
        ];
        for (name, text, expected) in cases {
            let grok = Grok::new(&format!("^%{{{name}:x}}$"), true, &[]).expect(name);
            assert_eq!(!grok.matched(text).expect(name).is_empty(), expected, "{name} {text}");
        }
    }
}
