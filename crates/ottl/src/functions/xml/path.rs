//! XPath 1.0 as far as selecting needs it: steps down and up, name and type tests, predicates with numbers,
//! comparisons, `and`, `or`, `not()`, `contains()`, `starts-with()`, `count()`, `position()`, `last()`, `name()`.

use std::collections::HashSet;

use super::dom::{Document, Kind};

/// What a path selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Found {
    Node(usize),
    /// An element's attribute, by number.
    Attribute(usize, usize),
}

/// Paths joined by `|`.
#[derive(Debug)]
pub(crate) struct XPath(Vec<Location>);

#[derive(Debug)]
struct Location {
    absolute: bool,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    axis: Axis,
    test: Test,
    predicates: Vec<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Child,
    /// The node itself and all below it: `//`.
    Descend,
    Attribute,
    This,
    Parent,
}

#[derive(Debug)]
enum Test {
    Name(String),
    Any,
    Text,
    Comment,
    Node,
}

#[derive(Debug)]
enum Expr {
    Or(Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Compare(&'static str, Box<Expr>, Box<Expr>),
    Text(String),
    Number(f64),
    Path(Location),
    Call(String, Vec<Expr>),
}

enum Value {
    Nodes(Vec<Found>),
    Text(String),
    Number(f64),
    Bool(bool),
}

/// Predicates inside of each other.
const MAX_DEPTH: usize = 16;

impl XPath {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let mut locations = vec![parser.location().map_err(|why| format!("`{text}` is no XPath: {why}"))?];
        while parser.take("|") {
            locations.push(parser.location().map_err(|why| format!("`{text}` is no XPath: {why}"))?);
        }
        parser.space();
        if parser.at < text.len() {
            return Err(format!("`{text}` is no XPath: unexpected `{}`", &text[parser.at..]));
        }
        Ok(Self(locations))
    }

    /// In the order of the document's numbers, each once.
    pub(super) fn select(&self, document: &Document) -> Vec<Found> {
        let mut seen = HashSet::new();
        let found = self.0.iter().flat_map(|location| location.select(document, Found::Node(0)));
        found.filter(|found| seen.insert(*found)).collect()
    }
}

impl Location {
    fn select(&self, document: &Document, from: Found) -> Vec<Found> {
        let mut current = vec![if self.absolute { Found::Node(0) } else { from }];
        for step in &self.steps {
            let mut next: Vec<Found> = Vec::new();
            let mut seen = HashSet::new();
            for from in current {
                next.extend(step.select(document, from).into_iter().filter(|found| seen.insert(*found)));
            }
            current = next;
        }
        current
    }
}

impl Step {
    fn select(&self, document: &Document, from: Found) -> Vec<Found> {
        let Found::Node(at) = from else {
            return match (from, self.axis) {
                (Found::Attribute(element, _), Axis::Parent) => vec![Found::Node(element)],
                (_, Axis::This) => vec![from],
                _ => Vec::new(),
            };
        };
        let mut found: Vec<Found> = match self.axis {
            Axis::Child => document.nodes[at].children.iter().map(|child| Found::Node(*child)).collect(),
            Axis::This => vec![from],
            Axis::Parent if at == 0 => Vec::new(),
            Axis::Parent => vec![Found::Node(document.nodes[at].parent)],
            Axis::Attribute => match &document.nodes[at].kind {
                Kind::Element { attributes, .. } => {
                    (0..attributes.len()).map(|n| Found::Attribute(at, n)).collect()
                }
                _ => Vec::new(),
            },
            Axis::Descend => {
                let mut all = Vec::new();
                descend(document, at, &mut all);
                all
            }
        };
        found.retain(|found| self.test.holds(document, *found));
        for predicate in &self.predicates {
            let size = found.len();
            let mut position = 0;
            found.retain(|found| {
                position += 1;
                match predicate.eval(document, *found, position, size) {
                    Value::Number(number) => number == position as f64,
                    value => value.is_true(),
                }
            });
        }
        found
    }
}

fn descend(document: &Document, at: usize, out: &mut Vec<Found>) {
    out.push(Found::Node(at));
    document.nodes[at].children.iter().for_each(|child| descend(document, *child, out));
}

impl Test {
    fn holds(&self, document: &Document, found: Found) -> bool {
        let name = match found {
            Found::Node(at) => match &document.nodes[at].kind {
                Kind::Element { name, .. } => Some(name),
                Kind::Text(_) | Kind::CData(_) => return matches!(self, Self::Text | Self::Node),
                Kind::Comment(_) => return matches!(self, Self::Comment | Self::Node),
                Kind::Root | Kind::Instruction(_) | Kind::Doctype(_) => return matches!(self, Self::Node),
            },
            Found::Attribute(at, number) => attribute(document, at, number).map(|(key, _)| key),
        };
        match self {
            Self::Name(wanted) => name.is_some_and(|name| name == wanted),
            Self::Any => name.is_some(),
            Self::Node => true,
            Self::Text | Self::Comment => false,
        }
    }
}

pub(super) fn attribute(document: &Document, at: usize, number: usize) -> Option<&(String, String)> {
    match &document.nodes[at].kind {
        Kind::Element { attributes, .. } => attributes.get(number),
        _ => None,
    }
}

fn text(document: &Document, found: Found) -> String {
    match found {
        Found::Node(at) => document.text(at),
        Found::Attribute(at, number) => {
            attribute(document, at, number).map(|(_, v)| v.clone()).unwrap_or_default()
        }
    }
}

impl Value {
    fn is_true(&self) -> bool {
        match self {
            Self::Nodes(nodes) => !nodes.is_empty(),
            Self::Text(text) => !text.is_empty(),
            Self::Number(number) => *number != 0.0 && !number.is_nan(),
            Self::Bool(value) => *value,
        }
    }

