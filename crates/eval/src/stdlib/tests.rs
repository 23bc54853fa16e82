//! The functions one by one; expected texts come from Go's own implementations.

use std::collections::BTreeMap;

use super::*;
use crate::value::{Number, OptionalSecret, Secret};

fn int(v: i64) -> Value {
    Value::from(v)
}

fn float(v: f64) -> Value {
    Value::from(v)
}

fn text(v: &str) -> Value {
    Value::from(v)
}

fn list(items: Vec<Value>) -> Value {
    Value::array(items)
}

fn object(fields: &[(&str, Value)]) -> Value {
    Value::object(fields.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
}

fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let builtin = FUNCTIONS.iter().find(|f| f.name == name).expect("the function is in the list");
    assert_eq!(builtin.arity_problem(arguments.len()), None, "{name}");
    (builtin.run)(arguments).map_err(|e| e.error.to_string())
}

fn check(name: &str, arguments: &[Value], expected: Value) {
    assert_eq!(call(name, arguments), Ok(expected), "{name}({arguments:?})");
}

fn refuses(name: &str, arguments: &[Value], why: &str) {
    let error = call(name, arguments).expect_err(name);
    assert!(error.contains(why), "{name}: {error:?} does not say {why:?}");
}

#[test]
fn every_function_of_the_reference_is_there_under_its_names() {
    let names: Vec<&str> = FUNCTIONS.iter().map(|f| f.name).collect();
    assert_eq!(names.len(), 27);
    let aliases: Vec<&str> = FUNCTIONS.iter().filter_map(|f| f.deprecated_alias).collect();
    assert_eq!(
        aliases.join(" "),
        "concat nonsensitive json_decode yaml_decode base64_decode format join replace split to_lower \
         to_upper trim trim_prefix trim_suffix trim_space env"
    );
    let is = |found: &Found, name: &str| matches!(&found.value, Value::Function(f) if f.0.name == name);
    for builtin in FUNCTIONS {
        let name = builtin.name;
        let path: Vec<&str> = name.split('.').collect();
        let found = lookup(&path).expect("its own name leads to it");
        assert!(is(&found, name), "{name}");
        assert_eq!((found.used, found.deprecated), (path.len(), None), "{name}");
        let Some(alias) = builtin.deprecated_alias else { continue };
        let old = lookup(&[alias]).expect("so does the one that it had");
        assert!(is(&old, name), "{alias}");
        assert_eq!((old.used, old.deprecated), (1, Some(name)), "{alias}");
    }
}

