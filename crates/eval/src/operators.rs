//! Operators on values.
//!
//! As Alloy's `syntax/vm`: numbers take the widest kind of uint < int < float and wrap, a string joined
//! with a secret is a secret, anything can be compared for equality.

use std::cmp::Ordering;

use syntax::ast::{BinaryOp, UnaryOp};

use crate::value::{Number, OptionalSecret, Secret, Value};

/// Which operand is at fault, and why.
pub(crate) struct OperandError {
    pub side: Side,
    pub message: String,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Side {
    Left,
    Right,
}

pub(crate) fn unary(op: UnaryOp, value: &Value) -> Result<Value, String> {
    match (op, value) {
        (UnaryOp::Not, Value::Bool(b)) => Ok(Value::Bool(!b)),
        (UnaryOp::Not, Value::Unknown(_)) => Ok(Value::Unknown("bool")),
        (UnaryOp::Not, v) => Err(format!("! needs a bool, got {}", v.describe())),
        (UnaryOp::Negate, Value::Number(n)) => Ok(Value::Number(match *n {
            Number::Float(v) => Number::Float(-v),
            n => Number::Int(n.as_i64().wrapping_neg()),
        })),
        (UnaryOp::Negate, Value::Unknown(_)) => Ok(Value::Unknown("number")),
        (UnaryOp::Negate, v) => Err(format!("- needs a number, got {}", v.describe())),
    }
}

pub(crate) fn binary(left: &Value, op: BinaryOp, right: &Value) -> Result<Value, OperandError> {
    if matches!(left, Value::Unknown(_)) || matches!(right, Value::Unknown(_)) {
        return Ok(Value::Unknown(unknown_result(op)));
    }
    match op {
        BinaryOp::Eq | BinaryOp::Ne => {
            if left.contains_unknown() || right.contains_unknown() {
                return Ok(Value::Unknown("bool"));
            }
            let (left, right) = unwrap_secrets(left, right);
            return Ok(Value::Bool((left == right) == (op == BinaryOp::Eq)));
        }
        BinaryOp::Add if is_secret(left) || is_secret(right) => {
            let (left, right) = unwrap_secrets(left, right);
            return join(&left, &right);
        }
        _ => {}
    }
    match (left, right) {
        (Value::Bool(a), Value::Bool(b)) if matches!(op, BinaryOp::And | BinaryOp::Or) => {
            Ok(Value::Bool(if op == BinaryOp::And { *a && *b } else { *a || *b }))
        }
        (Value::String(a), Value::String(b)) if op == BinaryOp::Add => Ok(Value::string(format!("{a}{b}"))),
        (Value::String(a), Value::String(b)) if is_order(op) => Ok(Value::Bool(ordered(op, Some(a.cmp(b))))),
        (Value::Number(a), Value::Number(b)) if takes_numbers(op) => {
            numbers(*a, op, *b).map_err(|message| OperandError { side: Side::Right, message })
        }
        _ => Err(mismatch(left, op, right)),
    }
}

fn unknown_result(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "",
        BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Pow => "number",
        _ => "bool",
    }
}

fn is_secret(v: &Value) -> bool {
    matches!(v, Value::Secret(_) | Value::OptionalSecret(_))
}

/// Brings a secret and a text to one type, as far as that is possible.
fn unwrap_secrets(left: &Value, right: &Value) -> (Value, Value) {
    let secret = |s: &str| Value::Secret(Secret::new(s));
    let optional = |s: &str| Value::OptionalSecret(OptionalSecret::secret(s));
    match (left, right) {
        (Value::OptionalSecret(a), Value::Secret(_)) => (secret(a.reveal()), right.clone()),
        (Value::Secret(_), Value::OptionalSecret(b)) => (left.clone(), secret(b.reveal())),
        (Value::Secret(_), Value::String(b)) => (left.clone(), secret(b)),
        (Value::String(a), Value::Secret(_)) => (secret(a), right.clone()),
        (Value::OptionalSecret(a), Value::String(b)) if a.is_secret() => (left.clone(), optional(b)),
        (Value::OptionalSecret(a), Value::String(_)) => (Value::string(a.reveal()), right.clone()),
        (Value::String(a), Value::OptionalSecret(b)) if b.is_secret() => (optional(a), right.clone()),
        (Value::String(_), Value::OptionalSecret(b)) => (left.clone(), Value::string(b.reveal())),
        _ => (left.clone(), right.clone()),
    }
}

