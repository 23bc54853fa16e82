//! A value of the source → an expression of the type that an argument has.
//!
//! The type comes from the argument's schema, and what comes out has passed the argument's own check: what is
//! written can be read again.

use component::eval::{AttributeSchema, BodySchema, FieldSchema, Value, parse_duration};
use syntax::Span;

use crate::cx::{Cx, Env};
use crate::out::Expr;
use crate::yaml::{Kind, Node};

impl Cx<'_> {
    /// The value of an attribute; a problem is reported and gives `None`.
    pub fn expression(&mut self, of: &AttributeSchema, node: &Node) -> Option<Expr> {
        let expression = self.typed(&of.code_type, of.name, node)?;
        match constant(&expression).map(|v| (of.check)(&v)) {
            Some(Err(problem)) => {
                let fitting = match of.allowed {
                    [] => format!("write a value of the type {} here", of.type_name),
                    allowed => format!("write one of {}", allowed.join(", ")),
                };
                let help = problem.help.clone().unwrap_or(fitting);
                self.error("wrong_value", node.span, format!("{}: {problem}", of.name), help);
                None
            }
            _ => Some(expression),
        }
    }

    /// A text that is not as the source writes it, checked as the attribute that it is for.
    pub fn checked(&mut self, schema: &BodySchema, name: &str, text: &str, span: Span) -> Option<Expr> {
        let FieldSchema::Attribute(of) = schema.field(name)? else { return None };
        if let Err(problem) = (of.check)(&Value::from(text)) {
            let help = format!("write one of {}", of.allowed.join(", "));
            self.error("wrong_value", span, format!("{name}: {problem}"), help);
            return None;
        }
        Some(Expr::text(text))
    }

    /// A value as a type of the language (`code_type` of a schema).
    pub fn typed(&mut self, wanted: &str, name: &str, node: &Node) -> Option<Expr> {
        let inner = |prefix: &str| wanted.strip_prefix(prefix).and_then(|w| w.strip_suffix(')'));
        match wanted {
            "any" | "map(any)" | "list(map(any))" => return Some(self.natural(node)),
            "target" => return self.map("string", name, node),
            _ if wanted.starts_with("object") => return Some(self.natural(node)),
            _ if wanted.contains("capsule(") => {
                self.wrong(node, name, "something this program can be given by a file");
                return None;
            }
            _ => {}
        }
        if let Some(of) = inner("list(") {
            return self.list(of, name, node);
        }
        if let Some(of) = inner("map(") {
            return self.map(of, name, node);
        }
        let Some(text) = node.text() else {
            let wanted = if wanted.starts_with("string(") { "text" } else { wanted };
            self.wrong(node, name, &format!("a single value ({wanted})"));
            return None;
        };
        match wanted {
            "bool" => self.boolean(name, node, text),
            "int" | "uint" | "float" | "number" => self.number(name, node, text),
            "duration" => Some(self.map_text(node, text, duration)),
            "size(base2)" => Some(self.map_text(node, text, size)),
            _ => Some(self.text(text, node.span)),
        }
    }

    fn list(&mut self, of: &str, name: &str, node: &Node) -> Option<Expr> {
        match &node.kind {
            Kind::List(items) => {
                items.iter().map(|i| self.typed(of, name, i)).collect::<Option<_>>().map(Expr::List)
            }
            Kind::Null => Some(Expr::List(Vec::new())),
            Kind::Scalar { .. } if self.collector => self.typed(of, name, node).map(|e| Expr::List(vec![e])),
            // As Prometheus' headers: one value or a list of them.
            Kind::Scalar { .. } if of == "secret" => self.typed(of, name, node).map(|e| Expr::List(vec![e])),
            _ => {
                self.wrong(node, name, "a list");
                None
            }
        }
    }

    fn map(&mut self, of: &str, name: &str, node: &Node) -> Option<Expr> {
        let entries = match &node.kind {
            Kind::Map(entries) => entries,
            Kind::Null => return Some(Expr::Object(Vec::new())),
            _ => {
                self.wrong(node, name, "a mapping");
                return None;
            }
        };
        let mut fields = Vec::new();
        for (key, value) in entries {
            let value = match &value.kind {
                // A key without a value is an empty text, as the sources take it.
                Kind::Null if matches!(of, "string" | "secret") => Expr::text(""),
                _ => self.typed(of, &key.text, value)?,
            };
            fields.push((key.text.clone(), value));
        }
        Some(Expr::Object(fields))
    }

    /// A value of the type that YAML gives it.
    pub fn natural(&mut self, node: &Node) -> Expr {
        match &node.kind {
            Kind::Null => Expr::raw("null"),
            Kind::Scalar { text, plain: true } if matches!(text.as_str(), "true" | "false") => {
                Expr::raw(text.clone())
            }
            Kind::Scalar { text, plain: true } => match number(text) {
                Some(number) => Expr::raw(number),
                None => self.text(text, node.span),
            },
            Kind::Scalar { text, .. } => self.text(text, node.span),
            Kind::List(items) => Expr::List(items.iter().map(|i| self.natural(i)).collect()),
            Kind::Map(entries) => {
                Expr::Object(entries.iter().map(|(k, v)| (k.text.clone(), self.natural(v))).collect())
            }
        }
    }

    fn boolean(&mut self, name: &str, node: &Node, text: &str) -> Option<Expr> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(Expr::raw("true")),
            "false" | "no" | "off" | "n" => Some(Expr::raw("false")),
            _ => match self.text(text, node.span) {
                Expr::Raw(env) => Some(Expr::raw(format!("{env} == \"true\""))),
                call @ Expr::Call("coalesce", _) => {
                    Some(Expr::raw(format!("{} == \"true\"", one_line(&call))))
                }
                _ => {
                    self.wrong_text(node, name, text, "true or false");
                    None
                }
            },
        }
    }

    fn number(&mut self, name: &str, node: &Node, text: &str) -> Option<Expr> {
        match number(text) {
            Some(number) => Some(Expr::raw(number)),
            // A text from the environment becomes a number when it is assigned.
            None => match self.text(text, node.span) {
                Expr::Text(_) => {
                    self.wrong_text(node, name, text, "a number");
                    None
                }
                env => Some(env),
            },
        }
    }

    /// A number or a boolean is no secret, so it may be shown.
    fn wrong_text(&mut self, node: &Node, name: &str, text: &str, wanted: &str) {
        let message = format!("{name} is {text:?}, not {wanted}");
        self.error("wrong_type", node.span, message, format!("write {wanted} here"));
    }

    fn map_text(&mut self, node: &Node, text: &str, change: fn(&str) -> String) -> Expr {
        match self.text(text, node.span) {
            Expr::Text(text) => Expr::text(change(&text)),
            env => env,
        }
    }

    /// A text, with what refers to the environment as calls of `sys.env`.
    pub fn text(&mut self, text: &str, span: Span) -> Expr {
        match self.env {
            Env::No => Expr::text(text),
            Env::NotAsked => {
                if let Some(name) = first_variable(text) {
                    let help = "if it is to be taken from the environment, add -config.expand-env=true to --extra-args";
                    self.warn(span, format!("${{{name}}} is taken as it stands"), help);
                }
                Expr::text(text)
            }
            Env::Braces | Env::Collector => match parts(text, self.env == Env::Collector) {
                Ok(parts) => join(parts),
                Err(reference) => {
                    let message = format!("${{{reference}}} cannot be converted");
                    let help = "only environment variables can: ${NAME} or ${NAME:-default}";
                    self.error("unsupported", span, message, help);
                    Expr::text(text)
                }
            },
        }
    }
}