#[test]
fn every_function_says_what_is_wrong_with_its_arguments() {
    let (t, n, none) = (|| text("x"), || int(1), || list(vec![]));
    let wrong: &[(&str, &[Value], usize, &str)] = &[
        ("array.concat", &[none(), t()], 1, "expected list(any), got string"),
        ("array.combine_maps", &[t(), none(), none()], 0, "expected list(any), got string"),
        ("array.group_by", &[none(), none(), Value::Bool(true)], 1, "expected string, got array"),
        ("convert.nonsensitive", &[none()], 0, "expected secret, got array"),
        ("encoding.from_json", &[text("nil")], 0, "not JSON"),
        ("encoding.from_yaml", &[text("a: b: c")], 0, "not YAML"),
        ("encoding.from_base64", &[text("a")], 0, "not base64"),
        ("encoding.from_URLbase64", &[text("aGk+Pw==")], 0, "not base64"),
        ("encoding.to_json", &[t()], 0, "expected map(any), got string"),
        ("encoding.to_base64", &[none()], 0, "expected string, got array"),
        ("encoding.to_URLbase64", &[object(&[])], 0, "expected string, got object"),
        ("encoding.url_encode", &[Value::Bool(true)], 0, "expected string, got bool"),
        ("encoding.url_decode", &[text("a%2")], 0, "two hexadecimal digits"),
        ("file.path_join", &[t(), none()], 1, "expected string, got array"),
        ("json_path", &[text("{}"), text("$.a[")], 1, "not a JSONPath"),
        ("string.format", &[none()], 0, "expected string, got array"),
        ("string.join", &[list(vec![t(), none()]), t()], 0, "expected string, got array"),
        ("string.replace", &[t(), t(), none()], 2, "expected string, got array"),
        ("string.split", &[t(), object(&[])], 1, "expected string, got object"),
        ("string.to_lower", &[none()], 0, "expected string, got array"),
        ("string.to_upper", &[Value::Bool(false)], 0, "expected string, got bool"),
        ("string.trim", &[t(), none()], 1, "expected string, got array"),
        ("string.trim_prefix", &[none(), t()], 0, "expected string, got array"),
        ("string.trim_suffix", &[t(), none()], 1, "expected string, got array"),
        ("string.trim_space", &[none()], 0, "expected string, got array"),
        ("sys.env", &[none()], 0, "expected string, got array"),
    ];
    for builtin in FUNCTIONS {
        let mut cases = wrong.iter().filter(|(name, ..)| *name == builtin.name).peekable();
        // It takes anything.
        assert!(cases.peek().is_some() || builtin.name == "coalesce", "{} has no case", builtin.name);
        for (name, arguments, index, why) in cases {
            assert_eq!(builtin.arity_problem(arguments.len()), None, "{name}");
            let error = (builtin.run)(arguments).expect_err(name);
            let told = error.error.to_string();
            assert!(error.argument == Some(*index) && told.contains(why), "{name}: {told}");
        }
        let most = if builtin.variadic() { None } else { Some(builtin.params.len() + 1) };
        for count in builtin.required.checked_sub(1).into_iter().chain(most) {
            let problem = builtin.arity_problem(count).expect("too few or too many");
            assert!(
                problem.starts_with(builtin.name) && problem.ends_with(&format!("got {count}")),
                "{problem}"
            );
        }
        assert!(builtin.signature().starts_with(&format!("call it as {}(", builtin.name)));
    }
    // A number is a text wherever one is wanted.
    check("string.to_upper", &[n()], text("1"));
}

