//! Values as text: Go's `%v`, JSON, and the functions of Go that print.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use gotmpl::Value;
use wire::json;

use super::args::{Args, Map, error, text};
use super::budget::{self, Result};
use super::dates;

/// Appends a value as Go's `%v` prints it.
pub(super) fn write(value: &Value, out: &mut String) -> Result<()> {
    budget::spend(budget::STEP)?;
    let before = out.len();
    match value {
        Value::Nil => out.push_str("<nil>"),
        Value::Float(n) => out.push_str(&float(*n)),
        Value::String(text) => out.push_str(text),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                write(item, out)?;
            }
            out.push(']');
        }
        Value::Map(map) if dates::is_time(map) => out.push_str(&dates::shown(map)),
        Value::Map(map) => {
            out.push_str("map[");
            for (i, (key, item)) in map.iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                write(item, out)?;
            }
            out.push(']');
        }
        other => {
            let _ = write!(out, "{other}");
        }
    }
    if out.len() > budget::MAX_TEXT {
        return error("a value whose text is too long");
    }
    budget::spend(out.len() - before)
}

/// A value as Go's `%v` prints it.
pub(super) fn shown(value: &Value) -> Result<String> {
    let mut out = String::new();
    write(value, &mut out)?;
    Ok(out)
}

/// A number as Go's `%v`: shortest digits, with an exponent below 1e-4 and from 1e6 on.
/// As Go's fmt: `%v` of a float is `%g` with the shortest precision, which counts as six digits here.
pub(super) fn float(n: f64) -> String {
    if n.is_nan() {
        return "NaN".to_owned();
    }
    if n.is_infinite() {
        return if n > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{n:e}");
    let (digits, exponent) = scientific.split_once('e').expect("LowerExp always writes an exponent");
    let exponent: i32 = exponent.parse().expect("LowerExp writes a number behind the e");
    if n != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{n}")
}

/// Puts a number into JSON as Go's encoder does.
fn json_float(n: f64) -> Result<String> {
    if !n.is_finite() {
        return error(format!("json: unsupported value: {}", float(n)));
    }
    let mut out = String::new();
    json::float(n, &mut out);
    Ok(out)
}

/// How JSON is laid out.
#[derive(Clone, Copy)]
pub(super) struct Json {
    /// Whether `<`, `>` and `&` are escaped.
    pub(super) html: bool,
    pub(super) pretty: bool,
}

impl Json {
    pub(super) fn encode(self, value: &Value) -> Result<String> {
        let mut out = String::new();
        self.write(value, 0, &mut out)?;
        Ok(out)
    }

    fn line(self, depth: usize, out: &mut String) {
        if self.pretty {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        }
    }

    fn write(self, value: &Value, depth: usize, out: &mut String) -> Result<()> {
        budget::spend(budget::STEP)?;
        match value {
            Value::Nil => out.push_str("null"),
            Value::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
            Value::Float(n) => out.push_str(&json_float(*n)?),
            Value::String(text) => {
                budget::spend_text(text.len())?;
                json::text(text, self.html, out);
            }
            Value::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    self.line(depth + 1, out);
                    self.write(item, depth + 1, out)?;
                }
                if !items.is_empty() {
                    self.line(depth, out);
                }
                out.push(']');
            }
            Value::Map(map) if dates::is_time(map) => json::text(&dates::rfc3339(map), self.html, out),
            Value::Map(map) => self.write_map(map, depth, out)?,
            Value::Function(_) => return error("json: unsupported type: func"),
            other => {
                let _ = write!(out, "{other}");
            }
        }
        if out.len() > budget::MAX_TEXT {
            return error("a value whose JSON is too long");
        }
        Ok(())
    }

    fn write_map(self, map: &Map, depth: usize, out: &mut String) -> Result<()> {
        out.push('{');
        for (i, (key, item)) in map.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            self.line(depth + 1, out);
            json::text(key, self.html, out);
            out.push(':');
            if self.pretty {
                out.push(' ');
            }
            self.write(item, depth + 1, out)?;
        }
        if !map.is_empty() {
            self.line(depth, out);
        }
        out.push('}');
        Ok(())
    }
}

