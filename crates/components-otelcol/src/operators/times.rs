//! Times as they are written, by a layout of strptime, of Go or by the epoch.
//!
//! Both kinds of layouts become the same list of steps, which is then walked over the text. As with Go, a
//! fraction of a second may follow the seconds though the layout has none.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::{Offset, TimeZone};

use super::value::Value;

/// How times are written.
#[derive(Clone, Debug)]
pub enum Layout {
    /// A list of steps.
    Steps(Vec<Step>, TimeZone),
    /// A number since the epoch: of whole units, and of fractions of them.
    Epoch {
        /// Nanoseconds of one.
        unit: i64,
        /// The number may have a fraction.
        fraction: bool,
    },
}

/// What is expected next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// These characters.
    Text(String),
    /// Four digits.
    Year,
    /// Two digits: 69 to 99 are of the last century.
    ShortYear,
    /// One or two digits.
    Month,
    /// `January` or `Jan`.
    MonthName,
    /// One or two digits, perhaps after a space.
    Day,
    /// Three digits.
    DayOfYear,
    /// `Monday` or `Mon`.
    Weekday,
    /// 0 to 23.
    Hour,
    /// 1 to 12.
    Hour12,
    /// `AM` or `PM`.
    Half,
    /// One or two digits.
    Minute,
    /// One or two digits.
    Second,
    /// Digits of a fraction, without the point.
    Fraction,
    /// A point or comma with digits, or nothing.
    PointFraction,
    /// `+0100`, `+01:00`, `+01`, or `Z`.
    Offset,
    /// `UTC`, `CET`, …
    ZoneName,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

impl Layout {
    /// By a layout's kind (`strptime`, `gotime`, `epoch`), its text, and the zone of times without one.
    ///
    /// # Errors
    /// If there is no such layout or zone.
    pub fn new(kind: &str, layout: &str, location: Option<&str>) -> Result<Self, String> {
        let zone = zone(location)?;
        match kind {
            "strptime" => Ok(Self::Steps(strptime(layout)?, zone)),
            "gotime" => Ok(Self::Steps(gotime(layout), zone)),
            "epoch" => {
                let (unit, fraction) = match layout {
                    "s" => (1_000_000_000, false),
                    "ms" => (1_000_000, false),
                    "us" => (1_000, false),
                    "ns" => (1, false),
                    "s.ms" | "s.us" | "s.ns" => (1_000_000_000, true),
                    _ => {
                        return Err(format!(
                            "the layout of an epoch is s, ms, us, ns, s.ms, s.us or s.ns, not {layout:?}"
                        ));
                    }
                };
                Ok(Self::Epoch { unit, fraction })
            }
            _ => Err(format!("layout_type is strptime, gotime or epoch, not {kind:?}")),
        }
    }

    /// Nanoseconds since the Unix epoch. `now_ns` says the year of a time that does not.
    ///
    /// # Errors
    /// If the value is not written like that.
    pub fn read(&self, value: &Value, now_ns: i64) -> Result<i64, String> {
        match self {
            Self::Epoch { unit, fraction } => epoch(value, *unit, *fraction),
            Self::Steps(steps, zone) => match value {
                Value::Time(ns) => Ok(*ns),
                Value::Text(text) => read(text, steps, zone, now_ns)
                    .ok_or_else(|| format!("{text:?} is no time of the layout")),
                other => Err(format!("a {} is no time", other.kind())),
            },
        }
    }
}

/// `UTC`, `Local`, `Europe/Berlin`; nothing is the machine's zone.
///
/// # Errors
/// If there is none of that name.
pub fn zone(location: Option<&str>) -> Result<TimeZone, String> {
    match location.filter(|l| !l.is_empty()) {
        None | Some("Local") => Ok(TimeZone::system()),
        Some("UTC") => Ok(TimeZone::UTC),
        Some(name) => TimeZone::get(name).map_err(|_| format!("there is no time zone {name:?}")),
    }
}

fn epoch(value: &Value, unit: i64, fraction: bool) -> Result<i64, String> {
    let wrong = || format!("{:?} is no number since the epoch", value.text());
    let whole = |n: i64| n.checked_mul(unit).ok_or_else(wrong);
    match value {
        Value::Int(n) => whole(*n),
        Value::Float(n) if fraction => Ok((n * unit as f64).round() as i64),
        Value::Float(n) => whole(*n as i64),
        Value::Text(text) => {
            let (before, after) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
            let seconds = whole(before.parse().map_err(|_| wrong())?)?;
            if after.is_empty() {
                return Ok(seconds);
            }
            if !fraction || !after.bytes().all(|b| b.is_ascii_digit()) {
                return Err(wrong());
            }
            let nanos = nanos(after);
            Ok(if before.starts_with('-') { seconds - nanos } else { seconds + nanos })
        }
        _ => Err(wrong()),
    }
}

