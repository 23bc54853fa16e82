//! Durations as Go writes and reads them.

use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::character::complete::{char, digit0, digit1, one_of};
use nom::combinator::{opt, recognize, value};
use nom::multi::many1;
use nom::sequence::{pair, preceded};
use nom::{IResult, Parser};

/// Nanoseconds of a text such as `1h15m30.5s`. Units: `ns us µs ms s m h`; `0` needs none.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let refuse = || match text.chars().last() {
        _ if text.is_empty() => "an empty text is not a duration".to_owned(),
        Some('d' | 'w' | 'y') => format!("{text:?} is not a duration: there is no unit above h"),
        Some('0'..='9') => format!("{text:?} is not a duration: it has no unit"),
        _ => format!("{text:?} is not a duration"),
    };
    let (rest, sign) = sign(text).map_err(|_| refuse())?;
    if rest == "0" {
        return Ok(0);
    }
    let (rest, parts) = many1(part).parse(rest).map_err(|_| refuse())?;
    if !rest.is_empty() {
        return Err(refuse());
    }
    let total = parts.into_iter().try_fold(0_u64, |sum, part| sum.checked_add(part?));
    // As time.ParseDuration: the magnitude may reach 1<<63 only with a minus.
    match (total, sign) {
        (Some(n), Some('-')) if n <= 1 << 63 => Ok((n as i64).wrapping_neg()),
        (Some(n), sign) if sign != Some('-') && n < 1 << 63 => Ok(n as i64),
        _ => Err(format!("{text:?} is longer than a duration can be")),
    }
}

fn sign(text: &str) -> IResult<&str, Option<char>> {
    opt(one_of("+-")).parse(text)
}

/// A number with its unit; `None` where it does not fit.
fn part(text: &str) -> IResult<&str, Option<u64>> {
    let number = alt((
        recognize(pair(digit1, opt(preceded(char('.'), digit0)))),
        recognize(preceded(char('.'), digit1)),
    ));
    let unit = alt((
        value(1_u64, tag("ns")),
        value(1_000, alt((tag("us"), tag("µs"), tag("μs")))),
        value(1_000_000, tag("ms")),
        value(1_000_000_000, tag("s")),
        value(60_000_000_000, tag("m")),
        value(3_600_000_000_000, tag("h")),
    ));
    let (rest, (number, unit)) = pair(number, unit).parse(text)?;
    Ok((rest, scaled(number, unit)))
}

fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let mut value = whole.checked_mul(unit)?;
    if !fraction.is_empty() {
        // As time.ParseDuration: the digits times a fraction of the unit; what 63 bits cannot hold is cut.
        let (digits, scale) = fraction.bytes().fold((0_u64, 1_f64), |(digits, scale), b| {
            match digits.checked_mul(10).and_then(|d| d.checked_add(u64::from(b - b'0'))) {
                Some(next) if next <= 1 << 63 => (next, scale * 10.0),
                _ => (digits, scale),
            }
        });
        value = value.checked_add((digits as f64 * (unit as f64 / scale)) as u64)?;
    }
    Some(value)
}

/// The shortest text that reads back as the same duration: `1m30s`, `200ms`, `0s`.
pub fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let n = nanos.unsigned_abs();
    if n == 0 {
        return "0s".to_owned();
    }
    if n < 1_000_000_000 {
        let (unit, name) = match n {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "us"),
            _ => (1_000_000, "ms"),
        };
        return format!("{sign}{}{name}", decimal(n, unit));
    }
    let (hours, minutes, rest) = (n / 3_600_000_000_000, n / 60_000_000_000 % 60, n % 60_000_000_000);
    let mut out = sign.to_owned();
    if hours > 0 {
        out += &format!("{hours}h");
    }
    if minutes > 0 {
        out += &format!("{minutes}m");
    }
    if rest > 0 {
        out += &format!("{}s", decimal(rest, 1_000_000_000));
    }
    out
}

fn decimal(n: u64, unit: u64) -> String {
    let whole = n / unit;
    let fraction = n % unit;
    if fraction == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{fraction:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("-5s", -5_000_000_000),
            ("+5s", 5_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("0.57s", 570_000_000),
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("3.46608s", 3_466_080_000),
            ("1.000000000000000000001s", 1_000_000_000),
            ("100ms", 100_000_000),
            ("10us", 10_000),
            ("10µs", 10_000),
            ("10ns", 10),
            ("1h1m1s1ms1us1ns", 3_661_001_001_001),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(parse_duration(text), Ok(nanos), "{text}");
        }
        for text in
            ["", "5", "3d", "1w", "s", ".s", "1.5", "5 s", "1h-5m", "--5s", "9223372036854775808ns", "1e3s"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_written_duration_is_short_and_reads_back() {
        for (nanos, text) in [
            (0, "0s"),
            (60_000_000_000, "1m"),
            (7_200_000_000_000, "2h"),
            (90_000_000_000, "1m30s"),
            (1_400_000_000, "1.4s"),
            (200_000_000, "200ms"),
            (1_500, "1.5us"),
            (3_600_000_000_001, "1h0.000000001s"),
            (-5_000_000_000, "-5s"),
        ] {
            assert_eq!(format_duration(nanos), text);
            assert_eq!(parse_duration(text), Ok(nanos));
        }
    }
}
