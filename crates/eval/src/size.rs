//! Sizes in bytes with 1024-based units: `1MiB`, `512KiB`, `10B`, `1GiB512MiB`.
//!
//! As github.com/alecthomas/units `ParseBase2Bytes`: `KB` and `MB` also count by 1024, one text keeps to
//! one family of units, and only zero goes without a unit.

use std::borrow::Cow;
use std::fmt;

use nom::branch::alt;
use nom::character::complete::{alpha1, char, digit0, digit1, one_of};
use nom::combinator::{opt, recognize};
use nom::multi::many1;
use nom::sequence::{pair, preceded};
use nom::{IResult, Parser};

use crate::arg::{ArgValue, ValueError, text_of};
use crate::value::Value;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(pub u64);

const PREFIXES: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

impl Size {
    /// So many KiB.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// So many MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        let help = "write a number with its unit, such as \"10MiB\", \"512KiB\" or \"100B\"";
        let refuse = |why: &str| ValueError::invalid(format!("{text:?} is not a size{why}")).with_help(help);
        let sign: IResult<&str, Option<char>> = opt(one_of("+-")).parse(text);
        let (rest, sign) = sign.map_err(|_| refuse(""))?;
        if rest == "0" {
            return Ok(Self(0));
        }
        let parts: IResult<&str, Vec<(&str, &str)>> = many1(pair(number, alpha1)).parse(rest);
        let parts = match parts {
            Ok(("", parts)) => parts,
            _ if rest.ends_with(|c: char| c.is_ascii_digit()) => return Err(refuse(": it has no unit")),
            _ => return Err(refuse("")),
        };
        let bytes =
            total(&parts, "iB").or_else(|| total(&parts, "B")).ok_or_else(|| refuse(": unknown unit"))?;
        if sign == Some('-') && bytes > 0.0 {
            return Err(refuse(": it is negative"));
        }
        Ok(Self(bytes as u64))
    }
}

fn number(text: &str) -> IResult<&str, &str> {
    alt((recognize(pair(digit1, opt(preceded(char('.'), digit0)))), recognize(preceded(char('.'), digit1))))
        .parse(text)
}

/// The sum of all parts, if all units are of the family with this suffix.
fn total(parts: &[(&str, &str)], suffix: &str) -> Option<f64> {
    parts.iter().try_fold(0.0, |sum, (number, unit)| {
        let power = match *unit {
            "B" => 0,
            unit => {
                let prefix = unit.strip_suffix(suffix)?;
                PREFIXES.iter().position(|p| *p == prefix).filter(|p| *p > 0)?
            }
        };
        let number: f64 = number.trim_end_matches('.').parse().ok()?;
        Some(sum + number * 1024_f64.powi(power as i32))
    })
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0B");
        }
        for power in (0..PREFIXES.len()).rev() {
            let count = self.0 >> (10 * power) & if power == 6 { u64::MAX } else { 1023 };
            match (count, power) {
                (0, _) => {}
                (n, 0) => write!(f, "{n}B")?,
                (n, p) => write!(f, "{n}{}iB", PREFIXES[p])?,
            }
        }
        Ok(())
    }
}

impl ArgValue for Size {
    fn type_name() -> Cow<'static, str> {
        "string".into()
    }
    fn code_type() -> Cow<'static, str> {
        "size(base2)".into()
    }
    fn zero() -> Self {
        Self(0)
    }
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        match value {
            Value::Null => Ok(Self(0)),
            v => Self::parse(&text_of(v, "size")?),
        }
    }
    fn to_value(&self) -> Value {
        // Zero is the one size that is written without a unit.
        match self.0 {
            0 => Value::from(0_u64),
            _ => Value::string(self.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_by_1024_and_need_a_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("10B", 10),
            ("1KiB", 1024),
            ("512KiB", 524_288),
            ("1MB", 1 << 20),
            ("1KB", 1024),
            ("1.5MiB", 1_572_864),
            ("1GiB512MiB", 1_610_612_736),
            (".5KiB", 512),
        ] {
            assert_eq!(Size::parse(text).ok(), Some(Size(bytes)), "{text}");
        }
        for text in ["", "10", "1kB", "1kb", "1MiB1MB", "1XiB", "-1MiB", "MiB", "1 MiB"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_is_written_in_its_largest_units() {
        for (bytes, text) in [(0, "0B"), (1 << 20, "1MiB"), (1_610_612_736, "1GiB512MiB"), (1025, "1KiB1B")] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
