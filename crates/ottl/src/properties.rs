//! Any text is a statement or a mistake inside of it; what parses can be applied without a panic.

use proptest::prelude::*;
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

use crate::value::{any_str, entry};
use crate::{Context, Group, Parser, View};

const WORDS: &[&str] = &[
    "set",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    ":",
    "=",
    "==",
    "!=",
    "<",
    "=>",
    "+",
    "-",
    "*",
    "/",
    "and",
    "or",
    "not",
    "where",
    "nil",
    "true",
    "attributes",
    "body",
    "resource",
    "log",
    "cache",
    "\"a\"",
    "\"\\\\d+\"",
    "\"%s\"",
    "0",
    "1",
    "-7",
    "9223372036854775807",
    "1.5",
    "0x0a",
    "Concat",
    "Split",
    "Format",
    "Substring",
    "ParseInt",
    "SHA256",
    "Any",
    "k",
    "_",
    "SEVERITY_NUMBER_INFO",
    "time",
    "Duration",
    "\"1h\"",
    "TruncateTime",
    "ParseJSON",
    "flatten",
    "limit",
    "Len",
    "ä",
];

fn check(text: &str) {
    let parser = Parser::new(Context::Log).with(Group::Transform);
    let record = LogRecord {
        body: Some(any_str("x ä 1")),
        attributes: vec![entry("a", any_str("b"))],
        time_unix_nano: u64::MAX,
        ..LogRecord::default()
    };
    let (resource, scope) = (ResourceLogs::default(), ScopeLogs::default());
    let view = View::log(&resource, &scope, &record);
    let inside = |error: crate::ParseError| {
        assert!(error.span.start <= error.span.end && error.span.end <= text.len(), "{error}");
        assert!((1..=text.chars().count() + 1).contains(&error.column()), "{error}");
    };
    match parser.value(text) {
        Ok(value) => drop(value.eval(&view)),
        Err(error) => inside(error),
    }
    match parser.condition(text) {
        Ok(condition) => drop(condition.matches(&view)),
        Err(error) => inside(error),
    }
    if let Err(error) = parser.statement(text) {
        inside(error);
    }
}

proptest! {
    #[test]
    fn words_in_any_order_never_panic(words in prop::collection::vec(prop::sample::select(WORDS), 0..14)) {
        check(&words.join(" "));
        check(&words.concat());
    }

    #[test]
    fn characters_in_any_order_never_panic(text in "\\PC{0,40}") {
        check(&text);
    }

    /// Calls with arguments of every kind: bodies of functions see what they do not expect.
    #[test]
    fn functions_never_panic(
        function in prop::sample::select(&[
            "Substring", "Split", "Format", "ParseInt", "TruncateTime", "Duration", "Time", "FormatTime", "Unix",
            "ParseCSV", "ParseKeyValue", "URL", "IsInCIDR", "Index", "Concat", "Trim", "ParseXML", "Sort", "Log",
            "ParseCEF", "ParseCLF", "ParseELF", "ParseLEEF", "CommunityID", "Murmur3Hash128", "Decode", "ParseSimplifiedXML",
        ][..]),
        args in prop::collection::vec(prop::sample::select(&[
            "body", "time", "nil", "-1", "0", "9223372036854775807", "-9223372036854775808", "1.5", "\"\"", "\"ä|b\"", "\"%5d%-3s%x%\"",
            "[1, \"a\", nil]", "[]", "{\"a\": [1]}", "Duration(\"1ns\")", "\"%Y-%m\"", "\"CEF:0|a|b|c|d|e|f|g=h=i\"", "\"<a>\"", "attributes",
            "\"#Version: 1\\n#Fields: a\\n\\\"\"", "true", "severity_number",
        ][..]), 0..5),
    ) {
        check(&format!("{function}({})", args.join(", ")));
    }
}
