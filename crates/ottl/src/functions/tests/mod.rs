//! Every function by tables: converters as `expression → value`, editors as `statement → item`.

use std::borrow::Cow;

use signal::otlp::proto::common::v1::any_value::Value as Proto;
use signal::otlp::proto::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

use super::*;
use crate::context::RecordMut;
use crate::statement::Parser;
use crate::value::{any, any_str, entry, json, map_json};
use crate::{EvalError, View};

mod tables;

use tables::{COLLECTIONS, GROK, HASHES, PARSERS, TEXT, TIMES, TYPES, USER_AGENTS, XML};

fn list(items: Vec<AnyValue>) -> AnyValue {
    any(Proto::ArrayValue(ArrayValue { values: items }))
}

fn map(entries: Vec<KeyValue>) -> AnyValue {
    any(Proto::KvlistValue(KeyValueList { values: entries }))
}

fn int(value: i64) -> AnyValue {
    any(Proto::IntValue(value))
}

/// The record that all tables are about.
fn record() -> LogRecord {
    LogRecord {
        time_unix_nano: 1_685_104_496_789_000_000,
        severity_number: 9,
        body: Some(any_str("GET /account/1234 took 12ms")),
        trace_id: vec![0xab; 16],
        span_id: vec![0xcd; 8],
        attributes: vec![
            entry("s", any_str("Hello World")),
            entry("path", any_str("/account/1234/user/77")),
            entry("n", int(7)),
            entry("d", any(Proto::DoubleValue(2.5))),
            entry("b", any(Proto::BoolValue(true))),
            entry("bytes", any(Proto::BytesValue(vec![1, 255]))),
            entry("empty", AnyValue::default()),
            entry("tags", list(vec![any_str("prod"), any_str("eu"), any_str("prod")])),
            entry("nums", list(vec![int(3), int(1), int(2)])),
            entry("m", map(vec![entry("a", int(1)), entry("b", map(vec![entry("c", any_str("x"))]))])),
        ],
        ..LogRecord::default()
    }
}

/// A value as a text that tells its type.
fn show(value: Value<'_>) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Str(text) => format!("{text:?}"),
        Value::Double(v) => format!("{v:?}"),
        Value::Bytes(bytes) => format!("0x{}", const_hex::encode(bytes.as_ref())),
        Value::Map(map) => map_json(&map).to_string(),
        Value::List(list) => list.iter().map(json).collect::<serde_json::Value>().to_string(),
        Value::Time(time) => format!("time {}", crate::time::rfc3339(&time)),
        Value::Duration(nanos) => crate::duration::show(nanos),
        Value::Id(id) => format!("id {}", id.hex()),
        other => other.to_text().ok().flatten().unwrap_or_default().into_owned(),
    }
}

fn parser() -> Parser {
    Parser::new(Context::Log).with(Group::Transform)
}

fn eval(text: &str) -> Result<String, String> {
    let expr = parser().value(text).map_err(|error| error.to_string())?;
    let (resource, scope, record) = (ResourceLogs::default(), ScopeLogs::default(), record());
    let value = expr.eval(&View::log(&resource, &scope, &record)).map_err(|error| error.to_string())?;
    Ok(show(value))
}

/// Checks `expression → value`; `!` begins what the error has to say.
pub(super) fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        match (eval(text), expected.strip_prefix('!')) {
            (Ok(value), None) => assert_eq!(value, *expected, "{text}"),
            (Err(error), Some(part)) => assert!(error.contains(part), "{text}: {error}"),
            (found, _) => panic!("{text}: expected {expected}, found {found:?}"),
        }
    }
}

/// The record's attributes after a statement, as JSON.
fn edited(text: &str, attributes: Vec<KeyValue>) -> Result<String, EvalError> {
    let statement = parser().statement(text).unwrap_or_else(|error| panic!("{error}"));
    let mut record = LogRecord { attributes, body: record().body, ..LogRecord::default() };
    let (mut resource, mut scope) = (None, None);
    statement.run(&mut Item {
        resource: &mut resource,
        resource_schema: &mut String::new(),
        scope: &mut scope,
        scope_schema: &mut String::new(),
        record: RecordMut::Log(&mut record),
        cache: &mut Vec::new(),
        client: None,
    })?;
    Ok(map_json(&record.attributes).to_string())
}

