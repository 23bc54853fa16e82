//! Times and durations as text, as Go reads and writes them.
//!
//! A format is a Go layout with strptime's `%` letters in it; the letters become parts of the layout first, as in
//! the collector's `timeutils`, and the layout is then read part by part.

use jiff::civil::Weekday;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

use crate::value::Time;

/// A format that was read.
#[derive(Debug)]
pub(crate) struct Layout(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    /// `Monday`, or `Mon` for short.
    Weekday {
        short: bool,
    },
    /// `January`, or `Jan` for short.
    MonthName {
        short: bool,
    },
    Number(Field, Width),
    /// `PM`, or `pm`.
    HalfDay {
        lower: bool,
    },
    /// `-0700` and its kin.
    Offset {
        colon: bool,
        minutes: bool,
        seconds: bool,
        z: bool,
    },
    /// `MST`
    Zone,
    /// `.000`: so many digits; `.999`: as many as there are.
    Fraction {
        digits: usize,
        exact: bool,
        separator: char,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Year,
    ShortYear,
    Month,
    Day,
    YearDay,
    Hour,
    Hour12,
    Minute,
    Second,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Free,
    Zero(usize),
    Space(usize),
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Go's reference layout for a letter behind `%`.
fn letter(letter: char) -> Option<&'static str> {
    Some(match letter {
        'Y' => "2006",
        'y' => "06",
        'm' => "01",
        'o' => "_1",
        'q' => "1",
        'b' | 'h' => "Jan",
        'B' => "January",
        'd' => "02",
        'e' => "_2",
        'g' => "2",
        'a' => "Mon",
        'A' => "Monday",
        'H' => "15",
        'I' => "03",
        'l' => "3",
        'p' => "PM",
        'P' => "pm",
        'M' => "04",
        'S' => "05",
        'L' => "999",
        'f' => "999999",
        's' => "99999999",
        'z' => "-0700",
        'Z' => "MST",
        'i' => "-07",
        'j' => "-07:00",
        'k' => "-07:00:00",
        'w' => "-070000",
        'D' | 'x' => "01/02/2006",
        'F' => "2006-01-02",
        'T' | 'X' => "15:04:05",
        'r' => "03:04:05 pm",
        'R' => "15:04",
        'n' => "\n",
        't' => "\t",
        'c' => "Mon Jan 02 15:04:05 2006",
        '%' => "%",
        _ => return None,
    })
}

/// What a layout can have, longest first where one begins like another.
fn chunk(text: &str) -> Option<(Part, usize)> {
    use Field::{Day, Hour, Hour12, Minute, Month, Second, ShortYear, Year, YearDay};
    let offset = |colon, minutes, seconds, z| Part::Offset { colon, minutes, seconds, z };
    let known: [(&str, Part); 33] = [
        ("January", Part::MonthName { short: false }),
        ("Jan", Part::MonthName { short: true }),
        ("Monday", Part::Weekday { short: false }),
        ("Mon", Part::Weekday { short: true }),
        ("MST", Part::Zone),
        ("2006", Part::Number(Year, Width::Zero(4))),
        ("__2", Part::Number(YearDay, Width::Space(3))),
        ("_1", Part::Number(Month, Width::Space(2))),
        ("_2", Part::Number(Day, Width::Space(2))),
        ("002", Part::Number(YearDay, Width::Zero(3))),
        ("01", Part::Number(Month, Width::Zero(2))),
        ("02", Part::Number(Day, Width::Zero(2))),
        ("03", Part::Number(Hour12, Width::Zero(2))),
        ("04", Part::Number(Minute, Width::Zero(2))),
        ("05", Part::Number(Second, Width::Zero(2))),
        ("06", Part::Number(ShortYear, Width::Zero(2))),
        ("15", Part::Number(Hour, Width::Zero(2))),
        ("PM", Part::HalfDay { lower: false }),
        ("pm", Part::HalfDay { lower: true }),
        ("-07:00:00", offset(true, true, true, false)),
        ("-070000", offset(false, true, true, false)),
        ("-07:00", offset(true, true, false, false)),
        ("-0700", offset(false, true, false, false)),
        ("-07", offset(false, false, false, false)),
        ("Z07:00:00", offset(true, true, true, true)),
        ("Z07:00", offset(true, true, false, true)),
        ("Z0700", offset(false, true, false, true)),
        ("Z07", offset(false, false, false, true)),
        ("1", Part::Number(Month, Width::Free)),
        ("2", Part::Number(Day, Width::Free)),
        ("3", Part::Number(Hour12, Width::Free)),
        ("4", Part::Number(Minute, Width::Free)),
        ("5", Part::Number(Second, Width::Free)),
    ];
    if let Some(separator) = text.chars().next().filter(|c| matches!(c, '.' | ',')) {
        let digits = &text[1..];
        for (digit, exact) in [('0', true), ('9', false)] {
            let count = digits.len() - digits.trim_start_matches(digit).len();
            if count > 0 && !digits[count..].starts_with(|c: char| c.is_ascii_digit()) {
                return Some((Part::Fraction { digits: count.min(9), exact, separator }, 1 + count));
            }
        }
    }
    known.into_iter().find(|(name, _)| text.starts_with(name)).map(|(name, part)| (part, name.len()))
}

impl Layout {
    /// Reads a format.
    pub(crate) fn new(format: &str) -> Result<Self, String> {
        let mut layout = String::with_capacity(format.len() * 2);
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                layout.push(c);
                continue;
            }
            let next = chars.next().ok_or_else(|| format!("the format `{format}` ends with a `%`"))?;
            let part =
                letter(next).ok_or_else(|| format!("`%{next}` in the format `{format}` is not known"))?;
            if matches!(next, 'L' | 'f' | 's') {
                // Digits of a second are only read behind a point or a comma.
                if !layout.ends_with(['.', ',']) {
                    return Err(format!("`%{next}` in the format `{format}` has to follow a `.` or `,`"));
                }
                let digits = match next {
                    'L' => 3,
                    'f' => 6,
                    _ => 9,
                };
                layout.extend(std::iter::repeat_n('0', digits));
                continue;
            }
            layout.push_str(part);
        }
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = layout.as_str();
        while let Some(first) = rest.chars().next() {
            if let Some((part, length)) = chunk(rest) {
                parts.push(part);
                rest = &rest[length..];
                continue;
            }
            match parts.last_mut() {
                Some(Part::Text(text)) => text.push(first),
                _ => parts.push(Part::Text(first.to_string())),
            }
            rest = &rest[first.len_utf8()..];
        }
        Ok(Self(parts))
    }

    /// A time as text.
    pub(crate) fn format(&self, time: &Time) -> String {
        let zoned = zoned(time);
        let mut out = String::new();
        for part in &self.0 {
            part.write(&zoned, &mut out);
        }
        out
    }

    /// A text as a time; `zone` counts where the text names none.
    pub(crate) fn parse(&self, text: &str, zone: &TimeZone) -> Result<Time, String> {
        let mut read = Read::default();
        let mut rest = text;
        for (at, part) in self.0.iter().enumerate() {
            let fraction_follows = matches!(self.0.get(at + 1), Some(Part::Fraction { .. }));
            rest = read
                .part(part, rest, fraction_follows)
                .ok_or_else(|| format!("`{text}` does not match the format at `{rest}`"))?;
        }
        if !rest.is_empty() {
            return Err(format!("`{text}` has `{rest}` behind what the format says"));
        }
        read.time(zone).ok_or_else(|| format!("`{text}` is no time"))
    }
}

