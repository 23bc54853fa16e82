//! Cases of `stage.json`.

use crate::process::testkit::{Bench, Case, check, fuzz, refused};

/// Puts what a stage has extracted as `x` into the line.
fn extracts(expression: &str, json: &str, expected: Option<&str>) {
    let text =
        format!("stage.json {{ expressions = {{ x = {expression:?} }} }}\nstage.output {{ source = \"x\" }}");
    check(&text, &[Case::new(json).gives(Case::new(expected.unwrap_or(json)))]);
}

#[test]
fn values_have_their_types() {
    let json = r#"{"app":"loki","n":12,"f":1.50,"big":12345678901234567890,"e":1e3,"t":true,"z":null,
        "nested":{"child": "value", "list":[1, 2]},"esc":"a\nb","ünï":"x","dup":1,"dup":2,"a-b":{"c":3}}"#;
    let cases = [
        ("app", Some("loki")),
        ("n", Some("12")),
        ("f", Some("1.5")),
        ("big", Some("12345678901234567890")),
        ("e", Some("1000")),
        ("t", Some("true")),
        ("z", None),
        ("absent", None),
        ("app.below", None),
        ("nested", Some(r#"{"child":"value","list":[1,2]}"#)),
        ("nested.child", Some("value")),
        ("nested.list", Some("[1,2]")),
        ("nested.list[1]", Some("2")),
        ("nested.list[-1]", Some("2")),
        ("esc", Some("a\nb")),
        ("\"ünï\"", Some("x")),
        ("dup", Some("2")),
        ("\"a-b\".c", Some("3")),
        ("app || n", Some("loki")),
        ("length(nested.list)", Some("2")),
        ("length(n)", None),
        ("{a: app}", Some(r#"{"a":"loki"}"#)),
    ];
    for (expression, expected) in cases {
        extracts(expression, json, expected);
    }
}

#[test]
fn a_path_and_what_is_below_it_are_both_found() {
    check(
        r#"
        stage.json { expressions = { a = "", ab = "a.b", abc = "a.b.c", again = "a" } }
        stage.labels { values = { ab = "", abc = "", again = "" } }"#,
        &[
            Case::new(r#"{"a":{"b":{"c":1}}}"#).gives(Case::new(r#"{"a":{"b":{"c":1}}}"#).labels([
                ("ab", r#"{"c":1}"#),
                ("abc", "1"),
                ("again", r#"{"b":{"c":1}}"#),
            ])),
            // The second field replaces the first, with what was below it.
            Case::new(r#"{"a":{"b":{"c":1}},"a":{}}"#)
                .gives(Case::new(r#"{"a":{"b":{"c":1}},"a":{}}"#).labels([("again", "{}")])),
        ],
    );
    let text = r#"
        stage.json { expressions = { x = "a.b" } }
        stage.labels { values = { x = "" } }"#;
    check(text, &[Case::new(r#"{"a":{"b":1},"a":{"c":2}}"#).same()]);
}

#[test]
fn what_is_not_there_hides_the_label_of_its_name() {
    check(
        r#"
        stage.json { expressions = { job = "" } }
        stage.output { source = "job" }"#,
        &[
            Case::new("{}").labels([("job", "x")]).same(),
            Case::new("null").labels([("job", "x")]).same(),
            Case::new("[]").labels([("job", "x")]).gives(Case::new("x").labels([("job", "x")])),
        ],
    );
}

#[test]
fn nothing_is_taken_from_half_of_an_object() {
    let labels = r#"
        stage.json { expressions = { a = "", b = "a | b" } }
        stage.labels { values = { a = "" } }"#;
    for bad in [
        r#"{"a":"1""#,
        r#"{"a":"1"} x"#,
        r#"{"a":"1",}"#,
        r#"["a"]"#,
        r#""a""#,
        "1",
        "",
        "{",
        r#"{"a":"1","b":tru}"#,
    ] {
        check(labels, &[Case::new(bad).same()]);
        check(&labels.replace(r#", b = "a | b""#, ""), &[Case::new(bad).same()]);
    }
}

#[test]
fn entries_that_are_not_json_may_be_dropped() {
    let mut bench = Bench::new(
        r#"stage.json {
            expressions    = { a = "" }
            drop_malformed = true
        }"#,
    );
    let got = bench.run(&[Case::new(r#"{"a":1}"#), Case::new("{"), Case::new("[1]"), Case::new("{}")]);
    assert_eq!(got.len(), 2);
    assert_eq!(bench.metric(r#"loki_process_dropped_lines_total{reason="malformed_json"}"#), Some(2.0));
}

#[test]
fn a_source_is_read_instead_of_the_line() {
    check(
        r#"
        stage.json { expressions = { inner = "log" } }
        stage.json {
            expressions = { user = "" }
            source      = "inner"
        }
        stage.labels { values = { user = "" } }"#,
        &[
            Case::new(r#"{"log":"{\"user\":\"ann\"}"}"#)
                .gives(Case::new(r#"{"log":"{\"user\":\"ann\"}"}"#).labels([("user", "ann")])),
            Case::new(r#"{"log":null}"#).same(),
        ],
    );
}

#[test]
fn fields_may_be_matched_by_name() {
    check(
        r#"
        stage.json {
            expressions = { level = "lvl" }
            regex       = "^(trace|span)_"
        }
        stage.structured_metadata { regex = "." }"#,
        &[Case::new(
            r#"{"trace_id":"7","span_id":8,"lvl":"info","nested":{"trace_x":1},"trace_obj":{"a": 1}}"#,
        )
        .gives(
            Case::new(
                r#"{"trace_id":"7","span_id":8,"lvl":"info","nested":{"trace_x":1},"trace_obj":{"a": 1}}"#,
            )
            .metadata([
                ("trace_id", "7"),
                ("span_id", "8"),
                ("level", "info"),
                ("trace_obj", r#"{"a":1}"#),
            ]),
        )],
    );
}

#[test]
fn depth_and_size_bombs_are_survived() {
    let deep = format!(r#"{{"a":{}1{},"b":"x"}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
    let unclosed = "[".repeat(2_000_000);
    let objects = r#"{"a":"#.repeat(500_000);
    let wide = format!("{{{}\"b\":1}}", (0..200_000).map(|i| format!("\"k{i}\":{i},")).collect::<String>());
    for bomb in [&deep, &unclosed, &objects, &wide] {
        for text in [
            r#"stage.json { expressions = { b = "" } }"#,
            r#"stage.json { expressions = { b = "a.a.a.b", c = "a[0]" } }"#,
            r#"stage.json { regex = "." }"#,
            r#"stage.split_json { }"#,
        ] {
            assert_eq!(Bench::new(text).run(&[Case::new(bomb.as_str())]).len(), 1);
        }
    }
}

#[test]
fn bad_arguments_are_refused() {
    refused("stage.json { }", "expressions or regex");
    refused(r#"stage.json { expressions = { a = "][" } }"#, "not a JMESPath expression");
    refused(
        r#"stage.json { expressions = { a = "" }
        source = "" }"#,
        "must name",
    );
    refused(r#"stage.json { regex = "(" }"#, "missing closing )");
}

#[test]
fn any_bytes_go_through() {
    fuzz(
        r#"stage.json { expressions = { a = "", b = "a.b", c = "a[0]" }
        regex = "b" }"#,
    );
}
