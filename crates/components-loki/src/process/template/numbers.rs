//! Sprig's arithmetic: what is not a number counts as one where its text reads as one, else as 0.

use gotmpl::Value;

use super::args::{Args, error, list, text};
use super::budget::{self, Result, STEP};
use super::show::shown;

/// A whole number of anything. As spf13/cast: `ToInt64`.
pub(super) fn int_of(value: &Value) -> i64 {
    match value {
        Value::Int(n) => *n,
        Value::Uint(n) => *n as i64,
        Value::Float(n) => *n as i64,
        Value::Bool(yes) => i64::from(*yes),
        Value::String(text) => parse_int(without_zero_decimals(text)).unwrap_or(0),
        _ => 0,
    }
}

/// `12.00` is `12`.
fn without_zero_decimals(text: &str) -> &str {
    let trimmed = text.trim_end_matches('0');
    match trimmed.strip_suffix('.') {
        Some(whole) if trimmed.len() < text.len() => whole,
        _ => text,
    }
}

/// As Go's `strconv.ParseInt(text, 0, 64)`: prefixes `0x`, `0o`, `0b` and `0`; underscores between digits.
fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let prefix = |p: &str| digits.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(p));
    let (radix, body) = if prefix("0x") {
        (16, &digits[2..])
    } else if prefix("0b") {
        (2, &digits[2..])
    } else if prefix("0o") {
        (8, &digits[2..])
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits)
    };
    let prefixed = body.len() < digits.len();
    let underscores = body.contains('_');
    // Without a prefix there may be no underscore; with one each stands between digits or behind the prefix.
    if underscores && (!prefixed || body.ends_with('_') || body.contains("__")) && radix != 10
        || underscores && radix == 10 && (body.starts_with('_') || body.ends_with('_') || body.contains("__"))
    {
        return None;
    }
    let clean: String = body.chars().filter(|c| *c != '_').collect();
    if clean.is_empty() || !clean.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let signed = if negative { format!("-{clean}") } else { clean };
    i64::from_str_radix(&signed, radix).ok()
}

/// A float of anything. As spf13/cast: `ToFloat64`.
pub(super) fn float_of(value: &Value) -> f64 {
    match value {
        Value::Int(n) => *n as f64,
        Value::Uint(n) => *n as f64,
        Value::Float(n) => *n,
        Value::Bool(yes) => f64::from(u8::from(*yes)),
        Value::String(text) => text.parse().unwrap_or(0.0),
        _ => 0.0,
    }
}

pub(super) fn to_int(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    Ok(Value::Int(int_of(args.get(0))))
}

pub(super) fn to_float(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    Ok(Value::Float(float_of(args.get(0))))
}

pub(super) fn atoi(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    Ok(Value::Int(args.text(0)?.parse().unwrap_or(0)))
}

/// The digits of a number read as octal.
pub(super) fn to_decimal(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    Ok(Value::Int(i64::from_str_radix(&shown(args.get(0))?, 8).unwrap_or(0)))
}

pub(super) fn add1(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    Ok(Value::Int(int_of(args.get(0)).wrapping_add(1)))
}

pub(super) fn add(args: &Args<'_>) -> Result<Value> {
    Ok(Value::Int(args.values.iter().fold(0, |sum, value| sum.wrapping_add(int_of(value)))))
}

pub(super) fn sub(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    Ok(Value::Int(int_of(args.get(0)).wrapping_sub(int_of(args.get(1)))))
}

pub(super) fn mul(args: &Args<'_>) -> Result<Value> {
    args.at_least(1)?;
    let first = int_of(args.get(0));
    Ok(Value::Int(args.values[1..].iter().fold(first, |product, value| product.wrapping_mul(int_of(value)))))
}

/// `div` and `mod`.
pub(super) fn divided(args: &Args<'_>, divide: fn(i64, i64) -> i64) -> Result<Value> {
    args.exactly(2)?;
    match int_of(args.get(1)) {
        0 => error("runtime error: integer divide by zero"),
        divisor => Ok(Value::Int(divide(int_of(args.get(0)), divisor))),
    }
}

/// `max` and `min`.
pub(super) fn extreme(args: &Args<'_>, pick: fn(i64, i64) -> i64) -> Result<Value> {
    args.at_least(1)?;
    let first = int_of(args.get(0));
    Ok(Value::Int(args.values[1..].iter().fold(first, |so_far, value| pick(so_far, int_of(value)))))
}

/// `maxf` and `minf`.
pub(super) fn extreme_float(args: &Args<'_>, pick: fn(f64, f64) -> f64) -> Result<Value> {
    args.at_least(1)?;
    let first = float_of(args.get(0));
    Ok(Value::Float(args.values[1..].iter().fold(first, |so_far, value| pick(so_far, float_of(value)))))
}

/// `floor` and `ceil`.
pub(super) fn rounded(args: &Args<'_>, round: fn(f64) -> f64) -> Result<Value> {
    args.exactly(1)?;
    Ok(Value::Float(round(float_of(args.get(0)))))
}

/// `round value places [from]`: up from `from`, which is a half.
pub(super) fn round(args: &Args<'_>) -> Result<Value> {
    args.between(2, 3)?;
    let from = if args.len() == 3 { float_of(args.get(2)) } else { 0.5 };
    let power = 10_f64.powf(args.int(1)? as f64);
    let digits = power * float_of(args.get(0));
    let up = digits.fract() >= from;
    Ok(Value::Float(if up { digits.ceil() } else { digits.floor() } / power))
}

/// A number as whole digits times a power of ten, so that 0.1 + 0.2 is 0.3.
#[derive(Clone, Copy)]
struct Decimal {
    digits: i128,
    exponent: i32,
}