impl Part {
    fn write(&self, at: &Zoned, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(text),
            Self::Weekday { short } => {
                let name = WEEKDAYS[at.weekday().to_sunday_zero_offset() as usize];
                out.push_str(if *short { &name[..3] } else { name });
            }
            Self::MonthName { short } => {
                let name = MONTHS[at.month() as usize - 1];
                out.push_str(if *short { &name[..3] } else { name });
            }
            Self::HalfDay { lower } => {
                let half = if at.hour() < 12 { "AM" } else { "PM" };
                out.push_str(&if *lower { half.to_lowercase() } else { half.to_owned() });
            }
            Self::Zone => {
                let info = at.time_zone().to_offset_info(at.timestamp());
                let name = info.abbreviation();
                match at.offset().seconds() {
                    0 if name.is_empty() || name.starts_with(['+', '-']) => out.push_str("UTC"),
                    _ => out.push_str(name),
                }
            }
            Self::Offset { colon, minutes, seconds, z } => {
                let offset = at.offset().seconds();
                if *z && offset == 0 {
                    out.push('Z');
                    return;
                }
                let size = offset.unsigned_abs();
                let between = if *colon { ":" } else { "" };
                out.push(if offset < 0 { '-' } else { '+' });
                out.push_str(&format!("{:02}", size / 3600));
                if *minutes {
                    out.push_str(&format!("{between}{:02}", size / 60 % 60));
                }
                if *seconds {
                    out.push_str(&format!("{between}{:02}", size % 60));
                }
            }
            Self::Fraction { digits, exact, separator } => {
                let all = format!("{:09}", at.subsec_nanosecond());
                let digits = match exact {
                    true => &all[..*digits],
                    false => all[..*digits].trim_end_matches('0'),
                };
                if !digits.is_empty() {
                    out.push(*separator);
                    out.push_str(digits);
                }
            }
            Self::Number(field, width) => {
                let value = field.of(at);
                match width {
                    Width::Free => out.push_str(&value.to_string()),
                    Width::Zero(width) => out.push_str(&format!("{value:0>width$}", width = *width)),
                    Width::Space(width) => out.push_str(&format!("{value:>width$}", width = *width)),
                }
            }
        }
    }
}

