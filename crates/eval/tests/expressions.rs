//! What expressions evaluate to, rule by rule.

use std::any::Any;
use std::collections::BTreeMap;

use eval::{Capsule, CapsuleType, OptionalSecret, Resolve, Scope, Secret, Stability, Value, evaluate};
use syntax::ast::{Expr, ExprKind, Literal};
use syntax::{Diagnostic, Source, Span, parse_expression};

/// Fields that a target would have.
struct Target;

impl CapsuleType for Target {
    fn type_name(&self) -> &'static str {
        "target"
    }
    fn equals(&self, other: &dyn Any) -> bool {
        other.is::<Self>()
    }
    fn as_object(&self) -> Option<BTreeMap<String, Value>> {
        Some(BTreeMap::from([("__address__".to_owned(), Value::from("localhost:80"))]))
    }
    fn text(&self) -> String {
        "{__address__=\"localhost:80\"}".to_owned()
    }
}

struct Receiver(u8);

impl CapsuleType for Receiver {
    fn type_name(&self) -> &'static str {
        "LogsReceiver"
    }
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<Self>().is_some_and(|o| o.0 == self.0)
    }
    fn text(&self) -> String {
        format!("receiver {}", self.0)
    }
}

/// A component `loki.write.out`, values of every kind, and what is not known yet.
struct Host;

impl Resolve for Host {
    fn resolve(&self, path: &[&str]) -> Option<(usize, Value)> {
        let value = match path {
            ["loki", "write", "out", ..] => {
                let exports = BTreeMap::from([("receiver".to_owned(), Value::capsule(Receiver(1)))]);
                return Some((3, Value::object(exports)));
            }
            ["later", "component", "exports", ..] => {
                return Some((3, Value::Unknown("capsule(LogsReceiver)")));
            }
            ["target", ..] => Value::capsule(Target),
            ["other_receiver", ..] => Value::capsule(Receiver(2)),
            ["secret", ..] => Value::Secret(Secret::from("s3cr3t")),
            ["hidden", ..] => Value::OptionalSecret(OptionalSecret::secret("hid")),
            ["shown", ..] => Value::OptionalSecret(OptionalSecret::plain("vis")),
            ["later", ..] => Value::Unknown(""),
            ["later_targets", ..] => Value::Unknown("list(target)"),
            ["string", "join", ..] if path.len() > 2 => Value::Null,
            _ => return None,
        };
        Some((1, value))
    }

    fn names(&self) -> Vec<String> {
        vec!["loki.write.out".to_owned(), "target".to_owned()]
    }
}

fn run_at(text: &str, stability: Stability) -> (Result<Value, Diagnostic>, Vec<Diagnostic>) {
    let source = Source::new("test", text);
    let (expr, problems) = parse_expression(&source);
    assert_eq!(problems, [], "{text}");
    let scope = Scope::new(&Host)
        .with_stability(stability)
        .with_variable("list", Value::array(vec![Value::from(1_i64), Value::from(2_i64)]))
        .with_variable("format", Value::from("shadowed"));
    let result = evaluate(&expr.expect("an expression without problems is there"), &source, &scope);
    (result, scope.take_warnings())
}

fn run(text: &str) -> Result<Value, Diagnostic> {
    run_at(text, Stability::GenerallyAvailable).0
}

/// Compares the value as it would be written in a file.
#[track_caller]
fn is(text: &str, expected: &str) {
    match run(text) {
        Ok(value) => assert_eq!(value.to_source(), expected, "{text}"),
        Err(e) => panic!("{text}: {e:?}"),
    }
}

/// Compares code, message and the text pointed at.
#[track_caller]
fn fails(text: &str, code: &str, message: &str, at: &str) {
    let error = run(text).expect_err(text);
    let location = error.location.as_ref().expect("an error in an expression has a place");
    assert_eq!((error.code, location.source.slice(location.span)), (code, at), "{text}: {error:?}");
    assert!(error.message.contains(message), "{text}: {:?} does not say {message:?}", error.message);
}

#[test]
fn literals_keep_their_kind() {
    for (text, expected) in [
        ("null", "null"),
        ("true", "true"),
        ("3", "3"),
        ("010", "8"),
        ("08", "8"),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551616", "18446744073709552000"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("\"a\\n\"", "\"a\\n\""),
        ("`a\\n`", "\"a\\\\n\""),
        ("[1, \"a\", [],]", "[1, \"a\", []]"),
        ("{ a = 1, \"b c\" = 2, a = 3 }", "{a = 3, \"b c\" = 2}"),
    ] {
        is(text, expected);
    }
}

