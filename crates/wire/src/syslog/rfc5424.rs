//! Messages of RFC 5424.
//!
//! Stricter than the RFC nowhere, laxer in three places: fields may be longer than it allows, seconds may have
//! nine digits, and an element of structured data may come twice.

use std::borrow::Cow;

use super::{Message, SyslogError, Time, priority, rfc3339};

/// `\u{feff}`: a mark that a text is UTF-8, which is no part of it.
const BOM: &str = "\u{feff}";

/// Reads a message.
///
/// # Errors
/// If it is not of this format.
pub fn parse(message: &str) -> Result<Message<'_>, SyslogError> {
    let (priority, at) = priority(message)?;
    let mut input = Input { text: message, at };
    let version = input.field("expected a version from 1 to 999")?;
    let numeral = version.len() <= 3 && version.bytes().all(|b| b.is_ascii_digit());
    if !numeral || version.starts_with('0') {
        return Err(SyslogError { what: "expected a version from 1 to 999", at });
    }
    let at = input.at;
    let time = match input.field("expected a time as RFC 3339 writes it, or -")? {
        "-" => None,
        text => {
            let error = SyslogError { what: "expected a time as RFC 3339 writes it, or -", at };
            Some(Time::Instant(rfc3339(text).ok_or(error)?))
        }
    };
    let mut name = |what| input.field(what).map(|field| (field != "-").then_some(field));
    let hostname = name("expected a host name or -")?;
    let app_name = name("expected the name of a program or -")?;
    let proc_id = name("expected a process or -")?;
    let msg_id = name("expected the kind of the message or -")?;
    let structured = input.structured()?;
    let text = match input.rest() {
        "" => "",
        rest => rest
            .strip_prefix(' ')
            .ok_or(SyslogError { what: "expected a space after the structured data", at: input.at })?,
    };
    let text = text.strip_prefix(BOM).unwrap_or(text);
    Ok(Message {
        priority: Some(priority),
        time,
        hostname,
        app_name,
        proc_id,
        msg_id,
        structured,
        text: (!text.is_empty()).then_some(text),
        ..Message::default()
    })
}

struct Input<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Input<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Printable ASCII up to a space, which is consumed.
    fn field(&mut self, what: &'static str) -> Result<&'a str, SyslogError> {
        let error = SyslogError { what, at: self.at };
        let rest = self.rest();
        let end = memchr::memchr(b' ', rest.as_bytes()).ok_or(error)?;
        let field = &rest[..end];
        if field.is_empty() || !field.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(error);
        }
        self.at += end + 1;
        Ok(field)
    }

    /// `-` or elements.
    fn structured(&mut self) -> Result<Option<Elements<'a>>, SyslogError> {
        let rest = self.rest();
        if rest.starts_with('-') {
            self.at += 1;
            return Ok(None);
        }
        let mut elements = Elements { rest };
        while elements.rest.starts_with('[') {
            let mut params = elements.open().map_err(|e| self.error(e))?.1;
            while params.next_param().map_err(|e| self.error(e))?.is_some() {}
            elements.rest = params.rest;
        }
        let length = rest.len() - elements.rest.len();
        if length == 0 {
            return Err(SyslogError { what: "expected structured data or -", at: self.at });
        }
        self.at += length;
        Ok(Some(Elements { rest: &rest[..length] }))
    }

    fn error(&self, (what, left): (&'static str, usize)) -> SyslogError {
        SyslogError { what, at: self.text.len() - left }
    }
}

/// The elements of structured data that has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elements<'a> {
    rest: &'a str,
}