fn join(left: &Value, right: &Value) -> Result<Value, OperandError> {
    match (left, right) {
        (Value::String(a), Value::String(b)) => Ok(Value::string(format!("{a}{b}"))),
        (Value::Secret(a), Value::Secret(b)) => {
            Ok(Value::Secret(Secret::new(format!("{}{}", a.reveal(), b.reveal()))))
        }
        (Value::OptionalSecret(a), Value::OptionalSecret(b)) => {
            let text = format!("{}{}", a.reveal(), b.reveal());
            let secret = a.is_secret() || b.is_secret();
            Ok(Value::OptionalSecret(if secret {
                OptionalSecret::secret(text)
            } else {
                OptionalSecret::plain(text)
            }))
        }
        _ => Err(mismatch(left, BinaryOp::Add, right)),
    }
}

fn is_order(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge)
}

fn takes_numbers(op: BinaryOp) -> bool {
    !matches!(op, BinaryOp::And | BinaryOp::Or)
}

fn ordered(op: BinaryOp, order: Option<Ordering>) -> bool {
    match (op, order) {
        (_, None) => false,
        (BinaryOp::Lt, Some(o)) => o.is_lt(),
        (BinaryOp::Le, Some(o)) => o.is_le(),
        (BinaryOp::Gt, Some(o)) => o.is_gt(),
        (_, Some(o)) => o.is_ge(),
    }
}

/// The first operand of a type the operator does not take, else the second for differing from the first.
fn mismatch(left: &Value, op: BinaryOp, right: &Value) -> OperandError {
    let takes = |v: &Value| match op {
        BinaryOp::And | BinaryOp::Or => matches!(v, Value::Bool(_)),
        BinaryOp::Add => matches!(v, Value::Number(_) | Value::String(_)) || is_secret(v),
        _ if is_order(op) => matches!(v, Value::Number(_) | Value::String(_)),
        _ => matches!(v, Value::Number(_)),
    };
    let wanted = match op {
        BinaryOp::And | BinaryOp::Or => "bools",
        BinaryOp::Add => "two numbers or two strings",
        _ if is_order(op) => "two numbers or two strings",
        _ => "numbers",
    };
    let (side, value) = if takes(left) { (Side::Right, right) } else { (Side::Left, left) };
    let message = if takes(left) && takes(right) {
        format!("{} needs {wanted}, got {} and {}", op.symbol(), left.describe(), right.describe())
    } else {
        format!("{} needs {wanted}, got {}", op.symbol(), value.describe())
    };
    OperandError { side, message }
}

fn numbers(a: Number, op: BinaryOp, b: Number) -> Result<Value, String> {
    if is_order(op) {
        return Ok(Value::Bool(ordered(op, compare(a, b))));
    }
    let zero = match b {
        Number::Float(v) => v == 0.0,
        n => n.as_u64() == 0,
    };
    if zero && matches!(op, BinaryOp::Div | BinaryOp::Mod) {
        return Err("division by zero".to_owned());
    }
    Ok(Value::Number(match (a, b) {
        (Number::Float(_), _) | (_, Number::Float(_)) => Number::Float(floats(a.as_f64(), op, b.as_f64())),
        (Number::Uint(a), Number::Uint(b)) => Number::Uint(uints(a, op, b)?),
        _ => Number::Int(ints(a.as_i64(), op, b.as_i64())?),
    }))
}

fn compare(a: Number, b: Number) -> Option<Ordering> {
    match (a, b) {
        (Number::Float(_), _) | (_, Number::Float(_)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Number::Uint(a), Number::Uint(b)) => Some(a.cmp(&b)),
        _ => Some(a.as_i64().cmp(&b.as_i64())),
    }
}

fn floats(a: f64, op: BinaryOp, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        _ => a.powf(b),
    }
}

fn ints(a: i64, op: BinaryOp, b: i64) -> Result<i64, String> {
    Ok(match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        // A float below one is not zero as divisor, but is as an integer.
        BinaryOp::Div | BinaryOp::Mod if b == 0 => return Err("division by zero".to_owned()),
        BinaryOp::Div => a.wrapping_div(b),
        BinaryOp::Mod => a.wrapping_rem(b),
        _ => match (a, b) {
            (_, 0) | (1, _) => 1,
            // As Alloy's loop from 2 up to the exponent, which does not run.
            (_, ..0) => a,
            _ => power(a as u64, b as u64) as i64,
        },
    })
}

fn uints(a: u64, op: BinaryOp, b: u64) -> Result<u64, String> {
    Ok(match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Div => a.checked_div(b).ok_or("division by zero")?,
        BinaryOp::Mod => a.checked_rem(b).ok_or("division by zero")?,
        _ => power(a, b),
    })
}

/// Wrapping power by squaring: the same 64 bits as multiplying one by one, signed or not.
fn power(mut base: u64, mut exponent: u64) -> u64 {
    let mut result = 1_u64;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent >>= 1;
    }
    result
}