#[test]
fn arithmetic_has_the_widest_kind_and_wraps() {
    for (text, expected) in [
        ("1 + 2 * 3", "7"),
        ("7 / 2", "3"),
        ("-7 / 2", "-3"),
        ("-7 % 3", "-1"),
        ("7.0 / 2", "3.5"),
        ("7.5 % 2", "1.5"),
        ("1 + 0.5", "1.5"),
        ("-2 ^ 2", "4"),
        ("2 ^ 3 ^ 2", "512"),
        ("2 ^ -1", "2"),
        ("1 ^ -5", "1"),
        ("0 ^ 5", "0"),
        ("5 ^ 0", "1"),
        ("3 ^ 9999999999999", "-2735026375101502805"),
        ("2.0 ^ -1", "0.5"),
        ("9223372036854775807 + 1", "-9223372036854775808"),
        ("18446744073709551615 + 18446744073709551615", "18446744073709551614"),
        ("18446744073709551615 + 1", "0"),
        ("-18446744073709551615", "1"),
        ("-9223372036854775807 - 2", "9223372036854775807"),
        ("(-9223372036854775807 - 1) / -1", "-9223372036854775808"),
        ("(-9223372036854775807 - 1) % -1", "0"),
        ("-1.5", "-1.5"),
    ] {
        is(text, expected);
    }
    for (text, at) in
        [("1 / 0", "0"), ("1 % 0", "0"), ("1.5 / 0", "0"), ("1 / 0.0", "0.0"), ("1 % (0)", "(0)")]
    {
        fails(text, "evaluation", "division by zero", at);
    }
}

#[test]
fn comparison_takes_number_pairs_string_pairs_and_for_equality_anything() {
    for (text, expected) in [
        ("1 < 2", true),
        ("2 <= 2.0", true),
        ("18446744073709551615 > 1.5", true),
        ("\"a\" < \"b\"", true),
        ("\"Z\" < \"a\"", true),
        ("\"b\" >= \"b\"", true),
        ("3 == 3.0", true),
        ("3 == \"3\"", false),
        ("null == null", true),
        ("null != false", true),
        ("[1, 2] == list", true),
        ("{a = 1} == {a = 1.0}", true),
        ("{a = 1} == {b = 1}", false),
        ("string.join == string.join", false),
        ("target == target", true),
        ("other_receiver == loki.write.out.receiver", false),
        ("secret == \"s3cr3t\"", true),
        ("secret == \"other\"", false),
        ("hidden == \"hid\"", true),
        ("shown == \"vis\"", true),
        ("1 == 1 == true", true),
    ] {
        is(text, if expected { "true" } else { "false" });
    }
    fails("1 < \"2\"", "wrong_type", "two numbers or two strings", "\"2\"");
    fails("true < false", "wrong_type", "got bool", "true");
    fails("[] < []", "wrong_type", "got array", "[]");
}

#[test]
fn both_sides_of_and_and_or_are_evaluated_and_must_be_bool() {
    is("true && false || true", "true");
    is("!true || !false", "true");
    fails("true || 1", "wrong_type", "|| needs bools, got number", "1");
    fails("false && nothing", "unknown_reference", "nothing", "nothing");
    fails("\"\" && true", "wrong_type", "got string", "\"\"");
    fails("!1", "wrong_type", "! needs a bool", "1");
    fails("-\"a\"", "wrong_type", "- needs a number", "\"a\"");
}

#[test]
fn plus_joins_strings_and_a_secret_makes_the_whole_secret() {
    is("\"a\" + \"b\" + \"c\"", "\"abc\"");
    for (text, revealed) in [
        ("\"a\" + secret", "as3cr3t"),
        ("secret + \"b\"", "s3cr3tb"),
        ("secret + secret", "s3cr3ts3cr3t"),
        ("secret + shown", "s3cr3tvis"),
        ("hidden + secret", "hids3cr3t"),
    ] {
        let Ok(Value::Secret(s)) = run(text) else { panic!("{text} is not a secret") };
        assert_eq!(s.reveal(), revealed);
    }
    for (text, revealed, secret) in [
        ("\"a\" + hidden", "ahid", true),
        ("hidden + \"b\"", "hidb", true),
        ("hidden + shown", "hidvis", true),
        ("shown + shown", "visvis", false),
    ] {
        let Ok(Value::OptionalSecret(s)) = run(text) else { panic!("{text} is not an optional secret") };
        assert_eq!((s.reveal(), s.is_secret()), (revealed, secret));
    }
    is("\"a\" + shown", "\"avis\"");
    is("shown + \"b\"", "\"visb\"");
    fails("\"a\" + 1", "wrong_type", "two numbers or two strings, got string and number", "1");
    fails("secret + 1", "wrong_type", "got secret and number", "1");
    fails("1 + null", "wrong_type", "got null", "null");
    fails("[1] + [2]", "wrong_type", "got array", "[1]");
}