/// Go's `print`: a space between two operands that are not texts.
pub(super) fn print(args: &Args<'_>) -> Result<Value> {
    let mut out = String::new();
    for (i, value) in args.values.iter().enumerate() {
        let texts = |v: &Value| matches!(v, Value::String(_));
        if i > 0 && !texts(value) && !texts(&args.values[i - 1]) {
            out.push(' ');
        }
        write(value, &mut out)?;
    }
    text(out)
}

/// Go's `println`.
pub(super) fn println(args: &Args<'_>) -> Result<Value> {
    let mut out = String::new();
    for (i, value) in args.values.iter().enumerate() {
        if i > 0 {
            out.push(' ');
        }
        write(value, &mut out)?;
    }
    out.push('\n');
    text(out)
}

/// Most operands of a `printf`.
const MAX_OPERANDS: usize = 32;

/// `printf` of the template engine for each number of operands: it has Go's verbs, but is no function of its
/// own outside of a template.
static PRINTF: LazyLock<Vec<gotmpl::Template>> = LazyLock::new(|| {
    let template = |operands: usize| {
        let names: String = (0..operands).map(|i| format!(" .a{i}")).collect();
        let source = format!("{{{{printf .f{names}}}}}");
        gotmpl::Template::new("printf").parse(&source).expect("a call of printf is a template")
    };
    (0..=MAX_OPERANDS).map(template).collect()
});

/// Go's `printf`, which pays for its widths beforehand.
pub(super) fn printf(args: &Args<'_>) -> Result<Value> {
    args.at_least(1)?;
    let format = args.text(0)?;
    let operands = &args.values[1..];
    if operands.len() > MAX_OPERANDS {
        return error(format!("printf takes at most {MAX_OPERANDS} operands"));
    }
    let mut largest = 24;
    let mut data = Map::new();
    data.insert("f".into(), args.get(0).clone());
    for (i, operand) in operands.iter().enumerate() {
        largest = largest.max(budget::weigh(operand)?);
        data.insert(format!("a{i}").into(), plain(operand)?);
    }
    budget::spend_text(printed_at_most(format, operands, largest))?;
    let data = Value::Map(Arc::new(data));
    let out = PRINTF[operands.len()].execute_to_string(&data)?;
    text(out)
}

/// A time has no verbs but those of its text.
fn plain(value: &Value) -> Result<Value> {
    match value {
        Value::Map(map) if dates::is_time(map) => text(dates::shown(map)),
        other => Ok(other.clone()),
    }
}

/// An upper bound for the length of what a format makes.
fn printed_at_most(format: &str, operands: &[Value], largest: usize) -> usize {
    let star = operands.iter().filter_map(Value::as_int).map(i64::unsigned_abs).max().unwrap_or(0);
    let star = usize::try_from(star).unwrap_or(usize::MAX).min(1 << 20);
    let mut sum = format.len();
    let mut directives = format.split('%');
    directives.next();
    for directive in directives {
        // `%q` makes at most ten bytes of one; numbers in front of the verb are width, precision, index.
        sum = sum.saturating_add(largest.saturating_mul(10));
        for digits in directive.split(|c: char| !c.is_ascii_digit()).filter(|d| !d.is_empty()).take(3) {
            sum = sum.saturating_add(digits.parse::<usize>().unwrap_or(0).min(1 << 20));
        }
        sum = sum.saturating_add(directive.matches('*').count().min(2) * star);
    }
    // What has no operand at all is printed as an error of a few bytes.
    sum.saturating_add(operands.len().saturating_mul(largest))
}

/// Go's `html`, `js` and `urlquery`: of all arguments printed together.
pub(super) fn escaped(args: &Args<'_>, escape: fn(&str) -> String) -> Result<Value> {
    args.at_least(1)?;
    let mut out = String::new();
    if let [Value::Nil] = args.values {
        out.push_str("<no value>");
    } else if let Value::String(joined) = print(args)? {
        out.push_str(&joined);
    }
    budget::spend_text(out.len() * 6)?;
    text(escape(&out))
}