impl Field {
    fn of(self, at: &Zoned) -> i32 {
        match self {
            Self::Year => i32::from(at.year()),
            Self::ShortYear => i32::from(at.year()).rem_euclid(100),
            Self::Month => i32::from(at.month()),
            Self::Day => i32::from(at.day()),
            Self::YearDay => i32::from(at.day_of_year()),
            Self::Hour => i32::from(at.hour()),
            Self::Hour12 => match i32::from(at.hour()) % 12 {
                0 => 12,
                hour => hour,
            },
            Self::Minute => i32::from(at.minute()),
            Self::Second => i32::from(at.second()),
        }
    }
}

/// What was read of a text.
#[derive(Default)]
struct Read {
    year: Option<i32>,
    month: Option<i32>,
    day: Option<i32>,
    year_day: Option<i32>,
    hour: i32,
    minute: i32,
    second: i32,
    nanos: i32,
    afternoon: Option<bool>,
    offset: Option<i32>,
    zone: Option<String>,
}

impl Read {
    fn part<'t>(&mut self, part: &Part, text: &'t str, fraction_follows: bool) -> Option<&'t str> {
        match part {
            Part::Text(expected) => text_part(expected, text),
            Part::Weekday { short } => name(&WEEKDAYS, *short, text).map(|(_, rest)| rest),
            Part::MonthName { short } => {
                let (at, rest) = name(&MONTHS, *short, text)?;
                self.month = Some(at as i32 + 1);
                Some(rest)
            }
            Part::HalfDay { .. } => {
                let half = text.get(..2)?;
                self.afternoon = Some(match half.to_ascii_uppercase().as_str() {
                    "AM" => false,
                    "PM" => true,
                    _ => return None,
                });
                Some(&text[2..])
            }
            Part::Zone => {
                let length = text.find(|c: char| !c.is_ascii_uppercase()).unwrap_or(text.len());
                if !(3..=5).contains(&length) {
                    return None;
                }
                self.zone = Some(text[..length].to_owned());
                Some(&text[length..])
            }
            Part::Offset { colon, minutes, seconds, z } => {
                if *z && let Some(rest) = text.strip_prefix('Z') {
                    self.offset = Some(0);
                    return Some(rest);
                }
                let negative = text.starts_with('-');
                let mut rest = text.strip_prefix(['+', '-'])?;
                let mut total = 0;
                for (wanted, unit) in [(true, 3600), (*minutes, 60), (*seconds, 1)] {
                    if !wanted {
                        continue;
                    }
                    if *colon && unit != 3600 {
                        rest = rest.strip_prefix(':')?;
                    }
                    let (value, after) = digits(rest, 2, 2)?;
                    total += value * unit;
                    rest = after;
                }
                self.offset = Some(if negative { -total } else { total });
                Some(rest)
            }
            Part::Fraction { digits, exact, .. } => {
                let least = if *exact { *digits } else { 0 };
                match self.fraction(text) {
                    Some((read, rest)) if read >= least.min(1) && (!exact || read == *digits) => Some(rest),
                    _ if !exact => Some(text),
                    _ => None,
                }
            }
            Part::Number(field, width) => self.number(*field, *width, text, fraction_follows),
        }
    }

    /// Reads `.123`; how many digits there were.
    fn fraction<'t>(&mut self, text: &'t str) -> Option<(usize, &'t str)> {
        let rest = text.strip_prefix(['.', ','])?;
        let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if length == 0 {
            return None;
        }
        let padded = format!("{:0<9}", &rest[..length.min(9)]);
        self.nanos = padded.parse().ok()?;
        Some((length, &rest[length..]))
    }

    fn number<'t>(
        &mut self,
        field: Field,
        width: Width,
        text: &'t str,
        fraction_follows: bool,
    ) -> Option<&'t str> {
        let (least, most, text) = match width {
            Width::Free => (1, 2, text),
            // As Go: an hour may have one digit whatever the layout says.
            Width::Zero(2) if field == Field::Hour => (1, 2, text),
            Width::Zero(width) => (width, width, text),
            Width::Space(width) => (1, width, text.trim_start_matches(' ')),
        };
        let (value, rest) = digits(text, least, most)?;
        match field {
            Field::Year => self.year = Some(value),
            Field::ShortYear => self.year = Some(if value >= 69 { 1900 + value } else { 2000 + value }),
            Field::Month => self.month = Some(value),
            Field::Day => self.day = Some(value),
            Field::YearDay => self.year_day = Some(value),
            Field::Hour | Field::Hour12 => self.hour = value,
            Field::Minute => self.minute = value,
            Field::Second => {
                self.second = value;
                // As Go: a fraction behind the seconds is read though the layout has none.
                if !fraction_follows && let Some((_, rest)) = self.fraction(rest) {
                    return Some(rest);
                }
            }
        }
        Some(rest)
    }

    fn time(self, zone: &TimeZone) -> Option<Time> {
        let hour = match self.afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        // A year that is not said is this year, as the collector's `SetTimestampYear`.
        let year = self.year.unwrap_or_else(|| i32::from(Timestamp::now().to_zoned(TimeZone::UTC).year()));
        let date = |month: i32, day: i32| {
            jiff::civil::Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()
        };
        let date = match self.year_day {
            Some(day) if self.month.is_none() => {
                date(1, 1)?.checked_add(jiff::Span::new().try_days(i64::from(day) - 1).ok()?).ok()?
            }
            _ => date(self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        let clock = jiff::civil::Time::new(
            hour.try_into().ok()?,
            self.minute.try_into().ok()?,
            self.second.try_into().ok()?,
            self.nanos,
        );
        let local = date.to_datetime(clock.ok()?);
        let zone = match (self.offset, self.zone.as_deref()) {
            (Some(offset), _) => TimeZone::fixed(Offset::from_seconds(offset).ok()?),
            (None, Some("UTC" | "GMT")) => TimeZone::UTC,
            // An abbreviation that is no name of a zone counts as UTC, as Go.
            (None, Some(name)) => TimeZone::get(name).unwrap_or(TimeZone::UTC),
            (None, None) => zone.clone(),
        };
        let zoned = local.to_zoned(zone).ok()?;
        Some(Time { at: zoned.timestamp(), zone: zoned.time_zone().clone() })
    }
}

/// Text of a layout: a space there stands for any number of them.
fn text_part<'t>(expected: &str, mut text: &'t str) -> Option<&'t str> {
    for c in expected.chars() {
        if c == ' ' {
            text = text.trim_start_matches(' ');
            continue;
        }
        text = text.strip_prefix(c)?;
    }
    Some(text)
}

