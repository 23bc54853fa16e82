//! `string.format`: the verbs, flags and mistakes of Go's fmt.Sprintf.
//!
//! Invariant: like the original it never fails on a bad format; what is wrong stands in the text, as in
//! `%!d(string=x)`. Only secrets are refused.

use super::{CallError, take};
use crate::arg::ValueError;
use crate::value::{Number, Value};

/// A width or precision beyond this is a mistake, as in Go.
const LARGEST: i64 = 1_000_000;

pub(super) fn format(arguments: &[Value]) -> Result<Value, CallError> {
    let pattern: String = take(arguments, 0)?;
    for (i, value) in arguments.iter().enumerate().skip(1) {
        refuse_secrets(value).map_err(|e| CallError::argument(i, e))?;
    }
    let mut printer = Printer { arguments: &arguments[1..], next: 0, reordered: false, out: String::new() };
    printer.print(&pattern);
    Ok(printer.out.into())
}

fn refuse_secrets(value: &Value) -> Result<(), ValueError> {
    match value {
        Value::Secret(_) => Err(secret()),
        Value::OptionalSecret(s) if s.is_secret() => Err(secret()),
        Value::Array(items) => items.iter().try_for_each(refuse_secrets),
        Value::Object(fields) => fields.values().try_for_each(refuse_secrets),
        _ => Ok(()),
    }
}

fn secret() -> ValueError {
    ValueError::invalid("a secret cannot be part of the formatted text")
        .with_help("join it with +, which makes a secret again, or unwrap it with convert.nonsensitive(…)")
}

#[derive(Default, Clone)]
struct Verb {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

struct Printer<'a> {
    arguments: &'a [Value],
    next: usize,
    reordered: bool,
    out: String,
}

impl Printer<'_> {
    fn print(&mut self, pattern: &str) {
        let mut rest = pattern;
        while let Some(at) = rest.find('%') {
            self.out.push_str(&rest[..at]);
            rest = self.verb(&rest[at + 1..]);
        }
        self.out.push_str(rest);
        if !self.reordered && self.next < self.arguments.len() {
            let extra: Vec<String> = self.arguments[self.next..].iter().map(typed).collect();
            self.out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
        }
    }

    /// Prints one verb; `text` starts behind the percent sign, what is returned behind the verb.
    fn verb<'t>(&mut self, text: &'t str) -> &'t str {
        let mut verb = Verb::default();
        let mut rest = text;
        while let Some(flag) = rest.chars().next() {
            match flag {
                '-' => verb.minus = true,
                '+' => verb.plus = true,
                '#' => verb.sharp = true,
                ' ' => verb.space = true,
                '0' => verb.zero = true,
                _ => break,
            }
            rest = &rest[1..];
        }
        let mut good = self.index(&mut rest);
        (verb.width, _) = self.amount(&mut rest, &mut verb.minus, "WIDTH");
        if let Some(more) = rest.strip_prefix('.') {
            rest = more;
            good &= self.index(&mut rest);
            let mut negative = false;
            let (precision, bad) = self.amount(&mut rest, &mut negative, "PREC");
            // A point without digits means zero.
            verb.precision = precision.or((!bad).then_some(0)).filter(|_| !negative);
        }
        good &= self.index(&mut rest);
        let Some(letter) = rest.chars().next() else {
            self.out.push_str("%!(NOVERB)");
            return "";
        };
        match letter {
            '%' => self.out.push('%'),
            _ if !good => self.out.push_str(&format!("%!{letter}(BADINDEX)")),
            _ => match self.arguments.get(self.next) {
                // %+v and %#v ask for field names and Go syntax, which these values do not have.
                Some(_) if letter == 'v' && (verb.plus || verb.sharp) => {
                    (verb.plus, verb.sharp) = (false, false);
                    self.write(letter, &verb);
                }
                None => self.out.push_str(&format!("%!{letter}(MISSING)")),
                Some(_) => self.write(letter, &verb),
            },
        }
        &rest[letter.len_utf8()..]
    }

    fn write(&mut self, letter: char, verb: &Verb) {
        if let Some(value) = self.arguments.get(self.next) {
            self.out.push_str(&formatted(value, letter, verb));
        }
        self.next += 1;
    }

    /// `[n]` chooses the argument; `false` if there is none of that number.
    fn index(&mut self, rest: &mut &str) -> bool {
        let Some(inner) = rest.strip_prefix('[') else { return true };
        self.reordered = true;
        let Some((number, more)) = inner.split_once(']') else {
            *rest = &rest[1..];
            return false;
        };
        *rest = more;
        match number.parse::<usize>() {
            Ok(n) if (1..=self.arguments.len()).contains(&n) => {
                self.next = n - 1;
                true
            }
            _ => false,
        }
    }

    /// A width or precision: digits, or `*` for the next argument. The flag says whether it was a `*` that
    /// gave no number.
    fn amount(&mut self, rest: &mut &str, minus: &mut bool, what: &str) -> (Option<usize>, bool) {
        if let Some(more) = rest.strip_prefix('*') {
            *rest = more;
            let given = match self.arguments.get(self.next) {
                Some(Value::Number(n @ (Number::Int(_) | Number::Uint(_)))) => Some(n.as_i64()),
                _ => None,
            };
            self.next += 1;
            return match given.filter(|n| n.abs() <= LARGEST) {
                Some(n) => {
                    *minus |= n < 0;
                    (Some(n.unsigned_abs() as usize), false)
                }
                None => {
                    self.out.push_str(&format!("%!(BAD{what})"));
                    (None, true)
                }
            };
        }
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number = rest[..digits].parse::<i64>().ok().filter(|n| *n <= LARGEST);
        *rest = &rest[digits..];
        (number.map(|n| n as usize), false)
    }
}

