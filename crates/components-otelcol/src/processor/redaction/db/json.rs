//! Documents: keys and shape stay, every value becomes `"?"`.

use serde::de::IgnoredAny;

/// Without values; `None` where the text is no object and no list.
pub(super) fn masked(text: &str) -> Option<String> {
    if !text.trim_start().starts_with(['{', '[']) || serde_json::from_str::<IgnoredAny>(text).is_err() {
        return None;
    }
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    // Whether each enclosing bracket is an object's, and whether a string is the next key of the innermost.
    let (mut objects, mut key, mut at) = (Vec::new(), false, 0);
    while at < bytes.len() {
        let from = at;
        at += 1;
        match bytes[from] {
            open @ (b'{' | b'[') => {
                objects.push(open == b'{');
                key = open == b'{';
                out.push(char::from(open));
            }
            close @ (b'}' | b']') => {
                objects.pop();
                out.push(char::from(close));
            }
            b':' => {
                key = false;
                out.push(':');
            }
            b',' => {
                key = objects.last().copied().unwrap_or_default();
                out.push(',');
            }
            space @ (b' ' | b'\t' | b'\r' | b'\n') => out.push(char::from(space)),
            b'"' => {
                at = end_of_string(bytes, at);
                out.push_str(if key { &text[from..at] } else { "\"?\"" });
            }
            _ => {
                let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
                at += bytes[at..].iter().position(ends).unwrap_or(bytes.len() - at);
                out.push_str("\"?\"");
            }
        }
    }
    Some(out)
}

/// Behind the quote that ends the string that has begun before `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_shape_stay() {
        for (text, expected) in [
            (r#"{"a": 1, "b": [true, null, -1.5e3, "x"]}"#, Some(r#"{"a": "?", "b": ["?", "?", "?", "?"]}"#)),
            (r#"{"a\"b": "c\\\"d", "e": {}}"#, Some(r#"{"a\"b": "?", "e": {}}"#)),
            (r#"[{"k":"v"},["w"]]"#, Some(r#"[{"k":"?"},["?"]]"#)),
            (r#"{"ключ":"знач"}"#, Some(r#"{"ключ":"?"}"#)),
            (r#"{"a":"#, None),
            (r#"{"a":1} x"#, None),
            ("\"text\"", None),
            ("text", None),
        ] {
            assert_eq!(masked(text).as_deref(), expected, "{text}");
        }
    }
}
