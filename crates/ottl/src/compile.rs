//! A tree to expressions: paths, functions and enums are looked up for a context, arguments are put in their
//! places, and what can be known is checked and compiled.

use crate::ast::{self, Kind, Node};
use crate::context::Context;
use crate::enums;
use crate::error::Mistake;
use crate::expr::{Call, Expr, Lambda, Test};
use crate::functions::{self, Arg, Args, Function, Group, Param, Pattern, Takes};
use crate::path::{Key, Path};
use crate::value::Value;

/// Looks names up.
pub(crate) struct Compiler<'c> {
    pub(crate) context: Context,
    pub(crate) groups: &'c [Group],
    pub(crate) text: &'c str,
    /// The parameters of the lambdas around, outermost first.
    pub(crate) locals: Vec<Vec<String>>,
}

impl Compiler<'_> {
    /// An editor with its arguments.
    pub(crate) fn editor(&mut self, call: &ast::Call) -> Result<Call, Mistake> {
        let call = self.call(call)?;
        Ok(call)
    }

    pub(crate) fn test(&mut self, node: &Node) -> Result<Test, Mistake> {
        let all =
            |this: &mut Self, nodes: &[Node]| nodes.iter().map(|n| this.test(n)).collect::<Result<_, _>>();
        Ok(match &node.kind {
            Kind::Bool(value) => Test::Constant(*value),
            Kind::And(nodes) => Test::And(all(self, nodes)?),
            Kind::Or(nodes) => Test::Or(all(self, nodes)?),
            Kind::Not(inner) => Test::Not(Box::new(self.test(inner)?)),
            Kind::Compare(op, left, right) => Test::Compare(*op, self.expr(left)?, self.expr(right)?),
            Kind::Call(_) => Test::Value(self.expr(node)?),
            Kind::Path(path) if self.local(path).is_some() => Test::Value(self.expr(node)?),
            _ => {
                return Err(Mistake::new(node.span.clone(), "this is a value and no condition")
                    .with_help("compare it, for example `… == true` or `… != nil`"));
            }
        })
    }

    pub(crate) fn expr(&mut self, node: &Node) -> Result<Expr, Mistake> {
        Ok(match &node.kind {
            Kind::Nil => Expr::Literal(Value::Nil),
            Kind::Bool(v) => Expr::Literal(Value::Bool(*v)),
            Kind::Int(v) => Expr::Literal(Value::Int(*v)),
            Kind::Float(v) => Expr::Literal(Value::Double(*v)),
            Kind::Text(v) => Expr::Literal(Value::string(v.clone())),
            Kind::Bytes(v) => Expr::Literal(Value::Bytes(v.clone().into())),
            Kind::Enum(symbol) => {
                let value = enums::value(self.context, symbol).ok_or_else(|| {
                    let message = format!("`{symbol}` is no constant of the context {}", self.context.name());
                    Mistake::new(node.span.clone(), message).did_you_mean(symbol, enums::names(self.context))
                })?;
                Expr::Literal(Value::Int(value))
            }
            Kind::Path(path) => match self.local(path) {
                Some((out, at)) => {
                    if let Some(field) = path.fields.get(1) {
                        return Err(Mistake::new(field.span.clone(), "a parameter has no fields")
                            .with_help("index it with `[\"key\"]`"));
                    }
                    Expr::Local { out, at, keys: self.keys(&path.fields[0].keys)? }
                }
                None => Expr::Path(self.path(node, path)?),
            },
            Kind::Call(call) => Expr::Call(self.converter(call)?),
            Kind::List(items) => Expr::List(items.iter().map(|n| self.expr(n)).collect::<Result<_, _>>()?),
            Kind::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| Ok((key.clone(), self.expr(value)?)));
                Expr::Map(entries.collect::<Result<_, Mistake>>()?)
            }
            Kind::Math(op, left, right) => {
                Expr::Math(*op, Box::new(self.expr(left)?), Box::new(self.expr(right)?))
            }
            Kind::Lambda(..) => {
                return Err(Mistake::new(
                    node.span.clone(),
                    "a lambda is only an argument of functions that take one",
                ));
            }
            Kind::Function(name) => {
                return Err(Mistake::new(node.span.clone(), format!("`{name}` is no value"))
                    .with_help(format!("call it: `{name}(…)`")));
            }
            Kind::Compare(..) | Kind::And(_) | Kind::Or(_) | Kind::Not(_) => {
                return Err(Mistake::new(node.span.clone(), "a condition is no value here"));
            }
        })
    }

    /// Which lambda's parameter a path is, counted outwards, and which of its parameters.
    fn local(&self, path: &ast::Path) -> Option<(usize, usize)> {
        let name = &path.fields.first()?.name;
        let mut scopes = self.locals.iter().rev().enumerate();
        scopes.find_map(|(out, names)| Some((out, names.iter().position(|n| n == name && n != "_")?)))
    }

    fn path(&mut self, node: &Node, path: &ast::Path) -> Result<Path, Mistake> {
        let last = path.fields.last().expect("a path has a field");
        let keys = self.keys(&last.keys)?;
        Path::resolve(self.context, path, &self.text[node.span.clone()], keys)
    }

    fn keys(&mut self, nodes: &[Node]) -> Result<Vec<Key>, Mistake> {
        let key = |node: &Node| {
            Ok(match &node.kind {
                Kind::Text(text) => Key::Text(text.clone()),
                Kind::Int(at) if *at >= 0 => Key::Int(*at),
                Kind::Path(_) | Kind::Call(_) | Kind::Math(..) => Key::Dynamic(self.expr(node)?),
                _ => {
                    return Err(Mistake::new(node.span.clone(), "a key has to be a string or an int from 0"));
                }
            })
        };
        nodes.iter().map(key).collect()
    }

    fn converter(&mut self, call: &ast::Call) -> Result<Call, Mistake> {
        self.call(call)
    }

    fn find(&self, name: &str, span: ast::Span) -> Result<&'static Function, Mistake> {
        let editor = name.starts_with(|c: char| c.is_ascii_lowercase());
        let what = if editor { "editor" } else { "converter" };
        let Some(function) = functions::find(name, self.groups) else {
            let names = functions::all(self.groups).filter(|f| f.is_editor() == editor).map(|f| f.name);
            return Err(Mistake::new(span, format!("there is no {what} `{name}`")).did_you_mean(name, names));
        };
        if !function.contexts.is_empty() && !function.contexts.contains(&self.context) {
            let contexts: Vec<&str> = function.contexts.iter().map(|c| c.name()).collect();
            let message = format!("`{name}` cannot be used in the context {}", self.context.name());
            return Err(Mistake::new(span, message).with_help(format!("use it in {}", contexts.join(", "))));
        }
        Ok(function)
    }

    fn call(&mut self, call: &ast::Call) -> Result<Call, Mistake> {
        let function = self.find(&call.name, call.name_span.clone())?;
        let mut places: Vec<Option<&ast::Argument>> = vec![None; function.params.len()];
        let mut named = false;
        for (position, argument) in call.arguments.iter().enumerate() {
            let place = match &argument.name {
                Some((name, span)) => {
                    named = true;
                    place_of(function, name).ok_or_else(|| {
                        let mistake =
                            Mistake::new(span.clone(), format!("`{}` has no argument `{name}`", call.name));
                        mistake.did_you_mean(name, function.params.iter().map(|p| p.name))
                    })?
                }
                None if named => {
                    let message = "an argument without a name cannot follow one with a name";
                    return Err(Mistake::new(argument.value.span.clone(), message));
                }
                None => position,
            };
            match places.get_mut(place) {
                Some(free @ None) => *free = Some(argument),
                Some(Some(_)) => {
                    let message = format!("the argument `{}` is there twice", function.params[place].name);
                    return Err(Mistake::new(argument.value.span.clone(), message));
                }
                None => {
                    let message =
                        format!("`{}` takes at most {} arguments", call.name, function.params.len());
                    return Err(
                        Mistake::new(argument.value.span.clone(), message).with_help(function.usage())
                    );
                }
            }
        }
        let mut args = Vec::with_capacity(places.len());
        for (param, place) in function.params.iter().zip(&places) {
            args.push(match place {
                Some(argument) => self.argument(function, param, &argument.value)?,
                None if param.optional => Arg::Absent,
                None => {
                    let end = call.span.end;
                    let message = format!("`{}` needs the argument `{}`", call.name, param.name);
                    return Err(Mistake::new(end - 1..end, message).with_help(function.usage()));
                }
            });
        }
        let mut args = Args::new(args);
        if let Some(prepare) = function.prepare {
            prepare(&mut args)
                .map_err(|message| Mistake::new(call.span.clone(), format!("{}: {message}", call.name)))?;
        }
        Ok(Call { function, args, keys: self.keys(&call.keys)? })
    }

    fn argument(&mut self, function: &Function, param: &Param, node: &Node) -> Result<Arg, Mistake> {
        let wrong = |expected: &str| {
            Mistake::new(node.span.clone(), format!("the argument `{}` has to be {expected}", param.name))
                .with_help(function.usage())
        };
        Ok(match param.takes {
            Takes::Target => match &node.kind {
                Kind::Path(path) if self.local(path).is_none() => {
                    let path = self.path(node, path)?;
                    if path.is_of_client() {
                        return Err(Mistake::new(
                            node.span.clone(),
                            format!("`{}` can only be read", path.text),
                        ));
                    }
                    Arg::Target(path)
                }
                _ => return Err(wrong("a path that can be set")),
            },
            Takes::Lambda(arity) => match &node.kind {
                Kind::Lambda(names, body) if names.len() == arity => {
                    self.locals.push(names.clone());
                    let body = self.body(body);
                    self.locals.pop();
                    Arg::Lambda(Lambda { body: body? })
                }
                _ => {
                    return Err(wrong(&format!(
                        "a lambda with {arity} parameters, for example `{}`",
                        example(arity)
                    )));
                }
            },
            Takes::Function => match &node.kind {
                Kind::Function(name) | Kind::Enum(name) => {
                    let found = self.find(name, node.span.clone())?;
                    if found.params.is_empty() || found.params.iter().skip(1).any(|p| !p.optional) {
                        return Err(wrong("the name of a converter that takes one value"));
                    }
                    Arg::Function(found)
                }
                _ => return Err(wrong("the name of a converter")),
            },
            Takes::Values => match &node.kind {
                Kind::List(items) => {
                    Arg::Values(items.iter().map(|n| self.expr(n)).collect::<Result<_, _>>()?)
                }
                Kind::Path(_) | Kind::Call(_) => Arg::Value(self.expr(node)?),
                _ => return Err(wrong("a list")),
            },
            Takes::Regex => {
                let expr = self.expr(node)?;
                match expr.literal() {
                    Some(Value::Str(pattern)) => Arg::Regex(
                        Pattern::fixed(pattern)
                            .map_err(|error| Mistake::new(node.span.clone(), error.to_string()))?,
                    ),
                    Some(_) => return Err(wrong("a string")),
                    None => Arg::Regex(Pattern::dynamic(expr)),
                }
            }
            Takes::Fixed => {
                let expr = self.expr(node)?;
                match expr.literal() {
                    Some(Value::Str(_)) => Arg::Value(expr),
                    _ => return Err(wrong("a string that is written out")),
                }
            }
            takes => {
                let expr = self.expr(node)?;
                if let Some(value) = expr.literal()
                    && let Some(expected) = takes.refuses(value)
                {
                    return Err(wrong(expected));
                }
                Arg::Value(expr)
            }
        })
    }

    /// The body of a lambda: a condition or a value.
    fn body(&mut self, node: &Node) -> Result<Expr, Mistake> {
        match node.kind {
            Kind::Compare(..) | Kind::And(_) | Kind::Or(_) | Kind::Not(_) => {
                Ok(Expr::Test(Box::new(self.test(node)?)))
            }
            _ => self.expr(node),
        }
    }
}

fn example(arity: usize) -> &'static str {
    match arity {
        0 => "() => …",
        2 => "(k, v) => …",
        _ => "(acc, k, v) => …",
    }
}

/// Names of arguments are taken in snake case and in camel case.
fn place_of(function: &Function, name: &str) -> Option<usize> {
    let plain = |name: &str| name.replace('_', "").to_lowercase();
    let exact = function.params.iter().position(|p| plain(p.name) == plain(name));
    // `copy_metric(desc=…)` is how the documentation of the transform processor writes it.
    exact.or_else(|| function.params.iter().position(|p| name == "desc" && p.name == "description"))
}