#[test]
fn no_rendering_shows_a_secret() {
    for text in ["secret", "[secret + \"x\"]", "{ a = hidden }", "\"x\" + hidden"] {
        let value = run(text).expect(text);
        let shown = format!("{value:?} {} {}", value.to_source(), value.to_api_json());
        assert!(!shown.contains("s3cr3t") && !shown.contains("hid\""), "{shown}");
        assert!(shown.contains("(secret)"), "{shown}");
    }
}

#[test]
fn fields_and_elements_are_found_or_the_error_points_at_the_name() {
    for (text, expected) in [
        ("{a = {b = 1}}.a.b", "1"),
        ("{a = 1}[\"a\"]", "1"),
        ("{a = 1}[\"b\"]", "null"),
        ("list[1]", "2"),
        ("list[1.9]", "2"),
        ("[[1, 2], [3]][0][1]", "2"),
        ("target.__address__", "\"localhost:80\""),
        ("target[\"__address__\"]", "\"localhost:80\""),
        ("target[\"missing\"]", "null"),
        ("loki.write.out.receiver", "capsule(\"receiver 1\")"),
        ("loki.write.out[\"receiver\"]", "capsule(\"receiver 1\")"),
        ("constants[\"missing\"]", "null"),
    ] {
        is(text, expected);
    }
    fails("{a = 1}.b", "evaluation", "no field \"b\"", "b");
    fails("target.missing", "evaluation", "no field \"missing\"", "missing");
    fails("loki.write.out.reciever", "evaluation", "no field \"reciever\"", "reciever");
    fails(
        "loki.write.out.receiver.x",
        "wrong_type",
        "capsule(LogsReceiver) has no field",
        "loki.write.out.receiver",
    );
    fails("list[2]", "evaluation", "out of range of a list with 2 elements", "2");
    fails("list[-1]", "evaluation", "out of range", "-1");
    fails("list[\"a\"]", "wrong_type", "must be a number", "\"a\"");
    fails("{}[1]", "wrong_type", "must be a string", "1");
    fails("\"abc\"[0]", "wrong_type", "string has no elements", "\"abc\"");
    fails("other_receiver[\"x\"]", "wrong_type", "has no elements", "other_receiver");
    fails("null.x", "wrong_type", "null has no field", "null");
    let error = run("loki.write.out.reciever").expect_err("there is no such export");
    assert_eq!(error.help.as_deref(), Some("did you mean \"receiver\"?"));
}

#[test]
fn names_are_looked_up_in_variables_then_the_host_then_the_library() {
    is("list", "[1, 2]");
    is("format", "\"shadowed\"");
    is("string.join([\"a\", \"b\"], \"-\")", "\"a-b\"");
    is("string[\"join\"]([\"a\"], \"\")", "\"a\"");
    fails("no.such.name", "unknown_reference", "\"no.such.name\" does not exist", "no.such.name");
    fails("string.jion", "evaluation", "no field \"jion\"", "jion");
    for (text, help) in [
        ("loki.wirte.out.receiver", "did you mean \"loki.write.out\"?"),
        ("strings.join([], \"\")", "did you mean \"string.join\"?"),
        ("sys.envv", "did you mean \"env\"?"),
    ] {
        assert_eq!(run(text).expect_err(text).help.as_deref(), Some(help), "{text}");
    }
}

#[test]
fn calls_check_count_and_types_and_point_at_the_argument() {
    is("string.format(\"%s-%d\", \"a\", 1 + 1)", "\"a-2\"");
    is("string.split(\"a,b\", \",\")[1]", "\"b\"");
    is("array.concat()", "[]");
    is("string.trim(5, \"\")", "\"5\"");
    is("convert.nonsensitive(secret) + \"!\"", "\"s3cr3t!\"");
    fails("string.join([\"a\"])", "evaluation", "takes 2 arguments, got 1", "string.join([\"a\"])");
    fails("string.format()", "evaluation", "takes at least 1 arguments, got 0", "string.format()");
    fails("string.to_upper(true)", "wrong_type", "expected string, got bool", "true");
    fails("string.to_upper(secret)", "wrong_type", "expected string, got secret", "secret");
    fails("string.join([\"a\", true], \"\")", "wrong_type", "expected string, got bool", "true");
    fails("encoding.from_json(\"{\")", "evaluation", "encoding.from_json: this is not JSON", "\"{\"");
    fails("list(1)", "wrong_type", "array cannot be called", "list");
}