#[test]
fn format_writes_what_sprintf_writes() {
    let table: &[(&str, &[Value], &str)] = &[
        ("plain", &[], "plain"),
        ("%d", &[int(5)], "5"),
        ("%d|%s", &[int(5), text("x")], "5|x"),
        ("%5d|%-5d|%05d", &[int(42), int(42), int(42)], "   42|42   |00042"),
        ("%+d % d", &[int(42), int(42)], "+42  42"),
        ("%05d", &[int(-42)], "-0042"),
        ("%-05d|", &[int(-42)], "-42  |"),
        (
            "%x %X %#x %o %#o %O %b %#b",
            &[int(255), int(255), int(255), int(8), int(8), int(8), int(5), int(5)],
            "ff FF 0xff 10 010 0o10 101 0b101",
        ),
        ("%.3d", &[int(7)], "007"),
        ("%8.3d|", &[int(7)], "     007|"),
        ("%08.3d|", &[int(7)], "     007|"),
        ("%#08x|", &[int(255)], "0x000000ff|"),
        ("%c %q %U", &[int(65), int(65), int(65)], "A 'A' U+0041"),
        ("%.0d|", &[int(0)], "|"),
        ("%x", &[int(-255)], "-ff"),
        ("%s", &[int(5)], "%!s(int=5)"),
        ("%d", &[text("x")], "%!d(string=x)"),
        ("%t %t", &[Value::Bool(true), Value::Bool(false)], "true false"),
        ("%6t|", &[Value::Bool(true)], "  true|"),
        ("%t", &[int(1)], "%!t(int=1)"),
        ("%z", &[int(5)], "%!z(int=5)"),
        ("%d", &[], "%!d(MISSING)"),
        ("%d %d", &[int(1)], "1 %!d(MISSING)"),
        ("%d", &[int(1), int(2), text("x")], "1%!(EXTRA int=2, string=x)"),
        ("%", &[], "%!(NOVERB)"),
        ("%!", &[int(1)], "%!!(int=1)"),
        ("100%%", &[], "100%"),
        ("%5%|", &[], "%|"),
        (
            "%f %.2f %8.3f|%-8.1f|%08.2f",
            &[float(7.34159), float(7.34159), float(7.34159), float(7.34159), float(-7.34159)],
            "7.341590 7.34    7.342|7.3     |-0007.34",
        ),
        (
            "%e %E %.2e",
            &[float(123456.789), float(123456.789), float(123456.789)],
            "1.234568e+05 1.234568E+05 1.23e+05",
        ),
        ("%g %G %v", &[float(1e06), float(1e-07), float(0.1)], "1e+06 1E-07 0.1"),
        ("%g %v", &[float(1e20), float(1e21)], "1e+20 1e+21"),
        ("%g %v", &[float(1e21), float(1.23456789e08)], "1e+21 1.23456789e+08"),
        ("%.3g %.10g %.1g", &[float(123456.0), float(123456.0), float(1.234e-05)], "1.23e+05 123456 1e-05"),
        ("%.3g %.4g", &[float(1234.0), float(1234.0)], "1.23e+03 1234"),
        ("%v %v", &[float(0.0001), float(1e-05)], "0.0001 1e-05"),
        ("%g", &[float(100000.0)], "100000"),
        ("%.3g", &[float(0.0)], "0"),
        ("%+.1f % .1f", &[float(2.0), float(2.0)], "+2.0  2.0"),
        ("%v %f %+v", &[float(f64::INFINITY), float(f64::INFINITY), float(f64::INFINITY)], "+Inf +Inf +Inf"),
        ("%v %f", &[float(f64::NEG_INFINITY), float(f64::NEG_INFINITY)], "-Inf -Inf"),
        ("%08v|", &[float(f64::INFINITY)], "    +Inf|"),
        ("%d", &[float(1.5)], "%!d(float64=1.5)"),
        (
            "%s|%10s|%-10s|%.2s",
            &[text("abc"), text("abc"), text("abc"), text("abc")],
            "abc|       abc|abc       |ab",
        ),
        ("%010s", &[text("abc")], "0000000abc"),
        ("%q %+q %#q", &[text("a\"b\n"), text("é"), text("ab")], "\"a\\\"b\\n\" \"\\u00e9\" `ab`"),
        ("%x %X % x %#x", &[text("hi"), text("hi"), text("hi"), text("hi")], "6869 6869 68 69 0x6869"),
        ("%q", &[text("\u{7}\u{8}\u{0}\u{7f}\u{2028}\u{a0}")], "\"\\a\\b\\x00\\x7f\\u2028\\u00a0\""),
        ("%10q|", &[text("a")], "       \"a\"|"),
        ("%v %v %v", &[text("s"), Value::Bool(true), Value::Null], "s true <nil>"),
        ("%s", &[Value::Null], "%!s(<nil>)"),
        ("%d", &[Value::Null], "%!d(<nil>)"),
        ("%v", &[list(vec![int(1), text("a"), Value::Bool(true), Value::Null])], "[1 a true <nil>]"),
        ("%v", &[object(&[("a", text("x")), ("b", int(1))])], "map[a:x b:1]"),
        ("%d", &[list(vec![int(1), int(2)])], "[1 2]"),
        ("%s", &[list(vec![text("a"), text("b")])], "[a b]"),
        ("%s", &[list(vec![int(1)])], "[%!s(int=1)]"),
        ("%q", &[list(vec![text("a"), text("b")])], "[\"a\" \"b\"]"),
        ("%d", &[object(&[("k", int(1))])], "map[%!d(string=k):1]"),
        ("%s", &[object(&[("k", text("v"))])], "map[k:v]"),
        (
            "%T %T %T %T %T %T",
            &[int(1), float(1.5), text("a"), Value::Bool(true), list(vec![]), object(&[])],
            "int float64 string bool []interface {} map[string]interface {}",
        ),
        ("%[2]d %[1]d", &[int(1), int(2)], "2 1"),
        ("%[3]d", &[int(1), int(2)], "%!d(BADINDEX)"),
        ("%[x]d", &[int(1)], "%!d(BADINDEX)"),
        ("%[1]d", &[int(1), int(2)], "1"),
        ("%*d|%-*d|", &[int(5), int(1), int(5), int(1)], "    1|1    |"),
        ("%.*f", &[int(2), float(7.34159)], "7.34"),
        ("%*d", &[text("x"), int(1)], "%!(BADWIDTH)1"),
        ("%[1]*d", &[int(3)], "%!d(MISSING)"),
        ("%.d|%.f|%.s|", &[int(1), float(2.5), text("abc")], "1|2||"),
        ("é%sü", &[text("ö")], "éöü"),
        ("%5s|%-5s|", &[text("é"), text("é")], "    é|é    |"),
        ("%v", &[Value::from(18446744073709551615_u64)], "18446744073709551615"),
        ("%5v|%-5v|%05v", &[int(1), int(2), int(3)], "    1|2    |00003"),
        ("%5t|%q", &[Value::Bool(true), int(5)], " true|'\\x05'"),
        ("%3c|%-3c|", &[int(65), int(65)], "  A|A  |"),
        ("%+v", &[int(5)], "5"),
        ("%s %v", &[Value::Bool(true), list(vec![])], "%!s(bool=true) []"),
        ("%!d", &[int(1)], "%!!(int=1)d"),
        ("%6.2f%%", &[float(45.678)], " 45.68%"),
        ("%-8q|", &[text("a")], "\"a\"     |"),
        ("%08q|", &[text("a")], "00000\"a\"|"),
        ("% d|% x", &[int(-5), int(255)], "-5| ff"),
        ("%+q", &[int(233)], "'\\u00e9'"),
        ("%#q", &[text("a`b")], "\"a`b\""),
        ("%v", &[list(vec![list(vec![int(1)]), object(&[("a", Value::Null)])])], "[[1] map[a:<nil>]]"),
        ("%.1f", &[float(0.25)], "0.2"),
        ("%.0f", &[float(2.5)], "2"),
        ("%.0f", &[float(3.5)], "4"),
        ("%e", &[float(0.0)], "0.000000e+00"),
        ("%g", &[float(1e-05)], "1e-05"),
        ("%v", &[float(1e100)], "1e+100"),
        ("%6g|%-8g|%08g", &[float(1.5), float(1.5), float(-1.5)], "   1.5|1.5     |-00001.5"),
        ("%.2g", &[float(100.0)], "1e+02"),
        ("%.2g", &[float(99.9)], "1e+02"),
        ("%.20g", &[float(0.1)], "0.10000000000000000555"),
        ("%t", &[text("true")], "%!t(string=true)"),
        ("%s", &[float(1.5)], "%!s(float64=1.5)"),
        ("%v", &[float(0.0)], "0"),
    ];
    for (pattern, values, expected) in table {
        let arguments: Vec<Value> = std::iter::once(text(pattern)).chain(values.iter().cloned()).collect();
        assert_eq!(call("string.format", &arguments), Ok(text(expected)), "{pattern} {values:?}");
    }
}

