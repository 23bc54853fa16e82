//! Expressions ready to be evaluated: names are looked up, literals and patterns compiled.

use std::borrow::Cow;

use signal::otlp::proto::common::v1::AnyValue;

use crate::ast::{CompareOp, MathOp};
use crate::compare::compare;
use crate::context::View;
use crate::error::EvalError;
use crate::functions::{Args, Body, Function};
use crate::path::{Key, Path, index};
use crate::value::{Time, Value, entry};

/// What an expression sees: the item, and the parameters of the lambdas around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Env<'a> {
    pub(crate) view: View<'a>,
    locals: Option<&'a Locals<'a>>,
}

#[derive(Debug)]
struct Locals<'a> {
    values: &'a [Value<'a>],
    outer: Option<&'a Locals<'a>>,
}

impl<'a> Env<'a> {
    pub(crate) fn of(view: View<'a>) -> Self {
        Self { view, locals: None }
    }
}

#[derive(Debug)]
pub(crate) enum Expr {
    Literal(Value<'static>),
    Path(Path),
    Call(Call),
    List(Vec<Expr>),
    Map(Vec<(String, Expr)>),
    Math(MathOp, Box<Expr>, Box<Expr>),
    /// A parameter: of the lambda so many further out, by number.
    Local {
        out: usize,
        at: usize,
        keys: Vec<Key>,
    },
    Test(Box<Test>),
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) function: &'static Function,
    pub(crate) args: Args,
    pub(crate) keys: Vec<Key>,
}

#[derive(Debug)]
pub(crate) enum Test {
    Constant(bool),
    And(Vec<Test>),
    Or(Vec<Test>),
    Not(Box<Test>),
    Compare(CompareOp, Expr, Expr),
    Value(Expr),
}

/// A function of the statement itself.
#[derive(Debug)]
pub(crate) struct Lambda {
    pub(crate) body: Expr,
}

impl Lambda {
    pub(crate) fn call(&self, env: &Env<'_>, values: &[Value<'_>]) -> Result<Value<'static>, EvalError> {
        let locals = Locals { values, outer: env.locals };
        let inner = Env { view: env.view, locals: Some(&locals) };
        self.body.eval(&inner).map(Value::into_owned)
    }

    pub(crate) fn test(&self, env: &Env<'_>, values: &[Value<'_>]) -> Result<bool, EvalError> {
        match self.call(env, values)? {
            Value::Bool(holds) => Ok(holds),
            other => {
                Err(EvalError::new(format!("a predicate has to yield a bool, not {}", other.type_name())))
            }
        }
    }
}

impl Expr {
    pub(crate) fn eval<'a>(&'a self, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
        match self {
            Self::Literal(value) => Ok(value.borrow()),
            Self::Path(path) => path.get(env),
            Self::Call(call) => call.eval(env),
            Self::Math(op, left, right) => math(*op, &left.eval(env)?, &right.eval(env)?),
            Self::List(items) => {
                let items = items.iter().map(|item| Ok(any(item.eval(env)?)));
                Ok(Value::List(Cow::Owned(items.collect::<Result<_, EvalError>>()?)))
            }
            Self::Map(entries) => {
                let entries =
                    entries.iter().map(|(key, value)| Ok(entry(key.as_str(), any(value.eval(env)?))));
                Ok(Value::Map(Cow::Owned(entries.collect::<Result<_, EvalError>>()?)))
            }
            Self::Local { out, at, keys } => {
                let mut locals = env.locals;
                for _ in 0..*out {
                    locals = locals.and_then(|l| l.outer);
                }
                let value = locals.and_then(|l| l.values.get(*at)).map_or(Value::Nil, Value::borrow);
                index(value, keys, env)
            }
            Self::Test(test) => Ok(Value::Bool(test.eval(env)?)),
        }
    }

    /// The value, if it is written down.
    pub(crate) fn literal(&self) -> Option<&Value<'static>> {
        if let Self::Literal(value) = self { Some(value) } else { None }
    }
}