/// Part of a text.
#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Variable(String, Option<String>),
}

fn is_name(text: &str) -> bool {
    syntax::is_identifier(text) && text.is_ascii()
}

fn first_variable(text: &str) -> Option<&str> {
    let rest = &text[text.find("${")? + 2..];
    let name = &rest[..rest.find('}')?];
    is_name(name.split(":-").next().unwrap_or(name)).then_some(name)
}

/// Cuts a text at its references; `Err` is a reference that is none to the environment.
fn parts(text: &str, collector: bool) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            plain.push('$');
            rest = behind;
            continue;
        }
        let Some((reference, behind)) = rest.strip_prefix('{').and_then(|r| r.split_once('}')) else {
            plain.push('$');
            continue;
        };
        let named = if collector { reference.strip_prefix("env:").unwrap_or(reference) } else { reference };
        let (name, default) = match named.split_once(":-") {
            Some((name, default)) => (name, Some(default.to_string())),
            None => (named, None),
        };
        if !is_name(name) {
            return Err(reference.to_string());
        }
        parts.push(Part::Text(std::mem::take(&mut plain)));
        parts.push(Part::Variable(name.to_string(), default));
        rest = behind;
    }
    plain.push_str(rest);
    parts.push(Part::Text(plain));
    parts.retain(|p| *p != Part::Text(String::new()));
    Ok(parts)
}

