//! The tree of an expression.
//!
//! Operators bind as in expr-lang: or, and, comparisons, `..`, sums, products, powers, `??`.

use regex::Regex;

use super::builtin::{Builtin, Predicate};
use super::lex::{Token, lex};
use super::{Binary, MAX_DEPTH, Name, Node};
use crate::operators::value::Value;

type Result<T> = std::result::Result<T, String>;

/// Reads a whole expression.
pub fn parse(text: &str) -> Result<Node> {
    let mut parser = Parser { tokens: lex(text)?, at: 0, depth: 0, predicates: 0 };
    let node = parser.expression(0)?;
    match parser.peek() {
        None => Ok(node),
        Some(token) => Err(format!("the expression is over before {token}")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    predicates: usize,
}

/// How tight an infix operator binds, and whether its right side comes first.
fn infix(token: &Token) -> Option<(Binary, u32, bool)> {
    let word = match token {
        Token::Sign(sign) => *sign,
        Token::Name(name) => name.as_str(),
        _ => return None,
    };
    Some(match word {
        "||" | "or" => (Binary::Or, 10, false),
        "&&" | "and" => (Binary::And, 15, false),
        "==" => (Binary::Equal, 20, false),
        "!=" => (Binary::Unequal, 20, false),
        "<" => (Binary::Less, 20, false),
        "<=" => (Binary::LessEqual, 20, false),
        ">" => (Binary::Greater, 20, false),
        ">=" => (Binary::GreaterEqual, 20, false),
        "in" => (Binary::In, 20, false),
        "contains" => (Binary::Contains, 20, false),
        "startsWith" => (Binary::StartsWith, 20, false),
        "endsWith" => (Binary::EndsWith, 20, false),
        ".." => (Binary::Range, 25, false),
        "+" => (Binary::Add, 30, false),
        "-" => (Binary::Subtract, 30, false),
        "*" => (Binary::Multiply, 60, false),
        "/" => (Binary::Divide, 60, false),
        "%" => (Binary::Remainder, 60, false),
        "**" | "^" => (Binary::Power, 100, true),
        "??" => (Binary::Default, 500, false),
        _ => return None,
    })
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(s)) if *s == sign)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(n)) if n == word)
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<()> {
        if self.eat(sign) {
            return Ok(());
        }
        Err(match self.peek() {
            Some(token) => format!("expected {sign} before {token}"),
            None => format!("expected {sign} at the end"),
        })
    }

    fn next(&mut self) -> Result<Token> {
        let token = self.peek().cloned().ok_or("the expression ends where a value is expected")?;
        self.at += 1;
        Ok(token)
    }

    fn expression(&mut self, least: u32) -> Result<Node> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("the expression is deeper than {MAX_DEPTH}"));
        }
        let mut left = self.prefix()?;
        loop {
            if least <= 20 && self.is_word("matches") {
                self.at += 1;
                left = Node::Matches(Box::new(left), self.pattern()?);
                continue;
            }
            let negated = self.is_word("not")
                && matches!(self.tokens.get(self.at + 1), Some(Token::Name(n)) if n == "in");
            let operator =
                if negated { Some((Binary::NotIn, 20, false)) } else { self.peek().and_then(infix) };
            let Some((operator, binds, right_first)) = operator.filter(|(_, binds, _)| *binds >= least)
            else {
                break;
            };
            self.at += 1 + usize::from(negated);
            let right = self.expression(if right_first { binds } else { binds + 1 })?;
            left = Node::Binary(operator, Box::new(left), Box::new(right));
        }
        if least == 0 {
            left = self.tail(left)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    /// What binds least: a choice, and pipes into functions.
    fn tail(&mut self, mut left: Node) -> Result<Node> {
        loop {
            if self.eat("?") {
                let yes = self.expression(0)?;
                self.expect(":")?;
                let no = self.expression(0)?;
                left = Node::Choice(Box::new([left, yes, no]));
            } else if self.eat("|") {
                let Token::Name(name) = self.next()? else { return Err("a function comes after |".into()) };
                self.expect("(")?;
                left = self.call(&name, Some(left))?;
            } else {
                return Ok(left);
            }
        }
    }

    fn pattern(&mut self) -> Result<Regex> {
        match self.next()? {
            Token::Text(text) => {
                Regex::new(&text).map_err(|e| format!("{text:?} is no regular expression: {e}"))
            }
            token => Err(format!("matches needs a regular expression in quotes, not {token}")),
        }
    }

    fn prefix(&mut self) -> Result<Node> {
        if self.eat("!") {
            return Ok(Node::Not(Box::new(self.expression(50)?)));
        }
        if self.is_word("not") {
            self.at += 1;
            return Ok(Node::Not(Box::new(self.expression(50)?)));
        }
        if self.eat("-") {
            return Ok(Node::Negate(Box::new(self.expression(90)?)));
        }
        if self.eat("+") {
            return self.expression(90);
        }
        let node = self.primary()?;
        self.members(node)
    }

    fn primary(&mut self) -> Result<Node> {
        Ok(match self.next()? {
            Token::Int(v) => Node::Literal(Value::Int(v)),
            Token::Float(v) => Node::Literal(Value::Float(v)),
            Token::Text(v) => Node::Literal(Value::Text(v)),
            Token::Sign("(") => {
                let node = self.expression(0)?;
                self.expect(")")?;
                node
            }
            Token::Sign("[") => Node::List(self.list("]")?),
            Token::Sign("{") => self.map()?,
            Token::Sign("#") if self.predicates > 0 => Node::Name(Name::Item),
            Token::Sign(".") if self.predicates > 0 => {
                self.at -= 1;
                Node::Name(Name::Item)
            }
            Token::Sign(sign) => return Err(format!("{sign} where a value is expected")),
            Token::Name(name) if self.eat("(") => self.call(&name, None)?,
            Token::Name(name) => match name.as_str() {
                "true" => Node::Literal(Value::Bool(true)),
                "false" => Node::Literal(Value::Bool(false)),
                "nil" => Node::Literal(Value::Null),
                "body" | "$body" | "$" => Node::Name(Name::Body),
                "attributes" | "$attributes" => Node::Name(Name::Attributes),
                "resource" | "$resource" => Node::Name(Name::Resource),
                "timestamp" | "$timestamp" => Node::Name(Name::Timestamp),
                "severity_text" => Node::Name(Name::SeverityText),
                "severity_number" => Node::Name(Name::SeverityNumber),
                _ => {
                    return Err(format!(
                        "{name} is nothing that an expression may name: there are body, attributes, resource, \
                         timestamp, severity_text and severity_number"
                    ));
                }
            },
        })
    }

    fn members(&mut self, mut node: Node) -> Result<Node> {
        let mut length = 0;
        loop {
            length += 1;
            if length > MAX_DEPTH {
                return Err(format!("the expression is deeper than {MAX_DEPTH}"));
            }
            let optional = self.is("?.") || self.is("?[");
            if self.eat(".") || self.eat("?.") {
                let Ok(Token::Name(name)) = self.next() else {
                    return Err("a name comes after a dot; put others in brackets".into());
                };
                let key = Box::new(Node::Literal(Value::Text(name)));
                node = Node::Member { of: Box::new(node), key, optional };
            } else if self.eat("[") || self.eat("?[") {
                node = self.index(node, optional)?;
            } else {
                return Ok(node);
            }
        }
    }

    fn index(&mut self, of: Node, optional: bool) -> Result<Node> {
        let of = Box::new(of);
        let from = if self.is(":") { None } else { Some(Box::new(self.expression(1)?)) };
        if self.eat(":") {
            let to = if self.is("]") { None } else { Some(Box::new(self.expression(1)?)) };
            self.expect("]")?;
            return Ok(Node::Slice { of, from, to });
        }
        self.expect("]")?;
        let key = from.ok_or("brackets are empty")?;
        Ok(Node::Member { of, key, optional })
    }

    fn list(&mut self, end: &str) -> Result<Vec<Node>> {
        let mut list = Vec::new();
        while !self.eat(end) {
            list.push(self.expression(0)?);
            if !self.is(end) {
                self.expect(",")?;
            }
        }
        Ok(list)
    }

    fn map(&mut self) -> Result<Node> {
        let mut pairs = Vec::new();
        while !self.eat("}") {
            let key = match self.next()? {
                Token::Name(name) | Token::Text(name) => Node::Literal(Value::Text(name)),
                Token::Sign("(") => {
                    let key = self.expression(0)?;
                    self.expect(")")?;
                    key
                }
                token => return Err(format!("a map's key cannot be {token}")),
            };
            self.expect(":")?;
            pairs.push((key, self.expression(0)?));
            if !self.is("}") {
                self.expect(",")?;
            }
        }
        Ok(Node::Map(pairs))
    }

    /// The parenthesis is open already.
    fn call(&mut self, name: &str, piped: Option<Node>) -> Result<Node> {
        if let Some(predicate) = Predicate::named(name) {
            let list = match piped {
                Some(list) => list,
                None => {
                    let list = self.expression(0)?;
                    self.expect(",")?;
                    list
                }
            };
            self.predicates += 1;
            let braces = self.eat("{");
            let test = self.expression(0)?;
            if braces {
                self.expect("}")?;
            }
            self.predicates -= 1;
            self.expect(")")?;
            return Ok(Node::Each(predicate, Box::new(list), Box::new(test)));
        }
        let Some((builtin, least, most)) = Builtin::named(name) else {
            return Err(format!("there is no function {name}, or it is not supported"));
        };
        let mut arguments: Vec<Node> = piped.into_iter().collect();
        arguments.extend(self.list(")")?);
        if !(least..=most).contains(&arguments.len()) {
            return Err(format!("{name} does not take {} arguments", arguments.len()));
        }
        Ok(Node::Call(builtin, arguments))
    }
}