#[test]
fn grok_patterns_follow_the_table() {
    check(GROK);
}

#[test]
fn converters_of_xml_follow_the_table() {
    check(XML);
    let deep = format!("ParseXML(\"{}{}\")", "<a>".repeat(300), "</a>".repeat(300));
    assert!(eval(&deep).is_err_and(|error| error.contains("nested more than 256 deep")));
}

#[test]
fn converters_between_types_follow_the_table() {
    check(TYPES);
}

#[test]
fn converters_of_text_follow_the_table() {
    check(TEXT);
}

#[test]
fn user_agents_follow_the_table() {
    check(USER_AGENTS);
}

#[test]
fn converters_of_lists_and_maps_follow_the_table() {
    check(COLLECTIONS);
}

#[test]
fn hashes_follow_the_table() {
    check(HASHES);
}

#[test]
fn converters_of_times_follow_the_table() {
    check(TIMES);
}

#[test]
fn parsers_follow_the_table() {
    check(PARSERS);
}

fn attributes() -> Vec<KeyValue> {
    vec![
        entry("a", any_str("/user/1/list/2")),
        entry("kube_b", any_str("password=x y")),
        entry("n", int(7)),
        entry("l", list(vec![any_str("x"), any_str("y")])),
        entry("m", map(vec![entry("k", map(vec![entry("z", int(1))]))])),
    ]
}