#[test]
fn format_refuses_secrets_wherever_they_hide() {
    let secret = Value::Secret(Secret::from("hunter2"));
    for value in [secret.clone(), list(vec![secret.clone()]), object(&[("k", secret)])] {
        refuses("string.format", &[text("%v"), value], "secret");
    }
}

#[test]
fn path_join_cleans_as_filepath_join_does() {
    let table: &[(&[&str], &str)] = &[
        (&["a", "b"], "a/b"),
        (&["", "a"], "a"),
        (&["a", ""], "a"),
        (&[], ""),
        (&[""], ""),
        (&["/", "a"], "/a"),
        (&["/a/../b"], "/b"),
        (&["a", "../b"], "b"),
        (&["a", "../../b"], "../b"),
        (&["..", "a"], "../a"),
        (&["/..", "a"], "/a"),
        (&["a//b", "./c"], "a/b/c"),
        (&["a", "/b"], "a/b"),
        (&["/"], "/"),
        (&["."], "."),
        (&["a/.."], "."),
        (&["", "", ""], ""),
        (&["/a", "b/", "/c/"], "/a/b/c"),
    ];
    for (elements, expected) in table {
        let arguments: Vec<Value> = elements.iter().map(|e| text(e)).collect();
        check("file.path_join", &arguments, text(expected));
    }
}