fn pad(text: String, verb: &Verb) -> String {
    pad_with(text, verb, false)
}

/// Zeros go between sign and digits.
fn pad_with(text: String, verb: &Verb, zero: bool) -> String {
    let have = text.chars().count();
    let missing = verb.width.unwrap_or(0).saturating_sub(have);
    if missing == 0 {
        text
    } else if verb.minus {
        text + &" ".repeat(missing)
    } else if zero && verb.zero {
        let sign = usize::from(text.starts_with(['-', '+', ' ']));
        format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..])
    } else {
        " ".repeat(missing) + &text
    }
}

fn formatted(value: &Value, letter: char, verb: &Verb) -> String {
    match letter {
        'T' => return pad(go_type(value).to_owned(), verb),
        'v' if matches!(value, Value::Null) => return pad("<nil>".to_owned(), verb),
        'p' => return bad(value, letter),
        _ => {}
    }
    match value {
        Value::Bool(b) if matches!(letter, 't' | 'v') => pad_with(b.to_string(), verb, true),
        Value::Number(Number::Float(v)) => float(*v, letter, verb).unwrap_or_else(|| bad(value, letter)),
        Value::Number(n) => integer(*n, letter, verb).unwrap_or_else(|| bad(value, letter)),
        Value::String(s) => text(s, letter, verb).unwrap_or_else(|| bad(value, letter)),
        Value::OptionalSecret(s) => text(s.reveal(), letter, verb).unwrap_or_else(|| bad(value, letter)),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|v| formatted(v, letter, verb)).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => map(fields.iter(), letter, verb),
        Value::Capsule(c) => match c.content().as_object() {
            Some(fields) => map(fields.iter(), letter, verb),
            None => pad(c.content().text(), verb),
        },
        Value::Function(f) => pad(f.0.name.to_owned(), verb),
        Value::Null | Value::Bool(_) | Value::Secret(_) | Value::Unknown(_) => bad(value, letter),
    }
}