const EDITORS: &[(&str, &str)] = &[
    (r#"append(attributes["l"], "z")"#, r#"{"l":["x","y","z"]}"#),
    (r#"append(attributes["n"], values=["p", 2])"#, r#"{"n":[7,"p",2]}"#),
    (r#"append(attributes["new"], attributes["l"])"#, r#"{"new":["x","y"]}"#),
    (r#"delete_index(attributes["l"], 0)"#, r#"{"l":["y"]}"#),
    (r#"delete_index(attributes["l"], 0, 2)"#, r#"{"l":[]}"#),
    (r#"delete_index(attributes["l"], 1, 1)"#, r#"{}"#),
    (r#"delete_index(attributes["l"], 2)"#, "!2 to 3 is out of bounds of a list of 2"),
    (r#"delete_key(attributes, "n")"#, r#"{"n":null}"#),
    (r#"delete_key(attributes["m"]["k"], "z")"#, r#"{"m":{"k":{}}}"#),
    (r#"delete_key(attributes["none"], "z")"#, "!expected a map, but it is nil"),
    (r#"delete_matching_keys(attributes, "^(kube|m)")"#, r#"{"kube_b":null,"m":null}"#),
    (r#"keep_matching_keys(attributes, "^n$")"#, r#"{"a":null,"kube_b":null,"l":null,"m":null}"#),
    (r#"keep_keys(attributes, ["n", "q"])"#, r#"{"a":null,"kube_b":null,"l":null,"m":null}"#),
    (r#"flatten(attributes)"#, r#"{"l":null,"l.0":"x","l.1":"y","m":null,"m.k.z":1}"#),
    (r#"flatten(attributes["m"], "p", 1)"#, r#"{"m":{"p.k.z":1}}"#),
    (r#"flatten(attributes, depth=0)"#, r#"{}"#),
    (r#"flatten(attributes, resolveConflicts=true)"#, r#"{"l":"x","l.0":"y","m":null,"m.k.z":1}"#),
    (r#"limit(attributes, 2, ["n"])"#, r#"{"kube_b":null,"l":null,"m":null}"#),
    (r#"merge_maps(attributes, {"n": 8, "q": 9}, "insert")"#, r#"{"q":9}"#),
    (r#"merge_maps(attributes, {"n": 8, "q": 9}, "update")"#, r#"{"n":8}"#),
    (r#"merge_maps(attributes, {"n": 8, "q": 9}, "upsert")"#, r#"{"n":8,"q":9}"#),
    (r#"replace_all_matches(attributes, "/user/*/list/*", "/u")"#, r#"{"a":"/u"}"#),
    (
        r#"replace_all_matches(attributes, "/user/{1,2}/*", "x", SHA1, "<%s>")"#,
        r#"{"a":"<11f6ad8ec52a2984abaafd7c3b516503785c2072>"}"#,
    ),
    (r#"clear(attributes["n"])"#, r#"{"n":0}"#),
    (r#"clear(attributes["kube_b"])"#, r#"{"kube_b":""}"#),
    (r#"clear(attributes["l"])"#, r#"{"l":[]}"#),
    (r#"clear(attributes["m"])"#, r#"{"m":{}}"#),
    (r#"clear(attributes["none"])"#, r#"{}"#),
    (r#"replace_all_patterns(attributes, "value", "\\d", "N")"#, r#"{"a":"/user/N/list/N"}"#),
    (
        r#"replace_all_patterns(attributes, "key", "^kube_(\\w+)", "k8s.$1")"#,
        r#"{"k8s.b":"password=x y","kube_b":null}"#,
    ),
    (r#"replace_match(attributes["a"], "/user/?/list/[0-9]", "/u")"#, r#"{"a":"/u"}"#),
    (r#"replace_match(attributes["a"], "/user", "/u")"#, r#"{}"#),
    (r#"replace_match(attributes["n"], "*", "/u")"#, r#"{}"#),
    (
        r#"replace_pattern(attributes["kube_b"], "password\\=[^\\s]*(\\s?)", "password=***$1")"#,
        r#"{"kube_b":"password=*** y"}"#,
    ),
    (
        r#"replace_pattern(attributes["a"], "(\\d)", "${1}x", ToUpperCase, "<%s>")"#,
        r#"{"a":"/user/<1X>/list/<2X>"}"#,
    ),
    (r#"replace_pattern(attributes["none"], "a", "b")"#, r#"{}"#),
    (r#"set(attributes["q"]["r"][1], attributes["n"])"#, r#"{"q":{"r":[null,7]}}"#),
    (r#"set(attributes["n"], nil)"#, r#"{}"#),
    (r#"set(attributes["n"], attributes["none"])"#, r#"{}"#),
    (r#"set(attributes["n"], time)"#, "!time is no value of an attribute"),
    (r#"set(attributes["n"]["x"], 1)"#, "!int cannot be indexed"),
    (r#"set(attributes["l"][5], 1)"#, "!index 5 is out of bounds"),
    (r#"set(attributes["n"], 8) where attributes["n"] == 1"#, r#"{}"#),
    (r#"set(severity_number, "x")"#, "!expected an int, but got string"),
    (r#"stringify_all(attributes)"#, r#"{"l":"[\"x\",\"y\"]","m":"{\"k\":{\"z\":1}}","n":"7"}"#),
    (r#"truncate_all(attributes, 5)"#, r#"{"a":"/user","kube_b":"passw"}"#),
    (r#"truncate_all(attributes, 5, true, "..")"#, r#"{"a":"/us..","kube_b":"pas.."}"#),
];

/// Checks editors by what they change: new and changed keys with their values, deleted ones with `null`.
#[test]
fn editors_follow_the_table() {
    for (text, expected) in EDITORS {
        let found = edited(text, attributes());
        if let Some(part) = expected.strip_prefix('!') {
            let error = found.expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
            continue;
        }
        let found: serde_json::Value = serde_json::from_str(&found.expect(text)).expect("JSON");
        let mut all = map_json(&attributes());
        let serde_json::Value::Object(changes) = serde_json::from_str(expected).expect(expected) else {
            panic!("{expected}")
        };
        for (key, value) in changes {
            match value.is_null() {
                true => drop(all.as_object_mut().and_then(|all| all.remove(&key))),
                false => all[&key] = value,
            }
        }
        assert_eq!(found, all, "{text}");
    }
}

#[test]
fn wrong_arguments_are_told_when_a_statement_is_parsed() {
    let cases = [
        ("set(attributes)", "`set` needs the argument `value` at column 15"),
        ("set(attributes, 1, 2)", "takes at most 2 arguments"),
        ("set(1, 2)", "the argument `target` has to be a path that can be set"),
        ("set(attributes[\"a\"], value=1, value=2)", "the argument `value` is there twice"),
        ("set(target=attributes, 1)", "cannot follow one with a name"),
        ("limit(attributes, 1, keyz=[])", "has no argument `keyz`"),
        ("limit(attributes, \"1\", [])", "has to be an int"),
        ("limit(attributes, -1, [])", "-1 is negative"),
        ("limit(attributes, 0, [\"n\"])", "1 priority keys are more than the limit 0"),
        ("merge_maps(attributes, {}, \"replace\")", "not one of insert, update, upsert"),
        ("replace_patern(attributes[\"a\"], \"b\", \"c\")", "did you mean `replace_pattern`?"),
        ("replace_pattern(attributes[\"a\"], \"b\", \"c\", SHA256, \"x\")", "exactly one `%s`"),
        ("replace_match(attributes[\"a\"], \"[a\", \"c\")", "is not closed"),
        ("truncate_all(attributes, 1, true, \"..\")", "the marker is longer"),
        ("append(attributes[\"a\"])", "at least one of the arguments"),
        ("set(attributes[\"a\"], ToUperCase(body))", "did you mean `ToUpperCase`?"),
        ("set(attributes[\"a\"], SEVERITY_NUMBER_WARM)", "did you mean `SEVERITY_NUMBER_WARN`?"),
        ("set(span.name, body)", "`span` cannot be reached from the context log"),
        ("set(attributes[\"a\"], body) where body", "this is a value and no condition"),
        ("set(body.strin, body)", "did you mean `body.string`?"),
    ];
    for (text, part) in cases {
        let error = parser().statement(text).expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

/// Without a case here a function would be known by its name only.
#[test]
fn each_function_has_a_case_in_a_table() {
    let mut cases: Vec<&str> = EDITORS.iter().map(|(text, _)| *text).collect();
    for table in [TYPES, TEXT, COLLECTIONS, HASHES, TIMES, PARSERS, GROK, XML, USER_AGENTS] {
        cases.extend(table.iter().map(|(text, _)| *text));
    }
    for function in all(&[Group::Standard]) {
        let call = format!("{}(", function.name);
        assert!(cases.iter().any(|text| text.contains(&call)), "{} has no case", function.name);
    }
}

#[test]
fn a_pattern_from_the_data_is_compiled_when_it_changes() {
    let condition = parser().condition("IsMatch(body, attributes[\"pattern\"])").expect("a condition");
    let (resource, scope) = (ResourceLogs::default(), ScopeLogs::default());
    for (pattern, holds) in [("^GET", true), ("^PUT", false), ("^GET", true)] {
        let record = LogRecord { attributes: vec![entry("pattern", any_str(pattern))], ..record() };
        assert_eq!(condition.matches(&View::log(&resource, &scope, &record)), Ok(holds));
    }
    let broken = LogRecord { attributes: vec![entry("pattern", any_str("("))], ..record() };
    assert!(condition.matches(&View::log(&resource, &scope, &broken)).is_err());
}

#[test]
fn a_value_borrows_from_the_record() {
    let (resource, scope, record) = (ResourceLogs::default(), ScopeLogs::default(), record());
    let expr = parser().value("attributes[\"s\"]").expect("a value");
    let value = expr.eval(&View::log(&resource, &scope, &record)).expect("a value");
    assert!(matches!(value, Value::Str(Cow::Borrowed("Hello World"))));
}