fn join(mut parts: Vec<Part>) -> Expr {
    let variable = |name: &str, default: Option<String>| {
        let env = Expr::raw(format!("sys.env({})", syntax::quote(name)));
        match default {
            Some(default) => Expr::Call("coalesce", vec![env, Expr::text(default)]),
            None => env,
        }
    };
    if parts.len() < 2 {
        return match parts.pop() {
            Some(Part::Variable(name, default)) => variable(&name, default),
            Some(Part::Text(text)) => Expr::Text(text),
            None => Expr::text(""),
        };
    }
    let mut format = String::new();
    let mut arguments = Vec::new();
    for part in parts {
        match part {
            Part::Text(text) => format.push_str(&text.replace('%', "%%")),
            Part::Variable(name, default) => {
                format.push_str("%s");
                arguments.push(variable(&name, default));
            }
        }
    }
    arguments.insert(0, Expr::Text(format));
    Expr::Call("string.format", arguments)
}

fn one_line(expression: &Expr) -> String {
    match expression {
        Expr::Raw(text) => text.clone(),
        Expr::Text(text) => syntax::quote(text),
        Expr::Call(name, items) => {
            format!("{name}({})", items.iter().map(one_line).collect::<Vec<_>>().join(", "))
        }
        Expr::List(_) | Expr::Object(_) => String::new(),
    }
}

/// A number as the language writes it.
fn number(text: &str) -> Option<String> {
    let digits = text.replace('_', "");
    let (sign, bare) = match digits.strip_prefix('-') {
        Some(bare) => ("-", bare),
        None => ("", digits.strip_prefix('+').unwrap_or(&digits)),
    };
    if !bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let based = |prefixes: [&str; 2], base| {
        let digits = prefixes.iter().find_map(|p| bare.strip_prefix(p))?;
        i64::from_str_radix(digits, base).ok()
    };
    if let Some(n) =
        based(["0x", "0X"], 16).or_else(|| based(["0o", "0O"], 8)).or_else(|| based(["0b", "0B"], 2))
    {
        return Some(format!("{sign}{n}"));
    }
    if bare.bytes().all(|b| b.is_ascii_digit()) {
        // As Go's YAML: a leading zero means octal.
        if let Some(octal) = bare.strip_prefix('0').filter(|o| !o.is_empty())
            && let Ok(n) = i64::from_str_radix(octal, 8)
        {
            return Some(format!("{sign}{n}"));
        }
        let trimmed = bare.trim_start_matches('0');
        return Some(format!("{sign}{}", if trimmed.is_empty() { "0" } else { trimmed }));
    }
    let value: f64 = bare.parse().ok().filter(|v: &f64| v.is_finite())?;
    Some(format!("{sign}{value}"))
}

/// Nanoseconds of a duration of any of the sources: Go's units, and Prometheus' `d`, `w` and `y`.
pub fn nanoseconds(text: &str) -> Option<i64> {
    if let Ok(n) = parse_duration(text) {
        return Some(n);
    }
    let mut total: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|n| *n > 0)?;
        let n: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let hours = match &rest[..unit] {
            "y" => 365 * 24,
            "w" => 7 * 24,
            "d" => 24,
            unit => {
                total = total.checked_add(parse_duration(&format!("{n}{unit}")).ok()?)?;
                rest = &rest[unit.len()..];
                continue;
            }
        };
        total = total.checked_add(n.checked_mul(hours)?.checked_mul(3_600_000_000_000)?)?;
        rest = &rest[unit..];
    }
    Some(total)
}

