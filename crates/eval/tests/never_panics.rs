//! Whatever parses can be evaluated, to a value or to an error with a place.

use eval::{Resolve, Scope, Secret, Stability, Value, evaluate};
use proptest::prelude::*;
use syntax::{Source, parse_expression};

struct Anything;

impl Resolve for Anything {
    fn resolve(&self, path: &[&str]) -> Option<(usize, Value)> {
        match *path.first()? {
            "secret" => Some((1, Value::Secret(Secret::from("hunter2")))),
            "later" => Some((path.len(), Value::Unknown("list(target)"))),
            _ => None,
        }
    }
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let source = Source::new("test", text);
    let (Some(expr), _) = parse_expression(&source) else { return Ok(()) };
    let scope = Scope::new(&Anything).with_stability(Stability::Experimental);
    match evaluate(&expr, &source, &scope) {
        Ok(value) => {
            let shown = format!("{value:?}{}{}", value.to_source(), value.to_api_json());
            let unwrapped = text.contains("nonsensitive");
            prop_assert!(unwrapped || !shown.contains("hunter2"), "{shown}");
        }
        Err(error) => {
            let location = error.location.expect("an error in an expression has a place");
            prop_assert!(location.span.end as usize <= text.len());
            prop_assert!(!error.message.contains("hunter2"));
        }
    }
    Ok(())
}

fn leaf() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("secret".to_owned()),
        Just("later".to_owned()),
        Just("later.x".to_owned()),
        Just("constants.os".to_owned()),
        Just("9223372036854775807".to_owned()),
        Just("18446744073709551615".to_owned()),
        Just("1e308".to_owned()),
        any::<i64>().prop_map(|n| n.unsigned_abs().to_string()),
        any::<u8>().prop_map(|n| n.to_string()),
        "[ -~]{0,12}".prop_map(|s| format!("`{}`", s.replace('`', ""))),
        prop::sample::select(vec!["`%08.3f|%+d`", "`%[2]*x`", "`{\"a\": [1]}`", "`$..a`", "`a: 1`", "`%zz`"])
            .prop_map(str::to_owned),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    let functions: Vec<&'static str> = eval::stdlib::FUNCTIONS.iter().map(|f| f.name).collect();
    leaf().prop_recursive(5, 40, 4, move |inner| {
        let operator = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "^", "==", "!=", "<", "<=", ">", ">=", "&&", "||",
        ]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            inner.clone().prop_map(|a| format!("-{a}")),
            inner.clone().prop_map(|a| format!("!{a}")),
            prop::collection::vec(inner.clone(), 0..4).prop_map(|v| format!("[{}]", v.join(", "))),
            prop::collection::vec(inner.clone(), 0..3).prop_map(|v| {
                let fields: Vec<String> = v.iter().enumerate().map(|(i, v)| format!("k{i} = {v}")).collect();
                format!("{{ {} }}", fields.join(", "))
            }),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}[{b}]")),
            inner.clone().prop_map(|a| format!("{a}.k0")),
            (prop::sample::select(functions.clone()), prop::collection::vec(inner, 0..4))
                .prop_map(|(f, v)| format!("{f}({})", v.join(", "))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_well_formed_expression_has_a_value_or_an_error_with_a_place(text in expression()) {
        check(&text)?;
    }

    #[test]
    fn any_text_that_parses_can_be_evaluated(text in "[ -~\\n]{0,40}") {
        check(&text)?;
    }
}
