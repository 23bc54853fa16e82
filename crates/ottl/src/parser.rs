//! Tokens to a tree, by recursive descent so that each mistake knows what was expected.
//!
//! From loose to tight: `or`, `and`, `not`, comparison, `+ -`, `* /`. Depth is bounded.

use crate::ast::{Argument, Call, CompareOp, Field, Kind, MathOp, Node, Path, Statement};
use crate::error::{Mistake, ParseError};
use crate::lexer::{self, Token};

/// Parentheses, lists and calls inside of each other.
const MAX_DEPTH: usize = 64;
/// Arithmetic in one text: a long chain is a deep tree.
const MAX_TERMS: usize = 512;

pub(crate) fn statement(text: &str) -> Result<Statement, ParseError> {
    parse(text, |parser| parser.statement())
}

pub(crate) fn condition(text: &str) -> Result<Node, ParseError> {
    parse(text, |parser| parser.or())
}

pub(crate) fn value(text: &str) -> Result<Node, ParseError> {
    parse(text, |parser| parser.sum())
}

fn parse<T>(text: &str, rule: fn(&mut Parser<'_>) -> Result<T, Mistake>) -> Result<T, ParseError> {
    let run = || {
        let tokens = lexer::tokens(text)?;
        let mut parser = Parser { text, tokens, at: 0, depth: 0, terms: 0 };
        let found = rule(&mut parser)?;
        parser.end()?;
        Ok(found)
    };
    run().map_err(|mistake: Mistake| mistake.of(text))
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    terms: usize,
}

impl<'t> Parser<'t> {
    fn token(&self) -> &Token {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> &Token {
        self.tokens.get(self.at + by).unwrap_or_else(|| self.tokens.last().expect("the end is a token"))
    }

    fn is(&self, sign: &str) -> bool {
        self.is_at(0, sign)
    }

    fn is_at(&self, by: usize, sign: &str) -> bool {
        matches!(self.ahead(by).kind, lexer::Kind::Sign(found) if found == sign)
    }

    fn word_at(&self, by: usize) -> Option<&'t str> {
        let token = self.ahead(by);
        matches!(token.kind, lexer::Kind::Name).then(|| &self.text[token.span.clone()])
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.word_at(0) == Some(word);
        self.at += usize::from(found);
        found
    }

    fn need(&mut self, sign: &str) -> Result<(), Mistake> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn unexpected(&self, expected: &str) -> Mistake {
        let span = self.token().span.clone();
        let found = match self.token().kind {
            lexer::Kind::End => "the text ends here".to_owned(),
            _ => format!("unexpected `{}`", &self.text[span.clone()]),
        };
        Mistake::new(span, format!("{found}, expected {expected}"))
    }

    fn end(&self) -> Result<(), Mistake> {
        if matches!(self.token().kind, lexer::Kind::End) {
            return Ok(());
        }
        Err(self.unexpected("an operator or the end"))
    }

    fn start(&self) -> usize {
        self.token().span.start
    }

    /// Where the last token ends.
    fn stop(&self) -> usize {
        self.tokens[self.at - 1].span.end
    }

    fn deeper<T>(&mut self, rule: impl FnOnce(&mut Self) -> Result<T, Mistake>) -> Result<T, Mistake> {
        if self.depth >= MAX_DEPTH {
            let span = self.token().span.clone();
            return Err(Mistake::new(span, format!("nested more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        let result = rule(self);
        self.depth -= 1;
        result
    }

    fn statement(&mut self) -> Result<Statement, Mistake> {
        let span = self.token().span.clone();
        let Some(name) = self.word_at(0) else { return Err(self.unexpected("the name of an editor")) };
        if name.starts_with(|c: char| c.is_ascii_uppercase()) {
            return Err(Mistake::new(
                span,
                format!("a statement begins with an editor, but `{name}` is a converter"),
            )
            .with_help("editors begin with a lower-case letter, for example `set(…)`"));
        }
        if !self.is_at(1, "(") {
            self.at += 1;
            return Err(self.unexpected("`(` behind the name of an editor"));
        }
        let editor = self.call()?;
        if let Some(key) = editor.keys.first() {
            return Err(Mistake::new(
                key.span.clone(),
                "only paths and converters can be indexed, not editors",
            ));
        }
        let condition = if self.take_word("where") { Some(self.or()?) } else { None };
        if condition.is_none() && !matches!(self.token().kind, lexer::Kind::End) {
            return Err(self.unexpected("`where` or the end"));
        }
        Ok(Statement { editor, condition })
    }

    fn or(&mut self) -> Result<Node, Mistake> {
        self.joined("or", Self::and, Kind::Or)
    }

    fn and(&mut self) -> Result<Node, Mistake> {
        self.joined("and", Self::not, Kind::And)
    }

    fn joined(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Node, Mistake>,
        kind: fn(Vec<Node>) -> Kind,
    ) -> Result<Node, Mistake> {
        let start = self.start();
        let first = part(self)?;
        if self.word_at(0) != Some(word) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take_word(word) {
            parts.push(part(self)?);
        }
        Ok(Node { kind: kind(parts), span: start..self.stop() })
    }

    fn not(&mut self) -> Result<Node, Mistake> {
        let start = self.start();
        if !self.take_word("not") {
            return self.comparison();
        }
        let inner = self.deeper(Self::not)?;
        Ok(Node { kind: Kind::Not(Box::new(inner)), span: start..self.stop() })
    }

    fn comparison(&mut self) -> Result<Node, Mistake> {
        let start = self.start();
        let left = self.sum()?;
        let Some(op) = self.compare_op() else { return Ok(left) };
        self.at += 1;
        let right = self.sum()?;
        if self.compare_op().is_some() {
            return Err(self.unexpected("one comparison, joined to others with `and` or `or`"));
        }
        Ok(Node { kind: Kind::Compare(op, Box::new(left), Box::new(right)), span: start..self.stop() })
    }

    fn compare_op(&self) -> Option<CompareOp> {
        let lexer::Kind::Sign(sign) = self.token().kind else { return None };
        Some(match sign {
            "==" => CompareOp::Equal,
            "!=" => CompareOp::NotEqual,
            "<" => CompareOp::Less,
            "<=" => CompareOp::LessOrEqual,
            ">" => CompareOp::Greater,
            ">=" => CompareOp::GreaterOrEqual,
            _ => return None,
        })
    }

    fn sum(&mut self) -> Result<Node, Mistake> {
        self.math(Self::product, &[("+", MathOp::Add), ("-", MathOp::Subtract)])
    }

    fn product(&mut self) -> Result<Node, Mistake> {
        self.math(Self::primary, &[("*", MathOp::Multiply), ("/", MathOp::Divide)])
    }

    fn math(
        &mut self,
        part: fn(&mut Self) -> Result<Node, Mistake>,
        ops: &[(&str, MathOp)],
    ) -> Result<Node, Mistake> {
        let start = self.start();
        let mut left = part(self)?;
        while let Some((_, op)) = ops.iter().find(|(sign, _)| self.is(sign)) {
            self.terms += 1;
            if self.terms > MAX_TERMS {
                return Err(Mistake::new(self.token().span.clone(), "too many terms"));
            }
            self.at += 1;
            let right = part(self)?;
            let span = start..self.stop();
            left = Node { kind: Kind::Math(*op, Box::new(left), Box::new(right)), span };
        }
        Ok(left)
    }

    fn primary(&mut self) -> Result<Node, Mistake> {
        let span = self.token().span.clone();
        let kind = match &self.token().kind {
            lexer::Kind::Int(value) => Kind::Int(*value),
            lexer::Kind::Float(value) => Kind::Float(*value),
            lexer::Kind::Text(value) => Kind::Text(value.clone()),
            lexer::Kind::Bytes(value) => Kind::Bytes(value.clone()),
            lexer::Kind::Name => return self.named(),
            lexer::Kind::Sign("(") if self.is_lambda() => return self.deeper(Self::lambda),
            lexer::Kind::Sign("(") => {
                self.at += 1;
                let inner = self.deeper(Self::or)?;
                self.need(")")?;
                return Ok(Node { kind: inner.kind, span: span.start..self.stop() });
            }
            lexer::Kind::Sign("[") => return self.deeper(Self::list),
            lexer::Kind::Sign("{") => return self.deeper(Self::map),
            lexer::Kind::Sign(_) | lexer::Kind::End => return Err(self.unexpected("a value")),
        };
        self.at += 1;
        Ok(Node { kind, span })
    }

    fn named(&mut self) -> Result<Node, Mistake> {
        let span = self.token().span.clone();
        let name = self.word_at(0).expect("a name");
        let kind = match name {
            "true" | "false" => Kind::Bool(name == "true"),
            "nil" => Kind::Nil,
            "and" | "or" | "not" | "where" => return Err(self.unexpected("a value")),
            _ if self.is_at(1, "(") => {
                if !name.starts_with(|c: char| c.is_ascii_uppercase()) {
                    return Err(Mistake::new(span, format!("`{name}` is called like a converter"))
                        .with_help("the names of converters begin with an upper-case letter"));
                }
                let call = self.deeper(Self::call)?;
                let span = span.start..self.stop();
                return Ok(Node { kind: Kind::Call(call), span });
            }
            _ if name.starts_with(|c: char| c.is_ascii_uppercase()) => {
                match name.contains(|c: char| c.is_ascii_lowercase()) {
                    true => Kind::Function(name.to_owned()),
                    false => Kind::Enum(name.to_owned()),
                }
            }
            _ => return self.path(),
        };
        self.at += 1;
        Ok(Node { kind, span })
    }

    fn path(&mut self) -> Result<Node, Mistake> {
        let start = self.start();
        let mut fields = Vec::new();
        loop {
            let span = self.token().span.clone();
            let Some(name) = self.word_at(0) else { return Err(self.unexpected("the name of a field")) };
            if name.contains(|c: char| c.is_ascii_uppercase()) {
                return Err(
                    Mistake::new(span, format!("`{name}` is no field")).with_help("fields are lower case")
                );
            }
            self.at += 1;
            let keys = self.keys()?;
            fields.push(Field { name: name.to_owned(), span, keys });
            if !self.take(".") {
                return Ok(Node { kind: Kind::Path(Path { fields }), span: start..self.stop() });
            }
        }
    }

    fn keys(&mut self) -> Result<Vec<Node>, Mistake> {
        let mut keys = Vec::new();
        while self.take("[") {
            keys.push(self.deeper(Self::sum)?);
            self.need("]")?;
        }
        Ok(keys)
    }

    fn call(&mut self) -> Result<Call, Mistake> {
        let name_span = self.token().span.clone();
        let name = self.word_at(0).expect("a name").to_owned();
        self.at += 2;
        let mut arguments = Vec::new();
        while !self.is(")") {
            arguments.push(self.deeper(Self::argument)?);
            if !self.take(",") {
                break;
            }
            if self.is(")") {
                return Err(self.unexpected("an argument"));
            }
        }
        if !self.take(")") {
            return Err(self.unexpected("`,` or `)`"));
        }
        let span = name_span.start..self.stop();
        let keys = self.keys()?;
        Ok(Call { name, name_span, span, arguments, keys })
    }

    fn argument(&mut self) -> Result<Argument, Mistake> {
        let name = match self.word_at(0) {
            Some(name) if self.is_at(1, "=") => {
                let span = self.token().span.clone();
                self.at += 2;
                Some((name.to_owned(), span))
            }
            _ => None,
        };
        Ok(Argument { name, value: self.sum()? })
    }

    fn list(&mut self) -> Result<Node, Mistake> {
        let start = self.start();
        self.need("[")?;
        let mut items = Vec::new();
        while !self.is("]") {
            items.push(self.sum()?);
            if !self.take(",") {
                break;
            }
        }
        if !self.take("]") {
            return Err(self.unexpected("`,` or `]`"));
        }
        Ok(Node { kind: Kind::List(items), span: start..self.stop() })
    }

    fn map(&mut self) -> Result<Node, Mistake> {
        let start = self.start();
        self.need("{")?;
        let mut entries = Vec::new();
        while !self.is("}") {
            let lexer::Kind::Text(key) = &self.token().kind else {
                return Err(self.unexpected("a key: text in quotes"));
            };
            let key = key.clone();
            self.at += 1;
            self.need(":")?;
            entries.push((key, self.sum()?));
            if !self.take(",") {
                break;
            }
        }
        if !self.take("}") {
            return Err(self.unexpected("`,` or `}`"));
        }
        Ok(Node { kind: Kind::Map(entries), span: start..self.stop() })
    }

    /// Whether `(a, b) =>` or `() =>` is next.
    fn is_lambda(&self) -> bool {
        let mut by = 1;
        while self.word_at(by).is_some() {
            by += 1;
            if !self.is_at(by, ",") {
                break;
            }
            by += 1;
        }
        self.is_at(by, ")") && self.is_at(by + 1, "=>")
    }

    fn lambda(&mut self) -> Result<Node, Mistake> {
        let start = self.start();
        self.need("(")?;
        let mut names: Vec<String> = Vec::new();
        while let Some(name) = self.word_at(0) {
            if name != "_" && names.iter().any(|known| known == name) {
                return Err(Mistake::new(
                    self.token().span.clone(),
                    format!("the parameter `{name}` is there twice"),
                ));
            }
            names.push(name.to_owned());
            self.at += 1;
            if !self.take(",") {
                break;
            }
        }
        self.need(")")?;
        self.need("=>")?;
        let body = self.or()?;
        Ok(Node { kind: Kind::Lambda(names, Box::new(body)), span: start..self.stop() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree with all its parentheses.
    fn show(node: &Node) -> String {
        let list = |nodes: &[Node], by: &str| nodes.iter().map(show).collect::<Vec<_>>().join(by);
        match &node.kind {
            Kind::Nil => "nil".into(),
            Kind::Bool(v) => v.to_string(),
            Kind::Int(v) => v.to_string(),
            Kind::Float(v) => format!("{v:?}"),
            Kind::Text(v) => format!("{v:?}"),
            Kind::Bytes(v) => format!("0x{}", const_hex::encode(v)),
            Kind::Enum(name) | Kind::Function(name) => name.clone(),
            Kind::Path(path) => {
                let field =
                    |f: &Field| f.keys.iter().fold(f.name.clone(), |all, k| format!("{all}[{}]", show(k)));
                path.fields.iter().map(field).collect::<Vec<_>>().join(".")
            }
            Kind::Call(call) => {
                let argument = |a: &Argument| match &a.name {
                    Some((name, _)) => format!("{name}={}", show(&a.value)),
                    None => show(&a.value),
                };
                let arguments: Vec<_> = call.arguments.iter().map(argument).collect();
                let keys: String = call.keys.iter().map(|k| format!("[{}]", show(k))).collect();
                format!("{}({}){keys}", call.name, arguments.join(", "))
            }
            Kind::List(items) => format!("[{}]", list(items, ", ")),
            Kind::Map(entries) => {
                let entries: Vec<_> = entries.iter().map(|(k, v)| format!("{k:?}: {}", show(v))).collect();
                format!("{{{}}}", entries.join(", "))
            }
            Kind::Math(op, a, b) => format!("({} {op:?} {})", show(a), show(b)),
            Kind::Lambda(names, body) => format!("({}) => {}", names.join(", "), show(body)),
            Kind::Compare(op, a, b) => format!("({} {op:?} {})", show(a), show(b)),
            Kind::And(nodes) => format!("({})", list(nodes, " and ")),
            Kind::Or(nodes) => format!("({})", list(nodes, " or ")),
            Kind::Not(node) => format!("not {}", show(node)),
        }
    }

    #[test]
    fn conditions_bind_as_upstream() {
        let cases = [
            ("a == 1 or b == 2 and c == 3", "((a Equal 1) or ((b Equal 2) and (c Equal 3)))"),
            ("not a == 1 and b != nil", "(not (a Equal 1) and (b NotEqual nil))"),
            ("not (a < 1 or true)", "not ((a Less 1) or true)"),
            ("1 + 2 * 3 >= x - 1", "((1 Add (2 Multiply 3)) GreaterOrEqual (x Subtract 1))"),
            ("(1 + 2) * 3 == 9", "(((1 Add 2) Multiply 3) Equal 9)"),
            ("IsMatch(name, \"a.*\")", "IsMatch(name, \"a.*\")"),
            ("kind == SPAN_KIND_SERVER", "(kind Equal SPAN_KIND_SERVER)"),
            ("Any(x, (_, v) => v == 1 or v == 2)", "Any(x, (_, v) => ((v Equal 1) or (v Equal 2)))"),
            ("When(() => a > 0, 1, 2) == 1", "(When(() => (a Greater 0), 1, 2) Equal 1)"),
        ];
        for (text, expected) in cases {
            assert_eq!(show(&condition(text).expect(text)), expected);
        }
    }

    #[test]
    fn values_are_read_with_keys_names_and_nesting() {
        let cases = [
            (r#"attributes["a"]["b"][0]"#, r#"attributes["a"]["b"][0]"#),
            (r#"attributes[attributes["k"]]"#, r#"attributes[attributes["k"]]"#),
            (r#"Split(x, ",")[0]"#, r#"Split(x, ",")[0]"#),
            (r#"{"a": [1, .5, 0x00], "b": {}}"#, r#"{"a": [1, 0.5, 0x00], "b": {}}"#),
            ("Sort(x, order = \"desc\")", "Sort(x, order=\"desc\")"),
            ("F(x, SHA256)", "F(x, SHA256)"),
            ("F(x, ConvertCase)", "F(x, ConvertCase)"),
        ];
        for (text, expected) in cases {
            assert_eq!(show(&value(text).expect(text)), expected);
        }
    }

    #[test]
    fn a_mistake_says_where_and_what_was_expected() {
        let cases = [
            ("set(a, )", 8, "unexpected `)`, expected an argument"),
            ("set(a 1)", 7, "unexpected `1`, expected `,` or `)`"),
            ("set(a, 1", 9, "the text ends here, expected `,` or `)`"),
            ("set(a, 1) when true", 11, "unexpected `when`, expected `where` or the end"),
            ("set(a, 1) where", 16, "the text ends here, expected a value"),
            ("Set(a, 1)", 1, "a statement begins with an editor, but `Set` is a converter"),
            ("set", 4, "the text ends here, expected `(` behind the name of an editor"),
            ("set(a, concat(b))", 8, "`concat` is called like a converter"),
            ("set(a, 1)[0]", 11, "only paths and converters can be indexed, not editors"),
            ("set(a, 1) where a == b == c", 24, "unexpected `==`, expected one comparison"),
            ("set(a, {b: 1})", 9, "unexpected `b`, expected a key: text in quotes"),
            ("", 1, "the text ends here, expected the name of an editor"),
        ];
        for (text, column, message) in cases {
            let error = statement(text).expect_err(text);
            assert!(error.message.contains(message), "{text}: {error}");
            assert_eq!(error.column(), column, "{error}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        for (open, close) in
            [("(", ")"), ("[", "]"), ("A(", ")"), ("not ", ""), ("{\"a\":", "}"), ("a[", "]")]
        {
            let text = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
            let error = condition(&text).expect_err("too deep");
            assert!(error.message.contains("deep"), "{error}");
        }
        assert!(value(&"1+".repeat(10_000)).expect_err("too long").message.contains("too many"));
    }
}
