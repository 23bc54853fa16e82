//! Syslog: framing of streams (RFC 6587) and messages of RFC 5424, of RFC 3164 as it is met with, and raw ones.
//!
//! Parsers borrow from the message. What is taken is a superset of what github.com/leodido/go-syslog takes
//! (which Alloy and Promtail use), and fields are the same where both take a message.

mod frame;
pub mod heroku;
mod rfc3164;
mod rfc5424;

pub use frame::{Frame, Framer, Framing, FramingError, MAX_CLAIM};
pub use rfc3164::{Cisco, parse as parse_rfc3164};
pub use rfc5424::{Elements, parse as parse_rfc5424};

/// A message in its parts. Fields that a sender leaves out, or gives as `-`, are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// Facility × 8 + severity.
    pub priority: Option<Priority>,
    /// When the sender made it.
    pub time: Option<Time>,
    /// The machine.
    pub hostname: Option<&'a str>,
    /// The program.
    pub app_name: Option<&'a str>,
    /// The process.
    pub proc_id: Option<&'a str>,
    /// The kind of message.
    pub msg_id: Option<&'a str>,
    /// Cisco's count of messages.
    pub counter: Option<u32>,
    /// Cisco's sequence number.
    pub sequence: Option<u32>,
    /// Structured data.
    pub structured: Option<Elements<'a>>,
    /// The text; `None` where it is empty.
    pub text: Option<&'a str>,
}

/// Why a message is none, and where, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct SyslogError {
    /// What was expected.
    pub what: &'static str,
    /// Where.
    pub at: usize,
}

/// Facility and severity in one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(pub u8);

impl Priority {
    /// The severity's name, as Alloy has it in labels.
    pub fn severity(self) -> &'static str {
        const NAMES: [&str; 8] =
            ["emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"];
        NAMES[usize::from(self.0 & 7)]
    }

    /// The facility's name, as Alloy has it in labels; `None` for those that RFC 5424 does not name.
    pub fn facility(self) -> Option<&'static str> {
        const NAMES: [&str; 24] = [
            "kern",
            "user",
            "mail",
            "daemon",
            "auth",
            "syslog",
            "lpr",
            "news",
            "uucp",
            "cron",
            "authpriv",
            "ftp",
            "ntp",
            "security",
            "console",
            "solaris-cron",
            "local0",
            "local1",
            "local2",
            "local3",
            "local4",
            "local5",
            "local6",
            "local7",
        ];
        NAMES.get(usize::from(self.0 >> 3)).copied()
    }
}

/// A sender's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Nanoseconds since the Unix epoch.
    Instant(i64),
    /// A time that does not say its year.
    Yearless(Yearless),
}

/// A time of a year that is not said, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Yearless {
    month: i8,
    day: i8,
    hour: i8,
    minute: i8,
    second: i8,
    nanosecond: i32,
}

impl Yearless {
    /// Nanoseconds since the Unix epoch, in the year in which it is near `now_ns`: a message of December that
    /// comes in January is of the year before, one of January that comes in December of the year after.
    /// `None` for the 29th of February of a year that has none.
    pub fn near(self, now_ns: i64) -> Option<i64> {
        let now =
            jiff::Timestamp::from_nanosecond(i128::from(now_ns)).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
        let year = match (self.month, now.month()) {
            (12, 1) => now.year() - 1,
            (1, 12) => now.year() + 1,
            _ => now.year(),
        };
        let time = jiff::civil::Time::new(self.hour, self.minute, self.second, self.nanosecond).ok()?;
        let date = jiff::civil::Date::new(year, self.month, self.day).ok()?;
        let zoned = date.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        i64::try_from(zoned.timestamp().as_nanosecond()).ok()
    }
}

/// Splits the priority off a message that is not parsed any further: `<34>text`. What is not a number up to
/// 255 in brackets stays with the text.
pub fn parse_raw(message: &str) -> (Option<Priority>, &str) {
    let split = || {
        let (digits, rest) = message.strip_prefix('<')?.split_once('>')?;
        let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u8>().ok())??;
        Some((Priority(number), rest))
    };
    match split() {
        Some((priority, rest)) => (Some(priority), rest.trim()),
        None => (None, message.trim()),
    }
}