/// An element of a list: what a message cannot hold is nothing.
fn any(value: Value<'_>) -> AnyValue {
    value.into_any().unwrap_or_default()
}

impl Call {
    fn eval<'a>(&'a self, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
        let Body::Convert(convert) = self.function.body else {
            return Err(EvalError::new(format!("{} yields no value", self.function.name)));
        };
        let value = convert(&self.args, env)
            .map_err(|error| EvalError::new(format!("{}: {error}", self.function.name)))?;
        if self.keys.is_empty() {
            return Ok(value);
        }
        index(value, &self.keys, env)
            .map_err(|error| EvalError::new(format!("{}: {error}", self.function.name)))
    }
}

impl Test {
    pub(crate) fn eval(&self, env: &Env<'_>) -> Result<bool, EvalError> {
        Ok(match self {
            Self::Constant(value) => *value,
            Self::And(tests) => {
                for test in tests {
                    if !test.eval(env)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Or(tests) => {
                for test in tests {
                    if test.eval(env)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Not(test) => !test.eval(env)?,
            Self::Compare(op, left, right) => compare(*op, &left.eval(env)?, &right.eval(env)?),
            Self::Value(expr) => match expr.eval(env)? {
                Value::Bool(value) => value,
                other => {
                    let message = format!("a condition has to be a bool, but is {}", other.type_name());
                    return Err(EvalError::new(message));
                }
            },
        })
    }
}

/// Arithmetic: ints with ints, doubles with doubles, times and durations with each other. As pkg/ottl's
/// `math.go`; what leaves 64 bits is an error.
fn math(op: MathOp, left: &Value<'_>, right: &Value<'_>) -> Result<Value<'static>, EvalError> {
    use MathOp::{Add, Divide, Multiply, Subtract};
    let overflow = || EvalError::new("the result does not fit into 64 bits");
    Ok(match (left, op, right) {
        (Value::Int(_), Divide, Value::Int(0)) => return Err(EvalError::new("division by zero")),
        (Value::Double(_), Divide, Value::Double(b)) if *b == 0.0 => {
            return Err(EvalError::new("division by zero"));
        }
        (Value::Int(a), _, Value::Int(b)) => Value::Int(
            match op {
                Add => a.checked_add(*b),
                Subtract => a.checked_sub(*b),
                Multiply => a.checked_mul(*b),
                Divide => a.checked_div(*b),
            }
            .ok_or_else(overflow)?,
        ),
        (Value::Double(a), _, Value::Double(b)) => Value::Double(match op {
            Add => a + b,
            Subtract => a - b,
            Multiply => a * b,
            Divide => a / b,
        }),
        (Value::Time(a), Subtract, Value::Time(b)) => {
            let nanos = a.at.as_nanosecond() - b.at.as_nanosecond();
            Value::Duration(i64::try_from(nanos).map_err(|_| overflow())?)
        }
        (Value::Time(a), Add, Value::Duration(b)) | (Value::Duration(b), Add, Value::Time(a)) => {
            Value::Time(moved(a, i128::from(*b)).ok_or_else(overflow)?)
        }
        (Value::Time(a), Subtract, Value::Duration(b)) => {
            Value::Time(moved(a, -i128::from(*b)).ok_or_else(overflow)?)
        }
        (Value::Duration(a), Add, Value::Duration(b)) => {
            Value::Duration(a.checked_add(*b).ok_or_else(overflow)?)
        }
        (Value::Duration(a), Subtract, Value::Duration(b)) => {
            Value::Duration(a.checked_sub(*b).ok_or_else(overflow)?)
        }
        _ => {
            let (left, right) = (left.type_name(), right.type_name());
            return Err(EvalError::new(format!("no arithmetic between {left} and {right} with {op:?}")));
        }
    })
}

fn moved(time: &Time, nanos: i128) -> Option<Time> {
    let at = jiff::Timestamp::from_nanosecond(time.at.as_nanosecond() + nanos).ok()?;
    Some(Time { at, zone: time.zone.clone() })
}