    fn texts(&self, document: &Document) -> Vec<String> {
        match self {
            Self::Nodes(nodes) => nodes.iter().map(|found| text(document, *found)).collect(),
            Self::Text(text) => vec![text.clone()],
            Self::Number(number) => vec![number.to_string()],
            Self::Bool(value) => vec![value.to_string()],
        }
    }
}

impl Expr {
    fn eval(&self, document: &Document, from: Found, position: usize, size: usize) -> Value {
        let eval = |expr: &Self| expr.eval(document, from, position, size);
        match self {
            Self::Or(a, b) => Value::Bool(eval(a).is_true() || eval(b).is_true()),
            Self::And(a, b) => Value::Bool(eval(a).is_true() && eval(b).is_true()),
            Self::Compare(op, a, b) => {
                let (left, right) = (eval(a).texts(document), eval(b).texts(document));
                Value::Bool(left.iter().any(|a| right.iter().any(|b| compare(op, a, b))))
            }
            Self::Text(text) => Value::Text(text.clone()),
            Self::Number(number) => Value::Number(*number),
            Self::Path(location) => Value::Nodes(location.select(document, from)),
            Self::Call(name, args) => {
                // Of several nodes the first counts, but for `contains`: any of them, as users mean it.
                let texts = |at: usize| args.get(at).map(|arg| eval(arg).texts(document)).unwrap_or_default();
                let any = |test: fn(&str, &str) -> bool| {
                    let parts = texts(1);
                    Value::Bool(texts(0).iter().any(|t| parts.first().is_some_and(|part| test(t, part))))
                };
                match name.as_str() {
                    "contains" => any(|text, part| text.contains(part)),
                    "starts-with" => any(|text, part| text.starts_with(part)),
                    "not" => Value::Bool(!args.first().is_some_and(|arg| eval(arg).is_true())),
                    "position" => Value::Number(position as f64),
                    "last" => Value::Number(size as f64),
                    "count" => Value::Number(match args.first().map(eval) {
                        Some(Value::Nodes(nodes)) => nodes.len() as f64,
                        _ => 0.0,
                    }),
                    _ => Value::Text(match from {
                        Found::Node(at) => match &document.nodes[at].kind {
                            Kind::Element { name, .. } => name.clone(),
                            _ => String::new(),
                        },
                        Found::Attribute(at, n) => {
                            attribute(document, at, n).map(|(k, _)| k.clone()).unwrap_or_default()
                        }
                    }),
                }
            }
        }
    }
}

fn compare(op: &str, a: &str, b: &str) -> bool {
    let numbers = a.trim().parse::<f64>().ok().zip(b.trim().parse::<f64>().ok());
    match (op, numbers) {
        ("=", Some((a, b))) => a == b,
        ("!=", Some((a, b))) => a != b,
        ("=", None) => a == b,
        ("!=", None) => a != b,
        ("<", Some((a, b))) => a < b,
        ("<=", Some((a, b))) => a <= b,
        (">", Some((a, b))) => a > b,
        (">=", Some((a, b))) => a >= b,
        _ => false,
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn peek(&mut self, sign: &str) -> bool {
        self.space();
        self.text[self.at..].starts_with(sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.peek(sign);
        self.at += if found { sign.len() } else { 0 };
        found
    }

    fn need(&mut self, sign: &str) -> Result<(), String> {
        if self.take(sign) {
            Ok(())
        } else {
            Err(format!("expected `{sign}` at `{}`", &self.text[self.at..]))
        }
    }

    fn name(&mut self) -> Option<String> {
        self.space();
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| !(c.is_alphanumeric() || "_-.:".contains(c))).unwrap_or(rest.len());
        let name = &rest[..length];
        if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            return None;
        }
        self.at += length;
        Some(name.to_owned())
    }

    fn location(&mut self) -> Result<Location, String> {
        let mut steps = Vec::new();
        let absolute = self.peek("/");
        if self.take("//") {
            steps.push(Step { axis: Axis::Descend, test: Test::Node, predicates: Vec::new() });
        } else if self.take("/") {
            self.space();
            let rest = &self.text[self.at..];
            if rest.is_empty() || rest.starts_with(['|', ']', ')', ',']) {
                return Ok(Location { absolute, steps });
            }
        }
        loop {
            steps.push(self.step()?);
            if self.take("//") {
                steps.push(Step { axis: Axis::Descend, test: Test::Node, predicates: Vec::new() });
            } else if !self.take("/") {
                return Ok(Location { absolute, steps });
            }
        }
    }

    fn step(&mut self) -> Result<Step, String> {
        let (axis, test) = if self.take("..") {
            (Axis::Parent, Test::Node)
        } else if self.take(".") {
            (Axis::This, Test::Node)
        } else {
            let axis = if self.take("@") { Axis::Attribute } else { Axis::Child };
            let test = if self.take("*") {
                Test::Any
            } else {
                let name =
                    self.name().ok_or_else(|| format!("expected a step at `{}`", &self.text[self.at..]))?;
                if self.take("(") {
                    self.need(")")?;
                    match name.as_str() {
                        "text" => Test::Text,
                        "comment" => Test::Comment,
                        "node" => Test::Node,
                        _ => return Err(format!("`{name}()` is not supported as a step")),
                    }
                } else if name.contains("::") {
                    return Err(format!("the axis of `{name}` is not supported"));
                } else {
                    Test::Name(name)
                }
            };
            (axis, test)
        };
        let mut predicates = Vec::new();
        while self.take("[") {
            predicates.push(self.expr()?);
            self.need("]")?;
        }
        Ok(Step { axis, test, predicates })
    }

    fn expr(&mut self) -> Result<Expr, String> {
        if self.depth >= MAX_DEPTH {
            return Err("predicates are nested too deep".into());
        }
        self.depth += 1;
        let mut left = self.and()?;
        while self.word("or") {
            left = Expr::Or(Box::new(left), Box::new(self.and()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr, String> {
        let mut left = self.comparison()?;
        while self.word("and") {
            left = Expr::And(Box::new(left), Box::new(self.comparison()?));
        }
        Ok(left)
    }

    fn word(&mut self, word: &str) -> bool {
        self.space();
        let rest = &self.text[self.at..];
        let found =
            rest.strip_prefix(word).is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric()));
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn comparison(&mut self) -> Result<Expr, String> {
        let left = self.primary()?;
        for op in ["!=", "<=", ">=", "=", "<", ">"] {
            if self.take(op) {
                return Ok(Expr::Compare(op, Box::new(left), Box::new(self.primary()?)));
            }
        }
        Ok(left)
    }

    fn primary(&mut self) -> Result<Expr, String> {
        self.space();
        let rest = &self.text[self.at..];
        if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            let end = rest[1..].find(quote).ok_or("a quote is not closed")?;
            self.at += end + 2;
            return Ok(Expr::Text(rest[1..=end].to_owned()));
        }
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            let length = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            self.at += length;
            return rest[..length].parse().map(Expr::Number).map_err(|_| "a number is wrong".into());
        }
        if self.take("(") {
            let inner = self.expr()?;
            self.need(")")?;
            return Ok(inner);
        }
        let start = self.at;
        if let Some(name) = self.name() {
            const KNOWN: [&str; 7] = ["contains", "starts-with", "not", "position", "last", "count", "name"];
            if KNOWN.contains(&name.as_str()) && self.take("(") {
                let mut args = Vec::new();
                while !self.peek(")") {
                    args.push(self.expr()?);
                    if !self.take(",") {
                        break;
                    }
                }
                self.need(")")?;
                return Ok(Expr::Call(name, args));
            }
            self.at = start;
        }
        self.location().map(Expr::Path)
    }
}