/// `<0>` to `<191>`, without leading zeros; what follows it.
fn priority(message: &str) -> Result<(Priority, usize), SyslogError> {
    let error = SyslogError { what: "expected a priority from <0> to <191>", at: 0 };
    let bytes = message.as_bytes();
    let end = bytes.iter().take(5).position(|b| *b == b'>').ok_or(error)?;
    let (Some(b'<'), digits) = (bytes.first(), &bytes[1.min(end)..end]) else { return Err(error) };
    let plain = digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits.first() != Some(&b'0'));
    if digits.is_empty() || !plain {
        return Err(error);
    }
    let number = digits.iter().fold(0u32, |n, b| n * 10 + u32::from(b - b'0'));
    match u8::try_from(number) {
        Ok(number) if number <= 191 => Ok((Priority(number), end + 1)),
        _ => Err(error),
    }
}

/// A time as RFC 3339 writes it, with up to nine digits of a second.
fn rfc3339(text: &str) -> Option<i64> {
    // The library takes more forms than these.
    let bytes = text.as_bytes();
    let shaped = bytes.len() >= 20
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && (bytes[4], bytes[7], bytes[10], bytes[13], bytes[16]) == (b'-', b'-', b'T', b':', b':')
        && !bytes.contains(&b'[');
    if !shaped {
        return None;
    }
    let time: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_have_the_names_that_alloy_gives_them() {
        for (number, facility, severity) in [
            (0, Some("kern"), "emergency"),
            (34, Some("auth"), "critical"),
            (165, Some("local4"), "notice"),
            (191, Some("local7"), "debug"),
            (192, None, "emergency"),
        ] {
            assert_eq!((Priority(number).facility(), Priority(number).severity()), (facility, severity));
        }
    }

    #[test]
    fn a_priority_has_brackets_a_range_and_no_leading_zero() {
        for (text, expected) in [
            ("<0>x", Some((0, 3))),
            ("<191>", Some((191, 5))),
            ("<192>", None),
            ("<034>", None),
            ("<>", None),
            ("<1", None),
            ("34>", None),
            ("<1a>", None),
            ("", None),
            (">", None),
        ] {
            assert_eq!(priority(text).ok().map(|(p, end)| (p.0, end)), expected, "{text}");
        }
    }

    #[test]
    fn raw_messages_lose_their_priority_and_nothing_else() {
        for (text, priority, rest) in [
            ("<34>CEF:0|x", Some(34), "CEF:0|x"),
            ("<255> x ", Some(255), "x"),
            ("<256>x", None, "<256>x"),
            ("<>x", None, "<>x"),
            ("<a>x", None, "<a>x"),
            ("  plain  ", None, "plain"),
            ("<3", None, "<3"),
        ] {
            assert_eq!(parse_raw(text), (priority.map(Priority), rest), "{text}");
        }
    }

    #[test]
    fn a_time_without_a_year_is_near_now_at_the_turn_of_the_year() {
        let yearless = |month, day| Yearless { month, day, hour: 23, minute: 59, second: 58, nanosecond: 5 };
        let near = |y: Yearless, now: &str| {
            let now: jiff::Timestamp = now.parse().expect("a time");
            let ns = y.near(i64::try_from(now.as_nanosecond()).expect("in range"))?;
            Some(jiff::Timestamp::from_nanosecond(i128::from(ns)).expect("in range").to_string())
        };
        for (month, day, now, expected) in [
            (6, 1, "2026-06-01T00:00:00Z", Some("2026-06-01T23:59:58.000000005Z")),
            (12, 31, "2026-01-01T00:00:10Z", Some("2025-12-31T23:59:58.000000005Z")),
            (1, 1, "2025-12-31T23:59:50Z", Some("2026-01-01T23:59:58.000000005Z")),
            (2, 29, "2026-03-01T00:00:00Z", None),
            (2, 29, "2028-03-01T00:00:00Z", Some("2028-02-29T23:59:58.000000005Z")),
        ] {
            assert_eq!(near(yearless(month, day), now).as_deref(), expected, "{month}-{day} at {now}");
        }
    }
}
