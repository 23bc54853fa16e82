//! `syslog_parser`: messages of RFC 5424 and RFC 3164.
//!
//! The names are those of the collector: `priority`, `facility`, `hostname`, `appname`, `proc_id`, `msg_id`,
//! `message`, `structured_data`, `version`; severity and time are taken out of them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use wire::syslog::{Cisco, Message, Time, parse_rfc3164, parse_rfc5424};

use super::Transform;
use super::entry::{Entry, Failure};
use super::options::Options;
use super::parser::{Parser, text};
use super::times;
use super::value::{Map, Value};

/// The operator.
pub struct SyslogParser {
    parser: Parser,
    rules: Rules,
}

/// How messages are written.
#[derive(Clone, Debug)]
pub struct Rules {
    /// RFC 5424 rather than RFC 3164.
    pub is_5424: bool,
    /// Zone of times of RFC 3164.
    pub location: TimeZone,
    /// The length of a message stands before it.
    pub octet_counting: bool,
    /// A message may have no priority.
    pub allow_skip_pri: bool,
    /// What stands behind a message.
    pub trailer: Option<char>,
    /// A message that claims more bytes is none.
    pub max_octets: usize,
}

/// Numbers of severities, by those of syslog, and their names.
const SEVERITIES: [(i32, &str); 8] = [
    (21, "emerg"),
    (19, "alert"),
    (18, "crit"),
    (17, "err"),
    (13, "warning"),
    (10, "notice"),
    (9, "info"),
    (5, "debug"),
];

impl SyslogParser {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        let parser = Parser::new(options)?;
        let protocol = options.choice("protocol", &["rfc5424", "rfc3164"], "")?;
        if protocol.is_empty() {
            return Err(options.error("protocol is missing: rfc5424 or rfc3164"));
        }
        let location = options.text("location")?.filter(|l| !l.is_empty()).unwrap_or("UTC".into());
        let trailer = match options.choice("non_transparent_framing_trailer", &["LF", "NUL"], "")? {
            "LF" => Some('\n'),
            "NUL" => Some('\0'),
            _ => None,
        };
        let rules = Rules {
            is_5424: protocol == "rfc5424",
            location: times::zone(Some(&location)).map_err(|e| options.error(e))?,
            octet_counting: options.flag("enable_octet_counting")?,
            allow_skip_pri: options.flag("allow_skip_pri_header")?,
            trailer,
            max_octets: usize::try_from(options.count("max_octets", 8192)?).unwrap_or(usize::MAX),
        };
        let framed = rules.octet_counting || rules.trailer.is_some();
        if framed && !rules.is_5424 {
            return Err(options.error("octet counting and trailers are for the protocol rfc5424"));
        }
        if rules.octet_counting && rules.trailer.is_some() {
            return Err(
                options.error("enable_octet_counting and non_transparent_framing_trailer exclude each other")
            );
        }
        Ok(Self { parser, rules })
    }

    /// With rules of a receiver: what is parsed becomes attributes.
    pub fn with_rules(parser: Parser, rules: Rules) -> Self {
        Self { parser, rules }
    }
}

impl Transform for SyslogParser {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        let now_ns = entry.observed_ns;
        let mut severity = None;
        let mut time = None;
        self.parser.apply(entry, |value| {
            let parsed = parse(text(value, "syslog")?, &self.rules, now_ns)?;
            (severity, time) = (parsed.severity, parsed.time_ns);
            Ok(Value::Map(parsed.fields))
        })?;
        if let Some((number, name)) = severity.and_then(|s| SEVERITIES.get(usize::from(s))) {
            (entry.severity, entry.severity_text) = (*number, (*name).to_string());
        }
        if entry.timestamp_ns.is_none() {
            entry.timestamp_ns = time;
        }
        Ok(())
    }
}

struct Parsed {
    fields: Map,
    severity: Option<u8>,
    time_ns: Option<i64>,
}

fn parse(text: &str, rules: &Rules, now_ns: i64) -> Result<Parsed, Failure> {
    let text = unframed(text, rules)?;
    let skips = rules.allow_skip_pri && !rules.octet_counting && !text.starts_with('<');
    let own;
    let text = if skips {
        own = format!("<0>{text}");
        own.as_str()
    } else {
        text
    };
    let message = if rules.is_5424 { parse_rfc5424(text) } else { parse_rfc3164(text, Cisco::default()) };
    let message = message.map_err(|e| Failure::new(format!("it is no message of syslog: {e}")))?;
    let mut fields = fields(&message);
    if rules.is_5424 {
        let version = text.split_once('>').and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        fields.insert("version".into(), Value::Int(version.unwrap_or(1)));
    }
    let mut severity = None;
    if let (Some(priority), false) = (message.priority, skips) {
        fields.insert("priority".into(), Value::Int(priority.0.into()));
        fields.insert("facility".into(), Value::Int((priority.0 >> 3).into()));
        severity = Some(priority.0 & 7);
    }
    Ok(Parsed { fields, severity, time_ns: message.time.and_then(|t| time(t, &rules.location, now_ns)) })
}