fn name<'t>(names: &[&str], short: bool, text: &'t str) -> Option<(usize, &'t str)> {
    names.iter().enumerate().find_map(|(at, name)| {
        let name = if short { &name[..3] } else { name };
        let found = text.get(..name.len())?;
        found.eq_ignore_ascii_case(name).then(|| (at, &text[name.len()..]))
    })
}

fn digits(text: &str, least: usize, most: usize) -> Option<(i32, &str)> {
    let length = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if length < least {
        return None;
    }
    Some((text[..length].parse().ok()?, &text[length..]))
}

/// The time in its zone.
pub(crate) fn zoned(time: &Time) -> Zoned {
    time.at.to_zoned(time.zone.clone())
}

/// The day of the week, from Sunday.
pub(crate) fn weekday(day: Weekday) -> i64 {
    i64::from(day.to_sunday_zero_offset())
}

/// As Go writes times into JSON.
pub(crate) fn rfc3339(time: &Time) -> String {
    let layout = Layout::new("2006-01-02T15:04:05.999999999Z07:00").expect("a layout of Go");
    layout.format(time)
}

/// As Go's `time.ParseDuration`, to nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let length = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(length);
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && part.is_empty() || part.contains('.') {
            return None;
        }
        const UNITS: [(&str, i128); 8] = [
            ("ns", 1),
            ("us", 1_000),
            ("µs", 1_000),
            ("μs", 1_000),
            ("ms", 1_000_000),
            ("s", 1_000_000_000),
            ("m", 60_000_000_000),
            ("h", 3_600_000_000_000),
        ];
        let (name, unit) = UNITS.into_iter().find(|(name, _)| after.starts_with(name))?;
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()?.into() };
        total += whole * unit;
        if !part.is_empty() {
            let digits = &part[..part.len().min(18)];
            total += digits.parse::<i128>().ok()? * unit / 10_i128.pow(u32::try_from(digits.len()).ok()?);
        }
        rest = &after[name.len()..];
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// As Go's `Duration.String`.
pub(crate) fn go_duration(nanos: i64) -> String {
    let size = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    let decimal = |value: u64, unit: u64, digits: usize| {
        let part = format!("{:0digits$}", value % unit);
        let part = part.trim_end_matches('0');
        if part.is_empty() { (value / unit).to_string() } else { format!("{}.{part}", value / unit) }
    };
    match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", decimal(size, 1_000, 3)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", decimal(size, 1_000_000, 6)),
        _ => {
            let (minutes, rest) = (size / 60_000_000_000, size % 60_000_000_000);
            let seconds = decimal(rest, 1_000_000_000, 9);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, format: &str) -> Result<String, String> {
        Layout::new(format)?.parse(text, &TimeZone::UTC).map(|time| rfc3339(&time))
    }

    #[test]
    fn texts_are_read_by_strptime_letters_and_by_layouts() {
        let cases = [
            ("02/04/2023", "%m/%d/%Y", "2023-02-04T00:00:00Z"),
            ("Feb 15, 2023", "%b %d, %Y", "2023-02-15T00:00:00Z"),
            ("Wed, 30 Aug 2023 02:03:04 PM", "%a, %d %B %Y %I:%M:%S %p", "error"),
            ("Wed, 30 August 2023 02:03:04 PM", "%a, %d %B %Y %I:%M:%S %p", "2023-08-30T14:03:04Z"),
            ("2012-11-01T22:08:41+0530", "%Y-%m-%dT%H:%M:%S%z", "2012-11-01T22:08:41+05:30"),
            ("2023-05-26 12:34:56 UTC", "%Y-%m-%d %H:%M:%S %Z", "2023-05-26T12:34:56Z"),
            ("2023-05-26 12:34:56.789", "%F %T.%L", "2023-05-26T12:34:56.789Z"),
            ("2023-05-26 12:34:56,000789", "%F %T,%f", "2023-05-26T12:34:56.000789Z"),
            ("2023-05-26 12:34:56.5", "%F %T", "2023-05-26T12:34:56.5Z"),
            ("2023-05-26 -07:00", "%F %j", "2023-05-26T00:00:00-07:00"),
            (" 7 9:05", "%e %H:%M", "this year"),
            ("2023-05-26T12:34:56Z", "2006-01-02T15:04:05Z07:00", "2023-05-26T12:34:56Z"),
            ("2023-05-26", "%Y-%m", "error"),
            ("2023-13-26", "%Y-%m-%d", "error"),
            ("2023", "%v", "error"),
            ("2023 5", "%Y %f", "error"),
        ];
        for (text, format, expected) in cases {
            match (parsed(text, format), expected) {
                (Err(_), "error") => {}
                (Ok(time), "this year") => {
                    let year = Timestamp::now().to_zoned(TimeZone::UTC).year();
                    assert_eq!(time, format!("{year}-01-07T09:05:00Z"));
                }
                (found, expected) => assert_eq!(found.as_deref(), Ok(expected), "{text} by {format}"),
            }
        }
    }

    #[test]
    fn times_are_written_by_the_same_formats() {
        let time = Time::from_nanos(1_685_104_496_789_000_000);
        let cases = [
            ("%Y-%m-%d %H:%M:%S.%L", "2023-05-26 12:34:56.789"),
            ("%A %h %e %Y", "Friday May 26 2023"),
            ("%a %B %q %g %y", "Fri May 5 26 23"),
            ("%I:%M %p %P", "12:34 PM pm"),
            ("%z %Z %i %j", "+0000 UTC +00 +00:00"),
            ("%D %T %R%n%t%%", "05/26/2023 12:34:56 12:34\n\t%"),
            ("%c", "Fri May 26 12:34:56 2023"),
        ];
        for (format, expected) in cases {
            assert_eq!(Layout::new(format).expect(format).format(&time), expected);
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        let cases = [
            ("3s", Some(3_000_000_000), "3s"),
            ("333ms", Some(333_000_000), "333ms"),
            ("1h20m0.5s", Some(4_800_500_000_000), "1h20m0.5s"),
            ("-1.5us", Some(-1_500), "-1.5µs"),
            ("2m", Some(120_000_000_000), "2m0s"),
            ("0", Some(0), "0s"),
            ("", None, ""),
            ("3", None, ""),
            ("1d", None, ""),
            ("9999999h", None, ""),
        ];
        for (text, nanos, shown) in cases {
            assert_eq!(parse_duration(text), nanos, "{text}");
            if let Some(nanos) = nanos {
                assert_eq!(go_duration(nanos), shown);
            }
        }
    }
}