/// A duration in the language's units; what is none is left to the argument's check.
fn duration(text: &str) -> String {
    match (text, parse_duration(text), nanoseconds(text)) {
        ("0", ..) => "0s".into(),
        (_, Ok(_), _) | (_, _, None) => text.into(),
        (_, Err(_), Some(n)) if n % 3_600_000_000_000 == 0 => format!("{}h", n / 3_600_000_000_000),
        (_, Err(_), Some(n)) if n % 1_000_000_000 == 0 => format!("{}s", n / 1_000_000_000),
        (_, Err(_), Some(n)) => format!("{n}ns"),
    }
}

/// A size with a unit that counts by 1024; what is none is left to the argument's check.
fn size(text: &str) -> String {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (Ok(n), unit) = (text[..digits].parse::<u64>(), text[digits..].trim()) else { return text.into() };
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => return bytes(n),
        "k" | "kb" | "kib" => "KiB",
        "m" | "mb" | "mib" => "MiB",
        "g" | "gb" | "gib" => "GiB",
        "t" | "tb" | "tib" => "TiB",
        _ => return text.into(),
    };
    format!("{n}{unit}")
}

fn bytes(n: u64) -> String {
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(size, _)| n > 0 && n.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", n / size),
        None => format!("{n}B"),
    }
}

/// The value of an expression, as far as it can be known now.
fn constant(expression: &Expr) -> Option<Value> {
    match expression {
        Expr::Text(text) => Some(Value::from(text.as_str())),
        Expr::Raw(text) if text == "null" => Some(Value::Null),
        Expr::Raw(text) if text == "true" || text == "false" => Some(Value::from(text == "true")),
        Expr::Raw(text) if text.starts_with("sys.env") => Some(Value::Unknown("string")),
        Expr::Raw(text) => match (text.parse::<i64>(), text.parse::<u64>(), text.parse::<f64>()) {
            (Ok(n), ..) => Some(Value::from(n)),
            (_, Ok(n), _) => Some(Value::from(n)),
            (.., Ok(n)) => Some(Value::from(n)),
            _ => None,
        },
        Expr::Call("string.format", _) => Some(Value::Unknown("string")),
        Expr::Call(..) => None,
        Expr::List(items) => items.iter().map(constant).collect::<Option<_>>().map(Value::array),
        Expr::Object(fields) => {
            let fields = fields.iter().map(|(k, v)| Some((k.clone(), constant(v)?)));
            fields.collect::<Option<_>>().map(Value::object)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_get_units_of_the_language() {
        for (text, want) in
            [("15s", "15s"), ("1d", "24h"), ("1w2d", "216h"), ("1d30m", "88200s"), ("0", "0s"), ("x", "x")]
        {
            assert_eq!(duration(text), want);
        }
        for (text, want) in
            [("10MB", "10MiB"), ("8kb", "8KiB"), ("102400", "100KiB"), ("7", "7B"), ("0", "0B"), ("x", "x")]
        {
            assert_eq!(size(text), want);
        }
    }

    #[test]
    fn numbers_are_read_as_yaml_writes_them() {
        for (text, want) in [
            ("10", Some("10")),
            ("-1.5", Some("-1.5")),
            ("0x10", Some("16")),
            ("010", Some("8")),
            ("1_000", Some("1000")),
            ("a1", None),
            ("1e3", Some("1000")),
            (".inf", None),
        ] {
            assert_eq!(number(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn a_reference_to_the_environment_becomes_a_call() {
        let show = |text: &str, collector| parts(text, collector).map(|p| one_line(&join(p)));
        assert_eq!(show("${A}", false).as_deref(), Ok("sys.env(\"A\")"));
        assert_eq!(show("${env:A:-b c}", true).as_deref(), Ok("coalesce(sys.env(\"A\"), \"b c\")"));
        assert_eq!(
            show("http://${H}:${P}/100%", false).as_deref(),
            Ok("string.format(\"http://%s:%s/100%%\", sys.env(\"H\"), sys.env(\"P\"))")
        );
        assert_eq!(show("a$$b$1", true).as_deref(), Ok("\"a$b$1\""));
        assert_eq!(show("${file:/etc/x}", true), Err("file:/etc/x".into()));
        assert_eq!(show("${1}", false), Err("1".into()));
    }
}