fn unframed<'a>(text: &'a str, rules: &Rules) -> Result<&'a str, Failure> {
    if rules.octet_counting {
        let wrong = || Failure::new("no length stands before the message");
        let (length, rest) = text.split_once(' ').ok_or_else(wrong)?;
        let length: usize = length.parse().map_err(|_| wrong())?;
        if length > rules.max_octets {
            return Err(Failure::new(format!("the message has more than {} bytes", rules.max_octets)));
        }
        // What was cut on its way is parsed as far as it came.
        return Ok(rest.get(..length).unwrap_or(rest));
    }
    let text = rules.trailer.map_or(text, |trailer| text.strip_suffix(trailer).unwrap_or(text));
    Ok(text.trim_end_matches(['\r', '\n', '\0']))
}

fn fields(message: &Message<'_>) -> Map {
    let mut fields = Map::new();
    for (name, value) in [
        ("hostname", message.hostname),
        ("appname", message.app_name),
        ("proc_id", message.proc_id),
        ("msg_id", message.msg_id),
        ("message", message.text),
    ] {
        if let Some(value) = value {
            fields.insert(name.to_string(), Value::from(value));
        }
    }
    if let Some(structured) = message.structured {
        let mut elements = Map::new();
        structured.each(|id, name, value| {
            let element = elements.entry(id.to_string()).or_insert_with(|| Value::Map(Map::new()));
            if let Some(element) = element.as_map_mut() {
                element.insert(name.to_string(), Value::Text(value.into_owned()));
            }
        });
        if !elements.is_empty() {
            fields.insert("structured_data".into(), Value::Map(elements));
        }
    }
    fields
}

/// A time that does not say its zone is of the location.
fn time(time: Time, location: &TimeZone, now_ns: i64) -> Option<i64> {
    match time {
        Time::Instant(ns) => Some(ns),
        Time::Yearless(yearless) => {
            let as_utc = Timestamp::from_nanosecond(yearless.near(now_ns)?.into()).ok()?;
            let civil = as_utc.to_zoned(TimeZone::UTC).datetime();
            i64::try_from(civil.to_zoned(location.clone()).ok()?.timestamp().as_nanosecond()).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, run_text, shown, sorted};

    #[test]
    fn messages_become_attributes() {
        for (options, body, expected) in [
            (
                r#"protocol = "rfc5424""#,
                r#"<165>1 2026-01-02T03:04:05Z host app 7 ID [a b="c"] text"#,
                r#"{"hostname":"host","appname":"app","proc_id":"7","msg_id":"ID","message":"text","structured_data":{"a":{"b":"c"}},"version":1,"priority":165,"facility":20} 10 2026-01-02T03:04:05Z"#,
            ),
            (
                r#"protocol = "rfc3164", location = "Europe/Berlin""#,
                "<34>Jan  2 03:04:05 host su: failed",
                r#"{"hostname":"host","appname":"su","message":"failed","priority":34,"facility":4} 18 1970-01-02T02:04:05Z"#,
            ),
            (
                r#"protocol = "rfc3164", allow_skip_pri_header = true"#,
                "Jan  2 03:04:05 host su: failed",
                r#"{"hostname":"host","appname":"su","message":"failed"} 1970-01-02T03:04:05Z"#,
            ),
            (
                r#"protocol = "rfc5424", enable_octet_counting = true"#,
                "26 <13>1 - host app - - - hey\n",
                r#"{"hostname":"host","appname":"app","message":"hey","version":1,"priority":13,"facility":1} 10"#,
            ),
            (
                r#"protocol = "rfc5424", non_transparent_framing_trailer = "LF""#,
                "<13>1 - host app - - - hey\n",
                r#"{"hostname":"host","appname":"app","message":"hey","version":1,"priority":13,"facility":1} 10"#,
            ),
            (r#"protocol = "rfc5424""#, "no syslog", "{}"),
        ] {
            let out = run_text(&format!(r#"{{type = "syslog_parser", {options}}}"#), body);
            let body = format!(" {}", serde_json::json!(body));
            assert_eq!(shown(&out).replace(&body, ""), sorted(expected), "{options}");
        }
        for (options, says) in [
            ("", "protocol"),
            (r#"protocol = "rfc1""#, "rfc1"),
            (r#"protocol = "rfc5424", location = "Mars""#, "Mars"),
            (r#"protocol = "rfc3164", enable_octet_counting = true"#, "rfc5424"),
        ] {
            assert!(
                refused(&format!(r#"{{type = "syslog_parser", {options}}}"#)).contains(says),
                "{options}"
            );
        }
    }
}