#[test]
fn old_names_work_with_a_warning_and_experimental_functions_need_the_level() {
    let (value, warnings) = run_at("to_upper(\"a\")", Stability::GenerallyAvailable);
    assert_eq!(value.map(|v| v.to_source()), Ok("\"A\"".to_owned()));
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert_eq!((warning.code, warning.is_error()), ("deprecated", false));
    assert_eq!(warning.help.as_deref(), Some("write string.to_upper instead"));
    assert_eq!(run_at("string.to_upper(\"a\")", Stability::GenerallyAvailable).1, []);

    let text = "array.combine_maps([{a = 1}], [{a = 1}], [\"a\"])";
    fails(text, "stability", "array.combine_maps is experimental", "array.combine_maps");
    let (value, _) = run_at(text, Stability::Experimental);
    assert_eq!(value.map(|v| v.to_source()), Ok("[{a = 1}]".to_owned()));
}

#[test]
fn what_is_not_known_yet_stays_unknown_with_the_type_that_can_be_told() {
    for (text, kind) in [
        ("later", ""),
        ("later.component.exports", "capsule(LogsReceiver)"),
        ("later == 1", "bool"),
        ("[later] == [1]", "bool"),
        ("later && true", "bool"),
        ("later - 1", "number"),
        ("\"a\" + later", ""),
        ("later_targets[0]", "target"),
        ("later_targets[0].x", "string"),
        ("later_targets[0][\"x\"]", "string"),
        ("string.to_upper(later)", "string"),
        ("string.join([\"a\", later], \"\")", "string"),
        ("array.concat(later_targets, later_targets)", "list(target)"),
        ("array.concat(later_targets, [])", "list(target)"),
        ("array.concat(later_targets, later)", "list(any)"),
        ("coalesce(later_targets, [])", "any"),
        ("later(1)", ""),
        ("!later", "bool"),
    ] {
        match run(text) {
            Ok(Value::Unknown(got)) => assert_eq!(got, kind, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(run("[later]").is_ok_and(|v| v.contains_unknown()));
}

#[test]
fn long_chains_work_and_deep_nesting_is_an_error() {
    let chain = vec!["\"a\""; 400].join(" + ");
    assert_eq!(run(&chain).expect("a chain is not nesting").as_str().map(str::len), Some(400));
    let span = Span::new(0, 1);
    let mut expr = Expr { kind: ExprKind::Literal(Literal::Bool(true)), span };
    for _ in 0..250 {
        expr = Expr { kind: ExprKind::Paren(Box::new(expr)), span };
    }
    let error = evaluate(&expr, &Source::new("test", "("), &Scope::new(&())).expect_err("that is too deep");
    assert!(error.message.contains("nests deeper"), "{error:?}");
}

#[test]
fn the_deepest_nesting_that_parses_fits_into_a_small_stack() {
    let work = || {
        let depth = 190;
        let text = format!("{}1{}", "string.trim([".repeat(depth), "][0], `x`)".repeat(depth));
        let source = Source::new("test", text);
        if let (Some(expr), _) = parse_expression(&source) {
            drop(evaluate(&expr, &source, &Scope::new(&())));
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work).expect("a thread starts");
    assert!(thread.join().is_ok());
}

#[test]
fn capsules_are_shared_and_downcast_to_their_type() {
    let capsule = Capsule::new(Receiver(7));
    assert_eq!(capsule.downcast_ref::<Receiver>().map(|r| r.0), Some(7));
    assert!(capsule.downcast_ref::<Target>().is_none());
    assert_eq!(capsule, Capsule::new(Receiver(7)));
    assert_eq!(format!("{capsule:?}"), "capsule(LogsReceiver: receiver 7)");
}

#[test]
fn the_api_form_names_each_type() {
    let value = run("{ n = 1, s = [\"x\", null], t = target, r = other_receiver }").expect("it evaluates");
    let json = value.to_api_json().to_string();
    let expected = concat!(
        r#"{"type":"object","value":[{"key":"n","value":{"type":"number","value":1}},"#,
        r#"{"key":"r","value":{"type":"capsule","value":"receiver 2"}},"#,
        r#"{"key":"s","value":{"type":"array","value":[{"type":"string","value":"x"},{"type":"null","value":null}]}},"#,
        r#"{"key":"t","value":{"type":"object","value":[{"key":"__address__","value":"#,
        r#"{"type":"string","value":"localhost:80"}}]}}]}"#,
    );
    assert_eq!(json, expected);
}
