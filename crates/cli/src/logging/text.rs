//! A line of the log as text: logfmt or JSON, with Alloy's keys.

use std::fmt::Write as _;

use super::{Format, Level, Line};

/// The line in a format, without a line end.
pub fn text(line: &Line, format: Format) -> String {
    match format {
        Format::Logfmt => logfmt(line),
        Format::Json => json(line),
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    }
}

fn logfmt(line: &Line) -> String {
    let mut out = format!("ts={:.9} level={}", line.time, level_name(line.level));
    for (key, value) in &line.fields {
        let quote =
            value.is_empty() || value.chars().any(|c| c <= ' ' || matches!(c, '"' | '=' | '\\' | '\u{7f}'));
        let _ = if quote {
            write!(out, " {key}={}", syntax::quote(value))
        } else {
            write!(out, " {key}={value}")
        };
    }
    out
}

fn json(line: &Line) -> String {
    let mut object = serde_json::Map::new();
    object.insert("ts".into(), format!("{:.9}", line.time).into());
    object.insert("level".into(), level_name(line.level).into());
    for (key, value) in &line.fields {
        object.insert((*key).into(), value.as_str().into());
    }
    serde_json::Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_alloys_keys_in_both_formats() {
        let fields = vec![("msg", "two words".to_string()), ("a", "b".to_string()), ("empty", String::new())];
        let time = jiff::Timestamp::UNIX_EPOCH;
        let line = Line { level: Level::Warn, time, fields, origin: Default::default() };
        assert_eq!(
            text(&line, Format::Logfmt),
            r#"ts=1970-01-01T00:00:00.000000000Z level=warn msg="two words" a=b empty="""#
        );
        let parsed: serde_json::Value = serde_json::from_str(&text(&line, Format::Json)).expect("JSON");
        assert_eq!(parsed["msg"], "two words");
        assert_eq!(parsed["level"], "warn");
    }
}