/// Digits of a fraction as nanoseconds.
fn nanos(digits: &str) -> i64 {
    let kept: String = digits.chars().chain(std::iter::repeat('0')).take(9).collect();
    kept.parse().unwrap_or(0)
}

fn push_text(steps: &mut Vec<Step>, text: &str) {
    match steps.last_mut() {
        Some(Step::Text(last)) => last.push_str(text),
        _ => steps.push(Step::Text(text.to_string())),
    }
}

/// The directives of the collector's `ctimefmt`: `%j`, `%k`, `%i` and `%w` are offsets there.
fn strptime(layout: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut chars = layout.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            push_text(&mut steps, c.encode_utf8(&mut [0; 4]));
            continue;
        }
        let directive = chars.next().ok_or("the layout ends with %")?;
        let mut add = |more: &[Step]| steps.extend_from_slice(more);
        let text = |t: &str| Step::Text(t.to_string());
        match directive {
            'Y' => add(&[Step::Year]),
            'y' => add(&[Step::ShortYear]),
            'm' | 'o' | 'q' => add(&[Step::Month]),
            'b' | 'h' | 'B' => add(&[Step::MonthName]),
            'd' | 'e' | 'g' => add(&[Step::Day]),
            'a' | 'A' => add(&[Step::Weekday]),
            'H' => add(&[Step::Hour]),
            'I' | 'l' => add(&[Step::Hour12]),
            'p' | 'P' => add(&[Step::Half]),
            'M' => add(&[Step::Minute]),
            'S' => add(&[Step::Second]),
            'L' | 'f' | 's' | 'N' => add(&[Step::Fraction]),
            'z' | 'i' | 'j' | 'k' | 'w' => add(&[Step::Offset]),
            'Z' => add(&[Step::ZoneName]),
            'D' | 'x' => add(&[Step::Month, text("/"), Step::Day, text("/"), Step::ShortYear]),
            'F' => add(&[Step::Year, text("-"), Step::Month, text("-"), Step::Day]),
            'T' | 'X' => add(&[Step::Hour, text(":"), Step::Minute, text(":"), Step::Second]),
            'R' => add(&[Step::Hour, text(":"), Step::Minute]),
            'r' => {
                add(&[Step::Hour12, text(":"), Step::Minute, text(":"), Step::Second, text(" "), Step::Half])
            }
            'c' => add(&[
                Step::Weekday,
                text(" "),
                Step::MonthName,
                text(" "),
                Step::Day,
                text(" "),
                Step::Hour,
                text(":"),
                Step::Minute,
                text(":"),
                Step::Second,
                text(" "),
                Step::Year,
            ]),
            'v' => add(&[Step::Day, text("-"), Step::MonthName, text("-"), Step::Year]),
            'n' => push_text(&mut steps, "\n"),
            't' => push_text(&mut steps, "\t"),
            '%' => push_text(&mut steps, "%"),
            other => return Err(format!("there is no directive %{other} in layouts")),
        }
    }
    Ok(steps)
}

