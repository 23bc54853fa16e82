//! What tables of operators are run with, and what is true of pipelines as a whole.

use component::eval::{ArgValue, Value as ConfigValue};
use component::metrics::Metrics;

use super::entry::Entry;
use super::value::{Value, time_text};
use super::*;

/// The value of an expression of the configuration language.
pub fn config(text: &str) -> ConfigValue {
    use component::eval::syntax::{Source, parse};
    #[derive(component::Arguments, Clone, Debug, PartialEq)]
    struct Body {
        value: ConfigValue,
    }
    let source = Source::new("test.alloy", format!("value = {text}"));
    let (file, problems) = parse(&source);
    assert!(problems.is_empty(), "{text}: {problems:?}");
    let names = component::testkit::Names::default();
    let scope = component::eval::Scope::new(&names);
    component::eval::decode::<Body>(&source, &file.body, None, &scope).0.unwrap().value
}

/// A pipeline of a list in the configuration language.
pub fn pipeline(list: &str) -> Result<Pipeline, String> {
    let configs = Vec::<Config>::from_value(&config(list)).expect("a list of objects");
    let metrics = Metrics::default().node("x");
    Pipeline::new("operators", &configs, &Counters::new(&metrics, "x"))
}

/// Runs a list of operators over entries, to the end.
pub fn run_all(list: &str, entries: Vec<Entry>) -> Vec<Entry> {
    let pipeline = pipeline(list).unwrap_or_else(|e| panic!("{e}"));
    let mut out = Vec::new();
    entries.into_iter().for_each(|entry| pipeline.process(entry, &mut out));
    pipeline.flush(None, &mut out);
    out
}

/// Runs one operator.
pub fn run_entries(operator: &str, entries: Vec<Entry>) -> Vec<Entry> {
    run_all(&format!("[{operator}]"), entries)
}

/// An entry as a receiver makes it.
pub fn text_entry(text: &str) -> Entry {
    Entry::new(Value::from(text), 1_000)
}

/// Runs one operator over a text.
pub fn run_text(operator: &str, body: &str) -> Vec<Entry> {
    run_entries(operator, vec![text_entry(body)])
}

/// Runs one operator over a body of JSON.
pub fn run(operator: &str, body: &str) -> Vec<Entry> {
    let json = serde_json::from_str(body).expect("JSON");
    run_entries(operator, vec![Entry::new(Value::of_json(json, true), 1_000)])
}

/// Why an operator is refused.
pub fn refused(operator: &str) -> String {
    pipeline(&format!("[{operator}]")).map(|_| ()).expect_err(operator)
}