/// Places behind the point of a quotient. As shopspring/decimal: `DivisionPrecision`.
const QUOTIENT_PLACES: i32 = 16;

impl Decimal {
    fn new(n: f64) -> Option<Self> {
        let shortest = format!("{n:e}");
        let (mantissa, exponent) = shortest.split_once('e')?;
        let places = mantissa.split_once('.').map_or(0, |(_, places)| places.len());
        let digits = mantissa.replace('.', "").parse().ok()?;
        let exponent = exponent.parse::<i32>().ok()? - i32::try_from(places).ok()?;
        Some(Self { digits, exponent })
    }

    /// The same number with a smaller exponent.
    fn scaled(self, exponent: i32) -> Option<i128> {
        let power = u32::try_from(self.exponent - exponent).ok()?;
        self.digits.checked_mul(10_i128.checked_pow(power)?)
    }

    fn plus(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let digits = self.scaled(exponent)?.checked_add(other.scaled(exponent)?)?;
        Some(Self { digits, exponent })
    }

    fn minus(self, other: Self) -> Option<Self> {
        self.plus(Self { digits: -other.digits, ..other })
    }

    fn times(self, other: Self) -> Option<Self> {
        let digits = self.digits.checked_mul(other.digits)?;
        Some(Self { digits, exponent: self.exponent + other.exponent })
    }

    fn over(self, other: Self) -> Option<Self> {
        let power = QUOTIENT_PLACES + self.exponent - other.exponent;
        let scale = |digits: i128, power: i32| {
            digits.checked_mul(10_i128.checked_pow(u32::try_from(power.max(0)).ok()?)?)
        };
        let (dividend, divisor) = (scale(self.digits, power)?, scale(other.digits, -power)?);
        let (quotient, rest) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
        // Halves are rounded away from zero.
        let away = rest.checked_mul(2)?.abs() >= divisor.abs();
        let step = if (dividend < 0) == (divisor < 0) { 1 } else { -1 };
        Some(Self { digits: quotient + if away { step } else { 0 }, exponent: -QUOTIENT_PLACES })
    }

    fn float(self) -> f64 {
        format!("{}e{}", self.digits, self.exponent).parse().unwrap_or(f64::NAN)
    }
}

/// What `addf`, `subf`, `mulf` and `divf` do.
#[derive(Clone, Copy)]
pub(super) enum Operation {
    Add,
    Sub,
    Mul,
    Div,
}

/// Exact where digits allow it, in floating point where they do not.
fn operate(a: f64, b: f64, operation: Operation) -> Result<f64> {
    let exact = Decimal::new(a).zip(Decimal::new(b)).and_then(|(a, b)| match operation {
        Operation::Add => a.plus(b),
        Operation::Sub => a.minus(b),
        Operation::Mul => a.times(b),
        Operation::Div => a.over(b),
    });
    match (exact, operation) {
        (_, Operation::Div) if b == 0.0 => error("decimal division by 0"),
        (Some(exact), _) => Ok(exact.float()),
        (None, Operation::Add) => Ok(a + b),
        (None, Operation::Sub) => Ok(a - b),
        (None, Operation::Mul) => Ok(a * b),
        (None, Operation::Div) => Ok(a / b),
    }
}

pub(super) fn floats(args: &Args<'_>, operation: Operation) -> Result<Value> {
    let mut values = args.values.iter().map(float_of);
    let first = match operation {
        Operation::Add => 0.0,
        _ => {
            args.at_least(1)?;
            values.next().unwrap_or(0.0)
        }
    };
    Ok(Value::Float(values.try_fold(first, |so_far, value| operate(so_far, value, operation))?))
}

pub(super) fn add1f(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    Ok(Value::Float(operate(float_of(args.get(0)), 1.0, Operation::Add)?))
}

/// Numbers from `start` up or down to before `stop`.
fn until_step(start: i64, stop: i64, step: i64) -> Result<Vec<i64>> {
    let away = if stop < start { step < 0 } else { step > 0 };
    if !away {
        return Ok(Vec::new());
    }
    let count = stop.abs_diff(start).div_ceil(step.unsigned_abs());
    budget::spend(usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(STEP))?;
    let at = |i: u64| start.wrapping_add(step.wrapping_mul(i as i64));
    Ok((0..count).map(at).collect())
}

fn numbers(numbers: Vec<i64>) -> Result<Value> {
    list(numbers.into_iter().map(Value::Int).collect())
}

pub(super) fn until(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let count = args.int(0)?;
    numbers(until_step(0, count, if count < 0 { -1 } else { 1 })?)
}

pub(super) fn until_steps(args: &Args<'_>) -> Result<Value> {
    args.exactly(3)?;
    numbers(until_step(args.int(0)?, args.int(1)?, args.int(2)?)?)
}

/// Numbers as the shell's `seq` prints them.
pub(super) fn seq(args: &Args<'_>) -> Result<Value> {
    let toward = |start: i64, end: i64| if end < start { -1 } else { 1 };
    let (start, step, end) = match args.len() {
        1 => (1, toward(1, args.int(0)?), args.int(0)?),
        2 => (args.int(0)?, toward(args.int(0)?, args.int(1)?), args.int(1)?),
        3 => (args.int(0)?, args.int(1)?, args.int(2)?),
        _ => return text(""),
    };
    if args.len() == 3 && end < start && step > 0 {
        return text("");
    }
    let found = until_step(start, end.saturating_add(toward(start, end)), step)?;
    text(found.iter().map(i64::to_string).collect::<Vec<_>>().join(" "))
}

pub(super) fn rand_int(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    let (least, end) = (args.int(0)?, args.int(1)?);
    if end <= least {
        return error("invalid argument to Intn");
    }
    Ok(Value::Int(fastrand::i64(least..end)))
}