/// As Go's package time: the parts of its reference time, longer ones first.
fn gotime(layout: &str) -> Vec<Step> {
    const PARTS: [(&str, Step); 30] = [
        ("January", Step::MonthName),
        ("Monday", Step::Weekday),
        ("Z07:00:00", Step::Offset),
        ("-07:00:00", Step::Offset),
        ("Z070000", Step::Offset),
        ("-070000", Step::Offset),
        ("Z07:00", Step::Offset),
        ("-07:00", Step::Offset),
        ("Z0700", Step::Offset),
        ("-0700", Step::Offset),
        ("2006", Step::Year),
        ("Z07", Step::Offset),
        ("-07", Step::Offset),
        ("Jan", Step::MonthName),
        ("Mon", Step::Weekday),
        ("MST", Step::ZoneName),
        ("002", Step::DayOfYear),
        ("01", Step::Month),
        ("02", Step::Day),
        ("03", Step::Hour12),
        ("04", Step::Minute),
        ("05", Step::Second),
        ("06", Step::ShortYear),
        ("15", Step::Hour),
        ("PM", Step::Half),
        ("pm", Step::Half),
        ("_2", Step::Day),
        ("1", Step::Month),
        ("2", Step::Day),
        ("3", Step::Hour12),
    ];
    let mut steps = Vec::new();
    let mut rest = layout;
    while let Some(c) = rest.chars().next() {
        let fraction =
            rest[c.len_utf8()..].find(|c| c != '0' && c != '9').unwrap_or(rest.len() - c.len_utf8());
        if matches!(c, '.' | ',') && fraction > 0 && matches!(steps.last(), Some(Step::Second)) {
            steps.push(Step::PointFraction);
            rest = &rest[1 + fraction..];
        } else if let Some((part, step)) = PARTS.iter().find(|(part, _)| rest.starts_with(part)) {
            steps.push(step.clone());
            rest = &rest[part.len()..];
        } else if let Some(after) = rest.strip_prefix('4') {
            steps.push(Step::Minute);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('5') {
            steps.push(Step::Second);
            rest = after;
        } else {
            push_text(&mut steps, &rest[..c.len_utf8()]);
            rest = &rest[c.len_utf8()..];
        }
    }
    steps
}

/// What a text has said so far.
#[derive(Default)]
struct Parts {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    day_of_year: Option<i16>,
    hour: i8,
    minute: i8,
    second: i8,
    nanos: i64,
    afternoon: Option<bool>,
    offset: Option<Offset>,
    zone: Option<TimeZone>,
}

fn read(text: &str, steps: &[Step], zone: &TimeZone, now_ns: i64) -> Option<i64> {
    let mut parts = Parts::default();
    let mut rest = text;
    for (i, step) in steps.iter().enumerate() {
        rest = parts.take(step, rest)?;
        if *step == Step::Second && steps.get(i + 1) != Some(&Step::PointFraction) {
            let own = matches!(steps.get(i + 1), Some(Step::Text(t)) if t.starts_with(['.', ',']));
            if !own {
                rest = parts.take(&Step::PointFraction, rest)?;
            }
        }
    }
    if rest.is_empty() { parts.time(zone, now_ns) } else { None }
}

fn digits(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count < least {
        return None;
    }
    Some((text[..count].parse().ok()?, &text[count..]))
}

/// The name, whole or its first three letters, that a text starts with.
fn name<'a>(text: &'a str, names: &[&str]) -> Option<(usize, &'a str)> {
    let starts = |name: &str| text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name));
    let whole = names.iter().position(|n| starts(n)).map(|i| (i, names[i].len()));
    let found = whole.or_else(|| names.iter().position(|n| starts(&n[..3])).map(|i| (i, 3)));
    found.map(|(i, length)| (i, &text[length..]))
}