#[test]
fn string_functions_answer_as_gos_do() {
    let words = |w: &[&str]| list(w.iter().map(|w| text(w)).collect());
    check("string.join", &[words(&["a", "b"]), text(", ")], text("a, b"));
    check("string.join", &[list(vec![int(1), text("b")]), text("-")], text("1-b"));
    check("string.join", &[words(&[]), text("-")], text(""));
    check("string.split", &[text("a,b,"), text(",")], words(&["a", "b", ""]));
    check("string.split", &[text("äb"), text("")], words(&["ä", "b"]));
    check("string.split", &[text(""), text(",")], words(&[""]));
    check("string.split", &[text(""), text("")], words(&[]));
    check("string.replace", &[text("aXbX"), text("X"), text("-")], text("a-b-"));
    check("string.replace", &[text("ab"), text(""), text("-")], text("-a-b-"));
    check("string.to_lower", &[text("ÄBİ")], text("äbi"));
    check("string.to_upper", &[text("äßb")], text("ÄßB"));
    check("string.trim", &[text("xxaxbyx"), text("xy")], text("axb"));
    check("string.trim", &[text(" a "), text("")], text(" a "));
    check("string.trim_prefix", &[text("aab"), text("a")], text("ab"));
    check("string.trim_suffix", &[text("abb"), text("b")], text("ab"));
    check("string.trim_space", &[text("\t a\u{a0}\n")], text("a"));
    refuses("string.to_lower", &[Value::Secret(Secret::from("x"))], "expected string, got secret");
    refuses("string.join", &[text("a"), text("b")], "expected list(string), got string");
}

#[test]
fn base64_and_url_escapes_are_gos() {
    check("encoding.to_base64", &[text("hi>?")], text("aGk+Pw=="));
    check("encoding.to_URLbase64", &[text("hi>?")], text("aGk-Pw=="));
    check("encoding.from_base64", &[text("aGk+Pw==")], text("hi>?"));
    check("encoding.from_base64", &[text("aGk+\nPw==\n")], text("hi>?"));
    check("encoding.from_URLbase64", &[text("aGk-Pw==")], text("hi>?"));
    refuses("encoding.from_base64", &[text("aGk-Pw==")], "not base64");
    refuses("encoding.from_base64", &[text("aGk+Pw")], "not base64");
    refuses("encoding.from_base64", &[text("/w==")], "not UTF-8");
    check(
        "encoding.url_encode",
        &[text("a b&c=d/é~-_.!*'()+")],
        text("a+b%26c%3Dd%2F%C3%A9~-_.%21%2A%27%28%29%2B"),
    );
    check("encoding.url_encode", &[text("100%")], text("100%25"));
    check("encoding.url_decode", &[text("a+b%20c%C3%A9")], text("a b cé"));
    refuses("encoding.url_decode", &[text("%")], "two hexadecimal digits");
    refuses("encoding.url_decode", &[text("%zz")], "two hexadecimal digits");
    refuses("encoding.url_decode", &[text("%é0")], "two hexadecimal digits");
}