fn map<'a>(fields: impl Iterator<Item = (&'a String, &'a Value)>, letter: char, verb: &Verb) -> String {
    let key = |k: &str| text(k, letter, verb).unwrap_or_else(|| bad(&k.into(), letter));
    let fields: Vec<String> =
        fields.map(|(k, v)| format!("{}:{}", key(k), formatted(v, letter, verb))).collect();
    format!("map[{}]", fields.join(" "))
}

/// How Go names the type behind an untyped value.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(Number::Float(_)) => "float64",
        Value::Number(Number::Uint(v)) if i64::try_from(*v).is_err() => "uint64",
        Value::Number(_) => "int",
        Value::String(_) | Value::OptionalSecret(_) | Value::Secret(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
        Value::Function(_) => "func",
        Value::Capsule(_) | Value::Unknown(_) => "capsule",
    }
}

fn typed(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        v => format!("{}={}", go_type(v), formatted(v, 'v', &Verb::default())),
    }
}

fn bad(value: &Value, letter: char) -> String {
    format!("%!{letter}({})", typed(value))
}

fn signed(negative: bool, digits: String, verb: &Verb) -> String {
    match (negative, verb.plus, verb.space) {
        (true, ..) => format!("-{digits}"),
        (false, true, _) => format!("+{digits}"),
        (false, false, true) => format!(" {digits}"),
        _ => digits,
    }
}

fn integer(n: Number, letter: char, verb: &Verb) -> Option<String> {
    let (negative, size) = match n {
        Number::Uint(v) => (false, v),
        n => (n.as_i64() < 0, n.as_i64().unsigned_abs()),
    };
    let (digits, prefix) = match letter {
        'd' | 'v' => (size.to_string(), ""),
        'b' => (format!("{size:b}"), "0b"),
        'o' => (format!("{size:o}"), "0"),
        'O' => (format!("{size:o}"), "0o"),
        'x' => (format!("{size:x}"), "0x"),
        'X' => (format!("{size:X}"), "0X"),
        'c' => return Some(pad(character(n).to_string(), verb)),
        'q' => return Some(pad(quote_char(character(n), verb), verb)),
        'U' => return Some(pad(format!("U+{size:04X}"), verb)),
        _ => return None,
    };
    if verb.precision == Some(0) && size == 0 {
        return Some(pad(String::new(), &Verb { zero: false, ..verb.clone() }));
    }
    // Zeros to the width count as a precision, so that they stand behind sign and prefix.
    let sign = usize::from(negative || verb.plus || verb.space);
    let least = match (verb.precision, verb.width) {
        (Some(p), _) => p,
        (None, Some(w)) if verb.zero && !verb.minus => w.saturating_sub(sign),
        _ => 0,
    };
    let digits = format!("{digits:0>least$}");
    let prefixed = match letter {
        'O' => format!("{prefix}{digits}"),
        'o' if verb.sharp && digits.starts_with('0') => digits,
        'b' | 'o' | 'x' | 'X' if verb.sharp => format!("{prefix}{digits}"),
        _ => digits,
    };
    Some(pad(signed(negative, prefixed, verb), verb))
}