impl Parts {
    fn take<'a>(&mut self, step: &Step, text: &'a str) -> Option<&'a str> {
        let small = |number: i64| i8::try_from(number).ok();
        match step {
            Step::Text(expected) => literal(text, expected),
            Step::Year => {
                let (year, rest) = digits(text, 4, 4)?;
                self.year = i16::try_from(year).ok();
                Some(rest)
            }
            Step::ShortYear => {
                let (year, rest) = digits(text, 2, 2)?;
                self.year = i16::try_from(if year >= 69 { year + 1900 } else { year + 2000 }).ok();
                Some(rest)
            }
            Step::Month => {
                let (month, rest) = digits(text, 1, 2)?;
                self.month = small(month);
                Some(rest)
            }
            Step::MonthName => {
                let (index, rest) = name(text, &MONTHS)?;
                self.month = small(index as i64 + 1);
                Some(rest)
            }
            Step::Day => {
                let (day, rest) = digits(text.trim_start_matches(' '), 1, 2)?;
                self.day = small(day);
                Some(rest)
            }
            Step::DayOfYear => {
                let (day, rest) = digits(text, 3, 3)?;
                self.day_of_year = i16::try_from(day).ok();
                Some(rest)
            }
            Step::Weekday => name(text, &DAYS).map(|(_, rest)| rest),
            Step::Hour | Step::Hour12 => {
                let (hour, rest) = digits(text.trim_start_matches(' '), 1, 2)?;
                self.hour = small(hour)?;
                Some(rest)
            }
            Step::Half => {
                let half = text.get(..2)?;
                self.afternoon = Some(half.eq_ignore_ascii_case("pm"));
                (half.eq_ignore_ascii_case("am") || self.afternoon == Some(true)).then(|| &text[2..])
            }
            Step::Minute => {
                let (minute, rest) = digits(text, 1, 2)?;
                self.minute = small(minute)?;
                Some(rest)
            }
            Step::Second => {
                let (second, rest) = digits(text, 1, 2)?;
                // A leap second counts as the one before it.
                self.second = small(second.min(if second == 60 { 59 } else { second }))?;
                Some(rest)
            }
            Step::Fraction => self.fraction(text),
            Step::PointFraction => match text.strip_prefix(['.', ',']) {
                Some(after) if after.starts_with(|c: char| c.is_ascii_digit()) => self.fraction(after),
                _ => Some(text),
            },
            Step::Offset => self.offset(text),
            Step::ZoneName => self.zone_name(text),
        }
    }

    fn fraction<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let count = text.bytes().take_while(u8::is_ascii_digit).count();
        self.nanos = nanos(&text[..count]);
        (count > 0).then(|| &text[count..])
    }

    fn offset<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        if let Some(rest) = text.strip_prefix(['Z', 'z']) {
            self.offset = Some(Offset::UTC);
            return Some(rest);
        }
        let sign = match text.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let (hours, mut rest) = digits(&text[1..], 2, 2)?;
        let mut minutes = 0;
        let after = rest.strip_prefix(':').unwrap_or(rest);
        if let Some((found, after)) = digits(after, 2, 2) {
            (minutes, rest) = (found, after);
            let after = rest.strip_prefix(':').unwrap_or(rest);
            rest = digits(after, 2, 2).map_or(rest, |(_, after)| after);
        }
        let seconds = i32::try_from(sign * (hours * 3600 + minutes * 60)).ok()?;
        self.offset = Offset::from_seconds(seconds).ok();
        self.offset.map(|_| rest)
    }

    fn zone_name<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let length = text.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (name, rest) = text.split_at(length);
        match name {
            "" => return None,
            "UTC" | "GMT" | "Z" => self.offset = Some(Offset::UTC),
            // An abbreviation says an offset only where a zone has its name; Go then takes the time as it is.
            _ => self.zone = TimeZone::get(name).ok(),
        }
        Some(rest)
    }

    fn time(self, zone: &TimeZone, now_ns: i64) -> Option<i64> {
        let hour = match self.afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let time = Time::new(hour, self.minute, self.second, i32::try_from(self.nanos).ok()?).ok()?;
        let zone = match (self.offset, self.zone) {
            (Some(offset), _) => TimeZone::fixed(offset),
            (None, Some(zone)) => zone,
            (None, None) => zone.clone(),
        };
        let at = |year: i16| -> Option<i64> {
            let date = match self.day_of_year {
                Some(day) => Date::new(year, 1, 1).ok()?.with().day_of_year(day).build().ok()?,
                None => Date::new(year, self.month.unwrap_or(1), self.day.unwrap_or(1)).ok()?,
            };
            let zoned = date.to_datetime(time).to_zoned(zone.clone()).ok()?;
            i64::try_from(zoned.timestamp().as_nanosecond()).ok()
        };
        if let Some(year) = self.year {
            return at(year);
        }
        // Without a year it is this one, or the last where that would be more than a day ahead: what December
        // wrote is read in January.
        let now = Timestamp::from_nanosecond(now_ns.into()).ok()?.to_zoned(zone.clone());
        let this = at(now.year());
        match this {
            Some(ns) if ns > now_ns.saturating_add(86_400_000_000_000) => at(now.year() - 1).or(this),
            Some(ns) => Some(ns),
            None => at(now.year() - 1),
        }
    }
}