/// What was expected, and how many bytes were left.
type Expected = (&'static str, usize);

impl<'a> Elements<'a> {
    /// Calls `f` with the element's ID, and the name and value of each parameter.
    pub fn each(self, mut f: impl FnMut(&'a str, &'a str, Cow<'a, str>)) {
        let mut elements = self;
        while let Ok((id, mut params)) = elements.open() {
            while let Ok(Some((name, value))) = params.next_param() {
                f(id, name, value);
            }
            elements.rest = params.rest;
        }
    }

    /// `[id`
    fn open(&self) -> Result<(&'a str, Params<'a>), Expected> {
        let expected = ("expected an element of structured data", self.rest.len());
        let rest = self.rest.strip_prefix('[').ok_or(expected)?;
        let (id, rest) = name(rest).ok_or(expected)?;
        Ok((id, Params { rest }))
    }
}

struct Params<'a> {
    rest: &'a str,
}

impl<'a> Params<'a> {
    /// ` name="value"`, or `None` for the `]` that ends the element.
    fn next_param(&mut self) -> Result<Option<(&'a str, Cow<'a, str>)>, Expected> {
        let expected = ("expected name=\"value\" or ]", self.rest.len());
        if let Some(rest) = self.rest.strip_prefix(']') {
            self.rest = rest;
            return Ok(None);
        }
        let rest = self.rest.trim_start_matches(' ');
        if rest.len() == self.rest.len() {
            return Err(expected);
        }
        if let Some(rest) = rest.strip_prefix(']') {
            // Some senders leave a space behind the last one.
            self.rest = rest;
            return Ok(None);
        }
        let (name, rest) = name(rest).ok_or(expected)?;
        let rest = rest.strip_prefix("=\"").ok_or(expected)?;
        let (value, rest) = value(rest).ok_or(("expected \" after a value", self.rest.len()))?;
        self.rest = rest;
        Ok(Some((name, value)))
    }
}

/// Printable ASCII but `=`, `]`, `"`.
fn name(text: &str) -> Option<(&str, &str)> {
    let allowed = |b: u8| b.is_ascii_graphic() && !matches!(b, b'=' | b']' | b'"');
    let end = text.bytes().position(|b| !allowed(b))?;
    (end > 0).then(|| text.split_at(end))
}

/// Up to the closing quote, which is consumed. RFC 5424, 6.3.3: a backslash before anything but `"`, `\` and
/// `]` is a backslash.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut from, mut at) = (0, 0);
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            let rest = &text[at + 1..];
            if from == 0 {
                return Some((Cow::Borrowed(&text[..at]), rest));
            }
            out.push_str(&text[from..at]);
            return Some((Cow::Owned(out), rest));
        }
        if matches!(bytes.get(at + 1)?, b'"' | b'\\' | b']') {
            out.push_str(&text[from..at]);
            from = at + 1;
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::syslog::Priority;

    /// 2003-10-11T22:14:15.003Z
    const TIME: i64 = 1_065_910_455_003_000_000;

    fn params(message: &Message<'_>) -> Vec<(String, String, String)> {
        let mut all = Vec::new();
        let mut push = |id: &str, name: &str, value: Cow<'_, str>| {
            all.push((id.to_owned(), name.to_owned(), value.into_owned()));
        };
        if let Some(elements) = message.structured {
            elements.each(&mut push);
        }
        all
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let message = parse(
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed",
        )
        .expect("valid");
        assert_eq!(
            message,
            Message {
                priority: Some(Priority(34)),
                time: Some(Time::Instant(TIME)),
                hostname: Some("mymachine.example.com"),
                app_name: Some("su"),
                msg_id: Some("ID47"),
                text: Some("'su root' failed"),
                ..Message::default()
            }
        );
        let message = parse(
            "<165>1 2003-10-11T15:14:15.000003-07:00 h evntslog 42 ID47 [exampleSDID@32473 iut=\"3\" \
             eventSource=\"App]lication\\\"\\\\\\]\\x\"][examplePriority@32473 class=\"high\"]",
        )
        .expect("valid");
        assert_eq!(message.time, Some(Time::Instant(1_065_910_455_000_003_000)));
        assert_eq!((message.proc_id, message.text), (Some("42"), None));
        let p = |id: &str, name: &str, value: &str| (id.to_owned(), name.to_owned(), value.to_owned());
        assert_eq!(
            params(&message),
            [
                p("exampleSDID@32473", "iut", "3"),
                p("exampleSDID@32473", "eventSource", "App]lication\"\\]\\x"),
                p("examplePriority@32473", "class", "high"),
            ]
        );
    }

    #[test]
    fn what_is_no_message_of_this_format_says_where() {
        for (text, at) in [
            ("", 0),
            ("<34>Oct 11 22:14:15 host su: x", 4),
            ("<34>0 - - - - - -", 4),
            ("<34>1 yesterday - - - - -", 6),
            ("<34>1 2003-10-11 22:14:15 - - - - -", 6),
            ("<34>1 - - - - -", 14),
            ("<34>1 - - - - - [", 16),
            ("<34>1 - - - - - [a b=\"c]", 18),
            ("<34>1 - - - - - [a b=c]", 18),
            ("<34>1 - - - - - [a]x", 19),
            ("<34>1 - - - - - x", 16),
        ] {
            assert_eq!(parse(text).map_err(|e| e.at), Err(at), "{text}");
        }
    }

    #[test]
    fn an_empty_text_is_none() {
        for text in
            ["<1>1 - - - - - -", "<1>1 - - - - - - ", "<1>1 - - - - - - \u{feff}", "<1>1 - - - - - [a]"]
        {
            assert_eq!(parse(text).expect("valid").text, None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_answer_and_never_a_panic(text in ".{0,80}", tail in "[ -~\u{80}-\u{ff}\\[\\]\"\\\\=]{0,60}") {
            let _ = parse(&text);
            if let Ok(message) = parse(&format!("<34>1 - - - - - {tail}")) {
                let _ = params(&message);
            }
        }

        /// An independent parser agrees.
        #[test]
        fn syslog_loose_reads_the_same(
            pri in 0u8..=191,
            host in "[a-z][a-z0-9.]{0,20}",
            app in "[a-z]{1,10}",
            pid in "[a-z][a-z0-9]{0,6}",
            id in "[A-Z]{1,8}",
            value in "[ -!#-\\[^-~]{0,12}",
            text in "[a-zA-Z][ -~]{0,39}[a-z]",
        ) {
            let message =
                format!("<{pri}>1 2003-10-11T22:14:15.003Z {host} {app} {pid} {id} [x@1 k=\"v\" l=\"{value}\"] {text}");
            prop_assume!(!value.contains('\\'));
            let ours = parse(&message).expect("valid");
            let theirs = syslog_loose::parse_message(&message, syslog_loose::Variant::RFC5424);
            let procid = theirs.procid.map(|p| p.to_string());
            prop_assert_eq!(ours.priority.map(|p| p.0 & 7), theirs.severity.map(|s| s as u8));
            prop_assert_eq!(ours.hostname, theirs.hostname);
            prop_assert_eq!(ours.app_name, theirs.appname);
            prop_assert_eq!(ours.proc_id, procid.as_deref());
            prop_assert_eq!(ours.msg_id, theirs.msgid);
            prop_assert_eq!(ours.text, Some(theirs.msg));
            let Some(Time::Instant(ns)) = ours.time else { panic!("no time") };
            prop_assert_eq!(Some(ns), theirs.timestamp.and_then(|t| t.timestamp_nanos_opt()));
            let element = &theirs.structured_data[0];
            let expected: Vec<_> =
                element.params().map(|(k, v)| (element.id.to_owned(), k.to_string(), v)).collect();
            prop_assert_eq!(params(&ours), expected);
        }
    }
}
