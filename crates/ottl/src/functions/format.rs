//! Go's `fmt.Sprintf` for the values of OTTL.

use crate::value::{Value, double, json, map_json};

#[derive(Default)]
struct Verb {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// A width or precision beyond this is not honoured, so that a format cannot fill the memory.
const MAX_WIDTH: usize = 1_000;

/// The text; what does not fit is told in it, in Go's words.
pub(super) fn sprintf(format: &str, values: &[Value<'_>]) -> String {
    let mut out = String::with_capacity(format.len() + 16);
    let mut chars = format.chars().peekable();
    let mut values_left = values.iter();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = chars.next_if(|c| "-+# 0".contains(*c)) {
            match flag {
                '-' => verb.minus = true,
                '+' => verb.plus = true,
                '#' => verb.sharp = true,
                ' ' => verb.space = true,
                _ => verb.zero = true,
            }
        }
        verb.width = number(&mut chars);
        if chars.next_if_eq(&'.').is_some() {
            verb.precision = Some(number(&mut chars).unwrap_or(0));
        }
        let Some(letter) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if letter == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = values_left.next() else {
            out.push_str(&format!("%!{letter}(MISSING)"));
            continue;
        };
        match verb.format(letter, value) {
            Some(text) => out.push_str(&text),
            None => out.push_str(&format!("%!{letter}({}={})", go_type(value), verb.plain(value))),
        }
    }
    let rest: Vec<String> =
        values_left.map(|v| format!("{}={}", go_type(v), Verb::default().plain(v))).collect();
    if !rest.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", rest.join(", ")));
    }
    out
}

fn number(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut found = None;
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        let digit = digit.to_digit(10).unwrap_or_default() as usize;
        found = Some((found.unwrap_or(0usize).saturating_mul(10) + digit).min(MAX_WIDTH));
    }
    found
}

fn go_type(value: &Value<'_>) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Double(_) => "float64",
        Value::Str(_) => "string",
        Value::Bytes(_) => "[]uint8",
        Value::Time(_) => "time.Time",
        Value::Duration(_) => "time.Duration",
        Value::Map(_) => "map[string]interface {}",
        Value::List(_) => "[]interface {}",
        Value::Id(_) => "pcommon.TraceID",
        Value::Part(_) => "pdata",
    }
}

impl Verb {
    /// As `%v`.
    fn plain(&self, value: &Value<'_>) -> String {
        match value {
            Value::Nil => "<nil>".to_owned(),
            Value::Double(v) => general(*v),
            Value::Duration(nanos) => crate::time::go_duration(*nanos),
            Value::Map(map) => map_json(map).to_string(),
            Value::List(list) => list.iter().map(json).collect::<serde_json::Value>().to_string(),
            value => value.borrow().to_text().ok().flatten().unwrap_or_default().into_owned(),
        }
    }