/// Spaces of a layout stand for any number of them, as in Go.
fn literal<'a>(text: &'a str, expected: &str) -> Option<&'a str> {
    let mut rest = text;
    for c in expected.chars() {
        rest = match c {
            ' ' if rest.starts_with(' ') => rest.trim_start_matches(' '),
            ' ' if rest.is_empty() => rest,
            _ => rest.strip_prefix(c)?,
        };
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-05T00:00:00Z
    const NOW: i64 = 1_772_668_800_000_000_000;

    fn read(kind: &str, layout: &str, location: &str, value: Value) -> Result<String, String> {
        let layout = Layout::new(kind, layout, Some(location))?;
        layout.read(&value, NOW).map(crate::operators::value::time_text)
    }

    #[test]
    fn times_are_read_by_layouts_of_strptime() {
        for (layout, text, expected) in [
            ("%Y-%m-%d %H:%M:%S", "2026-01-02 03:04:05", "2026-01-02T03:04:05Z"),
            ("%Y-%m-%d %H:%M:%S", "2026-01-02 03:04:05.25", "2026-01-02T03:04:05.25Z"),
            ("%Y-%m-%dT%H:%M:%S.%LZ", "2026-01-02T03:04:05.123Z", "2026-01-02T03:04:05.123Z"),
            ("%Y-%m-%d %H:%M:%S,%L", "2026-01-02 03:04:05,123", "2026-01-02T03:04:05.123Z"),
            ("%d/%b/%Y:%H:%M:%S %z", "02/Jan/2026:03:04:05 +0100", "2026-01-02T02:04:05Z"),
            ("%a %b %e %H:%M:%S %Y", "Fri Jan  2 03:04:05 2026", "2026-01-02T03:04:05Z"),
            ("%b %d %H:%M:%S", "Jan 02 03:04:05", "2026-01-02T03:04:05Z"),
            ("%b %d %H:%M:%S", "Dec 31 23:59:59", "2025-12-31T23:59:59Z"),
            ("%m/%d/%y %I:%M:%S %p", "01/02/26 03:04:05 PM", "2026-01-02T15:04:05Z"),
            ("%Y-%m-%d %H:%M:%S%j", "2026-01-02 03:04:05+01:00", "2026-01-02T02:04:05Z"),
            ("%D %T", "01/02/99 03:04:05", "1999-01-02T03:04:05Z"),
            ("%Y-%m-%d %H:%M:%S %Z", "2026-01-02 03:04:05 UTC", "2026-01-02T03:04:05Z"),
            ("%s%%", "5%", "2026-01-01T00:00:00.5Z"),
        ] {
            assert_eq!(
                read("strptime", layout, "UTC", text.into()).as_deref(),
                Ok(expected),
                "{layout} {text}"
            );
        }
        assert!(read("strptime", "%Q", "UTC", "".into()).unwrap_err().contains("%Q"));
    }

    #[test]
    fn times_are_read_by_layouts_of_go() {
        for (layout, text, expected) in [
            ("2006-01-02T15:04:05Z07:00", "2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z"),
            ("2006-01-02T15:04:05.999999999Z07:00", "2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05.5Z"),
            ("Jan _2 15:04:05", "Jan  2 03:04:05", "2026-01-02T03:04:05Z"),
            ("Monday, 02-Jan-06 15:04:05 MST", "Friday, 02-Jan-26 03:04:05 GMT", "2026-01-02T03:04:05Z"),
            ("1/2/2006 3:04:05 PM", "1/2/2026 3:04:05 AM", "2026-01-02T03:04:05Z"),
            ("2006-002", "2026-032", "2026-02-01T00:00:00Z"),
            ("2006-01-02 15:04:05.000", "2026-01-02 03:04:05.123", "2026-01-02T03:04:05.123Z"),
        ] {
            assert_eq!(
                read("gotime", layout, "UTC", text.into()).as_deref(),
                Ok(expected),
                "{layout} {text}"
            );
        }
    }

    #[test]
    fn times_without_a_zone_are_of_the_location() {
        let time = |zone: &str| read("strptime", "%Y-%m-%d %H:%M", zone, "2026-01-02 03:04".into());
        assert_eq!(time("Europe/Berlin").as_deref(), Ok("2026-01-02T02:04:00Z"));
        assert_eq!(time("UTC").as_deref(), Ok("2026-01-02T03:04:00Z"));
        assert!(time("Mars/Olympus").unwrap_err().contains("Mars"));
    }

    #[test]
    fn numbers_since_the_epoch_are_read_whatever_they_are() {
        for (layout, value, expected) in [
            ("s", Value::Int(1), "1970-01-01T00:00:01Z"),
            ("ms", Value::from("1500"), "1970-01-01T00:00:01.5Z"),
            ("us", Value::Float(1_500_000.0), "1970-01-01T00:00:01.5Z"),
            ("ns", Value::Int(7), "1970-01-01T00:00:00.000000007Z"),
            ("s.ms", Value::from("1.5"), "1970-01-01T00:00:01.5Z"),
            ("s.ns", Value::Float(2.25), "1970-01-01T00:00:02.25Z"),
        ] {
            assert_eq!(read("epoch", layout, "", value).as_deref(), Ok(expected), "{layout}");
        }
        for value in [Value::from("x"), Value::from("1.5"), Value::Bool(true), Value::Int(i64::MAX)] {
            assert!(read("epoch", "s", "", value.clone()).is_err(), "{value:?}");
        }
        assert!(read("epoch", "h", "", Value::Int(1)).is_err());
    }

    #[test]
    fn what_is_written_otherwise_is_no_time() {
        for text in ["", "2026-13-01", "2026-01-02x", "2026-02-30", "26-01-02", "2026/01/02"] {
            assert!(read("strptime", "%Y-%m-%d", "UTC", text.into()).is_err(), "{text}");
        }
    }
}