/// One line an entry: attributes, body, and what else there is.
pub fn shown(entries: &[Entry]) -> String {
    let line = |entry: &Entry| {
        let mut line = entry.attributes.to_json().to_string();
        if entry.body != Value::Null {
            line += &format!(" {}", entry.body.to_json());
        }
        if entry.severity != 0 {
            line += &format!(" {}", entry.severity);
        }
        if let Some(ns) = entry.timestamp_ns {
            line += &format!(" {}", time_text(ns));
        }
        if !entry.scope.is_empty() {
            line += &format!(" scope {}", entry.scope);
        }
        line
    };
    entries.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What is expected, with the names of objects in order, as [`shown`] has them.
pub fn sorted(expected: &str) -> String {
    let line = |line: &str| {
        let (mut out, mut rest) = (String::new(), line);
        loop {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>();
            let is_json = rest.starts_with(['{', '"', '[']);
            let Some(Ok(value)) = values.next().filter(|_| is_json) else { return out + rest };
            out += &value.to_string();
            rest = &rest[values.byte_offset()..];
            if let Some(after) = rest.strip_prefix(' ') {
                out.push(' ');
                rest = after;
            }
        }
    };
    expected.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn operators_run_one_after_the_other_unless_they_say_where_to() {
    for (list, expected) in [
        ("[]", r#"{} "x""#),
        (
            r#"[{type = "add", field = "attributes.a", value = 1}, {type = "add", field = "attributes.b", value = 2}]"#,
            r#"{"a":1,"b":2} "x""#,
        ),
        (
            r#"[{type = "add", field = "attributes.a", value = 1, output = "end"},
                {type = "add", field = "attributes.b", value = 2}, {type = "noop", id = "end"}]"#,
            r#"{"a":1} "x""#,
        ),
        (
            r#"[{type = "noop", output = ["l", "r"]}, {type = "add", id = "l", field = "attributes.l", value = 1, output = "end"},
                {type = "add", id = "r", field = "attributes.r", value = 1}, {type = "noop", id = "end"}]"#,
            "{\"l\":1} \"x\"\n{\"r\":1} \"x\"",
        ),
        (r#"[{type = "add", if = "body == 'y'", field = "attributes.a", value = 1}]"#, r#"{} "x""#),
        (r#"[{type = "json_parser", on_error = "drop"}]"#, ""),
        (r#"[{type = "json_parser", if = "body.z.z == 1", on_error = "drop_quiet"}]"#, ""),
    ] {
        assert_eq!(shown(&run_all(list, vec![text_entry("x")])), expected, "{list}");
    }
}

#[test]
fn what_does_not_fit_together_is_refused_with_its_place() {
    for (list, says) in [
        (r#"[{}]"#, "operators[0]: type is missing"),
        (r#"[{type = "grok"}]"#, "grok"),
        (r#"[{type = "noop"}, {type = "noop", output = "nowhere"}]"#, "operators[1]"),
        (r#"[{type = "noop", id = "a"}, {type = "noop", id = "a"}]"#, "taken"),
        (r#"[{type = "noop", id = "a", output = "a"}]"#, "back to itself"),
        (r#"[{type = "noop", id = "a"}, {type = "noop", output = "a"}]"#, "back to itself"),
        (r#"[{type = "noop", on_error = "panic"}]"#, "on_error"),
        (r#"[{type = "noop", if = "body ="}]"#, "if"),
        (r#"[{type = "noop", typo = 1}]"#, "typo"),
    ] {
        let error = pipeline(list).map(|_| ()).expect_err(list);
        assert!(error.contains(says), "{list}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_leaves_after_its_time_and_passes_what_comes_after() {
    let list = r#"[{type = "recombine", combine_field = "body", is_first_entry = "body startsWith 'a'"},
        {type = "add", field = "attributes.after", value = true}]"#;
    let pipeline = pipeline(list).unwrap();
    let mut out = Vec::new();
    assert!(pipeline.holds() && pipeline.deadline().is_none());
    pipeline.process(text_entry("a"), &mut out);
    let deadline = pipeline.deadline().unwrap();
    pipeline.flush(Some(Instant::now()), &mut out);
    assert!(out.is_empty());
    tokio::time::sleep_until(deadline).await;
    pipeline.flush(Some(Instant::now()), &mut out);
    assert_eq!(shown(&out), r#"{"after":true} "a""#);
    assert!(pipeline.deadline().is_none());
}

#[test]
fn drops_are_counted_with_their_reason() {
    let metrics = Metrics::default();
    let node = metrics.node("x");
    let list = r#"[{type = "json_parser", on_error = "drop_quiet"}, {type = "filter", expr = "true"}]"#;
    let configs = Vec::<Config>::from_value(&config(list)).unwrap();
    let pipeline = Pipeline::new("operators", &configs, &Counters::new(&node, "x")).unwrap();
    let mut out = Vec::new();
    for body in ["no JSON", "{}", "{}"] {
        pipeline.process(text_entry(body), &mut out);
    }
    assert!(out.is_empty());
    let text = metrics.text();
    for (labels, count) in
        [("operator=\"json_parser\",reason=\"on_error\"", 1), ("operator=\"filter\",reason=\"filter\"", 2)]
    {
        let line = text.lines().find(|l| l.contains(labels)).unwrap_or_else(|| panic!("{labels}: {text}"));
        assert!(line.ends_with(&format!(" {count}")), "{line}");
    }
    assert!(text.contains("x_operator_failures_total"));
}