#[test]
fn json_comes_in_with_floats_and_goes_out_as_go_writes_it() {
    check(
        "encoding.from_json",
        &[text(r#"{"b":1,"a":[1.5,true,null,"x"]}"#)],
        object(&[
            ("b", float(1.0)),
            ("a", list(vec![float(1.5), Value::Bool(true), Value::Null, text("x")])),
        ]),
    );
    let Ok(Value::Number(Number::Float(_))) = call("encoding.from_json", &[text("3")]) else {
        panic!("a number from JSON is a float");
    };
    refuses("encoding.from_json", &[text("{")], "not JSON");
    check(
        "encoding.to_json",
        &[object(&[
            ("b", int(1)),
            (
                "a",
                list(vec![
                    float(1.5),
                    Value::Bool(true),
                    Value::Null,
                    text("<>&\u{2028}\"\\\n\t\u{1}\u{8}\u{c}"),
                ]),
            ),
        ])],
        text(r#"{"a":[1.5,true,null,"\u003c\u003e\u0026\u2028\"\\\n\t\u0001\b\f"],"b":1}"#),
    );
    check(
        "encoding.to_json",
        &[object(&[
            ("t", float(1e100)),
            ("u", float(0.0)),
            ("v", float(0.000001)),
            ("w", float(123456789.0)),
            ("x", float(1e21)),
            ("y", float(1e-7)),
            ("z", float(1e20)),
        ])],
        text(r#"{"t":1e+100,"u":0,"v":0.000001,"w":123456789,"x":1e+21,"y":1e-7,"z":100000000000000000000}"#),
    );
    refuses("encoding.to_json", &[list(vec![])], "expected map(any), got array");
    refuses("encoding.to_json", &[object(&[("k", Value::Secret(Secret::from("x")))])], "secret");
}

#[test]
fn yaml_reads_as_gos_untyped_values() {
    let yaml =
        "a: 017\nb: yes\nc: true\nd: 1.5\ne: ~\nf: [1, x]\ng: .inf\n3: n\nh: \"5\"\ni: 0x1F\nj: 2024-01-02\n";
    check(
        "encoding.from_yaml",
        &[text(yaml)],
        object(&[
            ("a", int(15)),
            ("b", text("yes")),
            ("c", Value::Bool(true)),
            ("d", float(1.5)),
            ("e", Value::Null),
            ("f", list(vec![int(1), text("x")])),
            ("g", float(f64::INFINITY)),
            ("3", text("n")),
            ("h", text("5")),
            ("i", int(31)),
            ("j", text("2024-01-02")),
        ]),
    );
    check(
        "encoding.from_yaml",
        &[text("base: &b {x: 1}\nuse:\n  <<: *b\n  y: 2\n")],
        object(&[("base", object(&[("x", int(1))])), ("use", object(&[("x", int(1)), ("y", int(2))]))]),
    );
    check("encoding.from_yaml", &[text("")], Value::Null);
    check("encoding.from_yaml", &[text("- 1\n- 2\n")], list(vec![int(1), int(2)]));
    refuses("encoding.from_yaml", &[text("a: [")], "not YAML");
    refuses("encoding.from_yaml", &[text("a: 1\na: 2\n")], "not YAML");
}

#[test]
fn json_path_always_answers_a_list() {
    let json = r#"{"a":[{"b":1},{"b":2.5}],"c":{"d e":"x"}}"#;
    for (path, expected) in [
        ("$.a[*].b", list(vec![int(1), float(2.5)])),
        ("a[0].b", list(vec![int(1)])),
        (".a[1].b", list(vec![float(2.5)])),
        ("$..b", list(vec![int(1), float(2.5)])),
        ("c['d e']", list(vec![text("x")])),
        ("$.a[?(@.b > 2)].b", list(vec![float(2.5)])),
        ("$.missing", list(vec![])),
        ("$.a[-1].b", list(vec![float(2.5)])),
    ] {
        check("json_path", &[text(json), text(path)], expected);
    }
    refuses("json_path", &[text(json), text("$[")], "not a JSONPath");
    refuses("json_path", &[text("{"), text("$")], "not JSON");
}

#[test]
fn lists_are_joined_and_the_first_that_says_something_is_chosen() {
    check("array.concat", &[], list(vec![]));
    check(
        "array.concat",
        &[list(vec![int(1)]), list(vec![]), list(vec![text("a")])],
        list(vec![int(1), text("a")]),
    );
    refuses("array.concat", &[list(vec![]), int(1)], "expected list(any), got number");
    let nothing = [Value::Null, int(0), text(""), Value::Bool(false), float(0.0), list(vec![]), object(&[])];
    for empty in &nothing {
        check("coalesce", &[empty.clone(), text("x"), text("y")], text("x"));
    }
    check("coalesce", &nothing, object(&[]));
    check("coalesce", &[], Value::Null);
}

#[test]
fn maps_are_combined_by_an_inner_join() {
    let left = list(vec![object(&[("k", text("1")), ("a", text("l"))]), object(&[("k", text("2"))])]);
    let right = list(vec![object(&[("k", text("1")), ("a", text("r")), ("b", int(5))])]);
    let joined = object(&[("k", text("1")), ("a", text("r")), ("b", int(5))]);
    let keys = list(vec![text("k")]);
    check("array.combine_maps", &[left.clone(), right.clone(), keys.clone()], list(vec![joined.clone()]));
    check(
        "array.combine_maps",
        &[left.clone(), right.clone(), keys.clone(), Value::Bool(true)],
        list(vec![joined, object(&[("k", text("2"))])]),
    );
    check("array.combine_maps", &[left.clone(), list(vec![]), keys.clone(), Value::Bool(true)], list(vec![]));
    let number = list(vec![object(&[("k", int(1))])]);
    check("array.combine_maps", &[left.clone(), number, keys], list(vec![]));
    refuses("array.combine_maps", &[left.clone(), right, list(vec![])], "must be a key");
    refuses(
        "array.combine_maps",
        &[list(vec![int(1)]), left, list(vec![text("k")])],
        "element 0: expected map(any)",
    );
}

#[test]
fn maps_are_grouped_by_a_text() {
    let a = object(&[("k", text("x")), ("n", int(1))]);
    let b = object(&[("n", int(2))]);
    let c = object(&[("k", text("x")), ("n", int(3))]);
    let items = list(vec![a.clone(), b.clone(), c.clone()]);
    let x = object(&[("k", text("x")), ("items", list(vec![a, c]))]);
    let none = object(&[("k", text("")), ("items", list(vec![b]))]);
    check("array.group_by", &[items.clone(), text("k"), Value::Bool(false)], list(vec![x.clone(), none]));
    check("array.group_by", &[items.clone(), text("k"), Value::Bool(true)], list(vec![x]));
    refuses("array.group_by", &[items, text("n"), Value::Bool(true)], "expected string, got number");
}

#[test]
fn a_secret_is_unwrapped_only_by_name_and_the_environment_answers_with_text() {
    check("convert.nonsensitive", &[Value::Secret(Secret::from("s"))], text("s"));
    check("convert.nonsensitive", &[Value::OptionalSecret(OptionalSecret::secret("s"))], text("s"));
    refuses("convert.nonsensitive", &[int(1)], "expected secret, got number");
    check("sys.env", &[text("THIS_IS_NOT_SET_ANYWHERE_7")], text(""));
    check("sys.env", &[text("a=b")], text(""));
    let path = std::env::var("PATH").expect("cargo runs with a PATH");
    check("sys.env", &[text("PATH")], text(&path));
}

#[test]
fn constants_are_texts_with_gos_names() {
    let Value::Object(constants) = lookup(&["constants", "os"]).expect("it is there").value else {
        panic!("constants are an object");
    };
    assert_eq!(BTreeMap::len(&constants), 4);
    assert!(constants["version"].as_str().is_some_and(|v| v.starts_with('v')));
    assert!(constants["hostname"].as_str().is_some_and(|v| !v.is_empty()));
    let arch = constants["arch"].as_str();
    assert!(!matches!(arch, Some("x86_64" | "aarch64") | None));
}
