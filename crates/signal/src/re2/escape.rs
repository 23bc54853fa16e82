//! Escapes and classes of RE2, each as items of a class of the `regex` crate. Facts of Go's regexp/syntax.

use super::SyntaxError;

const DIGIT: &str = "0-9";
const SPACE: &str = r"\t\n\f\r\x20";
const WORD: &str = "0-9A-Za-z_";

const POSIX: [(&str, &str); 14] = [
    ("alnum", "0-9A-Za-z"),
    ("alpha", "A-Za-z"),
    ("ascii", r"\x00-\x7F"),
    ("blank", r"\t\x20"),
    ("cntrl", r"\x00-\x1F\x7F"),
    ("digit", DIGIT),
    ("graph", r"\x21-\x7E"),
    ("lower", "a-z"),
    ("print", r"\x20-\x7E"),
    ("punct", r"\x21-\x2F\x3A-\x40\x5B-\x60\x7B-\x7E"),
    ("space", r"\t-\r\x20"),
    ("upper", "A-Z"),
    ("word", WORD),
    ("xdigit", "0-9A-Fa-f"),
];

pub(super) fn fail<T>(reason: &'static str, excerpt: &str) -> Result<T, SyntaxError> {
    Err(SyntaxError { reason, excerpt: excerpt.to_owned() })
}

/// The part of `text` before its tail `rest`.
pub(super) fn before<'a>(text: &'a str, rest: &str) -> &'a str {
    &text[..text.len() - rest.len()]
}

pub(super) fn split_char(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    chars.next().map(|c| (c, chars.as_str()))
}

/// `\d`, `\pN`, `\p{Greek}` and their like: items of a class, whether they are negated, what follows.
pub(super) fn class_escape(text: &str) -> Result<Option<(String, bool, &str)>, SyntaxError> {
    let Some(after) = text.strip_prefix('\\') else { return Ok(None) };
    let Some((c, rest)) = split_char(after) else { return Ok(None) };
    let items = match c.to_ascii_lowercase() {
        'd' => DIGIT,
        's' => SPACE,
        'w' => WORD,
        'p' => return unicode_class(text, c == 'P', rest).map(Some),
        _ => return Ok(None),
    };
    Ok(Some((items.to_owned(), c.is_ascii_uppercase(), rest)))
}

fn unicode_class<'a>(
    text: &'a str,
    mut negated: bool,
    rest: &'a str,
) -> Result<(String, bool, &'a str), SyntaxError> {
    let (mut name, rest) = match rest.strip_prefix('{') {
        Some(inner) => match inner.split_once('}') {
            Some(found) => found,
            None => return fail("invalid character class range", text),
        },
        None => rest.split_at(rest.chars().next().map_or(0, char::len_utf8)),
    };
    if let Some(positive) = name.strip_prefix('^') {
        (name, negated) = (positive, !negated);
    }
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_- ".contains(&b));
    let special = ["any", "assigned", "ascii"].contains(&name.to_ascii_lowercase().as_str());
    let forms = if special { ["", ""] } else { ["gc=", "sc="] };
    let known = forms
        .iter()
        .map(|form| format!(r"\p{{{form}{name}}}"))
        .find(|class| plain && regex::Regex::new(class).is_ok());
    match known {
        Some(class) => Ok((class, negated, rest)),
        None => fail("invalid character class range", before(text, rest)),
    }
}

/// `[:alpha:]`, `[:^alpha:]` within a class.
pub(super) fn posix_class(text: &str) -> Result<Option<(&'static str, bool, &str)>, SyntaxError> {
    let Some((name, rest)) = text.strip_prefix("[:").and_then(|inner| inner.split_once(":]")) else {
        return Ok(None);
    };
    let (positive, negated) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
    match POSIX.iter().find(|(known, _)| *known == positive) {
        Some((_, items)) => Ok(Some((items, negated, rest))),
        None => fail("invalid character class range", before(text, rest)),
    }
}

pub(super) fn class_char<'a>(text: &'a str, class: &str) -> Result<(u32, &'a str), SyntaxError> {
    match split_char(text) {
        None => fail("missing closing ]", class),
        Some(('\\', _)) => char_escape(text),
        Some((c, rest)) => Ok((u32::from(c), rest)),
    }
}

pub(super) fn push_set(items: &mut String, set: &str, negated: bool) {
    if negated {
        items.push_str("[^");
        items.push_str(set);
        items.push(']');
    } else {
        items.push_str(set);
    }
}

pub(super) fn push_range(items: &mut String, low: u32, high: u32) {
    use std::fmt::Write;
    // Halves of surrogate pairs are no characters.
    let low = if char::from_u32(low).is_none() { 0xE000 } else { low };
    let high = if char::from_u32(high).is_none() { 0xD7FF } else { high };
    if low == high {
        let _ = write!(items, r"\x{{{low:X}}}");
    } else if low < high {
        let _ = write!(items, r"\x{{{low:X}}}-\x{{{high:X}}}");
    }
}

/// An escape that stands for one character. As regexp/syntax: `parseEscape`.
pub(super) fn char_escape(text: &str) -> Result<(u32, &str), SyntaxError> {
    let Some((c, rest)) = split_char(&text[1..]) else {
        return fail("trailing backslash at end of expression", "");
    };
    let octal = |text: &str| text.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
    let simple = match c {
        'a' => 0x07,
        'f' => 0x0C,
        'n' => 0x0A,
        'r' => 0x0D,
        't' => 0x09,
        'v' => 0x0B,
        'x' => return hex_escape(text, rest),
        // A single digit but 0 would be a reference to a group.
        '0'..='7' if c == '0' || octal(rest) > 0 => {
            let (digits, after) = rest.split_at(octal(rest));
            let first = u32::from(c) - u32::from('0');
            let code = digits.bytes().fold(first, |code, b| code * 8 + u32::from(b - b'0'));
            return Ok((code, after));
        }
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
        _ => return fail("invalid escape sequence", before(text, rest)),
    };
    Ok((simple, rest))
}

/// `\xFF`, `\x{10FFFF}`.
fn hex_escape<'a>(text: &'a str, after: &'a str) -> Result<(u32, &'a str), SyntaxError> {
    let mut rest = after;
    let mut next = || {
        let (c, after) = split_char(rest)?;
        rest = after;
        Some(c)
    };
    let code = match next() {
        Some('{') => {
            let mut code: Option<u32> = None;
            loop {
                match next() {
                    Some('}') => break code,
                    Some(c) => {
                        let Some(digit) = c.to_digit(16) else { break None };
                        let value = code.unwrap_or(0) * 16 + digit;
                        if value > u32::from(char::MAX) {
                            break None;
                        }
                        code = Some(value);
                    }
                    None => break None,
                }
            }
        }
        Some(high) => {
            let low = next();
            high.to_digit(16).zip(low.and_then(|c| c.to_digit(16))).map(|(high, low)| high * 16 + low)
        }
        None => None,
    };
    match code {
        Some(code) => Ok((code, rest)),
        None => fail("invalid escape sequence", before(text, rest)),
    }
}
