//! `unquote`: takes the quotes of Go's syntax off a text.

use super::Transform;
use super::entry::{Entry, Failure, Field};
use super::options::Options;
use super::value::Value;

/// The operator.
pub struct Unquote {
    field: Field,
}

impl Unquote {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        Ok(Self { field: options.field("field")?.unwrap_or_else(Field::body) })
    }
}

impl Transform for Unquote {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        let text = entry.get(&self.field).and_then(Value::as_text);
        let text = text.ok_or_else(|| Failure::new(format!("{} is no text", self.field)))?;
        let bare = unquote(text).ok_or_else(|| Failure::new(format!("{text:?} is not in quotes")))?;
        entry.put(&self.field, Value::Text(bare))
    }
}

/// As Go's `strconv.Unquote`.
fn unquote(text: &str) -> Option<String> {
    if let Some(raw) = text.strip_prefix('`').and_then(|t| t.strip_suffix('`')) {
        return (!raw.contains('`')).then(|| raw.replace('\r', ""));
    }
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut out: Vec<u8> = Vec::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let plain = match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'v' => '\u{b}',
                '\\' => '\\',
                q if q == quote => q,
                'x' => {
                    out.push(u8::try_from(number(&mut chars, "", 2, 16)?).ok()?);
                    continue;
                }
                'u' => char::from_u32(number(&mut chars, "", 4, 16)?)?,
                'U' => char::from_u32(number(&mut chars, "", 8, 16)?)?,
                d @ '0'..='7' => {
                    out.push(u8::try_from(number(&mut chars, &d.to_string(), 2, 8)?).ok()?);
                    continue;
                }
                _ => return None,
            },
            c if c == quote || c == '\n' => return None,
            c => c,
        };
        out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
    }
    let text = String::from_utf8(out).ok()?;
    (quote == '"' || text.chars().count() == 1).then_some(text)
}

fn number(chars: &mut std::str::Chars<'_>, first: &str, count: usize, radix: u32) -> Option<u32> {
    let digits: String = first.chars().chain(chars.by_ref().take(count)).collect();
    let whole = digits.len() == first.len() + count && digits.chars().all(|c| c.is_digit(radix));
    whole.then(|| u32::from_str_radix(&digits, radix).ok())?
}

#[cfg(test)]
mod tests {
    use super::super::tests::run_text;

    #[test]
    fn quotes_are_taken_off() {
        for (body, expected) in [
            (r#""a\tb""#, "a\tb"),
            (r#""\u00e4\x41\101""#, "äAA"),
            ("`raw\\n`", "raw\\n"),
            ("'x'", "x"),
            ("'xy'", "'xy'"),
            (r#""open"#, r#""open"#),
            ("none", "none"),
            (r#""in"ner""#, r#""in"ner""#),
        ] {
            let out = run_text(r#"{type = "unquote", field = "body"}"#, body);
            assert_eq!(out[0].body.text(), expected, "{body}");
        }
    }
}
