//! Whether a value of one static type can be assigned to an attribute of another, for the static pass.
//!
//! Invariant: `true` when in doubt; only what cannot work in any run is refused.

/// `have` and `want` as in `code_type`: `string`, `list(capsule(MetricsReceiver))`, `target`; `""` is not
/// known.
pub fn fits(have: &str, want: &str) -> bool {
    let (have_kind, have_inner) = split(have);
    let (want_kind, want_inner) = split(want);
    match (kind(have_kind), kind(want_kind)) {
        (Kind::Any, _) | (_, Kind::Any) => true,
        (Kind::List, Kind::List) | (Kind::Map, Kind::Map) => match (have_inner, want_inner) {
            (Some(h), Some(w)) if have_kind != "object" && want_kind != "object" => fits(h, w),
            _ => true,
        },
        (Kind::Text | Kind::Number | Kind::OptionalSecret, Kind::Text) => true,
        (Kind::Text | Kind::Number, Kind::Number) => true,
        (Kind::Text | Kind::Secret | Kind::OptionalSecret, Kind::Secret | Kind::OptionalSecret) => true,
        (Kind::Bool, Kind::Bool) => true,
        (Kind::Capsule, Kind::Capsule) => capsule(have) == capsule(want),
        _ => false,
    }
}

/// The type of an element of a list or map type.
pub(crate) fn element(list: &'static str) -> &'static str {
    match split(list) {
        ("list" | "map", Some(inner)) => inner,
        ("target", _) => "string",
        _ => "",
    }
}

#[derive(PartialEq)]
enum Kind {
    Any,
    List,
    Map,
    Text,
    Number,
    Bool,
    Secret,
    OptionalSecret,
    Capsule,
}

fn kind(name: &str) -> Kind {
    match name {
        "" | "any" | "receiver" => Kind::Any,
        "list" | "array" => Kind::List,
        "map" | "object" | "target" => Kind::Map,
        "string" | "duration" | "size" => Kind::Text,
        "number" | "int" | "uint" | "float" => Kind::Number,
        "bool" => Kind::Bool,
        "secret" => Kind::Secret,
        "optional_secret" | "string or secret" => Kind::OptionalSecret,
        _ => Kind::Capsule,
    }
}

fn split(name: &str) -> (&str, Option<&str>) {
    match name.split_once('(') {
        Some((kind, rest)) => (kind, rest.strip_suffix(')')),
        None => (name, None),
    }
}

fn capsule(name: &str) -> &str {
    match split(name) {
        ("capsule", Some(inner)) => inner,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_work_in_any_run_is_refused() {
        for (have, want, can) in [
            ("", "bool", true),
            ("any", "list(target)", true),
            ("string", "duration", true),
            ("int", "string(URL)", true),
            ("string", "int", true),
            ("bool", "string", false),
            ("secret", "string", false),
            ("optional_secret", "string", true),
            ("string", "secret", true),
            ("capsule(LogsReceiver)", "capsule(MetricsReceiver)", false),
            ("LogsReceiver", "capsule(LogsReceiver)", true),
            ("list(capsule(LogsReceiver))", "list(capsule(MetricsReceiver))", false),
            ("list(target)", "list(map(string))", true),
            ("list(any)", "list(target)", true),
            ("string", "list(string)", false),
            ("list(string)", "string", false),
            ("map(bool)", "map(string)", false),
            ("capsule(RelabelRules)", "string", false),
        ] {
            assert_eq!(fits(have, want), can, "{have} into {want}");
        }
    }

    #[test]
    fn an_element_has_the_type_that_stands_in_the_list() {
        assert_eq!(element("list(capsule(X))"), "capsule(X)");
        assert_eq!(element("target"), "string");
        assert_eq!(element("any"), "");
    }
}
