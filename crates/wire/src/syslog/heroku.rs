//! What Heroku's Logplex sends to an HTTPS drain: messages with their length in front, in RFC 5424's format but
//! without structured data.

use super::{SyslogError, priority, rfc3339};

/// A message of a drain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained<'a> {
    /// When it was logged, nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    /// The drain's host; always `host`.
    pub hostname: &'a str,
    /// `app` or `heroku`.
    pub application: &'a str,
    /// The dyno: `web.1`, `router`.
    pub process: &'a str,
    /// The message's ID, mostly `-`.
    pub id: &'a str,
    /// The text.
    pub text: &'a str,
}

/// Splits the next message off a body: `83 <40>1 …`.
///
/// # Errors
/// If there is no length, or less than it says.
pub fn frame(body: &[u8]) -> Result<(&[u8], &[u8]), SyslogError> {
    let error = |what| SyslogError { what, at: 0 };
    let space =
        body.iter().take(12).position(|b| *b == b' ').ok_or(error("expected the length of a message"))?;
    let digits = &body[..space];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(error("expected the length of a message"));
    }
    let length = digits.iter().fold(0usize, |n, b| n * 10 + usize::from(b - b'0'));
    let rest = &body[space + 1..];
    rest.split_at_checked(length).ok_or(error("a message is shorter than its length says"))
}

/// Reads a message.
///
/// # Errors
/// If it is not of this format.
pub fn parse(message: &str) -> Result<Drained<'_>, SyslogError> {
    let (_, mut at) = priority(message)?;
    let mut field = |what| {
        let rest = &message[at..];
        let end = memchr::memchr(b' ', rest.as_bytes()).ok_or(SyslogError { what, at })?;
        at += end + 1;
        Ok(&rest[..end])
    };
    let version = field("expected a version")?;
    if version.is_empty() || !version.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SyslogError { what: "expected a version", at: 0 });
    }
    let time = field("expected a time")?;
    let timestamp_ns =
        rfc3339(time).ok_or(SyslogError { what: "expected a time as RFC 3339 writes it", at: 0 })?;
    let hostname = field("expected a host")?;
    let application = field("expected an application")?;
    let process = field("expected a process")?;
    let id = field("expected an ID")?;
    Ok(Drained { timestamp_ns, hostname, application, process, id, text: &message[at..] })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MESSAGE: &str =
        "<40>1 2012-11-30T06:45:29+00:00 host app web.3 - State changed from starting to up";

    #[test]
    fn messages_are_split_by_their_lengths() {
        let body = format!("{} {MESSAGE}{} {MESSAGE}", MESSAGE.len(), MESSAGE.len());
        let (first, rest) = frame(body.as_bytes()).expect("a frame");
        assert_eq!(first, MESSAGE.as_bytes());
        assert_eq!(frame(rest), Ok((MESSAGE.as_bytes(), &b""[..])));
        for bad in ["", " x", "x", "12", "5 abc", "-1 a", "99999999999999999999 a"] {
            assert!(frame(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_message_has_its_fields() {
        let drained = parse(MESSAGE).expect("valid");
        assert_eq!(drained.timestamp_ns, 1_354_257_929_000_000_000);
        assert_eq!(
            (drained.hostname, drained.application, drained.process, drained.id, drained.text),
            ("host", "app", "web.3", "-", "State changed from starting to up")
        );
        for bad in [
            "",
            "<40>1 - host app web.1 - x",
            "<40>x 2012-11-30T06:45:29Z h a p i t",
            "<40>1 2012-11-30T06:45:29Z h a p",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,80}") {
            let mut rest = bytes.as_slice();
            while let Ok((_, after)) = frame(rest) {
                prop_assert!(after.len() < rest.len());
                rest = after;
            }
            let _ = parse(&text);
        }
    }
}