    fn format(&self, letter: char, value: &Value<'_>) -> Option<String> {
        let text = match (letter, value) {
            ('v', Value::Int(v)) | ('d', Value::Int(v)) => {
                return Some(self.int(&v.unsigned_abs().to_string(), *v < 0));
            }
            ('b', Value::Int(v)) => return Some(self.int(&format!("{:b}", v.unsigned_abs()), *v < 0)),
            ('o', Value::Int(v)) => {
                let prefix = if self.sharp { "0" } else { "" };
                return Some(self.int(&format!("{prefix}{:o}", v.unsigned_abs()), *v < 0));
            }
            ('x', Value::Int(v)) => {
                let prefix = if self.sharp { "0x" } else { "" };
                return Some(self.int(&format!("{prefix}{:x}", v.unsigned_abs()), *v < 0));
            }
            ('X', Value::Int(v)) => {
                let prefix = if self.sharp { "0X" } else { "" };
                return Some(self.int(&format!("{prefix}{:X}", v.unsigned_abs()), *v < 0));
            }
            ('c', Value::Int(v)) => {
                u32::try_from(*v).ok().and_then(char::from_u32).unwrap_or('\u{fffd}').to_string()
            }
            ('U', Value::Int(v)) => format!("U+{v:04X}"),
            ('q', Value::Int(v)) => format!("{:?}", u32::try_from(*v).ok().and_then(char::from_u32)?),
            ('f' | 'F' | 'e' | 'E' | 'g' | 'G' | 'v', Value::Double(v)) => {
                return Some(self.float(letter, *v));
            }
            ('t' | 'v', Value::Bool(v)) => v.to_string(),
            ('s' | 'v', Value::Str(text)) => self.cut(text),
            ('q', Value::Str(text)) => quote(&self.cut(text)),
            ('x', Value::Str(text)) => const_hex::encode(text.as_bytes()),
            ('X', Value::Str(text)) => const_hex::encode_upper(text.as_bytes()),
            ('x', Value::Bytes(bytes)) => const_hex::encode(bytes.as_ref()),
            ('X', Value::Bytes(bytes)) => const_hex::encode_upper(bytes.as_ref()),
            ('s', Value::Bytes(bytes)) => self.cut(&String::from_utf8_lossy(bytes)),
            ('v', Value::Bytes(bytes)) => {
                let bytes: Vec<String> = bytes.iter().map(u8::to_string).collect();
                format!("[{}]", bytes.join(" "))
            }
            ('d', Value::Duration(nanos)) => {
                return Some(self.int(&nanos.unsigned_abs().to_string(), *nanos < 0));
            }
            ('v', value) => self.plain(value),
            ('s', Value::Map(_) | Value::List(_) | Value::Time(_) | Value::Duration(_) | Value::Id(_)) => {
                self.plain(value)
            }
            ('T', value) => go_type(value).to_owned(),
            _ => return None,
        };
        Some(self.pad(text, false))
    }

    fn cut(&self, text: &str) -> String {
        self.precision.map_or_else(|| text.to_owned(), |most| text.chars().take(most).collect())
    }

    fn int(&self, digits: &str, negative: bool) -> String {
        let digits = match self.precision {
            Some(least) => format!("{digits:0>least$}"),
            None => digits.to_owned(),
        };
        self.pad(format!("{}{digits}", self.sign(negative)), self.precision.is_none())
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (.., true) => " ",
            _ => "",
        }
    }

    fn float(&self, letter: char, value: f64) -> String {
        let size = value.abs();
        let precision = self.precision.unwrap_or(6);
        let digits = match letter {
            _ if !value.is_finite() => double(size).trim_start_matches('+').to_owned(),
            'f' | 'F' => format!("{size:.precision$}"),
            'e' | 'E' => exponent(&format!("{size:.precision$e}")),
            _ => self.precision.map_or_else(|| general(size), |p| general_with(size, p)),
        };
        let digits = if letter.is_uppercase() { digits.to_uppercase() } else { digits };
        self.pad(format!("{}{digits}", self.sign(value.is_sign_negative())), value.is_finite())
    }

    fn pad(&self, text: String, number: bool) -> String {
        let Some(missing) = self.width.and_then(|width| width.checked_sub(text.chars().count())) else {
            return text;
        };
        if self.minus {
            return text + &" ".repeat(missing);
        }
        if !(self.zero && number) {
            return " ".repeat(missing) + &text;
        }
        // Zeros stand behind the sign.
        let sign = text.find(|c| !"+- ".contains(c)).unwrap_or(0);
        format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..])
    }
}

/// As `%g`: the shortest digits, with an exponent below 1e-4 and from 1e21.
fn general(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || !size.is_finite() || (1e-4..1e21).contains(&size) {
        return double(value);
    }
    exponent(&format!("{value:e}"))
}

fn general_with(value: f64, precision: usize) -> String {
    let digits = precision.max(1);
    let scientific = format!("{value:.*e}", digits - 1);
    let power: i32 = scientific.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or_default();
    let strip = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if power < -4 || power >= digits as i32 {
        let (mantissa, e) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        return exponent(&format!("{}e{e}", strip(mantissa)));
    }
    let places = usize::try_from(digits as i32 - 1 - power).unwrap_or(0);
    strip(&format!("{value:.places$}"))
}

/// Go's exponents have a sign and two digits.
fn exponent(text: &str) -> String {
    let Some((mantissa, power)) = text.split_once('e') else { return text.to_owned() };
    let (sign, digits) = power.strip_prefix('-').map_or(('+', power), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