fn character(n: Number) -> char {
    u32::try_from(n.as_u64()).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn float(v: f64, letter: char, verb: &Verb) -> Option<String> {
    let format = match letter {
        'v' => 'g',
        'F' => 'f',
        'e' | 'E' | 'f' | 'g' | 'G' => letter,
        _ => return None,
    };
    let size = v.abs();
    let negative = v.is_sign_negative() && !v.is_nan();
    let digits = if v.is_nan() {
        "NaN".to_owned()
    } else if v.is_infinite() {
        // Go always writes the sign of an infinity.
        let sign = match (negative, verb.space && !verb.plus) {
            (true, _) => "-",
            (false, true) => " ",
            (false, false) => "+",
        };
        return Some(pad(format!("{sign}Inf"), verb));
    } else {
        match format {
            'f' => format!("{size:.*}", verb.precision.unwrap_or(6)),
            'e' | 'E' => exponent(format!("{size:.*e}", verb.precision.unwrap_or(6))),
            _ => shortest(size, verb.precision),
        }
    };
    let digits = if matches!(format, 'E' | 'G') { digits.to_uppercase() } else { digits };
    let text = signed(negative, digits, verb);
    Some(if v.is_nan() { pad(text, verb) } else { pad_with(text, verb, true) })
}

/// %g and %v: the fewest digits, plain unless the exponent is below -4 or reaches the precision (6 where
/// there is none), as Go's strconv.
fn shortest(size: f64, precision: Option<usize>) -> String {
    let scientific = match precision {
        None => format!("{size:e}"),
        Some(p) => format!("{size:.*e}", p.max(1) - 1),
    };
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let mantissa = match mantissa.contains('.') {
        true => mantissa.trim_end_matches('0').trim_end_matches('.'),
        false => mantissa,
    };
    let digits = mantissa.chars().filter(char::is_ascii_digit).count() as i32;
    let largest = match precision {
        None => 6,
        Some(p) if p.max(1) as i32 > digits && digits > power => digits,
        Some(p) => p.max(1) as i32,
    };
    if size != 0.0 && (power < -4 || power >= largest) {
        return exponent(format!("{mantissa}e{power}"));
    }
    let decimals = (digits - 1 - power).max(0) as usize;
    format!("{size:.decimals$}")
}

/// `1e6` → `1e+06`.
fn exponent(text: String) -> String {
    let Some((mantissa, power)) = text.split_once('e') else { return text };
    let (sign, digits) = match power.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', power),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn text(s: &str, letter: char, verb: &Verb) -> Option<String> {
    let cut = |s: &str| match verb.precision {
        Some(p) => s.chars().take(p).collect(),
        None => s.to_owned(),
    };
    Some(match letter {
        's' | 'v' => pad_with(cut(s), verb, true),
        'q' => pad_with(quote(&cut(s), verb), verb, true),
        'x' | 'X' => {
            let bytes = s.as_bytes();
            let bytes = &bytes[..verb.precision.unwrap_or(bytes.len()).min(bytes.len())];
            pad_with(hex(bytes, letter == 'X', verb), verb, true)
        }
        _ => return None,
    })
}

fn hex(bytes: &[u8], upper: bool, verb: &Verb) -> String {
    let prefix = match (verb.sharp, upper) {
        (false, _) => "",
        (true, false) => "0x",
        (true, true) => "0X",
    };
    let digits: Vec<String> =
        bytes.iter().map(|b| if upper { format!("{b:02X}") } else { format!("{b:02x}") }).collect();
    match (bytes.is_empty(), verb.space) {
        (true, _) => String::new(),
        (false, true) => digits.iter().map(|d| format!("{prefix}{d}")).collect::<Vec<_>>().join(" "),
        (false, false) => format!("{prefix}{}", digits.concat()),
    }
}

fn quote(s: &str, verb: &Verb) -> String {
    if verb.sharp && !s.contains('`') && !s.chars().any(|c| c.is_control() && c != '\t') {
        return format!("`{s}`");
    }
    let mut out = String::from("\"");
    s.chars().for_each(|c| escape(c, '"', verb.plus, &mut out));
    out.push('"');
    out
}

fn quote_char(c: char, verb: &Verb) -> String {
    let mut out = String::from("'");
    escape(c, '\'', verb.plus, &mut out);
    out.push('\'');
    out
}

/// As Go's strconv.Quote.
fn escape(c: char, mark: char, ascii: bool, out: &mut String) {
    match c {
        c if c == mark || c == '\\' => {
            out.push('\\');
            out.push(c);
        }
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        c if (c as u32) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", c as u32)),
        c if c.is_control() || (ascii && !c.is_ascii()) || (c.is_whitespace() && c != ' ') => {
            let code = c as u32;
            out.push_str(&if code < 0x10000 { format!("\\u{code:04x}") } else { format!("\\U{code:08x}") });
        }
        c => out.push(c),
    }
}
