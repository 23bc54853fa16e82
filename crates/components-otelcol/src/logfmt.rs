//! Lines of `key=value` pairs, written and read as go-logfmt does.

use signal::otlp::proto::common::v1::AnyValue;
use signal::otlp::proto::common::v1::any_value::Value;
use wire::logfmt;

use crate::value::text;

/// A line that is being written.
#[derive(Debug, Default)]
pub struct Line(Vec<(String, Option<String>)>);

impl Line {
    /// Adds a pair at the end.
    pub fn push(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.push((key.into(), Some(value.into())));
    }

    /// Adds a key with nothing: `null`, which the text of that name is not.
    pub fn push_null(&mut self, key: impl Into<String>) {
        self.0.push((key.into(), None));
    }

    /// Sets the value of a key, at the end if it is not there.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = Some(value.into()),
            None => self.push(key, value),
        }
    }

    /// Adds a value: lists and maps as pairs of their own, `key_0`, `key_name`.
    pub fn flatten(&mut self, key: &str, value: Option<&AnyValue>) {
        let below = |name: &str| if key.is_empty() { name.to_string() } else { format!("{key}_{name}") };
        match value.and_then(|value| value.value.as_ref()) {
            None => {}
            Some(Value::KvlistValue(map)) => {
                map.values.iter().for_each(|entry| self.flatten(&below(&entry.key), entry.value.as_ref()));
            }
            Some(Value::ArrayValue(list)) => {
                for (at, value) in list.values.iter().enumerate() {
                    self.flatten(&below(&at.to_string()), Some(value));
                }
            }
            Some(_) => self.push(key, scalar(value)),
        }
    }

    /// The text. Characters that keys cannot have are left out of them, and pairs without a key are left out.
    pub fn finish(self) -> String {
        let mut out = String::new();
        for (key, value) in self.0 {
            let start = out.len();
            if start > 0 {
                out.push(' ');
            }
            if !logfmt::key(&key, &mut out) {
                out.truncate(start);
                continue;
            }
            out.push('=');
            match &value {
                Some(value) => logfmt::value(value, &mut out),
                None => out.push_str("null"),
            }
        }
        out
    }
}

/// A value as one text; numbers as Go prints them.
pub fn scalar(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::DoubleValue(number)) => float(*number),
        _ => text(value),
    }
}

/// As Go's `%v`: an exponent of two digits below 1e-4 and from 1e21.
fn float(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || size == 0.0 || (1e-4..1e21).contains(&size) {
        return match value {
            f64::INFINITY => "+Inf".to_string(),
            f64::NEG_INFINITY => "-Inf".to_string(),
            value => value.to_string(),
        };
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let sign = if exponent.starts_with('-') { '-' } else { '+' };
    format!("{digits}e{sign}{:0>2}", exponent.trim_start_matches('-'))
}

/// The pairs of a line; `None` if it is not such a line. A key without a value has an empty one.
pub fn parse(line: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = line.trim_start_matches(is_blank);
    while !rest.is_empty() {
        let end = rest.find(|c| is_blank(c) || c == '=' || c == '"').unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        if key.is_empty() || after.starts_with('"') {
            return None;
        }
        let value;
        (value, rest) = match after.strip_prefix('=') {
            None => (String::new(), after),
            Some(after) if after.starts_with('"') => unquote(after)?,
            Some(after) => {
                let (value, after) = after.split_at(after.find(is_blank).unwrap_or(after.len()));
                if value.contains(['=', '"']) {
                    return None;
                }
                (value.to_string(), after)
            }
        };
        pairs.push((key.to_string(), value));
        if !rest.is_empty() && !rest.starts_with(is_blank) {
            return None;
        }
        rest = rest.trim_start_matches(is_blank);
    }
    Some(pairs)
}

fn is_blank(c: char) -> bool {
    c <= ' '
}

/// A quoted text, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find_map(|(at, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })?;
    // Escapes are those of JSON.
    let value = serde_json::from_str(&text[..=end]).ok()?;
    Some((value, &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use signal::otlp::proto::common::v1::{ArrayValue, KeyValue, KeyValueList};

    use super::*;

    fn any(value: Value) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    #[test]
    fn pairs_are_quoted_where_it_is_needed() {
        let mut line = Line::default();
        for (key, value) in
            [("a", "b"), ("msg", "two words"), ("e", ""), ("q\" =", "\"\n\\\u{1}"), ("= ", "x")]
        {
            line.push(key, value);
        }
        line.set("a", "c");
        line.set("z", "1=1");
        let expected = r#"a=c msg="two words" e= q="\"\n\\\u0001" z="1=1""#;
        assert_eq!(line.finish(), expected);
    }

    #[test]
    fn lists_and_maps_become_pairs_of_their_own() {
        let list =
            any(Value::ArrayValue(ArrayValue { values: vec![any(Value::IntValue(1)), AnyValue::default()] }));
        let entry =
            |key: &str, value| KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() };
        let map = any(Value::KvlistValue(KeyValueList {
            values: vec![entry("l", list), entry("d", any(Value::DoubleValue(0.00001)))],
        }));
        let mut line = Line::default();
        line.flatten("", Some(&map));
        line.flatten("k", Some(&map));
        line.flatten("none", None);
        assert_eq!(line.finish(), "l_0=1 d=1e-05 k_l_0=1 k_d=1e-05");
    }

    #[test]
    fn numbers_are_written_as_go_does() {
        let cases =
            [(1.5, "1.5"), (1e21, "1e+21"), (1e20, "100000000000000000000"), (-2e-7, "-2e-07"), (0.0, "0")];
        for (number, expected) in cases {
            assert_eq!(float(number), expected);
        }
        assert_eq!((float(f64::NAN), float(f64::INFINITY)), ("NaN".to_string(), "+Inf".to_string()));
    }

    #[test]
    fn lines_are_read() {
        let pairs = |line: &str| {
            parse(line)
                .map(|pairs| pairs.into_iter().map(|(k, v)| format!("{k}:{v}")).collect::<Vec<_>>().join("|"))
        };
        let cases = [
            ("level=info msg=\"a \\\"b\\\"\" empty= bare", Some("level:info|msg:a \"b\"|empty:|bare:")),
            ("  a=1\tb=2\nc=3 ", Some("a:1|b:2|c:3")),
            ("", Some("")),
            ("=x", None),
            ("a\"b=1", None),
            ("a=b=c", None),
            ("a=\"open", None),
            ("a=\"x\"y", None),
            ("{\"json\": 1}", None),
        ];
        for (line, expected) in cases {
            assert_eq!(pairs(line).as_deref(), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(pairs in prop::collection::vec(("[a-z.]{1,5}", "\\PC{0,8}"), 0..5)) {
            let mut line = Line::default();
            pairs.iter().for_each(|(key, value)| line.push(key.as_str(), value.as_str()));
            prop_assert_eq!(parse(&line.finish()), Some(pairs));
        }
    }
}
